"""Token-months: windows and text forms."""

from datetime import UTC, datetime, timedelta, timezone

import pytest

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.workflows.token_months import (
    TokenMonth,
    deciding_months,
    format_token,
    month_of,
    next_month,
    parse_token,
)

BONK = TokenKey("binance", "BONK_USDT")


def test_window_of_december_ends_with_the_year() -> None:
    key = TokenMonth(BONK, "2024-12")
    assert (key.start, key.end) == (datetime(2024, 12, 1, tzinfo=UTC), datetime(2025, 1, 1, tzinfo=UTC))


def test_month_of_an_instant_is_its_utc_month() -> None:
    instant = datetime(2025, 2, 1, 0, 30, tzinfo=timezone(timedelta(hours=1)))
    assert month_of(instant) == "2025-01"


def test_months_around_the_turn_of_the_year_are_those_that_decide() -> None:
    assert next_month("2024-12") == "2025-01"
    assert [key.month for key in deciding_months(TokenMonth(BONK, "2024-12"))] == ["2024-11", "2024-12", "2025-01"]
    assert [key.month for key in deciding_months(TokenMonth(BONK, "2025-01"))] == ["2024-12", "2025-01", "2025-02"]


@pytest.mark.parametrize("month", ["2025-13", "2025-1", "25-01", "2025-01-01", ""])
def test_a_month_of_another_form_is_refused(month: str) -> None:
    with pytest.raises(InputError, match="YYYY-MM"):
        next_month(month)


def test_token_text_reads_back() -> None:
    assert parse_token(format_token(BONK)) == BONK


def test_a_token_without_chain_is_refused() -> None:
    with pytest.raises(InputError, match="chain:address"):
        parse_token("BONK_USDT")
