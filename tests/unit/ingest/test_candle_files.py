"""Candle files in, checked candles out."""

import gzip
import json
import time
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candle_files import CANDLE_SCHEMA, CandleFile, read_candle_file
from quantbot_pipeline.ingest.checked_candles import FLAGGED_CANDLE_SCHEMA

# 2025-01-01T00:00:00Z, on the grid of every interval up to a day.
T0 = 1735689600
HEADER = "timestamp,open,high,low,close,volume,token_address,chain,interval"


def candle_rows(**replaced: list[Any]) -> dict[str, list[Any]]:
    """Three good five-minute candles, with some columns replaced."""
    columns: dict[str, list[Any]] = {
        "timestamp": [T0, T0 + 300, T0 + 600],
        "open": [1.0, 2.0, 3.0],
        "high": [2.0, 3.0, 4.0],
        "low": [0.5, 1.5, 2.5],
        "close": [1.5, 2.5, 3.5],
        "volume": [10.0, 0.0, 30.0],
        "token_address": ["BTC_USDT"] * 3,
        "chain": ["binance"] * 3,
        "interval": ["5m"] * 3,
    }
    return columns | replaced


def write_parquet(path: Path, columns: dict[str, Any]) -> Path:
    pq.write_table(pa.table(columns), path)
    return path


def write_csv(path: Path, *rows: str, header: str = HEADER) -> Path:
    path.write_text("\n".join([header, *rows]) + "\n", encoding="utf-8")
    return path


def csv_row(
    timestamp: object = T0,
    values: str = "1,2,0.5,1.5,10",
    identity: str = "BTC_USDT,binance,5m",
) -> str:
    return f"{timestamp},{values},{identity}"


def assert_counts_add_up(file: CandleFile) -> None:
    assert file.rows_read == file.candles.num_rows + file.duplicates + file.conflicts + len(file.quarantined)


def test_parquet_candles_are_read_in_the_one_schema(tmp_path: Path) -> None:
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", candle_rows()))
    assert file.candles.schema.equals(FLAGGED_CANDLE_SCHEMA)
    assert file.candles.to_pydict() == {
        "chain": ["binance"] * 3,
        "token_address": ["BTC_USDT"] * 3,
        "interval": ["5m"] * 3,
        "timestamp": [T0, T0 + 300, T0 + 600],
        "open": [1.0, 2.0, 3.0],
        "high": [2.0, 3.0, 4.0],
        "low": [0.5, 1.5, 2.5],
        "close": [1.5, 2.5, 3.5],
        "volume": [10.0, 0.0, 30.0],
        "flags": [0, 0, 0],
    }
    assert (file.rows_read, file.duplicates, file.conflicts, file.quarantined) == (3, 0, 0, ())


def test_csv_gives_the_same_candles_as_parquet(tmp_path: Path) -> None:
    columns = candle_rows()
    rows = [",".join(str(columns[name][row]) for name in HEADER.split(",")) for row in range(3)]
    from_parquet = read_candle_file(write_parquet(tmp_path / "a.parquet", columns))
    from_csv = read_candle_file(write_csv(tmp_path / "a.csv", *rows))
    packed = tmp_path / "a.csv.gz"
    packed.write_bytes(gzip.compress((tmp_path / "a.csv").read_bytes()))
    assert from_csv.candles.equals(from_parquet.candles)
    assert read_candle_file(packed).candles.equals(from_parquet.candles)


def test_blank_lines_and_quotes_change_nothing_but_the_line_numbers(tmp_path: Path) -> None:
    bad = csv_row(T0 + 600, "1,2,0.5,1.5,-10")
    plain = read_candle_file(write_csv(tmp_path / "a.csv", csv_row(), csv_row(T0 + 300), bad))
    quoted_row = '1735689600,"1","2",0.5,1.5,10,"BTC_USDT","binance",5m'
    spaced = read_candle_file(write_csv(tmp_path / "b.csv", quoted_row, "", csv_row(T0 + 300), bad))
    assert spaced.candles.equals(plain.candles)
    assert [row.line for row in plain.quarantined] == [4]
    assert [row.line for row in spaced.quarantined] == [5]
    assert spaced.quarantined[0].raw_text == plain.quarantined[0].raw_text == bad


