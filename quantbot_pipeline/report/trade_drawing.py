"""What is drawn of a trade, whatever draws it: which candles, levels, lines and panes, and what is left out."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from quantbot_pipeline.engine.candles import FloatArray
from quantbot_pipeline.report.trade_content import (
    MOST_CANDLES,
    DrawnCandles,
    IndicatorLine,
    TradeContent,
    draw_candles,
)
from quantbot_pipeline.report.trade_levels import Level, TradeLevels, trade_levels
from quantbot_pipeline.report.trade_words import caveats, interval_name

# In units of the price, so drawn on the candles; everything else has a pane of its own.
_ON_PRICE = frozenset({"sma", "ema", "vwma", "ichimoku", "highest", "lowest"})
_BANDS_ON_PRICE = frozenset({"upper", "middle", "lower"})

# How far above the highest candle a target may lie and still be drawn, and how far below the lowest one a stop or an
# order: what would have ended the trade is wanted in sight, what was never near it would squeeze the candles.
_REACH_ABOVE, _REACH_BELOW = 1.3, 4.0

# Below this price, digits after the point are mostly zeros.
_SCIENTIFIC_BELOW = 1e-4

# Above this ratio of the highest to the lowest price, equal falls look equal only on a logarithmic axis.
_LOGARITHMIC_ABOVE = 2.5

# Numbers on a logarithmic axis, and how they may stand in each power of ten, the closest first.
_MOST_TICKS = 8
_LOGARITHMIC_STEPS = ((1.0, 1.5, 2.0, 3.0, 5.0, 7.0), (1.0, 2.0, 5.0), (1.0, 3.0), (1.0,))

# More panes than these leave no room for the price.
_MOST_PANES = 5


@dataclass(frozen=True, slots=True)
class Pane:
    """Indicator lines that share a scale, beneath the price.

    Attributes:
        title: What they are, such as `rsi(period=14)`.
        lines: The lines.
    """

    title: str
    lines: tuple[IndicatorLine, ...]


@dataclass(frozen=True, slots=True, eq=False)
class TradeDrawing:
    """What every way of drawing a trade shares: the candles to draw, levels, lines and panes.

    Attributes:
        drawn: Candles, sampled where there are many.
        levels: Prices that waited, those out of sight left out.
        hidden: How many levels are left out.
        on_price: Indicator lines over the candles.
        panes: Indicator lines beneath them, as many as there is room for.
        panes_left_out: Titles of the others.
        is_logarithmic: Whether prices need a logarithmic axis.
        is_tiny: Whether prices are told best in powers of ten.
        price_ticks: Prices to write beside a logarithmic axis, far enough from each other; empty for a linear one.
    """

    drawn: DrawnCandles
    levels: TradeLevels
    hidden: int
    on_price: tuple[IndicatorLine, ...]
    panes: tuple[Pane, ...]
    panes_left_out: tuple[str, ...]
    is_logarithmic: bool
    is_tiny: bool
    price_ticks: tuple[float, ...]

    def sampled(self, values: FloatArray) -> FloatArray:
        """Return an indicator's values at the closes of the drawn candles."""
        return values[self.drawn.last]


def plan_drawing(content: TradeContent, most_candles: int = MOST_CANDLES) -> TradeDrawing:
    """Return what is drawn of a trade, whatever draws it."""
    drawn = draw_candles(content.candles, most_candles)
    levels = trade_levels(content)
    shown, hidden = _within_sight(content, drawn, levels)
    on_price = tuple(line for line in content.indicators if _is_on_price(line))
    by_kind: dict[str, list[IndicatorLine]] = {}
    for line in content.indicators:
        if not _is_on_price(line):
            # Bandwidth and percent_b of one indicator have scales of their own.
            key = line.label if line.indicator == "bbands" else line.label.removesuffix(f".{line.output}")
            by_kind.setdefault(key, []).append(line)
    panes = [Pane(title, tuple(lines)) for title, lines in by_kind.items()]
    prices = _prices(content, drawn, shown)
    is_logarithmic = bool(prices) and min(prices) > 0 and max(prices) / min(prices) > _LOGARITHMIC_ABOVE
    return TradeDrawing(
        drawn=drawn,
        levels=shown,
        hidden=hidden,
        on_price=on_price,
        panes=tuple(panes[:_MOST_PANES]),
        panes_left_out=tuple(pane.title for pane in panes[_MOST_PANES:]),
        is_logarithmic=is_logarithmic,
        is_tiny=bool(prices) and max(prices) < _SCIENTIFIC_BELOW,
        price_ticks=_logarithmic_ticks(min(prices), max(prices)) if is_logarithmic else (),
    )


