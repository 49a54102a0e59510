"""The chart of one trade as a plain Plotly document.

The price with everything that happened on it lies on top, volume and indicators that have a scale of their own in panes
beneath it, all over one axis of time in UTC. Colours of text, paper and grid are the page's business. Markers carry
the number of their event, which is the first column of the event table.

Plotly reads a small HTML in names and hover texts; every text that comes from outside is escaped here.
"""

import math
from collections.abc import Iterable, Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray
from quantbot_pipeline.engine.events import BUY_EVENTS, SELL_EVENTS, Event, EventType
from quantbot_pipeline.report.tables import figure_text
from quantbot_pipeline.report.trade_content import (
    DrawnCandles,
    IndicatorLine,
    TradeContent,
    reason_text,
)
from quantbot_pipeline.report.trade_drawing import TradeDrawing, plan_drawing
from quantbot_pipeline.report.trade_levels import Level, is_at_close
from quantbot_pipeline.report.trade_words import percent, share, shown_name, subtitle_text, title_text

# Near Okabe and Ito's palette, which colour-blind people tell apart; all are readable on white and on black.
RISING, FALLING = "#4a9d8f", "#c0785a"
BUY, SELL, STOP, TARGET, AVERAGE, ORDER, CALL = (
    "#0b84d8",
    "#e0601f",
    "#c936b1",
    "#6c8f2c",
    "#8a8f98",
    "#0b84d8",
    "#888888",
)
LINES = ("#cc79a7", "#56b4e9", "#e69f00", "#009e73", "#9b7fd4", "#d55e00")

_PRICE_PIXELS, _PANE_PIXELS, _SURROUNDING_PIXELS = 340, 84, 120

# Text beside more markers than these is a thicket; pointing at one still tells.
_MOST_NUMBERED = 24

Figure = dict[str, Any]


def trade_figure(content: TradeContent, drawing: TradeDrawing | None = None, *, has_title: bool = True) -> Figure:
    """Return the chart of a trade: candles, call, orders, fills, stop and its moves, targets, exits, indicators.

    Args:
        content: The trade.
        drawing: What is drawn of it; where candles are put together, the subtitle says so. Without it that of
            `plan_drawing`.
        has_title: Whether the figure carries a title; a page may have it in its own words.

    Returns:
        `{"data": …, "layout": …}` for Plotly; `layout.height` is what it needs, pixels.
    """
    drawing = drawing or plan_drawing(content)
    has_volume = bool(len(content.candles)) and float(content.candles.volume.max()) > 0
    panes = (["volume"] if has_volume else []) + [pane.title for pane in drawing.panes]
    axes = _axes(drawing, panes)
    traces: list[Figure] = [
        *_candlesticks(drawing.drawn),
        *(_indicator_trace(drawing, line, k, "y") for k, line in enumerate(drawing.on_price)),
        *_level_traces(drawing.drawn, drawing.levels.orders, "orders", ORDER, dash="dot", width=1.5),
        *_level_traces(drawing.drawn, drawing.levels.targets, "targets", TARGET, dash="dash", width=1),
        *_average_traces(drawing, content),
        *_level_traces(drawing.drawn, drawing.levels.stops, "stop", STOP, dash="solid", width=2),
        *_marker_traces(content, drawing.drawn),
        *(_volume_trace(drawing.drawn) if has_volume else []),
    ]
    for number, pane in enumerate(drawing.panes, start=3 if has_volume else 2):
        traces += [_indicator_trace(drawing, line, k, f"y{number}") for k, line in enumerate(pane.lines)]
    signal = _moment(drawing.drawn.place(content.call.signal_at))
    layout = {
        "height": _SURROUNDING_PIXELS + _PRICE_PIXELS + _PANE_PIXELS * len(panes),
        "hovermode": "closest",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.01, "yanchor": "bottom", "font": {"size": 11}},
        "margin": {"l": 72, "r": 16, "t": 96 if has_title else 44, "b": 40},
        "bargap": 0.1,
        **axes,
        "shapes": [*_call_line(signal), *_threshold_lines(drawing, has_volume=has_volume)],
        "annotations": [_call_note(signal), *_pane_notes(axes, panes)],
    }
    if has_title:
        layout["title"] = {
            "text": f"<b>{figure_text(title_text(content))}</b>",
            "subtitle": {"text": figure_text(subtitle_text(content, drawing.drawn)), "font": {"size": 12}},
            "x": 0,
            "xref": "paper",
            "xanchor": "left",
            "y": 0.99,
            "yref": "container",
            "yanchor": "top",
            "font": {"size": 16},
        }
    return {"data": traces, "layout": layout}


