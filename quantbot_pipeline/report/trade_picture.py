"""The chart of one trade as a PNG file, for places that show pictures alone.

The same as the interactive chart, drawn by Matplotlib on a canvas of its own: nothing global is read or set. Texts from
outside are drawn as they are, never as formulas; what the font can't show is left as a box, and a line says of what.
"""

import math
import os
import tempfile
from collections.abc import Sequence
from datetime import UTC
from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.collections import LineCollection, PolyCollection
from matplotlib.dates import AutoDateLocator, ConciseDateFormatter
from matplotlib.figure import Figure
from matplotlib.font_manager import FontProperties, findfont
from matplotlib.ft2font import FT2Font
from matplotlib.patheffects import withStroke
from matplotlib.ticker import FuncFormatter, LogLocator, MaxNLocator, NullLocator

from quantbot_pipeline.engine.events import BUY_EVENTS, SELL_EVENTS, Event, EventType
from quantbot_pipeline.report.trade_chart import (
    AVERAGE,
    BUY,
    CALL,
    FALLING,
    LINES,
    ORDER,
    RISING,
    SELL,
    STOP,
    TARGET,
    marker_label,
    place_of,
)
from quantbot_pipeline.report.trade_content import DrawnCandles, TradeContent
from quantbot_pipeline.report.trade_drawing import TradeDrawing, drawing_notes, plan_drawing
from quantbot_pipeline.report.trade_levels import Level
from quantbot_pipeline.report.trade_words import shown_name, subtitle_text, title_text

_WIDTH_INCHES, _PRICE_INCHES, _PANE_INCHES, _TEXT_INCHES = 12.0, 4.6, 1.05, 1.85
_DOTS_PER_INCH = 110

# More candles than these are less than two dots wide.
_MOST_CANDLES = 500
_MOST_NUMBERED = 24
_MOST_BOXES = 8
_SECONDS_PER_DAY = 86_400

_INK, _MUTED, _RULE, _PAPER = "#1c1e21", "#5c6068", "#e3e1da", "#ffffff"

_MARKS: tuple[tuple[str, frozenset[EventType], str, str, bool], ...] = (
    ("buy", BUY_EVENTS - {EventType.RE_ENTRY}, "^", BUY, False),
    ("re-entry", frozenset({EventType.RE_ENTRY}), "D", BUY, False),
    ("sell", SELL_EVENTS - {EventType.STOP_LOSS, EventType.TRAILING_STOP}, "v", SELL, True),
    ("stopped", frozenset({EventType.STOP_LOSS, EventType.TRAILING_STOP}), "X", STOP, False),
    ("stop armed", frozenset({EventType.STOP_MOVED}), "o", STOP, True),
    ("skipped", frozenset({EventType.ENTRY_SKIPPED}), "o", CALL, True),
)
"""Name, events, marker, colour and whether the number stands above."""


def draw_trade_png(content: TradeContent, path: Path) -> Path:
    """Write the chart of a trade as a PNG file, whole or not at all, and return its path.

    Args:
        content: The trade.
        path: Where to; its folder must be there.
    """
    drawing = plan_drawing(content, _MOST_CANDLES)
    has_volume = bool(len(content.candles)) and float(content.candles.volume.max()) > 0
    heights = [_PRICE_INCHES, *([_PANE_INCHES] * (len(drawing.panes) + has_volume))]
    figure = Figure(figsize=(_WIDTH_INCHES, sum(heights) + _TEXT_INCHES), dpi=_DOTS_PER_INCH, facecolor=_PAPER)
    canvas = FigureCanvasAgg(figure)
    total = sum(heights) + _TEXT_INCHES
    grid = figure.add_gridspec(
        len(heights),
        1,
        height_ratios=heights,
        hspace=0.08,
        left=0.085,
        right=0.985,
        top=1 - 1.1 / total,
        bottom=0.75 / total,
    )
    price = figure.add_subplot(grid[0])
    below = [figure.add_subplot(grid[k], sharex=price) for k in range(1, len(heights))]
    for axes in (price, *below):
        _dress(axes)
    _draw_price(price, content, drawing)
    panes = list(below)
    if has_volume:
        _draw_volume(panes.pop(0), drawing.drawn)
    for axes, pane in zip(panes, drawing.panes, strict=True):
        for k, line in enumerate(pane.lines):
            times, values = _days(drawing.drawn.candles.timestamp), drawing.sampled(line.values)
            if line.output == "histogram":
                axes.fill_between(times, 0, values, color=AVERAGE, alpha=0.5, linewidth=0, step="mid")
            else:
                axes.plot(times, values, color=LINES[k % len(LINES)], linewidth=1.1)
            for threshold in line.thresholds:
                axes.axhline(threshold, color=CALL, linewidth=0.8, linestyle=(0, (5, 4)))
        axes.yaxis.set_major_locator(MaxNLocator(3))
        axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
        _name_pane(axes, pane.title)
    for axes in (price, *below)[:-1]:
        axes.tick_params(labelbottom=False)
    _draw_times((price, *below)[-1])
    _write_words(figure, content, drawing, total)
    return _save(canvas, path)


