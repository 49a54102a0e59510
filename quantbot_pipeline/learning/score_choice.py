"""Which of the stored scores of a call a simulation may use: the newest one whose model had learned before the call.

Decision 0013 says why. Models that are `failed` or still in training count for nothing; one that is `deprecated` counts
like one that is `ready`, because it is out of use from now on and was not then.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
from math import isnan
from typing import NamedTuple

import numpy as np
import pyarrow as pa

from quantbot_pipeline.errors import InputError

USABLE_STATUSES = frozenset({"ready", "deprecated"})
"""Of versions of a model whose scores strategies may read; those of its walk-forward folds go with it."""


class ChosenScore(NamedTuple):
    """The score of a call that counts.

    Attributes:
        model_id: The version of the model that it is of, or whose walk-forward fold.
        trained_until: When the last label was known that it was fitted to, seconds since the epoch, UTC.
        score: What it says of the call.
    """

    model_id: int
    trained_until: int
    score: float


@dataclass(frozen=True, slots=True)
class ModelVersion:
    """A version of a model, as far as the choice asks.

    Attributes:
        model_id: Its row.
        name: Name of the model.
        status: What the registry says of it.
    """

    model_id: int
    name: str
    status: str


def usable_models(names: Iterable[str], versions: Collection[ModelVersion]) -> frozenset[int]:
    """Return the versions of models whose scores may be used.

    Args:
        names: Models that strategies name.
        versions: All versions there are, of any model.

    Raises:
        InputError: a name has no such version; the message says what there is.
    """
    by_name: dict[str, list[ModelVersion]] = defaultdict(list)
    for version in versions:
        by_name[version.name].append(version)
    usable: set[int] = set()
    for name in sorted(set(names)):
        found = [version.model_id for version in by_name.get(name, ()) if version.status in USABLE_STATUSES]
        if not found:
            raise InputError(_refusal(name, by_name))
        usable.update(found)
    return frozenset(usable)


def choose_scores(
    stored: pa.Table, signal_timestamps: Mapping[int, datetime], usable: Collection[int]
) -> dict[int, dict[str, ChosenScore]]:
    """Return for each call and model the score that counts; calls and models without any are absent.

    Of the scores by usable versions that had learned before the call, the one that learned the longest counts, and of
    equal ones that of the highest model id. A model that had learned until the very moment of the call is too late.

    Args:
        stored: call_id, model_name, model_id, trained_until (UTC) and score, as `HistoryStore.load_call_scores` returns
            them, in any order.
        signal_timestamps: When each call was made, by call id; scores of other calls are left out.
        usable: Versions that count, as `usable_models` returns them.
    """
    chosen: dict[int, dict[str, ChosenScore]] = {}
    learned = stored["trained_until"].cast(pa.timestamp("us", tz="UTC")).cast(pa.int64()).to_numpy() // 1_000_000
    rows = zip(
        stored["call_id"].to_pylist(),
        stored["model_name"].to_pylist(),
        stored["model_id"].to_pylist(),
        np.asarray(learned).tolist(),
        stored["score"].to_pylist(),
        strict=True,
    )
    for call_id, name, model_id, trained_until, score in rows:
        called_at = signal_timestamps.get(call_id)
        if called_at is None or model_id not in usable or trained_until >= called_at.timestamp() or isnan(score):
            continue
        of_call = chosen.setdefault(call_id, {})
        found = ChosenScore(model_id, trained_until, score)
        before = of_call.get(name)
        if before is None or (before.trained_until, before.model_id) < (trained_until, model_id):
            of_call[name] = found
    return chosen


def _refusal(name: str, by_name: Mapping[str, Collection[ModelVersion]]) -> str:
    if name in by_name:
        statuses = ", ".join(sorted({version.status for version in by_name[name]}))
        return (
            f"model {name!r}: no version of it was ever ready, there are only {statuses} ones; scores of a model that "
            "does not beat its baselines are not used: name another one, or take the condition out"
        )
    known = ", ".join(sorted(by_name)) or "none"
    return (
        f"model {name!r} of a condition on a score is not registered; registered are {known}: train it "
        f"('quantbot train --name {name}'), or name one that is"
    )
