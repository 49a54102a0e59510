"""Splits of labelled calls into rows to train on and rows to test on, without the future in training.

A label is known only when its trade is done. A row whose label became known after the test began carries
the test's time in it, so it is purged from training.
"""

from typing import NamedTuple

import numpy as np

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.errors import LearningError


class TimeSplit(NamedTuple):
    """Rows of a split, ascending; rows that are in neither were purged.

    Attributes:
        train: Rows to train on.
        test: Rows to test on.
        test_start: Signal time of the first test row, seconds since the epoch, UTC.
        purged_count: Number of rows before the test whose label was known too late.
    """

    train: IntArray
    test: IntArray
    test_start: int
    purged_count: int


def split_by_time(
    signal_timestamp: IntArray, label_end: IntArray, test_share: float, *, embargo_seconds: int = 0
) -> TimeSplit:
    """Return the last `test_share` of the rows as test, and the rows that were known before as training.

    Args:
        signal_timestamp: Signal time per row, seconds, shape (n,), in any order.
        label_end: When each row's label became known, seconds, >= signal_timestamp, shape (n,).
        test_share: Share of rows to test on, in (0, 1). Rows of the same second stay together, so the test
            may be larger.
        embargo_seconds: A training label must be known at least this long before the test begins, >= 0.

    Raises:
        LearningError: an argument is out of bounds, or one side would be empty.
    """
    if not 0 < test_share < 1:
        raise LearningError(f"test_share is {test_share}; allowed is a number above 0 and below 1")
    if embargo_seconds < 0:
        raise LearningError(f"embargo_seconds is {embargo_seconds}; allowed is 0 or more")
    if len(signal_timestamp) != len(label_end):
        raise LearningError(
            f"found {len(signal_timestamp)} signal times and {len(label_end)} label ends; allowed is one each"
        )
    if (early := np.flatnonzero(label_end < signal_timestamp)).size:
        row = int(early[0])
        raise LearningError(
            f"row {row}: its label ends at {int(label_end[row])}, before its signal at {int(signal_timestamp[row])}"
        )
    row_count = len(signal_timestamp)
    test_count = int(np.ceil(row_count * test_share))
    if row_count < 2 or test_count >= row_count:
        raise LearningError(
            f"{row_count} rows can't be split with test_share {test_share}: nothing is left to train on; "
            "label more calls or lower the share"
        )
    test_start = int(np.sort(signal_timestamp)[row_count - test_count])
    is_test = signal_timestamp >= test_start
    is_train = ~is_test & (label_end <= test_start - embargo_seconds)
    split = TimeSplit(
        train=np.flatnonzero(is_train),
        test=np.flatnonzero(is_test),
        test_start=test_start,
        purged_count=int((~is_test & ~is_train).sum()),
    )
    if not len(split.train):
        raise LearningError(
            f"no row is left to train on: of {row_count} rows {len(split.test)} are at or after the test "
            f"start {test_start} and the labels of {split.purged_count} were known too late; label more "
            "calls, lower test_share, or choose a strategy with a shorter horizon"
        )
    return split
