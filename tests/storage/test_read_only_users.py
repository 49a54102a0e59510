"""The read-only users of the embedded servers: what they may ask, and that nothing else gets through."""

from collections.abc import Iterator
from urllib.parse import urlencode, urlsplit

import httpx
import psycopg
import pytest

from quantbot_pipeline.errors import ServerError, StorageError
from quantbot_pipeline.servers.embedded import reader_url
from quantbot_pipeline.servers.status import ServerUrls
from quantbot_pipeline.settings import Settings, load_settings
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
from quantbot_pipeline.storage.migrations import migrate
from quantbot_pipeline.storage.views import build_views, postgres_builds

pytestmark = pytest.mark.server


@pytest.fixture(scope="module")
def views(server_urls: ServerUrls) -> None:
    migrate(server_urls.postgres, server_urls.clickhouse)
    build_views(server_urls.postgres, server_urls.clickhouse).require_all()


@pytest.fixture
def reader(views: None, server_settings: Settings) -> Iterator[psycopg.Connection]:
    with psycopg.connect(reader_url(server_settings, "postgres"), autocommit=True) as connection:
        yield connection


def test_the_reader_of_postgres_reads_every_view(reader: psycopg.Connection) -> None:
    names = [
        row[0]
        for row in reader.execute("select viewname from pg_views where schemaname = 'public' and viewname ~ '_.*'")
        if row[0].startswith(("stg_", "int_", "mart_"))
    ]
    assert len(names) >= 8
    for name in names:
        reader.execute(f"select count(*) from {name}".encode()).fetchall()  # noqa: S608 - names of the catalogue
    assert reader.execute("show statement_timeout").fetchone() == ("1min",)
    # Shorter than a build waits for those who read what it replaces.
    assert reader.execute("show idle_in_transaction_session_timeout").fetchone() == ("20s",)
    assert int(postgres_builds._LOCK_TIMEOUT.removesuffix("s")) * postgres_builds._LOCK_ATTEMPTS >= 30


@pytest.mark.parametrize(
    "statement",
    [
        "select * from calls",
        "select * from view_builds.stg_calls",
        "insert into callers (source, handle) values ('a', 'b')",
        "delete from calls",
        "create table t (a int)",
        "create temporary table t (a int)",
        "create view v as select 1",
        "drop view mart_runs_ranked",
        "truncate calls",
        "set role quantbot",
        "set session authorization quantbot",
        "copy (select 1) to '/srv/out'",
        "select pg_read_file('/etc/passwd')",
        "select lo_create(0)",
        "select pg_advisory_lock(7305091120443118)",
        "alter role quantbot_reader superuser",
    ],
)
def test_the_reader_of_postgres_does_nothing_else(reader: psycopg.Connection, statement: str) -> None:
    """Also where it takes back the default that its transactions only read, which anybody can."""
    reader.execute("set default_transaction_read_only = off")

    with pytest.raises(psycopg.errors.InsufficientPrivilege):
        reader.execute(statement.encode())


def test_the_reader_of_postgres_gets_into_no_other_database(views: None, server_settings: Settings) -> None:
    url = reader_url(server_settings, "postgres")
    for name in ("dagster", "postgres", "template1"):
        with pytest.raises(psycopg.OperationalError, match="permission denied for database"):
            psycopg.connect(url.replace("/quantbot?", f"/{name}?"))


@pytest.fixture(scope="module")
def address(views: None, server_settings: Settings) -> str:
    return reader_url(server_settings, "clickhouse")


def _ask(address: str, statement: str, method: str = "POST", **arguments: str) -> httpx.Response:
    parts = urlsplit(address)
    url = f"http://{parts.hostname}:{parts.port}/?{urlencode({'database': 'quantbot', **arguments})}"
    credentials = (parts.username or "", parts.password or "")
    if method == "GET":
        return httpx.get(f"{url}&{urlencode({'query': statement})}", auth=credentials)
    return httpx.post(url, content=statement.encode(), auth=credentials)


def test_the_reader_of_clickhouse_reads_with_the_usual_client(address: str) -> None:
    connection = ClickHouseConnection(address)
    try:
        rows = connection.fetch_table(
            "select count() as n from mart_runs_ranked where run_rank < {rank:Int64}",
            name="read",
            parameters={"rank": 3},
        )
        assert rows.num_rows == 1
        with pytest.raises(StorageError, match="may only read"):
            connection.command("create table t (a Int8) engine = Memory", name="create")
    finally:
        connection.close()


@pytest.mark.parametrize(
    "statement",
    [
        "select 1",
        "with 1 as a select a",
        "(select 1) union all (select 2)",
        "show tables",
        "describe mart_runs_ranked",
        "explain select * from mart_runs_ranked",
        "exists table mart_runs_ranked",
        "select 'file(''/etc/passwd'')' as text -- file('x')",
        "select count() from numbers(10) /* url */",
        "select 'żółw' as name",
    ],
)
def test_the_reader_of_clickhouse_may_ask(address: str, statement: str) -> None:
    for method in ("GET", "POST"):
        answer = _ask(address, statement, method)
        assert answer.status_code == 200, answer.text


