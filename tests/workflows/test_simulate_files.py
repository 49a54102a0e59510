"""Files in, files out, without any database."""

import gzip
import json
import math
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from quantbot_pipeline.engine.calls import Call, Side, SignalType
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.metrics import run_metrics
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.errors import DataError, InputError
from quantbot_pipeline.ingest import candle_streams
from quantbot_pipeline.strategy.model import Strategy, parse_strategy
from quantbot_pipeline.workflows import file_candles, simulation_outputs
from quantbot_pipeline.workflows import simulate_files as module
from quantbot_pipeline.workflows.simulate_files import EVENT_COLUMNS, FilesToSimulate, simulate_files
from tests.workflows.file_scene import (
    START,
    candle_table,
    read_events,
    strategy,
    walk_table,
    write_calls,
    write_candles,
)


def simulate(
    folder: Path,
    candles: list[Path],
    calls: list[Path],
    *strategies: Strategy,
    suffix: str = ".parquet",
    **options: Any,
) -> tuple[list[dict[str, Any]], dict[str, Any]]:
    """Simulate; return events and summary as they were written."""
    events, summary = folder / f"out{suffix}", folder / "out.json"
    asked = {name: options.pop(name) for name in ("interval", "timezone") if name in options}
    files = FilesToSimulate(candles, calls, events, summary, **asked)
    returned = simulate_files(files, strategies or [strategy()], **options)
    assert json.loads(summary.read_text()) == returned
    assert not list(folder.glob(".out*"))
    return read_events(events), returned


@pytest.fixture
def candles(tmp_path: Path) -> Path:
    # The contract's first worked example: stop and target in one candle.
    return write_candles(tmp_path / "a.parquet", candle_table("A_USDT", "1m", [(0, 1, 1, 1, 1), (1, 1, 2.5, 0.5, 2)]))


@pytest.fixture
def call(tmp_path: Path) -> Path:
    return write_calls(tmp_path / "c.csv", f"7,A_USDT,binance,{START},buy,entry,Anna")


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_worked_example_gives_its_events_and_metrics(tmp_path: Path, candles: Path, call: Path, engine: str) -> None:
    events, summary = simulate(tmp_path, [candles], [call], engine=engine)
    assert list(events[0]) == list(EVENT_COLUMNS)
    assert [(event["call_id"], event["seq"], event["event_type"], event["price"]) for event in events] == [
        (7, 0, "entry", 1.0),
        (7, 1, "stop_loss", 0.7),
    ]
    (found,) = summary["strategies"]
    assert found["strategy"] == "stop-and-target"
    assert found["overall"]["final_pnl"] == pytest.approx(-0.3)
    assert [row["token_address"] for row in found["tokens"]] == ["A_USDT"]


def test_the_finest_interval_is_taken_unless_one_is_named(tmp_path: Path, call: Path) -> None:
    fine = candle_table("A_USDT", "1m", [(0, 1, 1, 1, 1), (1, 1, 1, 1, 1)])
    coarse = candle_table("A_USDT", "5m", [(0, 1, 3, 1, 3), (1, 3, 3, 3, 3)])
    both = write_candles(tmp_path / "both.parquet", pa.concat_tables([coarse, fine]))
    by_default, _ = simulate(tmp_path, [both], [call])
    named, _ = simulate(tmp_path, [both], [call], interval="5m")
    assert [event["event_type"] for event in by_default] == ["entry", "final_exit"]
    assert [event["event_type"] for event in named] == ["entry", "target_hit"]


def test_a_call_without_candles_is_skipped_with_its_reason_and_counted(tmp_path: Path, candles: Path) -> None:
    calls = write_calls(tmp_path / "c.csv", f"x-1,B_USDT,binance,{START},,,", f"x-2,A_USDT,binance,{START},,,")
    events, summary = simulate(tmp_path, [candles], [calls])
    last = events[-1]
    assert (last["call_id"], last["event_type"]) == ("x-1", "entry_skipped")
    assert json.loads(last["metadata_json"])["reason"] == "no_candles"
    assert math.isnan(last["price"])
    assert (summary["token_count"], summary["tokens_without_candles"]) == (2, 1)
    assert summary["strategies"][0]["overall"]["skipped_count"] == 1


