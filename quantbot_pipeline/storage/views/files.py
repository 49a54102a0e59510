"""View files of `dbt_like_views/`: a header of YAML in a comment, then one select; what they may say and must say.

::

    /*
    description: Whose calls earned, under each strategy, after costs?
    grain: one row per strategy version and caller
    materialized: table                      # view, unless said
    order_by: [strategy_name, caller_rank]   # of a table in ClickHouse
    columns:
      caller_rank: {meaning: "Rank within the strategy version", unit: rank}
      caller_handle: {meaning: Name of the caller}
    tests:
      - unique: [strategy_name, caller_rank]
      - not_null: [caller_handle]
      - accepted_values: {column: run_type, values: [backtest, optimization]}
      - relationships: {column: call_id, to: stg_calls.call_id}
      - expression: win_count <= trade_count
    agrees:                                  # of a view in Postgres, with its namesake in ClickHouse
      keys: [strategy_name]
      columns: [trade_count, mean_pnl]
      unless: overlapping_run_count > 0
    notes: |
      Anything else that a reader should know.
    */
    select … from {{ ref('int_trades') }} as trades inner join {{ source('published_runs') }} as runs on …

Layers: `stg_` gives tables clean names, `int_` joins, `mart_` is what people and dashboards ask. Reading the
select is `rendering.py`'s; nothing here talks to a database.
"""

import difflib
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Literal

import yaml

from quantbot_pipeline.errors import MigrationError
from quantbot_pipeline.storage.sql_files import Database

Materialization = Literal["view", "table"]

VIEW_NAME = re.compile(r"(stg|int|mart)_[a-z0-9_]+")
IDENTIFIER = re.compile(r"[a-z_][a-z0-9_]*")

_HEADER = re.compile(r"\s*/\*(?P<yaml>.*?)\*/", re.DOTALL)
_ALLOWED_KEYS = (
    "description",
    "grain",
    "materialized",
    "order_by",
    "indexes",
    "columns",
    "tests",
    "agrees",
    "notes",
)
_NEEDED_KEYS = ("description", "grain", "columns")
_TEST_KINDS = ("unique", "not_null", "accepted_values", "relationships", "expression")
_LONGEST_VIEW_NAME = 44
"""Postgres cuts names at 63 bytes; the name of a build on trial adds its hash and `__new`."""


@dataclass(frozen=True, slots=True)
class ViewColumn:
    """One column of a view.

    Attributes:
        name: Its name in the database.
        meaning: What a value says.
        unit: What it is measured in; empty for names, ids and flags.
    """

    name: str
    meaning: str
    unit: str = ""

    @property
    def comment(self) -> str:
        """What the database says of the column."""
        return f"{self.meaning} [{self.unit}]" if self.unit else self.meaning


@dataclass(frozen=True, slots=True)
class ViewTest:
    """One test of a header: what is true of every row.

    Attributes:
        kind: unique, not_null, accepted_values, relationships or expression.
        columns: Columns that it is about; none of an expression.
        values: Accepted values.
        other_view: View or table in which the column's values must occur.
        other_column: Column of it.
        expression: SQL that is true on every row; null counts as true.
        line: Line of the file.
    """

    kind: str
    columns: tuple[str, ...] = ()
    values: tuple[str, ...] = ()
    other_view: str = ""
    other_column: str = ""
    expression: str = ""
    line: int = 0

    def __str__(self) -> str:
        match self.kind:
            case "accepted_values":
                return f"accepted_values({self.columns[0]}: {', '.join(self.values)})"
            case "relationships":
                return f"relationships({self.columns[0]} in {self.other_view}.{self.other_column})"
            case "expression":
                return f"expression({self.expression})"
            case _:
                return f"{self.kind}({', '.join(self.columns)})"


@dataclass(frozen=True, slots=True)
class ViewAgreement:
    """What a view in Postgres says of the view of its name in ClickHouse: rows of one key hold the same values.

    Attributes:
        keys: Columns that name a row in both.
        columns: Columns that hold the same; floats may differ by a millionth.
        unless: SQL in Postgres that is true on rows which may differ, or be missing in ClickHouse; empty: on none.
        may_add_rows: Whether ClickHouse may have rows that Postgres does not have.
        line: Line of the file.
    """

    keys: tuple[str, ...]
    columns: tuple[str, ...]
    unless: str
    may_add_rows: bool
    line: int

    def __str__(self) -> str:
        return f"agrees({', '.join(self.keys)}: {', '.join(self.columns)})"


