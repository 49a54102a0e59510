"""Fixtures for all tests: a home with real servers, the shared data sets."""

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from quantbot_pipeline.servers.status import ServerUrls
from quantbot_pipeline.settings import Settings, load_settings

PROJECT_ROOT = Path(__file__).parents[1]


@pytest.fixture(scope="session")
def server_settings() -> Iterator[Settings]:
    """Settings of a home of this test process alone.

    Not below pytest's own temporary folder: as root, Postgres runs under another account, and every pytest that
    starts closes that folder to others again.
    """
    with tempfile.TemporaryDirectory(prefix="quantbot-") as folder:
        yield load_settings(home=Path(folder) / "home", postgres_url=None, clickhouse_url=None)


@pytest.fixture(scope="session")
def server_urls(server_settings: Settings) -> Iterator[ServerUrls]:
    """Embedded servers with a migrated, empty schema; shared by all tests of this process, stopped at its end."""
    from quantbot_pipeline.servers.embedded import ensure_servers, stop_servers
    from quantbot_pipeline.storage.migrations import migrate

    urls = ensure_servers(server_settings)
    try:
        migrate(urls.postgres, urls.clickhouse)
        yield urls
    finally:
        stop_servers(server_settings)


@pytest.fixture(scope="session")
def postgres_url(server_urls: ServerUrls) -> str:
    """URL of the embedded Postgres."""
    return server_urls.postgres


@pytest.fixture(scope="session")
def clickhouse_url(server_urls: ServerUrls) -> str:
    """URL of the embedded ClickHouse."""
    return server_urls.clickhouse


@pytest.fixture(scope="session")
def shared_data() -> Path:
    """Folder of real candles and alerts; tests that need it are skipped where it is absent."""
    folder = Path(os.environ.get("QUANTBOT_SHARED_DATA", PROJECT_ROOT.parent / "shared" / "data"))
    if not (folder / "candles").is_dir():
        pytest.skip(f"real data is not there: {folder} (set QUANTBOT_SHARED_DATA)")
    return folder
