"""Random strategies over the whole config space, random candles and random calls, for property tests.

Everything is drawn from one seeded `random.Random`, evenly over what a user may write (optional keys are
sometimes left out): hypothesis draws the seed (`seeds()`), and a loop over seeds gives the same cases quicker.
Candles are of the wild kind: jumps, gaps in time, candles without volume, and in half of the markets prices
on a coarse grid, so that limits and stops are touched exactly. `random_market` stays near a price of 1 in the first
hours of 1970; `any_market` adds what real tokens do beside that.

What all this exercises is counted in `test_strategy_space.py`.
"""

from collections.abc import Callable
from dataclasses import dataclass, replace
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
MODELS = ["skill", "luck"]
SCORES = [0.25, 0.5, 0.75]
WAITS = [0, 60, 120, 180, 300, 600, 1800, 59, 90, 86_400]
DAY = 86_400

Document = dict[str, Any]


def seeds() -> st.SearchStrategy[Random]:
    """Draw a seeded source of randomness; its seed is shown when an example fails."""
    return st.integers(0, 2**48).map(Random)


def _maybe(random: Random, document: Document, key: str, value: Any, chance: float = 0.5) -> None:
    if random.random() < chance:
        document[key] = value


def _period(random: Random) -> int:
    """Return a period: mostly one that short markets outlast."""
    return random.randint(1, 6) if random.random() < 0.9 else random.randint(7, 40)


def _indicator(random: Random, dimension: str) -> Document:
    """Return an indicator whose values are prices, differences of prices, or pure numbers."""
    one = {"params": {"period": _period(random)}}
    fast = random.randint(1, 5)
    macd = {"fast": fast, "slow": fast + random.randint(1, 5), "signal": random.randint(1, 4)}
    bbands = {"period": _period(random), "deviations": random.choice([1, 2.0, 1.5])}
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


def indicator_operand(random: Random, name: str, field: str | None) -> Document:
    """Return a random operand of one indicator and field."""
    while True:
        operand = _indicator(random, random.choice(["price", "difference", "pure"]))
        if operand["indicator"] == name and operand.get("field") == field:
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


def _score_condition(random: Random) -> Document:
    ops = [">", ">=", "<", "<=", "==", "!="]
    return {"score": random.choice(MODELS), "op": random.choice(ops), "right": random.choice([*SCORES, 0, 1])}


def random_signal(random: Random, *, depth: int | None = None, scale_free: bool = False) -> Document:
    """Return a signal tree, sometimes with persistence; `depth` groups deep at most, drawn when left out."""
    depth = random.choice([0, 1, 2, 2, 3]) if depth is None else depth
    kind = random.choice(["condition", "condition", "all", "any", "not"]) if depth else "condition"
    return signal_of_kind(random, kind, depth=depth, scale_free=scale_free)


def signal_of_kind(random: Random, kind: str, *, depth: int = 2, scale_free: bool = False) -> Document:
    """Return a signal tree whose root is a `condition` or an `all`, `any` or `not` group."""
    if kind == "condition":
        node = _score_condition(random) if random.random() < 0.12 else _condition(random, scale_free=scale_free)
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
            leg["offset"] = random.choice([0, 0.0, -0.03, -0.0625, -0.125, -0.25, -0.1, -0.5])
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
        multiples = sorted(random.sample([1.0001, 1.05, 1.125, 1.25, 1.5, 2, 3.0, 50], random.randint(1, 4)))
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
            break_even["gain"] = random.choice([0, 0.05, 0.125, 0.25, 1])
        _maybe(random, break_even, "offset", random.choice([0, 0.0625, -0.125, 0.3, -0.9]))
        exits["break_even"] = break_even
    activate_at = random.choice([0, 0.05, 0.125, 0.25, 0.5, 2])
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
        "capital_quote": random.choice([0.5, 1000, 1e-6]),
    }
    _maybe(random, costs, "slippage", random.choice([fixed, volume_share]), 0.6)
    _maybe(random, costs, "latency_seconds", random.choice([0, 1, 60, 100, 3600]), 0.4)
    return costs


