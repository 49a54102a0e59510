"""Tables of the report's pages as plain values: columns, cells, and where the numbers come from. No HTML here.

A cell holds the raw value; its column says how it is written, and by what it is sorted.
"""

import html
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

ColumnKind = Literal[
    "text",
    "code",
    "whole",
    "percent",
    "share",
    "multiple",
    "number",
    "price",
    "span",
    "moment",
    "instant",
    "day",
    "interval",
    "quality",
]
"""How values are written: `percent` is signed and coloured, `share` is not; `multiple` is in capitals of a trade,
`span` in minutes; `moment` is a time, `instant` seconds since the epoch."""

NUMBER_KINDS = frozenset({"whole", "percent", "share", "multiple", "number", "price", "span"})
"""Kinds that stand on the right, under each other."""


@dataclass(frozen=True, slots=True)
class Source:
    """Where numbers come from, and how to ask for them oneself.

    Attributes:
        relation: View or table.
        database: Where it is.
        filters: Column and value that must be equal.
        order: Column to order by; empty for none.
        since: Column and time, as ClickHouse writes it, that it must not be before; None without a bound.
        after: Column and time or number that it must be greater than.
        among: Column whose value must be one of those in the rows of another source.
    """

    relation: str
    database: Literal["clickhouse", "postgres"] = "clickhouse"
    filters: tuple[tuple[str, str | int], ...] = ()
    order: str = ""
    since: tuple[str, str] | None = None
    after: tuple[str, str | int] | None = None
    among: tuple[str, "Source"] | None = None

    @property
    def place(self) -> str:
        """The database's name as people write it."""
        return "ClickHouse" if self.database == "clickhouse" else "Postgres"

    def sql(self) -> str:
        """Return a statement that can be run as it is; texts in it are quoted, whatever they hold."""
        order = f" order by {self.order}" if self.order else ""
        return f"{self._select('*')}{order}"

    def _select(self, columns: str) -> str:
        conditions = [f"{column} = {self._literal(value)}" for column, value in self.filters]
        if self.since:
            conditions.append(f"{self.since[0]} >= {self._literal(self.since[1])}")
        if self.after:
            conditions.append(f"{self.after[0]} > {self._literal(self.after[1])}")
        if self.among:
            column, others = self.among
            conditions.append(f"{column} in ({others._select(column)})")
        where = f" where {' and '.join(conditions)}" if conditions else ""
        return f"select {columns} from {self.relation}{where}"  # noqa: S608 - shown to a reader, never run

    def _literal(self, value: str | int) -> str:
        if isinstance(value, int):
            return str(value)
        quoted = value.replace("'", "''")
        # ClickHouse reads a backslash as the beginning of an escape, Postgres does not.
        return f"'{quoted.replace(chr(92), chr(92) * 2)}'" if self.database == "clickhouse" else f"'{quoted}'"


@dataclass(frozen=True, slots=True)
class Link:
    """A text that leads somewhere.

    Attributes:
        text: What is shown; may hold anything.
        href: Path from the report's folder; empty where there is no page.
        detail: A smaller text behind it, such as a version.
        flag: A mark behind it, such as `small sample`.
        is_address: Whether the text is an address, of which both ends say enough to be shown in a table.
        tip: What is said to those who point at a text of kind `code`; such a text may lead to a place on its own page.
    """

    text: str
    href: str = ""
    detail: str = ""
    flag: str = ""
    is_address: bool = False
    tip: str = ""


@dataclass(frozen=True, slots=True)
class Interval:
    """A mean with the lower end of its 95 % interval, which is drawn.

    Attributes:
        mean: None without a value.
        lower: None where it can't be said.
        is_small_sample: Whether it counts for the scale of the column.
    """

    mean: float | None
    lower: float | None
    is_small_sample: bool = False


@dataclass(frozen=True, slots=True)
class Column:
    """A column of a table.

    Attributes:
        title: Heading.
        kind: How values are written.
        meaning: What it says, for those who point at the heading; empty where the heading says it.
        is_name: Whether the cell names its row.
    """

    title: str
    kind: ColumnKind = "text"
    meaning: str = ""
    is_name: bool = False

    @property
    def is_number(self) -> bool:
        """Whether values stand on the right."""
        return self.kind in NUMBER_KINDS


@dataclass(frozen=True, slots=True)
class Table:
    """A table that a reader can sort and filter.

    Attributes:
        name: Id on its page, of letters and hyphens.
        label: What it holds, for those who can't see it.
        columns: Its columns.
        rows: Raw values, as many per row as columns; `Link` and `Interval` where these say more.
        sources: Where the numbers come from.
        note: What is left out, and how to get it; empty when nothing is.
    """

    name: str
    label: str
    columns: tuple[Column, ...]
    rows: tuple[tuple[Any, ...], ...]
    sources: tuple[Source, ...] = ()
    note: str = ""
    interval_scale: float = field(init=False, default=0.0)

    def __post_init__(self) -> None:
        """Find the scale of the intervals.

        Raises:
            ValueError: a row has more or fewer cells than there are columns.
        """
        for row in self.rows:
            if len(row) != len(self.columns):
                raise ValueError(f"table {self.name}: a row of {len(row)} cells, columns are {len(self.columns)}")
        object.__setattr__(self, "interval_scale", _interval_scale(self.rows))


def _interval_scale(rows: Sequence[tuple[Any, ...]]) -> float:
    """Return the largest distance from zero that intervals must show.

    Rows of few trades have intervals of any width and would flatten all others, so they do not count unless there are
    no others; their bars are cut at the edge.
    """
    intervals = [cell for row in rows for cell in row if isinstance(cell, Interval)]
    solid = [interval for interval in intervals if not interval.is_small_sample] or intervals
    return max((abs(end) for interval in solid for end in interval_ends(interval) if end is not None), default=0.0)


def interval_ends(interval: Interval) -> tuple[float | None, float | None]:
    """Return both ends of an interval; the mean twice where its width is unknown."""
    if interval.mean is None or interval.lower is None:
        return interval.mean, interval.mean
    return interval.lower, 2 * interval.mean - interval.lower


# What a browser acts on instead of showing it: control characters, text turned around, nothing visible at all.
# Joiners stay, which some scripts and emoji need.
_ACTED_ON = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)

LONGEST_TEXT = 2_000
"""Characters of a text from outside that a page shows; a longer one is cut in its middle, and says so."""


def visible(text: str) -> str:
    r"""Return text from outside as a page may show it: what would be acted on as `\u202e`, the very long cut."""
    if len(text) <= LONGEST_TEXT and text.isascii() and text.isprintable():
        # Nearly all texts, half a million in a report.
        return text
    if len(text) > LONGEST_TEXT:
        kept = LONGEST_TEXT // 2
        text = f"{text[:kept]} … ({len(text) - 2 * kept:,} characters are left out) … {text[-kept:]}"
    return _ACTED_ON.sub(lambda found: f"\\u{ord(found[0]):04x}", text)


def figure_text(text: str) -> str:
    """Return text from outside as Plotly shows it, which reads a small HTML; it knows no entity of a quote."""
    return html.escape(text, quote=False)
