"""Drawing fewer candles than are stored."""

import numpy as np

from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.report.collect import EXAMPLE_CANDLES, _thinned


def _candles(timestamps: list[int]) -> Candles:
    n = len(timestamps)
    opens = np.arange(1.0, n + 1.0)
    return Candles(300, np.array(timestamps, dtype=np.int64), opens, opens + 0.6, opens - 0.5, opens + 0.5, np.ones(n))


def test_few_candles_are_drawn_as_they_are() -> None:
    candles = _candles([100 + 300 * i for i in range(EXAMPLE_CANDLES)])

    assert _thinned(candles) is candles


def test_neighbours_become_one_candle_and_gaps_stay_gaps() -> None:
    # 400 candles from 0, then one hour later one more: 401 candles over 412 · 300 s, two per stretch of 600 s.
    candles = _candles([300 * i for i in range(EXAMPLE_CANDLES)] + [300 * (EXAMPLE_CANDLES + 11)])

    drawn = _thinned(candles)

    assert drawn.interval_seconds == 600
    assert len(drawn) == 201
    assert (drawn.open[0], drawn.high[0], drawn.low[0], drawn.close[0], drawn.volume[0]) == (1.0, 2.6, 0.5, 2.5, 2.0)
    assert (drawn.timestamp[-2], drawn.timestamp[-1]) == (398 * 300, 410 * 300)
    drawn.validate()


def test_no_candles_stay_no_candles() -> None:
    assert len(_thinned(Candles.empty(60))) == 0
