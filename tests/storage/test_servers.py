"""The embedded servers as processes: started once, attached to, stopped, killed, recovered, closed to others."""

import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import threading
import time
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from urllib.parse import unquote, urlsplit

import clickhouse_connect
import psutil
import psycopg
import pytest
import typer
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError
from typer.testing import CliRunner

from quantbot_pipeline.cli import servers as server_commands
from quantbot_pipeline.errors import ConfigError, ServerError
from quantbot_pipeline.project_files import project_file
from quantbot_pipeline.servers.dagster_ui import prepare_dagster_home, stop_dagster_ui
from quantbot_pipeline.servers.embedded import (
    ensure_servers,
    server_status,
    stop_servers,
)
from quantbot_pipeline.servers.processes import PACKAGE_PARENT
from quantbot_pipeline.servers.status import ServerStatus, ServerUrls
from quantbot_pipeline.settings import Settings

pytestmark = pytest.mark.server


@contextmanager
def _temporary_home() -> Iterator[Path]:
    # Not below pytest's folder: as root, Postgres runs as another account, which must get there, and any
    # other pytest that starts in the meantime closes that folder to others again.
    with tempfile.TemporaryDirectory(prefix="quantbot-servers-", ignore_cleanup_errors=True) as folder:
        yield Path(folder)


@pytest.fixture
def temporary_home() -> Iterator[Path]:
    with _temporary_home() as folder:
        yield folder


@pytest.fixture(scope="module")
def home_settings() -> Iterator[Settings]:
    """A home of this module's own: its tests kill the servers."""
    with _temporary_home() as folder:
        settings = Settings(home=folder / "home")
        yield settings
        stop_dagster_ui(settings)
        stop_servers(settings)


def _status(settings: Settings, name: str) -> ServerStatus:
    return next(status for status in server_status(settings) if status.name == name)


def _pids(settings: Settings) -> dict[str, int | None]:
    return {name: _status(settings, name).pid for name in ("postgres", "clickhouse")}


def _clickhouse(urls: ServerUrls) -> Client:
    return clickhouse_connect.get_client(dsn=urls.clickhouse, compress=False)


def _passwords(urls: ServerUrls) -> set[str]:
    found = {unquote(urlsplit(url).password or "") for url in (urls.postgres, urls.dagster_postgres, urls.clickhouse)}
    assert len(found) == 2
    assert all(len(password) >= 32 for password in found)
    return found


_ENSURE_AND_REPORT = """
import pathlib, sys
from quantbot_pipeline.servers.embedded import ensure_servers, server_status
from quantbot_pipeline.servers.processes import PACKAGE_PARENT
from quantbot_pipeline.settings import Settings

settings = Settings(home=pathlib.Path(sys.argv[1]))
ensure_servers(settings)
print([status.pid for status in server_status(settings)[:2]])
"""


def _wait_until_dead(pid: int) -> None:
    deadline = time.monotonic() + 10
    while psutil.pid_exists(pid) and psutil.Process(pid).status() != psutil.STATUS_ZOMBIE:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_eight_processes_at_once_start_each_server_once(home_settings: Settings) -> None:
    command = [sys.executable, "-c", _ENSURE_AND_REPORT, str(home_settings.home)]
    starters = [subprocess.Popen(command, cwd=PACKAGE_PARENT, stdout=subprocess.PIPE, text=True) for _ in range(8)]
    reports = [starter.communicate(timeout=120)[0].strip() for starter in starters]

    pids = _pids(home_settings)
    assert None not in pids.values()
    assert reports == [str(list(pids.values()))] * 8
    owners = [
        process
        for process in psutil.process_iter(["cmdline"])
        if str(home_settings.home / "clickhouse") in (process.info["cmdline"] or [])
    ]
    assert [process.pid for process in owners] == [pids["clickhouse"]]


def test_a_further_call_attaches_quickly_and_starts_nothing(home_settings: Settings) -> None:
    first = ensure_servers(home_settings)
    before = _pids(home_settings)
    progress: list[str] = []

    started_at = time.monotonic()
    second = ensure_servers(home_settings, on_progress=progress.append)
    seconds = time.monotonic() - started_at

    assert second == first
    assert _pids(home_settings) == before
    assert progress == []
    assert seconds < 0.15  # 0.01 s on an idle machine


