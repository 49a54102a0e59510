"""Features of all entry calls, stored in `ml_features`: only those whose inputs changed are built.

A call's stamp covers the set and its version, the call's own features that need no candles (which say all that trades
and other calls contribute), and the contents of the months of its token's candles up to its own. Equal stamps are
equal features; a candle that is new in the month of a call gives it a new stamp, though it may change nothing.
"""

import hashlib
import json
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from math import ceil, isfinite

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.engine.candles import Candles, FloatArray, IntArray
from quantbot_pipeline.engine.version import ENGINE_VERSION
from quantbot_pipeline.errors import InputError, LearningError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.learning.call_features import (
    CallArrays,
    FeatureCall,
    attribute_columns,
    call_arrays,
    call_columns,
)
from quantbot_pipeline.learning.candle_features import (
    CANDLE_COLUMNS,
    LOOK_BACK_CANDLES,
    LOOK_BACK_SECONDS,
    CandleSeries,
    candle_columns,
)
from quantbot_pipeline.learning.feature_registry import ATTRIBUTE_PREFIX, FEATURE_NAMES, FEATURE_SET
from quantbot_pipeline.learning.hindsight import read_attribute_features
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import CallRow
from quantbot_pipeline.workflows.past_trades import load_past_trades
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.stored_series import Reach, StoredSeries

ROWS_PER_INSERT = 20_000
"""Calls whose features are inserted at once: some 50 MB."""

# Changed when stamps mean something else, so that those from before match no more.
_STAMP_FORM = 1


@dataclass(frozen=True, slots=True)
class FeaturePlan:
    """Which features to build.

    Attributes:
        strategy: The strategy whose finished trades are a caller's record.
        attributes: Further features from the alerts' own columns, `attribute:<column>`.
    """

    strategy: str = "conservative-24h"
    attributes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Return the names of all features, in the order of the columns."""
        return (*FEATURE_NAMES, *read_attribute_features(self.attributes))

    @property
    def feature_set(self) -> str:
        """Return the name under which the features are stored: the set's version and all that decides their meaning."""
        return "/".join([FEATURE_SET, self.strategy, *read_attribute_features(self.attributes)])


@dataclass(frozen=True, slots=True)
class FeatureCounts:
    """What a build did.

    Attributes:
        feature_set: Name under which the features are stored.
        calls: Entry calls.
        built: Those whose features were built.
        up_to_date: Those whose features were stored already.
        known_trades: Finished trades that callers' records are made of.
    """

    feature_set: str
    calls: int
    built: int
    up_to_date: int
    known_trades: int


def load_entry_calls(state: StateStore) -> list[CallRow]:
    """Return the calls that open trades, by time and id: what features are built for."""
    return [call for call in state.load_calls() if call.signal_type is SignalType.ENTRY and call.side is Side.BUY]


def signal_second(call: CallRow) -> int:
    """Return a call's signal time as the engine reads it: fractions of a second are rounded up."""
    return ceil(call.signal_timestamp.timestamp())


def build_stored_features(
    plan: FeaturePlan,
    state: StateStore,
    history: HistoryStore,
    *,
    on_progress: ProgressListener = no_progress,
) -> FeatureCounts:
    """Build and store the features of all entry calls that have none, or whose inputs changed.

    Args:
        plan: Which features.
        state: Where calls and alerts are.
        history: Where candles, trades and features are.
        on_progress: Told after each batch of tokens.

    Raises:
        InputError: an attribute is refused, or no alert states a number in its column.
    """
    attributes = read_attribute_features(plan.attributes)
    # Stamps come before what they are of: what changes in between is built again next time.
    rows = load_entry_calls(state)
    calls = _feature_calls(rows, attributes, state)
    arrays = call_arrays(calls)
    series = StoredSeries.load(history, arrays.tokens)
    trades = load_past_trades(plan.strategy, arrays.call_id, arrays.caller, arrays.signal, state, history)
    columns = call_columns(arrays, trades, attribute_columns(calls, attributes))
    stamps = _stamps(plan, arrays, columns, series)
    stale = np.flatnonzero(stamps != _stored_stamps(plan.feature_set, arrays.call_id, history))
    counts = FeatureCounts(plan.feature_set, len(calls), len(stale), len(calls) - len(stale), trades.num_rows)
    columns |= {name: np.full(len(calls), np.nan) for name in CANDLE_COLUMNS}
    of_token: dict[TokenKey, IntArray] = {}
    is_stale = np.zeros(len(calls), dtype=np.bool_)
    is_stale[stale] = True
    for token, of_calls in arrays.rows_by_token():
        if (chosen := of_calls[is_stale[of_calls]]).size:
            of_token[token] = chosen
    reaches = {token: _reach(arrays.signal[chosen]) for token, chosen in of_token.items()}
    done = 0
    for batch, candles in _loaded_batches(series, reaches, history):
        for token in batch:
            chosen = of_token[token]
            found = [
                CandleSeries(loaded, series.of(token)[interval][0].first_s)
                for interval, loaded in candles.get(token, {}).items()
            ]
            for name, values in candle_columns(found, arrays.signal[chosen], arrays.log_price[chosen]).items():
                columns[name][chosen] = values
        _insert(plan, arrays, columns, stamps, np.sort(np.concatenate([of_token[token] for token in batch])), history)
        done += len(batch)
        on_progress(done, len(reaches), f"{done} of {len(reaches)} tokens")
    return counts