def _logarithmic_ticks(low: float, high: float) -> tuple[float, ...]:
    """Return round prices between two; both differ by more than `_LOGARITHMIC_ABOVE`."""
    first, last = math.floor(math.log10(low)), math.floor(math.log10(high))
    for steps in _LOGARITHMIC_STEPS:
        found = [float(f"{step}e{power}") for power in range(first, last + 1) for step in steps]
        within = tuple(price for price in found if low <= price <= high)
        if len(within) <= _MOST_TICKS:
            return within
    return within[:: math.ceil(len(within) / _MOST_TICKS)]


def drawing_notes(content: TradeContent, drawing: TradeDrawing) -> list[str]:
    """Return what a reader of the chart must know, in sentences without their full stop: sampling, what is left out."""
    notes = caveats(content, is_consistent=drawing.levels.is_consistent)
    if drawing.drawn.is_sampled:
        notes.append(
            f"each drawn candle covers {interval_name(drawing.drawn.candles.interval_seconds)}, put together from "
            f"{len(content.candles):,} stored candles of {interval_name(drawing.drawn.stored_seconds)}: first open, "
            "highest high, lowest low, last close"
        )
    if drawing.hidden:
        levels = "a level" if drawing.hidden == 1 else f"{drawing.hidden} levels"
        notes.append(f"{levels} far from all candles {'is' if drawing.hidden == 1 else 'are'} not drawn")
    if drawing.panes_left_out:
        notes.append(f"there is no room for {', '.join(drawing.panes_left_out)}; the JSON document has their values")
    return notes


def _is_on_price(line: IndicatorLine) -> bool:
    return line.indicator in _ON_PRICE or (line.indicator == "bbands" and line.output in _BANDS_ON_PRICE)


def _within_sight(content: TradeContent, drawn: DrawnCandles, levels: TradeLevels) -> tuple[TradeLevels, int]:
    """Return the levels that are near enough to the candles: a far one would squeeze everything into a corner."""
    if not len(drawn.candles):
        return levels, 0
    fills = [event.price for event in content.events if math.isfinite(event.price)]
    top = max([float(drawn.candles.high.max()), *fills]) * _REACH_ABOVE
    bottom = min([float(drawn.candles.low.min()), *fills]) / _REACH_BELOW

    def near(found: Sequence[Level]) -> list[Level]:
        return [level for level in found if all(bottom <= price <= top for _, price in level.steps)]

    kept = TradeLevels(
        stops=near(levels.stops),
        targets=near(levels.targets),
        averages=levels.averages,
        orders=near(levels.orders),
        is_consistent=levels.is_consistent,
    )
    hidden = sum(
        len(every) - len(some)
        for every, some in (
            (levels.stops, kept.stops),
            (levels.targets, kept.targets),
            (levels.orders, kept.orders),
        )
    )
    return kept, hidden


def _prices(content: TradeContent, drawn: DrawnCandles, levels: TradeLevels) -> list[float]:
    prices = [event.price for event in content.events if math.isfinite(event.price)]
    if len(drawn.candles):
        prices += [float(drawn.candles.low.min()), float(drawn.candles.high.max())]
    for found in (levels.stops, levels.targets, levels.orders):
        prices += [price for level in found for _, price in level.steps]
    return prices
