"""Optimization jobs: propose parameters, simulate each as a run, rank by score.

A job is content-addressed like a run: template, space, objective, seed and the data that its trials may read
make its key, so the same job again is the stored one. A job that was killed proposes the same trials again,
whose runs are there already.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime, timedelta
from typing import Any

from quantbot_pipeline.engine.calls import SignalType
from quantbot_pipeline.errors import InputError, QuantbotError, SearchSpaceError, SimulationError, StrategyError
from quantbot_pipeline.optimization.objectives import Objective, parse_objective
from quantbot_pipeline.optimization.spaces import (
    CategoricalParameter,
    SearchSpace,
    apply_parameters,
    default_search_space,
    parse_search_space,
)
from quantbot_pipeline.optimization.study import Sampler, Study, Trial
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import NewTrial, StrategyRow
from quantbot_pipeline.strategy.model import Strategy, parse_strategy
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.run_simulations import RunOutcome, RunRequest, RunStatus, run_simulations
from quantbot_pipeline.workflows.simulation_inputs import SimulationInputs, TokenInput, reading_key
from quantbot_pipeline.workflows.store_strategies import newest_versions

_TRIALS_PER_BATCH = 8


@dataclass(frozen=True, slots=True)
class OptimizationPlan:
    """What a job searches, and on what.

    Attributes:
        name: Name of the job, for people.
        template: The strategy whose fields are varied.
        space: The fields and their ranges.
        space_document: The same as JSON.
        objective: What is maximised or minimised.
        trial_count: How many trials to run.
        seed: Seed of the sampler.
        sampler: tpe, random or grid.
        window_start: Calls from here on are simulated.
        window_end: Calls before here are simulated.
    """

    name: str
    template: StrategyRow
    space: SearchSpace
    space_document: Mapping[str, Any]
    objective: Objective
    trial_count: int
    seed: int
    sampler: Sampler
    window_start: datetime
    window_end: datetime


@dataclass(frozen=True, slots=True)
class OptimizationOutcome:
    """What became of a job: its id, how many trials are stored, and whether it was complete already."""

    job_id: int
    trial_count: int
    is_known: bool


_DEFAULT_SEARCH_SHARE = 0.7


def plan_optimization(
    state: StateStore,
    *,
    template_name: str,
    space_document: Mapping[str, Any] | None = None,
    objective: str = "final_pnl",
    trial_count: int = 12,
    seed: int = 7,
    sampler: Sampler = "tpe",
    start: datetime | None = None,
    end: datetime | None = None,
) -> OptimizationPlan:
    """Check what a user asks for and return the plan of the job.

    Args:
        state: Where strategies and calls are.
        template_name: Name of a stored strategy; its newest version is taken.
        space_document: The search space; the default space of the template without it.
        objective: Text form of the objective.
        trial_count: How many trials, at least 1.
        seed: Seed of the sampler.
        sampler: tpe, random or grid.
        start: Calls from here on; the first call without it.
        end: Calls before here; without it the last 30 % of the calls stay unseen.

    Raises:
        InputError: the template is unknown, the trial count is below 1, or there are no calls.
        SearchSpaceError: the space does not fit the template.
        ConfigError: the objective can't be read.
    """
    if trial_count < 1:
        raise InputError(f"trials: {trial_count} is not allowed; at least 1")
    rows = state.load_strategies([template_name])
    if not rows:
        known = ", ".join(sorted({row.name for row in state.load_strategies()})) or "none"
        raise InputError(f"template: strategy {template_name!r} is not stored; stored are {known}")
    [template] = newest_versions(rows)
    document = dict(space_document or default_search_space(template.config))
    space = parse_search_space(document, template=template.config)
    times = [call.signal_timestamp for call in state.load_calls() if call.signal_type is SignalType.ENTRY]
    if not times:
        raise InputError("there are no entry calls to search on; ingest alerts first")
    return OptimizationPlan(
        name=f"{template.name} by {objective}",
        template=template,
        space=space,
        space_document=document,
        objective=parse_objective(objective),
        trial_count=trial_count,
        seed=seed,
        sampler=sampler,
        window_start=start or times[0].replace(microsecond=0),
        window_end=end or _end_of_share(times),
    )


def _end_of_share(times: Sequence[datetime]) -> datetime:
    last = times[min(int(len(times) * _DEFAULT_SEARCH_SHARE), len(times) - 1)]
    return last.replace(microsecond=0) + timedelta(seconds=1)


def run_optimization(
    plan: OptimizationPlan,
    state: StateStore,
    history: HistoryStore,
    *,
    on_progress: ProgressListener = no_progress,
) -> OptimizationOutcome:
    """Run a job to its end, or return the stored one.

    Raises:
        SimulationError: no call of the window opens a trade, a trial's run failed, or the data changed
            while the job ran; in the last two cases the job is `failed`, and the next attempt goes on.
    """
    probes = _probes(plan)
    data = _JobData(plan, _load_inputs(plan, probes, state, history))
    if not data.parts(probes[0]):
        raise SimulationError(
            f"job {plan.name!r}: no calls that open a trade in [{plan.window_start:%Y-%m-%d}, "
            f"{plan.window_end:%Y-%m-%d}); ingest alerts of this time or choose another window"
        )
    job_key = _job_key(plan, probes, data)
    job_id, is_complete = state.create_job(
        name=plan.name,
        strategy_template_id=plan.template.strategy_id,
        search_space=dict(plan.space_document),
        objective=str(plan.objective),
        job_key=job_key,
    )
    if is_complete:
        stored = state.read("optimization/load_trials", job_id=job_id).num_rows
        return OptimizationOutcome(job_id, stored, is_known=True)

    def widen(strategies: Sequence[Strategy]) -> _JobData:
        wider = _JobData(plan, _load_inputs(plan, [*probes, *strategies], state, history))
        if _job_key(plan, probes, wider) != job_key:
            raise SimulationError(f"job {plan.name!r}: calls or candles changed while it ran; run it again")
        return wider

    try:
        stored = _run_trials(plan, job_id, data, widen, state, history, on_progress)
    except QuantbotError as error:
        state.finish_job(job_id, status="failed", error_message=str(error))
        raise
    state.finish_job(job_id, status="completed")
    return OptimizationOutcome(job_id, stored, is_known=False)


class _JobData:
    """The data of a job, cut once for all strategies that read alike."""

    def __init__(self, plan: OptimizationPlan, inputs: SimulationInputs) -> None:
        self._plan = plan
        self._parts: dict[tuple[object, ...], tuple[TokenInput, ...]] = {}
        self.inputs = inputs

    def parts(self, strategy: Strategy) -> tuple[TokenInput, ...]:
        """Return what a strategy reads, one entry per token with calls in the window."""
        key = reading_key(strategy)
        if key not in self._parts:
            start, end = self._plan.window_start, self._plan.window_end
            cuts = [self.inputs.cut(token, start, end, strategy) for token in self.inputs.tokens()]
            self._parts[key] = tuple(cut for cut in cuts if cut is not None)
        return self._parts[key]


def _probes(plan: OptimizationPlan) -> list[Strategy]:
    """Return the template, and what trials may become that read other data than it does.

    Each parameter goes to its ends by itself, and all go to their upper ends together. A space whose trials
    read still further loads more when it gets there.
    """
    template = parse_strategy(plan.template.config, source=f"strategy {plan.template.name!r}")
    ends = {
        parameter.path: parameter.choices
        if isinstance(parameter, CategoricalParameter)
        else (parameter.low, parameter.high)
        for parameter in plan.space.parameters
    }
    changes = [{path: value} for path, values in ends.items() for value in values]
    changes.append({path: values[-1] for path, values in ends.items()})
    probes = {reading_key(template): template}
    for change in changes:
        try:
            probe = parse_strategy(apply_parameters(plan.template.config, change))
        except (StrategyError, SearchSpaceError):
            continue
        probes.setdefault(reading_key(probe), probe)
    return list(probes.values())


def _load_inputs(
    plan: OptimizationPlan, strategies: Sequence[Strategy], state: StateStore, history: HistoryStore
) -> SimulationInputs:
    calls = state.load_calls(start=plan.window_start, end=plan.window_end)
    windows = dict.fromkeys({call.token for call in calls}, (plan.window_start, plan.window_end))
    return SimulationInputs.load(state, history, windows, strategies)


def _job_key(plan: OptimizationPlan, probes: Sequence[Strategy], data: _JobData) -> str:
    document = {
        "template": plan.template.config_hash,
        "space": plan.space_document,
        "objective": str(plan.objective),
        "trials": plan.trial_count,
        "seed": plan.seed,
        "sampler": plan.sampler,
        "window": [plan.window_start.isoformat(), plan.window_end.isoformat()],
        "data": [[part.fingerprint for part in data.parts(probe)] for probe in probes],
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def _run_trials(
    plan: OptimizationPlan,
    job_id: int,
    data: _JobData,
    widen: Callable[[Sequence[Strategy]], _JobData],
    state: StateStore,
    history: HistoryStore,
    on_progress: ProgressListener,
) -> int:
    study = Study(
        plan.space,
        sampler=plan.sampler,
        seed=plan.seed,
        trial_count=plan.trial_count,
        batch_size=_TRIALS_PER_BATCH,
        goal_count=len(plan.objective.goals),
    )
    stored = 0
    while trials := study.ask():
        strategies = {
            trial.index: parse_strategy(trial.document, source=f"trial {trial.index}")
            for trial in trials
            if trial.document is not None
        }
        if not all(data.inputs.covers(strategy) for strategy in strategies.values()):
            data = widen(list(strategies.values()))
        requests = [_request(plan, strategy, data) for strategy in strategies.values()]
        outcomes = dict(zip(strategies, run_simulations(requests, state, history), strict=True))
        rows = [_trial_row(plan, trial, outcomes.get(trial.index), state) for trial in trials]
        for row in rows:
            # A refused trial was told to the study when it was proposed.
            if row.trial_index in outcomes:
                found = plan.objective.evaluate(row.metrics)
                study.tell(row.trial_index, found.values, violation=found.violation)
        state.store_trials(job_id, rows)
        stored += len(rows)
        on_progress(stored, plan.trial_count, f"trial {stored} of {plan.trial_count}")
    return stored


def _request(plan: OptimizationPlan, strategy: Strategy, data: _JobData) -> RunRequest:
    parts = data.parts(strategy)
    return RunRequest(plan.template, strategy, "optimization", parts, None, plan.window_start, plan.window_end)


def _trial_row(plan: OptimizationPlan, trial: Trial, outcome: RunOutcome | None, state: StateStore) -> NewTrial:
    if outcome is None:
        return NewTrial(trial.index, trial.params, None, {"refused": trial.refusal}, None)
    if outcome.status is RunStatus.FAILED:
        raise SimulationError(f"trial {trial.index} {dict(trial.params)}: {outcome.error}")
    metrics = asdict(outcome.metrics) if outcome.metrics else _stored_metrics(outcome.run_id, state)
    return NewTrial(trial.index, trial.params, outcome.run_id, metrics, plan.objective.score(metrics))


def _stored_metrics(run_id: int, state: StateStore) -> dict[str, Any]:
    row: dict[str, Any] = state.read("runs/load_run_metrics", run_ids=[run_id]).to_pylist()[0]
    row.pop("simulation_run_id")
    metadata: dict[str, Any] = json.loads(row.pop("metadata_json"))
    # A trial's metrics are the same whether its run was computed now or found.
    metadata.pop("event_count", None)
    return row | metadata