@dataclass(frozen=True, slots=True)
class ViewFile:
    """What a view's file says, before its select is understood.

    Attributes:
        name: Name of the view, which is the file's name without `.sql`.
        database: Where it is built.
        path: The file.
        description: The question that the view answers.
        grain: What one row is.
        materialized: Whether its rows are computed when asked (view) or stored at each build (table).
        order_by: Sorting key of a table in ClickHouse.
        indexes: Columns of each index of a table in Postgres.
        columns: Its columns, in the header's order.
        tests: What is true of its rows.
        agrees: Where it holds what the view of its name in ClickHouse does; None where that is not said.
        notes: What else a reader should know.
        select: The select with its `ref` and `source`.
        select_line: Line of the file on which the select begins, from 1.
    """

    name: str
    database: Database
    path: Path
    description: str
    grain: str
    materialized: Materialization
    order_by: tuple[str, ...]
    indexes: tuple[tuple[str, ...], ...]
    columns: tuple[ViewColumn, ...]
    tests: tuple[ViewTest, ...]
    agrees: ViewAgreement | None
    notes: str
    select: str
    select_line: int


def read_view_file(database: Database, path: Path) -> ViewFile:
    """Return what a file says.

    Raises:
        MigrationError: its name or header is not understood; the message has file, line, what was found and what
            is allowed.
    """
    return _parse(database, path, path.read_text(encoding="utf-8"))


def refusal(path: Path, line: int | None, text: str) -> MigrationError:
    """Return the error about a place in a view's file."""
    place = f"{path}:{line}" if line is not None else f"{path}"
    return MigrationError(f"{place}: {text}")


def near_names(name: str, known: Iterable[str], *, shown: int = 12) -> str:
    """Return what a name that is not known may have meant, for the end of a message."""
    names = sorted(known)
    close = difflib.get_close_matches(name, names, n=3)
    if close:
        return f"did you mean {' or '.join(close)}?"
    return f"allowed are {', '.join(names[:shown])}{', …' if len(names) > shown else ''}"


@cache
def _parse(database: Database, path: Path, text: str) -> ViewFile:
    name = path.stem
    if not VIEW_NAME.fullmatch(name) or len(name) > _LONGEST_VIEW_NAME:
        raise refusal(
            path,
            None,
            f"{name!r} can't be the name of a view; allowed is stg_, int_ or mart_ followed by lower-case letters, "
            f"digits and underscores, at most {_LONGEST_VIEW_NAME} in all",
        )
    found = _HEADER.match(text)
    if found is None:
        raise refusal(
            path,
            1,
            f"the file begins with {text.strip()[:40]!r}; a view begins with /* a header of YAML */ (docs/views.md)",
        )
    header = _Header(path, text[: found.start("yaml")].count("\n"), found["yaml"])
    entries = header.mapping(header.root, "the header", _ALLOWED_KEYS, needed=_NEEDED_KEYS)
    columns = _columns(header, entries["columns"])
    names = frozenset(column.name for column in columns)
    materialized = _materialization(header, entries.get("materialized"))
    order_by = _names(header, entries.get("order_by"), "order_by", names)
    if (materialized, database) == ("table", "clickhouse"):
        if not order_by:
            raise refusal(
                path, header.line(header.root), "a table in ClickHouse needs 'order_by: [column, …]', its sorting key"
            )
    elif order_by:
        raise refusal(path, header.line(entries["order_by"]), "order_by is of tables in ClickHouse alone; take it out")
    indexes = _indexes(header, entries.get("indexes"), names)
    if indexes and (materialized, database) != ("table", "postgres"):
        raise refusal(path, header.line(entries["indexes"]), "indexes are of tables in Postgres alone; take them out")
    return ViewFile(
        name=name,
        database=database,
        path=path,
        description=header.text(entries["description"], "description"),
        grain=header.text(entries["grain"], "grain"),
        materialized=materialized,
        order_by=order_by,
        indexes=indexes,
        columns=columns,
        tests=_tests(header, entries.get("tests"), names),
        agrees=_agreement(
            header, entries.get("agrees"), names, is_allowed=(database, materialized) == ("postgres", "view")
        ),
        notes=header.text(entries["notes"], "notes") if "notes" in entries else "",
        select=text[found.end() :],
        select_line=text[: found.end()].count("\n") + 1,
    )


