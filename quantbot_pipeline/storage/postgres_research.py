"""Optimization jobs, their trials, and models: what happens inside one Postgres transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

from quantbot_pipeline.errors import InputError, StorageError
from quantbot_pipeline.storage.json_text import storable_text, to_json_text
from quantbot_pipeline.storage.postgres_connection import PostgresTransaction
from quantbot_pipeline.storage.records import InsertCounts, JobResult, ModelRow, NewModel, NewTrial

FINAL_JOB_STATUSES = ("completed", "failed")
CHANGED_MODEL_STATUSES = ("ready", "deprecated")


def create_job(
    transaction: PostgresTransaction,
    *,
    name: str,
    strategy_template_id: int,
    search_space: Mapping[str, Any],
    objective: str,
    job_key: str,
    plan: Mapping[str, Any],
    data: Mapping[str, Any],
) -> tuple[int, bool]:
    """Insert a job or take it over; see `StateStore.create_job`."""
    transaction.execute(
        "optimization/claim_job",
        name=name,
        strategy_template_id=strategy_template_id,
        search_space_json=to_json_text(search_space),
        objective=objective,
        plan_json=to_json_text(plan),
        data_json=to_json_text(data),
        job_key=job_key,
    )
    row = transaction.fetch_row("optimization/load_job", job_key=job_key)
    if row is None:
        raise StorageError(f"optimization job {name!r} vanished while it was stored; try again")
    return row["job_id"], row["is_complete"]


def store_trials(transaction: PostgresTransaction, job_id: int, trials: Sequence[NewTrial]) -> InsertCounts:
    """Store trials; one whose index is stored already is a duplicate."""
    if not trials:
        return InsertCounts(stored=0, duplicates=0)
    transaction.execute("optimization/stage_trials")
    transaction.copy_rows(
        "optimization/copy_staged_trials",
        (
            (
                job_id,
                trial.trial_index,
                to_json_text(trial.params),
                trial.simulation_run_id,
                to_json_text(trial.metrics),
                trial.score,
                trial.state or _state_of(trial),
                _optional_json(trial.scores),
                trial.violation,
                storable_text(trial.reason),
                _optional_json(trial.look_scores or None),
            )
            for trial in trials
        ),
    )
    stored = transaction.execute("optimization/insert_staged_trials")
    return InsertCounts(stored=stored, duplicates=len(trials) - stored)


def _state_of(trial: NewTrial) -> str:
    if trial.score is not None:
        return "scored"
    return "refused" if trial.simulation_run_id is None else "unscored"


def _optional_json(value: Any) -> str | None:
    return None if value is None else to_json_text(value)


def store_tally(transaction: PostgresTransaction, job_id: int, tally: Mapping[str, Any]) -> None:
    """Keep how far a job is."""
    transaction.execute("optimization/store_tally", job_id=job_id, tally_json=to_json_text(tally))


def finish_job(
    transaction: PostgresTransaction,
    job_id: int,
    *,
    status: str,
    error_message: str | None,
    result: JobResult | None = None,
) -> None:
    """Set a job completed or failed, with what came of it, unless it is completed already."""
    if status not in FINAL_JOB_STATUSES:
        raise StorageError(
            f"optimization job {job_id} can't be finished as {status!r}; allowed are {', '.join(FINAL_JOB_STATUSES)}"
        )
    finished = transaction.execute(
        "optimization/finish_job",
        job_id=job_id,
        status=status,
        error_message=None if error_message is None else storable_text(error_message),
        tally_json=None if result is None else to_json_text(result.tally),
        verdict_json=None if result is None else _optional_json(result.verdict),
        evidence_json=None if result is None else _optional_json(result.evidence),
        times_json=None if result is None else to_json_text(result.times),
        note=None if result is None or result.note is None else storable_text(result.note),
    )
    if not finished and transaction.fetch_row("optimization/find_job_status", job_id=job_id) is None:
        raise StorageError(f"optimization job {job_id} does not exist; create_job comes before finish_job")


def register_model(transaction: PostgresTransaction, model: NewModel) -> int:
    """Store or replace a model version; see `StateStore.register_model`."""
    transaction.execute("models/lock_name", name=model.name)
    if model.status == "ready":
        transaction.execute("models/deprecate_other_versions", name=model.name, version=model.version)
    row = transaction.fetch_row(
        "models/upsert_model",
        name=model.name,
        version=model.version,
        model_type=model.model_type,
        input_features_json=to_json_text(list(model.input_features)),
        label_definition=to_json_text(model.label_definition),
        storage_uri=model.storage_uri,
        sha256=model.sha256,
        metrics_json=to_json_text(model.metrics),
        status=model.status,
        trained_until=model.trained_until,
    )
    if row is None:
        raise StorageError(f"model {model.name!r} version {model.version!r} was not stored; try again")
    return int(row["id"])


def change_model_status(transaction: PostgresTransaction, name: str, version: str, *, status: str) -> str:
    """Make a version ready or deprecated; see `StateStore.change_model_status`."""
    if status not in CHANGED_MODEL_STATUSES:
        raise StorageError(f"model {name!r} can't be made {status!r}; allowed are {', '.join(CHANGED_MODEL_STATUSES)}")
    # Whoever comes second waits here, and finds what the first one left.
    transaction.execute("models/lock_name", name=name)
    row = transaction.fetch_row("models/find_status", name=name, version=version)
    if row is None:
        raise InputError(
            f"model {name!r} has no version {version!r}; 'quantbot models list' shows the models that there are"
        )
    before = str(row["status"])
    if before not in CHANGED_MODEL_STATUSES:
        reason = (
            "it does not beat its baselines" if before == "failed" else "its training was interrupted: train it again"
        )
        raise InputError(
            f"model {name!r} version {version!r} is {before}, so it can't be made {status}: {reason}; allowed are "
            f"versions that are {' or '.join(CHANGED_MODEL_STATUSES)}"
        )
    if before != status:
        if status == "ready":
            transaction.execute("models/deprecate_other_versions", name=name, version=version)
        transaction.execute("models/set_status", name=name, version=version, status=status)
    return before


def load_models(transaction: PostgresTransaction, name: str | None) -> list[ModelRow]:
    """Return registered models, newest first."""
    return [
        ModelRow(
            model_id=row["model_id"],
            name=row["name"],
            version=row["version"],
            model_type=row["model_type"],
            input_features=tuple(row["input_features_json"]),
            label_definition=row["label_definition"],
            storage_uri=row["storage_uri"],
            sha256=row["sha256"],
            metrics=row["metrics_json"],
            status=row["status"],
            created_at=row["created_at"],
            trained_until=row["trained_until"],
        )
        for row in transaction.fetch_rows("models/load_models", name=name)
    ]
