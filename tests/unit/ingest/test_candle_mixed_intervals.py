"""Rows of one time that disagree: candles of two intervals are told from conflicts."""

from collections.abc import Iterable
from pathlib import Path

import pytest

from quantbot_pipeline.ingest.candle_files import CandleFile, read_candle_file

T0 = 1735689600


def _read(path: Path, rows: Iterable[tuple[int, float]], interval: str | None = None) -> CandleFile:
    lines = [f"{T0 + second},{price},{price},{price},{price},1" for second, price in rows]
    path.write_text("timestamp,open,high,low,close,volume\n" + "\n".join(lines) + "\n")
    file = read_candle_file(path, chain="binance", token="X_USDT", interval=interval)  # noqa: S106 - of a coin
    assert file.rows_read == file.candles.num_rows + file.duplicates + file.conflicts + len(file.quarantined)
    return file


def _minutes(count: int, price: float = 1.0, every: int = 1) -> list[tuple[int, float]]:
    return [(60 * number, price) for number in range(0, count, every)]


@pytest.mark.parametrize("is_sorted", [True, False])
def test_5m_rows_among_1m_rows_do_not_replace_them(tmp_path: Path, is_sorted: bool) -> None:
    """30 candles of 1m; six 5m candles open at 0, 300, … 1500: of these six times both rows are refused."""
    rows = _minutes(30) + _minutes(30, 2.0, every=5)
    file = _read(tmp_path / "a.csv", sorted(rows) if is_sorted else rows)
    assert file.conflicts == 0
    assert set(file.candles["close"].to_pylist()) == {1.0}
    assert file.candles.num_rows == 24
    assert len(file.quarantined) == 12
    reason = file.quarantined[0].reason
    assert "1m and 5m candles seem to be mixed" in reason
    assert "--interval" in reason
    assert "interval column" in reason


def test_mixed_intervals_are_seen_where_some_coarser_candles_are_missing_or_equal(tmp_path: Path) -> None:
    """Of 40 times of 5m candles two are missing and three idle ones equal the 1m candle."""
    coarse = [
        (second, 1.0 if number in (3, 4, 5) else 2.0) for number, (second, _) in enumerate(_minutes(200, every=5))
    ]
    file = _read(tmp_path / "a.csv", sorted(_minutes(200) + coarse[:10] + coarse[12:]))
    assert (file.conflicts, file.duplicates, len(file.quarantined)) == (0, 3, 2 * 35)


def test_a_stretch_that_was_exported_twice_with_other_prices_stays_conflicts(tmp_path: Path) -> None:
    file = _read(tmp_path / "a.csv", sorted(_minutes(30) + _minutes(20, 1.001)))
    assert (file.conflicts, len(file.quarantined), file.candles.num_rows) == (20, 0, 30)


def test_a_few_rows_that_came_twice_stay_conflicts(tmp_path: Path) -> None:
    """Four times on the grid of 5m are chance: one in 625."""
    file = _read(tmp_path / "a.csv", sorted(_minutes(300) + _minutes(20, 2.0, every=5)))
    assert (file.conflicts, len(file.quarantined)) == (4, 0)


def test_repeats_all_over_the_file_of_which_only_those_on_the_grid_differ_stay_conflicts(tmp_path: Path) -> None:
    again = [(second, 2.0 if second % 300 == 0 else 1.0) for second, _ in _minutes(60)]
    file = _read(tmp_path / "a.csv", sorted(_minutes(60) + again))
    assert (file.conflicts, file.duplicates, len(file.quarantined)) == (12, 48, 0)


def test_who_names_the_interval_is_believed(tmp_path: Path) -> None:
    file = _read(tmp_path / "a.csv", sorted(_minutes(30) + _minutes(30, 2.0, every=5)), interval="1m")
    assert (file.conflicts, len(file.quarantined)) == (6, 0)
