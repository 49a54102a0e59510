"""Optimization jobs: search parameters on stored calls, keep what was found, and say whether it is luck.

A job is content-addressed like a run: template, space, objective, sampler, seed, windows and the data that its trials
may read make its key, so the same job again is the stored one. A job that was killed goes on from its stored trials;
those are simulated once more for the tests, and stored no second time. A job without a row per trial goes on from the
tally and the evidence that it keeps every so many trials.
"""

import json
import math
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantbot_pipeline.errors import DataError, InputError, QuantbotError, SimulationError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.optimization.measured_trials import MeasuredTrial
from quantbot_pipeline.optimization.pruning import divide_groups
from quantbot_pipeline.optimization.search import Failure, Metrics, run_search
from quantbot_pipeline.optimization.study import Trial
from quantbot_pipeline.optimization.tally import SearchTally, TrialRecord
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import JobResult
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.judge_optimization import JobJudge
from quantbot_pipeline.workflows.measure_trials import TrialMeter, run_again
from quantbot_pipeline.workflows.optimization_data import (
    JobData,
    job_key_of,
    probes_of,
    require_trades,
    template_of,
)
from quantbot_pipeline.workflows.optimization_plan import OptimizationPlan, plan_optimization
from quantbot_pipeline.workflows.prepare_engine import prepare_engine
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.run_simulations import RunStatus, publish, run_simulations
from quantbot_pipeline.workflows.stage_times import StageTimes
from quantbot_pipeline.workflows.store_trials import (
    ROWS_PER_WRITE,
    MeasuredRecord,
    load_records,
    store_trials,
)

__all__ = ["OptimizationOutcome", "OptimizationPlan", "plan_optimization", "run_optimization"]

_TRIALS_PER_TALLY = 2_048
"""Trials of a job without rows after which it is kept how far it is."""

_PROGRESS_FORMAT = 2
"""Version of what is kept; what another version kept is begun anew."""


@dataclass(frozen=True, slots=True)
class OptimizationOutcome:
    """What became of a job.

    Attributes:
        job_id: Its id.
        trial_count: Trials that it has, with rows or without.
        is_known: Whether it was complete already.
        verdict: `verdict_json`; None without a scored trial.
        note: Why it is shorter than asked for; None if it is not.
        failure: Why it has no scored trial though all of them were made: the job is `failed`; None if it has one.
        times: Seconds by stage.
    """

    job_id: int
    trial_count: int
    is_known: bool
    verdict: dict[str, Any] | None = None
    note: str | None = None
    failure: str | None = None
    times: dict[str, float] = field(default_factory=dict)


