"""How a workflow tells how far it is."""

from typing import Protocol


class ProgressListener(Protocol):
    """Called by a workflow after each unit of work."""

    def __call__(self, done: int, total: int, message: str) -> None:
        """Take notice that `done` of `total` units are done; `message` names the last one."""
        ...


def no_progress(done: int, total: int, message: str) -> None:
    """Ignore progress."""
