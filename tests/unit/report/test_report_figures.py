"""The figures: what is drawn where."""

from dataclasses import replace
from datetime import timedelta

import pytest
from made_up_content import NOON, STANDING, content, trade_lines

from quantbot_pipeline.report.content import Standing
from quantbot_pipeline.report.figures import (
    coverage_figure,
    coverage_height,
    equity_figure,
    matrix_figure,
    months_figure,
    price_figure,
    spread_figure,
)
from quantbot_pipeline.report.site_content import CallerMonth, TokenPrices


def test_equity_is_drawn_as_steps_by_day() -> None:
    (trace,) = equity_figure(content().equity)["data"]

    assert trace["x"] == ["2025-02-03", "2025-02-05"]
    assert trace["y"] == [0.1, 0.05]
    assert trace["line"]["shape"] == "hv"


def test_spread_counts_every_trade_and_no_bar_holds_gains_and_losses() -> None:
    # 100 results from -0.5 to 0.49, one far out on each side, and one of exactly zero, which earned nothing.
    results = [k / 100 - 0.5 + 0.005 for k in range(100)] + [-40.0, 70.0, 0.0]

    (trace,) = spread_figure(results)["data"]

    assert sum(trace["y"]) == 103
    losses = sum(count for middle, count in zip(trace["x"], trace["y"], strict=True) if middle < 0)
    assert losses == 50 + 1 + 1
    # What is far out is in the outer bars, which are where the others end.
    assert min(trace["x"]) > -0.6
    assert max(trace["x"]) < 0.6


@pytest.mark.parametrize("results", [[0.0], [0.1, 0.1], [-0.3, -0.3, -0.3]])
def test_spread_of_equal_results_is_drawn_too(results: list[float]) -> None:
    (trace,) = spread_figure(results)["data"]

    assert sum(trace["y"]) == len(results)


def test_months_are_drawn_of_the_strategies_with_most_trades() -> None:
    months = [CallerMonth(f"s{k}", "1", "2025-01", k + 1, 0, 0.5, 0.1, None, 0.1, True) for k in range(9)]
    skipped = CallerMonth("never bought", "1", "2025-01", 0, 99, None, None, None, 0.0, True)

    traces = months_figure([*months, skipped])["data"]

    assert [trace["name"] for trace in traces] == [f"s{k} v1" for k in (8, 7, 6, 5, 4, 3)]
    assert (traces[0]["x"], traces[0]["y"]) == (["2025-01-01"], [0.1])


def test_coverage_is_drawn_by_token_and_cell_below_a_row_of_all_tokens() -> None:
    coverage = content("binance:BONK_USDT").coverage
    assert coverage is not None

    figure = coverage_figure(coverage)

    (trace,) = figure["data"]
    assert trace["y"] == ["all 70 tokens", "binance:BONK_USDT", "binance:BONK_USDT 2"]
    # Before a token's first candle and after its last there is nothing to cover.
    assert trace["z"] == [[0.75, 1.0], [0.25, 1.0], [0.9, None]]
    # Edges: the last cell's end is drawn too.
    assert trace["x"] == ["2025-02-03", "2025-02-05", "2025-02-07"]
    assert figure["layout"]["yaxis"]["autorange"] == "reversed"
    assert coverage_height(coverage) == 60 + 3 * 16


def test_long_tokens_are_shortened_beside_their_rows_and_whole_when_pointed_at() -> None:
    pool = "solana:DezXAZ8z7PnrnRJjz3wXBoRgixCa6xjnB7YaB1pPB263"
    coverage = content(pool).coverage
    assert coverage is not None

    figure = coverage_figure(coverage)

    assert figure["layout"]["yaxis"]["ticktext"][1] == "solana:DezXAZ8z7…1pPB263"
    assert figure["data"][0]["y"][1] == pool


def test_callers_are_drawn_against_strategies_and_missing_pairs_stay_empty() -> None:
    def row(caller: str, strategy: str, rank: int, mean: float | None) -> Standing:
        return replace(STANDING, strategy=strategy, caller_name=("x", caller), rank=rank, mean_pnl=mean)

    standings = [row("ann", "one", 1, 0.5), row("bob", "one", 2, -0.1), row("bob", "two", 1, None)]

    (trace,) = matrix_figure(standings)["data"]

    assert (trace["x"], trace["y"]) == (["one v1", "two v1"], ["x / ann", "x / bob"])
    assert trace["z"] == [[0.5, None], [-0.1, None]]
    assert trace["customdata"] == [[1234, 0], [1234, 1234]]
    assert trace["zmax"] == -trace["zmin"] == 0.1


def test_quotes_in_names_are_drawn_as_quotes_and_tags_as_text() -> None:
    """Plotly showed `&quot;` where a name had a quote: it knows no entity of one."""
    rows = [replace(STANDING, strategy="s", caller_name=("tg", "\"a\" 'b' <i> &amp;"))]

    assert matrix_figure(rows)["data"][0]["y"] == ["tg / \"a\" 'b' &lt;i&gt; &amp;amp;"]


def test_numbers_of_the_matrix_can_be_read_on_every_colour_of_it() -> None:
    (trace,) = matrix_figure([STANDING])["data"]

    text = _luminance(trace["textfont"]["color"])
    for _, colour in trace["colorscale"]:
        # WCAG 2.2: 4.5 between the lighter and the darker, each with 0.05 of stray light.
        assert (_luminance(colour) + 0.05) / (text + 0.05) >= 4.5, colour


def _luminance(colour: str) -> float:
    """Return the relative luminance of `#rrggbb`, as WCAG defines it."""
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
    return 0.2126 * red + 0.7152 * green + 0.0722 * blue


def test_calls_are_marked_on_the_price_of_their_time_by_what_their_trades_brought() -> None:
    prices = TokenPrices((NOON, NOON + timedelta(hours=1)), (2.0, 3.0), 60.0)
    lines = [replace(line, signal_at=NOON + timedelta(minutes=61), call_id=7) for line in trade_lines("<b>", 3)[1:]]
    # Of 30 % and -20 % the mean is won; one strategy bought nothing.
    both = [replace(lines[0], pnl=0.3), replace(lines[1], pnl=-0.2), replace(lines[1], pnl=None)]
    early = replace(lines[0], pnl=None, call_id=8, signal_at=NOON - timedelta(days=1))

    price, won, skipped = price_figure(prices, [*both, early])["data"]

    assert (price["x"][0], price["y"]) == ("2025-02-03 12:00:00", [2.0, 3.0])
    assert (won["name"], won["x"], won["y"]) == ("calls, won", ["2025-02-03 13:01:00"], [3.0])
    assert won["text"] == ["2025-02-03 13:01 call 7 by &lt;b&gt;: +5.0% in the mean of 2 trades"]
    assert (skipped["name"], skipped["y"]) == ("calls, skipped", [2.0])
