"""A disk without a byte of room: what could not be stored is refused, never reported as stored."""

from collections.abc import Iterator
from contextlib import closing

import clickhouse_connect
import pyarrow as pa
import pytest
from clickhouse_connect.driver.client import Client
from clickhouse_connect.driver.exceptions import ClickHouseError

from tests.faults.home import FaultHome

pytestmark = [pytest.mark.server, pytest.mark.xdist_group("faults")]


@pytest.fixture
def client(fault_home: FaultHome) -> Iterator[Client]:
    """A client of ClickHouse, with an empty table `numbers`."""
    if not fault_home.has_small_disks:
        pytest.skip("a small disk to fill is a tmpfs, which this account may not mount; run as root")
    with closing(clickhouse_connect.get_client(dsn=fault_home.urls().clickhouse)) as client:
        client.command("create or replace table numbers (a UInt64) engine = MergeTree order by a")
        yield client
        client.command("drop table numbers")


@pytest.mark.parametrize("count", [10, 200_000])
def test_an_insert_into_a_full_disk_is_refused_in_every_form(count: int, fault_home: FaultHome, client: Client) -> None:
    """The engine's own way to insert piece by piece said that all rows were written."""
    table = pa.table({"a": pa.array(range(count), pa.uint64())})
    with fault_home.full_disk("clickhouse"):
        with pytest.raises(ClickHouseError, match="NOT_ENOUGH_SPACE"):
            client.insert_arrow("numbers", table)
        with pytest.raises(ClickHouseError, match="NOT_ENOUGH_SPACE"):
            client.insert("numbers", [[number] for number in range(count)], column_names=["a"])
        with pytest.raises(ClickHouseError, match="NOT_ENOUGH_SPACE"):
            client.command("insert into numbers values (1), (2)")
    assert client.query("select count() from numbers").result_rows == [(0,)]
    # With room again, the same server stores.
    client.insert_arrow("numbers", table)
    assert client.query("select count() from numbers").result_rows == [(count,)]
