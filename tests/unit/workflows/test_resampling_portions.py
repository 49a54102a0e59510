"""How resampling shares its work out: each source month once, in portions of bounded size."""

from collections import Counter

from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.workflows.resample_candles import MONTHS_PER_STATEMENT, Portion, SourceMonth, share_out
from quantbot_pipeline.workflows.token_months import TokenMonth, next_month


def _month(address: str, month: str, row_count: int = 10, chain: str = "binance") -> SourceMonth:
    return SourceMonth(TokenMonth(TokenKey(chain, address), month), row_count, 0)


def _share(found: list[SourceMonth], limit: int) -> list[Portion]:
    return list(share_out(found, candles_per_statement=limit))


def test_small_months_that_follow_each_other_go_together() -> None:
    found = [_month("A", "2025-01"), _month("B", "2025-02"), _month("A", "2025-02"), _month("A", "2025-04")]

    # March is not asked for: it must not be read with the others.
    assert _share(found, 100) == [
        Portion("binance", ("A", "B"), "2025-01", "2025-03", 30),
        Portion("binance", ("A",), "2025-04", "2025-05", 10),
    ]


def test_a_month_that_is_too_large_is_shared_out_by_tokens() -> None:
    found = [_month("A", "2025-01", 5), _month("B", "2025-02", 60), _month("C", "2025-02", 50), _month("A", "2025-03")]

    assert _share(found, 100) == [
        Portion("binance", ("A",), "2025-01", "2025-02", 5),
        Portion("binance", ("B",), "2025-02", "2025-03", 60),
        Portion("binance", ("C",), "2025-02", "2025-03", 50),
        Portion("binance", ("A",), "2025-03", "2025-04", 10),
    ]


def test_a_token_month_beyond_the_bound_is_a_portion_of_its_own() -> None:
    found = [_month("A", "2025-01", 500), _month("B", "2025-01", 1)]

    assert [portion.token_addresses for portion in _share(found, 100)] == [("A",), ("B",)]


def test_chains_and_more_months_than_an_insert_may_touch_are_kept_apart() -> None:
    months = ["2015-01"]
    while len(months) < MONTHS_PER_STATEMENT + 5:
        months.append(next_month(months[-1]))
    found = [_month("A", month, chain=chain) for month in months for chain in ("binance", "solana")]

    portions = _share(found, 10**9)

    assert [(portion.chain, portion.row_count) for portion in portions] == [
        ("binance", 900),
        ("binance", 50),
        ("solana", 900),
        ("solana", 50),
    ]


def test_every_source_month_is_in_exactly_one_portion() -> None:
    found = [
        _month(f"T{token}", f"2025-{month:02d}", 7 * token + month)
        for token in range(9)
        for month in range(1, 13)
        if (token * month) % 4
    ]

    for limit in (1, 60, 200, 10**6):
        portions = _share(found, limit)
        held = Counter(
            one.key
            for portion in portions
            for one in found
            if one.key.token.address in portion.token_addresses
            and portion.first_month <= one.key.month < portion.end_month
        )
        assert held == Counter(one.key for one in found)
        assert sum(portion.row_count for portion in portions) == sum(one.row_count for one in found)
