"""Building views on real servers: what changes, what stands, what readers see meanwhile."""

import multiprocessing
import os
import re
import signal
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import dagster as dg
import psycopg
import pytest

from quantbot_pipeline.defs.view_assets import build_view_assets
from quantbot_pipeline.errors import ConfigError, MigrationError, ServerError, StorageError
from quantbot_pipeline.servers.clickhouse_server import EmbeddedClickHouse
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views import ViewBuild, build_views, check_views, postgres_builds
from quantbot_pipeline.storage.views.clickhouse_builds import ClickHouseBuilds
from quantbot_pipeline.storage.views.postgres_builds import PostgresBuilds
from quantbot_pipeline.storage.views.states import Build, Contents, PublishedView, unused_builds

pytestmark = pytest.mark.server

DATABASES: list[Database] = ["postgres", "clickhouse"]
TABLES = frozenset({"things"})


@dataclass
class Workbench:
    """Two databases with a table `things`, and a folder of view files for each."""

    postgres: str
    clickhouse: str
    folder: Path

    def write(self, name: str, select: str, *, header: str = "", columns: str = "id") -> None:
        """Write the same view for both databases; `header` is what its header has besides the columns."""
        described = "".join(f"  {column}: {{meaning: About {column}, unit: things}}\n" for column in columns.split())
        for database in DATABASES:
            own = header
            if "materialized: table" in header and database == "clickhouse":
                own += "order_by: [id]\n"
            text = (
                f"/*\ndescription: What of {name}?\ngrain: one row per thing\n{own}columns:\n{described}*/\n{select}\n"
            )
            path = self.folder / database / f"{name}.sql"
            path.parent.mkdir(exist_ok=True)
            path.write_text(text, encoding="utf-8")

    def remove(self, name: str) -> None:
        for database in DATABASES:
            (self.folder / database / f"{name}.sql").unlink()

    def build(self, *selection: str) -> ViewBuild:
        return build_views(self.postgres, self.clickhouse, selection=selection, folder=self.folder, tables=TABLES)

    def ask(self, database: Database, statement: str) -> list[tuple[object, ...]]:
        if database == "postgres":
            with psycopg.connect(self.postgres, autocommit=True) as connection:
                return list(connection.execute(statement.encode()).fetchall())
        clickhouse = ClickHouseConnection(self.clickhouse)
        try:
            return [tuple(row.values()) for row in clickhouse.fetch_table(statement, name="ask").to_pylist()]
        finally:
            clickhouse.close()

    def run(self, database: Database, statement: str) -> None:
        if database == "postgres":
            with psycopg.connect(self.postgres, autocommit=True) as connection:
                connection.execute(statement.encode())
            return
        clickhouse = ClickHouseConnection(self.clickhouse)
        try:
            clickhouse.command(statement, name="run")
        finally:
            clickhouse.close()

    def ids(self, database: Database, view: str) -> list[object]:
        return [row[0] for row in self.ask(database, f"select id from {view} order by id")]  # noqa: S608 - own names


@pytest.fixture(scope="module")
def servers(postgres_url: str, clickhouse_url: str) -> Iterator[tuple[str, str]]:
    name = f"builds_{uuid4().hex[:12]}"
    with ExitStack() as cleaning:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f'create database "{name}"'.encode())
            # Waiting for the disk at each small commit would be most of these tests' time.
            connection.execute(f'alter database "{name}" set synchronous_commit = off'.encode())
        cleaning.callback(_drop_postgres, postgres_url, name)
        clickhouse = ClickHouseConnection(clickhouse_url)
        cleaning.callback(clickhouse.close)
        for database in (name, f"{name}_view_builds"):
            clickhouse.command(f"create database `{database}`", name="create")
            cleaning.callback(clickhouse.command, f"drop database `{database}`", name="drop")
        yield _with_database(postgres_url, name), _with_database(clickhouse_url, name)


def _drop_postgres(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)'.encode())


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture
def bench(servers: tuple[str, str], tmp_path: Path) -> Iterator[Workbench]:
    """A workbench whose table holds the ids 1, 2 and 3."""
    made = Workbench(*servers, tmp_path)
    for database in DATABASES:
        (tmp_path / database).mkdir()
    made.run("postgres", "create table things (id bigint, name text)")
    made.run("clickhouse", "create table things (id Int64, name String) engine = MergeTree order by id")
    for database in DATABASES:
        made.run(database, "insert into things values (1, 'a'), (2, 'b'), (3, 'c')")
    yield made
    made.run("postgres", "drop schema public, view_builds cascade")
    made.run("postgres", "create schema public")
    clickhouse_database = urlsplit(made.clickhouse).path.strip("/")
    for database in (clickhouse_database, f"{clickhouse_database}_view_builds"):
        for (name,) in made.ask("clickhouse", f"show tables from {database}"):
            made.run("clickhouse", f"drop table {database}.{name} sync")


def three_layers(bench: Workbench, condition: str = "id > 0") -> None:
    bench.write("stg_things", f"select id from {{{{ source('things') }}}} where {condition}")  # noqa: S608 - own names
    bench.write("int_things", "select id from {{ ref('stg_things') }}")
    bench.write("mart_things", "select id from {{ ref('int_things') }}")
    bench.write("stg_others", "select id from {{ source('things') }} where id > 2")


