"""Asset checks see sums that do not hold."""

import pytest

from quantbot_pipeline.defs.checks import alert_counts_add_up, every_alert_has_its_call
from tests.orchestration.fake_state import FakeState


def _alert_counts(*, read: int, stored: int, duplicate: int, quarantined: int, alerts: int) -> FakeState:
    return FakeState(
        alerts=alerts,
        alert_rows_read=read,
        alert_rows_stored=stored,
        alert_rows_duplicate=duplicate,
        alert_rows_quarantined=quarantined,
    )


@pytest.mark.parametrize(
    ("read", "stored", "alerts", "passes"),
    [
        (10, 7, 7, True),
        (11, 7, 7, False),  # a row was read and is nowhere
        (10, 7, 6, False),  # a row counted as stored is not in the table
    ],
)
def test_alert_rows_add_up(read: int, stored: int, alerts: int, passes: bool) -> None:
    state = _alert_counts(read=read, stored=stored, duplicate=2, quarantined=1, alerts=alerts)
    assert alert_counts_add_up(state_store=state).passed is passes


@pytest.mark.parametrize(("calls", "passes"), [(7, True), (6, False)])
def test_every_alert_has_its_call(calls: int, passes: bool) -> None:
    assert every_alert_has_its_call(state_store=FakeState(alerts=7, calls=calls)).passed is passes
