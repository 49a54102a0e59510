"""A view's select: its `ref` and `source` calls, what it reads, its output columns, and the order among views.

Jinja reads the text, but nothing of it is ever run: `{{ ref('view') }}` and `{{ source('table') }}` are all that a
file may hold. sqlglot reads the SQL that comes out of it, so that a relation which is read without either is refused
before a database sees it.
"""

import hashlib
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache
from graphlib import CycleError, TopologicalSorter
from pathlib import Path
from typing import Literal, TypeVar

import jinja2
import sqlglot
from jinja2 import nodes
from jinja2.sandbox import SandboxedEnvironment
from sqlglot import exp
from sqlglot.errors import SqlglotError

from quantbot_pipeline.errors import MigrationError
from quantbot_pipeline.project_files import project_file
from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views.files import (
    Materialization,
    ViewColumn,
    ViewFile,
    ViewTest,
    near_names,
    read_view_file,
    refusal,
)

DATABASES: tuple[Database, ...] = ("postgres", "clickhouse")

_Node = TypeVar("_Node")
_PLACEHOLDER = "quantbot_relation_"
_ROW_MAKERS = frozenset(
    {"numbers", "generate_series", "generateseries", "unnest", "values", "jsonb_array_elements", "lateral"}
)
"""Functions in a `from` that make rows of what they are given; others would read what lineage does not know."""

