"""No feature of a call changes when anything changes that happened after the call.

Worlds are drawn from fixed seeds and built once; then every feature of the registry is compared by itself, bit by bit,
with what it is when the future is cut off and when it is another. Faults that look ahead by exactly one candle, one
second, one trade or one message are planted to see that the comparison notices them in every feature they touch.
"""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache
from itertools import pairwise

import numpy as np
import pytest

from quantbot_pipeline.engine.candles import Candles, FloatArray
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.learning.call_features import FeatureCall
from quantbot_pipeline.learning.feature_registry import FEATURE_NAMES, FEATURES, FeatureSpec, names_from
from quantbot_pipeline.learning.features import build_features
from quantbot_pipeline.learning.past_trades import PastTrade

FIVE_MINUTES = 300
HOUR = 3600
MIDNIGHT = 1_704_067_200
SECONDS = 12 * 24 * HOUR
TOKENS = (TokenKey("solana", "A"), TokenKey("solana", "B"))
ATTRIBUTE = "attribute:score"
NAMES = (*FEATURE_NAMES, ATTRIBUTE)
WORLDS = 16


@dataclass(frozen=True)
class World:
    """Everything that features are built from."""

    calls: tuple[FeatureCall, ...]
    candles: Mapping[TokenKey, tuple[Candles, ...]]
    trades: tuple[PastTrade, ...]


def make_candles(interval: int, opens: Sequence[int], generator: np.random.Generator) -> Candles:
    count = len(opens)
    close, spread = generator.lognormal(0, 0.5, count), generator.uniform(1, 1.2, (2, count))
    volume = generator.lognormal(0, 3, count) * (generator.random(count) < 0.8)
    timestamp = np.array(opens, dtype=np.int64)
    return Candles(interval, timestamp, close, close * spread[0], close / spread[1], close, volume).validate()


