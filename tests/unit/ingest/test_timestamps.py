"""Instants out of text and numbers."""

from datetime import UTC, datetime

import pytest

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.timestamps import parse_instant, zone_named

INSTANT = datetime(2025, 12, 15, 12, 42, 42, tzinfo=UTC)


@pytest.mark.parametrize(
    "value",
    [
        # 2025-12-15T12:42:42Z is second 1765802562.
        1765802562,
        1765802562000,
        1765802562.0,
        "1765802562",
        " 1765802562000 ",
        "1.765802562e9",
        "2025-12-15T12:42:42Z",
        "2025-12-15 12:42:42.000Z",
        "2025-12-15 23:42:42+11",
        "2025-12-15T14:42:42+02:00",
    ],
)
def test_all_ways_to_write_one_instant_give_it(value: str | int | float) -> None:
    assert parse_instant(value) == INSTANT
    assert parse_instant(value).tzinfo is UTC


def test_microseconds_are_kept() -> None:
    expected = INSTANT.replace(microsecond=123456)
    assert parse_instant("2025-12-15T12:42:42.123456Z") == expected
    assert parse_instant("1765802562.123456") == expected
    assert parse_instant("1765802562123.456") == expected


@pytest.mark.parametrize(
    ("value", "reason"),
    [
        # Seconds that were taken for milliseconds: a day in January 1970.
        (1765802, "outside 2009 to 2099"),
        # Beyond nanoseconds.
        (1765802562000000000000, "outside 2009 to 2099 in seconds, ms, us and ns"),
        # Ends of the range, in seconds: 1230768000 <= t < 4102444800.
        (1230767999, "outside"),
        (4102444800, "outside"),
        ("2008-12-31T23:59:59Z", "outside"),
        ("2100-01-01T00:00:00Z", "outside"),
        ("0001-01-01T00:00:00+14:00", "outside"),
        ("", "empty"),
        ("yesterday", "not a time"),
        ("2025-02-30T00:00:00Z", "not a time"),
        (float("nan"), "not finite"),
        (float("inf"), "not finite"),
        ("2025-12-15", "no time of day"),
        ("-1765802562", "outside"),
    ],
)
def test_implausible_times_are_refused_with_the_reason(value: str | int | float, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        parse_instant(value)


@pytest.mark.parametrize("second", [1230768000, 4102444799])
def test_the_ends_of_the_range_are_allowed(second: int) -> None:
    assert parse_instant(second).timestamp() == second
    assert parse_instant(second * 1000).timestamp() == second
    assert parse_instant(second * 1_000_000).timestamp() == second
    assert parse_instant(second * 1_000_000_000).timestamp() == second


def test_microseconds_and_nanoseconds_are_read_by_magnitude() -> None:
    expected = INSTANT.replace(microsecond=123456)
    assert parse_instant("1765802562123456") == expected
    # Nanoseconds beyond a microsecond are cut off, never rounded up into a later one.
    assert parse_instant(1765802562123456999) == expected


def test_naive_time_needs_a_zone() -> None:
    with pytest.raises(DataError, match=r"states no zone.*--timezone"):
        parse_instant("2025-12-15 23:42:42")
    # Sydney is at UTC+11 in December.
    assert parse_instant("2025-12-15 23:42:42", zone_named("Australia/Sydney")) == INSTANT


def test_a_stated_offset_wins_over_the_zone_of_the_import() -> None:
    assert parse_instant("2025-12-15T12:42:42Z", zone_named("Australia/Sydney")) == INSTANT


def test_local_times_that_clock_changes_skip_or_repeat_are_refused() -> None:
    berlin = zone_named("Europe/Berlin")
    # Clocks went from 02:00 to 03:00 on 2025-03-30, and from 03:00 back to 02:00 on 2025-10-26.
    with pytest.raises(DataError, match="does not exist in Europe/Berlin"):
        parse_instant("2025-03-30T02:30:00", berlin)
    with pytest.raises(DataError, match="happens twice in Europe/Berlin"):
        parse_instant("2025-10-26T02:30:00", berlin)


def test_a_date_counts_as_its_midnight_only_where_that_is_asked_for() -> None:
    utc = zone_named("UTC")
    assert parse_instant("2025-12-15", utc, is_date_enough=True) == datetime(2025, 12, 15, tzinfo=UTC)


def test_unknown_zone_is_refused_by_name() -> None:
    for name in ("Mars/Olympus", "../etc/passwd", ""):
        with pytest.raises(DataError, match="is unknown"):
            zone_named(name)
