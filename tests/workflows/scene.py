"""Both stores, and small inputs for them: candles of a minute, alerts, strategies."""

from collections.abc import Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import clickhouse_connect
import psycopg
import pyarrow as pa
from psycopg import sql

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.ingest.checked_candles import CANDLE_SCHEMA
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.records import CallerKey, NewAlert, StrategyRow
from quantbot_pipeline.strategy.model import config_hash, parse_strategy
from quantbot_pipeline.workflows.derive_calls import derive_calls
from quantbot_pipeline.workflows.run_simulations import RunRequest
from quantbot_pipeline.workflows.simulation_inputs import SimulationInputs
from quantbot_pipeline.workflows.store_strategies import newest_versions
from quantbot_pipeline.workflows.token_months import TokenMonth

BONK = TokenKey("binance", "BONK_USDT")
PEPE = TokenKey("binance", "PEPE_USDT")
MARCH = datetime.fromisoformat("2025-03-01T00:00:00+00:00")
MINUTE = timedelta(minutes=1)


@dataclass(frozen=True)
class Urls:
    """One database of these tests' own in each server."""

    # Not in the repr, which pytest prints when a test fails: URLs hold passwords.
    postgres: str = field(repr=False)
    clickhouse: str = field(repr=False)


class Killed(BaseException):
    """Ends a workflow as a kill does: no handler of errors sees it."""


class Dying:
    """A store that dies before or after a given call of one of its methods.

    Args:
        store: Whose work it does.
        method: The method that is fatal.
        after: Whether the method does its work first.
        survived: How many of its calls go well before.
    """

    def __init__(self, store: Any, method: str, *, after: bool, survived: int = 0) -> None:
        self._store = store
        self._method = method
        self._after = after
        self._survived = survived

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        return self._fatal(method) if name == self._method else method

    def _fatal(self, method: Callable[..., Any]) -> Callable[..., Any]:
        def die(*values: Any, **named: Any) -> Any:
            self._survived -= 1
            if self._survived >= 0:
                return method(*values, **named)
            if self._after:
                method(*values, **named)
            raise Killed

        return die


def price_at(minute: int) -> float:
    """A price that swings by a fifth around 1 within about an hour."""
    return 1.0 + 0.2 * ((minute * 7) % 60 - 30) / 30


def candle_rows(token: TokenKey, start: datetime, count: int, *, interval: str = "1m", scale: float = 1.0) -> pa.Table:
    """Candles of CANDLE_SCHEMA, one per minute whatever the interval says, at swinging prices."""
    close = [price_at(k) * scale for k in range(count)]
    return pa.table(
        {
            "chain": [token.chain] * count,
            "token_address": [token.address] * count,
            "interval": [interval] * count,
            "timestamp": [int(start.timestamp()) + 60 * k for k in range(count)],
            "open": close,
            "high": [value * 1.05 for value in close],
            "low": [value * 0.95 for value in close],
            "close": close,
            "volume": [10.0 + k for k in range(count)],
        },
        schema=CANDLE_SCHEMA,
    )


def alert(number: int, instant: datetime, *, token: TokenKey = BONK, **changes: Any) -> NewAlert:
    values: dict[str, Any] = {
        "token": token,
        "symbol": None,
        "caller": CallerKey("file", f"caller {number % 2}"),
        "side": Side.BUY,
        "signal_type": SignalType.ENTRY,
        "confidence": None,
        "alert_price": 1.0,
        "alert_market_cap": 1000.0 + number,
        "alert_timestamp": instant,
        "content_key": f"{number:064x}",
        "raw_payload": {"number": number},
    }
    return NewAlert(**{**values, **changes})


def write_csv(path: Path, columns: str, rows: Sequence[str]) -> Path:
    path.write_text("\n".join([columns, *rows]) + "\n", encoding="utf-8")
    return path


