"""A short way to fill both stores with rows that are worked out by hand."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from statistics import mean, median
from typing import Any

import psycopg
import pyarrow as pa

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.clickhouse import AGGREGATE_SCHEMA, EVENT_SCHEMA, ClickHouseStore
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.records import CallerKey, NewAlert, NewCall, NewRun, RunSummary
from quantbot_pipeline.storage.sql_files import Database
from quantbot_pipeline.storage.views import build_views

JANUARY = datetime(2025, 1, 1, tzinfo=UTC)
FEBRUARY = datetime(2025, 2, 1, tzinfo=UTC)


@dataclass(frozen=True)
class Exit:
    """How a trade ends, where it matters to a test.

    Attributes:
        event: Kind of the last sell.
        metadata: What the event says of it.
        day: Day of January 2025 on which it sells, from 5 on; None: five minutes after it bought on the 4th.
    """

    event: str
    metadata: Mapping[str, Any] = field(default_factory=dict)
    day: int | None = None


@dataclass(frozen=True)
class Urls:
    """Databases of one test's own."""

    postgres: str
    clickhouse: str


@dataclass
class Scene:
    """Both stores with their views, and shorthands for what happened.

    Attributes:
        state: Postgres.
        history: ClickHouse.
        urls: Where both are.
    """

    state: PostgresStore
    history: ClickHouseStore
    urls: Urls
    _token_of_call: dict[int, TokenKey] = field(default_factory=dict)
    _count: int = 0

    def call(self, caller: str, token: str, day: int = 2, *, at: datetime | None = None) -> int:
        """Store a call of January 2025, or of `at`, with its alert; return its id."""
        self._count += 1
        key, at = TokenKey("binance", token), at or datetime(2025, 1, day, tzinfo=UTC)
        content_key = hashlib.sha256(str(self._count).encode()).hexdigest()
        alert = NewAlert(
            key, token, CallerKey("test", caller), Side.BUY, SignalType.ENTRY, None, 1.0, None, at, content_key, {}
        )
        self.state.store_alerts([alert], None)
        self.state.derive_calls(
            {},
            lambda rows: [
                NewCall(
                    row.alert_id,
                    row.token_id,
                    row.canonical_caller_id,
                    row.side,
                    row.signal_type,
                    None,
                    row.alert_timestamp,
                    {},
                )
                for row in rows
            ],
        )
        call_id = max(stored.call_id for stored in self.state.load_calls())
        self._token_of_call[call_id] = key
        return call_id

    def run(
        self,
        strategy: str,
        outcomes: dict[int, float | None],
        *,
        run_type: str = "backtest",
        scope: str | None = None,
        window_end: datetime = FEBRUARY,
        is_completed: bool = True,
        error: str | None = None,
        exits: Mapping[int, Exit] | None = None,
        version: str = "1",
    ) -> int:
        """Store a run over calls of one token with the pnl of each (None: skipped) and publish it; return its id.

        A run of the same scope supersedes the one before. Without `is_completed` its events are there, but
        the run is left running, or failed with `error`.
        """
        self._count += 1
        (token,) = {self._token_of_call[call_id] for call_id in outcomes}
        row = self.state.store_strategy(
            name=strategy, version=version, category="test", description="", config={}, config_hash="0" * 64
        )
        scope_text = scope or f"{strategy} {version} {token} {window_end} {run_type}"
        new_run = NewRun(
            run_key=hashlib.sha256(f"run {self._count}".encode()).hexdigest(),
            scope_key=hashlib.sha256(scope_text.encode()).hexdigest(),
            strategy_id=row.strategy_id,
            token_id=self.state.upsert_tokens({token: None})[token],
            caller_id=None,
            run_type=run_type,
            engine_version="1",
            config_hash="0" * 64,
            config={
                "name": strategy,
                "entry": {"type": "immediate"},
                "exits": {"targets": [{"multiple": 2.0, "size": 1.0}], "stop_loss": {"initial": 0.3}},
            },
            data_selection={},
            window_start=JANUARY,
            window_end=window_end,
        )
        (claim,) = self.state.claim_runs([new_run])
        ends = exits or {}
        events = [
            event
            for call_id, pnl in outcomes.items()
            for event in _events(claim.run_id, token, call_id, pnl, ends.get(call_id))
        ]
        summary = _summary(claim.run_id, [pnl for pnl in outcomes.values() if pnl is not None])
        self.history.insert_events(pa.Table.from_pylist(events, EVENT_SCHEMA))
        self.history.insert_aggregates(pa.Table.from_pylist([_aggregate(summary, token)], AGGREGATE_SCHEMA))
        if is_completed:
            self.state.complete_runs([summary])
        elif error:
            self.state.fail_runs({claim.run_id: error})
        self.history.publish(self.state.load_published_runs(), self.state.load_published_calls())
        return claim.run_id

    def rows(self, database: Database, view: str, order: str) -> list[dict[str, Any]]:
        """Build a view anew, with all that it reads, and return its rows, ordered."""
        build_views(
            self.urls.postgres, self.urls.clickhouse, databases=[database], selection=[f"+{view}"]
        ).require_all()
        return self.shown(database, view, order)

    def shown(self, database: Database, view: str, order: str) -> list[dict[str, Any]]:
        """Return the rows of a view as it is shown, ordered."""
        if database == "clickhouse":
            connection = ClickHouseConnection(self.urls.clickhouse)
            try:
                found: list[dict[str, Any]] = connection.fetch_table(
                    f"select * from {view} order by {order}",  # noqa: S608 - names of the test itself
                    name=view,
                ).to_pylist()
            finally:
                connection.close()
            return found
        with psycopg.connect(self.urls.postgres, row_factory=psycopg.rows.dict_row) as connection:
            statement = f"select * from {view} order by {order}"  # noqa: S608 - names of the test itself
            return connection.execute(statement.encode()).fetchall()


