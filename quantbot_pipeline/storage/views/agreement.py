"""Whether Postgres and ClickHouse agree where views of one name answer in both, as the headers say it (`agrees`).

Tables of ClickHouse are of the last build, and its mirror of runs follows Postgres': what differs because one is behind
is no fault. Rows are therefore compared only while both rest on the same runs and the tables hold what a build would
put into them now; where they differ, this is looked at again afterwards.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import datetime
from decimal import Decimal
from pathlib import Path

import pyarrow as pa

from quantbot_pipeline.errors import ServerError, StorageError
from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views.clickhouse_builds import ClickHouseBuilds
from quantbot_pipeline.storage.views.files import ViewAgreement, near_names, refusal
from quantbot_pipeline.storage.views.postgres_builds import PostgresBuilds
from quantbot_pipeline.storage.views.rendering import DATABASES, View, content_hashes, sources_of
from quantbot_pipeline.storage.views.selection import load_selected_views, names_above
from quantbot_pipeline.storage.views.states import ViewBuilds, first_line
from quantbot_pipeline.storage.views.testing import EXAMPLES_SHOWN, ViewTestResult, quoted

_TOLERANCE = 1e-6
"""Sums are added up in another order, and from means in Postgres; anything that matters is far greater."""


def check_agreement(
    postgres_url: str,
    clickhouse_url: str,
    *,
    selection: Sequence[str] = (),
    folder: Path | None = None,
    tables: frozenset[str] | None = None,
    on_progress: Callable[[str], None] = lambda _: None,
) -> list[ViewTestResult]:
    """Compare the views of Postgres that say so with their namesakes in ClickHouse.

    Holds the compared columns of one view of ClickHouse in memory, about 1 kB per row.

    Args:
        postgres_url: `postgresql://user:password@host:port/database`.
        clickhouse_url: `http(s)://user:password@host:port/database`.
        selection: See `select_views`; a view that is chosen in one of both is compared. All when empty.
        folder: Folder with a folder of view files per database; the project's by default.
        tables: Tables that views may read; those of the migrations by default.
        on_progress: Told which view is being compared.

    Returns:
        One result per view: how many rows differ, with the first of them, or why it can't be said for now.

    Raises:
        MigrationError: the file of a view that is asked for is not understood, or its namesake lacks what it says.
        StorageError: a view can't be read.
        ServerError: a server does not answer.
    """
    selected = load_selected_views(DATABASES, selection, folder, tables)
    loaded = selected.loaded
    # One whose namesake is not understood can't be compared.
    chosen = {view.name for view in selected.chosen if ("clickhouse", view.name) not in selected.refused}
    pairs = agreeing_views([view for view in loaded["postgres"] if view.name in chosen], loaded["clickhouse"])
    if not pairs:
        return []
    with ExitStack() as closing:
        postgres, clickhouse = PostgresBuilds(postgres_url), ClickHouseBuilds(clickhouse_url)
        closing.callback(postgres.close)
        closing.callback(clickhouse.close)
        comparison = _Comparison(postgres, clickhouse, loaded)
        results = []
        for view in pairs:
            on_progress(f"comparing {view.name} of both databases")
            results.append(comparison.result(view))
    return results


def agreeing_views(postgres: Sequence[View], clickhouse: Sequence[View]) -> list[View]:
    """Return the views of Postgres that say where they agree with ClickHouse.

    Raises:
        MigrationError: ClickHouse has no view of the name, or not its columns.
    """
    namesakes = {view.name: view for view in clickhouse}
    found = []
    for view in postgres:
        if (agrees := view.file.agrees) is None:
            continue
        if view.name not in namesakes:
            raise refusal(view.path, agrees.line, f"agrees: ClickHouse has no view {view.name!r}; take it out")
        there = {column.name for column in namesakes[view.name].columns}
        for name in (*agrees.keys, *agrees.columns):
            if name not in there:
                raise refusal(
                    view.path, agrees.line, f"agrees: ClickHouse's view has no {name!r}: {near_names(name, there)}"
                )
        found.append(view)
    return found


@dataclass(frozen=True, slots=True)
class _Standing:
    """What both databases rest on at one moment: Postgres' runs, and why ClickHouse's views are not of them, if so."""

    runs: pa.Table
    reason: str


class _Comparison:
    """Compares views of two databases."""

    def __init__(
        self, postgres: PostgresBuilds, clickhouse: ClickHouseBuilds, views: Mapping[Database, Sequence[View]]
    ) -> None:
        self._builds: dict[Database, ViewBuilds] = {"postgres": postgres, "clickhouse": clickhouse}
        self._views = views
        self._hashes = {database: content_hashes(of_database) for database, of_database in views.items()}

    def result(self, view: View) -> ViewTestResult:
        assert view.file.agrees is not None  # noqa: S101 - of agreeing_views
        agrees = view.file.agrees
        before = self._standing(view)
        differences, reason = 0, before.reason
        examples: list[str] = []
        if not reason:
            try:
                differences, examples = self._differences(view.name, agrees)
            except ServerError:
                raise
            except StorageError as error:
                raise StorageError(
                    f"{view.path}:{agrees.line}: {view.name} can't be compared: {first_line(error)}; correct the "
                    "header, or run 'quantbot views build'"
                ) from error
        if differences:
            after = self._standing(view)
            reason = after.reason or ("" if after.runs.equals(before.runs) else "runs were completed meanwhile")
        if reason:
            differences, examples = 0, []
        place = f"{view.path}:{agrees.line}"
        return ViewTestResult("postgres", view.name, str(agrees), differences, place, tuple(examples), reason)

    def _standing(self, view: View) -> _Standing:
        runs = self._builds["postgres"].current_runs()
        return _Standing(runs, self._not_built(view.name) or self._not_mirrored(runs))

    def _not_built(self, name: str) -> str:
        for database, builds in self._builds.items():
            shown = builds.published().get(name)
            if shown is None or shown.build_name != f"{name}__{self._hashes[database][name]}":
                return f"{database} does not show what its file says; run 'quantbot views build'"
        clickhouse, views = self._builds["clickhouse"], self._views["clickhouse"]
        present = clickhouse.builds()
        needed = {name} | names_above(views, [name])
        for view in views:
            if view.name not in needed or view.materialized == "view":
                continue
            build = present.get(f"{view.name}__{self._hashes['clickhouse'][view.name]}")
            contents = clickhouse.contents(sources_of(view, views))
            if build is None or not build.is_filled_from(contents):
                return f"ClickHouse's table {view.name} is older than its rows; run 'quantbot views build'"
        return ""

    def _not_mirrored(self, runs: pa.Table) -> str:
        mirrored = self._builds["clickhouse"].current_runs()
        here, there = (set(zip(*(c.to_pylist() for c in table.columns), strict=True)) for table in (runs, mirrored))
        if here == there:
            return ""
        behind = len({run_id for run_id, _ in here ^ there})
        return f"ClickHouse's mirror is behind by {behind:,} runs; the next simulation or 'quantbot gc' brings them"

    def _differences(self, name: str, agrees: ViewAgreement) -> tuple[int, list[str]]:
        columns = (*agrees.keys, *agrees.columns)
        width = len(agrees.keys)
        there = {
            row[:width]: row[width:]
            for row in self._builds["clickhouse"].read_rows(
                self._builds["clickhouse"].source_address(name), [quoted("clickhouse", column) for column in columns]
            )
        }
        exempt = f"coalesce(({agrees.unless or 'false'}), false)"
        rows = self._builds["postgres"].read_rows(
            self._builds["postgres"].source_address(name),
            [*(quoted("postgres", column) for column in columns), exempt],
        )
        count = 0
        examples: list[str] = []

        def tell(key: tuple[object, ...], text: str) -> None:
            nonlocal count
            count += 1
            if len(examples) < EXAMPLES_SHOWN:
                examples.append(f"{' '.join(map(str, key))}: {text}")

        for *values, is_exempt in rows:
            key, here = tuple(values[:width]), values[width:]
            other = there.pop(key, None)
            if is_exempt:
                continue
            if other is None:
                tell(key, "not in ClickHouse")
                continue
            for column, ours, theirs in zip(agrees.columns, here, other, strict=True):
                if not agree(ours, theirs):
                    tell(key, f"{column} is {ours!r} in Postgres and {theirs!r} in ClickHouse")
                    break
        if not agrees.may_add_rows:
            for key in there:
                tell(key, "not in Postgres")
        return count, examples


def agree(ours: object, theirs: object) -> bool:
    """Return whether two values are the same: whole numbers, texts and moments (to the second) exactly, others nearly.

    Args:
        ours: As psycopg gives it.
        theirs: As Arrow gives it; ClickHouse's moments are seconds since 1970.
    """
    ours, theirs = _plain(ours), _plain(theirs)
    if (isinstance(ours, float) and isinstance(theirs, int | float)) or (
        isinstance(theirs, float) and isinstance(ours, int | float)
    ):
        return ours == theirs or math.isclose(ours, theirs, rel_tol=_TOLERANCE, abs_tol=_TOLERANCE)
    return ours == theirs


def _plain(value: object) -> object:
    match value:
        case datetime():
            return int(value.timestamp())
        case Decimal():
            return float(value)
        case _:
            return value
