"""Peaks and plateaus."""

import numpy as np
import pytest

from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.sensitivity import Shape, neighbourhood_sensitivity, places_around


def test_heights_by_hand() -> None:
    # Best 10 over typical 2 is a height of 8; neighbours lose 0, 1/8, 4/8, 5/8 and 9/8 of it.
    found = neighbourhood_sensitivity(np.array([10.0, 9.0, 6.0, 5.0, 1.0]), best_score=10, typical_score=2)
    assert found.holding_share == pytest.approx(3 / 5)
    assert found.worst_drop == pytest.approx(9 / 8)
    assert found.shape is Shape.SLOPE
    assert found.sentence == (
        "Around the best point: a slope; 60% of 5 neighbours keep at least 50% of its lead over a typical trial, "
        "the worst loses 112% of it."
    )


@pytest.mark.parametrize(("score", "shape"), [(9.9, Shape.PLATEAU), (3.0, Shape.PEAK)])
def test_plateaus_and_peaks_are_told_apart(score: float, shape: Shape) -> None:
    assert neighbourhood_sensitivity(np.full(10, score), best_score=10, typical_score=2).shape is shape


def test_neighbours_without_a_score_do_not_hold() -> None:
    found = neighbourhood_sensitivity(np.array([9.0] * 3 + [np.nan] * 7), best_score=10, typical_score=2)
    assert found.holding_share == pytest.approx(0.3)
    assert found.worst_drop == pytest.approx(1 / 8)


def test_few_neighbours_say_nothing() -> None:
    assert neighbourhood_sensitivity(np.array([9.0] * 4), best_score=10, typical_score=2).shape is Shape.UNKNOWN
    assert neighbourhood_sensitivity(np.array([]), best_score=10, typical_score=2).shape is Shape.UNKNOWN
    assert neighbourhood_sensitivity(np.full(9, 2.0), best_score=2, typical_score=2).shape is Shape.UNKNOWN


def test_places_around_step_along_each_parameter_and_stay_in_range() -> None:
    best = np.array([0.05, 3.0, 0.5, np.nan])
    places = places_around(best, is_kind=np.array([False, True, False, False]), radius=0.1, count=20, seed=1)
    assert len(places) == 20
    assert places[:4, [0, 2]].tolist() == pytest.approx(np.array([[0, 0.5], [0.15, 0.5], [0.05, 0.4], [0.05, 0.6]]))
    assert (places[:, 1] == 3).all()
    assert np.isnan(places[:, 3]).all()
    assert np.nanmin(places[:, [0, 2]]) >= 0
    assert np.abs(places[:, 2] - 0.5).max() <= 0.1 + 1e-12


def test_at_the_edge_of_the_range_the_best_point_is_not_its_own_neighbour() -> None:
    places = places_around(np.array([0.0]), radius=0.1, count=2, seed=1)
    assert places.tolist() == [[0.1]]


def test_a_narrow_peak_and_a_broad_hill_are_measured() -> None:
    def hill(width: float) -> Shape:
        places = places_around(np.array([0.5, 0.5]), seed=1)
        scores = np.exp(-np.sum((places - 0.5) ** 2, axis=1) / width**2)
        return neighbourhood_sensitivity(scores, best_score=1.0, typical_score=0.0).shape

    assert hill(0.5) is Shape.PLATEAU
    assert hill(0.03) is Shape.PEAK


def test_arguments_out_of_bounds_are_refused() -> None:
    with pytest.raises(EvidenceError, match="tolerance is 1"):
        neighbourhood_sensitivity(np.ones(9), best_score=2, typical_score=1, tolerance=1)
    with pytest.raises(EvidenceError, match=r"0 places within 0\.1"):
        places_around(np.ones(2), count=0, seed=1)
