"""What goes wrong with real candle files, one test each, on small invented data."""

import gc
import gzip
import json
import weakref
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.feather as feather
import pyarrow.parquet as pq
import pytest

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest import candle_streams
from quantbot_pipeline.ingest.candle_files import CandleFile, read_candle_file
from quantbot_pipeline.ingest.candle_streams import iterate_candles
from quantbot_pipeline.ingest.candles.check_rules import CheckRules
from quantbot_pipeline.ingest.candles.intervals import derive_intervals
from quantbot_pipeline.ingest.candles.options import CandleReadOptions
from quantbot_pipeline.ingest.candles.rows import CandleRows
from quantbot_pipeline.ingest.checked_candles import FLAG_DISTORTED_WICK, FLAG_VOLUME_MISSING, merged

# 2025-01-01T00:00:00Z, on the grid of every interval up to a day.
T0 = 1735689600
POOL = "So11111111111111111111111111111111111111112"
EVM = "0x20D6015660b3fe52e6690a889b5C51F69902cE0e"
SAID: dict[str, Any] = {"chain": "binance", "token": "BTC_USDT"}


def write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def write_times(path: Path, times: list[int], volume: str = "10") -> Path:
    return write(path, "timestamp,open,high,low,close,volume", *(f"{time},1,2,0.5,1.5,{volume}" for time in times))


def times_of(file: CandleFile, interval: str) -> list[int]:
    return [row["timestamp"] for row in file.candles.to_pylist() if row["interval"] == interval]


def test_file_that_changes_from_5m_to_1h_is_split_at_the_change(tmp_path: Path) -> None:
    # Ten 5m candles to 00:45, a gap of 55 minutes, eight 1h candles from 02:00 on.
    fine = [T0 + 300 * step for step in range(10)]
    coarse = [T0 + 7200 + 3600 * step for step in range(8)]
    file = read_candle_file(write_times(tmp_path / "a.csv", fine + coarse), **SAID)
    assert (times_of(file, "5m"), times_of(file, "1h"), file.quarantined) == (fine, coarse, ())


def test_5m_candle_before_overlapping_1m_candles_stays_a_5m_candle(tmp_path: Path) -> None:
    """Its 1m candles follow, so the volume was counted twice as long as both were one series."""
    # The last 5m candle covers 00:55 to 01:00, the first 1m candle opens at 00:57.
    coarse = [T0 + 300 * step for step in range(12)]
    fine = [T0 + 3300 + 120 + 60 * step for step in range(11)]
    file = read_candle_file(write_times(tmp_path / "a.csv", coarse + fine), **SAID)
    assert (times_of(file, "5m"), times_of(file, "1m"), file.conflicts) == (coarse, fine, 0)


def test_1m_rows_appended_to_5m_rows_of_the_same_time_are_other_candles(tmp_path: Path) -> None:
    coarse = [T0 + 300 * step for step in range(12)]
    fine = [T0 + 60 * step for step in range(60)]
    file = read_candle_file(write_times(tmp_path / "a.csv", coarse + fine), **SAID)
    assert (times_of(file, "5m"), times_of(file, "1m")) == (coarse, fine)
    assert (file.duplicates, file.conflicts) == (0, 0)


def test_gaps_are_not_taken_for_a_longer_interval(tmp_path: Path) -> None:
    # Two gaps of exactly an hour in 5m candles, one right after the other.
    times = [T0 + 300 * step for step in range(13)] + [T0 + 7200, T0 + 10800, T0 + 11100, T0 + 11400]
    file = read_candle_file(write_times(tmp_path / "a.csv", times), **SAID)
    assert (times_of(file, "5m"), file.quarantined) == (times, ())


def test_rows_between_chance_and_change_ask_for_the_interval(tmp_path: Path) -> None:
    # Four steps of 1h after 5m candles: 12^4 = 20 736 is too much for chance and too little to be sure (10^6).
    fine = [T0 + 300 * step for step in range(12)]
    doubtful = [T0 + 3600 * step for step in range(1, 6)]
    file = read_candle_file(write_times(tmp_path / "a.csv", fine + doubtful), **SAID)
    assert times_of(file, "5m") == fine
    assert [row.line for row in file.quarantined] == [14, 15, 16, 17, 18]
    assert "name it with --interval" in file.quarantined[0].reason


