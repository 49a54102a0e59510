"""Setting fields of the strategy document that a search varies."""

from collections.abc import Mapping
from typing import Any

from quantbot_pipeline.errors import SearchSpaceError
from quantbot_pipeline.optimization.parameter_paths import parse_path, set_at_path
from quantbot_pipeline.strategy.model import parse_strategy

# A canonical config, as stores keep it, has no name; a strategy needs one.
UNNAMED = {"name": "search template"}

_IDENTITY_FIELDS = frozenset({"name", "version", "category", "description"})


def apply_parameters(template: Mapping[str, Any], params: Mapping[str, Any]) -> dict[str, Any]:
    """Return a copy of the template with the fields at the given paths replaced.

    Args:
        template: A strategy document; it is not changed.
        params: Path → value; None switches a field off.

    Raises:
        SearchSpaceError: a path does not fit the template, or names the strategy's identity (name,
            version, category, description), which never varies.
    """
    document: dict[str, Any] = copy_json(dict(template))
    for path, value in params.items():
        refuse_identity(path)
        set_at_path(document, path, copy_json(value))
    return document


def check_strategy(document: Mapping[str, Any]) -> None:
    """Refuse a document that is no strategy; a canonical config without a name is one.

    Raises:
        StrategyError: the document is not a valid strategy.
    """
    parse_strategy(UNNAMED | dict(document))


def refuse_identity(path: str) -> None:
    """Refuse a path into the strategy's identity.

    Raises:
        SearchSpaceError: it is one.
    """
    if parse_path(path)[0] in _IDENTITY_FIELDS:
        raise SearchSpaceError(
            f"path {path!r} is part of the strategy's identity; allowed are fields that change what it does: "
            "entry, exits, re_entry, costs and the settings beside them"
        )


def copy_json(value: Any) -> Any:
    """Return a copy that shares nothing; `copy.deepcopy` takes five times as long, for every trial."""
    if isinstance(value, dict):
        return {key: copy_json(child) for key, child in value.items()}
    if isinstance(value, list | tuple):
        return [copy_json(child) for child in value]
    return value
