"""Runs: written in the order that hides half of one, each once, and the same again."""

import multiprocessing
from dataclasses import asdict, replace
from typing import Any

import pyarrow as pa
import pytest

from quantbot_pipeline.engine.calls import SignalType
from quantbot_pipeline.engine.events_table import events_to_arrow
from quantbot_pipeline.engine.metrics import run_metrics
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.records import StrategyRow
from quantbot_pipeline.strategy.presets import load_preset, preset_names
from quantbot_pipeline.workflows import run_simulations as module
from quantbot_pipeline.workflows import simulate_together as together
from quantbot_pipeline.workflows.run_identity import events_digest
from quantbot_pipeline.workflows.run_simulations import (
    RunOutcome,
    RunRequest,
    RunStatus,
    run_simulations,
)
from quantbot_pipeline.workflows.token_months import TokenMonth
from tests.workflows.scene import (
    BONK,
    MARCH,
    MINUTE,
    PEPE,
    Dying,
    Killed,
    Scene,
    Urls,
    alert,
    candle_rows,
    plan_backtests,
)

pytestmark = pytest.mark.server

# Without the times of writing: what a run computes.
RESULTS = """
    select r.id, r.status, r.superseded_by, r.events_digest, s.final_pnl, s.trade_count, s.metadata_json::text
    from simulation_runs r left join simulation_results_summary s on s.simulation_run_id = r.id order by r.id
"""
AGGREGATED = (
    "final_pnl", "max_drawdown", "volatility", "sharpe_ratio", "sortino_ratio", "win_rate", "trade_count",
    "reentry_count", "ladder_entries_used", "ladder_exits_used",
)  # fmt: skip
EVENTS = "select * from simulation_events final order by simulation_run_id, call_id, seq"
AGGREGATES = "select * except created_at from simulation_aggregates final order by simulation_run_id, token_address"


def two_strategies(scene: Scene) -> list[StrategyRow]:
    """Store two calls on BONK, an hour of candles, and two strategies."""
    scene.history.insert_candles(candle_rows(BONK, MARCH, 120))
    scene.call(alert(1, MARCH + 3 * MINUTE), alert(2, MARCH + 40 * MINUTE))
    return [scene.strategy("first"), scene.strategy("second", exits={})]


def eight_strategies(scene: Scene) -> None:
    two_strategies(scene)
    for k in range(6):
        scene.strategy(f"strategy {k}", horizon_seconds=600 + 60 * k)


def simulate(scene: Scene, strategies: list[StrategyRow], **options: Any) -> list[RunOutcome]:
    return run_simulations(scene.plan(*strategies), scene.state, scene.history, **options)


def statuses(outcomes: list[RunOutcome]) -> list[str]:
    return [str(outcome.status) for outcome in outcomes]


def stored(scene: Scene) -> list[Any]:
    # repr: a NaN is then equal to itself.
    return [repr(scene.ask_state(RESULTS)), repr(scene.ask_history(EVENTS)), repr(scene.ask_history(AGGREGATES))]


def run_fields(scene: Scene, fields: str) -> list[tuple[Any, ...]]:
    return scene.ask_state(f"select {fields} from simulation_runs order by id")  # noqa: S608 - the tests' own text


def test_runs_are_computed_once_and_then_reused(scene: Scene) -> None:
    strategies = two_strategies(scene)
    first = simulate(scene, strategies)
    rows = stored(scene)
    second = simulate(scene, strategies)
    assert (statuses(first), statuses(second)) == (["computed"] * 2, ["reused"] * 2)
    assert [outcome.run_id for outcome in first] == [outcome.run_id for outcome in second]
    assert stored(scene) == rows
    assert scene.ask_history("select count() from simulation_events final") == [
        (sum(outcome.event_count for outcome in first),)
    ]
    assert all(outcome.event_count >= 4 for outcome in first)


# Dying before a step is dying after the one before it.
STEPS = [
    ("state", "claim_runs", False),
    ("history", "insert_events", False),
    ("history", "insert_aggregates", False),
    ("state", "complete_runs", False),
    ("state", "reactivate_runs", False),
    ("history", "publish", False),
    ("history", "publish", True),
]


