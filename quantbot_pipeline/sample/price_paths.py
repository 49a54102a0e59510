"""Invented candles of the wild kind: jumps, pumps, rug pulls, idle stretches, tiny prices, fat tails.

Arrays run over the bars of the whole time line, bar 0 first, one value per bar; bars before a token's
launch and idle ones are there too and are left out by `is_present`.
"""

import math
from dataclasses import dataclass

import numpy as np

from quantbot_pipeline.engine.candles import BoolArray, FloatArray, IntArray
from quantbot_pipeline.sample.random_numbers import RandomNumbers

_FIRST_PRICES = (1e-9, 1e-4, 1e-6, 1e-2, 1e-7, 1e-5, 1.0, 1e-8, 1e-3)
"""Scale of a token's first price in quote currency, by turns."""

_DAYS_PER_PUMP = 11
"""One pump per token and this many days: 20 tokens over 3 months have about 150 of them."""


@dataclass(frozen=True, slots=True)
class Pump:
    """One rise and fall of a token.

    Attributes:
        start: Bar before which the price is quiet, and from which it rises.
        peak: Bar whose close is the highest.
        end: First bar at the level that stays.
        multiple: Price at the peak / price at the start.
        level: Price that stays / price at the start.
    """

    start: int
    peak: int
    end: int
    multiple: float
    level: float


@dataclass(frozen=True)
class PricePath:
    """Everything that happens to one token.

    Attributes:
        launch: First bar of the token.
        is_present: Whether a bar has a candle, shape (n_bars,).
        open: First price of each bar, quote currency.
        high: Highest price.
        low: Lowest price, > 0.
        close: Last price.
        volume: Base volume, >= 0.
        supply: Units of the token, so that market cap = price · supply.
        pumps: In order of time; none after a rug pull.
        rug_bar: Bar in which the token was rugged; None if it never was.
    """

    launch: int
    is_present: BoolArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    supply: float
    pumps: tuple[Pump, ...]
    rug_bar: int | None

    def present_bars(self) -> IntArray:
        """Return the bars that have a candle, ascending."""
        return np.flatnonzero(self.is_present)


