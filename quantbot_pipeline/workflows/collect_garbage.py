"""Removing what dead attempts left behind: never anything that a reader can see, beside anything that works.

An attempt is dead when its run is not completed and nobody holds the lock that who computes the run holds. What it
wrote to ClickHouse is removed while this process holds that lock, and Postgres knows beforehand: should an attempt that
only seemed dead come back, it can't complete the run. The run's row stays: it says what was attempted, and the next
attempt takes it over.

Rows of runs that Postgres does not know at all (it was set back to an older state) are removed while no run can be
begun, so that none gets one of these numbers meanwhile.
"""

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.servers.processes import process_exists
from quantbot_pipeline.storage.clickhouse_backup import CANDLES_CLONE, ClickHouseBackup
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.run_simulations import publish, scope_lock_name, token_lock_name
from quantbot_pipeline.workflows.verify_counts import check_published_calls, check_published_runs
from quantbot_pipeline.workflows.verify_findings import VerifiedStores

BACKUPS_LOCK = "quantbot backups"
"""Name of the lock of `sql/postgres/queries/backup/lock_backups.sql`."""

_RUNS_PER_BATCH = 500

# Files get their names when they are whole; until then the name holds the process that writes.
_UNFINISHED_FILE = re.compile(r"\..*\.(?P<process>\d+)\.(tmp|partial)")


@dataclass(frozen=True, slots=True)
class Garbage:
    """What was found and removed, or in a dry run would be.

    Attributes:
        runs_running: Runs that are `pending` or `running` though nobody works on them: their process died.
        runs_failed: Runs that failed.
        runs_working: Runs that are not completed and that another process holds; left alone.
        runs_young: Runs that were begun too recently for what was asked; left alone.
        runs_unknown: Runs that have rows in ClickHouse and none in Postgres.
        events: Events of all these but those left alone.
        aggregates: Their aggregates.
        files: Half-written model files of processes that are gone.
        runs_to_mirror: Runs that ClickHouse does not have as Postgres has them; mirrored anew.
        calls_to_mirror: Calls, likewise.
    """

    runs_running: int
    runs_failed: int
    runs_working: int
    runs_young: int
    runs_unknown: int
    events: int
    aggregates: int
    files: tuple[str, ...]
    runs_to_mirror: int = 0
    calls_to_mirror: int = 0


@dataclass(slots=True)
class _Count:
    running: int = 0
    failed: int = 0
    working: int = 0
    unknown: int = 0
    events: int = 0
    aggregates: int = 0


def collect_garbage(
    state: StateStore,
    history: HistoryStore,
    *,
    now: datetime,
    leave_younger_than: timedelta = timedelta(0),
    folders: Sequence[Path] = (),
    dry_run: bool = False,
    on_progress: ProgressListener = no_progress,
) -> Garbage:
    """Remove what dead attempts left, and mirror to ClickHouse what they did not come to mirror.

    Args:
        state: Where runs are.
        history: Where their events and aggregates are.
        now: The present time, UTC.
        leave_younger_than: Runs that were begun within this time are left alone, dead or not.
        folders: Where files are written that may have stayed half-written.
        dry_run: Only look.
        on_progress: Told after each batch of runs.
    """
    unfinished = state.read("runs/load_unfinished_runs", claimed_before=now + timedelta(days=1)).to_pylist()
    old = (
        [run for run in unfinished if run["claimed_at"] <= now - leave_younger_than]
        if leave_younger_than
        else unfinished
    )
    count = _Count()
    for start in range(0, len(old), _RUNS_PER_BATCH):
        batch = old[start : start + _RUNS_PER_BATCH]
        with state.idle_runs({_lock_name(run) for run in batch}) as idle:
            dead = [run for run in batch if _lock_name(run) in idle]
            count.working += len(batch) - len(dead)
            _clear_dead(dead, state, history, count, dry_run=dry_run)
        on_progress(start + len(batch), len(old), f"run {batch[-1]['run_id']}")
    _clear_unknown(state, history, count, dry_run=dry_run)
    files = [path for folder in folders for path in _unfinished_files(folder)]
    stores = VerifiedStores(state, history, now)
    unlike_runs, unlike_calls = check_published_runs(stores).wrong, check_published_calls(stores).wrong
    if not dry_run:
        for path in files:
            path.unlink(missing_ok=True)
        publish(state, history)
    return Garbage(
        runs_running=count.running,
        runs_failed=count.failed,
        runs_working=count.working,
        runs_young=len(unfinished) - len(old),
        runs_unknown=count.unknown,
        events=count.events,
        aggregates=count.aggregates,
        files=tuple(str(path) for path in files),
        runs_to_mirror=unlike_runs,
        calls_to_mirror=unlike_calls,
    )


