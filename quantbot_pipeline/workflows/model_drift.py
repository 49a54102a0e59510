"""Drift of a registered model: the calls that it scored lately against those that it learned from.

Nothing old is read again: the row of a model holds how its training calls were distributed, and a score what it rests
on. The calls of now are those after the model's last window, so that none is on both sides.
"""

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from typing import Any

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.candles import FloatArray
from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.learning.drift import (
    MIN_DRIFT_CALLS,
    SCORE,
    ColumnDrift,
    Profile,
    Verdict,
    measure_drift,
    worst_of,
)
from quantbot_pipeline.learning.past_trades import float_column
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import ModelRow
from quantbot_pipeline.workflows.build_features import load_entry_calls, signal_second

DRIFT_DAYS = 30
"""How far back from the newest scored call the calls of now reach, by default."""


@dataclass(frozen=True, slots=True)
class DriftReport:
    """How the calls of now differ from those that a model learned from.

    Attributes:
        model_id: The model.
        name: Its name.
        version: Its version.
        status: Whether it is in use.
        verdict: The worst that is told of any column.
        first: Signal time of the first of the calls of now; None without any.
        last: Of the last.
        calls: How many they are.
        training_calls: How many calls the features are compared with.
        columns: Features and score, the largest shift first; empty without calls.
    """

    model_id: int
    name: str
    version: str
    status: str
    verdict: Verdict
    first: datetime | None
    last: datetime | None
    calls: int
    training_calls: int
    columns: tuple[ColumnDrift, ...]

    @property
    def told(self) -> tuple[ColumnDrift, ...]:
        """Return the columns that a person is to be warned of."""
        return tuple(column for column in self.columns if column.is_told)

    def sentence(self) -> str:
        """Return what was found in one sentence."""
        whom = f"model {self.name} {self.version}"
        if self.verdict == "too few calls":
            return (
                f"{whom}: {self.calls} scored calls since its last window, and at least {MIN_DRIFT_CALLS} on either "
                "side are needed to tell drift"
            )
        if not self.told:
            return f"{whom}: the last {self.calls:,} calls look like those that it learned from"
        names = ", ".join(f"{column.name} ({column.psi:.2f})" for column in self.told[:5])
        more = f" and {len(self.told) - 5} more" if len(self.told) > 5 else ""
        return (
            f"{whom}: {self.verdict}; the last {self.calls:,} calls differ from those that it learned from in "
            f"{names}{more}"
        )

    def document(self) -> dict[str, Any]:
        """Return the report as JSON."""
        return asdict(self) | {"told": [column.name for column in self.told], "sentence": self.sentence()}


def trained_until_of(row: ModelRow) -> datetime:
    """Return until when a model had learned.

    Raises:
        LearningError: it is not known.
    """
    if row.trained_until is None:
        raise LearningError(
            f"model {row.name} {row.version} does not say until when it had learned, so it may have seen any call; "
            "train it again"
        )
    return row.trained_until


def measure_model_drift(
    row: ModelRow, state: StateStore, history: HistoryStore, *, days: int = DRIFT_DAYS
) -> DriftReport:
    """Return how the calls that a model scored lately differ from those that it learned from.

    Args:
        row: The model.
        state: Where calls are.
        history: Where scores are.
        days: How far back from the newest scored call the calls of now reach, at least 1.

    Raises:
        LearningError: the model is from before its training calls were described.
    """
    profiles = profiles_of(row)
    limit = int(trained_until_of(row).timestamp())
    tested_until = int(row.metrics.get("test_end") or limit)
    scored = history.read("features/load_scored_values", model_id=row.model_id, trained_until=limit)
    signals = {call.call_id: signal_second(call) for call in load_entry_calls(state)}
    # Calls that are no longer in force are not what comes in now.
    signal = np.array([signals.get(call, 0) for call in scored["call_id"].to_pylist()], dtype=np.int64)
    newest = int(signal.max(initial=0))
    chosen = np.flatnonzero((signal > tested_until) & (signal > newest - days * 86_400))
    columns: tuple[ColumnDrift, ...] = ()
    first, last = (int(signal[chosen].min()), int(signal[chosen].max())) if len(chosen) else (0, 0)
    if len(chosen):
        now = _values(scored.take(pa.array(chosen)), tuple(profiles))
        columns = measure_drift(profiles, now, span_seconds=last - first)
    return DriftReport(
        model_id=row.model_id,
        name=row.name,
        version=row.version,
        status=row.status,
        verdict=worst_of(columns) if columns else "too few calls",
        first=datetime.fromtimestamp(first, UTC) if columns else None,
        last=datetime.fromtimestamp(last, UTC) if columns else None,
        calls=len(chosen),
        training_calls=max((profile.calls for name, profile in profiles.items() if name != SCORE), default=0),
        columns=columns,
    )


def profiles_of(row: ModelRow) -> dict[str, Profile]:
    """Return how a model's training calls were distributed.

    Raises:
        LearningError: its row does not say it.
    """
    documents = row.metrics.get("profiles")
    if not isinstance(documents, Mapping) or SCORE not in documents:
        raise LearningError(
            f"model {row.name} {row.version} does not say what its training calls were like, so drift can't be "
            "measured; train it again"
        )
    return {name: Profile.from_document(document) for name, document in documents.items()}


def _values(scored: pa.Table, names: tuple[str, ...]) -> dict[str, FloatArray]:
    """Return the columns of scored calls: what was read of each, and the score."""
    found = {name: np.full(scored.num_rows, np.nan) for name in names}
    maps = scored["values"].combine_chunks()
    if isinstance(maps, pa.ChunkedArray):
        maps = pa.concat_arrays(maps.chunks)
    # All features of all calls one after the other: loops over calls would take seconds for a month of them.
    rows = np.repeat(np.arange(scored.num_rows), np.diff(maps.offsets.to_numpy()))
    read = maps.keys.dictionary_encode()
    codes, values = read.indices.to_numpy(), maps.items.to_numpy(zero_copy_only=False)
    for code, name in enumerate(read.dictionary.to_pylist()):
        if name in found:
            chosen = codes == code
            found[name][rows[chosen]] = values[chosen]
    return found | {SCORE: float_column(scored, SCORE)}
