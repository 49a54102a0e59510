"""The main job in one process: from files to report, as Dagster runs on this instance."""

import os
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import dagster as dg
from dagster_shared.error import SerializableErrorInfo

from quantbot_pipeline import errors
from quantbot_pipeline.definitions import build_definitions
from quantbot_pipeline.defs.backfills import backfill_run, recorded_backfill
from quantbot_pipeline.defs.instance_storage import storage_errors
from quantbot_pipeline.defs.partitions import (
    check_months,
    cover_with_boxes,
    register_tokens,
    token_month_key,
    token_partitions,
)
from quantbot_pipeline.defs.simulation_assets import failure_text
from quantbot_pipeline.errors import QuantbotError, SimulationError
from quantbot_pipeline.ingest.candle_files import read_candle_file
from quantbot_pipeline.servers.dagster_ui import prepare_dagster_home
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.backfill import BackfillListener
from quantbot_pipeline.workflows.backfill_records import select_backfill
from quantbot_pipeline.workflows.backfill_selection import Selection
from quantbot_pipeline.workflows.import_candles import token_months_of
from quantbot_pipeline.workflows.progress import StageListener
from quantbot_pipeline.workflows.token_months import TokenMonth, parse_token

# A run's log is in its event log; on the terminal it would bury the progress display.
_QUIET = {"console": {"config": {"log_level": "CRITICAL"}}}

_EVENTS_PER_BATCH = 500


@dataclass
class MainJob:
    """Runs the stages of the main job on one Dagster instance and keeps their times.

    Attributes:
        settings: Home, first month.
        instance: Where runs and materialisations are recorded.
        on_stage: Told the stage's name and how many of its runs are done, of how many.
        seconds: Time of each stage that ran.
        jobs: Threads of the engine.
    """

    settings: Settings
    instance: dg.DagsterInstance
    on_stage: StageListener
    seconds: dict[str, float] = field(default_factory=dict)
    jobs: int = 1

    def __post_init__(self) -> None:
        self._job = build_definitions(settings=self.settings).resolve_implicit_global_asset_job_def()

    @contextmanager
    def stage(self, name: str, total: int = 1) -> Iterator[Callable[[int], None]]:
        """Time a stage and tell its progress; yields a function to call with the number of units done."""
        started = time.perf_counter()
        self.on_stage(name, 0, total)
        yield lambda done: self.on_stage(name, done, total)
        self.seconds[name] = self.seconds.get(name, 0.0) + time.perf_counter() - started
        self.on_stage(name, total, total)

    def run(
        self,
        candle_files: Sequence[Path],
        alert_files: Sequence[Path],
        state: StateStore,
        history: HistoryStore,
        *,
        source: str = "file",
    ) -> None:
        """Run every stage.

        Raises:
            DataError: a file can't be read; nothing was stored of it.
            SimulationError: runs failed; the others are stored.
        """
        with self.stage("discover token-months", len(candle_files)) as tell:
            files_of = discover(candle_files, tell)
            token_months = {key for keys in files_of.values() for key in keys}
            check_months(token_months, self.settings)
        with self.stage("alerts and calls"):
            self._execute(["strategies"])
            # A job of its own: the months of files are known once they are read.
            self._execute_job(
                "ingest_alerts_job",
                {"take_alert_files": {"paths": [str(file) for file in alert_files], "source": source}},
            )
        self._materialize_candles(files_of, token_months)
        self._materialize_simulations(state, history)
        for name, assets in {
            "parameter search": ["optimization_jobs", "optimization_trials"],
            "features and model": ["ml_features", "ml_models", "ml_scores"],
        }.items():
            with self.stage(name):
                self._execute(assets)
        with self.stage("views and report"):
            self._execute_job("refresh_report_job")

    def _materialize_candles(self, files_of: Mapping[Path, set[TokenMonth]], keys: set[TokenMonth]) -> None:
        register_tokens(self.instance, keys)
        boxes = cover_with_boxes(keys, self._token_order())
        with self.stage("candles", len(boxes)) as tell:
            for done, box in enumerate(boxes, start=1):
                wanted = set(box.keys)
                paths = [str(path) for path, touched in files_of.items() if touched & wanted]
                self._execute_range(["ohlcv_candles"], box.first, box.last, {"ohlcv_candles": {"paths": paths}})
                tell(done)

    def _materialize_simulations(self, state: StateStore, history: HistoryStore) -> None:
        selected = select_backfill(Selection(), state)
        check_months(selected.keys, self.settings)
        with self.stage("simulations", len(selected.keys)) as tell:
            if not selected.keys:
                return
            listener = BackfillListener(on_progress=lambda counts: tell(counts.done))
            with backfill_run(self.instance, selected, jobs=self.jobs) as (recorder, finish):
                counts = recorded_backfill(selected, state, history, recorder, jobs=self.jobs, listener=listener)
                finish(counts)
        if counts.failed:
            raise SimulationError(failure_text(counts))

    def _token_order(self) -> list[Any]:
        return [parse_token(key) for key in self.instance.get_dynamic_partitions(str(token_partitions.name))]

    def _execute_range(
        self, assets: Sequence[str], first: TokenMonth, last: TokenMonth, config: Mapping[str, Any]
    ) -> None:
        tags = {
            "dagster/asset_partition_range_start": token_month_key(first),
            "dagster/asset_partition_range_end": token_month_key(last),
        }
        self._execute(assets, config, tags)

    def _execute(
        self,
        assets: Sequence[str],
        config: Mapping[str, Any] | None = None,
        tags: Mapping[str, str] | None = None,
    ) -> None:
        result = self._job.execute_in_process(
            run_config={
                "ops": {name: {"config": values} for name, values in (config or {}).items()},
                "loggers": _QUIET,
            },
            instance=self.instance,
            asset_selection=[dg.AssetKey(name) for name in assets],
            tags=tags,
            raise_on_error=False,
        )
        raise_if_failed(result)

    def _execute_job(self, name: str, config: Mapping[str, Any] | None = None) -> None:
        job = build_definitions(settings=self.settings).resolve_job_def(name)
        run_config = {
            "ops": {op: {"config": values} for op, values in (config or {}).items()},
            "loggers": _QUIET,
        }
        raise_if_failed(job.execute_in_process(run_config, instance=self.instance, raise_on_error=False))


