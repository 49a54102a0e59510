"""Strategies in: the presets that are shipped, and the user's own JSON files."""

from collections.abc import Sequence
from pathlib import Path

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.storage.protocols import StateStore
from quantbot_pipeline.storage.records import StrategyRow
from quantbot_pipeline.strategy.model import Strategy, config_hash, load_strategy
from quantbot_pipeline.strategy.presets import load_preset, preset_names
from quantbot_pipeline.workflows.call_scores import require_models


def store_strategies(state: StateStore, paths: Sequence[Path] = ()) -> list[StrategyRow]:
    """Store the presets and the strategies of `paths`; all files are checked before anything is stored.

    Raises:
        StrategyError: a file is refused; nothing was stored.
        InputError: a (name, version) is stored, or comes twice, with different configs, or a strategy names a model of
            which no version was ever ready; nothing was stored.
    """
    strategies = [load_preset(name) for name in preset_names()]
    strategies += [load_strategy(path) for path in paths]
    _refuse_conflicts(strategies, [*[None] * len(preset_names()), *paths], state)
    # Stored, it would keep every backfill that doesn't leave it out from running.
    require_models(strategies, state)
    return [_store(state, strategy) for strategy in strategies]


def _refuse_conflicts(strategies: Sequence[Strategy], sources: Sequence[Path | None], state: StateStore) -> None:
    """Refuse two meanings of one (name, version) before anything is stored.

    The store refuses each by itself too; by then those before it would be stored.
    """
    meanings = {(row.name, row.version): row.config_hash for row in state.load_strategies()}
    for strategy, source in zip(strategies, sources, strict=True):
        known = meanings.setdefault((strategy.name, strategy.version), config_hash(strategy))
        if known != config_hash(strategy):
            raise InputError(
                f"{source or 'presets'}: strategy {strategy.name!r} version {strategy.version!r} is known with another "
                "config; a version never changes its meaning: give the changed strategy a new version or name"
            )


def newest_versions(rows: Sequence[StrategyRow]) -> list[StrategyRow]:
    """Return of each name the version that was stored last, in the order of the names.

    Version texts have no order of their own: "10" sorts before "9".
    """
    newest: dict[str, StrategyRow] = {}
    for row in sorted(rows, key=lambda row: row.strategy_id):
        newest[row.name] = row
    return [newest[name] for name in sorted(newest)]


def _store(state: StateStore, strategy: Strategy) -> StrategyRow:
    return state.store_strategy(
        name=strategy.name,
        version=strategy.version,
        category=strategy.category,
        description=strategy.description,
        config=strategy.model_dump(mode="json", by_alias=True),
        config_hash=config_hash(strategy),
    )
