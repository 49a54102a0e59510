"""Model cards, written beside the report."""

from pathlib import Path

from quantbot_pipeline.report.model_card import card_path, render_model_card
from quantbot_pipeline.report.page import write_page
from quantbot_pipeline.storage.records import ModelRow


def write_model_card(row: ModelRow, reports_directory: Path) -> Path:
    """Write a model's card and return its path; one that is there is replaced, for its status may be another."""
    return write_page(render_model_card(row), reports_directory / card_path(row))
