"""Stamps of inputs: what a run reads never changes without its stamp, and little else does."""

from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, Candles
from quantbot_pipeline.strategy.model import Strategy, parse_strategy
from quantbot_pipeline.workflows.call_scores import CallScoreReader, ScoringVersion
from quantbot_pipeline.workflows.simulation_inputs import StoredInputs, StoredMonth
from quantbot_pipeline.workflows.token_months import month_of, month_start, next_month
from tests.property.strategy_space import MODELS, random_scores, seeds
from tests.workflows.stored_history import TOKEN, StoredHistory, at, call_row, flat_candles, second
from tests.workflows.test_window_split import world

FEBRUARY = datetime.fromisoformat("2025-02-01T00:00:00+00:00")
MARCH = datetime.fromisoformat("2025-03-01T00:00:00+00:00")
APRIL = datetime.fromisoformat("2025-04-01T00:00:00+00:00")
MAY = datetime.fromisoformat("2025-05-01T00:00:00+00:00")
MINUTE = timedelta(minutes=1)
HOUR = timedelta(hours=1)


def stored(history: StoredHistory) -> StoredInputs:
    """Return what the stores would say, a month's content being its very values."""
    months: dict[Any, list[StoredMonth]] = {}
    for row in history.load_coverage().to_pylist() if any(map(len, history.candles.values())) else []:
        interval = INTERVAL_SECONDS[row["interval"]]
        candles = history.candles[interval]
        inside = (candles.timestamp >= row["first_s"]) & (candles.timestamp <= row["last_s"])
        columns = (candles.timestamp, candles.open, candles.high, candles.low, candles.close, candles.volume)
        content = repr([column[inside].tolist() for column in columns])
        found = StoredMonth(row["month"], row["candle_count"], row["first_s"], row["last_s"], content)
        months.setdefault((TOKEN, interval), []).append(found)
    reader = CallScoreReader(MODELS, dict.fromkeys(range(len(MODELS)), ScoringVersion("1", "ready")), history)  # type: ignore[arg-type]
    series_months = {series: sorted(found) for series, found in months.items()}
    return StoredInputs(history.calls, series_months, reader.read(history.calls))


def stamp(history: StoredHistory, start: datetime, end: datetime, strategy: Strategy) -> str | None:
    return stored(history).stamp(TOKEN, start, end, strategy)


def strategy(**fields: Any) -> Strategy:
    """Buy at once and sell ten minutes later."""
    return parse_strategy({"name": "plain", "entry": {"type": "immediate"}, "horizon_seconds": 600, **fields})


def minutes(start: datetime, count: int) -> list[int]:
    return [second(start) + 60 * k for k in range(count)]


def three_months(call_at: datetime) -> StoredHistory:
    """A call, and an hour of candles at the end of February, at both ends of March, at the beginning of April."""
    times = [*minutes(MARCH - HOUR, 120), *minutes(APRIL - HOUR, 120)]
    return StoredHistory([call_row(1, call_at)], {60: flat_candles(60, times)})


def changed_at(history: StoredHistory, instant: datetime) -> StoredHistory:
    """The same, with another price of the candle that opens at an instant."""
    candles = history.candles[60]
    close = candles.close.copy()
    close[candles.timestamp == second(instant)] = 1.5
    return replace(history, candles={60: replace(candles, close=close)})


LISTENING = {
    "exits": {"when": {"left": {"candle": "close"}, "op": ">", "right": {"indicator": "sma", "params": {"period": 5}}}}
}


@pytest.mark.parametrize(
    ("call_at", "fields", "stale"),
    [
        # Amid March's first hour, ten minutes of horizon: March alone.
        (MARCH + 30 * MINUTE, {}, {"2025-03"}),
        # Five candles of warm-up before the entry at 00:02 reach into February.
        (MARCH + 2 * MINUTE, LISTENING, {"2025-02", "2025-03"}),
        # Amid the hour there is warm-up enough; but how much of a month lies before an instant is not known.
        (MARCH + 30 * MINUTE, LISTENING, {"2025-02", "2025-03"}),
        # At 23:55 with a horizon of 20 minutes and a day of waiting for candles: into April.
        (APRIL - 5 * MINUTE, {"horizon_seconds": 1200}, {"2025-03", "2025-04"}),
        # A candle may be waited for as long as this by default.
        (APRIL - 30 * MINUTE, {"max_staleness_seconds": 60}, {"2025-03"}),
    ],
)
def test_candles_of_those_months_alone_make_a_run_stale_that_it_can_read(
    call_at: datetime, fields: dict[str, Any], stale: set[str]
) -> None:
    history, plain = three_months(call_at), strategy(**fields)
    before = stamp(history, MARCH, APRIL, plain)
    assert before is not None
    found = set()
    for month, instant in {
        "2025-02": MARCH - MINUTE,
        "2025-03": MARCH + 50 * MINUTE,
        "2025-04": APRIL + 5 * MINUTE,
    }.items():
        if stamp(changed_at(history, instant), MARCH, APRIL, plain) != before:
            found.add(month)
    assert found == stale


def test_a_month_that_comes_into_a_gap_changes_the_stamp() -> None:
    """The horizon ended in the gap, and was found behind it."""
    history = three_months(APRIL + 55 * MINUTE)
    history.candles[60] = flat_candles(60, [*minutes(APRIL, 60), *minutes(APRIL + timedelta(days=100), 5)])
    before = stamp(history, APRIL, MAY, strategy())
    history.candles[60] = flat_candles(
        60, [*minutes(APRIL, 60), *minutes(MAY, 5), *minutes(APRIL + timedelta(days=100), 5)]
    )
    assert stamp(history, APRIL, MAY, strategy()) != before


