"""Training: a planted signal is found, noise is not taken for one, and bad data is refused."""

import json
import math
from dataclasses import replace
from typing import Any, Literal

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from conftest import DataSet, make_data_set, with_pnl_as_label
from scipy.stats import spearmanr

from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.learning import fitting
from quantbot_pipeline.learning.baselines import compare
from quantbot_pipeline.learning.model_kinds import ModelType, predict
from quantbot_pipeline.learning.training import TrainingPlan, train_model

QUICK = TrainingPlan(model_type="logistic", seed=3, fold_count=0, importance_repeats=0)
REGRESSION = TrainingPlan(model_type="ridge", label_task="regression", seed=3, importance_repeats=0)


@pytest.mark.parametrize("model_type", ["hist_gbm", "logistic", "random_forest"])
def test_planted_signal_beats_the_baselines_and_is_ready(planted: DataSet, model_type: ModelType) -> None:
    result = train_model(*planted, TrainingPlan(model_type=model_type, seed=3, importance_repeats=2))

    assert (result.status, result.beats_baseline) == ("ready", True)
    assert result.reason.startswith("beats the baselines: constant: Brier score lower by 0.")
    # The market cap is unknown everywhere.
    assert result.feature_names == ("return_24h", "volatility_24h", "caller_win_rate")
    assert result.metrics["features_without_values"] == ["log_market_cap"]
    metrics = result.metrics
    assert metrics["roc_auc"] > 0.75 > metrics["baseline_caller_win_rate"]["roc_auc"]
    assert metrics["brier"] < metrics["baseline_constant"]["brier"]
    assert metrics["log_loss"] < metrics["baseline_constant"]["log_loss"]
    assert metrics["pnl_uplift"] > 0.4
    # 400 rows, a quarter of them tested. A label ends two hours after its signal: of the row an hour
    # before the test that is too late, of the one two hours before it is just in time.
    assert (metrics["n_train"], metrics["n_test"], metrics["n_purged"]) == (299, 100, 1)
    assert metrics["pnl_uplift_low"] < metrics["pnl_uplift"] < metrics["pnl_uplift_high"]
    assert metrics["importance"][0]["feature"] == "return_24h"
    walk = metrics["out_of_fold"]
    assert walk["n_folds"] == 4
    assert walk["roc_auc"] > 0.75 > walk["baseline_caller_win_rate"]["roc_auc"]
    assert json.loads(json.dumps(metrics)) == metrics


@pytest.mark.parametrize("label_task", ["classification", "regression"])
def test_nothing_that_a_fold_says_rests_on_a_label_known_later_than_it_tells(
    planted: DataSet, label_task: Literal["classification", "regression"]
) -> None:
    """Weights, settings, calibration and where labels are cut: all that comes later is replaced, and nothing moves."""
    is_number = label_task == "regression"
    data = with_pnl_as_label(planted) if is_number else planted
    plan = TrainingPlan(
        model_type="ridge" if is_number else "logistic",
        label_task=label_task,
        seed=3,
        search=1,
        importance_repeats=0,
    )
    result = train_model(*data, plan)
    ends, signals = (np.asarray(data.labels[name]) for name in ("label_end", "signal_timestamp"))
    # Calls are an hour apart and labels last two: the model saw those that end when the test begins at the latest.
    assert result.trained_until == result.metrics["test_start"] == signals[300]
    assert len(result.folds) == 4
    for place, fold in enumerate(result.folds):
        assert fold.trained_until == ends[ends <= fold.test_start].max()
        later = ends > fold.trained_until
        other = np.where(later, 50.0 - np.asarray(data.labels["label"]) if is_number else 0, data.labels["label"])
        # Both classes are there later, as they must be.
        other = other if is_number else np.where(later & (np.arange(len(ends)) % 2 == 0), 1, other)
        column = data.labels.column_names.index("label")
        labels = data.labels.set_column(column, "label", pa.array(other))
        again = train_model(data.features, labels, plan)
        assert again.folds[place].trained_until == fold.trained_until
        frame = data.features.select(result.feature_names).to_pandas()
        assert np.array_equal(predict(again.folds[place].pipeline, frame), predict(fold.pipeline, frame))