def test_columns_are_found_by_name_in_any_order_and_case(tmp_path: Path) -> None:
    columns = {name.upper(): values for name, values in reversed(candle_rows().items())}
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", columns | {"extra": [1, 2, 3]}))
    assert file.candles["timestamp"].to_pylist() == [T0, T0 + 300, T0 + 600]
    assert file.candles["chain"].to_pylist() == ["binance"] * 3


def test_identity_that_columns_lack_comes_from_the_arguments(tmp_path: Path) -> None:
    columns = candle_rows()
    for name in ("chain", "token_address", "interval"):
        del columns[name]
    path = write_parquet(tmp_path / "a.parquet", columns)
    file = read_candle_file(path, chain="BNB", token="0x" + "AB" * 20, interval="5m")
    assert set(file.candles["chain"].to_pylist()) == {"bsc"}
    assert set(file.candles["token_address"].to_pylist()) == {"0x" + "ab" * 20}
    with pytest.raises(DataError, match=r"a\.parquet: column 'chain' is missing.*--chain"):
        read_candle_file(path, token="0x" + "AB" * 20, interval="5m")
    with pytest.raises(DataError, match=r"column 'token_address' is missing.*--token"):
        read_candle_file(path, chain="BNB", interval="5m")


def test_argument_fills_empty_cells(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", candle_rows(chain=["binance", None, " "]))
    assert read_candle_file(path, chain="binance").candles.num_rows == 3
    without = read_candle_file(path)
    assert [(row.line, row.field, row.reason) for row in without.quarantined] == [
        (2, "chain", "chain is empty"),
        (3, "chain", "chain is empty"),
    ]


def test_argument_that_contradicts_the_file_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", candle_rows())
    with pytest.raises(DataError, match="'chain' says 'binance', but --chain says 'kraken'"):
        read_candle_file(path, chain="kraken")
    with pytest.raises(DataError, match="'interval' says '5m', but --interval says '1m'"):
        read_candle_file(path, interval="1m")
    assert read_candle_file(path, chain="BINANCE", interval="5m").candles.num_rows == 3


@pytest.mark.parametrize("name", ["timestamp", "open", "volume"])
def test_missing_value_column_is_named_with_what_was_found(tmp_path: Path, name: str) -> None:
    columns = candle_rows()
    del columns[name]
    with pytest.raises(DataError, match=f"column '{name}' is missing.*found are .*'close'"):
        read_candle_file(write_parquet(tmp_path / "a.parquet", columns))


def test_column_that_occurs_twice_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'open' occurs twice"):
        read_candle_file(write_csv(tmp_path / "a.csv", csv_row() + ",1", header=HEADER + ",Open"))


@pytest.mark.parametrize(
    ("values", "field", "reason"),
    [
        # open, high, low, close, volume
        ((0.0, 2.0, 0.0, 1.5, 1.0), "low", "0 < low"),
        ((1.0, 2.0, -0.5, 1.5, 1.0), "low", "0 < low"),
        ((1.0, 2.0, 1.1, 1.5, 1.0), "low", r"low <= min\(open, close\)"),
        ((1.5, 2.0, 1.1, 1.0, 1.0), "low", r"low <= min\(open, close\)"),
        ((1.0, 1.4, 0.5, 1.5, 1.0), "high", r"max\(open, close\) <= high"),
        ((1.5, 1.4, 0.5, 1.0, 1.0), "high", r"max\(open, close\) <= high"),
        ((1.0, 2.0, 0.5, 1.5, -1.0), "volume", "volume >= 0"),
        ((float("nan"), 2.0, 0.5, 1.5, 1.0), "open", "open must be finite, found nan"),
        ((1.0, float("inf"), 0.5, 1.5, 1.0), "high", "high must be finite, found inf"),
        ((1.0, 2.0, 0.5, 1.5, float("nan")), "volume", "volume is missing on a bar that moved"),
        ((1.0, 2.0, 0.5, None, 1.0), "close", "close is missing"),
    ],
)
def test_row_that_is_no_valid_candle_is_quarantined_with_the_rule(
    tmp_path: Path, values: tuple[float | None, ...], field: str, reason: str
) -> None:
    columns = candle_rows()
    for name, value in zip(("open", "high", "low", "close", "volume"), values, strict=True):
        columns[name][1] = value
    path = write_parquet(tmp_path / "a.parquet", columns)
    file = read_candle_file(path)
    assert file.candles["timestamp"].to_pylist() == [T0, T0 + 600]
    (row,) = file.quarantined
    assert (row.file, row.line, row.field) == (str(path), 2, field)
    with pytest.raises(AssertionError, match=reason):
        raise AssertionError(row.reason)
    assert json.loads(row.raw_text)["timestamp"] == T0 + 300
    assert_counts_add_up(file)


def test_boundary_values_are_valid_candles(tmp_path: Path) -> None:
    # All prices equal and no volume (an idle bar), the smallest of tiny prices, and low = open, high = close.
    columns = candle_rows(
        open=[1.0, 1e-12, 1.0],
        high=[1.0, 1e-12, 2.0],
        low=[1.0, 1e-12, 1.0],
        close=[1.0, 1e-12, 2.0],
        volume=[0.0, 1e18, 0.0],
    )
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", columns))
    assert file.quarantined == ()
    assert file.candles["open"].to_pylist() == [1.0, 1e-12, 1.0]


def test_timestamp_off_the_grid_of_its_interval_is_quarantined(tmp_path: Path) -> None:
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", candle_rows(timestamp=[T0, T0 + 301, T0 + 600])))
    (row,) = file.quarantined
    assert (row.line, row.field) == (2, "timestamp")
    assert "not on the grid of interval 5m (a multiple of 300 seconds)" in row.reason
    assert_counts_add_up(file)


def test_milliseconds_that_are_no_whole_second_are_off_the_grid(tmp_path: Path) -> None:
    columns = candle_rows(timestamp=[T0 * 1000, T0 * 1000 + 300_000, T0 * 1000 + 600_001])
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", columns))
    assert file.candles["timestamp"].to_pylist() == [T0, T0 + 300]
    assert [row.line for row in file.quarantined] == [3]


@pytest.mark.parametrize(
    "timestamps",
    [
        pa.array([T0, T0 + 300, T0 + 600], type=pa.int64()),
        pa.array([T0 * 1000, T0 + 300, (T0 + 600) * 1000], type=pa.int64()),
        pa.array([T0, T0 + 300, T0 + 600], type=pa.uint32()),
        pa.array([T0 * 10**6, (T0 + 300) * 10**9, T0 + 600], type=pa.int64()),
        pa.array([T0, T0 + 300, T0 + 600], type=pa.float64()),
        pa.array([T0 * 1e3, (T0 + 300) * 1e3, (T0 + 600) * 1e3], type=pa.float64()),
        pa.array([T0 * 10**9, (T0 + 300) * 10**9, (T0 + 600) * 10**9], type=pa.timestamp("ns", "UTC")),
        pa.array([T0 * 1000, (T0 + 300) * 1000, (T0 + 600) * 1000], type=pa.timestamp("ms", "Asia/Tokyo")),
        pa.array([str(T0), str(T0 + 300), str(T0 + 600)]),
        pa.array(["2025-01-01T00:00:00Z", "2025-01-01 00:05:00Z", "2025-01-01T01:10:00+01:00"]),
        pa.array(["2025-01-01T00:00:00Z", str(T0 + 300), "2025-01-01 01:10:00.000+01"]),
        pa.array(["2025-01-01T00:00:00Z", str(T0 + 300), str(T0 + 600)]).dictionary_encode(),
    ],
    ids=lambda array: f"{array.type}-{array[0]}",
)
def test_all_forms_of_timestamps_give_the_same_seconds(tmp_path: Path, timestamps: pa.Array) -> None:
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", candle_rows() | {"timestamp": timestamps}))
    assert file.quarantined == ()
    assert file.candles["timestamp"].to_pylist() == [T0, T0 + 300, T0 + 600]


@pytest.mark.parametrize(
    ("timestamp", "reason"),
    [
        (1735689, "outside 2009 to 2099"),
        (-T0, "outside 2009 to 2099"),
        # 2025-01-01 is the 20089th day since 1970, and the 45658th in a spreadsheet.
        (20089, "looks like days since 1970"),
        (45658, "looks like a spreadsheet's day number"),
        (T0 // 60, "looks like minutes since 1970"),
        (None, "timestamp is missing"),
    ],
)
def test_implausible_number_is_quarantined_naming_the_likely_unit(
    tmp_path: Path, timestamp: int | None, reason: str
) -> None:
    """Seconds read as milliseconds once put candles into 1970."""
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", candle_rows(timestamp=[T0, timestamp, T0 + 600])))
    (row,) = file.quarantined
    assert (row.line, row.field) == (2, "timestamp")
    assert reason in row.reason
    assert_counts_add_up(file)


def test_non_finite_number_as_time_is_quarantined(tmp_path: Path) -> None:
    columns = candle_rows(timestamp=[float(T0), float("nan"), float("inf")])
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", columns))
    assert [(row.line, row.field) for row in file.quarantined] == [(2, "timestamp"), (3, "timestamp")]


def test_naive_text_is_quarantined_unless_the_zone_is_stated(tmp_path: Path) -> None:
    columns = candle_rows(timestamp=["2025-01-01T09:00:00", "2025-01-01 09:05", "2025-01-01T00:10:00Z"])
    path = write_parquet(tmp_path / "a.parquet", columns)
    without = read_candle_file(path)
    assert [(row.line, "states no zone" in row.reason) for row in without.quarantined] == [(1, True), (2, True)]
    # Tokyo is at UTC+9 all year.
    stated = read_candle_file(path, timezone="Asia/Tokyo")
    assert stated.candles["timestamp"].to_pylist() == [T0, T0 + 300, T0 + 600]


def test_typed_times_without_zone_need_the_zone_for_the_whole_file(tmp_path: Path) -> None:
    naive = [datetime(2025, 1, 1, 9, minute, tzinfo=None) for minute in (0, 5, 10)]  # noqa: DTZ001 - the case itself
    path = write_parquet(tmp_path / "a.parquet", candle_rows(timestamp=naive))
    with pytest.raises(DataError, match=r"states no zone; name the file's zone with --timezone"):
        read_candle_file(path)
    assert read_candle_file(path, timezone="Asia/Tokyo").candles["timestamp"].to_pylist()[0] == T0
    assert read_candle_file(path, timezone="UTC").candles["timestamp"].to_pylist()[0] == T0 + 9 * 3600


def test_dates_are_days_of_the_stated_zone(tmp_path: Path) -> None:
    columns = candle_rows(timestamp=[date(2025, 1, 1), date(2025, 1, 2), date(2025, 1, 3)], interval=["1d"] * 3)
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", columns), timezone="UTC")
    assert file.candles["timestamp"].to_pylist() == [T0, T0 + 86400, T0 + 2 * 86400]


def test_rows_are_sorted_and_the_file_may_mix_series(tmp_path: Path) -> None:
    """Rows of 1m and 5m candles once ended up in one series, which counted volume twice."""
    columns = candle_rows(
        timestamp=[T0 + 300, T0, T0],
        chain=["solana", "binance", "SOL"],
        token_address=[
            "So11111111111111111111111111111111111111112",
            "B",
            "So11111111111111111111111111111111111111112",
        ],
        interval=["1m", "5m", "5m"],
    )
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", columns))
    keys = list(zip(*(file.candles[name].to_pylist() for name in ("chain", "interval", "timestamp")), strict=True))
    assert keys == [("binance", "5m", T0), ("solana", "1m", T0 + 300), ("solana", "5m", T0)]
    assert file.candles["open"].to_pylist() == [2.0, 1.0, 3.0]


def test_exact_repeats_are_duplicates_and_of_other_values_the_last_row_wins(tmp_path: Path) -> None:
    # Key T0 comes four times: two other values (conflicts), then the winner twice (one duplicate).
    rows = [
        csv_row(T0, "1,2,0.5,1.5,1"),
        csv_row(T0, "1,2,0.5,1.5,2"),
        csv_row(T0 + 300),
        csv_row(T0, "1,2,0.5,1.5,3"),
        csv_row(T0, "1.0,2.0,0.50,1.5,3.0"),
    ]
    file = read_candle_file(write_csv(tmp_path / "a.csv", *rows))
    assert (file.rows_read, file.candles.num_rows, file.duplicates, file.conflicts) == (5, 2, 1, 2)
    assert file.candles["volume"].to_pylist() == [3.0, 10.0]
    assert_counts_add_up(file)


def test_repeats_are_compared_with_the_winner_of_their_own_key(tmp_path: Path) -> None:
    # Two keys, unsorted: a duplicate of the second one's candle and a conflict with the first one's.
    rows = [
        csv_row(T0 + 300, "1,2,0.5,1.5,7"),
        csv_row(T0, "1,2,0.5,1.5,7"),
        csv_row(T0 + 300, "1,2,0.5,1.5,7"),
        csv_row(T0, "1,2,0.5,1.5,8"),
    ]
    file = read_candle_file(write_csv(tmp_path / "a.csv", *rows))
    assert (file.duplicates, file.conflicts) == (1, 1)
    assert file.candles["volume"].to_pylist() == [8.0, 7.0]


def test_spellings_of_one_token_are_one_series(tmp_path: Path) -> None:
    columns = candle_rows(
        timestamp=[T0, T0, T0 + 300],
        chain=["BNB", "bsc", "bsc"],
        token_address=["0x" + "AB" * 20, "0x" + "ab" * 20, "0x" + "aB" * 20],
    )
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", columns))
    assert (file.candles.num_rows, file.conflicts) == (2, 1)


def test_bad_identity_is_quarantined_row_by_row(tmp_path: Path) -> None:
    columns = candle_rows(
        chain=["solana", "a/b", "binance"], token_address=["tooShort", "X", "X"], interval=["5m", "5m", "7m"]
    )
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", columns))
    assert [(row.line, row.field) for row in file.quarantined] == [
        (1, "token_address"),
        (2, "chain"),
        (3, "interval"),
    ]
    assert "allowed are 1s, 15s" in file.quarantined[2].reason
    assert file.candles.num_rows == 0
    assert file.candles.schema.equals(FLAGGED_CANDLE_SCHEMA)


def test_a_row_with_a_bad_identity_and_bad_values_is_quarantined_once(tmp_path: Path) -> None:
    columns = candle_rows(chain=["a/b", "binance", "binance"], low=[-1.0, 1.5, 2.5], timestamp=[5, T0 + 300, T0 + 600])
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", columns))
    assert [(row.line, row.field) for row in file.quarantined] == [(1, "chain")]
    assert_counts_add_up(file)


def test_broken_csv_rows_are_quarantined_with_their_line_and_text(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    lines = [
        HEADER,
        csv_row(),
        "1,2,3",
        csv_row(T0 + 300) + ",surplus",
        csv_row(T0 + 600, "1,2,0.5,abc,10"),
        csv_row(T0 + 900, "1,2,0.5,,10"),
        csv_row(T0 + 1200).replace("BTC", '"BTC'),
        csv_row(T0 + 1500),
    ]
    path.write_bytes("\n".join(lines).encode() + b"\n" + csv_row().encode() + b"\xe9\n")
    file = read_candle_file(path)
    assert [(row.line, row.field) for row in file.quarantined] == [
        (3, None),
        (4, None),
        (5, "close"),
        (6, "close"),
        (7, None),
        (9, None),
    ]
    assert file.quarantined[0].reason == "the record has 3 fields, the header has 9"
    assert file.quarantined[2].reason.startswith("close 'abc' is not a number")
    assert file.quarantined[2].raw_text == lines[4]
    assert file.quarantined[5].raw_text == csv_row() + "\\xe9"
    assert file.candles["timestamp"].to_pylist() == [T0, T0 + 1500]
    assert file.rows_read == 8
    assert_counts_add_up(file)


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("a.parquet", b"", "zero bytes"),
        ("a.parquet", b"PAR1 this is not parquet PAR1", "can't be read as parquet"),
        ("a.csv", b"", "zero bytes"),
        ("a.csv", b"\n\n", "no header"),
        ("a.csv", b"timestamp;open;high\n1;2;3\n", "separated by commas"),
        ("a.feather", b"ARROW1", "can't be read as feather"),
        ("a.xlsx", b"PK", r"allowed are \.parquet, \.feather, \.csv, \.json"),
    ],
)
def test_unreadable_file_is_refused_in_one_line(tmp_path: Path, name: str, content: bytes, reason: str) -> None:
    path = tmp_path / name
    path.write_bytes(content)
    with pytest.raises(DataError, match=reason) as caught:
        read_candle_file(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


@pytest.mark.parametrize("name", ["chain", "timestamp"])
def test_parquet_with_texts_that_are_no_text_is_refused(tmp_path: Path, name: str) -> None:
    no_text = pa.array([b"\xff\xfe"] * 3, type=pa.binary()).view(pa.string())
    with pytest.raises(DataError, match=r"can't be read as parquet: .*UTF8"):
        read_candle_file(write_parquet(tmp_path / "a.parquet", candle_rows() | {name: no_text}))


def test_parquet_with_a_column_name_that_is_no_text_is_refused(tmp_path: Path) -> None:
    path = write_parquet(tmp_path / "a.parquet", candle_rows())
    path.write_bytes(path.read_bytes().replace(b"close", b"c\xefose"))
    with pytest.raises(DataError, match="can't be read as parquet"):
        read_candle_file(path)


def test_file_without_rows_is_fine(tmp_path: Path) -> None:
    empty = {name: pa.array([], type=CANDLE_SCHEMA.field(name).type) for name in CANDLE_SCHEMA.names}
    for path in (write_parquet(tmp_path / "a.parquet", empty), write_csv(tmp_path / "a.csv")):
        file = read_candle_file(path)
        assert (file.rows_read, file.candles.num_rows, file.quarantined) == (0, 0, ())
        assert file.candles.schema.equals(FLAGGED_CANDLE_SCHEMA)


def test_column_of_an_impossible_type_is_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="column 'open' is of type list"):
        read_candle_file(write_parquet(tmp_path / "a.parquet", candle_rows(open=[[1.0], [2.0], [3.0]])))
    with pytest.raises(DataError, match="column 'timestamp' is of type bool"):
        read_candle_file(write_parquet(tmp_path / "a.parquet", candle_rows(timestamp=[True, False, True])))
    with pytest.raises(DataError, match="column 'chain' is of type list"):
        read_candle_file(write_parquet(tmp_path / "a.parquet", candle_rows(chain=[["a"], ["b"], ["c"]])))


def test_numbers_of_other_types_are_read(tmp_path: Path) -> None:
    columns = candle_rows(
        open=["1", " 2.0 ", "3e0"],
        high=pa.array([2, 3, 4], type=pa.int32()),
        volume=pa.array([1, 2, 3], type=pa.float32()),
    )
    file = read_candle_file(write_parquet(tmp_path / "a.parquet", columns))
    assert file.candles["open"].to_pylist() == [1.0, 2.0, 3.0]
    assert file.candles["high"].to_pylist() == [2.0, 3.0, 4.0]


def test_bad_arguments_are_refused_before_the_file_is_read(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="interval '7m' is unknown"):
        read_candle_file(tmp_path / "absent.parquet", interval="7m")
    with pytest.raises(DataError, match="time zone 'Moon' is unknown"):
        read_candle_file(tmp_path / "absent.parquet", timezone="Moon")


def test_tiny_prices_survive_csv_at_full_precision(tmp_path: Path) -> None:
    price = 4.6105945158244795e-13
    file = read_candle_file(write_csv(tmp_path / "a.csv", csv_row(T0, f"{price!r},{price!r},{price!r},{price!r},0")))
    assert file.candles["close"].to_pylist() == [price]


def test_a_file_of_nothing_but_bad_rows_is_read_in_reasonable_time(tmp_path: Path) -> None:
    """Distinct bad addresses on every row must not cost a scan of the file each."""
    count = 20_000
    columns = {
        "timestamp": np.full(count, T0),
        **{name: np.ones(count) for name in ("open", "high", "low", "close", "volume")},
        "token_address": [f"bad{number}" for number in range(count)],
        "chain": ["solana"] * count,
        "interval": ["5m"] * count,
    }
    path = write_parquet(tmp_path / "a.parquet", columns)
    started = time.process_time()
    file = read_candle_file(path)
    assert len(file.quarantined) == count
    # About 1 s; a scan per row would take minutes.
    assert time.process_time() - started < 30


def test_parquet_is_read_at_a_million_rows_per_second(tmp_path: Path) -> None:
    count = 1_000_000
    step = np.arange(count, dtype=np.int64)
    price = 1.0 + (step % 97) / 97
    columns = {
        "timestamp": T0 + step * 60,
        "open": price,
        "high": price * 1.5,
        "low": price * 0.5,
        "close": price,
        "volume": step * 1.0,
        "token_address": pa.array(["BTC_USDT"] * count),
        "chain": pa.array(["binance"] * count),
        "interval": pa.array(["1m"] * count),
    }
    path = write_parquet(tmp_path / "a.parquet", columns)
    fastest = float("inf")
    for _ in range(3):
        started = time.process_time()
        assert read_candle_file(path).candles.num_rows == count
        fastest = min(fastest, time.process_time() - started)
    # Measured: 2.4 to 2.9 million rows per second of processor time; the bound leaves room for slow machines.
    assert count / fastest > 700_000


def test_last_day_of_the_range_is_read(tmp_path: Path) -> None:
    last = int(datetime(2099, 12, 31, tzinfo=UTC).timestamp())
    file = read_candle_file(write_csv(tmp_path / "a.csv", csv_row(last)))
    assert file.candles["timestamp"].to_pylist() == [last]