def test_all_three_kinds_of_event_files_hold_the_same_rows(tmp_path: Path, candles: Path) -> None:
    calls = write_calls(tmp_path / "c.csv", f"7,A_USDT,binance,{START},,,", f"8,B_USDT,binance,{START},,,")
    found = {
        suffix: simulate(tmp_path, [candles], [calls], suffix=suffix)[0] for suffix in (".parquet", ".csv", ".jsonl")
    }
    for name in ("call_id", "strategy", "event_type", "size", "pnl_so_far", "position_state_json"):
        texts = {suffix: [str(row[name]) for row in rows] for suffix, rows in found.items()}
        assert texts[".csv"] == texts[".parquet"] == texts[".jsonl"]
    assert found[".csv"][0]["event_time"] == found[".jsonl"][0]["event_time"] == "2025-01-01T00:00:00Z"
    assert f"{found['.parquet'][0]['event_time']:%Y-%m-%dT%H:%M:%S%z}" == "2025-01-01T00:00:00+0000"
    # NaN: no candle gave a reference price.
    assert (found[".jsonl"][-1]["price"], found[".csv"][-1]["price"]) == (None, "nan")


def test_a_bad_candle_row_refuses_everything_and_names_its_place(tmp_path: Path, call: Path) -> None:
    rows = [(0, 1, 1, 1, 1), (1, 1, 0.5, 1, 1), (2, 1, 0.5, 1, 1)]
    bad = write_candles(tmp_path / "bad.parquet", candle_table("A_USDT", "1m", rows))
    with pytest.raises(DataError, match=r"bad\.parquet:2: the rule .*\(2 bad rows in this file"):
        simulate(tmp_path, [bad], [call])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["bad.parquet", "c.csv"]


def test_bad_rows_of_tokens_without_calls_are_refused_too(tmp_path: Path, candles: Path, call: Path) -> None:
    bad = write_candles(tmp_path / "bad.csv", candle_table("B_USDT", "1m", [(0, 1, math.nan, 1, 1)]))
    with pytest.raises(DataError, match=r"bad\.csv:2: high must be finite, found nan"):
        simulate(tmp_path, [candles, bad], [call])


def test_the_same_candle_in_two_files_is_refused_and_both_are_named(tmp_path: Path, candles: Path, call: Path) -> None:
    other = write_candles(tmp_path / "b.parquet", candle_table("A_USDT", "1m", [(1, 1, 1, 1, 1)]))
    with pytest.raises(DataError, match=r"2025-01-01T00:01:00Z occurs twice, in .*a\.parquet and .*b\.parquet"):
        simulate(tmp_path, [candles, other], [call])


def test_of_candles_that_come_again_in_one_file_the_last_is_taken_and_said(tmp_path: Path, call: Path) -> None:
    rows = [(1, 1, 9, 1, 9), (0, 1, 1, 1, 1), (1, 1, 2.5, 0.5, 2), (0, 1, 1, 1, 1)]
    twice = write_candles(tmp_path / "twice.csv", candle_table("A_USDT", "1m", rows))
    events, summary = simulate(tmp_path, [twice], [call])
    assert [event["price"] for event in events] == [1.0, 0.7]
    assert (summary["repeated_candle_rows"], summary["candle_count"]) == (2, 2)


def test_two_strategies_of_one_name_are_refused(tmp_path: Path, candles: Path, call: Path) -> None:
    with pytest.raises(InputError, match="'stop-and-target' occurs 2 times"):
        simulate(tmp_path, [candles], [call], strategy(), strategy(exits={}))


def test_the_same_call_id_in_two_files_is_refused_and_both_are_named(tmp_path: Path, candles: Path, call: Path) -> None:
    other = write_calls(tmp_path / "d.csv", f"7,B_USDT,binance,{START},,,")
    with pytest.raises(DataError, match=r"d\.csv:2: call_id '7' occurs in .*c\.csv too"):
        simulate(tmp_path, [candles], [call, other])


def test_a_call_file_without_calls_is_refused(tmp_path: Path, candles: Path) -> None:
    with pytest.raises(InputError, match=r"c\.csv: found no calls"):
        simulate(tmp_path, [candles], [write_calls(tmp_path / "c.csv")])


def test_calls_that_open_nothing_give_empty_events_and_no_trades(tmp_path: Path, candles: Path) -> None:
    calls = write_calls(tmp_path / "c.csv", f"1,A_USDT,binance,{START},SELL,,Anna")
    events, summary = simulate(tmp_path, [candles], [calls])
    assert events == []
    assert pq.read_schema(tmp_path / "out.parquet").names == list(EVENT_COLUMNS)
    assert summary["strategies"][0]["tokens"][0]["trade_count"] == 0


