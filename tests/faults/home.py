"""A home with servers of its own, a small complete job in it, and all that can be done to it."""

import contextlib
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import clickhouse_connect
import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import psycopg
from psycopg import sql

from quantbot_pipeline.sample.generate import SampleSpec, write_sample
from quantbot_pipeline.servers.embedded import embedded_clickhouse, embedded_postgres, ensure_servers, stop_servers
from quantbot_pipeline.servers.processes import PACKAGE_PARENT
from quantbot_pipeline.servers.status import ServerUrls
from quantbot_pipeline.settings import Settings, load_settings
from quantbot_pipeline.storage.migrations import migrate
from tests.faults.contents import Contents, read_contents
from tests.faults.moments import GO_ON
from tests.faults.relays import Relay

LONGEST_SECONDS = 120.0
"""No command may take longer, whatever happens to it: a hang is a failure."""

SPEC = SampleSpec(seed=5, token_count=2, months=1, first_month="2025-03", alert_count=90, interval="1h")
_QUICK = {
    "name": "quick",
    "version": "1",
    "entry": {"type": "immediate"},
    "exits": {"targets": [{"multiple": 1.1, "size": 1.0}], "stop_loss": {"initial": 0.1}},
    "horizon_seconds": 14400,
}
_SPACE = {"parameters": [{"path": "exits.stop_loss.initial", "type": "float", "low": 0.05, "high": 0.5}]}
_STORAGE_BYTES = 400 << 20
_SMALL_DISKS = ("postgres", "clickhouse", "models", "dagster")


class Victim:
    """A process that runs the steps of a job and waits at each moment to be told to go on.

    Args:
        home: Where it works.
        pid: The process.
        moments: Where it tells of its moments; None for one that tells of none.
        output: Where it prints to.
        longest_seconds: How long it may take once it announces nothing any more.
    """

    def __init__(
        self,
        home: "FaultHome",
        pid: int,
        moments: socket.socket | None,
        output: Path,
        longest_seconds: float = LONGEST_SECONDS,
    ) -> None:
        self._home = home
        self.pid = pid
        self._moments = moments
        self._output = output
        self._longest_seconds = longest_seconds
        self._received = b""
        self.passed: list[str] = []

    def run_to(self, moment: str) -> bool:
        """Let it work until a moment; False if it ended before."""
        while (reached := self._next()) is not None:
            if reached == moment:
                return True
            self.go_on()
        return False

    def go_on(self) -> None:
        """Let it go on from the moment that it waits at."""
        assert self._moments is not None
        with contextlib.suppress(OSError):
            self._moments.sendall(GO_ON)

    def finish(self) -> int:
        """Let it run to its end and return its exit code, the negative number of the signal for a killed one."""
        while self._moments is not None and self._next() is not None:
            self.go_on()
        if self._moments is not None:
            self._moments.close()
            self._moments = None
        status = self._home.forker.wait(self.pid, self._longest_seconds)
        if status is None:
            os.kill(self.pid, signal.SIGKILL)
            self._home.forker.wait(self.pid, 10)
            raise AssertionError(
                f"the process did not end in {self._longest_seconds:.0f} s after {self.passed[-1:]}\n{self.text}"
            )
        return status

    def close(self) -> None:
        """Kill it if it runs."""
        if self._moments is not None:
            self._moments.close()
            self._moments = None
        if self._home.forker.wait(self.pid, 0) is None:
            os.kill(self.pid, signal.SIGKILL)
            self._home.forker.wait(self.pid, 10)

    @property
    def text(self) -> str:
        """What it printed."""
        return self._output.read_text(errors="replace") if self._output.exists() else ""

    def _next(self) -> str | None:
        assert self._moments is not None
        while b"\n" not in self._received:
            try:
                piece = self._moments.recv(4096)
            except TimeoutError:
                os.kill(self.pid, signal.SIGKILL)
                raise AssertionError(
                    f"nothing happened in {LONGEST_SECONDS:.0f} s after {self.passed[-1:]}\n{self.text}"
                ) from None
            except ConnectionResetError:
                piece = b""
            if not piece:
                return None
            self._received += piece
        line, _, self._received = self._received.partition(b"\n")
        self.passed.append(line.decode())
        return self.passed[-1]


