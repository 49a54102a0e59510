"""What `clickhouse_connect` asks of the embedded ClickHouse, and what a stranger may send to it."""

import base64
import contextlib
import gzip
import http.client
import socket
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from decimal import Decimal
from urllib.parse import unquote, urlencode, urlsplit

import clickhouse_connect
import numpy as np
import pandas as pd
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError, StreamFailureError
from clickhouse_connect.driver.external import ExternalData

from quantbot_pipeline.servers.processes import PACKAGE_PARENT

pytestmark = pytest.mark.server


@pytest.fixture
def client(clickhouse_url: str) -> Iterator[Client]:
    client = clickhouse_connect.get_client(dsn=clickhouse_url)
    client.command("create database if not exists interface_test")
    client.command(
        "create or replace table interface_test.rows (number UInt64, name String, price Float64, "
        "at DateTime64(3, 'UTC'), attributes JSON) engine = MergeTree order by number"
    )
    yield client
    client.command("drop database interface_test")
    client.close()


def _count(client: Client) -> int:
    return int(str(client.command("select count() from interface_test.rows")))


@pytest.mark.parametrize(
    "text",
    ["", "it's", 'a "b" `c`', "tab\tnewline\nreturn\r", "back\\slash\\n", "π 🪙", "{x:String}", "\\N", "x" * 100_000],
)
def test_text_parameters_arrive_unchanged(client: Client, text: str) -> None:
    """Long ones are sent as a multipart form, short ones in the URL."""
    rows = client.query("select {text:String}, length({text:String})", parameters={"text": text}).result_rows

    assert rows == [(text, len(text.encode()))]


def test_parameters_of_all_kinds_arrive_unchanged(client: Client) -> None:
    at = datetime(2024, 1, 2, 3, 4, 5, 678_000, tzinfo=UTC)
    parameters = {"n": 2**64 - 1, "f": 1e-13, "at": at, "none": None, "many": ["a'b", "c\td"], "d": Decimal("0.10")}

    row = client.query(
        "select {n:UInt64}, {f:Float64}, {at:DateTime64(3, 'UTC')}, {none:Nullable(String)}, {many:Array(String)}, "
        "{d:Decimal(10, 2)}",
        parameters=parameters,
    ).result_rows[0]

    # The client gives UTC without a zone.
    assert row == (2**64 - 1, 1e-13, at.replace(tzinfo=None), None, ["a'b", "c\td"], Decimal("0.10"))


@pytest.mark.parametrize("compress", [True, False, "lz4", "zstd", "gzip"])
def test_rows_survive_each_compression_in_both_directions(
    client: Client, clickhouse_url: str, compress: object
) -> None:
    other = clickhouse_connect.get_client(dsn=clickhouse_url, compress=compress)  # type: ignore[arg-type]
    at = datetime(2024, 1, 1)  # noqa: DTZ001 - the client gives UTC without a zone, and takes it so
    rows = [(number, f"name {number}", number / 3, at, {"a": number}) for number in range(50_000)]

    summary = other.insert("interface_test.rows", rows, column_names=["number", "name", "price", "at", "attributes"])
    read = other.query(
        "select number, name, price, at, attributes from interface_test.rows order by number"
    ).result_rows

    assert summary.written_rows == 50_000
    assert read == rows
    other.close()


def test_data_frames_and_arrow_tables_go_in_and_out(client: Client) -> None:
    numbers = np.arange(100_000, dtype=np.uint64)
    frame = pd.DataFrame({"number": numbers, "name": "frame", "price": numbers / 7.0})
    table = pa.table({"number": pa.array(numbers), "name": ["arrow"] * 100_000, "price": pa.array(numbers / 9.0)})

    client.insert_df("interface_test.rows", frame)
    client.insert_arrow("interface_test.rows", table)
    query = "select number, name, price from interface_test.rows where name = {name:String} order by number"
    read_frame = client.query_df(query, parameters={"name": "frame"})
    read_table = client.query_arrow(query, parameters={"name": "arrow"})

    assert np.array_equal(read_frame["price"].to_numpy(), frame["price"].to_numpy())
    assert read_table.column("price").to_pylist() == table.column("price").to_pylist()
    assert read_table.column("number").to_pylist() == numbers.tolist()