def remove_backup_clone(state: StateStore, clickhouse_url: str, *, dry_run: bool = False) -> str | None:
    """Remove the table that a killed backup held candles in, and return its name; None when there is none to remove.

    It costs nothing as long as candles stay, and keeps those on the disk that were replaced since. One of a backup that
    is under way is left alone.
    """
    with state.idle_runs({BACKUPS_LOCK}) as idle, ClickHouseBackup(clickhouse_url) as history:
        if BACKUPS_LOCK not in idle or CANDLES_CLONE not in history.tables():
            return None
        if not dry_run:
            history.drop_tables([CANDLES_CLONE])
        return CANDLES_CLONE


def _lock_name(run: dict[str, Any]) -> str:
    if run["chain"] is not None:
        return token_lock_name(TokenKey(run["chain"], run["token_address"]))
    return scope_lock_name(run["run_type"], run["scope_key"])


def _clear_dead(
    dead: Sequence[dict[str, Any]], state: StateStore, history: HistoryStore, count: _Count, *, dry_run: bool
) -> None:
    """Remove rows of runs whose locks this process holds."""
    attempts = {run["run_id"]: run["attempt"] for run in dead}
    # Between listing them and taking their locks, runs may have been completed or begun again.
    cleared = set(state.find_same_attempts(attempts) if dry_run else state.clear_attempts(attempts))
    found = [run for run in dead if run["run_id"] in cleared]
    failed = sum(run["status"] == "failed" for run in found)
    count.failed += failed
    count.running += len(found) - failed
    _remove(sorted(cleared), history, count, dry_run=dry_run)


def _clear_unknown(state: StateStore, history: HistoryStore, count: _Count, *, dry_run: bool) -> None:
    after_id = -1
    while written := history.read("runs/load_written_runs", after_id=after_id, row_limit=_RUNS_PER_BATCH)[
        "simulation_run_id"
    ].to_pylist():
        after_id = written[-1]
        known = set(state.read("runs/find_runs", run_ids=written)["id"].to_pylist())
        if known.issuperset(written):
            continue
        with state.unknown_runs([run_id for run_id in written if run_id not in known]) as unknown:
            count.unknown += len(unknown)
            _remove(unknown, history, count, dry_run=dry_run)


def _remove(run_ids: Sequence[int], history: HistoryStore, count: _Count, *, dry_run: bool) -> None:
    if not run_ids:
        return
    [rows] = history.read("runs/count_run_rows", run_ids=list(run_ids)).to_pylist()
    count.events += rows["events"]
    count.aggregates += rows["aggregates"]
    if not dry_run and (rows["events"] or rows["aggregates"]):
        history.delete_run_rows(run_ids)


def _unfinished_files(folder: Path) -> Iterator[Path]:
    """Yield files of a folder that a process was writing which is gone."""
    for path in sorted(folder.iterdir()) if folder.is_dir() else ():
        match = _UNFINISHED_FILE.fullmatch(path.name)
        if match and path.is_file() and not process_exists(int(match["process"])):
            yield path
