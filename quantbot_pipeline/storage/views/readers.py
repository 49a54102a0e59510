"""What reads the views from outside: the project's own queries, and the questions of its dashboard.

Which columns they need is read off their SQL, so that a view that lost one is refused before anybody asks it.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cache

import sqlglot
from sqlglot import exp
from sqlglot.errors import SqlglotError
from sqlglot.optimizer.scope import Scope, traverse_scope

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.project_files import project_file
from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views.rendering import DATABASES, View

_READ_VIEW = re.compile(r"\b(?:from|join)\s+(?P<name>(?:stg|int|mart)_[a-z0-9_]+)", re.IGNORECASE)
_COMMENT = re.compile(r"--[^\n]*")
_DASHBOARD = "deploy/grafana/quantbot.json"
# What is filled in when a query runs, and what stands for it here.
_FILLED_IN = (
    (re.compile(r"%\(\w+\)s|\{\w+:[\w()]+\}|\$\{[\w:]+\}"), "null"),
    (re.compile(r"\$__\w+\((\w+)\)"), r"\1 is not null"),
)


@dataclass(frozen=True, slots=True)
class ViewReader:
    """A query that reads views.

    Attributes:
        database: Where it runs.
        topic: Folder of a query below `sql/<database>/queries/`; `grafana` for the dashboard.
        place: Its file, and which question of it.
        sql: Its text, with what is filled in later left out.
    """

    database: Database
    topic: str
    place: str
    sql: str

    @property
    def views(self) -> frozenset[str]:
        """The views that it reads."""
        return frozenset(match["name"] for match in _READ_VIEW.finditer(self.sql))

    def missing_columns(self, columns: Mapping[str, Collection[str]]) -> dict[str, list[str]]:
        """Return the columns that it reads and that nothing in their reach has, by view that should have them.

        Args:
            columns: Of every view of its database. What may be a column of a table is taken to be one.
        """
        try:
            scopes = traverse_scope(sqlglot.parse_one(self.sql, dialect=self.database))
        except SqlglotError:
            # The database may understand it nevertheless, and says so where it does not.
            return {}
        missing: dict[str, list[str]] = {}
        for scope in scopes:
            for column in scope.columns:
                relations = list(_relations_in_reach(scope, column, columns))
                if any(relation.may_have(column.name) for relation in relations) or _is_alias(scope, column):
                    continue
                for view in sorted({name for relation in relations for name in relation.views}):
                    missing.setdefault(view, []).append(column.name)
        return {view: list(dict.fromkeys(names)) for view, names in missing.items()}


@dataclass(frozen=True, slots=True)
class _Relation:
    """What a part of a query reads: its columns, None where they are not known, and the views that they come from."""

    columns: frozenset[str] | None
    views: frozenset[str] = frozenset()

    def may_have(self, name: str) -> bool:
        return self.columns is None or name in self.columns


@cache
def view_readers() -> tuple[ViewReader, ...]:
    """Return the queries of the project, and the questions of its dashboard, that read views."""
    texts: list[tuple[Database, str, str, str]] = [
        (database, path.parent.name, str(path), path.read_text(encoding="utf-8"))
        for database in DATABASES
        for path in sorted(project_file(f"sql/{database}/queries").glob("*/*.sql"))
    ]
    found = []
    for database, topic, place, text in (*texts, *_dashboard_questions()):
        bare = _COMMENT.sub("", text)
        for pattern, replacement in _FILLED_IN:
            bare = pattern.sub(replacement, bare)
        reader = ViewReader(database, topic, place, bare)
        if reader.views:
            found.append(reader)
    return tuple(found)


def views_read_by(*topics: str) -> frozenset[tuple[Database, str]]:
    """Return the views, with their databases, that the queries of some topics read.

    Args:
        topics: Folders of `sql/<database>/queries/`, such as `report`.
    """
    return frozenset(
        (reader.database, name) for reader in view_readers() if reader.topic in topics for name in reader.views
    )


def unmet_needs(database: Database, views: Sequence[View], chosen: Collection[str]) -> dict[str, str]:
    """Return by view which columns it lacks for its readers, of those chosen that lack some.

    Args:
        database: Which of the two.
        views: All views of it.
        chosen: Names of those to look at.
    """
    columns = {view.name: view.output_names for view in views}
    lacking: dict[str, dict[str, list[str]]] = {}
    for reader in view_readers():
        if reader.database == database and reader.views & frozenset(chosen):
            for name, missing in reader.missing_columns(columns).items():
                for column in missing:
                    lacking.setdefault(name, {}).setdefault(column, []).append(reader.place)
    return {
        view.name: f"{view.path}: "
        + ", and ".join(f"no column {column!r}, which {_reading(places)}" for column, places in found.items())
        + "; give the view what it lacks, or change what reads it"
        for view in views
        if view.name in chosen and (found := lacking.get(view.name))
    }


def need_of(database: Database, name: str) -> str | None:
    """Return what reads a view; None where nothing does."""
    places = [reader.place for reader in view_readers() if reader.database == database and name in reader.views]
    return _reading(places) if places else None


def _reading(places: Sequence[str]) -> str:
    if len(places) == 1:
        return f"{places[0]} reads"
    others = "1 other" if len(places) == 2 else f"{len(places) - 1} others"
    return f"{places[0]} and {others} read"


def _dashboard_questions() -> Iterator[tuple[Database, str, str, str]]:
    with suppress(ConfigError, ValueError):  # an installation has no dashboard; one that is no JSON reads nothing
        path = project_file(_DASHBOARD)
        dashboard = json.loads(path.read_text(encoding="utf-8"))
        questions = [
            (panel.get("title"), target.get("datasource", {}), target.get("rawSql", ""))
            for panel in dashboard.get("panels", [])
            for target in panel.get("targets", [])
        ]
        questions += [
            (one.get("name"), one.get("datasource", {}), one.get("query", ""))
            for one in dashboard.get("templating", {}).get("list", [])
        ]
        for title, source, text in questions:
            database: Database = "clickhouse" if "clickhouse" in source.get("type", "") else "postgres"
            yield database, "grafana", f"{path} ({title!r})", text


def _relations_in_reach(
    scope: Scope, column: exp.Column, columns: Mapping[str, Collection[str]]
) -> Iterator[_Relation]:
    """Yield what a column may come from: a subquery also sees what the query around it reads."""
    within: Scope | None = scope
    while within is not None:
        for name, (_, source) in within.selected_sources.items():
            if column.table in ("", name):
                yield _relation(source, columns)
        within = within.parent if within.can_be_correlated else None


def _relation(source: exp.Expr | Scope, columns: Mapping[str, Collection[str]]) -> _Relation:
    if isinstance(source, Scope):
        return _outputs(source, columns)
    known = columns.get(source.name)
    return _Relation(None) if known is None else _Relation(frozenset(known), frozenset({source.name}))


def _outputs(scope: Scope, columns: Mapping[str, Collection[str]]) -> _Relation:
    if scope.set_operation_scopes:
        return _outputs(scope.set_operation_scopes[0], columns)
    if not isinstance(scope.expression, exp.Select):
        return _Relation(None)
    names = frozenset(scope.expression.named_selects)
    if not scope.expression.is_star:
        return _Relation(names)
    read = [_relation(source, columns) for _, source in scope.selected_sources.values()]
    views = frozenset(view for relation in read for view in relation.views)
    known = [relation.columns for relation in read if relation.columns is not None]
    return _Relation(names.union(*known) if len(known) == len(read) else None, views)


def _is_alias(scope: Scope, column: exp.Column) -> bool:
    """Return whether a name is one that the query itself gives to an expression, other than the one it is in."""
    own = column.find_ancestor(exp.Alias)
    return any(alias is not own and alias.alias == column.name for alias in scope.find_all(exp.Alias, exp.CTE))
