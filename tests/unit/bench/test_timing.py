"""How time is taken."""

import pytest

from quantbot_pipeline.bench.timing import Timing, race


def test_contestants_take_turns_and_the_first_round_does_not_count() -> None:
    taken: list[str] = []

    def contestant(name: str, *seconds: float) -> tuple[str, object]:
        left = iter(seconds)

        def take() -> float:
            taken.append(name)
            return next(left)

        return name, take

    contestants = dict([contestant("a", 9.0, 2.0, 1.0), contestant("b", 8.0, 3.0, 4.0)])
    found = race(contestants, 2)  # type: ignore[arg-type]  # the values are functions, see above
    assert taken == ["a", "b"] * 3
    assert found == {"a": Timing((2.0, 1.0)), "b": Timing((3.0, 4.0))}


def test_spread_is_how_much_longer_the_median_took_than_the_best() -> None:
    # Best 1, median 1.2: 20 %, which is quiet. Best 1, median 1.5: 50 %, which is not.
    assert Timing((1.2, 1.0, 9.0)).spread == pytest.approx(0.2)
    assert not Timing((1.2, 1.0, 9.0)).is_noisy
    assert Timing((1.5, 1.0, 9.0)).is_noisy
