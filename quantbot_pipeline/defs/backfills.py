"""Backfills as Dagster runs: one run each, with a materialisation per token-month and asset and its own metadata.

The command line works in its own process and records what it does; the UI launches `backfill_job`. Both are this code.
Events of many partitions are stored by one statement: Dagster's own way takes some ten milliseconds for each.
"""

import os
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import dagster as dg
from dagster._core.events import AssetMaterializationPlannedData, DagsterEvent, StepMaterializationData
from dagster._core.execution.plan.objects import StepSuccessData
from pydantic import Field

from quantbot_pipeline.defs.due_partitions import Recorded, is_told, load_recorded
from quantbot_pipeline.defs.instance_storage import storage_errors
from quantbot_pipeline.defs.partitions import check_months, register_tokens, token_month_key
from quantbot_pipeline.defs.simulation_assets import SIMULATION_ASSETS, failure_text, month_metadata
from quantbot_pipeline.servers.dagster_ui import prepare_dagster_home
from quantbot_pipeline.servers.processes import ProcessIdentity
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.backfill import BackfillCounts, BackfillListener, MonthOutcome, run_backfill
from quantbot_pipeline.workflows.backfill_records import (
    SelectedBackfill,
    backfill_lock_name,
    begin_backfill,
    record_months,
    select_backfill,
    select_unfinished,
)
from quantbot_pipeline.workflows.backfill_selection import Selection
from quantbot_pipeline.workflows.stage_times import StageTimes

_STEP = "simulate_selection"
_EVENTS_PER_STATEMENT = 500

# By these a run is known whose process died: nobody else would ever end it.
_HOST_TAG, _PROCESS_TAG = "quantbot/host", "quantbot/process"


class BackfillConfig(dg.Config):
    """Selectors as on the command line; an empty list selects all; with resume and none, the last unfinished one."""

    tokens: list[str] = Field(default_factory=list)
    months: list[str] = Field(default_factory=list)
    strategies: list[str] = Field(default_factory=list)
    force: bool = False
    resume: bool = False
    jobs: int = 1


@dg.op(name=_STEP)
def simulate_selection(
    context: dg.OpExecutionContext,
    config: BackfillConfig,
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
    settings: dg.ResourceParam[Settings],
) -> None:
    """Simulate the selected strategies on the selected token-months; what is up to date is reused."""
    selection = Selection.of(config.tokens, config.months, config.strategies)
    if config.resume and not (config.tokens or config.months or config.strategies):
        selected = select_unfinished(state_store)
    else:
        selected = select_backfill(selection, state_store, resume=config.resume)
    check_months(selected.keys, settings)
    recorder = MaterializationRecorder(context.instance, context.run_id, context.job_name)
    counts = recorded_backfill(
        selected,
        state_store,
        history_store,
        recorder,
        force=config.force,
        jobs=config.jobs,
        listener=BackfillListener(on_message=context.log.info),
    )
    for warning in counts.scores.warnings():
        context.log.warning(warning)
    if counts.failed:
        raise dg.Failure(failure_text(counts))


@dg.job(
    description="Simulate a selection of token-months in one run; the selectors are those of `quantbot backfill`.",
    executor_def=dg.in_process_executor,
)
def backfill_job() -> None:
    """Simulate a selection of token-months."""
    simulate_selection()


