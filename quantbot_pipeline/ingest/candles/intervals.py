"""How long the candles of a file are, told from the steps between its rows, row by row.

The rows of one token are taken in the order of the file, which is oldest or newest first. A *step* is the time from
one row to the next. An interval is a candidate if two steps at least are exactly it and start on its grid. The finest
candidate is the interval of all rows, with gaps of any length, save for *stretches* of a coarser one: neighbouring
steps that are multiples of it on its grid, at least half of them exactly it, and so many that rows of the next finer
candidate would look like that by chance less than once in a million (6 steps of 1h among 5m, 9 steps of 5m among 1m).
Fewer than that, but too many to be chance, are in doubt: such rows have no interval here.

A row at the border of two stretches has the interval of the exact step that follows it, else of the one before it. So
the last 5m candle before overlapping 1m candles stays a 5m candle.

A file whose rows go back in time a few times (pages, files put together) is cut there; each part is told for itself.
Rows in any other order are sorted first.
"""

import itertools
from collections.abc import Sequence
from functools import lru_cache
from math import ceil, log

import numpy as np

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, IntArray
from quantbot_pipeline.ingest.candles.faults import BoolArray

UNKNOWN = 0
"""Stands for an interval that can't be told."""

SURE = 1_000_000
"""One in so many is how often chance may look like a coarser interval."""

_DOUBTFUL = 1_000
_FEWEST_STEPS = 3
_MOST_STRAY_STEPS = 0.01
_MEAN_PART = 8
_MIXED_SHARE = 0.9

ROWS_TO_JUDGE = 24
"""Rows of a token that always suffice to tell a stretch: 20 steps of twice the finer interval, and some."""

_ALLOWED = sorted(INTERVAL_SECONDS.values())
_LONGEST = _ALLOWED[-1]


def derive_intervals(timestamps: IntArray) -> IntArray:
    """Return the interval of every row of one token.

    Args:
        timestamps: Open times in seconds, in the order of the file, shape (n,).

    Returns:
        Intervals in seconds, `UNKNOWN` where it can't be told, shape (n,).
    """
    if len(timestamps) < _FEWEST_STEPS:
        return np.zeros(len(timestamps), dtype=np.int64)
    steps = np.diff(timestamps)
    falls, rises = steps < 0, steps > 0
    fall_count, rise_count = int(falls.sum()), int(rises.sum())
    if fall_count == 0:
        return _of_ascending(timestamps)
    if rise_count == 0:
        return _of_ascending(timestamps[::-1])[::-1]
    is_descending = fall_count > rise_count
    cuts = np.flatnonzero(rises if is_descending else falls) + 1
    if len(timestamps) >= _MEAN_PART * (len(cuts) + 1):
        by_part = _of_parts(timestamps, cuts, is_descending=is_descending)
        if by_part is not None:
            return by_part
    order = np.argsort(timestamps, kind="stable")
    intervals = np.zeros(len(timestamps), dtype=np.int64)
    intervals[order] = _of_ascending(timestamps[order])
    return intervals


def fits(interval: int, derived: int, exact_steps: int) -> bool:
    """Return whether rows may have an interval that a person or a file's name gives them.

    Args:
        interval: What is said, seconds.
        derived: What the steps say, seconds.
        exact_steps: How many steps are exactly that.
    """
    if derived in (UNKNOWN, interval):
        return True
    if derived < interval or derived % interval:
        return False
    # Sparse rows of a finer interval: likely only as long as chance explains the steps.
    return (derived / interval) ** min(exact_steps, 64) < SURE


