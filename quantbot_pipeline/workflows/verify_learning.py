"""Rules of docs/data-model.md on trials, features, scores and models."""

import hashlib

from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.learning.model_addresses import read_model_bytes, shown_address
from quantbot_pipeline.workflows.verify_findings import (
    ROWS_PER_PAGE,
    Finding,
    FindingCounter,
    VerifiedStores,
    finding_of,
)

_STATUSES_WITH_FILE = frozenset({"ready", "deprecated"})


def check_trials(stores: VerifiedStores) -> Finding:
    """Every trial with a score names the completed run that measured it, and a completed job has all its trials."""
    return finding_of(stores.state.read("verify/check_trials"))


def check_scored_calls(stores: VerifiedStores) -> Finding:
    """Every call that has features or scores exists, and so does every model that scored."""
    found = FindingCounter()
    models = {model.model_id for model in stores.state.load_models()}
    for row in stores.history.read("verify/load_scoring_models").to_pylist():
        found.look()
        if row["model_id"] not in models:
            found.fault(f"model {row['model_id']} has {row['score_count']} scores and is not registered")
    after_id = -1
    while call_ids := stores.history.read("verify/load_scored_calls", after_id=after_id, row_limit=ROWS_PER_PAGE)[
        "call_id"
    ].to_pylist():
        known = set(stores.state.read("verify/find_calls", call_ids=call_ids)["id"].to_pylist())
        found.look(len(call_ids))
        for call_id in call_ids:
            if call_id not in known:
                found.fault(f"call {call_id} has features or scores and does not exist")
        stores.on_rows(len(call_ids))
        after_id = call_ids[-1]
    return found.finding()


def check_scores(stores: VerifiedStores) -> Finding:
    """Every score is of a call that came after all that its model had learned from, and says which model that is.

    Scores from before this was stored do not say it, and nothing uses them.
    """
    found = FindingCounter()
    models = {model.model_id: model for model in stores.state.load_models()}
    for row in stores.history.read("verify/load_scoring_models").to_pylist():
        model = models.get(row["model_id"])
        if model is None or not row["trained_until"]:
            continue
        if row["model_names"] != [model.name]:
            found.fault(f"scores of model {model.model_id} bear the name {row['model_names']}, and it is {model.name}")
        known = None if model.trained_until is None else int(model.trained_until.timestamp())
        if known is None or row["trained_until"] > known:
            found.fault(
                f"scores of model {model.model_id} say that it had learned until {row['trained_until']} (UTC seconds), "
                f"and its row says {'nothing' if known is None else known}"
            )
    return found.finding() + finding_of(stores.history.read("verify/check_scores_are_forecasts"))


def check_models(stores: VerifiedStores) -> Finding:
    """Every model that can be used has its file, with the SHA-256 that is registered."""
    found = FindingCounter()
    for model in stores.state.load_models():
        if model.status not in _STATUSES_WITH_FILE:
            continue
        found.look()
        name = f"model {model.name} {model.version}"
        try:
            sha256 = hashlib.sha256(read_model_bytes(model.storage_uri)).hexdigest()
        except LearningError as error:
            found.fault(f"{name}: {error}")
            continue
        if sha256 != model.sha256.lower():
            shown = shown_address(model.storage_uri)
            found.fault(f"{name}: {shown} has SHA-256 {sha256[:12]}…, registered is {model.sha256[:12]}…")
        stores.on_rows(1)
    return found.finding()
