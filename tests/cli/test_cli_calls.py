"""Callers, calls, the inbox and the quarantine on the command line."""

import json
from pathlib import Path
from typing import Any

import psycopg
import pytest
from conftest import Databases, Quantbot

pytestmark = pytest.mark.server

HEADER = "caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert\n"
CANDLES = "token_address,chain,timestamp,interval,open,high,low,close,volume\n"


def _alerts(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "".join(f"{row}\n" for row in rows))
    return path


def _row(caller: str, minute: int, pair: str = "CALLS_USDT") -> str:
    return f"{caller},{pair},binance,2025-02-01T00:{minute:02d}:00Z,1,"


def test_callers_are_listed_aliased_and_taken_apart(
    quantbot: Quantbot, fresh_databases: Databases, tmp_path: Path
) -> None:
    file = _alerts(tmp_path / "a.csv", _row("anna", 1), _row("anna_x", 2), _row("bert", 3))
    assert quantbot("ingest", "alerts", file, "--source", "tg").code == 0
    answer = quantbot("callers", "alias", "tg/anna_x", "anna", "--json")
    assert answer.code == 0, answer.err
    assert answer.document == {
        "caller": "tg/anna_x",
        "counts_as": "tg/anna",
        "is_new": True,
        "calls_changed": 1,
        "calls_active": 3,
        "runs_retired": 0,
    }
    listed = {row["handle"]: row for row in quantbot("callers", "list", "--json").document}
    assert [(listed[name]["calls"], listed[name]["alerts"]) for name in ("anna", "anna_x", "bert")] == [
        (2, 1),
        (0, 1),
        (1, 1),
    ]
    assert listed["anna_x"]["alias_of"] == listed["anna_x"]["counts_as"] == "tg/anna"
    assert "tg/anna_x" in quantbot("callers", "list").out
    again = quantbot("callers", "alias", "tg/anna_x", "tg/anna")
    assert "as before" in again.out
    quantbot("callers", "alias", "tg/anna", "tg/anna_x").refuses("circle", "tg/anna -> tg/anna_x -> tg/anna")
    quantbot("callers", "alias", "tg/berd", "tg/anna").refuses("'tg/berd'", "'tg/bert'")
    assert quantbot("callers", "unalias", "tg/anna_x", "--json").document["counts_as"] == "tg/anna_x"
    assert "itself, as before" in quantbot("callers", "unalias", "tg/anna_x").out


