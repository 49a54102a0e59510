"""Stores without a row on real servers, and what the tests of workflows put into them."""

from collections.abc import Iterator
from contextlib import closing
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import clickhouse_connect
import psycopg
import pytest
from psycopg import sql

from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.migrations import migrate
from quantbot_pipeline.storage.postgres import PostgresStore
from tests.workflows.scene import Scene, Urls


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture(scope="session")
def workflow_urls(postgres_url: str, clickhouse_url: str) -> Iterator[Urls]:
    """A migrated database in each server that only the tests of workflows see."""
    name = f"workflows_{uuid4().hex[:12]}"
    own = Urls(_with_database(postgres_url, name), _with_database(clickhouse_url, name))
    with (
        psycopg.connect(postgres_url, autocommit=True) as postgres,
        closing(clickhouse_connect.get_client(dsn=clickhouse_url)) as clickhouse,
    ):
        identifier = sql.Identifier(name)
        postgres.execute(sql.SQL("create database {}").format(identifier))
        # Waiting for the disk at each small commit would be much of these tests' time.
        postgres.execute(sql.SQL("alter database {} set synchronous_commit = off").format(identifier))
        clickhouse.command("create database {name:Identifier}", parameters={"name": name})
        migrate(own.postgres, own.clickhouse)
        yield own
        postgres.execute(sql.SQL("drop database {} with (force)").format(identifier))
        clickhouse.command("drop database {name:Identifier}", parameters={"name": name})


@pytest.fixture
def scene(workflow_urls: Urls) -> Iterator[Scene]:
    """Stores without a row."""
    with PostgresStore(workflow_urls.postgres) as state, ClickHouseStore(workflow_urls.clickhouse) as history:
        emptied = Scene(state, history, workflow_urls)
        emptied.empty()
        yield emptied
