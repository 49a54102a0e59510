"""How one insert of candles is split, so that the server takes it."""

from datetime import UTC, datetime

import pyarrow as pa

from quantbot_pipeline.ingest.checked_candles import CANDLE_SCHEMA
from quantbot_pipeline.storage.clickhouse_imports import PARTITIONS_PER_INSERT, split_by_partition


def _candles(keys: list[tuple[str, datetime]]) -> pa.Table:
    return pa.Table.from_pylist(
        [
            {
                "chain": chain,
                "token_address": "a",
                "interval": "1d",
                "timestamp": int(moment.timestamp()),
                **dict.fromkeys(("open", "high", "low", "close", "volume"), 1.0),
            }
            for chain, moment in keys
        ],
        schema=CANDLE_SCHEMA,
    )


def _partitions(part: pa.Table) -> set[tuple[str, str]]:
    return {(row["chain"], datetime.fromtimestamp(row["timestamp"], UTC).strftime("%Y-%m")) for row in part.to_pylist()}


def test_few_partitions_are_one_insert_in_the_order_given() -> None:
    rows = _candles([("b", datetime(2025, 3, 31, 23, tzinfo=UTC)), ("a", datetime(2025, 4, 1, tzinfo=UTC))])
    assert list(split_by_partition(rows)) == [rows]


def test_no_rows_are_one_empty_insert() -> None:
    assert [part.num_rows for part in split_by_partition(CANDLE_SCHEMA.empty_table())] == [0]


def test_many_partitions_are_split_without_loss_and_without_sharing() -> None:
    # 3 chains x 10 years x 12 months = 360 partitions with 2 rows each, in two chunks.
    keys = [
        (chain, datetime(year, month, day, tzinfo=UTC))
        for day in (1, 28)
        for chain in ("a", "b", "c")
        for year in range(2010, 2020)
        for month in range(1, 13)
    ]
    rows = pa.concat_tables([_candles(keys[:300]), _candles(keys[300:])])

    parts = list(split_by_partition(rows))

    assert len(parts) == 4
    assert sum(part.num_rows for part in parts) == len(keys)
    assert all(len(_partitions(part)) <= PARTITIONS_PER_INSERT for part in parts)
    assert sum(len(_partitions(part)) for part in parts) == 360
