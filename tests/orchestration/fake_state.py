"""A state store that knows its counts alone."""

from typing import Any

import pyarrow as pa


class FakeState:
    """Answers `counts/count_state` with what it was given."""

    def __init__(self, **counts: int) -> None:
        self._counts = counts

    def read(self, query: str, **_: Any) -> pa.Table:
        assert query == "counts/count_state"
        return pa.Table.from_pylist([self._counts])
