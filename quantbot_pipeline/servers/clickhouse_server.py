"""Starting, attaching to and stopping the owner process of the embedded ClickHouse."""

import base64
import http.client
import sys
import time
from pathlib import Path
from urllib.parse import quote

from quantbot_pipeline.errors import ServerError
from quantbot_pipeline.servers.clickhouse_layout import ClickHouseLayout, OwnerState
from quantbot_pipeline.servers.clickhouse_reader import READER
from quantbot_pipeline.servers.processes import (
    PACKAGE_PARENT,
    ProcessIdentity,
    ensure_password,
    last_lines,
    start_detached,
    stop_process,
    why_not_started,
)

USER = "quantbot"
DATABASE = "quantbot"
_ANSWER_TIMEOUT_SECONDS = 10.0
_STOP_TIMEOUT_SECONDS = 20.0


class EmbeddedClickHouse:
    """The embedded ClickHouse of one home.

    Args:
        directory: Where it keeps its files; made when missing.
    """

    def __init__(self, directory: Path) -> None:
        self.layout = ClickHouseLayout(directory)

    def state(self) -> OwnerState | None:
        """Return what the running owner says about itself, None when none runs."""
        state = OwnerState.read(self.layout.state_file)
        return state if state is not None and state.process.is_running() else None

    def url(self) -> str | None:
        """Return how to connect when it runs, lets us in and has its database, else None."""
        state = self.state()
        if state is None or state.process.is_stopped() or not self.layout.password_file.exists():
            return None
        password = ensure_password(self.layout.password_file)
        try:
            databases = self._ask(state, password, "select name from system.databases").split()
        except ServerError:
            return None
        if DATABASE not in databases:
            return None
        return f"http://{USER}:{quote(password, safe='')}@127.0.0.1:{state.port}/{DATABASE}"

    def reader_url(self) -> str | None:
        """Return how the read-only user connects, None when the server does not run or was started without one."""
        state = self.state()
        if state is None or not self.layout.reader_password_file.exists():
            return None
        password = ensure_password(self.layout.reader_password_file)
        return f"http://{READER}:{quote(password, safe='')}@127.0.0.1:{state.port}/{DATABASE}"

    def start(self, timeout_seconds: float) -> None:
        """Start the owner unless it runs, wait until it answers, and create the database when missing.

        The caller holds the lock of the home.

        Raises:
            ServerError: it did not start, or does not answer; the message has the end of its log.
        """
        for folder in (self.layout.directory, self.layout.spool_directory):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        password = ensure_password(self.layout.password_file)
        deadline = time.monotonic() + timeout_seconds
        state = self._launch_unless_it_runs(deadline)
        while True:
            try:
                while state.process.is_stopped() and time.monotonic() < deadline:
                    time.sleep(0.1)
                self._ask(
                    state,
                    password,
                    f"create database if not exists {DATABASE}",
                    timeout_seconds=min(_ANSWER_TIMEOUT_SECONDS, max(deadline - time.monotonic(), 1.0)),
                )
            except ServerError as error:
                if time.monotonic() > deadline:
                    if isinstance(error.__cause__, TimeoutError):
                        raise ServerError(
                            state.process.describe_silence(f"ClickHouse in {self.layout.directory}", timeout_seconds)
                        ) from error
                    raise ServerError(
                        f"ClickHouse (process {state.process.pid}) does not answer: {error}; "
                        "run 'quantbot down' and then the command again"
                    ) from error
                # It may have been told to end, and be gone by now.
                state = self._launch_unless_it_runs(deadline)
                time.sleep(0.05)
            else:
                return

    def _launch_unless_it_runs(self, deadline: float) -> OwnerState:
        state = self.state()
        if state is not None:
            return state
        process = start_detached(
            # TZ: the engine takes its time zone from its process.
            ["/usr/bin/env", "TZ=UTC", sys.executable, "-m", "quantbot_pipeline.servers.clickhouse_owner",
             str(self.layout.directory)],
            self.layout.log_file,
            directory=PACKAGE_PARENT,
        )  # fmt: skip
        return self._wait_for_state(process, deadline)

    def _wait_for_state(self, process: ProcessIdentity, deadline: float) -> OwnerState:
        while True:
            state = OwnerState.read(self.layout.state_file)
            if state is not None and state.process.pid == process.pid:
                return state
            if not process.is_running():
                reason = why_not_started([self.layout.log_file], self.layout.directory, "it left no word")
                raise ServerError(
                    f"the embedded ClickHouse ended while starting: {reason}; its log is {self.layout.log_file}"
                )
            if time.monotonic() > deadline:
                stop_process(process, timeout_seconds=5.0)
                raise ServerError(
                    f"the embedded ClickHouse was not ready in time: {last_lines(self.layout.log_file, 2)}; "
                    f"see {self.layout.log_file}, or allow more with QUANTBOT_SERVER_START_TIMEOUT_SECONDS"
                )
            time.sleep(0.02)

    def stop(self) -> bool:
        """Close the engine and end the owner; return whether one ran."""
        state = self.state()
        if state is None:
            return False
        stop_process(state.process, timeout_seconds=_STOP_TIMEOUT_SECONDS)
        return True

    def _ask(
        self, state: OwnerState, password: str, statement: str, *, timeout_seconds: float = _ANSWER_TIMEOUT_SECONDS
    ) -> str:
        credentials = base64.b64encode(f"{USER}:{password}".encode()).decode()
        connection = http.client.HTTPConnection("127.0.0.1", state.port, timeout=timeout_seconds)
        try:
            connection.request("POST", "/", statement.encode(), {"Authorization": f"Basic {credentials}"})
            answer = connection.getresponse()
            text = answer.read().decode("utf-8", "replace")
        except (OSError, http.client.HTTPException) as error:
            raise ServerError(f"no answer on 127.0.0.1:{state.port}: {error}") from error
        finally:
            connection.close()
        if answer.status != 200:
            raise ServerError(f"127.0.0.1:{state.port} answers {answer.status}: {text.strip()[:300]}")
        return text
