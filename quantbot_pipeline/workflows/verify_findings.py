"""What rules are checked on, and what a check finds."""

import json
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any

import pyarrow as pa

from quantbot_pipeline.storage.protocols import HistoryStore, StateStore

EXAMPLES_SHOWN = 5
"""Examples that a finding holds; the count is of all."""

ROWS_PER_PAGE = 5_000
"""Rows of Postgres that are looked at together."""

IMPORT_PATIENCE = timedelta(hours=1)
"""An import of which nothing came for so long was left by a process that died."""


@dataclass(frozen=True, slots=True)
class VerifiedStores:
    """What is verified.

    Attributes:
        state: Postgres.
        history: ClickHouse.
        now: The present, UTC: nothing may be stated for a day after it.
        on_rows: Told how many rows more were looked at; may raise to stop.
    """

    state: StateStore
    history: HistoryStore
    now: datetime
    on_rows: Callable[[int], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class Finding:
    """What the check of a rule found.

    Attributes:
        looked_at: Rows that were looked at.
        wrong: How many break the rule.
        examples: The first of them, by their keys.
    """

    looked_at: int = 0
    wrong: int = 0
    examples: tuple[str, ...] = ()

    def __add__(self, other: "Finding") -> "Finding":
        """Return what both found."""
        return Finding(
            self.looked_at + other.looked_at,
            self.wrong + other.wrong,
            (self.examples + other.examples)[:EXAMPLES_SHOWN],
        )


@dataclass(slots=True)
class FindingCounter:
    """Counts what a check finds as it goes."""

    looked_at: int = 0
    wrong: int = 0
    _examples: list[str] = field(default_factory=list)

    def look(self, count: int = 1) -> None:
        """Count rows that are looked at."""
        self.looked_at += count

    def fault(self, example: str) -> None:
        """Count one that is wrong."""
        self.wrong += 1
        if len(self._examples) < EXAMPLES_SHOWN:
            self._examples.append(example)

    def finding(self) -> Finding:
        """Return what was counted so far."""
        return Finding(self.looked_at, self.wrong, tuple(self._examples))


def finding_of(answer: pa.Table) -> Finding:
    """Return the finding of a query that counts by itself: one row of `looked_at`, `wrong` and `examples`."""
    [row] = answer.to_pylist()
    examples = row["examples"]
    texts = json.loads(examples) if isinstance(examples, str) else examples
    return Finding(int(row["looked_at"]), int(row["wrong"]), tuple(texts[:EXAMPLES_SHOWN]))


def state_pages(stores: VerifiedStores, query: str, key: str) -> Iterator[list[dict[str, Any]]]:
    """Yield the rows of a query of Postgres, page by page.

    Args:
        stores: Where from.
        query: A query with the parameters `after_id` and `row_limit`.
        key: Its column of ids, by which it is ordered.
    """
    after_id = 0
    while True:
        rows = stores.state.read(query, after_id=after_id, row_limit=ROWS_PER_PAGE).to_pylist()
        if not rows:
            return
        yield rows
        stores.on_rows(len(rows))
        after_id = rows[-1][key]