# Traces


def _candlesticks(drawn: DrawnCandles) -> list[Figure]:
    candles = drawn.candles
    if not len(candles):
        return []
    return [
        {
            "type": "candlestick",
            "name": "candles",
            "showlegend": False,
            "x": _moments(candles.timestamp.tolist()),
            "open": _short(candles.open),
            "high": _short(candles.high),
            "low": _short(candles.low),
            "close": _short(candles.close),
            "increasing": {"line": {"color": RISING, "width": 1}},
            "decreasing": {"line": {"color": FALLING, "width": 1}},
            "opacity": 0.8,
        }
    ]


def _volume_trace(drawn: DrawnCandles) -> list[Figure]:
    candles = drawn.candles
    rises = candles.close >= candles.open
    return [
        {
            "type": "bar",
            "name": "volume",
            "showlegend": False,
            "x": _moments(candles.timestamp.tolist()),
            "y": _short(candles.volume),
            "yaxis": "y2",
            "marker": {"color": [RISING if up else FALLING for up in rises.tolist()], "line": {"width": 0}},
            "opacity": 0.6,
            "hovertemplate": "%{x}<br>volume %{y:.4~s}<extra></extra>",
        }
    ]


def _indicator_trace(drawing: TradeDrawing, line: IndicatorLine, k: int, axis: str) -> Figure:
    is_histogram = line.output == "histogram"
    trace: Figure = {
        "type": "bar" if is_histogram else "scatter",
        "name": figure_text(line.label),
        "showlegend": axis == "y",
        "x": _moments(drawing.drawn.candles.timestamp.tolist()),
        "y": _nullable(drawing.sampled(line.values)),
        "yaxis": axis,
        "hovertemplate": f"%{{x}}<br>{figure_text(line.label)} %{{y:.5~g}}<extra></extra>",
    }
    if is_histogram:
        return trace | {"marker": {"color": AVERAGE}, "opacity": 0.6}
    return trace | {"mode": "lines", "line": {"width": 1.3, "color": LINES[k % len(LINES)]}, "connectgaps": False}


def _level_traces(
    drawn: DrawnCandles, levels: Sequence[Level], name: str, colour: str, *, dash: str, width: float
) -> list[Figure]:
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": name,
            "legendgroup": name,
            "showlegend": k == 0,
            **_steps(drawn, level),
            "line": {"shape": "hv", "width": width, "dash": dash, "color": colour},
            "hovertemplate": f"{figure_text(shown_name(level.name, 60))}<br>%{{x}}<br>%{{y:.6~g}}<extra></extra>",
        }
        for k, level in enumerate(levels)
    ]


def _average_traces(drawing: TradeDrawing, content: TradeContent) -> list[Figure]:
    """Return the average entry, where it is not simply the price of the one buy."""
    buys = sum(event.event_type in BUY_EVENTS for event in content.events)
    if buys < 2:
        return []
    return _level_traces(drawing.drawn, drawing.levels.averages, "average entry", AVERAGE, dash="solid", width=1)


