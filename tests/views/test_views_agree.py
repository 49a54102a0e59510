"""Views of one name in both databases hold the same: told when they do, when not, and when it can't be said."""

import json
import re
from datetime import UTC, datetime
from pathlib import Path

import dagster as dg
import psycopg
import pytest
from typer.testing import CliRunner
from view_scene import Scene

from quantbot_pipeline.cli.app import build_app
from quantbot_pipeline.defs.view_assets import build_agreement_checks
from quantbot_pipeline.errors import MigrationError
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
from quantbot_pipeline.storage.views import ViewTestResult, agreeing_views, build_views, check_agreement, load_views
from quantbot_pipeline.storage.views.agreement import agree

HEADER = "/*\ndescription: What?\ngrain: one row\n{more}columns:\n  one: {{meaning: The number}}\n*/\n"
SELECT = "select 1 as one from {{ source('runs') }}\n"
AGREES = "agrees: {keys: [one], columns: [one]}\n"


def _views(scene: Scene) -> dict[str, ViewTestResult]:
    return {result.view: result for result in check_agreement(scene.urls.postgres, scene.urls.clickhouse)}


def _build(scene: Scene) -> None:
    build_views(scene.urls.postgres, scene.urls.clickhouse).require_all()


def _postgres(scene: Scene, statement: str) -> None:
    with psycopg.connect(scene.urls.postgres, autocommit=True) as connection:
        connection.execute(statement.encode())


def _clickhouse(scene: Scene, statement: str) -> None:
    connection = ClickHouseConnection(scene.urls.clickhouse)
    try:
        connection.command(statement, name="plant")
    finally:
        connection.close()


@pytest.fixture
def played(scene: Scene) -> Scene:
    """Two strategies on two tokens, one call skipped, one run superseded, and one window that overlaps another."""
    a, b, c = scene.call("ann", "A"), scene.call("bob", "A"), scene.call("cat", "B")
    scene.run("ladder", {a: 9.0, b: 9.0}, scope="A")
    scene.run("ladder", {a: 0.5, b: -0.2}, scope="A")
    scene.run("ladder", {c: None})
    scene.run("hold", {a: 0.2, b: 0.1})
    scene.run("hold", {c: 0.1})
    # The same call twice: Postgres counts it twice and says so, ClickHouse once.
    scene.run("twice", {c: 0.3})
    scene.run("twice", {c: 0.3}, window_end=datetime(2025, 1, 20, tzinfo=UTC))
    _build(scene)
    return scene


@pytest.mark.server
def test_both_databases_agree_on_what_was_simulated(played: Scene) -> None:
    results = _views(played)

    assert set(results) == {"mart_runs_ranked", "mart_strategy_leaderboard", "mart_token_results"}
    assert [(result.passed, result.not_compared, result.examples) for result in results.values()] == [
        (True, "", ())
    ] * 3


