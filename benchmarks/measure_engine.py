"""Measure the fast engine: candle-steps per second by strategy, mode and threads, beside the reference engine.

    python benchmarks/measure_engine.py [--tokens 200] [--candles 10000] [--calls 2000] [--repeats 15]

The data set is seeded: one-minute candles of a walk with fat tails, calls spread evenly over the tokens. A
candle-step is one candle that one trade went through, from its first candle until it was done. The reference
engine runs on a share of the same tokens in the same run; ratios are what survives another machine.
"""

import argparse
import os
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.fast import PreparedMarkets, StrategyRun, iterate_runs, score_many, simulate_many
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.strategy.model import Strategy, parse_strategy

SEED = 20_240_101
MINUTES_HELD = 1_440
REFERENCE_TOKENS = 4
"""Tokens that the reference engine runs on: it takes some hundred times as long."""

SEARCHED = 40
"""Parameter sets of the search."""

COSTS: Mapping[str, Any] = {"fee": 0.003}
HORIZON_SECONDS = 60 * MINUTES_HELD

DOCUMENTS: Mapping[str, Mapping[str, Any]] = {
    "time exit": {"entry": {"type": "immediate"}},
    "stop, target, time": {
        "entry": {"type": "immediate"},
        "exits": {"stop_loss": {"initial": 0.2}, "targets": [{"multiple": 1.5, "size": 1.0}]},
    },
    "full ladder": {
        "entry": {
            "type": "ladder",
            "legs": [
                {"id": "call", "size": 0.5, "offset": 0},
                {"id": "down-5", "size": 0.3, "offset": -0.05},
                {"id": "down-10", "size": 0.2, "offset": -0.1},
            ],
            "max_wait_seconds": 43_200,
        },
        "exits": {
            "targets": [
                {"multiple": 1.1, "size": 0.3},
                {"multiple": 1.25, "size": 0.3},
                {"multiple": 1.6, "size": 0.2},
            ],
            "stop_loss": {"initial": 0.25},
            "break_even": {"after_target": 1},
            "trailing": {"activate_at": 0.2, "distance": 0.15},
        },
        "re_entry": {
            "after": ["stop", "trailing"],
            "retrace": 0.2,
            "size": 0.5,
            "max_count": 2,
            "max_wait_seconds": 43_200,
        },
    },
}


def make_market(tokens: int, candles: int, calls: int) -> tuple[dict[str, Candles], dict[str, list[Call]]]:
    """Return seeded candles and calls by token."""
    numbers = np.random.default_rng(SEED)
    markets: dict[str, Candles] = {}
    asked: dict[str, list[Call]] = {}
    timestamp = 1_700_000_040 + 60 * np.arange(candles, dtype=np.int64)
    for token in range(tokens):
        # Student's t with 3 degrees of freedom: single minutes move by a tenth, as those of small tokens do.
        close = np.exp(np.cumsum(0.0015 * numbers.standard_t(3, candles)))
        open_ = np.concatenate([[1.0], close[:-1]])
        high = np.maximum(open_, close) * np.exp(np.abs(numbers.normal(0, 0.001, candles)))
        low = np.minimum(open_, close) * np.exp(-np.abs(numbers.normal(0, 0.001, candles)))
        volume = numbers.lognormal(8, 1, candles)
        name = f"token-{token}"
        markets[name] = Candles(60, timestamp, open_, high, low, close, volume).validate()
        of_token = calls // tokens + (token < calls % tokens)
        starts = np.sort(numbers.integers(0, max(1, candles - MINUTES_HELD - 1), of_token))
        asked[name] = [Call(10_000 * token + k, 1, int(timestamp[i])) for k, i in enumerate(starts.tolist())]
    return markets, asked


def make_strategy(name: str, **changes: Any) -> Strategy:
    """Return one of the measured strategies."""
    document = {"name": name, "costs": COSTS, "horizon_seconds": HORIZON_SECONDS, **DOCUMENTS[name], **changes}
    return parse_strategy(document)


def quickest(repeats: int, work: Callable[[], Any]) -> float:
    """Return the shortest time of some repetitions, seconds: other work on the machine only ever slows it."""
    times = []
    for _ in range(repeats):
        begin = time.perf_counter()
        work()
        times.append(time.perf_counter() - begin)
    return min(times)


def simulate(prepared: PreparedMarkets, strategy: Strategy, *, threads: int, trace: bool) -> StrategyRun:
    """Return the run of one strategy."""
    return next(iterate_runs(prepared, [strategy], threads=threads, trace=trace))


def measure_strategies(prepared: PreparedMarkets, repeats: int) -> None:
    """Print steps per second of each strategy, with and without events, on one and two threads."""
    print(f"{'strategy':<20} {'steps':>10} {'events':>7} {'mode':<8} {'1 thread':>12} {'2 threads':>12} {'ratio':>6}")
    for name in DOCUMENTS:
        strategy = make_strategy(name)
        run = simulate(prepared, strategy, threads=1, trace=True)
        events = run.events_table().num_rows
        for mode, trace in (("events", True), ("metrics", False)):
            one, two = (
                quickest(repeats, lambda n=threads, t=trace, s=strategy: simulate(prepared, s, threads=n, trace=t))
                for threads in (1, 2)
            )
            rates = f"{run.candle_steps / one:>12.2e} {run.candle_steps / two:>12.2e} {one / two:>6.2f}"
            print(f"{name:<20} {run.candle_steps:>10} {events:>7} {mode:<8} {rates}")


