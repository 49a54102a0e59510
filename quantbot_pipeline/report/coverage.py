"""The picture of coverage by token and day: which tokens, which cells, what share of each is covered.

Bounded for any number of tokens and days: the tokens with the least coverage, and all tokens together; where there
are more days than cells fit on a page, a cell holds several days.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any

import numpy as np
import numpy.typing as npt

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.report.content import CoverageMap, TokenCoverage
from quantbot_pipeline.storage.protocols import HistoryStore

WORST_TOKENS = 40
"""Tokens that are drawn; the others are in the row of all tokens alone."""

MOST_CELLS = 370
"""Cells in a row at most: a year of days. On a screen of usual width they are three pixels wide."""

_DAY = 86400

_Floats = npt.NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class _Token:
    chain: str
    address: str
    first_s: int
    end_s: int
    covered_seconds: int

    @property
    def coverage(self) -> float:
        return min(self.covered_seconds / max(self.end_s - self.first_s, 1), 1.0)


def collect_coverage(history: HistoryStore) -> CoverageMap | None:
    """Return the picture of all stored candles, or None without any."""
    intervals = {
        "interval_names": list(INTERVAL_SECONDS),
        "interval_lengths": list(INTERVAL_SECONDS.values()),
    }
    tokens = [_token(row) for row in history.read("report/list_token_coverage", **intervals).to_pylist()]
    if not tokens:
        return None
    origin_s = min(token.first_s for token in tokens) // _DAY * _DAY
    day_count = -(-(max(token.end_s for token in tokens) - origin_s) // _DAY)
    days_per_cell = -(-day_count // MOST_CELLS)
    cell_count = -(-day_count // days_per_cell)
    worst = sorted(tokens, key=lambda token: (token.coverage, token.chain, token.address))[:WORST_TOKENS]
    rows = history.read(
        "report/load_coverage_days",
        **intervals,
        chains=[token.chain for token in worst],
        token_addresses=[token.address for token in worst],
        origin_s=origin_s,
        cell_seconds=days_per_cell * _DAY,
    ).to_pylist()
    covered = _covered_by_row(rows, cell_count)
    edges = origin_s + np.arange(cell_count + 1, dtype=np.float64) * days_per_cell * _DAY
    everything = np.sum(list(covered.values()), axis=0)
    nothing = np.zeros(cell_count)
    first_day = datetime.fromtimestamp(origin_s, UTC).date()
    return CoverageMap(
        first_days=_first_days(first_day, days_per_cell, cell_count),
        days_per_cell=days_per_cell,
        token_count=len(tokens),
        total=_shares(everything, np.sum([_life(token, edges) for token in tokens], axis=0)),
        tokens=tuple(
            TokenCoverage(
                token=f"{token.chain}:{token.address}",
                coverage=token.coverage,
                shares=_shares(covered.get((token.chain, token.address), nothing), _life(token, edges)),
            )
            for token in worst
        ),
    )


def _token(row: Mapping[str, Any]) -> _Token:
    return _Token(row["chain"], row["token_address"], row["first_s"], row["end_s"], row["covered_seconds"])


def _covered_by_row(rows: Sequence[Mapping[str, Any]], cell_count: int) -> dict[tuple[str, str], _Floats]:
    covered: dict[tuple[str, str], _Floats] = {}
    for row in rows:
        key = (row["shown_chain"], row["shown_address"])
        covered.setdefault(key, np.zeros(cell_count))[row["cell"]] = row["covered_seconds"]
    return covered


def _life(token: _Token, edges: _Floats) -> _Floats:
    """Return how many seconds of each cell lie between the token's first and last candle."""
    seconds: _Floats = np.minimum(edges[1:], token.end_s) - np.maximum(edges[:-1], token.first_s)
    return np.maximum(seconds, 0.0)


def _shares(covered: _Floats, life: _Floats) -> tuple[float | None, ...]:
    """Return the covered share of each cell, None where there is nothing to cover."""
    return tuple(
        min(seconds / length, 1.0) if length > 0 else None
        for seconds, length in zip(covered.tolist(), life.tolist(), strict=True)
    )


def _first_days(first: date, days_per_cell: int, cell_count: int) -> tuple[date, ...]:
    return tuple(first + timedelta(days=days_per_cell * cell) for cell in range(cell_count))
