"""Pictures of a search: what is drawn where, by hand values."""

import math
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from made_up_search import DROP, ENTRY, HOLD, MULTIPLE, PARAMETERS, STOP, TWO_GOALS, evidence, search, trial, unlucky

from quantbot_pipeline.optimization.parameters import CategoricalParameter, FloatParameter
from quantbot_pipeline.optimization.tally import TrialRecord
from quantbot_pipeline.report.search_content import (
    Histogram,
    OverfittingSpread,
    SearchContent,
    SearchGoal,
    SharpeSpread,
    WalkForwardCurve,
)
from quantbot_pipeline.report.search_drawing import SearchFigure
from quantbot_pipeline.report.search_evidence_figures import (
    overfitting_figure,
    paths_figure,
    sharpe_figure,
    walk_forward_figure,
)
from quantbot_pipeline.report.search_figures import HISTORY_POINTS, front_figures, history_figure, importance_figure
from quantbot_pipeline.report.search_importance import ImportanceEstimate, ParameterWeight
from quantbot_pipeline.report.search_pictures import draw_search
from quantbot_pipeline.report.search_slices import SLICE_POINTS, contour_figures, slice_figures

X = FloatParameter(type="float", path="x", low=0.0, high=10.0)
GONE = CategoricalParameter(type="categorical", path="c", choices=("gone",))
Y = FloatParameter(type="float", path="y", low=1.0, high=100.0, log=True)


def _scored(index: int, *scores: float, **params: Any) -> TrialRecord:
    return TrialRecord(index, params, "scored", scores)


def _content(
    *trials: TrialRecord, goals: tuple[SearchGoal, ...] = (SearchGoal("sqn"),), **changes: Any
) -> SearchContent:
    return SearchContent(1, "n", "sqn", goals, trials=trials, **changes)


def _traces(figure: SearchFigure | None) -> dict[str, dict[str, Any]]:
    assert figure is not None
    return {trace["name"]: trace for trace in figure.figure["data"]}


def test_history_shows_scores_by_trial_and_a_line_of_the_best_so_far() -> None:
    failed = TrialRecord(3, {}, "failed", None, reason="no candles")
    traces = _traces(
        history_figure(_content(_scored(0, 1.0), _scored(1, 0.5), _scored(2, 3.0), failed, _scored(4, 2.0)))
    )

    assert (traces["trial"]["x"], traces["trial"]["y"]) == ([0, 1, 2, 4], [1.0, 0.5, 3.0, 2.0])
    # It rises at trial 2 and goes on to the last scored trial.
    assert (traces["best so far"]["x"], traces["best so far"]["y"]) == ([0, 2, 4], [1.0, 3.0, 3.0])
    assert traces["failed"]["x"] == [3]
    assert traces["failed"]["text"] == ["trial 3: no candles"]


def test_minimised_goals_are_shown_as_the_metric_and_fall() -> None:
    goals = (SearchGoal("min:max_drawdown", is_minimised=True),)
    traces = _traces(history_figure(_content(_scored(0, -0.5), _scored(1, -0.2), goals=goals)))

    assert traces["trial"]["y"] == [0.5, 0.2]
    assert traces["best so far"]["y"] == [0.5, 0.2]


def test_scores_that_are_no_numbers_are_trials_without_a_score() -> None:
    figure = history_figure(_content(_scored(0, math.nan), _scored(1, math.inf), _scored(2, 1.0)))

    assert _traces(figure)["trial"]["x"] == [2]
    assert _traces(figure)["without a score"]["x"] == [0, 1]


def test_scores_far_below_the_rest_do_not_flatten_the_picture() -> None:
    # The lower quartile is 0.75; from there to 6 are 5.25, and twice that below it is -9.75.
    scores = [0.0, 1.0, 2.0, 3.0, 4.0, 5.0, 6.0, -100.0]
    figure = history_figure(_content(*(_scored(k, score) for k, score in enumerate(scores))))

    assert figure is not None
    low, high = figure.figure["layout"]["yaxis"]["range"]
    assert low == pytest.approx(0.75 - 2 * 5.25)
    assert high > 6
    assert "1 trial is far worse" in figure.note


