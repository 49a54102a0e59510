"""Flags of candles: what an import says of a candle beyond its numbers."""

import pyarrow as pa
import pytest
from stored_rows import BONK, MARCH_SECOND, candles

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.checked_candles import FLAG_DISTORTED_WICK, FLAG_VOLUME_MISSING
from quantbot_pipeline.storage.clickhouse import ClickHouseStore

pytestmark = pytest.mark.server

COUNT_BY_FLAGS = "candles/count_flags"


def _with_flags(rows: pa.Table, flags: list[int]) -> pa.Table:
    without = rows.drop_columns([name for name in ("flags",) if name in rows.column_names])
    return without.append_column("flags", pa.array(flags, type=pa.uint8()))


def _stored_flags(history: ClickHouseStore) -> dict[int, int]:
    return {row["flags"]: row["candle_count"] for row in history.read(COUNT_BY_FLAGS).to_pylist()}


def test_candles_without_a_column_of_flags_have_none(history: ClickHouseStore) -> None:
    rows = candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.0])
    history.insert_candles(rows.drop_columns([name for name in ("flags",) if name in rows.column_names]))

    assert _stored_flags(history) == {0: 2}
    assert history.load_candle_rows(*BONK, "5m", 0, MARCH_SECOND + 600).num_rows == 2


def test_flags_are_stored_and_a_newer_import_replaces_them_too(history: ClickHouseStore) -> None:
    rows = candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.0, 3.0])
    history.insert_candles(_with_flags(rows, [FLAG_VOLUME_MISSING, FLAG_DISTORTED_WICK, 3]))
    assert _stored_flags(history) == {1: 1, 2: 1, 3: 1}

    history.insert_candles(_with_flags(rows, [0, 0, 0]))
    assert _stored_flags(history) == {0: 3}


def test_an_import_can_not_say_that_its_candles_are_resampled(history: ClickHouseStore) -> None:
    rows = candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.0, 3.0])
    with pytest.raises(DataError, match="2 rows have the flag 4"):
        history.insert_candles(_with_flags(rows, [4, 1, 5]))

    assert _stored_flags(history) == {}
