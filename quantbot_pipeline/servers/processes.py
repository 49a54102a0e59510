"""Background processes that outlive the command that starts them: identity, start, stop, their files."""

import contextlib
import os
import re
import secrets
import signal
import subprocess
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own

from quantbot_pipeline.errors import ServerError
from quantbot_pipeline.full_disks import is_full, says_full_disk

# `python -m` looks for modules in its working directory first: here it finds this package, installed or
# not, and nothing that lies around where the user happens to be.
PACKAGE_PARENT = Path(__file__).resolve().parents[2]

_LOG_BYTES_BEFORE_ROTATION = 10 << 20
_END_OF_LOG_BYTES = 65_536
_LONGEST_REASON = 400
_FATAL = re.compile(r"\b(?:FATAL|PANIC): |\b\w*Error: |DB::Exception")
_FATAL_START = re.compile(r"^.*?(?=\b(?:FATAL|PANIC): )")
# Boot time, from which start times are computed, may be corrected by the clock's discipline.
_START_TIME_TOLERANCE_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class ProcessIdentity:
    """A process, told apart from a later one that got the same number.

    Attributes:
        pid: Its number.
        started_at_s: When it started, seconds since 1970, by the clock of the moment that asked.
        started_in_boot: When it started as no clock that is set can change it: the boot and the ticks since; empty
            where the system does not tell.
    """

    pid: int
    started_at_s: float
    started_in_boot: str = ""

    @classmethod
    def of(cls, pid: int) -> "ProcessIdentity | None":
        """Return the identity of a process that runs now, None when there is none."""
        try:
            process = psutil.Process(pid)
            if process.status() == psutil.STATUS_ZOMBIE:
                return None
            return cls(pid, process.create_time(), _started_in_boot(pid))
        except psutil.Error:
            return None

    @classmethod
    def of_this_process(cls) -> "ProcessIdentity":
        """Return the identity of the process that asks."""
        return cls(os.getpid(), psutil.Process().create_time(), _started_in_boot(os.getpid()))

    def is_running(self) -> bool:
        """Return whether this very process runs; one that is dead and not yet reaped does not."""
        now = ProcessIdentity.of(self.pid)
        if now is None:
            return False
        if self.started_in_boot and now.started_in_boot:
            return now.started_in_boot == self.started_in_boot
        return abs(now.started_at_s - self.started_at_s) < _START_TIME_TOLERANCE_SECONDS

    def is_stopped(self) -> bool:
        """Return whether it was told to stand still (SIGSTOP), which it does until SIGCONT."""
        try:
            return bool(psutil.Process(self.pid).status() == psutil.STATUS_STOPPED)
        except psutil.Error:
            return False

    def describe_silence(self, server: str, seconds: float) -> str:
        """Return what to say and do of a server that runs and does not answer."""
        if self.is_stopped():
            return (
                f"{server} runs (process {self.pid}) and does not answer: it was stopped by a signal; let it go on "
                f"with 'kill -CONT {self.pid}', or end it with 'quantbot down'"
            )
        return (
            f"{server} runs (process {self.pid}) and has not answered for {seconds:.0f} s; wait if the machine is "
            "busy, or end it with 'quantbot down', and run the command again"
        )

    def uptime_seconds(self) -> float:
        """Return for how long it has been running."""
        return max(0.0, time.time() - self.started_at_s)


