"""Sums and extremes over windows of an array, and rows grouped by a key.

Every window is computed from its own values alone, never from a sum that runs on: the difference of two running
sums would lose a quiet window behind a loud past, and would differ in the last bit between data sets.
"""

from collections.abc import Iterator

import numpy as np

from quantbot_pipeline.engine.candles import FloatArray, IntArray


def rows_by_key(keys: IntArray) -> Iterator[tuple[int, IntArray]]:
    """Yield each key with the rows that hold it, both ascending."""
    if not len(keys):
        return
    order = np.argsort(keys, kind="stable")
    sorted_keys = keys[order]
    starts = np.flatnonzero(np.concatenate([[True], sorted_keys[1:] != sorted_keys[:-1]]))
    for start, rows in zip(starts, np.split(order, starts[1:]), strict=True):
        yield int(sorted_keys[start]), rows


def positive_log(values: FloatArray) -> FloatArray:
    """Return the natural logarithm, NaN where a value is not positive and finite."""
    usable = np.isfinite(values) & (values > 0)
    return np.where(usable, np.log(np.where(usable, values, 1.0)), np.nan)


def window_sums(values: FloatArray, start: IntArray, stop: IntArray) -> FloatArray:
    """Return the sum of values[start:stop] per window, 0 for an empty one."""
    sums = np.zeros(len(start))
    # By start: `reduceat` also sums what lies between one window's end and the next one's start.
    window = np.argsort(start, kind="stable")
    window = window[stop[window] > start[window]]
    if len(window):
        padded = np.append(values, 0.0)  # so that `stop` may be the end of the values
        bounds = np.stack([start[window], stop[window]], axis=1).ravel()
        sums[window] = np.add.reduceat(padded, bounds)[::2]
    return sums


class WindowMaxima:
    """Maxima over windows of one array, whatever their lengths.

    Doubling widths: `level[i]` is the maximum of `width` values from i on, and two such overlapping stretches cover
    a window, so that long windows cost no more than short ones.

    Args:
        values: The array; only its first `end` values are read.
        end: End of the last window that is asked for.
    """

    def __init__(self, values: FloatArray, end: int) -> None:
        self._levels = [values[:end]]

    def over(self, start: IntArray, stop: IntArray) -> FloatArray:
        """Return the maximum of values[start:stop] per window, NaN for an empty one."""
        length = stop - start
        maxima = np.full(len(start), np.nan)
        number, width = 0, 1
        while True:
            fits = (length >= width) & (length < 2 * width)
            if fits.any():
                level = self._level(number)
                maxima[fits] = np.maximum(level[start[fits]], level[stop[fits] - width])
            if not (length >= 2 * width).any():
                return maxima
            number, width = number + 1, 2 * width

    def _level(self, number: int) -> FloatArray:
        while len(self._levels) <= number:
            width, last = 1 << (len(self._levels) - 1), self._levels[-1]
            self._levels.append(np.maximum(last[:-width], last[width:]))
        return self._levels[number]
