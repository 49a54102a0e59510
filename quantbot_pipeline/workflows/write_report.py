"""The HTML report of what is stored now."""

from datetime import UTC, datetime
from pathlib import Path

from quantbot_pipeline.report.collect import collect_report
from quantbot_pipeline.report.page import write_report
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore


def write_current_report(state: StateStore, history: HistoryStore, directory: Path) -> Path:
    """Write the report of the current state to `directory` and return its path."""
    content = collect_report(state, history, generated_at=datetime.now(UTC))
    return write_report(content, directory)
