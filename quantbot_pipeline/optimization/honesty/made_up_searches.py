"""Made-up searches whose truth is known: what the verdict's error rates are measured on.

A trial is a point of a small parameter space; its results on the same calls change smoothly with the point, so that
neighbours have almost the same trades. Results have what results of calls have: heavy tails, skew to either side,
hours in which everything rises or falls together, trades that overlap, and calls that some parameters skip.
"""

from dataclasses import dataclass
from typing import Literal, NamedTuple

import numpy as np
from threadpoolctl import threadpool_limits

from quantbot_pipeline.engine.candles import BoolArray, FloatArray, IntArray
from quantbot_pipeline.optimization.honesty.time_splits import PurgedSplit, walk_forward_blocks
from quantbot_pipeline.optimization.honesty.verdict import Verdict, review_search
from quantbot_pipeline.optimization.honesty.walk_forward import (
    UnseenResults,
    join_windows,
    mean_over_deviation,
    walk_forward_results,
)

Tails = Literal["normal", "student", "moonshots", "rugs"]
Sampler = Literal["random", "climbing"]

_DAY = 86_400
_WAVES = 48


class TrialResults(NamedTuple):
    """Results of trials on all calls.

    Attributes:
        pnl: In deviations of a trade, 0 where the trial did not buy, shape (n_calls, n_trials).
        is_bought: Where it bought.
    """

    pnl: FloatArray
    is_bought: BoolArray


@dataclass(frozen=True, slots=True)
class SearchWorld:
    """A kind of made-up search.

    Attributes:
        call_count: Calls.
        day_count: Days over which they are spread, in bursts.
        trial_count: Trials of the search.
        parameter_count: Dimensions of the space.
        edge: True mean of a trade in deviations of a trade; 0 is noise.
        edge_everywhere: Whether every point has the edge; otherwise it falls off around one point.
        tails: Distribution of results: `student` with 4 degrees of freedom, `moonshots` (lognormal, a few large gains),
            `rugs` (many small gains, one in twelve loses nearly all).
        common_share: Share of a result's variance that all points of the space have alike.
        market_share: Share of the common variance that all calls of a day have alike.
        wavelength: Distance over which results of neighbours differ, in units of the space.
        sampler: `random` lays trials out beforehand; `climbing` starts with 40 and goes on around the best.
        searches_inside: Whether a climbing search runs anew inside each training window; otherwise windows choose among
            the trials of the one search that saw all calls.
        laid_out_share: Trials laid out beforehand that are tested besides those of a climbing search, per trial of it.
    """

    call_count: int = 300
    day_count: int = 120
    trial_count: int = 200
    parameter_count: int = 4
    edge: float = 0.0
    edge_everywhere: bool = True
    tails: Tails = "student"
    common_share: float = 0.4
    market_share: float = 0.1
    wavelength: float = 0.5
    sampler: Sampler = "random"
    searches_inside: bool = True
    laid_out_share: float = 1.0


