"""Files in, files out: strategies simulated on candle and call files, without any database."""

import csv
import json
import os
from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, Candles
from quantbot_pipeline.engine.events import Trade
from quantbot_pipeline.engine.events_table import events_to_arrow
from quantbot_pipeline.engine.metrics import run_metrics
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.engine.version import ENGINE_VERSION
from quantbot_pipeline.errors import DataError, InputError
from quantbot_pipeline.ingest.call_files import FileCall, read_call_file
from quantbot_pipeline.ingest.candle_files import read_candle_file
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress

EVENT_COLUMNS = (
    "call_id",
    "token_address",
    "chain",
    "strategy",
    "seq",
    "event_time",
    "event_type",
    "price",
    "size",
    "remaining_position",
    "pnl_so_far",
    "indicators_json",
    "position_state_json",
    "metadata_json",
)
EVENT_SUFFIXES = (".parquet", ".csv", ".jsonl")

Simulate = Callable[[Candles, Sequence[Call], Strategy], list[Trade]]


@dataclass(frozen=True, slots=True)
class FileSimulation:
    """What a simulation of files gave.

    Attributes:
        events: One row per event in the columns `EVENT_COLUMNS`; `event_time` is a UTC timestamp to the second.
        summary: Metrics per strategy: overall and per token.
    """

    events: pa.Table
    summary: dict[str, Any]


def simulate_files(
    candle_files: Sequence[Path],
    call_files: Sequence[Path],
    strategies: Sequence[Strategy],
    *,
    interval: str | None = None,
    timezone: str | None = None,
    simulate: Simulate = simulate_reference,
    on_progress: ProgressListener = no_progress,
) -> FileSimulation:
    """Simulate strategies on the calls of files.

    Args:
        candle_files: Candles of one or more tokens.
        call_files: Calls.
        strategies: Strategies with names of their own.
        interval: Interval to use; by default the finest one of each token.
        timezone: IANA zone of times that state none.
        simulate: The engine.
        on_progress: Told after each token.

    Raises:
        DataError: a file or one of its rows is wrong; nothing was simulated.
        InputError: two strategies have one name, or the interval is unknown.
    """
    _check_names(strategies)
    candles = _read_candles(candle_files, interval, timezone)
    calls = _read_calls(call_files, timezone)
    names = _call_names(calls)
    by_token = _engine_calls(calls)
    tables: list[pa.Table] = []
    trades: dict[str, dict[TokenKey, list[Trade]]] = {strategy.name: {} for strategy in strategies}
    for done, (token, token_calls) in enumerate(sorted(by_token.items()), start=1):
        token_candles = candles.get(token, Candles.empty(60))
        for strategy in strategies:
            found = simulate(token_candles, token_calls, strategy)
            trades[strategy.name][token] = found
            tables.append(_with_names(events_to_arrow(found), names, token, strategy.name))
        on_progress(done, len(by_token), token.address)
    return FileSimulation(_sorted_events(tables), _summary(trades, candles, calls))


def write_events(events: pa.Table, path: Path) -> None:
    """Write events to parquet, CSV or JSON Lines, by suffix; the file is there whole or not at all.

    Raises:
        InputError: the suffix is another one, or the file can't be written.
    """
    check_events_path(path)
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        if path.suffix == ".parquet":
            pq.write_table(events, partial)
        else:
            _write_text(events, partial, is_csv=path.suffix == ".csv")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def check_events_path(path: Path) -> None:
    """Refuse a path that events can't be written to.

    Raises:
        InputError: the suffix is not one of `EVENT_SUFFIXES`, or the folder does not exist.
    """
    if path.suffix not in EVENT_SUFFIXES:
        raise InputError(
            f"{path}: events can't be written to this kind of file; allowed are {', '.join(EVENT_SUFFIXES)}"
        )
    if not path.absolute().parent.is_dir():
        raise InputError(f"{path}: the folder {path.absolute().parent} does not exist; make it first")


def write_summary(summary: Mapping[str, Any], path: Path) -> None:
    """Write the summary as JSON; the file is there whole or not at all.

    Raises:
        InputError: the file can't be written.
    """
    partial = path.with_name(f".{path.name}.{os.getpid()}")
    try:
        partial.write_text(json.dumps(summary, indent=2, allow_nan=False) + "\n", encoding="utf-8")
        partial.replace(path)
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror or error}") from error
    finally:
        partial.unlink(missing_ok=True)


def _check_names(strategies: Sequence[Strategy]) -> None:
    names = [strategy.name for strategy in strategies]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"strategy name {name!r} occurs {names.count(name)} times; give each its own name")


