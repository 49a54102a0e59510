"""The HTML report of what is stored now."""

from datetime import UTC, datetime
from pathlib import Path

from quantbot_pipeline.report.collect import collect_report
from quantbot_pipeline.report.page import write_report
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.model_cards import write_model_card


def write_current_report(state: StateStore, history: HistoryStore, directory: Path) -> Path:
    """Write the report of the current state to `directory`, with the cards of its models, and return its path."""
    content = collect_report(state, history, generated_at=datetime.now(UTC))
    shown = {(model.name, model.version) for model in content.models}
    for row in state.load_models() if shown else ():
        if (row.name, row.version) in shown:
            write_model_card(row, directory)
    return write_report(content, directory)
