"""The look-ahead check finds leaks that are planted, names them, and leaves clean strategies alone."""

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from engine_cases import candles, strategy

from quantbot_pipeline.engine import indicators
from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import BoolArray, Candles, FloatArray
from quantbot_pipeline.engine.events import Event, EventType, Trade
from quantbot_pipeline.engine.lookahead import (
    CausalityCheck,
    CausalityReport,
    Market,
    OpenedMarket,
    OpenMarket,
    ReferenceMarket,
    choose_cuts,
    events_known_at_close,
    events_known_at_open,
    named_conditions,
    named_indicators,
    with_other_future,
)
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.engine.warm_up import SETTLED, HistoryTrial, WarmUpCheck, WarmUpReport
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.strategy.signals import SignalNode
from quantbot_pipeline.workflows.check_lookahead import FastMarket

EMA_5 = {"indicator": "ema", "params": {"period": 5}}
SMA_3 = {"indicator": "sma", "params": {"period": 3}}
ABOVE = {"left": {"candle": "close"}, "op": ">", "right": SMA_3}


def walk(count: int, *, seed: int = 0, first: int = 0) -> Candles:
    """Return one-minute candles of a random walk around 1, with a volume of their own each."""
    rng = np.random.default_rng(seed)
    close = np.exp(np.cumsum(rng.normal(0, 0.02, count)))
    open_ = np.concatenate([[1.0], close[:-1]])
    spread = 1 + np.abs(rng.normal(0, 0.005, count))
    return Candles(
        60,
        np.arange(first, first + count, dtype=np.int64) * 60,
        open_,
        np.maximum(open_, close) * spread,
        np.minimum(open_, close) / spread,
        close,
        rng.exponential(1.0, count),
    ).validate()


def calls_every(count: int, *, of: Candles) -> tuple[Call, ...]:
    return tuple(Call(k, 1, int(of.timestamp[place])) for k, place in enumerate(range(0, len(of), count)))


def exit_signal(condition: dict[str, Any], **more: Any) -> Strategy:
    return strategy(exits={"when": condition}, horizon_seconds=3600, **more)


def causality(
    of: Strategy, market: Candles, *, engine: OpenMarket = ReferenceMarket, cuts: int = 60, seed: int = 0
) -> CausalityReport:
    opened = OpenedMarket(Market("test:A", market, calls_every(20, of=market)), of, engine)
    check = CausalityCheck(of, engine, seed)
    check.check(opened, cuts)
    return check.report


def warm_up(of: Strategy, market: Candles, calls: Sequence[Call], engine: OpenMarket = ReferenceMarket) -> WarmUpReport:
    opened = OpenedMarket(Market("test:A", market, tuple(calls)), of, engine)
    check = WarmUpCheck(of, engine)
    check.check(opened, 10)
    return check.report


def plant(monkeypatch: pytest.MonkeyPatch, name: str, computation: Any) -> None:
    """Replace an indicator of the engine by another computation from closes and period."""
    monkeypatch.setitem(
        indicators._COMPUTATIONS,
        name,
        lambda candles, params: {"value": computation(candles.close, int(params["period"]))},
    )


def one_candle_early(values: FloatArray) -> FloatArray:
    return np.concatenate([values[1:], [np.nan]])


# Leaks that are planted


def test_clean_strategy_is_called_causal() -> None:
    report = causality(exit_signal({"any": [ABOVE, {"not": ABOVE}]}), walk(300))
    assert not report.looks_ahead
    assert report.cuts == 60
    assert report.compared > 60 * 100
    assert report.events.compared > 100


