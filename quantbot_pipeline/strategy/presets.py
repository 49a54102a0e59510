"""The strategies that ship with the package, as JSON documents in `presets/`."""

from importlib import resources

from quantbot_pipeline.errors import StrategyError
from quantbot_pipeline.strategy.model import Strategy, load_strategy

_SUFFIX = ".json"


def preset_names() -> list[str]:
    """Return the names of all presets, sorted."""
    folder = resources.files("quantbot_pipeline.strategy") / "presets"
    return sorted(entry.name.removesuffix(_SUFFIX) for entry in folder.iterdir() if entry.name.endswith(_SUFFIX))


def load_preset(name: str) -> Strategy:
    """Return a preset.

    Raises:
        StrategyError: there is no preset of this name; the message lists those there are.
    """
    names = preset_names()
    if name not in names:
        raise StrategyError(f"preset {name!r} does not exist; allowed are {', '.join(names)}")
    file = resources.files("quantbot_pipeline.strategy") / "presets" / f"{name}{_SUFFIX}"
    with resources.as_file(file) as path:
        return load_strategy(path)
