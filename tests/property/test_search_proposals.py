"""Whatever the template and the space: every proposal is a valid strategy, within conditions and constraints.

Templates are random strategies; spaces vary numbers that these hold, around their values, in random kinds of
ranges, with conditions on each other and constraints between them.
"""

from collections.abc import Iterator
from random import Random
from typing import Any

import pytest
from hypothesis import given, settings
from strategy_space import random_document, seeds

from quantbot_pipeline.errors import SearchSpaceError
from quantbot_pipeline.optimization.grid_points import Grid
from quantbot_pipeline.optimization.parameter_paths import parse_path, value_at_path
from quantbot_pipeline.optimization.parameters import CategoricalParameter, same_json, value_count
from quantbot_pipeline.optimization.spaces import SearchSpace, parse_search_space
from quantbot_pipeline.optimization.strategy_fields import number_fault
from quantbot_pipeline.optimization.study import Sampler, Study
from quantbot_pipeline.strategy.model import parse_strategy

EXAMPLES = settings(max_examples=20, deadline=None)
FEW_EXAMPLES = settings(max_examples=5, deadline=None)

Document = dict[str, Any]


def number_paths(node: Any, path: str = "") -> Iterator[tuple[str, float]]:
    """Yield path and value of every number in a document."""
    if isinstance(node, dict):
        for key, child in node.items():
            yield from number_paths(child, f"{path}.{key}" if path else key)
    elif isinstance(node, list):
        for k, child in enumerate(node):
            yield from number_paths(child, f"{path}[{k}]")
    elif isinstance(node, int | float) and not isinstance(node, bool):
        yield path, node


def random_parameter(random: Random, path: str, value: float) -> Document | None:
    """Return a parameter around a value; None where its field takes nothing around it."""
    if isinstance(value, int):
        low, high = value - random.randint(0, 3), value + random.randint(1, 60)
        low = low if number_fault(path, low) is None else value
        if number_fault(path, high) is not None:
            return None
        parameter: Document = {"path": path, "type": "int", "low": low, "high": high}
        if random.random() < 0.5 and high - low > 1:
            parameter["step"] = random.randint(1, high - low)
        elif low > 0 and random.random() < 0.3:
            parameter["log"] = True
        return parameter
    if random.random() < 0.2:
        choices = list(dict.fromkeys([value, *(value * factor for factor in (0.5, 1.5))]))
        return {
            "path": path,
            "type": "categorical",
            "choices": [each for each in choices if not number_fault(path, each)],
        }
    low, high = sorted([value * random.uniform(0.5, 1), value * random.uniform(1, 1.5)])
    if low == high or number_fault(path, low) or number_fault(path, high):
        return None
    parameter = {"path": path, "type": "float", "low": low, "high": high}
    if random.random() < 0.4:
        parameter["step"] = (high - low) / random.randint(1, 9)
    elif low > 0 and random.random() < 0.3:
        parameter["log"] = True
    return parameter


def random_space(random: Random) -> SearchSpace | None:
    """Return a random space over a random strategy; None where it is refused, as rightly happens."""
    template = random_document(random)
    numbers = list(number_paths(template))
    random.shuffle(numbers)
    drawn = [random_parameter(random, path, value) for path, value in numbers[: random.randint(1, 7)]]
    parameters = [parameter for parameter in drawn if parameter]
    for k, parameter in enumerate(parameters):
        earlier = [each for each in parameters[:k] if each["type"] == "categorical" or "step" in each]
        if earlier and random.random() < 0.4:
            on = random.choice(earlier)
            parameter["when"] = {on["path"]: on["choices"][0] if on["type"] == "categorical" else on["low"]}
            parameter["otherwise"] = random.choice(["keep", "keep", "remove"])
    constraints: list[Document] = []
    ranged = [parameter for parameter in parameters if parameter["type"] != "categorical"]
    if len(ranged) > 1 and random.random() < 0.7:
        first, second = random.sample(ranged, 2)
        middle = (first["low"] + first["high"] + second["low"] + second["high"]) / 2
        constraints.append({"type": "sum", "paths": [first["path"], second["path"]], "at_most": middle})
        if first["low"] < second["high"] and random.random() < 0.5:
            constraints.append({"type": "less_than", "left": first["path"], "right": second["path"]})
    try:
        return parse_search_space({"parameters": parameters, "constraints": constraints}, template=template)
    except SearchSpaceError:
        return None