def test_all_databases_are_there(home_settings: Settings) -> None:
    urls = ensure_servers(home_settings)

    with psycopg.connect(urls.postgres) as connection:
        row = connection.execute("select current_database(), current_setting('fsync')").fetchone()
    with psycopg.connect(urls.dagster_postgres.replace("+psycopg2", "")) as connection:
        dagster = connection.execute("select current_database()").fetchone()

    assert row == ("quantbot", "on")
    assert dagster == ("dagster",)
    assert urls.dagster_postgres.startswith("postgresql+psycopg2://")
    assert _clickhouse(urls).query("select currentDatabase()").result_rows == [("quantbot",)]


def test_servers_stop_cleanly_keep_their_rows_and_start_again(home_settings: Settings) -> None:
    urls = ensure_servers(home_settings)
    client = _clickhouse(urls)
    client.command("create or replace table kept (a UInt64) engine = MergeTree order by a")
    client.insert("kept", [[7]], column_names=["a"])
    before = _pids(home_settings)

    assert stop_servers(home_settings) == ["clickhouse", "postgres"]
    assert [_status(home_settings, name).state for name in before] == ["stopped", "stopped"]
    assert stop_servers(home_settings) == []
    assert "closed" in (home_settings.home / "clickhouse" / "owner.log").read_text().splitlines()[-1]

    again = ensure_servers(home_settings)
    assert again == urls  # also the port, so that clients of before find the server
    assert set(_pids(home_settings).values()).isdisjoint(before.values())
    assert _clickhouse(again).query("select a from kept").result_rows == [(7,)]


def test_postgres_killed_while_a_client_writes_keeps_every_committed_row(home_settings: Settings) -> None:
    urls = ensure_servers(home_settings)
    with psycopg.connect(urls.postgres, autocommit=True) as connection:
        connection.execute("create table if not exists written (number bigint primary key)")
        connection.execute("truncate written")
    committed: list[int] = []

    def write() -> None:
        with psycopg.connect(urls.postgres, autocommit=True) as connection:
            for number in range(1_000_000):
                connection.execute("insert into written values (%s)", (number,))
                committed.append(number)

    writer = threading.Thread(target=_until_disconnected, args=(write, psycopg.OperationalError))
    # A backend that is stopped does not see its postmaster's death: it stays, and with it its shared memory.
    with psycopg.connect(urls.postgres) as stuck:
        backend = stuck.info.backend_pid
        writer.start()
        _wait_for_count(committed, 200)
        os.kill(backend, signal.SIGSTOP)
        postmaster = _pids(home_settings)["postgres"]
        assert postmaster is not None
        os.kill(postmaster, signal.SIGKILL)
        writer.join(timeout=20)

        again = ensure_servers(home_settings)
    assert not writer.is_alive()
    assert again == urls
    assert not psutil.pid_exists(backend)
    with psycopg.connect(again.postgres) as connection:
        stored = {number for (number,) in connection.execute("select number from written").fetchall()}
    assert stored >= set(committed)
    assert len(stored - set(committed)) <= 1  # committed, but killed before it could say so


def test_clickhouse_killed_while_a_client_inserts_keeps_every_acknowledged_block(home_settings: Settings) -> None:
    urls = ensure_servers(home_settings)
    _clickhouse(urls).command("create or replace table inserted (block UInt64) engine = MergeTree order by block")
    acknowledged: list[int] = []

    def insert() -> None:
        client = _clickhouse(urls)
        for block in range(1_000_000):
            client.insert("inserted", [[block]] * 5000, column_names=["block"], column_type_names=["UInt64"])
            acknowledged.append(block)

    writer = threading.Thread(target=_until_disconnected, args=(insert, ClickHouseError))
    writer.start()
    _wait_for_count(acknowledged, 20)
    owner = _pids(home_settings)["clickhouse"]
    assert owner is not None
    os.kill(owner, signal.SIGKILL)
    writer.join(timeout=20)
    assert not writer.is_alive()
    _wait_until_dead(owner)
    assert _status(home_settings, "clickhouse").state == "stopped"

    again = ensure_servers(home_settings)
    assert again == urls
    rows = _clickhouse(again).query("select block, count() from inserted group by block").result_rows
    stored = dict(rows)
    assert set(stored) >= set(acknowledged)
    assert len(set(stored) - set(acknowledged)) <= 1
    assert set(stored.values()) == {5000}  # each block whole


