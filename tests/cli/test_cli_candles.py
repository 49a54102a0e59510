"""`quantbot candles` on real stores: counts, the table, the whole as JSON."""

from pathlib import Path

import pytest
from conftest import WIDTH, Databases, Quantbot

pytestmark = pytest.mark.server

MARCH_S = 1_740_787_200  # 2025-03-01 00:00 UTC


def _write_minutes(path: Path, minutes: list[int]) -> Path:
    rows = [f"binance,BONK_USDT,1m,{MARCH_S + 60 * minute},1,2,0.5,{1 + minute % 5},3" for minute in minutes]
    path.write_text("\n".join(["chain,token_address,interval,timestamp,open,high,low,close,volume", *rows]) + "\n")
    return path


def test_candles_are_resampled_once_and_their_quality_is_told(
    quantbot: Quantbot, fresh_databases: Databases, tmp_path: Path
) -> None:
    # Two of each five minutes, from 0 to 61 without 20 to 29.
    file = _write_minutes(tmp_path / "minutes.csv", [k for k in range(62) if not 20 <= k < 30 and k % 5 < 2])
    assert quantbot("ingest", "candles", file).code == 0

    arguments = ("candles", "resample", "--from", "1m", "--to", "5m,15m", "--months", "2025-03")
    first = quantbot(*arguments, "--json").document
    # Ten buckets of 5m; minutes 60 and 61 are in buckets that are still open.
    assert first == {
        "source": "1m",
        "token_months": 1,
        "source_rows": 22,
        "intervals": [
            {"interval": "5m", "candles_inserted": 10, "open_buckets_left_out": 1},
            {"interval": "15m", "candles_inserted": 4, "open_buckets_left_out": 1},
        ],
    }
    again = quantbot(*arguments, "--json").document
    assert [one["candles_inserted"] for one in again["intervals"]] == [0, 0]

    document = quantbot("candles", "quality", "--tokens", "binance:BONK_USDT", "--json").document
    found = {month["interval"]: month for month in document["months"]}
    assert {name: (month["candle_count"], month["expected_count"]) for name, month in found.items()} == {
        "1m": (22, 62),
        "5m": (10, 12),
        "15m": (4, 4),
    }
    assert (found["1m"]["verdict"], found["1m"]["source"], found["5m"]["source"]) == ("sparse", "imported", "resampled")
    # The file has one token-month: its counts are this one's.
    assert found["1m"]["imports"] == {"files": 1, "duplicates": 0, "conflicts": 0, "quarantined": 0}

    shown = quantbot("candles", "quality", "--limit", "2")
    assert shown.code == 0
    assert max(map(len, shown.out.splitlines()[:-1])) <= max(WIDTH, 100)
    assert "sparse" in shown.out
    assert shown.out.splitlines()[-1] == (
        "3 months of candles: 1 sparse, 1 gaps, 1 good; 1 better ones are not shown, --limit 0 shows them"
    )


def test_what_is_not_there_is_a_warning_that_says_what_to_do(
    quantbot: Quantbot,
    fresh_databases: Databases,
) -> None:
    for arguments in (("candles", "quality"), ("candles", "resample", "--from", "1m", "--to", "5m")):
        answer = quantbot(*arguments)
        assert answer.code == 0
        assert "'quantbot ingest candles' stores" in answer.err
