"""The daemon dies, stops or is cut off while a backfill is under way; started again, it brings it to its end."""

import os
import signal
import time
from collections.abc import Iterator

import pytest

from tests.faults.contents import Contents, differences, half_results
from tests.faults.daemon import DaemonWatch, empty_dagster, run_statuses
from tests.faults.home import FaultHome

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(900)]

MOMENTS = (
    # Steps of the daemon's own.
    "daemon before instance.update_backfill 1",
    "daemon after instance.update_backfill 1",
    "daemon before instance.create_run 1",
    "daemon after instance.create_run 1",
    "daemon before instance.submit_run 1",
    "daemon after instance.submit_run 1",
    "daemon before launcher.launch_run 1",
    "daemon after launcher.launch_run 1",
    # Steps of the run that it launched.
    "run after state.claim_runs 1",
    "run before history.insert_aggregates 1",
    "run after state.complete_runs 1",
    "run before history.publish 1",
)
FAULTS = ("kill", "term", "stop", "reset", "full-disk")
_STOPPED_SECONDS = 30.0


@pytest.fixture
def watch(fault_home: FaultHome) -> Iterator[DaemonWatch]:
    """A home with calls and candles, and a backfill that was asked for."""
    fault_home.empty()
    empty_dagster(fault_home)
    victim = fault_home.start(fault_home.steps[:2], with_moments=False)
    assert victim.finish() == 0, victim.text
    watch = DaemonWatch(fault_home)
    try:
        _ask(watch)
        yield watch
    finally:
        watch.close()


def _ask(watch: DaemonWatch) -> None:
    watch.request_backfill(["2025-03"], ["conservative-24h", "quick"])


def _disturb(fault: str, moment: str, watch: DaemonWatch, undisturbed: Contents) -> None:
    home = watch.home
    with home.relays() as relays:
        daemon = watch.start(relays=relays if fault == "reset" else None)
        assert watch.moments.pump(120, moment), (
            f"{moment!r} was never reached: {watch.moments.passed[-20:]}\n{daemon.text}"
        )
        if fault == "kill":
            os.kill(daemon.pid, signal.SIGKILL)
        elif fault == "term":
            os.kill(daemon.pid, signal.SIGTERM)
        elif fault == "stop":
            os.kill(daemon.pid, signal.SIGSTOP)
            watch.moments.pump(_STOPPED_SECONDS)
            os.kill(daemon.pid, signal.SIGCONT)
        elif fault == "reset":
            relays["postgres"].reset()
        if fault == "full-disk":
            with home.full_disk("daemon"):
                watch.moments.pump(5)
        watch.moments.pump(2)
        assert half_results(home.contents(), undisturbed) == []
        if fault in ("kill", "term"):
            _wait_for_end(watch, daemon.pid)
            watch.start()
        status = watch.wait_for_backfill()
        if fault == "stop" and not watch.is_done(status):
            # Dagster gives the process that loaded the code 20 s without a sign of its daemon. A run that is launched
            # when it is gone fails, for all to see, and the backfill with it: somebody asks for it again.
            assert half_results(home.contents(), undisturbed) == []
            os.kill(daemon.pid, signal.SIGTERM)
            _wait_for_end(watch, daemon.pid)
            watch.start()
            _ask(watch)
            status = watch.wait_for_backfill()
    assert watch.is_done(status), f"{status}, runs {run_statuses(home)}\n{daemon.text[-4000:]}"
    last = home.start([*home.steps[2:], ["verify", "verify"]], with_moments=False)
    assert last.finish() == 0, last.text
    assert differences(home.contents(), undisturbed) == []


def _wait_for_end(watch: DaemonWatch, pid: int) -> None:
    deadline = time.monotonic() + 60
    while watch.home.forker.wait(pid, 0) is None:
        assert time.monotonic() < deadline, "the daemon did not end in a minute"
        watch.moments.pump(0.2)


@pytest.mark.deep
@pytest.mark.parametrize("moment", MOMENTS, ids=lambda moment: moment.replace(" ", "-"))
@pytest.mark.parametrize("fault", FAULTS)
def test_a_backfill_survives_every_fault_of_the_daemon(
    fault: str, moment: str, watch: DaemonWatch, undisturbed: Contents
) -> None:
    if fault == "full-disk" and not watch.home.has_small_disks:
        pytest.skip("a small disk to fill is a tmpfs, which this account may not mount; run as root")
    _disturb(fault, moment, watch, undisturbed)