def test_raw_rows_go_in_as_text_bytes_generators_and_compressed(client: Client) -> None:
    table, columns = "interface_test.rows", ["number", "name"]

    written = [
        client.raw_insert(table, columns, "1\ta\n", fmt="TSV").written_rows,
        client.raw_insert(table, columns, b"2,b\n3,c\n", fmt="CSV").written_rows,
        client.raw_insert(table, columns, iter([b"4,d\n", b"5,e\n"]), fmt="CSV").written_rows,
        client.raw_insert(table, columns, gzip.compress(b"6,f\n"), fmt="CSV", compression="gzip").written_rows,
    ]

    assert written == [1, 2, 2, 1]
    assert client.raw_query("select number, name from interface_test.rows order by number", fmt="CSV") == (
        b'1,"a"\n2,"b"\n3,"c"\n4,"d"\n5,"e"\n6,"f"\n'
    )


def test_commands_insert_change_and_answer(client: Client) -> None:
    client.command("insert into interface_test.rows (number) values (7), (8)")
    client.command("insert into interface_test.rows (number) values ({n:UInt64})", parameters={"n": 9})
    summary = client.query("insert into interface_test.rows (number) select number from numbers(10)").summary

    assert summary["written_rows"] == "10"
    assert _count(client) == 13
    assert client.command("select 5") == 5
    assert client.command("select 'a', 'b'") == ["a", "b"]
    assert client.command("select 1 where 0") == ""
    assert client.ping()


def test_large_answers_are_streamed_and_whole(client: Client) -> None:
    """6 500 000 numbers of 8 bytes: 52 MB."""
    query = "select number from numbers(6500000)"

    with client.query_df_stream(query) as blocks:
        total = sum(int(block["number"].sum()) for block in blocks)
    table = client.query_arrow(query)
    raw = client.raw_query(query, fmt="RowBinary")

    # Sum of 0 … n-1 is n (n - 1) / 2.
    assert total == 6_500_000 * 6_499_999 // 2
    assert table.nbytes == len(raw) == 52_000_000
    assert np.array_equal(np.frombuffer(raw, "<u8"), table.column("number").to_numpy())


def test_a_stream_that_is_left_early_leaves_the_session_usable(client: Client) -> None:
    with client.query_row_block_stream("select number from numbers(50000000)") as blocks:
        next(iter(blocks))

    # Neither a stream nor an answer in one piece comes out empty.
    assert client.raw_query("select 3", fmt="JSONCompactColumns").split() == [b"[", b"[3]", b"]"]
    assert client.query("select 3").result_rows == [(3,)]


def test_a_stream_whose_client_is_gone_ends_though_its_session_lives_on(client: Client, clickhouse_url: str) -> None:
    parts = urlsplit(clickhouse_url)
    login = f"X-ClickHouse-User: {parts.username}\r\nX-ClickHouse-Key: {unquote(parts.password or '')}\r\n"
    # No settings: taking those back would end the stream as well.
    statement = "select number from numbers(50000000)"
    running = "select count() from system.processes where startsWith(query, {start:String})"
    with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as connection:
        head = f"POST /?session_id=left HTTP/1.1\r\nContent-Length: {len(statement)}\r\n{login}\r\n"
        connection.sendall(head.encode() + statement.encode())
        assert connection.recv(64).startswith(b"HTTP/1.1 200")
        assert client.query(running, parameters={"start": statement}).result_rows == [(1,)]

    deadline = time.monotonic() + 10
    while client.query(running, parameters={"start": statement}).result_rows != [(0,)]:
        assert time.monotonic() < deadline
        time.sleep(0.05)


