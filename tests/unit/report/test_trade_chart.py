"""The chart of one trade: what is drawn where, and that texts from outside stay texts."""

import base64
import json
import warnings
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import plotly.graph_objects
import pytest
from traded import candles_of, content_of, strategy_of, wild_candles

from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.report.trade_chart import trade_figure
from quantbot_pipeline.report.trade_content import TradeContent, TradedCall, draw_candles, event_rows
from quantbot_pipeline.report.trade_document import trade_document
from quantbot_pipeline.report.trade_drawing import drawing_notes, plan_drawing
from quantbot_pipeline.report.trade_page import render_trade_page
from quantbot_pipeline.report.trade_picture import box_note, draw_trade_png
from quantbot_pipeline.report.trade_words import describe_trade, plot_small_trade

# Cursor moves, text turned around, HTML, a formula of Matplotlib's, an emoji.
HOSTILE = "<img src=x onerror=alert(1)>\x1b[2J\u202e$\\frac{1}{0}$💀</script>"

RSI_EXIT = {
    "when": {"left": {"indicator": "rsi", "params": {"period": 5}}, "op": "crosses_below", "right": 60},
    "stop_loss": {"initial": 0.4},
}


def _worked() -> TradeContent:
    """Return the third worked example of docs/engine.md: two targets, and a stop that moved to break-even."""
    candles = candles_of([0, 1, 1, 1, 1], [60, 1, 2.1, 1, 2], [120, 2, 3.5, 1.9, 3], [180, 3, 3, 0.9, 1])
    exits = {
        "targets": [{"multiple": 2.0, "size": 0.5}, {"multiple": 3.0, "size": 0.3}],
        "break_even": {"after_target": 1, "offset": 0.0},
        "stop_loss": {"initial": 0.5},
    }
    return content_of(candles, strategy_of(exits=exits))


def _trace(figure: dict[str, Any], name: str) -> dict[str, Any]:
    (found,) = [trace for trace in figure["data"] if trace["name"] == name]
    return dict(found)


def test_fills_of_the_worked_example_are_marked_at_their_candles_and_prices() -> None:
    figure = trade_figure(_worked())

    buy, sell, stopped, armed = (_trace(figure, name) for name in ("buy", "sell", "stopped", "stop armed"))
    assert (buy["x"], buy["y"], buy["text"]) == (["1970-01-01 00:00"], [1.0], ["0"])
    assert (sell["x"], sell["y"]) == (["1970-01-01 00:01", "1970-01-01 00:02"], [2.0, 3.0])
    assert sell["text"] == ["1 · 50\u202f%", "3 · 30\u202f%"]
    assert (stopped["x"], stopped["y"], stopped["text"]) == (["1970-01-01 00:03"], [1.0], ["4 · 20\u202f%"])
    # Armed at the close of the second candle, which is the open of the third.
    assert (armed["x"], armed["y"]) == (["1970-01-01 00:02"], [1.0])


def test_the_stop_is_a_step_from_its_first_level_to_break_even() -> None:
    stop = _trace(trade_figure(_worked()), "stop")

    assert stop["line"]["shape"] == "hv"
    assert (stop["x"], stop["y"]) == (
        ["1970-01-01 00:00", "1970-01-01 00:02", "1970-01-01 00:03"],
        [0.5, 1.0, 1.0],
    )


def test_a_final_exit_is_marked_on_the_last_candle_and_not_behind_it() -> None:
    content = content_of(candles_of([0, 1, 1, 1, 1], [60, 1, 1.2, 1, 1.1]), strategy_of())

    assert content.events[-1].event_time == 120
    assert _trace(trade_figure(content), "sell")["x"] == ["1970-01-01 00:01"]


