"""Strategies in: the presets that are shipped, and the user's own JSON files."""

from collections.abc import Sequence
from pathlib import Path

from quantbot_pipeline.storage.protocols import StateStore
from quantbot_pipeline.storage.records import StrategyRow
from quantbot_pipeline.strategy.model import Strategy, config_hash, load_strategy
from quantbot_pipeline.strategy.presets import load_preset, preset_names


def store_strategies(state: StateStore, paths: Sequence[Path] = ()) -> list[StrategyRow]:
    """Store the presets and the strategies of `paths`; all files are checked before anything is stored.

    Raises:
        StrategyError: a file is refused; nothing was stored.
        InputError: a (name, version) is stored with another config already.
    """
    strategies = [load_preset(name) for name in preset_names()]
    strategies += [load_strategy(path) for path in paths]
    return [_store(state, strategy) for strategy in strategies]


def _store(state: StateStore, strategy: Strategy) -> StrategyRow:
    return state.store_strategy(
        name=strategy.name,
        version=strategy.version,
        category=strategy.category,
        description=strategy.description,
        config=strategy.model_dump(mode="json", by_alias=True),
        config_hash=config_hash(strategy),
    )
