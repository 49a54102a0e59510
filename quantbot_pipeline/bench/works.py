"""What is done on a market: strategies from plain to full, and the parameter sets of a search."""

from collections.abc import Mapping
from typing import Any

import numpy as np

from quantbot_pipeline.strategy.model import Strategy, parse_strategy

HORIZON_SECONDS = 86_400
FEE = 0.003

TIME_EXIT = "time exit"
STOP_AND_TARGET = "stop, target, time"
LADDER = "ladder, break-even"
FULL_LADDER = "full ladder"

DOCUMENTS: Mapping[str, Mapping[str, Any]] = {
    TIME_EXIT: {"entry": {"type": "immediate"}},
    STOP_AND_TARGET: {
        "entry": {"type": "immediate"},
        "exits": {"stop_loss": {"initial": 0.2}, "targets": [{"multiple": 1.5, "size": 1.0}]},
    },
    LADDER: {
        "entry": {"type": "immediate"},
        "exits": {
            "targets": [
                {"multiple": 1.1, "size": 0.5},
                {"multiple": 1.25, "size": 0.3},
                {"multiple": 1.6, "size": 0.2},
            ],
            "stop_loss": {"initial": 0.25},
            "break_even": {"after_target": 1},
        },
    },
    FULL_LADDER: {
        "entry": {
            "type": "ladder",
            "legs": [
                {"id": "call", "size": 0.5, "offset": 0},
                {"id": "down-5", "size": 0.3, "offset": -0.05},
                {"id": "down-10", "size": 0.2, "offset": -0.1},
            ],
            "max_wait_seconds": 43_200,
        },
        "exits": {
            "targets": [
                {"multiple": 1.1, "size": 0.3},
                {"multiple": 1.25, "size": 0.3},
                {"multiple": 1.6, "size": 0.2},
            ],
            "stop_loss": {"initial": 0.25},
            "break_even": {"after_target": 1},
            "trailing": {"activate_at": 0.2, "distance": 0.15},
        },
        "re_entry": {
            "after": ["stop", "trailing"],
            "retrace": 0.2,
            "size": 0.5,
            "max_count": 2,
            "max_wait_seconds": 43_200,
        },
    },
}

SHARED_WORKS = (STOP_AND_TARGET, LADDER)
"""Works that the peers and the plain loops can do as well."""


def document_of(work: str) -> dict[str, Any]:
    """Return the whole strategy document of a work."""
    return {"name": work, "costs": {"fee": FEE}, "horizon_seconds": HORIZON_SECONDS, **DOCUMENTS[work]}


def strategy_of(work: str) -> Strategy:
    """Return the strategy of a work."""
    return parse_strategy(document_of(work))


def searched_strategies(sets: int) -> list[Strategy]:
    """Return parameter sets of the full ladder: stop, trailing distance and targets vary, seeded."""
    numbers = np.random.default_rng(sets)
    strategies = []
    for k in range(sets):
        document = document_of(FULL_LADDER)
        stop, distance, first = numbers.uniform([0.1, 0.05, 1.05], [0.4, 0.3, 1.2]).tolist()
        exits = {
            **document["exits"],
            "stop_loss": {"initial": stop},
            "trailing": {"activate_at": 0.2, "distance": distance},
            "targets": [
                {"multiple": first, "size": 0.3},
                {"multiple": 1 + 2.5 * (first - 1), "size": 0.3},
                {"multiple": 1 + 6 * (first - 1), "size": 0.2},
            ],
        }
        strategies.append(parse_strategy({**document, "name": f"set {k}", "exits": exits}))
    return strategies
