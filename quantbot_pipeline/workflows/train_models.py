"""Models: from stored features and labels to a registered model, its scores, and the choice of the one in use.

A model is registered as `ready` when it beats its baselines (learning/baselines.py) and its file was stored, verified,
loaded again and gave the same scores; the version that was ready before is deprecated in the same transaction. One
that does not beat them is registered as `failed`, with the comparison, and keeps nobody from using the one before.
"""

import hashlib
import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, Literal, TypeVar

import numpy as np
import pyarrow as pa

from quantbot_pipeline.errors import InputError, LearningError, TooFewCallsError
from quantbot_pipeline.learning.feature_registry import FEATURE_SET
from quantbot_pipeline.learning.fitting import Calibration
from quantbot_pipeline.learning.labels import (
    CandleLabel,
    Pnl,
    PnlAbove,
    TimeToTarget,
    TradeLabel,
    label_table,
    parse_label_definition,
    task_of,
)
from quantbot_pipeline.learning.model_addresses import require_file_name
from quantbot_pipeline.learning.model_files import load_model, save_model
from quantbot_pipeline.learning.model_kinds import ClassWeight, ModelType
from quantbot_pipeline.learning.past_trades import float_column, integer_column
from quantbot_pipeline.learning.scoring import score_calls
from quantbot_pipeline.learning.training import (
    MIN_LABELLED_CALLS,
    TRAINING_VERSION,
    TrainingPlan,
    TrainingResult,
    train_model,
)
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import ModelRow, NewModel
from quantbot_pipeline.workflows.build_features import FeaturePlan, FeatureRows, load_entry_calls, load_feature_rows
from quantbot_pipeline.workflows.build_labels import load_labels
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.store_scores import store_scores

DEFAULT_STRATEGY = "conservative-24h"

OVERALL = "all"
"""In place of a strategy: the mean over all strategies with finished trades, of calls that each of them traded."""

_Trained = TypeVar("_Trained")

_STEPS = ("reading features and labels", "training and testing", "storing the model", "scoring the calls")


@dataclass(frozen=True, slots=True)
class ModelPlan:
    """Which model to train.

    Attributes:
        name: Name of the model, see `require_file_name`.
        strategy: The strategy whose trades are the label, and the caller's record; `OVERALL` for all of them.
        threshold: Net pnl above which a trade is a success, fraction of capital; where no label is given.
        label: What is learned; None is the pnl above the threshold.
        model_type: Kind of model.
        seed: Seed of everything random.
        search: How many settings are tried beside the defaults.
        class_weight: `balanced` weighs the rarer class up.
        calibration: `sigmoid` or `none`.
        attributes: Further features from the alerts' own columns.
        record_strategy: Whose trades a caller's record is made of; None is `strategy`, which it must be given for
            `OVERALL`.
        embargo_seconds: Time between the last training label and a test.
        group_by: `token` leaves tested tokens out of training.
    """

    name: str = "take-the-call"
    strategy: str = DEFAULT_STRATEGY
    threshold: float = 0.0
    label: TradeLabel | CandleLabel | None = None
    model_type: ModelType = "hist_gbm"
    seed: int = 7
    search: int = 0
    class_weight: ClassWeight = "none"
    calibration: Calibration = "sigmoid"
    attributes: tuple[str, ...] = ()
    record_strategy: str | None = None
    embargo_seconds: int = 0
    group_by: Literal["none", "token"] = "none"

    def __post_init__(self) -> None:
        """Refuse a name that the model's file could not have, before anything is built."""
        require_file_name("model name", self.name)

    @property
    def definition(self) -> TradeLabel | CandleLabel:
        """Return the label's definition."""
        if self.label is not None:
            return self.label
        return PnlAbove(name=f"pnl_above_{self.threshold:g}", strategy=self.strategy, threshold=self.threshold)

    @property
    def features(self) -> FeaturePlan:
        """Return which features the model reads."""
        return FeaturePlan(self.record_strategy or self.strategy, self.attributes)


