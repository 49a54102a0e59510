"""Grids: points counted and found by position, with conditions, without a list of them."""

from itertools import product
from typing import Any

import pytest

from quantbot_pipeline.errors import SearchSpaceError
from quantbot_pipeline.optimization.grid_points import Grid
from tests.unit.optimization.search_scene import DROP, ENTRY_TYPE, HOLD, STOP, space_of

STEPPED_DROP = DROP | {"step": 0.1}
STEPPED_STOP = STOP | {"low": 0.1, "high": 0.3, "step": 0.1}


def test_points_are_in_the_order_of_the_document_with_the_last_parameter_fastest() -> None:
    stop, fee = STEPPED_STOP, {"path": "costs.fee", "type": "categorical", "choices": [None, 0.001]}
    grid = Grid(space_of(stop, fee))

    assert grid.point_count == 6
    assert [tuple(grid.point(k).values()) for k in range(6)] == list(product([0.1, 0.2, 0.3], [None, 0.001]))


def test_absent_parameters_do_not_multiply_points() -> None:
    # 3 stops · (1 immediate + 5 drops of a dip) = 18
    grid = Grid(space_of(STEPPED_STOP, ENTRY_TYPE, STEPPED_DROP))

    points = [grid.point(k) for k in range(grid.point_count)]

    assert grid.point_count == 18
    assert len({tuple(point.items()) for point in points}) == 18
    assert points[0] == {"exits.stop_loss.initial": 0.1, "entry.type": "immediate"}
    assert [point.get("entry.drop") for point in points[:6]] == pytest.approx([None, 0.1, 0.2, 0.3, 0.4, 0.5])
    for index in (-1, 18):
        with pytest.raises(IndexError):
            grid.point(index)


def test_conditions_on_conditions_count_only_what_can_be() -> None:
    """Entry immediate: 1; dip: 5 drops, of which the two named ones have 4 waits each: 3 + 2 · 4 = 11; in all 12."""
    drop = {"path": "entry.drop", "type": "categorical", "choices": [0.1, 0.2, 0.3, 0.4, 0.5]}
    wait = {"path": "entry.max_wait_seconds", "type": "int", "low": 60, "high": 240, "step": 60}
    space = space_of(ENTRY_TYPE, drop | {"when": {"entry.type": "dip"}}, wait | {"when": {"entry.drop": [0.2, 0.4]}})
    grid = Grid(space)

    points = [grid.point(k) for k in range(grid.point_count)]

    assert len(points) == 12
    assert len({tuple(point.items()) for point in points}) == 12
    for point in points:
        assert ("entry.max_wait_seconds" in point) == (point.get("entry.drop") in (0.2, 0.4))
        assert space.is_valid(point)


def test_grid_of_more_points_than_memory_is_counted_and_indexed() -> None:
    # 86 401 horizons · 86 401 waits · 86 399 holds is above 6e14: no list of it could be.
    seconds: list[dict[str, Any]] = [
        {"path": path, "type": "int", "low": 1, "high": 86_401}
        for path in ("horizon_seconds", "max_staleness_seconds", "exits.max_hold_seconds")
    ]
    grid = Grid(space_of(*seconds))

    assert grid.point_count == 86_401**3
    assert tuple(grid.point(86_401**3 - 1).values()) == (86_401, 86_401, 86_401)
    assert tuple(grid.point(86_401 + 1).values()) == (1, 2, 2)


def test_parameter_that_others_hang_on_must_have_few_values() -> None:
    many = {"path": "horizon_seconds", "type": "int", "low": 1, "high": 2_000_000}
    hanging = HOLD | {"when": {"horizon_seconds": 1}}
    with pytest.raises(SearchSpaceError, match="none of 200 combinations meets its condition"):
        space_of(many, hanging)
    with pytest.raises(SearchSpaceError, match="float without 'step'"):
        Grid(space_of(STOP))
