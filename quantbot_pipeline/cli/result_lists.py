"""Lists of results in the terminal: which columns, in which order, how many, and what is said of the rest.

What `quantbot trades`, `tokens`, `callers`, `strategies` and `runs` share. Rows come from named queries over the marts,
which sort, filter and cut; a column to sort by is one of a fixed list, and a parameter there.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime
from typing import TYPE_CHECKING, Annotated, Any

import typer
from rich.cells import cell_len

from quantbot_pipeline.cli.console import (
    NARROW,
    cell_text,
    messages,
    output,
    print_json,
    print_line,
    print_rows,
    print_warning,
)

if TYPE_CHECKING:
    from quantbot_pipeline.cli.stores import OpenStores
    from quantbot_pipeline.storage.sql_files import Database
    from quantbot_pipeline.storage.views import BuiltView

ROOMY = 110
"""Characters from which on a terminal shows the further columns too."""

_LONGEST_TOKEN, _TOKEN_ENDS = 14, 5
_LONGEST_WORDS, _BESIDE_CELLS = 32, 2

Row = Mapping[str, Any]

SortBy = Annotated[
    str, typer.Option("--sort", help="Column to sort by, by its heading; best or newest first without it.")
]
Descending = Annotated[bool, typer.Option("--desc", help="Sort from the highest to the lowest.")]
Limit = Annotated[int, typer.Option("--limit", min=1, max=10**9, help="How many rows to show.")]
AsJson = Annotated[bool, typer.Option("--json", help="Print the rows with all columns as JSON.")]
ByStrategy = Annotated[str, typer.Option("--strategy", help="Only this strategy.", metavar="NAME[@VERSION]")]
ByCaller = Annotated[str, typer.Option("--caller", help="Only this caller.", metavar="[SOURCE/]HANDLE")]
ByToken = Annotated[
    str, typer.Option("--token", help="Only this token, by address or ticker.", metavar="[CHAIN:]ADDRESS")
]
Since = Annotated[str, typer.Option("--since", help="Only from this UTC day on.", metavar="YYYY-MM-DD")]


@dataclass(frozen=True, slots=True)
class ListColumn:
    """A column of a list.

    Attributes:
        heading: What stands above it; also its name for --sort, where it can be sorted by.
        show: Its text or number in a row.
        is_further: Whether only a wide terminal shows it.
        is_key: Whether it stays however narrow the terminal is: what the row is of, and its main number.
        is_sortable: Whether the query knows how to sort by it.
        title: What stands above it where the name for --sort does not say enough; empty for the heading.
    """

    heading: str
    show: Callable[[Row], Any]
    is_further: bool = False
    is_key: bool = False
    is_sortable: bool = True
    title: str = ""


@dataclass(frozen=True, slots=True)
class ResultList:
    """A list of results.

    Attributes:
        title: What stands above it.
        plural: What its rows are, such as `trades`.
        columns: Its columns.
        if_none: What is said when nothing is stored.
        database: Where its rows are, `postgres` or `clickhouse`.
        query: Name of the query that finds them.
        mart: What that reads.
    """

    title: str
    plural: str
    columns: tuple[ListColumn, ...]
    if_none: str
    database: str
    query: str
    mart: str

    def sort_parameters(self, sort: str, *, descending: bool) -> dict[str, Any]:
        """Return how a query is told to sort.

        Raises:
            InputError: there is no such column to sort by.
        """
        from quantbot_pipeline.errors import InputError

        allowed = [column.heading for column in self.columns if column.is_sortable]
        sort = sort.casefold()
        if sort and sort not in allowed:
            raise InputError(f"--sort: found {sort!r}; allowed are {', '.join(allowed)}")
        if descending and not sort:
            raise InputError(f"--desc turns an order around; name it with --sort, one of {', '.join(allowed)}")
        return {"sort": sort, "direction": -1 if descending else 1, "is_descending": int(descending)}

    def print_stored(
        self,
        filters: Mapping[str, Any],
        *,
        sort: str,
        descending: bool,
        limit: int,
        as_json: bool,
        is_filtered: bool | None = None,
    ) -> None:
        """Print what is stored, from marts that are built before where their files or rows changed.

        Args:
            filters: Parameters of the query besides order and limit.
            sort: The column to sort by; empty for the list's own order.
            descending: Whether that order is turned around.
            limit: How many rows at most.
            as_json: Print all that the query says instead of a table.
            is_filtered: Whether filters may be why there are no rows; None: if one of them is set.

        Raises:
            InputError: there is no such column to sort by, or what a filter names is unknown.
        """
        from quantbot_pipeline.cli.known_names import refuse_unknown_names
        from quantbot_pipeline.cli.stores import open_stores

        parameters = {**filters, **self.sort_parameters(sort, descending=descending), "row_limit": limit}
        with open_stores() as stores:
            rows = fresh_rows(stores, self.database, self.query, [self.mart], **parameters)
            if not rows:
                refuse_unknown_names(stores.state, filters)
        is_narrowed = any(filters.values()) if is_filtered is None else is_filtered
        self.print(rows, sort=sort, as_json=as_json, is_filtered=is_narrowed)

    def print(self, rows: Sequence[Row], *, sort: str, as_json: bool, is_filtered: bool) -> None:
        """Print the rows, and how many there are besides.

        Args:
            rows: Of the query, each with `row_count`, the number of all.
            sort: The column that they are sorted by, which is always shown; empty for the list's own order.
            as_json: Print all that the query says instead of a table.
            is_filtered: Whether filters may be why there are none.
        """
        if as_json:
            print_json([json_row(row) for row in rows])
        elif not rows:
            print_line(f"no {self.plural} match; leave a filter out to see more" if is_filtered else self.if_none)
        else:
            shown, left_out = self._columns_that_fit(rows, output.width, sort.casefold())
            print_rows(
                self.title,
                [{column.title or column.heading: column.show(row) for column in shown} for row in rows],
                is_dense=True,
            )
            if left_out:
                names = ", ".join(column.heading for column in left_out)
                messages.print(f"no room for {names}; a wider terminal or --json shows them", markup=False)
        total = rows[0]["row_count"] if rows else 0
        if len(rows) < total:
            messages.print(f"{len(rows):,} of {total:,} {self.plural}; --limit {total} shows all", markup=False)

    def _columns_that_fit(
        self, rows: Sequence[Row], width: int, sort: str
    ) -> tuple[list[ListColumn], list[ListColumn]]:
        """Return the columns that are shown, and those for which there is no room: the last that are no keys."""
        shown = [column for column in self.columns if width >= ROOMY or not column.is_further or column.heading == sort]
        if width < NARROW:
            return shown, []
        widths = {column.heading: _column_width(column, rows) for column in shown}
        left_out: list[ListColumn] = []
        for column in reversed(shown):
            if sum(widths.values()) + _BESIDE_CELLS * len(widths) <= width:
                break
            if not column.is_key and column.heading != sort:
                del widths[column.heading]
                left_out.insert(0, column)
        return [column for column in shown if column.heading in widths], left_out


def _column_width(column: ListColumn, rows: Sequence[Row]) -> int:
    """Return how many characters a column needs; what is longer than names mostly are is broken in its cell."""
    heading = max(map(cell_len, (column.title or column.heading).split("\n")))
    return max(heading, min(_LONGEST_WORDS, max(cell_len(cell_text(column.show(row))) for row in rows)))


def fresh_rows(
    stores: "OpenStores", database: str, query: str, views: Sequence[str], **parameters: Any
) -> list[dict[str, Any]]:
    """Return the rows of a query over marts, which are built before where their files or rows changed.

    Args:
        stores: Where.
        database: `postgres` or `clickhouse`.
        query: Its name.
        views: The marts that it reads, all of that database.
        parameters: Its parameters.
    """
    from quantbot_pipeline.cli.console import waiting
    from quantbot_pipeline.storage.views import build_views

    where: Database = "postgres" if database == "postgres" else "clickhouse"
    with waiting("bringing the views up to date") as tell:
        others = build_views(
            stores.urls.postgres,
            stores.urls.clickhouse,
            databases=(where,),
            # What they read may be tables, which must be as new as they are.
            selection=[f"+{view}" for view in views],
            is_tolerant=True,
            on_progress=tell,
        ).require([(where, view) for view in views])
        store = stores.state if database == "postgres" else stores.history
        rows: list[dict[str, Any]] = store.read(query, **parameters).to_pylist()
    warn_of_views(others)
    return rows


def warn_of_views(failures: "Sequence[BuiltView]") -> None:
    """Warn of views that are not what their files say, where they are not needed for what was asked."""
    for view in failures:
        print_warning(f"view {view.database}.{view.view} is not built (not needed here): {view.reason}")


def since_seconds(text: str) -> int:
    """Return the start of the day of --since, seconds since the epoch; 0 without it.

    Raises:
        InputError: the text is no day.
    """
    from quantbot_pipeline.errors import InputError

    if not text:
        return 0
    try:
        day = date.fromisoformat(text)
    except ValueError as error:
        raise InputError(f"--since: found {text!r}; allowed is a day YYYY-MM-DD, such as 2025-03-01") from error
    return int(datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp())


def strategy_text(row: Row) -> str:
    """Return a strategy version as other commands take it."""
    return f"{row['strategy_name']}@{row['strategy_version']}"


def caller_text(row: Row) -> str:
    """Return a caller as other commands take it."""
    return f"{row['caller_source']}/{row['caller_handle']}"


def token_text(row: Row) -> str:
    """Return the ticker of a token, else the ends of its address, of which a row holds no more. JSON has all of it."""
    text = row["token_symbol"] or row["token_address"]
    if not text:
        return "several"
    if len(text) <= _LONGEST_TOKEN:
        return str(text)
    return f"{text[:_TOKEN_ENDS]}…{text[-_TOKEN_ENDS:]}"


def gain_text(value: float | None) -> str | None:
    """Return a signed percentage."""
    return None if value is None else f"{value:+.1%}".replace("%", " %")


def share_text(value: float | None) -> str | None:
    """Return a share as a percentage."""
    return None if value is None else f"{value:.0%}".replace("%", " %")


def day_text(seconds: int | None) -> str | None:
    """Return a UTC day."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d}"


def minute_text(seconds: int | None) -> str | None:
    """Return a UTC time to the minute."""
    return None if seconds is None else f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%d %H:%M}"


def moment_text(seconds: int | None) -> str | None:
    """Return a UTC time to the minute, its day where the terminal is narrow."""
    return minute_text(seconds) if output.width >= ROOMY else day_text(seconds)


def json_row(row: Row) -> dict[str, Any]:
    """Return a row with its times as ISO 8601 and without the count that is the same in all."""
    shown: dict[str, Any] = {}
    for name, value in row.items():
        if name == "row_count":
            continue
        if name.endswith("_s"):
            at = None if value is None else datetime.fromtimestamp(value, UTC).isoformat()
            shown[name.removesuffix("_s") + ("" if name.startswith("window_") else "_at")] = at
        else:
            # Nobody named the token, or the run is over several.
            shown[name] = None if name == "token_symbol" and not value else value
    return shown
