"""Other back-testers: an environment of their own, and processes in it that do the same work as the engine.

The environment holds exactly the packages of `peers.txt`, which clash with the project's own. It is made on first
use, in a folder whose name is a hash of the pins, and is there whole or not at all. docs/peers.md says how each
peer was asked.
"""

import hashlib
import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, cast

import numpy as np
from filelock import FileLock

from quantbot_pipeline.bench.markets import BenchMarket
from quantbot_pipeline.bench.works import FEE, HORIZON_SECONDS, document_of
from quantbot_pipeline.errors import ConfigError, SimulationError

PINS_FILE = Path(__file__).with_name("peers.txt")
SCRIPTS = Path(__file__).with_name("peer_scripts")

PEERS: Mapping[str, str] = {"vectorbt": "run_vectorbt.py", "backtesting.py": "run_backtesting.py"}
"""Script of each peer."""


def environment_folder(cache: Path) -> Path:
    """Return the folder of the peers' environment inside a cache folder; it need not exist.

    Args:
        cache: Folder for what can be made again, such as `~/.cache`.
    """
    what = PINS_FILE.read_bytes() + sys.version.encode()
    return cache / "quantbot" / f"peers-{hashlib.sha256(what).hexdigest()[:12]}"


def ensure_environment(cache: Path, tell: Callable[[str], None]) -> Path:
    """Return the Python of the peers' environment; make it first where it is missing or broken.

    Args:
        cache: Folder for what can be made again.
        tell: Told before it takes a while.

    Raises:
        ConfigError: it can't be made: no package index can be reached, or the folder can't be written.
    """
    folder = environment_folder(cache)
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        with FileLock(folder.with_name(f".{folder.name}.lock")):
            if not _works(folder):
                tell(f"installing the peers into {folder} (about a minute and 1 GB, once)")
                _make(folder)
    except OSError as error:
        raise ConfigError(
            f"--peers-home: {folder} can't be made: {error.strerror or error}; name a folder that can be written"
        ) from error
    return _python(folder)


def _python(folder: Path) -> Path:
    return folder / ("Scripts/python.exe" if sys.platform == "win32" else "bin/python")


def _works(folder: Path) -> bool:
    """Return whether the environment is there and its Python, which it borrows from this one, still starts."""
    if not _python(folder).exists():
        return False
    asked = [str(_python(folder)), "-I", "-c", ""]
    return subprocess.run(asked, check=False, capture_output=True).returncode == 0  # noqa: S603 - a path of ours


def _make(folder: Path) -> None:
    """Make the environment beside its place and move it there."""
    # Left by a process that was killed; nobody else makes one while the lock is held.
    for left in folder.parent.glob(f".{folder.name}.half-*"):
        shutil.rmtree(left, ignore_errors=True)
    half = Path(tempfile.mkdtemp(prefix=f".{folder.name}.half-", dir=folder.parent))
    try:
        _run([sys.executable, "-m", "venv", str(half)], "the peers' environment can't be made")
        _run(
            [
                *(str(_python(half)), "-m", "pip", "install", "--quiet", "--disable-pip-version-check", "--no-input"),
                *("--retries", "2", "--timeout", "30", "--no-deps", "--only-binary", ":all:"),
                *("--requirement", str(PINS_FILE)),
            ],
            "the peers' packages can't be installed; they come from the package index of pip, so check the network "
            "and pip's settings, or leave out --peers",
        )
        shutil.rmtree(folder, ignore_errors=True)
        half.rename(folder)
    finally:
        shutil.rmtree(half, ignore_errors=True)


def _run(command: list[str], failure: str) -> None:
    done = subprocess.run(command, check=False, capture_output=True, text=True)  # noqa: S603 - this module's commands
    if done.returncode:
        said = [line for line in done.stderr.splitlines() if line.startswith("ERROR: ")] or done.stderr.splitlines()
        last = " ".join(said[-1].removeprefix("ERROR: ").split()) if said else f"exit code {done.returncode}"
        raise ConfigError(f"{failure} (found: {last})")


