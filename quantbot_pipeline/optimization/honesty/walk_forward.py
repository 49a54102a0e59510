"""What a search would have earned on trades that it had not seen: choose in each window, trade in the next.

A window's choice must not know its test. That holds when the search runs anew inside each training window, or when
the trials were laid out before any result was seen (grid, random, quasi-random). Trials that a learning sampler
proposed after it saw all the calls know the test: choosing among them anew is not out of sample.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np

from quantbot_pipeline.engine.candles import BoolArray, FloatArray, IntArray
from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.time_splits import PurgedSplit


@dataclass(frozen=True, slots=True)
class UnseenResults:
    """Results of calls that were traded with parameters chosen before them.

    Attributes:
        call: Which calls were traded, int64, shape (n_trades,), no call twice; calls that were not bought are not
            among them.
        pnl: Net result of each trade, float64, shape (n_trades,).
        chosen: The trial that each window chose; None for one without a choice, which traded nothing.
        window_trades: Number of trades of each window.
        searched_inside: Whether no choice knew its test, see the module's text.
    """

    call: IntArray
    pnl: FloatArray
    chosen: tuple[int | None, ...]
    window_trades: tuple[int, ...]
    searched_inside: bool = True


def mean_over_deviation(results: FloatArray) -> FloatArray:
    """Return mean / deviation of each trial over calls, shape (n_trials,); -inf for trials without any spread."""
    spread = results.std(axis=0)
    mean = results.mean(axis=0)
    scores = np.full(len(mean), -np.inf)
    np.divide(mean, spread, out=scores, where=spread > 0)
    return scores


def walk_forward_results(
    results: FloatArray,
    is_bought: BoolArray,
    splits: Sequence[PurgedSplit],
    *,
    score: Callable[[FloatArray], FloatArray] = mean_over_deviation,
    searched_inside: bool,
) -> UnseenResults:
    """Return what the best trial of each training window earned in its test window.

    Args:
        results: Of each call by each trial, 0 where it did not buy, shape (n_calls, n_trials).
        is_bought: Where it bought, same shape.
        splits: Windows, as `walk_forward_splits` returns them.
        score: Scores of all trials over the calls of a training window, shape (n_trials,); -inf for none.
        searched_inside: Whether the trials were laid out without knowing any result; see the module's text.

    Raises:
        EvidenceError: shapes differ, or two windows test the same call.
    """
    if results.shape != is_bought.shape:
        raise EvidenceError(f"results of shape {results.shape}, but bought of {is_bought.shape}; allowed is one shape")
    calls, pnl, counts = [], [], []
    chosen: list[int | None] = []
    for split in splits:
        scores = score(results[split.train])
        best = int(scores.argmax())
        if scores[best] == -np.inf:
            chosen.append(None)
            counts.append(0)
            continue
        traded = split.test[is_bought[split.test, best]]
        calls.append(traded)
        pnl.append(results[traded, best])
        chosen.append(best)
        counts.append(len(traded))
    return join_windows(calls, pnl, chosen, counts, searched_inside=searched_inside)


def join_windows(
    calls: Sequence[IntArray],
    pnl: Sequence[FloatArray],
    chosen: Sequence[int | None],
    window_trades: Sequence[int],
    *,
    searched_inside: bool,
) -> UnseenResults:
    """Return the results of several windows as one.

    Args:
        calls: Traded calls of each window that traded.
        pnl: Their results.
        chosen: The choice of every window.
        window_trades: Trades of every window.
        searched_inside: See `UnseenResults`.

    Raises:
        EvidenceError: a call was traded in two windows.
    """
    all_calls = np.concatenate([np.empty(0, dtype=np.int64), *calls])
    if len(np.unique(all_calls)) < len(all_calls):
        raise EvidenceError("a call was traded in two walk-forward windows; allowed is one, else it counts twice")
    return UnseenResults(
        call=all_calls,
        pnl=np.concatenate([np.empty(0), *pnl]),
        chosen=tuple(chosen),
        window_trades=tuple(window_trades),
        searched_inside=searched_inside,
    )
