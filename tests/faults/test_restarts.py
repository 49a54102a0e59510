"""Servers that are in the midst of their end, or stopped, when somebody wants to use them."""

import http.client
import os
import signal
import socket
import struct
import time
from contextlib import closing
from urllib.parse import urlsplit

import clickhouse_connect
import psycopg
import pytest

from quantbot_pipeline.servers.embedded import embedded_clickhouse
from tests.faults.home import FaultHome, send, wait_until

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("faults")]

# Postgres lets its clients finish for a while; with the next start, on a busy machine.
_SOON_SECONDS = 25.0


def _answers(home: FaultHome) -> float:
    """Ask both servers something, and return after how many seconds both answered."""
    started = time.monotonic()
    urls = home.urls()
    with psycopg.connect(urls.postgres) as postgres:
        assert postgres.execute("select 1").fetchone() == (1,)
    with closing(clickhouse_connect.get_client(dsn=urls.clickhouse)) as clickhouse:
        assert clickhouse.query("select 1").result_rows == [(1,)]
    return time.monotonic() - started


def test_postgres_that_waits_for_its_clients_to_leave_is_ended_and_started_again(fault_home: FaultHome) -> None:
    """SIGTERM is its smart shutdown: it lets nobody in any more and ends when the last client has gone, if ever."""
    with psycopg.connect(fault_home.urls().postgres, autocommit=True):
        first = fault_home.pids("postgres")[0]
        os.kill(first, signal.SIGTERM)
        assert _answers(fault_home) < _SOON_SECONDS
        assert fault_home.pids("postgres")[0] != first


@pytest.mark.parametrize("server", ["postgres", "clickhouse"])
def test_a_server_that_is_just_ending_is_started_again_at_once(server: str, fault_home: FaultHome) -> None:
    fault_home.urls()
    first = fault_home.pids(server)[0]
    os.kill(first, signal.SIGTERM)
    assert _answers(fault_home) < _SOON_SECONDS
    assert fault_home.pids(server)[0] != first


@pytest.mark.parametrize("server", ["postgres", "clickhouse"])
def test_a_stopped_server_is_waited_for(server: str, fault_home: FaultHome) -> None:
    fault_home.urls()
    pids = fault_home.pids(server)
    send(pids, signal.SIGSTOP)
    try:
        victim = fault_home.start(fault_home.steps[-1:], with_moments=False)
        time.sleep(1.0)
    finally:
        send(pids, signal.SIGCONT)
    assert victim.finish() == 0, victim.text
    assert fault_home.pids(server)[0] == pids[0]


def test_a_client_that_is_cut_off_between_requests_is_one_line_in_the_log(fault_home: FaultHome) -> None:
    log = embedded_clickhouse(fault_home.settings).layout.log_file
    port = urlsplit(fault_home.urls().clickhouse).port
    before = log.stat().st_size
    client = http.client.HTTPConnection("127.0.0.1", port, timeout=10)
    client.request("GET", "/ping")
    assert client.getresponse().read() == b"Ok.\n"
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    client.close()

    def new_text() -> str:
        return log.read_bytes()[before:].decode()

    wait_until(lambda: "a client went away" in new_text(), 10, "the line in the log")
    assert "Traceback" not in new_text()
