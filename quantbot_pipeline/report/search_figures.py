"""How a search went: scores by trial, what parameters are worth, the Pareto front."""

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from itertools import combinations

from quantbot_pipeline.optimization.tally import TrialRecord
from quantbot_pipeline.report.search_content import SearchContent, SearchGoal, first_score, shortened
from quantbot_pipeline.report.search_drawing import (
    BEST,
    LEGEND,
    MARGIN,
    POINT,
    Figure,
    SearchFigure,
    evenly,
    hover,
    label,
    score_bounds,
    score_of,
    shown_score,
)
from quantbot_pipeline.report.search_importance import ImportanceEstimate
from quantbot_pipeline.report.search_words import STATE_WORDS, counted
from quantbot_pipeline.report.tables import figure_text

HISTORY_POINTS = 2_000
"""Trials that the history draws at most; a browser gets slow with many more."""

FRONT_POINTS = 1_000
"""Beaten trials that are drawn beside a front at most."""

_FRONT_PAIRS = 3
_FAR_WORSE = "Trials that are far worse than the rest lie outside of the picture."
_STATE_COLOURS = {"unscored": "#e69f00", "pruned": "#56b4e9", "refused": "#999999", "failed": "#d55e00"}
_BAR_PIXELS = 44
_HISTORY_PIXELS = 430


def history_figure(search: SearchContent) -> SearchFigure | None:
    """Return the scores of the first goal in the order of the trials with the best so far; None without any score."""
    goal = search.goals[0]
    scored = search.scored()
    if not scored:
        return None
    drawn = evenly(scored, HISTORY_POINTS, keep=search.best)
    shown = [goal.shown(score_of(trial)) for trial in drawn]
    traces: list[Figure] = []
    traces.append(
        {
            "type": "scatter",
            "mode": "markers",
            "name": "trial",
            "x": [trial.index for trial in drawn],
            "y": shown,
            "text": hover(drawn, search.goals),
            "hovertemplate": "%{text}<extra></extra>",
            "marker": {"size": 6, "color": POINT, "opacity": 0.75},
        }
    )
    # The line knows every scored trial, also those that are not drawn; it needs its corners alone.
    steps = improvements(scored)
    if scored[-1].index != steps[-1][0]:
        steps.append((scored[-1].index, steps[-1][1]))
    traces.append(
        {
            "type": "scatter",
            "mode": "lines",
            "name": "best so far",
            "x": [index for index, _ in steps],
            "y": [goal.shown(score) for _, score in steps],
            "hovertemplate": "best up to trial %{x}: %{y:.4~g}<extra></extra>",
            "line": {"shape": "hv", "width": 2, "color": BEST},
        }
    )
    bounds, hidden = score_bounds([score_of(trial) for trial in drawn])
    others = _others(search.trials)
    traces += others
    last = max(trial.index for trial in search.trials)
    layout: Figure = {
        "hovermode": "closest",
        "showlegend": True,
        "legend": LEGEND,
        "margin": MARGIN,
        "xaxis": {"title": {"text": "trial"}, "range": [-0.02 * last - 0.5, 1.02 * last + 0.5]},
        "yaxis": {"title": {"text": label(goal.text)}, "domain": [0.14, 1] if others else [0, 1]},
    }
    if bounds:
        ends = sorted(goal.shown(score) for score in bounds)
        layout["yaxis"]["range"] = ends
    if others:
        layout["yaxis2"] = {
            "domain": [0, 0.08],
            "range": [-1, len(STATE_WORDS) - 1],
            "fixedrange": True,
            "showgrid": False,
            "zeroline": False,
            "showticklabels": False,
        }
        layout["xaxis"]["anchor"] = "y2"
    notes = []
    if len(drawn) < len(scored):
        notes.append(
            f"Drawn are {counted(len(drawn))} of {counted(len(scored))} points, evenly chosen, the best among them."
        )
    if hidden:
        trials = "1 trial is" if hidden == 1 else f"{counted(hidden)} trials are"
        notes.append(f"{trials} far worse than the rest, outside of the picture.")
    if others:
        notes.append("Marks at the bottom are trials without a score.")
    if len(search.goals) > 1:
        notes.append("Of several goals this is the first.")
    return SearchFigure(
        "search-history",
        "History",
        f"Scores of the trials in their order, and the best so far: {search.goals[0].text}",
        {"data": traces, "layout": layout},
        " ".join(notes),
        # On a telephone the names of the states need a line each.
        pixels=_HISTORY_PIXELS if others else None,
    )


