"""`quantbot simulate`: its documented example, and everything that people hand to it by mistake."""

import json
import os
import re
import shlex
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Answer, Quantbot

from quantbot_pipeline.engine import compilation
from quantbot_pipeline.workflows.simulate_files import EVENT_COLUMNS
from quantbot_pipeline.workflows.simulation_outputs import SimulationOutputs

PROJECT_ROOT = Path(__file__).parents[2]

START = 1_735_689_600
HEADER = "timestamp,open,high,low,close,volume,token_address,chain,interval"
CALL_HEADER = "call_id,token_address,chain,signal_timestamp,side,signal_type,caller"
CALL = f"1,A_USDT,binance,{START},buy,entry,anna"
STRATEGY = {
    "name": "mine",
    "version": "1",
    "entry": {"type": "immediate"},
    "exits": {"targets": [{"multiple": 2.0, "size": 1.0}], "stop_loss": {"initial": 0.3}, "on_exit_call": True},
}


def candle(minute: float, *prices: float, interval: str = "1m") -> str:
    opened, high, low, close = prices or (1, 1, 1, 1)
    return f"{START + int(60 * minute)},{opened},{high},{low},{close},1,A_USDT,binance,{interval}"


GOOD = [candle(0), candle(1, 1, 2.5, 0.9, 2)]


@pytest.fixture
def inputs(tmp_path: Path) -> dict[str, Path]:
    """Candles of one token, one call on it and a strategy; the target of 2 is hit in the second minute."""
    paths = {name: tmp_path / name for name in ("candles.csv", "calls.csv", "mine.json")}
    paths["candles.csv"].write_text("\n".join([HEADER, *GOOD]) + "\n")
    paths["calls.csv"].write_text("\n".join([CALL_HEADER, CALL]) + "\n")
    paths["mine.json"].write_text(json.dumps(STRATEGY))
    return paths


@pytest.fixture
def simulate(quantbot: Quantbot, inputs: dict[str, Path], tmp_path: Path) -> Callable[..., Answer]:
    """Run the command on the inputs; a refusal must leave no file behind."""

    def run(*arguments: str | Path) -> Answer:
        given = [str(argument) for argument in arguments]
        for option, name in (("--candles", "candles.csv"), ("--calls", "calls.csv"), ("--strategy", "mine.json")):
            if option not in given:
                given += [option, str(inputs[name])]
        for option, name in (("--events-out", "events.csv"), ("--summary-out", "summary.json")):
            if option not in given:
                given += [option, str(tmp_path / name)]
        before = sorted(path for path in tmp_path.rglob("*") if path.name != "home")
        answer = quantbot("simulate", *given, "--json")
        if answer.code:
            assert sorted(path for path in tmp_path.rglob("*") if path.name != "home") == before
        return answer

    return run


def event_types(folder: Path) -> list[str]:
    return [line.split(",")[6] for line in (folder / "events.csv").read_text().splitlines()[1:]]


# --- the document ---


def test_the_documented_example_gives_what_the_document_says(quantbot: Quantbot, tmp_path: Path) -> None:
    text = (PROJECT_ROOT / "docs" / "simulate.md").read_text(encoding="utf-8")
    files = dict(re.findall(r"^`([\w.-]+)`:\n\n```\w*\n(.*?)^```", text, flags=re.MULTILINE | re.DOTALL))
    assert set(files) == {"candles.csv", "calls.csv", "two-targets.json", "events.csv", "summary.json"}
    expected = {name: files.pop(name) for name in ("events.csv", "summary.json")}
    for name, content in files.items():
        (tmp_path / name).write_text(content, encoding="utf-8")
    [command] = re.findall(r"^```sh\n(.*?)\n```", text, flags=re.MULTILINE | re.DOTALL)
    program, *arguments = shlex.split(command)
    assert program == "quantbot"
    for engine in ("fast", "reference"):
        assert quantbot(*arguments, "--engine", engine).code == 0
        for name, content in expected.items():
            assert (tmp_path / name).read_bytes().decode() == content


def test_the_document_names_every_column_and_option(quantbot: Quantbot) -> None:
    text = (PROJECT_ROOT / "docs" / "simulate.md").read_text(encoding="utf-8")
    options = set(re.findall(r"--[a-z-]+", quantbot("simulate", "--help").out)) - {"--help", "--strategies"}
    for name in (*EVENT_COLUMNS, *options):
        assert name in text, name