def _until_disconnected(work: object, expected: type[Exception]) -> None:
    assert callable(work)
    try:
        work()
    except expected:
        return


def _wait_for_count(items: list[int], count: int) -> None:
    deadline = time.monotonic() + 30
    while len(items) < count:
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_an_insert_whose_client_dies_half_way_is_not_stored(home_settings: Settings) -> None:
    urls = ensure_servers(home_settings)
    client = _clickhouse(urls)
    client.command("create or replace table half (a UInt64) engine = MergeTree order by a")
    parts = urlsplit(urls.clickhouse)
    assert parts.hostname is not None
    assert parts.port is not None
    with socket.create_connection((parts.hostname, parts.port)) as connection:
        password = unquote(parts.password or "")
        connection.sendall(
            f"POST / HTTP/1.1\r\nX-ClickHouse-User: quantbot\r\nX-ClickHouse-Key: {password}\r\n"
            "Transfer-Encoding: chunked\r\n\r\n".encode()
        )
        block = b"insert into quantbot.half format TSV\n1\n2\n"
        connection.sendall(b"%x\r\n%s\r\n" % (len(block), block))

    time.sleep(0.3)
    assert client.query("select count() from half").result_rows == [(0,)]


@pytest.mark.parametrize("impostor", ["somebody", "nobody"])
def test_a_pid_file_that_names_another_process_does_not_keep_postgres_down(
    home_settings: Settings, impostor: str
) -> None:
    """As after a reboot: the file is left, and its number belongs to another process, or to none."""
    ensure_servers(home_settings)
    pid_file = home_settings.home / "postgres" / "cluster" / "data" / "postmaster.pid"
    lines = pid_file.read_text().splitlines()
    os.kill(int(lines[0]), signal.SIGKILL)
    _wait_until_dead(int(lines[0]))
    # Postgres itself sees through a process of another account, not through one of its own.
    with subprocess.Popen(["sleep", "60"], user=pid_file.stat().st_uid) as somebody:
        lines[0] = str(somebody.pid) if impostor == "somebody" else "4194000"
        pid_file.write_text("\n".join(lines) + "\n")
        assert _status(home_settings, "postgres").state == "stopped"
        try:
            ensure_servers(home_settings)
            assert somebody.poll() is None  # left alone
        finally:
            somebody.kill()

    assert _status(home_settings, "postgres").state == "running"


def test_wrong_passwords_are_refused(home_settings: Settings) -> None:
    urls = ensure_servers(home_settings)
    password = urlsplit(urls.postgres).password
    assert password
    with pytest.raises(psycopg.OperationalError, match="password authentication failed"):
        psycopg.connect(urls.postgres.replace(password, "wrong"))
    with pytest.raises(psycopg.OperationalError, match="no password supplied"):
        psycopg.connect(urls.postgres.replace(f":{password}", ""))
    parts = urlsplit(urls.clickhouse)
    with pytest.raises(ClickHouseError, match="code: 516"):
        clickhouse_connect.get_client(host="127.0.0.1", port=parts.port, username="quantbot", password="wrong")  # noqa: S106 - wrong on purpose


def test_nothing_listens_beyond_loopback_and_the_unix_socket(home_settings: Settings) -> None:
    ensure_servers(home_settings)
    listening = {}
    for name, pid in _pids(home_settings).items():
        processes = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
        listening[name] = {
            connection.laddr.ip
            for process in processes
            for connection in process.net_connections("inet")
            if connection.status == psutil.CONN_LISTEN
        }
    assert listening == {"postgres": set(), "clickhouse": {"127.0.0.1"}}
    address = _status(home_settings, "postgres").address
    assert address is not None
    assert Path(address).stat().st_mode & 0o077 == 0