class MaterializationRecorder:
    """Stores materialisations of token-months in a run, many at once."""

    def __init__(self, instance: dg.DagsterInstance, run_id: str, job_name: str) -> None:
        self._instance = instance
        self.run_id = run_id
        self._job_name = job_name
        self._recorded: Recorded | None = None

    def prepare(self, selected: SelectedBackfill) -> None:
        """Make the tokens known to Dagster, of which events are going to be stored."""
        register_tokens(self._instance, selected.keys)

    def record(self, outcomes: Sequence[MonthOutcome]) -> None:
        """Store a materialisation per token-month and asset; a failed token-month is planned and never comes.

        Dagster shows a partition as failed that was planned by a run that failed. A token-month that was up to date is
        left out if that is recorded: it is no update, and the log need not grow with it.
        """
        good = [outcome for outcome in outcomes if outcome.reason is None and not self._is_told(outcome)]
        for name in reversed(SIMULATION_ASSETS):
            # By asset: Dagster notes of a batch that its last event's asset was materialised. The runs last: where they
            # are recorded, the other three are.
            self._store([_materialization(name, outcome) for outcome in good], "ASSET_MATERIALIZATION")
        self._store(
            [
                AssetMaterializationPlannedData(dg.AssetKey(name), partition=token_month_key(outcome.key))
                for outcome in outcomes
                if outcome.reason is not None
                for name in SIMULATION_ASSETS
            ],
            "ASSET_MATERIALIZATION_PLANNED",
        )

    def _is_told(self, outcome: MonthOutcome) -> bool:
        if not outcome.is_untouched:
            return False
        if self._recorded is None:
            # From the beginning of the work on: what others record meanwhile is at most recorded twice.
            self._recorded = load_recorded(self._instance)
        return is_told(outcome.key, outcome.settled_at, self._recorded)

    def _store(self, contents: Sequence[Any], event_type: str) -> None:
        entries = [self._entry(content, event_type) for content in contents]
        for first in range(0, len(entries), _EVENTS_PER_STATEMENT):
            self._instance.event_log_storage.store_event_batch(entries[first : first + _EVENTS_PER_STATEMENT])

    def _entry(self, content: Any, event_type: str) -> dg.EventLogEntry:
        return dg.EventLogEntry(  # type: ignore[no-untyped-call]  # Dagster's constructor has no annotations
            error_info=None,
            level="debug",
            user_message="",
            run_id=self.run_id,
            timestamp=time.time(),
            step_key=_STEP,
            job_name=self._job_name,
            dagster_event=DagsterEvent(
                event_type_value=event_type, job_name=self._job_name, step_key=_STEP, event_specific_data=content
            ),
        )


def _materialization(name: str, outcome: MonthOutcome) -> StepMaterializationData:
    return StepMaterializationData(
        dg.AssetMaterialization(name, partition=token_month_key(outcome.key), metadata=month_metadata(outcome))
    )


def recorded_backfill(
    selected: SelectedBackfill,
    state: StateStore,
    history: HistoryStore,
    recorder: MaterializationRecorder,
    *,
    force: bool = False,
    jobs: int = 1,
    listener: BackfillListener | None = None,
    stages: StageTimes | None = None,
) -> BackfillCounts:
    """Run a backfill, and record what becomes of its token-months in Postgres and in a Dagster run."""
    listener, stages = listener or BackfillListener(), stages or StageTimes()
    with stages.measure("Dagster"):
        recorder.prepare(selected)
    backfill_id = begin_backfill(selected, state, dagster_run_id=recorder.run_id)

    def on_months(outcomes: Sequence[MonthOutcome]) -> None:
        # In this order: what a kill leaves out of Dagster, a resumed backfill comes to again.
        with stages.measure("Dagster"):
            recorder.record(outcomes)
        record_months(backfill_id, outcomes, state)
        listener.on_months(outcomes)

    with state.held_as_sign(backfill_lock_name(backfill_id)):
        counts = run_backfill(
            selected.keys,
            selected.strategies,
            state,
            history,
            force=force,
            jobs=jobs,
            listener=replace(listener, on_months=on_months),
            stages=stages,
        )
        state.finish_backfill(backfill_id)
    return counts