def _read_candles(files: Sequence[Path], interval: str | None, timezone: str | None) -> dict[TokenKey, Candles]:
    if interval is not None and interval not in INTERVAL_SECONDS:
        raise InputError(f"interval {interval!r} is unknown; allowed are {', '.join(INTERVAL_SECONDS)}")
    tables = []
    for path in files:
        file = read_candle_file(path, interval=None, timezone=timezone)
        if file.quarantined:
            first = file.quarantined[0]
            raise DataError(
                f"{first.file}:{first.line}: {first.reason} ({len(file.quarantined)} bad rows in this file; "
                "'quantbot ingest candles' takes the good ones)"
            )
        tables.append(file.candles)
    rows = pa.concat_tables(tables).combine_chunks()
    keys = rows.group_by(["chain", "token_address", "interval"]).aggregate([]).to_pylist()
    chosen: dict[TokenKey, str] = {}
    for key in keys:
        token, found = TokenKey(key["chain"], key["token_address"]), key["interval"]
        if interval is not None and found != interval:
            continue
        if token not in chosen or INTERVAL_SECONDS[found] < INTERVAL_SECONDS[chosen[token]]:
            chosen[token] = found
    return {token: _candles_of(rows, token, found) for token, found in chosen.items()}


def _candles_of(rows: pa.Table, token: TokenKey, interval: str) -> Candles:
    is_token = pc.and_(pc.equal(rows["chain"], token.chain), pc.equal(rows["token_address"], token.address))
    found = rows.filter(pc.and_(is_token, pc.equal(rows["interval"], interval))).sort_by("timestamp")
    timestamp = found["timestamp"].to_numpy()
    repeated = np.flatnonzero(np.diff(timestamp) == 0)
    if len(repeated):
        at = datetime.fromtimestamp(int(timestamp[repeated[0]]), UTC)
        raise DataError(
            f"candles of {token.chain}:{token.address} {interval}: {at:%Y-%m-%dT%H:%M:%SZ} occurs twice, in two files; "
            "leave one of them out"
        )
    prices = [np.ascontiguousarray(found[name].to_numpy()) for name in ("open", "high", "low", "close", "volume")]
    return Candles(INTERVAL_SECONDS[interval], np.ascontiguousarray(timestamp), *prices)


def _read_calls(files: Sequence[Path], timezone: str | None) -> list[FileCall]:
    calls: list[FileCall] = []
    seen: set[str] = set()
    for path in files:
        for call in read_call_file(path, timezone=timezone):
            if call.call_id in seen:
                raise DataError(f"{path}:{call.line}: call_id {call.call_id!r} occurs in another file too")
            seen.add(call.call_id)
            calls.append(call)
    return calls


def _call_names(calls: Sequence[FileCall]) -> pa.Array:
    """Return the ids as written, as integers where all of them are some."""
    names = [call.call_id for call in calls]
    if all(name.isascii() and name.isdigit() and len(name) < 19 and str(int(name)) == name for name in names):
        return pa.array([int(name) for name in names], pa.int64())
    return pa.array(names, pa.string())


def _engine_calls(calls: Sequence[FileCall]) -> dict[TokenKey, list[Call]]:
    callers: dict[str, int] = {}
    by_token: dict[TokenKey, list[Call]] = defaultdict(list)
    for position, call in enumerate(calls):
        caller_id = callers.setdefault(call.caller, len(callers))
        by_token[call.token].append(Call(position, caller_id, call.signal_timestamp, call.signal_type, call.side))
    return by_token


def _with_names(events: pa.Table, names: pa.Array, token: TokenKey, strategy: str) -> pa.Table:
    count = events.num_rows
    columns = {
        "call_id": names.take(events["call_id"].combine_chunks()),
        "token_address": pa.array([token.address] * count, pa.string()),
        "chain": pa.array([token.chain] * count, pa.string()),
        "strategy": pa.array([strategy] * count, pa.string()),
        "event_time": pc.cast(events["event_time"], pa.timestamp("s", tz="UTC")),
    }
    return pa.table(
        {name: columns.get(name, events[name] if name in events.column_names else None) for name in EVENT_COLUMNS}
    )


def _sorted_events(tables: Sequence[pa.Table]) -> pa.Table:
    if not tables:
        raise InputError("the call files hold no calls")
    order = [(name, "ascending") for name in ("strategy", "chain", "token_address", "call_id", "seq")]
    return pa.concat_tables(tables).sort_by(order)


def _summary(
    trades: Mapping[str, Mapping[TokenKey, list[Trade]]],
    candles: Mapping[TokenKey, Candles],
    calls: Sequence[FileCall],
) -> dict[str, Any]:
    return {
        "engine_version": ENGINE_VERSION,
        "candle_count": sum(len(found) for found in candles.values()),
        "call_count": len(calls),
        "strategies": [
            {
                "strategy": name,
                "overall": asdict(run_metrics([trade for found in by_token.values() for trade in found])),
                "tokens": [
                    {"token_address": token.address, "chain": token.chain, **asdict(run_metrics(found))}
                    for token, found in sorted(by_token.items())
                ],
            }
            for name, by_token in trades.items()
        ],
    }


def _write_text(events: pa.Table, path: Path, *, is_csv: bool) -> None:
    with path.open("w", encoding="utf-8", newline="") as stream:
        if is_csv:
            writer = csv.writer(stream)
            writer.writerow(EVENT_COLUMNS)
        for batch in events.to_batches(max_chunksize=65_536):
            for row in batch.to_pylist():
                row["event_time"] = f"{row['event_time']:%Y-%m-%dT%H:%M:%SZ}"
                if is_csv:
                    writer.writerow(row.values())
                else:
                    price = row["price"]
                    row["price"] = None if price is not None and price != price else price
                    stream.write(json.dumps(row, allow_nan=False) + "\n")