def random_document(random: Random, *, scale_free: bool = False) -> Document:
    """Return a strategy document.

    Args:
        random: Source of all choices.
        scale_free: Whether its signals compare only what scales alike, so that multiplying all prices by a
            power of two changes no decision.
    """
    document: Document = {"name": "random", "entry": _entry(random, scale_free=scale_free)}
    _maybe(random, document, "exits", _exits(random, scale_free=scale_free), 0.95)
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
    _maybe(random, document, "horizon_seconds", random.choice([1, 60, 300, 900, 1800, 7200, 3 * DAY]), 0.6)
    _maybe(random, document, "max_staleness_seconds", random.choice([0, 60, 300, 86400]), 0.3)
    _maybe(random, document, "intrabar", random.choice(["pessimistic", "optimistic", "optimistic"]), 0.7)
    _maybe(random, document, "overlap", random.choice(["independent", "skip", "scale_in"]), 0.8)
    _maybe(random, document, "scale_in_size", random.choice([0.5, 0.25, 1]))
    for key, value in (("version", "2"), ("category", "drawn"), ("description", "one of many")):
        _maybe(random, document, key, value, 0.05)
    return _busy(random, document) if random.random() < 0.25 else document


def _busy(random: Random, document: Document) -> Document:
    """Return the document with orders that rest long, close together: what is rare elsewhere happens here."""
    exits = {**document.get("exits", {}), "on_exit_call": True}
    exits.pop("max_hold_seconds", None)
    if not exits.get("targets"):
        exits["targets"] = [
            {"multiple": 1 + (k + 1) * random.choice([0.02, 0.125]), "size": size}
            for k, size in enumerate(_sizes(random, 1))
        ]
    legs = [
        {"id": f"leg-{k}", "size": size, "offset": random.choice([0, -0.03, -0.0625, -0.125, -0.25])}
        for k, size in enumerate(_sizes(random, random.randint(2, 4)))
    ]
    ladder = {"type": "ladder", "legs": legs, "sequential": random.random() < 0.3, "max_wait_seconds": DAY}
    busy = {**document, "exits": exits, "horizon_seconds": 30 * DAY}
    if document["entry"]["type"] == "ladder" or random.random() < 0.3:
        busy["entry"] = ladder
    if "re_entry" in busy:
        busy["re_entry"] = {**busy["re_entry"], "max_count": 4, "max_wait_seconds": DAY}
    return busy


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


def calm_market(random: Random) -> Candles:
    """Return some hundred candles of small moves: the fast engine skips them 32 at a time."""
    wild = random_market(random, candles=random.randint(100, 400))
    power = random.choice([0.02, 0.1])
    prices = (values**power for values in (wild.open, wild.high, wild.low, wild.close))
    return Candles(wild.interval_seconds, wild.timestamp, *prices, wild.volume).validate()


def times_prices(market: Candles, factor: float, *, volume_factor: float = 1.0) -> Candles:
    """Return the market with all prices, and perhaps its volumes, multiplied."""
    prices = (values * factor for values in (market.open, market.high, market.low, market.close))
    return Candles(market.interval_seconds, market.timestamp, *prices, market.volume * volume_factor)


def _with_flat_stretch(random: Random, market: Candles) -> Candles:
    """Let the price stand still for some candles, traded or not."""
    begin = random.randrange(len(market))
    span = slice(begin, begin + random.choice([2, 5, 20, len(market)]))
    columns = [values.copy() for values in (market.open, market.high, market.low, market.close, market.volume)]
    for values in columns[:4]:
        values[span] = market.open[begin]
    columns[4][span] *= random.choice([0, 1])
    return Candles(market.interval_seconds, market.timestamp, *columns)


def _with_spikes(random: Random, market: Candles) -> Candles:
    """Let a few candles reach ten to a million times up or down."""
    high, low = market.high.copy(), market.low.copy()
    for _ in range(random.randint(1, 4)):
        i, factor = random.randrange(len(market)), 10.0 ** random.choice([1, 3, 6])
        if random.random() < 0.5:
            high[i] *= factor
        else:
            low[i] /= factor
    return replace(market, high=high, low=low)


