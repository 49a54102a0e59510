"""What a search space can be, told by drawing from it: points that are valid, and values that never are."""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any

import numpy as np

from quantbot_pipeline.errors import SearchSpaceError, StrategyError
from quantbot_pipeline.optimization.fault_texts import shown
from quantbot_pipeline.optimization.parameters import CategoricalParameter

if TYPE_CHECKING:
    from quantbot_pipeline.optimization.search_space import SearchSpace

# Enough that a space of which 2 % is valid is refused by mistake in fewer than 2 of 100 cases
# (0.98 ** 200 = 0.018); parsing 200 strategies takes well under a second.
_PROBE_COUNT = 200

# Valid points that are kept to pull refused proposals towards.
MAX_ANCHORS = 32

# How far inside its constraints a projected point is aimed at, as a share of what the left side varies:
# steps round a point out of the constraints again when it lies on their border.
PROJECTION_MARGINS = (0.0, 0.02, 0.1)


def valid_points(space: "SearchSpace") -> Iterator[dict[str, Any]]:
    """Yield points whose strategies are valid, of a fixed number of draws."""
    for params, _ in _probes(space):
        if space.is_valid(params):
            yield params


def _probes(space: "SearchSpace") -> Iterator[tuple[dict[str, Any], dict[str, int]]]:
    """Yield the same draws each time, within the constraints where they can be met, with the choices made."""
    generator = np.random.default_rng(0)
    sizes = [len(p.choices) if isinstance(p, CategoricalParameter) else 0 for p in space.parameters]
    for probe in range(_PROBE_COUNT):
        shares = np.full(len(sizes), 0.5) if probe == 0 else generator.random(len(sizes))
        for k, size in enumerate(sizes):
            # Every choice comes in turn at first, so that none is left out by chance.
            if probe < size:
                shares[k] = (probe + 0.5) / size
        params = space.from_units(shares.tolist())
        for margin in PROJECTION_MARGINS:
            if space.broken_constraint(params) is None:
                break
            params = space.projected(params, margin)
        chosen = {
            space.parameters[k].path: min(int(shares[k] * size), size - 1)
            for k, size in enumerate(sizes)
            if size and space.parameters[k].path in params
        }
        yield params, chosen


def probe_faults(space: "SearchSpace") -> Iterator[str]:
    """Yield why no value, or one of the choices, or one of the parameters, ever gives a valid strategy."""
    unseen_choices = {
        (parameter.path, position)
        for parameter in space.parameters
        if isinstance(parameter, CategoricalParameter)
        for position in range(len(parameter.choices))
    }
    unseen_parameters = {parameter.path for parameter in space.parameters}
    refusals: dict[str, str] = {}
    first_refusal = ""
    valid_count = 0
    for params, chosen in _probes(space):
        try:
            space.strategy(params)
        except (StrategyError, SearchSpaceError) as e:
            first_refusal = first_refusal or str(e)
            for path, position in chosen.items():
                refusals.setdefault(f"{path} {position}", str(e))
            for path in params:
                refusals.setdefault(path, str(e))
            continue
        valid_count += 1
        unseen_choices -= set(chosen.items())
        unseen_parameters -= params.keys()
        if not unseen_choices and not unseen_parameters and valid_count >= MAX_ANCHORS:
            return
    if not valid_count:
        yield (
            f"none of {_PROBE_COUNT} combinations of values gives a valid strategy; the first was refused: "
            f"{first_refusal}"
        )
        return
    own = {parameter.path: parameter for parameter in space.parameters}
    for path, position in sorted(unseen_choices):
        if (refusal := refusals.get(f"{path} {position}")) is not None and path not in unseen_parameters:
            parameter = own[path]
            assert isinstance(parameter, CategoricalParameter)  # noqa: S101  only they have choices
            yield f"{path}: the choice {shown(parameter.choices[position])} gives no valid strategy: {refusal}"
    for path in sorted(unseen_parameters):
        if path in refusals:
            yield f"{path}: no value of it gives a valid strategy where it exists: {refusals[path]}"
        elif own[path].when:
            yield (
                f"{path}: none of {_PROBE_COUNT} combinations meets its condition {shown(own[path].when)}; "
                "allowed are conditions that can hold together"
            )
