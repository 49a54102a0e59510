"""`quantbot bench engine`: every figure is there, the contestants agree, and failures say what to do."""

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from conftest import Quantbot

from quantbot_pipeline.bench import timing
from quantbot_pipeline.bench.tables import markdown_of, tables_of


@pytest.fixture(autouse=True)
def short_turns(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nothing here looks at how long a thing takes."""
    monkeypatch.setattr(timing, "TURN_SECONDS", 0.0)


@pytest.fixture
def candle_file(tmp_path: Path) -> Path:
    """A token with 1 000 five-minute candles that go up and down by a fifth: two calls."""
    price = 1 + 0.2 * np.sin(np.arange(1_000) / 40)
    table = pa.table(
        {
            "timestamp": pa.array(1_735_689_600 + 300 * np.arange(1_000)),
            "open": price,
            "high": price * 1.01,
            "low": price * 0.99,
            "close": price,
            "volume": np.ones(1_000),
            "token_address": ["WAVE_USDT"] * 1_000,
            "chain": ["binance"] * 1_000,
            "interval": ["5m"] * 1_000,
        }
    )
    path = tmp_path / "wave.parquet"
    pq.write_table(table, path)
    return path


def _numbers(value: Any, path: str = "") -> Iterator[tuple[str, float]]:
    if isinstance(value, dict):
        for key, part in value.items():
            yield from _numbers(part, f"{path}.{key}")
    elif isinstance(value, list):
        for position, part in enumerate(value):
            yield from _numbers(part, f"{path}[{position}]")
    elif isinstance(value, int | float) and not isinstance(value, bool):
        yield path, value


def _hold_to_what_a_run_is(document: dict[str, Any]) -> None:
    """Rates are positive, everybody traded as often as the engine and earned as much."""
    for path, number in _numbers(document):
        if path.endswith(("seconds", "_per_second", "ratio", "candle_steps", "trades", "cores", "peak_mb")):
            assert number > 0, path
    for market in document["markets"]:
        assert {row["threads"] for row in market["works"]} == {row["threads"] for row in market["memory_limit"]}
        # Events or not, one thread or more: the same trades.
        for name in {row["work"] for row in market["works"]}:
            rows = [row for row in market["works"] if row["work"] == name]
            assert len({(row["trades"], row["total_pnl"], row["candle_steps"]) for row in rows}) == 1
        for row in [*market["slower"], *market.get("vectorbt", [])]:
            assert row["has_same_trades"], row
            assert row["pnl_difference"] < 1e-6 * row["trades"], row


@pytest.mark.deep
@pytest.mark.slow
def test_quick_run_measures_everything_on_seeded_and_real_candles(quantbot: Quantbot, candle_file: Path) -> None:
    answer = quantbot("bench", "engine", "--quick", "--memory", "--candles", candle_file, "--json")
    assert answer.code == 0, answer.err
    document = answer.document
    _hold_to_what_a_run_is(document)
    seeded, real = document["markets"]
    assert (seeded["tokens"], seeded["candles"], seeded["calls"]) == (10, 20_000, 40)
    assert (real["tokens"], real["candles"], real["calls"]) == (1, 1_000, 2)
    works = {"time exit", "stop, target, time", "ladder, break-even", "full ladder"}
    for market in document["markets"]:
        assert {row["work"] for row in market["works"]} == works
        assert {row["engine"] for row in market["slower"]} == {"quantbot", "reference engine", "plain Python"}
        assert {row["sets"] for row in market["search"]} == {20}
        assert {row["what"] for row in market["around"]} >= {"prepare candles and calls"}
        assert "vectorbt" not in market
    assert real["simulate_command"]["trades"] == 2
    assert [row["sets"] for row in document["search_memory"]] == [2, 20]
    assert set(document["machine"]["versions"]) >= {"python", "numba", "numpy"}
    assert set(document["load"]) == {"before", "after"}
    assert document["first_call"]["import_seconds"] > 0
    assert isinstance(document["noise"], list)

    text = markdown_of(document)
    for table in tables_of(document):
        assert f"**{table.title}**" in text
        assert len({tuple(row) for row in table.rows}) == 1, "every row has the same columns"
    assert json.dumps(document["command"])[1:-1] in text


@pytest.mark.parametrize("width", [80, 100])
def test_tables_fit_the_terminal(width: int, quantbot: Quantbot, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", str(width))
    answer = quantbot("bench", "engine", "--quick", "--sets", "1", "--repeats", "1")
    assert answer.code == 0, answer.err
    assert max(map(len, answer.out.splitlines())) <= width
    assert ("candles/s" in answer.out) == (width == 100)
    # Nothing had to be broken: the longest names stand whole.
    assert "│ stop, target, time │ reference engine │" in answer.out
    assert "load average" in answer.out


@pytest.mark.slow
def test_peers_without_network_are_one_error_and_no_half_environment(
    quantbot: Quantbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")
    answer = quantbot("bench", "engine", "--quick", "--peers", "--peers-home", tmp_path)
    assert answer.code == 2
    assert answer.out == ""
    *told, error = answer.err.splitlines()
    assert error.startswith("error: the peers' packages can't be installed")
    assert "network" in error
    # A line before it where making the environment took longer than a moment.
    assert all(line.startswith("installing the peers into ") for line in told)
    assert [path for path in (tmp_path / "quantbot").iterdir() if path.is_dir()] == []


def test_candle_folder_that_does_not_exist_is_refused(quantbot: Quantbot) -> None:
    quantbot("bench", "engine", "--quick", "--candles", "nowhere").refuses("nowhere", "no such file or folder")


@pytest.mark.deep
@pytest.mark.timeout(900)
def test_peers_do_the_same_work_as_the_engine(quantbot: Quantbot, candle_file: Path) -> None:
    """Needs a package index, or the peers' environment of an earlier run in the user's cache."""
    answer = quantbot("bench", "engine", "--quick", "--peers", "--candles", candle_file, "--json")
    if answer.code == 2 and "can't be installed" in answer.err:
        pytest.skip(f"the peers can't be installed here: {answer.err}")
    assert answer.code == 0, answer.err
    document = answer.document
    _hold_to_what_a_run_is(document)
    for market in document["markets"]:
        engines = {(row["work"], row["engine"]) for row in [*market["slower"], *market["vectorbt"]]}
        assert engines >= {
            ("stop, target, time", "backtesting.py"),
            ("ladder, break-even", "backtesting.py"),
            ("stop, target, time", "vectorbt, numba"),
            ("stop, target, time", "vectorbt, rust"),
            ("ladder, break-even", "vectorbt, numba"),
        }
    assert "vectorbt (peers)" in document["machine"]["versions"]
