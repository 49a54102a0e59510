"""Pruning: who goes on after a look, and how calls are divided into looks."""

import pytest

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.optimization.pruning import divide_groups, goes_on, parse_pruning_rule, ranked

HALVING = parse_pruning_rule({"kind": "halving", "shares": [0.1, 0.3], "keep": 0.5})
MEDIAN = parse_pruning_rule({"kind": "median", "shares": [0.2], "warm_up": 4})


def test_halving_lets_the_best_half_go_on_rounded_up() -> None:
    assert goes_on(HALVING, [(1.0,), (3.0,), (2.0,), (0.0,), (-1.0,)]) == [True, True, True, False, False]


def test_of_equal_trials_the_earlier_one_goes_on() -> None:
    assert goes_on(HALVING, [(1.0,), (1.0,), (1.0,), (1.0,)]) == [True, True, False, False]


def test_trials_without_scores_go_on_only_where_there_is_room() -> None:
    assert goes_on(HALVING, [None, (0.0,), None, None]) == [True, True, False, False]
    assert goes_on(HALVING, [None, None]) == [True, False]


def test_several_goals_are_ranked_by_front_and_then_by_room() -> None:
    # Front: 0, 1, 2, 4, of which 0 and 4 are the ends. On the line 1 lies nearer to its neighbours than 2:
    # (5 - 0) / 10 · 2 against (10 - 1) / 10 · 2.
    assert ranked([(0.0, 10.0), (1.0, 9.0), (5.0, 5.0), (0.0, 0.0), (10.0, 0.0), None]) == [0, 4, 2, 1, 3, 5]


def test_median_counts_earlier_batches_and_the_batch_itself() -> None:
    # The median of 1, 3 and 4, 2, 0 is 2: the one at it goes on.
    found = goes_on(MEDIAN, [(4.0,), (2.0,), (0.0,), None], earlier=[1.0, 3.0], trials_before=8)
    assert found == [True, True, False, False]


def test_median_prunes_nobody_before_its_warm_up() -> None:
    assert goes_on(MEDIAN, [(4.0,), (0.0,), None], trials_before=3) == [True, True, True]
    assert goes_on(MEDIAN, [None], trials_before=4) == [True]


@pytest.mark.parametrize(
    ("document", "message"),
    [
        ({"kind": "hyperband"}, "kind: found 'hyperband'; allowed is 'halving' or 'median'"),
        ({"kind": "halving", "keep": 1.0}, "keep: found 1.0"),
        ({"kind": "halving", "shares": [0.3, 0.1]}, "shares: found \\[0.3, 0.1\\]; allowed are ascending"),
        ({"kind": "halving", "shares": [0.5, 1.0]}, "shares: found"),
        ({"kind": "halving", "share": [0.5]}, "share: found an unknown key; allowed is to leave it out"),
        ({"kind": "halving", "shares": 0.5}, "shares: found 0.5; allowed is a list"),
        ({}, "kind: found nothing; allowed is a value"),
    ],
)
def test_rule_that_can_not_be_is_refused(document: dict[str, object], message: str) -> None:
    with pytest.raises(ConfigError, match=message):
        parse_pruning_rule(document)


def test_median_of_several_goals_is_refused() -> None:
    with pytest.raises(ConfigError, match="'median' with 2 goals"):
        parse_pruning_rule({"kind": "median"}, goal_count=2)


def test_chunks_hold_every_group_once_and_about_the_shares() -> None:
    calls = {f"token-{k}": 1 + k % 5 for k in range(200)}
    chunks = divide_groups(calls, [0.1, 0.3], seed=4)

    assert sorted(group for chunk in chunks for group in chunk) == sorted(calls)
    total = sum(calls.values())
    seen = [sum(calls[group] for group in chunk) for chunk in chunks]
    # A chunk ends with the group that reaches its share, of 5 calls at most.
    assert 0.1 * total <= seen[0] < 0.1 * total + 5
    assert 0.3 * total <= seen[0] + seen[1] < 0.3 * total + 5
    assert divide_groups(dict(reversed(calls.items())), [0.1, 0.3], seed=4) == chunks
    assert divide_groups(calls, [0.1, 0.3], seed=5) != chunks


def test_every_look_has_a_group_of_its_own_or_there_are_too_few() -> None:
    assert [len(chunk) for chunk in divide_groups({"a": 98, "b": 1, "c": 1}, [0.5, 0.9], seed=0)] == [1, 1, 1]
    with pytest.raises(ConfigError, match="found 2 tokens with calls for 3 looks"):
        divide_groups({"a": 1, "b": 1}, [0.1, 0.3], seed=0)
