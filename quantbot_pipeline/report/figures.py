"""Plotly figures of the report as plain documents. Colours of text and grid are the page's business.

Plotly reads a small HTML in names and hover texts; every text that comes from outside is escaped here.
"""

from bisect import bisect_right
from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

import numpy as np

from quantbot_pipeline.report.content import CoverageMap, EquityCurve, Standing
from quantbot_pipeline.report.site_content import CallerMonth, TokenPrices, TradeLine
from quantbot_pipeline.report.tables import figure_text

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

# Bars of the picture of results; what lies further out than this share of trades at each end is in the outer bars.
_GAIN_COLOUR, _LOSS_COLOUR = "#009e73", "#d55e00"
_SPREAD_BARS = 40
_SPREAD_TAIL = 0.01


# Callers and strategy versions that are drawn against each other; numbers are written where cells are wide enough.
MATRIX_ROWS = 30
_MATRIX_COLUMNS = 30
_MATRIX_TEXTS = 8
_GAIN_COLOURS = ((0.0, "#d55e00"), (0.5, "#e8e4da"), (1.0, "#009e73"))
# Readable on each of these, in the light and in the dark: what Plotly would choose is white on the green.
_MATRIX_TEXT_COLOUR = "#0d0f11"


def equity_figure(curves: Sequence[EquityCurve]) -> dict[str, Any]:
    """Return the equity curves as steps, one line per strategy version."""
    traces = []
    for index, curve in enumerate(curves):
        traces.append(
            {
                "type": "scatter",
                "mode": "lines" if len(curve.days) > 1 else "markers",
                "name": figure_text(f"{curve.strategy} v{curve.version}"),
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


def coverage_height(coverage: CoverageMap) -> int:
    """Return the height of the picture of coverage in pixels."""
    return _SURROUNDING_PIXELS + _ROW_PIXELS * (len(coverage.tokens) + 1)


def coverage_figure(coverage: CoverageMap) -> dict[str, Any]:
    """Return coverage as a heat map: a row of all tokens on top, below it the worst ones, a column per cell."""
    names = [f"all {coverage.token_count} tokens", *(figure_text(token.token) for token in coverage.tokens)]
    labels = [names[0], *(figure_text(_shortened(token.token)) for token in coverage.tokens)]
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


def spread_figure(results: Sequence[float]) -> dict[str, Any]:
    """Return how many trades came out how, as bars; results far out are counted in the bars at the ends.

    Args:
        results: Pnl of each trade, at least one.
    """
    values = np.sort(np.asarray(results, dtype=np.float64))
    low, high = np.quantile(values, [_SPREAD_TAIL, 1 - _SPREAD_TAIL])
    width = max((high - low) / _SPREAD_BARS, 1e-6)
    # A result of exactly zero is none that earned something: it is counted left of zero.
    values = np.where(values == 0, -width / 2, values)
    first = np.floor(min(low, values[values > -width].min(initial=low)) / width)
    # Edges at multiples of the width: one of them is zero, so that no bar holds gains and losses.
    edges = np.arange(first, max(np.ceil(high / width), first + 1) + 1) * width
    counts = np.histogram(np.clip(values, edges[0] + width / 2, edges[-1] - width / 2), edges)[0]
    middles = (edges[:-1] + edges[1:]) / 2
    trace = {
        "type": "bar",
        "name": "trades",
        "x": [round(float(middle), 6) for middle in middles],
        "y": counts.tolist(),
        "width": float(width) * 0.92,
        "marker": {"color": [_LOSS_COLOUR if middle < 0 else _GAIN_COLOUR for middle in middles]},
        "hovertemplate": "about %{x:+.1%}: %{y} trades<extra></extra>",
    }
    layout = {
        "hovermode": "closest",
        "showlegend": False,
        "margin": {"l": 56, "r": 12, "t": 8, "b": 44},
        "xaxis": {"tickformat": "+.0%", "title": {"text": "pnl of a trade"}, "zeroline": True},
        "yaxis": {"title": {"text": "trades"}},
    }
    return {"data": [trace], "layout": layout}


def months_figure(months: Sequence[CallerMonth]) -> dict[str, Any]:
    """Return the mean pnl by month, one line per strategy version; of many those with most trades."""
    by_strategy: dict[tuple[str, str], list[CallerMonth]] = defaultdict(list)
    for month in months:
        if month.mean_pnl is not None:
            by_strategy[month.strategy, month.version].append(month)
    most = sorted(by_strategy, key=lambda name: (-sum(each.trade_count for each in by_strategy[name]), name))
    traces = [
        {
            "type": "scatter",
            "mode": "lines+markers",
            "name": figure_text(f"{name[0]} v{name[1]}"),
            "x": [f"{each.month}-01" for each in by_strategy[name]],
            "y": [round(each.mean_pnl or 0.0, 6) for each in by_strategy[name]],
            "customdata": [each.trade_count for each in by_strategy[name]],
            "line": {"width": 2, "color": CURVE_COLOURS[k]},
            "hovertemplate": "%{y:+.1%} over %{customdata} trades",
        }
        for k, name in enumerate(most[: len(CURVE_COLOURS)])
    ]
    layout = {
        "hovermode": "x unified",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 56, "r": 12, "t": 8, "b": 36},
        "xaxis": {"type": "date", "tickformat": "%b %Y", "dtick": "M1"},
        "yaxis": {"tickformat": "+.0%", "zeroline": True},
    }
    return {"data": traces, "layout": layout}


def price_figure(prices: TokenPrices, trades: Sequence[TradeLine]) -> dict[str, Any]:
    """Return a token's price over all of its time, with a mark at each call: won or lost in the mean of its trades.

    Args:
        prices: The prices; at least one.
        trades: What became of calls on the token, under any number of strategies.
    """
    by_call: dict[int, list[TradeLine]] = defaultdict(list)
    for trade in trades:
        by_call[trade.call_id].append(trade)
    traces: list[dict[str, Any]] = [
        {
            "type": "scatter",
            "mode": "lines" if len(prices.at) > 1 else "markers",
            "name": "price",
            "x": [_naive(at) for at in prices.at],
            "y": list(prices.close),
            "line": {"width": 1.5, "color": CURVE_COLOURS[0]},
            "hovertemplate": "%{x|%Y-%m-%d %H:%M}: %{y:.6~g}<extra></extra>",
        }
    ]
    for name, colour, symbol in _CALL_MARKS:
        calls = [of_call for of_call in by_call.values() if _outcome(of_call) == name]
        if calls:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": f"calls, {name}",
                    "x": [_naive(of_call[0].signal_at) for of_call in calls],
                    "y": [_price_at(prices, of_call[0].signal_at) for of_call in calls],
                    "text": [figure_text(_call_words(of_call)) for of_call in calls],
                    "marker": {"color": colour, "symbol": symbol, "size": 10},
                    "hovertemplate": "%{text}<extra></extra>",
                }
            )
    layout = {
        "hovermode": "closest",
        "showlegend": True,
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "margin": {"l": 64, "r": 12, "t": 8, "b": 36},
        "xaxis": {"type": "date"},
        "yaxis": {"type": "log" if min(prices.close) > 0 else "linear", "tickformat": "~g", "nticks": 8},
    }
    return {"data": traces, "layout": layout}


