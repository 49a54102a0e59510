"""Which views a command is about: names, patterns, and `+` for what lies above or below."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views.files import near_names
from quantbot_pipeline.storage.views.rendering import View, reached


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
        pattern = asked.strip().removeprefix("+").removesuffix("+")
        found = [
            view
            for view in views
            if fnmatchcase(view.name, pattern) or fnmatchcase(f"{view.database}.{view.name}", pattern)
        ]
        if not found:
            raise ConfigError(
                f"--select {asked!r} fits no view: {near_names(pattern, {view.name for view in views})}; allowed are "
                "names, patterns such as 'stg_*', and '+' before or after one"
            )
        keys = {(view.database, view.name) for view in found}
        wanted |= keys
        if asked.strip().startswith("+"):
            wanted |= reached(keys, lambda key: above[key])
        if asked.strip().endswith("+"):
            wanted |= reached(keys, lambda key: (other for other in above if key in above[other]))
    return [view for view in views if (view.database, view.name) in wanted]


def names_above(views: Sequence[View], names: Sequence[str]) -> set[str]:
    """Return the views of one database that others read or are tested against, directly or through others."""
    above = {view.name: {*view.refs, *view.tested_against} for view in views}
    return reached(names, lambda name: above[name] & above.keys())