def importance_figure(estimate: ImportanceEstimate) -> SearchFigure | None:
    """Return what each parameter is worth as bars; None when that can't be said."""
    if not estimate.weights:
        return None
    weights = estimate.weights
    names = [figure_text(weight.path) for weight in weights]
    trace = {
        "type": "bar",
        "orientation": "h",
        "name": "",
        "y": list(range(len(weights))),
        "x": [round(weight.share, 4) for weight in weights],
        "width": 0.42,
        "text": names,
        "textposition": "none",
        "hovertemplate": "%{text}<br>%{x:.0%}<extra></extra>",
        "error_x": {
            "type": "data",
            "symmetric": False,
            "array": [round(weight.spread, 4) for weight in weights],
            "arrayminus": [round(min(weight.spread, weight.share), 4) for weight in weights],
            "thickness": 1,
            "width": 3,
            "color": "#888888",
        },
        "marker": {"color": POINT},
    }
    # Paths are long and telephones narrow: a name stands above its bar in place of beside it.
    annotations = [
        {
            "x": 0,
            "xref": "paper",
            "y": position - 0.4,
            "yref": "y",
            "xanchor": "left",
            "yanchor": "middle",
            "showarrow": False,
            "text": figure_text(shortened(weight.path, 44)) + f"  {weight.share:.0%}",
        }
        for position, weight in enumerate(weights)
    ]
    layout = {
        "showlegend": False,
        "margin": {"l": 8, "r": 12, "t": 4, "b": 36},
        "xaxis": {"tickformat": ".0%", "range": [0, 1.03 * max(weight.share + weight.spread for weight in weights)]},
        "yaxis": {
            "range": [len(weights) - 0.6, -0.7],
            "showticklabels": False,
            "showgrid": False,
            "zeroline": False,
        },
        "annotations": annotations,
    }
    note = (
        f"From {counted(estimate.trial_count)} scored trials. The parameters explain {estimate.explained or 0:.0%} of "
        "the order of trials that were held back; the bars divide that among them, thin lines show how much it varies "
        "between quarters of the trials."
    )
    return SearchFigure(
        "search-importance",
        "Which parameters matter",
        "Importance of each parameter",
        {"data": [trace], "layout": layout},
        note,
        pixels=_BAR_PIXELS * len(weights) + 44,
    )


def front_figures(search: SearchContent) -> list[SearchFigure]:
    """Return the Pareto front by pairs of goals; nothing with a single goal or without scores."""
    front = [trial for trial in search.front if first_score(trial) is not None]
    if len(search.goals) < 2 or not front:
        return []
    on_front = {trial.index for trial in front}
    others = [trial for trial in search.scored() if trial.index not in on_front and len(trial.scores or ()) > 1]
    drawn = evenly(others, FRONT_POINTS)
    notes = []
    if len(drawn) < len(others):
        notes.append(f"Drawn are {counted(len(drawn))} of {counted(len(others))} trials that others beat.")
    if search.dropped_from_front:
        notes.append(f"{counted(search.dropped_from_front)} more trials of a front that was full are left out.")
    if len(search.goals) > 2:
        notes.append("A trial that looks beaten here is better in another goal.")
    figures = []
    for number, (a, b) in enumerate(combinations(range(len(search.goals)), 2)):
        if number == _FRONT_PAIRS:
            break
        goals = search.goals
        ordered = sorted(front, key=lambda trial: shown_score(trial, goals, a))
        x_range, x_hidden = _front_range(drawn, front, goals, a)
        y_range, y_hidden = _front_range(drawn, front, goals, b)
        traces = [
            _points("beaten trial", drawn, goals, a, b, colour=POINT, size=5, opacity=0.55),
            _points("front", ordered, goals, a, b, colour=BEST, size=9, opacity=1.0, is_joined=len(goals) == 2),
        ]
        layout = {
            "hovermode": "closest",
            "showlegend": True,
            "legend": LEGEND,
            "margin": MARGIN,
            "xaxis": {"title": {"text": label(goals[a].text)}, **x_range},
            "yaxis": {"title": {"text": label(goals[b].text)}, **y_range},
        }
        told = [*(notes if number == 0 else []), *([_FAR_WORSE] if x_hidden or y_hidden else [])]
        figures.append(
            SearchFigure(
                f"search-front-{number}",
                f"{goals[a].text} and {goals[b].text}",
                "Trials by two goals, the Pareto front among them",
                {"data": [trace for trace in traces if trace["x"]], "layout": layout},
                " ".join(told),
            )
        )
    return figures