def plan_backtests(
    keys: Sequence[TokenMonth],
    strategies: Sequence[StrategyRow],
    state: PostgresStore,
    history: ClickHouseStore,
) -> list[RunRequest]:
    """Return one request per token-month and strategy that has calls to simulate, whether it is stale or not."""
    strategies = newest_versions(strategies)
    parsed = [parse_strategy(row.config, source=f"strategy {row.name!r}") for row in strategies]
    windows: dict[TokenKey, tuple[datetime, datetime]] = {}
    for key in keys:
        start, end = windows.get(key.token, (key.start, key.end))
        windows[key.token] = (min(start, key.start), max(end, key.end))
    token_ids = state.upsert_tokens(dict.fromkeys(windows))
    inputs = SimulationInputs.load(state, history, windows, parsed)
    requests = []
    for key in keys:
        for row, strategy in zip(strategies, parsed, strict=True):
            cut = inputs.cut(key.token, key.start, key.end, strategy)
            if cut is not None:
                requests.append(RunRequest(row, strategy, "backtest", (cut,), token_ids[key.token], key.start, key.end))
    return requests


@dataclass(frozen=True)
class Scene:
    """Both stores of a test."""

    state: PostgresStore
    history: ClickHouseStore
    urls: Urls

    def empty(self) -> None:
        """Leave no row but the record of migrations."""
        with psycopg.connect(self.urls.postgres, autocommit=True) as postgres:
            tables = [
                sql.Identifier(name)
                for (name,) in postgres.execute(
                    "select tablename from pg_tables where schemaname = 'public' and tablename <> 'schema_migrations'"
                )
            ]
            postgres.execute(sql.SQL("truncate {} restart identity cascade").format(sql.SQL(", ").join(tables)))
        with closing(clickhouse_connect.get_client(dsn=self.urls.clickhouse)) as clickhouse:
            for (name,) in clickhouse.query(
                "select name from system.tables where database = currentDatabase() "
                "and engine like '%MergeTree' and name <> 'schema_migrations' and total_rows > 0"
            ).result_rows:
                clickhouse.command("truncate table {name:Identifier}", parameters={"name": name})

    def change_state(self, statement: str, *values: Any) -> None:
        """Tamper with Postgres."""
        with psycopg.connect(self.urls.postgres, autocommit=True) as postgres:
            postgres.execute(statement.encode(), values)

    def change_history(self, statement: str) -> None:
        """Tamper with ClickHouse."""
        with closing(clickhouse_connect.get_client(dsn=self.urls.clickhouse)) as clickhouse:
            clickhouse.command(statement)

    def ask_state(self, query: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(self.urls.postgres) as postgres:
            return postgres.execute(query.encode()).fetchall()

    def ask_history(self, query: str) -> list[tuple[Any, ...]]:
        with closing(clickhouse_connect.get_client(dsn=self.urls.clickhouse)) as clickhouse:
            return [tuple(row) for row in clickhouse.query(query).result_rows]

    def call(self, *alerts: NewAlert) -> None:
        """Store alerts and their calls."""
        self.state.store_alerts(alerts, None)
        derive_calls(self.state, self.history)

    def strategy(self, name: str = "plain", version: str = "1", **fields: Any) -> StrategyRow:
        """Store a strategy: buy at once, sell at +10 %, at -10 % or half an hour later, unless said."""
        document = {
            "name": name,
            "version": version,
            "entry": {"type": "immediate"},
            "exits": {"targets": [{"multiple": 1.1, "size": 1.0}], "stop_loss": {"initial": 0.1}},
            "horizon_seconds": 1800,
            **fields,
        }
        strategy = parse_strategy(document)
        return self.state.store_strategy(
            name=name,
            version=version,
            category="",
            description="",
            config=strategy.model_dump(mode="json", by_alias=True),
            config_hash=config_hash(strategy),
        )

    def plan(self, *strategies: StrategyRow, token: TokenKey = BONK, month: str = "2025-03") -> list[RunRequest]:
        return plan_backtests([TokenMonth(token, month)], strategies, self.state, self.history)

    def runs(self) -> list[tuple[Any, ...]]:
        """Return (id, status, superseded_by) of all runs."""
        return self.ask_state("select id, status, superseded_by from simulation_runs order by id")
