"""Opening the stores for a command: home usable, servers up, schema current."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from quantbot_pipeline.cli.console import waiting
from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.settings import Settings, load_settings

if TYPE_CHECKING:
    from quantbot_pipeline.servers.embedded import ServerUrls
    from quantbot_pipeline.storage.clickhouse import ClickHouseStore
    from quantbot_pipeline.storage.postgres import PostgresStore


@dataclass(frozen=True, slots=True)
class OpenStores:
    """Both stores of a command, with what they were opened with."""

    settings: Settings
    urls: "ServerUrls"
    state: "PostgresStore"
    history: "ClickHouseStore"


def load_usable_settings() -> Settings:
    """Return the settings of a command that writes to its home.

    Raises:
        ConfigError: a variable has a value that is not allowed, or the home can't be a folder that is written to.
    """
    settings = load_settings()
    nearest = settings.home
    while not os.path.lexists(nearest):
        nearest = nearest.parent
    if not nearest.is_dir():
        found = "a file" if nearest.exists() else "a link to nothing"
        raise ConfigError(f"QUANTBOT_HOME: {nearest} is {found}; allowed is a folder, or a path where one can be made")
    if not os.access(nearest, os.W_OK | os.X_OK):
        raise ConfigError(f"QUANTBOT_HOME: {nearest} can't be written by this user; set it to a folder that can")
    return settings


@contextmanager
def open_stores(on_progress: Callable[[str], None] | None = None) -> Iterator[OpenStores]:
    """Yield both stores; embedded servers are started and the schema is brought up to date first.

    Args:
        on_progress: Told what is being waited for; a display of its own without it.
    """
    from quantbot_pipeline.servers.embedded import ensure_servers
    from quantbot_pipeline.storage.clickhouse import ClickHouseStore
    from quantbot_pipeline.storage.migrations import migrate
    from quantbot_pipeline.storage.postgres import PostgresStore

    settings = load_usable_settings()
    with waiting("connecting to the databases") as show:
        tell = on_progress or show
        urls = ensure_servers(settings, on_progress=tell)
        tell("bringing the schema up to date")
        migrate(urls.postgres, urls.clickhouse)
    with PostgresStore(urls.postgres) as state, ClickHouseStore(urls.clickhouse) as history:
        yield OpenStores(settings, urls, state, history)
