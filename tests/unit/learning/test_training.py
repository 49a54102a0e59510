"""Training: a planted signal is found, noise is not taken for one, and bad data is refused."""

import json
import math
from typing import Any, Literal

import numpy as np
import pyarrow as pa
import pytest
from conftest import DataSet, make_data_set

from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.learning.training import train_model

MODEL_TYPES: tuple[Literal["hist_gbm", "logistic"], ...] = ("hist_gbm", "logistic")


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_planted_signal_beats_the_baselines_and_is_ready(
    planted: DataSet, model_type: Literal["hist_gbm", "logistic"]
) -> None:
    result = train_model(planted.features, planted.labels, model_type=model_type, seed=3)

    assert (result.status, result.beats_baseline) == ("ready", True)
    assert result.reason.startswith("beats the baselines: ROC AUC 0.")
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
    assert json.loads(json.dumps(metrics)) == metrics


def test_metrics_are_those_of_their_definitions(planted: DataSet) -> None:
    metrics = train_model(planted.features, planted.labels, seed=3).metrics

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


@pytest.mark.parametrize("model_type", MODEL_TYPES)
def test_noise_is_not_taken_for_a_signal(model_type: Literal["hist_gbm", "logistic"]) -> None:
    # Each is wrong with a chance of at most 5 %: three or more of 12 in at most 1 of 50 cases.
    results = [
        train_model(*make_data_set(strength=0.0, rows=200, seed=seed), model_type=model_type, seed=seed)
        for seed in range(12)
    ]

    assert sum(result.beats_baseline for result in results) <= 2
    failed = next(result for result in results if result.status == "failed")
    assert failed.reason.startswith("does not beat the baselines: ROC AUC")
    assert math.isfinite(failed.metrics["brier"])


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

    result = train_model(features, labels, model_type="logistic")

    # A logistic curve of one feature ranks as the feature does.
    assert result.metrics["roc_auc"] == result.metrics["baseline_caller_win_rate"]["roc_auc"] > 0.7
    assert result.status == "failed"
    assert "caller win rate" in result.reason


def test_nothing_of_the_test_window_reaches_training(planted: DataSet) -> None:
    """Other features, labels and results after the test began leave the fitted model as it was."""
    is_test = (
        planted.labels.column("signal_timestamp").to_numpy()
        >= (train_model(planted.features, planted.labels, model_type="logistic").metrics["test_start"])
    )
    test_calls = set(planted.labels.filter(pa.array(is_test)).column("call_id").to_pylist())
    in_test = np.array([call in test_calls for call in planted.features.column("call_id").to_pylist()])
    features = planted.features.set_column(
        1, "return_24h", pa.array(np.where(in_test, 1e6, planted.features.column("return_24h").to_numpy()))
    )
    label = planted.labels.column("label").to_numpy()
    labels = planted.labels.set_column(2, "label", pa.array(np.where(is_test, 1 - label, label)))

    before = train_model(planted.features, planted.labels, model_type="logistic").pipeline
    after = train_model(features, labels, model_type="logistic").pipeline

    assert before["scaler"].mean_.tolist() == after["scaler"].mean_.tolist()
    assert before["model"].coef_.tolist() == after["model"].coef_.tolist()


def test_rows_without_partner_are_left_out(planted: DataSet) -> None:
    result = train_model(planted.features.slice(0, 350), planted.labels.slice(0, 380))

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
        train_model(*change(planted))


def test_unknown_model_type_is_refused(planted: DataSet) -> None:
    with pytest.raises(LearningError, match="'oracle' is unknown; allowed are hist_gbm, logistic"):
        train_model(*planted, model_type="oracle")  # type: ignore[arg-type]  # what is tested
