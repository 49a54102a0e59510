"""What a search keeps: the best, the front, a bounded sample, and its way through JSON."""

import json
from random import Random

import numpy as np
import pytest

from quantbot_pipeline.optimization.objectives import parse_objective
from quantbot_pipeline.optimization.tally import ScoreSample, SearchTally, TrialRecord


def record(index: int, *scores: float) -> TrialRecord:
    return TrialRecord(index, {"horizon_seconds": index}, "scored", scores)


def test_best_trials_are_kept_and_of_equals_the_earlier() -> None:
    tally = SearchTally(keep=3)
    for index, score in [(0, 1.0), (1, 3.0), (2, 3.0), (3, 2.0), (4, 2.0), (5, -1.0)]:
        tally.add(record(index, score))

    assert [each.index for each in tally.best()] == [1, 2, 3]
    assert [each.index for each in tally.front()] == [1]


def test_states_are_counted_and_their_first_reasons_kept() -> None:
    tally = SearchTally()
    for index in reversed(range(20)):
        tally.add(TrialRecord(index, {}, "failed" if index % 2 else "refused", None, reason=f"reason {index}"))

    assert tally.counts == {"failed": 10, "refused": 10}
    assert tally.reasons()["failed"] == [(k, f"reason {k}") for k in (1, 3, 5, 7, 9)]


def test_front_keeps_records_of_its_members_alone() -> None:
    tally = SearchTally()
    for index, scores in enumerate([(1.0, 1.0), (2.0, 0.0), (2.0, 2.0), (0.0, 9.0)]):
        tally.add(record(index, *scores))

    assert [each.index for each in tally.front()] == [2, 3]


def test_sample_is_bounded_and_its_quantiles_near_those_of_all() -> None:
    random = Random(1)  # noqa: S311  cases, not secrets
    scores = [random.gauss(0, 1) for _ in range(20_000)]
    sample = ScoreSample(capacity=1_000)
    for index, score in enumerate(scores):
        sample.add(index, score)

    assert (sample.count, len(sample.scores())) == (20_000, 1_000)
    assert sample.mean == pytest.approx(np.mean(scores))
    assert sample.deviation == pytest.approx(np.std(scores, ddof=1))
    assert (sample.quantile(0), sample.quantile(1)) == (min(scores), max(scores))
    # Ranks of 1 000 are off by a deviation of at most sqrt(0.25 / 1000) = 1.6 %: within four of them.
    for share in (0.1, 0.5, 0.9):
        found = sample.quantile(share)
        assert found is not None
        assert abs(float(np.mean(np.array(scores) <= found)) - share) < 0.064


def test_sample_does_not_depend_on_the_order_of_trials() -> None:
    forward, backward = ScoreSample(capacity=10), ScoreSample(capacity=10)
    for index in range(100):
        forward.add(index, float(index))
        backward.add(99 - index, float(99 - index))

    assert forward.trials() == backward.trials()


def test_deviation_of_large_scores_that_differ_little_is_not_lost() -> None:
    sample = ScoreSample()
    for index, score in enumerate([1e9, 1e9 + 1, 1e9 + 2]):
        sample.add(index, score)

    assert sample.deviation == 1.0


def test_empty_sample_has_no_figures() -> None:
    sample = ScoreSample()

    assert (sample.mean, sample.deviation, sample.quantile(0.5)) == (None, None, None)


def test_tally_goes_through_json_and_on_as_if_it_had_not() -> None:
    def fill(tally: SearchTally, indices: range) -> SearchTally:
        for index in indices:
            if index % 7 == 0:
                tally.add(TrialRecord(index, {}, "pruned", None, reason="low", look_scores=(None, (0.1,))))
            else:
                tally.add(record(index, (index * 37 % 101) / 3, (index * 61 % 103) / 7))
        return tally

    sizes = {"keep": 5, "sample_size": 40, "front_capacity": 6}
    whole = fill(SearchTally(**sizes), range(400))
    half = fill(SearchTally(**sizes), range(170))
    restored = SearchTally.from_document(json.loads(json.dumps(half.document())))

    assert fill(restored, range(170, 400)).document() == whole.document()
    assert whole.dropped_from_front == restored.dropped_from_front
    assert SearchTally.from_document(SearchTally().document()).document() == SearchTally().document()


LIMITS = parse_objective("final_pnl subject to trade_count >= 500 and max_drawdown <= 0.1").all_limits()


def unscored(index: int, trade_count: int, max_drawdown: float | None) -> TrialRecord:
    metrics = {"trade_count": trade_count, "max_drawdown": max_drawdown}
    return TrialRecord(index, {}, "unscored", None, violation=1.0, reason="a limit is missed", metrics=metrics)


def test_a_limit_that_every_trial_missed_is_named_with_the_nearest_value() -> None:
    tally = SearchTally(limits=LIMITS[:1])
    for index, count in enumerate((3, 112, 40)):
        tally.add(unscored(index, count, 0.0))

    assert tally.why_no_score() == "no trial of 3 met 'trade_count >= 500': the most was 112"
    # A later process says the same.
    again = SearchTally.from_document(json.loads(json.dumps(tally.document())))
    assert again.why_no_score() == tally.why_no_score()
    again.add(unscored(3, 499, 0.0))
    assert again.why_no_score() == "no trial of 4 met 'trade_count >= 500': the most was 499"
    again.add(record(4, 1.0))
    assert again.why_no_score() is None
    assert SearchTally(limits=LIMITS).why_no_score() is None


def test_limits_that_were_missed_in_turn_are_counted() -> None:
    tally = SearchTally(limits=LIMITS)
    for index, (count, drawdown) in enumerate([(600, 0.3), (700, 0.2), (90, 0.05), (80, None)]):
        tally.add(unscored(index, count, drawdown))

    assert tally.why_no_score() == (
        "no trial of 4 has a score; 'trade_count >= 500' was missed by 2 (the most was 90); "
        "'max_drawdown <= 0.1' was missed by 3 (the least was 0.2)"
    )


def test_trials_that_met_every_limit_or_never_ran_are_counted_too() -> None:
    tally = SearchTally(limits=LIMITS)
    tally.add(unscored(0, 600, 0.05))
    tally.add(TrialRecord(1, {}, "refused", None, reason="sizes sum to 1.2"))
    tally.add(TrialRecord(2, {}, "pruned", None, reason="score 0.1 after 10% of the calls"))

    assert tally.why_no_score() == (
        "no trial of 3 has a score; 1 met every limit and had no value to score; 1 pruned, 1 refused "
        "(the first: sizes sum to 1.2)"
    )
    nothing_known = SearchTally(limits=LIMITS[1:])
    nothing_known.add(unscored(0, 1, None))
    assert nothing_known.why_no_score() == "no trial of 1 met 'max_drawdown <= 0.1': none had a value"
