"""Strategies and simulation runs: what happens inside one Postgres transaction.

Lock order, for every writer of runs: existing rows by id, then new rows by run key. No two writers can then
wait for each other.
"""

from collections.abc import Collection, Mapping, Sequence
from typing import Any

from quantbot_pipeline.errors import InputError, IntegrityError, StorageError
from quantbot_pipeline.storage.json_text import storable_text, to_json_text
from quantbot_pipeline.storage.postgres_connection import PostgresTransaction
from quantbot_pipeline.storage.postgres_entities import require_utc
from quantbot_pipeline.storage.records import NewRun, RunClaim, RunSummary, StrategyRow


def store_strategy(
    transaction: PostgresTransaction,
    *,
    name: str,
    version: str,
    category: str,
    description: str,
    config: Mapping[str, Any],
    config_hash: str,
) -> StrategyRow:
    """Store a strategy version, or return the stored one; see `StateStore.store_strategy`."""
    inserted = transaction.execute(
        "strategies/insert_strategy",
        name=name,
        version=version,
        category=category,
        description=description,
        config_json=to_json_text(config),
        config_hash=config_hash,
    )
    if not inserted:
        transaction.execute(
            "strategies/update_description",
            name=name,
            version=version,
            category=category,
            description=description,
            config_hash=config_hash,
        )
    row = transaction.fetch_row("strategies/load_strategy", name=name, version=version)
    if row is None:
        raise StorageError(f"strategy {name!r} version {version!r} vanished while it was stored; try again")
    if row["config_hash"] != config_hash:
        raise InputError(
            f"strategy {name!r} version {version!r} is stored with another config (stored hash "
            f"{row['config_hash'][:12]}…, given {config_hash[:12]}…); a version never changes its meaning: "
            "give the changed strategy a new version"
        )
    return StrategyRow(**_with_config(row))


def load_strategies(transaction: PostgresTransaction, names: Collection[str] | None) -> list[StrategyRow]:
    """Return active strategies, all or those named, by (name, version)."""
    rows = transaction.fetch_rows("strategies/load_strategies", names=None if names is None else list(names))
    return [StrategyRow(**_with_config(row)) for row in rows]


def claim_runs(transaction: PostgresTransaction, runs: Sequence[NewRun]) -> list[RunClaim]:
    """Insert or take over runs as running, in bulk; see `StateStore.claim_runs`."""
    if not runs:
        return []
    transaction.execute("runs/stage_runs")
    transaction.copy_rows(
        "runs/copy_staged_runs",
        (
            (
                run.run_key,
                run.scope_key,
                run.strategy_id,
                run.token_id,
                run.caller_id,
                run.run_type,
                run.engine_version,
                run.config_hash,
                to_json_text(run.config),
                to_json_text(run.data_selection),
                require_utc(run.window_start, "window_start"),
                require_utc(run.window_end, "window_end"),
            )
            for run in runs
        ),
    )
    transaction.execute("runs/lock_staged_runs")
    transaction.execute("runs/claim_staged_runs")
    claims: dict[str, RunClaim] = {}
    for row in transaction.fetch_rows("runs/load_claims"):
        if not row.pop("scope_matches"):
            raise IntegrityError(
                f"run key {row['run_key'][:12]}… is run {row['run_id']} of another scope (strategy, token or "
                "window): a run key must hash everything that its scope names"
            )
        claims[row["run_key"]] = RunClaim(**row)
    return [claims[run.run_key] for run in runs]


