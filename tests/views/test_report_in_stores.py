"""The report's pages, collected and written from real stores."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from html import unescape
from pathlib import Path

import psycopg
import pytest
from view_scene import JANUARY, Scene

from quantbot_pipeline.errors import DataError, StrategyError
from quantbot_pipeline.report.site_content import Narrowing
from quantbot_pipeline.report.site_paths import caller_path, strategy_path, token_path
from quantbot_pipeline.report.trade_collect import TradeKey, collect_trade, collect_trades
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
from quantbot_pipeline.storage.views import build_views
from quantbot_pipeline.workflows.write_report import WrittenReport, write_current_report

pytestmark = pytest.mark.server

HOSTILE = "it's \\ <script>alert(1)</script>"


def _build(scene: Scene) -> None:
    build_views(scene.urls.postgres, scene.urls.clickhouse).require_all()


def _write(scene: Scene, folder: Path, narrowing: Narrowing | None = None) -> WrittenReport:
    return write_current_report(scene.state, scene.history, folder, narrowing=narrowing)


def _pages(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*.html")}


def _statements(folder: Path) -> dict[str, str]:
    """Return every statement that a page shows, with the command that says where to ask it."""
    found = {}
    for path in folder.rglob("*.html"):
        shown = re.findall(
            r"quantbot url (\w+)</code> and:</p>\s*<pre[^>]*><code>(.*?)</code>", path.read_text("utf-8"), re.S
        )
        found |= {unescape(statement): database for database, statement in shown}
    return found


def test_a_report_is_of_current_runs_and_is_rebuilt_where_it_changed(scene: Scene, tmp_path: Path) -> None:
    first, second = scene.call("ann", "A", day=2), scene.call(HOSTILE, "A", day=9)
    superseded = scene.run("s", {first: 0.5, second: None}, scope="one")
    current = scene.run("s", {first: 0.4, second: None}, scope="one")
    failed = scene.run("s", {first: 0.4}, is_completed=False, error="no candles")
    other = scene.run(HOSTILE, {second: -0.3})

    _build(scene)
    written = _write(scene, tmp_path)

    assert written.changes.page_count == len(_pages(tmp_path))
    assert {
        f"runs/{current}.html",
        f"runs/{other}.html",
        strategy_path(("s", "1")),
        strategy_path((HOSTILE, "1")),
        caller_path(("test", "ann")),
        caller_path(("test", HOSTILE)),
    } <= _pages(tmp_path)
    assert not {f"runs/{superseded}.html", f"runs/{failed}.html"} & _pages(tmp_path)
    run = (tmp_path / f"runs/{current}.html").read_text(encoding="utf-8")
    assert "+40.0" in run
    assert "no candles are stored for this time" in run.lower()
    assert "skipped" in run
    assert "<script>alert" not in "".join((tmp_path / page).read_text(encoding="utf-8") for page in _pages(tmp_path))

    # Nothing changed: the pages of runs are not even collected, and no other is written but the index, whose time is
    # another one when the minute is.
    again = _write(scene, tmp_path)
    assert again.changes.page_count == written.changes.page_count
    assert again.changes.written <= 1

    # A newer run takes the place of one: its page goes.
    newer = scene.run("s", {first: 0.6, second: None}, scope="one")
    _build(scene)
    later = _write(scene, tmp_path)
    assert later.changes.removed == 1
    assert f"runs/{newer}.html" in _pages(tmp_path)
    assert f"runs/{current}.html" not in _pages(tmp_path)

    for missing, why in (
        (superseded, f"superseded by run {newer}|superseded by run {current}"),
        (failed, "is failed: no candles"),
        (10**9, "there is no run 1000000000"),
    ):
        with pytest.raises(DataError, match=why):
            _write(scene, tmp_path, Narrowing(run_ids=(missing,)))
    with pytest.raises(DataError, match="strategy 'nope' has no completed, current backtest"):
        _write(scene, tmp_path, Narrowing(strategy="nope"))
    with pytest.raises(DataError, match="caller 'test/nobody' has no call"):
        _write(scene, tmp_path, Narrowing(caller=("test", "nobody")))

    # Ann called before the fifth: the run looked at no call that is asked for.
    late = Narrowing("s", ("test", "ann"), JANUARY.replace(day=5))
    with pytest.raises(DataError, match=f"run {newer} of strategy s is not among strategy s, caller test / ann, calls"):
        _write(scene, tmp_path, replace(late, run_ids=(newer,)))

    narrowed = tmp_path / "narrowed"
    asked = _write(scene, narrowed, replace(late, since=None, run_ids=(newer,)))
    assert [path.relative_to(narrowed).as_posix() for path in asked.asked_for] == [
        f"runs/{newer}.html",
        caller_path(("test", "ann")),
        strategy_path(("s", "1")),
    ]
    assert strategy_path((HOSTILE, "1")) not in _pages(narrowed)
    _write(scene, narrowed, late)
    assert "There is no call in what this report is narrowed to" in (narrowed / caller_path(("test", "ann"))).read_text(
        encoding="utf-8"
    )

    # Every statement that stands under a table can be run as it is, and says what is shown.
    statements = _statements(tmp_path)
    assert len(statements) > 20
    assert any(HOSTILE.replace("'", "''") in statement.replace("\\\\", "\\") for statement in statements)
    clickhouse = ClickHouseConnection(scene.urls.clickhouse)
    with psycopg.connect(scene.urls.postgres) as postgres:
        for statement, database in statements.items():
            if database == "postgres":
                postgres.execute(statement.encode()).fetchall()
            else:
                clickhouse.fetch_table(statement, name="shown")
    rows = clickhouse.fetch_table(
        next(each for each in statements if "mart_trades" in each and f"simulation_run_id = {newer}" in each),
        name="run",
    ).to_pylist()
    clickhouse.close()
    assert sorted((row["call_id"], row["outcome"]) for row in rows) == [(first, "won"), (second, "skipped")]
    assert json.loads((tmp_path / ".quantbot-report.json").read_text(encoding="utf-8"))["version"] == 1


def test_lists_of_a_narrowed_report_hold_what_was_asked_for_and_so_do_their_statements(
    scene: Scene, tmp_path: Path
) -> None:
    """Pages of strategies once listed the trades of every caller, whichever was asked for."""
    ann = [scene.call("ann", "A", day=2), scene.call("ann", "A", day=9), scene.call("ann", "B", day=20)]
    bob = scene.call(HOSTILE, "A", day=9)
    on_a = scene.run("s", {ann[0]: 0.5, ann[1]: -0.1, bob: 0.2})
    on_b = scene.run("s", {ann[2]: None}, window_end=datetime(2025, 3, 1, tzinfo=UTC))
    other = scene.run(HOSTILE, {ann[0]: 0.1, bob: -0.4})
    newer = scene.run("s", {bob: 0.3}, version="2")
    _build(scene)
    since = JANUARY.replace(day=9)
    # Calls under s by page, newest first, and the runs that may hold them.
    s_page, hostile_page = strategy_path(("s", "1")), strategy_path((HOSTILE, "1"))
    token_a, token_b = token_path(("binance", "A")), token_path(("binance", "B"))
    for narrowing, trades, runs in (
        (
            Narrowing(),
            {
                s_page: [ann[2], bob, ann[1], ann[0]],
                hostile_page: [bob, ann[0]],
                token_a: [bob, bob, bob, ann[1], ann[0], ann[0]],
            },
            {on_a, on_b, other, newer},
        ),
        (
            Narrowing(caller=("test", HOSTILE)),
            {s_page: [bob], hostile_page: [bob], token_a: [bob] * 3, caller_path(("test", HOSTILE)): [bob] * 3},
            {on_a, other, newer},
        ),
        (
            Narrowing(since=since),
            {s_page: [ann[2], bob, ann[1]], hostile_page: [bob], token_a: [*[bob] * 3, ann[1]], token_b: [ann[2]]},
            {on_a, on_b, other, newer},
        ),
        (Narrowing("s", version="2"), {strategy_path(("s", "2")): [bob], token_a: [bob]}, {newer}),
        (
            Narrowing("s", ("test", "ann"), JANUARY.replace(day=10)),
            {s_page: [ann[2]], caller_path(("test", "ann")): [ann[2]]},
            {on_b},
        ),
    ):
        folder = tmp_path / (narrowing.folder() or "whole")
        written = _write(scene, folder, narrowing)
        assert not written.is_empty
        assert (s_page in _pages(folder)) == (narrowing.version != "2")
        drawn = re.search(r"Chart of the trade on call (\d+)", (folder / "index.html").read_text("utf-8"))
        assert drawn is None or int(drawn[1]) in {call for calls in trades.values() for call in calls}
        assert (drawn is None) == (narrowing.caller == ("test", "ann"))
        for page, calls in trades.items():
            shown = re.findall(r'data-v="(\d+)"><code', (folder / page).read_text("utf-8"))
            # Trades of the same moment are in the order of their calls' ids.
            assert [int(call) for call in shown] == calls, (narrowing.words(), page)
        listed = re.findall(r'data-v="(\d+)"><bdi', (folder / "runs.html").read_text("utf-8"))
        assert {int(run) for run in listed} == runs, narrowing.words()
        assert (token_b in _pages(folder)) == (ann[2] in trades[next(iter(trades))]), narrowing.words()
        _check_statements(scene, folder)
    assert _write(scene, tmp_path / "none", Narrowing(since=datetime(2099, 1, 1, tzinfo=UTC))).is_empty
    with pytest.raises(DataError, match=r"strategy 's@3' has no .* backtest.* s@1, s@2; .* --strategies s'"):
        _write(scene, tmp_path, Narrowing("s", version="3"))


def _check_statements(scene: Scene, folder: Path) -> None:
    """Check that each statement under a table of views asks for as many rows as the table has."""
    clickhouse = ClickHouseConnection(scene.urls.clickhouse)
    checked = 0
    for path in folder.rglob("*.html"):
        for sheet in path.read_text("utf-8").split('<div class="sheet"')[1:]:
            rows = sheet.partition("<tbody>")[2].partition("</tbody>")[0].count("<tr>")
            statement = re.search(
                r"quantbot url clickhouse</code> and:</p>\s*<pre[^>]*><code>(.*?)</code>", sheet, re.DOTALL
            )
            # The overview's table of strategies has no more than there are here.
            if statement is not None:
                found = clickhouse.fetch_table(unescape(statement[1]), name="shown").num_rows
                assert rows == found, f"{path.name}: {unescape(statement[1])}"
                checked += 1
    clickhouse.close()
    assert checked > 10


def test_a_strategy_that_this_version_cannot_read_costs_its_own_trades_alone(scene: Scene, tmp_path: Path) -> None:
    call = scene.call("ann", "A")
    fine, old = scene.run("fine", {call: 0.4}), scene.run("old", {call: 0.2})
    with psycopg.connect(scene.urls.postgres) as postgres:
        # As an older version stored it; a trigger holds what runs simulated.
        postgres.execute("set local session_replication_role = replica")
        postgres.execute(
            'update simulation_runs set config_json = config_json || \'{"dip": 0.1, "take_profit": 2}\' where id = %s',
            (old,),
        )
    _build(scene)

    written = _write(scene, tmp_path)
    assert list(written.undrawn) == [old]
    assert written.undrawn[old] == f"run {old}: 2 faults, the first at dip"
    page = unescape((tmp_path / f"runs/{old}.html").read_text(encoding="utf-8"))
    assert f"this version can't read the strategy as it was stored: run {old}: " in page
    # Its calls and results are in the table.
    assert "+20.0" in page
    assert "can't read the strategy" not in unescape((tmp_path / f"runs/{fine}.html").read_text(encoding="utf-8"))
    drawn = collect_trades(scene.state, scene.history, [TradeKey(old, call), TradeKey(fine, call)])
    assert [trade.run_id for trade in drawn] == [fine]
    with pytest.raises(StrategyError, match=f"run {old}: "):
        collect_trade(scene.state, scene.history, TradeKey(old, call))


def test_an_empty_home_has_a_report_that_says_what_to_do(scene: Scene, tmp_path: Path) -> None:
    _build(scene)
    written = _write(scene, tmp_path)

    assert "No backtest has been completed yet" in written.changes.index.read_text(encoding="utf-8")
    assert not [page for page in _pages(tmp_path) if page.startswith(("runs/", "strategies/", "callers/"))]
