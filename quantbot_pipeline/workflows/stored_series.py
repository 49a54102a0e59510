"""Candles of tokens at every stored interval, loaded around calls a batch of tokens at a time."""

from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, Candles
from quantbot_pipeline.ingest.candles.interval_names import NAME_OF_SECONDS
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.protocols import HistoryStore
from quantbot_pipeline.workflows.simulation_inputs import StoredMonth

CANDLES_PER_BATCH = 2_000_000
"""Candles that are in memory at once, of all tokens of a batch: some 100 MB, and as much again while they travel."""

_DAY = 86_400


class Reach(NamedTuple):
    """Which candles of a token are wanted.

    Attributes:
        first_s: Signal time of the first call.
        last_s: No candle that opens at or after it is wanted.
        seconds_before: A candle that closed this long before `first_s` is wanted, if there is one.
        candles_before: So many candles closed by `first_s` are wanted, or all there are.
        with_next: Whether the first candle at or after `last_s` is wanted too; some of those after it may come along.
    """

    first_s: int
    last_s: int
    seconds_before: int
    candles_before: int
    with_next: bool = False


@dataclass(frozen=True, slots=True)
class StoredSeries:
    """What months of candles are stored of some tokens, by token and interval in seconds, oldest first."""

    months: Mapping[TokenKey, Mapping[int, Sequence[StoredMonth]]]

    @classmethod
    def load(cls, history: HistoryStore, tokens: Collection[TokenKey]) -> "StoredSeries":
        """Read which months are stored, with hashes of their contents."""
        found: dict[TokenKey, dict[int, list[StoredMonth]]] = defaultdict(lambda: defaultdict(list))
        for row in history.load_contents(tokens).to_pylist():
            month = StoredMonth(
                row["month"], row["candle_count"], row["first_s"], row["last_s"], row["content"], row["imported"]
            )
            found[TokenKey(row["chain"], row["token_address"])][INTERVAL_SECONDS[row["interval"]]].append(month)
        for of_token in found.values():
            for months in of_token.values():
                months.sort()
        return cls(found)

    def of(self, token: TokenKey) -> Mapping[int, Sequence[StoredMonth]]:
        """Return the months of a token by interval; empty where none is stored."""
        return self.months.get(token, {})

    def batches(
        self, reaches: Mapping[TokenKey, Reach], candles_per_batch: int = CANDLES_PER_BATCH
    ) -> Iterator[list[TokenKey]]:
        """Yield tokens in an order of their own, as many at once as have about so many candles in reach."""
        batch: list[TokenKey] = []
        count = 0
        for token in sorted(reaches, key=lambda token: (reaches[token].first_s, token)):
            wanted = self._count(token, reaches[token])
            if batch and count + wanted > candles_per_batch:
                yield batch
                batch, count = [], 0
            batch.append(token)
            count += wanted
        if batch:
            yield batch

    def load_candles(
        self, history: HistoryStore, reaches: Mapping[TokenKey, Reach]
    ) -> dict[TokenKey, dict[int, Candles]]:
        """Return the candles in reach by token and interval; what has none is absent."""
        loaded: dict[TokenKey, dict[int, Candles]] = defaultdict(dict)
        for interval in sorted({interval for token in reaches for interval in self.of(token)}):
            name = NAME_OF_SECONDS[interval]
            windows, earliest = {}, {}
            for token, reach in reaches.items():
                months = self.of(token).get(interval, ())
                end = _end(months, reach)
                if not months or months[0].first_s >= end:
                    continue
                # By time, with something to spare; only series with gaps are asked for again.
                seconds = max(reach.seconds_before + _DAY, 2 * reach.candles_before * interval)
                earliest[token] = _begin(months, interval, reach)
                windows[token] = (max(reach.first_s - seconds, earliest[token]), end)
            found = history.load_candles(windows, interval=name)
            again = {
                token: (earliest[token], end)
                for token, (begin, end) in windows.items()
                if begin > earliest[token] and not _suffices(found.get(token), interval, reaches[token])
            }
            for token, candles in (found | (history.load_candles(again, interval=name) if again else {})).items():
                loaded[token][interval] = candles
        return loaded

    def _count(self, token: TokenKey, reach: Reach) -> int:
        counted = 0
        for interval, months in self.of(token).items():
            begin = reach.first_s - max(reach.seconds_before + _DAY, 2 * reach.candles_before * interval)
            for month in months:
                overlap = min(month.last_s + interval, reach.last_s) - max(month.first_s, begin)
                span = month.last_s + interval - month.first_s
                counted += int(month.candle_count * max(overlap, 0) / span)
        return counted


def _begin(months: Sequence[StoredMonth], interval: int, reach: Reach) -> int:
    """Return a time from which on all candles in reach are read."""
    begin, count = reach.first_s, 0
    for month in reversed(months):
        if month.first_s >= begin:
            continue
        begin = month.first_s
        # Of a month that the first call lies in, it isn't known how many candles come before.
        count += month.candle_count if month.last_s + interval <= reach.first_s else 0
        if count >= reach.candles_before and begin + interval <= reach.first_s - reach.seconds_before:
            break
    return begin


def _end(months: Sequence[StoredMonth], reach: Reach) -> int:
    """Return a time before which all candles in reach open."""
    for month in months if reach.with_next else ():
        if month.last_s >= reach.last_s:
            return (month.first_s if month.first_s >= reach.last_s else month.last_s) + 1
    return reach.last_s


def _suffices(candles: Candles | None, interval: int, reach: Reach) -> bool:
    if candles is None or not len(candles):
        return False
    closed_at = candles.timestamp + interval
    known = int(np.searchsorted(closed_at, reach.first_s, side="right"))
    return known >= reach.candles_before and int(closed_at[0]) <= reach.first_s - reach.seconds_before