@pytest.mark.parametrize(
    "statement",
    [
        "insert into published_runs (simulation_run_id) values (1)",
        "insert into published_runs (simulation_run_id) select 1",
        "with 1 as a insert into published_runs (simulation_run_id) select a",
        "insert into published_runs format CSV\n1",
        "create table t (a Int8) engine = Memory",
        "create temporary table t (a Int8)",
        "drop view mart_runs_ranked",
        "truncate published_runs",
        "alter table published_runs delete where 1",
        "optimize table published_runs",
        "rename table published_runs to other",
        "set readonly = 0",
        "select 1 settings readonly = 0",
        "select 1 settings max_execution_time = 0",
        "explain insert into published_runs (simulation_run_id) select 1",
        "use system",
        "kill query where 1",
        "system flush logs",
        "grant select on *.* to somebody",
        "backup database quantbot to File('x')",
        "select 1 into outfile '/srv/out'",
        "select file('/etc/hostname')",
        "select \"file\"('/etc/hostname')",
        "select `FILE` /* - */ ('/etc/hostname')",
        "select '/etc/hostname' as a, * apply file",
        "select * from file('/etc/hostname', LineAsString)",
        "select * from url('http://127.0.0.1:1/', LineAsString)",
        "select * from s3('http://127.0.0.1:1/bucket/key', LineAsString)",
        "select * from executable('true', TSV, 'a String')",
        "select * from mysql('127.0.0.1:1', 'a', 'b', 'c', 'd')",
        "select * from python('x')",
        "select * from filesystem('/')",
        "select aiGenerate('x')",
        "select sleep(3)",
        "select * from default.`/etc/hostname`",
        "select $$'$$, file('/etc/hostname'), $$'$$",
        "select \N{LEFT SINGLE QUOTATION MARK}'\N{RIGHT SINGLE QUOTATION MARK}, file('/etc/hostname') -- '",
        "select `a\\`, file('/etc/hostname'), `b",
        "select 1 // '\n, file('/etc/hostname') // '",
        "select 'a",
        "",
    ],
)
def test_the_reader_of_clickhouse_does_nothing_else(address: str, statement: str) -> None:
    for session in ({}, {"session_id": "mine"}):
        answer = _ask(address, statement, **session)
        assert answer.status_code != 200, answer.text
        assert "DB::Exception" in answer.text or "may only read" in answer.text or "Syntax" in answer.text


@pytest.mark.parametrize(
    ("statement", "reason"),
    [
        ("select sleep(3)", "found sleep, which would only hold a connection; such a name"),
        ("select 1 into outfile '/srv/out'", "found outfile, which would write a file of the server; such a name"),
        ("select 1 as file", "found file, which may read files, call the network or another server, or run programs; "),
        ("select * from url('http://127.0.0.1:1/', LineAsString)", "found url, which may read files, call the network"),
    ],
)
def test_a_refusal_says_what_the_name_would_do(address: str, statement: str, reason: str) -> None:
    answer = _ask(address, statement)
    assert reason in answer.text
    assert "refused wherever it is, also as that of a column or table" in answer.text


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("output_format_schema", "/srv/out"),
        ("format_template_resultset", "/etc/hostname"),
        ("max_ast_depth", "9"),
    ],
)
def test_settings_of_the_address_can_not_undo_the_limits(address: str, name: str, value: str) -> None:
    answer = _ask(address, "select 1", **{name: value})
    assert answer.status_code != 200
    assert f"Cannot modify {name}" in answer.text

    def limit(**arguments: str) -> str:
        question = "select toString(getSetting('max_execution_time')) || ' ' || toString(getSetting('readonly'))"
        return _ask(address, question, **arguments).text.strip()

    assert limit(max_execution_time="0", readonly="0") == "60 1"
    assert limit(max_execution_time="9999") == "60 1"
    assert limit(max_execution_time="5", readonly="2") == "5 1"


def test_rows_sent_along_make_no_table(address: str) -> None:
    parts = urlsplit(address)
    answer = httpx.post(
        f"http://{parts.hostname}:{parts.port}/?query=select+*+from+rows&rows_structure=a+Int8&database=quantbot",
        files={"rows": b"1\n"},
        auth=(parts.username or "", parts.password or ""),
    )
    assert "may only read" in answer.text


def test_a_wrong_password_of_the_reader_lets_nobody_in(address: str, server_urls: ServerUrls) -> None:
    parts, owner = urlsplit(address), urlsplit(server_urls.clickhouse)
    for password in ("", "x", owner.password or ""):
        answer = httpx.post(
            f"http://{parts.hostname}:{parts.port}/", content=b"select 1", auth=("quantbot_reader", password)
        )
        assert answer.status_code in (401, 403, 516), answer.status_code


def test_an_external_server_has_users_of_its_own() -> None:
    settings = load_settings(postgres_url="postgresql://a:secret@127.0.0.1/b")

    with pytest.raises(ServerError, match=r"postgres is an external server .*docs/dashboards\.md") as error:
        reader_url(settings, "postgres")
    assert "secret" not in str(error.value)