def measure_around(
    markets: Mapping[str, Candles], calls: Mapping[str, list[Call]], prepared: PreparedMarkets, repeats: int
) -> None:
    """Print what is around the kernels: preparing, the event table, metrics, trades, and a search."""
    ladder = make_strategy("full ladder")
    run = simulate(prepared, ladder, threads=1, trace=True)
    few = max(1, repeats // 4)
    print()
    for what, seconds in (
        ("prepare candles and calls", quickest(few, lambda: PreparedMarkets(markets, calls))),
        ("simulate_many, from candles to rows", quickest(few, lambda: simulate_many(markets, calls, [ladder]))),
        ("event table with JSON texts", quickest(few, run.events_table)),
        ("metrics with equity and drawdown", quickest(few, run.metrics)),
        ("trades as objects", quickest(few, run.trades)),
    ):
        print(f"full ladder: {what:<38} {1000 * seconds:>9.1f} ms")
    searched = [
        make_strategy(
            "stop, target, time",
            exits={"stop_loss": {"initial": 0.1 + 0.005 * k}, "targets": [{"multiple": 1.5, "size": 1.0}]},
        )
        for k in range(SEARCHED)
    ]
    steps = sum(run.candle_steps for run in iterate_runs(prepared, searched, trace=False))
    for threads in (1, 2):
        seconds = quickest(2, lambda n=threads: score_many(prepared, searched, threads=n))
        print(f"search of {SEARCHED} sets with all metrics, {threads} threads: {steps / seconds:>18.2e} steps/s")


def measure_reference(markets: Mapping[str, Candles], calls: Mapping[str, list[Call]], repeats: int) -> None:
    """Print how much longer the reference engine takes for the same trades of some tokens, lists of trades out."""
    print()
    keys = list(markets)[:REFERENCE_TOKENS]
    part = PreparedMarkets({key: markets[key] for key in keys}, {key: calls[key] for key in keys})
    for name in DOCUMENTS:
        strategy = make_strategy(name)
        begin = time.perf_counter()
        for key in keys:
            simulate_reference(markets[key], calls[key], strategy)
        slow = time.perf_counter() - begin
        run = simulate(part, strategy, threads=1, trace=True)
        rows = quickest(repeats, lambda s=strategy: simulate(part, s, threads=1, trace=True))
        trades = quickest(repeats, lambda s=strategy: simulate(part, s, threads=1, trace=True).trades())
        rate = f"{run.candle_steps / slow:.2e} steps/s"
        print(
            f"reference, {name:<20} {rate}; fast with event rows x {slow / rows:.0f}, with trades x {slow / trades:.0f}"
        )


_FIRST_CALL = """
import time
from benchmarks.measure_engine import make_market, make_strategy, simulate_many
markets, calls = make_market(2, 2000, 4)
begin = time.perf_counter()
(run,) = simulate_many(markets, calls, [make_strategy("full ladder")])
run.metrics()
print(time.perf_counter() - begin)
"""


def measure_first_call() -> None:
    """Print how long the first simulation of a fresh process takes when numba's cache is warm."""
    root = Path(__file__).resolve().parents[1]
    seconds = [
        # The command is this file's own text.
        float(subprocess.run([sys.executable, "-c", _FIRST_CALL], cwd=root, check=True, capture_output=True).stdout)  # noqa: S603
        for _ in range(3)
    ]
    print(f"\nfirst simulation and metrics of a fresh process, warm cache: {min(seconds):.2f} s")


def main() -> None:
    """Print all tables."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--tokens", type=int, default=200)
    parser.add_argument("--candles", type=int, default=10_000)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--repeats", type=int, default=15)
    options = parser.parse_args()
    markets, calls = make_market(options.tokens, options.candles, options.calls)
    prepared = PreparedMarkets(markets, calls)
    load = ", ".join(f"{value:.1f}" for value in os.getloadavg())
    total = options.tokens * options.candles
    print(f"{total} candles of {options.tokens} tokens, {options.calls} calls; {os.cpu_count()} cores, load {load}")
    highs_and_lows = [(of_token.high, of_token.low) for of_token in markets.values()]
    reading = quickest(5, lambda: statistics.fsum(float(h.sum() + low.sum()) for h, low in highs_and_lows))
    print(f"summing high and low, the memory's limit: {total / reading:.2e} candles/s\n")
    measure_strategies(prepared, options.repeats)
    measure_around(markets, calls, prepared, options.repeats)
    measure_reference(markets, calls, options.repeats)
    measure_first_call()


if __name__ == "__main__":
    main()
