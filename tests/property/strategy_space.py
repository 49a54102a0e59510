"""Random strategies over the whole config space, random candles and random calls, for property tests.

Everything is drawn from one seeded `random.Random`, evenly over what a user may write (optional keys are
sometimes left out): hypothesis draws the seed (`seeds()`), and a loop over seeds gives the same cases quicker.
Candles are of the wild kind: jumps, gaps in time, candles without volume, and in half of the markets prices
on a coarse grid, so that limits and stops are touched exactly.
"""

from random import Random
from typing import Any

import numpy as np
from hypothesis import strategies as st

from quantbot_pipeline.engine.calls import Call, Side, SignalType
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.strategy.model import Strategy, parse_strategy

INTERVAL_SECONDS = 60
MAX_CANDLES = 80

# Binary fractions make equal prices likely; the others exercise rounding.
FRACTIONS = [0.0625, 0.125, 0.25, 0.5, 0.1, 0.2, 0.3]
WAITS = [0, 60, 120, 180, 300, 600, 1800]

Document = dict[str, Any]


def seeds() -> st.SearchStrategy[Random]:
    """Draw a seeded source of randomness; its seed is shown when an example fails."""
    return st.integers(0, 2**48).map(Random)


def _maybe(random: Random, document: Document, key: str, value: Any, chance: float = 0.5) -> None:
    if random.random() < chance:
        document[key] = value


def _indicator(random: Random, dimension: str) -> Document:
    """Return an indicator whose values are prices, differences of prices, or pure numbers."""
    one = {"params": {"period": random.randint(1, 6)}}
    fast = random.randint(1, 5)
    macd = {"fast": fast, "slow": fast + random.randint(1, 5), "signal": random.randint(1, 4)}
    bbands = {"period": random.randint(1, 6), "deviations": random.choice([1, 2.0, 1.5])}
    changes = {"params": {"periods": random.randint(1, 4)}}
    ichimoku: Document = {
        "indicator": "ichimoku",
        "field": random.choice(["tenkan", "kijun", "senkou_a", "senkou_b"]),
    }
    small = {"conversion": 2, "base": 3, "span": random.randint(1, 6), "displacement": random.randint(0, 3)}
    _maybe(random, ichimoku, "params", small, 0.8)
    choices = {
        "price": [
            *({"indicator": name, **one} for name in ("sma", "ema", "vwma", "highest", "lowest")),
            {"indicator": "bbands", "params": bbands, "field": random.choice(["upper", "middle", "lower"])},
            ichimoku,
        ],
        "difference": [
            {"indicator": "atr", **one},
            {"indicator": "macd", "params": macd, "field": random.choice(["line", "signal", "histogram"])},
        ],
        "pure": [
            {"indicator": "rsi", **one},
            {"indicator": "bbands", "params": bbands, "field": random.choice(["percent_b", "bandwidth"])},
            {"indicator": "price_change", **changes},
            {"indicator": "volume_change", **changes},
        ],
    }
    operand = dict(random.choice(choices[dimension]))
    _maybe(random, operand, "shift", random.randint(0, 3), 0.3)
    return operand


def _operand(random: Random, dimension: str) -> Document:
    if dimension == "volume" or (dimension == "price" and random.random() < 0.5):
        fields = ["volume"] if dimension == "volume" else ["open", "high", "low", "close"]
        operand: Document = {"candle": random.choice(fields)}
        _maybe(random, operand, "shift", random.randint(0, 3), 0.3)
        return operand
    return _indicator(random, dimension)


def _condition(random: Random, *, scale_free: bool) -> Document:
    dimension = random.choice(["price", "price", "difference", "pure", "volume"])
    left = _operand(random, dimension)
    right: Any
    if dimension == "pure":
        indicator = left["indicator"]
        right = random.choice([30, 50.0, 70] if indicator == "rsi" else [0, 0.5, -0.1, 0.05])
    elif not scale_free and random.random() < 0.3:
        right = random.choice([0, 1, 1.0, 0.5, 2])
    else:
        right = _operand(random, dimension)
    ops = [">", ">=", "<", "<=", "==", "!=", "crosses_above", "crosses_below"]
    return {"left": left, "op": random.choice(ops), "right": right}


