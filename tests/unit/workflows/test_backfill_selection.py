"""Selectors of a backfill: lists, globs, ranges, and what is refused."""

import re

import pytest

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.workflows.backfill_selection import (
    Selection,
    check_form,
    select_strategies,
    select_token_months,
)
from quantbot_pipeline.workflows.token_months import TokenMonth

BONK, PEPE = TokenKey("binance", "BONK_USDT"), TokenKey("binance", "PEPE_USDT")
SOL = TokenKey("solana", "DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263")
KNOWN = [TokenMonth(token, month) for token in (BONK, PEPE, SOL) for month in ("2025-01", "2025-02", "2025-12")]


def selected(tokens: str = "all", months: str = "all") -> set[tuple[str, str]]:
    keys = select_token_months(Selection.of([tokens], [months]), KNOWN)
    assert keys == sorted(keys)
    return {(key.token.address[:4], key.month) for key in keys}


def test_without_selectors_everything_is_selected() -> None:
    assert select_token_months(Selection.of(), KNOWN) == sorted(KNOWN)
    assert len(selected()) == 9


@pytest.mark.parametrize(
    ("tokens", "months", "expected"),
    [
        ("binance:BONK_USDT", "2025-01", {("BONK", "2025-01")}),
        (" binance:BONK_USDT , binance:PEPE_USDT", "2025-12", {("BONK", "2025-12"), ("PEPE", "2025-12")}),
        ("binance:*", "2025-12", {("BONK", "2025-12"), ("PEPE", "2025-12")}),
        ("*:*[BP]*_USDT", "2025-12", {("BONK", "2025-12"), ("PEPE", "2025-12")}),
        ("binance:B*", "2025-0*", {("BONK", "2025-01"), ("BONK", "2025-02")}),
        # A range may begin and end in months without calls.
        ("binance:B*", "2024-06..2025-02", {("BONK", "2025-01"), ("BONK", "2025-02")}),
        ("binance:B*", "2025-02..2025-02", {("BONK", "2025-02")}),
        ("binance:B*", "2025-01,2025-11..2026-03", {("BONK", "2025-01"), ("BONK", "2025-12")}),
        ("binance:B*,all", "2025-01", {("BONK", "2025-01"), ("PEPE", "2025-01"), ("DezX", "2025-01")}),
    ],
)
def test_selectors_are_lists_globs_and_ranges(tokens: str, months: str, expected: set[tuple[str, str]]) -> None:
    assert selected(tokens, months) == expected


def test_a_token_is_found_in_whatever_case_its_chain_writes_it() -> None:
    token = TokenKey("ethereum", "0x6982508145454ce325ddbe47a25d4ec3d2311933")
    selection = Selection.of(["ethereum:0x6982508145454CE325dDbE47a25d4ec3d2311933"])
    assert select_token_months(selection, [TokenMonth(token, "2025-01")]) == [TokenMonth(token, "2025-01")]


@pytest.mark.parametrize(
    ("tokens", "months", "parts"),
    [
        ("binance:BONK_USD", "all", ["--tokens", "'binance:BONK_USD'", "matches nothing", "binance:BONK_USDT"]),
        ("kraken:*", "all", ["--tokens", "'kraken:*'"]),
        # PEPE has no calls then, and one selector of a list that matches nothing is refused too.
        ("all", "2025-01,2031-01", ["--months", "'2031-01'", "2025-12"]),
        ("all", "2020-01..2020-12", ["--months", "matches nothing"]),
        ("BONK", "all", ["'BONK'", "chain:address"]),
        ("all", "2025-13", ["'2025-13'", "YYYY-MM"]),
        ("all", "2025-06..2025-01", ["ends before it begins"]),
        ("all", "2025-06..", ["'2025-06..'", "FIRST..LAST", "2025-01..2025-06"]),
        ("all", "..2025-06", ["'..2025-06'", "FIRST..LAST"]),
    ],
)
def test_a_selector_that_matches_nothing_is_refused_with_what_is_near(
    tokens: str, months: str, parts: list[str]
) -> None:
    with pytest.raises(InputError) as refused:
        selected(tokens, months)
    for part in parts:
        assert part in str(refused.value)