def test_indicator_shifted_by_one_candle_is_found_and_named(monkeypatch: pytest.MonkeyPatch) -> None:
    """The leak that is easiest to make, and that comparing trades between candles misses."""
    plant(monkeypatch, "sma", lambda close, period: one_candle_early(indicators.sma(close, period)))
    report = causality(exit_signal({"left": SMA_3, "op": ">", "right": EMA_5}), walk(300))
    found = report.indicators["sma(period=3)"]
    assert found.looks_ahead
    assert found.candles_ahead == 1
    # Every cut shows it, one after the very first candle aside, where the value is in warm-up anyway: the last value
    # left needs the candle that is gone.
    assert found.differing_cuts >= report.cuts - 1
    assert not report.indicators["ema(period=5)"].looks_ahead
    assert report.conditions["exits.when"].looks_ahead


def test_first_difference_says_where_and_what(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "sma", lambda close, _: one_candle_early(close))
    # Two candles leave one place to cut, after the first. Its value is the close of the second: 2.
    market = candles([0, 1, 1, 1, 1], [60, 1, 2, 1, 2])
    first = causality(exit_signal({"left": SMA_3, "op": ">", "right": 9}), market).indicators["sma(period=3)"].first
    assert first is not None
    assert (first.token, first.candle_at, first.cut_at) == ("test:A", 0, 0)
    assert (first.with_future, first.without_future, first.experiment) == ("2.0", "not known", "cut")


