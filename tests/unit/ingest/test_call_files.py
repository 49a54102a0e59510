"""Call files: good rows are read exactly, and one bad row refuses the file with its place."""

import math
from pathlib import Path

import pytest

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.call_files import read_call_file
from quantbot_pipeline.ingest.tokens import TokenKey

HEADER = "call_id,token_address,chain,signal_timestamp,side,signal_type,caller\n"
GOOD = "1,BONK_USDT,binance,2025-01-01T00:00:00Z,buy,entry,Anna\n"


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "calls.csv"


def test_a_row_is_read_with_everything_it_says(file: Path) -> None:
    file.write_text(HEADER + GOOD)
    (call,) = read_call_file(file)
    assert (call.call_id, call.token, call.caller) == ("1", TokenKey("binance", "BONK_USDT"), "Anna")
    assert (call.signal_timestamp, call.side, call.signal_type) == (1_735_689_600, Side.BUY, SignalType.ENTRY)


def test_what_is_left_out_means_an_entry_and_a_sell_an_exit(file: Path) -> None:
    file.write_text(HEADER + "1,BONK_USDT,binance,1735689600,,,\n2,BONK_USDT,binance,1735689600,sell,,\n")
    first, second = read_call_file(file)
    assert (first.side, first.signal_type) == (Side.BUY, SignalType.ENTRY)
    assert (second.side, second.signal_type) == (Side.SELL, SignalType.EXIT)


def test_fractions_of_a_second_are_rounded_up_so_that_nothing_happens_too_early(file: Path) -> None:
    file.write_text(HEADER + "1,BONK_USDT,binance,2025-01-01T00:00:00.001Z,,,\n")
    assert read_call_file(file)[0].signal_timestamp == 1_735_689_601


@pytest.mark.parametrize(
    ("row", "message"),
    [
        (",BONK_USDT,binance,1735689600,,,", "call_id is empty"),
        ("2,BONK_USDT,binance,yesterday,,,", "timestamp 'yesterday'"),
        ("2,BONK_USDT,binance,2025-01-01T00:00:00,,,", "--timezone"),
        ("2,nonsense!,solana,1735689600,,,", "no Solana address"),
        ("2,BONK_USDT,binance,1735689600,hold,,", "side: found 'hold'; allowed are buy, sell"),
        ("2,BONK_USDT,binance,1735689600,,enter,", "signal_type: found 'enter'"),
        ("1,BONK_USDT,binance,1735689600,,,", "call_id '1' occurs in line 2 too"),
        ("2,BONK_USDT", "fields"),
    ],
)
def test_a_bad_row_refuses_the_file_and_names_its_line(file: Path, row: str, message: str) -> None:
    file.write_text(HEADER + GOOD + row + "\n")
    with pytest.raises(DataError) as refused:
        read_call_file(file)
    assert f"{file}:3: " in str(refused.value)
    assert message in str(refused.value)


def test_a_missing_column_is_named(file: Path) -> None:
    file.write_text("call_id,token_address,chain\n1,BONK_USDT,binance\n")
    with pytest.raises(DataError, match="'signal_timestamp' is missing"):
        read_call_file(file)


SCORED = HEADER.strip() + ",score:Take the call,Score:rank\n"


def test_scores_are_columns_named_after_their_models_and_an_empty_cell_is_none(file: Path) -> None:
    file.write_text(SCORED + GOOD.strip() + ",0.75,\n")
    (call,) = read_call_file(file)
    assert list(call.scores) == ["Take the call", "rank"]
    assert call.scores["Take the call"] == 0.75
    assert math.isnan(call.scores["rank"])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (SCORED + GOOD.strip() + ",high,0\n", ":2: score:Take the call 'high'"),
        (SCORED + GOOD.strip() + ",0,inf\n", ":2: score:rank 'inf' is not finite"),
        (HEADER.strip() + ",score:\n" + GOOD.strip() + ",1\n", "column 'score:' names no model; allowed is score:NAME"),
        (HEADER.strip() + ",score:a,SCORE: a\n" + GOOD.strip() + ",1,2\n", "column 'SCORE: a' occurs twice"),
    ],
)
def test_a_wrong_score_or_column_of_scores_is_named(file: Path, text: str, message: str) -> None:
    file.write_text(text)
    with pytest.raises(DataError) as refused:
        read_call_file(file)
    assert message in str(refused.value)