def test_building_again_changes_nothing(bench: Workbench) -> None:
    three_layers(bench)

    assert {view.outcome for view in bench.build().views} == {"built"}
    assert {view.outcome for view in bench.build().views} == {"unchanged"}
    for database in DATABASES:
        assert bench.ids(database, "mart_things") == [1, 2, 3]


def test_changing_a_file_changes_exactly_what_depends_on_it(bench: Workbench) -> None:
    three_layers(bench)
    bench.build()

    bench.write("int_things", "select id from {{ ref('stg_things') }} where id <> 2")
    built = bench.build()

    for database in DATABASES:
        outcomes = {view.view: view.outcome for view in built.views if view.database == database}
        assert outcomes == {
            "stg_things": "unchanged",
            "stg_others": "unchanged",
            "int_things": "built",
            "mart_things": "built",
        }
        assert bench.ids(database, "mart_things") == [1, 3]


@pytest.mark.parametrize("database", DATABASES)
def test_a_broken_view_stops_what_follows_and_leaves_the_old_ones_standing(
    bench: Workbench, database: Database
) -> None:
    """The mart's old build reads the old column of the view below, though that one has another by now."""
    bench.write("stg_things", "select id, name from {{ source('things') }}", columns="id name")
    bench.write("int_things", "select id from {{ ref('stg_things') }} where name <> 'b'")
    bench.write("mart_things", "select id from {{ ref('int_things') }}")
    bench.write("stg_others", "select id from {{ source('things') }} where id > 2")
    bench.build()

    bench.write("stg_things", "select id from {{ source('things') }} where id > 1")
    bench.write("stg_others", "select id from {{ source('things') }} where id < 3")
    built = bench.build()

    found = {view.view: view for view in built.views if view.database == database}
    assert {name: view.outcome for name, view in found.items()} == {
        "stg_things": "built",
        "int_things": "failed",
        "mart_things": "skipped",
        "stg_others": "built",
    }
    assert f"{database}/int_things.sql:7: {database} refuses it: " in found["int_things"].reason
    assert "name" in found["int_things"].reason
    assert found["mart_things"].reason == "mart_things reads int_things, which is not built"
    # New: id > 1, and id < 3. Old: all but 'b'.
    assert bench.ids(database, "stg_things") == [2, 3]
    assert bench.ids(database, "stg_others") == [1, 2]
    assert bench.ids(database, "int_things") == [1, 3]
    assert bench.ids(database, "mart_things") == [1, 3]
    with pytest.raises(MigrationError, match=r"view \w+\.int_things is not built: .*\(also not built: "):
        built.require_all()
    # Repaired, all is as the files say; what stood in between is gone with the build after.
    bench.write("int_things", "select id from {{ ref('stg_things') }} where id <> 3")
    bench.build().require_all()
    assert bench.ids(database, "mart_things") == [2]


@pytest.mark.parametrize("database", DATABASES)
def test_a_view_whose_test_fails_is_never_shown(bench: Workbench, database: Database) -> None:
    three_layers(bench)
    bench.build()

    bench.write(
        "int_things",
        "select id from {{ ref('stg_things') }}",
        header="tests:\n  - unique: [id]\n  - expression: id < 2\n",
    )
    built = bench.build()

    found = {view.view: view for view in built.views if view.database == database}
    assert (found["int_things"].outcome, found["mart_things"].outcome) == ("failed", "skipped")
    assert (
        f"{database}/int_things.sql:6: the test expression(id < 2) finds 2 rows, the first: "
        in found["int_things"].reason
    )
    assert [test.failures for test in found["int_things"].tests] == [0, 2]
    assert bench.ids(database, "mart_things") == [1, 2, 3]
    # It is tried again, and fails again, until it is repaired.
    assert {view.outcome for view in bench.build().failures} == {"failed", "skipped"}


@pytest.mark.parametrize("materialized", ["view", "table"])
def test_a_view_of_postgres_that_calls_what_may_write_is_refused_before_it_runs(
    bench: Workbench, materialized: str
) -> None:
    bench.run("postgres", "create sequence counter")
    header = f"materialized: {materialized}\n"
    path = bench.folder / "postgres" / "int_things.sql"
    for call, function in (
        ("setval('counter', 40)", "setval"),
        ("(select pg_catalog.nextval('counter'))", "nextval"),
        ("lo_import('/etc/hostname')::bigint", "lo_import"),
        ("length(pg_read_file('/etc/hostname'))", "pg_read_file"),
        ("(random() * id)::bigint", "random"),
    ):
        bench.write("int_things", f"select\n    {call} as id\nfrom {{{{ source('things') }}}}", header=header)

        (failure,) = bench.build("postgres.int_things").failures

        assert failure.outcome == "failed"
        # The header has seven lines.
        assert failure.reason.startswith(f"{path}:9: the select calls {function}(), which ")
    assert bench.ask("postgres", "select last_value, is_called from counter") == [(1, False)]
    assert bench.ask("postgres", "select count(*) from pg_largeobject_metadata") == [(0,)]