def test_text_of_users_can_not_steer_the_terminal(simulate: Callable[..., Answer], inputs: dict[str, Path]) -> None:
    escapes = "\x1b[2J\u202e\x9b"
    path = inputs["candles.csv"].with_name(f"{escapes}.csv")
    inputs["candles.csv"].rename(path)
    path.write_text("\n".join([HEADER, GOOD[0].replace("A_USDT", f"A{escapes}"), "1,2"]))
    answer = simulate("--candles", path)
    answer.refuses("\\u001b[2J\\u202e\\u009b.csv:2:")
    assert not set(escapes[0] + escapes[4:]) & set(answer.out + answer.err)


# --- dirty inputs that have a right answer ---


@pytest.mark.parametrize(
    ("name", "lines"),
    [
        ("unsorted rows", [HEADER, *reversed(GOOD)]),
        ("an exact repetition", [HEADER, *GOOD, GOOD[0]]),
        ("two intervals", [HEADER, candle(0, 9, 9, 9, 9, interval="5m"), *GOOD]),
        ("a further column", [f"{HEADER},note", *(f"{row},x" for row in GOOD)]),
        ("capitals and blanks", [HEADER.upper().replace(",", " ,"), *(row.replace(",", " , ") for row in GOOD)]),
    ],
)
@pytest.mark.parametrize(("mark", "line_end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_dirt_in_candles_that_has_a_right_answer(
    simulate: Callable[..., Answer], inputs: dict[str, Path], name: str, lines: list[str], mark: str, line_end: str
) -> None:
    inputs["candles.csv"].write_bytes((mark + line_end.join(lines)).encode())
    assert simulate().code == 0, name
    assert event_types(inputs["candles.csv"].parent) == ["entry", "target_hit"]


@pytest.mark.parametrize(
    ("row", "expected"),
    [
        ("1,A_USDT,binance,2025-01-01T01:00:00+01:00,buy,entry,anna", ["entry", "target_hit"]),
        ("1,A_USDT, Binance ,2024-12-31T23:59:59.5Z,BUY,Entry,anna", ["entry", "target_hit"]),
        ("1,A_USDT,binance,1735689600000,,,", ["entry", "target_hit"]),
        (f"1,A_USDT,binance,{START},SELL,exit,anna", []),
        (f"1,A_USDT,binance,{START + 600},buy,entry,anna", ["entry_skipped"]),
        (f"1,B_USDT,binance,{START},buy,entry,anna", ["entry_skipped"]),
        (f"1,A_USDT,elsewhere,{START},buy,entry,anna", ["entry_skipped"]),
    ],
)
@pytest.mark.parametrize(("mark", "line_end"), [("", "\n"), ("\ufeff", "\r\n")])
def test_calls_in_all_their_spellings(
    simulate: Callable[..., Answer], inputs: dict[str, Path], row: str, expected: list[str], mark: str, line_end: str
) -> None:
    inputs["calls.csv"].write_bytes((mark + line_end.join([CALL_HEADER, row, ""])).encode())
    assert simulate().code == 0
    assert event_types(inputs["calls.csv"].parent) == expected


def test_an_exit_call_of_the_same_caller_sells(simulate: Callable[..., Answer], inputs: dict[str, Path]) -> None:
    inputs["candles.csv"].write_text("\n".join([HEADER, candle(0), candle(1), candle(2)]))
    exits = f"2,A_USDT,binance,{START + 60},sell,,anna"
    inputs["calls.csv"].write_text("\n".join([CALL_HEADER, CALL, exits]))
    assert simulate().code == 0
    assert event_types(inputs["calls.csv"].parent) == ["entry", "signal_exit"]


def test_what_one_may_not_expect_is_said(simulate: Callable[..., Answer], inputs: dict[str, Path]) -> None:
    inputs["candles.csv"].write_text("\n".join([HEADER, *GOOD, GOOD[0]]))
    inputs["calls.csv"].write_text("\n".join([CALL_HEADER, CALL, f"2,B_USDT,binance,{START},,,"]))
    answer = simulate()
    assert "warning: 1 of 2 tokens with calls has no candles" in answer.err
    assert "warning: 1 candle row came again" in answer.err
    assert answer.document["tokens_without_candles"] == answer.document["repeated_candle_rows"] == 1


BARE_HEADER = "timestamp,open,high,low,close,volume"
BARE = [BARE_HEADER, *(f"{START + 60 * k},1,1,1,1,1" for k in range(3)), f"{START + 180},1,2.5,0.9,2,1"]


def test_candles_without_identity_take_it_from_options(
    simulate: Callable[..., Answer], inputs: dict[str, Path]
) -> None:
    """The refusal named --chain and --token, which the command did not have."""
    inputs["candles.csv"].write_text("\n".join(BARE))
    simulate().refuses("column 'chain' is missing", "--chain")
    simulate("--chain", "binance").refuses("column 'token_address' is missing", "--token")
    assert simulate("--chain", "binance", "--token", "A_USDT").document["candle_count"] == 4
    assert event_types(inputs["candles.csv"].parent) == ["entry", "target_hit"]


def test_interval_that_is_asked_for_is_that_of_rows_too_few_to_tell(
    simulate: Callable[..., Answer], inputs: dict[str, Path]
) -> None:
    inputs["candles.csv"].write_text("\n".join(BARE[:3]))
    named = ("--chain", "binance", "--token", "A_USDT")
    simulate(*named).refuses("candles.csv:2:", "--interval")
    assert simulate(*named, "--interval", "1m").document["candle_count"] == 2


def test_interval_that_no_candle_has_is_told_with_those_that_there_are(simulate: Callable[..., Answer]) -> None:
    answer = simulate("--interval", "5m")
    assert "warning: 1 of 1 token with calls has no candles of 5m; there are 1m: the calls are skipped" in answer.err
    assert answer.document["tokens_with_other_intervals"] == 1
    assert answer.document["other_intervals"] == ["1m"]


def test_table_shows_no_gain_where_nothing_was_bought(quantbot: Quantbot, inputs: dict[str, Path]) -> None:
    arguments = ("--candles", inputs["candles.csv"], "--calls", inputs["calls.csv"], "--strategy", inputs["mine.json"])
    answer = quantbot("simulate", *arguments, "--interval", "5m")
    assert "+0.0 %" not in answer.out
    assert "0.0 %" not in answer.out
    assert "+100.0 %" in quantbot("simulate", *arguments).out


def test_bad_candle_rows_can_be_left_out_and_are_told(simulate: Callable[..., Answer], inputs: dict[str, Path]) -> None:
    bad = [candle(10 + minute, 1, 0.5, 2, 1) for minute in range(12)]
    inputs["candles.csv"].write_text("\n".join([HEADER, *GOOD, "1,2", *bad]))
    simulate().refuses("candles.csv:4:", "13 bad rows", "--skip-bad-rows")
    answer = simulate("--skip-bad-rows")
    assert answer.code == 0
    assert answer.document["bad_candle_rows"] == 13
    assert answer.document["candle_count"] == 2
    lines = answer.err.splitlines()
    assert len([line for line in lines if "left out: " in line]) == 10
    assert lines[0] == f"warning: {inputs['candles.csv']}:4: left out: the record has 2 fields, the header has 9"
    assert lines[10] == "warning: 3 more bad candle rows are left out"


def test_files_whose_every_row_is_bad_are_refused(simulate: Callable[..., Answer], inputs: dict[str, Path]) -> None:
    inputs["candles.csv"].write_text("\n".join([HEADER, "1,2"]))
    simulate("--skip-bad-rows").refuses("candles.csv: found no candles")


# --- mistakes ---

BAD_CANDLES = {
    "no price": ([HEADER, GOOD[0], GOOD[1].replace("2.5", "nan")], "candles.csv:3: high must be finite, found nan"),
    "empty cell": ([HEADER, GOOD[0].replace(",1,1,", ",,1,", 1)], "candles.csv:2: open is missing"),
    "off the grid": ([HEADER, candle(0.5)], "candles.csv:2: timestamp '1735689630' is not on the grid of interval 1m"),
    "zero": ([HEADER, candle(0, 0, 0, 0, 0)], "candles.csv:2: the rule 0 < low is broken"),
    "naive time": ([HEADER, GOOD[0].replace(str(START), "2025-01-01 00:00:00")], "--timezone"),
    "no columns": (["1,2,3"], "candles.csv: line 1 is '1,2,3': no column names"),
    "unknown interval": ([HEADER, candle(0, interval="7m")], "interval '7m' is unknown"),
    "missing field": ([HEADER, GOOD[0], "1,2"], "candles.csv:3: the record has 2 fields, the header has 9"),
    "nothing": ([], "the file is empty"),
    "a header only": ([HEADER], "candles.csv: found no candles"),
}


@pytest.mark.parametrize("kind", BAD_CANDLES)
def test_bad_candles_are_refused_with_their_place(
    simulate: Callable[..., Answer], inputs: dict[str, Path], kind: str
) -> None:
    lines, message = BAD_CANDLES[kind]
    inputs["candles.csv"].write_text("\n".join(lines))
    simulate().refuses(message)


BAD_CALLS = {
    "id twice": ([CALL_HEADER, CALL, CALL], "calls.csv:3: call_id '1' occurs in line 2 too"),
    "no calls": ([CALL_HEADER], "found no calls"),
    "nothing": ([], "the file is empty"),
    "no header": ([CALL], "column 'call_id' is missing"),
    "naive time": ([CALL_HEADER, CALL.replace(str(START), "2025-01-01T00:00:00")], "calls.csv:2: timestamp"),
    "side": ([CALL_HEADER, CALL.replace("buy", "long")], "calls.csv:2: side: found 'long'; allowed are buy, sell"),
    "quotation mark": ([CALL_HEADER, '1,"A_USDT,binance'], "calls.csv:2: "),
    "no UTF-8": ([CALL_HEADER, CALL + "\udcff"], "bytes that are not UTF-8"),
}


@pytest.mark.parametrize("kind", BAD_CALLS)
def test_bad_calls_are_refused_with_their_place(
    simulate: Callable[..., Answer], inputs: dict[str, Path], kind: str
) -> None:
    lines, message = BAD_CALLS[kind]
    inputs["calls.csv"].write_bytes("\n".join(lines).encode("utf-8", "surrogateescape"))
    simulate().refuses(message)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--candles", "absent.parquet"), "absent.parquet: no such file or folder"),
        (("--candles", "empty"), "folder holds no file"),
        (("--calls", "absent.csv"), "absent.csv: can't be read"),
        (("--calls", "mine.json"), "files of this kind can't be read"),
        (("--strategy", "absent.json"), "neither a file nor a preset"),
        (("--strategy", "calls.csv"), "calls.csv"),
        (("--strategy", "mine.json", "--strategy", "mine.json"), "'mine' occurs 2 times"),
        (("--engine", "quick"), "found 'quick'; allowed are fast, reference"),
        (("--threads", "0"), "--threads"),
        (("--interval", "7m"), "interval '7m' is unknown"),
        (("--timezone", "Mars/Base"), "time zone 'Mars/Base' is unknown"),
        (("--events-out", "events.xlsx"), "allowed are .parquet, .csv, .jsonl"),
        (("--events-out", "absent/events.csv"), "does not exist; make it first"),
        (("--events-out", "calls.csv"), "would overwrite an input"),
        (("--events-out", "empty/../candles.csv"), "would overwrite an input"),
        (("--summary-out", "mine.json"), "would overwrite an input"),
        (("--summary-out", "empty"), "allowed are .json"),
        (("--summary-out", "events.csv"), "allowed are .json"),
    ],
)
def test_mistakes_on_the_command_line_are_one_line_each(
    simulate: Callable[..., Answer], tmp_path: Path, arguments: tuple[str, ...], message: str
) -> None:
    (tmp_path / "empty").mkdir()
    simulate(*arguments).refuses(message)


