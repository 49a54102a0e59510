"""Studies: reproducible proposals, batches, and searches that go on after a stop."""

import json
from collections.abc import Callable, Sequence
from itertools import pairwise
from typing import Any, get_args

import pytest

from quantbot_pipeline.errors import SearchSpaceError
from quantbot_pipeline.optimization.proposers import Told
from quantbot_pipeline.optimization.spaces import SearchSpace
from quantbot_pipeline.optimization.study import Sampler, Study, Trial
from tests.unit.optimization.search_scene import (
    ALL_KINDS,
    DROP,
    ENTRY_TYPE,
    FIRST_MULTIPLE,
    HOLD,
    NUMBERS,
    SECOND_MULTIPLE,
    STOP,
    metrics_of,
    space_of,
)

SAMPLERS: tuple[Sampler, ...] = get_args(Sampler)
DRAWING = tuple(sampler for sampler in SAMPLERS if sampler != "grid")
LEARNING: tuple[Sampler, ...] = ("tpe", "cmaes", "nsga2")

STEPPED = space_of(
    STOP | {"step": 0.05},
    FIRST_MULTIPLE | {"step": 0.4, "log": False},
    HOLD | {"step": 10800},
    ENTRY_TYPE,
    DROP | {"step": 0.1},
)


def space_for(sampler: Sampler) -> SearchSpace:
    return {"cmaes": NUMBERS, "grid": STEPPED}.get(sampler, ALL_KINDS)


def score(trial: Trial) -> float:
    return float(metrics_of(trial.params)["final_pnl"] or 0)


def run(
    study: Study, *, score_of: Callable[[Trial], float | Sequence[float] | None] = score, batches: int = 10**9
) -> list[Told]:
    """Ask and tell; return what was told, also of refused trials."""
    told = []
    while batches and (trials := study.ask()):
        batches -= 1
        for trial in trials:
            values = None if trial.refusal else score_of(trial)
            study.tell(trial.index, values)
            scores = values if values is None or isinstance(values, tuple) else (float(values),)  # type: ignore[arg-type]  # no other sequences here
            told.append(Told(trial.index, trial.params, scores))
    return told


def study_of(sampler: Sampler, *, seed: int = 1, trial_count: int = 64, **options: Any) -> Study:
    return Study(space_for(sampler), sampler=sampler, seed=seed, trial_count=trial_count, **options)


@pytest.mark.parametrize("sampler", DRAWING)
def test_same_seed_gives_the_same_trials_and_another_seed_others(sampler: Sampler) -> None:
    first, again, other = run(study_of(sampler)), run(study_of(sampler)), run(study_of(sampler, seed=2))

    assert first == again
    assert first != other
    assert [told.index for told in first] == list(range(64))
    # Batches draw from numbers of their own; the children of NSGA-II, after 32 trials, may be twins.
    new = first[:32] if sampler == "nsga2" else first
    assert len({repr(told.params) for told in new}) == len(new)


@pytest.mark.parametrize("sampler", DRAWING)
def test_proposals_are_within_the_space_its_conditions_and_its_constraints(sampler: Sampler) -> None:
    study = study_of(sampler)
    while trials := study.ask():
        for trial in trials:
            params = trial.params
            assert trial.refusal is None
            assert trial.strategy is not None
            assert trial.strategy.exits.stop_loss is not None
            assert trial.strategy.exits.stop_loss.initial == params["exits.stop_loss.initial"]
            assert 0.05 <= params["exits.stop_loss.initial"] <= 0.9
            assert params["exits.max_hold_seconds"] in range(3600, 90001, 3600)
            assert params["exits.targets[0].size"] + params["exits.targets[1].size"] <= 1 + 1e-9
            assert params["exits.targets[0].multiple"] + 0.1 <= params["exits.targets[1].multiple"] + 1e-9
            assert ("entry.drop" in params) == (params.get("entry.type") == "dip")
            study.tell(trial.index, score(trial))


