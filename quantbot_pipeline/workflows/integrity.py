"""Counts that must add up once everything was imported and simulated: what the demo shows at its end.

The rules are those of `verify`; what is added is what a person expects of certain files.
"""

from collections.abc import Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from quantbot_pipeline.errors import IntegrityError
from quantbot_pipeline.ingest.source_files import file_sha256
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.verify import find_rules, verify

_RULES = ("import-counts", "started-imports", "alerts", "calls", "candle-counts", "event-counts", "aggregates")


def check_integrity(
    state: StateStore,
    history: HistoryStore,
    *,
    candle_files: Sequence[Path] = (),
    alert_files: Sequence[Path] = (),
    expected: dict[str, int] | None = None,
    now: datetime | None = None,
) -> dict[str, Any]:
    """Count what is stored and hold the counts against each other.

    Args:
        state: Postgres.
        history: ClickHouse.
        candle_files: Files that must be imported.
        alert_files: The same, of alerts.
        expected: What these files hold: rows of candles and alerts stored, duplicate, quarantined.
        now: The present, UTC; the clock's without it.

    Returns:
        Counts of everything, over all that is stored.

    Raises:
        IntegrityError: a sum does not hold; the message lists every one.
    """
    counts = state.read("counts/count_state").to_pylist()[0]
    counts |= history.read("counts/count_history").to_pylist()[0]
    counts = {name: int(value or 0) for name, value in counts.items()}
    shas = [file_sha256(path) for path in (*candle_files, *alert_files)]
    files = state.read("counts/count_imports", sha256=shas).to_pylist()
    faults = _broken_rules(state, history, now or datetime.now(UTC))
    if counts["runs_failed"]:
        faults.append(f"- no run failed: {counts['runs_failed']} did")
    faults += _file_faults({row["sha256"] for row in files}, [*candle_files, *alert_files], shas)
    if expected is not None:
        faults += _expected_faults(files, expected)
    if faults:
        raise IntegrityError("counts do not add up:\n" + "\n".join(faults))
    return {
        "candles": counts["candles"],
        "alerts": counts["alerts"],
        "duplicates": counts["candle_rows_duplicate"] + counts["alert_rows_duplicate"],
        "quarantined": counts["quarantined"],
        "calls": counts["calls"],
        "runs_completed": counts["runs_completed"],
        "runs_failed": counts["runs_failed"],
        "events": counts["events"],
        "aggregates": counts["aggregates"],
        "trials": counts["trials"],
        "models_ready": counts["models_ready"],
        "tokens": counts["tokens"],
        "callers": counts["callers"],
        "strategies": counts["strategies"],
        "candle_rows": _rows_of(counts, "candle"),
        "alert_rows": _rows_of(counts, "alert"),
    }


def _rows_of(counts: dict[str, int], kind: str) -> dict[str, int]:
    return {name: counts[f"{kind}_rows_{name}"] for name in ("read", "stored", "duplicate", "quarantined")}


def _broken_rules(state: StateStore, history: HistoryStore, now: datetime) -> list[str]:
    outcomes = verify(state, history, now=now, rules=find_rules(_RULES))
    return [f"- {found.statement}: {'; '.join(found.examples)}" for found in outcomes if not found.holds]


def _file_faults(found: set[str], files: Sequence[Path], shas: Sequence[str]) -> list[str]:
    return [f"- {path} was not imported" for path, sha in zip(files, shas, strict=True) if sha not in found]


def _expected_faults(files: list[dict[str, Any]], expected: dict[str, int]) -> list[str]:
    names = {"stored": "{kind}s", "duplicate": "{kind}_duplicates", "quarantined": "{kind}s_quarantined"}
    found = {
        name.format(kind=kind): sum(int(row[f"rows_{part}"]) for row in files if row["kind"] == f"{kind}s")
        for kind in ("candle", "alert")
        for part, name in names.items()
    }
    return [
        f"- {name} of the sample: {found[name]}, expected {expected[name]}"
        for name in found
        if found[name] != expected[name]
    ]
