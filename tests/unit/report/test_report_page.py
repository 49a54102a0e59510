"""The page: what it shows, that it loads nothing, and that text from outside stays text."""

import base64
import gzip
import hashlib
import json
import re
import shutil
import subprocess
from dataclasses import replace
from html.parser import HTMLParser
from pathlib import Path

import pytest
from made_up_content import NOON, STANDING, content

from quantbot_pipeline.report import page
from quantbot_pipeline.report.content import ReportContent
from quantbot_pipeline.report.page import render_report, write_report

HOSTILE = "\"'><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{{ 7 * 7 }}"

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")


class _Elements(HTMLParser):
    """Collects elements with their attributes, the text of the page, and what its scripts hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser's signature
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)
        elif self._inside != "style":
            self.text += data


def test_every_section_shows_its_content() -> None:
    shown = _Elements(render_report(content("some-name"))).text

    for expected in (
        "1\N{NARROW NO-BREAK SPACE}234",  # trades
        "+12.5\N{NARROW NO-BREAK SPACE}%",  # mean pnl
        "\N{MINUS SIGN}30.0\N{NARROW NO-BREAK SPACE}%",  # median pnl
        "+154.25",  # sum
        "small sample",
        "The first 1 of 40 callers",
        "Each candle covers 15\N{NARROW NO-BREAK SPACE}min, put together from stored candles of 5",
        "target hit",
        "some-name = some-name",
        "higher is better",
        "2 failed and 0 unfinished runs",
        "2025-02-03 12:00",
        "A cell holds 2 days. The 2 tokens with the least coverage of 70",
    ):
        assert expected in shown, expected


def test_an_empty_report_says_what_to_do_next() -> None:
    shown = _Elements(render_report(ReportContent(generated_at=NOON)))

    for expected in (
        "quantbot ingest candles PATH",
        "No model is registered yet",
        "No parameter search",
        "quantbot demo",
    ):
        assert expected in shown.text, expected
    assert shown.scripts == []


@pytest.mark.parametrize("made", [content(), content(HOSTILE), ReportContent(generated_at=NOON)])
def test_nothing_is_loaded_from_anywhere(made: ReportContent) -> None:
    text = render_report(made)

    for tag, attributes in _Elements(text).elements:
        assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form", "video", "audio"}
        assert "src" not in attributes
        # Links lead to a place on the page, or to the cards beside it.
        assert (attributes.get("href") or "#").startswith(("#", "models/"))
        assert not [name for name in attributes if name.startswith("on")]
    style = text[text.index("<style>") : text.index("</style>")]
    assert "url(" not in style
    assert "@import" not in style


def test_hostile_text_is_shown_as_text() -> None:
    text = render_report(content(HOSTILE))
    found = _Elements(text)

    assert [attributes.get("type") for attributes, _ in found.scripts] == ["application/json", "text/plain", None]
    assert "document.title" not in found.scripts[2][1]
    assert "<script>document.title" not in text
    assert HOSTILE in found.text
    # Plotly would read the tags of a name; it gets them as entities.
    figures = json.loads(found.scripts[0][1])
    assert "<" not in figures["equity"]["data"][0]["name"]
    assert "<" not in "".join(figures["coverage"]["data"][0]["y"] + figures["coverage"]["layout"]["yaxis"]["ticktext"])


def test_the_policy_allows_exactly_the_scripts_of_the_page() -> None:
    found = _Elements(render_report(content(HOSTILE)))
    (policy,) = [
        attributes["content"]
        for tag, attributes in found.elements
        if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
    ]
    plotly = gzip.decompress(base64.b64decode(found.scripts[1][1]))
    digests = [hashlib.sha256(script).digest() for script in (found.scripts[2][1].encode(), plotly)]
    allowed = re.search(r"script-src ([^;]*);", policy or "")

    assert allowed is not None
    assert allowed[1].split() == [f"'sha256-{base64.b64encode(digest).decode()}'" for digest in digests]
    assert (policy or "").startswith("default-src 'none';")


def test_equal_contents_give_equal_bytes(tmp_path: Path) -> None:
    first = write_report(content(), tmp_path / "a").read_bytes()
    page._packed.cache_clear()
    page._environment.cache_clear()

    assert write_report(content(), tmp_path / "b").read_bytes() == first


def test_a_report_replaces_the_one_before_and_leaves_nothing_else(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text("old", encoding="utf-8")

    path = write_report(content(), tmp_path)

    assert path == tmp_path / "report.html"
    assert path.read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert list(tmp_path.iterdir()) == [path]


def test_a_report_that_can_not_be_rendered_leaves_the_old_one(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "report.html").write_text("old", encoding="utf-8")
    monkeypatch.setattr(page.Path, "replace", _refuse)

    with pytest.raises(OSError, match="disk full"):
        write_report(content(), tmp_path)

    assert [path.read_text(encoding="utf-8") for path in tmp_path.iterdir()] == ["old"]


def _refuse(*_: object) -> None:
    raise OSError("disk full")


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [
        (None, "\N{EN DASH}"),
        (float("nan"), "\N{EN DASH}"),
        (0.0, "0.0 %"),
        (-0.0004, "0.0 %"),
        (0.0006, "+0.1 %"),
        (-1.0, "-100.0 %"),
        (12.3456, "+1 235 %"),
    ],
)
def test_percentages_carry_sign_and_no_false_precision(fraction: float | None, shown: str) -> None:
    expected = shown.replace(" ", "\N{NARROW NO-BREAK SPACE}").replace("-", "\N{MINUS SIGN}")

    assert page._percent(fraction) == expected


def test_interval_bars_are_scaled_by_rows_of_enough_trades() -> None:
    solid = STANDING  # 0.125, from -0.02 to 0.27
    wild = replace(STANDING, is_small_sample=True, mean_pnl=5.0, mean_pnl_lower=-9.0)
    scale = page._interval_scale([solid, wild])

    assert scale == pytest.approx(0.27)
    # The middle is 60, the ends are 4 and 116: 60 - 56 * 0.02 / 0.27 = 55.9.
    assert "M55.9 7H116.0" in page._interval_bar(solid, scale)
    assert "M4.0 7H116.0" in page._interval_bar(wild, scale)


@pytest.mark.slow
@pytest.mark.skipif(CHROMIUM is None, reason="no chromium is installed")
def test_a_browser_draws_the_charts_and_runs_nothing_else(tmp_path: Path) -> None:
    path = write_report(content(HOSTILE), tmp_path)
    options = ["--headless", "--no-sandbox", "--disable-gpu", "--no-first-run", "--disable-background-networking"]
    options += ["--disable-component-update", "--disable-sync", "--disable-quic", "--virtual-time-budget=20000"]

    done = subprocess.run(
        [str(CHROMIUM), *options, f"--user-data-dir={tmp_path / 'profile'}", "--dump-dom", path.as_uri()],
        capture_output=True,
        text=True,
        timeout=120,
        check=True,
    )

    assert "<title>Quantbot report, 2025-02-03</title>" in done.stdout
    assert done.stdout.count('class="main-svg"') >= 2
    # The script holds the words of the apology, too; the figures themselves must not.
    assert 'class="figure undrawn"' not in done.stdout
    assert 'class="trace boxes"' in done.stdout
    assert 'class="hm"' in done.stdout
