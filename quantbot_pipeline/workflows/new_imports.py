"""Which token-months are worth simulating after imports: those whose calls or candles are new."""

import json
from collections.abc import Collection
from dataclasses import dataclass

from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.token_months import TokenMonth, deciding_months


@dataclass(frozen=True, slots=True)
class SeenImports:
    """Which imports were looked at.

    Attributes:
        after: Id of an import; this one and all before it were looked at,
        waiting: but for these, which were not settled, or may be under way in a transaction that nobody sees yet.
    """

    after: int = 0
    waiting: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class NewImports:
    """What was found.

    Attributes:
        seen: What was looked at now, for the next time.
        token_months: Token-months with calls and candles whose calls or candles are new.
    """

    seen: SeenImports
    token_months: frozenset[TokenMonth]


def newest_import(state: StateStore) -> SeenImports:
    """Return what is to be remembered by somebody who begins to look now."""
    return SeenImports(after=_newest_id(state))


def find_new_token_months(state: StateStore, history: HistoryStore, seen: SeenImports, *, limit: int) -> NewImports:
    """Return the token-months that imports touched which were not looked at yet.

    Candles of a month also decide trades of calls of the months beside it. An import that is not settled (not
    completed, or without calls yet) is looked at later.

    Args:
        state: Where imports and calls are.
        history: Where candles are.
        seen: What was looked at.
        limit: Most imports to look at, at least 1.
    """
    # In this order: who had an id up to the newest and still writes is found, and who has ended is read.
    newest = _newest_id(state)
    is_written = state.read("imports/find_writers").num_rows > 0
    rows = state.read("imports/load_imports_since", after=seen.after, waiting=sorted(seen.waiting)).to_pylist()
    # Those that came meanwhile are of the next time: beside them, one with an id of before may not be seen yet.
    rows = [row for row in rows if row["import_id"] <= newest]
    new = [row for row in rows if row["is_settled"]][:limit]
    after = max(seen.after, newest if len(new) < limit else new[-1]["import_id"])
    visible = {row["import_id"] for row in rows}
    waiting = {import_id for import_id in visible if import_id <= after} - {row["import_id"] for row in new}
    if is_written:
        waiting |= (seen.waiting | set(range(seen.after + 1, after + 1))) - visible
    now_seen = SeenImports(after, frozenset(waiting))
    if not new:
        return NewImports(now_seen, frozenset())
    of_candles = {
        TokenMonth.from_parts(*parts)
        for row in new
        if row["kind"] == "candles"
        for parts in json.loads(row["details_json"]).get("token_months", ())
    }
    reached = {key for key in _called_token_months(state, None) if not of_candles.isdisjoint(deciding_months(key))}
    alert_imports = [row["import_id"] for row in new if row["kind"] == "alerts"]
    if alert_imports:
        called = _called_token_months(state, alert_imports)
        stored = history.load_imported({key.token for key in called}).to_pylist()
        with_candles = {(row["chain"], row["token_address"]) for row in stored}
        reached |= {key for key in called if tuple(key.token) in with_candles}
    return NewImports(now_seen, frozenset(reached))


def _newest_id(state: StateStore) -> int:
    return int(state.read("imports/find_newest").to_pylist()[0]["import_id"])


def _called_token_months(state: StateStore, import_ids: Collection[int] | None) -> set[TokenMonth]:
    rows = state.read("calls/load_token_months", import_ids=None if import_ids is None else list(import_ids))
    return {TokenMonth.from_parts(row["chain"], row["address"], row["month"]) for row in rows.to_pylist()}
