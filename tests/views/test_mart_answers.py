"""What the marts of trades answer, against one story whose rows are worked out by hand.

Strategy `ladder` 1, with all that can happen to a call:

===== ====== ===== ====== ================================== ===========
call  caller token pnl    ends by                            sold on
===== ====== ===== ====== ================================== ===========
a1    ann    A     +0.5   target_hit, target 2               5 January
a2    ann    A     -0.2   stop_loss, initial                 5 January
b1    bob    A     +0.1   trailing_stop, trailing            7 January
a3    ann    B     -0.1   time_exit, horizon                 6 January
c1    cat    B            skipped, no_candles
b2    bob    C      0.0   final_exit, end_of_data            9 January
===== ====== ===== ====== ================================== ===========

b2 was called on 30 December 2024, all others on 2 January 2025. Strategy `hold` 1 made +0.2 of a1 and of b1; of
`ladder` 2 only the skipped c1 is known. dan called token D, which was never simulated. An older run on A was
superseded, another one failed.
"""

from datetime import UTC, date, datetime
from math import sqrt
from typing import Any

import pytest
from view_scene import Exit, Scene

from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views import build_views, check_views

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def story(stage: Scene) -> Scene:
    a1, a2, b1 = stage.call("ann", "A"), stage.call("ann", "A"), stage.call("bob", "A")
    a3, c1 = stage.call("ann", "B"), stage.call("cat", "B")
    b2 = stage.call("bob", "C", at=datetime(2024, 12, 30, tzinfo=UTC))
    stage.call("dan", "D")
    stage.run("ladder", {a1: 9.0, a2: 9.0, b1: 9.0}, scope="ladder A")
    stage.run(
        "ladder",
        {a1: 0.5, a2: -0.2, b1: 0.1},
        scope="ladder A",
        exits={
            a1: Exit("target_hit", {"order": "limit", "target": 2}, day=5),
            a2: Exit("stop_loss", {"order": "stop", "stop": "initial", "gap": True}, day=5),
            b1: Exit("trailing_stop", {"order": "stop", "stop": "trailing"}, day=7),
        },
    )
    stage.run("ladder", {a1: 8.0}, is_completed=False, error="the candles ran out")
    stage.run(
        "ladder",
        {a3: -0.1, c1: None},
        exits={a3: Exit("time_exit", {"order": "market", "reason": "horizon"}, day=6)},
    )
    stage.run("ladder", {b2: 0.0}, exits={b2: Exit("final_exit", {"order": "market", "reason": "end_of_data"}, day=9)})
    stage.run("hold", {a1: 0.2, b1: 0.2})
    stage.run("ladder", {c1: None}, version="2")
    build_views(stage.urls.postgres, stage.urls.clickhouse).require_all()
    return stage


def _of(rows: list[dict[str, Any]], strategy: str, version: str = "1") -> list[dict[str, Any]]:
    return [row for row in rows if (row["strategy_name"], row["strategy_version"]) == (strategy, version)]


def _wilson(wins: int, n: int, sign: int) -> float:
    # Wilson (1927): (p + z²/2n ± z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.96.
    p, z = wins / n, 1.96
    return (p + z * z / (2 * n) + sign * z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)


def test_strategy_leaderboard_tells_both_ends_and_the_parts_of_the_mean(story: Scene) -> None:
    (row,) = _of(story.shown("clickhouse", "mart_strategy_leaderboard", "strategy_rank"), "ladder")

    assert (row["call_count"], row["trade_count"], row["skipped_count"], row["token_count"]) == (6, 5, 1, 3)
    assert (row["run_count"], row["caller_count"], row["win_count"]) == (3, 2, 2)
    assert row["win_rate"] == pytest.approx(0.4)
    assert (row["win_rate_lower"], row["win_rate_upper"]) == pytest.approx((_wilson(2, 5, -1), _wilson(2, 5, 1)))
    # 0.5 - 0.2 + 0.1 - 0.1 + 0 = 0.3, a fifth of it 0.06 = 0.4 · 0.3 + 0.6 · -0.1.
    assert row["total_pnl"] == pytest.approx(0.3)
    assert (row["mean_pnl"], row["expectancy"]) == pytest.approx((0.06, 0.06))
    assert (row["average_win"], row["average_loss"]) == pytest.approx((0.3, -0.1))
    assert row["profit_factor"] == pytest.approx(2.0)
    assert (row["median_pnl"], row["best_pnl"], row["worst_pnl"]) == pytest.approx((0.0, 0.5, -0.2))
    # Residuals of A, B, C: 0.4 - 0.18, -0.1 - 0.06, 0 - 0.06; their squares 0.0484 + 0.0256 + 0.0036 = 0.0776.
    error = 1.96 * sqrt(3 / 2 * 0.0776) / 5
    assert (row["mean_pnl_lower"], row["mean_pnl_upper"]) == pytest.approx((0.06 - error, 0.06 + error))


