"""The loop of a search: ask for a batch, evaluate it, tell the scores, keep what matters.

It knows no store, no process and no clock: who calls it evaluates batches (with as many workers as there
are) and stores the records that it is handed. It remembers what `tally.py` says, and what the sampler needs:
nothing for grid, random and qmc, every trial for tpe and nsga2.
"""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from quantbot_pipeline.errors import SearchSpaceError, SimulationError, StrategyError
from quantbot_pipeline.optimization.objectives import UNKNOWN_VIOLATION, Evaluation, Objective
from quantbot_pipeline.optimization.proposers import Told
from quantbot_pipeline.optimization.pruning import PruningRule, goes_on
from quantbot_pipeline.optimization.spaces import SearchSpace
from quantbot_pipeline.optimization.study import (
    DEFAULT_BATCH_SIZE,
    REFUSED_VIOLATION,
    Sampler,
    Study,
    Trial,
)
from quantbot_pipeline.optimization.tally import ScoreSample, SearchTally, TrialRecord

Metrics = Mapping[str, float | int | None]

LookScores = tuple[tuple[float, ...] | None, ...]
"""Scores of a trial at the early looks that it saw, None where it had none."""


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a trial could not be evaluated."""

    reason: str


EvaluateBatch = Callable[[Sequence[Trial], int], Sequence[Metrics | Failure]]
"""Evaluates trials: called with some trials and the number of a look, from 0; the last look is at all calls.

