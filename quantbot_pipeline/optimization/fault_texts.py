"""Words in which faults of a search space are told."""

from collections.abc import Sequence

from quantbot_pipeline.errors import SearchSpaceError


def shown(value: object) -> str:
    """Return a found value, cut to 80 characters."""
    text = repr(value)
    return text if len(text) <= 80 else f"{text[:77]}..."


def refusal(source: str, faults: Sequence[str]) -> SearchSpaceError:
    """Return the error that tells of all faults at once.

    Args:
        source: What the document is called.
        faults: At least one.
    """
    if len(faults) == 1:
        return SearchSpaceError(f"{source}: {faults[0]}")
    return SearchSpaceError(f"{source} has {len(faults)} faults:\n" + "\n".join(f"  - {fault}" for fault in faults))
