"""Stores of their own for the tests of views."""

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from view_scene import Scene, Urls

from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
from quantbot_pipeline.storage.migrations import migrate
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.views import build_views


@pytest.fixture(scope="session")
def urls(postgres_url: str, clickhouse_url: str) -> Iterator[Urls]:
    """Two migrated databases with their views, which only the tests of views see."""
    name = f"views_{uuid4().hex[:12]}"
    own = Urls(_with_database(postgres_url, name), _with_database(clickhouse_url, name))
    with ExitStack() as cleaning:
        with psycopg.connect(postgres_url, autocommit=True) as connection:
            connection.execute(f'create database "{name}"'.encode())
            # Waiting for the disk at each of hundreds of small commits would be most of these tests' time.
            connection.execute(f'alter database "{name}" set synchronous_commit = off'.encode())
        cleaning.callback(_drop_postgres, postgres_url, name)
        clickhouse = ClickHouseConnection(clickhouse_url)
        cleaning.callback(clickhouse.close)
        clickhouse.command(f"create database `{name}`", name="create database")
        cleaning.callback(clickhouse.command, f"drop database `{name}`", name="drop database")
        builds = f"drop database if exists `{name}_view_builds`"
        cleaning.callback(clickhouse.command, builds, name="drop builds")
        migrate(own.postgres, own.clickhouse)
        build_views(own.postgres, own.clickhouse).require_all()
        yield own


def _drop_postgres(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)'.encode())


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


@pytest.fixture
def scene(urls: Urls) -> Iterator[Scene]:
    """Stores without a row."""
    with _empty_scene(urls) as empty:
        yield empty


@pytest.fixture(scope="module")
def stage(urls: Urls) -> Iterator[Scene]:
    """Stores without a row at first, for the one story that the tests of a module look at."""
    with _empty_scene(urls) as empty:
        yield empty


@contextmanager
def _empty_scene(urls: Urls) -> Iterator[Scene]:
    _empty(urls)
    with PostgresStore(urls.postgres) as state, ClickHouseStore(urls.clickhouse) as history:
        yield Scene(state, history, urls)


def _empty(urls: Urls) -> None:
    with psycopg.connect(urls.postgres, autocommit=True) as connection:
        tables = "simulation_runs, calls, alerts, strategies, tokens, callers, imports, backfills, ml_models"
        connection.execute(f"truncate {tables} cascade".encode())
    clickhouse = ClickHouseConnection(urls.clickhouse)
    try:
        for table in (
            "ohlcv_candles",
            "simulation_events",
            "simulation_aggregates",
            "published_runs",
            "published_calls",
            "ml_scores",
        ):
            clickhouse.command(f"truncate table {table}", name="truncate")
    finally:
        clickhouse.close()
