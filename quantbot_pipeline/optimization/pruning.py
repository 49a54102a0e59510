"""Pruning: which trials of a batch go on after a look at a part of the calls.

A job divides the calls of its training data into chunks once; every trial of a batch is run over the first
chunk, then those that go on over the first two, and so on, the last look being at all of them. A decision
depends on scores over the same calls alone, of the batch itself and of batches before: workers and their
speed play no part. Nothing here knows of test data: chunks are made of the groups that are passed in, and
those are the training data's.
"""

import hashlib
import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.optimization.fault_texts import found_and_allowed
from quantbot_pipeline.optimization.pareto import crowding_distances, domination_ranks

Scores = tuple[float, ...]

_Group = TypeVar("_Group")


class PruningRule(BaseModel):
    """When bad trials are given up.

    Attributes:
        kind: `halving`: the best `keep` of each batch go on. `median`: those go on that are at least as good
            as the median of all scores of the same look so far, their own batch included; for one goal.
        shares: Share of the calls behind each early look, ascending, each in (0, 1).
        keep: Share of a batch that goes on at a look, in (0, 1), rounded up; unused by `median`.
        warm_up: How many trials are never pruned at first; unused by `halving`.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", allow_inf_nan=False)

    kind: Literal["halving", "median"]
    shares: tuple[float, ...] = Field(default=(0.1, 0.3), min_length=1)
    keep: float = Field(default=0.5, gt=0, lt=1)
    warm_up: int = Field(default=16, ge=0)


def parse_pruning_rule(document: Mapping[str, Any], *, goal_count: int = 1) -> PruningRule:
    """Return the rule of a JSON document, such as `{"kind": "halving", "shares": [0.1, 0.3], "keep": 0.5}`.

    Args:
        document: The rule.
        goal_count: How many goals the objective has.

    Raises:
        ConfigError: it can't be used; the message names the field, what was found and what is allowed.
    """
    try:
        rule = PruningRule.model_validate(dict(document))
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join(map(str, fault["loc"]))
        raise ConfigError(f"pruning: {where}: {found_and_allowed(fault)}") from error
    if list(rule.shares) != sorted(set(rule.shares)) or not all(0 < share < 1 for share in rule.shares):
        raise ConfigError(f"pruning: shares: found {list(rule.shares)}; allowed are ascending shares between 0 and 1")
    if rule.kind == "median" and goal_count > 1:
        raise ConfigError(
            f"pruning: kind: found 'median' with {goal_count} goals, which have no median; allowed is 'halving'"
        )
    return rule


def goes_on(
    rule: PruningRule, scores: Sequence[Scores | None], *, earlier: Sequence[float] = (), trials_before: int = 0
) -> list[bool]:
    """Return for each trial of a batch whether it goes on after a look.

    Args:
        rule: The rule.
        scores: Scores of the batch's trials at this look, in the order of the trials; None without any.
        earlier: For `median`: first scores of earlier batches at the same look, or an even sample of them.
        trials_before: For `median`: how many trials earlier batches had.

    Returns:
        One truth per trial. At least one goes on by `halving`; of equal trials the earlier one.
    """
    if rule.kind == "halving":
        kept = set(ranked(scores)[: math.ceil(rule.keep * len(scores))])
        return [position in kept for position in range(len(scores))]
    if trials_before < rule.warm_up:
        return [True] * len(scores)
    known = [*earlier, *(each[0] for each in scores if each is not None)]
    if not known:
        return [True] * len(scores)
    median = float(np.median(known))
    return [each is not None and each[0] >= median for each in scores]


def ranked(scores: Sequence[Scores | None]) -> list[int]:
    """Return positions of trials from the best to the worst.

    One goal: by score. Several: by front, then by the room around a trial on its front. Trials without scores
    come last; of equals, the earlier one comes first.
    """
    known = [each for each in scores if each is not None]
    if known and len(known[0]) == 1:
        return sorted(range(len(scores)), key=lambda k: (-each[0] if (each := scores[k]) is not None else math.inf, k))
    ranks = domination_ranks(scores)
    room = [0.0] * len(scores)
    for rank in set(ranks):
        on_front = [k for k in range(len(scores)) if ranks[k] == rank and scores[k] is not None]
        if on_front:
            distances = crowding_distances(np.array([scores[k] for k in on_front], dtype=np.float64))
            for k, distance in zip(on_front, distances, strict=True):
                room[k] = float(distance)
    return sorted(range(len(scores)), key=lambda k: (ranks[k], -room[k], k))


def divide_groups(
    train_call_counts: Mapping[_Group, int], shares: Sequence[float], *, seed: int
) -> tuple[tuple[_Group, ...], ...]:
    """Divide groups of calls into the chunks that each look adds.

    A group is what can be simulated by itself: a token, since trades of one caller on one token act on each
    other. Their order is shuffled by the seed, so that the first look is no look at the oldest calls alone.

    Args:
        train_call_counts: Calls of the training data by group.
        shares: Share of all calls that each early look is to have seen.
        seed: Seed of the order.

    Returns:
        One chunk per early look and one for the rest; each holds at least one group.

    Raises:
        ConfigError: there are fewer groups than chunks.
    """
    if len(train_call_counts) < len(shares) + 1:
        raise ConfigError(
            f"pruning: found {len(train_call_counts)} tokens with calls for {len(shares) + 1} looks; allowed is at "
            "least one token per look: give fewer shares, or none"
        )
    groups = sorted(train_call_counts, key=lambda group: (_shuffled(seed, group), str(group)))
    total = sum(train_call_counts.values())
    chunks: list[tuple[_Group, ...]] = []
    position, seen = 0, 0
    for look, share in enumerate(shares):
        chunk: list[_Group] = []
        # Enough groups must be left for the looks that follow.
        last = len(groups) - (len(shares) - look)
        while position < last and (not chunk or seen < share * total):
            chunk.append(groups[position])
            seen += train_call_counts[groups[position]]
            position += 1
        chunks.append(tuple(chunk))
    return (*chunks, tuple(groups[position:]))


def _shuffled(seed: int, group: object) -> bytes:
    return hashlib.blake2b(f"{seed}:{group}".encode(), digest_size=8).digest()
