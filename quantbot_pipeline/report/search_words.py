"""How numbers and answers of a search are said in words, in the page, in Dagster and in a terminal."""

import math
from collections.abc import Mapping
from typing import Any

from quantbot_pipeline.optimization.tally import TrialRecord
from quantbot_pipeline.report.search_content import SearchContent, SearchGoal, value_text

STATE_WORDS = {
    "scored": "scored",
    "unscored": "without a score",
    "pruned": "given up early",
    "refused": "no valid strategy",
    "failed": "failed",
}
"""What a state of trials is called."""

_ANSWERS = {
    "distinguishable from luck": (
        "yes",
        "Yes: every test that was made tells the winner from luck.",
    ),
    "not distinguishable from luck": (
        "no",
        "No: the winner can't be told from luck.",
    ),
    "too little data to say": (
        "open",
        "Too little data to say whether the winner is luck.",
    ),
}


def verdict_sentence(answer: str) -> str:
    """Return the answer of a verdict as a sentence; one that is unknown as it is."""
    return _ANSWERS[answer][1] if answer in _ANSWERS else answer


def verdict_class(answer: str) -> str:
    """Return `yes`, `no` or `open`, by which the answer is coloured."""
    return _ANSWERS[answer][0] if answer in _ANSWERS else "open"


def counted(number: float) -> str:
    """Return a count with its thousands apart, as the page writes them."""
    return f"{number:,.0f}".replace(",", "\N{NARROW NO-BREAK SPACE}")


def untested_sentence(search: SearchContent) -> str:
    """Return why a search has no verdict."""
    if search.status in ("pending", "running"):
        return "The search has not ended, so its winner was not tested."
    if search.status == "failed":
        return "The search failed, so nothing was tested."
    if search.counts and not search.counts.get("scored"):
        return "No trial has a score, so there is no winner to test."
    return "Whether the winner is luck was not tested."


def state_counts(counts: Mapping[str, int], separator: str = "\N{NARROW NO-BREAK SPACE}") -> str:
    """Return how many trials ended how, such as `90 scored, 10 given up early`; terminals have commas."""
    known = [state for state in STATE_WORDS if counts.get(state)]
    others = sorted(state for state in counts if state not in STATE_WORDS)
    numbers = {state: f"{counts[state]:,}".replace(",", separator) for state in counts}
    return ", ".join(f"{numbers[state]} {STATE_WORDS.get(state, state)}" for state in [*known, *others])


def goal_number(score: float | None, goal: SearchGoal) -> str:
    """Return a score as the metric that it is of; a dash without one."""
    if score is None or not math.isfinite(score):
        return "\N{EN DASH}"
    return f"{goal.shown(score):.4g}".replace("-", "\N{MINUS SIGN}")


def in_order(search: SearchContent, parameters: Mapping[str, Any]) -> list[tuple[str, Any]]:
    """Return path and value in the order of the space; paths that it does not name come last."""
    order = {parameter.path: k for k, parameter in enumerate(search.parameters)}
    return sorted(parameters.items(), key=lambda item: (order.get(item[0], len(order)), item[0]))


def metric(trial: TrialRecord, name: str) -> float | None:
    """Return a metric of a trial's run; None where it has none or is no number."""
    value = (trial.metrics or {}).get(name)
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def count(value: float | None) -> str:
    """Return a count as a whole number; a dash without one."""
    return "\N{EN DASH}" if value is None else counted(value)


SEARCH_FILTERS = {
    "verdict_sentence": verdict_sentence,
    "verdict_class": verdict_class,
    "untested_sentence": untested_sentence,
    "state_counts": state_counts,
    "state_words": lambda state: STATE_WORDS.get(state, state),
    "goal_number": goal_number,
    "in_order": in_order,
    "metric": metric,
    "count": count,
    "value_text": value_text,
}
"""Filters of the page's template."""
