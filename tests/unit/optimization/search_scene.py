"""Spaces and made-up metrics that tests of searches share."""

from collections.abc import Mapping
from typing import Any

from quantbot_pipeline.optimization.spaces import SearchSpace, parse_search_space

TEMPLATE: dict[str, Any] = {
    "name": "template",
    "entry": {"type": "immediate"},
    "exits": {
        "targets": [{"multiple": 2.0, "size": 0.5}, {"multiple": 3.0, "size": 0.3}],
        "stop_loss": {"initial": 0.3},
    },
}

STOP = {"path": "exits.stop_loss.initial", "type": "float", "low": 0.05, "high": 0.9}
FIRST_MULTIPLE = {"path": "exits.targets[0].multiple", "type": "float", "low": 1.2, "high": 5.0, "log": True}
SECOND_MULTIPLE = {"path": "exits.targets[1].multiple", "type": "float", "low": 1.2, "high": 9.0, "log": True}
FIRST_SIZE = {"path": "exits.targets[0].size", "type": "float", "low": 0.05, "high": 1.0}
SECOND_SIZE = {"path": "exits.targets[1].size", "type": "float", "low": 0.05, "high": 1.0, "step": 0.05}
HOLD = {"path": "exits.max_hold_seconds", "type": "int", "low": 3600, "high": 90000, "step": 3600}
ENTRY_TYPE = {"path": "entry.type", "type": "categorical", "choices": ["immediate", "dip"]}
DROP = {"path": "entry.drop", "type": "float", "low": 0.1, "high": 0.5, "when": {"entry.type": "dip"}}
SIZES_SUM = {"type": "sum", "paths": [FIRST_SIZE["path"], SECOND_SIZE["path"]], "at_most": 1}
MULTIPLES_ASCEND = {
    "type": "less_than",
    "left": FIRST_MULTIPLE["path"],
    "right": SECOND_MULTIPLE["path"],
    "gap": 0.1,
}


def space_of(*parameters: dict[str, Any], constraints: tuple[dict[str, Any], ...] = ()) -> SearchSpace:
    """Return the space over the shared template."""
    return parse_search_space({"parameters": list(parameters), "constraints": list(constraints)}, template=TEMPLATE)


NUMBERS = space_of(
    STOP, FIRST_MULTIPLE, SECOND_MULTIPLE, FIRST_SIZE, SECOND_SIZE, HOLD, constraints=(SIZES_SUM, MULTIPLES_ASCEND)
)
"""Numbers only, which every sampler can vary, with two constraints."""

ALL_KINDS = space_of(
    STOP,
    FIRST_MULTIPLE,
    SECOND_MULTIPLE,
    FIRST_SIZE,
    SECOND_SIZE,
    HOLD,
    ENTRY_TYPE,
    DROP,
    constraints=(SIZES_SUM, MULTIPLES_ASCEND),
)
"""Numbers, a choice and a parameter that exists with one of its values only."""


def metrics_of(params: Mapping[str, Any]) -> dict[str, float | int | None]:
    """Return made-up metrics: best at a stop of 0.4 and a first target of 2; wide stops fall deeper."""
    stop, multiple = params["exits.stop_loss.initial"], params["exits.targets[0].multiple"]
    return {
        "final_pnl": -abs(stop - 0.4) - abs(multiple - 2) / 4,
        "max_drawdown": stop,
        "trade_count": int(100 * stop),
    }
