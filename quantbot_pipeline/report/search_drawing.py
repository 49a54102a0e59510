"""What the pictures of a search share: colours, chosen points, texts, bounds.

Every text that comes from outside is escaped, because Plotly reads a small HTML in names, labels and hover texts.
Each figure stands alone and fits a telephone: many small ones instead of one with many axes.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantbot_pipeline.optimization.tally import TrialRecord
from quantbot_pipeline.report.search_content import SearchGoal, first_score, shortened, value_text
from quantbot_pipeline.report.tables import figure_text

# Near Okabe and Ito's, as in the other figures; the blue is between theirs, for points must be seen on black and white.
POINT, BEST, LINE, LUCK = "#2f86c4", "#d55e00", "#009e73", "#cc79a7"

MARGIN = {"l": 60, "r": 12, "t": 8, "b": 40}
LEGEND = {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"}

# A score further below the lower quartile than this many times the distance from there to the best one is not drawn:
# everything else would be a line.
_FAR_BELOW = 2.0
_LABEL_LENGTH = 30
# Hover texts of more points than these tell the parameters no more: a page of megabytes would be slow.
_MOST_FULL_TEXTS = 600
_PARAMETERS_TOLD = 8

Figure = dict[str, Any]


@dataclass(frozen=True, slots=True)
class SearchFigure:
    """A figure with the words that stand beside it.

    Attributes:
        name: Id of its place on the page.
        title: What it shows.
        label: The same for those who can't see it.
        note: What is left out or sampled; empty without any of it.
        figure: For Plotly.
        pixels: Height; None for the usual one.
    """

    name: str
    title: str
    label: str
    figure: Figure
    note: str = ""
    pixels: int | None = None


def score_of(trial: TrialRecord) -> float:
    """Return the first score of a trial that has finite ones."""
    score = first_score(trial)
    assert score is not None  # noqa: S101  callers ask of scored trials alone
    return score


def shown_score(trial: TrialRecord, goals: Sequence[SearchGoal], k: int) -> float:
    """Return a trial's score of goal `k`, from 0, as the metric that it is of."""
    return goals[k].shown((trial.scores or ())[k])


def label(text: str) -> str:
    """Return a text for an axis: escaped, and cut where it is long."""
    return figure_text(shortened(text, _LABEL_LENGTH))


def evenly(trials: Sequence[TrialRecord], most: int, *, keep: Sequence[TrialRecord] = ()) -> list[TrialRecord]:
    """Return at most so many trials, evenly chosen; those to keep are among them."""
    if len(trials) <= most:
        return list(trials)
    kept = {trial.index for trial in keep[: most // 4]}
    step = len(trials) / (most - len(kept))
    positions = {int(k * step) for k in range(most - len(kept))}
    return [trial for k, trial in enumerate(trials) if k in positions or trial.index in kept]


def score_bounds(scores: Sequence[float]) -> tuple[tuple[float, float] | None, int]:
    """Return what the score axis shows, and how many scores lie below it; None: everything."""
    if len(scores) < 4:
        return None, 0
    lower_quartile, best = float(np.quantile(scores, 0.25)), max(scores)
    span = (best - lower_quartile) or 1.0
    floor = lower_quartile - _FAR_BELOW * span
    hidden = sum(score < floor for score in scores)
    if not hidden:
        return None, 0
    return (floor, best + 0.08 * (best - floor)), hidden


def hover(trials: Sequence[TrialRecord], goals: Sequence[SearchGoal]) -> list[str]:
    """Return what is told of each trial when it is pointed at: its scores, and its parameters unless there are many."""
    most = _PARAMETERS_TOLD if len(trials) <= _MOST_FULL_TEXTS else 0
    return ["<br>".join(_told(trial, goals, most)) for trial in trials]


def _told(trial: TrialRecord, goals: Sequence[SearchGoal], most: int) -> list[str]:
    lines = [f"trial {trial.index}"]
    # A trial of a sample has its first score alone.
    for goal, score in zip(goals, trial.scores or (), strict=False):
        lines.append(f"{label(goal.text)}: {goal.shown(score):.4g}")
    shown = list(trial.params.items())[:most]
    lines += [f"{label(path)} = {figure_text(shortened(value_text(value), 40))}" for path, value in shown]
    if shown and len(trial.params) > most:
        lines.append(f"and {len(trial.params) - most} more")
    return lines
