"""Resources: they yield plain stores, so that assets and tests need no Dagster types.

The servers are looked up, and started when embedded, at the time a run needs them; importing this starts nothing.
"""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from quantbot_pipeline.servers.embedded import ensure_servers
from quantbot_pipeline.servers.status import ServerUrls
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.postgres import PostgresStore


def _urls() -> ServerUrls:
    return ensure_servers(load_settings())


class PostgresResource(dg.ConfigurableResource[PostgresStore]):
    """Yields the store of entities and state; the embedded server unless QUANTBOT_POSTGRES_URL is set."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[PostgresStore]:  # noqa: ARG002 - Dagster's signature
        """Open the store for one run, and close it."""
        with PostgresStore(_urls().postgres) as store:
            yield store


class ClickHouseResource(dg.ConfigurableResource[ClickHouseStore]):
    """Yields the store of candles and events; the embedded server unless QUANTBOT_CLICKHOUSE_URL is set."""

    @contextmanager
    def yield_for_execution(self, context: dg.InitResourceContext) -> Iterator[ClickHouseStore]:  # noqa: ARG002 - Dagster's signature
        """Open the store for one run, and close it."""
        with ClickHouseStore(_urls().clickhouse) as store:
            yield store