_REACHING_OUT = re.compile(r"file|sleep|sleepEachRow|catboostEvaluate|evalMLMethod|ai[a-z]+", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class Relation:
    """A `ref` or `source` in a select.

    Attributes:
        kind: Which of both.
        name: Of the view or table.
        needs_alias: Whether the select gives it no name of its own, so that it goes by the view's.
    """

    kind: Literal["ref", "source"]
    name: str
    needs_alias: bool = False


@dataclass(frozen=True, slots=True)
class View:
    """One view: what its file says, and what its select reads.

    Attributes:
        file: The file, understood.
        parts: The select: text and relations, in turn.
        refs: Views that it reads.
        sources: Tables of the project's migrations that it reads.
        output_names: Its columns in the select's order.
    """

    file: ViewFile
    parts: tuple[str | Relation, ...]
    refs: tuple[str, ...]
    sources: tuple[str, ...]
    output_names: tuple[str, ...]

    @property
    def name(self) -> str:
        """Name of the view."""
        return self.file.name

    @property
    def database(self) -> Database:
        """Where it is built."""
        return self.file.database

    @property
    def path(self) -> Path:
        """Its file."""
        return self.file.path

    @property
    def materialized(self) -> Materialization:
        """Whether it is a view or a table."""
        return self.file.materialized

    @property
    def columns(self) -> tuple[ViewColumn, ...]:
        """Its columns."""
        return self.file.columns

    @property
    def tests(self) -> tuple[ViewTest, ...]:
        """What is true of its rows."""
        return self.file.tests

    @property
    def tested_against(self) -> tuple[str, ...]:
        """Other views and tables that its tests read."""
        return tuple(dict.fromkeys(test.other_view for test in self.tests if test.other_view))

    @property
    def comments(self) -> tuple[str, ...]:
        """What the database says of the view and of its columns in the select's order."""
        meanings = {column.name: column.comment for column in self.columns}
        return (self.comment, *(meanings[name] for name in self.output_names))

    @property
    def comment(self) -> str:
        """What the database says of the view."""
        parts = [self.file.description, f"Grain: {self.file.grain}."]
        if self.file.notes:
            parts.append(" ".join(self.file.notes.split()))
        return " ".join(parts)

    def render(self, place: Callable[[Relation], str]) -> str:
        """Return the select with every relation put as `place` says it.

        Args:
            place: Gives the quoted address of a view or table.
        """
        rendered = []
        for part in self.parts:
            if isinstance(part, str):
                rendered.append(part)
            else:
                alias = f" as {part.name}" if part.needs_alias else ""
                rendered.append(place(part) + alias)
        return "".join(rendered).strip()

    def line_of(self, word: str) -> int | None:
        """Return the first line of the file on which the select has a word; None where it has not."""
        found = re.search(rf"\b{re.escape(word)}\b", self.file.select)
        return None if found is None else self.file.select_line + self.file.select.count("\n", 0, found.start())

    @property
    def readable_sql(self) -> str:
        """The select with plain names, as a person would write it in this database."""
        return "".join(part if isinstance(part, str) else part.name for part in self.parts).strip()


def load_views(database: Database, directory: Path | None = None, tables: frozenset[str] | None = None) -> list[View]:
    """Return the views of a database in an order in which each can be built.

    Args:
        database: Which of the two.
        directory: Folder of view files; the project's by default.
        tables: Tables that views may read with `source`; those that the project's migrations create by default.

    Raises:
        MigrationError: a file's name, header or select is not understood, reads something without `ref` or
            `source`, reads what does not exist, documents other columns than it returns, or the views read each
            other in a circle; the message has file, line, what was found and what is allowed.
    """
    folder = directory or project_file(f"dbt_like_views/{database}")
    sources = migrated_tables(database) if tables is None else tables
    views = {path.stem: _understood(read_view_file(database, path)) for path in sorted(folder.glob("*.sql"))}
    for view in views.values():
        _check_relations(view, views, sources)
    return _ordered(views, folder)


def load_readable_views(
    database: Database, directory: Path | None = None, tables: frozenset[str] | None = None
) -> tuple[list[View], dict[str, str]]:
    """Return the views that can be understood, in an order in which each can be built, and by name why others can't.

    A view that reads one that can't be understood is left out for that one's reason.

    Args:
        database: Which of the two.
        directory: See `load_views`.
        tables: See `load_views`.
    """
    folder = directory or project_file(f"dbt_like_views/{database}")
    sources = migrated_tables(database) if tables is None else tables
    views: dict[str, View] = {}
    refused: dict[str, str] = {}
    for path in sorted(folder.glob("*.sql")):
        try:
            views[path.stem] = _understood(read_view_file(database, path))
        except MigrationError as error:
            refused[path.stem] = str(error)
    is_settled = False
    while not is_settled:
        found = {name: reason for name, view in views.items() if (reason := _refusal_of(view, views, sources, refused))}
        refused |= found
        views = {name: view for name, view in views.items() if name not in found}
        is_settled = not found
    try:
        return _ordered(views, folder), refused
    except MigrationError as error:
        # Views that read each other in a circle, and what reads those.
        free: set[str] = set()
        while more := {
            name
            for name, view in views.items()
            if name not in free | {*view.refs} and ({*view.refs, *view.tested_against} & views.keys()) - {name} <= free
        }:
            free |= more
        refused |= {name: str(error) for name in views.keys() - free}
        return _ordered({name: view for name, view in views.items() if name in free}, folder), refused


def _refusal_of(
    view: View, views: Mapping[str, View], sources: frozenset[str], refused: Mapping[str, str]
) -> str | None:
    for name in (*view.refs, *view.tested_against):
        if name in refused:
            return refused[name]
    try:
        _check_relations(view, views, sources)
    except MigrationError as error:
        return str(error)
    return None


def content_hashes(views: Sequence[View]) -> dict[str, str]:
    """Return by view what its rows depend on, as 12 hexadecimal digits: its select, its kind, its tests, its inputs.

    What only people read, such as a column's meaning, is left out: changing it builds nothing anew.

    Args:
        views: All views of one database, those that others read first.
    """
    hashes: dict[str, str] = {}
    for view in views:
        text = view.render(
            lambda relation: f"⟨{relation.kind} {relation.name} {hashes.get(relation.name, '')}⟩",
        )
        about = [text, view.materialized, *view.file.order_by, repr(view.file.indexes)]
        about += [column.name for column in view.columns]
        about += [str(test) for test in view.tests]
        hashes[view.name] = hashlib.sha256("\0".join(about).encode()).hexdigest()[:12]
    return hashes


def reached(starts: Iterable[_Node], steps: Callable[[_Node], Iterable[_Node]]) -> set[_Node]:
    """Return what can be reached from some places, in one step or more.

    Args:
        starts: Where from.
        steps: Gives what is one step away from a place.
    """
    found: set[_Node] = set()
    left = list(starts)
    while left:
        more = set(steps(left.pop())) - found
        found |= more
        left += more
    return found


def sources_of(view: View, views: Sequence[View]) -> list[str]:
    """Return the tables that a view reads, itself or through others of its database, by name."""
    by_name = {other.name: other for other in views}
    names = {view.name} | reached([view.name], lambda name: by_name[name].refs)
    return sorted({source for name in names for source in by_name[name].sources})


@cache
def migrated_tables(database: Database) -> frozenset[str]:
    """Return the tables (and views) that the project's migrations create."""
    names = set()
    for path in sorted(project_file(f"sql/{database}").glob("*.sql")):
        names |= _created_tables(path.read_text(encoding="utf-8"))
    return frozenset(names)


def _created_tables(text: str) -> set[str]:
    bare = re.sub(r"--[^\n]*", "", text)
    created = re.compile(r"\bcreate\s+(?:table|view)\s+(?:if\s+not\s+exists\s+)?([a-z_][a-z0-9_]*)\b", re.IGNORECASE)
    return {name.lower() for name in created.findall(bare)}


_environment = SandboxedEnvironment(undefined=jinja2.StrictUndefined, keep_trailing_newline=True)


@cache
def _understood(file: ViewFile) -> View:
    parts = _parts(file)
    text = "".join(part if isinstance(part, str) else f"{_PLACEHOLDER}{index}" for index, part in enumerate(parts))
    query = _query(file, text)
    output_names = _output_names(file, query)
    aliased = _check_reads(file, query)
    if file.database == "clickhouse":
        _check_functions(file, query)
    understood = tuple(
        Relation(part.kind, part.name, needs_alias=part.kind == "ref" and not aliased.get(index, True))
        if isinstance(part, Relation)
        else part
        for index, part in enumerate(parts)
    )
    relations = [part for part in understood if isinstance(part, Relation)]
    if not relations:
        raise refusal(
            file.path,
            file.select_line,
            "the select reads nothing; allowed are {{ ref('view') }} and {{ source('table') }}",
        )
    return View(
        file=file,
        parts=understood,
        refs=tuple(dict.fromkeys(part.name for part in relations if part.kind == "ref")),
        sources=tuple(dict.fromkeys(part.name for part in relations if part.kind == "source")),
        output_names=output_names,
    )


def _parts(file: ViewFile) -> list[str | Relation]:
    """Return text and relations of a select in turn; refuse all else that Jinja can do."""
    # Empty lines in the header's place: Jinja and sqlglot then count lines as an editor does.
    text = "\n" * (file.select_line - 1) + file.select
    try:
        template = _environment.parse(text)
    except jinja2.TemplateSyntaxError as error:
        raise refusal(file.path, error.lineno, f"the select is not understood: {error.message}") from error
    parts: list[str | Relation] = []
    for output in template.body:
        if not isinstance(output, nodes.Output):
            raise _not_allowed(file, output)
        for node in output.nodes:
            if isinstance(node, nodes.TemplateData):
                parts.append(node.data)
            else:
                parts.append(_relation(file, node))
    return parts


def _relation(file: ViewFile, node: nodes.Node) -> Relation:
    if (
        not isinstance(node, nodes.Call)
        or not isinstance(node.node, nodes.Name)
        or node.kwargs
        or len(node.args) != 1
        or not isinstance(argument := node.args[0], nodes.Const)
        or not isinstance(argument.value, str)
    ):
        raise _not_allowed(file, node)
    match node.node.name:
        case "ref":
            return Relation("ref", argument.value)
        case "source":
            return Relation("source", argument.value)
        case _:
            raise _not_allowed(file, node)


def _not_allowed(file: ViewFile, node: nodes.Node) -> MigrationError:
    found = type(node).__name__.lower()
    if isinstance(node, nodes.Call) and isinstance(node.node, nodes.Name):
        found = f"{node.node.name}(…)"
    elif isinstance(node, nodes.Name):
        found = node.name
    return refusal(
        file.path,
        node.lineno,
        f"found Jinja's {found}; allowed are {{{{ ref('view') }}}} and {{{{ source('table') }}}} with one name each",
    )


def _query(file: ViewFile, text: str) -> exp.Query:
    try:
        statements = [statement for statement in sqlglot.parse(text, dialect=file.database) if statement is not None]
    except SqlglotError as error:
        reasons = getattr(error, "errors", None) or [{}]
        reason = reasons[0].get("description") or str(error).splitlines()[0]
        near = reasons[0].get("highlight")
        raise refusal(
            file.path,
            reasons[0].get("line"),
            f"sqlglot does not understand the select as SQL of {file.database}: {reason}"
            f"{f', near {near!r}' if near else ''}",
        ) from error
    if len(statements) != 1 or not isinstance(statements[0], exp.Query):
        kinds = ", ".join(statement.key for statement in statements) or "nothing"
        raise refusal(file.path, file.select_line, f"found {kinds} after the header; allowed is one select")
    return statements[0]


def _output_names(file: ViewFile, query: exp.Query) -> tuple[str, ...]:
    """Return the output columns, after refusing those without a documentation and the other way round."""
    outputs = [
        (expression.alias_or_name if isinstance(expression, exp.Alias | exp.Column) else "", _line(expression))
        for expression in query.selects
    ]
    documented = {column.name for column in file.columns}
    for position, (name, line) in enumerate(outputs, start=1):
        if query.selects[position - 1].is_star:
            raise refusal(file.path, line, f"output column {position} is '*'; say each column by its name")
        if not name:
            raise refusal(
                file.path, line, f"output column {position} has no name; allowed are columns and expressions 'as name'"
            )
        if name not in documented:
            raise refusal(
                file.path, line, f"output column {name!r} is not under columns; say there what it means, or take it out"
            )
    names = [name for name, _ in outputs]
    if missing := sorted(documented - set(names)):
        raise refusal(
            file.path, 1, f"columns has {', '.join(map(repr, missing))}, which the select does not return; take it out"
        )
    if len(set(names)) < len(names):
        twice = sorted({name for name in names if names.count(name) > 1})
        raise refusal(file.path, file.select_line, f"the select returns {', '.join(map(repr, twice))} twice")
    return tuple(names)


def _check_reads(file: ViewFile, query: exp.Query) -> dict[int, bool]:
    """Refuse what is read without `ref` or `source`; return for each placeholder whether it has an alias."""
    aliased: dict[int, bool] = {}
    for table in query.find_all(exp.Table):
        name = table.name
        if isinstance(table.this, exp.Func):
            function = (table.this.name or table.this.sql_name()).lower()
            if function not in _ROW_MAKERS:
                raise refusal(
                    file.path,
                    _line(table),
                    f"the select reads the table function {function!r}; allowed are {', '.join(sorted(_ROW_MAKERS))}",
                )
        elif name.startswith(_PLACEHOLDER):
            aliased[int(name.removeprefix(_PLACEHOLDER))] = bool(table.alias)
        elif table.db or name not in _ctes_in_reach(table):
            raise _read_directly(file, table, ".".join(part for part in (table.db, name) if part))
    for within in query.find_all(exp.In):
        # ClickHouse reads `x in t` as `x in (select * from t)`, which would be a read without a ref.
        field = within.args.get("field")
        if file.database == "clickhouse" and isinstance(field, exp.Column):
            name = field.name
            if name.startswith(_PLACEHOLDER) or name not in _ctes_in_reach(within):
                raise refusal(
                    file.path,
                    _line(field),
                    f"found 'in {'ref(…)' if name.startswith(_PLACEHOLDER) else name}'; allowed is 'in' and a select "
                    "in brackets",
                )
    return aliased


def _check_functions(file: ViewFile, query: exp.Query) -> None:
    """Refuse functions of ClickHouse that read files, call the network or wait; Postgres' builds ask its catalogue."""
    asked: list[tuple[int | None, exp.Expr]] = [(None, query)]
    for test in file.tests:
        with suppress(SqlglotError):  # the database may understand it nevertheless, and says so where it does not
            asked.append((test.line, sqlglot.parse_one(test.expression or "1", dialect=file.database)))
    for line, text in asked:
        for call in text.find_all(exp.Anonymous):
            if _REACHING_OUT.fullmatch(call.name):
                raise refusal(
                    file.path,
                    line or _line(call) or _line(query),
                    f"found {call.name}(), which reads files, calls the network or waits; allowed are functions that "
                    "answer from what they are given",
                )


def _ctes_in_reach(node: exp.Expr) -> set[str]:
    """Return the names of the common table expressions that a place in a query can read."""
    names: set[str] = set()
    child, parent = node, node.parent
    while parent is not None:
        if isinstance(parent, exp.With):
            for cte in parent.expressions:
                if cte is child and not parent.recursive:
                    break
                names.add(cte.alias)
        elif isinstance(found := parent.args.get("with_"), exp.With) and found is not child:
            names |= {cte.alias for cte in found.expressions}
        child, parent = parent, parent.parent
    return names


def _read_directly(file: ViewFile, table: exp.Table, name: str) -> MigrationError:
    return refusal(
        file.path,
        _line(table),
        f"found {name!r}, read directly; allowed are {{{{ ref('view') }}}}, {{{{ source('table') }}}} and names that "
        "'with' gives",
    )


def _line(node: exp.Expr) -> int | None:
    """Return the first line that sqlglot knows of in a part of the query."""
    for found in node.walk():
        if isinstance(line := found.meta.get("line"), int):
            return line
    return None


def _check_relations(view: View, views: Mapping[str, View], sources: frozenset[str]) -> None:
    for name in view.refs:
        if name not in views:
            what = "a table of the migrations: use source" if name in sources else f"no view: {near_names(name, views)}"
            raise refusal(view.path, _line_of(view, name), f"ref({name!r}) is {what}")
    for name in view.sources:
        if name not in sources:
            what = "a view: use ref" if name in views else f"no table of the migrations: {near_names(name, sources)}"
            raise refusal(view.path, _line_of(view, name), f"source({name!r}) is {what}")
    for test in view.tests:
        if not test.other_view:
            continue
        if test.other_view not in views and test.other_view not in sources:
            raise refusal(
                view.path,
                test.line,
                f"a test is about {test.other_view!r}, which is no view or table: "
                f"{near_names(test.other_view, {*views, *sources})}",
            )
        other = views.get(test.other_view)
        if other is not None and test.other_column not in {column.name for column in other.columns}:
            raise refusal(
                view.path,
                test.line,
                f"a test is about {test.other_view}.{test.other_column}, a column that it does not have: "
                f"{near_names(test.other_column, (column.name for column in other.columns))}",
            )


def _line_of(view: View, name: str) -> int:
    line = 1
    for part in view.parts:
        if isinstance(part, str):
            line += part.count("\n")
        elif part.name == name:
            break
    return line


def _ordered(views: Mapping[str, View], folder: Path) -> list[View]:
    graph: dict[str, Iterable[str]] = {
        name: sorted({above for above in (*view.refs, *view.tested_against) if above in views and above != name})
        for name, view in views.items()
    }
    for name, view in views.items():
        if name in view.refs:
            raise refusal(view.path, _line_of(view, name), "the view reads itself; take the ref out")
    try:
        order = list(TopologicalSorter(graph).static_order())
    except CycleError as error:
        circle = " -> ".join(f"{name}.sql" for name in reversed(error.args[1]))
        raise MigrationError(
            f"views in {folder} read (or are tested against) each other in a circle: {circle}; take one ref out"
        ) from error
    return [views[name] for name in order]
