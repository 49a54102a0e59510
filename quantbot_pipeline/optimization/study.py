"""Studies: propose parameters, learn from scores. Everything stays in memory; the record is kept elsewhere.

Ask for a batch of trials, evaluate them in any order or in parallel, tell their scores, ask again. The
same space, sampler, seed and the same batches give the same trials, on any number of workers, as long as
scores are told in the order of the trials.

This module imports Optuna, which takes a second or two: import it where a study is run.
"""

import itertools
from dataclasses import dataclass, field
from typing import Any, Literal, get_args

import optuna

from quantbot_pipeline.errors import SearchSpaceError, StrategyError
from quantbot_pipeline.optimization.spaces import (
    CategoricalParameter,
    FloatParameter,
    SearchSpace,
    apply_parameters,
    check_strategy,
    parameter_values,
)

Sampler = Literal["tpe", "random", "grid"]

# A grid above this would spend minutes on listing itself; it belongs in a coarser step.
_MAX_GRID_POINTS = 1_000_000


@dataclass(frozen=True, slots=True)
class Trial:
    """One proposal.

    Attributes:
        index: Position within the study, from 0.
        params: Path → value; what `apply_parameters` takes.
        document: The strategy document with these parameters; None when it was refused.
        refusal: Why these parameters give no valid strategy, such as targets that do not ascend; None for
            a valid trial. A refused trial has the score None and need not be told.
    """

    index: int
    params: dict[str, Any]
    document: dict[str, Any] | None = field(default=None, repr=False, compare=False)
    refusal: str | None = None


class Study:
    """A search over one space that proposes at most `trial_count` trials.

    Args:
        space: What varies.
        sampler: `tpe` learns from scores, `random` and `grid` do not. A grid goes through all combinations
            in the order of the document, the last parameter fastest.
        seed: Seed of the sampler; unused by `grid`.
        trial_count: How many trials there are at most, at least 1.

    Raises:
        SearchSpaceError: unknown sampler, trial_count below 1, or a grid over a float without `step`.
    """

    def __init__(self, space: SearchSpace, *, sampler: Sampler, seed: int, trial_count: int) -> None:
        if sampler not in get_args(Sampler):
            raise SearchSpaceError(f"sampler {sampler!r} is unknown; allowed are {', '.join(get_args(Sampler))}")
        if trial_count < 1:
            raise SearchSpaceError(f"trial_count is {trial_count}; allowed is at least 1")
        self._space = space
        self._grid = _list_grid(space, trial_count) if sampler == "grid" else None
        self._trial_count = trial_count if self._grid is None else len(self._grid)
        self._asked = 0
        self._open: dict[int, optuna.Trial | None] = {}
        self._study: optuna.Study | None = None
        if self._grid is None:
            # Optuna reports every trial; the project has its own progress display.
            optuna.logging.set_verbosity(optuna.logging.WARNING)
            self._study = optuna.create_study(
                direction="maximize",
                sampler=(
                    optuna.samplers.TPESampler(seed=seed)
                    if sampler == "tpe"
                    else optuna.samplers.RandomSampler(seed=seed)
                ),
            )

    @property
    def trial_count(self) -> int:
        """How many trials the study proposes in all; of a grid at most its number of points."""
        return self._trial_count

    @property
    def remaining_count(self) -> int:
        """How many trials have not been asked for yet."""
        return self._trial_count - self._asked

    def ask(self, count: int) -> list[Trial]:
        """Return the next trials: `count` of them, or what remains.

        Trials whose parameters give no valid strategy are among them, with their `refusal`.
        """
        trials = []
        for _ in range(min(count, self.remaining_count)):
            index, proposal = self._asked, None
            self._asked += 1
            if self._grid is not None:
                params = self._grid[index]
            else:
                assert self._study is not None  # noqa: S101  one of grid and study is always there
                proposal = self._study.ask()
                params = _suggest(proposal, self._space)
            self._open[index] = proposal
            trials.append(self._checked(index, params))
        return trials

    def tell(self, index: int, score: float | None) -> None:
        """Report the score of a trial, higher is better; None when it has none.

        Telling a refused trial its score None once more is allowed.

        Raises:
            SearchSpaceError: the trial was never asked for, or was told another score before.
        """
        if index not in self._open:
            if 0 <= index < self._asked and score is None:
                return
            state = "was told its score already" if 0 <= index < self._asked else "was never asked for"
            raise SearchSpaceError(f"trial {index} {state}; {self._asked} trials were asked for, from 0 on")
        proposal = self._open.pop(index)
        if self._study is None or proposal is None:
            return
        if score is None:
            self._study.tell(proposal, state=optuna.trial.TrialState.PRUNED)
        else:
            self._study.tell(proposal, score)

    def _checked(self, index: int, params: dict[str, Any]) -> Trial:
        """Return the trial, refused and told when its strategy is not valid."""
        try:
            document = apply_parameters(self._space.template, params)
            check_strategy(document)
        except (StrategyError, SearchSpaceError) as e:
            self.tell(index, None)
            return Trial(index, params, refusal=str(e))
        return Trial(index, params, document)


def _suggest(proposal: optuna.Trial, space: SearchSpace) -> dict[str, Any]:
    """Return the values that Optuna proposes, by path."""
    params: dict[str, Any] = {}
    for parameter in space.parameters:
        if isinstance(parameter, CategoricalParameter):
            # By position: Optuna takes only plain values as choices, ours may be whole sections.
            position = proposal.suggest_categorical(parameter.path, range(len(parameter.choices)))
            params[parameter.path] = parameter.choices[position]
        elif isinstance(parameter, FloatParameter):
            params[parameter.path] = (
                proposal.suggest_float(parameter.path, parameter.low, parameter.high, log=parameter.log)
                if parameter.step is None
                else _float_on_grid(proposal, parameter)
            )
        else:
            # The last value that the step reaches: Optuna warns of a range that its step does not divide.
            last = parameter.high - (parameter.high - parameter.low) % parameter.step
            params[parameter.path] = proposal.suggest_int(
                parameter.path, parameter.low, last, step=parameter.step, log=parameter.log
            )
    return params


def _float_on_grid(proposal: optuna.Trial, parameter: FloatParameter) -> float:
    # By position, so that all samplers give the same floats, and none warns of a range that its step
    # does not divide.
    values = parameter_values(parameter)
    return float(values[proposal.suggest_int(parameter.path, 0, len(values) - 1)])


def _list_grid(space: SearchSpace, trial_count: int) -> list[dict[str, Any]]:
    """Return the first `trial_count` points of the grid."""
    if trial_count > _MAX_GRID_POINTS:
        raise SearchSpaceError(f"a grid of {trial_count} trials is asked for; allowed are {_MAX_GRID_POINTS}")
    paths = [parameter.path for parameter in space.parameters]
    points = itertools.product(*(parameter_values(parameter) for parameter in space.parameters))
    return [dict(zip(paths, point, strict=True)) for point in itertools.islice(points, trial_count)]