def run_optimization(
    plan: OptimizationPlan,
    state: StateStore,
    history: HistoryStore,
    *,
    threads: int = 1,
    timeout_seconds: float | None = None,
    job_id: int | None = None,
    on_progress: ProgressListener = no_progress,
    on_job: Callable[[int], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
) -> OptimizationOutcome:
    """Run a job to its end, or return the stored one.

    A job of which no trial has a score is `failed`, and that is its end too: the outcome says why.

    Args:
        plan: What is searched.
        state: Where jobs, trials and runs are.
        history: Where candles are, and traces of the best trials go.
        threads: Trials that are simulated at once; changes no result.
        timeout_seconds: When no further trials are begun; the job is then completed with a note, and goes on when it is
            asked for again.
        job_id: The stored job that is meant; another one that the plan leads to is refused.
        on_progress: Told after each batch.
        on_job: Told the id of the job before its first trial.
        warn: Told of a model that says nothing of any call, though strategies ask for its scores.

    Raises:
        SimulationError: no call of the window opens a trade, or a trace could not be computed.
        DataError: the data changed while the job ran. The job is then `failed`, and the next attempt goes on.
        ConfigError: the objective asks for more trades than there are calls.
        InputError: a strategy names a model of which no version was ever ready.
    """
    began_at = time.monotonic()
    prepare_engine(lambda message: on_progress(0, plan.trial_count, message))
    template, probes = template_of(plan), probes_of(plan)
    data = JobData.load(plan, probes, state, history)
    require_trades(plan, data, template)
    for warning in data.scores.warnings():
        warn(warning)
    calls = data.calls(probes)
    plan.objective.require_reachable(len(calls))
    chunks = _chunks(plan, data, template)
    job_key = job_key_of(plan, probes, data)
    if job_id is not None:
        _require_same_job(state, job_id, job_key)
    found_id, is_complete = state.create_job(
        name=plan.name,
        strategy_template_id=plan.template.strategy_id,
        search_space=dict(plan.space_document),
        objective=str(plan.objective),
        job_key=job_key,
        plan=plan.document(),
        data=data.document(calls, template),
    )
    if is_complete:
        return _stored_outcome(state, found_id)
    on_job(found_id)

    def widen(strategies: Sequence[Strategy]) -> JobData:
        wider = JobData.load(plan, [*probes, *strategies], state, history)
        if job_key_of(plan, probes, wider) != job_key:
            # No fault of the trials: it must not be taken for one of theirs.
            raise DataError(f"job {plan.name!r}: calls or candles changed while it ran; run it again")
        return wider

    try:
        with TrialMeter(data, calls, plan.objective, threads=threads, widen=widen) as meter:
            judge = JobJudge(plan, calls, meter, probes)
            job = _RunningJob(plan, found_id, meter, judge, chunks, state, history, on_progress)
            return job.run(began_at, timeout_seconds)
    except QuantbotError as error:
        state.finish_job(found_id, status="failed", error_message=str(error))
        raise


def _require_same_job(state: StateStore, job_id: int, job_key: str) -> None:
    """Refuse to go on with a job under another identity, before anything is written.

    Raises:
        InputError: there is no such job.
        SimulationError: it is another job by now.
    """
    found = state.read("optimization/load_job_plan", job_id=job_id).to_pylist()
    if not found:
        raise InputError(f"job {job_id} is not stored; 'quantbot optimize' begins one")
    if found[0]["job_key"] != job_key:
        raise SimulationError(
            f"job {job_id} can't go on: calls, candles or the engine changed since it began; run the same search "
            "without --resume, which begins a new job"
        )


class _RunningJob:
    """A job from its first trial to its verdict."""

    def __init__(
        self,
        plan: OptimizationPlan,
        job_id: int,
        meter: TrialMeter,
        judge: JobJudge,
        chunks: Sequence[frozenset[TokenKey]],
        state: StateStore,
        history: HistoryStore,
        on_progress: ProgressListener,
    ) -> None:
        self._plan = plan
        self._job_id = job_id
        self._meter = meter
        self._judge = judge
        self._chunks = chunks
        self._state = state
        self._history = history
        self._on_progress = on_progress
        self._times = StageTimes()
        self._measured: dict[int, tuple[Strategy, MeasuredTrial]] = {}
        self._waiting: list[MeasuredRecord] = []
        self._untallied = 0

    def run(self, began_at: float, timeout_seconds: float | None) -> OptimizationOutcome:
        """Run it."""
        plan = self._plan
        count = plan.search.study().trial_count
        is_stopped = _stop_after(began_at, timeout_seconds)
        with self._times.measure("search"):
            tally = self._search(is_stopped)
            self._store()
            if not plan.stores_all:
                self._store_progress(tally)
                self._complete(tally)
        note = None
        if tally.trial_count < count:
            note = f"--timeout ended the search after {tally.trial_count:,} of {count:,} trials"
        # A job that is to go on keeps what it goes on from, as it is before judging adds other trials to the evidence.
        kept = tally.document() if note is None or plan.stores_all else self._progress(tally)
        with self._times.measure("evidence"):
            judgement = self._judge.judge(tally, lambda message: self._on_progress(tally.trial_count, count, message))
        with self._times.measure("traces"):
            self._keep_best(tally)
        times = self._seconds(began_at)
        failure = tally.why_no_score() if note is None else None
        self._state.finish_job(
            self._job_id,
            status="completed" if failure is None else "failed",
            error_message=failure,
            result=JobResult(kept, judgement.verdict, judgement.evidence, times, note),
        )
        return OptimizationOutcome(
            self._job_id,
            tally.trial_count,
            is_known=False,
            verdict=judgement.verdict,
            note=note,
            failure=failure,
            times=times,
        )

    def _new_tally(self) -> SearchTally:
        return SearchTally(keep=max(self._plan.keep, 20), limits=self._plan.objective.all_limits())

    def _search(self, is_stopped: Callable[[], bool]) -> SearchTally:
        plan = self._plan
        if plan.stores_all:
            records = load_records(self._state, self._job_id)
            self._simulate_again(records)
            return run_search(
                plan.search,
                self._evaluate,
                stored=records,
                tally=self._new_tally(),
                take_batch=self._take,
                is_stopped=is_stopped,
            )
        tally = self._stored_progress()
        return run_search(
            plan.search,
            self._evaluate,
            tally=tally,
            # Progress is kept after whole batches.
            skip_batches=math.ceil(tally.trial_count / plan.search.batch_size),
            take_batch=self._take,
            is_stopped=is_stopped,
        )

    def _stored_progress(self) -> SearchTally:
        """Return the tally of an earlier process of a job without rows, and bring its evidence back."""
        row = self._state.read("optimization/load_job_plan", job_id=self._job_id).to_pylist()[0]
        stored = json.loads(row["tally_json"]) if row["tally_json"] else {}
        progress = stored.get("progress")
        if progress is None or progress["format"] != _PROGRESS_FORMAT:
            return self._new_tally()
        tally = SearchTally.from_document(stored)
        done = tally.trial_count
        self._on_progress(done, self._plan.trial_count, f"going on after {done} trials")
        with self._times.measure("evaluation"):
            self._judge.restore(progress["evidence"])
        return tally

    def _complete(self, tally: SearchTally) -> None:
        """Find all metrics of the trials that are kept, of which only what the objective reads was found."""
        kept = {record.index: record for record in [*tally.best(), *tally.front()]}
        strategies = [self._plan.space.strategy(record.params) for record in kept.values()]
        with self._times.measure("evaluation"):
            found = self._meter.measure(strategies, every_metric=True)
        tally.complete({index: run_again(index, trial).metrics for index, trial in zip(kept, found, strict=True)})

    def _store_progress(self, tally: SearchTally) -> None:
        with self._times.measure("storage"):
            self._state.store_tally(self._job_id, self._progress(tally))
        self._untallied = 0

    def _progress(self, tally: SearchTally) -> dict[str, Any]:
        """Return what a job without rows goes on from: one document, so that tally and evidence are of one moment."""
        return tally.document() | {"progress": {"format": _PROGRESS_FORMAT, "evidence": self._judge.document()}}

    def _simulate_again(self, records: Sequence[TrialRecord]) -> None:
        """Give the judge the trials of an earlier process."""
        run = [record for record in records if record.state in ("scored", "unscored")]
        for begin in range(0, len(run), ROWS_PER_WRITE):
            part = run[begin : begin + ROWS_PER_WRITE]
            strategies = [self._plan.space.strategy(record.params) for record in part]
            with self._times.measure("evaluation"):
                found = self._meter.measure(strategies, self._judge.windows)
            for record, trial in zip(part, found, strict=True):
                self._judge.take(record, run_again(record.index, trial))

    def _evaluate(self, trials: Sequence[Trial], look: int) -> list[Metrics | Failure]:
        strategies = [trial.strategy for trial in trials if trial.strategy is not None]
        outcomes: list[Metrics | Failure] = []
        # Where few trials are kept, the other metrics are found once it is known which.
        every_metric = self._plan.stores_all
        with self._times.measure("evaluation"):
            if look < len(self._chunks):
                tokens = frozenset().union(*self._chunks[: look + 1])
                early = self._meter.measure_tokens(strategies, tokens, every_metric=every_metric)
                return [each if isinstance(each, Failure) else each.metrics for each in early]
            found = self._meter.measure(strategies, self._judge.windows, every_metric=every_metric)
        for trial, strategy, each in zip(trials, strategies, found, strict=True):
            if isinstance(each, Failure):
                outcomes.append(each)
                continue
            self._measured[trial.index] = (strategy, each)
            outcomes.append(each.metrics)
        return outcomes

    def _take(self, records: Sequence[TrialRecord], tally: SearchTally) -> None:
        for record in records:
            strategy, trial = self._measured.pop(record.index, (None, None))
            if trial is not None:
                with self._times.measure("statistics"):
                    self._judge.take(record, trial)
            if self._plan.stores_all:
                self._waiting.append(MeasuredRecord(record, strategy))
        if len(self._waiting) >= ROWS_PER_WRITE:
            self._store()
        self._untallied += len(records)
        if not self._plan.stores_all and self._untallied >= _TRIALS_PER_TALLY:
            self._store_progress(tally)
        done = tally.trial_count
        self._on_progress(done, self._plan.trial_count, f"trial {done} of {self._plan.trial_count}")

    def _store(self) -> None:
        with self._times.measure("storage"):
            for begin in range(0, len(self._waiting), ROWS_PER_WRITE):
                part = self._waiting[begin : begin + ROWS_PER_WRITE]
                store_trials(self._job_id, part, self._meter.data, self._state)
        self._waiting = []

    def _keep_best(self, tally: SearchTally) -> None:
        """Give the best trials their traces, and rows where trials have none by themselves."""
        best = tally.best()[: self._plan.keep]
        strategies = {record.index: self._plan.space.strategy(record.params) for record in best}
        if not self._plan.stores_all:
            kept = {record.index: record for record in [*best, *tally.front()]}
            for record in sorted(kept.values(), key=lambda record: record.index):
                self._waiting.append(MeasuredRecord(record, self._plan.space.strategy(record.params)))
                if len(self._waiting) >= ROWS_PER_WRITE:
                    self._store()
            self._store()
        requests = [self._meter.data.request(strategy) for strategy in strategies.values()]
        for record, outcome in zip(best, run_simulations(requests, self._state, self._history), strict=True):
            if outcome.status is RunStatus.FAILED:
                raise SimulationError(f"trial {record.index} {dict(record.params)}: {outcome.error}")
        if not requests:
            publish(self._state, self._history)

    def _seconds(self, began_at: float) -> dict[str, float]:
        seconds = dict(self._times.seconds)
        parts = {name: seconds.get(name, 0.0) for name in ("evaluation", "statistics", "storage")}
        sampler = seconds.get("search", 0.0) - sum(parts.values())
        return {
            "sampler": max(0.0, sampler),
            **parts,
            "evidence": seconds.get("evidence", 0.0),
            "traces": seconds.get("traces", 0.0),
            "total": time.monotonic() - began_at,
        }


def _chunks(plan: OptimizationPlan, data: JobData, template: Strategy) -> tuple[frozenset[TokenKey], ...]:
    """Return the tokens that each early look of pruning adds.

    Raises:
        ConfigError: there are fewer tokens than looks.
    """
    rule = plan.search.pruning
    if rule is None:
        return ()
    counts = {part.token: len(part.reported_call_ids) for part in data.parts(template)}
    return tuple(frozenset(chunk) for chunk in divide_groups(counts, rule.shares, seed=plan.search.seed)[:-1])


def _stop_after(began_at: float, timeout_seconds: float | None) -> Callable[[], bool]:
    if timeout_seconds is None:
        return lambda: False
    return lambda: time.monotonic() - began_at >= timeout_seconds


def _stored_outcome(state: StateStore, job_id: int) -> OptimizationOutcome:
    row = state.read("optimization/load_job_plan", job_id=job_id).to_pylist()[0]
    tally = json.loads(row["tally_json"]) if row["tally_json"] else {"counts": {}}
    return OptimizationOutcome(
        job_id,
        sum(tally["counts"].values()),
        is_known=True,
        verdict=json.loads(row["verdict_json"]) if row["verdict_json"] else None,
        note=row["note"],
        failure=row["error_message"],
    )
