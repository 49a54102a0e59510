"""Migrations on real databases: once each, in order, and never past a file that was changed."""

import shutil
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, closing
from pathlib import Path
from typing import Protocol

import clickhouse_connect
import psycopg
import pytest

from quantbot_pipeline.errors import MigrationError
from quantbot_pipeline.project_files import project_file
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.migrations import (
    DATABASES,
    AppliedMigration,
    check_migrations,
    migrate,
    read_migrations,
)
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.sql_files import split_statements

pytestmark = pytest.mark.server


class Urls(Protocol):
    """Where the databases of one test are."""

    postgres: str
    clickhouse: str


@pytest.fixture
def urls(fresh_databases: Callable[[], AbstractContextManager[Urls]]) -> Iterator[Urls]:
    """Databases that nothing was applied to."""
    with fresh_databases() as found:
        yield found


@pytest.fixture
def files(tmp_path: Path) -> Path:
    """A small set of migrations that a test may change."""
    for database in ("postgres", "clickhouse"):
        (tmp_path / database).mkdir()
        engine = " engine = MergeTree order by a" if database == "clickhouse" else ""
        kind = "UInt8" if database == "clickhouse" else "integer"
        for number, table in enumerate(("first", "second"), start=1):
            (tmp_path / database / f"00{number}_{table}.sql").write_text(
                f"create table {'if not exists ' if engine else ''}{table} (a {kind}){engine};\n"
            )
    return tmp_path


def names(applied: list[AppliedMigration]) -> list[tuple[str, str]]:
    return [(one.database, one.name) for one in applied]


def _file_count() -> int:
    return sum(len(read_migrations(database)) for database in DATABASES)


def test_the_schema_is_applied_once(urls: Urls) -> None:
    pending = check_migrations(urls.postgres, urls.clickhouse)
    assert {problem.problem for problem in pending} == {"pending"}
    assert "run 'quantbot migrate'" in pending[0].message

    seen: list[AppliedMigration] = []
    applied = migrate(urls.postgres, urls.clickhouse, on_progress=seen.append)

    assert seen == applied
    assert names(applied) == [
        (database, file.name) for database in ("postgres", "clickhouse") for file in read_migrations(database)
    ]
    assert check_migrations(urls.postgres, urls.clickhouse) == []
    assert migrate(urls.postgres, urls.clickhouse) == []


def test_processes_that_migrate_at_once_apply_each_file_once(urls: Urls) -> None:
    barrier = threading.Barrier(3)

    def work(_: int) -> list[AppliedMigration]:
        barrier.wait()
        return migrate(urls.postgres, urls.clickhouse)

    with ThreadPoolExecutor(3) as pool:
        results = list(pool.map(work, range(3)))

    assert sorted(len(result) for result in results) == [0, 0, _file_count()]


def test_a_store_says_to_migrate_when_the_schema_is_missing(urls: Urls) -> None:
    with PostgresStore(urls.postgres) as state, pytest.raises(MigrationError, match="run 'quantbot migrate'"):
        state.load_calls()
    with (
        ClickHouseStore(urls.clickhouse) as history,
        pytest.raises(MigrationError, match="run 'quantbot migrate'"),
    ):
        history.load_events([1])


def test_every_table_and_column_of_postgres_says_what_it_is(urls: Urls) -> None:
    migrate(urls.postgres, urls.clickhouse)
    with psycopg.connect(urls.postgres) as connection:
        silent = connection.execute(
            "select relname from pg_class where relkind = 'r' and relnamespace = 'public'::regnamespace "
            "and relname <> 'schema_migrations' and obj_description(oid) is null"
        ).fetchall()
        without_index = connection.execute(
            """
            select conrelid::regclass::text, conname
            from pg_constraint
            where contype = 'f' and not exists (
                select 1 from pg_index
                where pg_index.indrelid = pg_constraint.conrelid and pg_index.indkey[0] = pg_constraint.conkey[1]
            )
            """
        ).fetchall()
    assert silent == []
    # Every foreign key can be followed backwards through an index.
    assert without_index == []


def test_a_later_file_is_applied_alone(urls: Urls, files: Path) -> None:
    migrate(urls.postgres, urls.clickhouse, directory=files)
    (files / "postgres" / "003_third.sql").write_text("create table third (a integer);")

    (problem,) = check_migrations(urls.postgres, urls.clickhouse, directory=files)
    assert (problem.problem, problem.name) == ("pending", "003_third")
    assert names(migrate(urls.postgres, urls.clickhouse, directory=files)) == [("postgres", "003_third")]