@pytest.mark.parametrize(("period", "ahead"), [(3, 1), (5, 2), (9, 4)])
def test_centred_window_is_found_with_its_reach(period: int, ahead: int, monkeypatch: pytest.MonkeyPatch) -> None:
    def centred(close: FloatArray, period: int) -> FloatArray:
        values = np.full(len(close), np.nan)
        values[: len(close) - period // 2] = indicators.sma(close, period)[period // 2 :]
        return values

    plant(monkeypatch, "sma", centred)
    operand = {"indicator": "sma", "params": {"period": period}}
    report = causality(exit_signal({"left": {"candle": "close"}, "op": ">", "right": operand}), walk(300))
    assert report.indicators[f"sma(period={period})"].candles_ahead == ahead


def test_mean_over_all_candles_is_found_from_the_first_candle_on(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "sma", lambda close, _: close / close.mean())
    report = causality(exit_signal({"left": SMA_3, "op": ">", "right": 1}), walk(300))
    found = report.indicators["sma(period=3)"]
    assert found.first is not None
    assert found.first.candle_at == 0
    assert found.candles_ahead > 200


class PeekingConditions(ReferenceMarket):
    """Evaluates conditions one candle too late; indicators and trades are right."""

    def truth(self, signal: SignalNode) -> BoolArray:
        right = super().truth(signal)
        return np.concatenate([right[1:], np.zeros(min(1, len(right)), dtype=bool)])


def test_leak_in_a_condition_alone_is_found_though_its_indicators_are_causal() -> None:
    report = causality(exit_signal({"all": [ABOVE]}), walk(300), engine=PeekingConditions)
    assert not report.indicators["sma(period=3)"].looks_ahead
    assert report.conditions["exits.when.all[0]"].looks_ahead
    assert report.conditions["exits.when.all[0]"].candles_ahead == 1
    assert not report.events.looks_ahead


def test_leak_in_a_rare_condition_is_found_by_cutting_where_it_turns() -> None:
    """True at 1 close of 2,000: cuts anywhere would meet it once in fifty checks."""
    market = walk(2000)
    threshold = float(np.sort(market.close)[-2:].mean())
    rare = exit_signal({"left": {"candle": "close"}, "op": ">", "right": threshold})
    report = causality(rare, market, engine=PeekingConditions, cuts=40)
    assert report.conditions["exits.when"].looks_ahead


class KnowsTheCandleItTradesIn(ReferenceMarket):
    """Sells at an open for a signal that holds only at the close of the same candle."""

    def __init__(self, candles: Candles, calls: Sequence[Call]) -> None:
        super().__init__(candles, calls)
        self._later = Candles(
            candles.interval_seconds,
            candles.timestamp,
            candles.open,
            candles.high,
            candles.low,
            np.concatenate([candles.close[1:], candles.close[-1:]]),
            candles.volume,
        )

    def trades(self, of: Strategy) -> list[Trade]:
        return simulate_reference(self._later, self._calls, of)


def test_order_that_knows_its_own_candle_is_found_though_signals_are_causal() -> None:
    """The order fills at an open and knows the same candle's close: no cut between two candles shows that."""
    threshold_exit = exit_signal({"left": {"candle": "close"}, "op": ">", "right": 1.0})
    report = causality(threshold_exit, walk(300), engine=KnowsTheCandleItTradesIn)
    assert not report.conditions["exits.when"].looks_ahead
    assert report.events.looks_ahead
    assert report.events.candles_ahead == 0
    assert report.events.first is not None
    assert report.events.first.experiment == "noise"
    assert "signal_exit" in report.events.first.with_future + report.events.first.without_future


class ReportsTheCandleItTradesIn(ReferenceMarket):
    """Decides rightly, but writes the indicator of the fill's own candle beside each event."""

    def trades(self, of: Strategy) -> list[Trade]:
        values = {named.label: self.indicator(named.operand) for named in named_indicators(of)}
        times = self._candles.timestamp

        def peek(event: Event) -> Event:
            i = int(np.searchsorted(times, event.event_time, side="right")) - 1
            return Event(
                **{name: getattr(event, name) for name in Event.__slots__ if name != "indicators"},
                indicators={label: float(found[i]) for label, found in values.items()},
            )

        return [
            Trade(
                **{name: getattr(trade, name) for name in Trade.__slots__ if name != "events"},
                events=tuple(peek(event) for event in trade.events),
            )
            for trade in super().trades(of)
        ]


def test_leak_in_reported_values_alone_is_told_apart_from_decisions() -> None:
    report = causality(exit_signal(ABOVE), walk(300), engine=ReportsTheCandleItTradesIn)
    assert report.reported_values.looks_ahead
    assert not report.events.looks_ahead
    assert report.looks_ahead


class KnowsLaterCalls(ReferenceMarket):
    """Takes every call for an exit call of the trades before it."""

    def trades(self, of: Strategy) -> list[Trade]:
        last = max((call.signal_timestamp for call in self._calls), default=0)
        return [trade for trade in super().trades(of) if trade.signal_timestamp >= last - 3600]


def test_knowledge_of_later_calls_is_found() -> None:
    report = causality(exit_signal(ABOVE), walk(300), engine=KnowsLaterCalls)
    assert report.events.looks_ahead


# The rule of what is known


def event(event_type: EventType, time: int, **metadata: Any) -> Event:
    return Event(1, 0, time, event_type, 1.0, 0.5, 0.5, 0.0, metadata=metadata)


def trade_of(*events: Event) -> list[Trade]:
    nothing = np.empty(0)
    return [Trade(1, 1, 0, events, 0.0, 0.0, 0, 0, 0, 0.0, 0.0, nothing.astype(np.int64), nothing, 60)]


THREE = candles([0, 1, 1, 1, 1], [60, 1, 1, 1, 1], [120, 1, 1, 1, 1])


@pytest.mark.parametrize(
    ("found", "at_close_of_0", "at_open_of_1"),
    [
        (event(EventType.ENTRY, 0, order="market"), True, True),
        (event(EventType.TARGET_HIT, 0, order="limit", gap=False), True, True),
        # At 60 the stop was moved by the close of candle 0; an order fills at an open that is still to come.
        (event(EventType.STOP_MOVED, 60, reason="trailing"), True, True),
        (event(EventType.SIGNAL_EXIT, 60, order="market"), False, True),
        (event(EventType.STOP_LOSS, 60, order="stop", gap=True), False, True),
        (event(EventType.STOP_LOSS, 60, order="stop", gap=False), False, False),
        (event(EventType.ENTRY_SKIPPED, 60, reason="timeout"), False, True),
        (event(EventType.SIGNAL_EXIT, 120, order="market"), False, False),
        (event(EventType.FINAL_EXIT, 60, order="market"), False, False),
        (event(EventType.ENTRY_SKIPPED, 0, reason="no_candles"), False, False),
        (event(EventType.ENTRY_SKIPPED, 60, reason="end_of_data"), False, False),
    ],
)
def test_what_closed_candles_and_an_open_decide(found: Event, at_close_of_0: bool, at_open_of_1: bool) -> None:
    trades = trade_of(found)
    assert bool(events_known_at_close(trades, THREE, 0)) is at_close_of_0
    assert bool(events_known_at_open(trades, THREE, 1)) is at_open_of_1


def test_another_future_keeps_the_past_the_times_and_the_next_open() -> None:
    market = walk(600)
    for cut in (0, 5, 300, 598):
        other = with_other_future(market, cut, np.random.default_rng(1)).validate()
        assert len(other) == min(600, cut + 1 + 256)
        for name in ("open", "high", "low", "close", "volume"):
            assert (getattr(other, name)[: cut + 1] == getattr(market, name)[: cut + 1]).all()
        assert (other.timestamp == market.timestamp[: len(other)]).all()
        assert other.open[cut + 1] == market.open[cut + 1]
        assert (other.close[cut + 1 :] != market.close[cut + 1 : len(other)]).all()


def test_cuts_lie_around_calls_and_events_and_are_the_same_for_the_same_seed() -> None:
    market = walk(500)
    of = exit_signal(ABOVE)
    opened = OpenedMarket(Market("test:A", market, (Call(0, 1, 6000),)), of, ReferenceMarket)
    cuts = choose_cuts(opened, 40, np.random.default_rng(3))
    # The call comes at the open of candle 100.
    assert {99, 100, 101} <= set(cuts)
    assert len(cuts) == 40
    assert min(cuts) >= 0
    assert max(cuts) <= 498
    assert cuts == choose_cuts(opened, 40, np.random.default_rng(3))
    assert choose_cuts(opened, 10_000, np.random.default_rng(3)) == list(range(499))


@pytest.mark.parametrize("count", [1, 2])
def test_shortest_markets_are_checked_without_a_fault(count: int) -> None:
    market = walk(count)
    assert causality(exit_signal(ABOVE), market).cuts == count - 1
    assert not warm_up(exit_signal(ABOVE), market, [Call(0, 1, 0), Call(1, 1, 10_000)]).depends_on_history


def test_conditions_are_named_by_their_path_in_the_document() -> None:
    document = {
        "entry": {
            "type": "ladder",
            "legs": [{"id": "a", "size": 0.5, "offset": 0}, {"id": "b", "size": 0.5, "when": ABOVE}],
        },
        "exits": {
            "when": {
                "any": [
                    {"left": {**EMA_5, "shift": 2}, "op": "crosses_below", "right": 70, "lookback": 3, "min_true": 2},
                    {"not": {"all": [ABOVE]}},
                ]
            }
        },
    }
    assert [(named.path, named.text) for named in named_conditions(strategy(**document))] == [
        ("entry.legs[1].when", "close > sma(period=3)"),
        ("exits.when", "the whole signal"),
        ("exits.when.any[0]", "ema(period=5) shift 2 crosses below 70, 2 of last 3"),
        ("exits.when.any[1].not.all[0]", "close > sma(period=3)"),
    ]
    assert [(named.label, named.shift) for named in named_indicators(strategy(**document))] == [
        ("sma(period=3)", 0),
        ("ema(period=5)", 2),
    ]


# History before a call


def test_window_needs_exactly_its_candles() -> None:
    # A mean of 3 closes is known at a call that 3 candles come before; shifted by 2, 5 do.
    for shift, need in ((0, 3), (2, 5)):
        of = exit_signal({"left": {"candle": "close"}, "op": ">", "right": {**SMA_3, "shift": shift}})
        market = walk(100)
        report = warm_up(of, market, [Call(0, 1, 60), Call(1, 1, 600), Call(2, 1, 3000)])
        found = report.indicators["sma(period=3)"]
        assert (found.need, found.measured_need, found.declared) == (need, need, need)
        # The first call has one candle before it.
        assert (found.unknown_at_calls, found.short_calls) == (1, 1)
        assert not report.depends_on_history


def test_exponential_average_needs_what_its_formula_says() -> None:
    market = walk(400)
    found = warm_up(exit_signal({"left": EMA_5, "op": ">", "right": 1}), market, calls_every(100, of=market))
    history = found.indicators["ema(period=5)"]
    # Each candle leaves (1 - 1/3) of the beginning: ln(1e-9) / ln(2/3) = 51 candles for a relative 1e-9 of the price,
    # some less for the part of the price by which the beginnings differ.
    assert history.measured_need is not None
    assert 35 <= history.measured_need <= 56
    assert history.declared == 5 - 1 + 14 * 6 + 1
    assert history.differences[0.5] > history.differences[1.0]
    assert history.differences[1.0] <= SETTLED
    assert not found.depends_on_history


def test_long_average_on_short_history_is_never_known() -> None:
    market = walk(150)
    ema_200 = {"indicator": "ema", "params": {"period": 200}}
    report = warm_up(
        exit_signal({"left": {"candle": "close"}, "op": ">", "right": ema_200}), market, [Call(0, 1, 6000)]
    )
    found = report.indicators["ema(period=200)"]
    assert found.is_never_known
    assert found.histories == [100]
    assert found.unknown_with_history == 0
    assert report.conditions["exits.when"].is_never_known
    assert report.has_never_known


def test_value_that_is_not_defined_is_told_apart_from_short_history() -> None:
    market = walk(100)
    silent = Candles(60, market.timestamp, market.open, market.high, market.low, market.close, np.zeros(100))
    vwma = {"indicator": "vwma", "params": {"period": 3}}
    report = warm_up(exit_signal({"left": vwma, "op": ">", "right": 1}), silent, [Call(0, 1, 3000)])
    found = report.indicators["vwma(period=3)"]
    assert found.is_never_known
    assert found.unknown_with_history == 1
    assert found.short_calls == 0


def test_indicator_without_end_of_memory_depends_on_history(monkeypatch: pytest.MonkeyPatch) -> None:
    plant(monkeypatch, "sma", lambda close, _: np.cumsum(np.diff(close, prepend=close[:1]) > 0).astype(np.float64))
    market = walk(300)
    # How often the close rose so far, against a number that only a long file reaches.
    report = warm_up(
        exit_signal({"left": SMA_3, "op": ">", "right": 40}), market, [Call(0, 1, 6000), Call(1, 1, 12_000)]
    )
    found = report.indicators["sma(period=3)"]
    assert found.depends_on_history
    assert found.measured_need is None
    assert found.differences[2.0] > 0.5
    declared = next(trial for trial in report.trials if trial.candles == report.declared)
    assert declared.changed_trades == 2
    assert declared.changed_closes["exits.when"] > 0
    assert report.depends_on_history


def test_look_ahead_is_not_taken_for_short_history(monkeypatch: pytest.MonkeyPatch) -> None:
    """Cut off at the call, a value that looks ahead was missing there, and seemed to need more history."""
    plant(monkeypatch, "sma", lambda close, period: one_candle_early(indicators.sma(close, period)))
    report = warm_up(exit_signal({"left": SMA_3, "op": ">", "right": 1}), walk(300), [Call(0, 1, 6000)])
    assert not report.depends_on_history
    # One candle less than it would need: it takes the next one instead.
    assert report.indicators["sma(period=3)"].measured_need == 2


@pytest.mark.parametrize(("left", "depends"), [(9, False), (10, True), (20, True)])
def test_changed_trades_count_from_the_declared_warm_up_on(left: int, depends: bool) -> None:
    """With less than that, changes are what is expected."""
    trial = HistoryTrial(left, calls=3, changed_trades=1)
    assert WarmUpReport(declared=10, trials=[trial]).depends_on_history is depends


def test_earlier_trades_do_not_count_as_history() -> None:
    """Of calls that exclude each other, the second is skipped; without the first it would not be."""
    of = exit_signal(ABOVE, overlap="skip")
    report = warm_up(of, walk(100), [Call(0, 1, 3000), Call(1, 1, 3060)])
    assert [trial.candles for trial in report.trials] == [0, 1, 3, 6]
    assert report.trials[-1].calls == 2
    assert not report.depends_on_history


def test_calls_without_candles_are_counted() -> None:
    report = warm_up(exit_signal(ABOVE), walk(100), [Call(0, 1, 600), Call(1, 1, 1_000_000)])
    assert (report.calls, report.calls_without_candles) == (2, 1)
    assert report.indicators["sma(period=3)"].histories == [10]


# Scores


LIKED = {"score": "skill", "op": ">", "right": 0.5}


def scored(calls: Sequence[Call]) -> tuple[Call, ...]:
    """Give the first of three calls a good score, the second a bad one, and the third none."""
    said: list[dict[str, float]] = [{"skill": 0.75}, {"skill": 0.25}, {}]
    return tuple(replace(call, scores=said[k % 3]) for k, call in enumerate(calls))


def entering(when: dict[str, Any]) -> Strategy:
    return strategy(entry={"type": "signal", "when": when, "max_wait_seconds": 600}, horizon_seconds=3600)


@pytest.mark.parametrize("engine", [ReferenceMarket, FastMarket])
def test_conditions_on_scores_are_compared_for_everything_that_scores_say(engine: OpenMarket) -> None:
    market = walk(300)
    of = entering({"all": [LIKED, {"not": {"all": [LIKED, ABOVE]}}]})
    opened = OpenedMarket(Market("test:A", market, scored(calls_every(20, of=market))), of, engine)
    # True, false and unknown.
    assert len(opened.conditions) == 3
    check = CausalityCheck(of, engine, 0)
    check.check(opened, 40)
    assert not check.report.looks_ahead
    found = check.report.conditions["entry.when.all[0]"]
    # At as many closes for each of the three, of which two know it.
    assert found.known == found.compared * 2 / 3
    warm = WarmUpCheck(of, engine)
    warm.check(opened, 10)
    history = warm.report.conditions["entry.when.all[0]"]
    assert 0 < history.true_closes < history.closes
    assert 0 < history.unknown_closes < history.closes
    assert not warm.report.depends_on_history
    assert not warm.report.has_never_known


class FortuneTeller(ReferenceMarket):
    """An engine whose scores know how the candles end."""

    def __init__(self, candles: Candles, calls: Sequence[Call]) -> None:
        last = float(candles.close[-1]) if len(candles) else 0.0
        super().__init__(candles, [replace(call, scores={"skill": last % 1}) for call in calls])


def test_scores_that_know_the_future_are_found_by_their_trades() -> None:
    market = walk(300)
    of = entering(LIKED)
    opened = OpenedMarket(Market("test:A", market, calls_every(20, of=market)), of, FortuneTeller)
    check = CausalityCheck(of, FortuneTeller, 0)
    check.check(opened, 40)
    assert check.report.events.looks_ahead


def test_a_score_that_no_call_has_is_never_known() -> None:
    market = walk(300)
    report = warm_up(entering({"any": [LIKED, ABOVE]}), market, calls_every(20, of=market))
    assert report.conditions["entry.when.any[0]"].is_never_known
    assert not report.conditions["entry.when.any[1]"].is_never_known
    assert report.has_never_known
