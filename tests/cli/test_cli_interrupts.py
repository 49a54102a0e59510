"""Ctrl-C in a process of its own: wherever it comes, the command ends with 130, one line and no trace."""

import json
import signal
import subprocess
import sys
from pathlib import Path

import pytest

PREPARE = "import atexit, os, signal, sys, time\nsignal.signal(signal.SIGINT, signal.default_int_handler)\n"

# Sends the signal when a module is looked for, as a user does while a command starts.
ON_IMPORT = """
class Sender:
    def find_spec(self, name, path=None, target=None):
        if name == {name!r}:
            os.kill(os.getpid(), signal.SIGINT)
sys.meta_path.insert(0, Sender())
"""

# Sends it in a destructor, where Python prints an exception and forgets it, and goes on for a while.
IN_DESTRUCTOR = """
import quantbot_pipeline.strategy.presets as presets
class Swallowing:
    def __del__(self):
        os.kill(os.getpid(), signal.SIGINT)
        for _ in range(1000):
            pass
def names():
    Swallowing()
    for _ in range({rounds}):
        time.sleep(0.01)
    return []
presets.preset_names = names
"""

RUN = "from quantbot_pipeline.cli.main import main\nmain()\n"


def ended(program: str, folder: Path, *arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a program with the command's arguments."""
    return subprocess.run(
        [sys.executable, "-c", PREPARE + program, *arguments],
        capture_output=True,
        text=True,
        cwd=folder,
        check=False,
        timeout=100,
    )


@pytest.mark.parametrize("module", ["typer", "rich.console", "quantbot_pipeline.strategy.presets", "pydantic_core"])
def test_ctrl_c_while_modules_load_ends_the_command_without_a_trace(module: str, tmp_path: Path) -> None:
    done = ended(ON_IMPORT.format(name=module) + RUN, tmp_path, "strategies", "list")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped; nothing was written\n")


def test_ctrl_c_that_a_destructor_swallows_comes_again(tmp_path: Path) -> None:
    done = ended(IN_DESTRUCTOR.format(rounds=1000) + RUN, tmp_path, "strategies", "list")
    assert (done.returncode, done.stdout, done.stderr) == (130, "", "stopped; nothing was written\n")


def test_further_ctrl_c_does_not_cut_cleaning_up_short(tmp_path: Path) -> None:
    """Such as from timeout(1), which signals the process and then its group."""
    program = """
import quantbot_pipeline.strategy.presets as presets
def names():
    try:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(10)
    finally:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.01)
        open("cleaned", "w").close()
presets.preset_names = names
"""
    done = ended(program + RUN, tmp_path, "strategies", "list")
    assert (done.returncode, done.stderr) == (130, "stopped; nothing was written\n")
    assert (tmp_path / "cleaned").exists()


def test_ctrl_c_after_the_end_changes_nothing(tmp_path: Path) -> None:
    program = "atexit.register(lambda: (os.kill(os.getpid(), signal.SIGINT), time.sleep(0.1)))\n"
    done = ended(program + RUN, tmp_path, "--version")
    assert (done.returncode, done.stderr) == (0, "")


def test_what_libraries_stumble_over_at_the_end_of_a_stopped_command_is_not_shown(tmp_path: Path) -> None:
    program = """
import quantbot_pipeline.strategy.presets as presets
class Stumbling:
    def __del__(self):
        raise AttributeError("gone already")
kept = Stumbling()
def names():
    os.kill(os.getpid(), signal.SIGINT)
    time.sleep(10)
presets.preset_names = names
"""
    done = ended(program + RUN, tmp_path, "strategies", "list")
    assert (done.returncode, done.stderr) == (130, "stopped; nothing was written\n")


def test_a_process_that_was_told_to_ignore_ctrl_c_goes_on(tmp_path: Path) -> None:
    program = "signal.signal(signal.SIGINT, signal.SIG_IGN)\n" + ON_IMPORT.format(name="typer")
    assert ended(program + RUN, tmp_path, "--version").returncode == 0


def test_commands_that_store_as_they_go_say_so(tmp_path: Path) -> None:
    program = ON_IMPORT.format(name="quantbot_pipeline.sample.generate")
    done = ended(program + RUN, tmp_path, "sample", tmp_path / "sample")
    assert done.returncode == 130
    assert done.stderr == "stopped; what was finished is stored, run the command again to go on\n"


def names_in(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.iterdir())


def write_inputs(folder: Path) -> list[str | Path]:
    """Write candles, a call and a strategy; return the arguments of a simulation on them."""
    start = 1_735_689_600
    (folder / "candles.csv").write_text(
        "timestamp,open,high,low,close,volume,token_address,chain,interval\n"
        f"{start},1,1,1,1,1,A_USDT,binance,1m\n{start + 60},1,2.5,1,2,1,A_USDT,binance,1m\n"
    )
    (folder / "calls.csv").write_text(f"call_id,token_address,chain,signal_timestamp\n1,A_USDT,binance,{start}\n")
    strategy = {
        "name": "mine",
        "entry": {"type": "immediate"},
        "exits": {"targets": [{"multiple": 2.0, "size": 1.0}]},
    }
    (folder / "mine.json").write_text(json.dumps(strategy))
    inputs: list[str | Path] = ["simulate", "--engine", "reference", "--candles", "candles.csv"]
    return [*inputs, "--calls", "calls.csv", "--strategy", "mine.json"]


PATCH = """
from pathlib import Path
at, name = sys.argv.pop(1).split(":")
number = getattr(signal, sys.argv.pop(1))
whole = getattr(Path, name)
def sending(self, *arguments, **options):
    if at == "before":
        os.kill(os.getpid(), number)
    answer = whole(self, *arguments, **options)
    if at == "after":
        os.kill(os.getpid(), number)
    return answer
setattr(Path, name, sending)
"""


@pytest.mark.parametrize("number", ["SIGINT", "SIGTERM"])
@pytest.mark.parametrize("place", ["before:touch", "after:touch", "before:unlink", "after:replace", "before:replace"])
def test_a_signal_at_the_worst_moment_leaves_both_files_or_none(place: str, number: str, tmp_path: Path) -> None:
    """A file that was just made was left behind, as its name was not noted yet."""
    arguments = write_inputs(tmp_path)
    before = names_in(tmp_path)
    outputs = ["--events-out", "o.parquet", "--summary-out", "o.json"]
    done = ended(PATCH + RUN, tmp_path, place, number, *arguments, *outputs)
    assert done.returncode == (130 if number == "SIGINT" else 143), done.stderr
    assert "Traceback" not in done.stderr
    are_written = place.split(":")[1] in ("replace", "unlink")
    assert names_in(tmp_path) == sorted([*before, *(["o.json", "o.parquet"] if are_written else [])])
    if number == "SIGINT":
        text = "stopped; the files were written" if are_written else "stopped; nothing was written"
        assert done.stderr.splitlines()[-1] == text


def test_the_installed_command_ends_at_once_whenever_it_is_stopped(tmp_path: Path) -> None:
    quantbot = Path(sys.executable).with_name("quantbot")
    arguments = write_inputs(tmp_path)
    before = names_in(tmp_path)
    for hundredths in range(24, 140, 16):
        process = subprocess.Popen(
            [quantbot, *arguments, "--events-out", "o.parquet"],
            cwd=tmp_path,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            preexec_fn=lambda: signal.signal(signal.SIGINT, signal.default_int_handler),
        )
        try:
            process.wait(timeout=hundredths / 100)
        except subprocess.TimeoutExpired:
            process.send_signal(signal.SIGINT)
        out, err = process.communicate(timeout=60)
        if "quantbot_pipeline" not in err and process.returncode not in (0, 130):
            # Python had not come as far as the command.
            continue
        assert process.returncode in (0, 130), err
        assert "Traceback" not in err
        assert "Exception ignored" not in err
        if "nothing was written" in err:
            assert names_in(tmp_path) == before
        else:
            (tmp_path / "o.parquet").unlink()
            assert process.returncode == 0 or "the files were written" in err, out + err