def test_a_test_of_postgres_that_calls_what_may_write_is_refused_before_it_runs(bench: Workbench) -> None:
    bench.run("postgres", "create sequence counter")
    header = "tests:\n  - expression: id < setval('counter', 40)\n"
    bench.write("int_things", "select id from {{ source('things') }}", header=header)

    (failure,) = bench.build("postgres.int_things").failures

    assert "postgres/int_things.sql:5: the test expression(id < setval('counter', 40)) can't run in postgres: " in (
        failure.reason
    )
    assert "it calls setval()" in failure.reason
    # The same of where databases need not agree.
    builds = PostgresBuilds(bench.postgres)
    with pytest.raises(StorageError, match=r"it calls setval\(\)"):
        list(builds.read_rows('"public"."things"', ["id", "id", "setval('counter', 40) > 0"]))
    builds.close()
    assert bench.ask("postgres", "select last_value, is_called from counter") == [(1, False)]


def test_a_view_whose_columns_changed_is_replaced(bench: Workbench) -> None:
    three_layers(bench)
    bench.build()

    bench.write("stg_things", "select name, id from {{ source('things') }}", columns="id name")
    bench.build().require_all()

    for database in DATABASES:
        assert bench.ask(database, "select * from stg_things order by id limit 1") == [("a", 1)]
        assert bench.ids(database, "mart_things") == [1, 2, 3]


def test_a_server_of_which_the_start_is_not_told_is_no_longer_the_same_one() -> None:
    """In its first seconds it can't be told from the one that ran before, and counts blocks as that one did."""
    known, unknown = Contents("b", "p", 1_700_000_000), Contents("b", "p", 0)
    assert known.are_still(Contents("b", "q", 1_700_000_001))
    assert not known.are_still(Contents("b", "q", 1_700_000_002))
    assert not unknown.are_still(Contents("b", "q", 0))
    assert unknown.are_still(Contents("b", "p", 0))


def test_no_build_goes_while_a_definition_is_not_told() -> None:
    """A ClickHouse on a full disk shows views of which it has the text no more: any build may be theirs."""
    old, other = Build("a__1", is_table=False), Build("b__1", is_table=False)
    a, b = PublishedView("a", None, ()), PublishedView("b", "b__1", ())
    assert unused_builds({"a__1": old, "b__1": other}, {"a": a, "b": b}) == [old]
    assert unused_builds({"a__1": old, "b__1": other}, {"a": replace(a, is_told=False), "b": b}) == []
    assert unused_builds({"a__1": old, "b__1": replace(other, is_told=False)}, {"a": a, "b": b}) == []


def test_what_users_built_on_a_view_is_never_dropped(bench: Workbench) -> None:
    three_layers(bench)
    bench.build()
    bench.run("postgres", "create view users_own as select id from stg_things where id > 1")

    bench.write("stg_things", "select name, id from {{ source('things') }}", columns="id name")
    built = bench.build()

    (failure,) = built.failures
    assert (failure.database, failure.view) == ("postgres", "stg_things")
    assert "view users_own depends on view stg_things" in failure.reason
    assert bench.ids("postgres", "users_own") == [2, 3]
    assert bench.ids("clickhouse", "mart_things") == [1, 2, 3]
    bench.run("postgres", "drop view users_own")


def test_a_view_that_lost_a_column_of_its_readers_keeps_its_old_build(bench: Workbench) -> None:
    """The report and the dashboard read mart_failure_reasons of Postgres; nothing reads ClickHouse's."""
    columns = "id area reason failure_count first_at last_at example"
    named = ", ".join(f"name as {name}" for name in columns.split()[1:])
    select = f"select id, {named} from {{{{ source('things') }}}}"  # noqa: S608 - own names
    bench.write("mart_failure_reasons", select, columns=columns)
    bench.write("mart_above", "select id from {{ ref('mart_failure_reasons') }}")
    bench.build().require_all()

    bench.write(
        "mart_failure_reasons", select.replace("as first_at", "as began_at"), columns=columns.replace("first", "began")
    )
    failed, skipped = bench.build().failures

    assert (failed.database, failed.view, failed.outcome) == ("postgres", "mart_failure_reasons", "failed")
    assert re.search(
        r"postgres/mart_failure_reasons\.sql: no column 'first_at', which \S+report/list_failures\.sql reads; give",
        failed.reason,
    ), failed.reason
    assert (skipped.view, skipped.stopped_by) == ("mart_above", "mart_failure_reasons")
    assert bench.ask("postgres", "select first_at from mart_failure_reasons order by id") == [("a",), ("b",), ("c",)]
    assert bench.ask("clickhouse", "select began_at from mart_failure_reasons order by id")[0] == ("a",)

    # More columns are nobody's loss.
    bench.write("mart_failure_reasons", select.replace("id,", "id, id + 1 as more,"), columns=columns + " more")
    bench.build().require_all()
    assert bench.ask("postgres", "select first_at, more from mart_failure_reasons where id = 1") == [("a", 2)]

    bench.remove("mart_above")
    bench.remove("mart_failure_reasons")
    (failed,) = bench.build().failures
    assert "no file any more, but " in failed.reason
    assert bench.ids("postgres", "mart_failure_reasons") == [1, 2, 3]