@pytest.mark.parametrize("database", ["postgres", "clickhouse"])
def test_a_changed_file_is_refused_before_anything_is_applied(urls: Urls, files: Path, database: str) -> None:
    migrate(urls.postgres, urls.clickhouse, directory=files)
    changed = files / database / "001_first.sql"
    changed.write_text(changed.read_text() + "-- one comment more\n")
    (files / "postgres" / "003_third.sql").write_text("create table third (a integer);")

    problems = check_migrations(urls.postgres, urls.clickhouse, directory=files)
    assert ("changed", database) in {(problem.problem, problem.database) for problem in problems}
    with pytest.raises(MigrationError, match=f"{database} migration 001_first was changed .* new migration"):
        migrate(urls.postgres, urls.clickhouse, directory=files)
    assert "pending" in {
        problem.problem for problem in check_migrations(urls.postgres, urls.clickhouse, directory=files)
    }


@pytest.mark.parametrize("database", ["postgres", "clickhouse"])
def test_a_database_of_a_newer_version_is_refused(urls: Urls, files: Path, database: str) -> None:
    migrate(urls.postgres, urls.clickhouse, directory=files)
    (files / database / "002_second.sql").unlink()

    (problem,) = check_migrations(urls.postgres, urls.clickhouse, directory=files)
    assert (problem.problem, problem.number) == ("unknown", 2)
    with pytest.raises(MigrationError, match=f"{database} has migration 002_second, which these files lack"):
        migrate(urls.postgres, urls.clickhouse, directory=files)


@pytest.mark.parametrize("database", ["postgres", "clickhouse"])
def test_what_failed_is_applied_again_once_it_is_repaired(urls: Urls, files: Path, database: str) -> None:
    broken = files / database / "002_second.sql"
    good = broken.read_text()
    # The first statement works, the second does not.
    broken.write_text(good + "create nonsense;\n")
    with pytest.raises(Exception, match="002_second"):
        migrate(urls.postgres, urls.clickhouse, directory=files)
    left = {
        problem.name
        for problem in check_migrations(urls.postgres, urls.clickhouse, directory=files)
        if problem.database == database
    }
    assert left == {"002_second"}

    broken.write_text(good)
    assert (database, "002_second") in names(migrate(urls.postgres, urls.clickhouse, directory=files))
    assert check_migrations(urls.postgres, urls.clickhouse, directory=files) == []


def test_a_postgres_migration_that_cannot_be_recorded_leaves_nothing(urls: Urls, files: Path) -> None:
    # Its own statements work; the record of it, number 3, is then refused.
    third = files / "postgres" / "003_third.sql"
    create = "create table third (a integer);\n"
    third.write_text(create + "alter table schema_migrations add constraint few check (number < 3);")
    with pytest.raises(MigrationError, match=r"003_third: .*few.*nothing of it was kept"):
        migrate(urls.postgres, urls.clickhouse, directory=files)

    third.write_text(create)
    assert ("postgres", "003_third") in names(migrate(urls.postgres, urls.clickhouse, directory=files))


def test_a_clickhouse_migration_that_died_in_the_middle_runs_again(urls: Urls) -> None:
    first, *_ = split_statements(project_file("sql/clickhouse/002_create_simulation_history.sql").read_text())
    with closing(clickhouse_connect.get_client(dsn=urls.clickhouse)) as client:
        # One of the file's two tables is there, the record of it is not.
        client.command(first)

    assert len(migrate(urls.postgres, urls.clickhouse)) == _file_count()

    with closing(clickhouse_connect.get_client(dsn=urls.clickhouse)) as client:
        # All tables are there, and no record.
        client.command("truncate table schema_migrations")
    assert {one.database for one in migrate(urls.postgres, urls.clickhouse)} == {"clickhouse"}
    assert check_migrations(urls.postgres, urls.clickhouse) == []


def test_every_clickhouse_statement_may_run_twice() -> None:
    for file in read_migrations("clickhouse"):
        assert file.sql.lower().count("create table") == file.sql.lower().count("create table if not exists")
        assert file.sql.lower().count("add column") == file.sql.lower().count("add column if not exists")


@pytest.mark.parametrize(
    ("name", "message"),
    [("2_x.sql", "is named NNN_"), ("004_late.sql", "003 was expected"), ("002_again.sql", "003 was expected")],
)
def test_files_are_numbered_without_gaps_and_doubles(files: Path, name: str, message: str) -> None:
    shutil.copy(files / "postgres" / "002_second.sql", files / "postgres" / name)
    with pytest.raises(MigrationError, match=message):
        read_migrations("postgres", files)