@pytest.mark.parametrize(("where", "method", "after"), STEPS)
def test_a_kill_at_any_step_shows_no_half_run_and_is_healed_by_the_next_attempt(
    scene: Scene, where: str, method: str, after: bool
) -> None:
    strategies = two_strategies(scene)
    requests = scene.plan(*strategies)
    stores: dict[str, Any] = {"state": scene.state, "history": scene.history}
    stores[where] = Dying(stores[where], method, after=after)
    with pytest.raises(Killed):
        run_simulations(requests, stores["state"], stores["history"])

    completed = {run_id for run_id, status, _ in scene.runs() if status == "completed"}
    with_events = {
        run_id for (run_id,) in scene.ask_history("select distinct simulation_run_id from simulation_events")
    }
    with_aggregates = {run_id for (run_id,) in scene.ask_history("select simulation_run_id from simulation_aggregates")}
    shown = {run_id for (run_id,) in scene.ask_history("select simulation_run_id from published_runs")}
    assert shown <= completed <= with_events & with_aggregates
    died_early = [run_id for run_id, _, _ in scene.runs()]

    run_simulations(requests, scene.state, scene.history)
    healed = stored(scene)
    assert [run_id for run_id, _, _ in scene.runs()] == ([1, 2] if died_early == [] else died_early)
    assert {status for _, status, _ in scene.runs()} == {"completed"}
    shown_again = scene.ask_history("select simulation_run_id from published_runs final order by all")
    assert shown_again == [(run_id,) for run_id, _, _ in scene.runs()]

    # The same on empty stores, undisturbed.
    scene.empty()
    simulate(scene, two_strategies(scene))
    assert stored(scene) == healed


def test_force_computes_anew_and_gives_the_same_rows(scene: Scene) -> None:
    strategies = two_strategies(scene)
    simulate(scene, strategies)
    rows = stored(scene)
    assert statuses(simulate(scene, strategies, force=True)) == ["computed"] * 2
    assert stored(scene) == rows


def test_force_repairs_events_that_were_changed(scene: Scene) -> None:
    strategies = two_strategies(scene)
    simulate(scene, strategies)
    rows = stored(scene)
    scene.change_history("truncate table simulation_events")
    simulate(scene, strategies, force=True)
    assert stored(scene) == rows


def test_force_refuses_another_result_and_leaves_what_is_stored(scene: Scene) -> None:
    strategies = two_strategies(scene)
    simulate(scene, strategies)
    scene.change_state("update simulation_runs set events_digest = repeat('0', 64) where id = 1")
    rows = stored(scene)
    outcomes = simulate(scene, strategies, force=True)
    assert statuses(outcomes) == ["failed", "computed"]
    assert "gives other events than those stored" in str(outcomes[0].error)
    assert stored(scene) == rows


