"""Labels of the candles after a call: which barrier was met first, and when.

The rules are those of a trade in `docs/engine.md` without costs: the position is that of a market buy at the open of
the first candle at or after the signal, the upper barrier is a target, the lower one a stop, the end of the time the
horizon. Where one candle touches both, the lower one counts. A test holds them to the reference engine.

What a candle touched is known when it closes; what it opens at, when it opens.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.candles import Candles, FloatArray, IntArray
from quantbot_pipeline.learning.labels import CandleLabel, TripleBarrier, label_table

UPPER, END_OF_TIME, LOWER = 1, 0, -1


@dataclass(frozen=True, slots=True)
class BarrierTouches:
    """What calls met first; rows are those calls whose horizon the candles reach.

    Attributes:
        row: Place of the call among those given.
        outcome: UPPER, END_OF_TIME or LOWER.
        known_at: When it was known, seconds.
        fraction: Return from the first open to the price at which the barrier was met.
    """

    row: IntArray
    outcome: IntArray
    known_at: IntArray
    fraction: FloatArray


def first_touches(
    candles: Candles,
    signal: IntArray,
    *,
    upper: float,
    lower: float | None,
    horizon_seconds: int,
    max_staleness_seconds: int,
) -> BarrierTouches:
    """Return what the price met first after each signal.

    Args:
        candles: Candles of one token.
        signal: Signal times, seconds, shape (n_calls,).
        upper: Upper barrier over the first open, fraction > 0.
        lower: Lower barrier below it, fraction in (0, 1); None for none.
        horizon_seconds: From the first candle's open time to the end of the time.
        max_staleness_seconds: Longest time from the signal to the first candle.
    """
    first = np.searchsorted(candles.timestamp, signal)
    has_candle = first < len(candles)
    starts_at = candles.timestamp[np.minimum(first, len(candles) - 1)] if len(candles) else signal
    opens = np.flatnonzero(has_candle & (starts_at - signal <= max_staleness_seconds))
    horizon = np.searchsorted(candles.timestamp, starts_at + horizon_seconds)
    found: list[tuple[int, int, int, float]] = []
    for row in opens.tolist():
        touch = _first_touch(candles, int(first[row]), int(horizon[row]), upper, lower)
        if touch is not None:
            found.append((row, *touch))
    rows, outcomes, known_at, fractions = zip(*found, strict=True) if found else ((), (), (), ())
    return BarrierTouches(
        np.array(rows, dtype=np.int64),
        np.array(outcomes, dtype=np.int64),
        np.array(known_at, dtype=np.int64),
        np.array(fractions, dtype=np.float64),
    )


def build_barrier_labels(
    definition: CandleLabel, call_id: IntArray, signal: IntArray, series: Sequence[Candles]
) -> pa.Table:
    """Return the labels of calls on one token.

    Args:
        definition: What the label is.
        call_id: The calls, shape (n_calls,).
        signal: Their signal times, seconds.
        series: The token's candles by interval, from the first signal to the end of the last horizon. A call reads
            the finest interval that has its first candle in time.

    Returns:
        A table of `LABEL_SCHEMA`, ordered by signal time and call; calls without candles in time, and those whose
        horizon lies beyond the candles, are absent: near the end of the data, those that met a barrier quickly would
        be the only ones.
    """
    lower = definition.lower if isinstance(definition, TripleBarrier) else None
    upper = definition.upper if isinstance(definition, TripleBarrier) else definition.target
    ordered = sorted((each for each in series if len(each)), key=lambda each: each.interval_seconds)
    is_open = np.ones(len(signal), dtype=np.bool_)
    parts = []
    for candles in ordered:
        place = np.searchsorted(candles.timestamp, signal)
        opens_at = candles.timestamp[np.minimum(place, len(candles) - 1)]
        reads = is_open & (place < len(candles)) & (opens_at - signal <= definition.max_staleness_seconds)
        rows = np.flatnonzero(reads)
        is_open &= ~reads
        touches = first_touches(
            candles,
            signal[rows],
            upper=upper,
            lower=lower,
            horizon_seconds=definition.horizon_seconds,
            max_staleness_seconds=definition.max_staleness_seconds,
        )
        chosen = rows[touches.row]
        label = _values(definition, touches, signal[chosen])
        parts.append((call_id[chosen], signal[chosen], label, touches.known_at, touches.fraction))
    if not parts:
        nothing = np.empty(0)
        return label_table(nothing, nothing, nothing, nothing, nothing)
    return label_table(*(np.concatenate(columns) for columns in zip(*parts, strict=True)))


def _values(definition: CandleLabel, touches: BarrierTouches, signal: IntArray) -> FloatArray:
    if isinstance(definition, TripleBarrier):
        is_upper = (touches.outcome == UPPER).astype(np.float64)
        return touches.outcome.astype(np.float64) if definition.classes == "signed" else is_upper
    waited: FloatArray = np.minimum(touches.known_at - signal, definition.horizon_seconds).astype(np.float64)
    waited[touches.outcome != UPPER] = definition.horizon_seconds
    return waited


def _first_touch(
    candles: Candles, first: int, horizon: int, upper: float, lower: float | None
) -> tuple[int, int, float] | None:
    """Return outcome, when it was known, and the return; None where the candles end before."""
    reference = float(candles.open[first])
    target = reference * (1 + upper)
    stop = 0.0 if lower is None else reference * (1 - lower)
    if horizon >= len(candles):
        # Also where a barrier was met already: of the calls before the data's end, only the quick ones would be left.
        return None
    touched = np.flatnonzero((candles.high[first:horizon] >= target) | (candles.low[first:horizon] <= stop))
    if not len(touched):
        return END_OF_TIME, int(candles.timestamp[horizon]), float(candles.open[horizon]) / reference - 1
    i = first + int(touched[0])
    opens, opened_at = float(candles.open[i]), int(candles.timestamp[i])
    if i > first and opens <= stop:
        return LOWER, opened_at, opens / reference - 1
    if i > first and opens >= target:
        return UPPER, opened_at, opens / reference - 1
    known_at = opened_at + candles.interval_seconds
    if float(candles.low[i]) <= stop:
        return LOWER, known_at, stop / reference - 1
    return UPPER, known_at, target / reference - 1