def write_peer_data(market: BenchMarket, path: Path) -> None:
    """Write a market as the peers' scripts read it: candles of all tokens one after the other, and calls by row.

    A call's candles are `call_first … call_end - 1`; what it still holds then is sold at `call_exit_price`, the
    open of the horizon candle, or the last close where there is none.
    """
    candles = list(market.candles.values())
    offsets = np.concatenate([[0], np.cumsum([len(of_token) for of_token in candles])]).astype(np.int64)
    token, first, end, price = [], [], [], []
    for number, (key, of_token) in enumerate(market.candles.items()):
        for call in market.calls[key]:
            begin = int(np.searchsorted(of_token.timestamp, call.signal_timestamp))
            stop = int(np.searchsorted(of_token.timestamp, of_token.timestamp[begin] + HORIZON_SECONDS))
            token.append(number)
            first.append(int(offsets[number]) + begin)
            end.append(int(offsets[number]) + stop)
            price.append(float(of_token.open[stop] if stop < len(of_token) else of_token.close[-1]))
    tokens = np.array(token, dtype=np.int64)
    np.savez(
        path,
        token_offsets=offsets,
        open=np.concatenate([of_token.open for of_token in candles]),
        high=np.concatenate([of_token.high for of_token in candles]),
        low=np.concatenate([of_token.low for of_token in candles]),
        close=np.concatenate([of_token.close for of_token in candles]),
        call_token=tokens,
        token_begin=offsets[tokens],
        call_first=np.array(first, dtype=np.int64),
        call_end=np.array(end, dtype=np.int64),
        call_exit_price=np.array(price, dtype=np.float64),
    )


class PeerProcess:
    """A peer that holds a market and does one repetition of a work whenever it is asked.

    Attributes:
        versions: Of the peer and what it computes with.
        has_rust: Whether vectorbt's compiled engine is installed beside numba's.
    """

    def __init__(self, python: Path, peer: str, data: Path) -> None:
        """Start it and wait until it holds the market.

        Args:
            python: Of the peers' environment.
            peer: A key of `PEERS`.
            data: File of `write_peer_data`.

        Raises:
            SimulationError: it ended.
        """
        self._peer = peer
        self._complaints = tempfile.TemporaryFile("w+")  # noqa: SIM115 - closed with the process
        self._process = subprocess.Popen(  # noqa: S603 - a path of ours
            [str(python), "-I", "-u", str(SCRIPTS / PEERS[peer]), str(data)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self._complaints,
            text=True,
        )
        # Both are pipes, see above.
        self._questions = cast("IO[str]", self._process.stdin)
        self._answers = cast("IO[str]", self._process.stdout)
        try:
            ready = self._read()
        except SimulationError:
            self.close()
            raise
        self.versions: dict[str, str] = ready["versions"]
        self.has_rust: bool = ready["has_rust"]

    def repeat(self, work: str, *, engine: str = "numba") -> dict[str, Any]:
        """Do a work once; return `seconds`, `trades` and `total_pnl`.

        Args:
            work: One of `works.SHARED_WORKS`.
            engine: Which of vectorbt's engines, `numba` or `rust`.

        Raises:
            SimulationError: the peer failed.
        """
        exits = document_of(work)["exits"]
        asked = {
            "stop": exits["stop_loss"]["initial"],
            "targets": [[target["multiple"], target["size"]] for target in exits["targets"]],
            "break_even": "break_even" in exits,
            "fee": FEE,
            "engine": engine,
        }
        # Where it has ended, reading tells why.
        with suppress(BrokenPipeError):
            self._questions.write(json.dumps(asked) + "\n")
            self._questions.flush()
        return self._read()

    def _read(self) -> dict[str, Any]:
        line = self._answers.readline()
        if not line:
            self._process.wait()
            self._complaints.seek(0)
            said = self._complaints.read().strip().splitlines()
            raise SimulationError(
                f"{self._peer} ended with code {self._process.returncode} in the peers' environment: "
                f"{said[-1] if said else 'no message'}; remove that folder to have it made again, or leave out --peers"
            )
        answer: dict[str, Any] = json.loads(line)
        return answer

    def close(self) -> None:
        """End the process."""
        # What it was asked and did not read yet can't be flushed any more once it has ended.
        with suppress(BrokenPipeError):
            self._questions.close()
        self._answers.close()
        try:
            # It ends when there is nothing more to read; while it computes, nobody waits for that any more.
            self._process.wait(timeout=5)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._complaints.close()
