"""Which token-months the nightly schedule finds behind what they read."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from quantbot_pipeline.defs.due_partitions import Recorded, find_due, is_told
from quantbot_pipeline.defs.partitions import token_month_key
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.workflows.token_months import TokenMonth

A, B = TokenKey("binance", "A_USDT"), TokenKey("binance", "B_USDT")
MARCH = TokenMonth(A, "2025-03")
NOON = datetime(2025, 5, 1, 12, tzinfo=UTC)


def _key(month: str, token: TokenKey = A) -> str:
    return str(token_month_key(TokenMonth(token, month)))


# Candles first (id 1), then calls (2), then a run that began (3) and ended (4).
UP_TO_DATE = Recorded(
    candles={_key("2025-03"): 1},
    calls={"2025-03-01": 2},
    simulated={_key("2025-03"): 4},
    began={_key("2025-03"): 3},
    recorded_at={_key("2025-03"): NOON},
)


def test_what_saw_everything_is_not_due() -> None:
    assert find_due([MARCH], UP_TO_DATE, ()) == {}


def test_what_was_never_simulated_is_due() -> None:
    assert find_due([MARCH], replace(UP_TO_DATE, simulated={}, began={}), ()) == {MARCH: "never simulated"}


@pytest.mark.parametrize("month", ["2025-02", "2025-03", "2025-04"])
def test_new_candles_of_the_month_or_one_beside_it_make_due(month: str) -> None:
    recorded = replace(UP_TO_DATE, candles={**UP_TO_DATE.candles, _key(month): 5})
    assert find_due([MARCH], recorded, ()) == {MARCH: "new candles"}


@pytest.mark.parametrize("key", [_key("2025-01"), _key("2025-05"), _key("2025-03", B)])
def test_candles_farther_away_or_of_another_token_do_not(key: str) -> None:
    assert find_due([MARCH], replace(UP_TO_DATE, candles={**UP_TO_DATE.candles, key: 5}), ()) == {}


def test_the_month_before_january_is_december() -> None:
    january = TokenMonth(A, "2025-01")
    recorded = replace(
        UP_TO_DATE,
        candles={_key("2025-01"): 1, _key("2024-12"): 5},
        simulated={_key("2025-01"): 4},
        began={},
    )
    assert find_due([january], recorded, ()) == {january: "new candles"}


def test_candles_that_came_while_the_run_was_under_way_were_not_seen() -> None:
    recorded = replace(
        UP_TO_DATE, candles={_key("2025-03"): 4}, simulated={_key("2025-03"): 5}, began={_key("2025-03"): 3}
    )
    assert find_due([MARCH], recorded, ()) == {MARCH: "new candles"}


def test_a_later_run_that_failed_says_nothing_of_the_one_before() -> None:
    # Planned at 6, and never materialised: the run of 4 still stands.
    assert find_due([MARCH], replace(UP_TO_DATE, planned={_key("2025-03"): 6}), ()) == {}


def test_new_calls_of_the_month_make_due() -> None:
    assert find_due([MARCH], replace(UP_TO_DATE, calls={"2025-03-01": 5}), ()) == {MARCH: "new calls"}
    assert find_due([MARCH], replace(UP_TO_DATE, calls={"2025-03-01": 2, "2025-04-01": 5}), ()) == {}


def test_runs_of_other_strategies_or_another_engine_are_due() -> None:
    assert find_due([MARCH], UP_TO_DATE, {MARCH}) == {MARCH: "other strategies, engine or scores"}


def test_calls_without_candles_wait_for_them() -> None:
    assert find_due([MARCH], replace(UP_TO_DATE, candles={_key("2025-02"): 1}, simulated={}), ()) == {}
    # A trade of a call at the end of the month begins in the next.
    assert find_due([MARCH], replace(UP_TO_DATE, candles={_key("2025-04"): 1}, simulated={}), ()) == {
        MARCH: "never simulated"
    }


def test_told_is_what_was_recorded_after_its_runs_and_all_that_they_read() -> None:
    assert is_told(MARCH, NOON, UP_TO_DATE)
    # Its runs became what they are after that: the process that made them was killed before it recorded them.
    assert not is_told(MARCH, NOON + timedelta(seconds=1), UP_TO_DATE)
    assert not is_told(MARCH, NOON, replace(UP_TO_DATE, simulated={}, began={}, recorded_at={}))
    # The same candles and calls were stored again: nothing is stale, and what is recorded says otherwise.
    assert not is_told(MARCH, NOON, replace(UP_TO_DATE, candles={_key("2025-04"): 5}))
    assert not is_told(MARCH, NOON, replace(UP_TO_DATE, calls={"2025-03-01": 5}))
    # Shown as failed, though its runs are whole.
    assert not is_told(MARCH, NOON, replace(UP_TO_DATE, planned={_key("2025-03"): 5}))
    assert is_told(MARCH, NOON, replace(UP_TO_DATE, planned={_key("2025-03"): 3}))
    # A token-month whose calls ask for nothing has no runs, and is recorded once.
    assert is_told(MARCH, None, UP_TO_DATE)


def test_a_month_without_recorded_candles_is_told_once_too() -> None:
    assert is_told(MARCH, NOON, replace(UP_TO_DATE, candles={}))
