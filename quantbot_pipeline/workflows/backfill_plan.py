"""What a backfill has to compute, and why: runs whose stamp of inputs is not that of the current run."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from quantbot_pipeline.engine.version import ENGINE_VERSION
from quantbot_pipeline.storage.protocols import StateStore
from quantbot_pipeline.storage.records import StrategyRow
from quantbot_pipeline.strategy.model import Strategy, config_hash, parse_strategy
from quantbot_pipeline.workflows.run_simulations import hash_of_scope
from quantbot_pipeline.workflows.simulation_inputs import STAMP_HALF, StoredInputs, reading_key
from quantbot_pipeline.workflows.store_strategies import newest_versions
from quantbot_pipeline.workflows.token_months import TokenMonth

RUN_TYPE = "backtest"


class Staleness(StrEnum):
    """Why a run is computed, or that it need not be."""

    UP_TO_DATE = "up to date"
    NEVER_RUN = "never run"
    FAILED = "failed"
    UNFINISHED = "unfinished"
    CHANGED_STRATEGY = "changed strategy"
    NEW_ENGINE = "new engine version"
    NEW_DATA = "new data"
    NEW_SCORES = "new scores"
    INPUTS_UNKNOWN = "inputs unknown"
    FORCED = "forced"


@dataclass(frozen=True, slots=True)
class PlannedStrategy:
    """A strategy of a backfill.

    Attributes:
        row: As it is stored.
        strategy: As it is simulated.
        config_hash: Of its configuration.
        reading: What decides which candles and calls it reads.
    """

    row: StrategyRow
    strategy: Strategy
    config_hash: str
    reading: tuple[object, ...]


@dataclass(frozen=True, slots=True)
class CurrentRun:
    """The complete run that is shown of a scope.

    Attributes:
        run_id: Its id.
        trade_count: Its trades.
        final_pnl: Fraction of the capital per trade.
        settled_at: When it was completed, or was seen to be current still.
    """

    run_id: int
    trade_count: int
    final_pnl: float
    settled_at: datetime


@dataclass(frozen=True, slots=True)
class PlannedRun:
    """A run of a backfill.

    Attributes:
        key: Its token-month.
        strategy: Its strategy.
        stamp: Stamp of all that it can read.
        staleness: Why it is to be computed.
        current: What is shown of its scope.
    """

    key: TokenMonth
    strategy: PlannedStrategy
    stamp: str
    staleness: Staleness
    current: CurrentRun | None


def planned_strategies(rows: Sequence[StrategyRow]) -> list[PlannedStrategy]:
    """Return the newest version of each strategy, ready to be simulated.

    Raises:
        StrategyError: a stored one can't be; the message names it.
    """
    planned = []
    for row in newest_versions(rows):
        strategy = parse_strategy(row.config, source=f"strategy {row.name!r}")
        planned.append(PlannedStrategy(row, strategy, config_hash(strategy), reading_key(strategy)))
    return planned


def plan_runs(
    keys: Sequence[TokenMonth],
    strategies: Sequence[PlannedStrategy],
    stored: StoredInputs,
    state: StateStore,
    *,
    force: bool = False,
) -> list[PlannedRun]:
    """Return the runs of token-months that have calls to simulate, by key and strategy, each with why it is stale.

    Args:
        keys: Token-months.
        strategies: Strategies.
        stored: What is stored of their tokens, with contents.
        state: Where runs are.
        force: All runs are to be computed; those that need not be are forced.
    """
    token_ids = state.upsert_tokens(dict.fromkeys(key.token for key in keys))
    stamps: dict[tuple[TokenMonth, tuple[object, ...]], str | None] = {}
    wanted: list[tuple[TokenMonth, PlannedStrategy, str, str]] = []
    for key in keys:
        for strategy in strategies:
            reading = (key, strategy.reading)
            if reading not in stamps:
                stamps[reading] = stored.stamp(key.token, key.start, key.end, strategy.strategy)
            stamp = stamps[reading]
            if stamp is not None:
                window = (key.start, key.end)
                scope = hash_of_scope(RUN_TYPE, strategy.row.name, token_ids[key.token], [key.token], window)
                wanted.append((key, strategy, stamp, scope))
    known = _scope_states([scope for *_, scope in wanted], state)
    runs = []
    for key, strategy, stamp, scope in wanted:
        rows = known.get(scope, [])
        current = next((row for row in rows if row["status"] == "completed"), None)
        staleness = _staleness(rows, current, strategy, stamp)
        if force and staleness is Staleness.UP_TO_DATE:
            staleness = Staleness.FORCED
        runs.append(
            PlannedRun(
                key,
                strategy,
                stamp,
                staleness,
                CurrentRun(current["run_id"], current["trade_count"], current["final_pnl"], current["settled_at"])
                if current
                else None,
            )
        )
    return runs


def _scope_states(scopes: Sequence[str], state: StateStore) -> dict[str, list[dict[str, Any]]]:
    found: dict[str, list[dict[str, Any]]] = {}
    if scopes:
        for row in state.read("runs/load_scope_states", scope_keys=list(scopes)).to_pylist():
            found.setdefault(row["scope_key"], []).append(row)
    return found


def _staleness(
    rows: Sequence[dict[str, Any]], current: dict[str, Any] | None, strategy: PlannedStrategy, stamp: str
) -> Staleness:
    """Return why a run is to be computed, given the runs of its scope in the order of their claims."""
    if current is not None:
        is_same = current["engine_version"] == ENGINE_VERSION and current["config_hash"] == strategy.config_hash
        if is_same and current["inputs_stamp"] == stamp:
            return Staleness.UP_TO_DATE
    last = rows[-1] if rows else None
    if last is not None and last["status"] != "completed":
        return Staleness.FAILED if last["status"] == "failed" else Staleness.UNFINISHED
    if current is None:
        return Staleness.NEVER_RUN
    if current["engine_version"] != ENGINE_VERSION:
        return Staleness.NEW_ENGINE
    if current["config_hash"] != strategy.config_hash:
        return Staleness.CHANGED_STRATEGY
    if current["inputs_stamp"] is None:
        return Staleness.INPUTS_UNKNOWN
    is_scored = bool(strategy.strategy.score_names())
    if is_scored and current["inputs_stamp"][:STAMP_HALF] == stamp[:STAMP_HALF]:
        return Staleness.NEW_SCORES
    return Staleness.NEW_DATA
