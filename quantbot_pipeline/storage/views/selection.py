"""Which views a command is about: names, patterns, and `+` for what lies above or below."""

from collections.abc import Sequence
from fnmatch import fnmatchcase

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views.files import near_names
from quantbot_pipeline.storage.views.rendering import View

_Key = tuple[Database, str]


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
    wanted: set[_Key] = set()
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
            wanted |= _reached(keys, views, upwards=True)
        if asked.strip().endswith("+"):
            wanted |= _reached(keys, views, upwards=False)
    return [view for view in views if (view.database, view.name) in wanted]


def names_above(views: Sequence[View], names: Sequence[str]) -> set[str]:
    """Return the views of one database that others read or are tested against, directly or through others."""
    by_name = {view.name: view for view in views}
    found: set[str] = set()
    left = list(names)
    while left:
        view = by_name[left.pop()]
        more = ({*view.refs, *view.tested_against} & by_name.keys()) - found
        found |= more
        left += more
    return found


def _reached(keys: set[_Key], views: Sequence[View], *, upwards: bool) -> set[_Key]:
    edges: dict[_Key, set[_Key]] = {}
    for view in views:
        for above in view.refs:
            this: _Key = (view.database, view.name)
            other: _Key = (view.database, above)
            start, end = (this, other) if upwards else (other, this)
            edges.setdefault(start, set()).add(end)
    found: set[_Key] = set()
    left = list(keys)
    while left:
        more = edges.get(left.pop(), set()) - found
        found |= more
        left += more
    return found
