"""What a run reads: which calls, which candles, which interval. Candles of a minute at price 1, unless said."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
import pytest

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.storage.records import CallRow
from quantbot_pipeline.strategy.model import Strategy, parse_strategy
from quantbot_pipeline.workflows.simulation_inputs import TokenInput
from tests.workflows.stored_history import (
    TOKEN,
    StoredHistory,
    call_row,
    flat_candles,
    second,
)

FEBRUARY = datetime.fromisoformat("2025-02-01T00:00:00+00:00")
MARCH = datetime.fromisoformat("2025-03-01T00:00:00+00:00")
APRIL = datetime.fromisoformat("2025-04-01T00:00:00+00:00")
MAY = datetime.fromisoformat("2025-05-01T00:00:00+00:00")
MINUTE = timedelta(minutes=1)
DAY = timedelta(days=1)


def strategy(**fields: Any) -> Strategy:
    """Buy at once and sell ten minutes later."""
    return parse_strategy({"name": "plain", "entry": {"type": "immediate"}, "horizon_seconds": 600, **fields})


def minutes(start: datetime, count: int) -> list[int]:
    return [second(start) + 60 * k for k in range(count)]


def history_of(calls: list[CallRow], *timestamps: list[int]) -> StoredHistory:
    return StoredHistory(calls, {60: flat_candles(60, [t for part in timestamps for t in part])})


def ids(cut: TokenInput | None) -> list[int]:
    return [] if cut is None else [call.call_id for call in cut.calls]


def times(cut: TokenInput | None) -> list[int]:
    assert cut is not None
    return cut.candles.timestamp.tolist()  # type: ignore[no-any-return]


# --- candles ---


def test_a_run_reads_from_its_first_call_to_the_horizon_candle_of_its_last() -> None:
    history = history_of([call_row(1, MARCH + 5 * MINUTE)], minutes(MARCH, 60))
    # Entry at minute 5, horizon candle at minute 15, the engine reads nothing before the entry.
    assert times(history.cut(MARCH, APRIL, strategy())) == minutes(MARCH + 5 * MINUTE, 11)


def test_a_horizon_that_ends_in_a_gap_of_months_is_found_behind_it() -> None:
    history = history_of([call_row(1, MARCH)], minutes(MARCH, 3), minutes(MAY + 10 * DAY, 2))
    assert times(history.cut(MARCH, APRIL, strategy())) == [*minutes(MARCH, 3), second(MAY + 10 * DAY)]


def test_warm_up_reaches_over_a_gap_of_months() -> None:
    """A series with gaps once had less warm-up when the gap was longer than four times the warm-up."""
    signal = {"left": {"candle": "close"}, "op": ">", "right": {"indicator": "sma", "params": {"period": 3}}}
    listening = strategy(exits={"when": signal})
    history = history_of([call_row(1, APRIL)], minutes(FEBRUARY, 10), minutes(APRIL, 20))
    # sma(3) at the close before the entry reads that candle and the two before.
    assert times(history.cut(APRIL, MAY, listening))[:3] == minutes(FEBRUARY + 7 * MINUTE, 3)


def test_a_call_that_found_no_candle_in_time_reads_none() -> None:
    history = history_of([call_row(1, MARCH)], minutes(MARCH + 2 * DAY, 5))
    cut = history.cut(MARCH, APRIL, strategy(max_staleness_seconds=3600))
    assert cut is not None
    assert (ids(cut), len(cut.candles)) == ([1], 0)


def test_candles_of_a_run_are_views_of_what_was_loaded() -> None:
    history = history_of([call_row(1, MARCH), call_row(2, MARCH + 5 * MINUTE)], minutes(MARCH, 60))
    inputs = history.load(MARCH, APRIL, [strategy()])
    one = inputs.cut(TOKEN, MARCH, APRIL, strategy())
    other = inputs.cut(TOKEN, MARCH, APRIL, strategy(horizon_seconds=60))
    assert one is not None
    assert other is not None
    assert np.shares_memory(one.candles.close, other.candles.close)


def test_no_more_is_loaded_than_months_that_are_reached() -> None:
    history = history_of([call_row(1, MARCH)], minutes(FEBRUARY, 5), minutes(MARCH, 5), minutes(MAY, 5))
    history.cut(MARCH, APRIL, strategy())
    # To May's first candle, which is the horizon candle, and no warm-up.
    assert history.loaded == [(second(MARCH), second(MAY) + 1)]


# --- the interval ---


def intervals(history: StoredHistory, start: datetime, end: datetime) -> int:
    cut = history.cut(start, end, strategy())
    assert cut is not None
    return cut.candles.interval_seconds


def test_the_finest_interval_of_the_month_is_read() -> None:
    five = flat_candles(300, [second(MARCH) + 300 * k for k in range(9000)])
    history = StoredHistory([call_row(1, MARCH), call_row(2, APRIL)], {300: five})
    history.candles[60] = flat_candles(60, minutes(APRIL, 5))
    assert intervals(history, MARCH, APRIL) == 300
    assert intervals(history, APRIL, MAY) == 60


def test_a_month_without_candles_reads_the_finest_of_the_months_that_its_trades_reach() -> None:
    history = history_of([call_row(1, APRIL - MINUTE)], minutes(APRIL, 30))
    history.candles[300] = flat_candles(300, [second(APRIL) + 300 * k for k in range(6)])
    cut = history.cut(MARCH, APRIL, strategy())
    assert times(cut) == minutes(APRIL, 11)


def test_an_interval_that_no_trade_reaches_is_not_chosen() -> None:
    history = StoredHistory([call_row(1, MARCH)], {300: flat_candles(300, [second(MAY)])})
    history.candles[60] = flat_candles(60, minutes(FEBRUARY, 5))
    cut = history.cut(MARCH, APRIL, strategy())
    assert cut is not None
    assert len(cut.candles) == 0


# --- calls ---


def test_a_call_of_the_last_half_second_of_a_month_belongs_to_that_month() -> None:
    """The engine's second of such a call is the next month's first; once neither month's run had the call."""
    history = history_of([call_row(1, APRIL - timedelta(seconds=0.5))], minutes(APRIL, 30))
    assert ids(history.cut(MARCH, APRIL, strategy())) == [1]
    assert history.cut(APRIL, MAY, strategy()) is None