def find_coarser_interval(
    timestamps: IntArray, finer: int, is_repeated: BoolArray, is_differing: BoolArray
) -> int | None:
    """Return the coarser interval whose candles seem to be mixed into those of a finer one; None for mere conflicts.

    So it is where nearly every repeated time lies on the grid of the coarser interval, nearly every row on that grid is
    repeated, and there are too many to lie there by chance. Rows of a file that was put together twice repeat off the
    grid too.

    Args:
        timestamps: Open times of one token in seconds, each once, ascending, shape (n,).
        finer: The interval that the steps tell, in seconds.
        is_repeated: Which times have several rows, shape (n,).
        is_differing: Which of them have rows of different values, shape (n,).
    """
    times = timestamps[is_differing]
    if len(times) < _FEWEST_STEPS:
        return None
    near = timestamps[(timestamps >= times[0]) & (timestamps <= times[-1])]
    repeated = timestamps[is_repeated]
    for interval in reversed(_ALLOWED):
        if interval <= finer or interval % finer or len(times) < _steps_needed(interval // finer, _DOUBTFUL):
            continue
        on_grid = int((repeated % interval == 0).sum())
        if on_grid < _MIXED_SHARE * len(repeated) or (times % interval != 0).mean() > 1 - _MIXED_SHARE:
            continue
        if on_grid >= _MIXED_SHARE * int((near % interval == 0).sum()):
            return interval
    return None


def _of_parts(timestamps: IntArray, cuts: IntArray, *, is_descending: bool) -> IntArray | None:
    """Return the intervals of parts that each run one way; None if they are better sorted first."""
    edges = [0, *cuts.tolist(), len(timestamps)]
    found = []
    for begin, end in itertools.pairwise(edges):
        part = timestamps[begin:end]
        intervals = _of_ascending(part[::-1])[::-1] if is_descending else _of_ascending(part)
        if (intervals == UNKNOWN).any():
            return None
        found.append(intervals)
    whole: IntArray = np.concatenate(found)
    finest = int(whole.min())
    for intervals in found:
        for interval in np.unique(intervals).tolist():
            # Every fifth row of 1m candles looks like 5m; a part of them must be too long for that.
            if interval > finest and (interval / finest) ** min(int((intervals == interval).sum()) - 1, 64) < SURE:
                return None
    return whole


def _of_ascending(timestamps: IntArray) -> IntArray:
    """Return the intervals of rows in the order of time, which may repeat."""
    is_new = np.concatenate([[True], np.diff(timestamps) > 0])
    if is_new.all():
        return _of_increasing(timestamps)
    intervals: IntArray = _of_increasing(timestamps[is_new])[np.cumsum(is_new) - 1]
    return intervals


def _of_increasing(timestamps: IntArray) -> IntArray:
    """Return the intervals of rows whose times increase."""
    count = len(timestamps)
    if count < _FEWEST_STEPS:
        return np.zeros(count, dtype=np.int64)
    steps = np.diff(timestamps)
    candidates = _candidates(timestamps, steps)
    if not candidates:
        return np.zeros(count, dtype=np.int64)
    base = candidates[0]
    if int((steps < base).sum()) > _MOST_STRAY_STEPS * len(steps):
        return np.zeros(count, dtype=np.int64)
    # Interval of each step; negative where it is in doubt.
    assigned = np.zeros(len(steps), dtype=np.int64)
    for position in range(len(candidates) - 1, 0, -1):
        divisors = [finer for finer in candidates[:position] if candidates[position] % finer == 0]
        if divisors:
            _assign_stretches(timestamps, steps, assigned, candidates[position], candidates[position] // divisors[-1])
    if not assigned.any():
        return np.full(count, base, dtype=np.int64)
    _assign_base(steps, assigned, base)
    return _interval_of_rows(timestamps, assigned, base)


def _candidates(timestamps: IntArray, steps: IntArray) -> list[int]:
    """Return the intervals, finest first, that two steps at least are exactly, from a row on the grid."""
    counts = np.bincount(steps[steps <= _LONGEST], minlength=_LONGEST + 1)
    found = []
    for interval in _ALLOWED:
        if counts[interval] < 2:
            continue
        starts = timestamps[:-1][steps == interval]
        if int((starts % interval == 0).sum()) >= 2:
            found.append(interval)
    return found


@lru_cache(maxsize=256)
def _steps_needed(ratio: int, odds: int) -> int:
    return max(_FEWEST_STEPS, ceil(log(odds) / log(ratio) - 1e-9))


def _runs(mask: BoolArray) -> tuple[IntArray, IntArray]:
    """Return first and last position (exclusive) of the runs of true."""
    edges = np.diff(np.concatenate([[0], mask.astype(np.int8), [0]]))
    return np.flatnonzero(edges == 1), np.flatnonzero(edges == -1)


def _assign_stretches(timestamps: IntArray, steps: IntArray, assigned: IntArray, interval: int, ratio: int) -> None:
    is_fitting = (assigned == 0) & (steps % interval == 0) & (timestamps[:-1] % interval == 0)
    firsts, ends = _runs(is_fitting)
    is_long = ends - firsts >= _steps_needed(ratio, _DOUBTFUL)
    for first, end in zip(firsts[is_long].tolist(), ends[is_long].tolist(), strict=True):
        exact = np.flatnonzero(steps[first:end] == interval)
        if not len(exact):
            continue
        begin, stop = first + int(exact[0]), first + int(exact[-1]) + 1
        length = stop - begin
        if 2 * len(exact) >= length >= _steps_needed(ratio, SURE):
            assigned[begin:stop] = interval
        elif len(exact) == length >= _steps_needed(ratio, _DOUBTFUL):
            assigned[begin:stop] = -interval


def _assign_base(steps: IntArray, assigned: IntArray, base: int) -> None:
    """Give the finest interval to what no stretch took; next to a stretch only from an exact step on."""
    for first, end in zip(*(edges.tolist() for edges in _runs(assigned == 0)), strict=True):
        exact = np.flatnonzero(steps[first:end] == base)
        if not len(exact):
            continue
        begin = first if first == 0 else first + int(exact[0])
        stop = end if end == len(steps) else first + int(exact[-1]) + 1
        assigned[begin:stop] = base


def _interval_of_rows(timestamps: IntArray, assigned: IntArray, base: int) -> IntArray:
    before = np.concatenate([[0], assigned])
    after = np.concatenate([assigned, [0]])
    intervals = np.where(after != 0, after, before)
    # Between two stretches and in none of them: of the finest interval if the row is off the coarser grids.
    for row in np.flatnonzero((before == 0) & (after == 0)).tolist():
        near = {abs(int(value)) for value in _neighbours(assigned, row)} - {base}
        on_coarser = any(int(timestamps[row]) % interval == 0 for interval in near)
        intervals[row] = UNKNOWN if on_coarser or int(timestamps[row]) % base else base
    known: IntArray = np.maximum(intervals, UNKNOWN)
    return known


def _neighbours(assigned: IntArray, row: int) -> Sequence[int]:
    earlier = np.flatnonzero(assigned[:row])
    later = np.flatnonzero(assigned[row:])
    found = [int(assigned[earlier[-1]])] if len(earlier) else []
    return [*found, int(assigned[row + later[0]])] if len(later) else found
