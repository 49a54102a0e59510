"""Files that can't be used: one message that names the file, code 2, and nothing of the command is stored."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import Databases, Quantbot

from quantbot_pipeline.sample.generate import SampleFiles

CANDLE_HEADER = "token_address,chain,timestamp,interval,open,high,low,close,volume"
ALERT_HEADER = "caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert"
GOOD_CANDLE = "BONK_USDT,binance,2025-01-01T00:00:00Z,5m,1,2,0.5,1.5,10"
EARLY_CANDLE = "BONK_USDT,binance,2012-02-01T00:00:00Z,5m,1,2,0.5,1.5,10"
JUNK = bytes(range(256)) * 4

Counts = Callable[[], dict[str, int]]


def _write(path: Path, *lines: str) -> Path:
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
    return path


def _bad_files(folder: Path) -> dict[str, Path]:
    """Return a file or folder per way of being unusable as candles and as alerts."""
    (folder / "empty").mkdir()
    (folder / "junk.csv").write_bytes(JUNK)
    (folder / "junk.parquet").write_bytes(JUNK)
    (folder / "junk.csv.gz").write_bytes(JUNK)
    (folder / "cut.csv.gz").write_bytes(gzip.compress(CANDLE_HEADER.encode())[:-9])
    (folder / "zero.csv").write_bytes(b"")
    (folder / "report.pdf").write_bytes(b"%PDF")
    (folder / "utf16.csv").write_text(CANDLE_HEADER, encoding="utf-16")
    _write(folder / "columns.csv", "a,b,c", "1,2,3")
    _write(folder / "twice.csv", f"{CANDLE_HEADER},open", f"{GOOD_CANDLE},1")
    names = ("empty", "missing.csv", *(path.name for path in folder.iterdir() if path.is_file()))
    return {name: folder / name for name in names}


@pytest.mark.server
@pytest.mark.parametrize("kind", ["candles", "alerts"])
def test_file_that_can_not_be_read_is_named_and_nothing_is_stored(
    kind: str, quantbot: Quantbot, count_rows: Counts, sample: SampleFiles, tmp_path: Path
) -> None:
    quantbot("migrate")
    before = count_rows()
    # A good file first: it must not be stored when a later one is refused.
    good = sample.candle_files[0] if kind == "candles" else sample.alert_files[0]
    for path in _bad_files(tmp_path).values():
        answer = quantbot("ingest", kind, good, path)
        answer.refuses(str(path))
        assert answer.err.count("\n") == 1, path
        assert count_rows() == before, path


@pytest.mark.server
def test_files_of_the_other_kind_are_refused_with_the_columns_that_are_needed(
    quantbot: Quantbot, databases: Databases, sample: SampleFiles
) -> None:
    candle_csv = next(file for file in sample.candle_files if file.suffix == ".csv")
    alert_csv = next(file for file in sample.alert_files if file.suffix == ".csv")
    quantbot("ingest", "candles", alert_csv).refuses(str(alert_csv), "'open'", "needed are timestamp, open")
    quantbot("ingest", "alerts", candle_csv).refuses(str(candle_csv), "line 1", "'caller'", "needed are caller")
    quantbot("demo", "--candles", alert_csv, "--alerts", candle_csv).refuses(str(candle_csv))


@pytest.mark.server
def test_candles_before_the_first_month_are_refused_before_anything_is_stored(
    quantbot: Quantbot, count_rows: Counts, tmp_path: Path
) -> None:
    """The months were compared after the rows were stored, so that a refused file was half in."""
    quantbot("migrate")
    before = count_rows()
    good = _write(tmp_path / "good.csv", CANDLE_HEADER, GOOD_CANDLE)
    early = _write(tmp_path / "early.csv", CANDLE_HEADER, GOOD_CANDLE, EARLY_CANDLE)
    answer = quantbot("ingest", "candles", good, early)
    answer.refuses(str(early), "2012-02", "2015-01", "QUANTBOT_FIRST_MONTH=2012-02")
    assert count_rows() == before


@pytest.mark.server
def test_first_month_can_be_set_earlier(
    quantbot: Quantbot, databases: Databases, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    early = _write(tmp_path / "early.csv", CANDLE_HEADER, EARLY_CANDLE)
    monkeypatch.setenv("QUANTBOT_FIRST_MONTH", "2012-02")
    answer = quantbot("ingest", "candles", early, "--json")
    assert answer.code == 0, answer.err
    assert answer.document["totals"] == {"rows": 1, "stored": 1, "duplicates": 0, "quarantined": 0}


@pytest.mark.server
def test_demo_refuses_early_alerts_before_anything_is_stored(
    quantbot: Quantbot, count_rows: Counts, tmp_path: Path
) -> None:
    quantbot("migrate")
    before = count_rows()
    candles = _write(tmp_path / "candles.csv", CANDLE_HEADER, GOOD_CANDLE)
    alerts = _write(tmp_path / "alerts.csv", ALERT_HEADER, "ann,BONK_USDT,binance,2013-05-01T00:00:00Z,1,")
    quantbot("demo", "--candles", candles, "--alerts", alerts).refuses(str(alerts), "2013-05", "2015-01")
    assert count_rows() == before


@pytest.mark.server
def test_unknown_zone_is_refused(quantbot: Quantbot, databases: Databases, sample: SampleFiles) -> None:
    quantbot("ingest", "candles", sample.candle_files[0], "--timezone", "Mars/Olympus").refuses("'Mars/Olympus'")
    quantbot("ingest", "alerts", sample.alert_files[0], "--timezone", "Mars/Olympus").refuses("'Mars/Olympus'")


BAD_STRATEGIES = {
    "nan": ('{"name": NaN}', ["line 1, column 10", "NaN"]),
    "twice": ('{"name": "a", "name": "b"}', ["'name'", "once"]),
    "list": ("[1]", ["[1]", "object"]),
    "syntax": ('{\n "name": "a",,\n}', ["line 2, column 14"]),
    "types": ('{"name": 5, "entry": {"type": "immediate"}}', ["name: found 5", "a text"]),
    "key": ('{"name": "a", "entry": {"type": "immediate"}, "foo": 1}', ["foo", "allowed"]),
    "deep": ("[" * 100_000, ["JSON"]),
}


@pytest.mark.parametrize("fault", BAD_STRATEGIES)
def test_strategy_that_can_not_be_used_names_file_field_and_what_is_allowed(
    fault: str, quantbot: Quantbot, tmp_path: Path
) -> None:
    text, parts = BAD_STRATEGIES[fault]
    path = tmp_path / "mine.json"
    path.write_text(text)
    for command in (["strategies", "validate"], ["backfill", "--file"]):
        quantbot(*command, path).refuses(str(path), *parts)
    assert not (tmp_path / "home").exists(), "a refused strategy starts no server"


def test_strategy_that_is_a_folder_missing_or_binary_is_refused(quantbot: Quantbot, tmp_path: Path) -> None:
    (tmp_path / "binary.json").write_bytes(JUNK)
    for path in (tmp_path, tmp_path / "missing.json", tmp_path / "binary.json"):
        answer = quantbot("strategies", "validate", path)
        answer.refuses(str(path))
        assert answer.err.count("\n") == 1


@pytest.mark.server
def test_strategies_that_contradict_each_other_are_refused_before_one_is_stored(
    quantbot: Quantbot, count_rows: Counts, tmp_path: Path
) -> None:
    quantbot("migrate")
    document = json.loads(quantbot("strategies", "show", "basic-6h-20pct-sl").out) | {"name": "mine"}
    one, other = tmp_path / "one.json", tmp_path / "other.json"
    one.write_text(json.dumps(document))
    other.write_text(json.dumps(document | {"horizon_seconds": document.get("horizon_seconds", 0) + 7200}))
    before = count_rows()
    quantbot("backfill", "--file", one, "--file", other).refuses(str(other), "'mine'", "new version")
    assert count_rows() == before


@pytest.mark.server
def test_unknown_strategy_is_refused_before_a_file_is_stored(
    quantbot: Quantbot, count_rows: Counts, tmp_path: Path
) -> None:
    quantbot("migrate")
    document = json.loads(quantbot("strategies", "show", "basic-6h-20pct-sl").out) | {"name": "of-a-file"}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document))
    before = count_rows()
    quantbot("backfill", "--file", path, "--strategies", "nope").refuses("'nope'", "conservative-24h", "of-a-file")
    assert count_rows() == before


@pytest.mark.parametrize(
    ("text", "parts"),
    [
        ('{"parameters": NaN}', ["NaN"]),
        ('{"parameters": [], "parameters": []}', ["'parameters'", "twice"]),
        ("[]", ["list", "object"]),
        ("{", ["line 1, column 2"]),
        ("[" * 100_000, ["JSON"]),
        (f'{{"parameters": {"9" * 5000}}}', ["JSON"]),
    ],
)
def test_search_space_that_is_no_document_is_refused(
    text: str, parts: list[str], quantbot: Quantbot, tmp_path: Path
) -> None:
    path = tmp_path / "space.json"
    path.write_text(text)
    answer = quantbot("optimize", "--template", "conservative-24h", "--space", path)
    answer.refuses(str(path), *parts)
    assert not (tmp_path / "home").exists(), "a refused document starts no server"


@pytest.mark.server
def test_search_that_does_not_fit_is_refused(quantbot: Quantbot, databases: Databases, tmp_path: Path) -> None:
    path = tmp_path / "space.json"
    path.write_text('{"parameters": [{"path": "exits.stop_loss.initial", "type": "float", "low": 0.5, "high": 0.1}]}')
    quantbot("optimize", "--template", "conservative-24h", "--space", path).refuses(
        f"error: {path}: exits.stop_loss.initial: found low 0.5"
    )
    quantbot("optimize", "--resume", "99").refuses("--resume: there is no search 99")
    quantbot("optimize", "--resume", "99", "--trials", "20", "--store-all", "--jobs", "2").refuses(
        "error: --trials, --store-all: can't be given with --resume 99", "allowed besides are --jobs"
    )
    quantbot("optimize", "--template", "nope").refuses("'nope'", "conservative-24h", "--template mine.json")
    quantbot("optimize", "--template", "missing.json").refuses("missing.json: can't be read")
    quantbot("optimize", "--template", "conservative-24h", "--objective", "luck").refuses("'luck'", "final_pnl")
    quantbot("trials", "999999").refuses("999999")
    quantbot("train", "--strategy", "nope").refuses("'nope'", "conservative-24h")


def test_sample_is_not_written_over_a_file(quantbot: Quantbot, tmp_path: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    quantbot("sample", tmp_path / "taken", "--tokens", "2", "--months", "1").refuses(str(tmp_path / "taken"))
    assert (tmp_path / "taken").read_text() == "mine"


def _write_simulation_files(folder: Path) -> tuple[Path, Path]:
    candles = folder / "candles.csv"
    rows = ["timestamp,open,high,low,close,volume,token_address,chain,interval"]
    rows += [
        f"{1_735_689_600 + 60 * k},{price},{price},{price},{price},1,A_USDT,binance,1m"
        for k, price in enumerate((1, 1.2, 2.5))
    ]
    candles.write_text("\n".join(rows) + "\n")
    calls = folder / "calls.csv"
    calls.write_text("call_id,token_address,chain,signal_timestamp\n1,A_USDT,binance,1735689600\n")
    return candles, calls


def test_files_are_simulated_without_any_server(quantbot: Quantbot, tmp_path: Path) -> None:
    candles, calls = _write_simulation_files(tmp_path)
    events, summary = tmp_path / "events.csv", tmp_path / "summary.json"
    answer = quantbot(
        "simulate", "--candles", candles, "--calls", calls, "--strategy", "conservative-24h",
        "--events-out", events, "--summary-out", summary, "--json",
    )  # fmt: skip
    assert answer.document == json.loads(summary.read_text())
    assert answer.document["strategies"][0]["overall"]["trade_count"] == 1
    assert (
        events.read_text().splitlines()[1].startswith("1,A_USDT,binance,conservative-24h,0,2025-01-01T00:00:00Z,entry,")
    )


def test_a_wrong_call_row_is_refused_with_its_line_and_nothing_is_written(quantbot: Quantbot, tmp_path: Path) -> None:
    candles, calls = _write_simulation_files(tmp_path)
    calls.write_text(calls.read_text() + "2,A_USDT,binance,soon\n")
    events = tmp_path / "events.parquet"
    arguments = ("simulate", "--candles", candles, "--calls", calls, "--strategy", "conservative-24h")
    quantbot(*arguments, "--events-out", events).refuses(f"{calls}:3", "'soon'")
    assert not events.exists()
    quantbot(*arguments[:-1], "nope").refuses("'nope'", "conservative-24h")


@pytest.mark.server
def test_an_alert_file_of_a_folder_that_can_not_be_read_is_left_out_and_listed(
    quantbot: Quantbot, databases: Databases, tmp_path: Path
) -> None:
    junk = tmp_path / "junk.csv"
    junk.write_bytes(JUNK)
    rows = [f"folder,FOLDER_USDT,binance,2025-03-01T00:{minute:02d}:00Z,-1," for minute in range(12)]
    good = _write(tmp_path / "good.csv", ALERT_HEADER, "folder,FOLDER_USDT,binance,2025-03-01T01:00:00Z,1,", *rows)
    answer = quantbot("ingest", "alerts", tmp_path, "--json")
    assert answer.code == 0, answer.err
    document = json.loads(answer.out)
    assert [row["file"] for row in document["files"]] == [str(good)]
    assert [row["file"] for row in document["refused"]] == [str(junk)]
    assert document["totals"]["stored"] == 1
    assert [(kind["rows"], kind["example"].startswith(f"{good}:3: ")) for kind in document["reasons"]] == [(12, True)]
    assert str(junk) in answer.err
    again = quantbot("ingest", "alerts", tmp_path)
    assert again.out.count("quarantined 12 rows: price_at_alert is … and must be above …") == 1
    quantbot("ingest", "alerts", tmp_path, junk).refuses(str(junk))


@pytest.mark.parametrize(("text", "found"), [("5", "a unit is needed"), ("99999999d", "up to 3650d")])
def test_a_time_without_a_unit_or_beyond_ten_years_is_refused(quantbot: Quantbot, text: str, found: str) -> None:
    quantbot("calls", "derive", "--cool-down", text).refuses("--cool-down", repr(text), found)