@pytest.mark.parametrize(
    ("signal_type", "side"),
    [(SignalType.EXIT, Side.SELL), (SignalType.SCALE_OUT, Side.SELL), (SignalType.ENTRY, Side.SELL)],
)
def test_exit_calls_are_read_while_a_trade_may_be_open_and_only_when_listened_to(
    signal_type: SignalType, side: Side
) -> None:
    calls = [call_row(1, MARCH + 5 * MINUTE)]
    # Before the entry acts, with it, twice while it is open, at its horizon candle.
    calls += [
        call_row(k, MARCH + at_minute * MINUTE, signal_type, side=side)
        for k, at_minute in enumerate([0, 5, 6, 14, 15], start=2)
    ]
    history = history_of(calls, minutes(MARCH, 60))
    assert ids(history.cut(MARCH, APRIL, strategy(exits={"on_exit_call": True}))) == [1, 4, 5]
    assert ids(history.cut(MARCH, APRIL, strategy())) == [1]


def test_calls_that_are_not_listened_to_change_no_fingerprint() -> None:
    history = history_of([call_row(1, MARCH)], minutes(MARCH, 60))
    before = history.cut(MARCH, APRIL, strategy())
    history.calls += [
        call_row(2, MARCH + MINUTE, SignalType.EXIT, side=Side.SELL),
        call_row(3, MARCH + MINUTE, SignalType.SCALE_IN),
        call_row(4, APRIL),
    ]
    after = history.cut(MARCH, APRIL, strategy())
    assert before is not None
    assert after is not None
    assert after.fingerprint == before.fingerprint


@pytest.mark.parametrize(
    "changed",
    [
        call_row(2, MARCH + MINUTE),
        call_row(1, MARCH + timedelta(seconds=1)),
        call_row(1, MARCH, caller_id=2),
    ],
)
def test_a_call_that_is_read_changes_the_fingerprint(changed: CallRow) -> None:
    history = history_of([call_row(1, MARCH)], minutes(MARCH, 60))
    before = history.cut(MARCH, APRIL, strategy())
    history.calls = [call for call in history.calls if call.call_id != changed.call_id] + [changed]
    after = history.cut(MARCH, APRIL, strategy())
    assert before is not None
    assert after is not None
    assert after.fingerprint != before.fingerprint


def test_a_window_whose_calls_all_scale_in_is_simulated_for_a_strategy_that_scales_in() -> None:
    history = history_of([call_row(1, MARCH + MINUTE, SignalType.SCALE_IN)], minutes(MARCH, 60))
    assert history.cut(MARCH, APRIL, strategy()) is None
    cut = history.cut(MARCH, APRIL, strategy(overlap="scale_in"))
    # Found nothing to scale: it reads the candle whose open it reports, and no horizon.
    assert times(cut) == minutes(MARCH + MINUTE, 1)


