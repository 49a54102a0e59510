"""Which views a command is about: names, patterns, and `+` for what lies above or below."""

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from quantbot_pipeline.errors import ConfigError, MigrationError
from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views.files import near_names
from quantbot_pipeline.storage.views.rendering import View, load_readable_views, load_views, reached


@dataclass(frozen=True, slots=True)
class SelectedViews:
    """Views that a command is about, among all that are understood.

    Attributes:
        loaded: All views that are understood, by database.
        chosen: Those that were asked for.
        refused: By database and name, why others are not understood; empty where all were asked for.
    """

    loaded: dict[Database, list[View]]
    chosen: list[View]
    refused: dict[tuple[Database, str], str]


def load_selected_views(
    databases: Sequence[Database],
    selection: Sequence[str],
    folder: Path | None = None,
    tables: frozenset[str] | None = None,
) -> SelectedViews:
    """Return the views that are asked for; others need not be understood.

    Args:
        databases: In which.
        selection: See `select_views`.
        folder: Folder with a folder of view files per database; the project's by default.
        tables: Tables that views may read; those of the migrations by default.

    Raises:
        MigrationError: the file of a view that is asked for, or of one that it reads, is not understood.
        ConfigError: a part of the selection fits no view.
    """
    loaded: dict[Database, list[View]] = {}
    refused: dict[tuple[Database, str], str] = {}
    for database in databases:
        directory = None if folder is None else folder / database
        if selection:
            loaded[database], reasons = load_readable_views(database, directory, tables)
            refused |= {(database, name): reason for name, reason in reasons.items()}
        else:
            loaded[database] = load_views(database, directory, tables)
    for asked in selection:
        for (database, name), reason in refused.items():
            if _fits(asked, database, name):
                raise MigrationError(reason)
    chosen = select_views([view for views in loaded.values() for view in views], selection)
    return SelectedViews(loaded, chosen, refused)


def select_views(views: Sequence[View], selection: Sequence[str]) -> list[View]:
    """Return the views that are asked for, in the order given.

    Args:
        views: All views; of one database or of both.
        selection: Names or patterns such as `stg_*` or `clickhouse.mart_*`; `+` before one adds all that it
            reads, `+` after it all that reads it. All views when empty.

    Raises:
        ConfigError: one of them fits no view.
    """
    if not selection:
        return list(views)
    above = {(view.database, view.name): {(view.database, name) for name in view.refs} for view in views}
    wanted: set[tuple[Database, str]] = set()
    for asked in selection:
        found = [view for view in views if _fits(asked, view.database, view.name)]
        if not found:
            near = near_names(_pattern(asked), {view.name for view in views})
            raise ConfigError(
                f"--select {asked!r} fits no view: {near}; allowed are "
                "names, patterns such as 'stg_*', and '+' before or after one"
            )
        keys = {(view.database, view.name) for view in found}
        wanted |= keys
        if asked.strip().startswith("+"):
            wanted |= reached(keys, lambda key: above[key])
        if asked.strip().endswith("+"):
            wanted |= reached(keys, lambda key: (other for other in above if key in above[other]))
    return [view for view in views if (view.database, view.name) in wanted]


def _fits(asked: str, database: Database, name: str) -> bool:
    pattern = _pattern(asked)
    return fnmatchcase(name, pattern) or fnmatchcase(f"{database}.{name}", pattern)


def _pattern(asked: str) -> str:
    return asked.strip().removeprefix("+").removesuffix("+")


def names_above(views: Sequence[View], names: Sequence[str]) -> set[str]:
    """Return the views of one database that others read or are tested against, directly or through others."""
    above = {view.name: {*view.refs, *view.tested_against} for view in views}
    return reached(names, lambda name: above[name] & above.keys())
