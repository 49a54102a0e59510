"""Why no trial of a search has a score: which limits were missed how often, and how near trials came to them."""

import math
from collections.abc import Mapping, Sequence
from typing import Any

from quantbot_pipeline.optimization.objectives import Limit

_NEAREST_IS = {">=": "the most", ">": "the most", "<=": "the least", "<": "the least", "==": "the nearest"}

_STATES_WITHOUT_RUN = ("pruned", "refused", "failed")


class MissedLimits:
    """What trials without a score missed, in bounded memory and whatever their order.

    Args:
        limits: Those of the objective, with the one on trades that holds by itself.
    """

    def __init__(self, limits: Sequence[Limit] = ()) -> None:
        self._limits = tuple(limits)
        self._missed = [0] * len(self._limits)
        # How far the nearest trial was from each limit, and its value.
        self._nearest: list[tuple[float, float] | None] = [None] * len(self._limits)
        self._without_value = 0

    def add(self, metrics: Mapping[str, Any]) -> None:
        """Take the metrics of a trial over all calls that has no score."""
        is_missing_one = False
        for k, limit in enumerate(self._limits):
            violation = limit.violation(metrics)
            if violation <= 0:
                continue
            is_missing_one = True
            self._missed[k] += 1
            value = metrics[limit.metric]
            if value is not None and math.isfinite(value):
                found = (violation, float(value))
                nearest = self._nearest[k]
                self._nearest[k] = found if nearest is None else min(nearest, found)
        self._without_value += not is_missing_one

    def sentence(self, counts: Mapping[str, int], reasons: Mapping[str, Sequence[tuple[int, str]]]) -> str:
        """Return why a search has no score, such as `no trial of 40 met 'trade_count >= 500': the most was 112`.

        Args:
            counts: State → how many trials of the search are in it.
            reasons: State → number and reason of the first few trials.
        """
        total, measured = sum(counts.values()), counts.get("unscored", 0)
        missed = [k for k in range(len(self._limits)) if self._missed[k]]
        if len(missed) == 1 and self._missed[missed[0]] == measured:
            [k] = missed
            text = f"no trial of {measured:,} met '{self._limits[k]}': {self._nearest_text(k)}"
        else:
            parts = [f"'{self._limits[k]}' was missed by {self._missed[k]:,} ({self._nearest_text(k)})" for k in missed]
            if self._without_value:
                parts.append(f"{self._without_value:,} met every limit and had no value to score")
            text = "; ".join([f"no trial of {total:,} has a score", *parts])
        if measured == total:
            return text
        rest = ", ".join(f"{counts[state]:,} {state}" for state in _STATES_WITHOUT_RUN if counts.get(state))
        first = next((found[1] for state in reversed(_STATES_WITHOUT_RUN) for found in reasons.get(state, ())), "")
        return f"{text}; {rest}" + (f" (the first: {first})" if first else "")

    def _nearest_text(self, k: int) -> str:
        nearest, limit = self._nearest[k], self._limits[k]
        if nearest is None:
            return "none had a value"
        return f"{_NEAREST_IS[limit.comparison]} was {nearest[1]:.6g}"

    def document(self) -> dict[str, Any]:
        """Return all of it as JSON."""
        return {
            "limits": [
                {"limit": limit.model_dump(mode="json"), "missed": missed, "nearest": nearest and list(nearest)}
                for limit, missed, nearest in zip(self._limits, self._missed, self._nearest, strict=True)
            ],
            "without_value": self._without_value,
        }

    @classmethod
    def from_document(cls, document: Mapping[str, Any]) -> "MissedLimits":
        """Return it of its JSON."""
        limits = document["limits"]
        found = cls([Limit.model_validate(each["limit"]) for each in limits])
        found._missed = [each["missed"] for each in limits]
        found._nearest = [
            None if each["nearest"] is None else (float(each["nearest"][0]), float(each["nearest"][1]))
            for each in limits
        ]
        found._without_value = document["without_value"]
        return found
