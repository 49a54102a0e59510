"""How good the candles were that a simulation run read: measured on arrays, judged like a month of candles.

A run is judged by the candles from the first to the last that it read, and by what was missing while a position was
open. A run over many tokens has the worst verdict of its tokens.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from quantbot_pipeline.ingest.candle_quality import CandleMeasures, CandleQuality, Verdict, quality_of
from quantbot_pipeline.ingest.checked_candles import FLAG_DISTORTED_WICK, FLAG_RESAMPLED, FLAG_VOLUME_MISSING

UNKNOWN = "unknown"
"""The verdict of runs that were completed before runs were judged."""

_IntArray = npt.NDArray[np.int64]
_FloatArray = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class HeldSpans:
    """When positions were open: from the candle of one fill to that of the next.

    Attributes:
        trade: Position of the trade among those that bought, int64, shape (n_spans,).
        first: Index of the candle in which the position was open first, the same shape.
        last: Index of the candle in which it was open last, >= `first`.
        trade_count: Trades that bought, those without a span too.
    """

    trade: _IntArray
    first: _IntArray
    last: _IntArray
    trade_count: int


@dataclass(frozen=True, slots=True)
class ReadCandles:
    """What a run read of one token.

    Attributes:
        measures: What was counted, from the first candle to the last.
        trade_count: Trades that bought.
        trades_over_gaps: Those of them that held a position while at least one candle was missing.
        longest_held_gap_seconds: The longest time without a candle while a position was open.
    """

    measures: CandleMeasures
    trade_count: int
    trades_over_gaps: int
    longest_held_gap_seconds: int


@dataclass(frozen=True, slots=True)
class RunQuality:
    """The judgement on a run.

    Attributes:
        verdict: A `Verdict`; the worst of its tokens.
        details: Why, in numbers and sentences, as JSON.
    """

    verdict: Verdict
    details: Mapping[str, Any]


def measure_read_candles(
    interval_seconds: int,
    timestamp: _IntArray,
    close: _FloatArray,
    volume: _FloatArray,
    flags: npt.NDArray[np.uint8] | None,
    held: HeldSpans,
) -> ReadCandles:
    """Measure the candles that a run read of one token.

    Args:
        interval_seconds: Length of a candle.
        timestamp: Open times, seconds, strictly increasing, shape (n,).
        close: Last prices, the same shape.
        volume: Volumes, the same shape.
        flags: Bits of FLAG_*, the same shape; None where nothing is known of them.
        held: When positions were open.
    """
    n = len(timestamp)
    if n == 0:
        nothing = CandleMeasures(interval_seconds, expected_count=1, candle_count=0)
        return ReadCandles(nothing, held.trade_count, 0, 0)
    # Most candles follow the one before: only the others are divided.
    steps = np.diff(timestamp)
    gaps = np.flatnonzero(steps != interval_seconds)
    is_off_grid = bool((steps[gaps] % interval_seconds).any()) or int(timestamp[0]) % interval_seconds != 0
    missing = steps[gaps] // interval_seconds - 1
    gaps, missing = gaps[missing > 0], missing[missing > 0]
    flat_candles, flat_seconds = _flat_run(timestamp, close, interval_seconds)
    flagged = flags[flags != 0] if flags is not None else np.empty(0, dtype=np.uint8)
    over_gaps, longest_held = _gaps_held(gaps, missing, held)
    return ReadCandles(
        CandleMeasures(
            interval_seconds=interval_seconds,
            expected_count=int(timestamp[-1] - timestamp[0]) // interval_seconds + 1,
            candle_count=n,
            gap_count=len(gaps),
            longest_gap_candles=int(missing.max()) if len(gaps) else 0,
            zero_volume_count=n - int(np.count_nonzero(volume)),
            volume_missing_count=int(np.count_nonzero(flagged & FLAG_VOLUME_MISSING)),
            distorted_count=int(np.count_nonzero(flagged & FLAG_DISTORTED_WICK)),
            resampled_count=int(np.count_nonzero(flagged & FLAG_RESAMPLED)),
            off_grid_count=int(np.count_nonzero(timestamp % interval_seconds)) if is_off_grid else 0,
            flat_run_candles=flat_candles,
            flat_run_seconds=flat_seconds,
            first_candle_s=int(timestamp[0]),
            last_candle_s=int(timestamp[-1]),
        ),
        held.trade_count,
        over_gaps,
        longest_held * interval_seconds,
    )


def quality_of_run(parts: Sequence[ReadCandles]) -> RunQuality:
    """Judge a run.

    Args:
        parts: What it read, token by token; at least one.
    """
    judged = [(part, quality_of(part.measures)) for part in parts]
    verdicts = [_verdict(part, quality) for part, quality in judged]
    worst = max(range(len(parts)), key=lambda k: list(Verdict).index(verdicts[k]))
    measures = [part.measures for part in parts]
    found, expected = (sum(getattr(m, name) for m in measures) for name in ("candle_count", "expected_count"))
    details: dict[str, Any] = {
        "candle_count": found,
        "expected_count": expected,
        "coverage": min(found / expected, 1.0),
        "gap_count": sum(m.gap_count for m in measures),
        "longest_gap_seconds": max(quality.longest_gap_seconds for _, quality in judged),
        "trade_count": sum(part.trade_count for part in parts),
        "trades_over_gaps": sum(part.trades_over_gaps for part in parts),
        "longest_held_gap_seconds": max(part.longest_held_gap_seconds for part in parts),
        "longest_flat_seconds": max(m.flat_run_seconds for m in measures),
        "zero_volume_count": sum(m.zero_volume_count for m in measures),
        "volume_missing_count": sum(m.volume_missing_count for m in measures),
        "distorted_count": sum(m.distorted_count for m in measures),
        "resampled_count": sum(m.resampled_count for m in measures),
        "reasons": list(_reasons(*judged[worst])),
    }
    if len(parts) > 1:
        details["tokens_by_verdict"] = {str(verdict): count for verdict, count in sorted(Counter(verdicts).items())}
    return RunQuality(verdicts[worst], details)


def _verdict(part: ReadCandles, quality: CandleQuality) -> Verdict:
    if quality.verdict is Verdict.GOOD and part.trades_over_gaps:
        return Verdict.GAPS
    return quality.verdict


def _reasons(part: ReadCandles, quality: CandleQuality) -> Sequence[str]:
    if not part.trades_over_gaps:
        return quality.reasons
    held = (
        f"{part.trades_over_gaps} of {part.trade_count} trades held a position over a gap, the longest of "
        f"{part.longest_held_gap_seconds / 60:,.0f} min"
    )
    return [*quality.reasons, held]


def _flat_run(timestamp: _IntArray, close: _FloatArray, interval_seconds: int) -> tuple[int, int]:
    """Return the most candles in a row, and the longest time, with the same close."""
    edges = np.concatenate([[0], np.flatnonzero(close[1:] != close[:-1]) + 1, [len(close)]])
    seconds = timestamp[edges[1:] - 1] - timestamp[edges[:-1]]
    return int(np.diff(edges).max()), int(seconds.max()) + interval_seconds


def _gaps_held(gaps: _IntArray, missing: _IntArray, held: HeldSpans) -> tuple[int, int]:
    """Return how many trades held a position over a gap, and how many candles the longest of these lacks.

    Args:
        gaps: Indices of the candles after which some are missing, ascending.
        missing: How many.
        held: When positions were open.
    """
    begin = np.searchsorted(gaps, held.first)
    end = np.searchsorted(gaps, held.last)
    over = end > begin
    if not over.any():
        return 0, 0
    # Every second slice of `reduceat` is a span; the 0 behind all gaps gives the last one an end.
    edges = np.stack([begin[over], end[over]], axis=1).ravel()
    longest = np.maximum.reduceat(np.append(missing, 0), edges)[::2]
    return len(np.unique(held.trade[over])), int(longest.max())