def test_a_finer_interval_changes_the_stamp() -> None:
    history = three_months(MARCH + 30 * MINUTE)
    before = stamp(history, MARCH, APRIL, strategy())
    history.candles[1] = flat_candles(1, [second(MARCH) + 5])
    assert stamp(history, MARCH, APRIL, strategy()) != before


def test_calls_that_are_not_listened_to_change_no_stamp() -> None:
    history = three_months(MARCH + 30 * MINUTE)
    exiting = strategy(exits={"on_exit_call": True})
    plain, listening = (stamp(history, MARCH, APRIL, of) for of in (strategy(), exiting))
    history.calls += [
        call_row(2, MARCH + 35 * MINUTE, SignalType.EXIT, side=Side.SELL),
        call_row(3, MARCH + 36 * MINUTE, SignalType.SCALE_IN),
        call_row(4, APRIL),
        call_row(5, MARCH - MINUTE),
    ]
    assert stamp(history, MARCH, APRIL, strategy()) == plain
    assert stamp(history, MARCH, APRIL, exiting) != listening


def test_without_calls_that_ask_for_anything_there_is_no_stamp() -> None:
    history = three_months(MARCH)
    assert stamp(history, APRIL, MAY, strategy()) is None
    assert stamp(history, FEBRUARY, MARCH, strategy()) is None


def _changed(random: Random, history: StoredHistory) -> StoredHistory:
    """Return what is stored with something changed: a candle, candles gone or come, an interval, calls, scores."""
    [(interval, candles)] = list(history.candles.items())[:1]
    n = len(candles)
    i = random.randrange(n)
    kind = random.randrange(7)
    if kind == 0:
        column = random.choice(["open", "high", "low", "close", "volume"])
        values = getattr(candles, column).copy()
        values[i] *= 1.5
        values[i] += 1e-9
        return replace(history, candles={interval: replace(candles, **{column: values})})
    if kind == 1:
        kept = np.ones(n, dtype=bool)
        kept[i : i + random.choice([1, 5, n])] = False
        return replace(history, candles={interval: _taken(candles, kept)} if kept.any() else {})
    if kind == 2:
        times = np.unique(
            np.concatenate(
                [candles.timestamp, candles.timestamp[[i]] + interval * random.choice([-40_000, -1, 1, 500])]
            )
        )
        return replace(history, candles={interval: flat_candles(interval, times.tolist())})
    if kind == 3:
        other = random.choice([seconds for seconds in (1, 60, 300, 3600) if seconds != interval])
        begin = int(candles.timestamp[i]) // other * other
        return replace(history, candles={**history.candles, other: flat_candles(other, [begin, begin + other])})
    calls = list(history.calls)
    k = random.randrange(len(calls))
    if kind == 6:
        return replace(history, scores={**history.scores, calls[k].call_id: random_scores(random)})
    if kind == 4:
        calls[k] = replace(
            calls[k], signal_timestamp=calls[k].signal_timestamp + timedelta(seconds=random.choice([1, 3600]))
        )
    else:
        time = int(candles.timestamp[i])
        calls.append(call_row(900, at(time), random.choice(list(SignalType)), side=random.choice(list(Side))))
    return replace(history, calls=calls)


def _taken(candles: Candles, kept: Any) -> Candles:
    columns = (candles.timestamp, candles.open, candles.high, candles.low, candles.close, candles.volume)
    return Candles(candles.interval_seconds, *(column[kept] for column in columns))


@given(seeds())
@settings(max_examples=300, deadline=None, derandomize=True)
def test_what_a_run_reads_never_changes_under_the_same_stamp(random: Random) -> None:
    history, strategy, _, calls = world(random)
    changed = _changed(random, history)
    times = [at(call.signal_timestamp) for call in calls]
    month = month_of(min(times))
    while month <= month_of(max(times)):
        start, end = month_start(month), month_start(next_month(month))
        month = next_month(month)
        before, after = (each.cut(start, end, strategy) for each in (history, changed))
        read_before, read_after = (cut.fingerprint if cut else None for cut in (before, after))
        if read_before != read_after:
            assert stamp(history, start, end, strategy) != stamp(changed, start, end, strategy)


def test_a_score_is_in_the_stamps_of_those_that_ask_for_it_alone() -> None:
    plain = three_months(MARCH + 30 * MINUTE)
    said = replace(plain, scores={1: {"skill": 0.5}})
    asking, other = (
        strategy(entry={"type": "signal", "when": {"score": name, "op": ">", "right": 0.6}}) for name in MODELS
    )
    assert stamp(plain, MARCH, APRIL, strategy()) == stamp(said, MARCH, APRIL, strategy())
    assert stamp(plain, MARCH, APRIL, other) == stamp(said, MARCH, APRIL, other)
    before, after = (stamp(history, MARCH, APRIL, asking) for history in (plain, said))
    assert before is not None
    assert after is not None
    # One half is about candles and calls, the other about scores: that is how their changes are told apart.
    assert before[:32] == after[:32]
    assert before[32:] != after[32:]
    candles = stamp(changed_at(plain, MARCH + 30 * MINUTE), MARCH, APRIL, asking)
    assert candles is not None
    assert candles[:32] != before[:32]
    assert candles[32:] == before[32:]
