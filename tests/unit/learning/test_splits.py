"""Splits by time, purged of labels that were known too late."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbot_pipeline.errors import InputError, LearningError
from quantbot_pipeline.learning.splits import (
    CombinatorialPurged,
    WalkForward,
    parse_split_plan,
    split_by_time,
    split_rows,
)


def ints(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_last_share_is_tested_and_late_labels_are_purged() -> None:
    # Five rows, two of them tested: the test starts at 40. Row 1's label is known at 40, in time; row 2's
    # at 41, too late.
    split = split_by_time(ints(10, 20, 30, 40, 50), ints(15, 40, 41, 45, 90), 0.4)

    assert split.train.tolist() == [0, 1]
    assert split.test.tolist() == [3, 4]
    assert (split.test_start, split.purged_count) == (40, 1)


def test_embargo_widens_the_gap_before_the_test() -> None:
    split = split_by_time(ints(10, 20, 30, 40, 50), ints(15, 38, 35, 45, 90), 0.4, embargo_seconds=5)

    assert split.train.tolist() == [0, 2]
    assert split.purged_count == 1


def test_rows_of_one_second_stay_together() -> None:
    split = split_by_time(ints(10, 20, 20, 20, 20), ints(11, 21, 21, 21, 21), 0.2)

    assert split.test.tolist() == [1, 2, 3, 4]


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.tuples(st.integers(0, 1000), st.integers(0, 300)), min_size=2, max_size=60),
    test_share=st.floats(0.05, 0.95),
    embargo_seconds=st.integers(0, 100),
)
def test_no_time_of_the_test_is_in_training(
    rows: list[tuple[int, int]], test_share: float, embargo_seconds: int
) -> None:
    signal = np.array([start for start, _ in rows], dtype=np.int64)
    label_end = signal + np.array([length for _, length in rows], dtype=np.int64)
    try:
        split = split_by_time(signal, label_end, test_share, embargo_seconds=embargo_seconds)
    except LearningError:
        return

    assert len(split.train)
    assert len(split.test) >= len(rows) * test_share
    assert len(split.train) + len(split.test) + split.purged_count == len(rows)
    assert not set(split.train) & set(split.test)
    assert label_end[split.train].max() + embargo_seconds <= signal[split.test].min() == split.test_start
    # Nothing is purged without a reason.
    rest = np.setdiff1d(np.arange(len(rows)), np.concatenate([split.train, split.test]))
    assert (signal[rest] < split.test_start).all()
    assert (label_end[rest] + embargo_seconds > split.test_start).all()


@pytest.mark.parametrize(
    ("signal", "label_end", "test_share", "embargo", "message"),
    [
        (ints(1, 2), ints(1, 2), 0.0, 0, "test_share is 0.0"),
        (ints(1, 2), ints(1, 2), 1.0, 0, "test_share is 1.0"),
        (ints(1, 2), ints(1, 2), 0.5, -1, "embargo_seconds is -1"),
        (ints(1, 2), ints(1), 0.5, 0, "found 2 signal times and 1 label ends"),
        (ints(1, 2), ints(1, 1), 0.5, 0, "row 1: its label ends at 1, before its signal at 2"),
        (ints(), ints(), 0.5, 0, "0 rows can't be split"),
        (ints(1, 2), ints(1, 2), 0.9, 0, "nothing is left to train on"),
        (ints(1, 2, 3), ints(9, 9, 9), 0.3, 0, "no row is left to train on.*2 were known too late"),
        (ints(5, 5, 5), ints(5, 5, 5), 0.3, 0, "no row is left to train on"),
    ],
)
def test_split_with_an_empty_side_or_bad_arguments_is_refused(
    signal: np.ndarray, label_end: np.ndarray, test_share: float, embargo: int, message: str
) -> None:
    with pytest.raises(LearningError, match=message):
        split_by_time(signal, label_end, test_share, embargo_seconds=embargo)


DAY = 86_400


def test_plan_goes_through_json_and_refuses_what_it_does_not_know() -> None:
    walk = parse_split_plan({"kind": "walk_forward", "test_seconds": DAY, "group_by": "token"})
    assert walk == WalkForward(test_seconds=DAY, group_by="token")
    assert parse_split_plan(walk.model_dump(mode="json")) == walk
    assert parse_split_plan({"kind": "combinatorial"}) == CombinatorialPurged(group_count=6, test_group_count=2)
    for document, part in (
        ({"kind": "walk_forward"}, "test_seconds"),
        ({"kind": "shuffled"}, "walk_forward"),
        ({"kind": "combinatorial", "group_count": 1}, "found 1"),
        ({"kind": "combinatorial", "embargo_seconds": -1}, "embargo_seconds"),
    ):
        with pytest.raises(InputError, match=part):
            parse_split_plan(document)


def test_tokens_that_are_tested_are_not_learned_from() -> None:
    # Four calls, a day apart, each known an hour later; the walk tests the second half day by day.
    start = ints(0, DAY, 2 * DAY, 3 * DAY)
    end = start + 3600
    plan = WalkForward(test_seconds=2 * DAY, group_by="token")

    (split,) = split_rows(plan, start, end, ints(5, 6, 6, 7))

    assert split.test.tolist() == [2, 3]
    assert split.train.tolist() == [0]
    assert (split.purged_count, split.embargoed_count, split.grouped_count) == (0, 0, 1)
    (plain,) = split_rows(plan.model_copy(update={"group_by": "none"}), start, end, ints(5, 6, 6, 7))
    assert plain.train.tolist() == [0, 1]


def test_splits_that_leave_nothing_to_learn_from_are_refused() -> None:
    start = ints(0, DAY, 2 * DAY, 3 * DAY)
    with pytest.raises(LearningError, match="none has a row left"):
        split_rows(WalkForward(test_seconds=2 * DAY, group_by="token"), start, start, ints(5, 5, 5, 5))
    with pytest.raises(LearningError, match="can't be split"):
        split_rows(CombinatorialPurged(group_count=6), ints(1, 1), ints(2, 2), ints(1, 2))
    with pytest.raises(LearningError, match="4 rows and 1 tokens"):
        split_rows(WalkForward(test_seconds=1), start, start, ints(1))


@settings(max_examples=200, deadline=None, derandomize=True)
@given(
    rows=st.lists(st.tuples(st.integers(0, 300), st.integers(0, 60), st.integers(0, 6)), min_size=6, max_size=40),
    embargo_seconds=st.integers(0, 40),
    group_by=st.sampled_from(["none", "token"]),
    plan=st.sampled_from(["walk_forward", "rolling", "combinatorial"]),
)
def test_no_training_label_overlaps_a_test_or_its_embargo_and_no_token_crosses(
    rows: list[tuple[int, int, int]], embargo_seconds: int, group_by: str, plan: str
) -> None:
    start = np.array([row[0] for row in rows], dtype=np.int64)
    end = start + np.array([row[1] for row in rows], dtype=np.int64)
    token = np.array([row[2] for row in rows], dtype=np.int64)
    documents = {
        "walk_forward": {"kind": "walk_forward", "test_seconds": 50},
        "rolling": {"kind": "walk_forward", "test_seconds": 40, "train_seconds": 90, "step_seconds": 70},
        "combinatorial": {"kind": "combinatorial", "group_count": 4, "test_group_count": 2},
    }
    parsed = parse_split_plan(documents[plan] | {"embargo_seconds": embargo_seconds, "group_by": group_by})
    try:
        splits = split_rows(parsed, start, end, token)
    except LearningError as e:
        assert "can't be split" in str(e) or "none has a row left" in str(e)  # noqa: PT017 - most draws do not raise
        return
    for split in splits:
        assert len(split.train)
        assert len(split.test)
        for train in split.train:
            for test in split.test:
                assert end[train] <= start[test] or start[train] >= end[test]
            for begins, ends in split.test_windows:
                if plan == "combinatorial":
                    assert end[train] <= begins or start[train] >= ends + embargo_seconds
                else:
                    assert end[train] <= begins - embargo_seconds
        if group_by == "token":
            assert not set(token[split.train].tolist()) & set(token[split.test].tolist())
        elif plan == "combinatorial":
            left_out = split.purged_count + split.embargoed_count + split.grouped_count
            assert len(split.train) + len(split.test) + left_out == len(rows)
