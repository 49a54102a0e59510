"""Which token-months are worth simulating after imports: those whose calls or candles are new."""

import json
from collections.abc import Collection
from dataclasses import dataclass

from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.token_months import TokenMonth, next_month


@dataclass(frozen=True, slots=True)
class SeenImports:
    """Which imports were looked at: all up to `after`, and some beyond it.

    Attributes:
        after: Id of an import; this one and all before it were looked at.
        further: Ids beyond it that were looked at too: those between them were not settled.
    """

    after: int = 0
    further: frozenset[int] = frozenset()


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
    return SeenImports(after=state.read("imports/find_newest").to_pylist()[0]["import_id"])


def find_new_token_months(state: StateStore, history: HistoryStore, seen: SeenImports, *, limit: int) -> NewImports:
    """Return the token-months that imports touched which were not looked at yet.

    Candles of a month also decide trades of calls of the month before, whose horizon reaches into it. An import
    that is not settled (not completed, or without calls yet) is looked at later.

    Args:
        state: Where imports and calls are.
        history: Where candles are.
        seen: What was looked at.
        limit: Most imports to look at.
    """
    rows = state.read("imports/load_imports_since", after=seen.after).to_pylist()
    new = [row for row in rows if row["is_settled"] and row["import_id"] not in seen.further][:limit]
    looked_at = seen.further | {row["import_id"] for row in new}
    after = seen.after
    for row in rows:
        if row["import_id"] not in looked_at:
            break
        after = row["import_id"]
    now_seen = SeenImports(after, frozenset(import_id for import_id in looked_at if import_id > after))
    if not new:
        return NewImports(now_seen, frozenset())
    called = _called_token_months(state, None)
    stored = {(row["chain"], row["token_address"]) for row in history.load_coverage().to_pylist()}
    of_candles = {
        TokenMonth.from_parts(*parts)
        for row in new
        if row["kind"] == "candles"
        for parts in json.loads(row["details_json"]).get("token_months", ())
    }
    reached = {key for key in called if key in of_candles or TokenMonth(key.token, next_month(key.month)) in of_candles}
    alert_imports = [row["import_id"] for row in new if row["kind"] == "alerts"]
    if alert_imports:
        reached |= {key for key in _called_token_months(state, alert_imports) if tuple(key.token) in stored}
    return NewImports(now_seen, frozenset(reached))


def _called_token_months(state: StateStore, import_ids: Collection[int] | None) -> set[TokenMonth]:
    rows = state.read("calls/load_token_months", import_ids=None if import_ids is None else list(import_ids))
    return {TokenMonth.from_parts(row["chain"], row["address"], row["month"]) for row in rows.to_pylist()}
