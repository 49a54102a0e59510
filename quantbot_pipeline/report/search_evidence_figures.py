"""What a verdict was made of: unseen trades, Sharpe ratios, overfitting logits, other histories."""

import math
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from quantbot_pipeline.report.search_content import OverfittingSpread, SharpeSpread, WalkForwardCurve
from quantbot_pipeline.report.search_drawing import BEST, LINE, LUCK, MARGIN, POINT, Figure, SearchFigure
from quantbot_pipeline.report.search_words import counted
from quantbot_pipeline.report.tables import figure_text


def walk_forward_figure(curve: WalkForwardCurve) -> SearchFigure | None:
    """Return the equity of unseen trades with the windows they fall into; None without trades."""
    if not curve.days:
        return None
    trace = {
        "type": "scatter",
        "mode": "lines" if len(curve.days) > 1 else "markers",
        "name": "unseen trades",
        "x": [day.isoformat() for day in curve.days],
        "y": [round(value, 6) for value in curve.values],
        "line": {"shape": "hv", "width": 2, "color": LINE},
        "hovertemplate": "%{x}: %{y:+.2%}<extra></extra>",
    }
    # Its last trades may be done when the next window has begun.
    ends = [min(window.test_to, later.test_from) for window, later in pairwise(curve.windows)]
    ends += [window.test_to for window in curve.windows[-1:]]
    # Every second window is shaded, so that their ends are seen without lines.
    shapes = [
        {
            "type": "rect",
            "xref": "x",
            "yref": "paper",
            "x0": window.test_from.isoformat(),
            "x1": end.isoformat(),
            "y0": 0,
            "y1": 1,
            "line": {"width": 0},
            "fillcolor": "#888888",
            "opacity": 0.12,
            "layer": "below",
        }
        for window, end in zip(curve.windows[::2], ends[::2], strict=True)
    ]
    layout = {
        "hovermode": "x",
        "showlegend": False,
        "margin": MARGIN,
        "xaxis": {"type": "date"},
        "yaxis": {"tickformat": "+.2~%", "zeroline": True},
        "shapes": shapes,
    }
    return SearchFigure(
        "search-walk-forward",
        "Results on unseen calls",
        "Sum of the results of trades that were made with parameters chosen before them",
        {"data": [trace], "layout": layout},
        f"Sum of the results of {counted(curve.trade_count)} unseen trades by the day of the call, divided by "
        "their number: the line ends at the mean result of a trade. Bands are the windows; parameters were chosen "
        "before each.",
    )


def sharpe_figure(spread: SharpeSpread) -> SearchFigure | None:
    """Return how the trials' Sharpe ratios are spread, with the winner's and with what luck reaches."""
    ratios = [ratio for ratio in spread.ratios if math.isfinite(ratio)]
    if not ratios:
        return None
    low, high = _histogram_range(ratios)
    counts, edges = np.histogram(ratios, bins=_bin_count(len(ratios)), range=(low, high))
    marks = [("winner", spread.winner, BEST), ("best by luck", spread.threshold, LUCK)]
    layout = _histogram_layout("Sharpe ratio per period", "trials")
    layout |= _marks(marks, low, high)
    note = f"{counted(len(ratios))} trials; a period is {_length(spread.period_seconds)}."
    if spread.threshold is not None:
        note += (
            f" The best of {counted(spread.trial_count)} trials without an edge is expected at {spread.threshold:.3g}"
            if spread.trial_count
            else f" The best of as many trials without an edge is expected at {spread.threshold:.3g}"
        )
        if spread.independent_count is not None:
            note += f" (they are worth {counted(math.floor(spread.independent_count))} independent ones)"
        note += "."
    if spread.probability is not None:
        note += f" Probability that the winner's true ratio is above it: {spread.probability:.2f}."
    return SearchFigure(
        "search-sharpes",
        "Sharpe ratios of all trials",
        "Histogram of the trials' Sharpe ratios with the winner and the deflated threshold",
        {"data": [_bars(edges.tolist(), counts.tolist(), [POINT] * len(counts))], "layout": layout},
        note,
    )


