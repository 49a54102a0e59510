"""The strategies that a walk-forward chose, on test calls whose times were moved: does it matter when calls are made?

Only calls that no choice has seen are moved, so no shuffle needs a search of its own.
"""

from collections.abc import Sequence
from dataclasses import replace

import numpy as np

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.optimization.honesty.permutation import (
    CallTimeShuffle,
    PermutationResult,
    SequentialPermutationTest,
)
from quantbot_pipeline.optimization.measured_trials import MeasuredTrial, SearchCalls
from quantbot_pipeline.strategy.model import Strategy, config_hash
from quantbot_pipeline.workflows.measure_trials import TrialMeter
from quantbot_pipeline.workflows.simulation_inputs import TokenInput

STOP_AFTER = 10
"""Shuffles that did as well after which nothing is left to be seen."""


def shuffled_calls_test(
    choices: Sequence[tuple[Strategy, IntArray]],
    calls: SearchCalls,
    meter: TrialMeter,
    *,
    observed: float,
    at_most: int,
    seed: int,
) -> PermutationResult | None:
    """Return how often the choices do as well on shuffled test calls.

    Args:
        choices: The strategy of each window and the places of its test calls.
        calls: All calls.
        meter: Measures strategies.
        observed: Mean result of the trades on the real calls.
        at_most: Shuffles at most.
        seed: Seed of the shuffles.

    Returns:
        None if there is nothing to shuffle.
    """
    windows = _joined(choices)
    if not windows:
        return None
    worlds = [_World(strategy, test, calls, meter, seed) for strategy, test in windows]
    test = SequentialPermutationTest(observed, stop_after=STOP_AFTER, at_most=at_most)
    for number in range(at_most):
        total, count = 0.0, 0
        for world in worlds:
            found = world.shuffled(number)
            if found is not None:
                total += float(found.pnl[world.test].sum())
                count += int(np.count_nonzero(found.is_bought[world.test]))
        if test.add(total / count if count else None):
            break
    return test.result()


def _joined(choices: Sequence[tuple[Strategy, IntArray]]) -> list[tuple[Strategy, IntArray]]:
    """Return choices with windows of the same strategy as one."""
    by_config: dict[str, tuple[Strategy, list[IntArray]]] = {}
    for strategy, test in choices:
        by_config.setdefault(config_hash(strategy), (strategy, []))[1].append(test)
    return [(strategy, np.sort(np.concatenate(tests))) for strategy, tests in by_config.values()]


class _World:
    """What one strategy reads, with calls that can be moved."""

    def __init__(self, strategy: Strategy, test: IntArray, calls: SearchCalls, meter: TrialMeter, seed: int) -> None:
        self.test = test
        self._strategy = strategy
        self._meter = meter
        parts = meter.data.parts(strategy)
        wanted = set(calls.call_id[test].tolist())
        self._parts: list[tuple[TokenInput, list[Call]]] = []
        self._moving: list[tuple[int, int]] = []
        stamps, token = [], []
        for part in parts:
            moving = [call for call in part.calls if call.call_id in wanted]
            if not moving:
                continue
            # Calls of other kinds, such as exits, stay where they are; other entries are not there.
            staying = [call for call in part.calls if call.call_id not in part.reported_call_ids]
            for call in moving:
                stamps.append(call.signal_timestamp)
                token.append(len(self._parts))
            self._parts.append((part, [*moving, *staying]))
            self._moving.append((len(moving), len(staying)))
        self._shuffle = CallTimeShuffle(
            np.array(stamps, dtype=np.int64),
            np.array(token, dtype=np.int64),
            [part.candles.timestamp for part, _ in self._parts],
            seed=seed,
        )

    def shuffled(self, number: int) -> MeasuredTrial | None:
        """Return what comes of a shuffle; None if it can't be run."""
        times = self._shuffle.draw(number).tolist()
        candles, moved, begin = {}, {}, 0
        for key, ((part, calls), (moving, _)) in enumerate(zip(self._parts, self._moving, strict=True)):
            candles[key] = part.candles
            moved[key] = [
                replace(call, signal_timestamp=at)
                for call, at in zip(calls[:moving], times[begin : begin + moving], strict=True)
            ] + calls[moving:]
            begin += moving
        [found] = self._meter.measure_on([self._strategy], PreparedMarkets(candles, moved))
        return found if isinstance(found, MeasuredTrial) else None
