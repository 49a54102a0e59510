"""Walk-forward windows and combinatorially purged splits, on samples small enough to list."""

import numpy as np
import pytest

from quantbot_pipeline.errors import EvidenceError
from quantbot_pipeline.optimization.honesty.time_splits import (
    combinatorial_purged_splits,
    values_along_paths,
    walk_forward_blocks,
    walk_forward_splits,
)


def seconds(*values: int) -> np.ndarray:
    return np.array(values, dtype=np.int64)


def test_a_window_learns_from_what_was_known_when_its_test_began() -> None:
    # Starts 0, 10, 20 … 50; the trade of 10 is known at 21, one second too late for the test that begins at 20.
    start = seconds(0, 10, 20, 30, 40, 50)
    end = seconds(20, 21, 25, 35, 45, 55)
    splits = walk_forward_splits(start, end, test_seconds=20, first_test_at=20)
    assert [split.train.tolist() for split in splits] == [[0], [0, 1, 2, 3]]
    assert [split.test.tolist() for split in splits] == [[2, 3], [4, 5]]
    assert [split.purged_count for split in splits] == [1, 0]
    # The first window is [20, 40), its last trade ends at 35; the second ends with its last trade, at 55 < 59.
    assert [split.test_windows for split in splits] == [((20, 39),), ((40, 59),)]


def test_a_rolling_window_forgets_what_is_older_than_itself() -> None:
    start = seconds(0, 10, 20, 30, 40, 50)
    splits = walk_forward_splits(start, start, test_seconds=20, train_seconds=20)
    assert [split.train.tolist() for split in splits] == [[0, 1], [2, 3]]


def test_an_anchored_window_starts_testing_after_one_test_length() -> None:
    start = seconds(0, 10, 20, 30)
    splits = walk_forward_splits(start, start, test_seconds=10)
    assert [(split.train.tolist(), split.test.tolist()) for split in splits] == [
        ([0], [1]),
        ([0, 1], [2]),
        ([0, 1, 2], [3]),
    ]


def test_an_embargo_before_the_test_takes_what_was_known_just_in_time() -> None:
    start = seconds(0, 10, 20)
    splits = walk_forward_splits(start, start + 5, test_seconds=10, first_test_at=20, embargo_seconds=6)
    assert splits[0].train.tolist() == [0]  # 5 <= 20 - 6, 15 is not
    assert splits[0].purged_count == 1


def test_steps_longer_than_the_test_leave_out_what_lies_between() -> None:
    start = seconds(0, 10, 20, 30, 40)
    splits = walk_forward_splits(start, start, test_seconds=10, step_seconds=20)
    assert [split.test.tolist() for split in splits] == [[1], [3]]


def test_rows_keep_their_numbers_whatever_their_order() -> None:
    start = seconds(30, 0, 20, 10)
    splits = walk_forward_splits(start, start, test_seconds=20, first_test_at=20)
    assert splits[0].train.tolist() == [1, 3]
    assert splits[0].test.tolist() == [0, 2]


def test_blocks_hold_equally_many_calls_however_far_the_first_ones_lie_back() -> None:
    # Two calls lie years before the other eight. 2 of 10 are for learning alone; blocks begin at places 2, 4, 6 and 8.
    start = seconds(0, 50_000, 100_000, 100_010, 100_020, 100_030, 100_040, 100_050, 100_060, 100_070)
    splits = walk_forward_blocks(start, start, block_count=4, train_share=0.2)
    assert [split.test.tolist() for split in splits] == [[2, 3], [4, 5], [6, 7], [8, 9]]
    assert [split.train.tolist() for split in splits] == [[0, 1], [*range(4)], [*range(6)], [*range(8)]]
    assert [split.test_windows for split in splits] == [
        ((100_000, 100_019),),
        ((100_020, 100_039),),
        ((100_040, 100_059),),
        ((100_060, 100_070),),
    ]


def test_blocks_learn_from_what_was_known_an_embargo_before_them() -> None:
    start = seconds(30, 0, 20, 10)
    # The test begins at 20: 0 is known at 12, in time for an embargo of 8; 10 is known at 22.
    [split] = walk_forward_blocks(start, start + 12, block_count=1, train_share=0.5, embargo_seconds=8)
    assert (split.train.tolist(), split.test.tolist(), split.purged_count) == ([1], [0, 2], 1)