def _with_new_level(random: Random, market: Candles) -> Candles:
    """Let the price open, at some candle, at a fraction or a multiple of what it was, and stay there."""
    factors = np.ones(len(market))
    factors[random.randrange(len(market)) :] = 10.0 ** random.choice([-6, -2, -1, 1, 4])
    prices = (values * factors for values in (market.open, market.high, market.low, market.close))
    return Candles(market.interval_seconds, market.timestamp, *prices, market.volume)


def _tiny_or_huge(random: Random, market: Candles) -> Candles:
    """Bring prices to about 1e-12 or 1e9; in half of the markets as much money is traded as before."""
    factor = random.choice([2.0**-40, 1e-12, 2.0**30, 1e9])
    return times_prices(market, factor, volume_factor=random.choice([1.0, 1.0 / factor]))


def _across_days(random: Random, market: Candles) -> Candles:
    """Put midnight among the candles, and sometimes days without any."""
    gaps = np.zeros(len(market), dtype=np.int64)
    for _ in range(random.choice([0, 1, 2])):
        gaps[random.randrange(len(market))] += random.choice([3600, DAY, 9 * DAY])
    begin = 19_813 * DAY - random.choice([600, 1800, 3600])
    return replace(market, timestamp=market.timestamp + begin + np.cumsum(gaps))


def _off_the_grid(random: Random, market: Candles) -> Candles:
    """Let candles open at any second, or last shorter than the time between them."""
    late = np.cumsum([random.choice([0, 0, 0, 1, 30]) for _ in range(len(market))])
    interval = random.choice([1, 15, market.interval_seconds])
    return replace(market, interval_seconds=interval, timestamp=market.timestamp + late)


MARKET_CHANGES: tuple[Callable[[Random, Candles], Candles], ...] = (
    _with_flat_stretch,
    _with_spikes,
    _with_new_level,
    _tiny_or_huge,
    _across_days,
    _off_the_grid,
)


def any_market(random: Random, *, candles: int | None = None) -> Candles:
    """Return valid candles of any kind: those of `random_market`, in two of three markets changed up to three times.

    Args:
        random: Source of all choices.
        candles: How many; drawn when left out.
    """
    market = random_market(random, candles=candles)
    for change in random.sample(MARKET_CHANGES, random.choice([0, 1, 1, 2, 3, 0])):
        market = change(random, market)
    return market.validate()


def random_calls(random: Random, market: Candles, *, only_entries: bool = False) -> list[Call]:
    """Return calls of two callers around the time of the candles, the first of them an entry.

    Their ids, below 100, are in no order; some calls come in one second, at the open of a candle, or far
    outside the candles. Some have scores.
    """
    first, last = int(market.timestamp[0]), int(market.timestamp[-1])
    count = random.randint(1, 10)
    ids = random.sample(range(100), count)
    asked = [Call(ids[0], 1, first + random.randint(-60, 300))]
    for k in range(1, count):
        near, anywhere, far = (first, first + 1200), (first - 120, last + 120), (first - 2 * DAY, last + 2 * DAY)
        time = random.randint(*random.choice([near, near, near, anywhere, anywhere, anywhere, far]))
        if random.random() < 0.2:
            time = random.choice(asked).signal_timestamp
        elif random.random() < 0.2:
            time = int(random.choice(market.timestamp))
        asked.append(
            Call(
                ids[k],
                random.choice([1, 1, 1, 2]),
                time,
                SignalType.ENTRY if only_entries else random.choice(list(SignalType)),
                Side.BUY if only_entries or random.random() < 0.8 else Side.SELL,
            )
        )
    return [replace(call, scores=random_scores(random)) for call in asked]


def random_scores(random: Random) -> dict[str, float]:
    """Return what models say of a call; some know nothing of it."""
    return {name: random.choice(SCORES) for name in MODELS if random.random() < 0.75}


@dataclass(frozen=True, slots=True)
class Case:
    """What one simulation is given."""

    market: Candles
    calls: list[Call]
    document: Document

    @property
    def strategy(self) -> Strategy:
        """The document, parsed."""
        return parse_strategy(self.document)


def random_case(random: Random) -> Case:
    """Return a case of any kind; `test_strategy_space.py` counts what some thousand of them exercise."""
    market = calm_market(random) if random.random() < 0.1 else any_market(random)
    return Case(market, random_calls(random, market), random_document(random))
