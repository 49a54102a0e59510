"""Help, wrong command lines, and what a command costs before it does anything."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import typer
from conftest import WIDTH, Quantbot

from quantbot_pipeline.cli.app import build_app

QUANTBOT = Path(sys.executable).with_name("quantbot")


def _commands(command: object, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    for name, inner in getattr(command, "commands", {}).items():
        yield from _commands(inner, (*path, name))


COMMANDS = list(_commands(typer.main.get_command(build_app())))


def test_all_commands_are_known_here() -> None:
    assert {" ".join(path) for path in COMMANDS} == {
        "",
        "demo",
        "up",
        "down",
        "status",
        "url",
        "migrate",
        "sample",
        "ingest",
        "ingest candles",
        "ingest alerts",
        "fetch",
        "fetch candles",
        "candles",
        "candles resample",
        "candles quality",
        "ingest inbox",
        "quarantine",
        "callers",
        "callers list",
        "callers alias",
        "callers unalias",
        "calls",
        "calls derive",
        "strategies",
        "strategies list",
        "strategies show",
        "strategies validate",
        "strategies schema",
        "backfill",
        "backup",
        "restore",
        "simulate",
        "runs",
        "runs show",
        "tokens",
        "trade",
        "trades",
        "check-lookahead",
        "optimize",
        "trials",
        "features",
        "features list",
        "features build",
        "train",
        "models",
        "models list",
        "models show",
        "models promote",
        "models deprecate",
        "score",
        "drift",
        "report",
        "views",
        "views build",
        "views docs",
        "views test",
        "verify",
        "gc",
        "bench",
        "bench engine",
    }


@pytest.mark.parametrize("path", COMMANDS, ids=" ".join)
def test_every_command_has_help_that_fits_a_terminal(path: tuple[str, ...], quantbot: Quantbot) -> None:
    answer = quantbot(*path, "--help")
    assert answer.code == 0
    assert answer.err == ""
    assert "Usage: quantbot " + " ".join(path) in answer.out
    assert max(map(len, answer.out.splitlines())) <= WIDTH
    # What takes no value has no type.
    assert "bool" not in answer.out
    # A sentence beside usage line, panels and option names.
    assert any(line.startswith(" ") and len(line.split()) > 3 for line in answer.out.splitlines()[3:8])


def test_help_says_what_exit_codes_mean(quantbot: Quantbot) -> None:
    text = quantbot("--help").out
    for code in ("0", "1", "2", "3", "4", "5", "130"):
        assert any(line.split()[:1] == [code] for line in text.splitlines()), code


@pytest.mark.parametrize("path", [(), ("ingest",), ("candles",), ("calls",), ("models",), ("views",)], ids=" ".join)
def test_group_without_command_shows_its_help_and_says_2(path: tuple[str, ...], quantbot: Quantbot) -> None:
    answer = quantbot(*path)
    assert answer.code == 2
    assert "Commands" in answer.out
    assert answer.err == ""


def test_version_is_all_that_is_printed(quantbot: Quantbot) -> None:
    answer = quantbot("--version")
    assert (answer.code, answer.out, answer.err) == (0, "0.1.0\n", "")


@pytest.mark.parametrize(
    ("arguments", "parts"),
    [
        (["nonsense"], ["'nonsense'", "quantbot --help"]),
        (["ingest", "nonsense"], ["'nonsense'", "quantbot ingest --help"]),
        (["status", "--nonsense"], ["--nonsense", "quantbot status --help"]),
        (["ingest", "candles"], ["PATH", "quantbot ingest candles --help"]),
        (["optimize"], ["--template"]),
        (["optimize", "--template"], ["--template"]),
        (["optimize", "--template", "x", "--sampler", "magic"], ["--sampler", "'magic'", "tpe", "random", "grid"]),
        (["optimize", "--template", "x", "--trials", "0"], ["--trials", "'0'", "1"]),
        (["sample", "x", "--tokens", "many"], ["--tokens", "'many'", "integer"]),
        (["sample", "x", "--tokens", "1"], ["--tokens", "'1'", "2"]),
        (["sample", "x", "--alerts", "59"], ["--alerts", "'59'", "60"]),
        (["features", "list", "--json", "--markdown"], ["--json", "--markdown", "both"]),
        (["features", "build", "--feature", "score"], ["'score'", "attribute:<column>"]),
        (["features", "build", "--feature", "attribute:max_gain"], ["'max_gain'", "what became of the call"]),
        (["features", "build", "--feature", "attribute:x_multiple"], ["'x_multiple'", "what became of the call"]),
        (["train", "--model", "oracle"], ["--model", "'oracle'", "hist_gbm", "logistic"]),
        (["train", "--name", "../mine"], ["--name", "'../mine'", "letters, digits"]),
        (["train", "--threshold", "nan"], ["--threshold", "nan", "finite"]),
        (["train", "--features", "call_v1"], ["--features", "'call_v1'", "'call_v"]),
        (["train", "--embargo", "soon"], ["--embargo", "'soon'", "90s"]),
        (["score", "--calls", "1,two"], ["--calls", "'1,two'", "17,18"]),
        (["score", "--since", "soon"], ["--since", "'soon'"]),
        (["drift", "--days", "0"], ["--days", "0"]),
        (["train", "--feature", "max_gain"], ["'max_gain'", "attribute:<column>"]),
        (["trials", "first"], ["JOB", "'first'", "integer"]),
        (["gc", "--older-than-hours", "-1"], ["--older-than-hours", "'-1'", "0"]),
        (["status", "surplus"], ["surplus"]),
        (["candles", "resample", "--from", "1m"], ["--to"]),
        (["candles", "resample", "--from", "1m", "--to", "5m,90s"], ["'90s'", "1m, 3m, 5m"]),
        (["candles", "resample", "--from", "5m", "--to", "1m"], ["1m", "5m", "15m, 30m, 1h"]),
        (["candles", "quality", "--months", "2025-01,2025-13"], ["'2025-13'", "YYYY-MM"]),
        (["candles", "quality", "--sparse-below", "1.5"], ["--sparse-below", "'1.5'"]),
        (["candles", "quality", "--sparse-below", "0.9", "--gaps-below", "0.8"], ["0.9", "gaps_below_coverage 0.8"]),
        (["backfill", "--months", "2025-13"], ["'2025-13'", "YYYY-MM"]),
        (["backfill", "--tokens", "BONK"], ["'BONK'", "chain:address"]),
        (["backfill", "--tokens", "solana:not-base58-0OIl"], ["not-base58-0OIl"]),
        (["backfill", "--tokens", ""], ["--tokens", "''", "names nothing", "'all'"]),
        (["backfill", "--months", ","], ["--months", "','", "names nothing"]),
        (["backfill", "--strategies", "", "--resume"], ["--strategies", "names nothing"]),
        (["backfill", "--months", "2025-01.."], ["'2025-01..'", "FIRST..LAST"]),
        (["verify", "--rules", ""], ["no rule left to look at", "event-digests"]),
        (["verify", "--quick", "--json", "--rules", "event-digests"], ["--quick leaves out event-digests"]),
        (["strategies", "show", "nope"], ["'nope'", "conservative-24h"]),
        (["demo", "--candles", "x"], ["--candles", "without --alerts"]),
        (["demo", "--alerts", "x"], ["--alerts", "without --candles"]),
        (["demo", "--candles", "x", "--alerts", "y"], ["x: no such file or folder"]),
    ],
    ids=lambda value: " ".join(value) if isinstance(value, list) else None,
)
def test_wrong_command_line_is_one_line_with_code_2(
    arguments: list[str], parts: list[str], quantbot: Quantbot, tmp_path: Path
) -> None:
    answer = quantbot(*arguments)
    answer.refuses(*parts)
    assert answer.err.count("\n") == 1
    assert not (tmp_path / "home").exists(), "a refused command line starts nothing"


@pytest.mark.parametrize("arguments", [["--help"], ["status"], ["down"], ["strategies", "list"], ["--version"]])
def test_light_commands_import_nothing_heavy(arguments: list[str], tmp_path: Path) -> None:
    """Each of these packages takes 0.2 to 2 seconds; a command that prints a few lines must not wait for them."""
    script = (
        "import sys\n"
        "from quantbot_pipeline.cli.main import main\n"
        "try:\n"
        f"    main({arguments!r})\n"
        "except SystemExit:\n"
        "    pass\n"
        "heavy = {'dagster', 'sklearn', 'plotly', 'optuna', 'numba', 'pandas', 'pyarrow', 'numpy', 'chdb'}\n"
        "print('HEAVY', sorted(heavy & set(sys.modules)))\n"
    )
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, cwd=tmp_path, check=True)
    assert done.stdout.splitlines()[-1] == "HEAVY []"


def test_all_bad_strategy_files_are_told_together(quantbot: Quantbot, tmp_path: Path) -> None:
    good = {"name": "good", "entry": {"type": "immediate"}, "exits": {"max_hold_seconds": 60}}
    paths = {name: tmp_path / f"{name}.json" for name in ("good", "nameless", "torn")}
    paths["good"].write_text(json.dumps(good))
    paths["nameless"].write_text(json.dumps({**good, "name": "two\nlines"}))
    paths["torn"].write_text("{")
    answer = quantbot("strategies", "validate", *paths.values())
    answer.refuses(
        "2 of 3 files are refused", "nameless.json: name: found 'two\\nlines'", "torn.json: line 1, column 2"
    )
    assert quantbot("strategies", "validate", paths["good"]).code == 0


def test_headings_stay_words_on_a_narrow_terminal(quantbot: Quantbot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "40")
    answer = quantbot("strategies", "list")
    lines = answer.out.splitlines()
    assert lines[0] == "Presets"
    assert "  name: conservative-24h" in [line.rstrip() for line in lines]
    assert "  version: 1" in [line.rstrip() for line in lines]
    assert max(map(len, lines)) <= 40


def test_reader_that_closes_the_pipe_early_gets_no_complaint(tmp_path: Path) -> None:
    done = subprocess.run(
        ["bash", "-c", f"set -o pipefail; {QUANTBOT} strategies schema | head -c 1"],
        capture_output=True,
        text=True,
        cwd=tmp_path,
        check=False,
    )
    assert done.stdout == "{"
    assert done.stderr == ""