@dataclass(frozen=True, slots=True)
class ModelOutcome:
    """A model that was trained, stored, loaded again and used.

    Attributes:
        model_id: Its row.
        version: A name for its plan and data: the same ones again are the same version.
        result: The model and what the test said.
        scored_calls: Calls that were scored, each by what had learned before it: the model, or a walk-forward fold.
        status: What the registry says of it now; a version that was deprecated by hand stays so.
        replaced: The version that was in use and is deprecated now, because this one became ready.
    """

    model_id: int
    version: str
    result: TrainingResult
    scored_calls: int
    status: str
    replaced: str | None = None


def train_and_register(
    plan: ModelPlan,
    state: StateStore,
    history: HistoryStore,
    models_folder: Path | str,
    *,
    on_progress: ProgressListener = no_progress,
) -> ModelOutcome:
    """Train a model on the stored features, register it, load it again and score the calls.

    Each call is scored by the model if that had learned from nothing that was known only after the call, else by the
    walk-forward fold whose test window holds it; the earliest calls, before every window, have no score.

    Args:
        plan: Which model.
        state: Where calls and models are.
        history: Where features and trades are, and scores go.
        models_folder: Directory, or address of a folder, of model files.
        on_progress: Told of each step.

    Raises:
        TooFewCallsError: too few calls have a label, or all have the same one.
        LearningError: there are no features, the model can't learn such a label, or the loaded model scores otherwise.
        InputError: the label's strategy is not stored.
    """
    done = iter(range(len(_STEPS) + 1))

    def tell() -> None:
        step = next(done)
        on_progress(step, len(_STEPS), _STEPS[min(step, len(_STEPS) - 1)])

    tell()
    rows = load_feature_rows(plan.features, history)
    features = rows.table
    if not features.num_rows:
        raise LearningError("no features are stored; build them first ('quantbot features build', asset ml_features)")
    labels, document = _labels(plan, state, history)
    tokens = _tokens(state) if plan.group_by == "token" else None
    tell()
    training = _training_plan(plan)
    result = train_model(features, labels, training, tokens=tokens)
    version = _version(training, document, features, labels, tokens)
    tell()
    uri, sha256 = save_model(result.pipeline, models_folder, plan.name, version)
    scores = score_calls(load_model(uri, sha256), features)
    if not scores.equals(score_calls(result.pipeline, features)):
        raise LearningError(f"model {plan.name} {version}: the stored file gives other scores than the trained model")
    metrics: dict[str, Any] = result.metrics | {
        "beats_baseline": result.beats_baseline,
        "verdict": result.reason,
        "feature_set": plan.features.feature_set,
    }
    model = NewModel(
        name=plan.name,
        version=version,
        model_type=plan.model_type,
        input_features=result.feature_names,
        label_definition=document,
        storage_uri=uri,
        sha256=sha256,
        metrics=metrics,
        status=result.status,
        trained_until=datetime.fromtimestamp(result.trained_until, UTC),
    )
    # What was decided about this version stays: it may have been deprecated by hand, or in favour of a later one.
    before = state.load_models(plan.name)
    decided = {row.version: row.status for row in before if row.status != "training"}
    if version in decided:
        model = replace(model, status=decided[version])
    tell()
    # Whoever sees a model that is ready finds its scores: a death in between leaves one that is in training.
    model_id = state.register_model(model if version in decided else replace(model, status="training"))
    scored_calls = _store_scores(plan.name, model_id, result, rows, history)
    if version not in decided:
        state.register_model(model)
    tell()
    # A version that was there keeps its status, so it replaces none.
    replaced = next((row.version for row in before if row.status == "ready" and model.status == "ready"), None)
    return ModelOutcome(model_id, version, result, scored_calls, model.status, None if version in decided else replaced)


