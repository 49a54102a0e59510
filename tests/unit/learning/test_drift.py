"""Drift: a shift is found, chance is not taken for one, and what is certain to move is no news."""

import json
import math

import numpy as np
import pytest

from quantbot_pipeline.engine.candles import FloatArray
from quantbot_pipeline.errors import LearningError
from quantbot_pipeline.learning.drift import (
    MOVES_BY_ITSELF,
    SCORE,
    Profile,
    measure_drift,
    profile_of,
    stability_index,
    worst_of,
)
from quantbot_pipeline.learning.feature_registry import FEATURE_NAMES

MONTH = 30 * 86_400


def numbers(*values: float) -> FloatArray:
    return np.array(values, dtype=np.float64)


def test_index_of_two_bins_is_that_of_its_definition() -> None:
    # 8 and 2 of 10 before, 4 and 6 of 10 now; with half a call more in each bin:
    # p = 8.5/11 and 2.5/11, q = 4.5/11 and 6.5/11.
    p, q = (8.5 / 11, 2.5 / 11), (4.5 / 11, 6.5 / 11)
    expected = (q[0] - p[0]) * math.log(q[0] / p[0]) + (q[1] - p[1]) * math.log(q[1] / p[1])
    index, bins = stability_index(np.array([8, 2]), np.array([4, 6]))
    assert index == pytest.approx(expected)
    assert bins == 2
    # The same shares are no shift, a bin that is empty on both sides is none, and an empty one is no infinity.
    assert stability_index(np.array([5, 0, 5]), np.array([5, 0, 5])) == (0.0, 2)
    assert 1 < stability_index(np.array([50, 0]), np.array([0, 50]))[0] < 20


def test_bins_are_tenths_and_unknown_ones_are_a_bin_of_their_own() -> None:
    values = np.append(np.arange(1.0, 101.0), [np.nan] * 7)
    profile = profile_of(values)
    # Ten bins: up to 10, above 10 up to 20, and so on.
    assert profile.edges == tuple(np.arange(10.0, 100.0, 10.0))
    assert profile.counts == (10,) * 10
    assert (profile.missing, profile.calls) == (7, 107)
    assert profile.count(numbers(-5, 10, 10.5, 1e9, np.nan)).tolist() == [2, 1, 0, 0, 0, 0, 0, 0, 0, 1, 1]
    assert Profile.from_document(json.loads(json.dumps(profile.document()))) == profile


def test_equal_values_are_one_bin_and_what_falls_below_them_is_seen() -> None:
    profile = profile_of(np.full(100, 3.0))
    assert profile.count(numbers(2.9, 3.0, 3.0, 3.1)).tolist() == [1, 2, 1, 0]
    drift = measure_drift({"a": profile}, {"a": np.full(100, 2.0)}, span_seconds=MONTH)
    assert drift[0].verdict == "drifted"
    nothing = profile_of(np.full(100, np.nan))
    assert measure_drift({"a": nothing}, {"a": np.full(100, np.nan)}, span_seconds=MONTH)[0].verdict == "stable"
    assert measure_drift({"a": nothing}, {"a": np.full(100, 1.0)}, span_seconds=MONTH)[0].verdict == "drifted"


@pytest.mark.parametrize(("before", "now"), [(300, 60), (1_000, 500)])
def test_calls_of_the_same_kind_are_told_as_shifted_in_one_of_twenty_models(before: int, now: int) -> None:
    """Of 59 features in 50 models; without the comparison with chance, all are false alarms for 60 calls.

    With 400 models each, 6 to 8 % were told for 60 to 75 calls against 300 and for 50 against 1 000, and 0.8 % for 500
    against 1 000, where chance stays below 0.1.
    """
    generator = np.random.default_rng(before + now)

    def draw(kind: int, count: int) -> FloatArray:
        normal = generator.normal(size=count)
        if kind == 0:
            return normal
        if kind == 1:
            return generator.poisson(1.5, count).astype(np.float64)
        if kind == 2:
            return (normal > 1.3).astype(np.float64)
        return np.where(generator.random(count) < 0.3, np.nan, np.exp(3 * normal))

    told = naive = 0
    for _ in range(50):
        reference = {f"f{k}": profile_of(draw(k % 4, before)) for k in range(59)}
        drift = measure_drift(reference, {f"f{k}": draw(k % 4, now) for k in range(59)}, span_seconds=MONTH)
        told += worst_of(drift) != "stable"
        naive += max(each.psi for each in drift) >= 0.1
    # At 5 %, eight or more of 50 have a chance of 0.4 %.
    assert told <= 7
    assert naive == 50 or now == 500


