"""The shape of a search space document: its keys, its types, and what is told of wrong ones."""

import json
from collections.abc import Mapping
from typing import Any

from pydantic import BaseModel, ValidationError

from quantbot_pipeline.optimization.constraints import CONSTRAINT_TYPES
from quantbot_pipeline.optimization.fault_texts import found_and_allowed, refusal, shown
from quantbot_pipeline.optimization.parameters import PARAMETER_TYPES
from quantbot_pipeline.optimization.search_space import SearchSpace
from quantbot_pipeline.optimization.template_fields import copy_json

_KEYS = ("parameters", "constraints")


def parse_shape(document: Mapping[str, Any], template: Mapping[str, Any], source: str) -> SearchSpace:
    """Return the space as far as its shape and types are right."""
    if not isinstance(document, Mapping) or "parameters" not in document or not set(document) <= set(_KEYS):
        found = sorted(map(str, document)) if isinstance(document, Mapping) else type(document).__name__
        raise refusal(
            source,
            [f"found {found}; allowed is an object with the list 'parameters', and the list 'constraints' if wanted"],
        )
    try:
        # By way of JSON text: its strict mode takes lists for tuples and nothing else for anything.
        checked = SearchSpace.model_validate_json(json.dumps(dict(document)))
    except TypeError as e:
        raise refusal(source, [f"it is not JSON: {e}"]) from e
    except ValidationError as e:
        raise refusal(source, [_shape_fault(fault) for fault in e.errors()]) from e
    if not checked.parameters:
        raise refusal(source, ["parameters: found an empty list; allowed is at least one parameter"])
    return checked.model_copy(update={"template": copy_json(dict(template))})


def _shape_fault(fault: Any) -> str:
    """Return one fault of pydantic in this project's words, with the path in the document."""
    location, branch = "", ""
    kinds: dict[str, type[BaseModel]] = {**PARAMETER_TYPES, **CONSTRAINT_TYPES}
    for position, step in enumerate(fault["loc"]):
        if isinstance(step, int):
            location += f"[{step}]"
        elif position == 2 and step in kinds:  # the branch of the union that was taken, not a key
            branch = step
        else:
            location += f".{step}" if location else step
    match fault["type"]:
        case "extra_forbidden":
            keys = ", ".join(kinds[branch].model_fields) if branch else ", ".join(_KEYS)
            return f"{location}: found an unknown key; allowed are {keys}"
        case "union_tag_invalid" | "union_tag_not_found":
            allowed = ", ".join(CONSTRAINT_TYPES if location.startswith("constraints") else PARAMETER_TYPES)
            found = shown(fault["input"]["type"]) if "type" in fault["input"] else "nothing"
            return f"{location}.type: found {found}; allowed are {allowed}"
        case _:
            return f"{location}: {found_and_allowed(fault)}"