def train_each(
    plans: Sequence[ModelPlan], train: Callable[[ModelPlan], _Trained]
) -> tuple[list[_Trained], dict[str, str]]:
    """Train several plans; one that has too few calls to learn from keeps the others from nothing.

    Args:
        plans: What to train, at least one.
        train: Trains one of them.

    Returns:
        What was trained, and why each of the others was skipped, by strategy.

    Raises:
        TooFewCallsError: none of them has enough calls.
    """
    trained: list[_Trained] = []
    skipped: dict[str, str] = {}
    for plan in plans:
        try:
            trained.append(train(plan))
        except TooFewCallsError as error:
            if len(plans) == 1:
                raise
            skipped[plan.strategy] = str(error)
    if not trained:
        reasons = [f"{strategy}: {reason}" for strategy, reason in skipped.items()]
        raise TooFewCallsError("\n".join([f"none of {len(plans)} strategies has enough to learn from:", *reasons]))
    return trained, skipped


def model_plans(
    state: StateStore,
    *,
    by_strategy: bool = False,
    label: TradeLabel | CandleLabel | str | None = None,
    record_strategy: str = "",
    attributes: Sequence[str] = (),
    **fields: Any,
) -> list[ModelPlan]:
    """Return the plans that a configuration asks for.

    Args:
        state: Where strategies are.
        by_strategy: One model per stored strategy, named `<name>-<strategy>`.
        label: Definition, also as JSON; None or empty for a pnl above the threshold.
        record_strategy: Whose trades a caller's record is made of, where that is not the label's strategy.
        attributes: Further features from the alerts' own columns.
        fields: Further fields of `ModelPlan`.

    Raises:
        InputError: the label is refused, or there is no strategy.
    """
    plan = ModelPlan(**fields, attributes=tuple(attributes))
    if isinstance(label, TradeLabel | CandleLabel):
        plan = replace(plan, label=label)
    elif label:
        try:
            document = json.loads(label)
        except json.JSONDecodeError as e:
            raise InputError(f"label definition: no JSON: {e.msg} at character {e.pos}") from e
        plan = replace(plan, label=parse_label_definition(document))
    if not by_strategy:
        is_overall = OVERALL in (plan.strategy, getattr(plan.definition, "strategy", None))
        return [replace(plan, record_strategy=record_strategy or DEFAULT_STRATEGY) if is_overall else plan]
    names = sorted({row.name for row in state.load_strategies()})
    if not names:
        raise InputError("no strategy is stored, so there is no model by strategy; run 'quantbot backfill' first")
    record = record_strategy or None
    plans = [replace(plan, name=f"{plan.name}-{name}", strategy=name, record_strategy=record) for name in names]
    if isinstance(plan.label, PnlAbove | Pnl):
        # The label of each model is that of its own strategy.
        return [replace(each, label=plan.label.model_copy(update={"strategy": each.strategy})) for each in plans]
    return plans


def find_model(state: StateStore, name: str, version: str | None = None) -> ModelRow:
    """Return a registered model: a version of it, also by its first characters, else the one in use, else the newest.

    Raises:
        InputError: there is none, or several versions begin so.
    """
    rows = state.load_models(name)
    if not rows:
        known = sorted({row.name for row in state.load_models()})
        raise InputError(
            f"model {name!r} is not registered; registered are {', '.join(known) or 'none: run quantbot train'}"
        )
    if version is None:
        return next((row for row in rows if row.status == "ready"), rows[0])
    for row in rows:
        if row.version == version:
            return row
    begin = [row for row in rows if version and row.version.startswith(version)]
    if len(begin) == 1:
        return begin[0]
    if begin:
        raise InputError(
            f"model {name!r}: several versions begin with {version!r}: {', '.join(row.version for row in begin)}; give "
            "more characters"
        )
    raise InputError(f"model {name!r} has no version {version!r}; it has {', '.join(row.version for row in rows)}")


