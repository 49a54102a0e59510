"""Opening the stores for a command: servers up, schema current."""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass

from quantbot_pipeline.cli.console import messages
from quantbot_pipeline.servers.embedded import ServerUrls, ensure_servers
from quantbot_pipeline.settings import Settings, load_settings
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.migrations import migrate
from quantbot_pipeline.storage.postgres import PostgresStore


@dataclass(frozen=True, slots=True)
class OpenStores:
    """Both stores of a command, with what they were opened with."""

    settings: Settings
    urls: ServerUrls
    state: PostgresStore
    history: ClickHouseStore


@contextmanager
def open_stores() -> Iterator[OpenStores]:
    """Yield both stores; embedded servers are started and the schema is brought up to date first."""
    settings = load_settings()
    with messages.status("starting the servers"):
        urls = ensure_servers(settings)
        migrate(urls.postgres, urls.clickhouse)
    with PostgresStore(urls.postgres) as state, ClickHouseStore(urls.clickhouse) as history:
        yield OpenStores(settings, urls, state, history)