def _steps(drawn: DrawnCandles, level: Level) -> Figure:
    at = [*(step for step, _ in level.steps), level.until]
    prices = [price for _, price in level.steps]
    return {"x": [_moment(drawn.place(seconds)) for seconds in at], "y": [*prices, prices[-1]]}


_MARKERS: tuple[tuple[str, frozenset[EventType], str, str, str], ...] = (
    ("buy", BUY_EVENTS - {EventType.RE_ENTRY}, "triangle-up", BUY, "bottom center"),
    ("re-entry", frozenset({EventType.RE_ENTRY}), "diamond", BUY, "bottom center"),
    (
        "sell",
        SELL_EVENTS - {EventType.STOP_LOSS, EventType.TRAILING_STOP},
        "triangle-down",
        SELL,
        "top center",
    ),
    ("stopped", frozenset({EventType.STOP_LOSS, EventType.TRAILING_STOP}), "x", STOP, "bottom center"),
    ("stop armed", frozenset({EventType.STOP_MOVED}), "circle-open", STOP, "top center"),
    ("skipped", frozenset({EventType.ENTRY_SKIPPED}), "circle-x-open", CALL, "top center"),
)
"""Name, events, symbol, colour and where the number stands; shapes tell what colours tell."""


def _marker_traces(content: TradeContent, drawn: DrawnCandles) -> list[Figure]:
    traces: list[Figure] = []
    is_numbered = len(content.events) <= _MOST_NUMBERED
    for name, kinds, symbol, colour, position in _MARKERS:
        events = [event for event in content.events if event.event_type in kinds and math.isfinite(event.price)]
        if not events:
            continue
        traces.append(
            {
                "type": "scatter",
                "mode": "markers+text" if is_numbered else "markers",
                "name": name,
                "x": [_moment(place_of(event, drawn)) for event in events],
                "y": [event.price for event in events],
                "text": [marker_label(event) for event in events],
                "textposition": position,
                "textfont": {"size": 11, "color": colour},
                "customdata": [_hover(event) for event in events],
                "marker": {
                    "symbol": symbol,
                    "size": 12,
                    "color": colour,
                    "line": {"width": 1.2, "color": _edge(symbol)},
                },
                "hovertemplate": "%{customdata}<extra></extra>",
                "cliponaxis": False,
            }
        )
    return traces


def marker_label(event: Event) -> str:
    """Return what stands beside a marker: the number of the event, and how much of it where it is a part."""
    is_part = event.size > 0 and event.size < 0.9995
    return f"{event.seq} · {share(event.size)}" if is_part else f"{event.seq}"


def place_of(event: Event, drawn: DrawnCandles) -> int:
    """Return where on the axis of time an event is marked, seconds: on its candle, or where a moved stop begins."""
    is_last_close = is_at_close(event) and event.event_type is not EventType.STOP_MOVED
    return drawn.place(event.event_time, at_close=is_last_close)


def _edge(symbol: str) -> str:
    return "#ffffff" if "open" not in symbol else CALL


def _hover(event: Event) -> str:
    row_text = figure_text(shown_name(reason_text(event.metadata), 80))
    kind = figure_text(event.event_type.replace("_", " "))
    size = f"{share(event.size)} {'of the capital' if event.event_type in BUY_EVENTS else 'of what was bought'}"
    lines = [
        f"<b>{event.seq}: {kind}</b>",
        f"{_moment(event.event_time)} UTC",
        f"at {event.price:.6g}" + (f", {size}" if event.size > 0 else ""),
        row_text,
        f"still open {share(event.remaining_position)}, realised {percent(event.pnl_so_far)}",
    ]
    return "<br>".join(line for line in lines if line)


# Axes, lines and words around the traces


