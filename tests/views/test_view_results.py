"""What the views say, against rows worked out by hand, in both databases."""

from math import sqrt

import pytest
from view_scene import JANUARY, Scene

from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views import build_views, check_views

pytestmark = pytest.mark.server

DATABASES: list[Database] = ["postgres", "clickhouse"]


def _wilson_lower(wins: int, n: int) -> float:
    # Wilson (1927): (p + z²/2n - z·sqrt(p(1-p)/n + z²/4n²)) / (1 + z²/n), z = 1.96.
    p, z = wins / n, 1.96
    return (p + z * z / (2 * n) - z * sqrt(p * (1 - p) / n + z * z / (4 * n * n))) / (1 + z * z / n)


@pytest.mark.parametrize("database", DATABASES)
def test_strategy_mean_weighs_every_trade_the_same(scene: Scene, database: Database) -> None:
    # A: four trades of +0.1; B: one trade of -0.6. Mean of runs: -0.25; mean of trades: (0.4 - 0.6) / 5 = -0.04.
    run_a = {scene.call("ann", "A"): 0.1 for _ in range(4)}
    scene.run("steady", run_a)
    scene.run("steady", {scene.call("bob", "B"): -0.6})

    (row,) = scene.rows(database, "mart_strategy_leaderboard", "strategy_rank")

    assert (row["trade_count"], row["win_count"], row["token_count"]) == (5, 4, 2)
    assert row["mean_pnl"] == pytest.approx(-0.04)
    assert row["total_pnl"] == pytest.approx(-0.2)
    assert row["win_rate"] == pytest.approx(0.8)
    assert row["win_rate_lower"] == pytest.approx(_wilson_lower(4, 5))
    # Residuals of the tokens: A 0.4 + 0.04·4 = 0.56, B -0.6 + 0.04 = -0.56; error sqrt(2/1 · 2·0.56²) / 5 = 0.224.
    assert row["mean_pnl_lower"] == pytest.approx(-0.04 - 1.96 * 0.224)
    assert row["is_small_sample"]


@pytest.mark.parametrize("database", DATABASES)
def test_one_lucky_trade_ranks_behind_steady_gains(scene: Scene, database: Database) -> None:
    tokens = ["A", "B", "C", "D", "E"]
    calls = {token: [scene.call("ann", token) for _ in range(4)] for token in tokens}
    for name in tokens:
        scene.run("steady", dict.fromkeys(calls[name], 0.1))
        # Nineteen trades of -0.01 and one of +40: the mean is 1.99, twenty times that of the steady one.
        pnls = [40.0 if name == "A" and i == 0 else -0.01 for i in range(4)]
        scene.run("lucky", dict(zip(calls[name], pnls, strict=True)))

    rows = scene.rows(database, "mart_strategy_leaderboard", "strategy_rank")

    assert [row["strategy_name"] for row in rows] == ["steady", "lucky"]
    assert rows[1]["mean_pnl"] > 10 * rows[0]["mean_pnl"]
    assert not rows[0]["is_small_sample"]
    # All tokens alike: no error between them.
    assert rows[0]["mean_pnl_lower"] == pytest.approx(0.1)
    assert rows[1]["mean_pnl_lower"] < 0


@pytest.mark.parametrize("database", DATABASES)
def test_few_trades_rank_behind_enough_of_them(scene: Scene, database: Database) -> None:
    calls = {token: [scene.call("ann", token) for _ in range(4)] for token in ["A", "B", "C", "D", "E"]}
    for token, ids in calls.items():
        scene.run("losing", dict.fromkeys(ids, -0.05))
        if token in {"A", "B"}:
            scene.run("untested", dict.fromkeys(ids, 0.5))

    rows = scene.rows(database, "mart_strategy_leaderboard", "strategy_rank")

    assert [row["strategy_name"] for row in rows] == ["losing", "untested"]
    assert [bool(row["is_small_sample"]) for row in rows] == [False, True]


@pytest.mark.parametrize("database", DATABASES)
@pytest.mark.parametrize("mart", ["mart_strategy_leaderboard", "mart_runs_ranked"])
def test_superseded_failed_running_and_trial_runs_do_not_show(scene: Scene, database: Database, mart: str) -> None:
    call = scene.call("ann", "A")
    scene.run("s", {call: 9.0}, scope="s A january")
    current = scene.run("s", {call: 0.25}, scope="s A january")
    scene.run("s", {call: 8.0}, is_completed=False, error="the candles ran out")
    scene.run("s", {call: 7.0}, is_completed=False)
    scene.run("s", {call: 6.0}, run_type="optimization")
    scene.run("s", {call: 5.0}, run_type="what_if")

    (row,) = scene.rows(database, mart, "mean_pnl")

    assert row["mean_pnl"] == pytest.approx(0.25)
    assert row["trade_count"] == 1
    if mart == "mart_runs_ranked":
        assert row["simulation_run_id"] == current


