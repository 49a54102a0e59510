"""What a backfill is asked for and what became of it, kept in Postgres: so that it can go on where it stopped."""

from collections.abc import Sequence
from dataclasses import dataclass

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.storage.protocols import StateStore
from quantbot_pipeline.storage.records import BackfilledMonth, StrategyRow
from quantbot_pipeline.workflows.backfill import MonthOutcome
from quantbot_pipeline.workflows.backfill_selection import Selection, select_strategies, select_token_months
from quantbot_pipeline.workflows.store_strategies import newest_versions
from quantbot_pipeline.workflows.token_months import TokenMonth, month_of


@dataclass(frozen=True, slots=True)
class SelectedBackfill:
    """What a selection comes to.

    Attributes:
        selection: The selectors.
        keys: The token-months that are to be worked on.
        strategies: The strategies.
        done: Token-months that an earlier attempt was through with.
        backfill_id: That attempt, if this one goes on where it stopped.
    """

    selection: Selection
    keys: tuple[TokenMonth, ...]
    strategies: tuple[StrategyRow, ...]
    done: int = 0
    backfill_id: int | None = None


def select_backfill(selection: Selection, state: StateStore, *, resume: bool = False) -> SelectedBackfill:
    """Return what a selection comes to, of the calls and strategies that are stored.

    Args:
        selection: The selectors.
        state: Where calls and strategies are.
        resume: Leave out what the last backfill of this selection was through with.

    Raises:
        InputError: a selector matches nothing, or there is no backfill to go on with.
    """
    rows = newest_versions(state.load_strategies())
    names = set(select_strategies(selection, [row.name for row in rows]))
    strategies = tuple(row for row in rows if row.name in names)
    known = {TokenMonth(call.token, month_of(call.signal_timestamp)) for call in state.load_calls()}
    keys = select_token_months(selection, known)
    if not resume:
        return SelectedBackfill(selection, tuple(keys), strategies)
    found = state.read("backfills/find_backfill", selection_key=selection.key).to_pylist()
    if not found:
        raise InputError("--resume: no backfill of this selection was begun; run it without --resume")
    backfill_id: int = found[0]["backfill_id"]
    done = {
        TokenMonth.from_parts(row["chain"], row["token_address"], row["month"])
        for row in state.read("backfills/load_token_months", backfill_id=backfill_id).to_pylist()
        if row["status"] == "done"
    }
    left = tuple(key for key in keys if key not in done)
    return SelectedBackfill(selection, left, strategies, len(keys) - len(left), backfill_id)


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
