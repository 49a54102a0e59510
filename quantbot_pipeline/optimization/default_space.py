"""The search space of a template for which none was given."""

import itertools
from collections.abc import Mapping
from typing import Any

import numpy as np

from quantbot_pipeline.errors import SearchSpaceError

_LEAST_MULTIPLE = 1.01
"""Borders are rounded to hundredths, and a target lies above 1x."""


def default_search_space(template: Mapping[str, Any]) -> dict[str, Any]:
    """Return a small search space document for a template: first targets, stop and trailing distance.

    The ranges of neighbouring targets do not overlap, so that every combination is a valid strategy.

    Raises:
        SearchSpaceError: the template has none of these fields.
    """
    exits = template.get("exits") or {}
    parameters: list[dict[str, Any]] = []
    multiples = [float(target["multiple"]) for target in exits.get("targets") or []]
    # Borders between targets, halfway on a logarithmic scale: 2x and 3x meet at 2.45x. The outer
    # borders are as far out as half the way to 1x, which no target may reach, and 1.5 times the last target.
    borders = [
        max(1 + (multiples[0] - 1) / 2, _LEAST_MULTIPLE) if multiples else 1.0,
        *(float(np.sqrt(low * high)) for low, high in itertools.pairwise(multiples)),
        1.5 * multiples[-1] if multiples else 1.0,
    ]
    for position in range(min(len(multiples), 2)):
        low, high = round(borders[position], 2), round(borders[position + 1], 2)
        if low + 0.01 < high:
            parameters.append(
                {
                    "path": f"exits.targets[{position}].multiple",
                    "type": "float",
                    "low": low + 0.01 if position else low,
                    "high": high,
                }
            )
    if (exits.get("stop_loss") or {}).get("initial") is not None:
        parameters.append({"path": "exits.stop_loss.initial", "type": "float", "low": 0.1, "high": 0.6})
    if (exits.get("trailing") or {}).get("distance") is not None:
        parameters.append({"path": "exits.trailing.distance", "type": "float", "low": 0.05, "high": 0.5})
    if (template.get("entry") or {}).get("type") == "dip":
        parameters.append({"path": "entry.drop", "type": "float", "low": 0.05, "high": 0.6})
    if not parameters:
        raise SearchSpaceError(
            f"strategy {template.get('name')!r} has no targets, stop, trailing stop or dip that a default "
            "search space could vary; give a search space document"
        )
    return {"parameters": parameters}
