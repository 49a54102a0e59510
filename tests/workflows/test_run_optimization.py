"""Searches: the same plan is the stored job, and a killed one goes on to the same trials."""

import re
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import optuna
import pytest

from quantbot_pipeline.defs.search_assets import optimize
from quantbot_pipeline.engine.calls import SignalType
from quantbot_pipeline.errors import DataError, InputError, SearchSpaceError, SimulationError
from quantbot_pipeline.report.search_collect import collect_search
from quantbot_pipeline.storage.records import StrategyRow
from quantbot_pipeline.workflows import measure_trials as meter
from quantbot_pipeline.workflows import optimization_plan as plan_module
from quantbot_pipeline.workflows import run_optimization as jobs_module
from quantbot_pipeline.workflows.export_study import export_job
from quantbot_pipeline.workflows.optimization_plan import plan_of_job
from quantbot_pipeline.workflows.run_optimization import OptimizationPlan, plan_optimization, run_optimization
from quantbot_pipeline.workflows.verify import verify
from tests.workflows.scene import BONK, MARCH, MINUTE, PEPE, Dying, Killed, Scene, alert, candle_rows

pytestmark = pytest.mark.server

TARGETS = {"path": "exits.targets[0].multiple", "type": "float", "low": 1.02, "high": 1.6}
HORIZONS = {"path": "horizon_seconds", "type": "int", "low": 600, "high": 5400, "step": 600}
# Optuna's TPE draws at random for ten trials; what comes after depends on every score before.
TRIAL_COUNT = 20

TRIALS = (
    "select trial_index, trial_params_json::text, simulation_run_id, metrics_json::text, score "
    "from optimization_trials order by job_id, trial_index"
)

WORTH = "select verdict_json::text, evidence_json::text, tally_json::text from optimization_jobs"


def store_world(scene: Scene) -> StrategyRow:
    """Store eight calls on two tokens over two hours, and a strategy."""
    for token in (BONK, PEPE):
        scene.history.insert_candles(candle_rows(token, MARCH, 180))
    scene.call(*(alert(k, MARCH + 15 * k * MINUTE, token=(BONK, PEPE)[k % 2]) for k in range(8)))
    return scene.strategy()


def plan(scene: Scene, *parameters: dict[str, Any], **options: Any) -> OptimizationPlan:
    space = {"parameters": list(parameters or (TARGETS, HORIZONS))}
    values: dict[str, Any] = {"trial_count": TRIAL_COUNT, "template_name": "plain", "space_document": space, **options}
    bounds = {name: values.pop(name).isoformat() for name in ("start", "end") if name in values}
    values.setdefault("data", bounds)
    return plan_optimization(scene.state, **values)


def trials(scene: Scene) -> list[tuple[Any, ...]]:
    return scene.ask_state(TRIALS)


