"""Callers and their aliases: finding the one that a person means, and saying who is whom."""

import re
from collections.abc import Sequence
from dataclasses import dataclass
from difflib import get_close_matches

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import CallerKey, CallerRow
from quantbot_pipeline.workflows.derive_calls import Derivation, derive_calls

_NEAR_MATCHES = 5
_SIGNS = re.compile(r"[^\w]+")


@dataclass(frozen=True, slots=True)
class AliasOutcome:
    """What saying who is whom did.

    Attributes:
        caller: The handle that was named.
        canonical: Who it is now, aliases followed; itself when its alias was taken away.
        is_new: Whether this was not so before.
        derivation: What it changed of the calls.
    """

    caller: CallerKey
    canonical: CallerKey
    is_new: bool
    derivation: Derivation


def format_caller(caller: CallerKey) -> str:
    """Return the text form `source/handle` of a caller."""
    return f"{caller.source}/{caller.handle}"


def find_caller(text: str, callers: Sequence[CallerRow], *, near: CallerRow | None = None) -> CallerRow:
    """Return the caller that `source/handle` names.

    Args:
        text: Source and handle with a slash between; both may hold slashes themselves. A handle alone will do where
            one caller has it.
        callers: All callers.
        near: A caller whose source is meant where several have the handle.

    Raises:
        InputError: no caller has that name, or several do; the message lists near matches.
    """
    exact = [row for row in callers if format_caller(row.caller) == text]
    if not exact:
        exact = [row for row in callers if row.caller.handle == text]
        if len(exact) > 1 and near is not None:
            exact = [row for row in exact if row.caller.source == near.caller.source] or exact
    if len(exact) == 1:
        return exact[0]
    if exact:
        names = ", ".join(repr(format_caller(row.caller)) for row in exact[:_NEAR_MATCHES])
        raise InputError(f"caller {text!r} may mean {names}; name the source too")
    found = _near_matches(text, callers)
    hint = f"near it are {', '.join(found)}" if found else "nothing is near it; 'quantbot callers list' lists all"
    raise InputError(f"caller {text!r} is not stored; allowed is SOURCE/HANDLE of one that is: {hint}")


def _near_matches(text: str, callers: Sequence[CallerRow]) -> list[str]:
    names: dict[str, str] = {}
    for row in callers:
        full = format_caller(row.caller)
        shown = f"{row.caller.source}/{row.display_name}" if row.display_name else None
        for name in (full, row.caller.handle, row.display_name, shown):
            if name:
                names.setdefault(name.casefold(), full)
    handle = text.rpartition("/")[2]
    close: list[str] = []
    for wanted in (text, handle):
        close += get_close_matches(wanted.casefold(), names, n=_NEAR_MATCHES, cutoff=0.6)
    # Without signs too: names are full of them.
    plain = " ".join(_SIGNS.sub(" ", handle.casefold()).split())
    close += [name for name in names if handle and (handle.casefold() in name or (plain and plain in name))]
    return [repr(full) for full in list(dict.fromkeys(names[name] for name in close))[:_NEAR_MATCHES]]


def set_alias(alias: str, canonical: str, state: StateStore, history: HistoryStore) -> AliasOutcome:
    """Say that a caller is another one, and derive calls anew.

    Args:
        alias: `source/handle` that is another name.
        canonical: `source/handle`, or a handle of the same source, whose name it is.
        state: Where callers and calls are.
        history: Where candles and the mirror of calls are.

    Raises:
        InputError: a caller is not stored, both are one, or a circle would be closed; nothing was changed.
    """
    callers = state.load_callers()
    named = find_caller(alias, callers)
    target = find_caller(canonical, callers, near=named)
    is_new = state.set_caller_alias(named.caller_id, target.caller_id)
    return _outcome(named, is_new, state, history)


def remove_alias(alias: str, state: StateStore, history: HistoryStore) -> AliasOutcome:
    """Say that a caller is itself again, and derive calls anew.

    Raises:
        InputError: the caller is not stored.
    """
    named = find_caller(alias, state.load_callers())
    was_alias = state.remove_caller_alias(named.caller_id)
    return _outcome(named, was_alias, state, history)


def _outcome(named: CallerRow, is_new: bool, state: StateStore, history: HistoryStore) -> AliasOutcome:  # noqa: FBT001 - a field of what is returned
    derivation = derive_calls(state, history)
    rows = {row.caller_id: row for row in state.load_callers()}
    canonical = rows[rows[named.caller_id].canonical_caller_id]
    return AliasOutcome(named.caller, canonical.caller, is_new, derivation)