def test_callers_who_only_lost_or_were_skipped_are_in_the_leaderboard(scene: Scene) -> None:
    won, lost, skipped = scene.call("ann", "A"), scene.call("bob", "A", day=3), scene.call("cat", "A", day=4)
    again = scene.call("bob", "B", day=5)
    scene.run("s", {won: 0.5, lost: -0.3, skipped: None})
    scene.run("s", {again: -0.1})

    rows = scene.rows("clickhouse", "mart_caller_leaderboard", "caller_handle")

    ann, bob, cat = rows
    assert [row["caller_handle"] for row in rows] == ["ann", "bob", "cat"]
    assert (bob["trade_count"], bob["win_count"], bob["token_count"]) == (2, 0, 2)
    assert bob["win_rate"] == 0.0
    assert bob["win_rate_lower"] == 0.0
    assert bob["mean_pnl"] == pytest.approx(-0.2)
    assert bob["median_pnl"] == pytest.approx(-0.2)
    assert bob["total_pnl"] == pytest.approx(-0.4)
    # Arrow gives ClickHouse's times as seconds: the 3rd and the 5th of January.
    assert bob["last_call_at"] - bob["first_call_at"] == 2 * 86400
    assert (cat["trade_count"], cat["skipped_count"]) == (0, 1)
    assert cat["win_rate"] is None
    assert cat["mean_pnl"] is None
    # Small samples all: bob has two tokens and so a lower bound; ann, with one, has none.
    assert (bob["caller_rank"], ann["caller_rank"], cat["caller_rank"]) == (1, 2, 3)


def test_postgres_attributes_results_only_where_one_caller_called(scene: Scene) -> None:
    shared = {scene.call("ann", "A"): 0.5, scene.call("bob", "A"): -0.3}
    sole = {scene.call("bob", "B"): -0.1, scene.call("bob", "B"): 0.3}
    scene.run("s", shared)
    scene.run("s", sole)
    scene.call("cat", "C")

    ann, bob, cat = scene.rows("postgres", "mart_caller_leaderboard", "caller_handle")

    assert (ann["call_count"], ann["simulated_call_count"], ann["shared_run_count"]) == (1, 1, 1)
    assert (ann["sole_trade_count"], ann["sole_mean_pnl"]) == (0, None)
    assert (bob["call_count"], bob["token_count"], bob["simulated_call_count"]) == (3, 2, 3)
    assert (bob["sole_run_count"], bob["sole_trade_count"], bob["sole_win_count"]) == (1, 2, 1)
    assert bob["sole_mean_pnl"] == pytest.approx(0.1)
    assert bob["sole_win_rate_lower"] == pytest.approx(_wilson_lower(1, 2))
    assert (cat["call_count"], cat["simulated_call_count"], cat["sole_run_count"]) == (1, 0, 0)


def test_a_call_of_two_overlapping_runs_counts_once(scene: Scene) -> None:
    call = scene.call("ann", "A")
    scene.run("s", {call: 0.5})
    later = scene.run("s", {call: 0.4}, window_end=JANUARY.replace(day=20))

    (row,) = scene.rows("clickhouse", "mart_strategy_leaderboard", "strategy_rank")
    (trade,) = scene.rows("clickhouse", "int_trades", "call_id")
    (in_postgres,) = scene.rows("postgres", "mart_strategy_leaderboard", "strategy_rank")

    assert (row["trade_count"], trade["simulation_run_id"]) == (1, later)
    assert row["mean_pnl"] == pytest.approx(0.4)
    assert in_postgres["overlapping_run_count"] == 1


@pytest.mark.parametrize("database", DATABASES)
def test_runs_are_ranked_by_a_mean_that_few_trades_can_not_lift(scene: Scene, database: Database) -> None:
    # Shrunk by ten trades at zero: one of +1.0 gives 1/11 = 0.0909, ten of +0.3 give 3/20 = 0.15.
    lucky = scene.run("s", {scene.call("ann", "A"): 1.0})
    steady = scene.run("s", {scene.call("ann", "B"): 0.3 for _ in range(10)})
    idle = scene.run("s", {scene.call("ann", "C"): None})
    losing = scene.run("s", {scene.call("ann", "D"): -0.5})

    rows = scene.rows(database, "mart_runs_ranked", "run_rank")

    assert [row["simulation_run_id"] for row in rows] == [steady, lucky, losing, idle]
    assert [row["shrunk_pnl"] for row in rows[:2]] == pytest.approx([0.15, 1 / 11])
    assert [bool(row["is_small_sample"]) for row in rows] == [False, True, True, True]
    assert rows[3]["mean_pnl"] is None
    assert rows[0]["sharpe_ratio"] == pytest.approx(1.5)


def test_every_header_test_passes_on_stored_rows(scene: Scene) -> None:
    calls = [scene.call("ann", "A"), scene.call("bob", "A")]
    scene.run("s", {calls[0]: 0.5, calls[1]: None}, scope="one")
    scene.run("s", {calls[0]: 0.4, calls[1]: -0.1}, scope="one")

    build_views(scene.urls.postgres, scene.urls.clickhouse).require_all()
    results = check_views(scene.urls.postgres, scene.urls.clickhouse)

    assert {result.database for result in results} == {"postgres", "clickhouse"}
    assert [result for result in results if not result.passed] == []
