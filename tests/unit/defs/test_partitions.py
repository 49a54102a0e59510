"""Keys of partitions, and boxes of range runs."""

import dagster as dg
import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbot_pipeline.defs.partitions import (
    check_months,
    cover_with_boxes,
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
