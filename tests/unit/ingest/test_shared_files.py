"""The readers on real files, where they are there."""

import os
from collections import Counter
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.ingest.alert_files import read_alert_file, read_pool_map
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


# Rows read, alerts, duplicates, quarantined; then the quarantined rows by what their reasons begin with.
Counted = tuple[int, int, int, int]
ALERT_FILES: list[tuple[str, dict[str, Any], Counted, dict[str, int]]] = [
    ("real/pump_groups.csv", {}, (13, 0, 0, 13), {"no token is named": 13}),
    ("real/pump_telegram.csv", {}, (1110, 0, 0, 1110), {"no token is named": 1110}),
    (
        "real/pump_telegram.csv",
        {"columns": {"symbol": "token_address"}, "timezone": "UTC"},
        (1110, 1110, 0, 0),
        {},
    ),
    ("real/0xbot_parsed_telegram_data.csv", {}, (17332, 0, 0, 17332), {"no token is named": 17332}),
    (
        "real/geckoterminal_new_pools_history_2025_10_05.csv",
        {},
        (4720, 0, 0, 4720),
        {"collected_at: timestamp": 4720},
    ),
    (
        "real/geckoterminal_new_pools_history_2025_10_05.csv",
        {"columns": {"pool_created_at": "timestamp_mdy"}, "timezone": "UTC", "caller": "geckoterminal"},
        (4720, 4717, 3, 0),
        {},
    ),
    ("real_excerpts_quantbot/Brook_Giga_trade_by_trade.EXCERPT.csv", {}, (6, 0, 0, 6), {"Date + Time: timestamp": 6}),
    (
        "real_excerpts_quantbot/Brook_Giga_trade_by_trade.EXCERPT.csv",
        {"timezone": "UTC", "caller": "Brook Giga"},
        (6, 6, 0, 0),
        {},
    ),
    ("real_excerpts_quantbot/alerts.EXCERPT.csv", {}, (37, 19, 18, 0), {}),
    ("real_excerpts_quantbot/alerts_dune.EXCERPT.csv", {}, (15, 14, 0, 1), {"caller is empty": 1}),
    (
        "real_excerpts_quantbot/all_brook_channels_calls.EXCERPT.csv",
        {},
        (17, 13, 1, 3),
        {"not a call: bot command": 2, "the address is ambiguous": 1},
    ),
    ("real_excerpts_quantbot/brook7_calls_newest.EXCERPT.csv", {}, (25, 23, 0, 2), {"not a call: bot command": 2}),
    (
        "reconstructed/telegram_result.json",
        {},
        (44, 18, 24, 2),
        {"not a call: service message": 1, "not a call: a bot's message": 1},
    ),
    (
        "reconstructed/messages.html",
        {},
        (45, 19, 24, 2),
        {"not a call: service message": 1, "not a call: a bot's message": 1},
    ),
    ("reconstructed/SYNTHETIC_calls_joining_candles.csv", {}, (639, 562, 33, 44), {"caller is empty": 44}),
]


@needs_shared_data
@pytest.mark.parametrize(("name", "options", "counted", "reasons"), ALERT_FILES)
def test_every_row_of_every_real_alert_file_is_accounted_for(
    name: str, options: dict[str, Any], counted: Counted, reasons: dict[str, int]
) -> None:
    file = read_alert_file(SHARED_DATA / "alerts" / name, **options)
    assert (file.rows_read, len(file.alerts), file.duplicates, len(file.quarantined)) == counted
    found = Counter(
        next((start for start in reasons if row.reason.startswith(start)), row.reason) for row in file.quarantined
    )
    assert found == reasons


@needs_shared_data
def test_no_real_alert_file_is_left_out() -> None:
    folder = SHARED_DATA / "alerts"
    files = {str(path.relative_to(folder)) for path in folder.rglob("*") if path.is_file()}
    assert files == {name for name, *_ in ALERT_FILES}


@needs_shared_data
def test_the_chains_of_the_reconstructed_calls_are_those_of_their_rows() -> None:
    file = read_alert_file(SHARED_DATA / "alerts" / "reconstructed" / "SYNTHETIC_calls_joining_candles.csv")
    assert {alert.token.chain for alert in file.alerts} == {
        "binance",
        "binance-futures",
        "freqtrade-testdata",
        "solana",
    }


@needs_shared_data
def test_a_table_an_export_and_a_page_of_one_chat_hold_the_same_alerts() -> None:
    folder = SHARED_DATA / "alerts"
    table = read_alert_file(folder / "real_excerpts_quantbot" / "alerts.EXCERPT.csv")
    export = read_alert_file(folder / "reconstructed" / "telegram_result.json")
    page = read_alert_file(folder / "reconstructed" / "messages.html", chat="1900000001")
    keys = [{alert.content_key: alert for alert in file.alerts} for file in (table, export, page)]
    # The table knows a second token of message 149680; the page has one message more.
    assert len(keys[0].keys() - keys[1].keys()) == 1
    assert keys[1].keys() < keys[0].keys()
    assert len(keys[2].keys() - keys[1].keys()) == 1
    for key, alert in keys[1].items():
        assert (alert.alert_price, alert.alert_timestamp) == (keys[2][key].alert_price, keys[2][key].alert_timestamp)
        assert alert.alert_price in (keys[0][key].alert_price, None)


@needs_shared_data
def test_no_real_alert_states_what_became_of_it() -> None:
    name = "real_excerpts_quantbot/Brook_Giga_trade_by_trade.EXCERPT.csv"
    file = read_alert_file(SHARED_DATA / "alerts" / name, timezone="UTC", caller="Brook Giga")
    for alert in file.alerts:
        assert (alert.alert_price, alert.alert_market_cap, alert.confidence) == (None, None, None)
        assert "Max_Multiplier_Reached" in alert.raw


@needs_shared_data
def test_the_pools_of_the_candle_files_have_their_tokens() -> None:
    pools = read_pool_map(SHARED_DATA / "candles_pool_to_mint.csv")
    assert pools == {
        "2Ausg8ScDHmATwzUVavkQC5fmp59CdvXeHgSTFi4gTQL": "JBdaVHpevZ1R2ThGRgrMwwmbMpmqMecNG2bfVKguS24Q",
        "F5vAiFCP82RQetoxK7ax4dNQCwqk2yez6aisAbFPenJ2": "4Ds7cxJ82gm34gV22zo2LjPdX3nFbQk9PXK7mjX4pump",
    }