def test_metrics_are_those_of_their_definitions(planted: DataSet) -> None:
    metrics = train_model(*planted, QUICK).metrics

    test = planted.labels.slice(300)
    share = metrics["positive_share_train"]
    assert metrics["positive_share_test"] == pytest.approx(np.mean(test.column("label").to_numpy()))
    assert metrics["test_start"] == test.column("signal_timestamp")[0].as_py()
    assert metrics["mean_pnl_all"] == pytest.approx(np.mean(test.column("pnl").to_numpy()))
    assert metrics["pnl_uplift"] == pytest.approx(metrics["mean_pnl_above_threshold"] - metrics["mean_pnl_all"])
    # A constant c has the Brier score p (1 - c)^2 + (1 - p) c^2 where a share p is positive.
    p = metrics["positive_share_test"]
    assert metrics["baseline_constant"]["brier"] == pytest.approx(p * (1 - share) ** 2 + (1 - p) * share**2)
    assert metrics["baseline_constant"]["roc_auc"] == 0.5


@pytest.mark.parametrize(
    ("model_type", "label_task"),
    [("logistic", "classification"), ("ridge", "regression"), ("ranking", "regression")],
)
def test_noise_is_not_taken_for_a_signal(
    model_type: ModelType, label_task: Literal["classification", "regression"]
) -> None:
    # Each is wrong with a chance of at most 5 %: four or more of 20 in 1.6 % of cases, six or more of 40 in 1.4 %.
    count, allowed = (20, 3) if model_type == "logistic" else (40, 5)
    plan = replace(QUICK, model_type=model_type, label_task=label_task)
    results = [train_model(*_noise(seed, label_task), replace(plan, seed=seed)) for seed in range(count)]

    assert sum(result.beats_baseline for result in results) <= allowed
    failed = next(result for result in results if result.status == "failed")
    assert failed.reason.startswith("does not beat the baselines: constant: ")


@pytest.mark.deep
@pytest.mark.timeout(900)
@pytest.mark.parametrize(
    ("model_type", "label_task"),
    [
        ("logistic", "classification"),
        ("hist_gbm", "classification"),
        ("random_forest", "classification"),
        ("ridge", "regression"),
        ("hist_gbm", "regression"),
        ("random_forest", "regression"),
        ("ranking", "regression"),
        ("ranking", "classification"),
    ],
)
def test_noise_is_taken_for_a_signal_in_at_most_one_of_twenty_cases(
    model_type: ModelType, label_task: Literal["classification", "regression"]
) -> None:
    plan = replace(QUICK, model_type=model_type, label_task=label_task)
    wrong = sum(train_model(*_noise(seed, label_task), replace(plan, seed=seed)).beats_baseline for seed in range(200))

    assert wrong <= 10


def _noise(seed: int, label_task: str) -> DataSet:
    data = make_data_set(strength=0.0, rows=300, seed=seed)
    return data if label_task == "classification" else with_pnl_as_label(data)


@pytest.mark.parametrize("model_type", ["ridge", "hist_gbm", "ranking"])
def test_numbers_are_learned_and_ranked(planted: DataSet, model_type: ModelType) -> None:
    result = train_model(*with_pnl_as_label(planted), replace(REGRESSION, model_type=model_type))

    assert result.status == "ready"
    # Of the spread of the pnl, 1.5² of 1.5² + 1 comes of the feature: no order can be better than about this.
    best = math.sqrt(1.5**2 / (1.5**2 + 1))
    assert 0.65 < result.metrics["spearman"] < best + 0.05
    assert result.metrics["pair_accuracy"] > 0.75
    assert result.metrics["curves"]["pnl_by_score_spearman"] > 0.9
    assert ("r2" in result.metrics) == (model_type != "ranking")


def test_one_call_that_went_a_thousandfold_does_not_decide_what_is_learned(planted: DataSet) -> None:
    data = with_pnl_as_label(planted)
    label = data.labels.column("label").to_numpy().copy()
    # Row 50 has one of the worst features of all.
    label[50] = 1000.0
    wild = DataSet(data.features, data.labels.set_column(2, "label", pa.array(label)))

    calm, result = (train_model(*each, REGRESSION) for each in (data, wild))

    assert result.status == "ready"
    assert result.metrics["spearman"] == pytest.approx(calm.metrics["spearman"], abs=0.02)


def test_label_of_which_less_is_better_takes_the_calls_that_score_low(planted: DataSet) -> None:
    """A model of the seconds to a target: what scores high is slow."""
    data = with_pnl_as_label(planted)
    seconds = DataSet(
        data.features, data.labels.set_column(2, "label", pa.array(-data.labels.column("label").to_numpy()))
    )

    metrics = train_model(*seconds, replace(REGRESSION, is_higher_better=False)).metrics

    assert metrics["pnl_uplift"] > 0.4
    assert metrics["curves"]["pnl_by_score_spearman"] > 0.9