@pytest.mark.parametrize("sampler", LEARNING)
def test_samplers_that_learn_end_where_scores_are_high(sampler: Sampler) -> None:
    """Optuna once saw no trial at all, since studies remember what they saw first, and drew at random for ever."""
    told = run(study_of(sampler, trial_count=160))
    means = [sum(each.values[0] for each in part if each.values) / 32 for part in (told[:32], told[-32:])]

    # Drawn evenly the mean is about -0.45 with a deviation of 0.25, so the mean of 32 has one of 0.044; the
    # first 32 of CMA-ES have moved already.
    assert means[0] < -0.25
    assert means[1] > means[0] + 0.1


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_search_that_stops_after_any_batch_goes_on_as_if_it_had_not(sampler: Sampler) -> None:
    whole = run(study_of(sampler))
    # Generations of CMA-ES are 2 batches long here, those of NSGA-II 4: 3 and 7 lie within both.
    for batches in (0, 3, 4, 7, 8):
        stored = [Told(t.index, json.loads(json.dumps(t.params)), t.values) for t in whole[: 8 * batches]]
        study = study_of(sampler)
        study.restore(reversed(stored))

        assert stored + run(study) == whole


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_batch_that_was_stored_in_part_is_completed(sampler: Sampler) -> None:
    whole = run(study_of(sampler))
    study = study_of(sampler)
    stored = [told for told in whole if told.index < 40 or told.index in (41, 46)]
    study.restore(stored)

    rest = run(study)

    assert [told.index for told in rest][:6] == [40, 42, 43, 44, 45, 47]
    assert sorted(stored + rest, key=lambda told: told.index) == whole


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_order_in_which_scores_of_a_batch_arrive_changes_nothing(sampler: Sampler) -> None:
    def search(*, is_reversed: bool) -> list[dict[str, Any]]:
        study, params = study_of(sampler), []
        while trials := study.ask():
            params += [trial.params for trial in trials]
            for trial in reversed(trials) if is_reversed else trials:
                study.tell(trial.index, None if trial.refusal else score(trial))
        return params

    assert search(is_reversed=False) == search(is_reversed=True)


@pytest.mark.parametrize("sampler", ["tpe", "nsga2", "random", "qmc"])
def test_several_goals_are_told_together(sampler: Sampler) -> None:
    def two(trial: Trial) -> tuple[float, ...]:
        return (trial.params["exits.stop_loss.initial"], -trial.params["exits.targets[0].multiple"])

    whole = run(study_of(sampler, goal_count=2), score_of=two)
    study = study_of(sampler, goal_count=2)
    study.restore(whole[:40])

    assert whole[:40] + run(study, score_of=two) == whole
    with pytest.raises(SearchSpaceError, match="trial 0: found 1 scores; allowed are 2"):
        run(study_of(sampler, goal_count=2))


@pytest.mark.parametrize("sampler", LEARNING)
def test_trials_without_scores_are_avoided_by_how_far_they_are_from_having_one(sampler: Sampler) -> None:
    study, stops = study_of(sampler, trial_count=160), []
    while trials := study.ask():
        for trial in trials:
            stop = trial.params["exits.stop_loss.initial"]
            stops.append(stop)
            # Nothing above 0.1 has a score, which few first trials are below.
            study.tell(trial.index, -stop if stop < 0.1 else None, violation=stop)

    assert sum(stops[-32:]) / 32 < 0.6 * sum(stops[:32]) / 32


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_search_in_which_nothing_has_a_score_goes_to_its_end(sampler: Sampler) -> None:
    assert len(run(study_of(sampler), score_of=lambda _: float("nan"))) == 64


def test_grid_goes_through_all_combinations_once_and_hands_out_refused_ones() -> None:
    multiples = [
        FIRST_MULTIPLE | {"log": False, "low": 2.0, "high": 4.0, "step": 1.0},
        SECOND_MULTIPLE | {"log": False, "low": 2.5, "high": 3.5, "step": 1.0},
    ]
    study = Study(space_of(*multiples), sampler="grid", seed=1, trial_count=100, batch_size=4)

    trials = [trial for _ in range(2) for trial in _told_batch(study)]

    assert [tuple(trial.params.values()) for trial in trials] == [
        (2.0, 2.5), (2.0, 3.5), (3.0, 2.5), (3.0, 3.5), (4.0, 2.5), (4.0, 3.5),
    ]  # fmt: skip
    assert [trial.refusal is not None for trial in trials] == [False, False, True, False, True, True]
    assert "exits.targets[1].multiple" in str(trials[2].refusal)
    assert (study.trial_count, study.ask()) == (6, [])


