"""Samplers of Optuna: TPE and NSGA-II. Its study lives in memory and holds what was told, nothing else.

This module imports Optuna, which takes a second or two: import it where a study is run.

Optuna's samplers are asked for values directly, not through its trials: a draw that is refused must leave
no trace. They are made anew for every batch with a seed of (seed, batch), so that no hidden state is lost
when a process ends. Trials without scores are told with their violation as an Optuna constraint.
"""

import math
from collections.abc import Mapping, Sequence
from typing import Any

import optuna
from optuna.distributions import (
    BaseDistribution,
    CategoricalDistribution,
    FloatDistribution,
    IntDistribution,
)

from quantbot_pipeline.optimization.parameters import (
    CategoricalParameter,
    FloatParameter,
    Parameter,
    same_json,
    value_at,
    value_count,
)
from quantbot_pipeline.optimization.proposers import Told, batch_generator, draw_valid
from quantbot_pipeline.optimization.spaces import SearchSpace

_LEAST_POPULATION = 32

# A draw of TPE takes milliseconds, so refused ones are repaired sooner.
_TPE_DRAWS = 8

_STUDY_NAME = "search"


class _OptunaStudy:
    """A study of Optuna, and the translation of values into its terms."""

    def __init__(self, space: SearchSpace, *, goal_count: int) -> None:
        # Optuna reports every trial; the project has its own progress display.
        optuna.logging.set_verbosity(optuna.logging.WARNING)
        self._storage = optuna.storages.InMemoryStorage()
        self._writer = optuna.create_study(
            study_name=_STUDY_NAME,
            storage=self._storage,
            directions=["maximize"] * goal_count,
            sampler=optuna.samplers.RandomSampler(seed=0),
        )
        self.goal_count = goal_count
        self.parameters = {parameter.path: parameter for parameter in space.parameters}
        self.distributions: dict[str, BaseDistribution] = {
            parameter.path: _distribution(parameter) for parameter in space.parameters
        }

    def add(self, told: Told, values: Mapping[str, Any], attributes: Mapping[str, Any]) -> None:
        """Add a finished trial; `values` are in Optuna's terms."""
        trial = optuna.trial.create_trial(
            params=dict(values),
            distributions={path: self.distributions[path] for path in values},
            # Without scores the violation alone counts, so any value will do.
            values=[0.0] * self.goal_count if told.values is None else list(told.values),
            constraints={"objective": told.violation},
            system_attrs=dict(attributes),
        )
        self._writer.add_trial(trial)

    def current_study(self) -> Any:
        """Return the study with all that was told.

        A study that was asked once keeps the trials that it saw then, and `add_trial` does not tell it of new
        ones: its samplers would draw at random for ever. A new one on the same storage sees all.
        """
        return optuna.load_study(
            study_name=_STUDY_NAME, storage=self._storage, sampler=optuna.samplers.RandomSampler(seed=0)
        )

    def value_of(self, path: str, together: Mapping[str, Any], sampler: Any, study: Any, running: Any) -> Any:
        """Return a parameter's value among those that were drawn together, or draw it by itself."""
        if path in together:
            return together[path]
        distribution = self.distributions[path]
        if distribution.single():
            return _only_value(distribution)
        return sampler.sample_independent(study, running, path, distribution)

    def to_optuna(self, path: str, value: Any) -> Any:
        """Return a value in Optuna's terms: choices and stepped floats by position."""
        parameter = self.parameters[path]
        if isinstance(parameter, CategoricalParameter):
            return next(k for k, choice in enumerate(parameter.choices) if same_json(choice, value))
        if isinstance(parameter, FloatParameter) and parameter.step is not None:
            return round((value - parameter.low) / parameter.step)
        return float(value) if isinstance(parameter, FloatParameter) else int(value)

    def from_optuna(self, path: str, value: Any) -> Any:
        """Return a value of Optuna in the space's terms."""
        parameter = self.parameters[path]
        if isinstance(parameter, CategoricalParameter) or (
            isinstance(parameter, FloatParameter) and parameter.step is not None
        ):
            return value_at(parameter, value)
        return value


