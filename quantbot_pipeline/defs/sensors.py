"""Sensors: what starts runs by itself."""

import json
from pathlib import Path

import dagster as dg

from quantbot_pipeline.defs.ingest_assets import inbox_files
from quantbot_pipeline.defs.jobs import ingest_alerts_job
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.workflows.import_alerts import ALERT_SUFFIXES
from quantbot_pipeline.workflows.import_candles import file_sha256

# One tick has 60 seconds; more files than this wait for the next one.
_FILES_PER_TICK = 20


@dg.sensor(
    job=ingest_alerts_job,
    minimum_interval_seconds=30,
    description="Ingests alert files that appear in the inbox folder `alerts`; a file's content is ingested once.",
)
def alert_inbox_sensor(
    context: dg.SensorEvaluationContext, settings: dg.ResourceParam[Settings]
) -> dg.SensorResult | dg.SkipReason:
    """Request a run per new alert file.

    The cursor holds name, size and time of the files that were seen; the run key is the content's hash, so that
    a file that is copied, touched or renamed is not ingested again.
    """
    folder = settings.inbox / "alerts"
    seen: dict[str, str] = json.loads(context.cursor) if context.cursor else {}
    present = {str(file.relative_to(folder)): file for file in inbox_files(folder, ALERT_SUFFIXES)}
    stamps = {name: _stamp(file) for name, file in present.items()}
    new = [name for name in sorted(present) if seen.get(name) != stamps[name]][:_FILES_PER_TICK]
    if not new:
        return dg.SkipReason(f"no new alert files in {folder}")
    requests = [_request(present[name]) for name in new]
    kept = {name: stamp for name, stamp in seen.items() if name in present}
    cursor = kept | {name: stamps[name] for name in new}
    return dg.SensorResult(run_requests=requests, cursor=json.dumps(cursor, sort_keys=True))


def _stamp(file: Path) -> str:
    status = file.stat()
    return f"{status.st_size}:{status.st_mtime_ns}"


def _request(file: Path) -> dg.RunRequest:
    config = {"ops": {"ingest_alerts": {"config": {"paths": [str(file)]}}}}
    # The same bytes fail the same way again.
    tags = {"quantbot/file": file.name[:63], "dagster/max_retries": "0"}
    return dg.RunRequest(run_key=file_sha256(file), run_config=config, tags=tags)
