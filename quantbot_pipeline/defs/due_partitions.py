"""Which simulated token-months are behind what they read.

Looked at is what Dagster has recorded last of each partition, and which strategies and engine the current runs are of:
no cursor, so that nothing is passed over when a tick or a run dies, and nothing is asked for again once it is done.
"""

from collections.abc import Collection, Mapping
from dataclasses import dataclass

import dagster as dg

from quantbot_pipeline.defs.partitions import month_key, token_month_key
from quantbot_pipeline.engine.version import ENGINE_VERSION
from quantbot_pipeline.storage.protocols import StateStore
from quantbot_pipeline.workflows.store_strategies import newest_versions
from quantbot_pipeline.workflows.token_months import TokenMonth, month_start, next_month

_RUNS = dg.AssetKey("simulation_runs")


@dataclass(frozen=True, slots=True)
class Recorded:
    """What was recorded last, by partition key; ids grow with time.

    Attributes:
        candles: Id of the last materialisation of candles per token-month.
        calls: The same, of calls per month.
        simulated: The same, of runs per token-month.
        planned: Id of the last event that says that a run of a token-month began.
        outdated: Token-months whose current runs are not all of the stored strategies and of this engine.
    """

    candles: Mapping[str, int]
    calls: Mapping[str, int]
    simulated: Mapping[str, int]
    planned: Mapping[str, int]
    outdated: Collection[TokenMonth]


def load_recorded(instance: dg.DagsterInstance, state: StateStore) -> Recorded:
    """Return what is recorded, in a few queries whatever the number of partitions."""
    log = instance.event_log_storage
    stored, planned = dg.DagsterEventType.ASSET_MATERIALIZATION, dg.DagsterEventType.ASSET_MATERIALIZATION_PLANNED
    return Recorded(
        candles=log.get_latest_storage_id_by_partition(dg.AssetKey("ohlcv_candles"), stored),
        calls=log.get_latest_storage_id_by_partition(dg.AssetKey("calls"), stored),
        simulated=log.get_latest_storage_id_by_partition(_RUNS, stored),
        planned=log.get_latest_storage_id_by_partition(_RUNS, planned),
        outdated=find_outdated(state),
    )


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


def find_due(called: Collection[TokenMonth], recorded: Recorded) -> dict[TokenMonth, str]:
    """Return the token-months to simulate, each with why.

    Args:
        called: Token-months with calls.
        recorded: What was recorded.
    """
    due = {}
    for key in sorted(called):
        reason = _reason(key, recorded)
        if reason:
            due[key] = reason
    return due


def _reason(key: TokenMonth, recorded: Recorded) -> str | None:
    months = (_previous_month(key.month), key.month, next_month(key.month))
    candles = [recorded.candles.get(str(token_month_key(TokenMonth(key.token, month))), 0) for month in months]
    if not any(candles[1:]):
        # Trades begin in the month, or in the next where the call is made at its very end.
        return None
    own = str(token_month_key(key))
    simulated = recorded.simulated.get(own)
    if simulated is None:
        return "never simulated"
    # What came after a run began was not seen by it, though it ended later.
    planned = recorded.planned.get(own, simulated)
    seen = planned if planned < simulated else simulated
    if max(candles) > seen:
        return "new candles"
    if recorded.calls.get(month_key(key.month), 0) > seen:
        return "new calls"
    if key in recorded.outdated:
        return "other strategies or engine"
    return None


def _previous_month(month: str) -> str:
    start = month_start(month)
    return f"{start.year - (start.month == 1):04d}-{(start.month - 2) % 12 + 1:02d}"
