"""Which row breaks which rule."""

from collections.abc import Callable

import numpy as np
import numpy.typing as npt

BoolArray = npt.NDArray[np.bool_]


class Faults:
    """The first broken rule of every row.

    Attributes:
        is_bad: Whether a row broke a rule, shape (n_rows,).
    """

    def __init__(self, row_count: int) -> None:
        self.is_bad: BoolArray = np.zeros(row_count, dtype=np.bool_)
        self._found: dict[int, tuple[str | None, str]] = {}

    def add(self, row: int, field: str | None, reason: str) -> None:
        """Note a broken rule for a row, unless it broke one before."""
        if row not in self._found:
            self._found[row] = (field, reason)
            self.is_bad[row] = True

    def add_where(self, mask: BoolArray, field: str | None, reason_of: Callable[[int], str]) -> None:
        """Note a broken rule wherever the mask is true."""
        for row in np.flatnonzero(mask & ~self.is_bad):
            self.add(int(row), field, reason_of(int(row)))

    def in_order(self) -> list[tuple[int, str | None, str]]:
        """Return row, field and reason of every bad row, in file order."""
        return [(row, *self._found[row]) for row in sorted(self._found)]