def test_views_without_a_file_are_dropped_and_those_of_users_stay(bench: Workbench) -> None:
    three_layers(bench)
    bench.build()
    for database in DATABASES:
        bench.run(database, "create view mart_of_a_user as select id from things")
        bench.run(database, "create view copied as select id from mart_things")

    bench.remove("stg_others")
    dropped = [(view.database, view.view) for view in bench.build().views if view.outcome == "dropped"]

    assert dropped == [("postgres", "stg_others"), ("clickhouse", "stg_others")]
    for database in DATABASES:
        assert bench.ids(database, "mart_of_a_user") == [1, 2, 3]
        with pytest.raises((psycopg.Error, StorageError)):
            bench.ids(database, "stg_others")
        for name in ("copied", "mart_of_a_user"):
            bench.run(database, f"drop view {name}")


def test_a_chosen_view_is_built_with_what_it_reads_and_nothing_else_is_shown(bench: Workbench) -> None:
    three_layers(bench)
    bench.build()

    three_layers(bench, "id > 1")
    built = bench.build("mart_things")

    assert [(view.database, view.view, view.outcome) for view in built.views] == [
        ("postgres", "mart_things", "built"),
        ("clickhouse", "mart_things", "built"),
    ]
    for database in DATABASES:
        assert bench.ids(database, "mart_things") == [2, 3]
        assert bench.ids(database, "int_things") == [1, 2, 3]
    # Built already, for the mart: now they are shown.
    assert {view.outcome for view in bench.build("+mart_things").views} == {"unchanged"}
    assert bench.ids("clickhouse", "int_things") == [2, 3]


def test_views_and_columns_carry_their_comments(bench: Workbench) -> None:
    bench.write("stg_things", "select id from {{ source('things') }}", header='notes: Its \\ "so"\n')
    bench.build()

    assert bench.ask("postgres", "select obj_description('stg_things'::regclass)") == [
        ('What of stg_things? Grain: one row per thing. Its \\ "so"',)
    ]
    assert bench.ask("postgres", "select col_description('stg_things'::regclass, 1)") == [("About id [things]",)]
    assert bench.ask("clickhouse", "select comment from system.tables where name = 'stg_things'") == [
        ('What of stg_things? Grain: one row per thing. Its \\ "so"',)
    ]
    assert bench.ask(
        "clickhouse",
        "select comment from system.columns where table = 'stg_things' and database = currentDatabase()",
    ) == [("About id [things]",)]

    # Only what people read changed: shown at once, built anew not at all.
    bench.write("stg_things", "select id from {{ source('things') }}", header="notes: Better\n")
    assert {view.outcome for view in bench.build().views} == {"unchanged"}
    assert bench.ask("postgres", "select obj_description('stg_things'::regclass)") == [
        ("What of stg_things? Grain: one row per thing. Better",)
    ]
    assert bench.ask("clickhouse", "select comment from system.tables where name = 'stg_things'") == [
        ("What of stg_things? Grain: one row per thing. Better",)
    ]


def test_a_table_takes_in_new_rows_and_is_left_alone_without_them(bench: Workbench) -> None:
    bench.write(
        "mart_things",
        "select id from {{ source('things') }}",
        header="materialized: table\ntests:\n  - expression: id < 9\n",
    )
    bench.write("mart_above", "select id from {{ ref('mart_things') }}")
    built = bench.build()
    assert [(view.view, view.outcome, view.row_count) for view in built.views] == 2 * [
        ("mart_things", "built", 3),
        ("mart_above", "built", None),
    ]

    for database in DATABASES:
        bench.run(database, "insert into things values (4, 'd')")
        assert bench.ids(database, "mart_things") == [1, 2, 3]
    assert {view.outcome for view in bench.build().views if view.view == "mart_things"} == {"filled"}
    for database in DATABASES:
        assert bench.ids(database, "mart_above") == [1, 2, 3, 4]

    # ClickHouse says that nothing changed, also after a merge; Postgres does not, and is filled each time.
    bench.run("clickhouse", "optimize table things final")
    outcomes = {view.database: view.outcome for view in bench.build().views if view.view == "mart_things"}
    assert outcomes == {"postgres": "filled", "clickhouse": "unchanged"}

    # New rows that break a test are not taken in.
    for database in DATABASES:
        bench.run(database, "insert into things values (9, 'z')")
    assert {view.outcome for view in bench.build().views if view.view == "mart_things"} == {"failed"}
    for database in DATABASES:
        assert bench.ids(database, "mart_above") == [1, 2, 3, 4]
    bench.run("clickhouse", "alter table things delete where id = 9 settings mutations_sync = 1")
    bench.run("postgres", "delete from things where id = 9")
    assert {view.outcome for view in bench.build().views if view.view == "mart_things"} == {"filled"}


