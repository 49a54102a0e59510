"""Compiled kernels are kept for other processes, are never those of other sources, and work where none can be kept."""

import ast
import os
import shutil
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import pytest
from engine_cases import candles, strategy

from quantbot_pipeline.engine.calls import Call, SignalType
from quantbot_pipeline.engine.compilation import compile_engine, is_compiled
from quantbot_pipeline.engine.fast import simulate_many
from quantbot_pipeline.engine.kernels.compiling import OUTER_KERNELS, digest_of_sources, sources_of_kernels

# The kernels are compiled by the first test where numba's cache is empty.
pytestmark = pytest.mark.timeout(900)

ROOT = Path(__file__).parents[3]
SOURCES = sources_of_kernels()

TWICE = """
from quantbot_pipeline.engine.kernels.compiling import inner, outer

@inner
def _double_nb(number):
    return 2 * number

@outer
def twice_nb(number):
    return _double_nb(number)
"""

USE_TWICE = """
import warnings
from quantbot_pipeline.engine.compilation import _is_kept
with warnings.catch_warnings(record=True) as caught:
    warnings.simplefilter("always")
    from twice import twice_nb
was_kept = _is_kept(twice_nb)
print(was_kept, twice_nb(21), _is_kept(twice_nb), *(str(warning.message) for warning in caught))
"""


@pytest.mark.parametrize("changed", SOURCES, ids=lambda path: path.name)
def test_changing_any_source_of_the_kernels_changes_the_name_under_which_they_are_kept(
    changed: Path, tmp_path: Path
) -> None:
    copies = [tmp_path / path.name for path in SOURCES]
    for path, copy in zip(SOURCES, copies, strict=True):
        shutil.copyfile(path, copy)
    before = digest_of_sources(copies)
    assert before == digest_of_sources(SOURCES)
    copy = tmp_path / changed.name
    copy.write_bytes(copy.read_bytes().replace(b"\n", b" \n", 1))
    assert digest_of_sources(copies) != before


def test_the_name_of_every_kept_kernel_tells_its_sources() -> None:
    names = [kernel.py_func.__qualname__ for kernel in OUTER_KERNELS]
    assert names
    assert all(name.endswith(digest_of_sources(SOURCES)) for name in names)


def test_kernels_take_code_from_the_watched_sources_only() -> None:
    watched = {".".join(path.relative_to(ROOT).with_suffix("").parts) for path in SOURCES}
    for path in SOURCES[:-1]:
        nodes = ast.walk(ast.parse(path.read_text()))
        imported = {node.module for node in nodes if isinstance(node, ast.ImportFrom) and node.module}
        ours = {name for name in imported if name.startswith("quantbot_pipeline")}
        # `candles` gives kernels the names of array types.
        assert ours <= watched | {"quantbot_pipeline.engine.candles", "quantbot_pipeline.strategy"}, path.name


def test_whatever_is_simulated_takes_the_kernels_that_were_compiled_ahead() -> None:
    compile_engine()
    assert is_compiled()
    compiled = [kernel.signatures[:] for kernel in OUTER_KERNELS]
    assert [len(signatures) for signatures in compiled] == [1] * len(OUTER_KERNELS)
    market = candles(*[[60 * k, 1, 1.2, 0.8, 1] for k in range(40)])
    rising = {
        "all": [
            {"left": {"candle": "close"}, "op": ">", "right": 0.5},
            {"left": {"indicator": "rsi", "params": {"period": 3}}, "op": "crosses_above", "right": 50},
        ],
        "lookback": 3,
        "min_true": 2,
    }
    legs = [{"id": "a", "size": 0.5, "offset": 0}, {"id": "b", "size": 0.5, "when": rising}]
    calls = [Call(1, 1, 0), Call(2, 1, 60, SignalType.EXIT), Call(3, 1, 60, SignalType.SCALE_IN)]
    strategies = [
        strategy(entry={"type": "ladder", "legs": legs}, exits={"when": rising, "on_exit_call": True}),
        strategy(overlap="scale_in", exits={"targets": [{"multiple": 1.1, "size": 1}]}),
    ]
    for run in simulate_many({"x": market}, {"x": calls}, strategies, threads=2, report_call_ids={1, 3}):
        run.trades()
        run.metrics()
    assert [kernel.signatures for kernel in OUTER_KERNELS] == compiled


def _use_twice(folder: Path, **environment: str) -> "subprocess.Popen[str]":
    (folder / "twice.py").write_text(TWICE)
    inherited = {key: value for key, value in os.environ.items() if key != "NUMBA_CACHE_DIR"}
    return subprocess.Popen(
        [sys.executable, "-c", USE_TWICE],
        cwd=folder,
        env={**inherited, "PYTHONPATH": f"{ROOT}{os.pathsep}{folder}", **environment},
        stdout=subprocess.PIPE,
        text=True,
    )


def _answer(process: "subprocess.Popen[str]") -> str:
    answer, _ = process.communicate(timeout=120)
    assert process.returncode == 0
    return answer.strip()


def test_a_second_process_finds_what_the_first_compiled(tmp_path: Path) -> None:
    assert _answer(_use_twice(tmp_path)) == "False 42 True"
    assert _answer(_use_twice(tmp_path)) == "True 42 True"


def test_the_users_cache_folder_is_taken_where_the_folder_of_the_sources_cannot_be_written(tmp_path: Path) -> None:
    # A file in place of the folder: nobody can write below it, not even root.
    (tmp_path / "__pycache__").write_text("")
    home = str(tmp_path / "cache")
    assert _answer(_use_twice(tmp_path, XDG_CACHE_HOME=home)) == "False 42 True"
    assert _answer(_use_twice(tmp_path, XDG_CACHE_HOME=home)) == "True 42 True"


def test_kernels_work_and_say_so_where_no_folder_can_be_written(tmp_path: Path) -> None:
    (tmp_path / "__pycache__").write_text("")
    answer = _answer(_use_twice(tmp_path, XDG_CACHE_HOME=str(tmp_path / "__pycache__")))
    assert answer.startswith("False 42 False compiled kernels cannot be kept: neither ")
    assert str(tmp_path / "__pycache__") in answer
    assert "NUMBA_CACHE_DIR" in answer


def test_processes_that_compile_at_once_disturb_each_other_in_nothing(tmp_path: Path) -> None:
    together = [_use_twice(tmp_path) for _ in range(3)]
    assert {_answer(process).split(" ", 1)[1] for process in together} == {"42 True"}
    assert _answer(_use_twice(tmp_path)) == "True 42 True"


def _compile_in(folder: Path) -> "subprocess.Popen[str]":
    environment: Mapping[str, str] = {**os.environ, "NUMBA_CACHE_DIR": str(folder), "PYTHONPATH": str(ROOT)}
    return subprocess.Popen(
        [sys.executable, "-m", "quantbot_pipeline.cli.compile_engine"],
        cwd=ROOT,
        env=environment,
        stdout=subprocess.PIPE,
        text=True,
    )


@pytest.mark.deep
@pytest.mark.slow
def test_two_processes_may_compile_the_whole_engine_at_once(tmp_path: Path) -> None:
    for process in [_compile_in(tmp_path) for _ in range(2)]:
        assert _answer(process).startswith("compiled the engine in ")
    assert _answer(_compile_in(tmp_path)).startswith("loaded the compiled engine in ")
