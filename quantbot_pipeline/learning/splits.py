"""Splits of labelled calls into rows to train on and rows to test on, without the future in training.

A label begins at its call and ends when it was known; a row whose label lasts into the test carries the test's time
in it, so it is purged from training. The purging itself is that of `optimization.honesty.time_splits`, which the
verdict on searches uses too: one rule, in one place. Here it is put behind a plan that a model's configuration holds,
and, where asked, no token is on both sides.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any, Literal, NamedTuple

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, TypeAdapter, ValidationError

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.errors import EvidenceError, InputError, LearningError
from quantbot_pipeline.optimization.honesty.time_splits import (
    PurgedSplit,
    combinatorial_purged_splits,
    walk_forward_splits,
)


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


class _Plan(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")

    embargo_seconds: int = Field(default=0, ge=0)
    group_by: Literal["none", "token"] = "none"


class WalkForward(_Plan):
    """Windows that learn from the past and are tested on what came next.

    Attributes:
        test_seconds: Length of a test window.
        train_seconds: Length of the training window before it; None learns from everything before.
        step_seconds: From one test to the next; None is `test_seconds`.
        embargo_seconds: How long before the test a training label must be known.
        group_by: `token` leaves out of training the tokens that are tested.
    """

    kind: Literal["walk_forward"] = "walk_forward"
    test_seconds: int = Field(ge=1)
    train_seconds: int | None = Field(default=None, ge=1)
    step_seconds: int | None = Field(default=None, ge=1)


class CombinatorialPurged(_Plan):
    """Every choice of k test groups among N groups that follow each other in time.

    Attributes:
        group_count: N.
        test_group_count: k.
        embargo_seconds: How long after the end of a test block no training row begins.
        group_by: `token` leaves out of training the tokens that are tested.
    """

    kind: Literal["combinatorial"] = "combinatorial"
    group_count: int = Field(default=6, ge=2, le=16)
    test_group_count: int = Field(default=2, ge=1)


SplitPlan = Annotated[WalkForward | CombinatorialPurged, Field(discriminator="kind")]
"""How rows are split; storable as JSON."""

_PLAN: TypeAdapter[WalkForward | CombinatorialPurged] = TypeAdapter(SplitPlan)


@dataclass(frozen=True, slots=True)
class LabelledSplit:
    """Rows of one split, ascending; rows that are in neither were left out for a reason that is counted.

    Attributes:
        train: Rows to train on; never empty.
        test: Rows to test on; never empty.
        test_windows: (first second, last second) that each block of test rows takes, to the end of its last label.
        purged_count: Rows whose label lasts into a test, or was known too late before it.
        embargoed_count: Rows that begin too soon after a test.
        grouped_count: Rows left out because their token is tested.
    """

    train: IntArray
    test: IntArray
    test_windows: tuple[tuple[int, int], ...]
    purged_count: int
    embargoed_count: int
    grouped_count: int


def parse_split_plan(document: Mapping[str, Any]) -> WalkForward | CombinatorialPurged:
    """Return the plan that a JSON document holds.

    Raises:
        InputError: a field is missing, unknown or out of bounds.
    """
    try:
        return _PLAN.validate_python(document)
    except ValidationError as e:
        first = e.errors()[0]
        place = ".".join(str(part) for part in first["loc"] if part not in ("walk_forward", "combinatorial")) or "kind"
        raise InputError(
            f"split plan: {place}: {first['msg']} (found {first.get('input')!r}); kinds are walk_forward and "
            "combinatorial"
        ) from e


def split_rows(
    plan: WalkForward | CombinatorialPurged, signal_timestamp: IntArray, label_end: IntArray, token: IntArray
) -> tuple[LabelledSplit, ...]:
    """Return the splits that a plan makes of labelled calls.

    Args:
        plan: How to split.
        signal_timestamp: Signal time per row, seconds, shape (n,), in any order.
        label_end: When each row's label was known, seconds, >= signal_timestamp, shape (n,).
        token: A number per row that is the same for the same token, shape (n,).

    Returns:
        Splits with something to train on, in the order of time or of the combinations. Splits whose training side
        was purged empty are left out.

    Raises:
        LearningError: an argument is out of bounds, or no split has both sides.
    """
    if len(token) != len(signal_timestamp):
        raise LearningError(f"found {len(signal_timestamp)} rows and {len(token)} tokens; allowed is one token per row")
    try:
        found = _purged_splits(plan, signal_timestamp, label_end)
    except EvidenceError as e:
        raise LearningError(f"{len(signal_timestamp)} labelled calls can't be split: {e}") from e
    splits = tuple(
        split for each in found if len((split := _labelled(each, token, is_grouped=plan.group_by == "token")).train)
    )
    if not splits:
        raise LearningError(
            f"of {len(found)} splits of {len(signal_timestamp)} labelled calls none has a row left to train on; label "
            "more calls, take a label with a shorter horizon, a shorter embargo, or do not group by token"
        )
    return splits


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
    try:
        (split,) = walk_forward_splits(
            signal_timestamp,
            label_end,
            test_seconds=int(signal_timestamp.max()) - test_start + 1,
            first_test_at=test_start,
            embargo_seconds=embargo_seconds,
        )
    except EvidenceError as e:
        tested = int((signal_timestamp >= test_start).sum())
        raise LearningError(
            f"no row is left to train on: of {row_count} rows {tested} are at or after the test "
            f"start {test_start} and the labels of {row_count - tested} were known too late; label more "
            "calls, lower test_share, or choose a strategy with a shorter horizon"
        ) from e
    return TimeSplit(split.train, split.test, test_start, split.purged_count)


def _purged_splits(
    plan: WalkForward | CombinatorialPurged, signal_timestamp: IntArray, label_end: IntArray
) -> tuple[PurgedSplit, ...]:
    if isinstance(plan, CombinatorialPurged):
        return combinatorial_purged_splits(
            signal_timestamp,
            label_end,
            group_count=plan.group_count,
            test_group_count=plan.test_group_count,
            embargo_seconds=plan.embargo_seconds,
        ).splits
    return tuple(
        walk_forward_splits(
            signal_timestamp,
            label_end,
            test_seconds=plan.test_seconds,
            train_seconds=plan.train_seconds,
            step_seconds=plan.step_seconds,
            embargo_seconds=plan.embargo_seconds,
        )
    )


def _labelled(split: PurgedSplit, token: IntArray, *, is_grouped: bool) -> LabelledSplit:
    """Return a split without the tested tokens in training, where asked."""
    is_tested = np.isin(token[split.train], token[split.test]) if is_grouped else np.zeros(len(split.train), np.bool_)
    return LabelledSplit(
        train=split.train[~is_tested],
        test=split.test,
        test_windows=split.test_windows,
        purged_count=split.purged_count,
        embargoed_count=split.embargoed_count,
        grouped_count=int(is_tested.sum()),
    )