@pytest.mark.server
def test_a_planted_difference_is_told_with_its_key_by_the_command_too(
    played: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # A win rate of a half becomes one of a tenth in Postgres; ClickHouse still has the trades.
    _postgres(
        played,
        "update simulation_results_summary set final_pnl = 0.4 where simulation_run_id = "
        "(select max(r.id) from simulation_runs r join strategies s on s.id = r.strategy_id where s.name = 'ladder' "
        "and r.superseded_by is null and exists (select from simulation_results_summary x "
        "where x.simulation_run_id = r.id and x.trade_count = 2))",
    )

    results = _views(played)

    assert {name: result.failures for name, result in results.items()} == {
        "mart_runs_ranked": 1,
        "mart_strategy_leaderboard": 1,
        "mart_token_results": 1,
    }
    # (0.5 - 0.2) / 2 against what was planted.
    (example,) = results["mart_strategy_leaderboard"].examples
    assert example.startswith("ladder 1: mean_pnl is 0.4 in Postgres and 0.15")

    monkeypatch.setenv("QUANTBOT_HOME", str(tmp_path))
    monkeypatch.setenv("QUANTBOT_POSTGRES_URL", played.urls.postgres)
    monkeypatch.setenv("QUANTBOT_CLICKHOUSE_URL", played.urls.clickhouse)
    answer = CliRunner().invoke(build_app(), ["views", "test", "--select", "mart_strategy_leaderboard", "--json"])
    assert answer.exit_code == 1, answer.output
    (failed,) = [row for row in json.loads(answer.stdout) if row["result"] != "passed"]
    assert failed["examples"] == [example]
    answer = CliRunner().invoke(build_app(), ["views", "test", "--select", "mart_strategy_leaderboard"])
    lines = answer.output.splitlines()
    assert re.fullmatch(r"\d+ passed, 1 failed, 0 not compared", lines[-1])
    assert re.search(
        r"postgres/mart_strategy_leaderboard\.sql:\d+: postgres\.mart_strategy_leaderboard: 1 row fails ", lines[-3]
    )
    assert lines[-2].endswith(example)
    # One line for each view, whatever it tests.
    assert len(lines) < 12

    settings = load_settings(home=tmp_path, postgres_url=played.urls.postgres, clickhouse_url=played.urls.clickhouse)
    (check,) = [check for check in build_agreement_checks() if "mart_strategy_leaderboard" in str(check.check_key)]
    told = check(settings=settings)
    assert isinstance(told, dg.AssetCheckResult)
    assert (told.passed, told.description) == (False, example)


@pytest.mark.server
def test_rows_that_one_database_lacks_are_told(played: Scene) -> None:
    """An aggregate that is gone in ClickHouse, after a build: the run has no trades there."""
    _clickhouse(
        played,
        "alter table simulation_aggregates delete where simulation_run_id = (select max(simulation_run_id) "
        "from published_runs where strategy_name = 'hold') settings mutations_sync = 2",
    )
    assert "older than its rows" in _views(played)["mart_runs_ranked"].not_compared
    _build(played)

    result = _views(played)["mart_runs_ranked"]

    assert (result.failures, result.not_compared) == (1, "")
    assert "trade_count is 1 in Postgres and 0 in ClickHouse" in result.examples[0]


@pytest.mark.server
def test_what_is_behind_is_no_failure(played: Scene) -> None:
    played.run("late", {played.call("ann", "A"): 0.1})
    results = _views(played)
    assert {result.passed for result in results.values()} == {True}
    assert all("is older than its rows" in result.not_compared for result in results.values())
    _build(played)
    assert {result.not_compared for result in _views(played).values()} == {""}

    _postgres(
        played, "update simulation_runs set data_quality = 'gaps' where id = (select max(id) from simulation_runs)"
    )
    results = _views(played)

    assert {result.passed for result in results.values()} == {True}
    assert all("mirror is behind by 1 runs" in result.not_compared for result in results.values())


def test_values_agree_when_they_are_the_same_to_a_millionth() -> None:
    assert agree(0.1 + 0.2, 0.3)
    assert agree(None, None)
    assert agree(datetime(2025, 1, 1, tzinfo=UTC), 1735689600)
    assert not agree(0.1, 0.1001)
    assert not agree(1_000_000_000, 1_000_000_001)
    assert not agree(None, 0.0)
    assert not agree("A", "B")


def test_every_mart_of_both_databases_says_where_it_agrees() -> None:
    postgres, clickhouse = load_views("postgres"), load_views("clickhouse")
    both = {view.name for view in postgres} & {view.name for view in clickhouse}

    said = {view.name for view in agreeing_views(postgres, clickhouse)}

    # Postgres knows callers by runs in which one called alone, under other names of columns.
    assert {name for name in both if name.startswith("mart_")} == said | {"mart_caller_leaderboard"}


@pytest.mark.parametrize(
    ("postgres", "clickhouse", "message"),
    [
        ("agrees: {keys: [two], columns: [one]}\n", "", "mart_a.sql:4: agrees.keys names the column 'two'"),
        ("agrees: {keys: [one]}\n", "", "mart_a.sql:4: agrees has no columns"),
        ("", AGREES, "mart_a.sql:4: agrees is of views in Postgres alone"),
        (AGREES, None, "mart_a.sql:4: agrees: ClickHouse has no view 'mart_a'"),
    ],
)
def test_a_wrong_agreement_is_refused_with_its_line(
    tmp_path: Path, postgres: str, clickhouse: str | None, message: str
) -> None:
    for database, more in (("postgres", postgres), ("clickhouse", clickhouse)):
        (tmp_path / database).mkdir()
        if more is not None:
            (tmp_path / database / "mart_a.sql").write_text(HEADER.format(more=more) + SELECT, encoding="utf-8")

    with pytest.raises(MigrationError) as refused:
        agreeing_views(
            load_views("postgres", tmp_path / "postgres", frozenset({"runs"})),
            load_views("clickhouse", tmp_path / "clickhouse", frozenset({"runs"})),
        )

    assert message in str(refused.value)
