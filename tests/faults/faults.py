"""What can happen to a process at a moment, and what must hold then."""

import signal
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

from tests.faults.contents import Contents, differences, half_results
from tests.faults.home import FaultHome, Victim, send, wait_until
from tests.faults.relays import Relay

SERVERS = ("postgres", "clickhouse")
TARGETS = ("process", *SERVERS)

# What a command may end with when it is disturbed: it went well all the same, a server was lost, it was ended itself;
# 4 says of the file of a model that it could not be written.
_CODES_OF_FAULTS = {0, 3}
_CODES_OF_FULL_DISKS = {0, 3, 4}


@dataclass(frozen=True)
class Case:
    """A fault at a moment.

    Attributes:
        target: process, postgres or clickhouse.
        fault: Name in `FAULTS`.
        moment: Name of the moment, as `moments.Announcer` makes it.
        seconds: How long a stopped process stays so.
    """

    target: str
    fault: str
    moment: str
    seconds: float = 2.0

    def __str__(self) -> str:
        return f"{self.target} {self.fault} {self.moment}"


Harm = Callable[["Scene"], "Iterator[None]"]


@dataclass(frozen=True)
class Scene:
    """A case under way: where, whose job, and what its stores are reached through."""

    home: FaultHome
    case: Case
    victim: Victim
    relays: dict[str, Relay]

    @property
    def pids(self) -> list[int]:
        return [self.victim.pid] if self.case.target == "process" else self.home.pids(self.case.target)


@contextmanager
def _kill(scene: Scene) -> Iterator[None]:
    first = scene.pids[:1]
    send(first, signal.SIGKILL)
    if scene.case.target != "process":
        wait_until(lambda: not scene.home.pids(scene.case.target), 10, "death by SIGKILL")
    yield


@contextmanager
def _terminate(scene: Scene) -> Iterator[None]:
    # The others go on at once: they meet a server in the midst of its end.
    send(scene.pids[:1], signal.SIGTERM)
    yield


@contextmanager
def _kill_backends(scene: Scene) -> Iterator[None]:
    """Kill Postgres' processes but its first: it ends all connections and recovers by itself."""
    send(scene.pids[1:], signal.SIGKILL)
    yield


@contextmanager
def _stop(scene: Scene) -> Iterator[None]:
    pids = scene.pids
    send(pids, signal.SIGSTOP)
    if scene.case.target == "process":
        time.sleep(scene.case.seconds)
        send(pids, signal.SIGCONT)
        yield
        return
    goes_on = threading.Timer(scene.case.seconds, send, (pids, signal.SIGCONT))
    goes_on.start()
    yield
    goes_on.join()


@contextmanager
def _reset(scene: Scene) -> Iterator[None]:
    for name, relay in scene.relays.items():
        if scene.case.target in ("process", name):
            relay.reset()
    yield


@contextmanager
def _lose_answer(scene: Scene) -> Iterator[None]:
    """Let the server do its work and the client see a reset; of Postgres, the answer to the next COMMIT is lost."""
    relay = scene.relays[scene.case.target]
    relay.swallow_answer(b"COMMIT\0" if scene.case.target == "postgres" else b"")
    yield
    assert relay.answers_swallowed == 1


@contextmanager
def _fill_disk(scene: Scene) -> Iterator[None]:
    with scene.home.full_disk(scene.case.target):
        yield


FAULTS = {
    "kill": _kill,
    "term": _terminate,
    "kill-backends": _kill_backends,
    "stop": _stop,
    "reset": _reset,
    "lost-answer": _lose_answer,
    "full-disk": _fill_disk,
}
OVER_RELAYS = {"reset", "lost-answer"}


def check(case: Case, home: FaultHome, undisturbed: Contents) -> None:
    """Run the job, let the fault happen, see what readers see, run it again, compare with an undisturbed one."""
    home.empty()
    with home.relays() as relays:
        victim = home.start(relays=relays if case.fault in OVER_RELAYS else None)
        assert victim.run_to(case.moment), f"{case.moment!r} was never reached:\n{victim.text}"
        with FAULTS[case.fault](Scene(home, case, victim, relays)):
            victim.go_on()
            code = victim.finish()
    told = f"exit code {code}, last moment {victim.passed[-1]}\n{victim.text[-3000:]}"
    assert "Traceback" not in victim.text, told
    assert code in _allowed(case), told
    seen = half_results(home.contents(), undisturbed)
    assert seen == [], f"{told}\n{seen}"
    again = home.start([*home.steps, ["verify", "verify"]], with_moments=False)
    code = again.finish()
    assert code == 0, f"run again: exit code {code}\n{again.text[-3000:]}"
    found = differences(home.contents(), undisturbed)
    assert found == [], f"{told}\n{found}"


def _allowed(case: Case) -> set[int]:
    if case.target == "process" and case.fault == "kill":
        return {-signal.SIGKILL}
    if case.target == "process" and case.fault == "term":
        return {-signal.SIGTERM, 128 + signal.SIGTERM}
    if case.target == "process" and case.fault == "stop":
        return {0}
    return _CODES_OF_FULL_DISKS if case.fault == "full-disk" else _CODES_OF_FAULTS


def is_alive(pid: int) -> bool:
    """Return whether a process runs and is no zombie."""
    with suppress(psutil.NoSuchProcess):
        return bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    return False
