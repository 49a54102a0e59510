"""Scores by parameter and by pairs of parameters."""

import math
from collections.abc import Sequence
from itertools import combinations
from typing import Any

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray
from quantbot_pipeline.optimization.parameters import CategoricalParameter, Parameter
from quantbot_pipeline.optimization.tally import TrialRecord
from quantbot_pipeline.report.search_content import (
    SearchContent,
    SearchGoal,
    choice_position,
    choices_of,
    shortened,
    value_text,
)
from quantbot_pipeline.report.search_drawing import (
    BEST,
    LINE,
    POINT,
    Figure,
    SearchFigure,
    evenly,
    hover,
    label,
    score_bounds,
    score_of,
)
from quantbot_pipeline.report.search_importance import ImportanceEstimate
from quantbot_pipeline.report.search_words import counted
from quantbot_pipeline.report.tables import figure_text

SLICE_POINTS = 500
"""Trials that are drawn per parameter at most."""

SLICES = 12
"""Parameters that are drawn at most, the most important ones."""

_IN_PAIRS = 3
_CHOICE_LENGTH = 16
_FEWEST_FOR_MEDIANS = 30
_MEDIAN_BINS = 8
_MOST_TICKS = 6
_LONG_NUMBER = 10_000


def slice_figures(search: SearchContent, estimate: ImportanceEstimate | None = None) -> list[SearchFigure]:
    """Return the first goal's score over each parameter by itself, the most important ones first."""
    scored = search.scored()
    figures = []
    for position, parameter in enumerate(_by_weight(search.parameters, estimate)[:SLICES]):
        present = [trial for trial in scored if parameter.path in trial.params]
        # One point says nothing about a parameter.
        if len(present) > 1:
            figures.append(_slice(search, parameter, present, len(scored), position))
    return figures


def contour_figures(search: SearchContent, estimate: ImportanceEstimate | None = None) -> list[SearchFigure]:
    """Return maps of the first goal's score over pairs of the three most important parameters.

    A cell shows the median of the trials in it; cells without trials stay empty: nothing is made up between trials.
    """
    scored = search.scored()
    figures: list[SearchFigure] = []
    for x, y in combinations(_by_weight(search.parameters, estimate)[:_IN_PAIRS], 2):
        both = [trial for trial in scored if x.path in trial.params and y.path in trial.params]
        if len(both) >= _FEWEST_FOR_MEDIANS:
            figures.append(_contour(search, x, y, both, len(figures)))
    return figures


def _by_weight(parameters: Sequence[Parameter], estimate: ImportanceEstimate | None) -> list[Parameter]:
    if estimate is None or not estimate.weights:
        return list(parameters)
    shares = {weight.path: weight.share for weight in estimate.weights}
    # A stable order: parameters of equal weight stay in that of the space.
    return sorted(parameters, key=lambda parameter: -shares.get(parameter.path, 0.0))


def _slice(
    search: SearchContent, parameter: Parameter, present: Sequence[TrialRecord], scored_count: int, position: int
) -> SearchFigure:
    goal = search.goals[0]
    drawn = evenly(present, SLICE_POINTS, keep=search.best)
    axis, places = _axis(parameter, present)
    by_index = dict(zip((trial.index for trial in present), places, strict=True))
    is_choice = isinstance(parameter, CategoricalParameter)
    winner = max(present, key=score_of)
    traces: list[Figure] = [
        {
            "type": "scatter",
            "mode": "markers",
            "name": "trial",
            "x": [by_index[trial.index] + (_offset(trial.index) if is_choice else 0) for trial in drawn],
            "y": [goal.shown(score_of(trial)) for trial in drawn],
            "text": hover(drawn, search.goals),
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"size": 5, "color": POINT, "opacity": 0.7},
        }
    ]
    if len(present) >= _FEWEST_FOR_MEDIANS:
        traces.append(_medians(parameter, present, places, goal))
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "best",
            "x": [by_index[winner.index] + (_offset(winner.index) if is_choice else 0)],
            "y": [goal.shown(score_of(winner))],
            "text": hover([winner], search.goals),
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"symbol": "star", "size": 13, "color": BEST},
        }
    )
    bounds, hidden = score_bounds([score_of(trial) for trial in drawn])
    y_axis: Figure = {"title": {"text": label(goal.text)}, "nticks": 6}
    if bounds:
        y_axis["range"] = sorted(goal.shown(score) for score in bounds)
    notes = []
    if len(present) < scored_count:
        notes.append(f"Exists in {counted(len(present))} of {counted(scored_count)} scored trials.")
    if len(drawn) < len(present):
        notes.append(f"{counted(len(drawn))} points of {counted(len(present))}.")
    if hidden:
        notes.append(f"{counted(hidden)} lie far below.")
    return SearchFigure(
        f"search-slice-{position}",
        parameter.path,
        f"Score by {parameter.path}",
        {
            "data": traces,
            "layout": {
                "hovermode": "closest",
                "showlegend": False,
                "margin": {"l": 52, "r": 8, "t": 6, "b": 34},
                "xaxis": axis,
                "yaxis": y_axis,
            },
        },
        " ".join(notes),
    )