def assert_proposal_holds(space: SearchSpace, params: Document, document: Document | None) -> None:
    """Check a proposal from the space's own document, without the code that made it."""
    assert document is not None
    parse_strategy(document)
    for parameter in space.parameters:
        exists = all(
            any(
                path in params and same_json(params[path], value)
                for value in ([wanted] if not isinstance(wanted, list) else wanted)
            )
            for path, wanted in (parameter.when or {}).items()
        )
        assert (parameter.path in params) == exists, parameter.path
        if not exists:
            continue
        value = params[parameter.path]
        if isinstance(parameter, CategoricalParameter):
            assert any(same_json(value, choice) for choice in parameter.choices)
        else:
            assert parameter.low <= value <= parameter.high
            if parameter.step is not None:
                steps = (value - parameter.low) / parameter.step
                assert abs(steps - round(steps)) < 1e-6 or value == parameter.high
        assert same_json(value_at_path(document, parse_path(parameter.path)), value)
    for constraint in space.document().get("constraints", []):
        paths = constraint.get("paths") or [constraint["left"], constraint["right"]]
        values = [params[path] for path in paths if path in params]
        if constraint["type"] == "sum":
            assert sum(values) <= constraint["at_most"] + 1e-9 or not values
        elif len(values) == 2:
            assert values[0] < values[1]


def check_sampler(space: SearchSpace, sampler: Sampler, *, seed: int, trial_count: int) -> None:
    """Ask for trials, tell them random scores, and check each."""
    random = Random(seed)  # noqa: S311  cases, not secrets
    study = Study(space, sampler=sampler, seed=seed, trial_count=trial_count, batch_size=8)
    while trials := study.ask():
        for trial in trials:
            assert_proposal_holds(space, trial.params, trial.document)
            study.tell(trial.index, random.choice([None, random.random()]))


@EXAMPLES
@given(seeds())
def test_every_proposal_is_a_strategy_within_conditions_and_constraints(random: Random) -> None:
    space = random_space(random)
    if space is None:
        return
    for sampler in ("random", "qmc"):
        check_sampler(space, sampler, seed=random.randint(0, 99), trial_count=24)  # type: ignore[arg-type]  # both are samplers
    if not any(isinstance(parameter, CategoricalParameter) for parameter in space.parameters):
        check_sampler(space, "cmaes", seed=random.randint(0, 99), trial_count=32)


@FEW_EXAMPLES
@given(seeds())
@pytest.mark.parametrize("sampler", ["tpe", "nsga2"])
def test_every_proposal_of_optunas_samplers_holds_too(sampler: Sampler, random: Random) -> None:
    space = random_space(random)
    if space is not None:
        # A generation of NSGA-II has 32 trials: some of its children, and some of TPE's own draws.
        check_sampler(space, sampler, seed=random.randint(0, 99), trial_count=40)


@EXAMPLES
@given(seeds())
def test_every_grid_point_is_there_once_and_meets_its_conditions(random: Random) -> None:
    space = random_space(random)
    if space is None or any(value_count(parameter) is None for parameter in space.parameters):
        return
    grid = Grid(space)
    if grid.point_count > 20_000:
        return
    points = [grid.point(index) for index in range(grid.point_count)]
    assert len({repr(sorted(point.items())) for point in points}) == len(points)
    for point in points[:: max(1, len(points) // 50)]:
        if space.is_valid(point):
            assert_proposal_holds(space, point, space.configuration(point))


def test_random_spaces_are_mostly_taken_and_have_conditions_and_constraints() -> None:
    """Without this, the properties above might hold of nothing."""
    spaces = [random_space(Random(seed)) for seed in range(60)]  # noqa: S311  cases, not secrets
    taken = [space for space in spaces if space is not None]
    assert len(taken) >= 24
    assert sum(any(parameter.when for parameter in space.parameters) for space in taken) >= 5
    assert sum(bool(space.constraints) for space in taken) >= 8
