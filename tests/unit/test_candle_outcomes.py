"""The table of imported candle files."""

from io import StringIO
from pathlib import Path

import pytest
from rich.console import Console

from quantbot_pipeline.cli import candle_outcomes
from quantbot_pipeline.storage.records import ImportRecord
from quantbot_pipeline.workflows.import_candles import ImportOutcome

LONG = "CASE_STUDY_ohlcv_data_2025_10_05_of_all_pools.csv"


def _printed(monkeypatch: pytest.MonkeyPatch, *, is_known: bool) -> str:
    console = Console(width=80, file=StringIO(), record=True)
    monkeypatch.setattr(candle_outcomes, "output", console)
    record = ImportRecord(
        kind="candles",
        file=LONG,
        sha256="",
        options_key="",
        rows_read=18_901,
        rows_stored=18_901,
        rows_duplicate=0,
        rows_quarantined=0,
        details={},
        quarantined=(),
    )
    outcome = ImportOutcome(record, is_known=is_known, path=Path(LONG))
    candle_outcomes.print_candle_outcomes([outcome], {}, as_json=False)
    return console.export_text()


@pytest.mark.parametrize("is_known", [True, False])
def test_long_file_name_keeps_its_ends_on_one_line(monkeypatch: pytest.MonkeyPatch, *, is_known: bool) -> None:
    lines = [line for line in _printed(monkeypatch, is_known=is_known).splitlines() if "│" in line]
    assert len(lines) == 2
    name = lines[0].split("│")[1].strip()
    beginning, end = name.split("…")
    assert LONG.startswith(beginning)
    assert LONG.endswith(end)
    assert len(beginning) >= 4


def test_nothing_known_is_not_counted(monkeypatch: pytest.MonkeyPatch) -> None:
    assert "known" not in _printed(monkeypatch, is_known=False)


def test_names_that_shortening_would_make_alike_stay_whole() -> None:
    names = [f"binance_T{k:03d}_USDT_2025-01_5m.parquet" for k in range(20)]
    assert candle_outcomes.short_names(names, 12) == names
    # With room for what tells them apart they are shortened.
    assert candle_outcomes.short_names(names[:2], 26) == ["binance_T000_…1_5m.parquet", "binance_T001_…1_5m.parquet"]


def test_an_instant_is_shown_in_utc() -> None:
    # 1744768800 = 20194 days and 2 hours after 1970.
    assert candle_outcomes.format_instant(1_744_768_800) == "2025-04-16 02:00:00 UTC"