Returns the metrics of each trial over all calls up to and with that look, or why there are none. It may raise
`SimulationError` or `StrategyError`: the trials are then evaluated one by one, and the guilty ones fail.
"""

TakeBatch = Callable[[Sequence[TrialRecord], SearchTally], None]
"""Called after every batch with its new records and the tally so far: the place to store both."""


@dataclass(frozen=True, slots=True)
class SearchPlan:
    """What a search is; two searches of equal plans over equal data have equal trials.

    Attributes:
        space: What varies.
        objective: What is improved.
        sampler: How parameters are proposed.
        seed: Seed of the sampler, at least 0.
        trial_count: How many trials, at least 1; of a grid at most its points.
        batch_size: How many trials are proposed at once, at least 1.
        pruning: When trials are given up early; None: never.
    """

    space: SearchSpace
    objective: Objective
    sampler: Sampler
    seed: int
    trial_count: int
    batch_size: int = DEFAULT_BATCH_SIZE
    pruning: PruningRule | None = None

    def study(self) -> Study:
        """Return the study of the plan, before its first trial.

        Raises:
            SearchSpaceError: the sampler can't serve the space or the objective.
        """
        return Study(
            self.space,
            sampler=self.sampler,
            seed=self.seed,
            trial_count=self.trial_count,
            batch_size=self.batch_size,
            goal_count=len(self.objective.goals),
        )


def run_search(
    plan: SearchPlan,
    evaluate_batch: EvaluateBatch,
    *,
    stored: Iterable[TrialRecord] = (),
    tally: SearchTally | None = None,
    skip_batches: int = 0,
    take_batch: TakeBatch | None = None,
    is_stopped: Callable[[], bool] = lambda: False,
) -> SearchTally:
    """Run a search to its end, or until it is stopped, and return what it found.

    Args:
        plan: What is searched.
        evaluate_batch: Evaluates trials.
        stored: Records of an earlier process on the same plan: all whole batches, and what there is of the
            last one.
        tally: Where records go; a new one with default sizes without it. It must not hold `stored` already.
        skip_batches: For grid and random searches without stored records: how many batches `tally` holds.
        take_batch: Called after every batch.
        is_stopped: Asked before every batch; a search that is stopped goes on from its stored records.

    Raises:
        SearchSpaceError: the sampler can't serve the plan, or the stored records are not of this plan.
        ConfigError: the objective asks for a metric that runs do not have.
    """
    study = plan.study()
    tally = SearchTally() if tally is None else tally
    looks = _Looks(plan)
    records = sorted(stored, key=lambda record: record.index)
    if skip_batches:
        if records:
            raise SearchSpaceError("a search either goes on from stored records or skips batches; found both")
        if plan.pruning is not None and plan.pruning.kind == "median":
            raise SearchSpaceError("a search that prunes by the median needs its stored records; found batches to skip")
        study.skip(skip_batches)
    else:
        study.restore(_told(record) for record in records)
    for record in records:
        tally.add(record)
        # An incomplete batch decides with its own scores once it is asked for again.
        if record.index < study.asked_count:
            looks.remember(record)
    # Of a batch that was cut off, its siblings' early scores still count.
    siblings = [record for record in records if record.index >= study.asked_count]
    while not is_stopped() and (trials := study.ask()):
        batch = looks.run(trials, siblings, study.asked_count, evaluate_batch)
        for record in [*siblings, *batch]:
            looks.remember(record)
        siblings = []
        for record in batch:
            tally.add(record)
            if record.state != "refused":
                study.tell(record.index, record.scores, violation=record.violation)
        if take_batch is not None:
            take_batch(batch, tally)
    return tally


class _Looks:
    """Evaluates a batch look by look, and remembers what the median needs."""

    def __init__(self, plan: SearchPlan) -> None:
        self._plan = plan
        self._objectives = [
            *(plan.objective.at_share(share) for share in (plan.pruning.shares if plan.pruning else ())),
            plan.objective,
        ]
        self._samples = [ScoreSample() for _ in self._objectives[:-1]]

    def remember(self, record: TrialRecord) -> None:
        for sample, scores in zip(self._samples, record.look_scores, strict=False):
            if scores is not None:
                sample.add(record.index, scores[0])

    def run(
        self, trials: Sequence[Trial], siblings: Sequence[TrialRecord], asked_count: int, evaluate: EvaluateBatch
    ) -> list[TrialRecord]:
        """Return the records of the trials of a batch, in their order."""
        done = {
            trial.index: _unmeasured(trial, "refused", trial.refusal) for trial in trials if trial.refusal is not None
        }
        running = [trial for trial in trials if trial.index not in done]
        looks: dict[int, LookScores] = {trial.index: () for trial in running}
        batch_start = asked_count - len(trials) - len(siblings)
        for look, objective in enumerate(self._objectives):
            is_last = look == len(self._objectives) - 1
            metrics: dict[int, Metrics] = {}
            for trial, outcome in zip(running, _evaluate(running, look, evaluate), strict=True):
                if isinstance(outcome, Failure):
                    done[trial.index] = _unmeasured(trial, "failed", outcome.reason, looks[trial.index])
                else:
                    metrics[trial.index] = outcome
            running = [trial for trial in running if trial.index in metrics]
            evaluations = {index: objective.evaluate(each) for index, each in metrics.items()}
            if is_last:
                for trial in running:
                    index = trial.index
                    done[index] = _measured(trial, evaluations[index], looks[index], metrics[index])
                break
            scores = {index: found.values for index, found in evaluations.items()}
            for index, values in scores.items():
                looks[index] += (values,)
            passed = self._passed(look, scores, siblings, batch_start)
            for trial in running:
                if trial.index not in passed:
                    done[trial.index] = self._pruned(trial, look, looks[trial.index], metrics[trial.index])
            running = [trial for trial in running if trial.index in passed]
        return [done[trial.index] for trial in trials]

    def _passed(
        self,
        look: int,
        scores: Mapping[int, tuple[float, ...] | None],
        siblings: Sequence[TrialRecord],
        batch_start: int,
    ) -> set[int]:
        """Return the trials that go on, judged among all of their batch that came to this look."""
        rule = self._plan.pruning
        assert rule is not None  # noqa: S101  there is but one look without a rule
        among = dict(scores) | {
            record.index: record.look_scores[look] for record in siblings if len(record.look_scores) > look
        }
        order = sorted(among)
        truths = goes_on(
            rule,
            [among[index] for index in order],
            earlier=self._samples[look].scores(),
            trials_before=batch_start,
        )
        return {index for index, is_on in zip(order, truths, strict=True) if is_on and index in scores}

    def _pruned(self, trial: Trial, look: int, scores: LookScores, metrics: Metrics) -> TrialRecord:
        rule = self._plan.pruning
        assert rule is not None  # noqa: S101  nothing is pruned without a rule
        # Further than any limit that is missed after a look at everything, and the further the earlier.
        violation = UNKNOWN_VIOLATION * (2 - rule.shares[look]) / 2
        reached = "no score" if scores[-1] is None else f"score {scores[-1][0]:g}"
        return TrialRecord(
            trial.index,
            trial.params,
            "pruned",
            None,
            violation=violation,
            reason=f"{reached} after {rule.shares[look]:.0%} of the calls",
            look_scores=scores,
            metrics=metrics,
        )


def _unmeasured(trial: Trial, state: Literal["refused", "failed"], reason: str, looks: LookScores = ()) -> TrialRecord:
    return TrialRecord(
        trial.index, trial.params, state, None, violation=REFUSED_VIOLATION, reason=reason, look_scores=looks
    )


def _measured(trial: Trial, found: Evaluation, looks: LookScores, metrics: Metrics) -> TrialRecord:
    return TrialRecord(
        trial.index,
        trial.params,
        "unscored" if found.values is None else "scored",
        found.values,
        violation=found.violation,
        reason=found.reason,
        look_scores=looks,
        metrics=metrics,
    )


def _evaluate(trials: Sequence[Trial], look: int, evaluate: EvaluateBatch) -> Sequence[Metrics | Failure]:
    """Return the outcome of each trial; one that can't be run is one that failed."""
    if not trials:
        return []
    try:
        outcomes = evaluate(trials, look)
    except (SimulationError, StrategyError) as error:
        if len(trials) == 1:
            return [Failure(str(error))]
        return [outcome for trial in trials for outcome in _evaluate([trial], look, evaluate)]
    if len(outcomes) != len(trials):
        raise SimulationError(f"look {look}: {len(trials)} trials were to be evaluated, {len(outcomes)} outcomes came")
    return outcomes


def _told(record: TrialRecord) -> Told:
    return Told(record.index, record.params, record.scores, record.violation)


def search_document(plan: SearchPlan) -> dict[str, Any]:
    """Return what makes a search: equal documents, template, data and versions give equal trials."""
    return {
        "space": plan.space.document(),
        "objective": plan.objective.document(),
        "sampler": plan.sampler,
        "seed": plan.seed,
        "trial_count": plan.trial_count,
        "batch_size": plan.batch_size,
        "pruning": None if plan.pruning is None else plan.pruning.model_dump(mode="json"),
    }
