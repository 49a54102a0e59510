"""Asset checks see sums that do not hold."""

from datetime import UTC, datetime

import dagster as dg
import pytest

from quantbot_pipeline.defs.checks import alert_counts_add_up, every_alert_has_its_call, judge_coverage
from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.records import CallerKey, CallRow
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


BONK, PEPE = TokenKey("binance", "BONK_USDT"), TokenKey("binance", "PEPE_USDT")
MARCH = int(datetime(2025, 3, 1, tzinfo=UTC).timestamp())


def _call(token: TokenKey, second: int, signal_type: SignalType = SignalType.ENTRY) -> CallRow:
    return CallRow(
        call_id=1,
        token_id=1,
        token=token,
        caller_id=1,
        caller=CallerKey("file", "anna"),
        side=Side.BUY,
        signal_type=signal_type,
        signal_timestamp=datetime.fromtimestamp(MARCH + second, UTC),
        alert_price=None,
        alert_market_cap=None,
    )


def test_calls_outside_the_candles_of_their_token_are_counted_by_why() -> None:
    # Candles of 5m from second 100 to 200 and of 1m from 300 to 400: one span from 100 to 400.
    coverage = [
        {"chain": "binance", "token_address": "BONK_USDT", "first_s": MARCH + first, "last_s": MARCH + first + 100}
        for first in (100, 300)
    ]
    calls = [
        *(_call(BONK, second) for second in (99, 100, 250, 400, 401)),
        _call(PEPE, 250),
        # Opens no trade.
        _call(PEPE, 250, SignalType.EXIT),
    ]
    result = judge_coverage(calls, coverage)
    assert (result.passed, result.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert result.description == "3 of 6 calls have no candles of their time"
    assert {name: value.value for name, value in result.metadata.items()} == {
        "covered": 3,
        "before_candles": 1,
        "after_candles": 1,
        "without_candles": 1,
    }
    assert judge_coverage(calls[1:4], coverage).passed
