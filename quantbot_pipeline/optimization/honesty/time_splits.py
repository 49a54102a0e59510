"""Splits in time of samples that last: walk-forward windows and combinatorially purged cross-validation.

A sample begins when its call is made and ends when its result is known (the last event of the trade, the end of
the label). A training sample that lasts into a test window carries the test's prices in it, so it is purged; one
that begins right after a test window still looks back on it, so it is under embargo.

Rows are kept in the order in which they are given, which need not be that of time. Touching is not overlapping: a
result known in the second in which the test begins was known in time.

Source: López de Prado (2018), "Advances in Financial Machine Learning", chapters 7 (purging, embargo) and 12
(combinatorial purged cross-validation).
"""

import itertools
import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantbot_pipeline.engine.candles import BoolArray, FloatArray, IntArray
from quantbot_pipeline.errors import EvidenceError

MAX_SPLITS = 20_000
"""How many splits are ever listed: C(16, 8) is 12 870."""


@dataclass(frozen=True, slots=True)
class PurgedSplit:
    """Rows to learn from and rows to test on.

    Attributes:
        train: Rows to learn from, ascending.
        test: Rows to test on, ascending; never empty.
        test_windows: (first second, last second) that each block of test samples takes, from its window's beginning
            to the end of its last sample.
        purged_count: Rows that would have been trained on but last into a test window (or, in a walk-forward, were
            not known early enough before it).
        embargoed_count: Rows that would have been trained on but begin too soon after a test window.
    """

    train: IntArray
    test: IntArray
    test_windows: tuple[tuple[int, int], ...]
    purged_count: int
    embargoed_count: int


@dataclass(frozen=True, slots=True)
class CombinatorialSplits:
    """All splits of combinatorially purged cross-validation, and the paths that they make.

    Attributes:
        group: Group of each row, from 0, oldest first; int64, shape (n,).
        splits: One for each choice of test groups.
        test_groups: The test groups of each split.
        paths: Which split tests a group on a path; int64, shape (n_paths, n_groups). Each path tests every group
            once, and each split's test of a group belongs to one path.
    """

    group: IntArray
    splits: tuple[PurgedSplit, ...]
    test_groups: tuple[tuple[int, ...], ...]
    paths: IntArray


def walk_forward_splits(
    start: IntArray,
    end: IntArray,
    *,
    test_seconds: int,
    train_seconds: int | None = None,
    step_seconds: int | None = None,
    first_test_at: int | None = None,
    embargo_seconds: int = 0,
) -> list[PurgedSplit]:
    """Return windows that learn from the past and are tested on what came next, oldest first.

    A window tests the samples that begin in [t, t + test_seconds) and learns from those that begin in
    [t - train_seconds, t) and are known `embargo_seconds` before t. Windows without a test sample, or with nothing
    to learn from, are left out.

    Args:
        start: When each sample begins, seconds, shape (n,), in any order.
        end: When each sample's result is known, seconds, >= start, shape (n,).
        test_seconds: Length of a test window, at least 1.
        train_seconds: Length of the training window (rolling); None learns from everything before (anchored).
        step_seconds: From one test window to the next, at least `test_seconds`, so that no sample is tested twice;
            None is `test_seconds`.
        first_test_at: Where the first test begins; None is the first sample's start plus `train_seconds`, or, for
            anchored windows, plus `test_seconds`.
        embargo_seconds: How long before the test a training sample must be known, >= 0.

    Raises:
        EvidenceError: an argument is out of bounds, or no window has both sides.
    """
    _check_samples(start, end, embargo_seconds)
    step = test_seconds if step_seconds is None else step_seconds
    if test_seconds < 1 or (train_seconds is not None and train_seconds < 1):
        raise EvidenceError(
            f"walk-forward windows of {train_seconds} s to learn and {test_seconds} s to test; allowed is at least 1 s"
        )
    if step < test_seconds:
        raise EvidenceError(
            f"walk-forward steps of {step} s are shorter than the test of {test_seconds} s, so trades would be "
            "counted twice; allowed is at least the length of the test"
        )
    first, last = int(start.min()), int(start.max())
    test_at = first_test_at
    if test_at is None:
        test_at = first + (test_seconds if train_seconds is None else train_seconds)
    splits: list[PurgedSplit] = []
    for begins in range(test_at, last + 1, step):
        is_test = (start >= begins) & (start < begins + test_seconds)
        is_before = start < begins
        if train_seconds is not None:
            is_before &= start >= begins - train_seconds
        splits += _window(end, is_before, is_test, (begins, begins + test_seconds - 1), embargo_seconds)
    if not splits:
        raise EvidenceError(
            f"{len(start)} samples from {first} to {last} give no walk-forward window with something to learn from "
            f"and to test on: train_seconds is {train_seconds}, test_seconds {test_seconds}, embargo_seconds "
            f"{embargo_seconds}; choose shorter windows or more data"
        )
    return splits


