"""Stores in memory that hold one token's calls and candles: what simulation inputs are read from."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.calls import Call, Side, SignalType
from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, Candles
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.records import CallerKey, CallRow, ModelRow
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.simulation_inputs import SimulationInputs, TokenInput
from tests.property.strategy_space import MODELS

TOKEN = TokenKey("binance", "BONK_USDT")
_NAMES = {seconds: name for name, seconds in INTERVAL_SECONDS.items()}


def second(instant: datetime) -> int:
    return int(instant.timestamp())


def at(seconds: float) -> datetime:
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=seconds)


def call_row(
    call_id: int,
    instant: datetime,
    signal_type: SignalType = SignalType.ENTRY,
    *,
    side: Side = Side.BUY,
    caller_id: int = 1,
    token: TokenKey = TOKEN,
) -> CallRow:
    caller = CallerKey("file", f"caller {caller_id}")
    return CallRow(call_id, 1, token, caller_id, caller, side, signal_type, instant, None, None)


def rows_of(calls: Sequence[Call]) -> list[CallRow]:
    return [
        call_row(c.call_id, at(c.signal_timestamp), c.signal_type, side=c.side, caller_id=c.caller_id) for c in calls
    ]


def scores_of(calls: Sequence[Call]) -> dict[int, dict[str, float]]:
    return {call.call_id: dict(call.scores) for call in calls}


def flat_candles(interval_seconds: int, timestamps: Sequence[int], price: float = 1.0) -> Candles:
    """Candles at one price, one per open time."""
    prices = np.full(len(timestamps), price)
    return Candles(interval_seconds, np.array(timestamps, dtype=np.int64), *[prices.copy() for _ in range(5)])


@dataclass
class StoredHistory:
    """Both stores at once, as far as `SimulationInputs.load` asks them.

    Attributes:
        calls: Of one token, in any order.
        candles: Of that token, by interval in seconds.
        scores: What models say of calls, by call and model; all of them learned long before.
        loaded: Candle ranges that were asked for.
    """

    calls: list[CallRow] = field(default_factory=list)
    candles: dict[int, Candles] = field(default_factory=dict)
    scores: dict[int, dict[str, float]] = field(default_factory=dict)
    loaded: list[tuple[int, int]] = field(default_factory=list)

    def load_calls(self, tokens: Collection[TokenKey]) -> list[CallRow]:
        return sorted(
            (c for c in self.calls if c.token in tokens),
            key=lambda c: (c.signal_timestamp, c.call_id),
        )

    def load_models(self) -> list[ModelRow]:
        return [
            ModelRow(number, name, "1", "logistic", (), {}, "", "", {}, "ready", at(0), at(1))
            for number, name in enumerate(MODELS)
        ]

    def load_call_scores(self, model_names: Collection[str], call_ids: Collection[int]) -> pa.Table:
        found = [
            (call_id, name, score)
            for call_id, of_call in self.scores.items()
            for name, score in of_call.items()
            if call_id in call_ids and name in model_names
        ]
        return pa.table(
            {
                "call_id": pa.array([call_id for call_id, *_ in found], pa.int64()),
                "model_name": pa.array([name for _, name, _ in found], pa.string()),
                "model_id": pa.array([MODELS.index(name) for _, name, _ in found], pa.int64()),
                "trained_until": pa.array([at(1)] * len(found), pa.timestamp("us", tz="UTC")),
                "score": pa.array([score for *_, score in found], pa.float64()),
            }
        )

    def load_coverage(self) -> pa.Table:
        rows = []
        for interval, candles in self.candles.items():
            months = candles.timestamp.astype("datetime64[s]").astype("datetime64[M]").astype(str)
            for month in np.unique(months):
                times = candles.timestamp[months == month]
                rows.append(
                    {
                        "chain": TOKEN.chain,
                        "token_address": TOKEN.address,
                        "interval": _NAMES[interval],
                        "month": str(month),
                        "candle_count": len(times),
                        "first_s": int(times[0]),
                        "last_s": int(times[-1]),
                    }
                )
        return pa.Table.from_pylist(rows)

    def load_candles(
        self, windows: Mapping[TokenKey, tuple[int, int]], *, interval: str | None = None
    ) -> dict[TokenKey, Candles]:
        assert interval is not None
        stored = self.candles[INTERVAL_SECONDS[interval]]
        found = {}
        for token, (start, end) in windows.items():
            self.loaded.append((start, end))
            first, stop = np.searchsorted(stored.timestamp, [start, end])
            if first < stop:
                found[token] = stored.slice(int(first), int(stop))
        return found

    def load(self, start: datetime, end: datetime, strategies: Sequence[Strategy]) -> SimulationInputs:
        return SimulationInputs.load(self, self, {TOKEN: (start, end)}, strategies)  # type: ignore[arg-type]

    def cut(self, start: datetime, end: datetime, strategy: Strategy) -> TokenInput | None:
        """Load for one window and one strategy, and cut for it."""
        return self.load(start, end, [strategy]).cut(TOKEN, start, end, strategy)
