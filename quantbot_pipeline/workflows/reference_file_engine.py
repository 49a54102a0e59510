"""The reference engine for files: slow, and the yardstick of the other one."""

from collections.abc import Iterator, Mapping, Sequence

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import Trade
from quantbot_pipeline.engine.events_table import events_to_arrow
from quantbot_pipeline.engine.metrics import Metrics, run_metrics
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.engine.run_totals import RunTotals
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.file_engines import TokensResult


class ReferenceFileEngine:
    """Simulates token by token; see `FileEngine`."""

    def __init__(self, strategies: Sequence[Strategy], *, has_events: bool) -> None:
        self._strategies = strategies
        self._has_events = has_events
        self._totals = [RunTotals() for _ in strategies]

    def simulate(
        self, candles: Mapping[TokenKey, Candles], calls: Mapping[TokenKey, Sequence[Call]]
    ) -> Iterator[TokensResult]:
        """Yield what comes of each strategy, in their order."""
        for strategy, totals in zip(self._strategies, self._totals, strict=True):
            found: list[Trade] = []
            metrics: list[tuple[TokenKey, Metrics]] = []
            for token in candles:
                trades = simulate_reference(candles[token], calls[token], strategy)
                metrics.append((token, run_metrics(trades)))
                totals.add_trades(trades)
                if self._has_events:
                    found += trades
            yield TokensResult(events_to_arrow(found) if self._has_events else None, metrics)

    def overall(self) -> list[Metrics]:
        """Return the metrics of each strategy over all tokens."""
        return [totals.metrics() for totals in self._totals]