@contextmanager
def open_main_job(settings: Settings, on_stage: StageListener) -> Iterator[MainJob]:
    """Yield the main job on the Dagster instance of this home."""
    prepare_dagster_home(settings)
    # Dagster reads this at each event: in a range run, events of partitions are then stored by the batch.
    os.environ.setdefault("DAGSTER_EVENT_BATCH_SIZE", str(_EVENTS_PER_BATCH))
    with storage_errors(), dg.DagsterInstance.get() as instance:
        yield MainJob(settings, instance, on_stage)


def discover(paths: Sequence[Path], on_file: Callable[[int], None]) -> dict[Path, set[TokenMonth]]:
    """Return the token-months that each candle file touches."""
    found = {}
    for done, path in enumerate(paths, start=1):
        found[path] = token_months_of(read_candle_file(path).candles)
        on_file(done)
    return found


def raise_if_failed(result: dg.ExecuteInProcessResult) -> None:
    """Raise what a run failed with, with its own class where that is one of this project's.

    Raises:
        KeyboardInterrupt: the run was stopped by Ctrl-C, which Dagster takes for a way to end.
    """
    if result.success:
        return
    if any(_was_interrupted(event) for event in result.all_events):
        raise KeyboardInterrupt
    for event in result.all_events:
        if event.is_step_failure:
            failure = event.step_failure_data
            if failure.user_failure_data and failure.user_failure_data.description:
                raise SimulationError(f"step {event.step_key}: {failure.user_failure_data.description}")
            raise _as_raised(failure.error, f"step {event.step_key}")
    for event in result.all_events:
        if event.event_type is dg.DagsterEventType.RUN_FAILURE:
            raise _as_raised(event.job_failure_data.error, f"run {result.run_id}")
    raise QuantbotError(f"run {result.run_id} failed; see the Dagster UI")


def _as_raised(error: SerializableErrorInfo | None, where: str) -> QuantbotError:
    """Return the project's error in a chain of causes, else one that says what the innermost cause was."""
    innermost = error
    while error is not None:
        kind = getattr(errors, error.cls_name or "", None)
        if isinstance(kind, type) and issubclass(kind, QuantbotError):
            # Dagster's message begins with the name of the class.
            found: QuantbotError = kind(error.message.strip().partition(": ")[2])
            return found
        innermost, error = error, error.cause
    return SimulationError(f"{where}: {innermost.message.strip() if innermost else 'unknown'}")


def _was_interrupted(event: dg.DagsterEvent) -> bool:
    if event.event_type is not dg.DagsterEventType.RUN_FAILURE:
        return False
    reason = event.job_failure_data.failure_reason
    return reason is not None and reason.name == "UNEXPECTED_TERMINATION"
