"""The figures: what is drawn where."""

from dataclasses import replace
from typing import Any

import pytest
from made_up_content import content, event

from quantbot_pipeline.report.content import ExampleTrade
from quantbot_pipeline.report.figures import coverage_figure, coverage_height, equity_figure, example_figure


def _example(**changes: Any) -> ExampleTrade:
    example = content().example
    assert example is not None
    return replace(example, **changes)


def _trace(example: ExampleTrade, name: str) -> dict[str, Any]:
    (found,) = [trace for trace in example_figure(example)["data"] if trace["name"] == name]
    return dict(found)


def test_equity_is_drawn_as_steps_by_day() -> None:
    (trace,) = equity_figure(content().equity)["data"]

    assert trace["x"] == ["2025-02-03", "2025-02-05"]
    assert trace["y"] == [0.1, 0.05]
    assert trace["line"]["shape"] == "hv"


def test_stop_line_ends_where_the_trade_is_flat_and_begins_anew_with_a_re_entry() -> None:
    events = (
        event(0, "entry", 1.0),
        event(1, "stop_moved", 1.0, size=0.0, stop=1.0),
        event(2, "stop_loss", 1.0, remaining_position=0.0, stop=1.0),
        event(4, "re_entry", 0.8, stop=0.56, average_entry=0.8),
    )

    stop = _trace(_example(events=events), "stop")

    assert stop["y"] == [0.7, 1.0, 1.0, None, 0.56]
    assert [at[11:16] for at in stop["x"]] == ["12:00", "12:05", "12:10", "12:10", "12:20"]


def test_targets_follow_the_average_entry_and_far_ones_are_left_out() -> None:
    # The highest candle is at 3.6: 2x of 1.0 and of 0.9 are near, 50x is not.
    events = (event(0, "entry", 1.0), event(1, "ladder_entry", 0.8, average_entry=0.9))

    assert _trace(_example(events=events), "targets")["y"] == [2.0, 1.8]


def test_buys_and_sells_are_marked_at_their_prices() -> None:
    example = _example()

    assert _trace(example, "buy")["y"] == [1.0]
    assert _trace(example, "sell")["y"] == [2.0]
    assert _trace(example, "candles")["open"] == [1.0, 2.0, 3.0]


def test_without_a_stop_candles_or_targets_nothing_of_them_is_drawn() -> None:
    events = (event(0, "entry", 1.0, stop=None), event(1, "final_exit", 1.1, stop=None, remaining_position=0.0))

    figure = example_figure(_example(events=events, candles=(), target_multiples=()))

    assert [trace["name"] for trace in figure["data"]] == ["buy", "sell"]


@pytest.mark.parametrize(("factor", "expected"), [(1.0, "log"), (0.1, "linear")])
def test_the_axis_is_logarithmic_when_prices_multiply(factor: float, expected: str) -> None:
    # Lows and highs of 1 + 0.9·factor … : at factor 1 from 0.9 to 3.6, fourfold; at 0.1 within a third.
    example = _example()
    candles = tuple(
        replace(candle, low=1 + (candle.low - 1) * factor, high=1 + (candle.high - 1) * factor)
        for candle in example.candles
    )
    events = (event(0, "entry", 1.0), event(1, "final_exit", 1.0))

    assert example_figure(replace(example, candles=candles, events=events))["layout"]["yaxis"]["type"] == expected


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