def test_long_histories_are_thinned_but_keep_the_best_and_every_step_of_the_line() -> None:
    trials = [_scored(k, math.sin(k)) for k in range(9_999)]
    best = _scored(9_999, 5.0)
    figure = history_figure(_content(*trials, best, best=(best,)))

    traces = _traces(figure)
    assert len(traces["trial"]["x"]) <= HISTORY_POINTS
    assert traces["trial"]["x"][-1] == 9_999
    assert traces["best so far"]["y"][-1] == 5.0
    assert figure is not None
    assert "of 10\N{NARROW NO-BREAK SPACE}000 points" in figure.note


def test_importance_bars_carry_their_names_above_them() -> None:
    estimate = ImportanceEstimate(
        (ParameterWeight("a.b", 0.75, 0.1, 40), ParameterWeight("<c>", 0.25, 0.3, 40)), 0.5, 40
    )
    figure = importance_figure(estimate)

    assert figure is not None
    (bars,) = figure.figure["data"]
    assert bars["x"] == [0.75, 0.25]
    # A share is never drawn below 0.
    assert bars["error_x"]["arrayminus"] == [0.1, 0.25]
    assert [each["text"] for each in figure.figure["layout"]["annotations"]] == ["a.b  75%", "&lt;c&gt;  25%"]
    assert "explain 50%" in figure.note


def test_slices_show_a_parameter_where_it_exists() -> None:
    made = search(60, 0)
    by_title = {figure.title: figure for figure in slice_figures(made)}

    assert list(by_title) == [parameter.path for parameter in PARAMETERS]
    # Every second trial enters on a dip.
    assert by_title[DROP.path].note == "Exists in 30 of 60 scored trials."
    assert len(_traces(by_title[DROP.path])["trial"]["x"]) == 30
    assert by_title[MULTIPLE.path].figure["layout"]["xaxis"]["type"] == "log"
    assert by_title[STOP.path].figure["layout"]["xaxis"]["ticktext"] == ["0.2", "0.3", "null"]


def test_points_of_a_choice_lie_around_its_place_and_the_star_on_the_best_trial() -> None:
    choice = CategoricalParameter(type="categorical", path="c", choices=(True, 1, "1"))
    trials = [_scored(k, float(k), c=(True, 1, "1")[k % 3]) for k in range(6)]
    (figure,) = slice_figures(_content(*trials, parameters=(choice,)))

    traces = _traces(figure)
    # True, 1 and "1" are three choices, though two of them are equal in Python.
    assert [round(x) for x in traces["trial"]["x"]] == [0, 1, 2, 0, 1, 2]
    assert traces["best"]["y"] == [5.0]
    assert traces["best"]["x"] == [traces["trial"]["x"][5]]


def test_medians_are_of_eighths_of_the_trials() -> None:
    # 32 trials at x = 0 … 31, in another order, with the score x²: the first eighth are 0, 1, 4, 9 at 0 … 3, median
    # 2.5 at 1.5.
    places = [float(k * 7 % 32) for k in range(32)]
    (figure,) = slice_figures(_content(*(_scored(k, x * x, x=x) for k, x in enumerate(places)), parameters=(X,)))

    median = _traces(figure)["median"]
    assert len(median["x"]) == 8
    assert (median["x"][0], median["y"][0]) == (1.5, 2.5)


def test_a_parameter_of_one_trial_or_none_is_not_drawn() -> None:
    assert slice_figures(search(1, 3)) == []
    assert slice_figures(search(0, 12)) == []


def test_slices_follow_the_importance_and_are_thinned() -> None:
    made = search(3 * SLICE_POINTS, 0)
    estimate = ImportanceEstimate(
        (ParameterWeight(HOLD.path, 0.9, 0, 9), ParameterWeight(STOP.path, 0.1, 0, 9)), 0.5, 9
    )

    figures = slice_figures(made, estimate)

    assert [figure.title for figure in figures[:3]] == [HOLD.path, STOP.path, MULTIPLE.path]
    assert len(_traces(figures[0])["trial"]["x"]) <= SLICE_POINTS
    assert len(_traces(figures[0])["trial"]["text"][0]) < 300


