"""The loop of a search: failures, pruning, and going on after a stop, with made-up metrics."""

import json
from collections.abc import Sequence
from typing import Any, get_args

import pytest

from quantbot_pipeline.errors import SearchSpaceError, SimulationError, StorageError
from quantbot_pipeline.optimization.objectives import parse_objective
from quantbot_pipeline.optimization.pruning import PruningRule
from quantbot_pipeline.optimization.search import (
    EvaluateBatch,
    Failure,
    Metrics,
    SearchPlan,
    run_search,
    search_document,
)
from quantbot_pipeline.optimization.study import Sampler, Trial
from quantbot_pipeline.optimization.tally import SearchTally, TrialRecord
from tests.unit.optimization.search_scene import ALL_KINDS, HOLD, NUMBERS, STOP, metrics_of, space_of

HALVING = PruningRule(kind="halving", shares=(0.1, 0.4))
MEDIAN = PruningRule(kind="median", shares=(0.2,), warm_up=16)

GRID = space_of(STOP | {"low": 0.1, "high": 0.9, "step": 0.001}, HOLD | {"step": 7200})


def evaluate(trials: Sequence[Trial], look: int) -> list[Metrics | Failure]:
    """Evaluate by parameters; early looks see a little less."""
    return [_metrics(trial, look) for trial in trials]


def _metrics(trial: Trial, look: int) -> Metrics:
    multiple = {"exits.targets[0].multiple": 2.0}
    found = metrics_of(multiple | trial.params)
    return found | {"final_pnl": float(found["final_pnl"] or 0) - 0.01 * ((trial.index + look) % 3)}


def plan(sampler: Sampler = "random", **options: Any) -> SearchPlan:
    values: dict[str, Any] = {
        "space": NUMBERS if sampler == "cmaes" else GRID if sampler == "grid" else ALL_KINDS,
        "objective": parse_objective("final_pnl subject to max_drawdown <= 0.7"),
        "seed": 3,
        "trial_count": 40,
        **options,
    }
    return SearchPlan(sampler=sampler, **values)


def search(
    of: SearchPlan, evaluate_batch: EvaluateBatch = evaluate, **options: Any
) -> tuple[list[TrialRecord], SearchTally]:
    records: list[TrialRecord] = []
    tally = run_search(of, evaluate_batch, take_batch=lambda batch, _: records.extend(batch), **options)
    return records, tally


@pytest.mark.parametrize("pruning", [None, HALVING, MEDIAN])
@pytest.mark.parametrize("sampler", get_args(Sampler))
def test_search_that_stops_goes_on_to_the_records_of_an_undisturbed_one(
    sampler: Sampler, pruning: PruningRule | None
) -> None:
    of = plan(sampler, pruning=pruning)
    whole, whole_tally = search(of)
    assert {record.index for record in whole} == set(range(40))
    assert ("pruned" in whole_tally.counts) == (pruning is not None)
    # After whole batches, and within one.
    for kept in (lambda index: index < 16, lambda index: index < 16 or index in (17, 18, 20, 22, 23)):
        documents = [json.loads(json.dumps(record.document())) for record in whole if kept(record.index)]
        stored = [TrialRecord.from_document(document) for document in documents]
        rest, tally = search(of, stored=stored)

        assert sorted([*stored, *rest], key=lambda record: record.index) == whole
        assert tally.counts == whole_tally.counts
        assert tally.best() == whole_tally.best()


def test_best_trial_is_within_the_limits() -> None:
    records, tally = search(plan())

    scored = [record for record in records if record.state == "scored"]
    unscored = [record for record in records if record.state == "unscored"]
    assert unscored
    assert all(record.metrics is not None and record.metrics["max_drawdown"] <= 0.7 for record in scored)
    assert all("allowed is max_drawdown <= 0.7" in record.reason for record in unscored)
    assert tally.best()[0].scores == max(record.scores for record in scored if record.scores)


def test_trial_that_fails_is_recorded_with_its_reason_and_the_others_go_on() -> None:
    def fails(trials: Sequence[Trial], look: int) -> list[Metrics | Failure]:
        if any(trial.index == 5 for trial in trials):
            raise SimulationError("the kernel refused trial 5")
        return [Failure("no candles") if trial.index == 9 else _metrics(trial, look) for trial in trials]

    records, tally = search(plan(), fails)

    assert {record.index: record.reason for record in records if record.state == "failed"} == {
        5: "the kernel refused trial 5",
        9: "no candles",
    }
    assert tally.trial_count == 40
    undisturbed, _ = search(plan())
    assert [r.params for r in records] == [r.params for r in undisturbed]


def test_store_that_is_lost_ends_the_search() -> None:
    def loses(trials: Sequence[Trial], look: int) -> list[Metrics | Failure]:
        raise StorageError("the server is gone")

    with pytest.raises(StorageError):
        search(plan(), loses)


def test_pruned_trials_are_not_evaluated_any_further() -> None:
    looks: list[list[int]] = [[], [], []]

    def counts(trials: Sequence[Trial], look: int) -> list[Metrics | Failure]:
        looks[look] += [trial.index for trial in trials]
        return evaluate(trials, look)

    records, tally = search(plan(pruning=HALVING), counts)

    # Batches of 8: the best 4 and the best 2 of them go on.
    assert [len(look) for look in looks] == [40, 20, 10]
    assert tally.counts["pruned"] == 30
    pruned = [record for record in records if record.state == "pruned"]
    assert all("of the calls" in record.reason and record.scores is None for record in pruned)
    assert {len(record.look_scores) for record in pruned} == {1, 2}


def test_several_goals_leave_a_front() -> None:
    of = plan("nsga2", objective=parse_objective("max:final_pnl, min:max_drawdown"), trial_count=64)
    records, tally = search(of)

    front = {record.index for record in tally.front()}
    best = max((record for record in records if record.scores), key=lambda record: record.scores or ())
    assert best.index in front
    assert 1 < len(front) < 64


def test_grid_search_without_stored_trials_goes_on_from_its_tally() -> None:
    of = plan("grid", trial_count=2_000)
    whole = run_search(of, evaluate, tally=SearchTally(keep=3, sample_size=50))
    states: list[tuple[int, str]] = []

    def keep_state(batch: Sequence[TrialRecord], tally: SearchTally) -> None:
        states.append((len(states) + 1, json.dumps(tally.document())))

    run_search(
        of,
        evaluate,
        tally=SearchTally(keep=3, sample_size=50),
        take_batch=keep_state,
        is_stopped=lambda: len(states) == 100,
    )
    batches, document = states[-1]
    again = run_search(of, evaluate, tally=SearchTally.from_document(json.loads(document)), skip_batches=batches)

    assert whole.trial_count == 2_000
    assert again.document() == whole.document()


def test_stored_records_and_skipped_batches_exclude_each_other() -> None:
    records, _ = search(plan())
    with pytest.raises(SearchSpaceError, match="found both"):
        run_search(plan(), evaluate, stored=records, skip_batches=1)
    with pytest.raises(SearchSpaceError, match="prunes by the median needs its stored records"):
        run_search(plan(pruning=MEDIAN), evaluate, skip_batches=1)


def test_document_of_a_search_is_json_and_tells_searches_apart() -> None:
    first, other = search_document(plan()), search_document(plan(pruning=HALVING))

    assert json.loads(json.dumps(first)) == first
    assert first != other
