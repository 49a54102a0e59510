"""Runs in the peers' environment: backtesting.py does the work of `quantbot bench engine`, one repetition per line.

The first argument is the file of `quantbot_pipeline.bench.peers.write_peer_data`. Every line on standard input is
a JSON object of one repetition; the answer is one line with seconds, trades and the sum of pnl. Nothing of the
project is imported here.

One `Backtest` per token with hedging, so that calls may overlap. It trades whole units, so prices are scaled to
about 1 and capital to a billion. A ladder is one linked trade per target, each with the same stop.
"""

import gc
import json
import sys
import time
import warnings
from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any, ClassVar

import backtesting  # type: ignore[import-not-found, unused-ignore]  # installed in the peers' environment alone
import numpy as np
import pandas as pd

CAPITAL = 1e9
CASH = 1e15
"""More than all calls of a token can hold at once, so that no order is refused."""

ROWS_BEFORE = 2
"""backtesting.py acts from the second candle on, and fills one later."""


class CallStrategy(backtesting.Strategy):  # type: ignore[misc, unused-ignore]
    """Buys at the calls of one token; class attributes are set per run."""

    first_of: ClassVar[Mapping[int, list[int]]] = {}
    end_of: ClassVar[Mapping[int, list[int]]] = {}
    opens: ClassVar[Any] = None
    asked: ClassVar[Mapping[str, Any]] = {}

    def init(self) -> None:
        """Do nothing: there are no indicators."""

    def next(self) -> None:
        """Order what fills at the open of the next candle."""
        row = len(self.data) - 1
        asked = self.asked
        if asked["break_even"]:
            self._raise_stops()
        due = self.end_of.get(row + 1)
        if due is not None:
            for trade in self.trades:
                if trade.tag in due:
                    trade.close()
        calls = self.first_of.get(row + 1)
        if calls is None:
            return
        entry = self.opens[row + 1]
        units = CAPITAL / (entry * (1 + asked["fee"]))
        for call in calls:
            for multiple, size in asked["targets"]:
                self.buy(size=round(units * size), sl=entry * (1 - asked["stop"]), tp=entry * multiple, tag=call)

    def _raise_stops(self) -> None:
        """Move the stop of a ladder's other trades to the entry once its first target was hit."""
        seen: dict[int, list[Any]] = {}
        for trade in self.trades:
            seen.setdefault(trade.tag, []).append(trade)
        count = len(self.asked["targets"])
        for trades in seen.values():
            if len(trades) < count:
                for trade in trades:
                    if trade.sl < trade.entry_price:
                        trade.sl = trade.entry_price


class Tokens:
    """Frames and calls by token."""

    def __init__(self, data: Mapping[str, Any]) -> None:
        self.tokens: list[tuple[pd.DataFrame, dict[int, list[int]], dict[int, list[int]]]] = []
        begins = data["token_offsets"]
        for token in range(len(begins) - 1):
            span = slice(int(begins[token]), int(begins[token + 1]))
            columns = {}
            scale = data["open"][span.start]
            last_close = data["close"][span.stop - 1 : span.stop] / scale
            for name in ("open", "high", "low", "close"):
                # What is left after the last candle is sold at its close, here the open of one more.
                parts = [np.ones(ROWS_BEFORE), data[name][span] / scale, last_close]
                columns[name.capitalize()] = np.concatenate(parts)
            # Orders are checked against the last close, which may lie beyond the target or stop of a position that
            # opens after a jump. Nothing fills at a close.
            columns["Close"][:-1] = columns["Open"][1:]
            first_of: dict[int, list[int]] = defaultdict(list)
            end_of: dict[int, list[int]] = defaultdict(list)
            for call in np.flatnonzero(data["call_token"] == token).tolist():
                first_of[int(data["call_first"][call]) - span.start + ROWS_BEFORE].append(call)
                end_of[int(data["call_end"][call]) - span.start + ROWS_BEFORE].append(call)
            self.tokens.append((pd.DataFrame(columns), dict(first_of), dict(end_of)))

    def results(self, asked: Mapping[str, Any]) -> Iterator[Any]:
        """Yield the trades of every token."""
        for frame, first_of, end_of in self.tokens:
            CallStrategy.first_of, CallStrategy.end_of = first_of, end_of
            CallStrategy.opens, CallStrategy.asked = frame["Open"].to_numpy(), asked
            runner = backtesting.Backtest(frame, CallStrategy, cash=CASH, commission=asked["fee"], hedging=True)
            yield runner.run()["_trades"]


def main() -> None:
    """Answer one line per repetition until standard input ends."""
    warnings.simplefilter("ignore")
    backtesting.backtesting._tqdm = lambda rows, **_: rows  # no progress bar: it costs them time
    with np.load(sys.argv[1]) as stored:
        tokens = Tokens(dict(stored))
    answer({"versions": {"backtesting": backtesting.__version__}, "has_rust": False})
    for line in sys.stdin:
        asked = json.loads(line)
        gc.collect()
        begin = time.perf_counter()
        trades = list(tokens.results(asked))
        seconds = time.perf_counter() - begin
        answer(
            {
                "seconds": seconds,
                "trades": sum(int(of_token["Tag"].nunique()) for of_token in trades),
                "total_pnl": sum(float(of_token["PnL"].sum()) for of_token in trades) / CAPITAL,
            }
        )


def answer(document: Mapping[str, Any]) -> None:
    """Write one line."""
    print(json.dumps(document), flush=True)  # noqa: T201 - lines on standard output are how this script answers


if __name__ == "__main__":
    main()
