"""Lists of results: sorted, filtered and cut as asked, within the terminal, and a sentence where there is nothing."""

import json
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from conftest import WIDTH, Databases, Quantbot

from quantbot_pipeline.cli.result_lists import ListColumn, ResultList, since_seconds
from quantbot_pipeline.errors import InputError
from quantbot_pipeline.sample.generate import SampleFiles

_LIST = ResultList(
    title="Things",
    plural="things",
    columns=(
        ListColumn("name", lambda row: row["name"]),
        ListColumn("pnl", lambda row: f"{row['pnl']:+.1%}".replace("%", " %")),
        ListColumn("seen", lambda row: row["seen_s"], is_further=True, is_sortable=False),
    ),
    if_none="nothing is stored; do this",
    database="clickhouse",
    query="lists/list_things",
    mart="mart_things",
)


@pytest.fixture
def stocked(quantbot: Quantbot, databases: Databases, sample: SampleFiles) -> Quantbot:
    """The command, on databases that hold the sample and runs of one strategy on it."""
    for arguments in (
        ("ingest", "candles", sample.candle_files[0].parent),
        ("ingest", "alerts", *sample.alert_files),
        ("backfill", "--strategies", "conservative-24h"),
    ):
        answer = quantbot(*arguments)
        assert answer.code == 0, answer.err
    return quantbot


def _rows(count: int, total: int) -> list[dict[str, Any]]:
    return [{"name": f"n{k}", "pnl": k / 10, "seen_s": 86_400 * k, "row_count": total} for k in range(count)]


