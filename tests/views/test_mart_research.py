"""What the marts of searches, models, candles and the pipeline itself answer, against rows worked out by hand."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pyarrow as pa
import pytest
from view_scene import FEBRUARY, JANUARY, Scene

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.ingest.quarantine import QuarantinedRow
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.clickhouse import SCORE_SCHEMA
from quantbot_pipeline.storage.records import BackfilledMonth, ImportRecord, JobResult, NewTrial
from quantbot_pipeline.storage.views import build_views

pytestmark = pytest.mark.server


def _trial(index: int, scores: tuple[float, ...] | None, pnl: float = 0.0) -> dict[str, Any]:
    return {"index": index, "scores": scores, "pnl": pnl}


def _search(scene: Scene, name: str, trials: list[dict[str, Any]], front: list[int], evidence: dict[str, Any]) -> int:
    """Store a completed search; return its id."""
    strategy = scene.state.store_strategy(
        name="template", version="1", category="test", description="", config={}, config_hash="0" * 64
    )
    job_id, _ = scene.state.create_job(
        name=name, strategy_template_id=strategy.strategy_id, search_space={}, objective="final_pnl", job_key=name
    )
    scene.state.store_trials(
        job_id,
        [
            NewTrial(
                trial["index"],
                {"stop": trial["index"] / 10},
                None,
                {"trade_count": 7, "final_pnl": trial["pnl"], "win_rate": 0.5, "max_drawdown": 0.2},
                None if trial["scores"] is None else trial["scores"][0],
                "refused" if trial["scores"] is None else "scored",
                trial["scores"],
            )
            for trial in trials
        ],
    )
    scored = sum(trial["scores"] is not None for trial in trials)
    tally = {
        "counts": {"scored": scored, "refused": len(trials) - scored},
        "front": [{"index": index} for index in front],
    }
    verdict = {"answer": "too little data to say"}
    scene.state.finish_job(job_id, status="completed", result=JobResult(tally, verdict, evidence, {}))
    return job_id


def test_frontier_shows_the_front_and_the_twenty_best(scene: Scene) -> None:
    # Trials 0 to 24 with scores of 0.24 down to 0.00; the second goal is best in trial 24, which is on the front though
    # 24 others have a better first goal. Trial 25 made no valid strategy.
    trials = [_trial(index, ((24 - index) / 100, index / 10), pnl=0.01 * index) for index in range(25)]
    trials.append(_trial(25, None))
    _search(scene, "two goals", trials, [0, 24], {"winner": 0})
    _search(scene, "one goal", [_trial(0, (0.1,)), _trial(1, (0.3,)), _trial(2, (0.3,))], [], {"winner": 1})

    rows = scene.rows("postgres", "mart_optimization_frontier", "job_name desc, score_rank")

    two, one = rows[:21], rows[21:]
    assert [row["trial_index"] for row in two] == [*range(20), 24]
    assert [row["trial_index"] for row in two if row["is_on_front"]] == [0, 24]
    assert {(row["trial_count"], row["scored_trial_count"], row["verdict"]) for row in two} == {
        (26, 25, "too little data to say")
    }
    assert (two[-1]["score_rank"], two[-1]["score"], two[-1]["trial_params_json"]) == (25, 0.0, {"stop": 2.4})
    assert (two[3]["mean_pnl"], two[3]["trade_count"], two[3]["max_drawdown"]) == (pytest.approx(0.03), 7, 0.2)
    # Equal scores: the earlier trial comes first, and it alone is the front of a search with one goal.
    assert [(row["trial_index"], row["is_on_front"], row["is_winner"]) for row in one] == [
        (1, True, True),
        (2, False, False),
        (0, False, False),
    ]


def test_walk_forward_adds_up_what_unseen_windows_brought(scene: Scene) -> None:
    def window(month: int, trial: int | None, score: float | None, trades: int, mean: float | None) -> dict[str, Any]:
        return {
            "train_from": "2025-01-01T00:00:00+00:00",
            "test_from": f"2025-0{month}-01T00:00:00+00:00",
            "test_to": f"2025-0{month + 1}-01T00:00:00+00:00",
            "train_calls": 40,
            "test_calls": 10,
            "purged_calls": 2,
            "trial": trial,
            "params": None if trial is None else {"stop": 0.3},
            "score": score,
            "trades": trades,
            "mean_pnl": mean,
        }

    walk = {
        "searched_inside": True,
        "reason": "",
        "windows": [window(2, 3, 0.9, 5, 0.1), window(3, None, None, 0, None), window(4, 1, 0.7, 10, -0.02)],
    }
    _search(scene, "walked", [_trial(0, (0.1,))], [], {"winner": 0, "walk_forward": walk})
    _search(scene, "too few calls", [_trial(0, (0.1,))], [], {"winner": 0, "walk_forward": {"windows": []}})
    _search(scene, "never judged", [_trial(0, (0.1,))], [], {})

    first, second, third = scene.rows("postgres", "mart_walk_forward", "window_number")

    assert [row["window_number"] for row in (first, second, third)] == [1, 2, 3]
    assert (first["train_score"], first["test_mean_pnl"], first["chosen_params_json"]) == (0.9, 0.1, {"stop": 0.3})
    assert (second["chosen_trial_index"], second["chosen_params_json"], second["test_mean_pnl"]) == (None, None, None)
    # 5 · 0.1 = 0.5; nothing; 10 · -0.02 = -0.2.
    assert [row["test_total_pnl"] for row in (first, second, third)] == pytest.approx([0.5, 0.0, -0.2])
    assert [row["test_cumulative_pnl"] for row in (first, second, third)] == pytest.approx([0.5, 0.5, 0.3])
    assert first["test_from"] == datetime(2025, 2, 1, tzinfo=UTC)
    assert first["was_searched_inside"]


def test_scores_count_only_for_calls_that_their_model_had_not_seen(scene: Scene) -> None:
    # Twelve calls of 2 January with scores 0.0 to 1.1 and pnl of -0.5 to +0.6: the higher the score, the better.
    calls = [scene.call("ann", "A") for _ in range(12)]
    scene.run("s", {call: (number - 5) / 10 for number, call in enumerate(calls)})
    december, call_day, later = JANUARY.replace(year=2024, month=12), JANUARY.replace(day=2), JANUARY.replace(day=20)
    rows = [
        *((7, call, JANUARY, number / 10) for number, call in enumerate(calls)),
        # A fold that had learned less does not speak where one that had learned more can.
        *((7, call, december, 99.0) for call in calls),
        # Learned at the moment of the call, after it, or nobody knows when.
        *((8, call, call_day, 0.5) for call in calls),
        *((8, call, later, 0.5) for call in calls),
        *((9, call, datetime(1970, 1, 1, tzinfo=UTC), 0.5) for call in calls),
    ]
    scene.history.insert_scores(
        pa.Table.from_pylist(
            [
                {
                    "model_id": model,
                    "model_name": f"model {model}",
                    "call_id": call,
                    "trained_until": int(trained_until.timestamp()),
                    "score": score,
                    "feature_set": "test",
                    "inputs_stamp": "",
                    "values": [],
                }
                for model, call, trained_until, score in rows
            ],
            SCORE_SCHEMA,
        )
    )

    found = scene.rows("clickhouse", "mart_score_outcomes", "model_id, score_decile")

    assert {(row["model_id"], row["model_name"]) for row in found} == {(7, "model 7")}
    # Position p of 12, from 0, is in tenth p · 10 div 12 + 1: two calls in the first and in the sixth, else one.
    assert [(row["score_decile"], row["call_count"]) for row in found] == [
        (tenth, 2 if tenth in (1, 6) else 1) for tenth in range(1, 11)
    ]
    # The sixth: scores 0.6 and 0.7, pnl 0.1 and 0.2.
    sixth = found[5]
    assert (sixth["lowest_score"], sixth["highest_score"], sixth["mean_score"]) == pytest.approx((0.6, 0.7, 0.65))
    assert (sixth["mean_pnl"], sixth["median_pnl"], sixth["win_rate"]) == pytest.approx((0.15, 0.15, 1.0))
    assert (found[0]["mean_pnl"], found[0]["win_rate"]) == (pytest.approx(-0.45), 0.0)


def _insert_candles(scene: Scene, token: str, interval: str, opened: list[datetime], flags: list[int]) -> None:
    count = len(opened)
    scene.history.insert_candles(
        pa.table(
            {
                "chain": ["binance"] * count,
                "token_address": [token] * count,
                "interval": [interval] * count,
                "timestamp": pa.array([int(at.timestamp()) for at in opened], pa.int64()),
                "open": [1.0] * count,
                "high": [1.0] * count,
                "low": [1.0] * count,
                "close": [1.0] * count,
                "volume": [0.0 if flag & 1 else 5.0 for flag in flags],
                "flags": pa.array(flags, pa.uint8()),
            }
        )
    )


def test_coverage_counts_gaps_flags_and_months_without_a_candle(scene: Scene) -> None:
    # Hours of 31 January: 20, 21, 23 (22 is missing); none in February; 1 and 2 March (hour 0 is missing).
    last_of_january = datetime(2025, 1, 31, tzinfo=UTC)
    march = datetime(2025, 3, 1, tzinfo=UTC)
    opened = [
        *(last_of_january.replace(hour=hour) for hour in (20, 21, 23)),
        march.replace(hour=1),
        march.replace(hour=2),
    ]
    _insert_candles(scene, "A", "1h", opened, [0, 1, 2, 0, 0])
    _insert_candles(scene, "A", "1d", [march], [0])

    rows = scene.rows("clickhouse", "mart_data_coverage", "interval_name desc, month")

    january, february, in_march, daily = rows
    assert [row["month"] for row in rows] == [date(2025, month, 1) for month in (1, 2, 3, 3)]
    assert (january["candle_count"], january["expected_count"], january["missing_count"]) == (3, 4, 1)
    assert (january["coverage"], january["gap_count"], january["longest_gap_candles"]) == (0.75, 1, 1)
    assert (january["zero_volume_count"], january["volume_missing_count"], january["distorted_count"]) == (1, 1, 1)
    # 28 days of 24 hours, silent from the first to the last.
    assert (february["candle_count"], february["expected_count"], february["longest_gap_candles"]) == (0, 672, 672)
    assert (february["coverage"], february["gap_count"], february["silent_hours"]) == (0.0, 1, 672.0)
    assert (february["first_candle_at"], february["imported_at"]) == (None, None)
    # The daily candle ends at midnight: 21 hours after the last hourly one.
    assert (in_march["candle_count"], in_march["expected_count"], in_march["gap_count"]) == (2, 3, 1)
    assert (in_march["silent_hours"], in_march["is_finest_interval"]) == (21.0, True)
    assert (daily["interval_seconds"], daily["is_finest_interval"], daily["silent_hours"]) == (86400, False, 0.0)


def test_coverage_says_what_the_quality_of_candles_says(scene: Scene) -> None:
    """The mart and `quantbot candles quality` measure the same months and must not tell different numbers."""
    days = [datetime(2025, 1, 31, hour, minute, tzinfo=UTC) for hour in (3, 4, 9) for minute in (0, 5, 20, 25, 55)]
    _insert_candles(scene, "A", "5m", [*days, datetime(2025, 2, 3, 7, tzinfo=UTC)], [0] * 15 + [1])
    for number, interval in enumerate(INTERVAL_SECONDS):
        _insert_candles(scene, f"T{number}", interval, [JANUARY, datetime(2025, 1, 9, tzinfo=UTC)], [0, 2])

    shown = scene.rows("clickhouse", "mart_data_coverage", "chain, token_address, interval_name, month")
    measured = scene.history.read(
        "candles/measure_quality",
        interval_names=list(INTERVAL_SECONDS),
        interval_lengths=list(INTERVAL_SECONDS.values()),
        chains=[],
        token_addresses=[],
        months=[],
        interval="",
        as_of_s=0,
        wick_limit=0.0,
    ).to_pylist()

    assert len(shown) == len(measured) == 2 + len(INTERVAL_SECONDS)
    for row, expected in zip(shown, measured, strict=True):
        for name in ("candle_count", "expected_count", "gap_count", "longest_gap_candles", "zero_volume_count"):
            assert row[name] == expected[name], (row, expected)
        for name in ("interval_seconds", "volume_missing_count", "distorted_count", "resampled_count"):
            assert row[name] == expected[name], (row, expected)
        assert row["silent_hours"] == pytest.approx(expected["silent_seconds"] / 3600)


def test_pipeline_health_and_reasons_of_failures(scene: Scene) -> None:
    reason = "found '{}'; allowed is more than 0"
    refused = tuple(QuarantinedRow("a.csv", line, "price", reason.format(line), "x") for line in (2, 3))
    imported = ImportRecord("alerts", "a.csv", "0" * 64, "", 5, 3, 0, 2, {}, refused)
    scene.state.begin_import(imported)
    scene.state.complete_import(imported)
    # With other options line 2 went in, so it is no failure any more; line 3 is told of by both imports.
    better = replace(imported, options_key="zone", rows_stored=4, rows_quarantined=1, quarantined=refused[1:])
    scene.state.begin_import(better)
    scene.state.complete_import(better)
    scene.state.begin_import(replace(imported, sha256="1" * 64))
    call = scene.call("ann", "A")
    scene.run("s", {call: 0.1}, scope="one")
    scene.run("s", {call: 0.2}, scope="one")
    scene.run("s", {call: 0.3}, is_completed=False, error="candles of 'A' end at 2025-01-04")
    scene.run("s", {call: 0.3}, is_completed=False, error="candles of 'B' end at 2025-02-11")
    scene.run("s", {call: 0.3}, is_completed=False)
    scene.call("bob", "B")
    backfill = scene.state.begin_backfill(selection_key="0" * 64, selection={}, token_month_count=2)
    token = TokenKey("binance", "A")
    months = [BackfilledMonth(token, "2025-01", "no candles"), BackfilledMonth(token, "2025-02", None)]
    scene.state.record_token_months(backfill, [*months, BackfilledMonth(token, "2025-03", "no candles")])
    again = scene.state.begin_backfill(selection_key="1" * 64, selection={}, token_month_count=1)
    scene.state.record_token_months(again, [BackfilledMonth(token, "2025-03", None)])

    health = {row["measure"]: row for row in scene.rows("postgres", "mart_pipeline_health", "measure")}
    reasons = scene.rows("postgres", "mart_failure_reasons", "area, reason")

    values = {name: row["value"] for name, row in health.items()}
    assert (values["runs_current"], values["runs_superseded"]) == (1, 1)
    assert (values["runs_failed"], values["runs_running"]) == (2, 1)
    assert (values["files_completed"], values["files_started"], values["rows_quarantined"]) == (2, 1, 3)
    # bob's call came after the last run, the file before it.
    assert (values["calls_in_force"], values["calls_changed_since_last_run"]) == (2, 1)
    assert values["imports_since_last_run"] == 0
    # March was done by the second backfill; the failure of the first one is told among the reasons all the same.
    assert (values["token_months_failed"], values["backfills_running"], values["searches_failed"]) == (1, 2, 0)
    problems = {name for name, row in health.items() if row["is_problem"]}
    assert problems == {"runs_failed", "files_started", "calls_changed_since_last_run", "token_months_failed"}
    assert [(row["area"], row["reason"], row["failure_count"]) for row in reasons] == [
        ("backfills", "no candles", 2),
        ("quarantine", "alerts, price: found …; allowed is more than #", 2),
        ("runs", "candles of … end at #", 2),
    ]
    assert reasons[2]["example"] == "candles of 'B' end at 2025-02-11"


def test_health_of_empty_stores_is_all_zeros(scene: Scene) -> None:
    rows = scene.rows("postgres", "mart_pipeline_health", "measure")

    assert len(rows) >= 20
    assert {(row["value"], row["is_problem"]) for row in rows} == {(0, False)}


def test_freshness_tells_what_the_tables_do_not_show_yet(scene: Scene) -> None:
    def freshness() -> dict[str, tuple[int, bool]]:
        rows = scene.shown("clickhouse", "mart_table_freshness", "measure")
        return {row["measure"]: (row["value"], row["is_problem"]) for row in rows}

    call = scene.call("ann", "A")
    scene.run("s", {call: 0.1}, scope="one")
    _insert_candles(scene, "A", "1h", [JANUARY, FEBRUARY], [0, 0])
    build_views(scene.urls.postgres, scene.urls.clickhouse).require_all()
    fresh = freshness()

    # The second run of the scope takes the first one's place, another strategy's is new, February goes on.
    scene.run("s", {call: 0.2}, scope="one")
    scene.run("t", {call: 0.2})
    _insert_candles(scene, "A", "1h", [FEBRUARY + timedelta(hours=1)], [1])
    stale = freshness()
    build_views(scene.urls.postgres, scene.urls.clickhouse).require_all()

    assert set(fresh.values()) == {(0, False)}
    assert stale == {
        "runs_not_in_tables": (2, True),
        "superseded_runs_in_tables": (1, True),
        "candle_months_not_in_tables": (1, True),
    }
    assert freshness() == fresh
