"""Dagster's webserver and daemon as background processes of one home.

Starts and stops them by their commands; imports nothing of Dagster.
"""

import contextlib
import http.client
import json
import os
import socket
import sys
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Literal

from quantbot_pipeline.errors import ServerError
from quantbot_pipeline.project_files import project_file
from quantbot_pipeline.servers.home import locked_home
from quantbot_pipeline.servers.processes import (
    ProcessIdentity,
    last_lines,
    start_detached,
    stop_process,
    write_atomically,
)
from quantbot_pipeline.servers.status import ServerStatus
from quantbot_pipeline.settings import Settings

_WEBSERVER: Literal["dagster-webserver"] = "dagster-webserver"
_DAEMON: Literal["dagster-daemon"] = "dagster-daemon"
_HOST = "127.0.0.1"
_PORTS_TRIED = 50
# Loading the definitions takes seconds, on a busy machine tens of them.
_UI_START_TIMEOUT_SECONDS = 120.0
_STOP_TIMEOUT_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class _Background:
    """One background process and its files below `dagster_home`."""

    name: Literal["dagster-webserver", "dagster-daemon"]
    home: Path

    @property
    def state_file(self) -> Path:
        return self.home / f"{self.name}.pid.json"

    @property
    def log_file(self) -> Path:
        return self.home / f"{self.name}.log"

    def process(self) -> tuple[ProcessIdentity, int | None] | None:
        """Return the running process and its port, None when it does not run."""
        try:
            content = json.loads(self.state_file.read_text())
            identity = ProcessIdentity(
                int(content["pid"]), float(content["started_at_s"]), str(content.get("started_in_boot", ""))
            )
            port = content["port"]
        except (FileNotFoundError, ValueError, KeyError, TypeError):
            return None
        return (identity, port) if identity.is_running() else None

    def start(self, arguments: list[str], port: int | None) -> ProcessIdentity:
        workspace = str(project_file("workspace.yaml"))
        identity = start_detached(
            [sys.executable, "-m", *arguments, "-w", workspace],
            self.log_file,
            directory=project_file("workspace.yaml").parent,
        )
        content = {**asdict(identity), "port": port}
        write_atomically(self.state_file, json.dumps(content))
        return identity

    def stop(self) -> bool:
        found = self.process()
        if found is not None:
            stop_process(found[0], timeout_seconds=_STOP_TIMEOUT_SECONDS, with_descendants=True)
        self.state_file.unlink(missing_ok=True)
        return found is not None


def prepare_dagster_home(settings: Settings) -> Path:
    """Make this home's Dagster home, and point this process and its children to it.

    Returns:
        The folder, with the project's `dagster.yaml` in it.
    """
    home = settings.dagster_home
    home.mkdir(parents=True, exist_ok=True)
    shipped = project_file("dagster.yaml").read_text()
    target = home / "dagster.yaml"
    if not target.exists() or target.read_text() != shipped:
        write_atomically(target, shipped)
    # Dagster and the code that it loads read these from the environment, here and in processes it starts,
    # whose working directory is another, so that a home relative to it would be another as well.
    os.environ["DAGSTER_HOME"] = str(home)
    os.environ["QUANTBOT_HOME"] = str(settings.home)
    return home


def start_dagster_ui(settings: Settings, *, on_progress: Callable[[str], None] | None = None) -> str:
    """Start Dagster's webserver and daemon unless they run, and wait until the UI answers; the servers run already.

    Args:
        settings: Home and wanted port; when somebody else has the port, the next free one is taken.
        on_progress: Told what is being waited for, and of another port than the wanted one.

    Returns:
        The UI's address.

    Raises:
        ServerError: one of them does not start; the message has the end of its log.
    """
    home = prepare_dagster_home(settings)
    with locked_home(settings, on_progress):
        return _start(settings, home, on_progress or (lambda _: None))


def _start(settings: Settings, home: Path, tell: Callable[[str], None]) -> str:
    webserver, daemon = _Background(_WEBSERVER, home), _Background(_DAEMON, home)
    if daemon.process() is None:
        tell("starting the Dagster daemon")
        daemon.start(["dagster._daemon", "run"], None)
    found = webserver.process()
    if found is None or found[1] is None:
        port = _free_port(settings.dagster_ui_port)
        if port != settings.dagster_ui_port:
            tell(f"note: port {settings.dagster_ui_port} is taken by another program; the UI uses {port}")
        tell("starting the Dagster UI")
        identity = webserver.start(["dagster_webserver", "-h", _HOST, "-p", str(port)], port)
    else:
        identity, port = found[0], found[1]
    _wait_until_answers(webserver, identity, port)
    if daemon.process() is None:
        raise ServerError(f"the Dagster daemon ended: {last_lines(daemon.log_file)}; see {daemon.log_file}")
    return f"http://{_HOST}:{port}"


def stop_dagster_ui(settings: Settings) -> list[str]:
    """Stop webserver and daemon; return the names of those that ran."""
    home = settings.dagster_home
    backgrounds = (_Background(_WEBSERVER, home), _Background(_DAEMON, home))
    if not home.exists():
        return []
    with locked_home(settings):
        return [background.name for background in backgrounds if background.stop()]


def dagster_status(settings: Settings) -> list[ServerStatus]:
    """Return how webserver and daemon are."""
    statuses = []
    for name in (_WEBSERVER, _DAEMON):
        background = _Background(name, settings.dagster_home)
        found = background.process()
        if found is None:
            statuses.append(ServerStatus(name, "stopped", log=str(background.log_file)))
            continue
        identity, port = found
        answers = port is None or _answers(port)
        statuses.append(
            ServerStatus(
                name,
                "running" if answers else "unreachable",
                pid=identity.pid,
                address=None if port is None else f"http://{_HOST}:{port}",
                uptime_seconds=round(identity.uptime_seconds(), 1),
                log=str(background.log_file),
            )
        )
    return statuses


def _free_port(wanted: int) -> int:
    for port in range(wanted, min(wanted + _PORTS_TRIED, 65536)):
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((_HOST, port))
            return port
    raise ServerError(
        f"ports {wanted} to {wanted + _PORTS_TRIED - 1} are all taken; set QUANTBOT_DAGSTER_UI_PORT to a free one"
    )


def _wait_until_answers(webserver: _Background, identity: ProcessIdentity, port: int) -> None:
    deadline = time.monotonic() + _UI_START_TIMEOUT_SECONDS
    while not _answers(port):
        if not identity.is_running():
            raise ServerError(
                f"the Dagster UI ended while starting: {last_lines(webserver.log_file)}; see {webserver.log_file}"
            )
        if time.monotonic() > deadline:
            raise ServerError(
                f"the Dagster UI does not answer on {_HOST}:{port} after {_UI_START_TIMEOUT_SECONDS:.0f} s; "
                f"see {webserver.log_file}"
            )
        time.sleep(0.2)


def _answers(port: int) -> bool:
    connection = http.client.HTTPConnection(_HOST, port, timeout=5)
    try:
        connection.request("GET", "/server_info")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()