def drawn_opens(interval: int, start: int, stop: int, share: float, generator: np.random.Generator) -> list[int]:
    times = np.arange(-(-start // interval) * interval, stop, interval)
    return times[generator.random(len(times)) < share].tolist()


def drawn_world(seed: int) -> World:
    """Return calls, trades and candles of two tokens, one of which gets a finer interval half way."""
    generator = np.random.default_rng(seed)
    share, end, middle = [0.05, 0.5, 1.0][seed % 3], MIDNIGHT + SECONDS, MIDNIGHT + SECONDS // 2

    hours = generator.integers(SECONDS // HOUR, size=12) * HOUR

    def second() -> int:
        # Close to each other, many on the border of a candle and just beside one.
        border = MIDNIGHT + int(generator.choice(hours)) + int(generator.integers(12)) * FIVE_MINUTES
        return border + int(generator.choice([-1, 0, 0, 1, 137]))

    candles = {
        TOKENS[0]: (make_candles(FIVE_MINUTES, drawn_opens(FIVE_MINUTES, MIDNIGHT, end, share, generator), generator),),
        TOKENS[1]: (
            make_candles(HOUR, drawn_opens(HOUR, MIDNIGHT, end, 0.9, generator), generator),
            make_candles(FIVE_MINUTES, drawn_opens(FIVE_MINUTES, middle, end, share, generator), generator),
        ),
    }
    calls = tuple(
        FeatureCall(
            call_id,
            TOKENS[int(generator.integers(2))],
            int(generator.integers(4)),
            second(),
            float(generator.lognormal()) if generator.random() < 0.8 else None,
            float(generator.lognormal()) if generator.random() < 0.8 else None,
            {"score": float(generator.normal())} if generator.random() < 0.8 else {},
        )
        for call_id in range(60)
    )
    trades = tuple(
        PastTrade(
            call_id,
            int(generator.integers(4)),
            "basic",
            MIDNIGHT,
            second(),
            float(generator.normal()) if generator.random() < 0.9 else None,
        )
        for call_id in range(40)
    )
    return World(calls, candles, trades)


def closed_by(candles: Candles, second: int) -> int:
    return int(np.searchsorted(candles.timestamp + candles.interval_seconds, second, side="right"))


def truncated(world: World, known_at: int) -> World:
    """Return the world as it was known at a time."""
    return World(
        tuple(call for call in world.calls if call.signal_timestamp <= known_at),
        {
            token: tuple(candles.slice(0, closed_by(candles, known_at)) for candles in series)
            for token, series in world.candles.items()
        },
        tuple(trade for trade in world.trades if trade.known_at <= known_at),
    )


def scrambled(world: World, known_at: int, seed: int) -> World:
    """Return a world with the same past and another future."""
    generator = np.random.default_rng(seed)
    past = truncated(world, known_at)
    candles = {
        token: tuple(with_another_future(known, known_at, generator) for known in series)
        for token, series in past.candles.items()
    }
    calls = [
        FeatureCall(1000 + k, TOKENS[k % 2], k % 5, known_at + 1 + int(generator.integers(90_000)), 1.0, 1.0)
        for k in range(12)
    ]
    trades = [
        PastTrade(1000 + k, k % 5, "basic", MIDNIGHT, known_at + 1 + int(generator.integers(90_000)), 99.0)
        for k in range(12)
    ]
    # The future comes first: the order in which rows are given tells nothing about time.
    return replace(past, calls=(*calls, *past.calls), candles=candles, trades=(*trades, *past.trades))


def with_another_future(known: Candles, known_at: int, generator: np.random.Generator) -> Candles:
    interval = known.interval_seconds
    # From the candle on that is open at `known_at`: it closes later, so its values may be anything.
    start = max(known_at - interval + 1, int(known.timestamp[-1]) + interval if len(known) else 0)
    future = make_candles(interval, drawn_opens(interval, start, known_at + 50 * interval, 0.8, generator), generator)
    columns = ("timestamp", "open", "high", "low", "close", "volume")
    joined = (np.concatenate([getattr(known, name), getattr(future, name)]) for name in columns)
    return Candles(interval, *joined).validate()


Columns = dict[str, FloatArray]


def features_at(world: World, known_at: int) -> Columns:
    """Return the features of calls at or before a time, in the order of the calls' ids."""
    table = build_features(world.calls, world.candles, world.trades, attributes=[ATTRIBUTE])
    signal = {call.call_id: call.signal_timestamp for call in world.calls}
    call_id = table["call_id"].to_numpy()
    kept = np.array([row for row in np.argsort(call_id) if signal[int(call_id[row])] <= known_at], dtype=np.int64)
    return {name: table[name].to_numpy()[kept] for name in NAMES}


@dataclass(frozen=True)
class Compared:
    """Features of the same calls in a world and in another with the same past."""

    kind: str
    known_at: int
    here: Columns
    there: Columns

    def differs(self, name: str) -> bool:
        # Bit by bit, NaN included: equality within a tolerance would hide a small leak.
        here, there = (np.where(np.isnan(values), np.nan, values) for values in (self.here[name], self.there[name]))
        return here.tobytes() != there.tobytes()


@cache
def comparisons() -> tuple[Compared, ...]:
    """Return all worlds compared with themselves at several times."""
    found = []
    for seed in range(WORLDS):
        world = drawn_world(seed)
        generator = np.random.default_rng(1000 + seed)
        for call in generator.choice(np.array([call.signal_timestamp for call in world.calls]), 3, replace=False):
            known_at = int(call)
            here = features_at(world, known_at)
            found.append(Compared("cut off", known_at, here, features_at(truncated(world, known_at), known_at)))
            other = scrambled(world, known_at, seed)
            found.append(Compared("another", known_at, here, features_at(other, known_at)))
    return tuple(found)


@pytest.mark.parametrize("kind", ["cut off", "another"])
@pytest.mark.parametrize("name", NAMES)
def test_no_feature_knows_the_future(name: str, kind: str) -> None:
    chosen = [compared for compared in comparisons() if compared.kind == kind]
    assert len(chosen) == 3 * WORLDS
    for compared in chosen:
        assert not compared.differs(name), (name, compared.known_at)


@pytest.mark.parametrize("name", NAMES)
def test_every_feature_takes_part_in_the_comparison(name: str) -> None:
    """A feature that is always unknown, or always the same, would pass unseen."""
    values = np.concatenate([compared.here[name] for compared in comparisons()])
    assert not np.isinf(values).any()
    known = values[np.isfinite(values)]
    assert len(known) > 300
    assert len(np.unique(known)) > 3


@pytest.mark.parametrize("seed", range(3))
def test_features_do_not_depend_on_the_order_of_rows(seed: int) -> None:
    world, generator = drawn_world(seed), np.random.default_rng(seed)
    shuffled = World(
        tuple(world.calls[k] for k in generator.permutation(len(world.calls))),
        {token: series[::-1] for token, series in reversed(world.candles.items())},
        tuple(world.trades[k] for k in generator.permutation(len(world.trades))),
    )
    forever = MIDNIGHT + 10**9
    compared = Compared("order", forever, features_at(world, forever), features_at(shuffled, forever))
    assert [name for name in NAMES if compared.differs(name)] == []


def test_every_column_of_the_features_is_compared() -> None:
    """The tests above go through the registry: a column that is not in it would be proved by nothing."""
    call = FeatureCall(1, TOKENS[0], 1, MIDNIGHT, None, None)
    assert build_features([call], {}, [], attributes=[ATTRIBUTE]).column_names == ["call_id", *NAMES]


# --- planted faults ---

Fault = Callable[[World, int], World]
"""Gives a world in which the call at a time sees what a builder with this fault would see."""


def candles_earlier(seconds: int | None) -> Fault:
    """Let every candle be known so much earlier, or one whole candle."""

    def plant(world: World, known_at: int) -> World:
        def moved(candles: Candles) -> Candles:
            by = candles.interval_seconds if seconds is None else seconds
            return replace(candles, timestamp=candles.timestamp - by)

        return replace(world, candles={token: tuple(map(moved, each)) for token, each in world.candles.items()})

    return plant


def trades_earlier(world: World, known_at: int) -> World:
    """Let every trade be known one second earlier."""
    return replace(world, trades=tuple(replace(trade, known_at=trade.known_at - 1) for trade in world.trades))


def one_trade_more(world: World, known_at: int) -> World:
    """Let every trade of a caller be known when the one before it was."""
    earlier: dict[int, int] = {}
    trades = []
    for trade in sorted(world.trades, key=lambda trade: trade.known_at):
        trades.append(replace(trade, known_at=earlier.get(trade.caller_id, MIDNIGHT)))
        earlier[trade.caller_id] = trade.known_at
    return replace(world, trades=tuple(trades))


def calls_earlier(world: World, known_at: int) -> World:
    """Let calls of the second after count as earlier ones: others move by two seconds."""
    return replace(
        world,
        calls=tuple(
            call if call.signal_timestamp == known_at else replace(call, signal_timestamp=call.signal_timestamp - 2)
            for call in world.calls
        ),
    )


def next_message(world: World, known_at: int) -> World:
    """Take what the token's next message states for what the alert states."""
    ordered = sorted(world.calls, key=lambda call: (call.signal_timestamp, call.call_id))
    following = {}
    for call, later in pairwise(ordered):
        following[call.call_id] = later if later.token == call.token else call
    calls = []
    for call in world.calls:
        said = following.get(call.call_id, call)
        calls.append(
            replace(
                call,
                alert_price=said.alert_price,
                alert_market_cap=said.alert_market_cap,
                attributes=said.attributes,
            )
        )
    return replace(world, calls=tuple(calls))


def next_time(world: World, known_at: int) -> World:
    """Take the time of the next call for the time of the call itself."""
    times = sorted(call.signal_timestamp for call in world.calls)
    moved = []
    for call in world.calls:
        later = [time for time in times if time > call.signal_timestamp]
        moved.append(replace(call, signal_timestamp=later[0] if later else call.signal_timestamp))
    return replace(world, calls=tuple(moved))


ALERT_NAMES = tuple(feature.name for feature in FEATURES if feature.family == "alert")

FAULTS: dict[str, tuple[Fault, tuple[str, ...]]] = {
    "a candle ahead": (candles_earlier(None), names_from("candles")),
    "a candle known a second before its close": (candles_earlier(1), names_from("candles")),
    "a trade ahead": (one_trade_more, names_from("trades")),
    "a trade known a second before": (trades_earlier, names_from("trades")),
    "a call of the next second": (calls_earlier, names_from("calls")),
    "the next message": (next_message, (*ALERT_NAMES, ATTRIBUTE)),
    "the next time": (next_time, names_from("signal time")),
}


def eventful_world(known_at: int, first_open: int) -> World:
    """Return a world in which something of every kind happens in the second after `known_at`.

    The call at `known_at` is the first of its caller and on its token, and has the caller's record and candles.
    """
    generator = np.random.default_rng(7)
    opens = list(range(first_open, known_at + 100 * FIVE_MINUTES, FIVE_MINUTES))
    candles = make_candles(FIVE_MINUTES, opens, generator)
    # The candle that closes in the second after has a high, a low and a volume that stand out.
    ahead = closed_by(candles, known_at)
    candles.high[ahead], candles.low[ahead], candles.volume[ahead] = 1e3, 1e-3, 1e6
    here, after = TOKENS[0], known_at + 1
    calls = (
        FeatureCall(1, here, 1, known_at, 1.0, 2e6, {"score": 1.0}),
        FeatureCall(2, here, 1, after, 3.0, 7e6, {"score": 2.0}),
        FeatureCall(3, here, 2, after, None, None),
        FeatureCall(4, here, 3, after, None, None),
    )
    trades = (
        PastTrade(11, 1, "basic", MIDNIGHT, MIDNIGHT + 1, -0.25),
        PastTrade(12, 1, "basic", MIDNIGHT, after, 0.5),
    )
    return World(calls, {here: (candles,)}, trades)


MIDDLE = MIDNIGHT + SECONDS - 1
EVENTFUL = {
    # One second before a close with twelve days of candles behind it, and before the close of the token's first candle.
    "in the middle": (MIDDLE, MIDNIGHT),
    "at the beginning": (MIDDLE, MIDDLE + 1 - FIVE_MINUTES),
}


def leaking_names(fault: Fault | None) -> set[str]:
    """Return the features in which the comparison notices a fault, or without one."""
    found: set[str] = set()
    for known_at, first_open in EVENTFUL.values():
        world = eventful_world(known_at, first_open)
        other = truncated(world, known_at)
        if fault is not None:
            world, other = fault(world, known_at), fault(other, known_at)
        here, there = features_of(world, 1), features_of(other, 1)
        compared = Compared("planted", known_at, here, there)
        found |= {name for name in NAMES if compared.differs(name)}
    return found


def features_of(world: World, call_id: int) -> Columns:
    table = build_features(world.calls, world.candles, world.trades, attributes=[ATTRIBUTE])
    row = table["call_id"].to_pylist().index(call_id)
    return {name: table[name].to_numpy()[row : row + 1] for name in NAMES}


def test_nothing_is_noticed_where_nothing_is_planted() -> None:
    assert leaking_names(None) == set()


@pytest.mark.parametrize("label", list(FAULTS))
def test_a_look_ahead_by_one_is_noticed_in_every_feature_it_touches(label: str) -> None:
    fault, touched = FAULTS[label]
    assert touched
    assert set(touched) - leaking_names(fault) == set()


def test_every_feature_has_a_fault_that_would_be_noticed() -> None:
    planted = {name for _, touched in FAULTS.values() for name in touched}
    assert planted == set(NAMES)


@pytest.mark.parametrize("feature", FEATURES, ids=lambda feature: feature.name)
def test_sources_say_what_a_feature_reads(feature: FeatureSpec) -> None:
    """A source that the registry does not name must change nothing: else no fault would be planted in it."""
    world = drawn_world(2)
    without = {
        "candles": replace(world, candles={}),
        "trades": replace(world, trades=()),
        "alert": replace(
            world, calls=tuple(replace(call, alert_price=None, alert_market_cap=None) for call in world.calls)
        ),
    }
    whole = cached_columns("whole", world)
    for source, other in without.items():
        compared = Compared(source, 0, whole, cached_columns(source, other))
        assert compared.differs(feature.name) == (source in feature.sources), source


_COLUMNS: dict[str, Columns] = {}


def cached_columns(name: str, world: World) -> Columns:
    if name not in _COLUMNS:
        _COLUMNS[name] = features_at(world, MIDNIGHT + 10**9)
    return _COLUMNS[name]
