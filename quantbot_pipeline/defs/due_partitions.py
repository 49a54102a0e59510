"""Which simulated token-months are behind what they read.

Looked at is what Dagster has recorded last of each partition, and which strategies and engine the current runs are of:
no cursor, so that nothing is passed over when a tick or a run dies, and nothing is asked for again once it is done.
"""

from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime

import dagster as dg
from dagster._core.storage.event_log.schema import SqlEventLogStorageTable
from dagster._core.storage.event_log.sql_event_log import SqlEventLogStorage
from sqlalchemy import func, select

from quantbot_pipeline.defs.partitions import month_key, token_month_key
from quantbot_pipeline.engine.version import ENGINE_VERSION
from quantbot_pipeline.errors import ConfigError, InputError
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.backfill import explain_backfill
from quantbot_pipeline.workflows.backfill_plan import Staleness, planned_strategies
from quantbot_pipeline.workflows.store_strategies import newest_versions
from quantbot_pipeline.workflows.token_months import TokenMonth, deciding_months

_RUNS = dg.AssetKey("simulation_runs")
_IDS_PER_STATEMENT = 5_000


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded last, by partition key; ids grow with time.

    Attributes:
        candles: Id of the last materialisation of candles per token-month.
        calls: The same, of calls per month.
        simulated: The same, of runs per token-month.
        began: Id of the first event of the Dagster run that this materialisation of runs is of.
        recorded_at: When that materialisation was recorded, by the clock of who did.
        planned: Id of the last event that says that a Dagster run was going to simulate a token-month.
    """

    candles: Mapping[str, int]
    calls: Mapping[str, int]
    simulated: Mapping[str, int]
    began: Mapping[str, int]
    recorded_at: Mapping[str, datetime] = field(default_factory=dict)
    planned: Mapping[str, int] = field(default_factory=dict)


def load_recorded(instance: dg.DagsterInstance) -> Recorded:
    """Return what is recorded, in a few queries whatever the number of partitions."""
    log = instance.event_log_storage
    stored, planned = dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    simulated = log.get_latest_storage_id_by_partition(_RUNS, stored)
    rows = _rows_of(instance, sorted(simulated.values()))
    first = _first_events(instance, sorted({run_id for run_id, _ in rows.values() if run_id}))
    return Recorded(
        candles=log.get_latest_storage_id_by_partition(dg.AssetKey("ohlcv_candles"), stored),
        calls=log.get_latest_storage_id_by_partition(dg.AssetKey("calls"), stored),
        simulated=simulated,
        # What is reported outside of runs has no beginning but itself.
        began={key: first.get(rows[number][0], number) for key, number in simulated.items() if number in rows},
        recorded_at={key: rows[number][1] for key, number in simulated.items() if number in rows},
        planned=log.get_latest_storage_id_by_partition(_RUNS, planned),
    )


def _rows_of(instance: dg.DagsterInstance, ids: Sequence[int]) -> dict[int, tuple[str, datetime]]:
    """Return run and time of events, by id."""
    table, log = SqlEventLogStorageTable, _sql_log(instance)
    found: dict[int, tuple[str, datetime]] = {}
    for first in range(0, len(ids), _IDS_PER_STATEMENT):
        wanted = table.c.id.in_(ids[first : first + _IDS_PER_STATEMENT])
        with log.index_connection() as connection:
            for row in connection.execute(select(table.c.id, table.c.run_id, table.c.timestamp).where(wanted)):
                # Dagster keeps UTC without saying so.
                found[row[0]] = (row[1] or "", row[2].replace(tzinfo=UTC))
    return found


def _first_events(instance: dg.DagsterInstance, run_ids: Sequence[str]) -> dict[str, int]:
    """Return the id of the first event of runs."""
    table, log = SqlEventLogStorageTable, _sql_log(instance)
    found: dict[str, int] = {}
    for first in range(0, len(run_ids), _IDS_PER_STATEMENT):
        wanted = table.c.run_id.in_(run_ids[first : first + _IDS_PER_STATEMENT])
        statement = select(table.c.run_id, func.min(table.c.id)).where(wanted).group_by(table.c.run_id)
        with log.index_connection() as connection:
            found |= {row[0]: row[1] for row in connection.execute(statement)}
    return found


def _sql_log(instance: dg.DagsterInstance) -> SqlEventLogStorage:
    log = instance.event_log_storage
    if not isinstance(log, SqlEventLogStorage):
        raise ConfigError(
            f"dagster.yaml: the event log is a {type(log).__name__}; allowed is one in a database, as the shipped file "
            "names it"
        )
    return log


def is_told(key: TokenMonth, settled_at: datetime | None, recorded: Recorded) -> bool:
    """Return whether Dagster has recorded a token-month since its runs, and what they read, were as they are.

    Args:
        key: The token-month.
        settled_at: When its runs became what they are; None if it has none.
        recorded: What was recorded.
    """
    own = str(token_month_key(key))
    simulated = recorded.simulated.get(own)
    if simulated is None or own not in recorded.recorded_at:
        return False
    if recorded.planned.get(own, 0) > simulated:
        # It is shown as failed, or as under way.
        return False
    return _news(key, recorded) is None and (settled_at is None or settled_at <= recorded.recorded_at[own])


def find_outdated(state: StateStore) -> set[TokenMonth]:
    """Return the token-months that have current backtests, but not one of each strategy by this engine.

    Token-months without any are told by what was never simulated: some have no call that opens a trade.
    """
    hashes = [row.config_hash for row in newest_versions(state.load_strategies())]
    rows = state.read("runs/count_up_to_date", config_hashes=hashes, engine_versions=[ENGINE_VERSION]).to_pylist()
    return {
        TokenMonth.from_parts(row["chain"], row["address"], row["month"])
        for row in rows
        if row["up_to_date_count"] < len(hashes)
    }


def find_rescored(called: Collection[TokenMonth], state: StateStore, history: HistoryStore) -> set[TokenMonth]:
    """Return the token-months whose current runs read other scores than there are now.

    Scores are no part of what simulations follow in the graph: models learn from simulations, so it would be a circle.
    Where no strategy asks for a score, nothing is looked at.
    """
    strategies = [
        planned.row for planned in planned_strategies(state.load_strategies()) if planned.strategy.score_names()
    ]
    found = set()
    for strategy in strategies:
        # One whose model was never ready is refused by its own runs, which say so; the others go on.
        with suppress(InputError):
            runs = explain_backfill(sorted(called), [strategy], state, history)
            found |= {run.key for run in runs if run.staleness is Staleness.NEW_SCORES}
    return found


def find_due(
    called: Collection[TokenMonth], recorded: Recorded, outdated: Collection[TokenMonth]
) -> dict[TokenMonth, str]:
    """Return the token-months to simulate, each with why.

    Args:
        called: Token-months with calls.
        recorded: What was recorded.
        outdated: Token-months whose current runs are not all of the stored strategies, of this engine, and by the
            scores that there are.
    """
    due = {}
    for key in sorted(called):
        reason = _reason(key, recorded, outdated)
        if reason:
            due[key] = reason
    return due


def _reason(key: TokenMonth, recorded: Recorded, outdated: Collection[TokenMonth]) -> str | None:
    if not any(_candles_around(key, recorded)[1:]):
        # Trades begin in the month, or in the next where the call is made at its very end.
        return None
    if str(token_month_key(key)) not in recorded.simulated:
        return "never simulated"
    return _news(key, recorded) or ("other strategies, engine or scores" if key in outdated else None)


def _news(key: TokenMonth, recorded: Recorded) -> str | None:
    """Return what came of what a simulated token-month reads, after the run began that was recorded last."""
    own = str(token_month_key(key))
    # What came after a run began was not seen by it, though it ended later.
    seen = recorded.began.get(own, recorded.simulated[own])
    if max(_candles_around(key, recorded)) > seen:
        return "new candles"
    if recorded.calls.get(month_key(key.month), 0) > seen:
        return "new calls"
    return None


def _candles_around(key: TokenMonth, recorded: Recorded) -> list[int]:
    return [recorded.candles.get(str(token_month_key(month)), 0) for month in deciding_months(key)]
