"""Processes that write to both servers at once, and say what they were told is stored."""

import json
import os
import time
from typing import Any

import pyarrow as pa

from quantbot_pipeline.ingest.checked_candles import CANDLE_SCHEMA
from quantbot_pipeline.ingest.tokens import TokenKey

ROWS_PER_INSERT = 50
_FIRST_SECOND = 1_740_787_200  # 2025-03-01


def write_for_a_while(number: int, seconds: float, report: str) -> int:
    """Store tokens and candles, read them back, for some seconds; write a report of what was acknowledged.

    Each writer has a token of its own for every round, and all share one, whose candles they all insert.
    """
    from quantbot_pipeline.servers.embedded import ensure_servers
    from quantbot_pipeline.settings import load_settings
    from quantbot_pipeline.storage.clickhouse import ClickHouseStore
    from quantbot_pipeline.storage.postgres import PostgresStore

    urls = ensure_servers(load_settings())
    deadline = time.monotonic() + seconds
    rounds = 0
    longest = 0.0
    with PostgresStore(urls.postgres) as state, ClickHouseStore(urls.clickhouse) as history:
        while time.monotonic() < deadline:
            started = time.monotonic()
            own, shared = TokenKey("binance", f"W{number}_{rounds}"), TokenKey("binance", "SHARED")
            ids = state.upsert_tokens({own: None, shared: f"from {number}"})
            assert len(ids) == 2
            history.insert_candles(_candles(own, number, 0))
            history.insert_candles(_candles(shared, 0, rounds % 20))
            rows = history.load_candle_rows(own.chain, own.address, "1m", _FIRST_SECOND, _FIRST_SECOND + 86_400)
            assert rows.num_rows == ROWS_PER_INSERT, f"{own}: {rows.num_rows} rows"
            assert rows["close"][0].as_py() == number + 1.0
            rounds += 1
            longest = max(longest, time.monotonic() - started)
    content: dict[str, Any] = {"number": number, "rounds": rounds, "longest": longest, "pid": os.getpid()}
    with open(report, "w", encoding="utf-8") as stream:  # noqa: PTH123 - a plain file
        json.dump(content, stream)
    return 0


def _candles(token: TokenKey, number: int, hour: int) -> pa.Table:
    prices = [number + 1.0] * ROWS_PER_INSERT
    return pa.table(
        {
            "chain": [token.chain] * ROWS_PER_INSERT,
            "token_address": [token.address] * ROWS_PER_INSERT,
            "interval": ["1m"] * ROWS_PER_INSERT,
            "timestamp": [_FIRST_SECOND + 3600 * hour + 60 * k for k in range(ROWS_PER_INSERT)],
            "open": prices,
            "high": prices,
            "low": prices,
            "close": prices,
            "volume": [1.0] * ROWS_PER_INSERT,
        },
        schema=CANDLE_SCHEMA,
    )
