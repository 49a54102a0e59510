"""Processes that outlive their starter, and the files that hold secrets."""

import os
import signal
import stat
import subprocess
import sys
import time
from pathlib import Path

import psutil
import pytest

from quantbot_pipeline.errors import ServerError
from quantbot_pipeline.servers.processes import (
    ProcessIdentity,
    ensure_password,
    last_lines,
    start_detached,
    stop_process,
)


def test_a_password_is_made_once_and_readable_by_its_owner_only(tmp_path: Path) -> None:
    path = tmp_path / "password"

    first = ensure_password(path)

    assert len(first) >= 32
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert ensure_password(path) == first
    assert [entry.name for entry in tmp_path.iterdir()] == ["password"]


def test_a_password_that_others_can_read_is_refused_with_the_remedy(tmp_path: Path) -> None:
    path = tmp_path / "password"
    secret = ensure_password(path)
    path.chmod(0o640)

    with pytest.raises(ServerError, match=f"mode 0640.*chmod 600 {path}") as caught:
        ensure_password(path)

    assert secret not in str(caught.value)


def test_an_empty_password_file_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.touch(0o600)

    with pytest.raises(ServerError, match="is empty"):
        ensure_password(path)


def test_a_process_number_that_was_given_again_is_another_process() -> None:
    this = ProcessIdentity.of_this_process()

    assert this.is_running()
    assert not ProcessIdentity(this.pid, this.started_at_s - 3600).is_running()


def test_a_dead_process_that_nobody_reaped_does_not_run() -> None:
    with subprocess.Popen([sys.executable, "-c", "pass"]) as child:
        identity = ProcessIdentity.of(child.pid)
        deadline = time.monotonic() + 10
        while psutil.Process(child.pid).status() != psutil.STATUS_ZOMBIE and time.monotonic() < deadline:
            time.sleep(0.01)

        assert identity is not None
        assert not identity.is_running()


def test_a_detached_process_is_nobodys_child_and_its_output_is_logged(tmp_path: Path) -> None:
    log = tmp_path / "log file"
    code = "import time; print('started', flush=True); time.sleep(60)"

    process = start_detached([sys.executable, "-c", code], log)
    try:
        assert psutil.Process(process.pid).ppid() != os.getpid()
        assert os.getsid(process.pid) != os.getsid(0)
        deadline = time.monotonic() + 10
        while "started" not in last_lines(log) and time.monotonic() < deadline:
            time.sleep(0.01)
        assert last_lines(log) == "started"
    finally:
        stop_process(process, timeout_seconds=5)
    assert not process.is_running()


def test_a_process_that_does_not_listen_is_killed(tmp_path: Path) -> None:
    code = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); print('x', flush=True); time.sleep(60)"
    process = start_detached([sys.executable, "-c", code], tmp_path / "log")
    while last_lines(tmp_path / "log") != "x":
        time.sleep(0.01)

    stop_process(process, timeout_seconds=0.2, number=signal.SIGTERM)

    assert not process.is_running()


def test_a_process_stays_the_same_when_the_clock_is_set(monkeypatch: pytest.MonkeyPatch) -> None:
    """Its start by the time of day is computed from the clock of now: an hour later once the clock went back one."""
    before = ProcessIdentity.of_this_process()
    create_time = psutil.Process.create_time
    monkeypatch.setattr(psutil.Process, "create_time", lambda process: create_time(process) + 3600)
    assert before.is_running()
    # One that started at another tick, or in another boot, is another one with the same number.
    assert not ProcessIdentity(before.pid, before.started_at_s, before.started_in_boot + "1").is_running()
