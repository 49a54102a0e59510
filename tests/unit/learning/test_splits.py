"""Splits by time, purged of labels that were known too late."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.learning.splits import split_by_time


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