def test_a_table_is_filled_again_when_its_server_counts_from_the_beginning(bench: Workbench) -> None:
    """A server that starts with an empty table numbers what is inserted as it did what was there before."""
    with tempfile.TemporaryDirectory(prefix="quantbot-") as folder, ExitStack() as ending:
        server = EmbeddedClickHouse(Path(folder) / "clickhouse")
        ending.callback(server.stop)

        def restarted() -> Workbench:
            server.stop()
            server.start(60)
            return replace(bench, clickhouse=server.url() or "")

        own = restarted()
        # Parts that are not needed any more go at once, not after minutes.
        storage = "engine = MergeTree order by id settings old_parts_lifetime = 0"
        own.run("clickhouse", f"create table things (id Int64, name String) {storage}")
        for number in (1, 2):
            own.run("clickhouse", f"insert into things values ({number}, 'a')")  # noqa: S608 - own numbers
        own.write("mart_things", "select id from {{ source('things') }}", header="materialized: table\n")
        own.build().require_all()
        before = _contents(own)

        own = restarted()
        assert own.build("clickhouse.mart_things").views[0].outcome == "unchanged"

        own.run("clickhouse", "truncate table things")
        emptied = own
        _wait_until(lambda: emptied.ask("clickhouse", "select 1 from system.parts where table = 'things'") == [])
        own = restarted()
        for number in (7, 8):
            own.run("clickhouse", f"insert into things values ({number}, 'a')")  # noqa: S608 - own numbers

        assert _contents(own).blocks == before.blocks
        assert own.build("clickhouse.mart_things").views[0].outcome == "filled"
        assert own.ids("clickhouse", "mart_things") == [7, 8]


def _contents(bench: Workbench) -> Contents:
    builds = ClickHouseBuilds(bench.clickhouse)
    found = builds.contents(["things"])
    builds.close()
    assert found is not None
    return found


