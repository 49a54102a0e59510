"""Rows of named queries, as the report reads them."""

from typing import Any

from quantbot_pipeline.storage.protocols import HistoryStore, StateStore


def rows_of(store: StateStore | HistoryStore, query: str, **parameters: Any) -> list[dict[str, Any]]:
    """Return the rows of a named query."""
    rows: list[dict[str, Any]] = store.read(query, **parameters).to_pylist()
    return rows
