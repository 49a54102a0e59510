"""Removing what dead attempts left behind in ClickHouse.

A run that is not completed is shown nowhere, and its next attempt replaces its events and aggregates. Where no
next attempt comes, they only take space. The run's row in Postgres stays: it says what was attempted, and the
next attempt takes it over.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress

# Their events are counted in memory before they are removed.
_RUNS_PER_BATCH = 100


@dataclass(frozen=True, slots=True)
class Garbage:
    """What was found and removed.

    Attributes:
        runs_running: Runs that are `pending` or `running` though nothing began them for long: their process died.
        runs_failed: Runs that failed.
        runs_young: Runs that are not completed and may still be worked on; left alone.
        events: Events of dead attempts that were removed.
    """

    runs_running: int
    runs_failed: int
    runs_young: int
    events: int


def collect_garbage(
    state: StateStore,
    history: HistoryStore,
    *,
    begun_before: datetime,
    now: datetime,
    on_progress: ProgressListener = no_progress,
) -> Garbage:
    """Remove events and aggregates of runs that were begun before a time and did not complete.

    Args:
        state: Where runs are.
        history: Where their events and aggregates are.
        begun_before: Runs that were begun later are left alone: a process may work on them. UTC.
        now: The present time, UTC.
        on_progress: Told after each batch of runs.
    """
    unfinished = state.read("runs/load_unfinished_runs", claimed_before=now).to_pylist()
    dead = [run for run in unfinished if run["claimed_at"] < begun_before]
    events = 0
    for start in range(0, len(dead), _RUNS_PER_BATCH):
        run_ids: Sequence[int] = [run["run_id"] for run in dead[start : start + _RUNS_PER_BATCH]]
        events += history.load_events(run_ids).num_rows
        history.delete_run_rows(run_ids)
        on_progress(start + len(run_ids), len(dead), f"run {run_ids[-1]}")
    failed = sum(run["status"] == "failed" for run in dead)
    return Garbage(
        runs_running=len(dead) - failed, runs_failed=failed, runs_young=len(unfinished) - len(dead), events=events
    )
