"""Scores of calls by the models in use: those that have none yet, and those whose features were corrected since.

A call is scored only by a model whose training ended before it. Calls from before are counted and left alone: what a
model says of calls that it learned from is no forecast; training stored what its walk-forward folds said of them.
"""

from collections.abc import Collection
from dataclasses import dataclass
from datetime import datetime

import numpy as np

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.errors import InputError, LearningError
from quantbot_pipeline.learning.feature_registry import ATTRIBUTE_PREFIX, FEATURE_SET
from quantbot_pipeline.learning.model_files import load_model
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import CallRow, ModelRow
from quantbot_pipeline.workflows.build_features import (
    FeaturePlan,
    FeatureRows,
    build_stored_features,
    load_entry_calls,
    load_feature_rows,
    signal_second,
)
from quantbot_pipeline.workflows.model_drift import trained_until_of
from quantbot_pipeline.workflows.progress import StageListener, no_stage, of_stage
from quantbot_pipeline.workflows.store_scores import store_scores
from quantbot_pipeline.workflows.train_models import find_model

_USABLE = ("ready", "deprecated")


@dataclass(frozen=True, slots=True)
class ScoreCounts:
    """What became of the calls that were asked for; the last five add up to `calls`.

    Attributes:
        model_id: The model.
        name: Its name.
        version: Its version.
        trained_until: Its scores are of calls after that.
        calls: Calls that open trades, of those that were asked for.
        scored: Those that have a score now and had none; of a dry run, those that would have one.
        renewed: Those whose score was replaced, because their features were corrected since.
        already_scored: Those whose score is up to date.
        before_training: Those that the model may have learned from, or whose outcome came before it had learned.
        without_features: Those that came, or changed, after the features were built; score again.
    """

    model_id: int
    name: str
    version: str
    trained_until: datetime
    calls: int
    scored: int
    renewed: int
    already_scored: int
    before_training: int
    without_features: int


def models_to_score(
    state: StateStore, name: str | None = None, version: str | None = None, *, purpose: str = "scored"
) -> list[ModelRow]:
    """Return the models that score new calls: those in use, or the one that is named.

    Args:
        state: Where models are.
        name: A model; without it all that have a version in use.
        version: A version of it; without it the one in use.
        purpose: What is to be done, for the message.

    Raises:
        InputError: there is no such model, none is in use, or the version is not one to use.
    """
    if name is None:
        if version is not None:
            raise InputError(f"version {version!r}: a version is one of a model; name the model too")
        ready = sorted((row for row in state.load_models() if row.status == "ready"), key=lambda row: row.name)
        if not ready:
            raise InputError(
                f"no model is in use, so nothing can be {purpose}; 'quantbot train' makes one where it beats its "
                "baselines, and 'quantbot models list' shows those that there are"
            )
        return ready
    row = find_model(state, name, version)
    if version is None and row.status != "ready":
        raise InputError(
            f"model {name!r} has no version in use; its newest is {row.version} ({row.status}): train it, or promote a "
            "deprecated version"
        )
    if row.status not in _USABLE:
        reason = "it does not beat its baselines" if row.status == "failed" else "its training was interrupted"
        raise InputError(
            f"model {name!r} version {row.version!r} is {row.status}: {reason}; allowed are versions that are "
            f"{' or '.join(_USABLE)}"
        )
    return [row]


def plan_of_model(row: ModelRow) -> FeaturePlan:
    """Return which features a model reads.

    Raises:
        LearningError: they are of another version of the feature set.
    """
    feature_set = str(row.metrics.get("feature_set", ""))
    head, *columns = feature_set.split(f"/{ATTRIBUTE_PREFIX}")
    made_by, _, strategy = head.partition("/")
    if made_by != FEATURE_SET or not strategy:
        raise LearningError(
            f"model {row.name} {row.version} reads the features {feature_set or 'of an unknown set'!r}; this version "
            f"builds {FEATURE_SET!r} alone: train it again"
        )
    return FeaturePlan(strategy, tuple(f"{ATTRIBUTE_PREFIX}{column}" for column in columns))


