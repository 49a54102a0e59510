"""`quantbot check-lookahead`: verdicts, exit codes and refusals, on files of these tests."""

import json
import re
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from conftest import WIDTH, Quantbot

from quantbot_pipeline.engine import indicators
from quantbot_pipeline.engine.lookahead import named_indicators
from quantbot_pipeline.strategy.model import parse_strategy

HEADER = "token_address,chain,timestamp,interval,open,high,low,close,volume"


def _candles(path: Path, count: int) -> Path:
    rng = np.random.default_rng(5)
    close = np.exp(np.cumsum(rng.normal(0, 0.01, count)))
    open_ = np.concatenate([[1.0], close[:-1]])
    lines = [
        f"BONK_USDT,binance,{1_735_689_600 + 300 * k},5m,{o},{max(o, c) * 1.001},{min(o, c) / 1.001},{c},{k % 7 + 1}"
        for k, (o, c) in enumerate(zip(open_.tolist(), close.tolist(), strict=True))
    ]
    path.write_text("\n".join([HEADER, *lines]) + "\n", encoding="utf-8")
    return path


def _strategy(path: Path, period: int) -> Path:
    average = {"indicator": "ema", "params": {"period": period}}
    document: dict[str, Any] = {
        "name": "above-average",
        "entry": {"type": "signal", "when": {"all": [{"left": {"candle": "close"}, "op": ">", "right": average}]}},
        "exits": {"stop_loss": {"initial": 0.1}},
        "horizon_seconds": 7200,
    }
    path.write_text(json.dumps(document), encoding="utf-8")
    return path


def _calls(path: Path, *places: int, pair: str = "BONK_USDT") -> Path:
    lines = [f"{k},{pair},binance,{1_735_689_600 + 300 * place},entry" for k, place in enumerate(places)]
    header = "call_id,token_address,chain,signal_timestamp,signal_type"
    path.write_text("\n".join([header, *lines]) + "\n", encoding="utf-8")
    return path


def _check(quantbot: Quantbot, *arguments: str | Path) -> Any:
    # The reference engine needs no compiled kernels, and both are held equal elsewhere.
    return quantbot("check-lookahead", *arguments, "--engine", "reference", "--cuts", "30")


def test_clean_strategy_says_so_with_code_0(quantbot: Quantbot, tmp_path: Path) -> None:
    candles, calls = _candles(tmp_path / "c.csv", 600), _calls(tmp_path / "calls.csv", 300, 400)
    answer = _check(quantbot, _strategy(tmp_path / "s.json", 5), "--candles", candles, "--calls", calls)
    assert (answer.code, answer.err) == (0, "")
    assert answer.out.splitlines()[-1] == "Verdict: clean"
    assert "ema(period=5)" in answer.out
    assert "entry.when.all[0]" in answer.out
    assert "made up" not in answer.out
    assert max(map(len, answer.out.splitlines())) <= WIDTH


def test_json_holds_every_verdict(quantbot: Quantbot, tmp_path: Path) -> None:
    candles, calls = _candles(tmp_path / "c.csv", 600), _calls(tmp_path / "calls.csv", 20, 300, 400, 10_000)
    answer = _check(quantbot, _strategy(tmp_path / "s.json", 5), "--candles", candles, "--calls", calls, "--json")
    assert answer.code == 0
    document = answer.document
    assert document["verdict"] == "clean, with too little history before some calls"
    assert document["data"]["calls_without_candles_after_them"] == 1
    [ema] = document["indicators"]
    assert (ema["causal"], ema["first_difference"]) == ("yes", None)
    # 5 - 1 candles of the window, 14 · 6 until the beginning is gone, and the candle itself.
    assert ema["declared_warm_up"] == 89
    assert 20 < ema["needs"] < 89
    assert (ema["calls"], ema["calls_with_less"], ema["shortest_history"]) == (3, 1, 20)
    assert [found["path"] for found in document["conditions"]] == ["entry.when", "entry.when.all[0]"]
    assert [trial["candles_before_call"] for trial in document["history"]] == [0, 44, 89, 178]
    assert document["events"]["compared"] > 0
    assert "still settling at 1 of 3 calls" in document["what_to_do"][0]


def test_the_same_seed_gives_the_same_answer(quantbot: Quantbot, tmp_path: Path) -> None:
    arguments = (_strategy(tmp_path / "s.json", 5), "--candles", _candles(tmp_path / "c.csv", 400), "--json")
    first = _check(quantbot, *arguments).document
    assert _check(quantbot, *arguments).document == first
    assert _check(quantbot, *arguments, "--seed", "1").document["compared"] != first["compared"]


