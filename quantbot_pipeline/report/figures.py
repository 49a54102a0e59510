"""Plotly figures of the report as plain documents. Colours of text and grid are the page's business.

Plotly reads a small HTML in names and hover texts; every text that comes from outside is escaped here.
"""

import html
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from quantbot_pipeline.engine.events import BUY_EVENTS, SELL_EVENTS
from quantbot_pipeline.report.content import CoverageMap, EquityCurve, ExampleEvent, ExampleTrade

# Okabe and Ito's palette, which colour-blind people can tell apart, without its black and yellow: these
# are readable on white and on black.
CURVE_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#56b4e9", "#e69f00")

# From nothing covered to everything; both ends are told apart by colour-blind people and on black and white.
_COVERAGE_COLOURS = ((0.0, "#d55e00"), (0.5, "#e8d9a8"), (1.0, "#0072b2"))

# Height of a token's row in the picture of coverage, and of what surrounds the rows, in pixels.
_ROW_PIXELS = 16
_SURROUNDING_PIXELS = 60

# Characters of a token beside its row; the whole is shown when pointed at.
_LABEL_LENGTH = 24

_RISING = "#2f9e8f"
_FALLING = "#d1603d"
_STOP = "#b5179e"
_TARGET = "#6c8f2c"

# How far above the highest candle a target may lie and still be drawn.
_TARGET_REACH = 1.3

# Above this ratio of the highest to the lowest price, equal falls look equal only on a logarithmic axis.
_LOGARITHMIC_ABOVE = 2.5


def equity_figure(curves: Sequence[EquityCurve]) -> dict[str, Any]:
    """Return the equity curves as steps, one line per strategy version."""
    traces = []
    for index, curve in enumerate(curves):
        traces.append(
            {
                "type": "scatter",
                "mode": "lines" if len(curve.days) > 1 else "markers",
                "name": html.escape(f"{curve.strategy} v{curve.version}"),
                "x": [day.isoformat() for day in curve.days],
                "y": [round(value, 6) for value in curve.values],
                "line": {"shape": "hv", "width": 2, "color": CURVE_COLOURS[index % len(CURVE_COLOURS)]},
                "hovertemplate": "%{y:+.1%}",
            }
        )
    layout = {
        "hovermode": "x unified",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 56, "r": 12, "t": 8, "b": 36},
        "xaxis": {"type": "date"},
        "yaxis": {"tickformat": "+.0%", "zeroline": True},
    }
    return {"data": traces, "layout": layout}


def example_figure(example: ExampleTrade) -> dict[str, Any]:
    """Return the trade on its candles: fills, targets, the stop, and the moment of the call."""
    drawn = [event for event in example.events if event.price is not None]
    traces = [
        _candlesticks(example),
        *_target_lines(example),
        *_stop_line(example.events),
        _markers("buy", "triangle-up", _RISING, [event for event in drawn if event.kind in BUY_EVENTS]),
        _markers("sell", "triangle-down", _FALLING, [event for event in drawn if event.kind in SELL_EVENTS]),
    ]
    prices = [candle.low for candle in example.candles] + [candle.high for candle in example.candles]
    prices += [event.price for event in drawn if event.price is not None]
    is_logarithmic = bool(prices) and min(prices) > 0 and max(prices) / min(prices) > _LOGARITHMIC_ABOVE
    layout = {
        "hovermode": "closest",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 72, "r": 12, "t": 8, "b": 36},
        "xaxis": {"type": "date", "rangeslider": {"visible": False}},
        "yaxis": {"type": "log" if is_logarithmic else "linear", "tickformat": ".4~g", "nticks": 8},
        "shapes": [
            {
                "type": "line",
                "xref": "x",
                "yref": "paper",
                "x0": _moment(example.signal_at),
                "x1": _moment(example.signal_at),
                "y0": 0,
                "y1": 1,
                "line": {"width": 1, "dash": "dot", "color": "#888888"},
            }
        ],
        "annotations": [
            {
                "x": _moment(example.signal_at),
                "yref": "paper",
                "y": 1,
                "yanchor": "top",
                "xanchor": "left",
                "xshift": 4,
                "showarrow": False,
                "text": "call",
            }
        ],
    }
    return {"data": [trace for trace in traces if trace], "layout": layout}


def coverage_height(coverage: CoverageMap) -> int:
    """Return the height of the picture of coverage in pixels."""
    return _SURROUNDING_PIXELS + _ROW_PIXELS * (len(coverage.tokens) + 1)