def make_price_path(random: RandomNumbers, token_number: int, bar_count: int, interval_seconds: int) -> PricePath:
    """Invent one token.

    Args:
        random: Stream of this token.
        token_number: Position of the token, from 0; decides its price scale and temper by turns, so that
            every data set has each kind.
        bar_count: Bars of the time line.
        interval_seconds: Length of a bar.
    """
    bars_per_day = max(1, 86400 // interval_seconds)
    # Every third token is launched within the first tenth of the time line.
    launch = random.integer(0, bar_count // 10 + 1) if token_number % 3 == 2 else 0
    rug_bar = int(bar_count * random.uniform(0.55, 0.9)) if token_number % 6 == 5 else None
    pumps = _plan_pumps(random, launch, rug_bar if rug_bar is not None else bar_count, bars_per_day)
    is_idle = _plan_idle(random, bar_count, bars_per_day, rug_bar)
    for pump in pumps:
        # A call is made shortly before a pump: there are candles from a day before it on.
        is_idle[max(0, pump.start - bars_per_day) : pump.end] = False

    volatility = _volatility(random, token_number, bar_count, bars_per_day)
    for pump in pumps:
        volatility[pump.peak : pump.end] *= 2.0
    # The mean of a product of many (1 + r) sinks by half the variance of r per bar; that much is given back.
    returns = volatility * random.fat_tailed(bar_count) + volatility * volatility
    returns = np.where(is_idle, 0.0, np.minimum(np.maximum(returns, -0.5), 1.0))
    first_price = _FIRST_PRICES[token_number % len(_FIRST_PRICES)] * random.uniform(1.0, 9.0)
    close = first_price * np.cumprod(1.0 + returns) * _event_levels(random, bar_count, pumps, rug_bar)

    before = np.concatenate([[first_price], close[:-1]])
    is_jump = (random.uniforms(bar_count) < 0.02) & ~is_idle
    opens = np.where(is_jump, before * (1.0 + 0.5 * volatility * random.bells(bar_count)), before)
    active = np.where(is_idle, 0.0, volatility)
    high = np.maximum(opens, close) * (1.0 + active * random.uniforms(bar_count))
    low = np.minimum(opens, close) / (1.0 + active * random.uniforms(bar_count))
    # Every fourth token trades on a venue that reports idle bars, flat and without volume.
    reports_idle_bars = token_number % 4 == 3
    is_present = np.ones(bar_count, dtype=np.bool_) if reports_idle_bars else ~is_idle
    is_present[:launch] = False
    return PricePath(
        launch=launch,
        is_present=is_present,
        open=np.where(is_idle, close, opens),
        high=np.where(is_idle, close, high),
        low=np.where(is_idle, close, low),
        close=close,
        volume=_volumes(random, close, opens, is_idle, pumps),
        supply=1e6 if first_price > 1e-3 else 1e9,
        pumps=pumps,
        rug_bar=rug_bar,
    )


def _plan_pumps(random: RandomNumbers, launch: int, stop: int, bars_per_day: int) -> tuple[Pump, ...]:
    slot = _DAYS_PER_PUMP * bars_per_day
    pumps: list[Pump] = []
    for slot_start in range(launch, stop, slot):
        start = slot_start + bars_per_day + int(random.uniform() * 6 * bars_per_day)
        rise = max(1, int(random.uniform(0.02, 0.17) * bars_per_day))
        fade = max(2, int(random.uniform(0.3, 2.0) * bars_per_day))
        # Most pumps are small: the square of a uniform puts half of them below 7x.
        multiple = 3.0 + 17.0 * random.uniform() * random.uniform()
        level = random.uniform(0.55, 1.35)
        if start + rise + fade < stop:
            pumps.append(Pump(start, start + rise, start + rise + fade, multiple, level))
    return tuple(pumps)


def _plan_idle(random: RandomNumbers, bar_count: int, bars_per_day: int, rug_bar: int | None) -> BoolArray:
    is_idle = np.zeros(bar_count, dtype=np.bool_)
    for _ in range(max(1, bar_count // (2 * bars_per_day))):
        start = random.integer(0, bar_count)
        is_idle[start : start + max(1, int(random.uniform(0.02, 0.3) * bars_per_day))] = True
    if rug_bar is not None:
        # Hardly anybody trades a rugged token: two bars of three are missing.
        is_idle[rug_bar + bars_per_day // 4 :] |= random.uniforms(bar_count)[rug_bar + bars_per_day // 4 :] < 0.67
    return is_idle


def _volatility(random: RandomNumbers, token_number: int, bar_count: int, bars_per_day: int) -> FloatArray:
    """Return the scale of a bar's return: each token its own, in regimes of half a day."""
    block = max(1, bars_per_day // 2)
    regimes = np.array([0.5, 0.8, 1.0, 2.0])[random.integers(0, 4, bar_count // block + 1)]
    # 0.25 to 0.6 % per five-minute bar, more for longer bars (√ of their length).
    scale = (0.0025 + 0.00035 * (token_number % 11)) * math.sqrt(288 / bars_per_day)
    per_bar: FloatArray = np.repeat(regimes, block)[:bar_count] * scale
    return per_bar


def _event_levels(random: RandomNumbers, bar_count: int, pumps: tuple[Pump, ...], rug_bar: int | None) -> FloatArray:
    """Return the factor that pumps and the rug pull put on the price of every bar."""
    levels = np.ones(bar_count, dtype=np.float64)
    for pump in pumps:
        rising = np.arange(1, pump.peak - pump.start + 1, dtype=np.float64) / (pump.peak - pump.start)
        levels[pump.start + 1 : pump.peak + 1] *= 1.0 + (pump.multiple - 1.0) * rising
        falling = np.arange(1, pump.end - pump.peak, dtype=np.float64) / (pump.end - pump.peak)
        # Falls fast first: the square of what is left of the way.
        left = (1.0 - falling) * (1.0 - falling)
        levels[pump.peak + 1 : pump.end] *= pump.level + (pump.multiple - pump.level) * left
        levels[pump.end :] *= pump.level
    if rug_bar is not None:
        levels[rug_bar] *= 0.3
        levels[rug_bar + 1 :] *= random.uniform(0.01, 0.08)
    return levels


def _volumes(
    random: RandomNumbers,
    close: FloatArray,
    opens: FloatArray,
    is_idle: BoolArray,
    pumps: tuple[Pump, ...],
) -> FloatArray:
    """Return base volumes: more when the price moves, in a pump, and a little already before it."""
    quote_volume = 1500.0 * (0.1 + 1.9 * random.uniforms(len(close)))
    quote_volume *= 1.0 + 60.0 * np.abs(close / opens - 1.0)
    for pump in pumps:
        creep = max(1, (pump.peak - pump.start) // 2)
        quote_volume[max(0, pump.start - creep) : pump.start] *= 2.5
        quote_volume[pump.start : pump.peak + 1] *= 6.0
        quote_volume[pump.peak + 1 : pump.end] *= 2.0
    return np.where(is_idle, 0.0, quote_volume / close)
