"""Two handles of one caller on the leaderboards."""

import pytest
from view_scene import Scene

from quantbot_pipeline.workflows.callers import remove_alias, set_alias

pytestmark = pytest.mark.server


def _ranked(scene: Scene, database: str) -> dict[str, int]:
    """Return the trades of each caller on a leaderboard."""
    column = "sole_trade_count" if database == "postgres" else "trade_count"
    rows = scene.rows(database, "mart_caller_leaderboard", "caller_rank")
    return {row["caller_handle"]: row[column] for row in rows}


@pytest.mark.parametrize("database", ["postgres", "clickhouse"])
def test_an_alias_has_no_row_of_its_own_and_its_trades_are_its_callers(scene: Scene, database: str) -> None:
    first, second = scene.call("anna", "A", day=2), scene.call("anna2", "A", day=3)
    other = scene.call("bert", "B", day=4)
    scene.run("s", {first: 0.5, second: -0.1})
    scene.run("s", {other: 0.1})
    # In Postgres a run with two callers belongs to neither.
    apart = {"anna": 0, "anna2": 0, "bert": 1} if database == "postgres" else {"anna": 1, "anna2": 1, "bert": 1}
    assert _ranked(scene, database) == apart
    set_alias("test/anna2", "test/anna", scene.state, scene.history)
    assert _ranked(scene, database) == {"anna": 2, "bert": 1}
    remove_alias("test/anna2", scene.state, scene.history)
    assert _ranked(scene, database) == apart


def test_alerts_of_an_alias_count_for_its_caller(scene: Scene) -> None:
    for day, caller in enumerate(("anna", "anna2", "anna2"), start=2):
        scene.call(caller, "A", day=day)
    set_alias("test/anna2", "test/anna", scene.state, scene.history)
    [row] = scene.rows("postgres", "int_caller_activity", "caller_id")
    assert (row["caller_handle"], row["alert_count"], row["call_count"]) == ("anna", 3, 3)
