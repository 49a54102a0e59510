"""Evidence that a later process brings back from numbers and parameters: the same tests, bit by bit."""

import json
import weakref
from typing import Any

import numpy as np
import pytest

from quantbot_pipeline.optimization import search_evidence as evidence_module
from quantbot_pipeline.optimization.honesty.dependent_bootstrap import periods_of_calls
from quantbot_pipeline.optimization.measured_trials import MeasuredTrial
from quantbot_pipeline.optimization.search_evidence import SearchEvidence

DAY = 86_400
CALLS = 60
STAMPS = DAY * np.arange(CALLS, dtype=np.int64)
PERIODS = periods_of_calls(STAMPS, STAMPS + DAY // 2)


def trial(index: int) -> MeasuredTrial:
    """Return made-up results, which follow from the number."""
    pnl = np.random.default_rng(index).normal(0, 1, CALLS)
    if index % 9 == 0:
        # Too few results to be tested.
        pnl[5:] = 0.0
    return MeasuredTrial({}, pnl, pnl != 0, STAMPS + DAY // 2)


def add(evidence: SearchEvidence, begin: int, end: int) -> None:
    for index in range(begin, end):
        pnl = trial(index).pnl
        # Every seventh trial failed: numbers are not without gaps. Some have no score.
        if index % 7 == 3:
            continue
        evidence.add(
            index,
            {"a": index / 3},
            trial(index),
            score=None if index % 5 == 4 else float(pnl.mean()),
            window_scores=(None if index < 40 else float(pnl[:20].mean()), float(pnl[:40].mean())),
        )


def contents(evidence: SearchEvidence) -> tuple[Any, ...]:
    sample, column = evidence.sample()
    choices = [
        (each.index, each.params, each.score, each.pnl.tobytes())
        for each in (evidence.winner, *evidence.chosen)
        if each is not None
    ]
    assert len(choices) == 3
    # Made-up trials have no result of exactly 0.
    assert np.array_equal(sample.is_bought, sample.pnl != 0)
    results = sample.pnl.tobytes(), sample.is_bought.tobytes()
    return evidence.winner_test(), results, column, choices, evidence.own_count


def new_evidence() -> SearchEvidence:
    return SearchEvidence(CALLS, PERIODS, window_count=2, seed=4, draws=99)


@pytest.mark.parametrize("kept_after", [0, 1, 20, 100, 299, 300])
def test_evidence_that_is_brought_back_ends_as_if_nothing_had_happened(
    monkeypatch: pytest.MonkeyPatch, kept_after: int
) -> None:
    # Small, so that trials wait for the next batch and leave the sample of 50.
    monkeypatch.setattr(evidence_module, "_BATCH", 32)
    monkeypatch.setattr(evidence_module, "_SAMPLE_TRIALS", 50)
    whole = new_evidence()
    add(whole, 0, 300)

    first = new_evidence()
    add(first, 0, kept_after)
    document = json.loads(json.dumps(first.document(), allow_nan=False))
    # The sample, at most a batch, the winner and the choices: not every trial.
    assert len(document["trials"]) <= 50 + 31 + 3
    again = new_evidence()
    again.restore(document, {index: trial(index) for index, _ in document["trials"]})
    assert again.document() == first.document()
    add(again, kept_after, 300)

    assert contents(again) == contents(whole)


def test_results_per_call_are_held_of_the_sample_the_winner_and_the_choices_alone(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Those of a whole batch were held until it was full: gigabytes where calls are many."""
    monkeypatch.setattr(evidence_module, "_SAMPLE_TRIALS", 50)
    evidence = new_evidence()
    held = []
    for index in range(200):
        measured = trial(index)
        evidence.add(index, {}, measured, score=float(index), window_scores=(float(index), float(-index)))
        held.append(weakref.ref(measured.pnl))
        del measured
    assert sum(results() is not None for results in held) <= 50 + 3
