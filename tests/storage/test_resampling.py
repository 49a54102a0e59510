"""Coarse candles from fine ones, inside a real ClickHouse."""

from collections.abc import Sequence
from contextlib import closing
from itertools import accumulate, groupby

import clickhouse_connect
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from stored_rows import BONK, MARCH_SECOND, PEPE, candles

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, Candles
from quantbot_pipeline.errors import InputError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.clickhouse import LATEST_SECOND, ClickHouseStore
from quantbot_pipeline.storage.clickhouse_resampling import check_intervals

pytestmark = pytest.mark.server

APRIL_SECOND = MARCH_SECOND + 31 * 86400
VALUES = ("open", "high", "low", "close", "volume")


def _resample(
    history: ClickHouseStore, target: str, *, source: str = "1m", token: TokenKey = BONK, include_open: bool = False
) -> int:
    return history.resample_candles(
        token.chain,
        [token.address],
        MARCH_SECOND,
        APRIL_SECOND,
        source_interval=source,
        target_interval=target,
        include_open=include_open,
    )


def _stored(history: ClickHouseStore, interval: str, token: TokenKey = BONK) -> Candles:
    found = history.load_candles({token: (0, LATEST_SECOND)}, interval=interval)
    return found.get(token, Candles.empty(INTERVAL_SECONDS[interval]))


def _minutes(rows: Sequence[tuple[int, float, float, float, float, float]], token: TokenKey = BONK) -> pa.Table:
    """Minute candles from (minute of March, open, high, low, close, volume)."""
    plain = candles(token, "1m", MARCH_SECOND, 60, [1.0] * len(rows))
    columns = dict(zip(plain.column_names, plain.columns, strict=True))
    columns["timestamp"] = pa.array([MARCH_SECOND + 60 * row[0] for row in rows])
    for position, name in enumerate(VALUES, start=1):
        columns[name] = pa.array([row[position] for row in rows])
    return pa.table(columns)


def test_a_bucket_is_first_open_highest_high_lowest_low_last_close_and_summed_volume(history: ClickHouseStore) -> None:
    history.insert_candles(
        _minutes(
            [
                (0, 1.0, 1.5, 0.9, 1.2, 10.0),
                (1, 1.3, 2.0, 1.1, 1.4, 20.0),
                # Minute 2 is missing; minute 4 is the bucket's last.
                (3, 1.4, 1.6, 0.5, 0.7, 0.0),
                (4, 0.8, 0.9, 0.6, 0.75, 5.0),
                # Minutes 5 to 9 are missing: no candle. Minutes 10 to 14 hold one.
                (14, 3.0, 3.0, 3.0, 3.0, 1.0),
            ]
        )
    )

    assert _resample(history, "5m") == 2

    made = _stored(history, "5m").validate()
    assert made.timestamp.tolist() == [MARCH_SECOND, MARCH_SECOND + 600]
    assert [getattr(made, name).tolist() for name in VALUES] == [
        [1.0, 3.0],
        [2.0, 3.0],
        [0.5, 3.0],
        [0.75, 3.0],
        [35.0, 1.0],
    ]


