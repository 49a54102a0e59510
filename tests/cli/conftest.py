"""The command line in this process: arguments in, exit code and both outputs out."""

import json
import os
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit
from uuid import uuid4

import psycopg
import pytest
from psycopg import sql

from quantbot_pipeline.cli import console
from quantbot_pipeline.cli.main import main
from quantbot_pipeline.sample.generate import SampleFiles, SampleSpec, write_sample
from quantbot_pipeline.servers.embedded import ServerUrls
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection

# What commands read from the environment, or leave there for Dagster.
VARIABLES = (
    "QUANTBOT_BIRDEYE_API_KEY",
    "QUANTBOT_BIRDEYE_REQUESTS_PER_SECOND",
    "QUANTBOT_BIRDEYE_URL",
    "QUANTBOT_GECKOTERMINAL_URL",
    "DAGSTER_HOME",
    "QUANTBOT_CLICKHOUSE_URL",
    "QUANTBOT_DAGSTER_UI_PORT",
    "QUANTBOT_FIRST_MONTH",
    "QUANTBOT_HOME",
    "QUANTBOT_POSTGRES_URL",
)

WIDTH = 80


@dataclass(frozen=True)
class Answer:
    """What a command answered."""

    code: int
    out: str
    err: str

    @property
    def document(self) -> Any:
        """Standard output as JSON; fails when anything else is on it."""
        return json.loads(self.out, parse_constant=lambda name: pytest.fail(f"{name} is no JSON"))

    def refuses(self, *parts: str, code: int = 2) -> None:
        """Hold an answer to what a refusal looks like."""
        assert self.code == code, (self.code, self.out, self.err)
        assert self.out == ""
        assert "Traceback" not in self.err
        # Behind what is told of waiting, on a slow machine.
        assert "\nerror: " in f"\n{self.err}"
        assert self.err.count("error: ") == 1
        for part in parts:
            assert part in self.err


Quantbot = Callable[..., Answer]


@dataclass(frozen=True)
class Databases:
    """URLs of two databases that only these tests see."""

    # Not in the repr, which pytest prints when a test fails: URLs hold passwords.
    postgres: str = field(repr=False)
    clickhouse: str = field(repr=False)


@pytest.fixture
def clean_environment(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Iterator[None]:
    """No variable of the caller's; what a command sets is taken back; the terminal is 80 columns wide."""
    for name in VARIABLES:
        # Set first, so that a variable that was not there is removed again at the end.
        monkeypatch.setenv(name, "")
        monkeypatch.delenv(name)
    monkeypatch.setenv("COLUMNS", str(WIDTH))
    # A console that was made while COLUMNS was set keeps that width; without one it asks each time.
    for terminal in (console.output, console.messages):
        monkeypatch.setattr(terminal, "_width", None)
    monkeypatch.setenv("QUANTBOT_HOME", str(tmp_path / "home"))
    monkeypatch.chdir(tmp_path)
    yield
    for name in VARIABLES:
        os.environ.pop(name, None)


@pytest.fixture
def quantbot(clean_environment: None, capsys: pytest.CaptureFixture[str]) -> Quantbot:
    """The command, on a home that does not exist."""

    def run(*arguments: str | Path) -> Answer:
        capsys.readouterr()
        with pytest.raises(SystemExit) as ended:
            main([str(argument) for argument in arguments])
        out, err = capsys.readouterr()
        return Answer(int(ended.value.code or 0), out, err)

    return run


@contextmanager
def _open_databases(server_urls: ServerUrls) -> Iterator[Databases]:
    name = f"cli_{uuid4().hex[:12]}"
    with ExitStack() as cleaning:
        with psycopg.connect(server_urls.postgres, autocommit=True) as connection:
            connection.execute(f'create database "{name}"'.encode())
            connection.execute(f'alter database "{name}" set synchronous_commit = off'.encode())
        cleaning.callback(_drop_postgres, server_urls.postgres, name)
        clickhouse = ClickHouseConnection(server_urls.clickhouse)
        cleaning.callback(clickhouse.close)
        clickhouse.command(f"create database `{name}`", name="create database")
        cleaning.callback(clickhouse.command, f"drop database `{name}`", name="drop database")
        yield Databases(_with_database(server_urls.postgres, name), _with_database(server_urls.clickhouse, name))


def _drop_postgres(url: str, name: str) -> None:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute(f'drop database "{name}" with (force)'.encode())


def _with_database(url: str, name: str) -> str:
    return urlunsplit(urlsplit(url)._replace(path=f"/{name}"))


def _use(databases: Databases, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("QUANTBOT_POSTGRES_URL", databases.postgres)
    monkeypatch.setenv("QUANTBOT_CLICKHOUSE_URL", databases.clickhouse)


@pytest.fixture
def fresh_databases(
    server_urls: ServerUrls, clean_environment: None, monkeypatch: pytest.MonkeyPatch
) -> Iterator[Databases]:
    """Empty databases without a schema, which commands of the test use."""
    with _open_databases(server_urls) as databases:
        _use(databases, monkeypatch)
        yield databases


@pytest.fixture(scope="session")
def shared_databases(server_urls: ServerUrls) -> Iterator[Databases]:
    with _open_databases(server_urls) as databases:
        yield databases


@pytest.fixture
def databases(shared_databases: Databases, clean_environment: None, monkeypatch: pytest.MonkeyPatch) -> Databases:
    """Databases that all tests here share, which commands of the test use; the first command makes the schema."""
    _use(shared_databases, monkeypatch)
    return shared_databases


@pytest.fixture(scope="session")
def sample(tmp_path_factory: pytest.TempPathFactory) -> SampleFiles:
    """A small data set of January 2025 with some bad rows."""
    folder = tmp_path_factory.mktemp("sample")
    return write_sample(folder, SampleSpec(seed=11, token_count=2, months=1, alert_count=150))


@pytest.fixture
def count_rows(databases: Databases) -> Callable[[], dict[str, int]]:
    """Return how many rows each table that imports write to has."""
    return lambda: rows_of(databases)


def rows_of(databases: Databases) -> dict[str, int]:
    """Return how many rows each table that imports write to has, in both databases."""
    counts: dict[str, int] = {}
    with psycopg.connect(databases.postgres) as connection:
        for table in ("tokens", "callers", "alerts", "calls", "strategies", "imports", "quarantine"):
            row = connection.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table))).fetchone()
            assert row is not None
            counts[table] = row[0]
    clickhouse = ClickHouseConnection(databases.clickhouse)
    try:
        for table in ("ohlcv_candles", "simulation_events", "simulation_aggregates"):
            counts[table] = clickhouse.fetch_table(
                f"select toInt64(count()) as found from {table} final",  # noqa: S608 - names of this module
                name="count",
            )["found"][0].as_py()
    finally:
        clickhouse.close()
    return counts
