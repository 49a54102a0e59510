"""One search, stopped again and again in a process of its own, and gone on with by `--resume`: nothing lost or doubled.

The other kills of a search, and those of servers under it, are in `test_faults.py`; there the same command goes on.
"""

import signal

import pytest

from tests.faults.contents import Contents, differences
from tests.faults.home import FaultHome, Victim, send

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(400), pytest.mark.xdist_group("faults")]

# Each is reached by the process that goes on after the one before; of four trials two are stored at once.
STOPS = [
    (signal.SIGKILL, "search after state.complete_runs 1"),
    (signal.SIGTERM, "search before state.store_trials 2"),
    (signal.SIGINT, "search before clickhouse:+simulation_events 1"),
]
MORE_STOPS = [
    (signal.SIGKILL, "search after state.create_job 1"),
    (signal.SIGINT, "search after state.claim_runs 1"),
    (signal.SIGKILL, "search before postgres:runs/insert_staged_summaries 1"),
    (signal.SIGKILL, "search after postgres:runs/insert_staged_summaries 1"),
    (signal.SIGKILL, "search before state.store_trials 1"),
    (signal.SIGKILL, "search after state.store_trials 1"),
    (signal.SIGKILL, "search before clickhouse:+simulation_events 1"),
    (signal.SIGKILL, "search after clickhouse:+simulation_events 1"),
    (signal.SIGINT, "search after clickhouse:+simulation_aggregates 1"),
    (signal.SIGTERM, "search before state.finish_job 1"),
    (signal.SIGKILL, "search before state.finish_job 1"),
    (signal.SIGKILL, "search after state.finish_job 1"),
]
RESUME = ["search", "optimize", "--resume", "1", "--json"]


@pytest.mark.parametrize("stops", [STOPS, pytest.param(MORE_STOPS, marks=pytest.mark.deep)], ids=["some", "others"])
def test_a_search_that_is_stopped_again_and_again_ends_as_an_undisturbed_one(
    stops: list[tuple[signal.Signals, str]], fault_home: FaultHome, undisturbed: Contents
) -> None:
    fault_home.empty()
    _end_well(fault_home.start(fault_home.steps[:3], with_moments=False))
    step = fault_home.steps[3]
    for number, moment in stops:
        victim = fault_home.start([step])
        assert victim.run_to(moment), f"{moment!r} was never reached:\n{victim.text}"
        send([victim.pid], number)
        victim.go_on()
        _expect_stopped(victim, number)
        step = RESUME
    _end_well(fault_home.start([step, *fault_home.steps[4:], ["verify", "verify"]], with_moments=False))
    assert differences(fault_home.contents(), undisturbed) == []


def _expect_stopped(victim: Victim, number: signal.Signals) -> None:
    code = victim.finish()
    assert "Traceback" not in victim.text
    if number == signal.SIGKILL:
        assert code == -number, victim.text
        return
    assert code == 128 + number, victim.text
    # Before it, on the first day of an installation, that the engine was compiled.
    told = victim.text.splitlines()[-1]
    assert told.startswith("stopped search 1 after "), victim.text
    assert told.endswith(" of 4 trials; go on with the same command, or with: quantbot optimize --resume 1"), (
        victim.text
    )


def _end_well(victim: Victim) -> None:
    code = victim.finish()
    assert code == 0, f"exit code {code}\n{victim.text}"