def _events(
    run_id: int, token: TokenKey, call_id: int, pnl: float | None, end: Exit | None = None
) -> list[dict[str, Any]]:
    at = int((JANUARY + timedelta(days=3)).timestamp())
    sold_at = at + 300 if end is None or end.day is None else int(datetime(2025, 1, end.day, tzinfo=UTC).timestamp())

    def event(seq: int, kind: str, size: float, remaining: float, pnl_so_far: float) -> dict[str, Any]:
        state = {"average_entry": 1.0, "stop": 0.7}
        metadata: Mapping[str, Any] = {}
        if kind == "entry_skipped":
            metadata = {"reason": "no_candles"}
        elif kind == "entry":
            metadata = {"order": "market"}
        elif end is not None:
            metadata = end.metadata
        return {
            "simulation_run_id": run_id,
            "chain": token.chain,
            "token_address": token.address,
            "call_id": call_id,
            "seq": seq,
            "event_time": sold_at if seq else at,
            "event_type": kind,
            "price": 1.0 + pnl_so_far,
            "size": size,
            "remaining_position": remaining,
            "pnl_so_far": pnl_so_far,
            "indicators_json": "{}",
            "position_state_json": json.dumps(state if kind != "entry_skipped" else {}),
            "metadata_json": json.dumps(metadata),
        }

    if pnl is None:
        return [event(0, "entry_skipped", 0.0, 0.0, 0.0)]
    sold = end.event if end else "target_hit" if pnl > 0 else "stop_loss"
    return [event(0, "entry", 1.0, 1.0, 0.0), event(1, sold, 1.0, 0.0, pnl)]


def _summary(run_id: int, pnls: Sequence[float]) -> RunSummary:
    return RunSummary(
        run_id=run_id,
        events_digest="0" * 64,
        final_pnl=mean(pnls) if pnls else 0.0,
        max_drawdown=0.1 if pnls else None,
        volatility=None,
        sharpe_ratio=1.5 if pnls else None,
        sortino_ratio=None,
        win_rate=sum(pnl > 0 for pnl in pnls) / len(pnls) if pnls else None,
        trade_count=len(pnls),
        avg_trade_return=mean(pnls) if pnls else None,
        median_trade_return=median(pnls) if pnls else None,
        reentry_count=0,
        ladder_entries_used=0,
        ladder_exits_used=0,
        average_holding_minutes=5.0 if pnls else None,
        max_holding_minutes=5.0 if pnls else None,
    )


def _aggregate(summary: RunSummary, token: TokenKey) -> dict[str, Any]:
    names = set(AGGREGATE_SCHEMA.names) - {"simulation_run_id", "chain", "token_address"}
    values = {name: getattr(summary, name) for name in names}
    return {"simulation_run_id": summary.run_id, "chain": token.chain, "token_address": token.address, **values}