def random_signal(random: Random, *, depth: int = 2, scale_free: bool = False) -> Document:
    """Return a signal tree, sometimes with persistence."""
    kind = random.choice(["condition", "condition", "all", "any", "not"]) if depth else "condition"
    if kind == "condition":
        node = _condition(random, scale_free=scale_free)
    elif kind == "not":
        node = {"not": random_signal(random, depth=depth - 1, scale_free=scale_free)}
    else:
        node = {
            kind: [random_signal(random, depth=depth - 1, scale_free=scale_free) for _ in range(random.randint(1, 3))]
        }
    if random.random() < 0.25:
        node["lookback"] = random.randint(1, 4)
        node["min_true"] = random.randint(1, node["lookback"])
    return node


def _sizes(random: Random, count: int) -> list[float]:
    """Return sizes that sum to at most 1, often to exactly 1."""
    weights = [random.randint(1, 4) for _ in range(count)]
    total = sum(weights) + random.choice([0, 0, 2])
    return [weight / total for weight in weights]


def _legs(random: Random, *, scale_free: bool) -> list[Document]:
    legs = []
    for k, size in enumerate(_sizes(random, random.randint(1, 4))):
        leg: Document = {"id": f"leg-{k}", "size": size}
        if random.random() < 0.3:
            leg["when"] = random_signal(random, scale_free=scale_free)
        else:
            leg["offset"] = random.choice([0, 0.0, -0.0625, -0.125, -0.25, -0.1, -0.5])
        legs.append(leg)
    return legs


def _entry(random: Random, *, scale_free: bool) -> Document:
    kind = random.choice(["immediate", "dip", "rebound", "signal", "ladder", "ladder"])
    entry: Document = {"type": kind}
    if kind == "immediate":
        return entry
    if kind == "ladder":
        entry["legs"] = _legs(random, scale_free=scale_free)
        _maybe(random, entry, "sequential", random.random() < 0.7)
    else:
        _maybe(random, entry, "on_timeout", random.choice(["skip", "market"]))
    if kind == "dip":
        entry["drop"] = random.choice(FRACTIONS)
    if kind == "rebound":
        entry["rebound"] = random.choice([*FRACTIONS, 1])
    if kind == "signal":
        entry["when"] = random_signal(random, scale_free=scale_free)
    _maybe(random, entry, "max_wait_seconds", random.choice(WAITS))
    return entry


def _exits(random: Random, *, scale_free: bool) -> Document:
    exits: Document = {}
    if random.random() < 0.6:
        multiples = sorted(random.sample([1.05, 1.125, 1.25, 1.5, 2, 3.0], random.randint(1, 4)))
        sizes = _sizes(random, len(multiples))
        exits["targets"] = [
            {"multiple": multiple, "size": size} for multiple, size in zip(multiples, sizes, strict=True)
        ]
    _maybe(random, exits, "stop_loss", {"initial": random.choice(FRACTIONS)}, 0.6)
    if random.random() < 0.5:
        break_even: Document = {}
        if exits.get("targets") and random.random() < 0.5:
            break_even["after_target"] = random.randint(1, len(exits["targets"]))
        else:
            break_even["gain"] = random.choice([0, 0.05, 0.125, 0.25])
        _maybe(random, break_even, "offset", random.choice([0, 0.0625, -0.125, 0.3, -0.9]))
        exits["break_even"] = break_even
    activate_at = random.choice([0, 0.05, 0.125, 0.25, 0.5])
    _maybe(random, exits, "trailing", {"activate_at": activate_at, "distance": random.choice(FRACTIONS)})
    _maybe(random, exits, "when", random_signal(random, scale_free=scale_free), 0.3)
    _maybe(random, exits, "max_hold_seconds", random.choice(WAITS), 0.3)
    _maybe(random, exits, "on_exit_call", random.random() < 0.8)
    _maybe(random, exits, "scale_out_size", random.choice([0.5, 0.25, 1, 0.3]))
    return exits


def _costs(random: Random) -> Document:
    costs: Document = {}
    _maybe(random, costs, "fee", random.choice([0, 0.003, 0.01, 0.25]))
    fixed = {"type": "fixed", "fraction": random.choice([0, 0.001, 0.125])}
    volume_share = {
        "type": "volume_share",
        "base": random.choice([0, 0.001]),
        "impact": random.choice([0.0, 0.1, 1]),
        "cap": random.choice([0.05, 0.3]),
        "capital_quote": random.choice([0.5, 1000]),
    }
    _maybe(random, costs, "slippage", random.choice([fixed, volume_share]), 0.6)
    _maybe(random, costs, "latency_seconds", random.choice([0, 1, 60, 100]))
    return costs


