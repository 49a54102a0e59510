"""What is measured on: the seeded market, real candles, and the same as the peers read it."""

from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantbot_pipeline.bench.markets import CANDLES_PER_CALL, BenchMarket, real_market, seeded_market
from quantbot_pipeline.bench.peers import write_peer_data
from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.tokens import TokenKey

BONK = TokenKey("binance", "BONK_USDT")


def _file(folder: Path, name: str, *, candles: int, interval: str = "5m", chain: str = "binance") -> Path:
    seconds = {"5m": 300, "1h": 3600}[interval]
    table = pa.table(
        {
            "timestamp": pa.array(1_735_689_600 + seconds * np.arange(candles)),
            **{column: pa.array(np.full(candles, 2.0)) for column in ("open", "high", "low", "close", "volume")},
            "token_address": pa.array([name] * candles),
            "chain": pa.array([chain] * candles),
            "interval": pa.array([interval] * candles),
        }
    )
    path = folder / f"{chain}-{name}-{interval}.parquet"
    pq.write_table(table, path)
    return path


def test_seeded_market_has_all_calls_and_is_the_same_every_time() -> None:
    first, again = seeded_market(3, 2_000, 10), seeded_market(3, 2_000, 10)
    assert (first.candle_count, first.call_count) == (6_000, 10)
    for key, candles in first.candles.items():
        np.testing.assert_array_equal(candles.close, again.candles[key].close)
        assert first.calls[key] == again.calls[key]
        assert {call.signal_timestamp for call in first.calls[key]} <= set(candles.timestamp.tolist())


def test_part_of_a_market_keeps_the_calls_of_its_tokens() -> None:
    part = seeded_market(3, 2_000, 10).part(1)
    assert (len(part.candles), part.candle_count, part.call_count) == (1, 2_000, 4)


def test_real_market_has_a_call_every_960_candles_of_every_5_minute_token(tmp_path: Path) -> None:
    files = [
        _file(tmp_path, "BONK_USDT", candles=2 * CANDLES_PER_CALL + 1),
        _file(tmp_path, "PEPE_USDT", candles=50),
        _file(tmp_path, "PEPE_USDT", candles=50, interval="1h"),
        _file(tmp_path, "SOL_USDT", candles=50, chain="kraken"),
    ]
    market = real_market(files, chain="binance")
    # 1 921 candles: calls at 0, 960 and 1 920; 50 candles: one call. The hourly file and the other chain are out.
    assert {key.address: len(calls) for key, calls in market.calls.items()} == {"BONK_USDT": 3, "PEPE_USDT": 1}
    assert market.calls[BONK][1].signal_timestamp == 1_735_689_600 + 960 * 300
    assert market.files == (files[0], files[1])


def test_files_without_5_minute_candles_are_refused(tmp_path: Path) -> None:
    with pytest.raises(DataError, match="none of the 1 candle files has 5m candles"):
        real_market([_file(tmp_path, "BONK_USDT", candles=50, interval="1h")])


def test_one_token_in_two_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "copy").mkdir()
    files = [_file(tmp_path, "BONK_USDT", candles=50), _file(tmp_path / "copy", "BONK_USDT", candles=50)]
    with pytest.raises(DataError, match="BONK_USDT 5m is in another file too"):
        real_market(files)


def test_peers_read_where_calls_begin_and_end_and_what_the_horizon_sells_at(tmp_path: Path) -> None:
    # Hourly candles, so the horizon of a day is 24 candles. Opens are 1, 2, 3 … and closes half more.
    def candles(count: int) -> Candles:
        open_ = np.arange(1.0, count + 1)
        hour = 3600 * np.arange(count, dtype=np.int64)
        return Candles(3600, hour, open_, open_ + 0.5, open_, open_ + 0.5, np.ones(count))

    keys = [TokenKey("bench", "a"), TokenKey("bench", "b")]
    market = BenchMarket(
        "by hand",
        {keys[0]: candles(30), keys[1]: candles(40)},
        {keys[0]: [Call(1, 1, 0), Call(2, 1, 10 * 3600)], keys[1]: [Call(3, 1, 5 * 3600)]},
    )
    write_peer_data(market, tmp_path / "market.npz")
    with np.load(tmp_path / "market.npz") as data:
        assert data["token_offsets"].tolist() == [0, 30, 70]
        assert data["call_token"].tolist() == [0, 0, 1]
        assert data["call_first"].tolist() == [0, 10, 35]
        # The second call's day would end at candle 34 of 30: it ends with the data.
        assert data["call_end"].tolist() == [24, 30, 59]
        # Open of candle 24 is 25; last close of 30 candles is 30.5; open of candle 29 is 30.
        assert data["call_exit_price"].tolist() == [25.0, 30.5, 30.0]
        assert len(data["open"]) == 70
