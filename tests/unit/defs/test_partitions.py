"""Keys of partitions, and boxes of range runs."""

from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbot_pipeline.defs.partitions import (
    calls_of_month,
    candles_around_month,
    check_months,
    cover_with_boxes,
    month_key,
    month_partitions,
    parse_month_key,
    parse_token_month_key,
    register_tokens,
    token_key,
    token_month_key,
    token_month_partitions,
)
from quantbot_pipeline.errors import ConfigError, InputError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.workflows.token_months import TokenMonth

# Mappings over two dimensions are "beta"; the versions are pinned (as in quantbot_pipeline.definitions).
pytestmark = pytest.mark.filterwarnings("ignore::dagster.BetaWarning")

BONK = TokenKey("binance", "BONK_USDT")
TOKENS = [TokenKey("binance", f"T{number}_USDT") for number in range(6)]


def test_key_of_a_token_month_reads_back() -> None:
    key = TokenMonth(BONK, "2025-03")
    assert token_month_key(key) == "2025-03-01|binance:BONK_USDT"
    assert parse_token_month_key(str(token_month_key(key))) == key


@pytest.mark.parametrize("address", ["A|B", "A,B", "A B", "A/B"])
def test_characters_that_partition_keys_stumble_over_are_refused(address: str) -> None:
    with pytest.raises(InputError, match="can't be a partition key"):
        token_key(TokenKey("binance", address))


def test_the_current_month_has_a_partition() -> None:
    partitions = token_month_partitions(load_settings(first_month="2025-01"))
    with dg.DagsterInstance.ephemeral() as instance:
        register_tokens(instance, [TokenMonth(BONK, "2025-01")])
        keys = partitions.get_partition_keys(dynamic_partitions_store=instance)
    assert keys[0] == "2025-01-01|binance:BONK_USDT"
    assert keys[-1] > "2026-01-01"


def test_tokens_are_registered_once_and_side_by_side_by_their_months() -> None:
    keys = [
        TokenMonth(TOKENS[0], "2025-02"),
        TokenMonth(TOKENS[1], "2025-01"),
        TokenMonth(TOKENS[2], "2025-02"),
        TokenMonth(TOKENS[2], "2025-01"),
    ]
    with dg.DagsterInstance.ephemeral() as instance:
        register_tokens(instance, keys)
        register_tokens(instance, keys)
        # first month, then last month: T1 (01-01), T2 (01-02), T0 (02-02)
        assert list(instance.get_dynamic_partitions("token")) == [
            "binance:T1_USDT",
            "binance:T2_USDT",
            "binance:T0_USDT",
        ]


def test_neighbours_with_the_same_months_share_a_box() -> None:
    keys = [TokenMonth(token, month) for token in TOKENS[:3] for month in ("2025-01", "2025-02")]
    (box,) = cover_with_boxes(keys, TOKENS)
    assert (box.first, box.last) == (keys[0], keys[-1])
    assert set(box.keys) == set(keys)


def test_a_token_far_away_in_time_gets_a_box_of_its_own() -> None:
    keys = [TokenMonth(TOKENS[0], "2018-01"), TokenMonth(TOKENS[1], "2025-01")]
    boxes = cover_with_boxes(keys, TOKENS)
    assert [(box.first, box.last) for box in boxes] == [(keys[0], keys[0]), (keys[1], keys[1])]


@given(
    st.sets(st.tuples(st.integers(0, 5), st.integers(1, 12)), min_size=1),
    st.integers(0, 12),
)
def test_boxes_hold_every_wanted_token_month_once(cells: set[tuple[int, int]], unwanted: int) -> None:
    keys = {TokenMonth(TOKENS[token], f"2025-{month:02d}") for token, month in cells}
    boxes = cover_with_boxes(keys, TOKENS, unwanted_per_box=unwanted)
    assert sorted(key for box in boxes for key in box.keys) == sorted(keys)
    for box in boxes:
        first, last = TOKENS.index(box.first.token), TOKENS.index(box.last.token)
        for key in box.keys:
            assert first <= TOKENS.index(key.token) <= last
            assert box.first.month <= key.month <= box.last.month


def test_a_month_before_the_first_partition_is_refused_with_the_setting_to_change() -> None:
    with pytest.raises(ConfigError, match="QUANTBOT_FIRST_MONTH=2014-12"):
        check_months([TokenMonth(BONK, "2014-12")], load_settings(first_month="2015-01"))


@pytest.mark.parametrize("key", ["2025-13-01", "March", ""])
def test_a_key_that_names_no_month_is_refused(key: str) -> None:
    with pytest.raises(InputError, match="YYYY-MM"):
        parse_month_key(key)


def test_a_months_key_is_its_first_day() -> None:
    assert month_key("2025-03") == "2025-03-01"
    assert parse_month_key("2025-03-01") == "2025-03"


@pytest.fixture
def products() -> Iterator[dg.MultiPartitionsDefinition]:
    """Two tokens in the five months from January 2025 on, to May."""
    with (
        dg.DagsterInstance.ephemeral() as instance,
        # The months end with the present, and the mapping asks for the one after.
        dg.partition_loading_context(effective_dt=datetime(2025, 5, 20, tzinfo=UTC), dynamic_partitions_store=instance),
    ):
        instance.add_dynamic_partitions("token", ["binance:A", "binance:B"])
        yield token_month_partitions(load_settings(first_month="2025-01"))


def _keys(subset: Any) -> list[str]:
    return sorted(str(key) for key in subset.get_partition_keys())


@pytest.mark.parametrize(
    ("month", "read"),
    [
        ("2025-03-01", ["2025-02-01", "2025-03-01", "2025-04-01"]),  # warm-up before, horizon after
        ("2025-01-01", ["2025-01-01", "2025-02-01"]),  # the first has nothing before
        ("2025-05-01", ["2025-04-01", "2025-05-01"]),  # the current one nothing after
    ],
)
def test_a_simulated_month_reads_candles_of_its_token_in_the_months_beside_it(
    products: dg.MultiPartitionsDefinition, month: str, read: list[str]
) -> None:
    asked = products.subset_with_partition_keys([f"{month}|binance:A"])
    found = candles_around_month().get_upstream_mapped_partitions_result_for_partitions(asked, products, products)
    assert _keys(found.partitions_subset) == [f"{key}|binance:A" for key in read]
    # Otherwise a run of an edge month would be refused.
    assert not _keys(found.required_but_nonexistent_subset)


def test_new_candles_reach_the_simulations_of_their_month_and_the_two_beside_it(
    products: dg.MultiPartitionsDefinition,
) -> None:
    new = products.subset_with_partition_keys(["2025-03-01|binance:B"])
    reached = candles_around_month().get_downstream_partitions_for_partitions(new, products, products)
    assert _keys(reached) == ["2025-02-01|binance:B", "2025-03-01|binance:B", "2025-04-01|binance:B"]


def test_a_simulated_month_reads_the_calls_of_its_month(products: dg.MultiPartitionsDefinition) -> None:
    months = month_partitions(load_settings(first_month="2025-01"))
    asked = products.subset_with_partition_keys(["2025-03-01|binance:A"])
    found = calls_of_month().get_upstream_mapped_partitions_result_for_partitions(asked, products, months)
    assert _keys(found.partitions_subset) == ["2025-03-01"]
    new = months.subset_with_partition_keys(["2025-02-01"])
    reached = calls_of_month().get_downstream_partitions_for_partitions(new, months, products)
    assert _keys(reached) == ["2025-02-01|binance:A", "2025-02-01|binance:B"]
