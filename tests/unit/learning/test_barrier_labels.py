"""Barriers, worked out by hand; `tests/property/test_barriers_of_trades.py` holds them to the engine."""

import numpy as np
import pytest

from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.learning.barrier_labels import build_barrier_labels
from quantbot_pipeline.learning.labels import LABEL_SCHEMA, TimeToTarget, TripleBarrier

MINUTE = 60
BARRIERS = TripleBarrier(
    name="b", upper=0.5, lower=0.2, horizon_seconds=4 * MINUTE, classes="signed", max_staleness_seconds=90
)
TARGET = TimeToTarget(name="t", target=0.5, horizon_seconds=4 * MINUTE, max_staleness_seconds=90)


def minutes(*rows: tuple[int, float, float, float, float], interval: int = MINUTE) -> Candles:
    """Return candles of (minute, open, high, low, close)."""
    columns = np.array(rows, dtype=np.float64).T
    return Candles(
        interval,
        columns[0].astype(np.int64) * MINUTE,
        *(np.ascontiguousarray(c) for c in columns[1:]),
        np.ones(len(rows)),
    ).validate()


def flat(*, start: int, count: int) -> list[tuple[int, float, float, float, float]]:
    return [(minute, 1.0, 1.0, 1.0, 1.0) for minute in range(start, start + count)]


def label(
    definition: TripleBarrier | TimeToTarget, candles: Candles | list[Candles], signal: int
) -> list[dict[str, float]]:
    series = [candles] if isinstance(candles, Candles) else candles
    ids, signals = np.array([7]), np.array([signal])
    table = build_barrier_labels(definition, ids, signals, series)
    assert table.schema == LABEL_SCHEMA
    return [{name: row[name] for name in ("label", "label_end", "pnl")} for row in table.to_pylist()]


def test_upper_barrier_is_known_when_its_candle_closes() -> None:
    # Bought at 1 in minute 0; minute 2 reaches 1.5.
    candles = minutes(*flat(start=0, count=2), (2, 1.0, 1.6, 1.0, 1.2), *flat(start=3, count=3))
    assert label(BARRIERS, candles, 0) == [{"label": 1.0, "label_end": 180, "pnl": 0.5}]
    assert label(TARGET, candles, 0) == [{"label": 180.0, "label_end": 180, "pnl": 0.5}]


def test_candle_that_touches_both_barriers_counts_for_the_lower() -> None:
    candles = minutes(*flat(start=0, count=1), (1, 1.0, 1.6, 0.7, 1.0), *flat(start=2, count=4))
    assert label(BARRIERS, candles, 0) == [{"label": -1.0, "label_end": 120, "pnl": pytest.approx(-0.2)}]
    # Without a lower barrier it counts for the target.
    assert label(TARGET, candles, 0) == [{"label": 120.0, "label_end": 120, "pnl": 0.5}]


@pytest.mark.parametrize(("opens", "expected", "pnl"), [(1.8, 1.0, 0.8), (0.6, -1.0, -0.4)])
def test_open_beyond_a_barrier_counts_at_its_open_and_is_known_then(opens: float, expected: float, pnl: float) -> None:
    # The candle goes on to touch the other barrier too.
    candles = minutes(*flat(start=0, count=1), (1, opens, 2.0, 0.5, 1.0), *flat(start=2, count=4))
    assert label(BARRIERS, candles, 0) == [{"label": expected, "label_end": 60, "pnl": pytest.approx(pnl)}]


def test_end_of_the_time_is_the_open_of_the_first_candle_after_it() -> None:
    # From minute 0 on four minutes; minute 4 is missing, minute 5 opens at 1.1.
    candles = minutes(*flat(start=0, count=4), (5, 1.1, 9.0, 0.1, 1.0))
    assert label(BARRIERS, candles, 0) == [{"label": 0.0, "label_end": 300, "pnl": pytest.approx(0.1)}]
    # The target was not met in time: the horizon.
    assert label(TARGET, candles, 0) == [{"label": 240.0, "label_end": 300, "pnl": pytest.approx(0.1)}]


def test_upper_class_is_one_for_the_upper_barrier_alone() -> None:
    definition = BARRIERS.model_copy(update={"classes": "upper"})
    for low, high, expected in ((1.0, 1.6, 1.0), (0.7, 1.0, 0.0), (1.0, 1.0, 0.0)):
        candles = minutes(*flat(start=0, count=1), (1, 1.0, high, low, 1.0), *flat(start=2, count=4))
        assert label(definition, candles, 0)[0]["label"] == expected


def test_call_whose_time_the_candles_do_not_cover_has_no_label_even_if_a_barrier_was_met() -> None:
    rows = [*flat(start=0, count=1), (1, 1.0, 1.6, 1.0, 1.0), *flat(start=2, count=2)]
    assert label(BARRIERS, minutes(*rows), 0) == []
    assert label(TARGET, minutes(*rows), 0) == []
    # The candle at the end of the time is what was missing.
    assert len(label(BARRIERS, minutes(*rows, *flat(start=4, count=1)), 0)) == 1


def test_first_candle_opens_at_the_signal_or_soon_after() -> None:
    candles = minutes(*flat(start=5, count=10))
    # 90 s are allowed: the candle of second 300 is 90 s after 210, and 91 s after 209.
    assert len(label(BARRIERS, candles, 300)) == 1
    assert len(label(BARRIERS, candles, 210)) == 1
    assert label(BARRIERS, candles, 209) == []
    # Behind the last candle there is none.
    assert label(BARRIERS, candles, 10_000) == []
    assert label(BARRIERS, [], 300) == []


def test_finest_interval_with_a_candle_in_time_is_read() -> None:
    coarse = minutes(*((minute, 1.0, 9.0, 1.0, 1.0) for minute in range(0, 60, 5)), interval=300)
    fine = minutes(*flat(start=20, count=20))
    # At minute 0 the fine one has nothing yet; at minute 20 it has.
    assert label(BARRIERS, [coarse, fine], 0)[0]["label"] == 1.0
    assert label(BARRIERS, [coarse, fine], 20 * MINUTE)[0]["label"] == 0.0
