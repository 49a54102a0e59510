"""Names that results are narrowed to: one that nothing has is told from one that has no results."""

import difflib
from collections.abc import Collection, Mapping
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from quantbot_pipeline.storage.postgres import PostgresStore

_SHOWN = 4


def refuse_unknown_names(state: "PostgresStore", filters: Mapping[str, Any]) -> None:
    """Refuse a strategy, caller, token or run that is not stored; asked when no result matched.

    Args:
        state: Postgres.
        filters: Of a list, by name: `strategy`, `caller`, `token`, `run_id`; empty, 0 or missing for none.

    Raises:
        InputError: one is unknown; the message names near ones.
    """
    from quantbot_pipeline.errors import InputError

    if strategy := filters.get("strategy"):
        from quantbot_pipeline.strategy.presets import preset_names

        stored = state.load_strategies()
        names = {row.name for row in stored} | set(preset_names())
        versions = {f"{row.name}@{row.version}" for row in stored}
        if strategy not in names | versions:
            known = {each for each in versions if each.startswith(f"{strategy.partition('@')[0]}@")} or names
            raise InputError(f"--strategy: {strategy!r} is unknown; {_near(strategy, known)}")
    if caller := filters.get("caller"):
        from quantbot_pipeline.workflows.callers import find_caller, format_caller

        callers = state.load_callers()
        if caller not in {name for row in callers for name in (format_caller(row.caller), row.caller.handle)}:
            find_caller(caller, callers)
    if token := filters.get("token"):
        rows = state.read("lists/load_token_names").to_pylist()
        known = {name for row in rows for name in (row["address"], f"{row['chain']}:{row['address']}", row["symbol"])}
        known.discard(None)
        if token not in known:
            raise InputError(f"--token: {token!r} is unknown; {_near(token, known)}")
    if (run_id := filters.get("run_id")) and not state.read("lists/find_run", simulation_run_id=run_id).num_rows:
        raise InputError(f"--run: run {run_id} is unknown; 'quantbot runs --status all --type all' lists them")


def _near(text: str, known: Collection[str]) -> str:
    by_case = {name.casefold(): name for name in sorted(known)}
    # Lists show the two ends of an address.
    first, _, last = text.casefold().partition("\N{HORIZONTAL ELLIPSIS}")
    begun = [name for folded, name in by_case.items() if folded.startswith(first) and folded.endswith(last)]
    near = begun[:_SHOWN] or [by_case[name] for name in difflib.get_close_matches(text.casefold(), by_case, _SHOWN)]
    if near:
        return f"near are {', '.join(near)}"
    return f"there are {', '.join(sorted(known))}" if 0 < len(known) <= 2 * _SHOWN else "nothing stored is near it"