def test_a_list_is_a_table_with_a_word_on_what_was_cut(
    clean_environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    _LIST.print(_rows(2, 5), sort="", as_json=False, is_filtered=False)

    out, err = capsys.readouterr()
    assert [line.rstrip() for line in out.splitlines() if line.strip()] == [
        "Things",
        " name      pnl",
        " ─────────────",
        " n0     +0.0 %",
        " n1    +10.0 %",
    ]
    assert err == "2 of 5 things; --limit 5 shows all\n"


def test_narrow_terminals_lose_the_last_columns_but_no_name_and_not_what_is_sorted_by(
    clean_environment: None, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    name = "laddered-dip-with-re-entry@1"
    columns = [ListColumn(text, lambda _: "+100.00 %") for text in ("mean", "least", "win", "sum")]
    things = replace(_LIST, columns=(ListColumn("strategy", lambda _: name, is_key=True), *columns))
    # The name takes 28 characters, each of the others 9, and each column 2 beside it: 74 of all, 63 of four.
    for width, sort, shown, left_out in (
        (74, "", "mean least win sum", ""),
        (73, "", "mean least win", "sum"),
        (62, "", "mean least", "win, sum"),
        (62, "sum", "mean sum", "least, win"),
    ):
        monkeypatch.setenv("COLUMNS", str(width))
        things.print(_rows(1, 1), sort=sort, as_json=False, is_filtered=False)
        out, err = capsys.readouterr()
        assert (name in out, out.splitlines()[2].split()[1:]) == (True, shown.split())
        assert err == (f"no room for {left_out}; a wider terminal or --json shows them\n" if left_out else "")


def test_json_has_every_column_with_times_in_iso(clean_environment: None, capsys: pytest.CaptureFixture[str]) -> None:
    _LIST.print(_rows(2, 2), sort="", as_json=True, is_filtered=False)

    out, err = capsys.readouterr()
    assert json.loads(out)[1] == {"name": "n1", "pnl": 0.1, "seen_at": "1970-01-02T00:00:00+00:00"}
    assert err == ""


def test_nothing_is_told_with_what_to_do_and_filters_are_named_as_the_reason(
    clean_environment: None, capsys: pytest.CaptureFixture[str]
) -> None:
    _LIST.print([], sort="", as_json=False, is_filtered=False)
    _LIST.print([], sort="", as_json=False, is_filtered=True)

    assert capsys.readouterr().out.splitlines() == [
        "nothing is stored; do this",
        "no things match; leave a filter out to see more",
    ]


def test_columns_to_sort_by_are_a_fixed_list() -> None:
    assert _LIST.sort_parameters("pnl", descending=True) == {"sort": "pnl", "direction": -1, "is_descending": 1}
    assert _LIST.sort_parameters("PNL", descending=False)["sort"] == "pnl"
    for sort in ("seen", "pnl; drop table calls"):
        with pytest.raises(InputError, match="allowed are name, pnl"):
            _LIST.sort_parameters(sort, descending=False)
    with pytest.raises(InputError, match="name it with --sort"):
        _LIST.sort_parameters("", descending=True)


def test_since_is_the_start_of_a_utc_day() -> None:
    assert since_seconds("1970-01-02") == 86_400
    assert since_seconds("") == 0
    with pytest.raises(InputError, match="YYYY-MM-DD"):
        since_seconds("yesterday")


@pytest.mark.server
def test_lists_are_sorted_filtered_and_cut_by_the_database(stocked: Quantbot, databases: Databases) -> None:
    every = stocked("trades", "--limit", "1000", "--json").document
    best = stocked("trades", "--sort", "pnl", "--desc", "--limit", "7", "--json").document
    pnls = sorted((row["trade_pnl"] for row in every if row["trade_pnl"] is not None), reverse=True)
    assert [row["trade_pnl"] for row in best] == pnls[:7]
    worst = stocked("trades", "--sort", "pnl", "--limit", "1000", "--json").document
    # What has no pnl is last, whichever way the others go.
    assert [row["trade_pnl"] for row in worst] == [*reversed(pnls), *[None] * (len(every) - len(pnls))]
    names = [row["caller_handle"] for row in stocked("trades", "--sort", "caller", "--desc", "--json").document]
    assert names == sorted(names, reverse=True)

    one = every[0]
    caller = f"{one['caller_source']}/{one['caller_handle']}"
    token = f"{one['chain']}:{one['token_address']}"
    for option, value, key in (
        ("--caller", caller, "caller_handle"),
        ("--token", token, "token_address"),
        ("--token", one["token_address"], "token_address"),
        ("--status", "won", "outcome"),
        ("--run", str(one["simulation_run_id"]), "simulation_run_id"),
        ("--strategy", "conservative-24h@1", "strategy_name"),
    ):
        found = stocked("trades", option, value, "--limit", "1000", "--json").document
        wanted = "won" if value == "won" else one[key]
        assert found == [row for row in every if row[key] == wanted], option
    late = stocked("trades", "--since", "2025-01-20", "--limit", "1000", "--json").document
    assert late == [row for row in every if row["signal_at"] >= "2025-01-20"]
    assert 0 < len(late) < len(every)

    with psycopg.connect(databases.postgres) as connection:
        stored = connection.execute(
            "select count(*) from simulation_runs where status = 'completed' and superseded_by is null "
            "and run_type = 'backtest'"
        ).fetchone()
    runs = stocked("runs", "--limit", "1000", "--json").document
    assert stored is not None
    assert len(runs) == stored[0]
    assert [row["run_rank"] for row in runs] == list(range(1, len(runs) + 1))
    assert sum(row["trade_count"] for row in stocked("strategies", "--json").document) == len(pnls)
    assert sum(row["trade_count"] for row in stocked("callers", "--json").document) == len(pnls)
    tokens = stocked("tokens", "--sort", "sum", "--limit", "1000", "--json").document
    assert sum(row["trade_count"] for row in tokens) == len(pnls)
    assert [row["total_pnl"] for row in tokens] == sorted(row["total_pnl"] for row in tokens)


@pytest.mark.server
def test_lists_tell_of_what_was_simulated_since_the_last_one(stocked: Quantbot) -> None:
    assert stocked("trades", "--strategy", "basic-6h-20pct-sl", "--json").document == []

    assert stocked("backfill", "--strategies", "basic-6h-20pct-sl").code == 0

    assert stocked("trades", "--strategy", "basic-6h-20pct-sl", "--json").document
    assert stocked("tokens", "--strategy", "basic-6h-20pct-sl", "--json").document


@pytest.mark.server
def test_lists_fit_the_terminal_and_name_what_is_wrong(stocked: Quantbot) -> None:
    for command in (["trades"], ["tokens"], ["callers"], ["strategies"], ["runs"], ["runs", "--status", "all"]):
        answer = stocked(*command, "--strategy", "conservative-24h", "--limit", "3")
        assert answer.code == 0, answer.err
        assert "conservative" in answer.out.replace("\n", "")
        assert all(len(line) <= WIDTH for line in answer.out.splitlines()), command
        stocked(*command, "--sort", "luck").refuses("--sort: found 'luck'", "allowed are")
    run = stocked("runs", "--strategy", "conservative-24h", "--limit", "1", "--json").document[0]
    shown = stocked("runs", "show", str(run["simulation_run_id"]))
    assert f"quantbot trades --run {run['simulation_run_id']}" in shown.out
    document = stocked("runs", "show", str(run["simulation_run_id"]), "--json").document
    assert (document["trade_count"], document["selection"]["strategy"]) == (run["trade_count"], "conservative-24h")
    assert {document[name][-6:] for name in ("window_start", "window_end", "started_at", "completed_at")} == {"+00:00"}
    stocked("runs", "show", "987654321").refuses("run 987654321 is unknown")
    assert "leave a filter out" in stocked("runs", "--status", "failed").out
    stocked("trades", "--strategy", "conservativ-24h").refuses(
        "--strategy: 'conservativ-24h' is unknown", "conservative-24h"
    )
    stocked("callers", "--caller", "nobody/here").refuses("caller 'nobody/here' is not stored")
    stocked("tokens", "--token", "no-such-token").refuses("--token: 'no-such-token' is unknown")
    address = stocked("tokens", "--json", "--limit", "1").document[0]["token_address"]
    for short in (address[:6], f"{address[:5]}\N{HORIZONTAL ELLIPSIS}{address[-5:]}"):
        stocked("tokens", "--token", short).refuses(f"--token: {short!r} is unknown", address)
    stocked("trades", "--run", "987654321").refuses("run 987654321 is unknown")
    stocked("trades", "--run", "0").refuses("is unknown")
    assert "x>=0" not in stocked("trades", "--help").out
    assert "rank in" in stocked("callers").out
    assert "Declarative" not in stocked("strategies").out


@pytest.mark.server
def test_empty_lists_say_how_to_fill_them(quantbot: Quantbot, fresh_databases: Databases) -> None:
    # All five share what says so; one per database is enough for their queries.
    for command in ("trades", "runs"):
        answer = quantbot(command)
        assert (answer.code, "quantbot backfill" in answer.out) == (0, True), (command, answer.out, answer.err)
    assert quantbot("trades", "--json").document == []
    quantbot("trade", "1").refuses("call 1 is unknown")
