"""Search spaces: which fields of a strategy vary, over what, and together with what.

A search space is a JSON document; it is validated against the strategy template that it varies before
anything runs:

    {"parameters": [
        {"path": "exits.targets[0].multiple", "type": "float", "low": 1.2, "high": 2.9, "log": true},
        {"path": "exits.targets[0].size", "type": "float", "low": 0.1, "high": 0.9, "step": 0.1},
        {"path": "exits.targets[1].size", "type": "float", "low": 0.1, "high": 0.9, "step": 0.1},
        {"path": "exits.max_hold_seconds", "type": "int", "low": 3600, "high": 86400, "step": 3600},
        {"path": "exits.stop_loss.initial", "type": "categorical", "choices": [0.2, 0.3, null]},
        {"path": "entry.type", "type": "categorical", "choices": ["immediate", "dip"]},
        {"path": "entry.drop", "type": "float", "low": 0.1, "high": 0.5, "when": {"entry.type": "dip"}}
     ],
     "constraints": [
        {"type": "sum", "paths": ["exits.targets[0].size", "exits.targets[1].size"], "at_most": 1}
     ]}

It fits the preset `conservative-24h`. A null switches a field off (see `parameter_paths.set_at_path`); a
choice may be a whole section. The space itself is in `search_space.py`, parameters, conditions and constraints
are in files of their names; what can be wrong is in `space_documents.py` (shape), `space_faults.py` (rules) and
`valid_points.py` (found by drawing). Points of grids are in `grid_points.py`, what proposes values in
`study.py`. `docs/optimize.md` is the reference for users.
"""

from collections.abc import Mapping
from typing import Any

from quantbot_pipeline.optimization.default_space import default_search_space
from quantbot_pipeline.optimization.fault_texts import refusal
from quantbot_pipeline.optimization.search_space import SearchSpace
from quantbot_pipeline.optimization.space_documents import parse_shape
from quantbot_pipeline.optimization.space_faults import condition_faults, constraint_faults, single_faults
from quantbot_pipeline.optimization.template_fields import apply_parameters, check_strategy
from quantbot_pipeline.optimization.valid_points import probe_faults

__all__ = ["SearchSpace", "apply_parameters", "default_search_space", "parse_search_space"]


def parse_search_space(
    document: Mapping[str, Any], *, template: Mapping[str, Any], source: str = "search space"
) -> SearchSpace:
    """Return the validated search space of a document.

    Args:
        document: The search space, see the module's docstring.
        template: The strategy document that it varies.
        source: What messages call the document, such as its file name.

    Raises:
        SearchSpaceError: anything in the document can't be used; the message lists every fault with its
            path, what was found and what is allowed.
        StrategyError: the template itself is not a valid strategy.
    """
    check_strategy(template)
    space = parse_shape(document, template, source)
    # Each group of checks trusts what the ones before it hold.
    for faults_of in (single_faults, condition_faults, constraint_faults, probe_faults):
        if faults := list(faults_of(space)):
            raise refusal(source, faults)
    return space