def test_calls_of_one_second_are_tested_together() -> None:
    # Blocks would begin at places 1, 2 and 4, of which the first two are one second.
    start = seconds(0, 10, 10, 10, 20, 20)
    splits = walk_forward_blocks(start, start, block_count=3, train_share=0.1)
    assert [split.test.tolist() for split in splits] == [[1, 2, 3], [4, 5]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"block_count": 0, "train_share": 0.3}, "0 walk-forward windows"),
        ({"block_count": 1, "train_share": 1.0}, "a share of 1.0"),
        ({"block_count": 1, "train_share": 0.5, "embargo_seconds": 1_000}, "no walk-forward window"),
    ],
)
def test_blocks_that_can_not_be_cut_are_refused(arguments: dict[str, float], message: str) -> None:
    with pytest.raises(EvidenceError, match=message):
        walk_forward_blocks(seconds(0, 10, 20), seconds(0, 10, 20), **arguments)


def test_four_groups_two_tested_make_six_splits_and_three_paths() -> None:
    start = np.arange(8) * 10
    splits = combinatorial_purged_splits(start, start + 5, group_count=4, test_group_count=2)
    assert splits.group.tolist() == [0, 0, 1, 1, 2, 2, 3, 3]
    assert splits.test_groups == ((0, 1), (0, 2), (0, 3), (1, 2), (1, 3), (2, 3))
    # Each row of paths: the split in which groups 0, 1, 2, 3 are tested for the first, second, third time.
    assert splits.paths.tolist() == [[0, 0, 1, 2], [1, 3, 3, 4], [2, 4, 5, 5]]
    assert splits.splits[1].train.tolist() == [2, 3, 6, 7]
    assert splits.splits[1].test.tolist() == [0, 1, 4, 5]


def test_samples_that_last_into_a_test_block_and_those_right_after_it_are_left_out() -> None:
    # Groups {0, 10}, {20, 30}, {40, 50}; the middle one is tested and ends at 35.
    start = seconds(0, 10, 20, 30, 40, 50)
    end = seconds(5, 21, 25, 35, 45, 55)
    split = combinatorial_purged_splits(start, end, group_count=3, test_group_count=1, embargo_seconds=6).splits[1]
    assert split.train.tolist() == [0, 5]  # 10 lasts until 21, 40 begins before 35 + 6
    assert (split.purged_count, split.embargoed_count) == (1, 1)
    assert split.test_windows == ((20, 35),)


def test_samples_under_way_when_a_long_test_trade_ends_are_purged() -> None:
    start = seconds(0, 10, 20, 30)
    end = seconds(2, 27, 22, 32)
    split = combinatorial_purged_splits(start, end, group_count=2, test_group_count=1).splits[0]
    assert split.train.tolist() == [3]  # the trade of 10 ends at 27, after 20 began


def test_samples_of_one_second_stay_in_one_group() -> None:
    start = seconds(0, 1, 1, 1, 2, 3)
    splits = combinatorial_purged_splits(start, start, group_count=2, test_group_count=1)
    assert len(set(splits.group[1:4].tolist())) == 1


def test_every_path_is_one_whole_history() -> None:
    start = np.arange(9) * 10
    splits = combinatorial_purged_splits(start, start, group_count=3, test_group_count=2)
    # What is measured is the number of the split itself.
    paths = values_along_paths(splits, [np.full(len(s.test), float(i)) for i, s in enumerate(splits.splits)])
    assert paths.tolist() == [[0, 0, 0, 0, 0, 0, 1, 1, 1], [1, 1, 1, 2, 2, 2, 2, 2, 2]]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"test_seconds": 0}, "at least 1 s"),
        ({"test_seconds": 10, "step_seconds": 9}, "counted twice"),
        ({"test_seconds": 10, "embargo_seconds": -1}, "embargo_seconds is -1"),
        ({"test_seconds": 1000}, "no walk-forward window"),
    ],
)
def test_walk_forwards_that_make_no_sense_are_refused(arguments: dict[str, int], message: str) -> None:
    start = seconds(0, 10, 20)
    with pytest.raises(EvidenceError, match=message):
        walk_forward_splits(start, start, **arguments)


def test_samples_that_end_before_they_begin_are_refused() -> None:
    with pytest.raises(EvidenceError, match="sample 1 ends at 9, before its start at 10"):
        walk_forward_splits(seconds(0, 10), seconds(5, 9), test_seconds=10)


@pytest.mark.parametrize(
    ("groups", "tested", "message"),
    [(2, 2, "2 test groups of 2"), (4, 0, "0 test groups"), (7, 1, "can't be cut into 7"), (30, 15, "make 155117520")],
)
def test_groups_that_make_no_sense_are_refused(groups: int, tested: int, message: str) -> None:
    start = np.arange(6)
    with pytest.raises(EvidenceError, match=message):
        combinatorial_purged_splits(start, start, group_count=groups, test_group_count=tested)