def overfitting_figure(spread: OverfittingSpread) -> SearchFigure | None:
    """Return how the best trial of one half of the periods ranks on the other; None without splits."""
    edges, counts = spread.logits.edges, spread.logits.counts
    if not sum(counts):
        return None
    middles = [(low + high) / 2 for low, high in pairwise(edges)]
    layout = _histogram_layout("logit of the rank on the other half", "splits")
    layout |= _marks([("no better than a typical trial", 0.0, "#888888")], edges[0], edges[-1])
    return SearchFigure(
        "search-overfitting",
        "Overfitting",
        "Histogram of overfitting logits; those at or below 0 are splits in which the choice was worth nothing",
        {
            "data": [_bars(edges, counts, [BEST if middle <= 0 else POINT for middle in middles])],
            "layout": layout,
        },
        f"The periods are halved in {counted(sum(counts))} ways; the trial that is best on one half is ranked on "
        f"the other. In {spread.probability:.0%} of them (orange) it is no better there than a typical trial: the "
        "probability of backtest overfitting.",
    )


def paths_figure(means: Sequence[float]) -> SearchFigure | None:
    """Return the mean results of the histories that combinatorial cross-validation puts together; None without."""
    finite = [mean for mean in means if math.isfinite(mean)]
    if len(finite) < 2:
        return None
    low, high = _histogram_range(finite)
    counts, edges = np.histogram(finite, bins=_bin_count(len(finite)), range=(low, high))
    layout = _histogram_layout("mean result of a trade", "histories")
    layout["xaxis"]["tickformat"] = "+.1%"
    layout |= _marks([("0", 0.0, "#888888")], low, high)
    return SearchFigure(
        "search-paths",
        "Other histories",
        "Histogram of the mean results of histories put together by combinatorial cross-validation",
        {"data": [_bars(edges.tolist(), counts.tolist(), [LINE] * len(counts))], "layout": layout},
        f"Combinatorially purged cross-validation: {counted(len(finite))} histories, in each of which every call is "
        "traded with parameters chosen on other calls, later ones among them.",
    )


def _bin_count(count: int) -> int:
    return int(min(max(math.sqrt(count), 5), 40))


def _histogram_range(values: Sequence[float]) -> tuple[float, float]:
    """Return the ends of a histogram; wide enough for numbers when all values are equal."""
    low, high = min(values), max(values)
    pad = max(abs(low), 1.0) * 0.05 if high - low < 1e-12 else 0.0
    return low - pad, high + pad


def _bars(edges: Sequence[float], counts: Sequence[int], colours: Sequence[str]) -> Figure:
    return {
        "type": "bar",
        "name": "",
        "x": [(low + high) / 2 for low, high in pairwise(edges)],
        "y": list(counts),
        "width": [high - low for low, high in pairwise(edges)],
        "customdata": [[low, high] for low, high in pairwise(edges)],
        "hovertemplate": "%{y:,} from %{customdata[0]:.3~g} to %{customdata[1]:.3~g}<extra></extra>",
        "marker": {"color": list(colours), "line": {"width": 0.5, "color": "#ffffff"}},
    }


def _histogram_layout(x: str, y: str) -> Figure:
    return {
        "showlegend": False,
        "bargap": 0,
        "margin": {"l": 56, "r": 12, "t": 36, "b": 40},
        "xaxis": {"title": {"text": x}, "zeroline": False},
        "yaxis": {"title": {"text": y}, "rangemode": "tozero"},
    }


def _marks(marks: Sequence[tuple[str, float | None, str]], low: float, high: float) -> Figure:
    """Return upright lines between the ends of an axis with their names above the picture, a row each."""
    known = [(name, value, colour) for name, value, colour in marks if value is not None and math.isfinite(value)]
    return {
        "shapes": [
            {
                "type": "line",
                "xref": "x",
                "yref": "paper",
                "x0": value,
                "x1": value,
                "y0": 0,
                "y1": 1,
                "line": {"width": 2, "dash": "dash", "color": colour},
            }
            for _, value, colour in known
        ],
        "annotations": [
            {
                "x": value,
                "yref": "paper",
                "y": 1,
                "yanchor": "bottom",
                "yshift": 14 * row,
                # A name never runs out of the picture.
                "xanchor": "left" if value < (low + high) / 2 else "right",
                "showarrow": False,
                "text": figure_text(name),
            }
            for row, (name, value, _) in enumerate(known)
        ],
    }


def _length(seconds: int) -> str:
    for size, unit in ((86_400, "day"), (3_600, "hour"), (60, "minute")):
        if seconds >= size and seconds % size == 0:
            count = seconds // size
            return f"one {unit}" if count == 1 else f"{count} {unit}s"
    return f"{seconds} seconds"