def random_document(random: Random, *, scale_free: bool = False) -> Document:
    """Return a strategy document.

    Args:
        random: Source of all choices.
        scale_free: Whether its signals compare only what scales alike, so that multiplying all prices by a
            power of two changes no decision.
    """
    document: Document = {"name": "random", "entry": _entry(random, scale_free=scale_free)}
    _maybe(random, document, "exits", _exits(random, scale_free=scale_free), 0.9)
    if random.random() < 0.5:
        reasons = ["target", "stop", "trailing", "signal", "time"]
        re_entry: Document = {
            "after": random.sample(reasons, random.randint(1, 5)),
            "retrace": random.choice(FRACTIONS),
            "size": random.choice([0.5, 1, 0.3]),
        }
        _maybe(random, re_entry, "max_count", random.randint(1, 3))
        _maybe(random, re_entry, "max_wait_seconds", random.choice(WAITS))
        document["re_entry"] = re_entry
    _maybe(random, document, "costs", _costs(random), 0.6)
    _maybe(random, document, "horizon_seconds", random.choice([60, 300, 900, 1800, 7200]), 0.6)
    _maybe(random, document, "max_staleness_seconds", random.choice([0, 60, 300, 86400]), 0.3)
    _maybe(random, document, "intrabar", random.choice(["pessimistic", "optimistic"]), 0.7)
    _maybe(random, document, "overlap", random.choice(["independent", "skip", "scale_in"]), 0.8)
    _maybe(random, document, "scale_in_size", random.choice([0.5, 0.25, 1]))
    return document


def random_strategy(random: Random, *, scale_free: bool = False) -> Strategy:
    """Return a parsed strategy."""
    return parse_strategy(random_document(random, scale_free=scale_free))


def random_market(random: Random, *, candles: int | None = None) -> Candles:
    """Return valid candles of a random walk, mostly some dozens.

    Args:
        random: Source of all choices.
        candles: How many; drawn when left out.
    """
    n = candles if candles is not None else random.choice([1, 2, 5, 20, 40, MAX_CANDLES, MAX_CANDLES])
    volatility = random.choice([0.03, 0.1, 0.3])
    on_grid = random.random() < 0.5
    numbers = np.random.default_rng(random.getrandbits(64))
    steps = np.where(numbers.random(n) < 0.7, 1, numbers.choice([1, 2, 3, 8], n))
    timestamp = np.cumsum(steps) * INTERVAL_SECONDS
    close = np.exp(np.cumsum(numbers.normal(0, volatility, n)))
    # A third of the opens jump away from the close before.
    jumps = np.where(numbers.random(n) < 0.3, np.exp(numbers.normal(0, volatility, n)), 1.0)
    open_ = np.concatenate([[1.0], close[:-1]]) * jumps
    above = np.exp(np.abs(numbers.normal(0, volatility, n)) * (numbers.random(n) < 0.7))
    below = np.exp(-np.abs(numbers.normal(0, volatility, n)) * (numbers.random(n) < 0.7))
    high = np.maximum(open_, close) * above
    low = np.minimum(open_, close) * below
    volume = np.where(numbers.random(n) < 0.2, 0.0, numbers.choice([1.0, 10.0, 0.5, 100.0], n))
    prices = [open_, high, low, close]
    if on_grid:
        prices = [np.maximum(np.round(values * 16), 1) / 16 for values in prices]
    return Candles(INTERVAL_SECONDS, timestamp.astype(np.int64), *prices, volume).validate()


def random_calls(random: Random, market: Candles, *, only_entries: bool = False) -> list[Call]:
    """Return calls of two callers around the time of the candles, the first of them an entry."""
    first, last = int(market.timestamp[0]), int(market.timestamp[-1])
    asked = [Call(0, 1, first + random.randint(-60, 300))]
    for k in range(1, random.randint(1, 10)):
        near, anywhere = (first, first + 1200), (first - 120, last + 120)
        asked.append(
            Call(
                k,
                random.choice([1, 1, 1, 2]),
                random.randint(*random.choice([near, anywhere])),
                SignalType.ENTRY if only_entries else random.choice(list(SignalType)),
                Side.BUY if only_entries or random.random() < 0.8 else Side.SELL,
            )
        )
    return asked