CALLER_SKILL = np.array([0.9, 0.75, 0.6, 0.45, 0.3, 0.15])


def _calls_of_known_skill(seed: int, *, rows: int = 900, skill: Any = CALLER_SKILL) -> DataSet:
    """Callers win as often as their skill says, the skilled ones only on tokens that have not run up yet.

    Their record is counted as it is in the features: wins so far over trades so far.
    """
    generator = np.random.default_rng(seed)
    caller = generator.integers(len(skill), size=rows)
    run_up = generator.normal(size=rows)
    chance = np.where(run_up < 0, skill[caller], 1 - skill[caller])
    win = generator.random(rows) < chance
    pnl = np.where(win, 0.3, -0.2) * generator.lognormal(0, 0.3, rows)
    past = pd.DataFrame({"caller": caller, "win": win}).groupby("caller")["win"]
    count = past.cumcount().to_numpy()
    wins = past.cumsum().to_numpy() - win
    signal = 1_704_067_200 + 3 * 3600 * np.arange(rows)
    features = pa.table(
        {
            "call_id": np.arange(rows),
            "return_24h": run_up,
            "caller_win_rate": np.where(count, wins / np.maximum(count, 1), np.nan),
            "caller_win_rate_shrunk": (wins + 5) / (count + 10),
            "caller_finished_trades": count.astype(float),
            **{f"caller_{number}": (caller == number).astype(float) for number in range(len(skill))},
            **{f"noise_{number}": generator.normal(size=rows) for number in range(5)},
        }
    )
    labels = pa.table(
        {
            "call_id": np.arange(rows),
            "signal_timestamp": signal,
            "label": win.astype(float),
            "label_end": signal + 7200,
            "pnl": pnl,
        }
    )
    return DataSet(features, labels)


def test_callers_of_known_skill_are_found_and_pnl_rises_with_the_score() -> None:
    result = train_model(*_calls_of_known_skill(5), TrainingPlan(seed=3, search=2))

    metrics = result.metrics
    assert result.status == "ready", result.reason
    assert metrics["roc_auc"] > 0.65 > metrics["baseline_caller_win_rate"]["roc_auc"]
    assert metrics["pnl_uplift_low"] > 0
    groups = metrics["curves"]["pnl_by_score"]
    assert len(groups) == 10
    assert spearmanr(range(10), [each["mean_pnl"] for each in groups]).statistic > 0.7
    assert metrics["out_of_fold"]["curves"]["pnl_by_score_spearman"] > 0.5
    assert metrics["importance"][0]["feature"] == "return_24h"
    assert len(metrics["recipe"]["searched"]) == 3


def test_model_that_knows_no_more_than_the_win_rate_is_not_ready() -> None:
    """The caller's record is the signal: a model of it alone must not count as better than the record."""
    generator = np.random.default_rng(1)
    win_rate = generator.random(400)
    label = (generator.random(400) < win_rate).astype(np.int64)
    signal = np.arange(400) * 3600
    features = pa.table({"call_id": np.arange(400), "caller_win_rate": win_rate})
    labels = pa.table(
        {
            "call_id": np.arange(400),
            "signal_timestamp": signal,
            "label": label,
            "label_end": signal,
            "pnl": label - 0.5,
        }
    )

    result = train_model(features, labels, replace(QUICK, calibration="none"))

    # A logistic curve of one feature ranks as the feature does.
    assert result.metrics["roc_auc"] == result.metrics["baseline_caller_win_rate"]["roc_auc"] > 0.7
    assert result.status == "failed"
    assert "caller win rate" in result.reason


