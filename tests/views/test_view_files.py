"""Reading view files: order, headers, and the errors that name what is wrong."""

from pathlib import Path

import pytest

from quantbot_pipeline.errors import MigrationError
from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views import ViewTest, load_views

TABLES = frozenset({"runs", "calls"})


def _write(folder: Path, name: str, *header: str, body: str = "select 1 as one from runs") -> None:
    lines = [*(f"-- {line}" for line in header), body]
    (folder / f"{name}.sql").write_text("\n".join(lines), encoding="utf-8")


def test_views_come_after_what_they_depend_on(tmp_path: Path) -> None:
    _write(tmp_path, "mart_a", "depends: int_b, stg_c", body="select 1 from int_b cross join stg_c")
    _write(tmp_path, "int_b", "depends: stg_c", body="select 1 from stg_c")
    _write(tmp_path, "stg_c", "depends: runs")

    views = load_views("postgres", tmp_path, TABLES)

    assert [view.name for view in views] == ["stg_c", "int_b", "mart_a"]


def test_a_circle_is_refused_with_the_names_of_its_files(tmp_path: Path) -> None:
    _write(tmp_path, "int_a", "depends: int_b", body="select 1 from int_b")
    _write(tmp_path, "int_b", "depends: int_a", body="select 1 from int_a")

    with pytest.raises(MigrationError, match=r"circle: int_[ab]\.sql -> int_[ab]\.sql -> int_[ab]\.sql"):
        load_views("postgres", tmp_path, TABLES)


def test_an_unknown_dependency_is_refused_with_its_file(tmp_path: Path) -> None:
    _write(tmp_path, "stg_a", "depends: rums")

    with pytest.raises(MigrationError, match=r"stg_a\.sql: depends on 'rums', which is neither"):
        load_views("postgres", tmp_path, TABLES)


def test_reading_what_the_header_does_not_name_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "stg_a", "depends: runs", body="select 1 from runs join calls on true -- from nothing")

    with pytest.raises(MigrationError, match=r"stg_a\.sql: reads calls, which its line '-- depends:' does not"):
        load_views("postgres", tmp_path, TABLES)


def test_a_view_without_dependencies_is_refused(tmp_path: Path) -> None:
    _write(tmp_path, "stg_a", "grain: one row")

    with pytest.raises(MigrationError, match="there is no line '-- depends:"):
        load_views("postgres", tmp_path, TABLES)


@pytest.mark.parametrize("name", ["view_a", "stg_A", "mart-a"])
def test_a_name_outside_of_the_layers_is_refused(tmp_path: Path, name: str) -> None:
    _write(tmp_path, name, "depends: runs")

    with pytest.raises(MigrationError, match="can't be the name of a view"):
        load_views("postgres", tmp_path, TABLES)


def test_header_tests_are_read(tmp_path: Path) -> None:
    _write(
        tmp_path,
        "stg_a",
        "depends: runs",
        "test: unique(a, b)",
        "test: accepted(c, one, two)",
        "test: relationship(d, stg_b.d)",
        "test: holds(greatest(a, 0) >= 0)",
    )

    (view,) = load_views("postgres", tmp_path, TABLES)

    assert view.tests == (
        ViewTest("unique", ("a", "b")),
        ViewTest("accepted", ("c", "one", "two")),
        ViewTest("relationship", ("d", "stg_b.d")),
        ViewTest("holds", ("greatest(a, 0) >= 0",)),
    )


@pytest.mark.parametrize(
    "text",
    [
        "uniqe(a)",
        "unique",
        "unique()",
        "not_null(a, b)",
        "accepted(a)",
        'not_null(a"; drop table runs)',
        "relationship(a, b)",
    ],
)
def test_a_header_test_that_is_not_understood_is_refused_with_its_line(tmp_path: Path, text: str) -> None:
    _write(tmp_path, "stg_a", "depends: runs", f"test: {text}")

    with pytest.raises(MigrationError, match=r"stg_a\.sql, line 2: "):
        load_views("postgres", tmp_path, TABLES)


@pytest.mark.parametrize("database", ["postgres", "clickhouse"])
def test_every_view_of_the_project_says_grain_keys_and_units_and_is_tested(database: Database) -> None:
    views = load_views(database)

    assert {"mart_caller_leaderboard", "mart_strategy_leaderboard", "mart_runs_ranked"} <= {view.name for view in views}
    for view in views:
        for part in ("-- grain: ", "-- keys: ", "-- units: ", "-- upstream: "):
            assert part in view.text, (view.path, part)
        assert any(test.kind == "unique" for test in view.tests), view.path
        assert "select *" not in view.text, view.path