def promote(state: StateStore, name: str, version: str) -> str:
    """Make a version the one in use, after its file was verified and loaded; return its status before.

    Raises:
        InputError: there is no such version, or it is not one to use.
        LearningError: its file is not the one that was registered, or can't be loaded.
    """
    row = find_model(state, name, version)
    load_model(row.storage_uri, row.sha256)
    return state.change_model_status(name, row.version, status="ready")


def deprecate(state: StateStore, name: str, version: str | None = None) -> ModelRow:
    """Take a version out of use, the one in use without `version`, and return it as it was.

    Raises:
        InputError: there is no such version, or none is in use.
    """
    row = find_model(state, name, version)
    if version is None and row.status != "ready":
        raise InputError(f"model {name!r} has no version in use; its newest is {row.version} ({row.status})")
    state.change_model_status(name, row.version, status="deprecated")
    return row


def _store_scores(name: str, model_id: int, result: TrainingResult, rows: FeatureRows, history: HistoryStore) -> int:
    """Store one score per call: of the model if it was there before it, else of the fold that tests it; say how many.

    A call after all windows that the model had no label before is scored by the last fold.
    """
    scorers = [*((fold.pipeline, fold.trained_until, fold.test_start) for fold in result.folds)]
    scorers.append((result.pipeline, result.trained_until, result.trained_until + 1))
    chosen = np.full(len(rows.signal), -1, dtype=np.int64)
    for number, (_, trained_until, begins) in enumerate(scorers):
        chosen[(rows.signal > trained_until) & (rows.signal >= begins)] = number
    return sum(
        store_scores(
            pipeline,
            rows.take(np.flatnonzero(chosen == number)),
            history,
            model_id=model_id,
            model_name=name,
            trained_until=trained_until,
        )
        for number, (pipeline, trained_until, _) in enumerate(scorers)
    )


def _training_plan(plan: ModelPlan) -> TrainingPlan:
    return TrainingPlan(
        model_type=plan.model_type,
        label_task=task_of(plan.definition),
        seed=plan.seed,
        search=plan.search,
        class_weight=plan.class_weight,
        calibration=plan.calibration,
        embargo_seconds=plan.embargo_seconds,
        group_by=plan.group_by,
        is_higher_better=not isinstance(plan.definition, TimeToTarget),
    )


def _labels(plan: ModelPlan, state: StateStore, history: HistoryStore) -> tuple[pa.Table, dict[str, Any]]:
    """Return the labels, and the document that says what they are.

    Raises:
        TooFewCallsError: too few trades have one; the message says of which strategy, and what to do.
    """
    definition = plan.definition
    document = definition.model_dump(mode="json")
    if not isinstance(definition, PnlAbove | Pnl):
        return load_labels(definition, state, history), document
    if definition.strategy != OVERALL:
        labels = load_labels(definition, state, history)
        if labels.num_rows < MIN_LABELLED_CALLS:
            raise TooFewCallsError(_too_few_trades(definition.strategy, labels.num_rows, state))
        return labels, document
    names = sorted({row.name for row in state.load_strategies()})
    tables = {
        name: table for name in names if (table := load_labels(Pnl(name=name, strategy=name), state, history)).num_rows
    }
    if not tables:
        raise InputError("no strategy has finished trades; simulate first: 'quantbot backfill'")
    labels = overall_labels(definition, list(tables.values()))
    if labels.num_rows < MIN_LABELLED_CALLS:
        raise TooFewCallsError(too_few_common_calls(tables))
    return labels, document | {"strategies": list(tables)}


def _too_few_trades(strategy: str, count: int, state: StateStore) -> str:
    simulated = sorted(
        name
        for name in {row.name for row in state.load_strategies()} - {strategy}
        if state.read("features/load_run_intervals", strategy=name).num_rows
    )
    if state.read("features/load_run_intervals", strategy=strategy).num_rows:
        found = f"strategy {strategy!r} has {count:,} calls whose trade is over, on candles that reach far enough"
        simulate = "ingest more alerts and candles, and simulate it on them"
    else:
        found = f"strategy {strategy!r} has no current run, so nothing says what its trades earned"
        simulate = "simulate it"
    others = f"--strategy {'|'.join(simulated)}, which have runs" if simulated else "no other strategy has runs"
    return (
        f"{found}; a model needs at least {MIN_LABELLED_CALLS} calls: {simulate} "
        f"('quantbot backfill --strategies {strategy}'), or learn from another ({others})"
    )


