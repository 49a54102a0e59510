"""Model cards, written beside the report."""

from pathlib import Path
from typing import TYPE_CHECKING

from quantbot_pipeline.report.model_card import card_path, render_model_card
from quantbot_pipeline.report.page import write_page
from quantbot_pipeline.report.site_paths import INDEX
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import ModelRow

if TYPE_CHECKING:
    from quantbot_pipeline.workflows.model_drift import DriftReport


def write_model_card(
    row: ModelRow, reports_directory: Path, drift: "DriftReport | None" = None, *, is_beside_report: bool | None = None
) -> Path:
    """Write a model's card and return its path; one that is there is replaced, for its status may be another.

    Args:
        row: The model.
        reports_directory: Folder of the report, beside which cards are.
        drift: What was last found of it; without it the card says that nothing was looked at.
        is_beside_report: Whether there are pages for the card to lead to; without it that is looked up.
    """
    if is_beside_report is None:
        is_beside_report = (reports_directory / INDEX).is_file()
    page = render_model_card(row, None if drift is None else drift.document(), is_beside_report=is_beside_report)
    return write_page(page, reports_directory / card_path(row))


def drift_for_card(row: ModelRow, state: StateStore, history: HistoryStore) -> "DriftReport | None":
    """Return the drift of a model in use; None of others, and of those that do not say what they learned from."""
    if row.status != "ready" or row.trained_until is None or "profiles" not in row.metrics:
        return None
    from quantbot_pipeline.workflows.model_drift import measure_model_drift  # its libraries are slow to import

    return measure_model_drift(row, state, history)