def test_many_names_are_not_listed_but_the_near_ones_are() -> None:
    known = [f"strategy-{k}" for k in range(50)] + ["conservative-24h"]
    with pytest.raises(InputError, match=r"'conservativ-24' matches nothing that is stored; near are conservative-24h"):
        select_strategies(Selection.of(strategies=["conservativ-24"]), known)
    with pytest.raises(InputError, match="there are 51, from conservative-24h to strategy-9"):
        select_strategies(Selection.of(strategies=["zzz"]), known)


def test_near_a_mistyped_glob_or_chain_are_its_chains() -> None:
    many = [TokenMonth(TokenKey("binance", f"T{k}_USDT"), "2025-01") for k in range(20)]
    known = [*many, TokenMonth(SOL, "2025-01")]
    with pytest.raises(InputError, match=r"'binanc:\*' matches nothing that has calls; near is binance:\* \(20\)"):
        select_token_months(Selection.of(["binanc:*"]), known)
    with pytest.raises(InputError, match=r"near is binance:\*"):
        select_token_months(Selection.of(["binanc:T1_USDT"]), known)
    # A chain that is none of those near: all chains are told, not ten tokens.
    with pytest.raises(InputError, match=r"there are binance:\* \(20\), solana:\* \(1\)"):
        select_token_months(Selection.of(["kraken:*"]), known)


@pytest.mark.parametrize(
    ("months", "near"),
    [
        ("2025-06", "nearest are 2024-10, 2024-11, 2024-12, of 22, from 2023-01 to 2024-12"),
        ("2022-12", "nearest are 2023-01, 2023-02, 2023-03, of 22"),
        # A hole: 2023-11 and 2024-02 lie one month beside it, 2023-10 and 2024-03 two.
        ("2023-12..2024-01", "nearest are 2023-10, 2023-11, 2024-02, of 22"),
        ("2031-*", "there are 22, from 2023-01 to 2024-12"),
    ],
)
def test_near_a_month_without_calls_are_those_next_to_it_in_time(months: str, near: str) -> None:
    stored = [f"{year}-{month:02d}" for year in (2023, 2024) for month in range(1, 13)]
    known = [TokenMonth(BONK, month) for month in stored if month not in ("2023-12", "2024-01")]
    with pytest.raises(InputError, match=re.escape(near)):
        select_token_months(Selection.of(months=[months]), known)


@pytest.mark.parametrize("option", ["tokens", "months", "strategies"])
@pytest.mark.parametrize("text", ["", " ", ","])
def test_an_empty_selector_is_refused_for_it_would_select_all(option: str, text: str) -> None:
    with pytest.raises(InputError, match=rf"--{option}: .* names nothing; .*'all'"):
        Selection.of(**{option: [text]})
    # Beside another one, too.
    with pytest.raises(InputError, match="names nothing"):
        Selection.of(**{option: ["all", text]})


def test_an_empty_store_is_no_mistake_of_who_asks_for_everything() -> None:
    assert select_token_months(Selection.of(), []) == []
    with pytest.raises(InputError, match="quantbot ingest alerts"):
        select_token_months(Selection.of(["binance:*"]), [])


def test_malformed_selectors_are_refused_whatever_is_stored() -> None:
    check_form(Selection.of(["binance:*", "binance:X"], ["2025-01..2025-02", "2025-*"], ["anything"]))
    with pytest.raises(InputError, match="YYYY-MM"):
        check_form(Selection.of(months=["2025-1"]))


def test_the_same_selectors_in_another_order_are_the_same_selection() -> None:
    one = Selection.of(["a:x,b:y"], ["2025-01"], ["s"])
    assert one.key == Selection.of(["b:y", "a:x", "a:x"], ["2025-01"], ["s"]).key
    assert one.key != Selection.of(["a:x"], ["2025-01"], ["s"]).key
