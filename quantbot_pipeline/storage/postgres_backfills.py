"""Backfills: what happens inside one Postgres transaction."""

from collections.abc import Mapping, Sequence
from typing import Any

from quantbot_pipeline.errors import StorageError
from quantbot_pipeline.storage.json_text import storable_text, to_json_text
from quantbot_pipeline.storage.postgres_connection import PostgresTransaction
from quantbot_pipeline.storage.records import BackfilledMonth


def begin_backfill(
    transaction: PostgresTransaction,
    *,
    selection_key: str,
    selection: Mapping[str, Any],
    token_month_count: int,
    dagster_run_id: str | None,
) -> int:
    """Record that a backfill begins; see `StateStore.begin_backfill`."""
    row = transaction.fetch_row(
        "backfills/insert_backfill",
        selection_key=selection_key,
        selection_json=to_json_text(selection),
        token_month_count=token_month_count,
        dagster_run_id=dagster_run_id,
    )
    if row is None:
        raise StorageError("a new row of backfills vanished while it was stored; try again")
    return int(row["backfill_id"])


def resume_backfill(transaction: PostgresTransaction, backfill_id: int, dagster_run_id: str | None) -> None:
    """Record that a backfill goes on; see `StateStore.resume_backfill`."""
    _must_exist(
        transaction.execute("backfills/resume_backfill", backfill_id=backfill_id, dagster_run_id=dagster_run_id),
        backfill_id,
    )


def record_token_months(
    transaction: PostgresTransaction, backfill_id: int, outcomes: Sequence[BackfilledMonth]
) -> None:
    """Record what became of token-months; see `StateStore.record_token_months`."""
    if not outcomes:
        return
    transaction.execute(
        "backfills/upsert_token_months",
        backfill_id=backfill_id,
        chains=[outcome.token.chain for outcome in outcomes],
        token_addresses=[outcome.token.address for outcome in outcomes],
        months=[outcome.month for outcome in outcomes],
        reasons=[None if outcome.reason is None else storable_text(outcome.reason) for outcome in outcomes],
    )


def finish_backfill(transaction: PostgresTransaction, backfill_id: int) -> None:
    """Record that a backfill came to its end; see `StateStore.finish_backfill`."""
    _must_exist(transaction.execute("backfills/finish_backfill", backfill_id=backfill_id), backfill_id)


def _must_exist(touched: int, backfill_id: int) -> None:
    if not touched:
        raise StorageError(f"backfill {backfill_id} is not in backfills; begin_backfill comes first")
