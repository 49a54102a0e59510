"""Plots of a few kilobytes as SVG in Markdown, for places that show no more than that, such as Dagster's metadata."""

import base64
from collections.abc import Mapping, Sequence
from html import escape
from typing import TypeVar

_WIDTH, _HEIGHT = 640, 180
_LEFT, _RIGHT, _TOP, _BOTTOM = 60, 150, 12, 24
# Okabe and Ito's colours, which people with any colour vision tell apart.
_COLOURS = ("#0072b2", "#d55e00", "#009e73", "#cc79a7", "#e69f00", "#56b4e9")
_MOST_LINES = len(_COLOURS)
_MOST_POINTS = 200
_MOST_BARS = 60

_Value = TypeVar("_Value")


def plot_bars(values: Mapping[str, float], *, title: str) -> str:
    """Return bars, one per name in the given order, as Markdown.

    Args:
        values: Heights, each 0 or more. Of more than 60 the last are shown.
        title: What they are.
    """
    shown = dict(list(values.items())[-_MOST_BARS:])
    top = max(shown.values(), default=0.0) or 1.0
    inner_width, inner_height = _WIDTH - _LEFT - 10, _HEIGHT - _TOP - _BOTTOM
    step = inner_width / max(len(shown), 1)
    parts = []
    for position, (name, value) in enumerate(shown.items()):
        height = inner_height * value / top
        x, y = _LEFT + position * step, _TOP + inner_height - height
        parts.append(
            f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(step - 1, 0.5):.1f}" height="{height:.1f}" '
            f'fill="{_COLOURS[0]}"><title>{escape(name)}: {value:g}</title></rect>'
        )
    names = list(shown)
    labels = {0: names[0], len(names) - 1: names[-1]} if names else {}
    for position, name in labels.items():
        anchor = "start" if position == 0 else "end"
        x = _LEFT + (position if position == 0 else position + 1) * step
        parts.append(_text(x, _HEIGHT - 6, name, anchor=anchor))
    parts.append(_text(_LEFT - 6, _TOP + 8, f"{top:g}", anchor="end"))
    parts.append(_text(_LEFT - 6, _TOP + inner_height, "0", anchor="end"))
    return _markdown(parts, title)


