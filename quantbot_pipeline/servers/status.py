"""What is told about servers: their addresses, and how they are."""

from dataclasses import dataclass
from typing import Literal

ServerName = Literal["postgres", "clickhouse", "dagster-webserver", "dagster-daemon"]
ServerState = Literal["running", "stopped", "unreachable", "external"]


@dataclass(frozen=True, slots=True, repr=False)
class ServerUrls:
    """What clients connect with. Holds passwords: never print or log one.

    Attributes:
        postgres: libpq URL of the database `quantbot`, or of the external one.
        dagster_postgres: SQLAlchemy URL of Dagster's own database, scheme `postgresql+psycopg2`.
        clickhouse: `http(s)://user:password@host:port/database`.
    """

    postgres: str
    dagster_postgres: str
    clickhouse: str

    def __repr__(self) -> str:
        return "ServerUrls(hidden: they hold passwords)"


@dataclass(frozen=True, slots=True)
class ServerStatus:
    """How one server is. Holds no password.

    Attributes:
        name: Which.
        state: `unreachable` is a process that runs and does not let us in; `external` is one that this
            project does not run.
        pid: Its process when it runs here.
        address: Socket folder or host and port.
        version: Of the server, where known without asking it.
        data_directory: Where its data is, for embedded ones.
        uptime_seconds: Since its start.
        log: Where to read on.
    """

    name: ServerName
    state: ServerState
    pid: int | None = None
    address: str | None = None
    version: str | None = None
    data_directory: str | None = None
    uptime_seconds: float | None = None
    log: str | None = None
