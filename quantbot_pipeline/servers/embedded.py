"""Embedded Postgres and ClickHouse of one home: attach to them or start them, once.

Both outlive the command that starts them. Nothing here reads or writes tables.
"""

from collections.abc import Callable
from urllib.parse import parse_qsl, urlencode, urlsplit

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict

from quantbot_pipeline.errors import ServerError
from quantbot_pipeline.servers.clickhouse_server import EmbeddedClickHouse
from quantbot_pipeline.servers.dagster_ui import dagster_status
from quantbot_pipeline.servers.home import locked_home, refuse_half_restored
from quantbot_pipeline.servers.postgres_server import EmbeddedPostgres
from quantbot_pipeline.servers.status import ServerStatus, ServerUrls
from quantbot_pipeline.settings import Server, Settings, check_server_urls, unreadable_server_url

DAGSTER_DATABASE = "dagster"


def embedded_postgres(settings: Settings) -> EmbeddedPostgres:
    """Return the embedded Postgres of this home, running or not."""
    return EmbeddedPostgres(settings.home / "postgres")


def embedded_clickhouse(settings: Settings) -> EmbeddedClickHouse:
    """Return the embedded ClickHouse of this home, running or not."""
    return EmbeddedClickHouse(settings.home / "clickhouse")


def ensure_servers(
    settings: Settings, *, on_progress: Callable[[str], None] | None = None, for_restore: bool = False
) -> ServerUrls:
    """Attach to the servers of this home, starting what does not run.

    Any number of processes may call this at once; each server is started by one of them. A server whose
    URL is set is used as it is. When all run, this takes a few milliseconds.

    Args:
        settings: Home, URLs of external servers, time to wait.
        on_progress: Told what is being waited for, only when something has to be started. A message that
            starts with `note: ` is worth keeping.
        for_restore: Do so also where a restore did not end; for the restore itself.

    Raises:
        ServerError: a server does not start, answer or let us in, or a restore of this home did not end.
        ConfigError: the URL of an external server is not one.
    """
    tell = on_progress or (lambda _: None)
    if not for_restore:
        refuse_half_restored(settings)
    check_server_urls(settings)
    clickhouse = (
        embedded_clickhouse(settings).url()
        if settings.clickhouse_url is None
        else settings.clickhouse_url.get_secret_value()
    )
    postgres = _external_postgres(settings) or embedded_postgres(settings).urls()
    if postgres is None or clickhouse is None:
        with locked_home(settings, tell):
            if postgres is None:
                postgres = _start_postgres(settings, tell)
            if clickhouse is None:
                clickhouse = _start_clickhouse(settings, tell)
    return ServerUrls(postgres=postgres[0], dagster_postgres=postgres[1], clickhouse=clickhouse)


def reader_url(settings: Settings, database: Server, *, on_progress: Callable[[str], None] | None = None) -> str:
    """Return how the read-only user of an embedded server connects, starting the servers where they don't run.

    Args:
        settings: Home, URLs of external servers, time to wait.
        database: postgres or clickhouse.
        on_progress: Told what is being waited for.

    Raises:
        ServerError: the server is an external one, or runs since before it had such a user.
    """
    external = settings.postgres_url if database == "postgres" else settings.clickhouse_url
    if external is not None:
        raise ServerError(
            f"{database} is an external server (QUANTBOT_{database.upper()}_URL), whose users are its own matter; "
            "docs/dashboards.md has the statements that make a read-only one"
        )
    ensure_servers(settings, on_progress=on_progress)
    server = embedded_postgres(settings) if database == "postgres" else embedded_clickhouse(settings)
    url = server.reader_url()
    if url is None:
        raise ServerError(
            f"the {database} that runs was started before it had a read-only user; run 'quantbot down' and the command "
            "again"
        )
    return url


def stop_servers(settings: Settings) -> list[str]:
    """Stop the embedded servers of this home cleanly.

    Returns:
        Names of those that ran.

    Raises:
        ServerError: one does not end.
    """
    if not settings.home.exists():
        return []
    with locked_home(settings):
        stopped = []
        if embedded_clickhouse(settings).stop():
            stopped.append("clickhouse")
        if embedded_postgres(settings).stop():
            stopped.append("postgres")
    return stopped


def server_status(settings: Settings) -> list[ServerStatus]:
    """Return how Postgres, ClickHouse and the Dagster processes are, without starting any."""
    return [_postgres_status(settings), _clickhouse_status(settings), *dagster_status(settings)]