def complete_runs(transaction: PostgresTransaction, summaries: Sequence[RunSummary]) -> None:
    """Write summaries, complete their runs, supersede others; see `StateStore.complete_runs`."""
    if not summaries:
        return
    run_ids = [summary.run_id for summary in summaries]
    if len(set(run_ids)) != len(run_ids):
        raise StorageError("complete_runs was given two summaries of one run; allowed is one per run")
    _lock_scopes(transaction, run_ids)
    transaction.execute("runs/stage_summaries")
    transaction.copy_rows(
        "runs/copy_staged_summaries",
        (
            (
                summary.run_id,
                summary.events_digest,
                summary.final_pnl,
                summary.max_drawdown,
                summary.volatility,
                summary.sharpe_ratio,
                summary.sortino_ratio,
                summary.win_rate,
                summary.trade_count,
                summary.avg_trade_return,
                summary.median_trade_return,
                summary.reentry_count,
                summary.ladder_entries_used,
                summary.ladder_exits_used,
                summary.average_holding_minutes,
                summary.max_holding_minutes,
                to_json_text(summary.metadata),
                summary.data_quality,
                to_json_text(summary.data_quality_details),
                summary.attempt,
            )
            for summary in summaries
        ),
    )
    cleared = transaction.fetch_rows("runs/find_cleared_runs")
    if cleared:
        raise StorageError(
            f"{len(cleared)} runs were taken for dead and what they wrote was removed while they were computed, the "
            f"first is {cleared[0]['id']}; nothing of them was completed, simulate them again"
        )
    transaction.execute("runs/insert_staged_summaries")
    transaction.execute("runs/stage_successors")
    transaction.execute("runs/supersede_current_runs")
    transaction.execute("runs/complete_staged_runs")


def reactivate_runs(transaction: PostgresTransaction, run_ids: Sequence[int]) -> None:
    """Make completed runs current again; see `StateStore.reactivate_runs`."""
    if not run_ids:
        return
    _lock_scopes(transaction, run_ids)
    scopes: dict[str, int] = {}
    for row in transaction.fetch_rows("runs/load_run_states", run_ids=list(run_ids)):
        if row["status"] != "completed":
            raise StorageError(f"run {row['id']} is {row['status']} and can't be made current; only completed runs can")
        other = scopes.setdefault(row["scope_key"], row["id"])
        if other != row["id"]:
            raise StorageError(f"runs {other} and {row['id']} have one scope; only one of them can be current")
    transaction.execute("runs/supersede_by_reactivated", run_ids=list(run_ids))
    transaction.execute("runs/reactivate_runs", run_ids=list(run_ids))


def fail_runs(transaction: PostgresTransaction, failures: Mapping[int, str]) -> None:
    """Set runs failed unless they are complete; see `StateStore.fail_runs`."""
    if not failures:
        return
    run_ids = sorted(failures)
    _lock_scopes(transaction, run_ids)
    transaction.execute(
        "runs/fail_runs",
        run_ids=run_ids,
        error_messages=[storable_text(failures[run_id]) for run_id in run_ids],
    )


def find_same_attempts(transaction: PostgresTransaction, attempts: Mapping[int, int]) -> list[int]:
    """Return runs that are not completed and were not begun again; see `StateStore.find_same_attempts`."""
    rows = transaction.fetch_rows("runs/find_same_attempts", **_attempts(attempts))
    return [row["id"] for row in rows]


def clear_attempts(transaction: PostgresTransaction, attempts: Mapping[int, int]) -> list[int]:
    """Let attempts complete their runs no more; see `StateStore.clear_attempts`."""
    run_ids = [row["id"] for row in transaction.fetch_rows("runs/lock_same_attempts", **_attempts(attempts))]
    if run_ids:
        transaction.execute("runs/clear_attempts", run_ids=run_ids)
    return run_ids


def _attempts(attempts: Mapping[int, int]) -> dict[str, list[int]]:
    run_ids = sorted(attempts)
    return {"run_ids": run_ids, "attempts": [attempts[run_id] for run_id in run_ids]}


def stamp_runs(transaction: PostgresTransaction, stamps: Mapping[int, str]) -> None:
    """Record what completed runs were known to read; see `StateStore.stamp_runs`."""
    if stamps:
        run_ids = sorted(stamps)
        transaction.execute(
            "runs/upsert_inputs_stamps", run_ids=run_ids, inputs_stamps=[stamps[run_id] for run_id in run_ids]
        )


def _lock_scopes(transaction: PostgresTransaction, run_ids: Sequence[int]) -> None:
    found = {row["id"] for row in transaction.fetch_rows("runs/lock_scopes", run_ids=list(run_ids))}
    unknown = sorted(set(run_ids) - found)
    if unknown:
        raise StorageError(
            f"{len(unknown)} runs are not in simulation_runs, the first is {unknown[0]}; "
            "claim_runs comes before complete_runs, reactivate_runs and fail_runs"
        )


def _with_config(row: dict[str, Any]) -> dict[str, Any]:
    return {**{key: value for key, value in row.items() if key != "config_json"}, "config": row["config_json"]}
