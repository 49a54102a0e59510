"""A stored search as a study of Optuna."""

import json

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.optimization.objectives import parse_objective
from quantbot_pipeline.optimization.optuna_export import export_study
from quantbot_pipeline.optimization.spaces import parse_search_space
from quantbot_pipeline.storage.protocols import StateStore
from quantbot_pipeline.workflows.store_trials import load_records


def export_job(state: StateStore, job_id: int, url: str) -> int:
    """Write the stored trials of a job as a study named `job N`, and return how many there are.

    Args:
        state: Where the job is.
        job_id: Its id.
        url: Where the study goes, such as `sqlite:///search.db`.

    Raises:
        InputError: there is no such job, or the database can't be written.
    """
    found = state.read("optimization/load_job_plan", job_id=job_id).to_pylist()
    if not found:
        raise InputError(f"JOB: there is no search {job_id}; 'quantbot trials' shows the last one")
    [row] = found
    verdict = json.loads(row["verdict_json"]) if row["verdict_json"] else None
    attributes = {"name": row["name"], "objective": row["objective"]}
    return export_study(
        url,
        f"job {job_id}",
        space=parse_search_space(json.loads(row["search_space_json"]), template=json.loads(row["template_json"])),
        objective=parse_objective(row["objective"]),
        trials=load_records(state, job_id),
        attributes=attributes if verdict is None else attributes | {"verdict": verdict["answer"]},
    )