def test_indicators_have_panes_beneath_and_thresholds_across_them() -> None:
    candles = wild_candles(3)
    ema = {"left": {"candle": "close"}, "op": ">", "right": {"indicator": "ema", "params": {"period": 9}}}
    entry = {"type": "signal", "when": ema, "max_wait_seconds": 86_400}
    strategy = strategy_of(entry=entry, exits=RSI_EXIT)
    content = content_of(candles, strategy, signal_at=int(candles.timestamp[60]))

    figure = trade_figure(content)

    assert _trace(figure, "ema(period=9)")["yaxis"] == "y"
    # Volume is the second pane.
    assert _trace(figure, "rsi(period=5)")["yaxis"] == "y3"
    assert [shape["y0"] for shape in figure["layout"]["shapes"] if shape["yref"] == "y3"] == [60.0]
    domains = [figure["layout"][axis]["domain"] for axis in ("yaxis", "yaxis2", "yaxis3")]
    assert all(0 <= low < high <= 1 for low, high in domains)
    assert domains[2][1] < domains[1][0] < domains[1][1] < domains[0][0]
    # What is drawn is what the engine knew.
    for event in content.events:
        closed = int(np.searchsorted(candles.timestamp + 60, event.event_time, side="right")) - 1
        told = event.indicators["rsi(period=5)"]
        assert content.indicators[1].values[closed] == pytest.approx(told, rel=1e-12)


def test_a_trade_without_candles_stops_or_volume_is_drawn_all_the_same() -> None:
    content = _worked()
    silent = replace(content, candles=content.candles.slice(0, 0), strategy=strategy_of())

    figure = trade_figure(silent)

    assert [trace["name"] for trace in figure["data"]] == ["buy", "sell", "stopped", "stop armed"]
    assert "no candles are stored for this time" in drawing_notes(silent, plan_drawing(silent))


def test_a_skipped_call_has_no_trade_but_its_reason() -> None:
    dip = {"type": "dip", "drop": 0.5, "max_wait_seconds": 60}
    content = content_of(candles_of(*([60 * k, 1, 1, 1, 1] for k in range(4))), strategy_of(entry=dip))

    assert (content.has_bought, content.skip_reason) == (False, "timeout")
    assert describe_trade(content).endswith("skipped, the price did not come to the entry in time.")
    assert _trace(trade_figure(content), "skipped")["y"] == [1.0]


def test_many_candles_are_put_together_by_usual_lengths_and_it_is_said() -> None:
    content = _worked()
    times = np.arange(3_000, dtype=np.int64) * 60
    flat = np.ones(3_000)
    high = flat + np.arange(3_000) / 10_000
    many = replace(content, candles=Candles(60, times, flat, high, flat / 2, flat, flat))

    drawing = plan_drawing(many, 500)
    drawn = drawing.drawn.candles

    # 3 000 minutes: 600 candles of 5 minutes are too many, 300 of 10 are not.
    assert (len(drawn), drawn.interval_seconds) == (300, 600)
    assert drawn.high.max() == high.max()
    assert (drawn.volume == 10).all()
    drawn.validate()
    assert any("put together from 3,000 stored candles of 1m" in note for note in drawing_notes(many, drawing))
    figure = trade_figure(many, plan_drawing(many, 500))
    assert "10m candles made of 1m ones" in figure["layout"]["title"]["subtitle"]["text"]


def test_gaps_stay_gaps_when_candles_are_put_together() -> None:
    times = np.concatenate([np.arange(40), np.arange(1_000, 1_040)]).astype(np.int64) * 60
    ones = np.ones(80)

    drawn = draw_candles(Candles(60, times, ones, ones, ones, ones, ones), 20).candles

    assert drawn.interval_seconds == 300
    assert drawn.timestamp.tolist() == [*range(0, 2_400, 300), *range(60_000, 62_400, 300)]


def test_the_figure_is_one_that_plotly_knows() -> None:
    candles = wild_candles(5)
    content = content_of(candles, strategy_of(exits=RSI_EXIT), signal_at=int(candles.timestamp[50]))

    figure = trade_figure(content)

    plotly.graph_objects.Figure(figure)  # refuses unknown keys
    json.dumps(figure, allow_nan=False)


