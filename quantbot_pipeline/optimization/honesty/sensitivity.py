"""Is the winner a peak or a plateau? Scores around the best point of a search.

Places are the parameters on a scale from 0 (lowest of the range) to 1 (highest), on a logarithm where the range is
drawn so; a choice among kinds has a number per kind and a distance only to its like.
"""

from dataclasses import dataclass
from enum import StrEnum

import numpy as np

from quantbot_pipeline.engine.candles import BoolArray, FloatArray
from quantbot_pipeline.errors import EvidenceError

MIN_NEIGHBOURS = 5


class Shape(StrEnum):
    """What the scores around the best point look like."""

    PLATEAU = "plateau"
    SLOPE = "slope"
    PEAK = "peak"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Sensitivity:
    """The neighbourhood of the best point.

    Attributes:
        shape: `plateau` when at least two of three neighbours hold, `peak` when at most one of three does.
        neighbour_count: Neighbours, those without a score included.
        holding_share: Share of neighbours that keep at least `1 - tolerance` of the best point's height; None
            without neighbours.
        worst_drop: Largest loss of height of a neighbour with a score, as a fraction of the height; above 1 is worse
            than a typical trial. None without any.
        tolerance: Share of the height that a neighbour may lose and still hold.
        height: Best score minus typical score.
        sentence: The same in words.
    """

    shape: Shape
    neighbour_count: int
    holding_share: float | None
    worst_drop: float | None
    tolerance: float
    height: float
    sentence: str


def neighbourhood_sensitivity(
    neighbour_scores: FloatArray, *, best_score: float, typical_score: float, tolerance: float = 0.5
) -> Sensitivity:
    """Return what the scores of neighbours say about the best point.

    Scores are measured by the height of the best point over a typical trial, because a score of its own has no zero:
    a drawdown of 10 % is not twice one of 5 %.

    Args:
        neighbour_scores: Higher is better, shape (n,); NaN for a neighbour without a score, which does not hold.
        best_score: Of the best point.
        typical_score: Of a typical point of the space, such as the median of all trials.
        tolerance: Share of the height that a neighbour may lose, in (0, 1).

    Raises:
        EvidenceError: tolerance is out of bounds.
    """
    if not 0 < tolerance < 1:
        raise EvidenceError(f"tolerance is {tolerance}; allowed is a number above 0 and below 1")
    count, height = len(neighbour_scores), best_score - typical_score
    if count == 0 or not height > 0:
        reason = "no neighbour was tried" if count == 0 else "the best point is no better than a typical one"
        return Sensitivity(Shape.UNKNOWN, count, None, None, tolerance, height, f"Around the best point: {reason}.")
    drop = (best_score - neighbour_scores) / height
    share = float(np.mean(np.nan_to_num(drop, nan=np.inf) <= tolerance))
    known = drop[np.isfinite(drop)]
    worst = float(known.max()) if len(known) else None
    if count < MIN_NEIGHBOURS:
        shape = Shape.UNKNOWN
    else:
        shape = Shape.PLATEAU if share >= 2 / 3 else Shape.PEAK if share <= 1 / 3 else Shape.SLOPE
    what = "too few neighbours to tell plateau from peak" if shape is Shape.UNKNOWN else f"a {shape.value}"
    sentence = (
        f"Around the best point: {what}; {share:.0%} of {count} neighbours keep at least {1 - tolerance:.0%} of its "
        f"lead over a typical trial" + ("." if worst is None else f", the worst loses {worst:.0%} of it.")
    )
    return Sensitivity(shape, count, share, worst, tolerance, height, sentence)


def places_around(
    best: FloatArray, *, is_kind: BoolArray | None = None, radius: float = 0.1, count: int = 30, seed: int
) -> FloatArray:
    """Return places to try around the best point: one step down and up per parameter, then at random within reach.

    Args:
        best: Its place, shape (n_parameters,); kinds and NaN are kept.
        is_kind: Which parameters are choices among kinds; None: none.
        radius: Longest step per parameter, share of the range, in (0, 1].
        count: Number of places, at least 1; fewer when nothing varies.
        seed: Seed of the random ones.

    Returns:
        Shape (n, n_parameters), cut off at 0 and 1; no place is the best point itself.

    Raises:
        EvidenceError: an argument is out of bounds.
    """
    if not 0 < radius <= 1 or count < 1:
        raise EvidenceError(f"{count} places within {radius}; allowed is at least 1, and a radius above 0 up to 1")
    kinds = np.zeros(len(best), dtype=np.bool_) if is_kind is None else is_kind
    moving = np.flatnonzero(~kinds & ~np.isnan(best))
    if not len(moving):
        return np.empty((0, len(best)))
    single = np.repeat(best[None, :], 2 * len(moving), axis=0)
    for number, parameter in enumerate(moving):
        single[2 * number, parameter] -= radius
        single[2 * number + 1, parameter] += radius
    rng = np.random.default_rng(seed)
    random = np.repeat(best[None, :], max(0, count - len(single)), axis=0)
    random[:, moving] += rng.uniform(-radius, radius, (len(random), len(moving)))
    places = np.vstack([single, random])[:count]
    places[:, moving] = np.clip(places[:, moving], 0.0, 1.0)
    is_elsewhere = np.any((places != best) & ~np.isnan(best), axis=1)
    return places[is_elsewhere]