@pytest.mark.parametrize("times", [[T0], [T0, T0 + 300], [T0, T0 + 420, T0 + 840]])
def test_rows_too_few_to_tell_the_interval_ask_for_it(tmp_path: Path, times: list[int]) -> None:
    path = write_times(tmp_path / "a.csv", times)
    file = read_candle_file(path, **SAID)
    assert [row.field for row in file.quarantined] == ["interval"] * len(times)
    assert read_candle_file(path, **SAID, interval="1m").candles.num_rows == len(times)


def test_newest_first_rows_are_told_like_oldest_first(tmp_path: Path) -> None:
    times = [T0 + 300 * step for step in range(10)] + [T0 + 7200 + 3600 * step for step in range(8)]
    forth = read_candle_file(write_times(tmp_path / "a.csv", times), **SAID)
    back = read_candle_file(write_times(tmp_path / "b.csv", times[::-1]), **SAID)
    assert back.candles.equals(forth.candles)


def test_shuffled_rows_are_told_like_sorted_ones(tmp_path: Path) -> None:
    times = [T0 + 60 * step for step in range(200)]
    shuffled = np.random.default_rng(5).permutation(times).tolist()
    assert times_of(read_candle_file(write_times(tmp_path / "a.csv", shuffled), **SAID), "1m") == times


def test_every_fifth_row_first_is_still_1m() -> None:
    # 0, 5, 10 … and then the rest: the first part alone looks like 5m.
    times = np.array([T0 + 60 * step for step in [*range(0, 40, 5), *(step for step in range(40) if step % 5)]])
    assert set(derive_intervals(times).tolist()) == {60}


def test_option_that_the_steps_contradict_is_refused(tmp_path: Path) -> None:
    """Every fifth 1m candle lies on the 5m grid and would have been stored as a 5m candle."""
    path = write_times(tmp_path / "a.csv", [T0 + 60 * step for step in range(30)])
    with pytest.raises(DataError, match="1m candles, told from the steps between them, but --interval says 5m"):
        read_candle_file(path, **SAID, interval="5m")


def test_name_that_says_another_interval_than_the_rows_is_not_believed(tmp_path: Path) -> None:
    times = [T0 + 60 * step for step in range(30)]
    file = read_candle_file(write_times(tmp_path / "UNIT_BTC-5m.csv", times), chain="binance")
    assert times_of(file, "1m") == times
    rows = json.dumps([[time * 1000, 1, 2, 0.5, 1.5, 1] for time in times]).encode()
    (tmp_path / "UNIT_BTC-8m.json.gz").write_bytes(gzip.compress(rows))
    other = read_candle_file(tmp_path / "UNIT_BTC-8m.json.gz", chain="binance")
    assert times_of(other, "1m") == times
    assert "'8m'" in other.notes[1]


def test_interval_is_told_across_pieces_of_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    times = [T0 + 300 * step for step in range(100)] + [T0 + 36000 + 3600 * step for step in range(30)]
    path = write_times(tmp_path / "a.csv", times)
    whole = read_candle_file(path, **SAID)
    # 130 rows are two windows and a rest, or two windows exactly.
    for window, batch in ((60, 100), (60, 777), (65, 777), (65, 100_000)):
        monkeypatch.setattr(candle_streams, "ROWS_PER_WINDOW", window)
        monkeypatch.setattr(candle_streams, "BYTES_PER_BATCH", batch)
        pieces = list(iterate_candles(path, options=CandleReadOptions(**SAID)))
        assert len(pieces) > 2
        assert merged(pieces).candles.equals(whole.candles)
        assert sum(piece.rows_read for piece in pieces) == 130