class Forker:
    """The process that forks victims."""

    def __init__(self) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.faults.victim"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
            cwd=PACKAGE_PARENT,
        )

    def start(self, **asked: Any) -> int:
        return int(self._ask({"start": asked})["pid"])

    def wait(self, pid: int, seconds: float) -> int | None:
        status = self._ask({"wait": pid, "seconds": seconds})["status"]
        return None if status is None else int(status)

    def close(self) -> None:
        self._process.communicate(timeout=30)

    def _ask(self, document: dict[str, Any]) -> dict[str, Any]:
        assert self._process.stdin is not None
        assert self._process.stdout is not None
        self._process.stdin.write(json.dumps(document) + "\n")
        self._process.stdin.flush()
        answer: dict[str, Any] = json.loads(self._process.stdout.readline())
        return answer


@dataclass
class FaultHome:
    """A home, its servers and the job.

    Attributes:
        settings: Its settings.
        folder: Where input files, outputs and sockets are.
        forker: Makes victims.
        has_small_disks: Whether the servers' folders are file systems of their own, which can be filled.
        environment: Variables of victims beside the home.
    """

    settings: Settings
    folder: Path
    forker: Forker
    has_small_disks: bool
    environment: dict[str, str] = field(default_factory=dict)
    _victims: int = 0
    _started: list["Victim"] = field(default_factory=list)

    @property
    def steps(self) -> list[list[str]]:
        """The job as commands: its steps by name."""
        sample = self.folder / "sample"
        return [
            ["candles", "ingest", "candles", str(sample / "candles"), "--json"],
            ["alerts", "ingest", "alerts", str(sample / "alerts"), "--json"],
            ["simulate", "backfill", "--strategies", "conservative-24h,quick", "--file",
             str(self.folder / "quick.json"), "--json"],
            ["search", "optimize", "--template", "quick", "--space", str(self.folder / "space.json"), "--trials", "4",
             "--sampler", "random", "--json"],
            ["train", "train", "--strategy", "quick", "--model", "logistic", "--json"],
            ["aggregate", "views", "build"],
        ]  # fmt: skip

    def urls(self) -> ServerUrls:
        """Return where the servers are; one that does not run is started."""
        return ensure_servers(self.settings)

    def pids(self, server: str) -> list[int]:
        """Return the processes of a server that run, its first process first."""
        if server == "postgres":
            postmaster = embedded_postgres(self.settings).postmaster()
            found = postmaster.process.pid if postmaster else None
        else:
            owner = embedded_clickhouse(self.settings).state()
            found = owner.process.pid if owner else None
        if found is None:
            return []
        with contextlib.suppress(psutil.NoSuchProcess):
            return [found, *(child.pid for child in psutil.Process(found).children(recursive=True))]
        return []

    def data_directory(self, target: str) -> Path:
        """Return the folder that a process writes to, which is a small disk of its own."""
        return self.settings.home / {"process": "models", "daemon": "dagster"}.get(target, target)

    def empty(self) -> None:
        """Remove every row and file of the last job, and what a test that failed left running."""
        self.close_victims()
        urls = self.urls()
        migrate(urls.postgres, urls.clickhouse)
        with psycopg.connect(urls.postgres, autocommit=True) as postgres:
            tables = [
                sql.Identifier(name)
                for (name,) in postgres.execute(
                    "select tablename from pg_tables where schemaname = 'public' and tablename <> 'schema_migrations'"
                )
            ]
            postgres.execute(sql.SQL("truncate {} restart identity cascade").format(sql.SQL(", ").join(tables)))
            # Keeps the logs of many jobs from filling the small disk.
            postgres.execute("checkpoint")
        with closing(clickhouse_connect.get_client(dsn=urls.clickhouse)) as clickhouse:
            # Views that are tables lie in the database beside it.
            for database, name in clickhouse.query(
                "select database, name from system.tables "
                "where database in (currentDatabase(), concat(currentDatabase(), '_view_builds')) "
                "and engine like '%MergeTree' and name <> 'schema_migrations'"
            ).result_rows:
                place = {"database": database, "name": name}
                clickhouse.command("truncate table {database:Identifier}.{name:Identifier}", parameters=place)
        for path in self.settings.models_directory.iterdir():
            path.unlink()

    def close_victims(self) -> None:
        """End what a test that failed left running."""
        for victim in self._started:
            victim.close()
        self._started.clear()

    def start(
        self,
        steps: Sequence[Sequence[str]] | None = None,
        *,
        with_moments: bool = True,
        relays: dict[str, Relay] | None = None,
        **environment: str,
    ) -> Victim:
        """Start a process that runs the job, or other steps."""
        chosen = [list(step) for step in steps or self.steps]
        self._victims += 1
        output = self.folder / f"output-{self._victims}"
        listener = self.folder / f"moments-{self._victims}"
        with socket.socket(socket.AF_UNIX) as server:
            server.bind(str(listener))
            server.listen(1)
            server.settimeout(LONGEST_SECONDS)
            pid = self.forker.start(
                steps=chosen,
                output=str(output),
                listener=str(listener) if with_moments else None,
                relays={name: relay.address for name, relay in (relays or {}).items()},
                environment={"QUANTBOT_HOME": str(self.settings.home), **self.environment, **environment},
            )
            moments = None
            if with_moments:
                moments = server.accept()[0]
                moments.settimeout(LONGEST_SECONDS)
        listener.unlink()
        self._started.append(Victim(self, pid, moments, output, LONGEST_SECONDS * len(chosen)))
        return self._started[-1]

    def start_writer(self, number: int, seconds: float, report: Path) -> Victim:
        """Start a process that writes to both servers for a while, see `writers`."""
        self._victims += 1
        output = self.folder / f"output-{self._victims}"
        writes = {"number": number, "seconds": seconds, "report": str(report)}
        environment = {"QUANTBOT_HOME": str(self.settings.home), **self.environment}
        return Victim(self, self.forker.start(writes=writes, output=str(output), environment=environment), None, output)

    def run(self, **given: Any) -> Victim:
        """Run the whole job undisturbed; it must go well."""
        victim = self.start(**given)
        code = victim.finish()
        assert code == 0, f"exit code {code}\n{victim.text}"
        return victim

    def contents(self) -> Contents:
        """Return what is stored."""
        return read_contents(self.urls())

    @contextmanager
    def relays(self) -> Iterator[dict[str, Relay]]:
        """Give relays to both servers."""
        with tempfile.TemporaryDirectory(prefix="quantbot-relay-") as folder:
            owner = embedded_clickhouse(self.settings)
            postgres = embedded_postgres(self.settings)

            def postgres_socket() -> str:
                postmaster = postgres.postmaster()
                if postmaster is None:
                    raise ConnectionRefusedError
                return str(postmaster.socket_directory / ".s.PGSQL.5432")

            def clickhouse_port() -> int:
                state = owner.state()
                if state is None:
                    raise ConnectionRefusedError
                return state.port

            with (
                Relay(postgres_socket, Path(folder) / ".s.PGSQL.5432") as to_postgres,
                Relay(clickhouse_port) as to_clickhouse,
            ):
                yield {"postgres": to_postgres, "clickhouse": to_clickhouse}

    @contextmanager
    def full_disk(self, target: str) -> Iterator[None]:
        """Leave not a byte of room where a process writes, for the time of the context."""
        ballast = self.data_directory(target) / "ballast"
        try:
            with ballast.open("wb", buffering=0) as stream, contextlib.suppress(OSError):
                for size in (1 << 20, 4096, 1):
                    with contextlib.suppress(OSError):
                        while True:
                            stream.write(b"\0" * size)
            yield
        finally:
            ballast.unlink()