def coverage_figure(coverage: CoverageMap) -> dict[str, Any]:
    """Return coverage as a heat map: a row of all tokens on top, below it the worst ones, a column per cell."""
    names = [f"all {coverage.token_count} tokens", *(html.escape(token.token) for token in coverage.tokens)]
    labels = [names[0], *(html.escape(_shortened(token.token)) for token in coverage.tokens)]
    # One edge more than cells: each column begins at its day's start.
    edges = [*coverage.first_days, coverage.first_days[-1] + timedelta(days=coverage.days_per_cell)]
    shares = [coverage.total, *(token.shares for token in coverage.tokens)]
    trace = {
        "type": "heatmap",
        "name": "",
        "x": [day.isoformat() for day in edges],
        "y": names,
        "z": [[None if share is None else round(share, 3) for share in row] for row in shares],
        "zmin": 0,
        "zmax": 1,
        "colorscale": [list(stop) for stop in _COVERAGE_COLOURS],
        "hoverongaps": False,
        "xhoverformat": "%Y-%m-%d",
        "hovertemplate": "%{y}<br>%{x}: %{z:.1%}",
        "ygap": 1,
        "colorbar": {"tickformat": ".0%", "thickness": 10, "outlinewidth": 0, "tickvals": [0, 0.5, 1]},
    }
    layout = {
        "margin": {"l": 180, "r": 12, "t": 8, "b": 36},
        "xaxis": {"type": "date", "showgrid": False},
        "yaxis": {
            "type": "category",
            "autorange": "reversed",
            "showgrid": False,
            "tickmode": "array",
            "tickvals": names,
            "ticktext": labels,
        },
    }
    return {"data": [trace], "layout": layout}


def _shortened(token: str) -> str:
    """Return a token that is shortened in the middle of its address."""
    if len(token) <= _LABEL_LENGTH:
        return token
    return f"{token[: _LABEL_LENGTH - 8]}…{token[-7:]}"


def _candlesticks(example: ExampleTrade) -> dict[str, Any] | None:
    if not example.candles:
        return None
    return {
        "type": "candlestick",
        "name": "candles",
        "showlegend": False,
        "x": [_moment(candle.opened_at) for candle in example.candles],
        "open": [candle.open for candle in example.candles],
        "high": [candle.high for candle in example.candles],
        "low": [candle.low for candle in example.candles],
        "close": [candle.close for candle in example.candles],
        "increasing": {"line": {"color": _RISING, "width": 1}},
        "decreasing": {"line": {"color": _FALLING, "width": 1}},
        "opacity": 0.75,
    }


def _target_lines(example: ExampleTrade) -> list[dict[str, Any]]:
    highest = max((candle.high for candle in example.candles), default=float("inf"))
    lines: list[dict[str, Any]] = []
    for multiple in example.target_multiples:
        points = _steps(
            example.events,
            [None if event.average_entry is None else event.average_entry * multiple for event in example.events],
        )
        # A target far above everything that happened would squeeze the candles into a corner.
        if not any(price is not None and price <= highest * _TARGET_REACH for _, price in points):
            continue
        lines.append(
            {
                "type": "scatter",
                "mode": "lines",
                "name": "targets",
                "legendgroup": "targets",
                "showlegend": not lines,
                "x": [at for at, _ in points],
                "y": [price for _, price in points],
                "line": {"shape": "hv", "width": 1, "dash": "dash", "color": _TARGET},
                "hovertemplate": f"target {multiple:g}x at %{{y:.4~g}}<extra></extra>",
            }
        )
    return lines


def _stop_line(events: Sequence[ExampleEvent]) -> list[dict[str, Any]]:
    points = _steps(events, [event.stop for event in events])
    if all(stop is None for _, stop in points):
        return []
    return [
        {
            "type": "scatter",
            "mode": "lines",
            "name": "stop",
            "x": [at for at, _ in points],
            "y": [stop for _, stop in points],
            "line": {"shape": "hv", "width": 2, "color": _STOP},
            "hovertemplate": "stop %{y:.4~g}<extra></extra>",
        }
    ]


def _steps(events: Sequence[ExampleEvent], levels: Sequence[float | None]) -> list[tuple[str, float | None]]:
    """Return a level by event as points of a line that ends where the trade is flat."""
    points: list[tuple[str, float | None]] = []
    for event, level in zip(events, levels, strict=True):
        points.append((_moment(event.at), level))
        if event.remaining_position <= 0:
            # The line begins anew with a re-entry.
            points.append((_moment(event.at), None))
    return points


def _markers(name: str, symbol: str, colour: str, events: Sequence[ExampleEvent]) -> dict[str, Any] | None:
    if not events:
        return None
    return {
        "type": "scatter",
        "mode": "markers",
        "name": name,
        "x": [_moment(event.at) for event in events],
        "y": [event.price for event in events],
        "text": [html.escape(f"{event.seq}: {event.kind}") for event in events],
        "marker": {"symbol": symbol, "size": 13, "color": colour, "line": {"width": 1.5, "color": "#ffffff"}},
        "hovertemplate": "%{text}<br>%{x}<br>%{y:.6~g}<extra></extra>",
    }


def _moment(at: datetime) -> str:
    """Return a UTC time as Plotly reads it: without an offset, which it would turn into local time."""
    return at.strftime("%Y-%m-%d %H:%M:%S")
