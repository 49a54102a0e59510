"""Files in, files out, without any database."""

import csv
import json
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantbot_pipeline.errors import DataError, InputError
from quantbot_pipeline.strategy.model import Strategy, parse_strategy
from quantbot_pipeline.workflows.simulate_files import EVENT_COLUMNS, simulate_files, write_events, write_summary

START = 1_735_689_600


def _candles(path: Path, token: str, interval: str, rows: list[tuple[int, float, float, float, float]]) -> Path:
    step = {"1m": 60, "5m": 300}[interval]
    columns = list(zip(*[(START + step * k, *prices) for k, *prices in rows], strict=True))
    pq.write_table(
        pa.table(
            {
                **dict(zip(("timestamp", "open", "high", "low", "close"), columns, strict=True)),
                "volume": [1.0] * len(rows),
                "token_address": [token] * len(rows),
                "chain": ["binance"] * len(rows),
                "interval": [interval] * len(rows),
            }
        ),
        path,
    )
    return path


def _calls(path: Path, *rows: str) -> Path:
    path.write_text("call_id,token_address,chain,signal_timestamp,side,signal_type,caller\n" + "\n".join(rows) + "\n")
    return path


@pytest.fixture
def strategy() -> Strategy:
    return parse_strategy(
        {
            "name": "stop-and-target",
            "version": "1",
            "entry": {"type": "immediate"},
            "exits": {"stop_loss": {"initial": 0.3}, "targets": [{"multiple": 2.0, "size": 1.0}]},
        }
    )


@pytest.fixture
def candles(tmp_path: Path) -> Path:
    # The contract's first worked example: stop and target in one candle.
    return _candles(tmp_path / "a.parquet", "A_USDT", "1m", [(0, 1, 1, 1, 1), (1, 1, 2.5, 0.5, 2)])


def test_worked_example_gives_its_events_and_metrics(tmp_path: Path, candles: Path, strategy: Strategy) -> None:
    calls = _calls(tmp_path / "c.csv", f"7,A_USDT,binance,{START},buy,entry,Anna")
    result = simulate_files([candles], [calls], [strategy])
    events = result.events.to_pylist()
    assert result.events.column_names == list(EVENT_COLUMNS)
    assert [(event["call_id"], event["seq"], event["event_type"], event["price"]) for event in events] == [
        (7, 0, "entry", 1.0),
        (7, 1, "stop_loss", 0.7),
    ]
    (found,) = result.summary["strategies"]
    assert found["strategy"] == "stop-and-target"
    assert found["overall"]["final_pnl"] == pytest.approx(-0.3)
    assert [row["token_address"] for row in found["tokens"]] == ["A_USDT"]


def test_the_finest_interval_is_taken_unless_one_is_named(tmp_path: Path, strategy: Strategy) -> None:
    fine = _candles(tmp_path / "1m.parquet", "A_USDT", "1m", [(0, 1, 1, 1, 1), (1, 1, 1, 1, 1)])
    coarse = _candles(tmp_path / "5m.parquet", "A_USDT", "5m", [(0, 1, 3, 1, 3), (1, 3, 3, 3, 3)])
    calls = _calls(tmp_path / "c.csv", f"1,A_USDT,binance,{START},,,")
    by_default = simulate_files([fine, coarse], [calls], [strategy])
    named = simulate_files([fine, coarse], [calls], [strategy], interval="5m")
    assert by_default.events["event_type"].to_pylist() == ["entry", "final_exit"]
    assert named.events["event_type"].to_pylist() == ["entry", "target_hit"]


def test_a_call_without_candles_is_skipped_with_its_reason(tmp_path: Path, candles: Path, strategy: Strategy) -> None:
    calls = _calls(tmp_path / "c.csv", f"x-1,B_USDT,binance,{START},,,")
    (event,) = simulate_files([candles], [calls], [strategy]).events.to_pylist()
    assert (event["call_id"], event["event_type"]) == ("x-1", "entry_skipped")
    assert json.loads(event["metadata_json"])["reason"] == "no_candles"


def test_all_three_kinds_of_event_files_hold_the_same_rows(tmp_path: Path, candles: Path, strategy: Strategy) -> None:
    calls = _calls(tmp_path / "c.csv", f"7,A_USDT,binance,{START},,,", f"8,B_USDT,binance,{START},,,")
    events = simulate_files([candles], [calls], [strategy]).events
    for suffix in (".parquet", ".csv", ".jsonl"):
        write_events(events, tmp_path / f"events{suffix}")
    parquet = pq.read_table(tmp_path / "events.parquet").to_pylist()
    lines = [json.loads(line) for line in (tmp_path / "events.jsonl").read_text().splitlines()]
    with (tmp_path / "events.csv").open(newline="") as stream:
        rows = list(csv.DictReader(stream))
    assert (
        [row["event_type"] for row in rows]
        == [row["event_type"] for row in parquet]
        == [row["event_type"] for row in lines]
    )
    assert rows[0]["event_time"] == lines[0]["event_time"] == "2025-01-01T00:00:00Z"
    assert lines[-1]["price"] is None  # NaN: no candle gave a reference price
    assert not list(tmp_path.glob(".events*"))


def test_a_bad_candle_row_refuses_everything(tmp_path: Path, strategy: Strategy) -> None:
    bad = _candles(tmp_path / "bad.parquet", "A_USDT", "1m", [(0, 1, 0.5, 1, 1)])
    calls = _calls(tmp_path / "c.csv", f"1,A_USDT,binance,{START},,,")
    with pytest.raises(DataError, match=r"bad\.parquet:1: "):
        simulate_files([bad], [calls], [strategy])


def test_the_same_candle_in_two_files_is_refused(tmp_path: Path, candles: Path, strategy: Strategy) -> None:
    other = _candles(tmp_path / "b.parquet", "A_USDT", "1m", [(1, 1, 1, 1, 1)])
    calls = _calls(tmp_path / "c.csv", f"1,A_USDT,binance,{START},,,")
    with pytest.raises(DataError, match="2025-01-01T00:01:00Z occurs twice"):
        simulate_files([candles, other], [calls], [strategy])


def test_two_strategies_of_one_name_are_refused(tmp_path: Path, candles: Path, strategy: Strategy) -> None:
    calls = _calls(tmp_path / "c.csv", f"1,A_USDT,binance,{START},,,")
    with pytest.raises(InputError, match="occurs 2 times"):
        simulate_files([candles], [calls], [strategy, strategy])


def test_paths_that_can_not_be_written_are_refused_and_leave_nothing(
    tmp_path: Path, candles: Path, strategy: Strategy
) -> None:
    calls = _calls(tmp_path / "c.csv", f"1,A_USDT,binance,{START},,,")
    result = simulate_files([candles], [calls], [strategy])
    with pytest.raises(InputError, match="allowed are"):
        write_events(result.events, tmp_path / "events.xlsx")
    with pytest.raises(InputError, match="does not exist"):
        write_events(result.events, tmp_path / "nowhere" / "events.csv")
    with pytest.raises(InputError, match="can't be written"):
        write_summary(result.summary, tmp_path / "nowhere" / "summary.json")