def test_a_strategy_whose_calls_were_all_skipped_has_counts_and_no_means(story: Scene) -> None:
    rows = story.shown("clickhouse", "mart_strategy_leaderboard", "strategy_rank")
    (row,) = _of(rows, "ladder", "2")

    assert (row["call_count"], row["trade_count"], row["skipped_count"]) == (1, 0, 1)
    for name in ("win_rate", "win_rate_lower", "mean_pnl", "mean_pnl_lower", "median_pnl", "best_pnl", "expectancy"):
        assert row[name] is None, name
    # ladder 1 has three tokens and so a bound; hold, on one token, has none and comes next as it traded.
    assert [(r["strategy_name"], r["strategy_version"]) for r in rows] == [
        ("ladder", "1"),
        ("hold", "1"),
        ("ladder", "2"),
    ]


def test_caller_leaderboard_ranks_by_the_lower_end_and_breaks_ties_by_name(story: Scene) -> None:
    rows = story.shown("clickhouse", "mart_caller_leaderboard", "strategy_name, strategy_version, caller_rank")

    bob, ann, cat = _of(rows, "ladder")
    assert [row["caller_handle"] for row in (bob, ann, cat)] == ["bob", "ann", "cat"]
    # ann: A 0.3 of two, B -0.1 of one; mean 1/15, residuals ±1/6, error sqrt(2/1 · 2/36) / 3 = 1/9.
    assert (ann["mean_pnl"], ann["mean_pnl_lower"]) == pytest.approx((1 / 15, 1 / 15 - 1.96 / 9))
    assert (ann["best_pnl"], ann["worst_pnl"], ann["median_pnl"]) == pytest.approx((0.5, -0.2, -0.1))
    # bob: A 0.1, C 0; mean 0.05, residuals ±0.05, error sqrt(2 · 0.005) / 2 = 0.05.
    assert (bob["mean_pnl_lower"], bob["mean_pnl_upper"]) == pytest.approx((0.05 - 0.098, 0.05 + 0.098))
    assert bob["profit_factor"] is None
    assert (cat["call_count"], cat["trade_count"], cat["win_rate"], cat["mean_pnl_upper"]) == (1, 0, None, None)
    # One trade each, of the same result: the name decides, and one token gives no interval of the mean.
    assert [(row["caller_rank"], row["caller_handle"], row["mean_pnl_lower"]) for row in _of(rows, "hold")] == [
        (1, "ann", None),
        (2, "bob", None),
    ]
    assert all(row["is_small_sample"] for row in rows)


def test_caller_months_count_a_trade_in_the_month_of_its_call(story: Scene) -> None:
    rows = _of(story.shown("clickhouse", "mart_caller_months", "month, month_rank"), "ladder")

    assert [(row["month"], row["caller_handle"], row["trade_count"], row["total_pnl"]) for row in rows] == [
        (date(2024, 12, 1), "bob", 1, pytest.approx(0.0)),
        (date(2025, 1, 1), "ann", 3, pytest.approx(0.2)),
        (date(2025, 1, 1), "bob", 1, pytest.approx(0.1)),
        (date(2025, 1, 1), "cat", 0, pytest.approx(0.0)),
    ]
    assert [row["mean_pnl_lower"] is None for row in rows] == [True, False, True, True]


def test_matrix_has_a_cell_for_every_strategy_and_caller(story: Scene) -> None:
    rows = story.shown("clickhouse", "mart_strategy_caller_matrix", "strategy_name, strategy_version, caller_handle")

    assert [row["caller_handle"] for row in rows] == ["ann", "bob", "cat", "dan"] * 3
    ann, bob, cat, dan = _of(rows, "ladder")
    assert (ann["trade_count"], ann["strategy_mean_pnl"]) == (3, pytest.approx(0.06))
    assert ann["mean_pnl_beyond_strategy"] == pytest.approx(1 / 15 - 0.06)
    assert bob["mean_pnl_beyond_strategy"] == pytest.approx(-0.01)
    assert (cat["call_count"], cat["mean_pnl"]) == (1, None)
    assert (dan["call_count"], dan["mean_pnl"], dan["is_small_sample"]) == (0, None, True)


def test_trade_list_says_how_trades_began_and_why_they_ended(story: Scene) -> None:
    rows = _of(story.shown("clickhouse", "mart_trades", "call_id"), "ladder")

    assert [
        (row["outcome"], row["entry_order"], row["exit_event"], row["exit_reason"], row["skip_reason"]) for row in rows
    ] == [
        ("won", "market", "target_hit", "target 2", None),
        ("lost", "market", "stop_loss", "initial", None),
        ("won", "market", "trailing_stop", "trailing", None),
        ("lost", "market", "time_exit", "horizon", None),
        ("skipped", None, None, None, "no_candles"),
        ("even", "market", "final_exit", "end_of_data", None),
    ]
    assert [row["was_open_at_end"] for row in rows] == [False, False, False, False, False, True]
    # Bought on 4 January at 0:00 for 1, sold a day later at 1 + 0.5.
    assert (rows[0]["entry_price"], rows[0]["exit_price"], rows[0]["holding_minutes"]) == (1.0, 1.5, 1440.0)
    assert rows[0]["return_on_cash"] == pytest.approx(0.5)
    assert [rows[4][name] for name in ("entered_at", "entry_price", "holding_minutes", "return_on_cash")] == [None] * 4


