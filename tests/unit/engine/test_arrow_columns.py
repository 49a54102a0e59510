"""Columns from buffers are those that Arrow makes itself, without what Arrow imports for it."""

import numpy as np
import pyarrow as pa
import pytest

from quantbot_pipeline.engine.arrow_columns import array_of, coded_text_column, filled, number_column, text_column

TEXTS = ["", "a", "ünï", "🚀", "long " * 20]


@pytest.mark.parametrize("kind", ["int8", "int32", "int64", "float64"])
@pytest.mark.parametrize("step", [1, 3])
def test_numbers_are_the_same_columns_as_arrow_makes(kind: str, step: int) -> None:
    values = np.arange(10, dtype=kind)[::step]
    assert number_column(values).equals(pa.array(values))
    assert number_column(values[:0]).equals(pa.array(values[:0]))


def test_texts_are_the_same_columns_as_arrow_makes() -> None:
    assert text_column(TEXTS).equals(pa.array(TEXTS, pa.string()))
    assert text_column([]).equals(pa.array([], pa.string()))
    assert coded_text_column(np.array([4, 0, 3, 3]), TEXTS).to_pylist() == [TEXTS[4], "", "🚀", "🚀"]


def test_columns_become_arrays_also_when_sliced_or_in_chunks() -> None:
    column = pa.array([1.5, 2.0, 3.0])
    assert array_of(column[1:]).tolist() == [2.0, 3.0]
    assert array_of(pa.chunked_array([column, column[2:]])).tolist() == [1.5, 2.0, 3.0, 3.0]
    assert array_of(pa.chunked_array([], pa.int64())).tolist() == []


def test_nulls_are_filled_and_columns_without_stay_as_they_are() -> None:
    column = pa.array([1, None], pa.int64())
    assert filled(column, 7).to_pylist() == [1, 7]
    assert filled(column[:1], 7).to_pylist() == [1]
