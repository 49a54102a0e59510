"""A fault at a moment of the job, then the same commands again: nothing half is seen, and nothing is lost or doubled.

Each case is a process (the job's own, Postgres, the owner of ClickHouse), what happens to it, and the moment between
two steps of the job at which it happens. Afterwards the servers are started again, readers are asked what they see, the
same commands are run again, and all tables and views are compared with those of an undisturbed job, bit for bit.
"""

import itertools

import pytest

from tests.faults.contents import Contents
from tests.faults.faults import SERVERS, TARGETS, Case, check
from tests.faults.home import FaultHome

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(400)]

MOMENTS = (
    # Ingest: inside the transaction that counts, before and after the insert, when the import is completed.
    "candles after postgres:imports/insert_staged_batches 2",
    "candles before clickhouse:+ohlcv_candles 3",
    "candles after clickhouse:+ohlcv_candles 4",
    "candles after postgres:imports/complete_imports 2",
    # Alerts and their calls.
    "alerts after postgres:alerts/insert_staged_alerts 1",
    "alerts after state.store_alerts 1",
    "alerts before postgres:calls/insert_derivation 1",
    # Simulation: claimed, half of the rows there, inside the transaction that completes, completed and not mirrored.
    "simulate after state.claim_runs 1",
    "simulate before clickhouse:+simulation_aggregates 1",
    "simulate after postgres:runs/insert_staged_summaries 2",
    "simulate after state.complete_runs 2",
    "simulate after clickhouse:+published_calls 1",
    # Search: between its runs and its trials, and before its end.
    "search after state.claim_runs 2",
    "search before state.store_trials 2",
    "search before state.finish_job 1",
    # Training: features, the file, the registration before the scores.
    "train before clickhouse:+ml_features 1",
    "train after files.save_model 1",
    "train after state.register_model 1",
    # The views.
    "aggregate before clickhouse:int_trades 1",
)

FAULTS_OF_ALL = ("kill", "term", "reset", "full-disk")

# A COMMIT, or an insert, whose answer never arrives: the client can't know that it was done.
LOST_ANSWERS = {
    "postgres": (
        "candles before state.begin_batches 3",
        "candles before state.finish_batches 3",
        "alerts before state.store_alerts 1",
        "alerts before state.derive_calls 1",
        "simulate before state.claim_runs 1",
        "simulate before state.complete_runs 1",
        "search before state.create_job 1",
        "search before state.store_trials 1",
        "search before state.finish_job 1",
        "train before state.register_model 2",
    ),
    "clickhouse": (
        "candles before clickhouse:+ohlcv_candles 3",
        "simulate before clickhouse:+simulation_events 1",
        "simulate before clickhouse:+simulation_aggregates 2",
        "simulate before clickhouse:+published_calls 1",
        "simulate before clickhouse:+published_runs 1",
        "search before clickhouse:+simulation_events 2",
        "train before clickhouse:+ml_features 1",
        "train before clickhouse:features/load_features 1",
        "train before clickhouse:+ml_scores 1",
        "aggregate before clickhouse:int_trades 1",
    ),
}

CHOSEN = (
    Case("process", "kill", "candles after clickhouse:+ohlcv_candles 4"),
    Case("process", "kill", "simulate after state.complete_runs 2"),
    Case("postgres", "kill", "alerts after postgres:alerts/insert_staged_alerts 1"),
    Case("postgres", "reset", "candles before clickhouse:+ohlcv_candles 3"),
    Case("postgres", "lost-answer", "simulate before state.complete_runs 1"),
    Case("postgres", "full-disk", "candles after postgres:imports/insert_staged_batches 2"),
    Case("clickhouse", "kill", "simulate before clickhouse:+simulation_aggregates 1"),
    Case("clickhouse", "full-disk", "candles before clickhouse:+ohlcv_candles 3"),
)

_STOPPED_SECONDS = 30.0

_all = [
    *itertools.starmap(Case, itertools.product(TARGETS, FAULTS_OF_ALL, MOMENTS)),
    *(Case("postgres", "kill-backends", moment) for moment in MOMENTS),
    *(Case(target, "lost-answer", moment) for target in SERVERS for moment in LOST_ANSWERS[target]),
    *(Case(target, "stop", moment, _STOPPED_SECONDS) for target in TARGETS for moment in MOMENTS[::2]),
]
# Of all, those that are not run each time.
DEEP = [case for case in _all if case not in CHOSEN]


def _name(case: Case) -> str:
    return str(case).replace(" ", "-").replace("/", ".")


@pytest.mark.xdist_group("faults")
@pytest.mark.parametrize("case", CHOSEN, ids=_name)
def test_the_job_run_again_after_a_fault_stores_what_an_undisturbed_one_does(
    case: Case, fault_home: FaultHome, undisturbed: Contents
) -> None:
    _run(case, fault_home, undisturbed)


@pytest.mark.deep
@pytest.mark.parametrize("case", DEEP, ids=_name)
def test_the_job_survives_every_fault_at_every_moment(case: Case, fault_home: FaultHome, undisturbed: Contents) -> None:
    _run(case, fault_home, undisturbed)


def _run(case: Case, home: FaultHome, undisturbed: Contents) -> None:
    if case.fault == "full-disk" and not home.has_small_disks:
        pytest.skip("a small disk to fill is a tmpfs, which this account may not mount; run as root")
    check(case, home, undisturbed)
