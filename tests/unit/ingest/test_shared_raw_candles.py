"""Every raw candle file of the shared data set is read or refused, with exact counts; skipped where it is absent."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candle_files import CandleFile, read_candle_file
from quantbot_pipeline.ingest.candle_streams import iterate_candles
from quantbot_pipeline.ingest.candles.options import CandleReadOptions
from quantbot_pipeline.ingest.checked_candles import merged

RAW = (
    Path(os.environ.get("QUANTBOT_SHARED_DATA", Path(__file__).parents[4] / "shared" / "data")).resolve()
    / "candles_raw"
)
pytestmark = pytest.mark.skipif(not RAW.is_dir(), reason="the shared data set is not there")

EXCHANGE = {"chain": "binance"}
IN_UTC = {"timezone": "UTC"}
# A stand-in of the right form: the file's name shortens the real address.
SOME_TOKEN = {"token": "So11111111111111111111111111111111111111112"}

READ: list[tuple[str, dict[str, Any], dict[str, int], int]] = [
    # file, options, stored by interval, how many of them had their missing volume made 0; nothing else came of any row
    ("binance_json/AEUR_USDT-1h.feather", EXCHANGE, {"1h": 4040}, 0),
    ("binance_json/RED_USDT-5m.feather", EXCHANGE, {"5m": 31188}, 0),
    ("binance_json/SHIB_USDT-15m.json", EXCHANGE, {"15m": 9213}, 0),
    ("binance_json/SHIB_USDT-1h.json", EXCHANGE, {"1h": 2303}, 0),
    ("freqtrade/ADA_BTC-5m.feather", EXCHANGE, {"5m": 5720}, 0),
    ("freqtrade/NOPAIR_XXX-4m.json", EXCHANGE, {}, 0),
    ("freqtrade/UNITTEST_BTC-1m.json", EXCHANGE, {"1m": 13681}, 0),
    # The name says 8m; the rows are those of the file above.
    ("freqtrade/UNITTEST_BTC-8m.json.gz", EXCHANGE, {"1m": 13681}, 0),
    ("freqtrade/XRP_ETH-1m.feather", EXCHANGE, {"1m": 2469}, 0),
    (
        "geckoterminal/CASE_STUDY_ohlcv_data_2025_10_05.csv",
        {},
        {"12h": 24, "15m": 836, "1d": 13, "1h": 244, "1m": 1294, "4h": 64, "5m": 1184},
        0,
    ),
    ("geckoterminal/TROLL_2_solana_4XUUrG5a7vHpotaAhF5fm9YCPpBcWDnjSmmYU61Sh6qR.csv", IN_UTC, {"1h": 520}, 0),
    ("geckoterminal/TROLL_2_solana_4qs2R1Gsj2Lpy4ewV9hfVerNk2h4Qx3ZEkmJyKLywvb3.csv", IN_UTC, {"1h": 1003}, 0),
    ("geckoterminal/TROLL_2_solana_4w2cysotX6czaUGmmWg13hDpY4QEMG2CzeKYEQyK9Ama.csv", IN_UTC, {"1h": 1035}, 0),
    (
        "geckoterminal/backups_ohlcv_data_data.json.gz",
        {},
        {"12h": 5, "15m": 120, "1d": 4, "1h": 32, "1m": 1748, "4h": 9, "5m": 357},
        0,
    ),
    ("geckoterminal/specs_QA_ohlcv_data.csv", {}, {"15m": 1088}, 0),
    (
        "geckoterminal/specs_QA_ohlcv_data_2.csv",
        {},
        {"12h": 49, "15m": 1403, "1d": 26, "1h": 4896, "1m": 9271, "4h": 141, "5m": 3144},
        0,
    ),
    ("quantbot_excerpts/AIRI_3hAQddKZ_solana.EXCERPT.csv", SOME_TOKEN, {"5m": 24}, 0),
    (
        "quantbot_excerpts/base_0x211cf4b9ff67740df5a72bf9a9c9e07e8bfc2a25_20250901-0000_20251129-2359.EXCERPT.csv",
        {},
        {"5m": 21},
        21,
    ),
    (
        "quantbot_excerpts/bsc_0x20d6015660b3fe52e6690a889b5C51F69902cE0e_20250922-1608_20251121-1608.EXCERPT.csv",
        {},
        {"5m": 10, "1h": 8},
        0,
    ),
    (
        "quantbot_excerpts/solana_5V1HCmgWNR4FdJmhy5ny2kdxsoB2NPrV9LX4d3GXpump_20250813-1351_20250813-1623.EXCERPT.csv",
        {},
        {"5m": 12, "1m": 11},
        10,
    ),
]

REFUSED: list[tuple[str, str]] = [
    ("freqtrade/UNITTEST_BTC-8m.feather", "the file is empty"),
    ("freqtrade/XRP_ETH-trades.json.gz", "these are trades, not candles"),
    ("freqtrade/kraken_trades_BCHEUR.csv", "no column names, and 3 values a line, as lists of trades"),
]


def _read(path: Path, options: dict[str, Any]) -> CandleFile:
    file = read_candle_file(path, **options)
    assert file.rows_read == file.candles.num_rows + file.duplicates + file.conflicts + len(file.quarantined)
    return file


@pytest.mark.parametrize(("name", "options", "stored", "flagged"), READ, ids=lambda value: str(value)[:60])
def test_every_row_of_every_raw_file_is_accounted_for(
    name: str, options: dict[str, Any], stored: dict[str, int], flagged: int
) -> None:
    file = _read(RAW / name, options)
    assert Counter(file.candles["interval"].to_pylist()) == stored
    assert (file.duplicates, file.conflicts, file.quarantined) == (0, 0, ())
    assert file.rows_read == sum(stored.values())
    assert Counter(file.candles["flags"].to_pylist())[1] == flagged
    pieces = list(iterate_candles(RAW / name, options=CandleReadOptions(**options)))
    assert merged(pieces).candles.equals(file.candles)


@pytest.mark.parametrize(("name", "reason"), REFUSED)
def test_what_holds_no_candles_is_refused_with_the_reason(name: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        read_candle_file(RAW / name, chain="binance")


def test_no_raw_file_is_left_out() -> None:
    named = {name for name, *_ in READ} | {name for name, _ in REFUSED}
    assert named == {path.relative_to(RAW).as_posix() for path in RAW.rglob("*") if path.is_file()}


def test_what_a_person_must_say_is_asked_for() -> None:
    for name, options, *_ in READ:
        if options is EXCHANGE and name != "freqtrade/NOPAIR_XXX-4m.json":
            with pytest.raises(DataError, match="--chain"):
                read_candle_file(RAW / name)
    with pytest.raises(DataError, match=r"shortens the address to '3hAQddKZ'.*--token"):
        read_candle_file(RAW / "quantbot_excerpts" / "AIRI_3hAQddKZ_solana.EXCERPT.csv")
    for name, options, stored, _ in READ:
        if options is IN_UTC:
            file = _read(RAW / name, {})
            assert len(file.quarantined) == sum(stored.values())
            assert "--timezone" in file.quarantined[0].reason
