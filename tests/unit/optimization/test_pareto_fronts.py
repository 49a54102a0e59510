"""Fronts: who is on one, ties, trials without scores, and a bounded front."""

from random import Random

from quantbot_pipeline.optimization.pareto import ParetoFront, domination_ranks, pareto_front

NAN = float("nan")


def test_front_holds_what_no_other_beats() -> None:
    # (2, 2) is beaten by (2, 3); (1, 1) by all; the ends are on the front.
    assert pareto_front([(1, 4), (2, 2), (2, 3), (4, 1), (1, 1)]) == [0, 2, 3]


def test_equal_trials_are_all_on_the_front() -> None:
    assert pareto_front([(1, 2), (1, 2), (0, 2)]) == [0, 1]


def test_trials_without_scores_are_on_no_front() -> None:
    assert pareto_front([None, (0, 1), (NAN, 9)]) == [1]
    assert pareto_front([None, (NAN, 1)]) == []


def test_ranks_count_the_fronts_before() -> None:
    assert domination_ranks([(1, 1), (2, 2), None, (3, 1), (0, 0), (NAN, 5)]) == [1, 0, 3, 0, 2, 3]


def test_front_of_many_is_that_of_comparing_all_pairs() -> None:
    random = Random(3)  # noqa: S311  cases, not secrets
    # A coarse grid makes ties.
    scores = [(random.randint(0, 9), random.randint(0, 9), random.randint(0, 9)) for _ in range(300)]

    def dominates(left: tuple[int, ...], right: tuple[int, ...]) -> bool:
        return left != right and all(a >= b for a, b in zip(left, right, strict=True))

    expected = [k for k, each in enumerate(scores) if not any(dominates(other, each) for other in scores)]
    assert pareto_front(scores) == expected


def test_full_front_lets_the_densest_go_and_keeps_the_ends() -> None:
    front = ParetoFront(capacity=4)
    # On the line x + y = 10: 5.1 lies between 5 and 6 with the least room.
    for index, x in enumerate([0.0, 10.0, 5.0, 6.0, 5.1]):
        front.add(index, (x, 10 - x))

    assert [member.scores[0] for member in front.members()] == [10.0, 6.0, 5.0, 0.0]
    assert front.dropped_count == 1
