"""What people are told of a failed run: one document, short, without secrets."""

import re
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

_LONGEST_ERROR = 1500
_MOST_STEPS = 5
# In `scheme://user:password@host` and `scheme://:password@host`, whatever the scheme.
_PASSWORD_IN_URL = re.compile(r"(\b[a-z][a-z0-9+.-]*://)[^\s/@]*@", re.IGNORECASE)
# `password=...`, `api_key: ...`, `X-API-KEY: ...`, `token=...` and the like.
_NAMED_SECRET = re.compile(
    r"((?:password|passwd|pwd|secret|token|api[-_]?key|authorization)[\"']?\s*[=:]\s*)(?:bearer\s+)?[^\s,;&\"']+|"
    r"((?:password|passwd|pwd|secret|token|api[-_]?key|authorization)[\"']\s*:\s*[\"'])[^\"']+",
    re.IGNORECASE,
)
_HIDDEN = "***"


@dataclass(frozen=True, slots=True)
class FailedRun:
    """A run that failed.

    Attributes:
        run_id: Dagster's id of it.
        job: Its job.
        partitions: Which partitions it was of, as text; None for a run of none.
        steps: Step and error of each step that failed.
        error: Why it failed, where no step says so.
        failed_at: When, UTC.
    """

    run_id: str
    job: str
    partitions: str | None
    steps: Sequence[tuple[str, str]]
    error: str
    failed_at: datetime


def build_failure_notice(run: FailedRun, secrets: Collection[str] = ()) -> dict[str, Any]:
    """Return the document of a failed run; `text` says it to people, the other fields to programs.

    Args:
        run: The run.
        secrets: Values that may not be in it, wherever they come from; passwords in URLs are taken out anyway.
    """
    errors = [(step, _clean(error, secrets)) for step, error in run.steps[:_MOST_STEPS]]
    errors = errors or [("", _clean(run.error, secrets))]
    where = f" on {run.partitions}" if run.partitions else ""
    lines = [f"{run.job}{where} failed at {run.failed_at:%Y-%m-%d %H:%M:%S} UTC (run {run.run_id})"]
    lines += [f"{step}: {error}" if step else error for step, error in errors if error]
    if len(run.steps) > _MOST_STEPS:
        lines.append(f"and {len(run.steps) - _MOST_STEPS} more steps")
    return {
        "text": _hide("\n".join(lines), secrets),
        "event": "run_failure",
        "run_id": run.run_id,
        "job": run.job,
        "partitions": None if run.partitions is None else _hide(run.partitions, secrets),
        "failed_at": f"{run.failed_at:%Y-%m-%dT%H:%M:%SZ}",
        "errors": [{"step": step, "error": error} for step, error in errors],
    }


def _clean(text: str, secrets: Collection[str]) -> str:
    cleaned = _hide(text.strip(), secrets)
    return cleaned if len(cleaned) <= _LONGEST_ERROR else f"{cleaned[: _LONGEST_ERROR - 1]}…"


def _hide(text: str, secrets: Collection[str]) -> str:
    # The longest first: one secret may be a part of another.
    for secret in sorted(secrets, key=len, reverse=True):
        if secret:
            text = text.replace(secret, _HIDDEN)
    text = _PASSWORD_IN_URL.sub(rf"\1{_HIDDEN}@", text)
    return _NAMED_SECRET.sub(lambda found: f"{found[1] or found[2]}{_HIDDEN}", text)
