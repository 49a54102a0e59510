"""Commands that start, stop and show the servers: `up`, `down`, `status`, `url`.

Argument parsing and printing only.
"""

from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Annotated, Literal

import typer

from quantbot_pipeline.cli.console import print_json, print_warning, waiting

if TYPE_CHECKING:
    from quantbot_pipeline.servers.status import ServerStatus
    from quantbot_pipeline.settings import Settings

_COLOURS = {"running": "green", "external": "cyan", "stopped": "yellow", "unreachable": "red"}


def register(app: typer.Typer) -> None:
    """Add the commands of this module to an app."""
    app.command("up")(up)
    app.command("down")(down)
    app.command("status")(status)
    app.command("url")(url)


def up(
    *,
    ui: Annotated[bool, typer.Option("--ui", help="Also start Dagster's UI and its daemon.")] = False,
) -> None:
    """Start the embedded Postgres and ClickHouse, or find them running.

    They go on after this command; 'quantbot down' stops them.
    """
    from quantbot_pipeline.cli.stores import load_usable_settings
    from quantbot_pipeline.servers.dagster_ui import start_dagster_ui
    from quantbot_pipeline.servers.embedded import ensure_servers, server_status

    settings = load_usable_settings()
    ui_address = None
    with waiting("looking for the servers") as tell:
        ensure_servers(settings, on_progress=tell)
        if ui:
            ui_address = start_dagster_ui(settings, on_progress=tell)
    _print_table(settings, server_status(settings))
    if ui_address is not None:
        typer.echo(f"Dagster UI: {ui_address}")


def down() -> None:
    """Stop everything that 'quantbot up' started, cleanly."""
    from quantbot_pipeline.cli.stores import load_checked_settings
    from quantbot_pipeline.servers.dagster_ui import stop_dagster_ui
    from quantbot_pipeline.servers.embedded import stop_servers

    settings = load_checked_settings()
    with waiting("stopping"):
        stopped = [*stop_dagster_ui(settings), *stop_servers(settings)]
    typer.echo(f"stopped: {', '.join(stopped)}" if stopped else f"nothing was running in {settings.home}")


def status(
    *,
    as_json: Annotated[bool, typer.Option("--json", help="Print one JSON document instead of a table.")] = False,
) -> None:
    """Show how the servers are, without starting any.

    Exit code 0 when Postgres and ClickHouse run here, or are external and let us in, no started Dagster
    process is unreachable, and the home is not half restored; else 1.
    """
    from quantbot_pipeline.cli.stores import load_checked_settings
    from quantbot_pipeline.errors import ServerError
    from quantbot_pipeline.servers.embedded import server_status
    from quantbot_pipeline.servers.home import refuse_half_restored

    settings = load_checked_settings()
    with waiting("asking the servers"):
        statuses = [_asked(server, settings) for server in server_status(settings)]
    is_up = _is_up(statuses)
    problem = None
    try:
        refuse_half_restored(settings)
    except ServerError as error:
        problem = str(error)
        print_warning(problem)
    if as_json:
        document = {
            "home": str(settings.home),
            "is_up": is_up,
            "is_half_restored": problem is not None,
            "servers": [asdict(server) for server in statuses],
        }
        print_json(document)
    else:
        _print_table(settings, statuses)
    raise typer.Exit(0 if is_up and problem is None else 1)


def url(
    database: Annotated[Literal["postgres", "clickhouse"], typer.Argument(help="Which database.")],
    *,
    read_only: Annotated[
        bool, typer.Option("--read-only", help="Of the user that can only read, for dashboards.")
    ] = False,
) -> None:
    """Print the address of a database with user and password, for your own SQL client.

    Starts the servers when they are embedded and not running.

    Examples: quantbot url postgres, quantbot url clickhouse --read-only
    """
    from quantbot_pipeline.cli.stores import load_usable_settings
    from quantbot_pipeline.servers.embedded import ensure_servers, reader_url

    with waiting("looking for the servers") as tell:
        if read_only:
            address = reader_url(load_usable_settings(), database, on_progress=tell)
        else:
            urls = ensure_servers(load_usable_settings(), on_progress=tell)
            address = urls.postgres if database == "postgres" else urls.clickhouse
    typer.echo(address)


def _asked(server: "ServerStatus", settings: "Settings") -> "ServerStatus":
    """Return the status of a server, `unreachable` for an external one that does not let us in."""
    if server.state != "external":
        return server
    from quantbot_pipeline.errors import ServerError
    from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
    from quantbot_pipeline.storage.postgres_connection import connect

    try:
        if server.name == "postgres" and settings.postgres_url is not None:
            connect(settings.postgres_url.get_secret_value()).close()
        elif settings.clickhouse_url is not None:
            ClickHouseConnection(settings.clickhouse_url.get_secret_value()).close()
    except ServerError as error:
        print_warning(str(error))
        return replace(server, state="unreachable")
    return server


def _is_up(statuses: "list[ServerStatus]") -> bool:
    """Return whether the databases are there; Dagster's processes are optional, but must not hang."""
    needed = {"postgres", "clickhouse"}
    return all(
        server.state in ("running", "external") if server.name in needed else server.state != "unreachable"
        for server in statuses
    )


def _print_table(settings: "Settings", statuses: "list[ServerStatus]") -> None:
    typer.echo(f"servers in {settings.home}")
    for server in statuses:
        # Plain columns, the long one last: lines can be copied whole, at any width of the terminal.
        state = typer.style(f"{server.state:<12}", fg=_COLOURS[server.state])
        about = [
            server.address,
            f"version {server.version}" if server.version else None,
            f"process {server.pid}" if server.pid else None,
            f"up {_duration(server.uptime_seconds)}" if server.uptime_seconds is not None else None,
        ]
        typer.echo(f"  {server.name:<18} {state}{', '.join(part for part in about if part)}".rstrip())


def _duration(seconds: float) -> str:
    minutes, rest = divmod(int(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s" if minutes else f"{rest} s"
