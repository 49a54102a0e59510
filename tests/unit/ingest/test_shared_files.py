"""The readers on real files, where they are there."""

import os
from collections import Counter
from pathlib import Path

import pytest

from quantbot_pipeline.ingest.alert_files import read_alert_file
from quantbot_pipeline.ingest.candle_files import read_candle_file

SHARED_DATA = Path(
    os.environ.get("QUANTBOT_SHARED_DATA", Path(__file__).resolve().parents[3].parent / "shared" / "data")
)

needs_shared_data = pytest.mark.skipif(
    not (SHARED_DATA / "candles").is_dir(),
    reason=f"real data is not at {SHARED_DATA}; set QUANTBOT_SHARED_DATA to its folder",
)


@needs_shared_data
def test_every_real_candle_file_is_read_whole() -> None:
    totals: Counter[str] = Counter()
    for path in sorted((SHARED_DATA / "candles").glob("*.parquet")):
        file = read_candle_file(path)
        chain, token, interval = path.stem.split("__")
        assert set(file.candles["chain"].to_pylist()) == {chain}
        assert set(file.candles["token_address"].to_pylist()) == {token}
        assert set(file.candles["interval"].to_pylist()) == {interval}
        totals["files"] += 1
        totals["rows"] += file.rows_read
        totals["candles"] += file.candles.num_rows
        totals["refused"] += file.duplicates + file.conflicts + len(file.quarantined)
    assert totals == {"files": 167, "rows": 1_363_109, "candles": 1_363_109, "refused": 0}


@needs_shared_data
def test_every_row_of_the_reconstructed_calls_is_accounted_for() -> None:
    file = read_alert_file(SHARED_DATA / "alerts" / "reconstructed" / "SYNTHETIC_calls_joining_candles.csv")
    assert (file.rows_read, len(file.alerts), file.duplicates) == (639, 562, 33)
    assert Counter((row.field, row.reason) for row in file.quarantined) == {("caller", "caller is empty"): 44}
    assert {alert.token.chain for alert in file.alerts} == {
        "binance",
        "binance-futures",
        "freqtrade-testdata",
        "solana",
    }