def walk_forward_blocks(
    start: IntArray, end: IntArray, *, block_count: int, train_share: float, embargo_seconds: int = 0
) -> list[PurgedSplit]:
    """Return windows of about equally many samples that learn from everything before them, oldest first.

    The earliest samples are for learning alone; the others are cut into blocks by their order in time, whatever the
    time between them, so that a few early samples do not leave all others in one window. Only the times of samples
    decide, never their results. Samples of one second stay together. A window tests the samples from its first one to
    the next window's first one, and learns from those that begin before it and are known `embargo_seconds` before it.
    Windows with nothing to learn from are left out.

    Args:
        start: When each sample begins, seconds, shape (n,), in any order.
        end: When each sample's result is known, seconds, >= start, shape (n,).
        block_count: Number of windows, at least 1; there are fewer where samples are few.
        train_share: Share of the samples that is for learning alone, in (0, 1).
        embargo_seconds: How long before the test a training sample must be known, >= 0.

    Raises:
        EvidenceError: an argument is out of bounds, or no window has both sides.
    """
    _check_samples(start, end, embargo_seconds)
    if block_count < 1 or not 0 < train_share < 1:
        raise EvidenceError(
            f"{block_count} walk-forward windows after a share of {train_share}; allowed are at least 1 window and a "
            "share between 0 and 1"
        )
    ordered = np.sort(start)
    first_test = math.ceil(train_share * len(ordered))
    places = [first_test + (len(ordered) - first_test) * number // block_count for number in range(block_count)]
    edges = np.unique(ordered[[place for place in places if place < len(ordered)]])
    splits: list[PurgedSplit] = []
    for begins, stops in itertools.pairwise([*edges.tolist(), None]):
        is_test = start >= begins if stops is None else (start >= begins) & (start < stops)
        is_before = start < begins
        last = begins + 1 if stops is None else stops - 1
        splits += _window(end, is_before, is_test, (begins, last), embargo_seconds)
    if not splits:
        raise EvidenceError(
            f"{len(start):,} samples give no walk-forward window with something to learn from that is known "
            f"{embargo_seconds} s before its test; choose more data"
        )
    return splits


def combinatorial_purged_splits(
    start: IntArray, end: IntArray, *, group_count: int, test_group_count: int, embargo_seconds: int = 0
) -> CombinatorialSplits:
    """Return every choice of test groups among groups that follow each other in time, purged and with embargo.

    Samples are sorted by start and cut into groups of about equal size; samples of the same second stay together.
    Of N groups and k test groups come C(N, k) splits and C(N - 1, k - 1) paths.

    Args:
        start: When each sample begins, seconds, shape (n,), in any order.
        end: When each sample's result is known, seconds, >= start, shape (n,).
        group_count: N, at least 2.
        test_group_count: k, from 1 to N - 1.
        embargo_seconds: How long after the end of a test block no training sample begins, >= 0.

    Returns:
        The splits; of some the training side may be empty when everything was purged.

    Raises:
        EvidenceError: an argument is out of bounds, there are too many splits, or a group would be empty.
    """
    _check_samples(start, end, embargo_seconds)
    if not 1 <= test_group_count < group_count:
        raise EvidenceError(
            f"{test_group_count} test groups of {group_count}; allowed is from 1 to one less than the number of groups"
        )
    split_count = math.comb(group_count, test_group_count)
    if split_count > MAX_SPLITS:
        raise EvidenceError(
            f"{test_group_count} test groups of {group_count} make {split_count} splits; allowed are {MAX_SPLITS}"
        )
    group = _groups_in_time(start, group_count)
    begins = np.array([start[group == number].min() for number in range(group_count)])
    ends = np.array([end[group == number].max() for number in range(group_count)])
    test_groups = tuple(itertools.combinations(range(group_count), test_group_count))
    splits = tuple(_split_on_groups(start, end, group, chosen, begins, ends, embargo_seconds) for chosen in test_groups)
    path_count = math.comb(group_count - 1, test_group_count - 1)
    paths = np.empty((path_count, group_count), dtype=np.int64)
    for number in range(group_count):
        paths[:, number] = [index for index, chosen in enumerate(test_groups) if number in chosen]
    return CombinatorialSplits(group=group, splits=splits, test_groups=test_groups, paths=paths)


def values_along_paths(splits: CombinatorialSplits, tested: Sequence[FloatArray]) -> FloatArray:
    """Return what was measured on the test rows of every split, joined along the paths.

    Args:
        splits: As `combinatorial_purged_splits` returns them.
        tested: For each split one value per test row, in the order of its `test`.

    Returns:
        One full history of all rows per path, float64, shape (n_paths, n).

    Raises:
        EvidenceError: a split has not one value per test row.
    """
    rows = np.full((len(splits.splits), len(splits.group)), np.nan)
    if len(tested) != len(splits.splits):
        raise EvidenceError(f"found values of {len(tested)} splits; allowed is one array for each of {len(rows)}")
    for index, (split, values) in enumerate(zip(splits.splits, tested, strict=True)):
        if len(values) != len(split.test):
            raise EvidenceError(f"split {index} has {len(values)} values for {len(split.test)} test rows")
        rows[index, split.test] = values
    histories: FloatArray = rows[splits.paths[:, splits.group], np.arange(len(splits.group))]
    return histories


def _window(
    end: IntArray, is_before: BoolArray, is_test: BoolArray, tested: tuple[int, int], embargo_seconds: int
) -> list[PurgedSplit]:
    """Return the split of a walk-forward window, or nothing where there is nothing to learn from or to test on.

    Args:
        end: When each sample's result is known.
        is_before: Whether a sample may be learned from, if it is known in time.
        is_test: Whether it is tested on.
        tested: First and last second of the test.
        embargo_seconds: How long before the test a training sample must be known.
    """
    begins, last = tested
    is_train = is_before & (end <= begins - embargo_seconds)
    if not is_test.any() or not is_train.any():
        return []
    test = np.flatnonzero(is_test)
    return [
        PurgedSplit(
            train=np.flatnonzero(is_train),
            test=test,
            test_windows=((begins, max(last, int(end[test].max()))),),
            purged_count=int((is_before & ~is_train).sum()),
            embargoed_count=0,
        )
    ]


def _split_on_groups(
    start: IntArray,
    end: IntArray,
    group: IntArray,
    chosen: tuple[int, ...],
    begins: IntArray,
    ends: IntArray,
    embargo_seconds: int,
) -> PurgedSplit:
    """Return the split that tests the chosen groups."""
    is_test = np.isin(group, chosen)
    is_overlapping = np.zeros(len(start), dtype=np.bool_)
    is_too_soon = np.zeros(len(start), dtype=np.bool_)
    for number in chosen:
        overlaps = (start < ends[number]) & (end > begins[number])
        is_overlapping |= overlaps
        # A sample is after this block if it neither overlaps it nor ends before it.
        is_too_soon |= ~overlaps & (start >= ends[number]) & (start < ends[number] + embargo_seconds)
    is_train = ~(is_test | is_overlapping | is_too_soon)
    return PurgedSplit(
        train=np.flatnonzero(is_train),
        test=np.flatnonzero(is_test),
        test_windows=tuple((int(begins[number]), int(ends[number])) for number in chosen),
        purged_count=int((is_overlapping & ~is_test).sum()),
        embargoed_count=int((is_too_soon & ~is_overlapping & ~is_test).sum()),
    )


def _groups_in_time(start: IntArray, group_count: int) -> IntArray:
    """Return the group of each row: equal shares of the sorted starts, rows of one second together."""
    ordered = np.sort(start)
    edges = ordered[[len(start) * number // group_count for number in range(1, group_count)]]
    group = np.searchsorted(edges, start, side="right").astype(np.int64)
    if len(np.unique(group)) < group_count:
        raise EvidenceError(
            f"{len(start)} samples with {len(np.unique(start))} different starts can't be cut into {group_count} "
            "groups in time; choose fewer groups"
        )
    return group


def _check_samples(start: IntArray, end: IntArray, embargo_seconds: int) -> None:
    if embargo_seconds < 0:
        raise EvidenceError(f"embargo_seconds is {embargo_seconds}; allowed is 0 or more")
    if len(start) != len(end) or not len(start):
        raise EvidenceError(
            f"found {len(start)} starts and {len(end)} ends of samples; allowed is one each, at least 1"
        )
    if (early := np.flatnonzero(end < start)).size:
        row = int(early[0])
        raise EvidenceError(f"sample {row} ends at {int(end[row])}, before its start at {int(start[row])}")