def test_presets_and_folders_and_several_strategies_are_taken(
    simulate: Callable[..., Answer], inputs: dict[str, Path], tmp_path: Path
) -> None:
    folder = tmp_path / "candles"
    folder.mkdir()
    inputs["candles.csv"].rename(folder / "a.csv")
    answer = simulate(
        "--candles", folder, "--strategy", inputs["mine.json"], "--strategy", "conservative-24h", "--threads", "2"
    )
    assert [found["strategy"] for found in answer.document["strategies"]] == ["mine", "conservative-24h"]
    assert answer.document == json.loads((tmp_path / "summary.json").read_text())


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGINT, 130)])
def test_a_command_that_is_ended_leaves_nothing_behind(
    simulate: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch, tmp_path: Path, number: int, code: int
) -> None:
    (tmp_path / "events.csv").write_text("of an earlier run")
    monkeypatch.setattr(SimulationOutputs, "add_events", lambda *_: os.kill(os.getpid(), number))
    assert simulate().code == code
    assert (tmp_path / "events.csv").read_text() == "of an earlier run"


def test_the_first_use_of_the_engine_is_announced(
    simulate: Callable[..., Answer], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(compilation, "is_compiled", lambda: False)
    assert "compiling the engine, once per installation" in simulate().err
    assert "compiling" not in simulate("--engine", "reference").err


def test_the_command_loads_no_package_that_it_does_not_need(inputs: dict[str, Path], tmp_path: Path) -> None:
    """Pandas alone takes a quarter of a second, and Arrow imports it where nobody looks."""
    program = (
        "import sys\nfrom quantbot_pipeline.cli.main import main\n"
        "try:\n    main(sys.argv[1:])\nexcept SystemExit as ended:\n    assert not ended.code, ended.code\n"
        "unwanted = {'pandas', 'dagster', 'psycopg', 'clickhouse_connect', 'sklearn', 'optuna', 'plotly'}\n"
        "assert not unwanted & set(sys.modules), unwanted & set(sys.modules)"
    )
    arguments = ["--candles", inputs["candles.csv"], "--calls", inputs["calls.csv"], "--strategy", inputs["mine.json"]]
    outputs = ["--events-out", tmp_path / "events.parquet", "--summary-out", tmp_path / "summary.json"]
    subprocess.run([sys.executable, "-c", program, "simulate", *arguments, *outputs], check=True, timeout=200)