def test_an_exit_call_is_named_by_its_id_of_the_file(tmp_path: Path) -> None:
    """Its place among the calls was once reported in place of its id."""
    flat = write_candles(tmp_path / "a.parquet", candle_table("A_USDT", "1m", [(k, 1, 1, 1, 1) for k in range(5)]))
    listening = strategy(exits={"on_exit_call": True})
    for ids in (("40", "30"), ("in", 'out "1"')):
        rows = [
            f'"{ids[0]}",A_USDT,binance,{START},buy,entry,Anna',
            '"{}",A_USDT,binance,{},sell,exit,Anna'.format(ids[1].replace('"', '""'), START + 60),
        ]
        events, _ = simulate(tmp_path, [flat], [write_calls(tmp_path / "c.csv", *rows)], listening)
        cause = json.loads(events[-1]["metadata_json"])["exit_call_id"]
        assert (events[-1]["event_type"], str(cause), str(events[-1]["call_id"])) == ("signal_exit", ids[1], ids[0])


# --- the same whatever the chunks, the order of rows, the files, the engine and the threads ---

TOKENS = [f"T{k}_USDT" for k in range(12)]


def busy_strategies() -> list[Strategy]:
    """Two strategies, not in the order of their names, that listen to calls and read an indicator."""
    ladder = strategy(
        "zebra",
        exits={"targets": [{"multiple": 1.05, "size": 0.5}], "stop_loss": {"initial": 0.05}, "on_exit_call": True},
        re_entry={"after": ["stop"], "retrace": 0.05, "size": 0.5, "max_count": 2, "max_wait_seconds": 3600},
    )
    crossing = {"left": {"indicator": "sma", "params": {"period": 5}}, "op": ">", "right": {"candle": "close"}}
    waiting = strategy("ant", entry={"type": "signal", "when": {"all": [crossing]}}, overlap="scale_in")
    return [ladder, waiting]


@pytest.fixture
def world(tmp_path: Path) -> tuple[pa.Table, Path]:
    """Candles of a dozen tokens, and calls of all kinds on them and on one without candles."""
    table = pa.concat_tables([walk_table(token, 300, seed=k) for k, token in enumerate(TOKENS)])
    kinds = ["buy,entry", "buy,entry", "buy,scale_in", "sell,exit", ",scale_out"]
    tokens = [*TOKENS, "MISSING_USDT"]
    rows = [
        f"{(k * 37) % 1000},{tokens[k % 13]},binance,{START + 60 * ((k * 53) % 290)},{kinds[k % 5]},c{k % 2}"
        for k in range(200)
    ]
    return table, write_calls(tmp_path / "calls.csv", *rows)


def written(folder: Path, candles: list[Path], calls: Path, suffix: str = ".parquet", **options: Any) -> list[bytes]:
    simulate(folder, candles, [calls], *busy_strategies(), suffix=suffix, **options)
    return [(folder / f"out{suffix}").read_bytes(), (folder / "out.json").read_bytes()]


def spill_at(monkeypatch: pytest.MonkeyPatch, rows: int, batch: int = 200) -> None:
    """Let so few rows fit in memory, read so few at a time, and cut tokens into few ranges."""
    monkeypatch.setattr(file_candles, "ROWS_IN_MEMORY", rows)
    monkeypatch.setattr(candle_streams, "ROWS_PER_BATCH", batch)
    monkeypatch.setattr(candle_streams, "BYTES_PER_BATCH", batch * 100)
    monkeypatch.setattr(module, "CALLS_AT_ONCE", 20)
    monkeypatch.setattr(simulation_outputs, "_BYTES_IN_MEMORY", 100)


@pytest.mark.parametrize("suffix", [".parquet", ".csv", ".jsonl"])
def test_files_are_the_same_bytes_whatever_engine_threads_and_memory(
    tmp_path: Path, world: tuple[pa.Table, Path], monkeypatch: pytest.MonkeyPatch, suffix: str
) -> None:
    table, calls = world
    candles = [write_candles(tmp_path / "all.parquet", table)]
    expected = written(tmp_path, candles, calls, suffix)
    assert written(tmp_path, candles, calls, suffix, engine="reference") == expected
    assert written(tmp_path, candles, calls, suffix, threads=3) == expected
    spill_at(monkeypatch, 500)
    assert written(tmp_path, candles, calls, suffix) == expected
    assert written(tmp_path, candles, calls, suffix, engine="reference", threads=2) == expected