def test_a_planted_shift_is_found_beside_features_that_did_not_shift() -> None:
    generator = np.random.default_rng(1)
    reference = {name: profile_of(generator.normal(size=1_000)) for name in ("still", "moved", SCORE)}
    # Of normals that are d deviations apart, PSI without bins is d squared: 0.64.
    now = {
        "still": generator.normal(size=400),
        "moved": generator.normal(0.8, size=400),
        SCORE: generator.normal(size=400),
    }
    drift = measure_drift(reference, now, span_seconds=MONTH)
    assert (drift[0].name, drift[0].verdict) == ("moved", "drifted")
    assert {each.verdict for each in drift[1:]} == {"stable"}
    assert worst_of(drift) == "drifted"
    # Where all is unknown that was known, that is a shift too.
    gone = measure_drift(reference, now | {"still": np.full(400, np.nan)}, span_seconds=MONTH)
    assert (gone[0].name, gone[0].verdict, gone[0].now[-1]) == ("still", "drifted", 1.0)


def test_a_shift_between_the_conventions_is_told_as_the_smaller_one() -> None:
    reference = {"a": profile_of(np.repeat([0.0, 1.0], 5_000))}

    def verdict(ones: int) -> str:
        return measure_drift(reference, {"a": np.repeat([0.0, 1.0], [10_000 - ones, ones])}, span_seconds=MONTH)[
            0
        ].verdict

    # Half before, a share q now: (q - 1/2) ln(q / (1 - q)) is 0.059 for q = 0.62, 0.120 for 0.67, 0.354 for 0.78.
    assert [verdict(ones) for ones in (5_000, 6_200, 6_700, 7_800)] == ["stable", "stable", "shifted", "drifted"]


def test_few_calls_say_nothing_however_far_they_are() -> None:
    reference = {"a": profile_of(np.arange(1_000.0))}
    for count, verdict in ((0, "too few calls"), (49, "too few calls"), (50, "drifted")):
        drift = measure_drift(reference, {"a": np.full(count, 1e6)}, span_seconds=MONTH)
        assert (drift[0].verdict, worst_of(drift)) == (verdict, verdict)


def test_what_is_certain_to_move_is_shown_and_not_told() -> None:
    assert set(MOVES_BY_ITSELF) <= set(FEATURE_NAMES)
    reference = {name: profile_of(np.arange(1_000.0)) for name in ("caller_calls_before", "hour_sin", "weekday_cos")}
    now = {name: np.full(200, 1e6) for name in reference}
    drift = {each.name: each for each in measure_drift(reference, now, span_seconds=2 * 86_400)}
    assert drift["caller_calls_before"].verdict == drift["weekday_cos"].verdict == "moves by itself"
    assert "grows" in drift["caller_calls_before"].reason
    # Two days hold the whole circle of the hours, and a third of the week's.
    assert drift["hour_sin"].verdict == "drifted"
    assert worst_of(tuple(drift.values())) == "drifted"
    assert worst_of(tuple(each for name, each in drift.items() if name != "hour_sin")) == "stable"


@pytest.mark.parametrize(
    "document",
    [{}, {"edges": [1.0], "counts": [1], "missing": 0}, {"edges": [2.0, 1.0], "counts": [1, 1, 1], "missing": 0}],
)
def test_a_broken_profile_is_refused(document: dict[str, object]) -> None:
    with pytest.raises(LearningError, match="train the model again"):
        Profile.from_document(document)


def test_a_column_without_a_profile_is_refused() -> None:
    with pytest.raises(LearningError, match="no profile of training values is known of b"):
        measure_drift({"a": profile_of(numbers(1, 2))}, {"b": numbers(1)}, span_seconds=MONTH)
