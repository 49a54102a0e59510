"""The compiled engine for files: strategies share candles, threads share calls."""

from collections.abc import Iterator, Mapping, Sequence

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.fast import iterate_runs
from quantbot_pipeline.engine.metrics import Metrics
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.run_totals import RunTotals
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.file_engines import TokensResult


class FastFileEngine:
    """Simulates all tokens that it is given at once; see `FileEngine`."""

    def __init__(self, strategies: Sequence[Strategy], *, threads: int, has_events: bool) -> None:
        self._strategies = strategies
        self._threads = threads
        self._has_events = has_events
        self._totals = [RunTotals() for _ in strategies]

    def simulate(
        self, candles: Mapping[TokenKey, Candles], calls: Mapping[TokenKey, Sequence[Call]]
    ) -> Iterator[TokensResult]:
        """Yield what comes of each strategy, in their order."""
        markets = PreparedMarkets(candles, calls)
        runs = iterate_runs(markets, self._strategies, threads=self._threads, trace=self._has_events)
        for totals, run in zip(self._totals, runs, strict=True):
            totals.add(run)
            yield TokensResult(
                run.events_table() if self._has_events else None,
                [(token, part.metrics()) for token, (_, part) in zip(candles, run.parts(), strict=True)],
            )

    def overall(self) -> list[Metrics]:
        """Return the metrics of each strategy over all tokens."""
        return [totals.metrics() for totals in self._totals]
