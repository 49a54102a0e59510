"""`quantbot trade`: one trade in the terminal and in files, and what is said where there is none."""

import json
import os
from pathlib import Path

import psycopg
import pytest
from conftest import WIDTH, Databases, Quantbot

from quantbot_pipeline.sample.generate import SampleFiles


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


CHOSEN = ("--strategy", "conservative-24h")


def _traded_call(stocked: Quantbot) -> int:
    """A call that was bought; other tests may have left calls of tokens without candles."""
    rows = stocked("trades", *CHOSEN, "--status", "traded", "--limit", "1", "--json").document
    return int(rows[0]["call_id"])


@pytest.mark.server
def test_a_trade_is_told_drawn_and_tabled_within_the_terminal(stocked: Quantbot, databases: Databases) -> None:
    call = _traded_call(stocked)

    answer = stocked("trade", str(call), *CHOSEN)

    assert answer.code == 0, answer.err
    assert all(len(line) <= WIDTH for line in answer.out.splitlines())
    assert "conservative-24h v1" in answer.out
    assert "▲ buy" in answer.out
    assert "market order" in answer.out


@pytest.mark.server
def test_a_trade_is_written_by_the_ending_of_the_file(stocked: Quantbot, databases: Databases, tmp_path: Path) -> None:
    call = _traded_call(stocked)

    for name in ("a.png", "a.html", "a.json"):
        answer = stocked("trade", str(call), "--strategy", "conservative-24h@1", "--out", tmp_path / name)
        assert (answer.code, answer.out.replace("\n", "")) == (0, f"wrote {tmp_path / name}")
    document = json.loads((tmp_path / "a.json").read_text())
    printed = stocked("trade", str(call), "--run", str(document["run"]["id"]), "--json").document

    assert (tmp_path / "a.png").read_bytes().startswith(b"\x89PNG")
    assert "<title>" in (tmp_path / "a.html").read_text()
    assert printed == document
    assert document["call"]["call_id"] == call
    stocked("trade", str(call), *CHOSEN, "--out", tmp_path / "a.pdf").refuses(".png, .html, .json")
    stocked("trade", str(call), *CHOSEN, "--out", tmp_path / "none" / "a.png").refuses("is not there")
    stocked("trade", str(call), "--open", "--out", tmp_path / "a.png").refuses("--open opens a page")


@pytest.mark.server
def test_the_page_is_opened_in_the_browser_or_said_that_there_is_none(
    stocked: Quantbot, databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    import webbrowser

    browser = tmp_path / "browser"
    browser.write_text(f'#!/bin/sh\necho "$1" > {tmp_path / "opened"}\n')
    browser.chmod(0o755)
    call = str(_traded_call(stocked))
    for command, is_opened in ((f"{browser} %s", True), ("", False)):
        # The library asks the environment once per process.
        monkeypatch.setattr(webbrowser, "_tryorder", [command] if command else [])
        monkeypatch.setattr(webbrowser, "_browsers", {})
        answer = stocked("trade", call, *CHOSEN, "--open")
        assert answer.code == 0
        assert ("no browser was found" in answer.err) is not is_opened
    assert (tmp_path / "opened").read_text().startswith("file://")
    assert list((Path(os.environ["QUANTBOT_HOME"]) / "reports" / "trades").iterdir())


@pytest.mark.server
def test_what_has_no_trade_is_told_with_what_to_do(stocked: Quantbot, databases: Databases) -> None:
    call = str(_traded_call(stocked))

    stocked("trade", "--strategy", "x", "--", "-5").refuses("CALL_ID", "greater than or equal to 1 (found '-5')")
    stocked("trade", "987654321").refuses("call 987654321 is unknown", "quantbot trades")
    stocked("trade", call, "--strategy", "none-such").refuses("'none-such' is unknown", "conservative-24h")
    stocked("trade", call, "--strategy", "conservative-24h@9").refuses("but under version 1")
    stocked("trade", call, "--run", "987654321").refuses("run 987654321 is unknown")
    with psycopg.connect(databases.postgres, autocommit=True) as connection:
        left = connection.execute(
            "select id from calls where signal_type = 'exit' and side = 'sell' limit 1"
        ).fetchone()
        assert left is not None
        stocked("trade", str(left[0]), *CHOSEN).refuses(f"call {left[0]} is an exit call to sell", "quantbot trades")
        # Other tests may have simulated every preset.
        connection.execute(
            "insert into strategies (name, version, category, description, config_json, config_hash) "
            "select 'never-simulated', version, category, description, config_json, repeat('e', 64) "
            "from strategies where name = 'aggressive-multi-tp' order by id limit 1 on conflict do nothing"
        )
    stocked("trade", call, "--strategy", "never-simulated").refuses("quantbot backfill")
    run = stocked("trade", call, *CHOSEN, "--json").document["run"]["id"]
    stocked("trade", call, "--run", str(run), "--strategy", "other").refuses("conservative-24h@1, not of other")
    with psycopg.connect(databases.postgres, autocommit=True) as connection:
        # As it is after an engine that gave up.
        connection.execute(
            "insert into simulation_runs (strategy_id, token_id, run_type, engine_version, config_hash, config_json, "
            "data_selection_json, run_key, scope_key, window_start, window_end, status, error_message) "
            "select strategies.id, calls.token_id, 'backtest', '1', repeat('0', 64), '{}', '{}', repeat('f', 64), "
            "repeat('f', 64), calls.signal_timestamp, calls.signal_timestamp + interval '1 day', 'failed', "
            "'no room on the disk' from strategies cross join calls "
            "where strategies.name = 'never-simulated' and calls.id = %s",
            (int(call),),
        )
        try:
            answer = stocked("trade", call, "--strategy", "never-simulated")
            answer.refuses("is failed: no room on the disk", "quantbot backfill")
        finally:
            connection.execute("delete from simulation_runs where run_key = repeat('f', 64)")
            connection.execute("delete from strategies where name = 'never-simulated'")