def process_exists(pid: int) -> bool:
    """Return whether a process of this number is there, whosever it is."""
    try:
        os.kill(pid, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        return True
    return True


def _started_in_boot(pid: int) -> str:
    """Return the boot and the clock ticks since then at which a process started; empty where there is no /proc.

    The time of day of a start is computed from the clock as it is now: once the clock was set, it is another one.
    """
    try:
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        # Field 22; the name in field 2 may hold blanks and brackets.
        ticks = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[19]
    except (OSError, IndexError):
        return ""
    return f"{boot} {ticks}"


def start_detached(command: Sequence[str], log_file: Path, *, directory: Path | None = None) -> ProcessIdentity:
    """Start a process in a session of its own that nobody waits for.

    Args:
        command: Program and arguments; no secrets, others can read them.
        log_file: Where its output is appended.
        directory: Working directory.

    Raises:
        ServerError: it did not start.
    """
    rotate_log(log_file)
    # The shell in between ends at once, so that the process is nobody's child and leaves no zombie here.
    # Its own output is the number; the process's goes to the log.
    script = 'log=$1; shift; "$@" </dev/null >>"$log" 2>&1 & echo $!'
    finished = subprocess.run(  # noqa: S603 - the command is this project's own
        ["/bin/sh", "-c", script, "sh", str(log_file), *command],
        cwd=directory,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        start_new_session=True,
        check=False,
    )
    identity = ProcessIdentity.of(int(finished.stdout)) if finished.stdout.strip().isdigit() else None
    if identity is None:
        raise ServerError(
            f"{' '.join(command[:3])} ended at once: {finished.stderr.strip() or last_lines(log_file)}; see {log_file}"
        )
    return identity


def stop_process(
    process: ProcessIdentity,
    *,
    timeout_seconds: float,
    number: signal.Signals = signal.SIGTERM,
    with_descendants: bool = False,
) -> None:
    """Ask a process to end, and kill it when it does not in time.

    Args:
        process: Which; one that runs no more is done already.
        timeout_seconds: Time for an orderly end.
        number: How to ask.
        with_descendants: Also end processes that it started and leaves behind.

    Raises:
        ServerError: it does not even end when killed.
    """
    descendants = _descendants(process) if with_descendants and process.is_running() else []
    _stop_one(process, timeout_seconds, number)
    for descendant in descendants:
        _stop_one(descendant, timeout_seconds, number)


def _descendants(process: ProcessIdentity) -> list[ProcessIdentity]:
    try:
        children = psutil.Process(process.pid).children(recursive=True)
    except psutil.NoSuchProcess:
        return []
    found = [ProcessIdentity.of(child.pid) for child in children]
    return [identity for identity in found if identity is not None]


def _stop_one(process: ProcessIdentity, timeout_seconds: float, number: signal.Signals) -> None:
    for signal_number, seconds in ((number, timeout_seconds), (signal.SIGKILL, 10.0)):
        if not process.is_running():
            return
        try:
            os.kill(process.pid, signal_number)
        except ProcessLookupError:
            return
        deadline = time.monotonic() + seconds
        while process.is_running() and time.monotonic() < deadline:
            time.sleep(0.02)
    if process.is_running():
        raise ServerError(f"process {process.pid} does not end, not even by SIGKILL")


def rotate_log(log_file: Path) -> None:
    """Move a log that has grown large aside, keeping one older one."""
    if log_file.exists() and log_file.stat().st_size > _LOG_BYTES_BEFORE_ROTATION:
        log_file.replace(log_file.with_name(log_file.name + ".1"))


def last_lines(log_file: Path, count: int = 5) -> str:
    """Return the end of a log for an error message, on one line."""
    try:
        with log_file.open("rb") as stream:
            stream.seek(max(0, log_file.stat().st_size - 8192))
            lines = stream.read().decode("utf-8", "replace").splitlines()
    except OSError:
        return "no log"
    return " | ".join(line.strip() for line in lines[-count:] if line.strip()) or "an empty log"


def why_not_started(log_files: Sequence[Path], directory: Path, otherwise: str) -> str:
    """Return in one sentence why a server did not start, and what to do.

    Args:
        log_files: What it wrote during this start alone, the most telling last.
        directory: Where its data is, or is going to be.
        otherwise: What else is known of its end, where no log tells.
    """
    lines = [line for log_file in log_files for line in _end_of(log_file)]
    fatal = [line for line in lines if _FATAL.search(line) or says_full_disk(line)]
    # The first words of a line are when and who.
    reason = _FATAL_START.sub("", fatal[-1]).strip() if fatal else (lines[-1].strip() if lines else otherwise)
    if is_full(directory) or says_full_disk(reason):
        return f"{reason[:_LONGEST_REASON]}; no space left on {directory}: make room, run it again"
    return reason[:_LONGEST_REASON]


def _end_of(log_file: Path) -> list[str]:
    try:
        with log_file.open("rb") as stream:
            stream.seek(max(0, log_file.stat().st_size - _END_OF_LOG_BYTES))
            return [line for line in stream.read().decode("utf-8", "replace").splitlines() if line.strip()]
    except OSError:
        return []


def write_atomically(path: Path, text: str) -> None:
    """Write a file of mode 0600 that readers see either whole or not at all.

    Raises:
        OSError: it can't be written; the error always names it.
    """
    partial = path.with_name(f"{path.name}.{os.getpid()}.partial")
    try:
        partial.unlink(missing_ok=True)
        descriptor = os.open(partial, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(text)
                stream.flush()
                os.fsync(stream.fileno())
            partial.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                partial.unlink()
            raise
    except OSError as error:
        # Writing knows a number, not a name.
        error.filename, error.filename2 = str(path), None
        raise


def ensure_password(path: Path) -> str:
    """Return the password in a file, made at the first call.

    Raises:
        ServerError: it can't be read, or others can read it.
    """
    try:
        if not path.exists():
            write_atomically(path, secrets.token_urlsafe(32))
        mode = path.stat().st_mode & 0o777
        password = path.read_text().strip()
    except OSError as error:
        raise ServerError(f"password file {path} can't be used: {error.strerror}; it belongs to who made it") from error
    if mode & 0o077:
        raise ServerError(f"password file {path} has mode {mode:04o}, others can read it; run: chmod 600 {path}")
    if not password:
        raise ServerError(f"password file {path} is empty; restore it, or remove the server's folder to begin anew")
    return password
