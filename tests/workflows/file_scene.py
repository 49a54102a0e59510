"""Small candle and call files, and what a simulation of them wrote."""

import csv
import json
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quantbot_pipeline.strategy.model import Strategy, parse_strategy

START = 1_735_689_600
"""2025-01-01T00:00:00Z"""

STEPS = {"1m": 60, "5m": 300}


def candle_table(token: str, interval: str, rows: Sequence[tuple[float, ...]], *, chain: str = "binance") -> pa.Table:
    """Candles as (number, open, high, low, close), volume 1."""
    columns = list(zip(*[(START + STEPS[interval] * int(k), *prices) for k, *prices in rows], strict=True))
    return pa.table(
        {
            **dict(zip(("timestamp", "open", "high", "low", "close"), columns, strict=True)),
            "volume": [1.0] * len(rows),
            "token_address": [token] * len(rows),
            "chain": [chain] * len(rows),
            "interval": [interval] * len(rows),
        }
    )


def walk_table(token: str, count: int, *, seed: int) -> pa.Table:
    """One-minute candles of a walk wild enough that stops and targets are hit."""
    numbers = np.random.default_rng(seed)
    close = np.exp(np.cumsum(numbers.normal(0, 0.01, count)))
    opened = np.concatenate([[1.0], close[:-1]])
    high = np.maximum(opened, close) * 1.004
    low = np.minimum(opened, close) * 0.996
    return candle_table(token, "1m", list(zip(range(count), opened, high, low, close, strict=True)))


def write_candles(path: Path, table: pa.Table) -> Path:
    if path.suffix == ".parquet":
        pq.write_table(table, path)
    else:
        with path.open("w", newline="") as stream:
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(table.column_names)
            writer.writerows(zip(*(column.to_pylist() for column in table.columns), strict=True))
    return path


def write_calls(path: Path, *rows: str) -> Path:
    path.write_text("call_id,token_address,chain,signal_timestamp,side,signal_type,caller\n" + "\n".join(rows) + "\n")
    return path


def strategy(name: str = "stop-and-target", **fields: Any) -> Strategy:
    document: dict[str, Any] = {
        "name": name,
        "version": "1",
        "entry": {"type": "immediate"},
        "exits": {"stop_loss": {"initial": 0.3}, "targets": [{"multiple": 2.0, "size": 1.0}]},
    }
    return parse_strategy(document | fields)


def read_events(path: Path) -> list[dict[str, Any]]:
    if path.suffix == ".parquet":
        rows: list[dict[str, Any]] = pq.read_table(path).to_pylist()
        return rows
    if path.suffix == ".jsonl":
        return [json.loads(line) for line in path.read_text().splitlines()]
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))
