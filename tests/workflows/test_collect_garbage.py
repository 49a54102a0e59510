"""What dead attempts left is removed; what works, what completed and what views show is not touched."""

import subprocess
import sys
import threading
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.views import build_views, load_views
from quantbot_pipeline.workflows import run_simulations as simulations
from quantbot_pipeline.workflows.collect_garbage import Garbage, collect_garbage
from quantbot_pipeline.workflows.run_simulations import run_simulations, token_lock_name
from quantbot_pipeline.workflows.verify import find_rules, verify
from tests.workflows.scene import BONK, MARCH, MINUTE, Dying, Killed, Scene, alert, candle_rows

pytestmark = pytest.mark.server


def collect(scene: Scene, **options: Any) -> Garbage:
    return collect_garbage(scene.state, scene.history, now=datetime.now(UTC), **options)


def rows_of_runs(scene: Scene) -> list[tuple[Any, ...]]:
    """Return (run, events, aggregates) of runs that have any."""
    return scene.ask_history(
        "select run, sum(events), sum(aggregates) from ("
        "select simulation_run_id as run, 1 as events, 0 as aggregates from simulation_events final union all "
        "select simulation_run_id as run, 0 as events, 1 as aggregates from simulation_aggregates final) "
        "group by run order by run"
    )


def broken_rules(scene: Scene) -> list[str]:
    # These scenes store candles and alerts without imports.
    rules = [rule for rule in find_rules(None) if rule.name not in {"alerts", "candle-counts"}]
    return [
        found.rule for found in verify(scene.state, scene.history, now=datetime.now(UTC), rules=rules) if found.wrong
    ]


def view_contents(scene: Scene) -> dict[str, Any]:
    build_views(scene.urls.postgres, scene.urls.clickhouse).require_all()
    contents = {}
    for view in load_views("postgres"):
        contents[f"postgres.{view.name}"] = sorted(map(repr, scene.ask_state(f"select * from {view.name}")))  # noqa: S608 - own names
    for view in load_views("clickhouse"):
        contents[f"clickhouse.{view.name}"] = sorted(map(repr, scene.ask_history(f"select * from {view.name}")))  # noqa: S608 - own names
    return contents


@pytest.fixture
def completed(scene: Scene) -> Scene:
    """One completed run with two trades of two events, run 1."""
    scene.history.insert_candles(candle_rows(BONK, MARCH, 120))
    scene.call(alert(1, MARCH + MINUTE), alert(2, MARCH + 20 * MINUTE))
    run_simulations(scene.plan(scene.strategy("one")), scene.state, scene.history)
    return scene


@pytest.fixture
def dead(completed: Scene) -> Scene:
    """The same, and run 2 that died before it was completed: after its events and aggregates were stored."""
    with pytest.raises(Killed):
        run_simulations(
            completed.plan(completed.strategy("two")),
            Dying(completed.state, "complete_runs", after=False),
            completed.history,
        )
    assert rows_of_runs(completed) == [(1, 4, 1), (2, 4, 1)]
    return completed


def test_rows_of_a_dead_attempt_go_and_the_next_attempt_completes_the_run(dead: Scene) -> None:
    shown = view_contents(dead)
    found = collect(dead)
    assert (found.runs_running, found.events, found.aggregates, found.runs_working) == (1, 4, 1, 0)
    assert rows_of_runs(dead) == [(1, 4, 1)]
    assert dead.runs() == [(1, "completed", None), (2, "running", None)]
    assert view_contents(dead) == shown
    assert broken_rules(dead) == []
    [outcome] = run_simulations(dead.plan(dead.strategy("two")), dead.state, dead.history)
    assert (outcome.status, outcome.run_id) == ("computed", 2)
    assert rows_of_runs(dead) == [(1, 4, 1), (2, 4, 1)]
    assert broken_rules(dead) == []
    assert collect(dead) == Garbage(0, 0, 0, 0, 0, 0, 0, ())


def test_a_dry_run_says_the_same_and_removes_nothing(dead: Scene) -> None:
    would = collect(dead, dry_run=True)
    assert rows_of_runs(dead) == [(1, 4, 1), (2, 4, 1)]
    assert dead.ask_state("select max(cleared_attempt) from simulation_runs") == [(0,)]
    assert collect(dead) == would


def test_a_run_that_another_process_works_on_is_left_alone(dead: Scene) -> None:
    with PostgresStore(dead.urls.postgres) as other:
        with other.exclusive_runs([token_lock_name(BONK)]):
            found = collect(dead)
            assert (found.runs_working, found.runs_running, found.events) == (1, 0, 0)
            assert rows_of_runs(dead) == [(1, 4, 1), (2, 4, 1)]
        assert collect(dead).events == 4


def test_young_runs_are_left_alone_when_that_is_asked_for(dead: Scene) -> None:
    found = collect(dead, leave_younger_than=timedelta(hours=1))
    assert (found.runs_young, found.runs_running, found.events) == (1, 0, 0)
    assert collect(dead).runs_running == 1