def _axis(parameter: Parameter, trials: Sequence[TrialRecord]) -> tuple[Figure, list[float]]:
    """Return the axis of a parameter, and where each trial lies on it."""
    if isinstance(parameter, CategoricalParameter):
        choices = choices_of(parameter, trials)
        names = [figure_text(shortened(value_text(choice), _CHOICE_LENGTH)) for choice in choices]
        places = [float(choice_position(choices, trial.params[parameter.path])) for trial in trials]
        axis = {
            "tickmode": "array",
            "tickvals": list(range(len(names))),
            "ticktext": names,
            "range": [-0.6, len(names) - 0.4],
            "showgrid": False,
            "zeroline": False,
            "automargin": True,
        }
        return axis, places
    values = [float(trial.params[parameter.path]) for trial in trials]
    if parameter.log and min(values) > 0:
        ticks = _log_ticks(min(values), max(values))
        return {
            "type": "log",
            "tickmode": "array",
            "tickvals": ticks,
            "ticktext": [_tick(tick) for tick in ticks],
        }, values
    distinct = sorted(set(values))
    if len(distinct) <= _MOST_TICKS:
        # Few values, such as those of a grid: each is named, and none between them.
        names = [_tick(value) for value in distinct]
        return {"type": "linear", "tickmode": "array", "tickvals": distinct, "ticktext": names}, values
    tick_format = ".3~s" if max(map(abs, values)) >= _LONG_NUMBER else ".3~g"
    return {"type": "linear", "nticks": 6, "tickformat": tick_format}, values


def _log_ticks(low: float, high: float) -> list[float]:
    """Return a few round numbers along a logarithmic axis; Plotly's own overlap where it is short."""
    decades = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    for steps in ((1, 1.2, 1.5, 2, 3, 4, 5, 7), (1, 1.5, 2, 3, 5, 7), (1, 2, 5), (1,)):
        ticks = [step * 10.0**decade for decade in decades for step in steps]
        ticks = [tick for tick in ticks if low * 0.999 <= tick <= high * 1.001]
        if len(ticks) <= _MOST_TICKS:
            return ticks or [low]
    return ticks[:: math.ceil(len(ticks) / _MOST_TICKS)]


def _tick(value: float) -> str:
    return f"{value / 1000:.3g}k" if value >= _LONG_NUMBER else f"{value:.3g}"


def _offset(index: int) -> float:
    """Return where a trial is drawn beside its choice, so that equal ones do not hide each other; always the same."""
    return ((index * 0.618034) % 1 - 0.5) * 0.5


def _medians(parameter: Parameter, trials: Sequence[TrialRecord], places: Sequence[float], goal: SearchGoal) -> Figure:
    """Return the typical score along a parameter: per choice, or per eighth of the trials."""
    scores = np.array([score_of(trial) for trial in trials])
    at = np.array(places)
    if isinstance(parameter, CategoricalParameter):
        groups = [np.flatnonzero(at == place) for place in np.unique(at)]
    else:
        order = np.argsort(at, kind="stable")
        # Equal values stay in one group, or a step would be cut at random.
        edges = np.unique(np.searchsorted(at[order], at[order][[k[0] for k in _chunks(len(order))]]))
        groups = [group for group in np.split(order, edges[1:]) if len(group)]
    return {
        "type": "scatter",
        "mode": "markers" if isinstance(parameter, CategoricalParameter) else "lines",
        "name": "median",
        "x": [float(np.median(at[group])) for group in groups],
        "y": [goal.shown(float(np.median(scores[group]))) for group in groups],
        "hovertemplate": "median %{y:.4~g}<extra></extra>",
        "line": {"width": 2.5, "color": LINE},
        "marker": {"symbol": "line-ew", "size": 26, "line": {"width": 3, "color": LINE}},
    }


