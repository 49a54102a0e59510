"""No feature of a call changes when anything changes that happened after the call."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.learning.features import FEATURE_NAMES, FeatureCall, build_features
from quantbot_pipeline.learning.past_trades import PastTrade

HOUR = 3600
MIDNIGHT = 1_704_067_200
HORIZON_HOURS = 240
TOKENS = (TokenKey("solana", "A"), TokenKey("solana", "B"))


@dataclass(frozen=True)
class World:
    """Everything that features are built from."""

    calls: tuple[FeatureCall, ...]
    candles: Mapping[TokenKey, Candles]
    trades: tuple[PastTrade, ...]


def make_candles(hours: Sequence[int], generator: np.random.Generator) -> Candles:
    close, spread = generator.lognormal(0, 2, len(hours)), generator.uniform(1, 2, (2, len(hours)))
    return Candles(
        HOUR,
        MIDNIGHT + np.array(hours, dtype=np.int64) * HOUR,
        close,
        close * spread[0],
        close / spread[1],
        close,
        generator.lognormal(0, 3, len(hours)),
    ).validate()


def seconds() -> st.SearchStrategy[int]:
    """Draw times of which many fall on the border of a candle."""
    whole = st.integers(0, HORIZON_HOURS).map(lambda hour: MIDNIGHT + hour * HOUR)
    return whole | st.integers(MIDNIGHT, MIDNIGHT + HORIZON_HOURS * HOUR)


@st.composite
def worlds(draw: st.DrawFn) -> World:
    generator = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))
    share = draw(st.sampled_from([0.05, 0.5, 1.0]))
    candles = {}
    for token in TOKENS:
        hours = np.flatnonzero(generator.random(HORIZON_HOURS) < share).tolist()
        candles[token] = make_candles(hours, generator)
    times = draw(st.lists(seconds(), min_size=1, max_size=20))
    calls = tuple(
        FeatureCall(
            call_id,
            TOKENS[int(generator.integers(2))],
            int(generator.integers(3)),
            time,
            float(generator.lognormal()) if generator.random() < 0.7 else None,
            float(generator.lognormal()) if generator.random() < 0.7 else None,
        )
        for call_id, time in enumerate(times)
    )
    ends = draw(st.lists(seconds(), max_size=20))
    trades = tuple(
        PastTrade(
            call_id,
            int(generator.integers(3)),
            "basic",
            min(times),
            end,
            float(generator.normal()) if generator.random() < 0.9 else None,
        )
        for call_id, end in enumerate(ends)
    )
    return World(calls, candles, trades)


def truncated(world: World, known_at: int) -> World:
    """Return the world as it was known at a time."""
    return World(
        tuple(call for call in world.calls if call.signal_timestamp <= known_at),
        {
            token: candles.slice(0, int(np.searchsorted(candles.timestamp + HOUR, known_at, side="right")))
            for token, candles in world.candles.items()
        },
        tuple(trade for trade in world.trades if trade.done_at <= known_at),
    )


def scrambled(world: World, known_at: int, seed: int) -> World:
    """Return a world with the same past and another future."""
    generator = np.random.default_rng(seed)
    past = truncated(world, known_at)
    candles = {}
    for token, known in past.candles.items():
        first_new = max(
            int(np.ceil((known_at - MIDNIGHT) / HOUR)) - 1,
            int(known.timestamp[-1] - MIDNIGHT) // HOUR + 1 if len(known) else 0,
        )
        # From the candle on that is open at `known_at`: it closes later, so its values may be anything.
        hours = [
            hour
            for hour in range(max(first_new, 0), HORIZON_HOURS + 50)
            if MIDNIGHT + (hour + 1) * HOUR > known_at and generator.random() < 0.8
        ]
        future = make_candles(hours, generator)
        candles[token] = Candles(
            HOUR,
            *(
                np.concatenate([getattr(known, name), getattr(future, name)])
                for name in ("timestamp", "open", "high", "low", "close", "volume")
            ),
        ).validate()
    calls = [
        FeatureCall(1000 + k, TOKENS[k % 2], k % 4, known_at + 1 + int(generator.integers(90_000)), 1.0, 1.0)
        for k in range(int(generator.integers(12)))
    ]
    trades = [
        PastTrade(1000 + k, k % 4, "basic", MIDNIGHT, known_at + 1 + int(generator.integers(90_000)), 99.0)
        for k in range(int(generator.integers(12)))
    ]
    # The future comes first: the order in which rows are given tells nothing about time.
    return replace(past, calls=(*calls, *past.calls), candles=candles, trades=(*trades, *past.trades))


def features_by_call(world: World) -> dict[int, dict[str, float]]:
    table: pa.Table = build_features(world.calls, world.candles, world.trades)
    return {row.pop("call_id"): row for row in table.to_pylist()}


def assert_same_for_known_calls(world: World, other: World, known_at: int) -> None:
    features, features_of_other = features_by_call(world), features_by_call(other)
    for call in world.calls:
        if call.signal_timestamp > known_at:
            continue
        for name in FEATURE_NAMES:
            here, there = features[call.call_id][name], features_of_other[call.call_id][name]
            # Bit by bit, NaN included: equality within a tolerance would hide a small leak.
            assert np.float64(here).tobytes() == np.float64(there).tobytes(), (name, call, here, there)
            assert not np.isinf(here)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(world=worlds(), data=st.data())
def test_features_stay_the_same_when_the_future_is_cut_off(world: World, data: st.DataObject) -> None:
    known_at = data.draw(st.sampled_from([call.signal_timestamp for call in world.calls]) | seconds())

    assert_same_for_known_calls(world, truncated(world, known_at), known_at)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(world=worlds(), data=st.data(), seed=st.integers(0, 2**32 - 1))
def test_features_stay_the_same_when_the_future_is_another(world: World, data: st.DataObject, seed: int) -> None:
    known_at = data.draw(st.sampled_from([call.signal_timestamp for call in world.calls]) | seconds())

    assert_same_for_known_calls(world, scrambled(world, known_at, seed), known_at)


@settings(max_examples=30, deadline=None, derandomize=True)
@given(world=worlds(), seed=st.integers(0, 2**32 - 1))
def test_features_do_not_depend_on_the_order_of_rows(world: World, seed: int) -> None:
    generator = np.random.default_rng(seed)
    shuffled = replace(
        world,
        calls=tuple(world.calls[k] for k in generator.permutation(len(world.calls))),
        trades=tuple(world.trades[k] for k in generator.permutation(len(world.trades))),
    )

    assert_same_for_known_calls(world, shuffled, MIDNIGHT + 10**9)


def test_every_column_of_the_features_is_compared() -> None:
    """The tests above go through FEATURE_NAMES: a column that is not among them would be proved by nothing."""
    call = FeatureCall(1, TOKENS[0], 1, MIDNIGHT, None, None)
    candles = {token: Candles.empty(HOUR) for token in TOKENS}
    assert build_features([call], candles, []).column_names == ["call_id", *FEATURE_NAMES]


Build = Callable[..., pa.Table]


def leaking(name: str, leak: Callable[[World], float]) -> Build:
    """Return `build_features` with one feature that tells something of all that was given, later rows included."""
    original = build_features

    def build(
        calls: Sequence[FeatureCall], candles: Mapping[TokenKey, Candles], trades: Sequence[PastTrade]
    ) -> pa.Table:
        table = original(calls, candles, trades)
        # Added to what is known, and in place of what is not: by a last bit or so.
        values = np.nan_to_num(table.column(name).to_numpy()) + 1e-9 * leak(World(tuple(calls), candles, tuple(trades)))
        return table.set_column(table.column_names.index(name), name, pa.array(values))

    return build


LEAKS: dict[str, Callable[[World], float]] = {
    "calls": lambda world: float(len(world.calls)),
    "trades": lambda world: float(sum(trade.done_at for trade in world.trades)),
    "candles": lambda world: float(sum(np.log(candles.close).sum() for candles in world.candles.values())),
}


def busy_world() -> World:
    """Return many calls, trades and candles, half of them after the middle."""
    generator = np.random.default_rng(11)
    hours = np.flatnonzero(generator.random(HORIZON_HOURS) < 0.9).tolist()
    calls = tuple(FeatureCall(k, TOKENS[k % 2], k % 3, MIDNIGHT + 21_000 * k, 1.0 + k, None) for k in range(40))
    trades = tuple(PastTrade(k, k % 3, "basic", MIDNIGHT, MIDNIGHT + 25_000 * k, 0.5 - k % 2) for k in range(30))
    return World(calls, {token: make_candles(hours, generator) for token in TOKENS}, trades)


@pytest.mark.parametrize("source", list(LEAKS))
@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_a_leak_planted_in_any_feature_is_noticed(name: str, source: str, monkeypatch: pytest.MonkeyPatch) -> None:
    world, known_at = busy_world(), MIDNIGHT + HORIZON_HOURS * HOUR // 2
    others = (truncated(world, known_at), scrambled(world, known_at, seed=3))
    for other in others:
        assert_same_for_known_calls(world, other, known_at)
    monkeypatch.setitem(globals(), "build_features", leaking(name, LEAKS[source]))
    for other in others:
        with pytest.raises(AssertionError, match=name):
            assert_same_for_known_calls(world, other, known_at)


@pytest.mark.parametrize("name", FEATURE_NAMES)
def test_every_feature_takes_part_in_these_tests(name: str) -> None:
    """A feature that is always unknown, or always the same, would pass the tests above unseen."""
    generator = np.random.default_rng(5)
    hours = np.flatnonzero(generator.random(HORIZON_HOURS) < 0.9).tolist()
    calls = [FeatureCall(k, TOKENS[k % 2], k % 3, MIDNIGHT + 60 * HOUR + 5000 * k, 1.0 + k, 2.0 + k) for k in range(40)]
    trades = [PastTrade(k, k % 3, "basic", MIDNIGHT, MIDNIGHT + 5 * HOUR * k, (-1.0) ** k * k) for k in range(30)]
    candles = {token: make_candles(hours, generator) for token in TOKENS}

    values = build_features(calls, candles, trades).column(name).to_numpy()

    assert np.isfinite(values).mean() > 0.8
    assert len(np.unique(values[np.isfinite(values)])) > 2
