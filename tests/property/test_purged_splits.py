"""Whatever the samples, no split learns from its test."""

import math

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.time_splits import (
    PurgedSplit,
    combinatorial_purged_splits,
    walk_forward_blocks,
    walk_forward_splits,
)

many = settings(max_examples=300, deadline=None, derandomize=True)

samples = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 60)), min_size=4, max_size=40)


def start_and_end(drawn: list[tuple[int, int]]) -> tuple[np.ndarray, np.ndarray]:
    start = np.array([begins for begins, _ in drawn], dtype=np.int64)
    return start, start + np.array([lasts for _, lasts in drawn], dtype=np.int64)


def assert_nothing_shared(split: PurgedSplit, start: np.ndarray, end: np.ndarray) -> None:
    """Hold every training sample against every test sample."""
    assert not set(split.train.tolist()) & set(split.test.tolist())
    for train in split.train:
        for test in split.test:
            assert end[train] <= start[test] or start[train] >= end[test]


@many
@given(samples, st.integers(1, 60), st.integers(1, 90) | st.none(), st.integers(0, 40), st.integers(0, 30))
def test_walk_forward_learns_from_what_was_known_before(
    drawn: list[tuple[int, int]], test_seconds: int, train_seconds: int | None, further: int, embargo: int
) -> None:
    start, end = start_and_end(drawn)
    try:
        splits = walk_forward_splits(
            start,
            end,
            test_seconds=test_seconds,
            train_seconds=train_seconds,
            step_seconds=test_seconds + further,
            embargo_seconds=embargo,
        )
    except EvidenceError as e:
        if "no walk-forward window" not in str(e):
            raise
        return
    tested = np.concatenate([split.test for split in splits])
    assert len(np.unique(tested)) == len(tested)
    for split in splits:
        assert len(split.train)
        assert len(split.test)
        assert_nothing_shared(split, start, end)
        begins, ends = split.test_windows[0]
        assert end[split.train].max() <= begins - embargo
        assert start[split.test].min() >= begins
        assert end[split.test].max() <= ends
        # Nothing that could be learned from was forgotten.
        could = (start < begins) & (end <= begins - embargo)
        if train_seconds is not None:
            could &= start >= begins - train_seconds
        assert split.train.tolist() == np.flatnonzero(could).tolist()


@many
@given(samples, st.integers(1, 6), st.floats(0.05, 0.95), st.integers(0, 30))
def test_walk_forward_blocks_learn_from_what_was_known_before(
    drawn: list[tuple[int, int]], blocks: int, train_share: float, embargo: int
) -> None:
    start, end = start_and_end(drawn)
    try:
        splits = walk_forward_blocks(start, end, block_count=blocks, train_share=train_share, embargo_seconds=embargo)
    except EvidenceError as e:
        if "no walk-forward window" not in str(e):
            raise
        return
    tested = np.concatenate([split.test for split in splits])
    assert len(np.unique(tested)) == len(tested)
    # From the first window on, every sample is tested.
    assert len(tested) == int((start >= splits[0].test_windows[0][0]).sum())
    for split in splits:
        assert_nothing_shared(split, start, end)
        begins, ends = split.test_windows[0]
        assert start[split.test].min() == begins
        assert end[split.test].max() <= ends
        could = (start < begins) & (end <= begins - embargo)
        assert split.train.tolist() == np.flatnonzero(could).tolist()
        assert len(split.train)


@many
@given(samples, st.integers(2, 6), st.integers(1, 5), st.integers(0, 40))
def test_combinatorial_splits_keep_test_and_embargo_out_of_training(
    drawn: list[tuple[int, int]], groups: int, tested: int, embargo: int
) -> None:
    start, end = start_and_end(drawn)
    tested = min(tested, groups - 1)
    try:
        found = combinatorial_purged_splits(
            start, end, group_count=groups, test_group_count=tested, embargo_seconds=embargo
        )
    except EvidenceError as e:
        if "can't be cut" not in str(e):
            raise
        return
    assert len(found.splits) == math.comb(groups, tested)
    assert found.paths.shape == (math.comb(groups - 1, tested - 1), groups)
    for index, (split, chosen) in enumerate(zip(found.splits, found.test_groups, strict=True)):
        assert_nothing_shared(split, start, end)
        assert split.test.tolist() == np.flatnonzero(np.isin(found.group, chosen)).tolist()
        # All rows are accounted for.
        assert len(split.train) + len(split.test) + split.purged_count + split.embargoed_count == len(start)
        for begins, ends in split.test_windows:
            inside = (start[split.train] < ends + embargo) & (end[split.train] > begins)
            # The embargo is after the block alone: what ended before it began stays.
            assert not inside.any()
        # A path tests a group in a split that tests it, and no other path does so there.
        for number in range(groups):
            assert (found.paths[:, number] == index).sum() == (number in chosen)
    # Groups follow each other in time.
    for number in range(groups - 1):
        assert start[found.group == number].max() < start[found.group == number + 1].min()