def plot_lines(series: Mapping[str, Sequence[float]], *, title: str, first: str = "", last: str = "") -> str:
    """Return lines over a common, even axis, as Markdown.

    Args:
        series: Values per name, each series of the same length; of more than six the first are shown.
        title: What they are.
        first: What the left end of the axis is.
        last: What the right end is.
    """
    shown = {name: _thinned(values) for name, values in list(series.items())[:_MOST_LINES]}
    every = [value for values in shown.values() for value in values]
    low, high = min([0.0, *every]), max([0.0, *every])
    span = (high - low) or 1.0
    inner_width, inner_height = _WIDTH - _LEFT - _RIGHT, _HEIGHT - _TOP - _BOTTOM

    def y_of(value: float) -> float:
        return _TOP + inner_height * (high - value) / span

    parts = [
        f'<line x1="{_LEFT}" y1="{y_of(0):.1f}" x2="{_LEFT + inner_width}" y2="{y_of(0):.1f}" stroke="#999"/>',
        _text(_LEFT - 6, _TOP + 8, f"{high:.3g}", anchor="end"),
        _text(_LEFT - 6, _TOP + inner_height, f"{low:.3g}", anchor="end"),
        _text(_LEFT, _HEIGHT - 6, first, anchor="start"),
        _text(_LEFT + inner_width, _HEIGHT - 6, last, anchor="end"),
    ]
    for position, (name, values) in enumerate(shown.items()):
        step = inner_width / max(len(values) - 1, 1)
        points = " ".join(f"{_LEFT + k * step:.1f},{y_of(value):.1f}" for k, value in enumerate(values))
        colour = _COLOURS[position]
        parts.append(f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="1.5"/>')
        parts.append(_text(_LEFT + inner_width + 8, _TOP + 10 + 15 * position, name, colour=colour))
    return _markdown(parts, title)


def plot_points(points: Sequence[tuple[float, float]], steps: Sequence[tuple[float, float]], *, title: str) -> str:
    """Return points and a line of steps over them, as Markdown.

    Args:
        points: Place and height of each, by place; of more than 200 so many are shown.
        steps: Where the line takes a new height, by place.
        title: What they are.
    """
    shown = _thinned(points)
    every = [*shown, *steps]
    left, right = min((x for x, _ in every), default=0.0), max((x for x, _ in every), default=1.0)
    low, high = min((y for _, y in every), default=0.0), max((y for _, y in every), default=1.0)
    inner_width, inner_height = _WIDTH - _LEFT - 10, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        # What does not vary lies in the middle.
        across = (x - left) / (right - left) if right > left else 0.5
        above = (y - low) / (high - low) if high > low else 0.5
        return _LEFT + inner_width * across, _TOP + inner_height * (1 - above)

    parts = [
        _text(_LEFT - 6, _TOP + 8, f"{high:.3g}", anchor="end"),
        _text(_LEFT - 6, _TOP + inner_height, f"{low:.3g}", anchor="end"),
        _text(_LEFT, _HEIGHT - 6, f"{left:g}", anchor="start"),
        _text(_LEFT + inner_width, _HEIGHT - 6, f"{right:g}", anchor="end"),
    ]
    for x, y in (place(*point) for point in shown):
        parts.append(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="2" fill="{_COLOURS[0]}" fill-opacity="0.6"/>')
    corners: list[tuple[float, float]] = []
    for x, y in (place(*step) for step in steps):
        corners += [(x, corners[-1][1]), (x, y)] if corners else [(x, y)]
    if corners:
        line = " ".join(f"{x:.1f},{y:.1f}" for x, y in corners)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{_COLOURS[1]}" stroke-width="1.5"/>')
    return _markdown(parts, title)


def plot_price(
    prices: Sequence[tuple[float, float]],
    buys: Sequence[tuple[float, float]],
    sells: Sequence[tuple[float, float]],
    *,
    title: str,
    first: str = "",
    last: str = "",
) -> str:
    """Return a price with the places where it was bought and sold, as Markdown.

    Args:
        prices: Time and price, by time; of more than 200 so many are shown.
        buys: Time and price of each, marked by triangles that point up.
        sells: The same, pointing down.
        title: What it is.
        first: What the left end of the axis is.
        last: What the right end is.
    """
    shown = _thinned(prices)
    every = [*shown, *buys, *sells]
    left, right = min((x for x, _ in every), default=0.0), max((x for x, _ in every), default=1.0)
    low, high = min((y for _, y in every), default=0.0), max((y for _, y in every), default=1.0)
    inner_width, inner_height = _WIDTH - _LEFT - 10, _HEIGHT - _TOP - _BOTTOM

    def place(x: float, y: float) -> tuple[float, float]:
        across = (x - left) / (right - left) if right > left else 0.5
        above = (y - low) / (high - low) if high > low else 0.5
        return _LEFT + inner_width * across, _TOP + inner_height * (1 - above)

    line = " ".join(f"{x:.1f},{y:.1f}" for x, y in (place(*price) for price in shown))
    parts = [
        _text(_LEFT - 6, _TOP + 8, f"{high:.3g}", anchor="end"),
        _text(_LEFT - 6, _TOP + inner_height, f"{low:.3g}", anchor="end"),
        _text(_LEFT, _HEIGHT - 6, first),
        _text(_WIDTH - 10, _HEIGHT - 6, last, anchor="end"),
        f'<polyline points="{line}" fill="none" stroke="#888" stroke-width="1.2"/>',
    ]
    for marks, colour, tip in ((buys, _COLOURS[0], -6), (sells, _COLOURS[1], 6)):
        for x, y in (place(*mark) for mark in marks):
            corners = f"{x:.1f},{y + tip:.1f} {x - 6:.1f},{y - tip * 0.7:.1f} {x + 6:.1f},{y - tip * 0.7:.1f}"
            parts.append(f'<polygon points="{corners}" fill="{colour}" stroke="#fff"/>')
    return _markdown(parts, title)


def _thinned(values: Sequence[_Value]) -> list[_Value]:
    """Return so many of the values that a small plot can show, the last among them."""
    if len(values) <= _MOST_POINTS:
        return list(values)
    return [values[round(k * (len(values) - 1) / (_MOST_POINTS - 1))] for k in range(_MOST_POINTS)]


def _text(x: float, y: float, text: str, *, anchor: str = "start", colour: str = "#666") -> str:
    return f'<text x="{x:.0f}" y="{y:.0f}" text-anchor="{anchor}" fill="{colour}">{escape(text)}</text>'


def _markdown(parts: Sequence[str], title: str) -> str:
    svg = (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{_WIDTH}" height="{_HEIGHT}" '
        f'font-family="sans-serif" font-size="11">{"".join(parts)}</svg>'
    )
    # In an image nothing of it can run or be fetched, whatever the names in it are.
    encoded = base64.b64encode(svg.encode()).decode()
    alternative = "".join(character for character in title if character not in "[]\n")
    return f"**{alternative}**\n\n![{alternative}](data:image/svg+xml;base64,{encoded})"
