"""Reasons of refused rows, grouped: values are masked, what the rule says is not."""

import os
from datetime import UTC, datetime
from pathlib import Path

import pytest

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candle_files import read_candle_file
from quantbot_pipeline.ingest.quarantine import QuarantinedRow
from quantbot_pipeline.workflows.find_files import find_candle_files
from quantbot_pipeline.workflows.import_reasons import ReasonCounts


@pytest.mark.parametrize(
    ("reason", "kind"),
    [
        ("the rule 0 < low is broken: open 1.0, low -2.5", "the rule 0 < low is broken: open … low …"),
        ("the rule volume >= 0 is broken: volume -5.0", "the rule volume >= 0 is broken: volume …"),
        ("'x' is not a time; allowed is ISO 8601 with Z", "… is not a time; allowed is ISO 8601 with Z"),
        (
            "token_address 'U2' is no address on bsc: allowed is 0x followed by 40 hex digits",
            "token_address … is no address on bsc: allowed is 0x followed by 40 hex digits",
        ),
        ("1m and 5m candles, row 17", "1m and 5m candles, row …"),
        ("no column holds a token; found are 'a', 'b', 'c'; map one", "no column holds a token; found are …; map one"),
    ],
)
def test_rule_keeps_its_constants(reason: str, kind: str) -> None:
    counts = ReasonCounts()
    counts.add([QuarantinedRow("a.csv", 2, None, reason, "")])
    assert [found["reason"] for found in counts.largest()] == [kind]


def test_device_is_not_said_to_be_absent() -> None:
    with pytest.raises(DataError, match="is no regular file"):
        find_candle_files([Path(os.devnull)])


@pytest.mark.parametrize("text", ["soon", "2099-01-01T00:00:00Z"])
def test_time_that_is_refused_names_what_candle_files_may_hold(tmp_path: Path, text: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"timestamp,open,high,low,close,volume\n{text},1,1,1,1,1\n")
    said = {"chain": "binance", "token": "X_USDT", "interval": "1m"}
    [row] = read_candle_file(path, **said, now=datetime(2025, 3, 1, tzinfo=UTC)).quarantined
    assert "2009 to 2025-03-02" in row.reason
    assert "a day after now" in row.reason
    assert "2009 to 2099" not in row.reason
