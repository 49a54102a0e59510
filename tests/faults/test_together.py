"""Several processes at once on one home: two of one job, and many writers."""

import json
import os
import signal
import time
from contextlib import closing
from pathlib import Path

import clickhouse_connect
import psycopg
import pytest

from tests.faults.contents import Contents, differences
from tests.faults.home import FaultHome, Victim
from tests.faults.writers import ROWS_PER_INSERT

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.xdist_group("faults")]

CLAIMED = "simulate after state.claim_runs 1"
EVENTS_STORED = "simulate after history.insert_events 1"


def _prepare(home: FaultHome) -> list[list[str]]:
    """Ingest, and return the steps from the simulation on."""
    home.empty()
    victim = home.start(home.steps[:2], with_moments=False)
    assert victim.finish() == 0, victim.text
    return home.steps[2:]


def _expect_undisturbed(home: FaultHome, steps: list[list[str]], undisturbed: Contents) -> None:
    last = home.start([*steps, ["verify", "verify"]], with_moments=False)
    assert last.finish() == 0, last.text
    assert differences(home.contents(), undisturbed) == []


def _end_well(*victims: Victim) -> None:
    for victim in victims:
        code = victim.finish()
        assert code == 0, f"exit code {code}\n{victim.text}"


@pytest.mark.parametrize("moment", [CLAIMED, pytest.param(EVENTS_STORED, marks=pytest.mark.deep)])
def test_two_backfills_of_the_same_partitions_store_each_run_once(
    moment: str, fault_home: FaultHome, undisturbed: Contents
) -> None:
    steps = _prepare(fault_home)
    first = fault_home.start(steps[:1])
    assert first.run_to(moment)
    second = fault_home.start(steps[:1], with_moments=False)
    # Time for the second one to get where it waits or works; what it does there is the same in the end.
    time.sleep(1.5)
    first.go_on()
    _end_well(first, second)
    _expect_undisturbed(fault_home, steps, undisturbed)


@pytest.mark.parametrize("moment", [CLAIMED, pytest.param(EVENTS_STORED, marks=pytest.mark.deep)])
def test_a_backfill_goes_on_when_the_one_it_waits_for_is_killed(
    moment: str, fault_home: FaultHome, undisturbed: Contents
) -> None:
    steps = _prepare(fault_home)
    first = fault_home.start(steps[:1])
    assert first.run_to(moment)
    second = fault_home.start(steps[:1], with_moments=False)
    time.sleep(1.5)
    os.kill(first.pid, signal.SIGKILL)
    assert first.finish() == -signal.SIGKILL
    _end_well(second)
    _expect_undisturbed(fault_home, steps, undisturbed)


@pytest.mark.deep
def test_a_backfill_that_was_stopped_for_a_while_doubles_nothing_when_it_goes_on(
    fault_home: FaultHome, undisturbed: Contents
) -> None:
    steps = _prepare(fault_home)
    first = fault_home.start(steps[:1])
    assert first.run_to(CLAIMED)
    os.kill(first.pid, signal.SIGSTOP)
    second = fault_home.start(steps[:1], with_moments=False)
    time.sleep(3.0)
    os.kill(first.pid, signal.SIGCONT)
    first.go_on()
    _end_well(first, second)
    _expect_undisturbed(fault_home, steps, undisturbed)


@pytest.mark.parametrize("seconds", [5.0, pytest.param(60.0, marks=pytest.mark.deep)])
def test_eight_processes_write_at_once_without_an_error_or_a_lost_row(
    seconds: float, fault_home: FaultHome, tmp_path: Path
) -> None:
    fault_home.empty()
    reports = [tmp_path / f"{number}.json" for number in range(8)]
    writers = [fault_home.start_writer(number, seconds, report) for number, report in enumerate(reports)]
    _end_well(*writers)
    rounds = {number: json.loads(report.read_text())["rounds"] for number, report in enumerate(reports)}
    assert min(rounds.values()) > 0
    urls = fault_home.urls()
    with psycopg.connect(urls.postgres) as postgres:
        stored = postgres.execute(
            "select split_part(address, '_', 1), count(*) from tokens where address like 'W%' group by 1"
        ).fetchall()
    assert dict(stored) == {f"W{number}": count for number, count in rounds.items()}
    with closing(clickhouse_connect.get_client(dsn=urls.clickhouse)) as clickhouse:
        counts = clickhouse.query(
            "select startsWith(token_address, 'W') as is_own, count() from ohlcv_candles final group by is_own"
        ).result_rows
    hours = min(20, max(rounds.values()))
    assert dict(counts) == {1: sum(rounds.values()) * ROWS_PER_INSERT, 0: hours * ROWS_PER_INSERT}