class TpeProposer:
    """Learns densities of good and of other trials, and proposes where the first is high against the second.

    Parameters that always exist are drawn together; those with conditions are drawn one by one, from the
    trials in which they existed. The first ten trials are random.

    Source: Bergstra et al. (2011), "Algorithms for hyper-parameter optimization"; Watanabe (2023),
    "Tree-structured Parzen estimator".
    """

    is_replayed = False

    def __init__(self, space: SearchSpace, *, seed: int, goal_count: int) -> None:
        self._space, self._seed = space, seed
        self._optuna = _OptunaStudy(space, goal_count=goal_count)

    def propose(self, batch: int, indices: range) -> list[dict[str, Any]]:
        """Return draws that look better than others."""
        generator = batch_generator(self._seed, batch)
        # No "constant liar": it looks at running trials, and none ever runs within this study.
        # Drawn together also for several goals, where Optuna would draw one by one and rank all trials anew
        # for each: 5 ms instead of 30 for a draw of six parameters after 100 trials.
        sampler = optuna.samplers.TPESampler(
            seed=int(generator.integers(2**31)), constant_liar=False, multivariate=True
        )
        study = self._optuna.current_study()
        running = _running_trial({})
        together = sampler.infer_relative_search_space(study, running)

        def draw() -> dict[str, Any]:
            drawn = sampler.sample_relative(study, running, together)

            def pick(k: int) -> Any:
                path = self._space.parameters[k].path
                return self._optuna.from_optuna(path, self._optuna.value_of(path, drawn, sampler, study, running))

            return self._space.assemble(pick)

        return [draw_valid(self._space, draw, generator, max_draws=_TPE_DRAWS)[0] for _ in indices]

    def learn(self, results: Sequence[Told]) -> None:
        """Take the results of a batch."""
        for told in results:
            self._optuna.add(
                told, {path: self._optuna.to_optuna(path, value) for path, value in told.params.items()}, {}
            )


class NsgaProposer:
    """Crosses and changes the best trials of the generation before; made for several goals at once.

    A generation is a whole number of batches, at least 32 trials. Parameters that do not exist are carried
    along unread, so that conditions need no rule of their own.

    Source: Deb et al. (2002), "A fast and elitist multiobjective genetic algorithm: NSGA-II".
    """

    is_replayed = True

    def __init__(self, space: SearchSpace, *, seed: int, goal_count: int, batch_size: int) -> None:
        self._space, self._seed = space, seed
        self._optuna = _OptunaStudy(space, goal_count=goal_count)
        self._population = batch_size * math.ceil(_LEAST_POPULATION / batch_size)
        self._told_count = 0
        self._asked: list[dict[str, Any]] = []
        self._varied = {path: each for path, each in self._optuna.distributions.items() if not each.single()}

    def propose(self, batch: int, indices: range) -> list[dict[str, Any]]:
        """Return children of the best trials, or random ones in the first generation."""
        generator = batch_generator(self._seed, batch)
        sampler = optuna.samplers.NSGAIISampler(seed=int(generator.integers(2**31)), population_size=self._population)
        study = self._optuna.current_study()
        running = _running_trial(self._attributes(sampler))
        self._asked, proposals = [], []
        for _ in indices:
            genes: dict[str, Any] = {}

            def draw(genes: dict[str, Any] = genes) -> dict[str, Any]:
                child = sampler.sample_relative(study, running, self._varied)
                for path in self._optuna.distributions:
                    genes[path] = self._optuna.value_of(path, child, sampler, study, running)
                return self._space.assemble(
                    lambda k: self._optuna.from_optuna(path := self._space.parameters[k].path, genes[path])
                )

            params, _ = draw_valid(self._space, draw, generator)
            genes |= {path: self._optuna.to_optuna(path, value) for path, value in params.items()}
            self._asked.append(genes)
            proposals.append(params)
        return proposals

    def learn(self, results: Sequence[Told]) -> None:
        """Take the results of a batch."""
        attributes = self._attributes(optuna.samplers.NSGAIISampler)
        for genes, told in zip(self._asked, results, strict=True):
            self._optuna.add(told, genes, attributes)
        self._told_count += len(results)

    def _attributes(self, sampler: Any) -> dict[str, int]:
        """Return the note by which Optuna knows a trial's generation."""
        return {sampler._get_generation_key(): self._told_count // self._population}


def _distribution(parameter: Parameter) -> BaseDistribution:
    if isinstance(parameter, CategoricalParameter):
        # By position: Optuna takes only plain values as choices, ours may be whole sections.
        return CategoricalDistribution(range(len(parameter.choices)))
    if isinstance(parameter, FloatParameter):
        if parameter.step is None:
            return FloatDistribution(parameter.low, parameter.high, log=parameter.log)
        # By position, so that all samplers give the same floats, and none warns of a range that its step
        # does not divide.
        return IntDistribution(0, (value_count(parameter) or 1) - 1)
    # The last value that the step reaches: Optuna warns of a range that its step does not divide.
    last = parameter.high - (parameter.high - parameter.low) % parameter.step
    return IntDistribution(parameter.low, last, step=parameter.step, log=parameter.log)


def _only_value(distribution: BaseDistribution) -> Any:
    return distribution.choices[0] if isinstance(distribution, CategoricalDistribution) else distribution.low


def _running_trial(attributes: Mapping[str, Any]) -> Any:
    """Return a trial to ask with; no study ever holds it."""
    return optuna.trial.create_trial(state=optuna.trial.TrialState.RUNNING, system_attrs=dict(attributes))