class _Header:
    """The YAML of a header; knows on which line of the file each part of it is."""

    def __init__(self, path: Path, lines_before: int, text: str) -> None:
        self.path = path
        self._lines_before = lines_before
        try:
            node = yaml.compose(text, Loader=yaml.SafeLoader)
        except yaml.MarkedYAMLError as error:
            mark = error.problem_mark or error.context_mark
            line = None if mark is None else mark.line + 1 + lines_before
            raise refusal(
                path,
                line,
                f"the header is not YAML: {error.problem or error.context}; quote text that has ': ', ', ', '#' or "
                "brackets in it",
            ) from error
        if node is None:
            raise refusal(path, 1 + lines_before, f"the header is empty; it needs {', '.join(_NEEDED_KEYS)}")
        self.root: yaml.Node = node

    def line(self, node: yaml.Node) -> int:
        """Return the line of the file on which a part begins."""
        return int(node.start_mark.line) + 1 + self._lines_before

    def mapping(
        self, node: yaml.Node, what: str, allowed: Sequence[str] | None = None, *, needed: Sequence[str] = ()
    ) -> dict[str, yaml.Node]:
        """Return the parts of a mapping by key, after refusing keys that are not allowed, twice there or missing."""
        if not isinstance(node, yaml.MappingNode):
            raise self._wrong_type(node, what, "key: value")
        entries: dict[str, yaml.Node] = {}
        for key_node, value in node.value:
            key = self.text(key_node, f"a key of {what}")
            if key in entries:
                raise refusal(self.path, self.line(key_node), f"{what} has {key!r} twice; take one out")
            if allowed is not None and key not in allowed:
                # In braces, a comma ends a text, and what follows becomes a key without a value.
                is_cut_text = isinstance(value, yaml.ScalarNode) and not value.value
                raise refusal(
                    self.path,
                    self.line(key_node),
                    f"{what} has the key {key!r}; allowed are {', '.join(allowed)}"
                    f"{'; a text with a comma or colon needs quotes' if is_cut_text else ''}",
                )
            entries[key] = value
        if missing := [key for key in needed if key not in entries]:
            raise refusal(self.path, self.line(node), f"{what} has no {' and no '.join(missing)}; add it")
        return entries

    def sequence(self, node: yaml.Node, what: str) -> list[yaml.Node]:
        """Return the parts of a list; a single value counts as a list of one."""
        if isinstance(node, yaml.ScalarNode):
            return [node]
        if not isinstance(node, yaml.SequenceNode):
            raise self._wrong_type(node, what, "a list: [a, b]")
        return list(node.value)

    def text(self, node: yaml.Node, what: str) -> str:
        """Return a text that is not empty."""
        if not isinstance(node, yaml.ScalarNode):
            raise self._wrong_type(node, what, "text; quote it where it has ', ' or brackets")
        if node.tag != "tag:yaml.org,2002:str":
            raise refusal(
                self.path,
                self.line(node),
                f"{what} is {node.value!r}, which YAML reads as {node.tag.rpartition(':')[2]}; allowed is text: "
                "put it in quotes",
            )
        if not (text := str(node.value).strip()):
            raise refusal(self.path, self.line(node), f"{what} is empty; allowed is text")
        return text

    def value(self, node: yaml.Node, what: str) -> str:
        """Return an accepted value: text, a number or a truth value, as the database would print it."""
        if not isinstance(node, yaml.ScalarNode) or node.tag == "tag:yaml.org,2002:null":
            raise self._wrong_type(node, what, "text or a number")
        return str(node.value)

    def _wrong_type(self, node: yaml.Node, what: str, allowed: str) -> MigrationError:
        kinds = {yaml.ScalarNode: "a single value", yaml.SequenceNode: "a list", yaml.MappingNode: "key: value"}
        return refusal(self.path, self.line(node), f"{what} is {kinds.get(type(node), '?')}; allowed is {allowed}")


def _columns(header: _Header, node: yaml.Node) -> tuple[ViewColumn, ...]:
    columns = []
    for name, about in header.mapping(node, "columns").items():
        if not IDENTIFIER.fullmatch(name):
            raise refusal(
                header.path,
                header.line(about),
                f"{name!r} can't be the name of a column; allowed are lower-case letters, digits and underscores",
            )
        said = header.mapping(about, f"column {name!r}", ("meaning", "unit"), needed=("meaning",))
        meaning = header.text(said["meaning"], f"the meaning of {name!r}")
        unit = header.text(said["unit"], f"the unit of {name!r}") if "unit" in said else ""
        columns.append(ViewColumn(name, meaning, unit))
    return tuple(columns)


