"""Choosing in each window and trading in the next."""

import numpy as np
import pytest

from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.time_splits import walk_forward_splits
from quantbot_pipeline.optimization.honesty.walk_forward import walk_forward_results

START = np.arange(6) * 10


def test_each_window_trades_with_what_was_best_before_it() -> None:
    # Two windows of two calls; A is better on calls 0 and 1, B on all of 0 to 3.
    a, b = [2.0, 3.0, -9.0, -7.0, 5.0, 5.0], [0.0, 1.0, 4.0, 6.0, 7.0, 0.0]
    results = np.array([a, b]).T
    splits = walk_forward_splits(START, START, test_seconds=20, first_test_at=20)
    unseen = walk_forward_results(results, results != 0, splits, searched_inside=True)
    assert unseen.chosen == (0, 1)
    assert unseen.call.tolist() == [2, 3, 4]  # B did not buy call 5
    assert unseen.pnl.tolist() == [-9.0, -7.0, 7.0]
    assert unseen.window_trades == (2, 1)


def test_a_window_that_saw_no_trade_chooses_nothing() -> None:
    results = np.zeros((6, 2))
    results[4:] = 1.0
    splits = walk_forward_splits(START, START, test_seconds=20, first_test_at=20)
    unseen = walk_forward_results(results, results != 0, splits, searched_inside=True)
    assert unseen.chosen == (None, None)
    assert len(unseen.pnl) == 0


def test_a_call_is_never_counted_twice() -> None:
    splits = walk_forward_splits(START, START, test_seconds=20, first_test_at=20)
    results = np.random.default_rng(0).standard_normal((6, 2))
    with pytest.raises(EvidenceError, match="traded in two walk-forward windows"):
        walk_forward_results(results, results != 0, [splits[0], splits[0]], searched_inside=True)