def test_calls_are_derived_by_other_rules_which_stay_in_force(
    quantbot: Quantbot, fresh_databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = _alerts(tmp_path / "a.csv", _row("anna", 1), _row("anna", 2), f"anna,0x{'ab' * 20},,2025-02-01T00:00:00Z,1,")
    quantbot("ingest", "alerts", file)
    answer = quantbot("calls", "derive", "--first", "--json")
    assert answer.code == 0, answer.err
    assert answer.document["rules"] == {"policy": "first", "cool_down_seconds": 0, "repetition_seconds": 86400}
    assert (answer.document["active"], answer.document["deactivated"]) == (2, 1)
    assert answer.document["unplaced_total"] == 1
    assert "no candles" in answer.document["unplaced"][0]["reason"]
    quantbot("ingest", "alerts", _alerts(tmp_path / "b.csv", _row("anna", 3)))
    assert quantbot("calls", "derive", "--json").document["active"] == 2
    monkeypatch.setenv("QUANTBOT_CALLS_POLICY", "every")
    monkeypatch.setenv("QUANTBOT_CALLS_COOL_DOWN", "1m")
    answer = quantbot("calls", "derive", "--json")
    assert answer.document["rules"]["cool_down_seconds"] == 60
    assert answer.document["active"] == 4
    assert "rules: every" in quantbot("calls", "derive", "--cool-down", "0").out


@pytest.mark.parametrize("text", ["soon", "-1", "1w", ""])
def test_a_time_that_is_none_is_refused(quantbot: Quantbot, text: str) -> None:
    quantbot("calls", "derive", "--cool-down", text).refuses("--cool-down", repr(text), "1h")


def test_a_setting_that_is_no_time_is_refused(quantbot: Quantbot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTBOT_CALLS_COOL_DOWN", "soon")
    quantbot("calls", "derive").refuses("QUANTBOT_CALLS_COOL_DOWN", "'soon'", "1h")


def test_columns_of_any_name_are_mapped_and_the_map_is_part_of_the_import(
    quantbot: Quantbot, fresh_databases: Databases, tmp_path: Path
) -> None:
    file = _alerts(tmp_path / "a.csv", "anna,BONK_USDT,2025-02-01T00:00:00Z", header="Call = by,coin,moment of it\n")
    arguments = ["ingest", "alerts", file, "--chain", "binance", "--map", "coin=token_address", "--json"]
    arguments += ["--map", "moment of it=timestamp"]
    answer = quantbot(*arguments, "--map", "Call = by=caller")
    assert answer.code == 0, answer.err
    assert answer.document["totals"]["stored"] == 1, answer.document
    assert quantbot(*arguments, "--map", "Call = by=caller").document["files"][0]["known"] is True
    # Without a caller of its own each alert would be somebody else's: other options, another import.
    other = quantbot(*arguments, "--map", "Call = by=ignore", "--caller", "bert").document
    assert (other["files"][0]["known"], other["totals"]["stored"]) == (False, 1)
    quantbot("ingest", "alerts", file, "--map", "coin").refuses("--map", "'coin'", "COLUMN=FIELD")
    quantbot("ingest", "alerts", file, "--map", "coin=side", "--map", "coin=chain").refuses("--map", "twice")
    quantbot("ingest", "alerts", file, "--map", "coin=nonsense").refuses("nonsense")


def test_reasons_are_capped_and_the_rest_is_listed_from_quarantine(
    quantbot: Quantbot, fresh_databases: Databases, tmp_path: Path
) -> None:
    """A file of 17 000 rows without tokens printed 17 000 reasons."""
    rows = [_row("anna", 1).replace("CALLS_USDT", f"NOT A PAIR {k}") for k in range(130)]
    file = _alerts(tmp_path / "bad.csv", *rows)
    answer = quantbot("ingest", "alerts", file, "--json").document
    assert (answer["quarantined_total"], len(answer["quarantined"])) == (130, 100)
    listed = quantbot("quarantine", "--file", "bad.csv", "--limit", "7", "--json").document
    assert listed["total"] == 130
    assert [row["line"] for row in listed["rows"]] == [2, 3, 4, 5, 6, 7, 8]
    assert listed["rows"][0]["raw_text"] == rows[0]
    assert quantbot("quarantine", "--file", str(file), "--kind", "alerts", "--json").document["total"] == 130
    assert quantbot("quarantine", "--kind", "candles", "--json").document["files"] == []
    assert quantbot("quarantine", "--file", "ad.csv", "--json").document["total"] == 0
    assert "110 more" in quantbot("quarantine").out


def test_rows_that_went_in_with_other_options_are_shown_as_resolved(
    quantbot: Quantbot, fresh_databases: Databases, tmp_path: Path
) -> None:
    # Lines 2 and 3 lack a zone, line 4 has no token either way.
    naive = [_row("anna", minute).replace("Z,", ",") for minute in (1, 2)]
    file = _alerts(tmp_path / "naive.csv", *naive, _row("anna", 3).replace("CALLS_USDT", "NOT A PAIR"))
    quantbot("ingest", "alerts", file)
    refused = quantbot("quarantine", "--json").document
    assert (refused["total"], refused["resolved"]) == (3, 0)
    assert "went in" not in quantbot("quarantine").out

    quantbot("ingest", "alerts", file, "--timezone", "UTC")
    # The second import refused line 4 as well: it is there twice.
    listed = quantbot("quarantine", "--json").document
    assert (listed["total"], listed["resolved"]) == (4, 2)
    assert {row["line"]: row["resolved_at"] is not None for row in listed["rows"]} == {2: True, 3: True, 4: False}
    assert "2 of 4 rows went in after all" in quantbot("quarantine").out
    assert [row["line"] for row in quantbot("quarantine", "--open", "--json").document["rows"]] == [4, 4]
    assert "naive.csv:2" not in quantbot("quarantine", "--open").out


def test_the_inbox_is_taken_once_with_partitions_and_reports(
    quantbot: Quantbot, fresh_databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTBOT_INBOX_SETTLE_SECONDS", "0")
    inbox = tmp_path / "home" / "inbox"
    _alerts(
        inbox / "alerts" / "a.csv", _row("anna", 1), _row("anna", 1), "anna,NO PAIR,binance,2025-02-01T00:00:00Z,1,"
    )
    _alerts(inbox / "alerts" / "half.csv.part", _row("anna", 9))
    _alerts(inbox / "alerts" / "bad.csv", header="")
    _alerts(inbox / "candles" / "c.csv", "CALLS_USDT,binance,2025-02-01T00:00:00Z,1m,1,1,1,1,5", header=CANDLES)
    answer = quantbot("ingest", "inbox", "--once", "--json")
    assert answer.code == 0, answer.err
    assert {report["file"]: report["moved_to"] for report in answer.document["files"]} == {
        "a.csv": "done/a.csv",
        "bad.csv": "failed/bad.csv",
        "c.csv": "done/c.csv",
    }
    assert answer.document["totals"] == {
        "files": 3, "failed": 1, "rows": 4, "stored": 2, "duplicates": 1, "quarantined": 1,
    }  # fmt: skip
    assert "failed/bad.csv" in answer.err
    assert json.loads((inbox / "alerts" / "done" / "a.csv.report.json").read_text())["stored"] == 1
    assert (inbox / "alerts" / "half.csv.part").exists()
    assert quantbot("quarantine", "--file", "a.csv", "--json").document["total"] == 1
    import dagster as dg

    with dg.DagsterInstance.get() as instance:
        # Tests share the instance: others may have left tokens of theirs.
        assert "binance:CALLS_USDT" in instance.get_dynamic_partitions("token")
        recorded = instance.get_materialized_partitions(dg.AssetKey("ohlcv_candles"))
        assert {key for key in recorded if "CALLS_USDT" in key} == {"2025-02-01|binance:CALLS_USDT"}
    assert quantbot("ingest", "inbox", "--once", "--json").document["files"] == []


def test_candles_tell_the_chain_of_a_token_that_alerts_named_by_its_address_alone(
    quantbot: Quantbot, fresh_databases: Databases, tmp_path: Path
) -> None:
    address = "0x" + "ab" * 20
    quantbot("ingest", "alerts", _alerts(tmp_path / "a.csv", f"anna,{address},,2025-02-01T00:00:00Z,1,"))
    candle = f"{address},base,2025-02-01T00:00:00Z,5m,1,2,0.5,1.5,10"
    quantbot("ingest", "candles", _alerts(tmp_path / "c.csv", candle, header=CANDLES))
    with psycopg.connect(fresh_databases.postgres) as connection:
        chains = connection.execute(
            "select t.chain from calls as c join tokens as t on t.id = c.token_id where c.is_active"
        ).fetchall()
    assert chains == [("base",)]


def test_the_inbox_reads_times_of_candles_in_the_zone_and_warns_of_files_without_a_usable_row(
    quantbot: Quantbot, fresh_databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Midnight in Berlin is 23:00 UTC, in winter."""
    monkeypatch.setenv("QUANTBOT_INBOX_SETTLE_SECONDS", "0")
    candles = tmp_path / "home" / "inbox" / "candles"
    _alerts(candles / "c.csv", "CALLS_USDT,binance,2025-02-01T00:00:00,1m,1,1,1,1,5", header=CANDLES)
    _alerts(candles / "bad.csv", "CALLS_USDT,binance,2025-02-01T00:00:00,1m,1,1,2,1,5", header=CANDLES)
    answer = quantbot("ingest", "inbox", "--once", "--json", "--timezone", "Europe/Berlin")
    assert answer.code == 0, answer.err
    stored = {report["file"]: (report["stored"], report["token_months"]) for report in _reports(candles / "done")}
    assert stored == {"c.csv": (1, [["binance", "CALLS_USDT", "2025-01"]]), "bad.csv": (0, [])}
    assert "done/bad.csv: none of its 1 rows could be used, all are in quarantine" in answer.err
    assert "done/c.csv" not in answer.err


def _reports(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(path.read_text()) for path in folder.glob("*.report.json")]
