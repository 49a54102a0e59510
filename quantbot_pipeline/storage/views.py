"""Views of both databases: read from `dbt_like_views/`, applied in dependency order, tested on real rows.

One file is one view: its name is the file's name, its text a header of comments and one `select`. Two kinds
of header lines are read by machine, the rest is for people::

    -- depends: <view or table>, …           every relation that the select reads from
    -- test: unique(column, …)               no two rows share these values
    -- test: not_null(column)                no null
    -- test: accepted(column, a, b, …)       no other values (null is not checked)
    -- test: relationship(column, other.column)   every value occurs in the other view (null is not checked)
    -- test: holds(expression)               the SQL expression is true on every row (null counts as true)

Layers: `stg_` gives tables clean names, `int_` joins, `mart_` is what people and dashboards ask.
"""

import re
from collections.abc import Callable, Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from pathlib import Path

import psycopg
from psycopg import sql

from quantbot_pipeline.errors import MigrationError, ServerError, StorageError
from quantbot_pipeline.project_files import project_file
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
from quantbot_pipeline.storage.postgres_connection import Connection, connect
from quantbot_pipeline.storage.sql_files import Database

_IDENTIFIER = r"[a-z_][a-z0-9_]*"
_VIEW_NAME = re.compile(r"(stg|int|mart)_[a-z0-9_]+")
_HEADER = re.compile(r"--\s*(?P<kind>depends|test):\s*(?P<text>.+?)\s*$")
_TEST = re.compile(r"(?P<kind>[a-z_]+)\((?P<arguments>.*)\)")
_READS = re.compile(rf"\b(?:from|join)\s+({_IDENTIFIER})\b(?!\s*\()", re.IGNORECASE)
_CREATED_TABLE = re.compile(rf"\bcreate\s+(?:table|view)\s+(?:if\s+not\s+exists\s+)?({_IDENTIFIER})\b", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*")

# Serialises concurrent applications in Postgres; the number has no meaning but must never change.
_POSTGRES_LOCK = 7_305_091_120_443_118


@dataclass(frozen=True, slots=True)
class ViewTest:
    """One test of a view's header.

    Attributes:
        kind: unique, not_null, accepted, relationship or holds.
        arguments: Columns, values or the expression, as the header gives them.
    """

    kind: str
    arguments: tuple[str, ...]

    def __str__(self) -> str:
        return f"{self.kind}({', '.join(self.arguments)})"


@dataclass(frozen=True, slots=True)
class View:
    """One view: its file, its select, and what its header says.

    Attributes:
        name: Name of the view, which is the file's name without `.sql`.
        path: The file.
        text: The file's text, header and select; what the database gets.
        depends: Views and tables that the select reads.
        tests: Tests of the header.
    """

    name: str
    path: Path
    text: str
    depends: tuple[str, ...]
    tests: tuple[ViewTest, ...]


@dataclass(frozen=True, slots=True)
class ViewTestResult:
    """What a test found.

    Attributes:
        database: postgres or clickhouse.
        view: Name of the view.
        test: The test as its header says it.
        failures: Rows (for `unique`: keys) that break it; 0 when it passed.
    """

    database: Database
    view: str
    test: str
    failures: int

    @property
    def passed(self) -> bool:
        """Whether no row breaks the test."""
        return self.failures == 0


def load_views(database: Database, directory: Path | None = None, tables: frozenset[str] | None = None) -> list[View]:
    """Return the views of a database in an order in which each can be created.

    Args:
        database: Which of the two.
        directory: Folder of view files; the project's by default.
        tables: Tables that views may read; those that the project's migrations create by default.

    Raises:
        MigrationError: a file has a name, header or test that is not understood, depends on something that
            is neither a view nor a table, reads what its header does not name, or the views depend on
            each other in a circle; the message names the files.
    """
    folder = directory or project_file(f"dbt_like_views/{database}")
    known_tables = _migrated_tables(database) if tables is None else tables
    views = {path.stem: _parse_view(path) for path in sorted(folder.glob("*.sql"))}
    for view in views.values():
        _check_dependencies(view, frozenset(views), known_tables)
    graph = {name: [above for above in view.depends if above in views] for name, view in views.items()}
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(f"{name}.sql" for name in reversed(error.args[1]))
        raise MigrationError(
            f"views in {folder} depend on each other in a circle: {circle}; take one '-- depends:' out"
        ) from error
    return [views[name] for name in order]


def apply_views(postgres_url: str, clickhouse_url: str) -> list[str]:
    """Create or replace all views in both databases and return their names, `database.view`, in order.

    In Postgres all views change together or none does; in ClickHouse each view is replaced at once.

    Args:
        postgres_url: `postgresql://user:password@host:port/database`.
        clickhouse_url: `http(s)://user:password@host:port/database`.

    Raises:
        MigrationError: a view's file is wrong, or a database refuses its select (a table that a migration
            has not made yet, for one).
        StorageError: something that is not the project's depends on a view whose columns changed.
        ServerError: a server does not answer.
    """
    postgres_views, clickhouse_views = load_views("postgres"), load_views("clickhouse")
    apply_postgres_views(postgres_url, postgres_views)
    apply_clickhouse_views(clickhouse_url, clickhouse_views)
    return [f"postgres.{view.name}" for view in postgres_views] + [
        f"clickhouse.{view.name}" for view in clickhouse_views
    ]


def apply_postgres_views(url: str, views: Sequence[View]) -> None:
    """Create or replace views in Postgres in one transaction; see `apply_views`."""
    with closing(connect(url)) as connection, connection.transaction():
        connection.execute("select pg_advisory_xact_lock(%s)", [_POSTGRES_LOCK])
        try:
            with connection.transaction():
                _create_in_postgres(connection, views)
        except psycopg.errors.InvalidTableDefinition:
            # Postgres replaces a view only when its first columns stay as they are; the project's views
            # then all make room first, last ones first, and are created anew in the same transaction.
            _drop_in_postgres(connection, views)
            _create_in_postgres(connection, views)


def apply_clickhouse_views(url: str, views: Sequence[View]) -> None:
    """Create or replace views in ClickHouse, one after the other; see `apply_views`."""
    with closing(ClickHouseConnection(url)) as connection:
        for view in views:
            try:
                connection.command(f"create or replace view `{view.name}` as\n{view.text}", name=view.name)
            except ServerError:
                raise
            except StorageError as error:
                raise _refused(view, error) from error


def check_views(postgres_url: str, clickhouse_url: str) -> list[ViewTestResult]:
    """Run every test of every view's header on the rows that are stored now.

    Args:
        postgres_url: `postgresql://user:password@host:port/database`.
        clickhouse_url: `http(s)://user:password@host:port/database`.

    Raises:
        StorageError: a test can't run; it names a column that the view lacks, for one.
        ServerError: a server does not answer.
    """
    return [
        *check_postgres_views(postgres_url, load_views("postgres")),
        *check_clickhouse_views(clickhouse_url, load_views("clickhouse")),
    ]


def check_postgres_views(url: str, views: Sequence[View]) -> list[ViewTestResult]:
    """Run the header tests of views in Postgres."""
    with closing(connect(url)) as connection:

        def count(statement: str, values: Sequence[str]) -> int:
            # The statement is put together from identifiers and expressions of the project's own files.
            text = statement.replace("%", "%%").replace(_VALUES, "%(values)s")
            row = connection.execute(text, {"values": list(values)}).fetchone()
            return int(row[0]) if row else 0

        return _check("postgres", views, count, "cast({column} as text) <> all({values})", '"')


def check_clickhouse_views(url: str, views: Sequence[View]) -> list[ViewTestResult]:
    """Run the header tests of views in ClickHouse."""
    with closing(ClickHouseConnection(url)) as connection:

        def count(statement: str, values: Sequence[str]) -> int:
            text = statement.replace(_VALUES, "{values:Array(String)}")
            rows = connection.fetch_table(text, name="view test", parameters={"values": list(values)})
            return int(rows.column(0)[0].as_py())

        return _check("clickhouse", views, count, "not has({values}, toString({column}))", "`")


def _parse_view(path: Path) -> View:
    if not _VIEW_NAME.fullmatch(path.stem):
        raise MigrationError(
            f"{path}: {path.stem!r} can't be the name of a view; allowed is stg_, int_ or mart_ followed by "
            "lower-case letters, digits and underscores"
        )
    text = path.read_text(encoding="utf-8")
    depends: list[str] = []
    tests: list[ViewTest] = []
    for number, line in enumerate(text.splitlines(), start=1):
        if not (header := _HEADER.match(line)):
            continue
        if header["kind"] == "depends":
            depends += [name.strip() for name in header["text"].split(",")]
        else:
            tests.append(_parse_test(header["text"], f"{path}, line {number}"))
    if not depends:
        raise MigrationError(f"{path}: there is no line '-- depends: <view or table>, …'; every view reads something")
    return View(path.stem, path, text.rstrip().rstrip(";") + "\n", tuple(depends), tuple(tests))


_TEST_ARGUMENTS: Mapping[str, tuple[int, int]] = {
    "unique": (1, 99),
    "not_null": (1, 1),
    "accepted": (2, 99),
    "relationship": (2, 2),
    "holds": (1, 1),
}
"""Test kinds with the least and the largest number of their arguments."""

_VALUES = "⟨values⟩"
"""Where a test's statement takes the list of accepted values as a parameter."""


def _parse_test(text: str, place: str) -> ViewTest:
    match = _TEST.fullmatch(text)
    if not match or match["kind"] not in _TEST_ARGUMENTS:
        allowed = ", ".join(f"{kind}(…)" for kind in _TEST_ARGUMENTS)
        raise MigrationError(f"{place}: {text!r} is not a test; allowed are {allowed}")
    kind = match["kind"]
    arguments = (
        (match["arguments"].strip(),)
        if kind == "holds"
        else tuple(argument.strip() for argument in match["arguments"].split(","))
    )
    least, most = _TEST_ARGUMENTS[kind]
    columns = arguments if kind == "unique" else arguments[:1] if kind != "holds" else ()
    named = all(re.fullmatch(_IDENTIFIER, column) for column in columns)
    if kind == "relationship":
        named = named and bool(re.fullmatch(rf"{_IDENTIFIER}\.{_IDENTIFIER}", arguments[-1]))
    if not least <= len(arguments) <= most or not all(arguments) or not named:
        raise MigrationError(
            f"{place}: {text!r} has wrong arguments; allowed are unique(column, …), not_null(column), "
            "accepted(column, value, …), relationship(column, view.column) and holds(expression)"
        )
    return ViewTest(kind, arguments)


def _check_dependencies(view: View, views: frozenset[str], tables: frozenset[str]) -> None:
    for name in view.depends:
        if name not in views | tables:
            raise MigrationError(
                f"{view.path}: depends on {name!r}, which is neither a view in its folder nor a "
                "table that a migration creates; correct the line '-- depends:' or add what is missing"
            )
    read = {name for name in _READS.findall(_COMMENT.sub("", view.text)) if name in views | tables}
    if undeclared := sorted(read - set(view.depends)):
        raise MigrationError(
            f"{view.path}: reads {', '.join(undeclared)}, which its line '-- depends:' does not name; add it there"
        )


def _migrated_tables(database: Database) -> frozenset[str]:
    migrations = sorted(project_file(f"sql/{database}").glob("*.sql"))
    texts = (_COMMENT.sub("", path.read_text(encoding="utf-8")) for path in migrations)
    return frozenset(name.lower() for text in texts for name in _CREATED_TABLE.findall(text))


def _create_in_postgres(connection: Connection, views: Sequence[View]) -> None:
    for view in views:
        body = sql.SQL(view.text)
        statement = sql.SQL("create or replace view {} as\n{}").format(sql.Identifier(view.name), body)
        try:
            connection.execute(statement)
        except psycopg.errors.InvalidTableDefinition:
            raise
        except psycopg.Error as error:
            raise _refused(view, error) from error


def _drop_in_postgres(connection: Connection, views: Sequence[View]) -> None:
    for view in reversed(views):
        try:
            connection.execute(sql.SQL("drop view if exists {}").format(sql.Identifier(view.name)))
        except psycopg.errors.DependentObjectsStillExist as error:
            detail = (error.diag.message_detail or "").replace("\n", "; ")
            raise StorageError(
                f"Postgres view {view.name!r} has new columns and can't be replaced: {detail}; "
                "drop what depends on it, apply the views, and create it again"
            ) from error


def _check(
    database: Database,
    views: Sequence[View],
    count: Callable[[str, Sequence[str]], int],
    not_accepted: str,
    quote: str,
) -> list[ViewTestResult]:
    results = []
    for view in views:
        for test in view.tests:
            statement, values = _failures_statement(view, test, not_accepted, quote)
            try:
                failures = count(statement, values)
            except ServerError:
                raise
            except (psycopg.Error, StorageError) as error:
                raise StorageError(
                    f"{view.path}: the test {test} can't run in {database}: {_first_line(error)}; "
                    "apply the views, or correct the test"
                ) from error
            results.append(ViewTestResult(database, view.name, str(test), failures))
    return results


def _failures_statement(view: View, test: ViewTest, not_accepted: str, quote: str) -> tuple[str, Sequence[str]]:
    """Return a statement that counts what breaks a test, and the values it compares with."""

    def quoted(name: str) -> str:
        return f"{quote}{name}{quote}"

    # Names were matched against _IDENTIFIER, expressions are the project's own SQL; values are parameters.
    rows, first = f"from {quoted(view.name)}", quoted(test.arguments[0])
    match test.kind:
        case "unique":
            columns = ", ".join(quoted(column) for column in test.arguments)
            # A subquery with a name, as both databases want one.
            keys = f"select {columns} {rows} group by {columns} having count(*) > 1"
            return f"select count(*) from ({keys}) as repeated", ()  # noqa: S608 - see above
        case "not_null":
            return f"select count(*) {rows} where {first} is null", ()
        case "accepted":
            wrong = not_accepted.format(column=first, values=_VALUES)
            return f"select count(*) {rows} where {first} is not null and {wrong}", test.arguments[1:]
        case "relationship":
            other, column = (quoted(part) for part in test.arguments[1].split("."))
            known = f"select {column} from {other}"  # noqa: S608 - see above
            return f"select count(*) {rows} where {first} is not null and {first} not in ({known})", ()
        case _:
            return f"select count(*) {rows} where not ({test.arguments[0]})", ()


def _refused(view: View, error: Exception) -> MigrationError:
    return MigrationError(
        f"{view.path}: the database refuses the view: {_first_line(error)}; "
        "run 'quantbot migrate' if a table or column is missing, else correct the file"
    )


def _first_line(error: Exception) -> str:
    return next(iter(str(error).strip().splitlines()), type(error).__name__)