def _chunks(count: int) -> list[Any]:
    return [chunk for chunk in np.array_split(np.arange(count), _MEDIAN_BINS) if len(chunk)]


def _contour(
    search: SearchContent, x: Parameter, y: Parameter, trials: Sequence[TrialRecord], position: int
) -> SearchFigure:
    goal = search.goals[0]
    scores = np.array([score_of(trial) for trial in trials])
    most = int(min(max(math.sqrt(len(trials) / 3), 3), 14))
    x_cells, x_axis, x_edges = _cells(x, trials, most)
    y_cells, y_axis, y_edges = _cells(y, trials, most)
    grid: list[list[float | None]] = []
    counts: list[list[str]] = []
    for row in range(len(y_edges) - 1):
        inside = y_cells == row
        groups = [scores[inside & (x_cells == column)] for column in range(len(x_edges) - 1)]
        grid.append([goal.shown(float(np.median(group))) if len(group) else None for group in groups])
        counts.append([f"{len(group)} trials" if len(group) != 1 else "1 trial" for group in groups])
    # One disaster would make all other cells look alike.
    known = np.array([value for row in grid for value in row if value is not None])
    low, high = (
        (float(np.quantile(known, 0.05)), float(known.max()))
        if not goal.is_minimised
        else (
            float(known.min()),
            float(np.quantile(known, 0.95)),
        )
    )
    winner = max(range(len(trials)), key=lambda k: scores[k])
    traces: list[Figure] = [
        {
            "type": "heatmap",
            "name": "",
            "x": x_edges,
            "y": y_edges,
            "z": grid,
            "zmin": low,
            "zmax": high if high > low else low + 1e-9,
            "colorscale": "Cividis",
            "reversescale": goal.is_minimised,
            "hoverongaps": False,
            "text": counts,
            "hovertemplate": "median %{z:.4~g} of %{text}<extra></extra>",
            "xgap": 1,
            "ygap": 1,
            "colorbar": {"thickness": 10, "outlinewidth": 0, "nticks": 5},
        },
        {
            "type": "scatter",
            "mode": "markers",
            "name": "best",
            "x": [_axis(x, trials)[1][winner]],
            "y": [_axis(y, trials)[1][winner]],
            "text": hover([trials[winner]], search.goals),
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"symbol": "star", "size": 14, "color": BEST, "line": {"width": 1, "color": "#ffffff"}},
        },
    ]
    return SearchFigure(
        f"search-contour-{position}",
        f"↑ {y.path}  → {x.path}",
        f"Median score by {x.path} and {y.path}",
        {
            "data": traces,
            "layout": {
                "hovermode": "closest",
                "showlegend": False,
                "margin": {"l": 40, "r": 8, "t": 6, "b": 30},
                "xaxis": x_axis | {"showgrid": False},
                "yaxis": y_axis | {"showgrid": False},
            },
        },
        "" if len(trials) == len(search.scored()) else f"Both exist in {counted(len(trials))} scored trials.",
    )


def _cells(parameter: Parameter, trials: Sequence[TrialRecord], most: int) -> tuple[FloatArray, Figure, list[float]]:
    """Return the cell of each trial, the axis, and the edges of the cells."""
    axis, places = _axis(parameter, trials)
    at = np.array(places)
    if isinstance(parameter, CategoricalParameter):
        edges = [k - 0.5 for k in range(len(axis["tickvals"]) + 1)]
        return at, axis | {"range": [edges[0], edges[-1]]}, edges
    values = np.unique(at)
    is_log = axis["type"] == "log"
    if 1 < len(values) <= most:
        # Few values, such as those of a grid: a cell each.
        scale = np.log(values) if is_log else values
        middles = (scale[1:] + scale[:-1]) / 2
        ends = [scale[0] - (middles[0] - scale[0]), *middles, scale[-1] + (scale[-1] - middles[-1])]
    else:
        low, high = float(at.min()), float(at.max())
        if low == high:
            low, high = (low * 0.9, high * 1.1) if is_log else (low - 0.5, high + 0.5)
        ends = list(
            np.linspace(math.log(low), math.log(high), most + 1) if is_log else np.linspace(low, high, most + 1)
        )
    inner = np.array(ends[1:-1])
    cells = np.searchsorted(inner, np.log(at) if is_log else at, side="right")
    edges = [float(end) for end in (np.exp(ends) if is_log else ends)]
    bounds = [math.log10(edges[0]), math.log10(edges[-1])] if is_log else [edges[0], edges[-1]]
    return cells.astype(np.float64), axis | {"range": bounds}, edges
