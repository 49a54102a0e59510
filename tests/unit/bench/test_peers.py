"""The peers' environment: exact pins, there whole or not at all."""

import re
import sys
from pathlib import Path

import pytest

from quantbot_pipeline.bench import peers
from quantbot_pipeline.errors import ConfigError, SimulationError


def _no_index(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let pip find an index that nobody answers for, whatever this machine's settings are."""
    for name in ("PIP_FIND_LINKS", "PIP_EXTRA_INDEX_URL", "PIP_NO_INDEX"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("PIP_CONFIG_FILE", "/dev/null")
    monkeypatch.setenv("PIP_INDEX_URL", "http://127.0.0.1:9")


def test_pins_are_exact_and_hold_no_addresses() -> None:
    lines = peers.PINS_FILE.read_text(encoding="utf-8").splitlines()
    for line in lines:
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[0-9][A-Za-z0-9.]*", line), line
    names = {line.partition("==")[0] for line in lines}
    assert {"vectorbt", "vectorbt-rust", "backtesting", "numba", "numpy", "pandas", "plotly"} <= names


def test_environment_has_another_folder_when_a_pin_changes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before = peers.environment_folder(tmp_path)
    changed = tmp_path / "peers.txt"
    changed.write_text(peers.PINS_FILE.read_text(encoding="utf-8").replace("numba==", "numba==9."), encoding="utf-8")
    monkeypatch.setattr(peers, "PINS_FILE", changed)
    assert peers.environment_folder(tmp_path) != before


@pytest.mark.slow
def test_environment_that_can_not_be_filled_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    _no_index(monkeypatch)
    told: list[str] = []
    with pytest.raises(ConfigError, match=r"packages can't be installed.*leave out --peers") as refused:
        peers.ensure_environment(tmp_path, told.append)
    assert "\n" not in str(refused.value)
    folder = peers.environment_folder(tmp_path)
    assert told == [f"installing the peers into {folder} (about a minute and 1 GB, once)"]
    assert [path.name for path in folder.parent.iterdir() if path.is_dir()] == []


@pytest.mark.deep
def test_half_made_environment_of_a_killed_process_is_made_anew(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    # No packages: what is tested is the making.
    monkeypatch.setattr(peers, "PINS_FILE", tmp_path / "none.txt")
    (tmp_path / "none.txt").write_text("", encoding="utf-8")
    folder = peers.environment_folder(tmp_path)
    half = folder.with_name(f".{folder.name}.half-abc")
    half.mkdir(parents=True)
    (half / "left").write_text("", encoding="utf-8")
    told: list[str] = []
    python = peers.ensure_environment(tmp_path, told.append)
    assert python.exists()
    assert not half.exists()
    # The second time it is there, so nothing is told and nothing made.
    made = folder.stat().st_ino
    assert peers.ensure_environment(tmp_path, told.append) == python
    assert (len(told), folder.stat().st_ino) == (1, made)


@pytest.mark.deep
def test_environment_whose_python_is_gone_is_made_anew(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(peers, "PINS_FILE", tmp_path / "none.txt")
    (tmp_path / "none.txt").write_text("", encoding="utf-8")
    python = peers.ensure_environment(tmp_path, lambda _: None)
    python.unlink()
    python.symlink_to(tmp_path / "removed")
    assert peers.ensure_environment(tmp_path, lambda _: None).resolve().exists()


def test_cache_that_is_a_file_is_refused_by_name(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")
    with pytest.raises(ConfigError, match=r"--peers-home: .*can't be made"):
        peers.ensure_environment(tmp_path / "file", lambda _: None)


def test_peer_that_ends_says_why(tmp_path: Path) -> None:
    # The project's own environment has no vectorbt.
    with pytest.raises(SimulationError, match=r"vectorbt ended with code 1.*No module named 'vectorbt'"):
        peers.PeerProcess(Path(sys.executable), "vectorbt", tmp_path / "market.npz")