@contextmanager
def open_fault_home(*, with_small_disks: bool = True) -> Iterator[FaultHome]:
    """Make a home with running, migrated servers and the files of the job; all of it is gone at the end."""
    forker = Forker()
    with tempfile.TemporaryDirectory(prefix="quantbot-faults-", ignore_cleanup_errors=True) as name:
        folder = Path(name)
        folder.chmod(0o711)
        settings = load_settings(home=folder / "home", postgres_url=None, clickhouse_url=None)
        write_sample(folder / "sample", SPEC)
        (folder / "quick.json").write_text(json.dumps(_QUICK))
        (folder / "space.json").write_text(json.dumps(_SPACE))
        mounted = [settings.home / part for part in _SMALL_DISKS]
        for path in mounted:
            path.mkdir(parents=True)
        mounted = [path for path in mounted if with_small_disks and _mount(path)]
        home = FaultHome(settings, folder, forker, has_small_disks=len(mounted) == len(_SMALL_DISKS))
        try:
            home.empty()
            yield home
        finally:
            stop_servers(settings)
            forker.close()
            for path in mounted:
                subprocess.run(["umount", str(path)], check=False, capture_output=True)
            shutil.rmtree(settings.home, ignore_errors=True)


def _mount(path: Path) -> bool:
    options = f"size={_STORAGE_BYTES},mode=0711"
    command = ["mount", "-t", "tmpfs", "-o", options, "tmpfs", str(path)]
    try:
        return subprocess.run(command, check=False, capture_output=True, timeout=10).returncode == 0
    except OSError:
        return False


def send(pids: Sequence[int], number: signal.Signals) -> None:
    """Send a signal to processes that may be gone."""
    for pid in pids:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, number)


def wait_until(condition: Any, seconds: float, what: str) -> None:
    """Wait for a condition of another process, no longer than some seconds."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, f"{what}: not in {seconds:.0f} s"
        time.sleep(0.01)
