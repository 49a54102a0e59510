"""Plots for Dagster's metadata: whole, small, and harmless whatever the names are."""

import base64
import re
from xml.etree import ElementTree

import pytest

from quantbot_pipeline.report.small_plots import plot_bars, plot_lines


def _svg(markdown: str) -> ElementTree.Element:
    encoded = re.search(r"\(data:image/svg\+xml;base64,([A-Za-z0-9+/=]+)\)$", markdown)
    assert encoded is not None
    return ElementTree.fromstring(base64.b64decode(encoded[1]))  # noqa: S314 - made here


def _all(svg: ElementTree.Element, name: str) -> list[ElementTree.Element]:
    return svg.findall(f"{{http://www.w3.org/2000/svg}}{name}")


def test_bars_are_as_high_as_their_values() -> None:
    bars = _all(_svg(plot_bars({"2025-01": 1, "2025-02": 4, "2025-03": 2}, title="candles")), "rect")
    # 144 pixels between the margins are the highest value.
    assert [float(bar.attrib["height"]) for bar in bars] == [36, 144, 72]


def test_lines_of_six_series_are_drawn_and_named() -> None:
    svg = _svg(plot_lines({f"s{k}": [0.0, 1.0, -1.0] for k in range(8)}, title="equity"))
    lines = _all(svg, "polyline")
    assert len(lines) == 6
    # From 0 in the middle (12 + 72) to the top and to the bottom (12 + 144).
    assert lines[0].attrib["points"] == "60.0,84.0 275.0,12.0 490.0,156.0"
    assert [text.text for text in _all(svg, "text") if text.text and text.text.startswith("s")] == [
        f"s{k}" for k in range(6)
    ]


@pytest.mark.parametrize("count", [0, 1, 100_000])
def test_any_number_of_values_gives_a_small_plot(count: int) -> None:
    lines = plot_lines({"a": [float(k % 7) for k in range(count)]}, title="x")
    bars = plot_bars({str(k): float(k % 7) for k in range(count)}, title="x")
    for plot in (lines, bars):
        _svg(plot)
        assert len(plot) < 16_000


def test_names_can_do_no_harm() -> None:
    name = '<script>alert("1")</script>&]( [x'
    for plot in (plot_bars({name: 1.0}, title=name), plot_lines({name: [1.0]}, title=name)):
        _svg(plot)
        assert plot.count("[") == 1
        assert plot.count("](") == 1