def test_passwords_are_in_no_log_command_line_or_status(home_settings: Settings) -> None:
    urls = ensure_servers(home_settings)
    passwords = _passwords(urls)
    seen = [repr(urls), str(server_status(home_settings))]
    seen += [" ".join(process.info["cmdline"] or []) for process in psutil.process_iter(["cmdline"])]
    logs = [path for path in home_settings.home.rglob("*") if path.suffix in (".log", ".json", ".conf", ".yaml")]
    assert any(path.name == "owner.log" for path in logs)
    assert any(path.name.startswith("postgres-") for path in logs)
    seen += [path.read_text(errors="replace") for path in logs]

    assert not any(password in text for password in passwords for text in seen)
    for name in ("postgres", "clickhouse"):
        assert (home_settings.home / name / "password").stat().st_mode & 0o777 == 0o600


def test_a_long_home_path_and_spaces_and_quotes_in_it_work(temporary_home: Path) -> None:
    home = temporary_home / ("it's a very long name " * 8).strip() / "hom%e"
    settings = Settings(home=home)
    try:
        urls = ensure_servers(settings)
        address = _status(settings, "postgres").address
        assert address is not None
        assert not address.startswith(str(home))
        assert len(f"{address}/.s.PGSQL.5432") <= 107
        assert Path(address).stat().st_mode & 0o777 == 0o700
        with psycopg.connect(urls.postgres) as connection:
            assert connection.execute("select 1").fetchone() == (1,)
        assert _clickhouse(urls).query("select 1").result_rows == [(1,)]
    finally:
        stop_servers(settings)
        shutil.rmtree(address, ignore_errors=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only as root does Postgres run as another account")
def test_folders_that_root_must_open_for_postgres_are_opened_to_passing_only_and_named(temporary_home: Path) -> None:
    private = temporary_home / "private"
    private.mkdir(mode=0o700)
    temporary_home.chmod(0o755)
    settings = Settings(home=private / "home")
    progress: list[str] = []
    try:
        ensure_servers(settings, on_progress=progress.append)
    finally:
        stop_servers(settings)

    assert private.stat().st_mode & 0o777 == 0o701
    notes = [message for message in progress if message.startswith("note: ")]
    assert any(f"may now pass through {private} (chmod o+x)" in note for note in notes)
    # The password and everything of Postgres stay closed: its folder can be passed through, not listed.
    assert (settings.home / "postgres").stat().st_mode & 0o777 == 0o701
    assert (settings.home / "postgres" / "cluster").stat().st_mode & 0o777 == 0o700


def test_a_removed_home_ends_its_clickhouse(temporary_home: Path) -> None:
    """It would hold a port and memory for files that nobody can find again."""
    settings = Settings(home=temporary_home)
    try:
        ensure_servers(settings)
        owner = _pids(settings)["clickhouse"]
        assert owner is not None
        shutil.rmtree(settings.home / "clickhouse")
        deadline = time.monotonic() + 12
        while psutil.pid_exists(owner) and time.monotonic() < deadline:
            time.sleep(0.05)
        assert not psutil.pid_exists(owner)
    finally:
        stop_servers(settings)


def test_external_servers_are_used_and_nothing_is_started(home_settings: Settings, tmp_path: Path) -> None:
    urls = ensure_servers(home_settings)
    external = Settings(home=tmp_path / "unused", postgres_url=urls.postgres, clickhouse_url=urls.clickhouse)

    found = ensure_servers(external)

    assert found == urls
    assert not external.home.exists()
    statuses = server_status(external)
    assert [status.state for status in statuses[:2]] == ["external", "external"]
    assert not any(password in str(statuses) for password in _passwords(urls))
    assert stop_servers(external) == []


def test_a_url_with_a_socket_and_without_host_leads_to_dagster_s_database_too(
    home_settings: Settings, tmp_path: Path
) -> None:
    urls = ensure_servers(home_settings)
    entrance, _, socket_directory = urls.postgres.partition("@/quantbot?host=")
    password = entrance.rpartition(":")[2]
    url = f"postgresql:///quantbot?user=quantbot&password={password}&host={socket_directory}"
    external = ensure_servers(Settings(home=tmp_path, postgres_url=url, clickhouse_url=urls.clickhouse))
    assert external.dagster_postgres == url.replace("postgresql:///quantbot", "postgresql+psycopg2:///dagster")


def test_external_urls_that_lead_nowhere_are_named_without_their_password(tmp_path: Path) -> None:
    with pytest.raises(ServerError, match=r"Postgres at postgresql://127\.0\.0\.1:1/x does not answer") as caught:
        ensure_servers(Settings(home=tmp_path, postgres_url="postgresql://u:secret@127.0.0.1:1/x"))
    assert "secret" not in str(caught.value)
    assert str(caught.value).endswith("; check QUANTBOT_POSTGRES_URL")
    with pytest.raises(ServerError, match=r"Postgres at postgresql:///x\?host=/nowhere does not answer") as caught:
        ensure_servers(Settings(home=tmp_path, postgres_url="postgresql:///x?host=/nowhere&password=secret"))
    assert "secret" not in str(caught.value)


@pytest.mark.parametrize(
    ("variable", "url"),
    [
        ("QUANTBOT_CLICKHOUSE_URL", "tcp://u:secret@h:1"),
        ("QUANTBOT_CLICKHOUSE_URL", "http://u:secret@[h:1"),
        # libpq quotes each of these in what it says: the password, its beginning, all of the URL.
        ("QUANTBOT_POSTGRES_URL", "postgresql://u:secret%zz@127.0.0.1:1/x"),
        ("QUANTBOT_POSTGRES_URL", "postgresql://u:secret/more@127.0.0.1:1/x"),
        ("QUANTBOT_POSTGRES_URL", "postgresql://u:secret@[::1]x/y"),
    ],
)
def test_external_urls_that_can_not_be_read_are_refused_without_repeating_them(
    variable: str, url: str, tmp_path: Path
) -> None:
    urls = {"QUANTBOT_CLICKHOUSE_URL": "http://127.0.0.1:1/x", "QUANTBOT_POSTGRES_URL": "postgresql://u@127.0.0.1:1/x"}
    urls[variable] = url
    with pytest.raises(ConfigError, match=f"{variable} can't be read") as refused:
        ensure_servers(
            Settings(
                home=tmp_path,
                postgres_url=urls["QUANTBOT_POSTGRES_URL"],
                clickhouse_url=urls["QUANTBOT_CLICKHOUSE_URL"],
            )
        )
    assert "secret" not in "".join(traceback.format_exception(refused.value))


@pytest.mark.parametrize("name", ["postgres", "clickhouse"])
def test_a_server_that_was_stopped_by_a_signal_is_said_to_run_and_how_it_goes_on(
    name: str, home_settings: Settings
) -> None:
    ensure_servers(home_settings)
    pid = _pids(home_settings)[name]
    assert pid is not None
    os.kill(pid, signal.SIGSTOP)
    while psutil.Process(pid).status() != psutil.STATUS_STOPPED:
        time.sleep(0.01)
    told: list[str] = []
    began = time.monotonic()
    try:
        with pytest.raises(ServerError, match=rf"runs \(process {pid}\) .*'kill -CONT {pid}'"):
            ensure_servers(
                home_settings.model_copy(update={"server_start_timeout_seconds": 1.0}), on_progress=told.append
            )
    finally:
        os.kill(pid, signal.SIGCONT)
    assert time.monotonic() - began < 10.0
    assert [message for message in told if message.startswith("starting")] == []
    ensure_servers(home_settings)
    assert _pids(home_settings)[name] == pid


@pytest.mark.parametrize("name", ["postgres", "clickhouse"])
def test_a_server_that_does_not_start_on_a_full_disk_says_so_once(name: str, home_settings: Settings) -> None:
    ensure_servers(home_settings)
    stop_servers(home_settings)
    folder = home_settings.home / name
    kept = folder.with_name("kept")
    folder.rename(kept)
    folder.mkdir(mode=0o711)
    if subprocess.run(["mount", "-t", "tmpfs", "-o", "size=400m,mode=711", "t", str(folder)], check=False).returncode:
        folder.rmdir()
        kept.rename(folder)
        pytest.skip("this account may not mount a small disk")
    try:
        subprocess.run(["cp", "-a", f"{kept}/.", str(folder)], check=True)
        subprocess.run(["dd", "if=/dev/zero", f"of={folder / 'ballast'}", "bs=64k"], capture_output=True, check=False)
        with pytest.raises(ServerError, match=r"(?i)no space left on") as caught:
            ensure_servers(home_settings)
        assert "make room, run it again" in str(caught.value)
        assert len(str(caught.value)) < 400, str(caught.value)
    finally:
        stop_servers(home_settings)
        subprocess.run(["umount", str(folder)], check=True)
        folder.rmdir()
        kept.rename(folder)


def test_a_folder_that_is_no_data_directory_is_not_overwritten(tmp_path: Path) -> None:
    data = tmp_path / "postgres" / "cluster" / "data"
    data.mkdir(parents=True)
    (data / "thesis.txt").write_text("mine")

    with pytest.raises(ServerError, match="is no data directory of Postgres"):
        ensure_servers(Settings(home=tmp_path))

    assert (data / "thesis.txt").read_text() == "mine"


@pytest.fixture
def app(home_settings: Settings, monkeypatch: pytest.MonkeyPatch) -> typer.Typer:
    monkeypatch.setenv("QUANTBOT_HOME", str(home_settings.home))
    application = typer.Typer()
    server_commands.register(application)
    return application


def test_commands_start_show_and_stop_the_servers(app: typer.Typer, home_settings: Settings) -> None:
    runner = CliRunner()

    up = runner.invoke(app, ["up"])
    assert up.exit_code == 0, up.output
    status = runner.invoke(app, ["status", "--json"])
    document = json.loads(status.stdout)
    assert status.exit_code == 0
    assert document["is_up"] is True
    assert [server["state"] for server in document["servers"]] == ["running", "running", "stopped", "stopped"]
    passwords = _passwords(ensure_servers(home_settings))
    assert not any(password in up.output + status.output for password in passwords)

    down = runner.invoke(app, ["down"])
    assert (down.exit_code, down.stdout) == (0, "stopped: clickhouse, postgres\n")
    assert runner.invoke(app, ["status"]).exit_code == 1
    assert "nothing was running" in runner.invoke(app, ["down"]).stdout


@pytest.mark.slow
def test_the_ui_starts_beside_a_program_that_has_its_port(
    app: typer.Typer, home_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    # `up` sets these for Dagster's processes; a test must leave none behind.
    monkeypatch.setenv("DAGSTER_HOME", "")
    with socket.create_server(("127.0.0.1", 0)) as other:
        taken = other.getsockname()[1]
        monkeypatch.setenv("QUANTBOT_DAGSTER_UI_PORT", str(taken))
        up = CliRunner().invoke(app, ["up", "--ui"])
    assert up.exit_code == 0, up.output
    assert f"port {taken} is taken by another program" in up.output
    states = {status.name: status for status in server_status(home_settings)}
    assert states["dagster-webserver"].state == states["dagster-daemon"].state == "running"
    assert f"Dagster UI: {states['dagster-webserver'].address}" in up.output
    children = [
        child
        for name in ("dagster-webserver", "dagster-daemon")
        for child in psutil.Process(states[name].pid).children(recursive=True)
    ]

    assert stop_dagster_ui(home_settings) == ["dagster-webserver", "dagster-daemon"]

    assert not any(child.is_running() and child.status() != psutil.STATUS_ZOMBIE for child in children)
    passwords = _passwords(ensure_servers(home_settings))
    logs = [path.read_text() for path in (home_settings.home / "dagster").glob("dagster-*.log*")]
    assert len(logs) == 2
    assert not any(password in log for password in passwords for log in logs)


def test_the_dagster_home_gets_the_shipped_configuration(
    home_settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("DAGSTER_HOME", "QUANTBOT_HOME"):
        monkeypatch.setenv(name, "")
    urls = ensure_servers(home_settings)

    folder = prepare_dagster_home(home_settings)

    assert os.environ["DAGSTER_HOME"] == str(folder)
    assert os.environ["QUANTBOT_HOME"] == str(home_settings.home)
    assert (folder / "dagster.yaml").read_text() == project_file("dagster.yaml").read_text()
    told = [(folder / "dagster.yaml").read_text(), *os.environ.values()]
    assert not any(password in text for password in _passwords(urls) for text in told)
