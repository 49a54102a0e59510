"""Stores on fresh databases: of the embedded servers, and of servers given by URL."""

import os
import uuid
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, closing, contextmanager
from dataclasses import dataclass, field
from urllib.parse import urlsplit, urlunsplit

import clickhouse_connect
import psycopg
import pytest
from psycopg import sql
from psycopg.conninfo import make_conninfo

from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.migrations import migrate
from quantbot_pipeline.storage.postgres import PostgresStore

EXTERNAL_VARIABLES = ("QUANTBOT_TEST_POSTGRES_URL", "QUANTBOT_TEST_CLICKHOUSE_URL")


@dataclass(frozen=True)
class DatabaseUrls:
    """One database of this test run's own in each server."""

    # Not in the repr, which pytest prints when a test fails: URLs hold passwords.
    postgres: str = field(repr=False)
    clickhouse: str = field(repr=False)


@pytest.fixture(scope="session", params=["embedded", "external"])
def any_server_urls(request: pytest.FixtureRequest) -> DatabaseUrls:
    """Servers that the stores must behave on alike."""
    if request.param == "embedded":
        return DatabaseUrls(
            postgres=request.getfixturevalue("postgres_url"),
            clickhouse=request.getfixturevalue("clickhouse_url"),
        )
    urls = [os.environ.get(name, "") for name in EXTERNAL_VARIABLES]
    if not all(urls):
        pytest.skip(f"external servers are tested when {' and '.join(EXTERNAL_VARIABLES)} are set")
    return DatabaseUrls(*urls)


@pytest.fixture(scope="session")
def fresh_databases(any_server_urls: DatabaseUrls) -> Callable[[], AbstractContextManager[DatabaseUrls]]:
    """Open a database of its own in both servers, empty and not migrated; it is dropped when closed."""

    @contextmanager
    def open_databases() -> Iterator[DatabaseUrls]:
        name = f"quantbot_test_{uuid.uuid4().hex[:12]}"
        clickhouse_parts = urlsplit(any_server_urls.clickhouse)
        with (
            psycopg.connect(any_server_urls.postgres, autocommit=True) as postgres,
            closing(clickhouse_connect.get_client(dsn=any_server_urls.clickhouse)) as clickhouse,
        ):
            postgres.execute(sql.SQL("create database {}").format(sql.Identifier(name)))
            clickhouse.command("create database {name:Identifier}", parameters={"name": name})
            try:
                yield DatabaseUrls(
                    postgres=make_conninfo(any_server_urls.postgres, dbname=name),
                    clickhouse=urlunsplit(clickhouse_parts._replace(path=f"/{name}")),
                )
            finally:
                postgres.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))
                clickhouse.command("drop database {name:Identifier}", parameters={"name": name})

    return open_databases


@pytest.fixture(scope="session")
def database_urls(fresh_databases: Callable[[], AbstractContextManager[DatabaseUrls]]) -> Iterator[DatabaseUrls]:
    """A migrated database in both servers, shared by the tests of the stores."""
    with fresh_databases() as urls:
        migrate(urls.postgres, urls.clickhouse)
        yield urls


@pytest.fixture
def postgres_database(database_urls: DatabaseUrls) -> str:
    """URL of the shared Postgres database, without any row apart from the record of migrations."""
    with psycopg.connect(database_urls.postgres, autocommit=True) as postgres:
        tables = [
            name
            for (name,) in postgres.execute(
                "select tablename from pg_tables where schemaname = 'public' and tablename <> 'schema_migrations'"
            )
        ]
        postgres.execute(
            sql.SQL("truncate {} restart identity cascade").format(sql.SQL(", ").join(map(sql.Identifier, tables)))
        )
    return database_urls.postgres


@pytest.fixture
def clickhouse_database(database_urls: DatabaseUrls) -> str:
    """URL of the shared ClickHouse database, without any row apart from the record of migrations."""
    with closing(clickhouse_connect.get_client(dsn=database_urls.clickhouse)) as clickhouse:
        for (name,) in clickhouse.query(
            "select name from system.tables where database = currentDatabase() "
            "and engine like '%MergeTree' and name <> 'schema_migrations'"
        ).result_rows:
            clickhouse.command("truncate table {name:Identifier}", parameters={"name": name})
    return database_urls.clickhouse


@pytest.fixture
def state(postgres_database: str) -> Iterator[PostgresStore]:
    """An empty state store."""
    with PostgresStore(postgres_database) as store:
        yield store


@pytest.fixture
def history(clickhouse_database: str) -> Iterator[ClickHouseStore]:
    """An empty history store."""
    with ClickHouseStore(clickhouse_database) as store:
        yield store