def test_nothing_of_the_test_window_reaches_training(planted: DataSet) -> None:
    """Other features, labels and results after the test began leave the fitted model as it was."""
    is_test = (
        planted.labels.column("signal_timestamp").to_numpy() >= (train_model(*planted, QUICK).metrics["test_start"])
    )
    test_calls = set(planted.labels.filter(pa.array(is_test)).column("call_id").to_pylist())
    in_test = np.array([call in test_calls for call in planted.features.column("call_id").to_pylist()])
    features = planted.features.set_column(
        1, "return_24h", pa.array(np.where(in_test, 1e6, planted.features.column("return_24h").to_numpy()))
    )
    label = planted.labels.column("label").to_numpy()
    labels = planted.labels.set_column(2, "label", pa.array(np.where(is_test, 1 - label, label)))

    plan = replace(QUICK, search=3, fold_count=4)
    before, after = (train_model(*data, plan) for data in (planted, DataSet(features, labels)))

    assert before.pipeline["scaler"].mean_.tolist() == after.pipeline["scaler"].mean_.tolist()
    for part in ("slope", "intercept"):
        assert getattr(before.pipeline["model"], part) == getattr(after.pipeline["model"], part)
    assert before.pipeline["model"].estimator.coef_.tolist() == after.pipeline["model"].estimator.coef_.tolist()
    assert before.metrics["recipe"] == after.metrics["recipe"]
    assert before.metrics["out_of_fold"] == after.metrics["out_of_fold"]
    assert before.metrics["roc_auc"] != after.metrics["roc_auc"]


