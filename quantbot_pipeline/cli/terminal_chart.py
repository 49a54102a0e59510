"""A price with marks on it, drawn in the characters of a terminal."""

import math
from collections.abc import Sequence
from dataclasses import dataclass

from rich.text import Text

# Dots of a Braille character, by row and column, as bits above U+2800.
_DOTS = ((0x01, 0x08), (0x02, 0x10), (0x04, 0x20), (0x40, 0x80))
_ROWS_PER_CELL, _COLUMNS_PER_CELL = 4, 2
_BLANK_BRAILLE = 0x2800
_UPRIGHT = "┊"
_LOGARITHMIC_ABOVE = 2.5


@dataclass(frozen=True, slots=True)
class Span:
    """A stretch of time, in seconds, with the lowest and the highest price in it; prices > 0."""

    at: int
    until: int
    low: float
    high: float


@dataclass(frozen=True, slots=True)
class Mark:
    """A character at a time and a price."""

    at: int
    price: float
    sign: str
    style: str


def chart_lines(
    spans: Sequence[Span],
    marks: Sequence[Mark],
    *,
    start: int,
    end: int,
    width: int,
    height: int,
    upright_at: int | None = None,
) -> list[Text]:
    """Return the lines of a chart: prices as dots from low to high, marks over them, prices at the left.

    Args:
        spans: The market, oldest first; at least one.
        marks: Drawn over it in their order, so that the last one is seen where several meet.
        start: Time at the left end, seconds.
        end: Time at the right end, after `start`.
        width: Characters across, labels included.
        height: Lines.
        upright_at: Where a line from top to bottom is drawn, behind all else; none without it.
    """
    prices = [price for span in spans for price in (span.low, span.high)] + [mark.price for mark in marks]
    low, high = min(prices), max(prices)
    scale = math.log if low > 0 and high / low > _LOGARITHMIC_ABOVE else float
    labels = [f"{price:.4g}" for price in (high, low)]
    margin = max(map(len, labels)) + 1
    columns = max(width - margin, 10)
    dots = [[0] * columns for _ in range(height)]
    bottom, top = scale(low), scale(high)
    reach = (top - bottom) or 1.0

    def row_of(price: float, rows: int) -> int:
        return min(int((top - scale(price)) / reach * rows), rows - 1)

    def column_of(at: int, of: int) -> int:
        return min(max(int((at - start) / max(end - start, 1) * of), 0), of - 1)

    for span in spans:
        first = column_of(span.at, columns * _COLUMNS_PER_CELL)
        # A column stays free behind each where there is room, so that they are told apart.
        last = max(first, column_of(span.until, columns * _COLUMNS_PER_CELL) - 2)
        rows = height * _ROWS_PER_CELL
        for y in range(row_of(span.high, rows), row_of(span.low, rows) + 1):
            for x in range(first, last + 1):
                bit = _DOTS[y % _ROWS_PER_CELL][x % _COLUMNS_PER_CELL]
                dots[y // _ROWS_PER_CELL][x // _COLUMNS_PER_CELL] |= bit
    upright = None if upright_at is None else column_of(upright_at, columns)
    over = {(row_of(mark.price, height), column_of(mark.at, columns)): mark for mark in marks}
    lines = []
    for y, cells in enumerate(dots):
        label = {0: labels[0], height - 1: labels[1]}.get(y, "")
        line = Text(label.rjust(margin - 1) + " ", style="dim")
        for x, bits in enumerate(cells):
            mark = over.get((y, x))
            if mark is not None:
                line.append(mark.sign, style=mark.style)
            elif bits:
                line.append(chr(_BLANK_BRAILLE + bits), style="cyan")
            else:
                line.append(_UPRIGHT if x == upright else " ", style="dim")
        line.rstrip()
        lines.append(line)
    return lines
