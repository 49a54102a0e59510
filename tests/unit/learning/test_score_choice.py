"""Which score of a call counts: the newest by a model that had learned before the call, and nothing of later ones."""

from datetime import UTC, datetime, timedelta
from random import Random

import pyarrow as pa
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.learning.score_choice import ChosenScore, ModelVersion, choose_scores, usable_models

CALLED_AT = datetime(2025, 3, 1, 12, tzinfo=UTC)
CALLED_S = int(CALLED_AT.timestamp())

Row = tuple[int, str, int, int, float]
"""Call, model, version, seconds from the call to the end of what it learned from (negative: before), score."""


def table(*rows: Row) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [[]] * 5
    return pa.table(
        {
            "call_id": pa.array(columns[0], pa.int64()),
            "model_name": pa.array(columns[1], pa.string()),
            "model_id": pa.array(columns[2], pa.int64()),
            "trained_until": pa.array(
                [CALLED_AT + timedelta(seconds=second) for second in columns[3]], pa.timestamp("us", tz="UTC")
            ),
            "score": pa.array(columns[4], pa.float64()),
        }
    )


def chosen(*rows: Row, usable: tuple[int, ...] = (1, 2, 3)) -> dict[str, float]:
    """Return what counts of call 7, by model."""
    found = choose_scores(table(*rows), {7: CALLED_AT}, usable)
    return {name: score.score for name, score in found.get(7, {}).items()}


def test_the_newest_model_that_had_learned_before_the_call_counts() -> None:
    assert chosen((7, "take", 1, -500, 0.1), (7, "take", 2, -100, 0.2), (7, "take", 1, -300, 0.3)) == {"take": 0.2}


def test_a_model_that_learned_until_the_call_or_later_counts_for_nothing() -> None:
    assert chosen((7, "take", 1, -1, 0.1), (7, "take", 2, 0, 0.2), (7, "take", 3, 1, 0.3)) == {"take": 0.1}
    assert chosen((7, "take", 2, 0, 0.2)) == {}


def test_a_part_of_a_second_between_learning_and_call_is_enough() -> None:
    at = CALLED_AT + timedelta(milliseconds=1)
    [found] = choose_scores(table((7, "take", 1, 0, 0.1)), {7: at}, {1}).values()
    assert found == {"take": ChosenScore(1, CALLED_S, 0.1)}


def test_of_models_that_learned_as_long_the_last_registered_one_counts() -> None:
    assert chosen((7, "take", 2, -5, 0.2), (7, "take", 3, -5, 0.3), (7, "take", 1, -5, 0.1)) == {"take": 0.3}


def test_each_model_is_chosen_for_itself_and_other_calls_are_left_out() -> None:
    assert chosen((7, "take", 1, -5, 0.1), (7, "rank", 2, -9, 0.2), (8, "take", 1, -5, 0.3)) == {
        "take": 0.1,
        "rank": 0.2,
    }


def test_versions_that_are_not_usable_and_scores_that_are_no_numbers_are_left_out() -> None:
    assert chosen((7, "take", 1, -9, 0.1), (7, "take", 2, -5, 0.2), usable=(1,)) == {"take": 0.1}
    assert chosen((7, "take", 1, -9, 0.1), (7, "take", 2, -5, float("nan"))) == {"take": 0.1}
    assert chosen() == {}


@settings(max_examples=200, deadline=None, derandomize=True)
@given(st.integers(0, 2**48).map(Random))
def test_models_trained_after_a_call_never_change_what_counts_for_it(random: Random) -> None:
    def row(first: int, last: int) -> Row:
        return (7, random.choice(["take", "rank"]), random.randint(1, 3), random.randint(first, last), random.random())

    before = [row(-5, -1) for _ in range(random.randint(0, 6))]
    after = [row(0, 5) for _ in range(random.randint(1, 6))]
    mixed = random.sample([*before, *after], len(before) + len(after))
    # Rows of one version and time are one row in the store.
    unique = {found[1:4]: found for found in mixed}
    alone = {key: found for key, found in unique.items() if found[3] < 0}
    assert chosen(*unique.values()) == chosen(*alone.values())
    # Nor does their order.
    assert chosen(*unique.values()) == chosen(*random.sample(list(unique.values()), len(unique)))


VERSIONS = [
    ModelVersion(1, "take", "deprecated"),
    ModelVersion(2, "take", "ready"),
    ModelVersion(3, "take", "failed"),
    ModelVersion(4, "take", "training"),
    ModelVersion(5, "luck", "failed"),
    ModelVersion(6, "rank", "deprecated"),
]


def test_versions_that_were_ever_ready_may_be_used() -> None:
    assert usable_models(["take", "rank"], VERSIONS) == {1, 2, 6}
    assert usable_models([], VERSIONS) == frozenset()


def test_a_promotion_changes_nothing_of_what_may_be_used() -> None:
    swapped = [ModelVersion(1, "take", "ready"), ModelVersion(2, "take", "deprecated"), *VERSIONS[2:]]
    assert usable_models(["take"], swapped) == usable_models(["take"], VERSIONS)


def test_a_model_that_failed_or_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(InputError, match="model 'luck': no version of it was ever ready, there are only failed ones"):
        usable_models(["take", "luck"], VERSIONS)
    with pytest.raises(InputError, match=r"model 'tkae' .* is not registered; registered are luck, rank, take: train"):
        usable_models(["tkae"], VERSIONS)
    with pytest.raises(InputError, match="registered are none"):
        usable_models(["take"], [])