def test_the_document_holds_every_event_level_and_candle() -> None:
    document = json.loads(json.dumps(trade_document(_worked()), allow_nan=False))

    assert [event["kind"] for event in document["events"]] == [
        "entry", "target hit", "stop moved", "target hit", "stop loss",
    ]  # fmt: skip
    assert document["pnl"] == pytest.approx(1.1)
    assert document["levels"]["stops"] == [
        {
            "name": "stop",
            "steps": [["1970-01-01T00:00:00+00:00", 0.5], ["1970-01-01T00:02:00+00:00", 1.0]],
            "until": "1970-01-01T00:03:00+00:00",
        }
    ]
    assert document["candles"]["high"] == [1.0, 2.1, 3.5, 3.0]
    assert event_rows(_worked())[4].why == "stop order, break even stop"


def _hostile() -> TradeContent:
    legs = [{"id": HOSTILE.replace("\x1b", "").replace("\u202e", ""), "size": 1.0, "offset": 0.0}]
    content = content_of(
        candles_of([0, 1, 1, 1, 1], [60, 1, 1.2, 1, 1.1]), strategy_of(entry={"type": "ladder", "legs": legs})
    )
    call = TradedCall(17, HOSTILE, HOSTILE * 50, "solana", "Dez" * 14, HOSTILE, 0)
    return replace(content, call=call, strategy_name=HOSTILE)


def test_names_from_outside_are_texts_in_figure_and_page() -> None:
    content = _hostile()

    drawn = json.dumps(trade_figure(content), ensure_ascii=False)
    page = render_trade_page(content)

    assert "<img" not in drawn
    assert "\u202e" not in drawn
    assert "<img" not in page.split('id="figures"')[0]
    assert "alert(1)</script>" not in page
    assert "\x1b" not in page


@pytest.mark.parametrize("content", [_worked(), _hostile()])
def test_a_png_is_drawn_without_a_warning_and_the_same_each_time(content: TradeContent, tmp_path: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        first = draw_trade_png(content, tmp_path / "a.png").read_bytes()
    second = draw_trade_png(content, tmp_path / "b.png").read_bytes()

    assert first.startswith(b"\x89PNG")
    assert first == second
    assert sorted(path.name for path in tmp_path.iterdir()) == ["a.png", "b.png"]


def test_a_picture_says_which_characters_its_font_cannot_show() -> None:
    assert box_note("BONK · é □ 🚀 老 🚀") == "□ is what the font of pictures can't show: U+1F680, U+8001"
    assert box_note("".join(chr(0x4E00 + k) for k in range(11))).endswith("U+4E07 and 3 more")
    assert box_note("BONK") == ""


@pytest.mark.parametrize(
    ("highest", "ticks"),
    [
        (3.0, [1.0, 1.5, 2.0, 3.0]),
        (90.0, [1.0, 2.0, 5.0, 10.0, 20.0, 50.0]),
        (3e4, [1.0, 10.0, 100.0, 1e3, 1e4]),
        (1e14, [1.0, 1e2, 1e4, 1e6, 1e8, 1e10, 1e12, 1e14]),
    ],
)
def test_numbers_of_a_logarithmic_axis_leave_room_for_each_other(highest: float, ticks: list[float]) -> None:
    candles = candles_of([0, 1, 1, 1, 1], [60, 1, highest, 1, 1])

    assert trade_figure(content_of(candles, strategy_of()))["layout"]["yaxis"]["tickvals"] == ticks


def test_a_small_plot_marks_every_fill_and_is_an_image_whatever_the_names() -> None:
    plot = plot_small_trade(_worked())
    drawn = base64.b64decode(plot.rpartition("base64,")[2].rstrip(")")).decode()

    # One buy, two targets and a stop; what was armed trades nothing.
    assert drawn.count("<polygon") == 4
    assert "<polyline" in drawn
    # Names are texts in Markdown: no HTML, no second link.
    hostile = plot_small_trade(_hostile())
    assert "<" not in hostile
    assert hostile.count("](") == 1
