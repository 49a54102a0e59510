"""A search as a study of Optuna in a database of its own."""

from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.optimization.objectives import parse_objective
from quantbot_pipeline.optimization.optuna_export import export_study
from quantbot_pipeline.optimization.spaces import parse_search_space
from quantbot_pipeline.optimization.tally import TrialRecord

TEMPLATE = {"entry": {"type": "immediate"}, "exits": {"stop_loss": {"initial": 0.3}}}
STOP = {"path": "exits.stop_loss.initial", "type": "float", "low": 0.1, "high": 0.6}


def test_a_study_that_can_not_be_written_whole_is_not_there(tmp_path: Path) -> None:
    """What was left of it was taken for the whole, and refused the next attempt."""
    url = f"sqlite:///{tmp_path / 'study.db'}"
    written: dict[str, Any] = {
        "space": parse_search_space({"parameters": [STOP]}, template=TEMPLATE),
        "objective": parse_objective("final_pnl"),
        "trials": [TrialRecord(0, {"exits.stop_loss.initial": 0.2}, "scored", (1.5,))],
    }
    with pytest.raises(TypeError, match="not JSON serializable"):
        export_study(url, "job 1", **written, attributes={"verdict": object()})

    assert export_study(url, "job 1", **written, attributes={}) == 1
    # As of a server's, whose URL may hold a password.
    with pytest.raises(InputError, match=r"^--export-study: sqlite\+pysqlite://… has a study 'job 1' already"):
        export_study(url.replace("sqlite", "sqlite+pysqlite"), "job 1", **written, attributes={})
