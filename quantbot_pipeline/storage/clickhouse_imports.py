"""The part of `ClickHouseStore` that an import of candles talks to: what is stored already, and storing more."""

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numpy as np
import pyarrow as pa

from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
from quantbot_pipeline.storage.records import SeriesWindow

PARTITIONS_PER_INSERT = 90
"""ClickHouse refuses an insert of one block into more than 100 partitions
(max_partitions_per_insert_block)."""

INSERT_THREADS = 3
"""Requests that insert at once. The server reads, sorts and compresses one request's rows on one core; with three, two
cores are busy also while a request is sent."""

ROWS_PER_SLICE = 2**19
"""Rows of one request of a large insert; each becomes one part per partition, which the server merges later."""

_SERIES_PER_QUERY = 2000
"""Series that one query asks for: some 200 kB of parameters."""


class CandleImports:
    """Comparing with what is stored, for a store that has a connection."""

    _connection: ClickHouseConnection

    def count_stored_candles(self, windows: Sequence[SeriesWindow]) -> list[int]:
        """Return for each window how many imported candles are stored at most; 0 only where there are none."""
        counts = [0] * len(windows)
        for first in range(0, len(windows), _SERIES_PER_QUERY):
            found = self._ask("candles/count_stored", windows[first : first + _SERIES_PER_QUERY])
            for position, count in zip(found["position"].to_pylist(), found["candle_count"].to_pylist(), strict=True):
                counts[first + position] = count
        return counts

    def load_stored_candles(self, windows: Sequence[SeriesWindow]) -> pa.Table:
        """Return imported candles of windows: `position` in `windows`, timestamp (seconds), values, flags, by these."""
        return self._ask("candles/load_stored", windows)

    def _store_candles(self, candles: pa.Table) -> None:
        """Insert rows of the columns and types of `ohlcv_candles`, large ones by several requests at once."""
        slices = [part for whole in split_by_partition(candles) for part in _slices(whole)]
        if len(slices) == 1:
            self._connection.insert_stream("ohlcv_candles", slices[0])
            return
        with ThreadPoolExecutor(INSERT_THREADS, thread_name_prefix="candle-insert") as pool:
            for insert in [pool.submit(self._connection.insert_stream, "ohlcv_candles", part) for part in slices]:
                insert.result()

    def _ask(self, query: str, windows: Sequence[SeriesWindow]) -> pa.Table:
        parameters: dict[str, Any] = {
            "positions": list(range(len(windows))),
            "chains": [window.token.chain for window in windows],
            "token_addresses": [window.token.address for window in windows],
            "intervals": [window.interval for window in windows],
            "starts_s": [window.start for window in windows],
            "ends_s": [window.end for window in windows],
            "first_s": min((window.start for window in windows), default=0),
            "last_s": max((window.end for window in windows), default=0),
        }
        return self._connection.read(query, **parameters)


def _slices(candles: pa.Table) -> list[pa.Table]:
    count = max(1, -(-candles.num_rows // ROWS_PER_SLICE))
    rows = -(-candles.num_rows // count)
    return [candles.slice(first, rows) for first in range(0, candles.num_rows, rows)] if rows else [candles]


def split_by_partition(candles: pa.Table) -> Iterator[pa.Table]:
    """Yield candles in parts of at most PARTITIONS_PER_INSERT (chain, month) partitions each."""
    months = candles["timestamp"].to_numpy().astype("datetime64[s]").astype("datetime64[M]").astype(np.int64)
    chain_numbers, chain_count = _chain_numbers(candles["chain"])
    if len(months) and (months.max() - months.min() + 1) * chain_count <= PARTITIONS_PER_INSERT:
        yield candles
        return
    partitions, numbers = np.unique(months * (chain_count + 1) + chain_numbers, return_inverse=True)
    if len(partitions) <= PARTITIONS_PER_INSERT:
        yield candles
        return
    for first in range(0, len(partitions), PARTITIONS_PER_INSERT):
        is_in_part = (numbers >= first) & (numbers < first + PARTITIONS_PER_INSERT)
        yield candles.filter(pa.array(is_in_part))


def _chain_numbers(chains: pa.ChunkedArray) -> tuple[np.ndarray[Any, np.dtype[np.int64]], int]:
    """Return for every row the number of its chain, and how many chains there are."""
    if not pa.types.is_dictionary(chains.type):
        chains = chains.dictionary_encode()
    chains = chains.unify_dictionaries()
    if not chains.num_chunks:
        return np.zeros(0, dtype=np.int64), 0
    numbers = [chunk.indices.to_numpy(zero_copy_only=False).astype(np.int64) for chunk in chains.chunks]
    return np.concatenate(numbers), len(chains.chunk(0).dictionary)