def _front_range(
    others: Sequence[TrialRecord], front: Sequence[TrialRecord], goals: Sequence[SearchGoal], k: int
) -> tuple[Figure, int]:
    """Return what an axis shows, the whole front at least, and how many trials are so bad that they lie outside."""
    scores = [(trial.scores or ())[k] for trial in (*others, *front)]
    bounds, _ = score_bounds(scores)
    if bounds is None:
        return {}, 0
    worst = min((trial.scores or ())[k] for trial in front)
    floor = min(bounds[0], worst - 0.05 * (bounds[1] - worst))
    return {"range": sorted(goals[k].shown(score) for score in (floor, bounds[1]))}, sum(s < floor for s in scores)


def improvements(scored: Sequence[TrialRecord]) -> list[tuple[int, float]]:
    """Return index and score of every trial that was better than all before it."""
    best = -math.inf
    found = []
    for trial in scored:
        if score_of(trial) > best:
            best = score_of(trial)
            found.append((trial.index, best))
    return found


def _others(trials: Iterable[TrialRecord]) -> list[Figure]:
    """Return marks for trials without a score, one row per state."""
    by_state: dict[str, list[TrialRecord]] = defaultdict(list)
    for trial in trials:
        if first_score(trial) is None:
            # A stored score that is no number is no score.
            by_state["unscored" if trial.state == "scored" else trial.state].append(trial)
    traces = []
    for row, state in enumerate(_STATE_COLOURS):
        drawn = evenly(by_state[state], HISTORY_POINTS // 4)
        if drawn:
            traces.append(
                {
                    "type": "scatter",
                    "mode": "markers",
                    "name": STATE_WORDS[state],
                    "x": [trial.index for trial in drawn],
                    "y": [row] * len(drawn),
                    "yaxis": "y2",
                    "text": [
                        f"trial {trial.index}: {figure_text(shortened(trial.reason or STATE_WORDS[state], 90))}"
                        for trial in drawn
                    ],
                    "hovertemplate": "%{text}<extra></extra>",
                    "marker": {"symbol": "line-ns-open", "size": 7, "color": _STATE_COLOURS[state]},
                }
            )
    return traces


def _points(
    name: str,
    trials: Sequence[TrialRecord],
    goals: Sequence[SearchGoal],
    a: int,
    b: int,
    *,
    colour: str,
    size: int,
    opacity: float,
    is_joined: bool = False,
) -> Figure:
    return {
        "type": "scatter",
        "mode": "lines+markers" if is_joined else "markers",
        "name": name,
        "x": [shown_score(trial, goals, a) for trial in trials],
        "y": [shown_score(trial, goals, b) for trial in trials],
        "text": hover(trials, goals),
        "hovertemplate": "%{text}<extra></extra>",
        "marker": {"size": size, "color": colour, "opacity": opacity},
        "line": {"width": 1, "color": colour, "dash": "dot"},
    }