@pytest.mark.parametrize("kind", [".parquet", ".csv", ".csv.gz"])
@pytest.mark.parametrize("is_spilled", [False, True])
def test_files_are_the_same_bytes_whatever_the_order_of_rows_and_files(
    tmp_path: Path, world: tuple[pa.Table, Path], monkeypatch: pytest.MonkeyPatch, kind: str, is_spilled: bool
) -> None:
    table, calls = world
    expected = written(tmp_path, [write_candles(tmp_path / "all.parquet", table)], calls)
    if is_spilled:
        spill_at(monkeypatch, 700, batch=130)
    by_time = table.sort_by([("timestamp", "ascending"), ("token_address", "descending")])
    backwards = table.take(list(reversed(range(table.num_rows))))
    halves = [by_time.slice(0, 1800), by_time.slice(1800)]
    for number, parts in enumerate(([by_time], [backwards], halves[::-1])):
        files = []
        for k, part in enumerate(parts):
            path = write_candles(tmp_path / f"{number}-{k}{'.parquet' if kind == '.parquet' else '.csv'}", part)
            if kind == ".csv.gz":
                packed = path.with_suffix(".csv.gz")
                packed.write_bytes(gzip.compress(path.read_bytes()))
                path = packed
            files.append(path)
        assert written(tmp_path, files, calls) == expected
    reversed_calls = calls.read_text().splitlines()
    calls.write_text("\n".join([reversed_calls[0], *reversed_calls[:0:-1]]) + "\n")
    assert written(tmp_path, files, calls) == expected


def test_events_come_by_strategy_token_call_and_seq(tmp_path: Path, world: tuple[pa.Table, Path]) -> None:
    table, calls = world
    candles = write_candles(tmp_path / "all.parquet", table)
    events, summary = simulate(tmp_path, [candles], [calls], *busy_strategies())
    keys = [(e["strategy"], e["chain"], e["token_address"], e["call_id"], e["seq"]) for e in events]
    assert keys == sorted(keys)
    assert len(set(keys)) == len(keys) > 300
    assert [found["strategy"] for found in summary["strategies"]] == ["zebra", "ant"]
    assert [row["token_address"] for row in summary["strategies"][0]["tokens"]] == sorted([*TOKENS, "MISSING_USDT"])


def test_summaries_hold_the_metrics_of_the_reference_engine(tmp_path: Path, world: tuple[pa.Table, Path]) -> None:
    table, calls = world
    _, summary = simulate(tmp_path, [write_candles(tmp_path / "a.parquet", table)], [calls], *busy_strategies())
    [zebra, _] = busy_strategies()
    rows = table.filter(pc.equal(table["token_address"], TOKENS[3]))
    columns = [rows[name].to_numpy() for name in ("timestamp", "open", "high", "low", "close", "volume")]
    known = []
    for line in calls.read_text().splitlines()[1:]:
        number, address, _, at, side, kind, caller = line.split(",")
        if address == TOKENS[3]:
            called = Call(int(number), int(caller[1]), int(at), SignalType(kind), Side(side or "buy"))
            known.append(called)
    trades = simulate_reference(Candles(60, *columns), known, zebra)
    [found] = [row for row in summary["strategies"][0]["tokens"] if row["token_address"] == TOKENS[3]]
    assert found == {"token_address": "T3_USDT", "chain": "binance", **asdict(run_metrics(trades))}
    assert found["trade_count"] > 3


# --- more than fits in memory ---


def test_what_does_not_fit_in_memory_leaves_nothing_on_the_disk(
    tmp_path: Path, world: tuple[pa.Table, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, calls = world
    candles = write_candles(tmp_path / "all.parquet", table)
    spill_at(monkeypatch, 500)
    before = sorted(path.name for path in tmp_path.iterdir())
    spilled: list[int] = []
    add = file_candles._Spill.add

    def watch(spill: Any, rows: Any, ranks: Any) -> None:
        spilled.append(len(rows))
        add(spill, rows, ranks)

    monkeypatch.setattr(file_candles._Spill, "add", watch)
    simulate(tmp_path, [candles], [calls], *busy_strategies())
    assert sum(spilled) == table.num_rows
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*before, "out.json", "out.parquet"])