def test_maps_show_medians_of_cells_and_leave_untried_ones_empty() -> None:
    # 36 trials: x 1 or 9, y 1, 10 or 100, but none at (9, 100); at (1, 1) are scores 0 to 5, at others 10.
    places = [(1.0, 1.0), (1.0, 10.0), (1.0, 100.0), (9.0, 1.0), (9.0, 10.0), (9.0, 10.0)]
    trials = [
        _scored(k, float(k // 6) if k % 6 == 0 else 10.0, x=places[k % 6][0], y=places[k % 6][1]) for k in range(36)
    ]
    (figure,) = contour_figures(_content(*trials, parameters=(X, Y)))

    cells, star = figure.figure["data"]
    # Median of 0 … 5 is 2.5. Rows go up with y, columns to the right with x.
    assert cells["z"] == [[2.5, 10.0], [10.0, 10.0], [10.0, None]]
    assert cells["x"] == [-3.0, 5.0, 13.0]
    assert cells["y"] == pytest.approx([10**-0.5, 10**0.5, 10**1.5, 10**2.5])
    assert cells["text"][1][1] == "12 trials"
    assert star["y"] == [10.0]
    assert figure.title == "↑ y  → x"


def test_maps_need_trials_in_which_both_parameters_exist() -> None:
    assert contour_figures(search(29, 0)) == []
    pairs = {figure.title for figure in contour_figures(search(60, 0))}
    assert pairs == {
        f"↑ {HOLD.path}  → {MULTIPLE.path}",
        f"↑ {ENTRY.path}  → {MULTIPLE.path}",
        f"↑ {ENTRY.path}  → {HOLD.path}",
    }


def test_fronts_are_drawn_by_pairs_of_goals_in_metrics() -> None:
    beaten, first, second = _scored(0, 1.0, -0.5), _scored(1, 2.0, -0.4), _scored(2, 3.0, -0.6)
    (figure,) = front_figures(_content(beaten, first, second, goals=TWO_GOALS, front=(second, first)))

    traces = _traces(figure)
    assert (traces["beaten trial"]["x"], traces["beaten trial"]["y"]) == ([1.0], [0.5])
    # Joined from the left to the right; drawdowns have their own sign again.
    assert (traces["front"]["x"], traces["front"]["y"]) == ([2.0, 3.0], [0.4, 0.6])


def test_fronts_are_drawn_whole_and_disasters_lie_outside() -> None:
    # Drawdowns of 0.1 to 0.16 and one of 9; the front has a trial of 0.3, which is bad but on it.
    crowd = [_scored(k, 0.1 * k, -0.1 - 0.01 * k) for k in range(7)]
    disaster, best = _scored(7, 0.0, -9.0), _scored(8, 1.0, -0.3)
    (figure,) = front_figures(_content(*crowd, disaster, best, goals=TWO_GOALS, front=(*crowd, best)))

    low, high = figure.figure["layout"]["yaxis"]["range"]
    assert low < 0.1
    assert 0.3 < high < 1
    assert "far worse than the rest" in figure.note


def test_three_goals_have_three_pictures_and_one_goal_has_none() -> None:
    goals = tuple(SearchGoal(name) for name in "abcd")
    each = _scored(0, 1.0, 2.0, 3.0)
    assert len(front_figures(_content(each, goals=goals[:3], front=(each,)))) == 3
    each = _scored(0, 1.0, 2.0, 3.0, 4.0)
    assert len(front_figures(_content(each, goals=goals, front=(each,)))) == 3
    assert front_figures(search(30, 0)) == []


def test_walk_forward_is_drawn_by_day_over_its_windows() -> None:
    curve: WalkForwardCurve = evidence(trial(0))["walk_forward"]
    figure = walk_forward_figure(curve)

    assert figure is not None
    assert len(_traces(figure)["unseen trades"]["x"]) == 90
    # Windows 1, 3 and 5 of five are shaded.
    assert [(shape["x0"], shape["x1"]) for shape in figure.figure["layout"]["shapes"]] == [
        ("2025-02-03", "2025-02-21"),
        ("2025-03-11", "2025-03-29"),
        ("2025-04-16", "2025-05-04"),
    ]
    # Trades of the first window that last into the second one shade nothing of it.
    long = replace(curve.windows[0], test_to=date(2025, 3, 1))
    figure = walk_forward_figure(replace(curve, windows=(long, *curve.windows[1:])))
    assert figure is not None
    assert figure.figure["layout"]["shapes"][0]["x1"] == "2025-02-21"
    assert walk_forward_figure(WalkForwardCurve((), (), 0, refusal="too few calls")) is None
    single = walk_forward_figure(WalkForwardCurve((date(2025, 2, 3),), (0.1,), 1))
    assert _traces(single)["unseen trades"]["mode"] == "markers"


def test_sharpe_ratios_stand_beside_the_winner_and_what_luck_reaches() -> None:
    # Five ratios: at least five bars; from 0 to 1 each is 0.2 wide.
    spread = SharpeSpread((0.0, 0.1, 0.5, 0.9, 1.0), 86_400, 1.0, 0.7, 0.81, 40, 12.9)
    figure = sharpe_figure(spread)

    assert figure is not None
    (bars,) = figure.figure["data"]
    assert bars["y"] == [2, 0, 1, 0, 2]
    assert [shape["x0"] for shape in figure.figure["layout"]["shapes"]] == [1.0, 0.7]
    assert "a period is one day" in figure.note
    assert (
        "The best of 40 trials without an edge is expected at 0.7 (they are worth 12 independent ones)." in figure.note
    )
    assert figure.note.endswith("above it: 0.81.")
    assert sharpe_figure(SharpeSpread((math.nan,), 3600)) is None
    equal = sharpe_figure(SharpeSpread((0.2, 0.2), 3600))
    assert sum(_traces(equal)[""]["y"]) == 2


def test_overfitting_splits_are_coloured_by_side() -> None:
    figure = overfitting_figure(OverfittingSpread(Histogram((-2.0, -1.0, 0.0, 1.0), (3, 1, 6)), 0.4))

    assert figure is not None
    (bars,) = figure.figure["data"]
    assert bars["y"] == [3, 1, 6]
    below, still_below, above = bars["marker"]["color"]
    assert below == still_below != above
    assert "halved in 10 ways" in figure.note
    assert "In 40% of them" in figure.note
    assert overfitting_figure(OverfittingSpread(Histogram((0.0, 1.0), (0,)), 0.0)) is None


def test_histories_of_cross_validation_need_two() -> None:
    assert paths_figure([0.1]) is None
    assert sum(_traces(paths_figure([0.1, 0.2, math.nan]))[""]["y"]) == 2


@pytest.mark.parametrize(
    "made",
    [
        search(1, 0, has_evidence=False),
        search(0, 12, has_evidence=False),
        search(2, 2),
        replace(search(0, 0, has_evidence=False), parameters=()),
        replace(search(40, 8, goal_count=2), goals=TWO_GOALS),
        _content(_scored(0, math.nan, x=1.0), parameters=(X,)),
        _content(*(_scored(k, 1.0, x=5.0) for k in range(40)), parameters=(X,)),
        # Stored by a version with other choices and another type.
        _content(*(_scored(k, float(k), c=[k % 2]) for k in range(40)), parameters=(ENTRY, GONE)),
    ],
    ids=["one trial", "none scored", "two", "no trials", "two goals", "not a number", "all equal", "other choices"],
)
def test_any_search_can_be_drawn(made: SearchContent) -> None:
    pictures = draw_search(made)

    assert pictures.documents() == draw_search(made).documents()
    assert pictures.importance or pictures.estimate.refusal


def test_every_state_has_its_row_below_the_history() -> None:
    figure = history_figure(_content(_scored(9, 1.0), *(unlucky(k) for k in range(8))))
    rows = {name: trace["y"] for name, trace in _traces(figure).items() if trace.get("yaxis") == "y2"}

    assert rows == {
        "without a score": [0, 0],
        "given up early": [1, 1],
        "no valid strategy": [2, 2],
        "failed": [3, 3],
    }
