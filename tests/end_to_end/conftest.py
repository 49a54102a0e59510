"""Homes to run the main job in, as a user does."""

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.sample.generate import SampleSpec, write_sample
from quantbot_pipeline.settings import Settings, load_settings

QUANTBOT = Path(sys.executable).with_name("quantbot")


@dataclass(frozen=True)
class Home:
    """A home of its own with files to run the main job on."""

    settings: Settings
    candles: Path
    alerts: tuple[Path, ...]

    def start(self, *arguments: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [str(QUANTBOT), *arguments],
            env=os.environ | {"QUANTBOT_HOME": str(self.settings.home)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )

    def run(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        process = self.start(*arguments)
        stdout, stderr = process.communicate(timeout=500)
        return subprocess.CompletedProcess(process.args, process.returncode, stdout, stderr)

    @property
    def demo_arguments(self) -> list[str]:
        alerts = [argument for file in self.alerts for argument in ("--alerts", str(file))]
        return ["demo", "--json", "--candles", str(self.candles), *alerts]

    def demo(self) -> dict[str, Any]:
        done = self.run(*self.demo_arguments)
        assert done.returncode == 0, done.stderr
        summary: dict[str, Any] = json.loads(done.stdout)
        return summary


def _home(folder: Path, seed: int) -> Home:
    spec = SampleSpec(seed=seed, token_count=4, months=1, alert_count=120)
    files = write_sample(folder / "sample", spec)
    settings = load_settings(home=folder / "home", postgres_url=None, clickhouse_url=None)
    return Home(settings, files.candle_files[0].parent, files.alert_files)


@pytest.fixture(scope="session")
def home() -> Iterator[Home]:
    # As root, Postgres runs under another account, which pytest's own temporary folder may be closed to.
    with tempfile.TemporaryDirectory(prefix="quantbot-") as folder:
        home = _home(Path(folder), seed=3)
        yield home
        home.run("down")


@pytest.fixture
def other_home() -> Iterator[Home]:
    with tempfile.TemporaryDirectory(prefix="quantbot-") as folder:
        home = _home(Path(folder), seed=3)
        yield home
        home.run("down")


@pytest.fixture(scope="session")
def first(home: Home) -> dict[str, Any]:
    return home.demo()