@pytest.mark.parametrize("kind", [".parquet", ".csv"])
def test_places_of_bad_rows_are_those_of_the_file_in_every_batch(
    tmp_path: Path, call: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    spill_at(monkeypatch, 10, batch=7)
    rows = [(k, 1, 1, 1, 1) for k in range(100)]
    rows[61] = rows[97] = (61, 1, 0.5, 1, 1)
    bad = write_candles(tmp_path / f"bad{kind}", candle_table("A_USDT", "1m", rows))
    line = 62 if kind == ".parquet" else 63
    with pytest.raises(DataError, match=rf"bad\{kind}:{line}: the rule .*\(2 bad rows in this file"):
        simulate(tmp_path, [bad], [call])


def test_broken_records_of_a_long_text_keep_their_lines(
    tmp_path: Path, call: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spill_at(monkeypatch, 10, batch=7)
    path = write_candles(tmp_path / "b.csv", candle_table("A_USDT", "1m", [(k, 1, 1, 1, 1) for k in range(100)]))
    lines = path.read_text().splitlines()
    for broken, reason in (('"1,2,3', "fields"), ("1,2", "the record has 2 fields, the header has 9")):
        path.write_text("\ufeff" + "\r\n".join([*lines[:51], broken, *lines[52:]]))
        with pytest.raises(DataError, match=rf"b\.csv:52: .*{reason}"):
            simulate(tmp_path, [path], [call])


def test_candles_that_come_again_in_other_batches_are_told_apart_by_file(
    tmp_path: Path, call: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    rows = [(k, 1, 1, 1, 1) for k in range(60)]
    again = [*rows, (1, 1, 2.5, 0.5, 2)]
    one = write_candles(tmp_path / "one.parquet", candle_table("A_USDT", "1m", again))
    spill_at(monkeypatch, 10, batch=7)
    events, summary = simulate(tmp_path, [one], [call])
    assert events[-1]["event_type"] == "stop_loss"
    assert summary["repeated_candle_rows"] == 1
    two = write_candles(tmp_path / "two.parquet", candle_table("A_USDT", "1m", again[-1:]))
    first = write_candles(tmp_path / "first.parquet", candle_table("A_USDT", "1m", rows))
    with pytest.raises(DataError, match=r"00:01:00Z occurs twice, in .*first\.parquet and .*two\.parquet"):
        simulate(tmp_path, [first, two], [call])


def test_a_full_disk_is_said_in_one_line(
    tmp_path: Path, world: tuple[pa.Table, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, calls = world
    candles = write_candles(tmp_path / "all.parquet", table)
    spill_at(monkeypatch, 500)

    def refuse(*_: Any, **__: Any) -> Any:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(file_candles.tempfile, "TemporaryFile", refuse)
    with pytest.raises(InputError, match=r"No space left on device.*TMPDIR") as refused:
        simulate(tmp_path, [candles], [calls])
    assert "\n" not in str(refused.value)
    assert not list(tmp_path.glob("*out*"))


# --- outputs ---


def test_outputs_that_can_not_be_written_are_refused_before_anything_is_read(tmp_path: Path) -> None:
    missing = tmp_path / "missing.parquet"
    linked = tmp_path / "linked.csv"
    (tmp_path / "c.csv").write_text("")
    linked.symlink_to(tmp_path / "c.csv")
    (tmp_path / "folder.csv").mkdir()
    cases: list[tuple[str | None, str | None, str]] = [
        ("events.xlsx", None, "allowed are .parquet, .csv, .jsonl"),
        ("nowhere/events.csv", None, "does not exist; make it first"),
        ("folder.csv", None, "it is there and is no file"),
        ("c.csv", None, "would overwrite an input"),
        ("linked.csv", None, "would overwrite an input"),
        (None, "summary.txt", "allowed are .json"),
        (None, "nowhere/summary.json", "does not exist"),
        (None, "/dev/null", "allowed are .json"),
    ]
    for events, summary, message in cases:
        files = FilesToSimulate(
            [missing],
            [tmp_path / "c.csv"],
            tmp_path / events if events else None,
            tmp_path / summary if summary else None,
        )
        with pytest.raises(InputError, match=message):
            simulate_files(files, [strategy()])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["c.csv", "folder.csv", "linked.csv"]


def test_what_was_there_before_stays_when_a_simulation_fails(
    tmp_path: Path, candles: Path, call: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "out.parquet").write_text("mine")

    def fail(*_: Any) -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr(module.SimulationOutputs, "add_events", fail)
    with pytest.raises(KeyboardInterrupt):
        simulate(tmp_path, [candles], [call])
    assert (tmp_path / "out.parquet").read_text() == "mine"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "c.csv", "out.parquet"]


def test_when_the_second_file_can_not_get_its_name_the_first_does_not_stay(
    tmp_path: Path, candles: Path, call: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    replace = Path.replace

    def refuse_parquet(path: Path, target: Path) -> Path:
        if target.suffix == ".parquet":
            raise OSError(5, "Input/output error")
        return replace(path, target)

    monkeypatch.setattr(Path, "replace", refuse_parquet)
    with pytest.raises(InputError, match=r"out\.parquet: can't be written: Input/output error"):
        simulate(tmp_path, [candles], [call])
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.parquet", "c.csv"]


def test_row_groups_do_not_depend_on_how_events_come(
    tmp_path: Path, world: tuple[pa.Table, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    table, calls = world
    candles = [write_candles(tmp_path / "all.parquet", table)]
    monkeypatch.setattr(simulation_outputs, "ROWS_PER_GROUP", 64)
    expected = written(tmp_path, candles, calls)
    spill_at(monkeypatch, 500)
    assert written(tmp_path, candles, calls) == expected
    groups = pq.ParquetFile(tmp_path / "out.parquet").metadata
    counts = [groups.row_group(k).num_rows for k in range(groups.num_row_groups)]
    assert len(counts) > 4
    assert set(counts[:-1]) == {64}


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"engine": "quick"}, "engine: found 'quick'; allowed are fast, reference"),
        ({"threads": 0}, "threads: found 0"),
        ({"interval": "7m"}, "interval '7m' is unknown; allowed are 1s"),
    ],
)
def test_wrong_options_are_refused(
    tmp_path: Path, candles: Path, call: Path, options: dict[str, Any], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        simulate(tmp_path, [candles], [call], **options)
    assert not (tmp_path / "out.parquet").exists()


# --- scores ---


def picky(**more: Any) -> Strategy:
    """Buy at the open after the first close, if the model says more than 0.6."""
    when = {"score": "take", "op": ">", "right": 0.6}
    document = {"name": "picky", "entry": {"type": "signal", "when": when, "max_wait_seconds": 60}, **more}
    return parse_strategy(document)


def write_scored(path: Path, *scores: str) -> Path:
    """Write calls on the first candle, one per score, with ids from 1 on."""
    rows = [f"{number},A_USDT,binance,{START},{score}" for number, score in enumerate(scores, start=1)]
    path.write_text("\n".join(["call_id,token_address,chain,signal_timestamp,score:take", *rows]) + "\n")
    return path


@pytest.mark.parametrize("engine", ["fast", "reference"])
def test_scores_of_the_call_file_decide_which_calls_are_bought(tmp_path: Path, engine: str) -> None:
    table = candle_table("A_USDT", "1m", [(k, 1, 1, 1, 1) for k in range(4)])
    candles = write_candles(tmp_path / "a.parquet", table)
    calls = write_scored(tmp_path / "c.csv", "0.9", "0.6", "", "0.61")
    told: list[str] = []
    events, _ = simulate(tmp_path, [candles], [calls], picky(), engine=engine, warn=told.append)
    first = {event["call_id"]: event["event_type"] for event in events if event["seq"] == 0}
    assert first == {1: "entry", 2: "entry_skipped", 3: "entry_skipped", 4: "entry"}
    assert told == []


def test_a_call_file_without_the_scores_that_a_strategy_asks_for_is_refused(tmp_path: Path, candles: Path) -> None:
    scored = write_scored(tmp_path / "c.csv", "0.9")
    plain = write_calls(tmp_path / "d.csv", f"7,A_USDT,binance,{START},buy,entry,Anna")
    with pytest.raises(InputError, match=r"d\.csv: column 'score:take' is missing, for which strategy 'picky' asks"):
        simulate(tmp_path, [candles], [scored, plain], strategy(), picky())
    assert not (tmp_path / "out.json").exists()


def test_scores_that_are_all_empty_are_warned_of(tmp_path: Path, candles: Path) -> None:
    told: list[str] = []
    simulate(tmp_path, [candles], [write_scored(tmp_path / "c.csv", "", "")], picky(), warn=told.append)
    assert told == [
        "no call has a score of model 'take', so the conditions of strategy 'picky' on it are false for all of them"
    ]
