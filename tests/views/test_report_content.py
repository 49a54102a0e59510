"""The report's content, collected from real stores."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

import pyarrow as pa
import pytest
from view_scene import JANUARY, Scene

from quantbot_pipeline.ingest.checked_candles import CANDLE_SCHEMA
from quantbot_pipeline.ingest.quarantine import QuarantinedRow
from quantbot_pipeline.report.collect import collect_report
from quantbot_pipeline.report.content import (
    DataWindow,
    Headline,
    ModelMetric,
    QuarantineReason,
    ReportContent,
)
from quantbot_pipeline.report.search_collect import collect_search
from quantbot_pipeline.storage.records import ImportRecord, NewModel, NewTrial
from quantbot_pipeline.storage.views import build_views

pytestmark = pytest.mark.server

NOW = datetime(2025, 6, 1, tzinfo=UTC)


def _collect(scene: Scene) -> ReportContent:
    build_views(
        scene.urls.postgres,
        scene.urls.clickhouse,
        databases=["clickhouse"],
        selection=["+mart_strategy_leaderboard", "+mart_equity_by_day"],
    ).require_all()
    return collect_report(scene.state, scene.history, generated_at=NOW)


def _insert_candles(scene: Scene, token: str, start: datetime, count: int) -> None:
    rows = [
        {
            "chain": "binance",
            "token_address": token,
            "interval": "5m",
            "timestamp": int((start + timedelta(minutes=5 * i)).timestamp()),
            "open": 1.0,
            "high": 1.6,
            "low": 0.9,
            "close": 1.5,
            "volume": 10.0,
        }
        for i in range(count)
    ]
    scene.history.insert_candles(pa.Table.from_pylist(rows, CANDLE_SCHEMA))


def test_empty_stores_give_an_empty_overview(scene: Scene) -> None:
    content = _collect(scene)

    assert content == ReportContent(generated_at=NOW)


def test_counts_and_window_are_those_of_the_stores(scene: Scene) -> None:
    first, last = scene.call("ann", "A", day=2), scene.call("bob", "A", day=9)
    scene.run("s", {first: 0.5, last: None}, scope="one")
    scene.run("s", {first: 0.4, last: None}, scope="one")
    scene.run("s", {first: 0.4}, is_completed=False, error="no candles")
    scene.run("s", {first: 0.4}, is_completed=False)
    _insert_candles(scene, "A", JANUARY, 3)

    content = _collect(scene)

    assert content.headline == Headline(
        candles=3,
        tokens_with_candles=1,
        alerts=2,
        calls=2,
        callers=2,
        runs_completed=2,
        runs_current=1,
        runs_failed=1,
        runs_unfinished=1,
        trades=1,
        skipped=1,
    )
    assert content.window == DataWindow(
        first_candle_at=JANUARY,
        last_candle_at=JANUARY + timedelta(minutes=10),
        intervals=("5m",),
        first_call_at=JANUARY.replace(day=2),
        last_call_at=JANUARY.replace(day=9),
        engine_versions=("1",),
    )


def test_leaderboards_and_equity_follow_the_rank_of_strategies(scene: Scene) -> None:
    calls = {token: [scene.call("ann", token), scene.call("bob", token)] for token in ("A", "B")}
    for ids in calls.values():
        scene.run("worse", dict(zip(ids, (-0.2, 0.1), strict=True)))
        scene.run("better", dict(zip(ids, (0.3, 0.1), strict=True)))

    content = _collect(scene)

    assert [row.strategy for row in content.strategies] == ["better", "worse"]
    assert [curve.strategy for curve in content.equity] == ["better", "worse"]
    # All trades close on the 4th: 0.3 + 0.1 + 0.3 + 0.1 over four trades.
    assert content.equity[0].days == (date(2025, 1, 4),)
    assert content.equity[0].values == pytest.approx((0.2,))
    assert content.equity[0].values[-1] == pytest.approx(content.strategies[0].mean_pnl)


def test_the_example_is_a_trade_with_its_events_and_candles(scene: Scene) -> None:
    skipped, traded = scene.call("ann", "A", day=2), scene.call("bob", "A", day=3)
    run_id = scene.run("s", {skipped: None, traded: -0.3})
    # The trade happens on the 4th from 00:00 on; the call was made a day earlier.
    _insert_candles(scene, "A", JANUARY.replace(day=3), 300)

    example = _collect(scene).example

    assert example is not None
    assert (example.run_id, example.call.call_id, example.call.caller) == (run_id, traded, "test/bob")
    assert [event.event_type for event in example.events] == ["entry", "stop_loss"]
    assert len(example.candles) == 300


def test_trials_are_the_best_of_the_newest_completed_search(scene: Scene) -> None:
    run_id = scene.run("s", {scene.call("ann", "A"): 0.5}, run_type="optimization")
    template = scene.state.load_strategies()[0].strategy_id
    for name in ("older", "newer", "unfinished"):
        job, _ = scene.state.create_job(
            name=name, strategy_template_id=template, search_space={}, objective="final_pnl", job_key=name
        )
        scores = [0.1, None, 0.3, *[0.0] * 9]
        trials = [
            NewTrial(i, {"b": 0.25, "a": name}, run_id, {"trade_count": 1, "final_pnl": 0.5, "win_rate": "NaN"}, score)
            for i, score in enumerate(scores)
        ]
        scene.state.store_trials(job, trials)
        if name != "unfinished":
            scene.state.finish_job(job, status="completed")

    found = _collect(scene).search

    assert found is not None
    assert (found.name, found.trial_count, found.status) == ("newer", 12, "completed")
    assert [trial.index for trial in found.best] == [2, 0, 3, 4, 5, 6, 7, 8, 9, 10]
    assert found.best[0].params == {"a": "newer", "b": 0.25}
    assert found.best[0].metrics == {"trade_count": 1, "final_pnl": 0.5, "win_rate": "NaN"}
    assert found.run_ids[2] == run_id
    assert found.counts == {"scored": 11, "unscored": 1}


def test_a_search_is_collected_by_its_id_whatever_its_status(scene: Scene) -> None:
    scene.run("s", {scene.call("ann", "A"): 0.5})
    template = scene.state.load_strategies()[0].strategy_id
    job, _ = scene.state.create_job(
        name="running", strategy_template_id=template, search_space={}, objective="final_pnl", job_key="running"
    )

    found = collect_search(scene.state, job)

    assert found is not None
    assert (found.name, found.status, found.best) == ("running", "running", ())
    assert collect_search(scene.state, job + 1) is None


def test_model_metrics_stand_beside_those_of_the_baselines(scene: Scene) -> None:
    metrics = {
        "roc_auc": 0.6,
        "brier": 0.2,
        "n_test": 90,
        "test_start": 1735689600,
        "baseline_constant": {"roc_auc": 0.5, "brier": 0.25},
        "baseline_caller_win_rate": None,
        "features_without_values": [],
        # What a card shows in a picture or a table is no fact in a line.
        "curves": {"reliability": []},
        "importance": [{"feature": "a", "rise": 0.1}],
        "beats_baseline": True,
        "verdict": "beats the baselines",
    }
    scene.state.register_model(
        NewModel("take", "1", "hist_gbm", ("a", "b"), {}, "models/take", "0" * 64, metrics, "ready")
    )

    (model,) = _collect(scene).models

    assert (model.name, model.feature_count, model.verdict) == ("take", 2, "beats the baselines")
    assert model.baselines == ("constant",)
    assert model.metrics == (ModelMetric("brier", 0.2, (0.25,)), ModelMetric("roc_auc", 0.6, (0.5,)))
    assert model.facts == (
        ("features_without_values", "none"),
        ("test calls", "90"),
        ("test_start", "2025-01-01 00:00 UTC"),
    )
    assert model.card == "models/take-1.html"


def test_quarantine_reasons_that_differ_in_the_value_found_are_one(scene: Scene) -> None:
    reasons = ["price '-1' is below 0", "price 'abc' is below 0", "the row has 3 fields, 6 are needed"]
    rows = tuple(
        QuarantinedRow("calls.csv", line, None if "row" in reason else "price", reason, "raw")
        for line, reason in enumerate(reasons, start=5)
    )
    record = ImportRecord("alerts", "calls.csv", "0" * 64, "", 4, 0, 1, 3, {}, rows)
    scene.state.store_alerts([], record)
    # The same file with other options: only line 6 is refused again.
    again = replace(record, options_key="more", rows_duplicate=3, rows_quarantined=1, quarantined=rows[1:2])
    scene.state.store_alerts([], again)

    content = _collect(scene)

    assert content.quarantine == (
        QuarantineReason("alerts", "price", 3, "price '-1' is below 0", "calls.csv, line 5", 1),
        QuarantineReason("alerts", None, 1, "the row has 3 fields, 6 are needed", "calls.csv, line 7", 1),
    )
    assert (content.headline.quarantined, content.headline.duplicates) == (4, 4)
    assert content.search is None
