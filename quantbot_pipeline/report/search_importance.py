"""Which parameters decide the order of a search's trials.

A forest learns the order of the scored trials from their parameters; what it gets wrong on trials that it did not
see, once a parameter's values are exchanged between them, is what the parameter is worth. A parameter that decides
nothing gets about 0, because nothing is measured on what was learnt from. A parameter that exists in some trials
only is exchanged among these: that it exists at all is the merit of the parameter it depends on.

Source: Breiman (2001), "Random Forests", Machine Learning 45, section 10, on trials of other folds.
"""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.optimization.parameters import CategoricalParameter, Parameter
from quantbot_pipeline.optimization.tally import TrialRecord
from quantbot_pipeline.report.search_content import choice_position, choices_of, first_score

MIN_TRIALS = 20
"""Scored trials below which nothing is said; and three per parameter are needed."""

MIN_EXPLAINED = 0.05
"""Share of the variance of unseen trials below which the parameters' shares would be noise."""

_MOST_TRIALS = 1_000
_FOLDS = 4
_TREES = 60
_EXCHANGES = 3
# More choices than these get a number each in place of a column each.
_MOST_COLUMNS = 24


@dataclass(frozen=True, slots=True)
class ParameterWeight:
    """What one parameter is worth.

    Attributes:
        path: The parameter.
        share: Of all that the parameters are worth, in [0, 1].
        spread: Standard deviation of the share between folds.
        present_count: Scored trials in which it exists.
    """

    path: str
    share: float
    spread: float
    present_count: int


@dataclass(frozen=True, slots=True)
class ImportanceEstimate:
    """What all parameters are worth, or why that can't be said.

    Attributes:
        weights: Most important first; empty when nothing can be said.
        explained: Share of the variance of the order of unseen trials that parameters explain (R²); None when it was
            not measured.
        trial_count: Scored trials that it rests on.
        refusal: Why there are no weights; empty if there are.
    """

    weights: tuple[ParameterWeight, ...]
    explained: float | None
    trial_count: int
    refusal: str = ""


def estimate_importance(
    parameters: Sequence[Parameter], trials: Sequence[TrialRecord], *, seed: int = 0
) -> ImportanceEstimate:
    """Return what each parameter is worth for the first goal; equal arguments give equal numbers.

    Args:
        parameters: What varies.
        trials: Trials in any state; those with scores count. Of more than 1 000 an even choice is taken.
        seed: Of the forests, the folds and the exchanges.
    """
    scored = [trial for trial in trials if first_score(trial) is not None]
    if not parameters:
        return _refused(len(scored), "No parameter is known of this search.")
    needed = max(MIN_TRIALS, 3 * len(parameters))
    if len(scored) < needed:
        return _refused(
            len(scored),
            f"Too few trials to say which parameters matter: {needed} need a score, {len(scored)} have one.",
        )
    randomness = np.random.default_rng(seed)
    if len(scored) > _MOST_TRIALS:
        chosen = np.sort(randomness.permutation(len(scored))[:_MOST_TRIALS])
        scored = [scored[int(k)] for k in chosen]
    scores = np.array([first_score(trial) for trial in scored], dtype=np.float64)
    if scores.min() == scores.max():
        return _refused(len(scored), "All trials have the same score, so no parameter matters.")
    present = [np.array([parameter.path in trial.params for trial in scored]) for parameter in parameters]
    columns = [_columns(parameter, scored) for parameter in parameters]
    owners = np.concatenate([np.full(block.shape[1], k) for k, block in enumerate(columns)])
    weights, explained = _exchange(
        np.hstack(columns), owners, [np.flatnonzero(mask) for mask in present], _ranks(scores), seed, randomness
    )
    if explained < MIN_EXPLAINED:
        return ImportanceEstimate(
            (),
            explained,
            len(scored),
            f"Which parameters matter can't be said: they explain "
            f"{max(explained, 0.0):.0%} of the order of the scored trials.",
        )
    return ImportanceEstimate(_shares(parameters, weights, present), explained, len(scored))