def _draw_price(axes: Axes, content: TradeContent, drawing: TradeDrawing) -> None:
    drawn = drawing.drawn
    if drawing.is_logarithmic:
        axes.set_yscale("log")
        axes.yaxis.set_major_locator(LogLocator(subs=(1.0, 1.5, 2.0, 3.0, 5.0, 7.0), numticks=12))
        axes.yaxis.set_minor_locator(NullLocator())
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.4g}"))
    axes.axvline(_day(drawn.place(content.call.signal_at)), color=CALL, linewidth=1, linestyle=":")
    axes.annotate(
        "call",
        (_day(drawn.place(content.call.signal_at)), 1),
        xycoords=("data", "axes fraction"),
        xytext=(4, -4),
        textcoords="offset points",
        va="top",
        fontsize=9,
        color=_MUTED,
    )
    _draw_candles(axes, drawn)
    for k, line in enumerate(drawing.on_price):
        times = _days(drawn.candles.timestamp)
        axes.plot(times, drawing.sampled(line.values), color=LINES[k % len(LINES)], linewidth=1.1, label=line.label)
    levels = drawing.levels
    _draw_levels(axes, drawn, levels.orders, "orders", ORDER, (0, (1.5, 2)), 1.4)
    _draw_levels(axes, drawn, levels.targets, "targets", TARGET, (0, (5, 4)), 1.1)
    if sum(event.event_type in BUY_EVENTS for event in content.events) > 1:
        _draw_levels(axes, drawn, levels.averages, "average entry", AVERAGE, "-", 1.0)
    _draw_levels(axes, drawn, levels.stops, "stop", STOP, "-", 1.8)
    _draw_marks(axes, content, drawn)
    handles, labels = axes.get_legend_handles_labels()
    if handles:
        legend = axes.legend(
            handles, labels, loc="lower left", bbox_to_anchor=(0, 1.0), ncols=9, frameon=False, fontsize=8.5,
            borderaxespad=0.2, handlelength=1.6, columnspacing=1.2,
        )  # fmt: skip
        for text in legend.get_texts():
            text.set_color(_MUTED)
            text.set_parse_math(False)


def _draw_candles(axes: Axes, drawn: DrawnCandles) -> None:
    candles = drawn.candles
    if not len(candles):
        axes.set_yticks([])
        return
    times, half = _days(candles.timestamp), 0.36 * candles.interval_seconds / _SECONDS_PER_DAY
    colours = np.where(candles.close >= candles.open, RISING, FALLING).tolist()
    wicks = [[(at, low), (at, high)] for at, low, high in zip(times, candles.low, candles.high, strict=True)]
    axes.add_collection(LineCollection(wicks, colors=colours, linewidths=0.9))
    bodies = [
        [(at - half, opening), (at - half, close), (at + half, close), (at + half, opening)]
        for at, opening, close in zip(times, candles.open, candles.close, strict=True)
    ]
    axes.add_collection(PolyCollection(bodies, facecolors=colours, edgecolors=colours, linewidths=0.9))
    axes.set_xlim(times[0] - 2 * half, times[-1] + 2 * half)
    axes.autoscale_view(scalex=False)


def _draw_volume(axes: Axes, drawn: DrawnCandles) -> None:
    candles = drawn.candles
    colours = np.where(candles.close >= candles.open, RISING, FALLING).tolist()
    width = 0.8 * candles.interval_seconds / _SECONDS_PER_DAY
    axes.bar(_days(candles.timestamp), candles.volume, width=width, color=colours, alpha=0.7, linewidth=0)
    axes.yaxis.set_major_locator(MaxNLocator(3))
    axes.yaxis.set_major_formatter(FuncFormatter(lambda value, _: f"{value:.3g}"))
    _name_pane(axes, "volume")


def _draw_levels(
    axes: Axes, drawn: DrawnCandles, levels: Sequence[Level], name: str, colour: str, style: Any, width: float
) -> None:
    for k, level in enumerate(levels):
        at = [*(step for step, _ in level.steps), level.until]
        prices = [price for _, price in level.steps]
        axes.step(
            [_day(drawn.place(seconds)) for seconds in at],
            [*prices, prices[-1]],
            where="post",
            color=colour,
            linestyle=style,
            linewidth=width,
            label=name if k == 0 else None,
        )