def test_pieces_are_let_go_while_the_interval_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The rows that wait for the next window once kept every window before it in memory."""
    path = write_times(tmp_path / "a.csv", [T0 + 300 * step for step in range(4_000)])
    monkeypatch.setattr(candle_streams, "ROWS_PER_WINDOW", 500)
    monkeypatch.setattr(candle_streams, "BYTES_PER_BATCH", 20_000)
    alive: list[weakref.ref[CandleRows]] = []
    check = candle_streams.check_piece

    def remember(rows: CandleRows, rules: CheckRules, *, more_follows: bool = False) -> Any:
        alive.append(weakref.ref(rows))
        return check(rows, rules, more_follows=more_follows)

    monkeypatch.setattr(candle_streams, "check_piece", remember)
    most = 0
    for _ in iterate_candles(path, options=CandleReadOptions(**SAID)):
        gc.collect()
        most = max(most, sum(rows() is not None for rows in alive))
    assert len(alive) == 9
    assert most <= 2


def test_missing_volume_of_an_idle_bar_is_0_and_flagged(tmp_path: Path) -> None:
    idle = [f"{T0 + 60 * step},2,2,2,2,{volume}" for step, volume in enumerate(["NaN", "", "null", "0", "nan"])]
    path = write(tmp_path / "a.csv", "timestamp,open,high,low,close,volume", *idle, f"{T0 + 300},1,2,0.5,1.5,NaN")
    file = read_candle_file(path, **SAID)
    assert file.candles["volume"].to_pylist() == [0.0] * 5
    assert file.candles["flags"].to_pylist() == [FLAG_VOLUME_MISSING] * 3 + [0, FLAG_VOLUME_MISSING]
    (row,) = file.quarantined
    assert (row.line, row.field, row.reason[:36]) == (7, "volume", "volume is missing on a bar that move")


def test_nan_price_is_refused(tmp_path: Path) -> None:
    lines = [f"{T0 + 60 * step},1,2,0.5,1.5,1" for step in range(4)]
    file = read_candle_file(
        write(tmp_path / "a.csv", "timestamp,open,high,low,close,volume", *lines, f"{T0 + 240},NaN,2,0.5,1.5,1"), **SAID
    )
    assert [(row.field, row.reason) for row in file.quarantined] == [("open", "open must be finite, found nan")]


def test_distorted_wick_is_flagged_only_if_asked_and_never_changed(tmp_path: Path) -> None:
    # High 12 is more than 3 times 1.5; low 0.2 is less than 1 / 3; 4.4 and 0.34 are within.
    lines = ["1,12,1,1.5", "1,2,0.2,1.5", "1,4.4,0.34,1.5"]
    rows = [f"{T0 + 60 * step},{prices},1" for step, prices in enumerate(lines)]
    path = write(tmp_path / "a.csv", "timestamp,open,high,low,close,volume", *rows)
    assert read_candle_file(path, **SAID).candles["flags"].to_pylist() == [0, 0, 0]
    file = read_candle_file(path, **SAID, wick_limit=3.0)
    assert file.candles["flags"].to_pylist() == [FLAG_DISTORTED_WICK, FLAG_DISTORTED_WICK, 0]
    assert file.candles["high"].to_pylist() == [12.0, 2.0, 4.4]


def test_conflicts_are_listed_with_both_rows(tmp_path: Path) -> None:
    rows = [f"{T0 + 60 * step},1,2,0.5,1.5,1" for step in range(3)]
    path = write(tmp_path / "a.csv", "timestamp,open,high,low,close,volume", *rows, f"{T0},1,2,0.5,1.5,9")
    file = read_candle_file(path, **SAID)
    (conflict,) = file.conflict_examples
    assert (conflict.timestamp, conflict.line, conflict.values[4]) == (T0, 2, 1.0)
    assert (conflict.kept_line, conflict.kept_values[4], conflict.interval) == (5, 9.0, "1m")


def test_header_column_that_occurs_twice_and_a_mangled_time_do_not_hide_the_epoch(tmp_path: Path) -> None:
    header = "id,pool_id,timeframe,timestamp,open_price,high_price,low_price,close_price,volume_usd,datetime,x,datetime"
    rows = [f"1,solana_{POOL},15m,{T0},0.00005,0.00007,0.00004,0.00006,7,15:00.0,9/5/2025,8/21/25 18:15"]
    file = read_candle_file(write(tmp_path / "a.csv", header, *rows))
    assert file.candles.to_pylist()[0] | {"flags": 0} == {
        "chain": "solana", "token_address": POOL, "interval": "15m", "timestamp": T0,
        "open": 0.00005, "high": 0.00007, "low": 0.00004, "close": 0.00006, "volume": 7.0 / 0.00006, "flags": 0,
    }  # fmt: skip


def test_two_whole_times_that_disagree_are_refused(tmp_path: Path) -> None:
    """18:00 at -06 is midnight UTC."""
    rows = [f"{T0},2024-12-31 18:00:00-06,1,2,0.5,1.5,1", f"{T0 + 300},2024-12-31 18:00:00-06,1,2,0.5,1.5,1"]
    path = write(tmp_path / "a.csv", "timestamp,datetime,open,high,low,close,volume", *rows)
    file = read_candle_file(path, **SAID, interval="5m")
    assert file.candles["timestamp"].to_pylist() == [T0]
    assert file.quarantined[0].reason == (
        "timestamp says 2025-01-01T00:05:00+00:00, but datetime says 2025-01-01T00:00:00+00:00"
    )


@pytest.mark.parametrize("offset", ["+11", "-06", "+0530", "Z"])
def test_offsets_of_hours_alone_are_read(tmp_path: Path, offset: str) -> None:
    hours = {"+11": 11, "-06": -6, "+0530": 5.5, "Z": 0}[offset]
    path = write(tmp_path / "a.csv", "t,o,h,l,c,v", f"2025-01-01T00:00:00{offset},1,2,0.5,1.5,1")
    file = read_candle_file(path, **SAID, interval="30m")
    assert file.candles["timestamp"].to_pylist() == [T0 - int(hours * 3600)]


def test_date_after_tomorrow_is_refused(tmp_path: Path) -> None:
    now = datetime(2025, 1, 1, tzinfo=UTC)
    path = write_times(tmp_path / "a.csv", [T0 + 86400 - 300, T0 + 86400])
    file = read_candle_file(path, **SAID, interval="5m", now=now)
    assert file.candles["timestamp"].to_pylist() == [T0 + 86400 - 300]
    assert "is 2025-01-02T00:00:00+00:00 if these are seconds" in file.quarantined[0].reason


@pytest.mark.parametrize(
    ("name", "options", "token"),
    [
        ("binance__BTC_USDT__5m.csv", {}, ("binance", "BTC_USDT")),
        ("RED_USDT-5m.csv", {"chain": "binance"}, ("binance", "RED_USDT")),
        (f"solana_{POOL}_20250813-1351_20250813-1623.csv", {}, ("solana", POOL)),
        (f"TROLL_2_solana_{POOL}.csv", {}, ("solana", POOL)),
        (f"bsc_{EVM}_20250922-1608.EXCERPT.csv", {}, ("bsc", EVM.lower())),
        ("AIRI_3hAQddKZ_solana.EXCERPT.csv", {"token": POOL}, ("solana", POOL)),
    ],
)
def test_name_of_the_file_says_what_columns_and_options_do_not(
    tmp_path: Path, name: str, options: dict[str, str], token: tuple[str, str]
) -> None:
    file = read_candle_file(write_times(tmp_path / name, [T0, T0 + 300, T0 + 600]), **options)  # type: ignore[arg-type]
    assert {(row["chain"], row["token_address"], row["interval"]) for row in file.candles.to_pylist()} == {
        (*token, "5m")
    }
    assert "taken from the file's name" in file.notes[0]


def test_shortened_address_and_missing_chain_are_asked_for(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"shortens the address to '3hAQddKZ', which can't be used; .* --token"):
        read_candle_file(write_times(tmp_path / "AIRI_3hAQddKZ_solana.csv", [T0, T0 + 300]))
    with pytest.raises(DataError, match="--chain"):
        read_candle_file(write_times(tmp_path / "RED_USDT-5m.csv", [T0, T0 + 300]))


def test_mixed_case_evm_addresses_are_one_token_and_solana_case_is_kept(tmp_path: Path) -> None:
    rows = [f"{T0},1,2,0.5,1.5,1,base,{EVM},5m", f"{T0},1,2,0.5,1.5,1,base,{EVM.lower()},5m"]
    file = read_candle_file(write(tmp_path / "a.csv", "time,o,h,l,c,vol,network,mint,timeframe", *rows))
    assert (file.candles.num_rows, file.duplicates) == (1, 1)


def test_trades_are_refused_as_trades(tmp_path: Path) -> None:
    with pytest.raises(DataError, match=r"line 1 is '1672531436,90\.54,1\.1'.*lists of trades"):
        read_candle_file(write(tmp_path / "a.csv", "1672531436,90.54,1.1", "1672531471,90.45,1.0"))
    with pytest.raises(DataError, match="these are trades, not candles"):
        read_candle_file(write(tmp_path / "b.csv", "timestamp,price,amount,side", f"{T0},1,2,buy"))
    trades = tmp_path / "c.json.gz"
    trades.write_bytes(gzip.compress(json.dumps([[T0 * 1000, "1", None, "sell", 0.1, 2.0, 0.2]]).encode()))
    with pytest.raises(DataError, match="these are trades, not candles"):
        read_candle_file(trades)


def test_values_where_the_names_should_be_are_shown_with_the_line_to_add(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="put a line such as timestamp,open,high,low,close,volume before it"):
        read_candle_file(write(tmp_path / "a.csv", f"{T0},1,2,0.5,1.5,1"))


ROWS = [[T0 + 300 * step, 1.0 + step, 2.0 + step, 0.5, 1.5 + step, 4.6105945158244795e-13] for step in range(4)]
NAMES = ("timestamp", "open", "high", "low", "close", "volume")


def test_every_format_of_the_same_candles_gives_the_same_table(tmp_path: Path) -> None:
    records = [dict(zip(NAMES, row, strict=True)) for row in ROWS]
    table = pa.table({name: [record[name] for record in records] for name in NAMES})
    pq.write_table(table, tmp_path / "a.parquet")
    feather.write_feather(table, tmp_path / "a.feather")
    columns = {"date": pa.array([row[0] * 10**9 for row in ROWS], pa.timestamp("ns", "UTC"))}
    typed = pa.table(columns | {name: table[name] for name in NAMES[1:]})
    feather.write_feather(typed, tmp_path / "b.feather", compression="uncompressed")
    texts = {
        "a.csv": "\n".join([",".join(NAMES), *(",".join(map(repr, row)) for row in ROWS)]),
        "b.csv": "\r\n".join([",".join(NAMES[::-1]).upper(), *(",".join(map(repr, row[::-1])) for row in ROWS)]),
        "a.json": json.dumps([[row[0] * 1000, *row[1:]] for row in ROWS]),
        "b.json": json.dumps(records, indent=2),
        "c.json": json.dumps({"candles": ROWS[::-1], "meta": {}}),
        "d.json": json.dumps(
            {"data": {"items": [dict(zip(["unixTime", *"ohlcv"], map(str, row), strict=True)) for row in ROWS]}}
        ),
        "a.jsonl": "\n".join(map(json.dumps, ROWS)),
        "b.jsonl": "\n\n".join(map(json.dumps, records)),
    }
    for name, text in texts.items():
        (tmp_path / name).write_text(text)
        (tmp_path / f"{name}.gz").write_bytes(gzip.compress(text.encode()))
    expected = read_candle_file(tmp_path / "a.parquet", **SAID)
    assert expected.candles["close"].to_pylist() == [1.5, 2.5, 3.5, 4.5]
    names = sorted(path.name for path in tmp_path.iterdir())
    assert len(names) == 19
    for name in names:
        file = read_candle_file(tmp_path / name, **SAID)
        assert file.candles.equals(expected.candles), name
        assert (file.rows_read, file.quarantined) == (4, ()), name


def test_birdeye_answer_says_token_and_interval(tmp_path: Path) -> None:
    items = [
        {"unixTime": T0, "o": 1, "h": 2, "l": 0.5, "c": 1.5, "v": 3, "address": POOL, "type": "1H"},
        {"unixTime": T0 + 3600, "o": 1, "h": 2, "l": 0.5, "c": 1.5, "v": 3, "address": POOL, "type": "1H"},
    ]
    path = tmp_path / "a.json"
    path.write_text(json.dumps({"data": {"items": items}, "success": True}))
    file = read_candle_file(path, chain="solana")
    assert {(row["token_address"], row["interval"]) for row in file.candles.to_pylist()} == {(POOL, "1h")}
    with pytest.raises(DataError, match="--chain"):
        read_candle_file(path)
