"""Arrow columns from arrays and texts, and arrays from columns, without a detour.

Arrow's own conversions import pandas first, where it is installed: a quarter of a second, more than reading most
files takes.
"""

from collections.abc import Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import pyarrow as pa

_ARROW_TYPES = {"int8": pa.int8(), "int32": pa.int32(), "int64": pa.int64(), "float64": pa.float64()}


def number_column(values: npt.NDArray[Any]) -> pa.Array:
    """Return numbers as a column that shares their memory.

    Args:
        values: int8, int32, int64 or float64, shape (n,).
    """
    together = np.ascontiguousarray(values)
    return pa.Array.from_buffers(_ARROW_TYPES[together.dtype.name], len(together), [None, pa.py_buffer(together)])


def text_column(texts: Sequence[str]) -> pa.Array | pa.ChunkedArray:
    """Return texts as a column; in several chunks if one does not hold them."""
    encoded = [text.encode() for text in texts]
    ends = np.zeros(len(encoded) + 1, dtype=np.int64)
    np.cumsum([len(text) for text in encoded], out=ends[1:])
    if ends[-1] > np.iinfo(np.int32).max:
        return pa.array(texts, pa.string())
    offsets = pa.py_buffer(ends.astype(np.int32))
    return pa.Array.from_buffers(pa.string(), len(encoded), [None, offsets, pa.py_buffer(b"".join(encoded))])


def coded_text_column(codes: npt.NDArray[Any], texts: Sequence[str]) -> pa.Array:
    """Return a column of few texts that repeat.

    Args:
        codes: Position of each row's text, whole numbers, shape (n,).
        texts: The texts.
    """
    return text_column(texts).take(number_column(codes.astype(np.int32)))


def filled(column: pa.Array, value: float | str) -> pa.Array:
    """Return a column with a value in place of nulls."""
    return column.fill_null(value) if column.null_count else column


def array_of(column: pa.Array | pa.ChunkedArray) -> Any:
    """Return a column of int64 or float64 without nulls as an array, which may share its memory and be read-only."""
    if isinstance(column, pa.ChunkedArray):
        return np.concatenate([np.empty(0, _numpy_type(column.type)), *map(np.from_dlpack, column.chunks)])
    return np.from_dlpack(column)


def _numpy_type(kind: pa.DataType) -> str:
    return next(name for name, known in _ARROW_TYPES.items() if known == kind)