def test_trades_of_callers_are_those_of_the_trade_list(story: Scene) -> None:
    order = "strategy_name, strategy_version, call_id"

    rows = story.shown("clickhouse", "mart_caller_trades", order)

    assert rows == story.shown("clickhouse", "mart_trades", order)
    assert [row["outcome"] for row in rows if row["caller_handle"] == "bob"] == ["won", "won", "even"]


def test_exit_reasons_share_all_calls_among_them(story: Scene) -> None:
    rows = _of(story.shown("clickhouse", "mart_exit_reasons", "outcome, exit_event, exit_reason"), "ladder")

    assert [(row["outcome"], row["exit_event"], row["exit_reason"], row["call_count"]) for row in rows] == [
        ("skipped", "entry_skipped", "no_candles", 1),
        ("traded", "final_exit", "end_of_data", 1),
        ("traded", "stop_loss", "initial", 1),
        ("traded", "target_hit", "target 2", 1),
        ("traded", "time_exit", "horizon", 1),
        ("traded", "trailing_stop", "trailing", 1),
    ]
    assert sum(row["share_of_calls"] for row in rows) == pytest.approx(1.0)
    assert [row["mean_pnl"] for row in rows] == [None, *(pytest.approx(pnl) for pnl in (0.0, -0.2, 0.5, -0.1, 0.1))]
    assert (rows[0]["win_rate"], rows[0]["mean_holding_minutes"]) == (None, None)


def test_equity_goes_through_days_on_which_nothing_closed(story: Scene) -> None:
    rows = _of(story.shown("clickhouse", "mart_equity_by_day", "day"), "ladder")

    assert [row["day"] for row in rows] == [date(2025, 1, day) for day in (5, 6, 7, 8, 9)]
    assert [row["trade_count"] for row in rows] == [2, 1, 1, 0, 1]
    assert [row["cumulative_trade_count"] for row in rows] == [2, 3, 4, 4, 5]
    assert [row["pnl"] for row in rows] == pytest.approx([0.3, -0.1, 0.1, 0.0, 0.0])
    assert [row["cumulative_pnl"] for row in rows] == pytest.approx([0.3, 0.2, 0.3, 0.3, 0.3])
    assert [row["drawdown"] for row in rows] == pytest.approx([0.0, 0.1, 0.0, 0.0, 0.0])
    assert _of(story.shown("clickhouse", "mart_equity_by_day", "day"), "ladder", "2") == []


@pytest.mark.parametrize("database", ["postgres", "clickhouse"])
def test_tokens_are_ranked_by_what_they_brought(story: Scene, database: Database) -> None:
    rows = _of(story.shown(database, "mart_token_results", "token_rank"), "ladder")

    assert [(row["token_address"], row["trade_count"], row["win_count"]) for row in rows] == [
        ("A", 3, 2),
        ("C", 1, 0),
        ("B", 1, 0),
    ]
    assert [row["total_pnl"] for row in rows] == pytest.approx([0.4, 0.0, -0.1])
    assert rows[0]["mean_pnl"] == pytest.approx(0.4 / 3)
    if database == "clickhouse":
        assert (rows[0]["median_pnl"], rows[0]["best_pnl"], rows[0]["worst_pnl"]) == pytest.approx((0.1, 0.5, -0.2))
        assert (rows[0]["caller_count"], rows[2]["call_count"], rows[2]["skipped_count"]) == (2, 2, 1)


@pytest.mark.parametrize(
    ("view", "key"),
    [
        ("mart_strategy_leaderboard", "strategy_rank"),
        ("mart_runs_ranked", "run_rank"),
        ("mart_token_results", "strategy_name, strategy_version, token_rank"),
    ],
)
def test_both_databases_agree_where_both_answer(story: Scene, view: str, key: str) -> None:
    databases: list[Database] = ["postgres", "clickhouse"]
    there = {database: story.shown(database, view, key) for database in databases}
    common = there["postgres"][0].keys() & there["clickhouse"][0].keys()

    # Arrow gives ClickHouse's times as seconds.
    compared = sorted(common - {"window_start", "window_end", "completed_at"})
    assert len(compared) >= 12
    assert len(there["postgres"]) == len(there["clickhouse"]) >= 3
    for in_postgres, in_clickhouse in zip(there["postgres"], there["clickhouse"], strict=True):
        for name in compared:
            assert in_clickhouse[name] == pytest.approx(in_postgres[name]), (view, name)


def test_only_current_runs_are_behind_the_answers(story: Scene) -> None:
    """The superseded run made 9 of each call, the failed one 8."""
    assert max(row["pnl"] for row in story.shown("clickhouse", "mart_trades", "call_id")) == 0.5
    assert max(row["mean_pnl"] or 0 for row in story.shown("postgres", "mart_runs_ranked", "run_rank")) <= 0.5


def test_every_test_of_a_header_holds_in_the_story(story: Scene) -> None:
    results = check_views(story.urls.postgres, story.urls.clickhouse)

    assert [result for result in results if not result.passed] == []
    assert {result.view for result in results} >= {"mart_trades", "mart_score_outcomes", "mart_pipeline_health"}