def score_stored_calls(
    state: StateStore,
    history: HistoryStore,
    *,
    name: str | None = None,
    version: str | None = None,
    since: datetime | None = None,
    call_ids: Collection[int] | None = None,
    is_dry_run: bool = False,
    on_stage: StageListener = no_stage,
) -> list[ScoreCounts]:
    """Score the calls that have no score by the models in use; the same again scores nothing.

    Features that are missing or stale are built first. The models' files are verified and loaded before anything is
    computed or stored.

    Args:
        state: Where calls and models are.
        history: Where candles, features and scores are.
        name: A model; without it all that have a version in use.
        version: A version of it; without it the one in use. One that is deprecated is counted in a dry run alone.
        since: Calls from this time on; without it all.
        call_ids: These calls alone; without it all.
        is_dry_run: Whether to count only: nothing is built and nothing stored. Corrected features are not seen then.
        on_stage: Told of each stage and how much of it is done.

    Returns:
        What became of the calls, per model.

    Raises:
        InputError: there is no such model or call, none is in use, or scores of a version that is out of use were to
            be stored.
        LearningError: a model's file is not the one that was registered, or its features are built no more.
    """
    rows = models_to_score(state, name, version)
    if not is_dry_run:
        _require_in_use(rows)
    pipelines = {row.model_id: load_model(row.storage_uri, row.sha256) for row in rows}
    plans = {row.model_id: plan_of_model(row) for row in rows}
    limits = {row.model_id: trained_until_of(row) for row in rows}
    if not is_dry_run:
        for plan in dict.fromkeys(plans.values()):
            build_stored_features(plan, state, history, on_progress=of_stage(on_stage, f"features of {plan.strategy}"))
    calls = _chosen(load_entry_calls(state), since, call_ids)
    counts = []
    for row in rows:
        found = _Places.of(row, limits[row.model_id], calls, load_feature_rows(plans[row.model_id], history), history)
        if not is_dry_run:
            store_scores(
                pipelines[row.model_id],
                found.features.take(found.to_score),
                history,
                model_id=row.model_id,
                model_name=row.name,
                trained_until=int(limits[row.model_id].timestamp()),
                on_progress=of_stage(on_stage, f"scores of {row.name}"),
            )
        counts.append(found.counts(row, limits[row.model_id], is_dry_run=is_dry_run))
    return counts


@dataclass(frozen=True, slots=True)
class _Places:
    """Where each call that was asked for belongs.

    Attributes:
        features: All stored features.
        to_score: Rows of them that get a score.
        calls: Calls that were asked for.
        scored: Those among the rows that had no score.
        before_training: Calls from before the model had learned.
        without_features: Later ones that have no features.
    """

    features: FeatureRows
    to_score: IntArray
    calls: int
    scored: int
    before_training: int
    without_features: int

    @classmethod
    def of(
        cls,
        row: ModelRow,
        trained_until: datetime,
        calls: list[CallRow],
        features: FeatureRows,
        history: HistoryStore,
    ) -> "_Places":
        limit = int(trained_until.timestamp())
        later = {call.call_id for call in calls if signal_second(call) > limit}
        stored = history.read("features/load_scores", model_id=row.model_id)
        stamps = {
            each["call_id"]: each["inputs_stamp"] for each in stored.to_pylist() if each["trained_until"] == limit
        }
        known = features.table["call_id"].to_pylist()
        # The time in the features is what is compared when scores are stored: of a call that was moved since they
        # were built, they are not its features.
        place = {call: at for at, call in enumerate(known) if call in later and features.signal[at] > limit}
        is_new = {call: call not in stamps for call in place}
        to_score = [at for call, at in place.items() if stamps.get(call) != features.stamps[at].as_py()]
        return cls(
            features=features,
            to_score=np.array(sorted(to_score), dtype=np.int64),
            calls=len(calls),
            scored=sum(is_new.values()),
            before_training=len(calls) - len(later),
            without_features=len(later) - len(place),
        )

    def counts(self, row: ModelRow, trained_until: datetime, *, is_dry_run: bool) -> ScoreCounts:
        """Return the counts; what has no features yet gets some before it is scored, so a dry run counts it as such."""
        unbuilt = self.without_features if is_dry_run else 0
        renewed = len(self.to_score) - self.scored
        placed = self.calls - self.before_training - self.without_features
        return ScoreCounts(
            model_id=row.model_id,
            name=row.name,
            version=row.version,
            trained_until=trained_until,
            calls=self.calls,
            scored=self.scored + unbuilt,
            renewed=renewed,
            already_scored=placed - self.scored - renewed,
            before_training=self.before_training,
            without_features=self.without_features - unbuilt,
        )


def _require_in_use(rows: Collection[ModelRow]) -> None:
    """Refuse to store scores of versions that are out of use: strategies read what is stored (decision 0013)."""
    for row in rows:
        if row.status != "ready":
            raise InputError(
                f"model {row.name!r} version {row.version!r} is {row.status}: a version that is out of use scores no "
                "further calls, because strategies would read what it says of them; nothing was stored. Count them "
                f"with --dry-run, or take it into use first: 'quantbot models promote {row.name} {row.version}'"
            )


def _chosen(calls: list[CallRow], since: datetime | None, call_ids: Collection[int] | None) -> list[CallRow]:
    if call_ids is not None:
        wanted = set(call_ids)
        if unknown := sorted(wanted - {call.call_id for call in calls}):
            raise InputError(
                f"call {unknown[0]} ({len(unknown)} of {len(wanted)}) does not exist, is not in force or opens no "
                "trade; allowed are ids of entry calls"
            )
        calls = [call for call in calls if call.call_id in wanted]
    return calls if since is None else [call for call in calls if call.signal_timestamp >= since]