def too_few_common_calls(tables: Mapping[str, pa.Table]) -> str:
    """Return why the overall mean has too few calls: which strategy keeps out the most of them.

    Args:
        tables: Labels of `Pnl` by strategy, at least one.
    """
    calls = {name: set(table["call_id"].to_pylist()) for name, table in tables.items()}
    common = set.intersection(*calls.values())
    without = {
        name: len(set.intersection(*(found for other, found in calls.items() if other != name)))
        for name in calls
        if len(calls) > 1
    }
    said = (
        f"{len(common):,} calls were traded to the end by each of {len(calls)} strategies; the mean over all is taken "
        f"of these alone, for means over differing strategies can't be compared, and a model needs {MIN_LABELLED_CALLS}"
    )
    if not without:
        return f"{said}: simulate more calls ('quantbot backfill')"
    # Of those that keep out as many, the one that traded the fewest calls itself.
    thinnest = min(without, key=lambda name: (-without[name], len(calls[name]), name))
    return (
        f"{said}. {thinnest!r} thins them most: it traded {len(calls[thinnest]):,} itself, and the others have "
        f"{without[thinnest]:,} in common. If it was not simulated on all of them: 'quantbot backfill --strategies "
        f"{thinnest}'; if it is choosy, learn from one strategy (--strategy NAME) or from each (--by-strategy)"
    )


def overall_labels(definition: TradeLabel, tables: Sequence[pa.Table]) -> pa.Table:
    """Return labels of the mean pnl of each call over strategies; it was known when the last of them was.

    Calls that not all of them traded to the end are left out: which strategies are in the mean must not tell anything.

    Args:
        definition: Says whether the label is the pnl or whether it is above a threshold.
        tables: Labels of `Pnl`, one per strategy, at least one.
    """
    frame = (
        pa.concat_tables(tables)
        .group_by("call_id")
        .aggregate([("signal_timestamp", "max"), ("label_end", "max"), ("pnl", "mean"), ("pnl", "count")])
    )
    whole = pa.array(frame["pnl_count"].to_numpy() == len(tables))
    frame = frame.filter(whole)
    pnl = float_column(frame, "pnl_mean")
    label = (pnl > definition.threshold).astype(np.float64) if isinstance(definition, PnlAbove) else pnl
    return label_table(
        integer_column(frame, "call_id"),
        integer_column(frame, "signal_timestamp_max"),
        label,
        integer_column(frame, "label_end_max"),
        pnl,
    )


def _tokens(state: StateStore) -> pa.Table:
    calls = load_entry_calls(state)
    place = {token: number for number, token in enumerate(sorted({call.token for call in calls}))}
    return pa.table(
        {
            "call_id": pa.array([call.call_id for call in calls], pa.int64()),
            "token": pa.array([place[call.token] for call in calls], pa.int64()),
        }
    )


def _version(
    training: TrainingPlan,
    label_document: dict[str, Any],
    features: pa.Table,
    labels: pa.Table,
    tokens: pa.Table | None,
) -> str:
    """Return a name for the model that is the same for the same plan and the same data."""
    plan = [TRAINING_VERSION, FEATURE_SET, asdict(training), label_document, features.column_names]
    digest = hashlib.sha256(json.dumps(plan, sort_keys=True).encode())
    for table in (features, labels, *(() if tokens is None else (tokens,))):
        for column in table.columns:
            digest.update(np.ascontiguousarray(column.to_numpy()).tobytes())
    return digest.hexdigest()[:12]