def test_every_fit_learns_from_calls_whose_label_was_known_before_those_it_scores(
    planted: DataSet, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Searching, calibrating, folds and all: what was fitted is only ever asked about later calls."""
    known_until: dict[int, int] = {}
    fit, predict, asked = fitting._fit, fitting.predict, []

    def noting_fit(rows: Any, *others: Any) -> Any:
        pipeline, names = fit(rows, *others)
        known_until[id(pipeline[-1])] = int(rows.label_end.max())
        kept.append(pipeline)
        return pipeline, names

    def noting_predict(pipeline: Any, frame: Any) -> Any:
        model = getattr(pipeline[-1], "estimator", pipeline[-1])
        moments = frame["return_24h"].map(moment_of)
        asked.append(int(moments.min()) - known_until[id(model)])
        return predict(pipeline, frame)

    kept: list[Any] = []
    # The value of a feature that no two calls share tells which call a row is.
    moments = dict(
        zip(planted.labels.column("call_id").to_pylist(), planted.labels["signal_timestamp"].to_pylist(), strict=True)
    )
    values = zip(planted.features["return_24h"].to_pylist(), planted.features["call_id"].to_pylist(), strict=True)
    moment_of = {value: moments[call] for value, call in values}
    monkeypatch.setattr(fitting, "_fit", noting_fit)
    monkeypatch.setattr(fitting, "predict", noting_predict)

    train_model(*planted, replace(QUICK, search=2, fold_count=3))

    # Three settings on three splits for each of three folds and for the model itself, and one score of each; but of
    # the first fold's 75 rows, the first split would learn from less than the 20 that it takes.
    assert len(asked) == (3 * 3 + 1) * 4 - 3
    assert min(asked) >= 0


def test_classes_that_are_weighed_up_are_brought_back_by_calibration() -> None:
    generator = np.random.default_rng(2)
    hidden = generator.normal(size=1200)
    label = (generator.random(1200) < 1 / (1 + np.exp(2.2 - hidden))).astype(float)
    signal = np.arange(1200) * 3600
    features = pa.table({"call_id": np.arange(1200), "return_24h": hidden})
    labels = pa.table(
        {
            "call_id": np.arange(1200),
            "signal_timestamp": signal,
            "label": label,
            "label_end": signal,
            "pnl": label - 0.2,
        }
    )
    plan = replace(QUICK, class_weight="balanced")

    raw, calibrated = (
        train_model(features, labels, replace(plan, calibration=kind)).metrics for kind in ("none", "sigmoid")
    )

    # One of seven is positive; weighed up, scores are about 0.4 on average.
    assert raw["calibration_error"] > 0.2 > 0.1 > calibrated["calibration_error"]
    assert calibrated["roc_auc"] == pytest.approx(raw["roc_auc"])
    assert calibrated["brier"] < calibrated["baseline_constant"]["brier"] < raw["brier"]


def test_tokens_that_are_tested_are_not_trained_on_where_that_is_asked() -> None:
    features, labels = make_data_set(strength=1.5)
    call = np.arange(1000, 1400)
    tokens = pa.table({"call_id": call, "token": (call - 1000) % 50 + 50 * (call < 1150)})
    plan = replace(QUICK, group_by="token")

    metrics = train_model(features, labels, plan, tokens=tokens).metrics

    # Rows 150 to 298 are of the tokens that the last hundred rows test.
    assert (metrics["n_train"], metrics["n_test"]) == (150, 100)
    with pytest.raises(LearningError, match="no tokens were given"):
        train_model(features, labels, plan)


def test_rows_without_partner_are_left_out(planted: DataSet) -> None:
    result = train_model(planted.features.slice(0, 350), planted.labels.slice(0, 380), QUICK)

    assert 300 < result.metrics["n_labelled"] < 350


def with_label(data: DataSet, label: Any) -> DataSet:
    return DataSet(data.features, data.labels.set_column(2, "label", pa.array(label, pa.int64())))


def with_feature(data: DataSet, name: str, values: Any) -> DataSet:
    return DataSet(data.features.append_column(name, pa.array(values)), data.labels)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda d: DataSet(d.features, d.labels.slice(0, 29)), "found 29 calls .* allowed are at least 30"),
        (lambda d: DataSet(d.features.slice(0, 0), d.labels), "found 0 calls with features and a label"),
        (lambda d: with_label(d, [1] * 400), r"all 299 training rows have the label 1 \(299 positive, 0 negative\)"),
        (lambda d: with_label(d, [0, 1] * 150 + [0] * 100), "all 100 test rows have the label 0"),
        (lambda d: with_feature(d, "max_gain", [1.0] * 400), "columns max_gain are known only after the call"),
        (lambda d: with_feature(d, "x", ["a"] * 400), "feature 'x' is not a number"),
        (lambda d: with_feature(d, "x", [1.0] * 399 + [math.inf]), "feature 'x' holds 1 infinite values"),
        (
            lambda d: DataSet(d.features.select(["call_id", "log_market_cap"]), d.labels),
            "none of the features log_market_cap is known for any of the 299 training rows",
        ),
        (lambda d: DataSet(d.features.select(["call_id"]), d.labels), "no column beside call_id"),
        (lambda d: DataSet(pa.concat_tables([d.features, d.features]), d.labels), "a call occurs twice"),
    ],
)
def test_data_that_can_not_be_trained_on_is_refused(planted: DataSet, change: Any, message: str) -> None:
    with pytest.raises(LearningError, match=message):
        train_model(*change(planted), QUICK)


def test_model_that_says_the_same_as_the_constant_is_not_better_by_rounding() -> None:
    """Trees that can't split once: their mean differs from ours in its last bit, always in the same direction."""
    label = np.tile([0.0, 1.0, 0.0, 0.0], 20)
    signal = 1_704_067_200 + 7200 * np.arange(80)
    rows = fitting.LabelledRows(pd.DataFrame(index=range(80)), label, signal, signal, signal * 0, label)
    constant = np.full(80, 0.3)

    found = compare(
        "classification",
        rows,
        np.nextafter(constant, 0),
        "constant",
        constant,
        {"roc_auc": 0.6},
        {"roc_auc": 0.5},
        seed=1,
    )

    assert (found.gain, found.p_value, found.is_beaten) == (0.0, 1.0, False)


@pytest.mark.parametrize(
    ("model_type", "label_task", "message"),
    [
        ("logistic", "regression", "'logistic' learns labels that are 0 or 1"),
        ("ridge", "classification", "'ridge' learns labels that are numbers"),
        ("hist_gbm", "classification", r"the label has the values .*; a classifier learns 0 and 1"),
    ],
)
def test_model_that_can_not_learn_the_label_is_refused(
    planted: DataSet, model_type: ModelType, label_task: Literal["classification", "regression"], message: str
) -> None:
    with pytest.raises(LearningError, match=message):
        train_model(*with_pnl_as_label(planted), TrainingPlan(model_type=model_type, label_task=label_task))


def test_few_calls_are_no_evidence_however_well_they_are_ranked(planted: DataSet) -> None:
    """A perfect score on a few hours of calls: resampling a handful of blocks would call it certain."""
    features, labels = planted
    labels = labels.slice(0, 100)
    signal = 1_704_067_200 + 60 * np.arange(100)
    labels = labels.set_column(1, "signal_timestamp", pa.array(signal)).set_column(3, "label_end", pa.array(signal))

    result = train_model(features, labels, QUICK)

    assert result.metrics["roc_auc"] > 0.8
    assert result.status == "failed"
    assert [each["p_value"] for each in result.metrics["comparisons"]] == [1.0, 1.0]


def test_unknown_model_type_is_refused(planted: DataSet) -> None:
    with pytest.raises(LearningError, match="'oracle' is unknown; allowed are hist_gbm, logistic, ridge"):
        train_model(*planted, TrainingPlan(model_type="oracle"))  # type: ignore[arg-type]  # what is tested