@pytest.mark.parametrize(
    ("statement", "code"),
    [
        ("select * from nope", 60),
        ("selec 1", 62),
        ("select nope", 47),
        ("select 1 settings nope = 1", 115),
        ("select * from nope.nope", 81),
        ("select 1; select 2", 62),
        ("select intDiv(1, 0)", 153),
        ("select throwIf(number = 5000000) from numbers(10000000)", 395),
        ("insert into nope values (1)", 60),
        ("drop table nope", 60),
    ],
)
def test_errors_keep_the_servers_code_and_the_connection(client: Client, statement: str, code: int) -> None:
    with pytest.raises(ClickHouseError, match=f"Code: {code}") as caught:
        client.query(statement)

    assert caught.value.code == code
    assert client.query("select 1").result_rows == [(1,)]


@pytest.mark.filterwarnings(
    "ignore::pytest.PytestUnraisableExceptionWarning"
)  # the client leaves its torn response open
@pytest.mark.parametrize("compress", [True, False])
def test_an_error_in_the_midst_of_a_stream_is_told(client: Client, clickhouse_url: str, compress: object) -> None:
    other = clickhouse_connect.get_client(dsn=clickhouse_url, compress=compress)  # type: ignore[arg-type]
    query = "select throwIf(number = 5000000) from numbers(10000000)"

    with pytest.raises(StreamFailureError, match="395"), other.query_row_block_stream(query) as blocks:
        for _ in blocks:
            pass

    assert other.query("select 1").result_rows == [(1,)]


def test_a_damaged_insert_stores_nothing_and_the_connection_goes_on(client: Client) -> None:
    with pytest.raises(ClickHouseError, match="Code: "):
        client.raw_insert("interface_test.rows", ["number"], b"1\nnot a number\n", fmt="TSV")
    with pytest.raises(ClickHouseError, match="Code: "):
        client.raw_insert("interface_test.rows", ["number"], b"\x01\x00garbage", fmt="Native")
    with pytest.raises(ClickHouseError, match="Code: 271"):
        client.raw_insert("interface_test.rows", ["number"], b"no gzip", fmt="TSV", compression="gzip")

    assert _count(client) == 0


def test_settings_hold_for_their_request_only(client: Client) -> None:
    query = "select getSetting('max_threads'), getSetting('max_block_size')"

    with_settings = client.query(query, settings={"max_threads": 7, "max_block_size": 1000}).result_rows[0]
    after = client.query(query).result_rows[0]

    assert with_settings == (7, 1000)
    assert after[0] != 7
    assert after[1] != 1000


def test_a_session_keeps_set_and_temporary_tables_and_others_do_not_see_them(
    client: Client, clickhouse_url: str
) -> None:
    client.command("set max_threads = 7")
    client.command("create temporary table mine (a UInt8)")
    client.insert("mine", [[3]], column_names=["a"], column_type_names=["UInt8"])

    query = "select getSetting('max_threads')"
    assert client.query(query, settings={"max_threads": 5}).result_rows == [(5,)]
    assert client.query(query).result_rows == [(7,)]
    assert client.query("select a from mine").result_rows == [(3,)]

    other = clickhouse_connect.get_client(dsn=clickhouse_url)
    assert other.query(query).result_rows != [(7,)]
    with pytest.raises(ClickHouseError, match="Code: 60"):
        other.query("select a from mine")
    other.close()


def test_a_setting_that_forbids_its_own_end_does_not_outlive_its_request(client: Client) -> None:
    assert client.query("select getSetting('readonly')", settings={"readonly": "1"}).result_rows == [(1,)]

    client.command("insert into interface_test.rows (number) values (1)")


def test_external_tables_are_sent_along(client: Client) -> None:
    prices = ExternalData(
        file_name="prices.csv", data=b"a,1.5\nb,2\n", fmt="CSV", structure=["name String", "p Float64"]
    )
    numbered = ExternalData(file_name="numbered.tsv", data=b"1\t2.50\n", fmt="TSV", types=["UInt8", "Decimal(10, 2)"])

    assert client.query("select name, p from prices order by p", external_data=prices).result_rows == [
        ("a", 1.5),
        ("b", 2.0),
    ]
    assert client.query("select _1, _2 from numbered", external_data=numbered).result_rows == [(1, Decimal("2.50"))]


