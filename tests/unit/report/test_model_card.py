"""Model cards: all that the row says is on them, and no text of it is more than text."""

import json
import re
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest

from quantbot_pipeline.report.model_card import card_path, render_model_card
from quantbot_pipeline.storage.records import ModelRow

NASTY = "<script>alert(1)</script>&\"'"


def row(text: str = "plain", **metrics: Any) -> ModelRow:
    curve = {
        "pnl_by_score": [
            {"rows": 9, "lowest_score": 0.1, "highest_score": 0.4, "mean_pnl": -0.1},
            {"rows": 11, "lowest_score": 0.5, "highest_score": 0.9, "mean_pnl": 0.2},
        ],
        "reliability": [{"rows": 20, "mean_score": 0.4, "positive_share": 0.5}],
        "precision_recall": [{"recall": 1.0, "precision": 0.5}, {"recall": 0.5, "precision": 0.75}],
    }
    measured = {
        "roc_auc": 0.6543,
        "brier": 0.2222,
        "pnl_uplift": 0.0625,
        "pnl_uplift_low": -0.01,
        "pnl_uplift_high": 0.11,
        "n_above_threshold": 11,
        "mean_pnl_above_threshold": 0.2,
        "mean_pnl_all": 0.1375,
        "curves": curve,
        "baseline_constant": {"roc_auc": 0.5, "brier": 0.25},
    }
    document = {
        "task": "classification",
        "beats_baseline": True,
        "verdict": f"beats the baselines: {text}",
        "n_train": 60,
        "n_test": 20,
        "n_purged": 1,
        "train_start": 1735689600,
        "train_end": 1735776000,
        "test_start": 1735862400,
        "test_end": 1735948800,
        "positive_share_test": 0.5,
        "features_without_values": [text],
        "comparisons": [
            {"baseline": "constant", "gain": 0.0278, "low": 0.01, "high": 0.04, "p_value": 0.013, "is_beaten": True}
        ],
        "out_of_fold": measured | {"n_folds": 4, "n_calls": 40},
        "importance": [{"feature": text, "rise": 0.031, "deviation": 0.002}],
        "recipe": {"seed": 7, "settings": {"C": 0.1}, "searched": [{"settings": {"C": 0.1}, "loss": 0.2}]},
        **measured,
    }
    return ModelRow(
        model_id=1,
        name="take",
        version="abc",
        model_type="logistic",
        input_features=(text,),
        label_definition={"kind": "pnl_above", "strategy": text},
        storage_uri="file:///models/take.skops",
        sha256="0" * 64,
        metrics=document | metrics,
        status="ready",
        created_at=datetime(2025, 3, 1, tzinfo=UTC),
    )


def test_card_shows_verdict_window_metrics_and_pictures() -> None:
    page = render_model_card(row())

    for text in (
        "Beats the baselines: plain.",
        "60 calls, 2025-01-01 00:00 UTC to 2025-01-02 00:00 UTC",
        "20 calls, 2025-01-03 00:00 UTC to 2025-01-04 00:00 UTC",
        "0.6543",
        "0.013",
        "Calls made before 2025-01-03 00:00 UTC",
    ):
        assert text in page
    figures = json.loads(re.search(r'id="figures">(.*?)</script>', page, re.DOTALL)[1])  # type: ignore[index]  # there
    assert sorted(figures) == ["importance", "pnl_by_score", "precision_recall", "reliability"]
    for name in figures:
        assert f'id="figure-{name}"' in page
    assert [trace["y"] for trace in figures["pnl_by_score"]["data"]] == [[-0.1, 0.2], [-0.1, 0.2]]
    # The diagonal, the last window, the walk-forward.
    assert [trace["x"] for trace in figures["reliability"]["data"]] == [[0, 1], [0.4], [0.4]]
    assert page == render_model_card(row())


def test_a_card_leads_to_the_pages_of_the_report_where_there_are_any() -> None:
    assert '<a href="../quality.html">Data quality</a>' in render_model_card(row(), is_beside_report=True)
    assert 'href="../' not in render_model_card(row())


def test_card_of_a_model_that_failed_says_that_it_is_good_for_nothing() -> None:
    page = render_model_card(row(beats_baseline=False, verdict="does not beat the baselines"))

    assert "<li>Anything. On calls that it never saw" in page
    assert "No, or not that these calls can tell." in page
    assert "<li>Anything." not in render_model_card(row())


def test_card_of_a_model_without_probabilities_has_no_place_for_their_pictures() -> None:
    page = render_model_card(row(task="ranking", curves={"pnl_by_score": []}, out_of_fold=None, importance=[]))

    assert "This model gives no probabilities: it predicts which of two calls is better" in page
    assert 'id="figure-reliability"' not in page
    assert "too few earlier calls" in page


def test_card_of_a_row_that_says_little_is_a_card_all_the_same() -> None:
    """Rows of earlier versions hold other metrics."""
    old = replace(row(), metrics={"roc_auc": 0.6, "verdict": "x"}, label_definition={})

    assert "an unknown time" in render_model_card(old)


def test_texts_of_a_row_stay_texts() -> None:
    page = render_model_card(row(NASTY))

    assert "<script>alert" not in page
    assert "&lt;script&gt;alert(1)" in page


@pytest.mark.parametrize(
    ("name", "path"), [("take", "models/take-abc.html"), ("../../x y", "models/.._.._x_y-abc.html")]
)
def test_card_stays_in_its_folder(name: str, path: str) -> None:
    assert str(card_path(replace(row(), name=name))) == path
