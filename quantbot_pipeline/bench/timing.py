"""How time is taken: contestants take turns, and the quickest repetition of each counts."""

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np

from quantbot_pipeline.workflows.progress import ProgressListener, no_progress

NOISY_SPREAD = 0.3
"""A run whose median repetition took this much longer than its quickest one is noisy."""


TURN_SECONDS = 0.05
"""A turn lasts at least this long: work is repeated until then, and the quickest time is the turn's.

Milliseconds after a pause say more about the processor's waking up, and about the caches as another left them.
"""


@dataclass(frozen=True)
class Timing:
    """Repetitions of one piece of work.

    Attributes:
        seconds: Each repetition, in order.
    """

    seconds: tuple[float, ...]

    @property
    def best(self) -> float:
        """The shortest, seconds: other work on the machine only ever slows one."""
        return min(self.seconds)

    @property
    def spread(self) -> float:
        """How much longer the median took than the shortest, as a fraction of it."""
        return float(np.median(self.seconds)) / self.best - 1

    @property
    def is_noisy(self) -> bool:
        """Whether repetitions differ too much to be relied on."""
        return self.spread > NOISY_SPREAD


def timed(work: Callable[[], object]) -> Callable[[], float]:
    """Return a function that does the work once and returns how long it took, seconds."""

    def take() -> float:
        begin = time.perf_counter()
        work()
        return time.perf_counter() - begin

    return take


def race(
    contestants: Mapping[str, Callable[[], float]], rounds: int, on_progress: ProgressListener = no_progress
) -> dict[str, Timing]:
    """Let contestants take turns, so that what else the machine does falls on all of them alike.

    Short work is done several times in each turn, see `TURN_SECONDS`.

    Args:
        contestants: Functions that do their work once and return how long it took, seconds.
        rounds: Repetitions that count; each contestant does its work once more before, to be warm.
        on_progress: Told after each round.
    """
    seconds: dict[str, list[float]] = {name: [] for name in contestants}
    for done in range(rounds + 1):
        for name, take in contestants.items():
            taken = [take()]
            while sum(taken) < TURN_SECONDS:
                taken.append(take())
            if done:
                seconds[name].append(min(taken))
        on_progress(done + 1, rounds + 1, "")
    return {name: Timing(tuple(taken)) for name, taken in seconds.items()}
