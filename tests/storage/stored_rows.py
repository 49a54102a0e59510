"""Rows that the tests of the stores put in: valid, small, and told apart by a number."""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pyarrow as pa

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.ingest.checked_candles import CANDLE_SCHEMA
from quantbot_pipeline.ingest.quarantine import QuarantinedRow
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.clickhouse import AGGREGATE_SCHEMA, EVENT_SCHEMA
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.records import (
    AlertRow,
    CallerKey,
    ImportRecord,
    NewAlert,
    NewCall,
    NewModel,
    NewRun,
    RunSummary,
)

BONK = TokenKey("solana", "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263")
PEPE = TokenKey("ethereum", "0x6982508145454ce325ddbe47a25d4ec3d2311933")
MARCH = datetime(2025, 3, 1, tzinfo=UTC)
MARCH_SECOND = int(MARCH.timestamp())


def digest(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def alert(number: int, **changes: Any) -> NewAlert:
    """Alert `number` of brook on BONK, `number` minutes into March."""
    plain = NewAlert(
        token=BONK,
        symbol="BONK",
        caller=CallerKey("brook", "brook"),
        side=Side.BUY,
        signal_type=SignalType.ENTRY,
        confidence=0.5,
        alert_price=0.1,
        alert_market_cap=1000.0,
        alert_timestamp=MARCH + timedelta(minutes=number),
        content_key=digest(f"alert {number}"),
        raw_payload={"number": number},
    )
    return replace(plain, **changes)


def import_record(name: str, stored: int, duplicate: int = 0, refused: int = 0, **changes: Any) -> ImportRecord:
    plain = ImportRecord(
        kind="alerts",
        file=f"{name}.csv",
        sha256=digest(name),
        options_key="",
        rows_read=stored + duplicate + refused,
        rows_stored=stored,
        rows_duplicate=duplicate,
        rows_quarantined=refused,
        details={"name": name},
        quarantined=tuple(
            QuarantinedRow(f"{name}.csv", line, "price", "price is empty", f"raw {line}")
            for line in range(1, refused + 1)
        ),
    )
    return replace(plain, **changes)


def store_calls(state: PostgresStore, alerts: Sequence[NewAlert]) -> None:
    """Store alerts and the call of each."""
    state.store_alerts(alerts, None)
    state.derive_calls({}, lambda rows: [call_of(row) for row in rows])


def call_of(row: AlertRow, **changes: Any) -> NewCall:
    """The call of an alert, as the alert says it."""
    plain = NewCall(
        alert_id=row.alert_id,
        token_id=row.token_id,
        caller_id=row.canonical_caller_id,
        side=row.side,
        signal_type=row.signal_type,
        signal_strength=row.confidence,
        signal_timestamp=row.alert_timestamp,
        metadata={},
    )
    return replace(plain, **changes)


def store_strategy(state: PostgresStore, name: str = "basic", version: str = "1", **changes: Any) -> int:
    values: dict[str, Any] = {
        "category": "plain",
        "description": "Sells at a stop.",
        "config": {"exits": {"stop_loss": {"initial": 0.2}}},
        "config_hash": digest("config"),
    }
    return state.store_strategy(name=name, version=version, **{**values, **changes}).strategy_id


def run(strategy_id: int, key: str, scope: str = "scope", **changes: Any) -> NewRun:
    """A backtest of March whose run key and scope key are told apart by a text."""
    plain = NewRun(
        run_key=digest(key),
        scope_key=digest(scope),
        strategy_id=strategy_id,
        token_id=None,
        caller_id=None,
        run_type="backtest",
        engine_version="1",
        config_hash=digest("config"),
        config={"exits": {"stop_loss": {"initial": 0.2}}},
        data_selection={"interval": "5m"},
        window_start=MARCH,
        window_end=datetime(2025, 4, 1, tzinfo=UTC),
    )
    return replace(plain, **changes)


def summary(run_id: int, **changes: Any) -> RunSummary:
    plain = RunSummary(
        run_id=run_id,
        events_digest=digest("events"),
        final_pnl=0.1,
        max_drawdown=0.2,
        volatility=None,
        sharpe_ratio=None,
        sortino_ratio=None,
        win_rate=0.5,
        trade_count=2,
        avg_trade_return=0.1,
        median_trade_return=0.1,
        reentry_count=0,
        ladder_entries_used=0,
        ladder_exits_used=1,
        average_holding_minutes=5.0,
        max_holding_minutes=10.0,
    )
    return replace(plain, **changes)


def model(version: str, **changes: Any) -> NewModel:
    plain = NewModel(
        name="win",
        version=version,
        model_type="logistic_regression",
        input_features=("market_cap", "hour"),
        label_definition={"pnl_above": 0.0},
        storage_uri=f"models/win-{version}.skops",
        sha256=digest(version),
        metrics={"auc": 0.6},
        status="ready",
    )
    return replace(plain, **changes)


def candles(
    token: TokenKey, interval: str, first: int, step: int, closes: Sequence[float], volume: float = 1.0
) -> pa.Table:
    """Flat candles from `first` on, one per `step` seconds, at the prices given."""
    count = len(closes)
    columns: dict[str, Any] = {
        "chain": [token.chain] * count,
        "token_address": [token.address] * count,
        "interval": [interval] * count,
        "timestamp": [first + step * position for position in range(count)],
        **{name: list(closes) for name in ("open", "high", "low", "close")},
        "volume": [volume] * count,
    }
    return pa.table(columns, schema=CANDLE_SCHEMA)


def events(run_id: int, call_id: int, rows: Sequence[Mapping[str, Any]], token: TokenKey = BONK) -> pa.Table:
    """Events of one trade; `rows` say what differs from a plain event."""
    plain: dict[str, Any] = {
        "event_time": MARCH_SECOND,
        "event_type": "entry",
        "price": 1.0,
        "size": 1.0,
        "remaining_position": 1.0,
        "pnl_so_far": 0.0,
        "indicators_json": "{}",
        "position_state_json": "{}",
        "metadata_json": "{}",
    }
    return pa.Table.from_pylist(
        [
            {
                "simulation_run_id": run_id,
                "chain": token.chain,
                "token_address": token.address,
                "call_id": call_id,
                "seq": seq,
                **plain,
                **row,
            }
            for seq, row in enumerate(rows)
        ],
        schema=EVENT_SCHEMA,
    )


def aggregates(run_id: int, token: TokenKey = BONK, **changes: Any) -> pa.Table:
    row: dict[str, Any] = {
        "simulation_run_id": run_id,
        "chain": token.chain,
        "token_address": token.address,
        "final_pnl": 0.1,
        "max_drawdown": 0.2,
        "volatility": None,
        "sharpe_ratio": None,
        "sortino_ratio": None,
        "win_rate": 0.5,
        "trade_count": 2,
        "reentry_count": 0,
        "ladder_entries_used": 0,
        "ladder_exits_used": 1,
    }
    return pa.Table.from_pylist([{**row, **changes}], schema=AGGREGATE_SCHEMA)