def test_leak_is_told_with_code_1(quantbot: Quantbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(
        indicators._COMPUTATIONS, "ema", lambda candles, _: {"value": np.concatenate([candles.close[1:], [np.nan]])}
    )
    arguments = (_strategy(tmp_path / "s.json", 5), "--candles", _candles(tmp_path / "c.csv", 400))
    answer = _check(quantbot, *arguments)
    assert answer.code == 1
    assert answer.out.splitlines()[-1].startswith("Verdict: LOOKS AHEAD")
    text = " ".join(answer.out.split())
    assert "ema(period=5): LOOKS AHEAD, by at least 1 candle. First seen on binance:BONK_USDT at the candle of" in text
    assert "not known" in text
    assert "Do not trust results" in text
    assert "Events: causal" not in text
    document = _check(quantbot, *arguments, "--json").document
    assert document["is_clean"] is False
    assert document["indicators"][0]["causal"] == "LOOKS AHEAD"
    assert document["indicators"][0]["first_difference"]["candles_after_it"] == "taken away"


def test_long_average_on_short_candles_is_told_with_code_1(quantbot: Quantbot, tmp_path: Path) -> None:
    answer = _check(quantbot, _strategy(tmp_path / "s.json", 200), "--candles", _candles(tmp_path / "c.csv", 100))
    assert answer.code == 1
    text = " ".join(answer.out.split())
    assert "Verdict: NEVER KNOWN" in text
    # 200 - 1 + 14 · 201 + 1
    assert "ema(period=200) is never known: it needs 3,014 candles = 10 d 11 h before a call" in text
    assert "no call has more than 98" in text


def test_nothing_to_compare_is_no_clean_strategy(quantbot: Quantbot, tmp_path: Path) -> None:
    """One candle can't be cut, and no event comes before the last of two: nothing was compared, and exit code 0."""
    candles = _candles(tmp_path / "c.csv", 400)
    lines = candles.read_text(encoding="utf-8").splitlines()
    candles.write_text("\n".join(lines[:2]) + "\n", encoding="utf-8")
    calls = _calls(tmp_path / "calls.csv", 0)
    answer = _check(quantbot, _strategy(tmp_path / "s.json", 5), "--candles", candles, "--calls", calls)
    assert answer.code == 1
    assert answer.out.splitlines()[-1].startswith("Verdict: NOTHING COMPARED")
    text = " ".join(answer.out.split())
    assert "Events: not shown" in text
    assert "There was nothing to compare" in text
    assert "causal yes" not in text
    document = _check(
        quantbot, _strategy(tmp_path / "s.json", 5), "--candles", candles, "--calls", calls, "--json"
    ).document
    assert document["is_clean"] is False
    assert document["indicators"][0]["causal"] == "not shown"


def test_value_that_is_never_known_is_not_called_causal(quantbot: Quantbot, tmp_path: Path) -> None:
    arguments = (_strategy(tmp_path / "s.json", 100_000), "--candles", _candles(tmp_path / "c.csv", 300), "--json")
    document = _check(quantbot, *arguments).document
    assert document["verdict"].startswith("NEVER KNOWN")
    assert [found["causal"] for found in (*document["indicators"], *document["conditions"])] == ["not shown"] * 3
    assert document["indicators"][0]["known"] == 0 < document["indicators"][0]["compared"]


def test_head_says_which_calls_the_tables_count(quantbot: Quantbot, tmp_path: Path) -> None:
    calls = _calls(tmp_path / "calls.csv", 100, 200, 300, 399, 500)
    with calls.open("a", encoding="utf-8") as stream:
        stream.write(f"9,BONK_USDT,binance,{1_735_689_600 + 300 * 250},exit\n")
        stream.write(f"10,WIF_USDT,binance,{1_735_689_600},entry\n")
    candles = _candles(tmp_path / "c.csv", 400)
    answer = _check(quantbot, _strategy(tmp_path / "s.json", 5), "--candles", candles, "--calls", calls)
    text = " ".join(answer.out.split())
    # Candles 100, 200, 300 and the last one; nothing is after candle 500.
    assert "1 token, 400 candles, 7 calls" in text
    assert (
        "Tables count 4 entries. The other calls: 1 exits and scale calls, 1 on tokens without candles, "
        "1 entries without candles after them." in text
    )
    assert "With less history before each call (4 of 4 entries, evenly chosen)" in text
    assert "4 of 4" in text


def test_candles_without_identity_take_it_from_options(quantbot: Quantbot, tmp_path: Path) -> None:
    candles = _candles(tmp_path / "c.csv", 300)
    lines = [line.split(",") for line in candles.read_text(encoding="utf-8").splitlines()]
    candles.write_text("\n".join(",".join([row[2], *row[4:]]) for row in lines), encoding="utf-8")
    strategy, calls = _strategy(tmp_path / "s.json", 5), _calls(tmp_path / "calls.csv", 100)
    arguments = (strategy, "--candles", candles, "--calls", calls)
    _check(quantbot, *arguments).refuses("column 'chain' is missing", "--chain")
    named = (*arguments, "--chain", "binance", "--token", "BONK_USDT", "--json")
    assert _check(quantbot, *named).document["data"]["interval_seconds"] == 300


def test_candles_without_rows_are_refused(quantbot: Quantbot, tmp_path: Path) -> None:
    (tmp_path / "c.csv").write_text(HEADER + "\n", encoding="utf-8")
    _check(quantbot, _strategy(tmp_path / "s.json", 5), "--candles", tmp_path / "c.csv").refuses(
        "c.csv: found no candles"
    )


def test_strategy_of_the_document_is_a_strategy() -> None:
    text = (Path(__file__).parents[2] / "docs" / "check-lookahead.md").read_text(encoding="utf-8")
    [document] = re.findall(r"^`trend.json`:\n\n```json\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL)
    strategy = parse_strategy(json.loads(document))
    assert strategy.name == "trend"
    # What the table printed below it names, spaces and line ends aside.
    table = text[text.index("Strategy trend:") :].replace("\n", "").replace(" ", "")
    for named in named_indicators(strategy):
        assert named.label.split(",")[0] in table


def test_without_files_a_made_up_data_set_is_checked(quantbot: Quantbot) -> None:
    answer = quantbot("check-lookahead", "conservative-24h", "--engine", "reference", "--cuts", "3")
    assert answer.code == 0
    text = " ".join(answer.out.split())
    assert "candles (made up), 120 calls (made up, spread evenly over the candles)" in text
    assert "Verdict: clean" in answer.out


@pytest.mark.slow  # compiles the kernels where no compiled ones are kept yet
def test_fast_engine_says_the_same_as_the_reference_engine(quantbot: Quantbot, tmp_path: Path) -> None:
    arguments = (_strategy(tmp_path / "s.json", 5), "--candles", _candles(tmp_path / "c.csv", 400), "--json")
    reference = _check(quantbot, *arguments).document
    fast = quantbot("check-lookahead", *arguments, "--cuts", "30").document
    assert {**fast, "engine": ""} == {**reference, "engine": ""}


def test_only_calls_on_tokens_with_candles_are_checked(quantbot: Quantbot, tmp_path: Path) -> None:
    candles = _candles(tmp_path / "c.csv", 400)
    here, elsewhere = _calls(tmp_path / "here.csv", 200), _calls(tmp_path / "there.csv", 200, 210, pair="WIF_USDT")
    strategy = _strategy(tmp_path / "s.json", 5)
    _check(quantbot, strategy, "--candles", candles, "--calls", elsewhere).refuses(
        "binance:BONK_USDT", "binance:WIF_USDT", "chain and token_address"
    )
    # An id names one call in all files.
    _check(quantbot, strategy, "--candles", candles, "--calls", here, "--calls", elsewhere).refuses(
        "'0'", "here.csv too"
    )


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["nope"], ["'nope'", "conservative-24h"]),
        (["conservative-24h", "--calls", "x.csv"], ["without candles", "--candles"]),
        (["conservative-24h", "--candles", "missing"], ["missing", "no such file"]),
        (["conservative-24h", "--engine", "quick"], ["'quick'", "fast", "reference"]),
        (["conservative-24h", "--cuts", "0"], ["--cuts", "'0'", "1"]),
        ([], ["STRATEGY"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_mistakes_are_one_line_with_code_2(arguments: list[str], parts: list[str], quantbot: Quantbot) -> None:
    answer = quantbot("check-lookahead", *arguments)
    answer.refuses(*parts)
    assert answer.err.count("\n") == 1


def test_bad_row_and_unknown_interval_are_refused(quantbot: Quantbot, tmp_path: Path) -> None:
    bad = _candles(tmp_path / "bad.csv", 5)
    bad.write_text(bad.read_text(encoding="utf-8") + "BONK_USDT,binance,1,5m,1,0.5,2,1,1\n", encoding="utf-8")
    _check(quantbot, "conservative-24h", "--candles", bad).refuses("bad.csv:7", "1 bad row")
    good = _candles(tmp_path / "good.csv", 50)
    _check(quantbot, "conservative-24h", "--candles", good, "--interval", "7m").refuses("'7m'", "5m")
    _check(quantbot, "conservative-24h", "--candles", good, "--interval", "1h").refuses(
        "no candles of 1h", "there are 5m"
    )
    twice = _candles(tmp_path / "twice.csv", 3)
    _check(quantbot, "conservative-24h", "--candles", good, "--candles", twice).refuses("2025-01-01T00:00:00Z", "twice")
