"""Opening the stores for a command: home usable, servers up, schema current."""

import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from quantbot_pipeline.cli.console import waiting
from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.settings import Settings, check_server_urls, load_settings

if TYPE_CHECKING:
    from quantbot_pipeline.servers.status import ServerUrls
    from quantbot_pipeline.storage.clickhouse import ClickHouseStore
    from quantbot_pipeline.storage.postgres import PostgresStore


@dataclass(frozen=True, slots=True)
class OpenStores:
    """Both stores of a command, with what they were opened with."""

    settings: Settings
    urls: "ServerUrls"
    state: "PostgresStore"
    history: "ClickHouseStore"


def load_checked_settings(home: Path | None = None) -> Settings:
    """Return the settings of a command, after a look at what pydantic can't judge. Changes nothing.

    Args:
        home: Folder that wins over QUANTBOT_HOME.

    Raises:
        ConfigError: a variable has a value that is not allowed. The message never repeats a URL, which may hold a
            password.
    """
    settings = load_settings() if home is None else load_settings(home=home)
    if settings.home.exists() and not settings.home.is_dir():
        raise ConfigError(f"QUANTBOT_HOME: {settings.home} is a file; allowed is a folder, or a path to make one at")
    check_server_urls(settings)
    return settings


def load_usable_settings(home: Path | None = None) -> Settings:
    """Return the settings of a command that writes to its home, which is made when missing.

    Args:
        home: Folder that wins over QUANTBOT_HOME.

    Raises:
        ConfigError: a variable has a value that is not allowed, or the home can't be made or written.
    """
    settings = load_checked_settings(home)
    try:
        settings.home.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise ConfigError(
            f"QUANTBOT_HOME: {settings.home} can't be made: {error.strerror}; set it to a folder that can be written"
        ) from error
    if not os.access(settings.home, os.W_OK | os.X_OK):
        raise ConfigError(f"QUANTBOT_HOME: {settings.home} can't be written by this user; set it to one that can")
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
