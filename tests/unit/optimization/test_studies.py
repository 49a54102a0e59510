"""Studies: reproducible proposals, batches, refused parameters."""

from collections.abc import Callable
from typing import Any, Literal

import pytest

from quantbot_pipeline.errors import SearchSpaceError
from quantbot_pipeline.optimization.spaces import SearchSpace, parse_search_space
from quantbot_pipeline.optimization.study import Study, Trial

TEMPLATE: dict[str, Any] = {
    "name": "template",
    "entry": {"type": "immediate"},
    "exits": {
        "targets": [{"multiple": 2.0, "size": 0.5}, {"multiple": 3.0, "size": 0.3}],
        "stop_loss": {"initial": 0.3},
    },
}


def space_of(*parameters: dict[str, Any]) -> SearchSpace:
    return parse_search_space({"parameters": list(parameters)}, template=TEMPLATE)


MIXED = space_of(
    {"path": "exits.stop_loss.initial", "type": "float", "low": 0.05, "high": 0.9},
    {"path": "exits.targets[1].multiple", "type": "float", "low": 2.5, "high": 9.0, "log": True},
    {"path": "exits.max_hold_seconds", "type": "int", "low": 3600, "high": 90000, "step": 3600},
    {
        "path": "entry",
        "type": "categorical",
        "choices": [{"type": "immediate"}, {"type": "dip", "drop": 0.2}],
    },
    {"path": "costs.fee", "type": "categorical", "choices": [None, 0.001]},
)
CROSSING_TARGETS = space_of(
    {"path": "exits.targets[0].multiple", "type": "float", "low": 1.2, "high": 5.0},
    {"path": "exits.targets[1].multiple", "type": "float", "low": 1.2, "high": 5.0},
)


def run(
    space: SearchSpace,
    sampler: Literal["tpe", "random", "grid"],
    *,
    seed: int = 1,
    trial_count: int = 40,
    batch: int = 8,
    score: Callable[[Trial], float | None] = lambda trial: -abs(trial.params["exits.stop_loss.initial"] - 0.4),
) -> list[Trial]:
    study = Study(space, sampler=sampler, seed=seed, trial_count=trial_count)
    trials = []
    while asked := study.ask(batch):
        for trial in asked:
            study.tell(trial.index, score(trial))
        trials += asked
    return trials


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_same_seed_gives_the_same_trials_and_another_seed_others(sampler: Literal["tpe", "random"]) -> None:
    first, again, other = run(MIXED, sampler), run(MIXED, sampler), run(MIXED, sampler, seed=2)

    assert first == again
    assert first != other
    assert [trial.index for trial in first] == list(range(40))


def test_trials_stay_within_the_space_and_carry_their_strategy() -> None:
    for trial in run(MIXED, "random"):
        assert 0.05 <= trial.params["exits.stop_loss.initial"] <= 0.9
        assert 2.5 <= trial.params["exits.targets[1].multiple"] <= 9.0
        assert trial.params["exits.max_hold_seconds"] % 3600 == 0
        assert trial.document is not None
        assert trial.document["exits"]["stop_loss"]["initial"] == trial.params["exits.stop_loss.initial"]
        assert trial.document["name"] == "template"


def test_tpe_learns_where_the_score_is_high() -> None:
    # Best at a stop of 0.4: of evenly drawn values in [0.05, 0.9] a share of 0.12 / 0.85 = 14 % lies
    # within 0.06 of it, and 8 or more of 20 would be within it by chance in 1 of 250 cases.
    late = run(MIXED, "tpe", trial_count=60)[40:]

    near = [trial for trial in late if abs(trial.params["exits.stop_loss.initial"] - 0.4) < 0.06]
    assert len(near) >= 8


@pytest.mark.parametrize("sampler", ["tpe", "random"])
def test_parameters_that_give_no_strategy_are_refused_and_the_study_goes_on(
    sampler: Literal["tpe", "random"],
) -> None:
    def score(trial: Trial) -> float | None:
        return None if trial.refusal else trial.params["exits.targets[0].multiple"]

    trials = run(CROSSING_TARGETS, sampler, score=score)

    refused = [trial for trial in trials if trial.refusal is not None]
    assert 0 < len(refused) < len(trials) == 40
    for trial in trials:
        crosses = trial.params["exits.targets[0].multiple"] >= trial.params["exits.targets[1].multiple"]
        assert (trial.refusal is not None) == crosses
        assert (trial.document is None) == crosses
        assert trial.refusal is None or "exits.targets[1].multiple" in trial.refusal


def test_refused_trials_need_not_be_told() -> None:
    def search(*, tells_refused: bool) -> list[Trial]:
        study, trials = Study(CROSSING_TARGETS, sampler="tpe", seed=1, trial_count=40), []
        while asked := study.ask(8):
            for trial in asked:
                if trial.refusal is None:
                    study.tell(trial.index, trial.params["exits.targets[0].multiple"])
                elif tells_refused:
                    study.tell(trial.index, None)
            trials += asked
        with pytest.raises(SearchSpaceError, match="was told its score already"):
            study.tell(next(trial.index for trial in trials if trial.refusal), 1.0)
        return trials

    assert search(tells_refused=True) == search(tells_refused=False)


def test_trials_without_a_score_are_taken() -> None:
    assert len(run(MIXED, "tpe", score=lambda _: None)) == 40


def test_grid_goes_through_all_combinations_once() -> None:
    space = space_of(
        {"path": "exits.stop_loss.initial", "type": "float", "low": 0.1, "high": 0.3, "step": 0.1},
        {"path": "exits.max_hold_seconds", "type": "categorical", "choices": [None, 3600]},
    )

    trials = run(space, "grid", trial_count=100, batch=4)

    assert [tuple(trial.params.values()) for trial in trials] == [
        (0.1, None), (0.1, 3600), (0.2, None), (0.2, 3600), (0.3, None), (0.3, 3600),
    ]  # fmt: skip
    assert len(run(space, "grid", trial_count=5)) == 5


def test_grid_over_a_float_without_step_is_refused() -> None:
    with pytest.raises(SearchSpaceError, match=r"'exits.stop_loss.initial' is a float without 'step'"):
        Study(MIXED, sampler="grid", seed=1, trial_count=5)


def test_study_of_unknown_sampler_or_no_trials_is_refused() -> None:
    with pytest.raises(SearchSpaceError, match="'annealing' is unknown; allowed are tpe, random, grid"):
        Study(MIXED, sampler="annealing", seed=1, trial_count=5)  # type: ignore[arg-type]  # what is tested
    with pytest.raises(SearchSpaceError, match="trial_count is 0"):
        Study(MIXED, sampler="tpe", seed=1, trial_count=0)


def test_score_is_told_once_and_only_for_trials_that_were_asked_for() -> None:
    study = Study(MIXED, sampler="tpe", seed=1, trial_count=3)
    (trial,) = study.ask(1)
    study.tell(trial.index, 1.0)

    with pytest.raises(SearchSpaceError, match="trial 0 was told its score already"):
        study.tell(0, 2.0)
    with pytest.raises(SearchSpaceError, match="trial 1 was never asked for"):
        study.tell(1, None)
    assert study.remaining_count == 2
    assert len(study.ask(99)) == 2
    assert study.ask(1) == []