_CALL_MARKS = (
    ("won", _GAIN_COLOUR, "triangle-up"),
    ("lost", _LOSS_COLOUR, "triangle-down"),
    ("skipped", "#888888", "circle-open"),
)


def _outcome(of_call: Sequence[TradeLine]) -> str:
    mean = _mean_result(of_call)
    if mean is None:
        return "skipped"
    return "won" if mean > 0 else "lost"


def _mean_result(of_call: Sequence[TradeLine]) -> float | None:
    results = [trade.pnl for trade in of_call if trade.pnl is not None]
    return sum(results) / len(results) if results else None


def _call_words(of_call: Sequence[TradeLine]) -> str:
    first, mean = of_call[0], _mean_result(of_call)
    bought = sum(trade.pnl is not None for trade in of_call)
    trades = "one trade" if bought == 1 else f"{bought} trades"
    result = "nothing was bought" if mean is None else f"{mean:+.1%} in the mean of {trades}"
    return f"{first.signal_at:%Y-%m-%d %H:%M} call {first.call_id} by {first.caller[1] or 'a caller'}: {result}"


def _price_at(prices: TokenPrices, at: datetime) -> float:
    """Return the last price before a time, the first one for a time before all."""
    return prices.close[max(bisect_right(prices.at, at) - 1, 0)]