def _wait_until(is_so: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not is_so():
        assert time.monotonic() < deadline
        time.sleep(0.1)


def test_a_chosen_table_takes_in_what_the_table_below_it_has_to_take_in_first(bench: Workbench) -> None:
    """It was filled from the old rows below, marked as filled from the new ones, and left alone from then on."""
    bench.write("int_things", "select id from {{ source('things') }}", header="materialized: table\n")
    bench.write("mart_things", "select id from {{ ref('int_things') }}", header="materialized: table\n")
    bench.build()
    for database in DATABASES:
        bench.run(database, "insert into things values (4, 'd')")

    bench.build("mart_things")

    for database in DATABASES:
        assert bench.ids(database, "mart_things") == [1, 2, 3, 4]


def test_indexes_of_a_table_are_made_in_postgres(bench: Workbench) -> None:
    bench.write("mart_things", "select id from {{ source('things') }}", header="materialized: table\n")
    path = bench.folder / "postgres" / "mart_things.sql"
    path.write_text(path.read_text(encoding="utf-8").replace("columns:", "indexes: [[id]]\ncolumns:"), encoding="utf-8")
    bench.build()

    rows = bench.ask("postgres", "select indexdef from pg_indexes where schemaname = 'view_builds'")

    assert [str(row[0]).rpartition("btree")[2] for row in rows] == [" (id)"]


def test_readers_meet_either_version_and_never_none(bench: Workbench) -> None:
    three_layers(bench)
    bench.build()
    stop = threading.Event()
    seen: set[tuple[object, ...]] = set()
    errors: list[BaseException] = []

    def read(database: Database) -> None:
        try:
            while not stop.is_set():
                seen.add(tuple(bench.ids(database, "mart_things")))
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            errors.append(error)

    readers = [threading.Thread(target=read, args=(database,)) for database in DATABASES]
    for reader in readers:
        reader.start()
    for number in range(2):
        three_layers(bench, "id > 1" if number % 2 == 0 else "id > 0")
        bench.build().require_all()
    stop.set()
    for reader in readers:
        reader.join()

    assert errors == []
    assert seen <= {(1, 2, 3), (2, 3)}


def test_a_build_that_can_not_replace_what_is_read_names_who_reads_it(
    bench: Workbench, monkeypatch: pytest.MonkeyPatch
) -> None:
    three_layers(bench)
    bench.build()
    monkeypatch.setattr(postgres_builds, "_LOCK_TIMEOUT", "50ms")
    monkeypatch.setattr(postgres_builds, "_LOCK_ATTEMPTS", 2)
    with psycopg.connect(bench.postgres, application_name="a dashboard") as reader:
        reader.execute("select * from mart_things").fetchall()
        three_layers(bench, "id > 1")

        with pytest.raises(ServerError) as refused:
            bench.build("+postgres.mart_things")

        pid = reader.info.backend_pid
    pattern = rf"held by pid {pid} \(user \w+, application a dashboard, idle in transaction since [-\d]+ [:\d]+ UTC\); "
    assert re.search(pattern, str(refused.value)), str(refused.value)
    bench.build().require_all()
    assert bench.ids("postgres", "mart_things") == [2, 3]


def test_builds_at_the_same_time_take_turns(bench: Workbench) -> None:
    three_layers(bench)
    results: list[ViewBuild | BaseException] = []

    def work() -> None:
        try:
            results.append(bench.build())
        except BaseException as error:  # noqa: BLE001 - shown by the assertion below
            results.append(error)

    builders = [threading.Thread(target=work) for _ in range(4)]
    for builder in builders:
        builder.start()
    for builder in builders:
        builder.join()

    outcomes = sorted({view.outcome for view in result.views} for result in results if isinstance(result, ViewBuild))
    assert len(outcomes) == 4
    assert sum(found == {"built"} for found in outcomes) == 1
    assert sum(found == {"unchanged"} for found in outcomes) == 3


def test_what_an_interrupted_build_left_is_removed(bench: Workbench) -> None:
    three_layers(bench)
    bench.build()
    left = "mart_things__0123456789ab__new"
    bench.run("postgres", f"create view view_builds.{left} as select 1 as id")
    clickhouse_database = urlsplit(bench.clickhouse).path.strip("/")
    bench.run("clickhouse", f"create view {clickhouse_database}_view_builds.{left} as select 1 as id")

    bench.build()

    assert bench.ask("postgres", f"select to_regclass('view_builds.{left}')") == [(None,)]
    assert bench.ask("clickhouse", f"select count() from system.tables where name = '{left}'") == [(0,)]  # noqa: S608 - own name


def test_what_a_killed_build_lets_the_server_fill_is_stopped_by_the_next_one(bench: Workbench) -> None:
    """Hours of work: ClickHouse goes on with a statement whose client is gone."""
    slow = "select max(id) as id from {{ source('things') }} cross join numbers(1000000000000) as n"
    bench.write("mart_things", f"{slow} where sipHash64(number) = 0", header="materialized: table\n")
    (bench.folder / "postgres" / "mart_things.sql").unlink()
    running = "select count() from system.processes where query like 'create table%sipHash64%'"
    child = multiprocessing.get_context("fork").Process(target=bench.build)
    child.start()
    _wait_until(lambda: bench.ask("clickhouse", running) == [(1,)])
    child.kill()
    child.join()
    assert bench.ask("clickhouse", running) == [(1,)]

    bench.write("mart_things", "select id from {{ source('things') }}", header="materialized: table\n")
    bench.build().require_all()

    assert bench.ids("clickhouse", "mart_things") == [1, 2, 3]
    _wait_until(lambda: bench.ask("clickhouse", running) == [(0,)])


@pytest.mark.deep
@pytest.mark.timeout(1800)
@pytest.mark.parametrize("when", ["before", "after"])
def test_a_build_that_is_killed_at_any_statement_leaves_the_old_views_and_is_done_by_the_next_one(
    bench: Workbench, when: str
) -> None:
    def change(number: int) -> None:
        """Change what all read; the rows tell which version is shown."""
        bench.write("stg_things", f"select id + {number} as id from {{{{ source('things') }}}}")  # noqa: S608 - own names

    change(0)
    bench.write("int_things", "select id from {{ ref('stg_things') }}", header="materialized: table\n")
    bench.write("mart_things", "select id from {{ ref('int_things') }}", header="tests: [{unique: [id]}]\n")
    bench.build().require_all()
    number, code = 0, -signal.SIGKILL
    while code == -signal.SIGKILL:
        number += 1
        # Some find their own build there already, half of it or whole.
        change(number - number % 3)
        # New rows, so that tables that did not change are filled anew.
        for database in DATABASES:
            bench.run(database, "insert into things values (100, 'd')")
            bench.run(database, "delete from things where id = 100")
        before = {(database, name): bench.ids(database, name) for database in DATABASES for name in SHOWN}
        child = multiprocessing.get_context("fork").Process(target=_build_and_die, args=(bench, number, when))
        child.start()
        child.join()
        code = child.exitcode or 0
        after = [number - number % 3 + id_ for id_ in (1, 2, 3)]
        for (database, name), ids in before.items():
            assert bench.ids(database, name) in (ids, after), (number, database, name)

        bench.build().require_all()
        for database in DATABASES:
            for name in SHOWN:
                assert bench.ids(database, name) == after, (number, database, name)
        # What it replaced goes with the build after, when nobody reads it any more.
        bench.build().require_all()
        for builds in (PostgresBuilds(bench.postgres), ClickHouseBuilds(bench.clickhouse)):
            assert unused_builds(builds.builds(), builds.published()) == [], number
            builds.close()

    assert code == 0
    assert number > 30


SHOWN = ("stg_things", "int_things", "mart_things")


def _build_and_die(bench: Workbench, statement: int, when: str) -> None:
    """Build, but be killed before or after the statement of a number."""
    passed = 0

    def counted(method: Callable[..., Any]) -> Callable[..., Any]:
        def counting(*values: Any, **named: Any) -> Any:
            nonlocal passed
            passed += 1
            is_last = passed == statement
            if is_last and when == "before":
                os.kill(os.getpid(), signal.SIGKILL)
            result = method(*values, **named)
            if is_last:
                os.kill(os.getpid(), signal.SIGKILL)
            return result

        return counting

    # Every statement to both servers goes through one of them.
    for owner, name in (
        (psycopg.Connection, "execute"),
        (psycopg.Cursor, "execute"),
        (ClickHouseConnection, "command"),
        (ClickHouseConnection, "fetch_table"),
    ):
        setattr(owner, name, counted(getattr(owner, name)))
    bench.build()
    os._exit(0)


def test_views_of_before_this_schema_are_taken_over(bench: Workbench) -> None:
    """They were plain views of these names that read each other; the one below changes its columns as well."""
    for database in DATABASES:
        bench.run(database, "create view stg_things as select name, id from things")
        bench.run(database, "create view mart_things as select id from stg_things")
    three_layers(bench, "id > 1")

    bench.build().require_all()

    for database in DATABASES:
        assert bench.ids(database, "mart_things") == [2, 3]


def test_header_tests_count_the_rows_that_break_them(bench: Workbench) -> None:
    for database in DATABASES:
        bench.run(database, "insert into things values (3, 'it''s 100 %')")
    header = """tests:
  - unique: [id]
  - unique: [id, name]
  - not_null: [nothing]
  - accepted_values: {column: name, values: [a, "it's 100 %"]}
  - accepted_values: {column: id, values: [1, 2, 3]}
  - relationships: {column: name, to: stg_names.name}
  - relationships: {column: id, to: things.id}
  - expression: name like 'it%'
  - expression: id > 0
"""
    bench.write("stg_names", "select name from {{ source('things') }} where id > 1", columns="name")
    bench.write(
        "int_things",
        "select id, name, nullif(1, 1) as nothing from {{ source('things') }}",
        columns="id name nothing",
        header=header,
    )
    # Rows: (1, a), (2, b), (3, c), (3, it's). One id twice; four nulls; b and c not accepted; a not among the names
    # with an id over 1; three names that are not like it.
    expected = [1, 0, 4, 2, 0, 1, 0, 3, 0]

    built = bench.build()

    for database in DATABASES:
        (result,) = (view for view in built.views if (view.database, view.view) == (database, "int_things"))
        assert [test.failures for test in result.tests] == expected
        assert [test.examples for test in result.tests][:2] == [("id 3",), ()]
        assert set(result.tests[2].examples) <= {f"id {number}, nothing null" for number in (1, 2, 3)}
        assert set(result.tests[3].examples) == {"id 2, name b", "id 3, name c"}
        assert result.tests[5].examples == ("id 1, name a",)
        assert len(result.tests[7].examples) == 3
    with pytest.raises(StorageError, match=r"int_things\.sql:\d+: the test unique\(id\) can't run in postgres"):
        check_views(bench.postgres, bench.clickhouse, folder=bench.folder, tables=TABLES)


def test_tests_of_shown_views_see_the_rows_of_now(bench: Workbench) -> None:
    bench.write("stg_things", "select id from {{ source('things') }}", header="tests:\n  - unique: [id]\n")
    bench.build().require_all()
    for database in DATABASES:
        bench.run(database, "insert into things values (1, 'again')")

    results = check_views(bench.postgres, bench.clickhouse, folder=bench.folder, tables=TABLES)

    assert [(result.database, result.test, result.failures) for result in results] == [
        ("postgres", "unique(id)", 1),
        ("clickhouse", "unique(id)", 1),
    ]
    assert [(result.place, result.examples) for result in results] == [
        (f"{bench.folder / database / 'stg_things.sql'}:5", ("id 1",)) for database in DATABASES
    ]
    # The file did not change, so its build is left alone, whatever its rows say.
    assert {view.outcome for view in bench.build().views} == {"unchanged"}


def _materialize(bench: Workbench, *names: str) -> dg.ExecuteInProcessResult:
    settings = load_settings(
        home=bench.folder.parent / "home", postgres_url=bench.postgres, clickhouse_url=bench.clickhouse
    )
    return dg.materialize(
        [build_view_assets(bench.folder, TABLES)],
        selection=[dg.AssetKey([database, name]) for database in DATABASES for name in names],
        resources={"settings": settings},
        raise_on_error=False,
    )


def test_selected_assets_are_built_and_checked_alone(bench: Workbench) -> None:
    three_layers(bench)
    bench.write(
        "mart_things",
        "select id from {{ ref('int_things') }}",
        header="materialized: table\ntests:\n  - unique: [id]\n  - expression: id > 0\n",
    )
    bench.build()

    result = _materialize(bench, "mart_things", "stg_others")

    assert result.success
    made = {
        event.asset_key.to_user_string(): event.materialization for event in result.get_asset_materialization_events()
    }
    assert set(made) == {f"{d}/{name}" for d in DATABASES for name in ("mart_things", "stg_others")}
    metadata = made["clickhouse/mart_things"].metadata
    assert metadata["dagster/row_count"].value == 3
    (column,) = metadata["dagster/column_schema"].schema.columns
    assert (column.name, column.type, column.description) == ("id", "Int64", "About id [things]")
    checks = {(one.asset_key.path[0], one.check_name, one.passed) for one in result.get_asset_check_evaluations()}
    assert checks == {(d, name, True) for d in DATABASES for name in ("unique_id", "expression_id_0")}


def test_a_broken_asset_fails_alone(bench: Workbench) -> None:
    three_layers(bench)
    bench.build()
    bench.write(
        "int_things",
        "select id from {{ ref('stg_things') }}",
        header="tests:\n  - unique: [id]\n  - expression: id < 2\n",
    )

    result = _materialize(bench, "stg_things", "int_things", "mart_things", "stg_others")

    assert not result.success
    made = {event.asset_key.path[1] for event in result.get_asset_materialization_events()}
    assert made == {"stg_things", "stg_others"}
    checks = {(one.check_name, one.passed) for one in result.get_asset_check_evaluations()}
    assert checks == {("unique_id", True), ("expression_id_2", False)}
    for database in DATABASES:
        assert bench.ids(database, "mart_things") == [1, 2, 3]


def test_servers_that_do_not_answer_are_an_error_without_the_password() -> None:
    with pytest.raises(ServerError) as error:
        build_views("postgresql://someone:secret@127.0.0.1:1/nothing", "http://someone:secret@127.0.0.1:1/nothing")

    assert "secret" not in str(error.value)


@pytest.mark.parametrize("database", DATABASES)
def test_a_column_that_is_not_there_is_named_with_its_line_and_not_sent_to_migrate(
    bench: Workbench, database: Database
) -> None:
    bench.write("stg_things", "select\n    id,\n    nmae\nfrom {{ source('things') }}", columns="id nmae")
    (found,) = [view for view in bench.build().views if view.database == database]

    # The header has seven lines, the select begins on the eighth.
    assert f"{database}/stg_things.sql:10: {database} refuses it: " in found.reason, found.reason
    assert found.reason.endswith("; correct the file")
    assert found.reason.count("nmae") >= 1
    assert "migrate" not in found.reason
    assert "http" not in found.reason


@pytest.mark.parametrize("database", DATABASES)
def test_a_table_that_is_not_there_is_for_migrate(bench: Workbench, database: Database) -> None:
    bench.write("stg_things", "select id from {{ source('things') }}")
    bench.run(database, "alter table things rename to others" if database == "postgres" else "rename table things to o")
    (found,) = [view for view in bench.build().views if view.database == database]

    assert found.reason.endswith("; run 'quantbot migrate'")
    assert found.reason.count("migrate") == 1
    assert "http" not in found.reason


def test_a_view_of_one_database_is_tested_without_naming_the_database(bench: Workbench) -> None:
    three_layers(bench)
    bench.build()
    (bench.folder / "postgres" / "stg_others.sql").unlink()
    bench.write("int_things", "select id from {{ ref('stg_things') }}", header="tests: [{not_null: [id]}]\n")
    (bench.folder / "postgres" / "int_things.sql").unlink()
    (bench.folder / "postgres" / "mart_things.sql").unlink()
    bench.build().require_all()

    results = check_views(
        bench.postgres, bench.clickhouse, selection=["int_things"], folder=bench.folder, tables=TABLES
    )
    assert [(result.database, result.view) for result in results] == [("clickhouse", "int_things")]
    with pytest.raises(ConfigError, match="'int_things' fits no view"):
        check_views(
            bench.postgres,
            bench.clickhouse,
            databases=("postgres",),
            selection=["int_things"],
            folder=bench.folder,
            tables=TABLES,
        )


def test_readers_stop_only_for_views_that_they_need(bench: Workbench) -> None:
    """A file that can't be read counts as a failed view; it and what reads it go on showing what they showed."""
    three_layers(bench)
    bench.write("mart_others", "select id from {{ ref('stg_others') }}")
    bench.build()

    bench.write("stg_others", "select id frm {{ source('things') }} where (")
    bench.write("int_things", "select id from {{ ref('stg_things') }} where nmae = 1")
    with pytest.raises(MigrationError, match="does not understand the select"):
        bench.build()
    built = build_views(bench.postgres, bench.clickhouse, is_tolerant=True, folder=bench.folder, tables=TABLES)

    assert {(view.database, view.view): view.outcome for view in built.failures} == {
        (database, name): outcome
        for database in DATABASES
        for name, outcome in [
            ("int_things", "failed"),
            ("mart_things", "skipped"),
            ("stg_others", "failed"),
            ("mart_others", "failed"),
        ]
    }
    for database in DATABASES:
        assert bench.ids(database, "mart_things") == [1, 2, 3]
        assert bench.ids(database, "mart_others") == [3]
    assert len(built.require([("postgres", "stg_things")])) == 8
    told: list[str] = []
    check_views(
        bench.postgres,
        bench.clickhouse,
        selection=["stg_things"],
        folder=bench.folder,
        tables=TABLES,
        on_refused=lambda database, name, reason: told.append(f"{database}.{name}: {reason}"),
    )
    assert [one.split(": ")[0] for one in told] == [
        f"{db}.{name}" for db in DATABASES for name in ("stg_others", "mart_others")
    ]
    assert all("does not understand the select" in one for one in told)
    with pytest.raises(MigrationError, match=r"view postgres\.int_things is not built: .*int_things\.sql:7: .*nmae"):
        built.require([("postgres", "mart_things")])
    with pytest.raises(MigrationError, match=r"mart_others is not built: .*stg_others\.sql:7: sqlglot does not"):
        built.require([("clickhouse", "mart_others")])
    chosen = build_views(
        bench.postgres,
        bench.clickhouse,
        selection=["+mart_others"],
        is_tolerant=True,
        folder=bench.folder,
        tables=TABLES,
    )
    with pytest.raises(MigrationError, match=r"stg_others\.sql:7"):
        chosen.require([("postgres", "mart_others")])
