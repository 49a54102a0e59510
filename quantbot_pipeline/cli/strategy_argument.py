"""A strategy as people name it on a command line: a file, or a preset."""

from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from quantbot_pipeline.strategy.model import Strategy


def read_strategy(text: str, argument: str) -> "Strategy":
    """Return the strategy of a file or a preset.

    Args:
        text: What the user wrote.
        argument: What the argument is called in messages.

    Raises:
        StrategyError: there is no such file or preset, or the document is refused.
    """
    from quantbot_pipeline.errors import StrategyError
    from quantbot_pipeline.strategy.model import load_strategy
    from quantbot_pipeline.strategy.presets import load_preset, preset_names

    if text in preset_names():
        return load_preset(text)
    if not Path(text).exists():
        raise StrategyError(
            f"{argument}: {text!r} is neither a file nor a preset; presets are {', '.join(preset_names())}"
        )
    return load_strategy(Path(text))
