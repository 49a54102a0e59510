"""How a workflow tells how far it is."""

from collections.abc import Callable
from typing import Protocol

StageListener = Callable[[str, int, int], None]
"""Told the name of a stage and how many of its units are done, of how many."""


class ProgressListener(Protocol):
    """Called by a workflow after each unit of work."""

    def __call__(self, done: int, total: int, message: str) -> None:
        """Take notice that `done` of `total` units are done; `message` names the last one."""
        ...


def no_progress(done: int, total: int, message: str) -> None:
    """Ignore progress."""


def no_stage(name: str, done: int, total: int) -> None:
    """Ignore the progress of stages."""


def of_stage(on_stage: StageListener, name: str) -> ProgressListener:
    """Return a listener that tells the progress of one stage."""

    def listen(done: int, total: int, message: str) -> None:  # noqa: ARG001 - the stage's name says it
        on_stage(name, done, total)

    return listen
