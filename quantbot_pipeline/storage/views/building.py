"""Building views: aside, tested there, and only then shown to those who read them.

A view whose select or tests fail, or that lacks a column which a reader of it needs, keeps its old build, and what
reads it is not built; all else goes on. What did not change is left alone: a build's name holds the hash of all that
its rows depend on, so it is there already.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Literal

from quantbot_pipeline.errors import MigrationError, ServerError, StorageError
from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views.agreement import check_agreement
from quantbot_pipeline.storage.views.clickhouse_builds import ClickHouseBuilds
from quantbot_pipeline.storage.views.postgres_builds import PostgresBuilds
from quantbot_pipeline.storage.views.readers import need_of, unmet_needs
from quantbot_pipeline.storage.views.rendering import (
    DATABASES,
    Relation,
    View,
    content_hashes,
    load_readable_views,
    load_views,
    sources_of,
)
from quantbot_pipeline.storage.views.selection import load_selected_views, names_above, select_views
from quantbot_pipeline.storage.views.states import (
    TRIAL_SUFFIX,
    Build,
    OutputColumn,
    Publication,
    PublishedView,
    ViewBuilds,
    first_line,
    missing_column_in,
    unused_builds,
)
from quantbot_pipeline.storage.views.testing import ViewTestResult

Outcome = Literal["built", "filled", "unchanged", "failed", "skipped", "dropped"]


@dataclass(frozen=True, slots=True)
class BuiltView:
    """What became of one view.

    Attributes:
        database: postgres or clickhouse.
        view: Its name.
        outcome: built: its select, its tests or what it reads changed; filled: a table took in new rows; unchanged;
            failed: its select or tests are wrong, or it lacks what its readers need; skipped: what it reads failed;
            dropped: it has no file any more.
            A view that failed or was skipped goes on showing what it showed.
        reason: Why it failed or was skipped; empty else.
        tests: Tests that ran in this build.
        row_count: Rows of a table; None for views.
        columns: Its columns with the database's types; empty where it failed.
        stopped_by: The view that it reads or is tested against, where it was skipped for that; empty else.
    """

    database: Database
    view: str
    outcome: Outcome
    reason: str = ""
    tests: tuple[ViewTestResult, ...] = ()
    row_count: int | None = None
    columns: tuple[OutputColumn, ...] = ()
    stopped_by: str = ""

    @property
    def has_failed(self) -> bool:
        """Whether it is not what its file says."""
        return self.outcome in ("failed", "skipped")


@dataclass(frozen=True, slots=True)
class ViewBuild:
    """What became of all views that were to be built.

    Attributes:
        views: One entry per view, in build order, Postgres first.
    """

    views: tuple[BuiltView, ...]

    @property
    def failures(self) -> tuple[BuiltView, ...]:
        """Views that are not what their files say, those that failed themselves first."""
        return tuple(sorted((view for view in self.views if view.has_failed), key=lambda view: view.outcome))

    def require_all(self) -> None:
        """Refuse to go on where a view is not what its file says.

        Raises:
            MigrationError: with the first failure and how many views it stopped.
        """
        if failures := self.failures:
            raise _not_built(failures)

    def require(self, needed: Collection[tuple[Database, str]]) -> tuple[BuiltView, ...]:
        """Refuse to go on where a view that a reader needs is not what its file says.

        Args:
            needed: Databases and names of the views that are read; what those read counts too.

        Returns:
            The other views that are not what their files say.

        Raises:
            MigrationError: with the failure at the root of it.
        """
        failures = {(view.database, view.view): view for view in self.failures}
        stopping: dict[tuple[Database, str], BuiltView] = {}
        left = [failures[key] for key in sorted(needed) if key in failures]
        while left:
            view = left.pop()
            stopping[view.database, view.view] = view
            if (above := failures.get((view.database, view.stopped_by))) is not None:
                left.append(above)
        if stopping:
            raise _not_built([view for key, view in failures.items() if key in stopping])
        return tuple(failures.values())


def _not_built(failures: Sequence[BuiltView]) -> MigrationError:
    first = failures[0]
    others = [f"{view.database}.{view.view}" for view in failures[1:]]
    and_others = f" (also not built: {', '.join(others)})" if others else ""
    return MigrationError(f"view {first.database}.{first.view} is not built: {first.reason}{and_others}")


def build_views(
    postgres_url: str,
    clickhouse_url: str,
    *,
    databases: Sequence[Database] = DATABASES,
    selection: Sequence[str] = (),
    is_describing: bool = False,
    is_tolerant: bool = False,
    folder: Path | None = None,
    tables: frozenset[str] | None = None,
    on_progress: Callable[[str], None] | None = None,
) -> ViewBuild:
    """Build the views whose files, inputs or (of tables) rows changed, and show them.

    Any number of processes may call this at once; one after the other builds.

    Args:
        postgres_url: `postgresql://user:password@host:port/database`.
        clickhouse_url: `http(s)://user:password@host:port/database`.
        databases: In which to build.
        selection: See `select_views`; all views when empty. Views above a chosen one are built aside for it where
            they changed, and go on showing what they showed; tables above it are filled.
        is_describing: Also run the tests of chosen views that did not change, on the rows of now, and return all
            columns and the row counts of tables.
        is_tolerant: Let a file that is not understood count as a view that failed, with all that reads it, instead of
            building nothing. For readers, who may need others alone: see `ViewBuild.require`.
        folder: Folder with a folder of view files per database; the project's by default.
        tables: Tables that views may read; those of the migrations by default.
        on_progress: Told which view is being built.

    Raises:
        MigrationError: a view's file is not understood and this is not tolerated; nothing was changed.
        ConfigError: a part of the selection fits no view.
        ServerError: a server does not answer, or others lock what is to be changed without a pause.
    """
    loaded: dict[Database, list[View]] = {}
    refused: dict[Database, dict[str, str]] = {}
    for database in databases:
        directory = None if folder is None else folder / database
        if is_tolerant:
            loaded[database], refused[database] = load_readable_views(database, directory, tables)
        else:
            loaded[database], refused[database] = load_views(database, directory, tables), {}
    known = [view for views in loaded.values() for view in views]
    unknown = {name for reasons in refused.values() for name in reasons} - {view.name for view in known}
    asked = [part for part in selection if part.strip().strip("+") not in unknown]
    chosen = select_views(known, asked) if asked or not selection else []
    tell = on_progress or (lambda _: None)
    with ExitStack() as closing:
        postgres = PostgresBuilds(postgres_url)
        closing.callback(postgres.close)
        postgres.take_lock(lambda: tell("waiting until another build of the views ends"))
        results: list[BuiltView] = []
        for database, views in loaded.items():
            builds: ViewBuilds = postgres
            if database == "clickhouse":
                builds = ClickHouseBuilds(clickhouse_url)
                closing.callback(builds.close)
            names = [view.name for view in chosen if view.database == database]
            builder = _Builder(database, builds, views, names, is_describing, tell)
            results += builder.run(is_dropping=not selection, kept=refused[database].keys())
            results += [BuiltView(database, name, "failed", reason) for name, reason in refused[database].items()]
    return ViewBuild(tuple(results))


def check_views(
    postgres_url: str,
    clickhouse_url: str,
    *,
    databases: Sequence[Database] = DATABASES,
    selection: Sequence[str] = (),
    folder: Path | None = None,
    tables: frozenset[str] | None = None,
    on_progress: Callable[[str], None] | None = None,
    on_refused: Callable[[Database, str, str], None] = lambda _database, _name, _reason: None,
) -> list[ViewTestResult]:
    """Run the tests of views as they are shown now, on the rows that are stored now.

    Where both databases are looked at, also whether they agree: see `check_agreement`.

    Args:
        postgres_url: `postgresql://user:password@host:port/database`.
        clickhouse_url: `http(s)://user:password@host:port/database`.
        databases: In which.
        selection: See `select_views`; all views when empty.
        folder: Folder with a folder of view files per database; the project's by default.
        tables: Tables that views may read; those of the migrations by default.
        on_progress: Told which view is being tested.
        on_refused: Told database, name and reason of views that are not understood and not needed for the selection.

    Raises:
        MigrationError: the file of a view that is asked for is not understood.
        ConfigError: a part of the selection fits no view of these databases.
        StorageError: a test can't run: the view was not built yet, for one.
        ServerError: a server does not answer.
    """
    results: list[ViewTestResult] = []
    tell = on_progress or (lambda _: None)
    # Of all databases at once: what is asked for may be in one of them alone.
    selected = load_selected_views(databases, selection, folder, tables)
    for (database, name), reason in selected.refused.items():
        on_refused(database, name, reason)
    for database in databases:
        builds: ViewBuilds = (
            PostgresBuilds(postgres_url) if database == "postgres" else ClickHouseBuilds(clickhouse_url)
        )
        with ExitStack() as closing:
            closing.callback(builds.close)
            for view in selected.chosen:
                if view.database != database:
                    continue
                tell(f"testing {database}.{view.name}")
                results += _tested(builds, view, builds.source_address(view.name), {})
    if frozenset(databases) == frozenset(DATABASES):
        results += check_agreement(
            postgres_url, clickhouse_url, selection=selection, folder=folder, tables=tables, on_progress=tell
        )
    return results


def _tested(builds: ViewBuilds, view: View, address: str, addresses: Mapping[str, str]) -> list[ViewTestResult]:
    results = []
    keys = next((test.columns for test in view.tests if test.kind == "unique"), view.output_names)
    for test in view.tests:
        examples: list[str] = []
        try:
            failures = builds.count_failures(test, address, addresses)
            if failures:
                shown = test.columns if test.kind == "unique" else tuple(dict.fromkeys((*keys, *test.columns)))
                for row in builds.first_failures(test, address, addresses, shown):
                    values = ("null" if value is None else value for value in row)
                    examples.append(", ".join(f"{name} {value}" for name, value in zip(shown, values, strict=True)))
        except ServerError:
            raise
        except StorageError as error:
            raise StorageError(
                f"{view.path}:{test.line}: the test {test} can't run in {view.database}: {first_line(error)}; correct "
                "the test, or run 'quantbot views build' where the view is not built yet"
            ) from error
        place = f"{view.path}:{test.line}"
        results.append(ViewTestResult(view.database, view.name, str(test), failures, place, tuple(examples)))
    return results


class _Builder:
    """Builds the views of one database."""

    def __init__(
        self,
        database: Database,
        builds: ViewBuilds,
        views: Sequence[View],
        chosen: Sequence[str],
        is_describing: bool,  # noqa: FBT001 - private, and there is one call
        tell: Callable[[str], None],
    ) -> None:
        self._database = database
        self._builds = builds
        self._views = views
        self._chosen = frozenset(chosen)
        self._needed = self._chosen | names_above(views, chosen)
        self._is_describing = is_describing
        self._tell = tell
        hashes = content_hashes(views)
        self._build_names = {view.name: f"{view.name}__{hashes[view.name]}" for view in views}
        self._unmet_needs = unmet_needs(database, views, self._chosen)
        self._results: dict[str, BuiltView] = {}

    def run(self, *, is_dropping: bool, kept: Collection[str]) -> list[BuiltView]:
        if not self._chosen and not is_dropping:
            return []
        self._builds.prepare()
        published = self._builds.published()
        # At the beginning, not at the end: by now nobody is still at reading what the last build replaced.
        for build in unused_builds(self._builds.builds(), published):
            self._builds.drop_build(build)
        present = self._builds.builds()
        for view in self._views:
            if view.name in self._needed:
                self._results[view.name] = self._build_unless_stopped(view, present)
        self._publish(published)
        if self._is_describing:
            self._describe()
        dropped = self._drop_removed(published, kept) if is_dropping else []
        return [self._results[view.name] for view in self._views if view.name in self._chosen] + dropped

    def _build_unless_stopped(self, view: View, present: Mapping[str, Build]) -> BuiltView:
        for name in (*view.refs, *view.tested_against):
            above = self._results.get(name)
            if above is not None and above.has_failed:
                verb = "reads" if name in view.refs else "is tested against"
                reason = f"{view.name} {verb} {name}, which is not built"
                return BuiltView(self._database, view.name, "skipped", reason, stopped_by=name)
        if view.name in self._unmet_needs:
            return BuiltView(self._database, view.name, "failed", self._unmet_needs[view.name])
        try:
            return self._build(view, present.get(self._build_names[view.name]))
        except ServerError:
            raise
        except StorageError as error:
            return BuiltView(self._database, view.name, "failed", _with_place(view, error))

    def _build(self, view: View, present: Build | None) -> BuiltView:
        build_name = self._build_names[view.name]
        result = BuiltView(self._database, view.name, "unchanged" if present else "built")
        contents = None
        if view.materialized == "table":
            # Also of one that was not chosen: what is filled from it would else hold old rows under a new mark.
            contents = self._builds.contents(sources_of(view, self._views))
            if present is not None and not present.is_filled_from(contents):
                result = replace(result, outcome="filled")
        if result.outcome == "unchanged":
            if self._is_describing and view.name in self._chosen:
                again = _tested(self._builds, view, self._builds.build_address(build_name), self._addresses())
                return _judged(replace(result, tests=tuple(again)))
            return result
        self._tell(f"building {self._database}.{view.name}")
        trial_name = build_name + TRIAL_SUFFIX
        trial = Build(trial_name, is_table=view.materialized == "table")
        try:
            self._builds.create(view, trial_name, view.render(self._address), contents)
            self._check_columns(view, self._builds.columns(trial_name))
            address = self._builds.build_address(trial_name)
            tests = tuple(_tested(self._builds, view, address, self._addresses() | {view.name: address}))
            row_count = self._builds.count_rows(address) if trial.is_table else None
            judged = _judged(replace(result, tests=tests, row_count=row_count))
            if judged.has_failed:
                self._builds.drop_build(trial)
            else:
                self._builds.accept(trial_name, replace(trial, name=build_name))
        except ServerError:
            raise
        except StorageError:
            self._builds.drop_build(trial)
            raise
        return judged

    def _describe(self) -> None:
        for view in self._views:
            result = self._results.get(view.name)
            if result is None or result.has_failed or view.name not in self._chosen:
                continue
            build_name = self._build_names[view.name]
            row_count = result.row_count
            if row_count is None and view.materialized == "table":
                row_count = self._builds.count_rows(self._builds.build_address(build_name))
            columns = tuple(self._builds.columns(build_name))
            self._results[view.name] = replace(result, columns=columns, row_count=row_count)

    def _address(self, relation: Relation) -> str:
        if relation.kind == "ref":
            return self._builds.build_address(self._build_names[relation.name])
        return self._builds.source_address(relation.name)

    def _addresses(self) -> dict[str, str]:
        """Return by view where its build of now is, of those that this run looked at."""
        return {name: self._builds.build_address(self._build_names[name]) for name in self._results}

    def _check_columns(self, view: View, columns: Sequence[OutputColumn]) -> None:
        found = tuple(column.name for column in columns)
        if found != view.output_names:
            raise StorageError(
                f"{self._database} makes the columns {', '.join(found)} of it; allowed are those under columns, "
                f"{', '.join(view.output_names)}: name each with 'as'"
            )

    def _publish(self, published: Mapping[str, PublishedView]) -> None:
        publications = []
        for view in self._views:
            if view.name not in self._chosen or self._results[view.name].has_failed:
                continue
            build_name = self._build_names[view.name]
            shown = published.get(view.name)
            is_shown = shown is not None and shown.build_name == build_name
            if shown is None or not is_shown or shown.comments != view.comments or not shown.is_readable:
                columns = tuple(self._builds.columns(build_name))
                publications.append(Publication(view, build_name, columns))
        if not publications:
            return
        for name, reason in self._builds.publish(publications).items():
            self._results[name] = replace(self._results[name], outcome="failed", reason=reason)

    def _drop_removed(self, published: Mapping[str, PublishedView], kept: Collection[str]) -> list[BuiltView]:
        dropped = []
        known = {view.name for view in self._views}.union(kept)
        for name, view in published.items():
            if view.build_name is not None and view.build_name.rpartition("__")[0] == name and name not in known:
                reading = need_of(self._database, name)
                if reading is not None:
                    reason = f"it has no file any more, but {reading} it; give the file back, or change what reads it"
                elif (refused := self._builds.unpublish(name)) is not None:
                    reason = f"it has no file any more, but can't be dropped: {refused}"
                else:
                    reason = ""
                dropped.append(BuiltView(self._database, name, "failed" if reason else "dropped", reason))
        return dropped


def _judged(result: BuiltView) -> BuiltView:
    """Return a result as failed where a test found rows."""
    wrong = [test for test in result.tests if not test.passed]
    if not wrong:
        return result
    reason = "; ".join(
        f"{test.place}: the test {test.test} finds {test.failures} rows, the first: {' | '.join(test.examples)}"
        for test in wrong
    )
    return replace(result, outcome="failed", reason=reason)


def _with_place(view: View, error: StorageError) -> str:
    text = first_line(error)
    if text.startswith(str(view.path)):
        return text
    place = f"{view.path}"
    if (column := missing_column_in(text)) is not None and (line := view.line_of(column)) is not None:
        place += f":{line}"
    advice = "run 'quantbot migrate'" if isinstance(error, MigrationError) else "correct the file"
    return f"{place}: {view.database} refuses it: {text}; {advice}"