@dataclass(frozen=True, slots=True)
class FeatureRows:
    """Stored features, one row per call, by call.

    Attributes:
        feature_set: Name under which they are stored.
        table: `call_id`, int64, and one float64 column each.
        signal: Signal times, seconds since the epoch, UTC, shape (n,).
        stamps: What each row was made of.
    """

    feature_set: str
    table: pa.Table
    signal: IntArray
    stamps: pa.Array

    def take(self, rows: IntArray) -> "FeatureRows":
        """Return some of the rows."""
        places = pa.array(rows)
        return FeatureRows(self.feature_set, self.table.take(places), self.signal[rows], self.stamps.take(places))


def load_feature_rows(plan: FeaturePlan, history: HistoryStore) -> FeatureRows:
    """Return all stored features of a plan, with the times of their calls and their stamps.

    Raises:
        LearningError: rows hold other features than the plan names: they were stored by another version.
    """
    rows = history.read("features/load_features", feature_set=plan.feature_set)
    names = plan.names
    maps = rows["values"].combine_chunks()
    if isinstance(maps, pa.ChunkedArray):
        maps = pa.concat_arrays(maps.chunks) if maps.num_chunks else pa.array([], maps.type)
    keys, items = maps.keys.to_numpy(zero_copy_only=False), maps.items.to_numpy(zero_copy_only=False)
    shape = (rows.num_rows, len(names))
    if len(keys) != rows.num_rows * len(names) or not (keys.reshape(shape) == np.array(names, dtype=object)).all():
        raise LearningError(
            f"the stored features of {plan.feature_set!r} are not the {len(names)} of this version; build them again: "
            "'quantbot features build'"
        )
    matrix = np.asarray(items, dtype=np.float64).reshape(shape)
    columns = {name: pa.array(np.ascontiguousarray(matrix[:, place])) for place, name in enumerate(names)}
    return FeatureRows(
        plan.feature_set,
        pa.table({"call_id": rows["call_id"].cast(pa.int64()), **columns}),
        rows["signal_timestamp"].to_numpy().astype(np.int64),
        pa.chunked_array(rows["inputs_stamp"].chunks, pa.string()).combine_chunks(),
    )


def value_maps(names: Sequence[str], matrix: FloatArray) -> pa.MapArray:
    """Return one map of feature to value per row of a matrix, shape (rows, features)."""
    places = np.tile(np.arange(len(names), dtype=np.int32), len(matrix))
    keys = pa.DictionaryArray.from_arrays(pa.array(places), pa.array(names, pa.string())).cast(pa.string())
    offsets = np.arange(len(matrix) + 1, dtype=np.int32) * len(names)
    return pa.MapArray.from_arrays(pa.array(offsets), keys, pa.array(matrix.ravel()))


def _feature_calls(rows: Sequence[CallRow], attributes: Sequence[str], state: StateStore) -> list[FeatureCall]:
    stated = _stated_attributes(attributes, state)
    return [
        FeatureCall(
            row.call_id,
            row.token,
            row.caller_id,
            signal_second(row),
            row.alert_price,
            row.alert_market_cap,
            stated.get(row.call_id, {}),
        )
        for row in rows
    ]


def _stated_attributes(attributes: Sequence[str], state: StateStore) -> dict[int, dict[str, float]]:
    """Return the numbers that alerts state in the columns asked for, by call and column."""
    if not attributes:
        return {}
    columns = [name.removeprefix(ATTRIBUTE_PREFIX) for name in attributes]
    stated: dict[int, dict[str, float]] = {}
    known = set()
    for row in state.read("features/load_call_attributes", attributes=columns).to_pylist():
        value = _number(row["value"])
        if value is not None:
            stated.setdefault(row["call_id"], {})[row["attribute"]] = value
            known.add(row["attribute"])
    if missing := [column for column in columns if column not in known]:
        raise InputError(
            f"feature {ATTRIBUTE_PREFIX}{missing[0]}: no alert states a number in a column {missing[0]!r}; names are "
            "as written in the imported files"
        )
    return stated


