"""All pictures of a search, in the order in which a reader asks: is it luck, how did it go, what decides."""

from dataclasses import dataclass
from typing import Any

from quantbot_pipeline.report.search_content import SearchContent
from quantbot_pipeline.report.search_drawing import SearchFigure
from quantbot_pipeline.report.search_evidence_figures import (
    overfitting_figure,
    paths_figure,
    sharpe_figure,
    walk_forward_figure,
)
from quantbot_pipeline.report.search_figures import front_figures, history_figure, importance_figure
from quantbot_pipeline.report.search_importance import ImportanceEstimate, estimate_importance
from quantbot_pipeline.report.search_slices import contour_figures, slice_figures


@dataclass(frozen=True, slots=True)
class SearchPictures:
    """What the page shows of a search.

    Attributes:
        walk_forward: Results on unseen calls; None without any.
        history: Scores by trial; None without trials.
        importance: What parameters are worth; None when it can't be said.
        estimate: The same in numbers, or why it can't be said.
        fronts: By pairs of goals.
        evidence: What the verdict was made of.
        slices: By parameter.
        contours: By pairs of parameters.
    """

    walk_forward: SearchFigure | None
    history: SearchFigure | None
    importance: SearchFigure | None
    estimate: ImportanceEstimate
    fronts: tuple[SearchFigure, ...]
    evidence: tuple[SearchFigure, ...]
    slices: tuple[SearchFigure, ...]
    contours: tuple[SearchFigure, ...]

    def documents(self) -> dict[str, Any]:
        """Return the figures by the name of their place."""
        every = [self.walk_forward, self.history, self.importance]
        every += [*self.fronts, *self.evidence, *self.slices, *self.contours]
        return {each.name: each.figure for each in every if each is not None}


def draw_search(search: SearchContent) -> SearchPictures:
    """Return the pictures of a search; equal contents give equal pictures."""
    estimate = estimate_importance(search.parameters, search.trials)
    evidence = [
        None if search.sharpes is None else sharpe_figure(search.sharpes),
        None if search.overfitting is None else overfitting_figure(search.overfitting),
        paths_figure(search.path_means),
    ]
    return SearchPictures(
        walk_forward=None if search.walk_forward is None else walk_forward_figure(search.walk_forward),
        history=history_figure(search),
        importance=importance_figure(estimate),
        estimate=estimate,
        fronts=tuple(front_figures(search)),
        evidence=tuple(figure for figure in evidence if figure is not None),
        slices=tuple(slice_figures(search, estimate)),
        contours=tuple(contour_figures(search, estimate)),
    )
