"""The folder that holds the servers' files: the lock under which servers are started, the mark of a half restore."""

import shlex
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from filelock import FileLock, Timeout

from quantbot_pipeline.errors import ServerError
from quantbot_pipeline.settings import Settings


def restore_mark(settings: Settings) -> Path:
    """Return the file that is there from a restore's first change of this home until its end."""
    return settings.home / "restore-unfinished"


def refuse_half_restored(settings: Settings) -> None:
    """Let nobody work with a home whose restore did not end: new rows would get the ids of rows to come.

    Raises:
        ServerError: a restore runs, or was killed.
    """
    mark = restore_mark(settings)
    if mark.exists():
        source = mark.read_text(encoding="utf-8", errors="replace").strip()
        raise ServerError(
            f"{settings.home} is being restored, or a restore of it did not end; wait for it, or run it again: "
            f"quantbot restore {shlex.quote(source)} --into {shlex.quote(str(settings.home))}"
        )


@contextmanager
def locked_home(settings: Settings, on_progress: Callable[[str], None] | None = None) -> Iterator[None]:
    """Hold the home's lock; the system takes it from a process that dies.

    Args:
        settings: Which home; made when missing.
        on_progress: Told when another command has the lock.

    Raises:
        ServerError: the home can't be made, or another command keeps the lock too long.
    """
    lock = FileLock(_make_home(settings.home) / "servers.lock")
    try:
        lock.acquire(timeout=0.2)
    except Timeout:
        if on_progress is not None:
            on_progress("waiting for another command that starts or stops the servers")
        # The other one may start both servers and the UI, one after the other, each within its time.
        seconds = 2 * settings.server_start_timeout_seconds + 150.0
        try:
            lock.acquire(timeout=seconds)
        except Timeout as error:
            raise ServerError(
                f"another command has been starting or stopping the servers of {settings.home} "
                f"for {seconds:.0f} s; wait for it or end it"
            ) from error
    try:
        yield
    finally:
        lock.release()


def _make_home(home: Path) -> Path:
    try:
        home.mkdir(parents=True, exist_ok=True)
        # A home inside of a checkout must not show up as something to commit.
        ignore = home / ".gitignore"
        if not ignore.exists():
            ignore.write_text("*\n")
    except OSError as error:
        raise ServerError(
            f"folder {home} can't be made: {error.strerror}; set QUANTBOT_HOME to one that can be written"
        ) from error
    return home