def _told_batch(study: Study) -> list[Trial]:
    trials = study.ask()
    for trial in trials:
        study.tell(trial.index, None)
    return trials


def test_grid_and_random_search_can_skip_batches_without_their_scores() -> None:
    for sampler in ("grid", "random"):
        whole, study = run(study_of(sampler)), study_of(sampler)
        study.skip(5)
        assert run(study) == whole[40:]
    with pytest.raises(SearchSpaceError, match="sampler 'tpe' can't skip batches; restore it"):
        study_of("tpe").skip(1)


def test_samplers_say_what_they_can_not_vary() -> None:
    with pytest.raises(SearchSpaceError, match=r"'exits.stop_loss.initial' is a float without 'step'"):
        Study(NUMBERS, sampler="grid", seed=1, trial_count=5)
    with pytest.raises(SearchSpaceError, match=r"'cmaes' can't vary categorical parameters; found entry.type; allowed"):
        Study(ALL_KINDS, sampler="cmaes", seed=1, trial_count=5)
    with pytest.raises(SearchSpaceError, match="'cmaes' follows one goal; found 2"):
        Study(NUMBERS, sampler="cmaes", seed=1, trial_count=5, goal_count=2)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"sampler": "annealing"}, "'annealing' is unknown; allowed are tpe, random, grid, cmaes, nsga2, qmc"),
        ({"trial_count": 0}, "trial_count is 0; allowed is at least 1"),
        ({"batch_size": 0}, "batch_size is 0"),
        ({"goal_count": 0}, "goal_count is 0"),
        ({"seed": -1}, "seed is -1"),
    ],
)
def test_study_that_can_not_be_is_refused(options: dict[str, Any], message: str) -> None:
    values: dict[str, Any] = {"sampler": "tpe", "seed": 1, "trial_count": 5, **options}
    with pytest.raises(SearchSpaceError, match=message):
        Study(ALL_KINDS, **values)


def test_score_is_told_once_and_only_for_trials_that_were_asked_for() -> None:
    study = study_of("random", trial_count=3, batch_size=2)
    first, _ = study.ask()
    study.tell(first.index, 1.0)

    with pytest.raises(SearchSpaceError, match="trial 0 was told its score already"):
        study.tell(0, 2.0)
    with pytest.raises(SearchSpaceError, match="trial 2 was never asked for"):
        study.tell(2, None)
    with pytest.raises(SearchSpaceError, match="trial 1 was not told its scores"):
        study.ask()
    study.tell(1, None)
    assert (study.asked_count, study.trial_count) == (2, 3)
    assert [trial.index for trial in study.ask()] == [2]


def test_stored_trials_of_another_search_are_refused() -> None:
    stored = run(study_of("qmc"), batches=2)

    with pytest.raises(SearchSpaceError, match=r"stored trial 0 has the parameters .* but this study proposes"):
        study_of("qmc", seed=2).restore(stored)
    with pytest.raises(SearchSpaceError, match="trial 3 is missing among the stored ones, which go on to 15"):
        study_of("qmc").restore([told for told in stored if told.index != 3])
    with pytest.raises(SearchSpaceError, match="stored trial 8 lies beyond the 8 trials"):
        study_of("qmc", trial_count=8).restore(stored)
    study = study_of("qmc")
    study.ask()
    with pytest.raises(SearchSpaceError, match="restored before its first trial"):
        study.restore(stored)


def test_quasi_random_points_cover_a_range_more_evenly_than_chance() -> None:
    """Of 64 scrambled Sobol points each 64th of a range holds one; random ones leave a third of them empty."""
    study = Study(space_of(STOP, HOLD), sampler="qmc", seed=5, trial_count=64)
    stops = sorted(told.params["exits.stop_loss.initial"] for told in run(study, score_of=lambda _: 0.0))

    assert max(later - earlier for earlier, later in pairwise(stops)) < 2 * 0.85 / 64


def test_cmaes_varies_a_single_whole_number() -> None:
    study = Study(space_of(HOLD), sampler="cmaes", seed=1, trial_count=48)
    told = run(study, score_of=lambda trial: -abs(trial.params["exits.max_hold_seconds"] - 36000))

    # One of 25 values: by chance 2 of 48.
    assert [each.params["exits.max_hold_seconds"] for each in told].count(36000) >= 8
