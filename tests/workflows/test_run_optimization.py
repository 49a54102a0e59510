"""Searches: the same plan is the stored job, and a killed one goes on to the same trials."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from quantbot_pipeline.engine.calls import SignalType
from quantbot_pipeline.errors import InputError, SimulationError
from quantbot_pipeline.storage.records import StrategyRow
from quantbot_pipeline.workflows import simulate_together as together
from quantbot_pipeline.workflows.run_optimization import OptimizationPlan, plan_optimization, run_optimization
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


def store_world(scene: Scene) -> StrategyRow:
    """Store eight calls on two tokens over two hours, and a strategy."""
    for token in (BONK, PEPE):
        scene.history.insert_candles(candle_rows(token, MARCH, 180))
    scene.call(*(alert(k, MARCH + 15 * k * MINUTE, token=(BONK, PEPE)[k % 2]) for k in range(8)))
    return scene.strategy()


def plan(scene: Scene, *parameters: dict[str, Any], **options: Any) -> OptimizationPlan:
    space = {"parameters": list(parameters or (TARGETS, HORIZONS))}
    values: dict[str, Any] = {"trial_count": TRIAL_COUNT, "template_name": "plain", "space_document": space, **options}
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


@pytest.mark.parametrize(
    ("where", "method", "survived"),
    [("state", "store_trials", 1), ("history", "insert_events", 1), ("state", "complete_runs", 1)],
)
def test_a_killed_search_goes_on_to_the_trials_of_an_undisturbed_one(
    scene: Scene, where: str, method: str, survived: int
) -> None:
    store_world(scene)
    stores: dict[str, Any] = {"state": scene.state, "history": scene.history}
    stores[where] = Dying(stores[where], method, after=False, survived=survived)
    with pytest.raises(Killed):
        run_optimization(plan(scene), stores["state"], stores["history"])
    assert jobs(scene) == [(1, "running", None)]
    outcome = run_optimization(plan(scene), scene.state, scene.history)
    assert (outcome.job_id, outcome.trial_count, outcome.is_known) == (1, TRIAL_COUNT, False)
    assert jobs(scene) == [(1, "completed", None)]
    resumed = without_run(trials(scene))
    assert len(scene.runs()) == len({run_id for _, _, run_id, _, _ in trials(scene)})

    scene.empty()
    store_world(scene)
    run_optimization(plan(scene), scene.state, scene.history)
    assert without_run(trials(scene)) == resumed


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
        assert "refused" in metrics
        assert score is None
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


def test_a_failing_trial_fails_the_job_and_the_next_attempt_completes_it(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    store_world(scene)

    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a price was 0")

    with monkeypatch.context() as patched:
        patched.setattr(together, "iterate_runs", fail)
        with pytest.raises(SimulationError, match=r"trial 0 .*a price was 0"):
            run_optimization(plan(scene), scene.state, scene.history)
    [(_, status, message)] = jobs(scene)
    assert status == "failed"
    assert "a price was 0" in message
    run_optimization(plan(scene), scene.state, scene.history)
    assert jobs(scene) == [(1, "completed", None)]
    assert len(trials(scene)) == TRIAL_COUNT


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
    with pytest.raises(SimulationError, match="changed while it ran"):
        run_optimization(stale, changing, scene.history)
    assert [status for _, status, _ in jobs(scene)] == ["failed"]


def test_a_window_whose_calls_open_no_trade_is_refused_before_a_job_is_made(scene: Scene) -> None:
    store_world(scene)
    scene.call(alert(99, MARCH + timedelta(days=3), signal_type=SignalType.EXIT))
    start = MARCH + timedelta(days=2)
    for end in (start + timedelta(days=5), start):
        with pytest.raises(SimulationError, match="no calls that open a trade"):
            run_optimization(plan(scene, start=start, end=end), scene.state, scene.history)
    assert jobs(scene) == []


def test_without_a_window_the_last_calls_stay_unseen(scene: Scene) -> None:
    store_world(scene)
    found = plan(scene)
    # 0.7 of 8 calls: the call at place 5 is the last that is seen, and its second is inside.
    assert found.window_start == MARCH
    assert found.window_end == datetime.fromisoformat("2025-03-01T01:15:01+00:00")
    run_optimization(replace(found, trial_count=1), scene.state, scene.history)
    calls = scene.ask_state("select distinct data_selection_json ->> 'call_count' from simulation_runs")
    assert calls == [("6",)]


def test_a_plan_that_cannot_be_is_refused(scene: Scene) -> None:
    scene.strategy()
    with pytest.raises(InputError, match="no entry calls to search on"):
        plan(scene)
    with pytest.raises(InputError, match="trials: 0 is not allowed"):
        plan(scene, trial_count=0)
    with pytest.raises(InputError, match="strategy 'other' is not stored; stored are plain"):
        plan(scene, template_name="other")


def test_the_newest_version_of_a_template_is_searched(scene: Scene) -> None:
    store_world(scene)
    scene.strategy(version="9")
    newest = scene.strategy(version="10", horizon_seconds=600)
    assert plan(scene).template.strategy_id == newest.strategy_id