def test_a_trade_that_is_open_through_a_long_gap_blocks_the_calls_of_the_next_month() -> None:
    """Its horizon candle is the first behind the gap: it is done there, however long after its horizon.

    The trade was once looked for by time alone and missed.
    """
    skipping = strategy(overlap="skip", max_staleness_seconds=30 * 86_400)
    calls = [call_row(1, MARCH), call_row(2, APRIL + 15 * DAY)]
    history = history_of(calls, minutes(MARCH, 3), minutes(APRIL + 20 * DAY, 30))
    cut = history.cut(APRIL, MAY, skipping)
    assert ids(cut) == [1, 2]
    assert cut is not None
    [trade] = simulate_reference(cut.candles, cut.calls, skipping, report_call_ids=cut.reported_call_ids)
    assert trade.events[0].metadata["reason"] == "overlap"


def test_a_scale_in_of_the_last_minute_is_taken_up_by_an_entry_of_the_next_month() -> None:
    """Both act at April's first open; the entry was once left out, and the scale-in reported as unused."""
    scaling = strategy(overlap="scale_in")
    calls = [call_row(1, APRIL - timedelta(seconds=30), SignalType.SCALE_IN), call_row(2, APRIL)]
    cut = history_of(calls, minutes(APRIL, 30)).cut(MARCH, APRIL, scaling)
    assert ids(cut) == [1, 2]
    assert cut is not None
    assert cut.reported_call_ids == {1}
    assert simulate_reference(cut.candles, cut.calls, scaling, report_call_ids={1}) == []


def test_earlier_calls_are_read_as_far_as_one_trade_leads_to_the_next() -> None:
    skipping = strategy(overlap="skip")
    # Ten-minute trades: 2 and 3 overlap, 1 was done before 2 began.
    calls = [
        call_row(1, APRIL - 30 * MINUTE),
        call_row(2, APRIL - 15 * MINUTE),
        call_row(3, APRIL - 5 * MINUTE),
        call_row(4, APRIL + MINUTE),
    ]
    history = history_of(calls, minutes(APRIL - 60 * MINUTE, 120))
    cut = history.cut(APRIL, MAY, skipping)
    assert ids(cut) == [2, 3, 4]
    assert cut is not None
    assert cut.reported_call_ids == {4}
    assert ids(history.cut(APRIL, MAY, strategy())) == [4]


def test_latency_moves_the_first_candle() -> None:
    history = history_of([call_row(1, MARCH)], minutes(MARCH, 60))
    late = strategy(costs={"latency_seconds": 61}, horizon_seconds=60)
    assert times(history.cut(MARCH, APRIL, late)) == minutes(MARCH + 2 * MINUTE, 2)


def test_inputs_cover_only_strategies_that_read_no_further() -> None:
    inputs = history_of([call_row(1, MARCH)], minutes(MARCH, 60)).load(MARCH, APRIL, [strategy()])
    signal = {"left": {"indicator": "sma", "params": {"period": 3}}, "op": ">", "right": 1}
    assert inputs.covers(strategy(horizon_seconds=60))
    assert not inputs.covers(strategy(horizon_seconds=601))
    assert not inputs.covers(strategy(overlap="skip"))
    assert not inputs.covers(strategy(exits={"when": signal}))


def test_a_token_without_candles_or_calls_is_cut_to_nothing() -> None:
    nothing = StoredHistory([call_row(1, MARCH)], {})
    cut = nothing.cut(MARCH, APRIL, strategy())
    assert cut is not None
    assert len(cut.candles) == 0
    assert StoredHistory([], {60: flat_candles(60, minutes(MARCH, 3))}).cut(MARCH, APRIL, strategy()) is None


def test_any_changed_value_of_a_candle_changes_the_fingerprint() -> None:
    history = history_of([call_row(1, MARCH)], minutes(MARCH, 60))
    prints = set()
    plain: Candles = history.candles[60]
    for name in ("timestamp", "open", "high", "low", "close", "volume"):
        values = getattr(plain, name).copy()
        values[3] += 1
        history.candles[60] = replace(plain, **{name: values})
        cut = history.cut(MARCH, APRIL, strategy())
        assert cut is not None
        prints.add(cut.fingerprint)
    history.candles[60] = plain
    cut = history.cut(MARCH, APRIL, strategy())
    assert cut is not None
    assert len(prints | {cut.fingerprint}) == 7