def _refused(trial_count: int, reason: str) -> ImportanceEstimate:
    return ImportanceEstimate((), None, trial_count, reason)


def _ranks(scores: FloatArray) -> FloatArray:
    """Return ranks in [0, 1]; equal scores share theirs. One lucky score would outweigh all others otherwise."""
    _, inverse, counts = np.unique(scores, return_inverse=True, return_counts=True)
    middle = np.cumsum(counts) - (counts + 1) / 2
    ranks: FloatArray = middle[inverse] / max(len(scores) - 1, 1)
    return ranks


def _columns(parameter: Parameter, trials: Sequence[TrialRecord]) -> FloatArray:
    """Return what the forest reads of a parameter: numbers as they are, a column per choice, apart where absent."""
    if isinstance(parameter, CategoricalParameter):
        choices = choices_of(parameter, trials)
        positions = np.array(
            [
                choice_position(choices, trial.params[parameter.path]) if parameter.path in trial.params else -1
                for trial in trials
            ]
        )
        if len(choices) > _MOST_COLUMNS:
            return positions.reshape(-1, 1).astype(np.float64)
        indicators: FloatArray = (positions[:, None] == np.arange(len(choices))[None, :]).astype(np.float64)
        return indicators
    span = float(parameter.high - parameter.low) or 1.0
    below = float(parameter.low) - span
    values = [float(trial.params.get(parameter.path, below)) for trial in trials]
    # Trees only compare, so a logarithm would change nothing.
    return np.array(values, dtype=np.float64).reshape(-1, 1)


def _exchange(
    matrix: FloatArray,
    owners: IntArray,
    present: Sequence[IntArray],
    target: FloatArray,
    seed: int,
    randomness: np.random.Generator,
) -> tuple[FloatArray, float]:
    """Return the loss of R² by fold and parameter, shape (n_folds, n_parameters), and R² itself."""
    # Slow to import, and needed nowhere else.
    from sklearn.ensemble import RandomForestRegressor

    folds = np.array_split(randomness.permutation(len(target)), _FOLDS)
    losses = np.zeros((_FOLDS, len(present)))
    explained = []
    for fold, held_out in enumerate(folds):
        learnt = np.setdiff1d(np.arange(len(target)), held_out)
        forest = RandomForestRegressor(_TREES, min_samples_leaf=2, random_state=seed + fold, n_jobs=1)
        forest.fit(matrix[learnt], target[learnt])
        variance = float(((target[held_out] - target[learnt].mean()) ** 2).mean()) or 1.0
        error = float(((forest.predict(matrix[held_out]) - target[held_out]) ** 2).mean())
        explained.append(1 - error / variance)
        for parameter, rows in enumerate(present):
            among = np.flatnonzero(np.isin(held_out, rows))
            columns = np.flatnonzero(owners == parameter)
            if len(among) < 2 or not len(columns):
                continue
            for _ in range(_EXCHANGES):
                exchanged = matrix[held_out].copy()
                exchanged[np.ix_(among, columns)] = exchanged[np.ix_(randomness.permutation(among), columns)]
                worse = float(((forest.predict(exchanged) - target[held_out]) ** 2).mean())
                losses[fold, parameter] += (worse - error) / variance / _EXCHANGES
    return losses, float(np.mean(explained))


def _shares(
    parameters: Sequence[Parameter], losses: FloatArray, present: Sequence[np.ndarray[tuple[int], np.dtype[np.bool_]]]
) -> tuple[ParameterWeight, ...]:
    mean = np.maximum(losses.mean(axis=0), 0.0)
    total = float(mean.sum()) or 1.0
    spread = losses.std(axis=0) / total
    weights = [
        ParameterWeight(parameter.path, float(mean[k] / total), float(spread[k]), int(present[k].sum()))
        for k, parameter in enumerate(parameters)
    ]
    return tuple(sorted(weights, key=lambda weight: -weight.share))
