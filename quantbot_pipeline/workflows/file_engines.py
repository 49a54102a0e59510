"""Both engines behind one face: some tokens in, events and metrics of each strategy out."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import pyarrow as pa

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.metrics import Metrics
from quantbot_pipeline.errors import InputError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.strategy.model import Strategy

ENGINES = ("fast", "reference")


@dataclass(frozen=True, slots=True)
class TokensResult:
    """What came of one strategy on some tokens.

    Attributes:
        events: Table of `EVENT_SCHEMA`, token by token; None when events were not asked for.
        metrics: Of each token, in the order of the tokens.
    """

    events: pa.Table | None
    metrics: list[tuple[TokenKey, Metrics]]


class FileEngine(Protocol):
    """Simulates strategies on some tokens after the other, and adds them up."""

    def simulate(
        self, candles: Mapping[TokenKey, Candles], calls: Mapping[TokenKey, Sequence[Call]]
    ) -> Iterator[TokensResult]:
        """Yield what comes of each strategy, in their order, on further tokens, all of which have calls."""
        ...

    def overall(self) -> list[Metrics]:
        """Return the metrics of each strategy over all tokens so far."""
        ...


def engine_named(name: str, strategies: Sequence[Strategy], *, threads: int, has_events: bool) -> FileEngine:
    """Return an engine.

    Args:
        name: One of `ENGINES`.
        strategies: What it simulates.
        threads: Over how many threads the fast engine spreads its work, at least 1; changes no result.
        has_events: Whether events are made.

    Raises:
        InputError: the name is unknown, or the number of threads is below 1.
    """
    if threads < 1:
        raise InputError(f"threads: found {threads}; allowed are 1 and more")
    if name == "fast":
        # The compiled engine takes a while to load, which the other one need not wait for.
        from quantbot_pipeline.workflows.fast_file_engine import FastFileEngine

        return FastFileEngine(strategies, threads=threads, has_events=has_events)
    if name == "reference":
        from quantbot_pipeline.workflows.reference_file_engine import ReferenceFileEngine

        return ReferenceFileEngine(strategies, has_events=has_events)
    raise InputError(f"engine: found {name!r}; allowed are {', '.join(ENGINES)}")
