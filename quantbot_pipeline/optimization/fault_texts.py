"""Words in which faults of documents are told."""

from collections.abc import Mapping, Sequence

from pydantic_core import ErrorDetails

from quantbot_pipeline.errors import SearchSpaceError


def shown(value: object) -> str:
    """Return a found value, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def found_and_allowed(fault: ErrorDetails) -> str:
    """Return what pydantic found at a place of a document, and what may stand there."""
    match fault["type"]:
        case "missing":
            return "found nothing; allowed is a value, it can't be left out"
        case "extra_forbidden":
            return "found an unknown key; allowed is to leave it out"
        case "too_short":
            kind = "object" if isinstance(fault["input"], Mapping) else "list"
            return f"found an empty {kind}; allowed is at least one item"
        case "tuple_type":
            return f"found {shown(fault['input'])}; allowed is a list"
    return f"found {shown(fault['input'])}; allowed is {fault['msg'].removeprefix('Input should be ')}"


def refusal(source: str, faults: Sequence[str]) -> SearchSpaceError:
    """Return the error that tells of all faults at once.

    Args:
        source: What the document is called.
        faults: At least one.
    """
    if len(faults) == 1:
        return SearchSpaceError(f"{source}: {faults[0]}")
    return SearchSpaceError(f"{source} has {len(faults)} faults:\n" + "\n".join(f"  - {fault}" for fault in faults))