def backfill_here(
    selected: SelectedBackfill,
    state: StateStore,
    history: HistoryStore,
    settings: Settings,
    *,
    force: bool = False,
    jobs: int = 1,
    listener: BackfillListener | None = None,
    stages: StageTimes | None = None,
) -> BackfillCounts:
    """Run a backfill in this process, without a daemon, and record it on the instance of this home.

    Raises:
        ConfigError: a month lies before the first that has partitions; nothing was computed.
        ServerError: a server went away; what was finished is stored.
    """
    check_months(selected.keys, settings)
    prepare_dagster_home(settings)
    with (
        storage_errors(),
        dg.DagsterInstance.get() as instance,
        backfill_run(instance, selected, force=force, jobs=jobs) as (recorder, finish),
    ):
        counts = recorded_backfill(
            selected, state, history, recorder, force=force, jobs=jobs, listener=listener, stages=stages
        )
        finish(counts)
    return counts


def end_dead_backfills(settings: Settings) -> None:
    """Set runs of backfills failed whose process on this machine died; every backfill that computes does so too."""
    prepare_dagster_home(settings)
    with storage_errors(), dg.DagsterInstance.get() as instance:
        _end_runs_of_dead_processes(instance)


@contextmanager
def backfill_run(
    instance: dg.DagsterInstance, selected: SelectedBackfill, *, force: bool = False, jobs: int = 1
) -> Iterator[tuple[MaterializationRecorder, Callable[[BackfillCounts], None]]]:
    """Record work of this process as a run of `backfill_job`; yields the recorder, and what to tell the end to.

    The run is a success or a failure by the counts it is told of, and was cancelled without.
    """
    _end_runs_of_dead_processes(instance)
    config = {**selected.selection.document, "force": force, "resume": selected.backfill_id is not None, "jobs": jobs}
    identity = ProcessIdentity.of_this_process()
    began = time.perf_counter()
    with storage_errors():
        run = instance.create_run_for_job(
            backfill_job,
            run_config={"ops": {_STEP: {"config": config}}},
            tags={_HOST_TAG: socket.gethostname(), _PROCESS_TAG: _process_text(identity)},
        )
        _report(instance, run, "PIPELINE_START")
        _report(instance, run, "STEP_START", _STEP)
        told: list[BackfillCounts] = []
        try:
            yield MaterializationRecorder(instance, run.run_id, run.job_name), told.append
        except KeyboardInterrupt:
            instance.report_run_canceled(run, "stopped; what was finished is stored")
            raise
        except BaseException as error:
            instance.report_run_failed(run, f"{type(error).__name__}: {error}")
            raise
        if told and not told[0].failed:
            duration_ms = (time.perf_counter() - began) * 1000
            succeeded = StepSuccessData(duration_ms)  # type: ignore[no-untyped-call]  # Dagster's, without annotations
            _report(instance, run, "STEP_SUCCESS", _STEP, succeeded)
            _report(instance, run, "PIPELINE_SUCCESS")
        else:
            instance.report_run_failed(run, failure_text(told[0]) if told else "it ended without a result")


def _report(
    instance: dg.DagsterInstance, run: dg.DagsterRun, event_type: str, step_key: str | None = None, content: Any = None
) -> None:
    event = DagsterEvent(
        event_type_value=event_type, job_name=run.job_name, step_key=step_key, event_specific_data=content
    )
    instance.report_dagster_event(event, run_id=run.run_id)


def _process_text(process: ProcessIdentity) -> str:
    return f"{process.pid}:{process.started_at_s:.2f}:{process.started_in_boot}"


def _end_runs_of_dead_processes(instance: dg.DagsterInstance) -> None:
    """Set runs failed whose process on this machine died: they would be shown as running for ever."""
    wanted = dg.RunsFilter(
        job_name=backfill_job.name, statuses=[dg.DagsterRunStatus.STARTED], tags={_HOST_TAG: socket.gethostname()}
    )
    for run in instance.get_runs(wanted):
        pid, started_at_s, *boot = run.tags[_PROCESS_TAG].split(":", 2)
        process = ProcessIdentity(int(pid), float(started_at_s), *boot)
        if process.pid != os.getpid() and not process.is_running():
            instance.report_run_failed(run, "its process died; 'quantbot backfill --resume' goes on where it stopped")