def _postgres_status(settings: Settings) -> ServerStatus:
    if settings.postgres_url is not None:
        return ServerStatus("postgres", "external", address=_address(settings.postgres_url.get_secret_value()))
    server = embedded_postgres(settings)
    postmaster = server.postmaster()
    return ServerStatus(
        "postgres",
        "stopped" if postmaster is None else "running" if server.urls() else "unreachable",
        pid=postmaster.process.pid if postmaster else None,
        address=str(postmaster.socket_directory) if postmaster else None,
        version=server.version(),
        data_directory=str(server.data_directory),
        uptime_seconds=round(postmaster.process.uptime_seconds(), 1) if postmaster else None,
        log=str(server.log_directory),
    )


def _clickhouse_status(settings: Settings) -> ServerStatus:
    if settings.clickhouse_url is not None:
        return ServerStatus("clickhouse", "external", address=_address(settings.clickhouse_url.get_secret_value()))
    server = embedded_clickhouse(settings)
    owner = server.state()
    return ServerStatus(
        "clickhouse",
        "stopped" if owner is None else "running" if server.url() else "unreachable",
        pid=owner.process.pid if owner else None,
        address=f"http://127.0.0.1:{owner.port}" if owner else None,
        version=owner.version if owner else None,
        data_directory=str(server.layout.data_directory),
        uptime_seconds=round(owner.process.uptime_seconds(), 1) if owner else None,
        log=str(server.layout.log_file),
    )


def _start_postgres(settings: Settings, tell: Callable[[str], None]) -> tuple[str, str]:
    server = embedded_postgres(settings)
    urls = server.urls()  # another process may have started it while we waited for the lock
    if urls is None:
        tell("starting Postgres" if server.postmaster() is None else "waiting for Postgres, which runs, to answer")
        server.start(settings.server_start_timeout_seconds, tell)
        urls = server.urls()
    if urls is None:
        raise ServerError(
            f"the embedded Postgres in {server.directory} ended right after its start; see {server.log_directory}"
        )
    return urls


def _start_clickhouse(settings: Settings, tell: Callable[[str], None]) -> str:
    server = embedded_clickhouse(settings)
    url = server.url()
    if url is None:
        tell("starting ClickHouse" if server.state() is None else "waiting for ClickHouse, which runs, to answer")
        server.start(settings.server_start_timeout_seconds)
        url = server.url()
    if url is None:
        raise ServerError(f"the embedded ClickHouse ended right after its start; see {server.layout.log_file}")
    return url


def _external_postgres(settings: Settings) -> tuple[str, str] | None:
    if settings.postgres_url is None:
        return None
    url = settings.postgres_url.get_secret_value()
    try:
        conninfo_to_dict(url)
    except psycopg.Error:
        # `from None`: libpq quotes what it could not read, which may be the password.
        raise unreadable_server_url("postgres") from None
    parts = urlsplit(url)
    # Put together here: without a host, as for a socket, `geturl` would leave out the two slashes.
    query = f"?{parts.query}" if parts.query else ""
    dagster_url = f"postgresql+psycopg2://{parts.netloc}/{DAGSTER_DATABASE}{query}"
    _ensure_dagster_database(url)
    return url, dagster_url


def _ensure_dagster_database(url: str) -> None:
    """Create Dagster's database on an external server when it is missing."""
    address = _address(url)
    try:
        with psycopg.connect(url, connect_timeout=5, autocommit=True) as connection:
            found = connection.execute("select 1 from pg_database where datname = %s", (DAGSTER_DATABASE,)).fetchone()
            if found is not None:
                return
            try:
                connection.execute(sql.SQL("create database {}").format(sql.Identifier(DAGSTER_DATABASE)))
            except psycopg.errors.DuplicateDatabase:
                return  # another process was quicker
            except psycopg.errors.InsufficientPrivilege as error:
                raise ServerError(
                    f"Postgres at {address} has no database {DAGSTER_DATABASE!r} and this user may not "
                    f"create it; have it created: create database {DAGSTER_DATABASE}"
                ) from error
    except psycopg.Error as error:
        raise ServerError(
            f"Postgres at {address} does not answer or let us in: {_first_line(error)}; check QUANTBOT_POSTGRES_URL"
        ) from error


def _first_line(error: Exception) -> str:
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


def _address(url: str) -> str:
    """Return where a URL leads, without user and password."""
    parts = urlsplit(url)
    try:
        port = f":{parts.port}" if parts.port else ""
    except ValueError:
        port = ""
    # Where the address is in parameters, as that of a socket is.
    places = [pair for pair in parse_qsl(parts.query) if pair[0] in ("host", "hostaddr", "port")]
    query = f"?{urlencode(places, safe='/')}" if places else ""
    return f"{parts.scheme}://{parts.hostname or ''}{port}{parts.path}{query}"
