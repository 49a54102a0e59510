"""Dagster's daemon on a home, with a backfill under way that is watched and disturbed."""

import contextlib
import os
import selectors
import signal
import socket
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

import psycopg

from tests.faults.daemon_work import write_workspace
from tests.faults.home import FaultHome, Victim
from tests.faults.moments import GO_ON
from tests.faults.relays import Relay

LONGEST_SECONDS = 600.0
"""No backfill may take longer, whatever happens to the daemon: a run whose launch was lost is tried again after the 300
seconds of `start_timeout_seconds` in dagster.yaml."""

_DONE = ("COMPLETED", "COMPLETED_SUCCESS")
_FAILED = ("COMPLETED_FAILED", "FAILED", "CANCELED")


class Moments:
    """What the daemon and the processes of its runs announce; they wait until they are told to go on.

    Args:
        path: Where to listen.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._server = socket.socket(socket.AF_UNIX)
        self._server.bind(str(path))
        self._server.listen(16)
        self._selector = selectors.DefaultSelector()
        self._selector.register(self._server, selectors.EVENT_READ)
        self._waiting: list[socket.socket] = []
        self.passed: list[str] = []

    def close(self) -> None:
        for key in list(self._selector.get_map().values()):
            if isinstance(key.fileobj, socket.socket):
                key.fileobj.close()
        self._selector.close()

    def pump(self, seconds: float, wanted: str | None = None) -> bool:
        """Let everybody go on for some seconds, or until a moment, whose process then waits; return whether it came."""
        for connection in self._waiting:
            self._go_on(connection)
        self._waiting = []
        deadline = time.monotonic() + seconds
        while (left := deadline - time.monotonic()) > 0:
            for key, _ in self._selector.select(left):
                assert isinstance(key.fileobj, socket.socket)
                if key.fileobj is self._server:
                    self._selector.register(self._server.accept()[0], selectors.EVENT_READ)
                elif self._is_reached(key.fileobj, wanted):
                    return True
        return False

    def _is_reached(self, connection: socket.socket, wanted: str | None) -> bool:
        # A process waits after each line, so a line comes alone and whole.
        line = b""
        with contextlib.suppress(ConnectionResetError):
            line = connection.recv(4096)
        if not line:
            self._selector.unregister(connection)
            connection.close()
            return False
        self.passed.append(line.decode().strip())
        if self.passed[-1] == wanted:
            self._waiting.append(connection)
            return True
        self._go_on(connection)
        return False

    def _go_on(self, connection: socket.socket) -> None:
        with contextlib.suppress(OSError):
            connection.sendall(GO_ON)


def empty_dagster(home: FaultHome) -> None:
    """Forget every run and backfill of Dagster."""
    with psycopg.connect(home.urls().postgres, autocommit=True) as postgres:
        postgres.execute("drop database if exists dagster with (force)")
        postgres.execute("create database dagster")


def backfill_status(home: FaultHome) -> str:
    """Return the status of the backfill that was asked for last, as Dagster has it."""
    with _dagster_database(home) as dagster:
        row = dagster.execute("select status from bulk_actions order by id desc limit 1").fetchone()
    assert row is not None
    return str(row[0])


def run_statuses(home: FaultHome) -> list[str]:
    """Return the statuses of all runs."""
    with _dagster_database(home) as dagster:
        return sorted(status for (status,) in dagster.execute("select status from runs").fetchall())


@contextmanager
def _dagster_database(home: FaultHome) -> Iterator[psycopg.Connection]:
    with psycopg.connect(home.urls().dagster_postgres.replace("+psycopg2", "")) as connection:
        yield connection


class DaemonWatch:
    """A daemon with a backfill under way.

    Args:
        home: A home with candles, alerts, calls.
    """

    def __init__(self, home: FaultHome) -> None:
        self.home = home
        self._folder = tempfile.TemporaryDirectory(prefix="quantbot-daemon-")
        folder = Path(self._folder.name)
        self.moments = Moments(folder / "moments")
        self._workspace = write_workspace(folder)
        self._started: list[Victim] = []
        self._backfills = 0
        self.output = folder / "daemon.log"

    def close(self) -> None:
        """End every daemon and what it started."""
        for victim in self._started:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(victim.pid, signal.SIGKILL)
            self.home.forker.wait(victim.pid, 10)
        self.moments.close()
        self._folder.cleanup()

    def request_backfill(self, months: Sequence[str], strategies: Sequence[str]) -> None:
        self._backfills += 1
        asked = {
            "name": f"faults{self._backfills}",
            "months": list(months),
            "strategies": list(strategies),
            "file": str(self.home.folder / "quick.json"),
        }
        victim = self._start(backfill=asked)
        status = self.home.forker.wait(victim.pid, 120)
        assert status == 0, victim.text

    def start(self, *, with_moments: bool = True, relays: dict[str, Relay] | None = None) -> Victim:
        daemon = {"workspace": str(self._workspace), "listener": str(self.moments.path) if with_moments else None}
        addresses = {name: relay.address for name, relay in (relays or {}).items()}
        victim = self._start(daemon=daemon, relays=addresses)
        self._started.append(victim)
        return victim

    def wait_for_backfill(self) -> str:
        """Let everything go on until the backfill has ended; return its status."""
        deadline = time.monotonic() + LONGEST_SECONDS
        while (status := backfill_status(self.home)) not in (*_DONE, *_FAILED):
            assert time.monotonic() < deadline, (
                f"backfill {status}, runs {run_statuses(self.home)} after {self.moments.passed[-1:]}\n"
                f"{self.output.read_text(errors='replace')[-4000:]}"
            )
            self.moments.pump(0.5)
        return status

    def is_done(self, status: str) -> bool:
        return status in _DONE

    def _start(self, **asked: object) -> Victim:
        settings = self.home.settings
        environment = {
            "QUANTBOT_HOME": str(settings.home),
            "DAGSTER_HOME": str(settings.dagster_home),
            **self.home.environment,
        }
        pid = self.home.forker.start(output=str(self.output), environment=environment, **asked)
        return Victim(self.home, pid, None, self.output)