def _axes(drawing: TradeDrawing, panes: Sequence[str]) -> Figure:
    """Return one axis of time, and one of prices or values per pane, the price on top."""
    total = _PRICE_PIXELS + _PANE_PIXELS * len(panes)
    gap = 14 / total
    floor = _PANE_PIXELS * len(panes) / total
    bottom = "y" if not panes else f"y{len(panes) + 1}"
    axes: Figure = {
        "xaxis": {
            "tickangle": 0,
            "nticks": 8,
            "type": "date",
            "rangeslider": {"visible": False},
            "anchor": bottom,
            "title": {"text": "UTC", "font": {"size": 11}, "standoff": 4},
        },
        "yaxis": {
            "type": "log" if drawing.is_logarithmic else "linear",
            "tickformat": ".3~e" if drawing.is_tiny else ".4~g",
            "nticks": 8,
            # Plotly would write nine numbers into each power of ten, one over the other.
            **({"tickvals": list(drawing.price_ticks)} if drawing.price_ticks else {}),
            "domain": [round(floor + (gap if panes else 0), 4), 1],
        },
    }
    for k in range(len(panes)):
        top = floor - k * _PANE_PIXELS / total
        axes[f"yaxis{k + 2}"] = {
            "domain": [round(max(top - _PANE_PIXELS / total + gap, 0), 4), round(top, 4)],
            "nticks": 3,
            "tickformat": ".3~s" if panes[k] == "volume" else ".4~g",
            "zeroline": False,
        }
    return axes


def _call_line(signal: str) -> list[Figure]:
    return [
        {
            "type": "line",
            "xref": "x",
            "yref": "paper",
            "x0": signal,
            "x1": signal,
            "y0": 0,
            "y1": 1,
            "line": {"width": 1, "dash": "dot", "color": CALL},
        }
    ]


def _call_note(signal: str) -> Figure:
    return {
        "x": signal,
        "yref": "paper",
        "y": 1,
        "yanchor": "top",
        "xanchor": "left",
        "xshift": 4,
        "showarrow": False,
        "text": "call",
    }


def _threshold_lines(drawing: TradeDrawing, *, has_volume: bool) -> list[Figure]:
    """Return the numbers that the strategy compares indicators with, each across its pane."""
    return [
        {
            "type": "line",
            "xref": "paper",
            "yref": f"y{number}",
            "x0": 0,
            "x1": 1,
            "y0": threshold,
            "y1": threshold,
            "line": {"width": 1, "dash": "dash", "color": CALL},
        }
        for number, pane in enumerate(drawing.panes, start=3 if has_volume else 2)
        for threshold in sorted({value for line in pane.lines for value in line.thresholds})
    ]


def _pane_notes(axes: Figure, panes: Sequence[str]) -> list[Figure]:
    return [
        {
            "xref": "paper",
            "yref": "paper",
            "x": 0,
            "y": axes[f"yaxis{k + 2}"]["domain"][1],
            "xanchor": "left",
            "yanchor": "top",
            "xshift": 3,
            "showarrow": False,
            "font": {"size": 10},
            "text": figure_text(title),
        }
        for k, title in enumerate(panes)
    ]


# Values


def _nullable(values: FloatArray) -> list[float | None]:
    """Return numbers for JSON, which knows no NaN."""
    return [value if math.isfinite(value) else None for value in _short(values)]


def _short(values: FloatArray) -> list[float]:
    """Return numbers of seven digits: more can't be seen, and a page of many charts would be large."""
    if not len(values):
        return []
    with np.errstate(divide="ignore", invalid="ignore"):
        magnitude = np.floor(np.log10(np.abs(values)))
    digits = np.where(np.isfinite(magnitude), 6 - magnitude, 0).astype(np.int64)
    return [round(value, place) for value, place in zip(values.tolist(), digits.tolist(), strict=True)]


def _moments(seconds: Iterable[int]) -> list[str]:
    return [_moment(at) for at in seconds]


def _moment(seconds: int) -> str:
    """Return a UTC time as Plotly reads it: without an offset, which it would turn into local time."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S" if at.second else "%Y-%m-%d %H:%M")
