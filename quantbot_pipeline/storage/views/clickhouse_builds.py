"""Builds of views in ClickHouse: the database `…_view_builds`, and the views that show the newest ones."""

from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager

import pyarrow as pa

from quantbot_pipeline.errors import MigrationError, ServerError, StorageError
from quantbot_pipeline.storage.clickhouse_connection import (
    MISSING_TABLE_CODES,
    ClickHouseAddress,
    ClickHouseConnection,
    server_answer,
)
from quantbot_pipeline.storage.sql_files import load_sql
from quantbot_pipeline.storage.views.files import ViewTest
from quantbot_pipeline.storage.views.rendering import View
from quantbot_pipeline.storage.views.states import (
    Build,
    Contents,
    OutputColumn,
    Publication,
    PublishedView,
    build_name_in,
    first_line,
)
from quantbot_pipeline.storage.views.testing import ACCEPTED_VALUES, failures_statement

_SPILL_BYTES = 1_000_000_000


class ClickHouseBuilds:
    """Views of one ClickHouse database.

    Args:
        url: `http(s)://user:password@host:port/database`.

    Raises, in every method: StorageError where the database refuses a statement (MigrationError where it lacks a
    table), ServerError where it is out of reach.
    """

    def __init__(self, url: str) -> None:
        self._database = ClickHouseAddress.parse(url).database
        self._builds_database = f"{self._database}_view_builds"
        self._connection = ClickHouseConnection(url)

    def close(self) -> None:
        """End the connection."""
        self._connection.close()

    def prepare(self) -> None:
        """Make the database of builds, and end and remove what an interrupted build left on trial."""
        known = self._connection.fetch_table(
            load_sql("clickhouse", "views/find_builds_database"),
            name="views/find_builds_database",
            parameters={"builds_database": self._builds_database},
        )
        if known.num_rows == 0:
            # Only then: whoever may not create databases can have this one made by somebody else.
            self._run(f"create database if not exists `{self._builds_database}`", f"create {self._builds_database}")
        self._stop_builds()
        for build in self.builds().values():
            if build.is_on_trial:
                self.drop_build(build)

    def builds(self) -> dict[str, Build]:
        """Return what the database of builds holds, by name."""
        rows = self._connection.fetch_table(
            load_sql("clickhouse", "views/find_builds"),
            name="views/find_builds",
            parameters={"builds_database": self._builds_database},
        ).to_pylist()
        return {
            row["build_name"]: Build(
                row["build_name"],
                is_table=bool(row["is_table"]),
                contents=Contents.parse(row["contents"]),
                definition=row["definition"],
                is_told=bool(row["definition"]),
            )
            for row in rows
        }

    def published(self) -> dict[str, PublishedView]:
        """Return the views that people read, by name."""
        rows = self._connection.fetch_table(
            load_sql("clickhouse", "views/find_published"), name="views/find_published"
        ).to_pylist()
        return {
            row["view_name"]: PublishedView(
                row["view_name"],
                build_name_in(row["definition"]),
                (row["view_comment"], *row["column_comments"]),
                is_told=bool(row["definition"]),
            )
            for row in rows
        }

    def contents(self, tables: Sequence[str]) -> Contents | None:
        """Return what tables hold; None where one of them does not tell."""
        (row,) = self._connection.fetch_table(
            load_sql("clickhouse", "views/find_contents"),
            name="views/find_contents",
            parameters={"table_names": list(tables)},
        ).to_pylist()
        if row["table_count"] < len(set(tables)):
            return None
        return Contents(row["blocks"], row["parts"], row["started_s"])

    def source_address(self, name: str) -> str:
        """Return the quoted address of a table of the migrations, or of a published view."""
        return f"`{self._database}`.`{name}`"

    def build_address(self, build_name: str) -> str:
        """Return the quoted address of a build."""
        return f"`{self._builds_database}`.`{build_name}`"

    def create(self, view: View, build_name: str, select: str, contents: Contents | None) -> None:
        """Create a view's build, with its rows where it is a table."""
        address = self.build_address(build_name)
        if view.materialized == "view":
            self._run(f"create view {address} as\n{select}", view.name)
            return
        order_by = ", ".join(f"`{name}`" for name in view.file.order_by)
        self._run(
            f"create table {address} engine = MergeTree order by ({order_by}) settings allow_nullable_key = 1 "
            f"comment {_text(str(contents or ''))} as\n{select}",
            view.name,
        )

    def accept(self, trial_name: str, build: Build) -> None:
        """Give a build that passed its tests its name; take the place of one that is there."""
        trial, address = self.build_address(trial_name), self.build_address(build.name)
        if build.name in self.builds():
            self._run(f"exchange tables {trial} and {address}", build.name)
            self.drop_build(Build(trial_name, is_table=build.is_table))
        else:
            self._run(f"rename table {trial} to {address}", build.name)

    def columns(self, build_name: str) -> list[OutputColumn]:
        """Return the columns of a build."""
        rows = self._connection.fetch_table(
            load_sql("clickhouse", "views/find_columns"),
            name="views/find_columns",
            parameters={"builds_database": self._builds_database, "build_name": build_name},
        ).to_pylist()
        return [OutputColumn(row["column_name"], row["column_type"]) for row in rows]

    def count_rows(self, address: str) -> int:
        """Return how many rows a view or table has."""
        rows = self._connection.fetch_table(f"select count() as n from {address}", name="count")  # noqa: S608 - quoted
        return int(rows.column(0)[0].as_py())

    def count_failures(self, test: ViewTest, address: str, addresses: Mapping[str, str]) -> int:
        """Return how many rows break a test."""
        return int(self._failures(test, address, addresses).column(0)[0].as_py())

    def first_failures(
        self, test: ViewTest, address: str, addresses: Mapping[str, str], shown: Sequence[str]
    ) -> list[tuple[str | None, ...]]:
        """Return columns, as texts, of the first rows (of `unique`: keys) that break a test."""
        rows = self._failures(test, address, addresses, shown)
        return list(zip(*(column.to_pylist() for column in rows.columns), strict=True))

    def _failures(
        self, test: ViewTest, address: str, addresses: Mapping[str, str], shown: Sequence[str] = ()
    ) -> pa.Table:
        statement = failures_statement(
            "clickhouse", test, address, lambda name: addresses.get(name, self.source_address(name)), shown=shown
        )
        with _own_answers():
            return self._connection.fetch_table(
                # Keys of a hundred million rows go to the disk, not over the limit of memory.
                statement.replace(ACCEPTED_VALUES, "{values:Array(String)}")
                + f" settings max_bytes_before_external_group_by = {_SPILL_BYTES}",
                name=f"test {test}",
                # Without a parameter in it, the client would take a per cent sign for one.
                parameters={"values": list(test.values)} if ACCEPTED_VALUES in statement else {},
            )

    def current_runs(self) -> pa.Table:
        """Return the current backtests that Postgres published here, by id."""
        return self._connection.fetch_table(
            load_sql("clickhouse", "views/load_current_runs"), name="views/load_current_runs"
        )

    def read_rows(self, address: str, expressions: Sequence[str]) -> Iterator[tuple[object, ...]]:
        """Yield what expressions of the project's files come to, row by row."""
        # Quoted identifiers and the project's own SQL.
        statement = f"select {', '.join(expressions)} from {address}"  # noqa: S608 - see above
        for batch in self._connection.fetch_table(statement, name=address).to_batches():
            yield from zip(*(column.to_pylist() for column in batch.columns), strict=True)

    def publish(self, publications: Sequence[Publication]) -> dict[str, str]:
        """Let the views that people read show new builds, each of them at once.

        Returns:
            By view, why it could not be changed, and keeps what it showed, or why it will not last.
        """
        refused = {}
        for publication in publications:
            view = publication.view
            meanings = {column.name: column.comment for column in view.columns}
            declared = ", ".join(
                f"`{column.name}` {column.type} comment {_text(meanings[column.name])}"
                for column in publication.columns
            )
            columns = ", ".join(f"`{column.name}`" for column in publication.columns)
            # Quoted identifiers of the project's files, and types that the database gave.
            select = f"select {columns} from {self.build_address(publication.build_name)}"  # noqa: S608 - see above
            head = f"create or replace view {self.source_address(view.name)} ({declared})"
            try:
                self._run(f"{head} as {select} comment {_text(view.comment)}", view.name)
            except ServerError:
                raise
            except StorageError as error:
                refused[view.name] = first_line(error)
        # On a full disk it acknowledges a view whose definition it could not write: readers have it until a restart.
        kept = self.published()
        for publication in publications:
            name = publication.view.name
            if name not in refused and (name not in kept or not kept[name].is_told):
                refused[name] = "ClickHouse could not keep its definition: make room on its disk"
        return refused

    def unpublish(self, name: str) -> str | None:
        """Drop a view that has no file any more."""
        self._run(f"drop view if exists {self.source_address(name)}", name)
        return None

    def drop_build(self, build: Build) -> None:
        """Drop one build."""
        kind = "table" if build.is_table else "view"
        self._run(f"drop {kind} if exists {self.build_address(build.name)}", build.name)

    def _stop_builds(self) -> None:
        """Stop the server filling what a killed build asked for: it takes the memory that this one needs."""
        try:
            self._connection.command(
                load_sql("clickhouse", "views/stop_builds"),
                name="views/stop_builds",
                parameters={"prefix": f"create table `{self._builds_database}`."},
            )
        except ServerError:
            raise
        except StorageError:
            # A server of somebody else may not allow it. Then it fills a table that is dropped below, and ends.
            return

    def _run(self, statement: str, name: str) -> None:
        with _own_answers():
            self._connection.command(statement, name=name)


@contextmanager
def _own_answers() -> Iterator[None]:
    """Let an error about what is not there say what the server said; only a missing table is for 'quantbot migrate'."""
    try:
        yield
    except MigrationError as error:
        cause = error.__cause__ or error
        kind = MigrationError if getattr(cause, "code", None) in MISSING_TABLE_CODES else StorageError
        raise kind(server_answer(cause)) from cause


def _text(text: str) -> str:
    """Return a text as a literal of ClickHouse's SQL."""
    return "'" + text.replace("\\", "\\\\").replace("'", "\\'") + "'"