def _naive(at: datetime) -> str:
    # Plotly takes times as they are written; all of them are UTC.
    return f"{at:%Y-%m-%d %H:%M:%S}"


def matrix_figure(standings: Sequence[Standing]) -> dict[str, Any]:
    """Return the mean pnl of callers under strategy versions as a heat map, a row per caller, the best-ranked on top.

    Args:
        standings: Of callers; those of more callers than fit are left out by their best rank.
    """
    strategies = list(dict.fromkeys((row.strategy, row.version) for row in standings))[:_MATRIX_COLUMNS]
    best: dict[tuple[str, str], int] = {}
    for row in standings:
        if row.caller_name:
            best[row.caller_name] = min(row.rank, best.get(row.caller_name, row.rank))
    callers = sorted(best, key=lambda name: (best[name], name))[:MATRIX_ROWS]
    cells = {(row.caller_name, (row.strategy, row.version)): row for row in standings}
    means = [[_mean_of(cells.get((caller, strategy))) for strategy in strategies] for caller in callers]
    counts = [[_trades_of(cells.get((caller, strategy))) for strategy in strategies] for caller in callers]
    # One result far beyond all others would leave the others without colour.
    known = sorted(abs(mean) for row_of in means for mean in row_of if mean is not None)
    bound = known[int(0.9 * (len(known) - 1))] if known else 0.0
    trace = {
        "type": "heatmap",
        "name": "",
        "x": [figure_text(f"{name} v{version}") for name, version in strategies],
        "y": [figure_text(f"{source} / {handle}") for source, handle in callers],
        "z": means,
        "customdata": counts,
        "texttemplate": "%{z:+.0%}" if len(strategies) <= _MATRIX_TEXTS else "",
        "textfont": {"color": _MATRIX_TEXT_COLOUR},
        "zmin": -(bound or 1.0),
        "zmax": bound or 1.0,
        "colorscale": [[at, colour] for at, colour in _GAIN_COLOURS],
        "showscale": False,
        "xgap": 1,
        "ygap": 1,
        "hovertemplate": "%{y}<br>%{x}<br>%{z:+.1%} over %{customdata} trades<extra></extra>",
    }
    layout = {
        "hovermode": "closest",
        "height": matrix_height(standings),
        "margin": {"l": 12, "r": 12, "t": 8, "b": 12},
        "xaxis": {
            "type": "category",
            "automargin": True,
            "tickvals": trace["x"],
            "ticktext": [figure_text(_shortened(f"{name} v{version}")) for name, version in strategies],
        },
        "yaxis": {
            "type": "category",
            "autorange": "reversed",
            "tickvals": trace["y"],
            "ticktext": [figure_text(_shortened(handle)) for _, handle in callers],
        },
    }
    return {"data": [trace], "layout": layout}


def matrix_height(standings: Sequence[Standing]) -> int:
    """Return the height of the picture of callers under strategies in pixels."""
    callers = len({row.caller_name for row in standings if row.caller_name})
    return 150 + 26 * min(callers, MATRIX_ROWS)


def _mean_of(row: Standing | None) -> float | None:
    return None if row is None or row.mean_pnl is None else round(row.mean_pnl, 6)


def _trades_of(row: Standing | None) -> int:
    return 0 if row is None else row.trade_count