class MadeUpMarket:
    """Calls and what every point of the space earns on them.

    Args:
        world: Kind of search.
        rng: Source of chance.

    Attributes:
        signal_timestamp: When each call was made, seconds, ascending.
        done_at: When its trade is done.
    """

    def __init__(self, world: SearchWorld, rng: np.random.Generator) -> None:
        self._world = world
        calls = world.call_count
        burst = np.sort(rng.uniform(0, world.day_count * _DAY, max(1, calls // 3)))
        self.signal_timestamp: IntArray = np.sort(rng.choice(burst, calls) + rng.exponential(1_800, calls)).astype(
            np.int64
        )
        self.done_at: IntArray = self.signal_timestamp + rng.exponential(6 * 3_600, calls).astype(np.int64)
        day = self.signal_timestamp // _DAY
        by_day = rng.standard_normal(int(day.max()) + 1)[day]
        self._common = np.sqrt(world.market_share) * by_day + np.sqrt(1 - world.market_share) * rng.standard_normal(
            calls
        )
        # Random Fourier features: a Gaussian process over the space for every call.
        self._frequency = rng.standard_normal((world.parameter_count, _WAVES)) / world.wavelength
        self._phase = rng.uniform(0, 2 * np.pi, _WAVES)
        self._amplitude = rng.standard_normal((calls, _WAVES)) / np.sqrt(_WAVES)
        self._size = np.sqrt(rng.chisquare(4, calls) / 4)
        self._rug = rng.random(calls)
        self._skip = rng.random(calls)
        self._summit = rng.random(world.parameter_count)

    def results(self, places: FloatArray) -> TrialResults:
        """Return what trials earn on all calls.

        Args:
            places: In [0, 1], shape (n_trials, n_parameters).
        """
        world = self._world
        waves = np.cos(places @ self._frequency + self._phase)
        # Of variance 1 at every place: with skewed tails, more variance would be an edge.
        own = self._amplitude @ (waves / np.sqrt(np.mean(waves**2, axis=1, keepdims=True))).T
        normal = np.sqrt(world.common_share) * self._common[:, None] + np.sqrt(1 - world.common_share) * own
        pnl = self._with_tails(normal)
        if world.edge:
            distance = np.sum((places - self._summit) ** 2, axis=1)
            pnl += world.edge * (1.0 if world.edge_everywhere else np.exp(-distance / 0.3))
        # The first parameter is a filter: the lower, the more calls are skipped, up to four of ten.
        is_bought = self._skip[:, None] < 0.6 + 0.4 * places[:, 0]
        return TrialResults(np.where(is_bought, pnl, 0.0), is_bought)

    def _with_tails(self, normal: FloatArray) -> FloatArray:
        """Return results of mean 0 and deviation 1 whose order is that of the normal ones."""
        pnl = normal
        if self._world.tails == "student":
            pnl = normal / self._size[:, None] / np.sqrt(2)
        elif self._world.tails == "moonshots":
            pnl = (np.exp(normal) - np.exp(0.5)) / np.sqrt((np.e - 1) * np.e)
        elif self._world.tails == "rugs":
            # A rug takes 90 % whatever the parameters; the others gain so much that the mean is 0.
            is_rug = self._rug < 1 / 12
            gain = 0.9 / 11 + 0.1 * normal
            deviation = np.sqrt(0.9**2 / 12 + (0.9 / 11) ** 2 * 11 / 12 + 0.01 * 11 / 12)
            pnl = np.where(is_rug[:, None], -0.9, gain) / deviation
        return pnl


def made_up_verdict(world: SearchWorld, seed: int, *, draws: int = 499, overfitting_blocks: int = 8) -> Verdict:
    """Return the verdict on a made-up search, walk-forward included.

    The first 30 % of the calls are for learning alone; the rest is tested in seven windows.

    Args:
        world: Kind of search.
        seed: Everything follows from it.
        draws: Resamples of each test.
        overfitting_blocks: Blocks of the overfitting estimate.
    """
    # Small matrices: threads would wait for each other.
    with threadpool_limits(limits=1):
        return _verdict(world, seed, draws, overfitting_blocks)


def _verdict(world: SearchWorld, seed: int, draws: int, overfitting_blocks: int) -> Verdict:
    rng = np.random.default_rng(seed)
    market = MadeUpMarket(world, rng)
    splits = walk_forward_blocks(
        market.signal_timestamp, market.done_at, block_count=7, train_share=0.3, embargo_seconds=3_600
    )
    everything = np.arange(world.call_count)
    places = _searched(world, market, everything, rng)
    trials = market.results(places)
    if world.sampler == "random" or not world.searches_inside:
        inside = world.sampler == "random"
        unseen = walk_forward_results(trials.pnl, trials.is_bought, splits, searched_inside=inside)
    else:
        unseen = _searched_in_windows(world, market, splits, rng)
    if world.sampler == "climbing":
        # What a learning sampler never tried is a chance as well: trials laid out beforehand stand for it.
        laid_out = market.results(rng.random((round(world.laid_out_share * world.trial_count), world.parameter_count)))
        trials = TrialResults(np.hstack([trials.pnl, laid_out.pnl]), np.hstack([trials.is_bought, laid_out.is_bought]))
    winner = int(mean_over_deviation(trials.pnl).argmax())
    return review_search(
        trials.pnl,
        market.signal_timestamp,
        market.done_at,
        winner,
        unseen,
        seed=seed,
        draws=draws,
        overfitting_blocks=overfitting_blocks,
    )


def _searched(world: SearchWorld, market: MadeUpMarket, calls: IntArray, rng: np.random.Generator) -> FloatArray:
    """Return the places that a search tries when it sees these calls."""
    if world.sampler == "random":
        return rng.random((world.trial_count, world.parameter_count))
    places = rng.random((min(40, world.trial_count), world.parameter_count))
    scores = mean_over_deviation(market.results(places).pnl[calls])
    while len(places) < world.trial_count:
        parents = places[np.argsort(scores)[-5:]]
        steps = rng.normal(0, 0.1, (min(20, world.trial_count - len(places)), world.parameter_count))
        children = np.clip(parents[rng.integers(len(parents), size=len(steps))] + steps, 0, 1)
        places = np.vstack([places, children])
        scores = np.append(scores, mean_over_deviation(market.results(children).pnl[calls]))
    return places


def _searched_in_windows(
    world: SearchWorld, market: MadeUpMarket, splits: list[PurgedSplit], rng: np.random.Generator
) -> UnseenResults:
    """Return the walk-forward that searches anew inside each training window."""
    calls, pnl, counts = [], [], []
    for split in splits:
        places = _searched(world, market, split.train, rng)
        trials = market.results(places)
        best = int(mean_over_deviation(trials.pnl[split.train]).argmax())
        traded = split.test[trials.is_bought[split.test, best]]
        calls.append(traded)
        pnl.append(trials.pnl[traded, best])
        counts.append(len(traded))
    return join_windows(calls, pnl, [0] * len(splits), counts, searched_inside=True)
