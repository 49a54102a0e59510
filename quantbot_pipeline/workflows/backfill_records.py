"""What a backfill is asked for and what became of it, kept in Postgres: so that it can go on where it stopped."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from typing import Any

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.storage.protocols import StateStore
from quantbot_pipeline.storage.records import BackfilledMonth, StrategyRow
from quantbot_pipeline.workflows.backfill import MonthOutcome
from quantbot_pipeline.workflows.backfill_selection import Selection, select_strategies, select_token_months
from quantbot_pipeline.workflows.store_strategies import newest_versions
from quantbot_pipeline.workflows.token_months import TokenMonth


@dataclass(frozen=True, slots=True)
class SelectedBackfill:
    """What a selection comes to.

    Attributes:
        selection: The selectors.
        keys: The token-months that are to be worked on.
        strategies: The strategies.
        done: Token-months that an earlier attempt was through with.
        backfill_id: That attempt, if this one goes on where it stopped.
        begun_at: When that attempt began, UTC.
    """

    selection: Selection
    keys: tuple[TokenMonth, ...]
    strategies: tuple[StrategyRow, ...]
    done: int = 0
    backfill_id: int | None = None
    begun_at: datetime | None = None


def select_backfill(selection: Selection, state: StateStore, *, resume: bool = False) -> SelectedBackfill:
    """Return what a selection comes to, of the calls and strategies that are stored.

    Args:
        selection: The selectors.
        state: Where calls and strategies are.
        resume: Leave out what the last backfill of this selection was through with. What is stored since, and is
            selected, counts as what it never came to.

    Raises:
        InputError: a selector matches nothing, there is no backfill to go on with, or a process is still at it.
    """
    stored = _Stored.load(state)
    if not resume:
        return stored.select(selection)
    found = state.read("backfills/find_backfill", selection_key=selection.key).to_pylist()
    if not found:
        raise InputError("--resume: no backfill of this selection was begun; run it without --resume")
    _refuse_running(selection, found[0], state)
    return stored.go_on(selection, found[0], state)


def select_unfinished(state: StateStore) -> SelectedBackfill:
    """Return what is left of the last backfill that did not come to its end, whatever its selection.

    Where each was finished, nothing is left of the last one. One that another of the same selection followed is no
    more to be gone on with.

    Raises:
        InputError: there is no backfill to go on with, or a process is still at it.
    """
    backfills = state.read("backfills/load_last_backfills").to_pylist()
    if not backfills:
        raise InputError("--resume: no backfill was begun; run it without --resume")
    stored = _Stored.load(state)
    for row in backfills:
        if row["status"] == "completed":
            continue
        selection = Selection.of_json(row["selection_json"])
        _refuse_running(selection, row, state)
        try:
            selected = stored.go_on(selection, row, state)
        except InputError:
            # What it was asked for is not there any more.
            continue
        if selected.keys:
            return selected
    last = backfills[0]
    selection = Selection.of_json(last["selection_json"])
    return SelectedBackfill(selection, (), (), last["token_month_count"], last["backfill_id"], last["started_at"])


def backfill_lock_name(backfill_id: int) -> str:
    """Return the name that a process holds (`StateStore.held_as_sign`) while it works on a backfill."""
    return f"backfill {backfill_id}"


def _refuse_running(selection: Selection, backfill: Mapping[str, Any], state: StateStore) -> None:
    name = backfill_lock_name(backfill["backfill_id"])
    with state.idle_runs({name}) as idle:
        if name in idle:
            return
    raise InputError(
        f"--resume: the backfill of {selection}, begun {backfill['started_at'].astimezone(UTC):%Y-%m-%d %H:%M} UTC, is "
        "still running; wait for its end, or stop it first"
    )


@dataclass(frozen=True, slots=True)
class _Stored:
    """What there is to select from."""

    strategies: Sequence[StrategyRow]
    keys: set[TokenMonth]

    @classmethod
    def load(cls, state: StateStore) -> "_Stored":
        strategies = newest_versions(state.load_strategies())
        rows = state.read("calls/load_token_months", import_ids=None).to_pylist()
        return cls(strategies, {TokenMonth.from_parts(row["chain"], row["address"], row["month"]) for row in rows})

    def select(self, selection: Selection) -> SelectedBackfill:
        names = set(select_strategies(selection, [row.name for row in self.strategies]))
        strategies = tuple(row for row in self.strategies if row.name in names)
        return SelectedBackfill(selection, tuple(select_token_months(selection, self.keys)), strategies)

    def go_on(self, selection: Selection, backfill: Mapping[str, Any], state: StateStore) -> SelectedBackfill:
        done = {
            TokenMonth.from_parts(row["chain"], row["token_address"], row["month"])
            for row in state.read("backfills/load_token_months", backfill_id=backfill["backfill_id"]).to_pylist()
            if row["status"] == "done"
        }
        selected = self.select(selection)
        left = tuple(key for key in selected.keys if key not in done)
        return replace(
            selected,
            keys=left,
            done=len(selected.keys) - len(left),
            backfill_id=backfill["backfill_id"],
            begun_at=backfill["started_at"],
        )


def begin_backfill(selected: SelectedBackfill, state: StateStore, *, dagster_run_id: str | None = None) -> int:
    """Record that a backfill begins, or goes on, and return its id."""
    if selected.backfill_id is not None:
        state.resume_backfill(selected.backfill_id, dagster_run_id=dagster_run_id)
        return selected.backfill_id
    return state.begin_backfill(
        selection_key=selected.selection.key,
        selection=selected.selection.document,
        token_month_count=len(selected.keys),
        dagster_run_id=dagster_run_id,
    )


def record_months(backfill_id: int, outcomes: Sequence[MonthOutcome], state: StateStore) -> None:
    """Record what became of token-months."""
    state.record_token_months(
        backfill_id, [BackfilledMonth(outcome.key.token, outcome.key.month, outcome.reason) for outcome in outcomes]
    )