def _draw_marks(axes: Axes, content: TradeContent, drawn: DrawnCandles) -> None:
    is_numbered = len(content.events) <= _MOST_NUMBERED
    for name, kinds, marker, colour, is_above in _MARKS:
        events = [event for event in content.events if event.event_type in kinds and math.isfinite(event.price)]
        if not events:
            continue
        is_open = marker == "o"
        axes.scatter(
            [_place(drawn, event) for event in events],
            [event.price for event in events],
            marker=marker,
            s=75,
            facecolors="none" if is_open else colour,
            edgecolors=colour if is_open else _PAPER,
            linewidths=1.3 if is_open else 1.0,
            zorder=5,
            label=name,
        )
        for event in events if is_numbered else ():
            axes.annotate(
                marker_label(event),
                (_place(drawn, event), event.price),
                xytext=(0, 8 if is_above else -8),
                textcoords="offset points",
                ha="center",
                va="bottom" if is_above else "top",
                fontsize=8.5,
                color=colour,
                zorder=6,
                parse_math=False,
                # Readable also where candles run through it.
                path_effects=[withStroke(linewidth=2.5, foreground=_PAPER)],
            )


def _place(drawn: DrawnCandles, event: Event) -> float:
    return _day(place_of(event, drawn))


def _dress(axes: Axes) -> None:
    axes.grid(visible=True, color=_RULE, linewidth=0.7)
    axes.set_axisbelow(True)
    axes.tick_params(colors=_MUTED, labelsize=9, length=0)
    for spine in axes.spines.values():
        spine.set_color(_RULE)
    axes.margins(x=0.01, y=0.08)


def _draw_times(axes: Axes) -> None:
    locator = AutoDateLocator(tz=UTC, minticks=4, maxticks=10)  # type: ignore[no-untyped-call]  # as shipped
    axes.xaxis.set_major_locator(locator)
    formatter = ConciseDateFormatter(locator, tz=UTC)  # type: ignore[no-untyped-call]  # as shipped
    axes.xaxis.set_major_formatter(formatter)
    axes.xaxis.get_offset_text().set_color(_MUTED)
    axes.set_xlabel("UTC", fontsize=9, color=_MUTED, loc="left", labelpad=2)


def _name_pane(axes: Axes, title: str) -> None:
    axes.text(0.004, 0.93, title, transform=axes.transAxes, va="top", fontsize=8.5, color=_MUTED, parse_math=False)


def _write_words(figure: Figure, content: TradeContent, drawing: TradeDrawing, inches: float) -> None:
    def write(text: str, below_top: float, **how: Any) -> None:
        figure.text(0.085, 1 - below_top / inches, _drawable(text), va="top", parse_math=False, **how)

    title, subtitle = title_text(content), subtitle_text(content, drawing.drawn)
    write(title, 0.14, fontsize=14, fontweight="bold", color=_INK)
    write(subtitle, 0.44, fontsize=10, color=_MUTED)
    if boxes := box_note(title + subtitle):
        write(boxes, 0.66, fontsize=8, color=_MUTED)
    notes = "; ".join(drawing_notes(content, drawing))
    if notes:
        figure.text(
            0.985,
            0.12 / inches,
            _drawable(shown_name(notes, 170)),
            ha="right",
            fontsize=8,
            color=_MUTED,
            parse_math=False,
        )


@lru_cache(maxsize=1)
def _characters() -> frozenset[int]:
    return frozenset(FT2Font(findfont(FontProperties(family="DejaVu Sans"))).get_charmap())


def box_note(text: str) -> str:
    """Return what the boxes in a text stand for, by number in Unicode; empty without one."""
    known = _characters()
    lacked = [f"U+{ord(character):04X}" for character in dict.fromkeys(text) if ord(character) not in known]
    more = f" and {len(lacked) - _MOST_BOXES} more" if len(lacked) > _MOST_BOXES else ""
    named = ", ".join(lacked[:_MOST_BOXES])
    return f"\N{WHITE SQUARE} is what the font of pictures can't show: {named}{more}" if lacked else ""


def _drawable(text: str) -> str:
    """Return text with a box in place of what the font lacks, which Matplotlib would warn of once for each."""
    known = _characters()
    return "".join(character if ord(character) in known else "\N{WHITE SQUARE}" for character in text)


def _day(seconds: int) -> float:
    """Return a time as Matplotlib counts: days since the epoch."""
    return seconds / _SECONDS_PER_DAY


def _days(seconds: Any) -> Any:
    return np.asarray(seconds, dtype=np.float64) / _SECONDS_PER_DAY


def _save(canvas: FigureCanvasAgg, path: Path) -> Path:
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            # The name and version of the library would make equal trades give unequal files.
            canvas.print_png(file, metadata={"Software": None})  # type: ignore[no-untyped-call]  # as shipped
        partial.chmod(0o644)
        partial.replace(path)
    except BaseException:
        partial.unlink(missing_ok=True)
        raise
    return path