def test_a_bucket_that_the_data_ends_in_is_made_once_it_is_over(history: ClickHouseStore) -> None:
    minutes = [(minute, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in range(12)]
    history.insert_candles(_minutes(minutes[:9]))
    # Minutes 5 to 8 are there, 9 may still come.
    assert _resample(history, "5m") == 1
    assert _stored(history, "5m").volume.tolist() == [5.0]

    assert _resample(history, "5m", include_open=True) == 1
    assert _stored(history, "5m").volume.tolist() == [5.0, 4.0]

    history.insert_candles(_minutes(minutes[9:]))
    assert _resample(history, "5m") == 1
    assert _stored(history, "5m").volume.tolist() == [5.0, 5.0]


def test_the_same_again_inserts_nothing_and_a_corrected_source_candle_remakes_its_bucket(
    history: ClickHouseStore,
) -> None:
    rows = [(minute, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in range(15)]
    history.insert_candles(_minutes(rows))
    assert _resample(history, "5m") == 3
    assert _resample(history, "5m") == 0

    history.insert_candles(_minutes([(7, 1.0, 9.0, 1.0, 1.0, 2.0)]))
    assert _resample(history, "5m") == 1

    made = _stored(history, "5m")
    # The newest import of minute 7 counts, and the one before it does not: 4 + 2.
    assert made.high.tolist() == [1.0, 9.0, 1.0]
    assert made.volume.tolist() == [5.0, 6.0, 5.0]


@pytest.mark.parametrize("import_comes", ["before", "after", "both"])
def test_an_imported_candle_wins_over_a_resampled_one_of_its_key(history: ClickHouseStore, import_comes: str) -> None:
    imported = candles(BONK, "5m", MARCH_SECOND, 300, [7.0])
    history.insert_candles(_minutes([(minute, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in range(10)]))
    if import_comes in {"before", "both"}:
        history.insert_candles(imported)
    _resample(history, "5m")
    if import_comes in {"after", "both"}:
        history.insert_candles(imported)
    assert _stored(history, "5m").close.tolist() == [7.0, 1.0]

    # Nor when its sources change later.
    history.insert_candles(_minutes([(minute, 2.0, 2.0, 2.0, 2.0, 1.0) for minute in range(10)]))
    assert _resample(history, "5m") == 1
    assert _stored(history, "5m").close.tolist() == [7.0, 2.0]


def test_an_import_wins_that_was_under_way_while_its_key_was_resampled(
    history: ClickHouseStore, clickhouse_database: str
) -> None:
    """Resampling looked for imported candles before this one was there, and wrote after it."""
    history.insert_candles(_minutes([(minute, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in range(5)]))
    _resample(history, "5m")

    with closing(clickhouse_connect.get_client(dsn=clickhouse_database)) as client:
        client.command(
            "insert into ohlcv_candles "
            "select chain, token_address, '5m', timestamp, 7, 7, 7, 7, 7, now64(6) - interval 1 hour, 0 "
            "from ohlcv_candles where interval = '1m' order by timestamp limit 1"
        )

    assert _stored(history, "5m").close.tolist() == [7.0]


def test_an_import_of_a_resampled_key_is_no_repetition(history: ClickHouseStore) -> None:
    """Counted as one, it was left out, and the next resampling took the imported candle's place."""
    history.insert_candles(_minutes([(minute, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in range(5)]))
    assert _resample(history, "5m") == 1

    assert history.load_candle_rows(*BONK, "5m", 0, LATEST_SECOND).num_rows == 0
    assert history.load_candle_rows(*BONK, "1m", 0, LATEST_SECOND).num_rows == 5


def test_only_the_source_interval_contributes_volume(history: ClickHouseStore) -> None:
    # The same half hour as 1m and as 5m, as files that change their interval have it.
    history.insert_candles(_minutes([(minute, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in range(30)]))
    history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [1.0] * 6, volume=5.0))

    _resample(history, "15m")
    assert _stored(history, "15m").volume.tolist() == [15.0, 15.0]
    # From the imported 5m it is the same, to the bit: nothing is new.
    assert _resample(history, "15m", source="5m") == 0


def test_other_tokens_and_months_are_left_alone(history: ClickHouseStore) -> None:
    rows = [(minute, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in range(10)]
    february = [(-minute, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in range(10, 0, -1)]
    history.insert_candles(_minutes(rows))
    history.insert_candles(_minutes(february))
    history.insert_candles(_minutes(rows, PEPE))

    assert _resample(history, "5m") == 2
    assert len(_stored(history, "5m", PEPE)) == 0
    assert _stored(history, "5m").timestamp.tolist() == [MARCH_SECOND, MARCH_SECOND + 300]


def test_flags_of_the_sources_are_kept_beside_the_one_for_resampled(history: ClickHouseStore) -> None:
    rows = _minutes([(minute, 1.0, 1.0, 1.0, 1.0, 1.0) for minute in range(15)])
    rows = rows.drop_columns([name for name in ("flags",) if name in rows.column_names])
    flags = [0, 1, 0, 0, 0] + [0, 1, 2, 0, 0] + [0] * 5
    history.insert_candles(rows.append_column("flags", pa.array(flags, type=pa.uint8())))

    _resample(history, "5m")

    # 1m: 12 candles without flags, 2 with 1, 1 with 2. 5m: 4 + 1, 4 + 1 + 2, 4.
    found = {row["flags"]: row["candle_count"] for row in history.read("candles/count_flags").to_pylist()}
    assert found == {0: 12, 1: 2, 2: 1, 4: 1, 5: 1, 7: 1}


@pytest.mark.parametrize(
    ("source", "target", "message"),
    [
        ("3m", "5m", "can't be made from candles of 3m; allowed are 15m, 30m, 1h"),
        ("5m", "5m", "can't be made from candles of 5m"),
        ("1h", "5m", "can't be made from candles of 1h"),
        ("1d", "1h", "none: there is no coarser interval"),
        ("1m", "1w", "'1w' is not known"),
    ],
)
def test_a_target_is_a_whole_multiple_of_its_source(source: str, target: str, message: str) -> None:
    with pytest.raises(InputError, match=message):
        check_intervals(source, target)


@pytest.mark.parametrize("seed", range(4))
def test_random_candles_with_gaps_are_resampled_as_pandas_does(history: ClickHouseStore, seed: int) -> None:
    """Open, high, low and close bit for bit; volume bit for bit as added up by hand in the order of time."""
    random = np.random.default_rng(seed)
    count = int(random.integers(1, 5000))
    minute = np.sort(random.choice(31 * 1440, size=count, replace=False))
    if seed % 2:  # Long gaps between blocks, too.
        minute = minute[(minute // 700) % 3 != 1]
    close = 1e-9 * np.exp(np.cumsum(random.normal(0, 0.01, len(minute))))
    opening = close * np.exp(random.normal(0, 0.01, len(minute)))
    high = np.maximum(opening, close) * np.exp(random.exponential(0.01, len(minute)))
    low = np.minimum(opening, close) * np.exp(-random.exponential(0.01, len(minute)))
    volume = np.where(random.random(len(minute)) < 0.2, 0.0, random.lognormal(3, 4, len(minute)))
    rows = list(zip(minute.tolist(), *(v.tolist() for v in (opening, high, low, close, volume)), strict=True))
    # In two imports, out of order.
    history.insert_candles(_minutes(rows[::2]))
    history.insert_candles(_minutes(rows[1::2][::-1]))
    frame = pd.DataFrame(dict(zip(VALUES, (opening, high, low, close, volume), strict=True)))
    frame.index = pd.DatetimeIndex(pd.to_datetime(MARCH_SECOND + 60 * minute, unit="s", utc=True))

    for target in ("5m", "15m", "1h", "1d"):
        _resample(history, target, include_open=True)

        made = _stored(history, target).validate()
        seconds = INTERVAL_SECONDS[target]
        ways = {"open": "first", "high": "max", "low": "min", "close": "last", "volume": "sum"}
        expected = frame.resample(f"{seconds}s", origin="epoch").agg(ways).dropna()
        assert made.timestamp.tolist() == [int(at.timestamp()) for at in expected.index]
        for name in ("open", "high", "low", "close"):
            assert getattr(made, name).tolist() == expected[name].tolist(), (target, name)
        np.testing.assert_allclose(made.volume, expected["volume"], rtol=1e-13)
        buckets = groupby(zip(minute.tolist(), volume.tolist(), strict=True), key=lambda row: row[0] * 60 // seconds)
        added = [list(accumulate((row[1] for row in bucket), initial=0.0))[-1] for _, bucket in buckets]
        assert made.volume.tolist() == added
