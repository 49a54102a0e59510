"""Volumes that files state in USD become volumes of the token: what was paid, divided by the close."""

import json
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.ingest.candle_files import CandleFile, read_candle_file

USD_NOTE = "volume is in USD: divided by the close"
T0 = 1735689600
SAID: dict[str, Any] = {"chain": "binance", "token": "X_USDT", "interval": "5m"}


def _read(path: Path) -> CandleFile:
    return read_candle_file(path, **SAID)


def _volumes(file: CandleFile) -> list[float]:
    return list(file.candles["volume"].to_pylist())


@pytest.mark.parametrize("name", ["volume_usd", "usd_volume", "Volume USD"])
def test_volume_in_usd_is_divided_by_the_close(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"timestamp,open,high,low,close,{name}\n{T0},1,2,0.5,2,10\n{T0 + 300},2,2,0.25,0.5,10\n")
    file = _read(path)
    assert _volumes(file) == [5.0, 20.0]
    assert USD_NOTE in file.notes


@pytest.mark.parametrize("name", ["quote_volume", "volume_quote"])
def test_quote_volume_is_divided_by_the_close(tmp_path: Path, name: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"timestamp,open,high,low,close,{name}\n{T0},1,2,0.5,2,10\n")
    file = _read(path)
    assert _volumes(file) == [5.0]
    assert file.notes == (f"volume is in the quote currency (column {name!r}): divided by the close",)


def test_volume_of_the_token_is_taken_before_one_in_usd(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"timestamp,open,high,low,close,volume_usd,volume\n{T0},1,2,0.5,2,10,7\n")
    file = _read(path)
    assert _volumes(file) == [7.0]
    assert not file.notes


@pytest.mark.parametrize("close", ["0", "nan", "-1"])
def test_row_without_a_usable_close_is_refused_for_its_prices_not_its_volume(tmp_path: Path, close: str) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"timestamp,open,high,low,close,volume_usd\n{T0},1,2,0.5,{close},10\n")
    [row] = _read(path).quarantined
    assert row.field in ("close", "low")


def test_missing_volume_in_usd_of_an_idle_bar_becomes_zero(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_text(f"timestamp,open,high,low,close,volume_usd\n{T0},2,2,2,2,\n{T0 + 300},1,2,1,2,\n")
    file = _read(path)
    assert _volumes(file) == [0.0]
    assert [row.field for row in file.quarantined] == ["volume"]


def test_answer_of_geckoterminal_states_its_volume_in_usd(tmp_path: Path) -> None:
    rows = [[T0 + 300, 1, 4, 0.5, 4, 10], [T0, 1, 2, 0.5, 2, 10]]
    for name, answer in (("a", {"data": {"attributes": {"ohlcv_list": rows}}}), ("b", {"ohlcv_list": rows})):
        path = tmp_path / f"{name}.json"
        path.write_text(json.dumps(answer))
        file = _read(path)
        assert _volumes(file) == [5.0, 2.5]
        assert USD_NOTE in file.notes


def test_list_of_an_exchange_states_its_volume_in_the_token(tmp_path: Path) -> None:
    path = tmp_path / "a.json"
    path.write_text(json.dumps([[T0, 1, 2, 0.5, 2, 10]]))
    file = _read(path)
    assert _volumes(file) == [10.0]
    assert not file.notes


def test_json_rows_of_both_kinds_each_say_their_own(tmp_path: Path) -> None:
    prices = {"open": 1, "high": 2, "low": 0.5, "close": 2}
    rows = [{"timestamp": T0, **prices, "volume": 10}, {"timestamp": T0 + 300, **prices, "volume_usd": 10}]
    path = tmp_path / "a.jsonl"
    path.write_text("\n".join(map(json.dumps, rows)))
    assert _volumes(_read(path)) == [10.0, 5.0]
