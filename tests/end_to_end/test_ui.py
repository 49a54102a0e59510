"""The Dagster UI in a real browser, after a demo."""

import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from typing import Any

import pytest

from quantbot_pipeline.servers.embedded import server_status
from tests.end_to_end.conftest import Home

pytestmark = [
    pytest.mark.server,
    pytest.mark.slow,
    pytest.mark.timeout(600),
    pytest.mark.xdist_group("demo"),
    pytest.mark.skipif(shutil.which("chromium") is None, reason="no browser: install Debian's package chromium"),
]

# A new profile each time, and no traffic but to the page that is asked for.
_CHROMIUM = (
    "chromium",
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--window-size=1600,1200",
    "--virtual-time-budget=30000",
)


def _text_of(url: str) -> str:
    """Return the page's document after its scripts have run."""
    with tempfile.TemporaryDirectory(prefix="quantbot-browser-", ignore_cleanup_errors=True) as profile:
        done = subprocess.run(
            [*_CHROMIUM, f"--user-data-dir={profile}", "--dump-dom", url],
            capture_output=True,
            text=True,
            check=False,
            timeout=240,
        )
    return done.stdout


@pytest.fixture(scope="module")
def ui_address(home: Home, first: dict[str, Any]) -> Iterator[str]:
    assert first["calls"] > 0
    done = home.run("up", "--ui")
    assert done.returncode == 0, done.stderr
    (address,) = [status.address for status in server_status(home.settings) if status.name == "dagster-webserver"]
    assert address is not None
    yield address
    home.run("down")


def _text_with(url: str, *needles: str) -> str:
    """Return the page once it shows all of `needles`; on a busy machine it may take more than one look."""
    text = ""
    for _ in range(4):
        text = _text_of(url)
        if all(needle in text for needle in needles):
            break
    return text


def test_lineage_shows_every_group(ui_address: str) -> None:
    groups = ("alerts", "candles", "simulation", "optimization", "learning", "views_postgres", "report")
    text = _text_with(f"{ui_address}/asset-groups", *groups)
    for group in groups:
        assert group in text


def test_candles_show_the_partitions_that_the_demo_materialised(ui_address: str) -> None:
    text = _text_with(f"{ui_address}/assets/ohlcv_candles?view=partitions", "2025-01")
    assert "ohlcv_candles" in text
    assert "2025-01" in text


def test_model_shows_its_verdict(ui_address: str) -> None:
    text = _text_with(f"{ui_address}/assets/ml_models?view=overview", "beats_baseline")
    assert "beats_baseline" in text