def _materialization(header: _Header, node: yaml.Node | None) -> Materialization:
    if node is None:
        return "view"
    match header.text(node, "materialized"):
        case "view":
            return "view"
        case "table":
            return "table"
        case other:
            raise refusal(header.path, header.line(node), f"materialized is {other!r}; allowed are view and table")


def _names(header: _Header, node: yaml.Node | None, what: str, columns: frozenset[str]) -> tuple[str, ...]:
    if node is None:
        return ()
    names = []
    for part in header.sequence(node, what):
        name = header.text(part, what)
        if name not in columns:
            raise refusal(
                header.path,
                header.line(part),
                f"{what} names the column {name!r}, which is not under columns: {near_names(name, columns)}",
            )
        names.append(name)
    return tuple(names)


def _indexes(header: _Header, node: yaml.Node | None, columns: frozenset[str]) -> tuple[tuple[str, ...], ...]:
    if node is None:
        return ()
    return tuple(_names(header, part, "indexes", columns) for part in header.sequence(node, "indexes"))


def _tests(header: _Header, node: yaml.Node | None, columns: frozenset[str]) -> tuple[ViewTest, ...]:
    if node is None:
        return ()
    tests: dict[str, ViewTest] = {}
    for part in header.sequence(node, "tests"):
        said = header.mapping(part, "a test", _TEST_KINDS)
        if len(said) != 1:
            raise refusal(header.path, header.line(part), f"a test has {len(said)} keys; allowed is one per list item")
        ((kind, about),) = said.items()
        for test in _test(header, kind, about, columns):
            if str(test) in tests:
                raise refusal(header.path, test.line, f"the test {test} is there twice; take one out")
            tests[str(test)] = test
    return tuple(tests.values())


def _test(header: _Header, kind: str, about: yaml.Node, columns: frozenset[str]) -> Iterable[ViewTest]:
    line = header.line(about)
    match kind:
        case "unique":
            yield ViewTest(kind, _names(header, about, kind, columns), line=line)
        case "not_null":
            for name in _names(header, about, kind, columns):
                yield ViewTest(kind, (name,), line=line)
        case "accepted_values":
            said = header.mapping(about, kind, ("column", "values"), needed=("column", "values"))
            values = tuple(header.value(value, "a value") for value in header.sequence(said["values"], "values"))
            yield ViewTest(kind, _column(header, said, columns), values=values, line=line)
        case "relationships":
            said = header.mapping(about, kind, ("column", "to"), needed=("column", "to"))
            other_view, _, other_column = header.text(said["to"], "to").partition(".")
            if not IDENTIFIER.fullmatch(other_view) or not IDENTIFIER.fullmatch(other_column):
                raise refusal(
                    header.path,
                    header.line(said["to"]),
                    f"'to' is {said['to'].value!r}; allowed is view.column, as in stg_calls.call_id",
                )
            yield ViewTest(
                kind,
                _column(header, said, columns),
                other_view=other_view,
                other_column=other_column,
                line=line,
            )
        case _:
            yield ViewTest(kind, expression=header.text(about, kind), line=line)


def _column(header: _Header, said: Mapping[str, yaml.Node], columns: frozenset[str]) -> tuple[str, ...]:
    name = header.text(said["column"], "column")
    if name not in columns:
        raise refusal(
            header.path,
            header.line(said["column"]),
            f"a test is of the column {name!r}, which is not under columns: {near_names(name, columns)}",
        )
    return (name,)


def _agreement(
    header: _Header, node: yaml.Node | None, columns: frozenset[str], *, is_allowed: bool
) -> ViewAgreement | None:
    if node is None:
        return None
    if not is_allowed:
        # A table of Postgres does not tell of when its rows are.
        raise refusal(
            header.path,
            header.line(node),
            "agrees is of views in Postgres alone, and is about the view of the same name in ClickHouse; say it there",
        )
    said = header.mapping(
        node, "agrees", ("keys", "columns", "unless", "clickhouse_may_add_rows"), needed=("keys", "columns")
    )
    adds = said.get("clickhouse_may_add_rows")
    if adds is not None and header.value(adds, "clickhouse_may_add_rows") not in ("true", "false"):
        raise refusal(
            header.path, header.line(adds), f"clickhouse_may_add_rows is {adds.value!r}; allowed: true, false"
        )
    return ViewAgreement(
        keys=_names(header, said["keys"], "agrees.keys", columns),
        columns=_names(header, said["columns"], "agrees.columns", columns),
        unless=header.text(said["unless"], "agrees.unless") if "unless" in said else "",
        may_add_rows=adds is not None and adds.value == "true",
        line=header.line(node),
    )