def test_a_failing_run_costs_no_neighbour_and_is_computed_by_the_next_attempt(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    strategies = two_strategies(scene)
    iterate_runs = together.iterate_runs

    def fail_first(markets: Any, strategies: Any, **options: Any) -> Any:
        if strategies[0].name == "first":
            raise ZeroDivisionError("a price was 0")
        return iterate_runs(markets, strategies, **options)

    monkeypatch.setattr(together, "iterate_runs", fail_first)
    assert statuses(simulate(scene, strategies)) == ["failed", "computed"]
    assert run_fields(scene, "status, error_message") == [
        ("failed", "ZeroDivisionError: a price was 0"),
        ("completed", None),
    ]
    monkeypatch.undo()
    assert statuses(simulate(scene, strategies)) == ["computed", "reused"]
    assert run_fields(scene, "id, status, error_message") == [(1, "completed", None), (2, "completed", None)]


def test_candles_that_no_engine_can_read_fail_their_own_runs_only(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Runs share what is made of their candles: what can't be made fails all that share it, and no other."""
    strategies = two_strategies(scene)
    scene.history.insert_candles(candle_rows(PEPE, MARCH, 120))
    scene.call(alert(9, MARCH, token=PEPE))
    [pepe] = [call.call_id for call in scene.state.load_calls(tokens=[PEPE])]
    prepared = together.PreparedMarkets

    def refuse_pepe(candles: Any, calls: Any, **options: Any) -> Any:
        if any(call.call_id == pepe for of_window in calls.values() for call in of_window):
            raise MemoryError("no room")
        return prepared(candles, calls, **options)

    requests = [*scene.plan(*strategies, token=PEPE), *scene.plan(*strategies)]
    monkeypatch.setattr(together, "PreparedMarkets", refuse_pepe)
    outcomes = run_simulations(requests, scene.state, scene.history)
    assert statuses(outcomes) == ["failed", "failed", "computed", "computed"]
    assert outcomes[0].error == "MemoryError: no room"


LISTENING: dict[str, Any] = {
    "overlap": "scale_in",
    "exits": {"on_exit_call": True, "stop_loss": {"initial": 0.2}, "trailing": {"activate_at": 0.05, "distance": 0.1}},
    "entry": {
        "type": "signal",
        "when": {"all": [{"left": {"indicator": "rsi", "params": {"period": 5}}, "op": "<", "right": 60}]},
    },
    "re_entry": {"after": ["stop", "trailing"], "retrace": 0.1, "size": 0.5, "max_count": 2, "max_wait_seconds": 1200},
    "costs": {"fee": 0.003, "slippage": {"type": "fixed", "fraction": 0.001}},
}


def _requests_of_all_kinds(scene: Scene) -> list[RunRequest]:
    """Store calls of all kinds on two tokens; return runs of one token, and one of both together."""
    scene.history.insert_candles(candle_rows(BONK, MARCH, 240))
    scene.history.insert_candles(candle_rows(PEPE, MARCH, 200, scale=1e-9))
    kinds = [SignalType.ENTRY, SignalType.SCALE_IN, SignalType.ENTRY, SignalType.EXIT, SignalType.SCALE_OUT]
    scene.call(
        *(
            alert(k, MARCH + (3 + 7 * k) * MINUTE, token=(BONK, PEPE)[k % 2], signal_type=kinds[k % 5])
            for k in range(40)
        )
    )
    rows = [scene.strategy("plain"), scene.strategy("listening", **LISTENING)]
    rows += [scene.strategy(name, **_preset(name)) for name in preset_names()]
    single = [*scene.plan(*rows), *scene.plan(*rows, token=PEPE)]
    by_strategy = {row.name: [r for r in single if r.strategy_row.name == row.name] for row in rows}
    both = [
        replace(of[0], inputs=tuple(r.inputs[0] for r in of), token_id=None, run_type="what_if")
        for of in by_strategy.values()
    ]
    return [*single, *both]


def _preset(name: str) -> dict[str, Any]:
    document = load_preset(name).model_dump(mode="json", by_alias=True)
    return {key: value for key, value in document.items() if key not in ("name", "version")}


def test_stored_runs_are_those_of_the_reference_engine_to_the_last_bit(scene: Scene) -> None:
    """Runs that were stored by the reference engine are found and confirmed, never told to differ."""
    requests = _requests_of_all_kinds(scene)
    outcomes = run_simulations(requests, scene.state, scene.history)
    digests = dict(run_fields(scene, "id, events_digest"))
    columns = ", ".join(AGGREGATED)
    for outcome in outcomes:
        assert outcome.status is RunStatus.COMPUTED, outcome.error
        events, trades, aggregates = [], [], []
        for part in outcome.request.inputs:
            found = simulate_reference(
                part.candles, part.calls, outcome.request.strategy, report_call_ids=part.reported_call_ids
            )
            events.append(module._with_run_columns(events_to_arrow(found), outcome.run_id, part.token))
            trades += found
            values = asdict(run_metrics(found))
            aggregates.append((part.token.address, *(values[name] for name in AGGREGATED)))
        assert digests[outcome.run_id] == events_digest(pa.concat_tables(events))
        assert outcome.metrics == run_metrics(trades)
        stored_rows = scene.ask_history(
            f"select token_address, {columns} from simulation_aggregates final "  # noqa: S608 - this module's names
            f"where simulation_run_id = {outcome.run_id} order by token_address"
        )
        assert stored_rows == sorted(aggregates)
    assert sum(outcome.event_count for outcome in outcomes) > 200


def test_runs_that_read_the_same_share_one_set_of_candles(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    two_strategies(scene)
    made: list[Any] = []
    prepared = together.PreparedMarkets
    monkeypatch.setattr(
        together, "PreparedMarkets", lambda *given, **options: made.append(given) or prepared(*given, **options)
    )
    outcomes = simulate(scene, scene.state.load_strategies())
    assert (statuses(outcomes), len(made)) == (["computed"] * 2, 1)


def test_new_candles_make_a_new_run_and_the_old_data_the_old_one_again(scene: Scene) -> None:
    strategies = two_strategies(scene)[:1]
    simulate(scene, strategies)
    old = candle_rows(BONK, MARCH, 120)
    scene.history.insert_candles(candle_rows(BONK, MARCH, 120, scale=2.0))
    assert statuses(simulate(scene, strategies)) == ["computed"]
    assert scene.runs() == [(1, "completed", 2), (2, "completed", None)]
    scene.history.insert_candles(old)
    assert statuses(simulate(scene, strategies)) == ["reused"]
    assert scene.runs() == [(1, "completed", None), (2, "completed", 1)]
    current = scene.ask_history("select simulation_run_id from published_runs final where is_current")
    assert current == [(1,)]


def test_a_forced_run_of_reverted_data_is_the_current_one_again(scene: Scene) -> None:
    """Computed anew and found to be the same, it once stayed superseded by the run of data that is gone."""
    strategies = two_strategies(scene)[:1]
    simulate(scene, strategies)
    old = candle_rows(BONK, MARCH, 120)
    scene.history.insert_candles(candle_rows(BONK, MARCH, 120, scale=2.0))
    simulate(scene, strategies)
    scene.history.insert_candles(old)
    simulate(scene, strategies, force=True)
    assert scene.runs() == [(1, "completed", None), (2, "completed", 1)]


def test_candles_behind_the_last_horizon_make_no_new_run(scene: Scene) -> None:
    strategies = two_strategies(scene)
    simulate(scene, strategies)
    scene.history.insert_candles(candle_rows(BONK, MARCH + 120 * MINUTE, 10))
    assert statuses(simulate(scene, strategies)) == ["reused"] * 2


@pytest.mark.parametrize("is_completed", [False, True])
def test_a_request_given_twice_is_one_run(scene: Scene, is_completed: bool) -> None:
    """A search may propose the same parameters twice; two summaries of one run were once refused."""
    strategies = two_strategies(scene)[:1]
    if is_completed:
        simulate(scene, strategies)
    requests = scene.plan(*strategies)
    outcomes = run_simulations(requests * 2, scene.state, scene.history)
    assert [outcome.run_id for outcome in outcomes] == [1, 1]
    assert outcomes[0] == outcomes[1]
    assert scene.runs() == [(1, "completed", None)]


def test_of_two_versions_of_a_strategy_the_newest_is_simulated(scene: Scene) -> None:
    """Both are active; their runs have one scope, and reusing both at once was once refused."""
    scene.history.insert_candles(candle_rows(BONK, MARCH, 120))
    scene.call(alert(1, MARCH))
    old = scene.strategy("growing", "9")
    simulate(scene, [old])
    strategies = [old, scene.strategy("growing", "10", exits={})]
    for _ in range(2):
        assert [outcome.request.strategy_row.version for outcome in simulate(scene, strategies)] == ["10"]
        assert scene.runs() == [(1, "completed", 2), (2, "completed", None)]


def test_a_month_without_entry_calls_asks_for_no_run(scene: Scene) -> None:
    two_strategies(scene)
    scene.call(alert(3, MARCH, token=PEPE, signal_type=SignalType.EXIT))
    strategies = scene.state.load_strategies()
    assert scene.plan(*strategies, token=PEPE) == []
    assert scene.plan(*strategies, month="2025-04") == []


def test_calls_without_candles_are_a_run_of_skipped_trades(scene: Scene) -> None:
    scene.call(alert(1, MARCH, token=PEPE))
    [outcome] = run_simulations(scene.plan(scene.strategy(), token=PEPE), scene.state, scene.history)
    assert (outcome.status, outcome.event_count) == (RunStatus.COMPUTED, 1)
    assert scene.ask_history("select event_type, isNaN(price) from simulation_events") == [("entry_skipped", 1)]


def test_more_runs_than_one_batch_are_all_stored_and_told(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_RUNS_PER_BATCH", 2)
    two_strategies(scene)
    strategies = [scene.strategy(f"strategy {k}", horizon_seconds=600 + 60 * k) for k in range(5)]
    told: list[tuple[int, int]] = []
    outcomes = simulate(scene, strategies, on_progress=lambda done, total, _: told.append((done, total)))
    assert statuses(outcomes) == ["computed"] * 5
    assert told == [(k, 5) for k in range(1, 6)]
    assert {status for _, status, _ in scene.runs()} == {"completed"}


def test_a_run_key_tells_strategies_of_one_config_apart(scene: Scene) -> None:
    two_strategies(scene)
    same = [scene.strategy("one"), scene.strategy("other")]
    assert statuses(simulate(scene, same)) == ["computed"] * 2
    assert {superseded for _, _, superseded in scene.runs()} == {None}


def _simulate_in_process(urls: Urls, ready: Any) -> None:
    with PostgresStore(urls.postgres) as state, ClickHouseStore(urls.clickhouse) as history:
        requests = plan_backtests([TokenMonth(BONK, "2025-03")], state.load_strategies(), state, history)
        ready.wait(60)
        for _ in range(3):
            run_simulations(requests, state, history)


def test_two_processes_that_simulate_the_same_store_every_run_once(scene: Scene) -> None:
    eight_strategies(scene)
    context = multiprocessing.get_context("spawn")
    ready = context.Barrier(2)
    processes = [context.Process(target=_simulate_in_process, args=(scene.urls, ready)) for _ in range(2)]
    for process in processes:
        process.start()
    for process in processes:
        process.join(60)
    assert [process.exitcode for process in processes] == [0, 0]
    assert [run[1:] for run in scene.runs()] == [("completed", None)] * 8
    digests = set(run_fields(scene, "run_key, events_digest"))
    events = scene.ask_history("select count() from simulation_events final")

    # One process on empty stores.
    scene.empty()
    eight_strategies(scene)
    run_simulations(scene.plan(*scene.state.load_strategies()), scene.state, scene.history)
    assert set(run_fields(scene, "run_key, events_digest")) == digests
    assert scene.ask_history("select count() from simulation_events final") == events
