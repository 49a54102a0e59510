"""What the project's own queries need of the views: which they read, and what to say where a column is gone."""

import re
from collections.abc import Iterator
from contextlib import contextmanager
from functools import cache

from quantbot_pipeline.errors import MigrationError
from quantbot_pipeline.project_files import project_file
from quantbot_pipeline.storage.sql_files import Database, load_sql
from quantbot_pipeline.storage.views.rendering import DATABASES, load_readable_views
from quantbot_pipeline.storage.views.states import missing_column_in

_READ_VIEW = re.compile(r"\b(?:from|join)\s+(?P<name>(?:stg|int|mart)_[a-z0-9_]+)", re.IGNORECASE)
_QUERY = re.compile(r"(?P<database>postgres|clickhouse) query '(?P<query>[a-z0-9_/]+)'")


def views_in(sql: str) -> tuple[str, ...]:
    """Return the views that a query reads, in its order."""
    bare = re.sub(r"--[^\n]*", "", sql)
    return tuple(dict.fromkeys(match["name"] for match in _READ_VIEW.finditer(bare)))


@cache
def views_read_by(*topics: str) -> frozenset[tuple[Database, str]]:
    """Return the views, with their databases, that the queries of some topics read.

    Args:
        topics: Folders of `sql/<database>/queries/`, such as `report`.
    """
    return frozenset(
        (database, name)
        for database in DATABASES
        for topic in topics
        for path in project_file(f"sql/{database}/queries").glob(f"{topic}/*.sql")
        for name in views_in(path.read_text(encoding="utf-8"))
    )


@contextmanager
def naming_missing_columns() -> Iterator[None]:
    """Let a query that misses a column say which view lacks it, and where it is read.

    Raises:
        MigrationError: a query reads a column that a view of its does not have.
    """
    try:
        yield
    except MigrationError as error:
        reason = _about_column(str(error))
        if reason is None:
            raise
        raise MigrationError(reason) from error


def _about_column(text: str) -> str | None:
    asked, column = _QUERY.search(text), missing_column_in(text)
    if asked is None or column is None:
        return None
    database: Database = "postgres" if asked["database"] == "postgres" else "clickhouse"
    path = project_file(f"sql/{database}/queries/{asked['query']}.sql")
    views = {view.name: view for view in load_readable_views(database)[0]}
    lacking = [
        f"{name} ({views[name].path})"
        for name in views_in(load_sql(database, asked["query"]))
        if name in views and column not in views[name].output_names
    ]
    if not lacking:
        return None
    return (
        f"the view {' or '.join(lacking)} has no column {column!r}, which {path} reads; give the view that column "
        "back, or change the query too"
    )