def test_an_attempt_that_only_seemed_dead_completes_nothing(completed: Scene) -> None:
    """Its lock was lost (Postgres was started again), its rows were removed, and then it comes to its end."""
    scene = completed

    class Forgetful:
        """Removes the rows of an attempt between its events and its completion, its lock being lost."""

        def __getattr__(self, name: str) -> Any:
            return getattr(scene.state, name)

        def complete_runs(self, summaries: Any) -> None:
            with scene.state.idle_runs([]):
                cleared = scene.state.clear_attempts({summary.run_id: 1 for summary in summaries})
            scene.history.delete_run_rows(cleared)
            scene.state.complete_runs(summaries)

    [outcome] = run_simulations(scene.plan(scene.strategy("two")), Forgetful(), scene.history)  # type: ignore[arg-type]
    assert outcome.status == "failed"
    assert "taken for dead" in (outcome.error or "")
    assert broken_rules(scene) == []
    [again] = run_simulations(scene.plan(scene.strategy("two")), scene.state, scene.history)
    assert (again.status, rows_of_runs(scene)) == ("computed", [(1, 4, 1), (2, 4, 1)])


def test_a_run_that_was_begun_again_since_is_not_cleared(dead: Scene) -> None:
    assert dead.state.find_same_attempts({2: 1}) == [2]
    dead.change_state("update simulation_runs set attempt = 2 where id = 2")
    assert dead.state.find_same_attempts({2: 1}) == []
    assert dead.state.clear_attempts({2: 1}) == []
    assert dead.state.clear_attempts({1: 1}) == []
    assert dead.state.clear_attempts({2: 2}) == [2]


def test_rows_of_runs_that_postgres_does_not_know_go(completed: Scene) -> None:
    shown = view_contents(completed)
    for table in ("simulation_events", "simulation_aggregates"):
        completed.change_history(f"insert into {table} select * replace(77 as simulation_run_id) from {table}")  # noqa: S608 - own names
    found = collect(completed)
    assert (found.runs_unknown, found.events, found.aggregates) == (1, 4, 1)
    assert rows_of_runs(completed) == [(1, 4, 1)]
    assert view_contents(completed) == shown


def test_no_run_begins_while_unknown_ones_are_removed(completed: Scene) -> None:
    requests = completed.plan(completed.strategy("two"))
    ended = threading.Event()

    def simulate() -> None:
        with PostgresStore(completed.urls.postgres) as state, ClickHouseStore(completed.urls.clickhouse) as history:
            run_simulations(requests, state, history)
        ended.set()

    with completed.state.unknown_runs([1, 2]) as unknown:
        assert unknown == [2]
        worker = threading.Thread(target=simulate)
        worker.start()
        assert not ended.wait(0.5)
    worker.join(30)
    assert ended.is_set()


def test_half_written_model_files_of_processes_that_are_gone_go(scene: Scene, tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    left = tmp_path / f".model-1-abc.skops.{gone.pid}.tmp"
    kept = [tmp_path / f".model-1-abc.skops.{threading.main_thread().native_id}.tmp", tmp_path / "model-1-abc.skops"]
    for path in [left, *kept]:
        path.write_bytes(b"")
    assert collect(scene, folders=[tmp_path], dry_run=True).files == (str(left),)
    assert left.exists()
    assert collect(scene, folders=[tmp_path, tmp_path / "absent"]).files == (str(left),)
    assert sorted(tmp_path.iterdir()) == sorted(kept)


def test_what_was_completed_and_not_mirrored_is_mirrored(completed: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    with monkeypatch.context() as patch:
        patch.setattr(simulations, "publish", _die)
        with pytest.raises(Killed):
            run_simulations(completed.plan(completed.strategy("two")), completed.state, completed.history)
    assert broken_rules(completed) == ["published-runs"]
    assert (collect(completed, dry_run=True).runs_to_mirror, collect(completed, dry_run=True).calls_to_mirror) == (1, 0)
    assert collect(completed).runs_to_mirror == 1
    assert broken_rules(completed) == []


def _die(*_: Any) -> None:
    raise Killed


def test_nothing_is_lost_beside_a_backfill(dead: Scene) -> None:
    """One process simulates strategy after strategy while another removes garbage all the time."""
    strategies = [dead.strategy(f"beside {k}") for k in range(6)]
    outcomes: list[Any] = []

    def simulate() -> None:
        with PostgresStore(dead.urls.postgres) as state, ClickHouseStore(dead.urls.clickhouse) as history:
            for strategy in strategies:
                outcomes.extend(run_simulations(dead.plan(strategy), state, history))

    worker = threading.Thread(target=simulate)
    worker.start()
    rounds = 0
    while worker.is_alive():
        collect(dead)
        rounds += 1
    worker.join()
    assert rounds > 1
    assert [outcome.status for outcome in outcomes] == ["computed"] * 6
    assert [(events, aggregates) for _, events, aggregates in rows_of_runs(dead)] == [(4, 1)] * 7
    assert broken_rules(dead) == []
