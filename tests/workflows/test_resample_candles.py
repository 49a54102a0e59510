"""Resampling over all tokens and months, and what it means for simulations: nothing."""

from datetime import timedelta

import pytest

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.workflows.resample_candles import resample_candles
from quantbot_pipeline.workflows.run_simulations import run_simulations
from quantbot_pipeline.workflows.token_months import TokenMonth
from tests.workflows.scene import BONK, MARCH, MINUTE, PEPE, Scene, alert, candle_rows

pytestmark = pytest.mark.server

FEBRUARY = MARCH - timedelta(days=28)


def _count(scene: Scene) -> dict[tuple[str, str], int]:
    rows = scene.history.load_coverage().to_pylist()
    counts: dict[tuple[str, str], int] = {}
    for row in rows:
        key = (row["token_address"], row["interval"])
        counts[key] = counts.get(key, 0) + row["candle_count"]
    return counts


def test_all_tokens_and_months_are_resampled_or_those_asked_for(scene: Scene) -> None:
    scene.history.insert_candles(candle_rows(BONK, FEBRUARY, 60))
    scene.history.insert_candles(candle_rows(BONK, MARCH, 62))
    scene.history.insert_candles(candle_rows(PEPE, MARCH, 60))

    told: list[tuple[int, int]] = []
    done = resample_candles(
        scene.history,
        source="1m",
        targets=["5m", "15m"],
        tokens={BONK},
        months={"2025-03"},
        on_progress=lambda number, total, _: told.append((number, total)),
    )

    assert done.token_months == (TokenMonth(BONK, "2025-03"),)
    assert done.source_rows == 62
    # Minutes 60 and 61 are in buckets that the data ends in.
    assert [(one.interval, one.candles_inserted, one.open_buckets) for one in done.intervals] == [
        ("5m", 12, 1),
        ("15m", 4, 1),
    ]
    assert told == [(1, 2), (2, 2)]

    done = resample_candles(scene.history, source="1m", targets=["5m", "15m"])
    assert [(one.candles_inserted, one.open_buckets) for one in done.intervals] == [(24, 1), (8, 1)]
    assert _count(scene) == {
        ("BONK_USDT", "1m"): 122,
        ("BONK_USDT", "5m"): 24,
        ("BONK_USDT", "15m"): 8,
        ("PEPE_USDT", "1m"): 60,
        ("PEPE_USDT", "5m"): 12,
        ("PEPE_USDT", "15m"): 4,
    }
    again = resample_candles(scene.history, source="1m", targets=["5m", "15m"])
    assert [one.candles_inserted for one in again.intervals] == [0, 0]


def test_nothing_is_made_where_an_interval_is_named_twice_or_not_at_all(scene: Scene) -> None:
    scene.history.insert_candles(candle_rows(BONK, MARCH, 60))

    for targets in (["5m", "5m"], []):
        with pytest.raises(InputError, match="allowed is each one once"):
            resample_candles(scene.history, source="1m", targets=targets)
    with pytest.raises(InputError, match="can't be made"):
        resample_candles(scene.history, source="1m", targets=["5m", "30s"])

    assert _count(scene) == {("BONK_USDT", "1m"): 60}


def test_resampled_candles_change_no_simulation(scene: Scene) -> None:
    """A run reads the finest interval of its window, and resampling makes coarser ones only.

    February has 15m candles alone, March 1m ones: each month's runs are reused afterwards, which says that
    their candles, calls and strategies are the same to the bit.
    """
    quarters = candle_rows(BONK, FEBRUARY, 96)
    times = [int(FEBRUARY.timestamp()) + 900 * k for k in range(96)]
    quarters = quarters.set_column(3, quarters.schema.field("timestamp"), [times])
    quarters = quarters.set_column(2, quarters.schema.field("interval"), [["15m"] * 96])
    scene.history.insert_candles(quarters)
    scene.history.insert_candles(candle_rows(BONK, MARCH, 300))
    scene.call(alert(1, FEBRUARY + 60 * MINUTE), alert(2, MARCH + 30 * MINUTE), alert(3, MARCH + 290 * MINUTE))
    strategy = scene.strategy()

    def simulate() -> list[str]:
        requests = [*scene.plan(strategy, month="2025-02"), *scene.plan(strategy, month="2025-03")]
        return [outcome.status for outcome in run_simulations(requests, scene.state, scene.history)]

    assert simulate() == ["computed", "computed"]
    resample_candles(scene.history, source="1m", targets=["5m", "15m", "1h"], include_open=True)
    resample_candles(scene.history, source="15m", targets=["1h"], include_open=True)

    assert simulate() == ["reused", "reused"]
    assert len(scene.runs()) == 2