def without_run(rows: list[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Return trials without the ids of their runs: a second attempt at a claim skips numbers."""
    return [(index, params, metrics, score) for index, params, _, metrics, score in rows]


def jobs(scene: Scene) -> list[tuple[Any, ...]]:
    return scene.ask_state("select id, status, error_message from optimization_jobs order by id")


def test_a_plan_runs_once_and_is_then_the_stored_job(scene: Scene) -> None:
    store_world(scene)
    first = run_optimization(plan(scene), scene.state, scene.history)
    rows, runs = trials(scene), scene.runs()
    second = run_optimization(plan(scene), scene.state, scene.history)
    assert (first.trial_count, first.is_known) == (TRIAL_COUNT, False)
    assert (second.job_id, second.trial_count, second.is_known) == (first.job_id, TRIAL_COUNT, True)
    assert (trials(scene), scene.runs()) == (rows, runs)
    assert jobs(scene) == [(1, "completed", None)]
    assert len({score for *_, score in rows}) > 3
    assert all(score is not None for *_, score in rows)


KILLS = [
    ("state", "complete_runs", False, 1),
    ("state", "store_trials", True, 2),
    # The traces of the best come last.
    ("history", "insert_events", True, 0),
]

MORE_KILLS = [
    ("state", "create_job", False, 0),
    ("state", "create_job", True, 0),
    ("state", "claim_runs", True, 1),
    ("state", "complete_runs", True, 0),
    ("state", "store_trials", False, 1),
    ("history", "insert_events", False, 0),
    ("history", "insert_aggregates", True, 0),
    ("state", "finish_job", False, 0),
]


@pytest.mark.parametrize("kills", [KILLS, pytest.param(MORE_KILLS, marks=pytest.mark.deep)], ids=["some", "others"])
def test_a_killed_search_goes_on_to_the_trials_of_an_undisturbed_one(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, kills: list[tuple[str, str, bool, int]]
) -> None:
    monkeypatch.setattr(jobs_module, "ROWS_PER_WRITE", 5)
    store_world(scene)
    run_optimization(plan(scene), scene.state, scene.history)
    undisturbed, worth = without_run(trials(scene)), scene.ask_state(WORTH)
    assert len(undisturbed) == TRIAL_COUNT
    for where, method, after, survived in kills:
        scene.empty()
        store_world(scene)
        stores: dict[str, Any] = {"state": scene.state, "history": scene.history}
        stores[where] = Dying(stores[where], method, after=after, survived=survived)
        with pytest.raises(Killed):
            run_optimization(plan(scene), stores["state"], stores["history"])
        outcome = run_optimization(plan(scene), scene.state, scene.history, threads=2)
        assert (outcome.job_id, outcome.trial_count, outcome.is_known) == (1, TRIAL_COUNT, False), method
        assert jobs(scene) == [(1, "completed", None)]
        assert without_run(trials(scene)) == undisturbed, (method, after)
        assert scene.ask_state(WORTH) == worth, (method, after)
        of_trials = {(run_id,) for _, _, run_id, _, _ in trials(scene)}
        assert set(scene.ask_state("select id from simulation_runs where status = 'completed'")) == of_trials
        assert_only_the_best_have_traces(scene)


def test_threads_change_nothing(scene: Scene) -> None:
    store_world(scene)
    found = []
    for threads in (1, 3):
        run_optimization(plan(scene, sampler="nsga2", trial_count=40), scene.state, scene.history, threads=threads)
        found.append((without_run(trials(scene)), scene.ask_state(WORTH)))
        scene.empty()
        store_world(scene)
    assert found[0] == found[1]


def assert_only_the_best_have_traces(scene: Scene) -> None:
    """Five trials keep events and aggregates, and verify finds nothing wrong with the others."""
    best = scene.ask_state(
        "select distinct simulation_run_id from (select simulation_run_id from optimization_trials "
        "order by score desc nulls last, trial_index limit 5) as best"
    )
    traced = scene.ask_state("select id from simulation_runs where events_digest <> 'metrics-only'")
    assert set(traced) == set(best)
    assert set(scene.ask_history("select distinct toInt64(simulation_run_id) from simulation_events final")) <= set(
        best
    )
    assert set(scene.ask_history("select distinct toInt64(simulation_run_id) from simulation_aggregates final")) == set(
        best
    )
    outcomes = verify(scene.state, scene.history, now=MARCH + timedelta(days=365))
    # Alerts and candles of these tests came without an import.
    broken = {outcome.rule: outcome.examples for outcome in outcomes if not outcome.holds}
    assert broken.keys() <= {"alerts", "candle-counts"}, broken


def test_trials_of_equal_parameters_share_a_run(scene: Scene) -> None:
    """Eight trials of one batch over two values: two summaries of one run were once refused."""
    store_world(scene)
    two = {"path": "horizon_seconds", "type": "categorical", "choices": [600, 1200]}
    run_optimization(plan(scene, two, sampler="random"), scene.state, scene.history)
    assert len({run_id for _, _, run_id, _, _ in trials(scene)}) == 2
    assert len(trials(scene)) == TRIAL_COUNT
    assert len(scene.runs()) == 2


def test_a_grid_smaller_than_the_trials_asked_for_counts_what_it_has(scene: Scene) -> None:
    store_world(scene)
    grid = plan(scene, HORIZONS | {"step": 2400}, sampler="grid")
    for is_known in (False, True):
        outcome = run_optimization(grid, scene.state, scene.history)
        assert (outcome.trial_count, outcome.is_known) == (3, is_known)


def test_parameters_that_make_no_strategy_are_trials_without_a_run(scene: Scene) -> None:
    store_world(scene)
    scene.strategy("two targets", exits={"targets": [{"multiple": 1.1, "size": 0.5}, {"multiple": 1.2, "size": 0.5}]})
    # Of 1.05, 1.1, 1.15, 1.2, 1.25 and 1.3 the last three do not lie below the second target.
    first = {"path": "exits.targets[0].multiple", "type": "float", "low": 1.05, "high": 1.3, "step": 0.05}
    run_optimization(plan(scene, first, template_name="two targets", sampler="grid"), scene.state, scene.history)
    refused = [row for row in trials(scene) if row[2] is None]
    assert (len(refused), len(trials(scene))) == (3, 6)
    for _, _, _, metrics, score in refused:
        assert metrics == "{}"
        assert score is None
    reasons = scene.ask_state("select state, reason from optimization_trials where simulation_run_id is null")
    for state, reason in reasons:
        assert (state, "allowed more than the multiple before" in reason) == ("refused", True)
    assert jobs(scene) == [(1, "completed", None)]


def test_trials_with_a_longer_horizon_read_the_candles_that_they_need(scene: Scene) -> None:
    """Each trial's run is the one that its strategy has when nothing else was loaded with it."""
    store_world(scene)
    horizons = {"path": "horizon_seconds", "type": "categorical", "choices": [600, 7200, 40 * 86_400]}
    outcome = run_optimization(plan(scene, horizons, sampler="grid"), scene.state, scene.history)
    assert outcome.trial_count == 3
    counts = scene.ask_state("select (data_selection_json ->> 'candle_count')::int from simulation_runs order by 1")
    # The longest reads to the last candle.
    assert counts[2][0] > counts[0][0] + 100


def test_new_candles_in_reach_of_a_longer_trial_make_a_new_job(scene: Scene) -> None:
    """The template's own trades ended before them; the stored job was once taken for the new one's."""
    scene.history.insert_candles(candle_rows(BONK, MARCH, 60))
    scene.call(alert(1, MARCH))
    scene.strategy()
    longer = {"path": "horizon_seconds", "type": "categorical", "choices": [600, 5400]}
    grid = {"sampler": "grid", "start": MARCH, "end": MARCH + MINUTE}
    run_optimization(plan(scene, longer, **grid), scene.state, scene.history)
    scene.history.insert_candles(candle_rows(BONK, MARCH + 60 * MINUTE, 20))
    outcome = run_optimization(plan(scene, longer, **grid), scene.state, scene.history)
    assert (outcome.job_id, outcome.is_known) == (2, False)
    # Behind the longest horizon nothing is read.
    scene.history.insert_candles(candle_rows(BONK, MARCH + 80 * MINUTE, 20))
    third = run_optimization(plan(scene, longer, **grid), scene.state, scene.history)
    assert third.job_id == 3
    scene.history.insert_candles(candle_rows(BONK, MARCH + 100 * MINUTE, 20))
    assert run_optimization(plan(scene, longer, **grid), scene.state, scene.history).job_id == 3


def test_a_failing_trial_is_recorded_and_the_job_goes_on(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    store_world(scene)
    measure = meter.measured
    shorter = {"path": "horizon_seconds", "type": "categorical", "choices": [600, 1200]}

    def fail(run: Any, *values: Any) -> Any:
        if run.strategy.horizon_seconds == 600:
            raise ZeroDivisionError("a price was 0")
        return measure(run, *values)

    with monkeypatch.context() as patched:
        patched.setattr(meter, "measured", fail)
        run_optimization(plan(scene, shorter, sampler="grid"), scene.state, scene.history)
    assert jobs(scene) == [(1, "completed", None)]
    found = scene.ask_state("select state, reason, score is null, simulation_run_id is null from optimization_trials")
    assert found[0] == ("failed", "ZeroDivisionError: a price was 0", True, True)
    assert found[1] == ("scored", "", False, False)


def test_data_that_changes_under_a_running_job_fails_it(scene: Scene) -> None:
    """Where a trial reads further than was foreseen, all is loaded anew: it must be the data of the job's key."""
    store_world(scene)
    # Alone each value is short; together they reach four hours.
    latency = {"path": "costs.latency_seconds", "type": "categorical", "choices": [7200, 0]}
    horizon = {"path": "horizon_seconds", "type": "categorical", "choices": [7200, 600]}
    state: Any = scene.state
    stale = plan(scene, latency, horizon, sampler="grid")

    class ChangesAfterCreation:
        def create_job(self, **values: Any) -> Any:
            scene.history.insert_candles(candle_rows(BONK, MARCH, 180, scale=3.0))
            return state.create_job(**values)

        def __getattr__(self, name: str) -> Any:
            return getattr(state, name)

    changing: Any = ChangesAfterCreation()
    with pytest.raises(DataError, match="changed while it ran"):
        run_optimization(stale, changing, scene.history)
    assert [status for _, status, _ in jobs(scene)] == ["failed"]


def test_a_window_whose_calls_open_no_trade_is_refused_before_a_job_is_made(scene: Scene) -> None:
    store_world(scene)
    scene.call(alert(99, MARCH + timedelta(days=3), signal_type=SignalType.EXIT))
    start = MARCH + timedelta(days=2)
    with pytest.raises(SimulationError, match="no calls that open a trade"):
        run_optimization(plan(scene, start=start, end=start + timedelta(days=5)), scene.state, scene.history)
    with pytest.raises(InputError, match="is not after start"):
        plan(scene, start=start, end=start)
    assert jobs(scene) == []


def test_without_a_selection_all_calls_of_their_months_are_searched(scene: Scene) -> None:
    store_world(scene)
    found = plan(scene, trial_count=1)
    assert found.window_start == MARCH
    assert found.window_end == datetime.fromisoformat("2025-04-01T00:00:00+00:00")
    run_optimization(found, scene.state, scene.history)
    assert scene.ask_state("select distinct data_selection_json ->> 'call_count' from simulation_runs") == [("8",)]
    [(data,)] = scene.ask_state("select data_json from optimization_jobs")
    assert data["call_count"] == 8
    assert (data["tokens"], data["callers"]) == (["binance:BONK_USDT", "binance:PEPE_USDT"], None)


def test_tokens_months_and_callers_select_calls(scene: Scene) -> None:
    store_world(scene)
    # Odd calls are on PEPE and by caller 1; of two months only one is asked for.
    scene.call(alert(50, MARCH + timedelta(days=40)))
    some = {"tokens": ["binance:PEPE*"], "months": ["2025-03"], "callers": ["file/caller 1"]}
    run_optimization(plan(scene, data=some, trial_count=2), scene.state, scene.history)
    run_optimization(plan(scene, data={"months": "2025-03..2025-03"}, trial_count=2), scene.state, scene.history)
    counts = scene.ask_state(
        "select data_json -> 'call_count', data_json -> 'tokens' from optimization_jobs order by id"
    )
    assert counts == [(4, ["binance:PEPE_USDT"]), (8, ["binance:BONK_USDT", "binance:PEPE_USDT"])]
    for wrong, message in (
        ({"tokens": ["binance:NONE*"]}, "--data: tokens: 'binance:NONE\\*' matches nothing"),
        ({"months": ["2024-01"]}, "--data: months: '2024-01' matches nothing"),
        ({"callers": ["nobody"]}, "--data: callers: 'nobody' matches no caller"),
        ({"token": ["a"]}, "--data: found 'token'; allowed are tokens, months, callers"),
        ({"tokens": 7}, "--data: tokens: found 7"),
    ):
        with pytest.raises(InputError, match=message):
            plan(scene, data=wrong)


def test_a_job_that_a_timeout_made_shorter_goes_on_from_there(scene: Scene) -> None:
    store_world(scene)
    short = run_optimization(plan(scene), scene.state, scene.history, timeout_seconds=0)
    assert (short.trial_count, short.verdict) == (0, None)
    assert short.note == "--timeout ended the search after 0 of 20 trials"
    assert jobs(scene) == [(1, "completed", None)]
    # That it has no trial yet is as it should be.
    broken = {each.rule for each in verify(scene.state, scene.history, now=MARCH) if not each.holds}
    assert "trials" not in broken
    whole = run_optimization(plan_of_job(scene.state, 1), scene.state, scene.history, job_id=1)
    assert (whole.job_id, whole.trial_count, whole.is_known, whole.note) == (1, TRIAL_COUNT, False, None)
    assert scene.ask_state("select note from optimization_jobs") == [(None,)]


@pytest.mark.parametrize("stores_all", [True, False])
def test_a_search_whose_limit_no_trial_meets_fails_and_says_how_near_they_came(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, stores_all: bool
) -> None:
    monkeypatch.setattr(plan_module, "MOST_STORED_TRIALS", 2)
    store_world(scene)

    def unmet(**options: Any) -> OptimizationPlan:
        asked = {"objective": "final_pnl subject to average_holding_minutes >= 900", "trial_count": 4} | options
        return plan(scene, HORIZONS | {"low": 600, "high": 2400}, sampler="grid", store_all=stores_all, **asked)

    failed = run_optimization(unmet(), scene.state, scene.history)
    assert (failed.trial_count, failed.verdict, failed.note) == (4, None, None)
    # Trades reach the target within two minutes, whatever the horizon.
    assert failed.failure == "no trial of 4 met 'average_holding_minutes >= 900': the most was 1.5"
    assert jobs(scene) == [(1, "failed", failed.failure)]
    states = scene.ask_state(
        "select state, reason like '%allowed is average_holding_minutes >= 900' from optimization_trials"
    )
    assert states == [("unscored", True)] * 4 * stores_all
    found = collect_search(scene.state, 1)
    assert found is not None
    assert (found.status, found.note, found.counts) == ("failed", failed.failure, {"unscored": 4})
    # It came to its end: going on simulates nothing and says it again.
    kept = scene.ask_state("select * from optimization_jobs")
    again = run_optimization(plan_of_job(scene.state, 1), scene.state, scene.history, job_id=1)
    assert (again.job_id, again.trial_count, again.is_known, again.failure) == (1, 4, True, failed.failure)
    assert scene.ask_state("select * from optimization_jobs") == kept
    # Without a completed one it is the last search.
    last = collect_search(scene.state)
    assert last is not None
    assert last.job_id == 1
    # Another limit is another search, of the same runs.
    met = run_optimization(unmet(objective="final_pnl"), scene.state, scene.history)
    assert (met.job_id != 1, met.failure) == (True, None)
    last = collect_search(scene.state)
    assert last is not None
    assert last.job_id == met.job_id


def test_a_search_without_a_score_fails_its_step_of_dagster_and_is_shown_there(scene: Scene) -> None:
    store_world(scene)
    result = dg.materialize(
        [optimize],
        resources={"state_store": scene.state, "history_store": scene.history},
        run_config={
            "loggers": {"console": {"config": {"log_level": "CRITICAL"}}},
            "ops": {
                "optimize": {
                    "config": {"template": "plain", "trials": 2, "objective": "final_pnl subject to stop_out_rate >= 1"}
                }
            },
        },
        raise_on_error=False,
    )
    told = result.failure_data_for_node("optimize")
    assert told is not None
    assert told.user_failure_data is not None
    metadata = {name: value.value for name, value in told.user_failure_data.metadata.items()}
    assert told.user_failure_data.description == (
        f"search {metadata['job_id']} failed: no trial of 2 met 'stop_out_rate >= 1': the most was 0.5"
    )
    assert metadata["trials"] == 2


def test_a_search_that_was_stopped_before_any_score_goes_on_to_its_failure(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_world(scene)
    unmet = plan(scene, objective="final_pnl subject to average_holding_minutes >= 900", trial_count=4, batch_size=2)
    stops = iter([False, True])
    with monkeypatch.context() as patched:
        patched.setattr(jobs_module, "_stop_after", lambda *_: lambda: next(stops))
        short = run_optimization(unmet, scene.state, scene.history)
    assert (short.trial_count, short.failure) == (2, None)
    assert jobs(scene) == [(1, "completed", None)]
    whole = run_optimization(unmet, scene.state, scene.history)
    assert (whole.job_id, whole.is_known) == (1, False)
    assert whole.failure is not None
    assert whole.failure.startswith("no trial of 4 met")
    assert jobs(scene) == [(1, "failed", whole.failure)]


def test_jobs_whose_trials_overlap_share_runs(scene: Scene) -> None:
    store_world(scene)
    for count in (4, 8):
        run_optimization(plan(scene, sampler="random", trial_count=count), scene.state, scene.history)
    assert len(trials(scene)) == 12
    assert len(scene.runs()) == 8
    assert scene.ask_state("select max(attempt) from simulation_runs") == [(1,)]


def test_a_large_grid_keeps_rows_of_its_best_alone(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "MOST_STORED_TRIALS", 10)
    store_world(scene)
    grid = plan(scene, HORIZONS, TARGETS | {"step": 0.29}, sampler="grid", trial_count=100)
    outcome = run_optimization(grid, scene.state, scene.history)
    assert outcome.trial_count == 27
    assert len(trials(scene)) == 5
    [(tally,)] = scene.ask_state("select tally_json from optimization_jobs")
    assert tally["counts"] == {"scored": 27}
    assert tally["sample"]["count"] == 27
    assert_only_the_best_have_traces(scene)
    few = without_run(trials(scene))
    run_optimization(
        plan(scene, HORIZONS, TARGETS | {"step": 0.29}, sampler="grid", trial_count=100, store_all=True),
        scene.state,
        scene.history,
    )
    every = [row for row in without_run(trials(scene)) if row not in few]
    assert len(every) == 22
    assert min(score for *_, score in few) >= max(score for *_, score in every)
    # The best ones have every metric, as all trials have where each has a row.
    bests = scene.ask_state("select tally_json -> 'best' from optimization_jobs")
    assert bests[0] == bests[1]
    assert {len(record["metrics"]) for record in bests[0][0]} == {24}


# A grid of 27 points in batches of 4, which keeps how far it is after 8, 16, 24 and 27: killed before and after it
# does, between the rows of its best, and at the end. Behind each, after how many points it goes on.
KILLS_WITHOUT_ROWS = [
    ("state", "store_tally", True, 1, 16),
    ("history", "insert_events", True, 0, 27),
]

MORE_KILLS_WITHOUT_ROWS = [
    ("state", "store_tally", False, 0, 0),
    ("state", "store_tally", False, 2, 16),
    ("state", "store_tally", True, 3, 27),
    ("state", "store_trials", True, 0, 27),
    ("state", "finish_job", False, 0, 27),
]


@pytest.mark.parametrize(
    "kills",
    [KILLS_WITHOUT_ROWS, pytest.param(MORE_KILLS_WITHOUT_ROWS, marks=pytest.mark.deep)],
    ids=["some", "others"],
)
def test_a_killed_search_without_rows_goes_on_from_what_it_kept(
    scene: Scene, monkeypatch: pytest.MonkeyPatch, kills: list[tuple[str, str, bool, int, int]]
) -> None:
    monkeypatch.setattr(plan_module, "MOST_STORED_TRIALS", 10)
    monkeypatch.setattr(jobs_module, "_TRIALS_PER_TALLY", 8)
    store_world(scene)

    def grid() -> OptimizationPlan:
        return plan(scene, HORIZONS, TARGETS | {"step": 0.29}, sampler="grid", trial_count=100, batch_size=4)

    run_optimization(grid(), scene.state, scene.history)
    undisturbed, worth = without_run(trials(scene)), scene.ask_state(WORTH)
    assert "progress" not in worth[0][2]
    for where, method, after, survived, goes_on_after in kills:
        scene.empty()
        store_world(scene)
        stores: dict[str, Any] = {"state": scene.state, "history": scene.history}
        stores[where] = Dying(stores[where], method, after=after, survived=survived)
        with pytest.raises(Killed):
            run_optimization(grid(), stores["state"], stores["history"])
        told: list[int] = []
        outcome = run_optimization(
            plan_of_job(scene.state, 1),
            scene.state,
            scene.history,
            threads=2,
            job_id=1,
            on_progress=lambda done, _, message, told=told: told.append(done) if message.startswith("trial ") else None,
        )
        # No point is taken a second time.
        assert told == list(range(goes_on_after + 4, 27, 4)) + [27] * (goes_on_after < 27), (method, after, survived)
        assert outcome.trial_count == 27
        assert jobs(scene) == [(1, "completed", None)]
        assert without_run(trials(scene)) == undisturbed, (method, after, survived)
        assert scene.ask_state(WORTH) == worth, (method, after, survived)


def test_a_search_without_rows_goes_on_after_a_timeout(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(plan_module, "MOST_STORED_TRIALS", 10)
    store_world(scene)

    def points() -> OptimizationPlan:
        return plan(scene, sampler="random", batch_size=4)

    run_optimization(points(), scene.state, scene.history)
    worth = scene.ask_state(WORTH)
    scene.empty()
    store_world(scene)
    stops = iter([False, False, True])
    with monkeypatch.context() as patched:
        patched.setattr(jobs_module, "_stop_after", lambda *_: lambda: next(stops))
        short = run_optimization(points(), scene.state, scene.history)
    assert (short.trial_count, short.note) == (8, "--timeout ended the search after 8 of 20 trials")
    assert run_optimization(points(), scene.state, scene.history).trial_count == TRIAL_COUNT
    assert scene.ask_state(WORTH) == worth


def test_a_job_whose_data_changed_is_not_resumed_and_nothing_is_written(scene: Scene) -> None:
    store_world(scene)
    run_optimization(plan(scene), scene.state, scene.history, timeout_seconds=0)
    before = scene.ask_state("select * from optimization_jobs")
    scene.history.insert_candles(candle_rows(BONK, MARCH, 180, scale=3.0))
    with pytest.raises(SimulationError, match="job 1 can't go on: calls, candles or the engine changed"):
        run_optimization(plan_of_job(scene.state, 1), scene.state, scene.history, job_id=1)
    assert scene.ask_state("select * from optimization_jobs") == before
    assert (trials(scene), scene.runs()) == ([], [])


def test_pruned_trials_have_no_run(scene: Scene) -> None:
    store_world(scene)
    halving = {"kind": "halving", "shares": [0.5], "keep": 0.5}
    run_optimization(plan(scene, sampler="random", pruning=halving, batch_size=8), scene.state, scene.history)
    states = scene.ask_state(
        "select state, count(*), count(simulation_run_id) from optimization_trials group by state order by state"
    )
    assert states == [("pruned", 10, 0), ("scored", 10, 10)]


def test_a_plan_that_cannot_be_is_refused(scene: Scene) -> None:
    scene.strategy()
    with pytest.raises(InputError, match="no entry calls to search on"):
        plan(scene)
    with pytest.raises(InputError, match="trials: 0 is not allowed"):
        plan(scene, trial_count=0)
    single = {"path": "horizon_seconds", "type": "categorical", "choices": [600]}
    with pytest.raises(SearchSpaceError, match="every parameter has a single value"):
        plan(scene, single)
    with pytest.raises(InputError, match="strategy 'other' is not stored; stored are plain; a file of it"):
        plan(scene, template_name="other")


def test_the_newest_version_of_a_template_is_searched(scene: Scene) -> None:
    store_world(scene)
    scene.strategy(version="9")
    newest = scene.strategy(version="10", horizon_seconds=600)
    assert plan(scene).template.strategy_id == newest.strategy_id


def test_a_search_can_be_read_as_a_study_of_optuna(scene: Scene, tmp_path: Path) -> None:
    store_world(scene)
    stops = {"path": "exits.stop_loss", "type": "categorical", "choices": [{"initial": 0.1}, None]}
    run_optimization(plan(scene, TARGETS, HORIZONS, stops, trial_count=12), scene.state, scene.history)
    url = f"sqlite:///{tmp_path / 'study.db'}"
    assert export_job(scene.state, 1, url) == 12
    study = optuna.load_study(study_name="job 1", storage=url)
    assert [trial.values for trial in study.trials] == [[score] for *_, score in trials(scene)]
    best = max(trials(scene), key=lambda row: row[4])
    assert study.best_trial.user_attrs["trial"] == best[0]
    assert {"exits.targets[0].multiple", "horizon_seconds", "exits.stop_loss"} == set(study.best_params)
    with pytest.raises(InputError, match="has a study 'job 1' already"):
        export_job(scene.state, 1, url)
    for wrong, why in (
        ("nothing://user:secret@host", "found nothing://…, for which no driver is installed; allowed is"),
        ("search.db", "found a text that is not a URL of a database; allowed is"),
        (f"sqlite:///{tmp_path}/none/study.db", f"the folder {tmp_path}/none does not exist; allowed is"),
    ):
        with pytest.raises(InputError, match=re.escape(why)):
            export_job(scene.state, 1, wrong)
    with pytest.raises(InputError, match="no search 9"):
        export_job(scene.state, 9, url)


def test_a_search_whose_template_is_out_of_use_can_be_read_as_a_study(scene: Scene, tmp_path: Path) -> None:
    store_world(scene)
    run_optimization(plan(scene, TARGETS, trial_count=3), scene.state, scene.history)
    scene.change_state("update strategies set is_active = false")
    assert export_job(scene.state, 1, f"sqlite:///{tmp_path / 'study.db'}") == 3
