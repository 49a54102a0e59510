"""Ctrl-C from the first moment of a command to its last: never lost, never a stack trace.

Python raises an interrupt wherever it happens to be. In a destructor, or in a callback while modules load, it would be
printed and forgotten, and the command would go on; so one that dies before it reached the end of the command comes
again. Before the command runs and after it has ended nothing needs cleaning, and the process ends at once.

This module is imported before all others and imports next to nothing itself.
"""

import _signal as signal  # type: ignore[import-not-found]  # what `signal` wraps, but loads nothing
import _thread
import atexit
import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    # Imported for the type checker alone: nothing is loaded before Ctrl-C is in good hands.
    from types import FrameType, TracebackType
    from typing import Any

INTERRUPTED: int = 128 + signal.SIGINT
"""Exit code after Ctrl-C."""

NOTHING_WRITTEN = "stopped; nothing was written"
FILES_WRITTEN = "stopped; the files were written"
WORK_STORED = "stopped; what was finished is stored, run the command again to go on"

_SECONDS_UNTIL_AGAIN = 0.02
# So many signals of an impatient user are left aside while the first one is on its way; the next one gets through.
_SIGNALS_LEFT_ASIDE = 3

_STARTING, _RUNNING, _ENDED = range(3)


class _Interrupts:
    """Where the command is, and what came of its signals.

    Attributes:
        stage: Before the command, in it, or after it.
        code: What it ends with, once it has ended.
        text: What to say when it is stopped.
        noted: The signal whose exception is on its way; None without one.
        left_aside: Signals since then.
        command: Number of the command in this process.
    """

    def __init__(self) -> None:
        self.stage = _STARTING
        self.code = 0
        self.text = NOTHING_WRITTEN
        self.noted: int | None = None
        self.left_aside = 0
        self.command = 0
        self.before: dict[int, Any] = {}
        self.hook_before: Any = None


_state = _Interrupts()


class _Persistent(BaseException):
    """A signal on its way to the end of the command."""

    number: int

    def __del__(self) -> None:
        if _state.noted != self.number:
            return
        _state.noted = None
        if _state.stage == _RUNNING and not sys.is_finalizing():
            # Not from here: what is raised in a destructor is lost again.
            _thread.start_new_thread(_send_again, (self.number, _state.command))


class Interrupted(_Persistent, KeyboardInterrupt):
    """Ctrl-C on its way to the end of the command; it comes again where something swallows it."""

    number = int(signal.SIGINT)


class Terminated(_Persistent, SystemExit):
    """SIGTERM on its way to the end of the command, likewise."""

    number = int(signal.SIGTERM)


def _send_again(number: int, command: int) -> None:
    time.sleep(_SECONDS_UNTIL_AGAIN)
    if _state.command == command and _state.stage == _RUNNING and _state.noted is None:
        os.kill(os.getpid(), number)


def begin() -> None:
    """Take charge of Ctrl-C, unless the process was started to ignore it, as in the background of a script."""
    _state.stage, _state.code, _state.text = _STARTING, 0, NOTHING_WRITTEN
    _state.noted, _state.left_aside = None, 0
    _state.command += 1
    _state.before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    _state.hook_before = sys.unraisablehook
    sys.unraisablehook = _leave_out_interrupts
    if _state.before[signal.SIGINT] is not signal.SIG_IGN:
        signal.signal(signal.SIGINT, handle)


def keep_to_the_end() -> None:
    """Stay in charge until the process is gone."""
    # The last of all that is called at the end, as it is the first that is noted.
    atexit.register(signal.signal, signal.SIGINT, signal.SIG_IGN)


def run() -> None:
    """From here on, an interrupt is an exception, so that what was begun is cleaned up."""
    _state.stage = _RUNNING


def say_when_stopped(text: str) -> None:
    """Set what is said when the command is stopped from here on."""
    _state.text = text


def text_when_stopped() -> str:
    """Return what is to be said of a command that was stopped."""
    return _state.text


def check() -> None:
    """Raise an interrupt that came and was lost; called where the command makes progress.

    Raises:
        Interrupted: there is one.
        Terminated: likewise.
    """
    if _state.stage == _RUNNING and _state.noted is not None:
        _raise(_state.noted)


def end(code: int) -> None:
    """Note that all is done and cleaned up: whatever signal comes now, the command ends with `code`."""
    _state.stage, _state.code = _ENDED, code


def give_back() -> None:
    """Put back what `begin` found, for a process that goes on."""
    sys.unraisablehook = _state.hook_before
    for number, before in _state.before.items():
        signal.signal(number, before)


def handle(number: int, frame: "FrameType | None") -> None:  # noqa: ARG001 - what Python hands to a handler
    """Handle SIGINT or SIGTERM."""
    if _state.stage == _STARTING:
        os.write(2, f"{_state.text}\n".encode())
        os._exit(128 + number)
    if _state.stage == _ENDED:
        os._exit(_state.code)
    if _state.noted is not None:
        # The first one is being obeyed: cleaning up must not be cut short. (Some senders signal twice.)
        _state.left_aside += 1
        if _state.left_aside <= _SIGNALS_LEFT_ASIDE:
            return
    _raise(number)


def _raise(number: int) -> None:
    _state.noted, _state.left_aside = number, 0
    if number == signal.SIGTERM:
        raise Terminated(128 + number)
    raise Interrupted


def _leave_out_interrupts(unraisable: "Any") -> None:
    """Say what Python says of an exception that nothing can catch, but for interrupts, which come again."""
    is_stopped = _state.stage == _ENDED and _state.code in (INTERRUPTED, 128 + signal.SIGTERM)
    if is_stopped or isinstance(unraisable.exc_value, _Persistent):
        # Nor of libraries that stumble over their own end: whoever stops a command wants no list of that.
        return
    _state.hook_before(unraisable)


class ended_by_kill:  # noqa: N801 - used as a function; contextlib would be one more import
    """Handle SIGTERM as Ctrl-C for the time of a block, so that no half-written file stays."""

    def __init__(self) -> None:
        self._before: Any = None

    def __enter__(self) -> None:
        """Take charge, where the program may: signals are the main thread's."""
        if _thread.get_ident() == _main_thread and signal.getsignal(signal.SIGTERM) is not signal.SIG_IGN:
            self._before = signal.signal(signal.SIGTERM, handle)

    def __exit__(
        self, kind: type[BaseException] | None, value: BaseException | None, trace: "TracebackType | None"
    ) -> None:
        """Give back."""
        if self._before is not None and _state.noted is None:
            signal.signal(signal.SIGTERM, self._before)


_main_thread = _thread.get_ident()
