"""The picture of coverage, collected from a real ClickHouse."""

from collections.abc import Sequence
from datetime import date

import pyarrow as pa
import pytest
from view_scene import JANUARY, Scene

from quantbot_pipeline.report import coverage
from quantbot_pipeline.report.coverage import collect_coverage

pytestmark = pytest.mark.server

JANUARY_S = int(JANUARY.timestamp())
DAY = 86400


def _insert(scene: Scene, token: str, seconds: int, interval: str, times: Sequence[int]) -> None:
    count = len(times)
    rows: dict[str, object] = {
        "chain": ["binance"] * count,
        "token_address": [token] * count,
        "interval": [interval] * count,
        "timestamp": [JANUARY_S + seconds * k for k in times],
        **{name: [1.0] * count for name in ("open", "high", "low", "close", "volume")},
    }
    scene.history.insert_candles(pa.table(rows))


def test_without_candles_there_is_no_picture(scene: Scene) -> None:
    assert collect_coverage(scene.history) is None


def test_each_cell_says_what_share_of_the_tokens_time_is_covered(scene: Scene) -> None:
    # A: hours 12 to 23 of the first day, none of the second, all of the third. B: the third day, half of it.
    _insert(scene, "A", 3600, "1h", [*range(12, 24), *range(48, 72)])
    _insert(scene, "B", 3600, "1h", range(48, 72, 2))

    found = collect_coverage(scene.history)

    assert found is not None
    start = JANUARY.date()
    assert found.first_days == tuple(date.fromordinal(start.toordinal() + k) for k in range(3))
    assert (found.days_per_cell, found.token_count) == (1, 2)
    # B ends an hour before A; 12 of its 23 hours are there. 36 of A's 60.
    assert [(one.token, one.coverage) for one in found.tokens] == [
        ("binance:B", pytest.approx(12 / 23)),
        ("binance:A", pytest.approx(36 / 60)),
    ]
    assert found.tokens[0].shares == (None, None, pytest.approx(12 / 23))
    assert found.tokens[1].shares == (1.0, 0.0, 1.0)
    assert found.total == (1.0, 0.0, pytest.approx(36 / 47))


def test_the_finest_interval_of_a_month_counts_and_the_worst_tokens_alone_are_drawn(
    scene: Scene, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(coverage, "WORST_TOKENS", 1)
    monkeypatch.setattr(coverage, "MOST_CELLS", 20)
    # 40 days of 1h candles in January and February; in February also one day of 5m, which a simulation would read.
    _insert(scene, "A", 3600, "1h", range(40 * 24))
    _insert(scene, "A", 300, "5m", range(31 * 288, 32 * 288))
    _insert(scene, "B", 3600, "1h", range(40 * 24))

    found = collect_coverage(scene.history)

    assert found is not None
    assert (found.days_per_cell, len(found.first_days), found.token_count) == (2, 20, 2)
    (worst,) = found.tokens
    assert (worst.token, worst.coverage) == ("binance:A", pytest.approx(32 / 40))
    # Cell 15 holds 31 January and 1 February, both whole; from the next on there are no 5m candles.
    assert worst.shares == (1.0,) * 16 + (0.0,) * 4
    assert found.total == (1.0,) * 16 + (0.5,) * 4