_WRITE_AND_READ = """
import sys
import clickhouse_connect
client = clickhouse_connect.get_client(dsn=sys.stdin.readline().strip())
writer = int(sys.argv[1])
for block in range(10):
    rows = [[writer * 1_000_000 + block * 1000 + i] for i in range(1000)]
    client.insert("interface_test.rows", rows, column_names=["number"])
    client.query_df("select number, price from interface_test.rows")
count = client.command("select count() from interface_test.rows where intDiv(number, 1000000) = %d" % writer)
assert count == 10_000, count
"""


def test_four_processes_write_and_read_at_once(client: Client, clickhouse_url: str) -> None:
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", _WRITE_AND_READ, str(number)], cwd=PACKAGE_PARENT, stdin=subprocess.PIPE, text=True
        )
        for number in range(4)
    ]
    for process in processes:
        process.communicate(clickhouse_url + "\n", timeout=120)

    assert [process.returncode for process in processes] == [0, 0, 0, 0]
    assert client.query("select count(), uniqExact(number) from interface_test.rows").result_rows == [(40_000, 40_000)]


def test_more_requests_than_slots_wait_and_all_are_answered(clickhouse_url: str) -> None:
    answers: list[int] = []

    def ask(number: int) -> None:
        asking = clickhouse_connect.get_client(dsn=clickhouse_url)
        answers.append(int(str(asking.command(f"select {number} + sleep(0.1)"))))
        asking.close()

    threads = [threading.Thread(target=ask, args=(number,)) for number in range(40)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(timeout=60)

    assert sorted(answers) == list(range(40))


def _request(
    clickhouse_url: str, method: str, target: str, body: bytes = b"", headers: dict[str, str] | None = None
) -> tuple[int, dict[str, str], bytes]:
    parts = urlsplit(clickhouse_url)
    connection = http.client.HTTPConnection(parts.hostname or "", parts.port, timeout=20)
    try:
        connection.request(method, target, body, headers or {})
        answer = connection.getresponse()
        return answer.status, {name.lower(): value for name, value in answer.getheaders()}, answer.read()
    finally:
        connection.close()


def test_every_way_to_say_the_password_works_and_wrong_ones_are_refused(clickhouse_url: str) -> None:
    password = unquote(urlsplit(clickhouse_url).password or "")

    def basic(user: str, secret: str) -> dict[str, str]:
        return {"Authorization": "Basic " + base64.b64encode(f"{user}:{secret}".encode()).decode()}

    def ask(arguments: dict[str, str], headers: dict[str, str]) -> tuple[int, str | None]:
        status, answer_headers, _ = _request(clickhouse_url, "POST", f"/?{urlencode(arguments)}", b"select 1", headers)
        return status, answer_headers.get("x-clickhouse-exception-code")

    assert ask({}, basic("quantbot", password)) == (200, None)
    assert ask({}, {"X-ClickHouse-User": "quantbot", "X-ClickHouse-Key": password}) == (200, None)
    assert ask({"user": "quantbot", "password": password}, {}) == (200, None)
    assert ask({}, {}) == (401, "194")
    for arguments, headers in (
        ({}, basic("quantbot", "wrong")),
        ({}, basic("quantbot", "")),
        ({}, basic("default", password)),
        ({}, {"Authorization": "Basic !!!"}),
        ({}, {"Authorization": f"Bearer {password}"}),
        ({}, {"X-ClickHouse-User": "quantbot", "X-ClickHouse-Key": "wrong"}),
        ({"user": "quantbot"}, {}),
        ({"user": "quantbot", "password": "wröng"}, {}),
        # A right password in the URL does not help a wrong one in the header.
        ({"user": "quantbot", "password": password}, basic("quantbot", "wrong")),
    ):
        assert ask(arguments, headers) == (403, "516"), (arguments, headers)


def test_get_reads_only(client: Client, clickhouse_url: str) -> None:
    parts = urlsplit(clickhouse_url)
    headers = {"X-ClickHouse-User": parts.username or "", "X-ClickHouse-Key": unquote(parts.password or "")}

    def get(statement: str) -> tuple[int, dict[str, str], bytes]:
        return _request(clickhouse_url, "GET", f"/?{urlencode({'query': statement})}", headers=headers)

    status, answer_headers, body = get("select 1 format JSONEachRow")
    assert (status, body) == (200, b'{"1":1}\n')
    assert answer_headers["x-clickhouse-format"] == "JSONEachRow"
    assert answer_headers["x-clickhouse-timezone"] == "UTC"
    for statement in ("insert into interface_test.rows (number) values (1)", "drop table interface_test.rows"):
        status, answer_headers, _ = get(statement)
        assert (status, answer_headers["x-clickhouse-exception-code"]) == (500, "164")
    assert _count(client) == 0
    assert _request(clickhouse_url, "GET", "/ping")[2] == b"Ok.\n"
    assert _request(clickhouse_url, "GET", "/nope", headers=headers)[0] == 404


def test_malformed_requests_are_refused_and_the_server_goes_on(client: Client, clickhouse_url: str) -> None:
    parts = urlsplit(clickhouse_url)
    login = f"X-ClickHouse-User: {parts.username}\r\nX-ClickHouse-Key: {unquote(parts.password or '')}\r\n".encode()
    post = b"POST / HTTP/1.1\r\nHost: x\r\n" + login
    attacks = [
        b"\x00\xff\x16\x03\x01 garbage\r\n\r\n",
        b"GET\r\n\r\n",
        b"GET / HTTP/9.9\r\n\r\n",
        b"BREW / HTTP/1.1\r\n\r\n",
        b"GET /" + b"a" * 100_000 + b" HTTP/1.1\r\n\r\n",
        b"GET / HTTP/1.1\r\n" + b"X: y\r\n" * 500 + b"\r\n",
        b"GET /?" + b"&".join(b"a%d=1" % number for number in range(3000)) + b" HTTP/1.1\r\n" + login + b"\r\n",
        post + b"Content-Length: nonsense\r\n\r\n",
        post + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\nabcdef",
        post + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        post + b"Transfer-Encoding: chunked\r\n\r\nxyz\r\n",
        post + b"Content-Encoding: lz4\r\nContent-Length: 4\r\n\r\nabcd",
        post + b"Content-Type: multipart/form-data; boundary=b\r\nContent-Length: 4\r\n\r\nabcd",
        post + b"Content-Length: 0\r\n\r\n",
        post + b"Content-Length: 12\r\n\r\n\xff\xfe\x00 select 1",
        b"POST /?session_timeout=x&session_id=a HTTP/1.1\r\nContent-Length: 8\r\n" + login + b"\r\nselect 1",
        b"POST /?query_id=a%0d%0aSet-Cookie:b HTTP/1.1\r\nContent-Length: 8\r\n" + login + b"\r\nselect 1",
        b"POST /?no%27such+setting=1 HTTP/1.1\r\nContent-Length: 8\r\n" + login + b"\r\nselect 1",
    ]
    for attack in attacks:
        with socket.create_connection((parts.hostname or "", parts.port or 0), timeout=20) as connection:
            answer = b""
            # The server may hang up before it has read all of what it refuses.
            with contextlib.suppress(ConnectionResetError, BrokenPipeError):
                connection.sendall(attack)
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_WR)
                while piece := connection.recv(65536):
                    answer += piece
        is_accepted = answer.startswith(b"HTTP/1.1 200")
        assert is_accepted == (b"query_id" in attack), attack[:60]
        assert b"Traceback" not in answer
        assert b"\nSet-Cookie" not in answer

    assert client.query("select 1").result_rows == [(1,)]
