"""Sensors: what starts runs by itself. Each looks and asks for runs; the runs do the work."""

import hashlib
import json
import time
from collections.abc import Mapping
from typing import Any

import dagster as dg

from quantbot_pipeline.defs.file_jobs import candle_inbox_job, ingest_alerts_job
from quantbot_pipeline.defs.jobs import simulate_job
from quantbot_pipeline.defs.partitions import token_key, token_partitions
from quantbot_pipeline.defs.range_requests import range_requests
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.inbox import (
    InboxFolder,
    Look,
    alert_inbox,
    candle_inbox,
    find_leftovers,
    look_around,
    watch,
)
from quantbot_pipeline.workflows.new_imports import SeenImports, find_new_token_months, newest_import
from quantbot_pipeline.workflows.token_months import parse_token

# One tick has 60 seconds; more files or imports than this wait for the next one.
_FILES_PER_TICK = 20
_IMPORTS_PER_TICK = 20

_UNDER_WAY = (
    dg.DagsterRunStatus.QUEUED,
    dg.DagsterRunStatus.NOT_STARTED,
    dg.DagsterRunStatus.STARTING,
    dg.DagsterRunStatus.STARTED,
    dg.DagsterRunStatus.CANCELING,
)


@dg.sensor(
    # By name: Dagster copies a sensor of a plain job, and warns of its own copy's beta parameters.
    job_name=ingest_alerts_job.name,
    minimum_interval_seconds=30,
    description="Ingests alert files that appear in the inbox folder `alerts`, once they are complete.",
)
def alert_inbox_sensor(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult | dg.SkipReason:
    """Request a run that takes the complete files; see `_look_into`."""
    return _look_into(alert_inbox(settings.inbox), "take_alert_files", ingest_alerts_job.name, context, settings)


@dg.sensor(
    # By name: Dagster copies a sensor of a plain job, and warns of its own copy's beta parameters.
    job_name=candle_inbox_job.name,
    minimum_interval_seconds=30,
    description="Ingests candle files that appear in the inbox folder `candles`, once they are complete.",
)
def candle_inbox_sensor(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult | dg.SkipReason:
    """Request a run that takes the complete files; see `_look_into`."""
    return _look_into(candle_inbox(settings.inbox), "take_candle_files", candle_inbox_job.name, context, settings)


def _look_into(
    folder: InboxFolder, op: str, job: str, context: dg.SensorEvaluationContext, settings: Settings
) -> dg.SensorResult | dg.SkipReason:
    """Request one run for the files that are complete, and for those that a dead run left half taken.

    The cursor holds the looks at files that are still waited for, and counts the requests. A file is in the inbox
    until a run claims it, so no second run is asked for while one is under way.
    """
    cursor = _read_cursor(context.cursor)
    looks = {name: Look(*look) for name, look in cursor.get("looks", {}).items()}
    stamps = look_around(folder)
    complete, looks_now = watch(stamps, looks, now=time.time(), settle_seconds=settings.inbox_settle_seconds)
    requests = int(cursor.get("requests", 0))
    leftovers = find_leftovers(folder)
    reason = None
    if not complete and not leftovers:
        reason = (
            f"{len(stamps)} files in {folder.root} are not complete yet" if stamps else f"no files in {folder.root}"
        )
    elif context.instance.get_runs_count(dg.RunsFilter(job_name=job, statuses=list(_UNDER_WAY))):
        reason = f"a run of {job} is under way; {len(complete)} files wait for its end"
    kept = {name: list(look) for name, look in looks_now.items()}
    if reason is not None:
        return dg.SensorResult(skip_reason=reason, cursor=_cursor_text({"looks": kept, "requests": requests}))
    chosen = complete[:_FILES_PER_TICK]
    config = {"ops": {op: {"config": {"inbox_files": chosen}}}}
    key = hashlib.sha256(json.dumps([requests, [[name, stamps[name]] for name in chosen], leftovers]).encode())
    # What a file can't be imported for is in its report; what a run fails with is tried again by the next tick.
    tags = {"quantbot/files": str(len(chosen) + len(leftovers)), "dagster/max_retries": "0"}
    return dg.SensorResult(
        run_requests=[dg.RunRequest(run_key=f"{job}:{key.hexdigest()}", run_config=config, tags=tags)],
        cursor=_cursor_text({"looks": kept, "requests": requests + 1}),
    )


@dg.sensor(
    job=simulate_job,
    minimum_interval_seconds=30,
    description="Simulates the token-months whose calls or candles an import brought; new tokens become partitions.",
)
def new_imports_sensor(
    context: dg.SensorEvaluationContext,
    settings: dg.ResourceParam[Settings],
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
) -> dg.SensorResult | dg.SkipReason:
    """Request range runs over the token-months of imports since it was turned on, from wherever they came.

    The cursor says which imports were looked at.
    """
    cursor = _read_cursor(context.cursor)
    if "waiting" not in cursor:
        seen = newest_import(state_store)
        return dg.SensorResult(skip_reason="looking from now on", cursor=_seen_text(seen))
    seen = SeenImports(int(cursor["after"]), frozenset(cursor["waiting"]))
    found = find_new_token_months(state_store, history_store, seen, limit=_IMPORTS_PER_TICK)
    keys = {key for key in found.token_months if key.month >= settings.first_month}
    if not keys:
        return dg.SensorResult(skip_reason="no new calls or candles to simulate", cursor=_seen_text(found.seen))
    known = context.instance.get_dynamic_partitions(str(token_partitions.name))
    new = sorted({token_key(key.token) for key in keys} - set(known))
    additions = [token_partitions.build_add_request(new)] if new else []
    return dg.SensorResult(
        run_requests=range_requests(keys, [parse_token(key) for key in [*known, *new]], salt=_seen_text(found.seen)),
        dynamic_partitions_requests=additions,
        cursor=_seen_text(found.seen),
    )


def _seen_text(seen: SeenImports) -> str:
    return _cursor_text({"after": seen.after, "waiting": sorted(seen.waiting)})


def _cursor_text(cursor: Mapping[str, Any]) -> str:
    return json.dumps(cursor, sort_keys=True)


def _read_cursor(text: str | None) -> dict[str, Any]:
    """Return a cursor; one of an older version, which held something else, counts as none."""
    cursor = json.loads(text) if text else {}
    return cursor if isinstance(cursor, dict) and {"looks", "waiting"} & cursor.keys() else {}