def _number(text: str) -> float | None:
    folded = text.strip().casefold()
    if folded in ("true", "false"):
        return float(folded == "true")
    try:
        value = float(folded)
    except ValueError:
        return None
    return value if isfinite(value) else None


def _reach(signal: IntArray) -> Reach:
    return Reach(int(signal.min()), int(signal.max()), LOOK_BACK_SECONDS, LOOK_BACK_CANDLES)


def _loaded_batches(
    series: StoredSeries, reaches: Mapping[TokenKey, Reach], history: HistoryStore
) -> Iterator[tuple[list[TokenKey], dict[TokenKey, dict[int, Candles]]]]:
    """Yield tokens with their candles; the server reads the next batch while this one is worked on."""

    def load(batch: list[TokenKey]) -> dict[TokenKey, dict[int, Candles]]:
        return series.load_candles(history, {token: reaches[token] for token in batch})

    with ThreadPoolExecutor(max_workers=1) as reader:
        waiting: deque[tuple[list[TokenKey], Future[dict[TokenKey, dict[int, Candles]]]]] = deque()
        for batch in series.batches(reaches):
            waiting.append((batch, reader.submit(load, batch)))
            if len(waiting) > 1:
                ready, future = waiting.popleft()
                yield ready, future.result()
        for ready, future in waiting:
            yield ready, future.result()


def _stamps(
    plan: FeaturePlan, calls: CallArrays, columns: Mapping[str, FloatArray], series: StoredSeries
) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]]:
    """Return the stamp of each call."""
    common = json.dumps([_STAMP_FORM, plan.feature_set, plan.names, ENGINE_VERSION, LOOK_BACK_CANDLES]).encode()
    seen = np.column_stack([calls.signal.astype(np.float64), *(_one_nan(columns[name]) for name in sorted(columns))])
    stamps = np.empty(len(calls), dtype=object)
    months = calls.signal.astype("datetime64[s]").astype("datetime64[M]").astype(str)
    for token, rows in calls.rows_by_token():
        of_candles = {month: _candles_digest(series, token, month) for month in set(months[rows].tolist())}
        for row in rows.tolist():
            stamps[row] = hashlib.sha256(common + of_candles[months[row]] + seen[row].tobytes()).hexdigest()
    return stamps


def _candles_digest(series: StoredSeries, token: TokenKey, last_month: str) -> bytes:
    """Return a hash over all candles of a token up to a month."""
    found = [
        [interval, month.month, month.candle_count, month.content]
        for interval, months in sorted(series.of(token).items())
        for month in months
        if month.month <= last_month
    ]
    return hashlib.sha256(json.dumps(found).encode()).digest()


def _stored_stamps(
    feature_set: str, call_id: IntArray, history: HistoryStore
) -> np.ndarray[tuple[int, ...], np.dtype[np.object_]]:
    rows = history.read("features/load_stamps", feature_set=feature_set)
    stored = dict(zip(rows["call_id"].to_pylist(), rows["inputs_stamp"].to_pylist(), strict=True))
    return np.array([stored.get(call, "") for call in call_id.tolist()], dtype=object)


def _one_nan(values: FloatArray) -> FloatArray:
    """Return values with one bit pattern for NaN: arithmetic leaves several."""
    return np.where(np.isnan(values), np.nan, values)


def _insert(
    plan: FeaturePlan,
    calls: CallArrays,
    columns: Mapping[str, FloatArray],
    stamps: np.ndarray[tuple[int, ...], np.dtype[np.object_]],
    rows: IntArray,
    history: HistoryStore,
) -> None:
    names = plan.names
    for begin in range(0, len(rows), ROWS_PER_INSERT):
        part = rows[begin : begin + ROWS_PER_INSERT]
        matrix = np.column_stack([_one_nan(columns[name][part]) for name in names])
        tokens = [calls.tokens[place] for place in calls.token[part].tolist()]
        history.insert_features(
            pa.table(
                {
                    "feature_set": pa.array([plan.feature_set] * len(part), pa.string()),
                    "call_id": pa.array(calls.call_id[part]),
                    "chain": pa.array([token.chain for token in tokens], pa.string()),
                    "token_address": pa.array([token.address for token in tokens], pa.string()),
                    "signal_timestamp": pa.array(calls.signal[part]),
                    "values": value_maps(names, matrix),
                    "inputs_stamp": pa.array(stamps[part].tolist(), pa.string()),
                }
            )
        )
