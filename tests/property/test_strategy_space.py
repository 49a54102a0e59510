"""The random cases reach all that a strategy can say and all that can happen; without this, parity means little."""

from collections import Counter
from random import Random

from case_features import EVENTS, config_space, expected_labels, labels_of_case
from strategy_space import random_case

from quantbot_pipeline.engine.events import EventType
from quantbot_pipeline.engine.reference import simulate_reference

CASES = 3_000

FEWEST = 10
"""In so many of these cases each label occurs at least; what is rarer is not drawn often enough."""


def count_cases() -> Counter[str]:
    """Return in how many of the cases each label occurs."""
    counts: Counter[str] = Counter()
    for seed in range(CASES):
        case = random_case(Random(seed))  # noqa: S311 - cases, not secrets
        trades = simulate_reference(case.market, case.calls, case.strategy)
        counts.update(set(labels_of_case(case, trades)))
    return counts


def test_random_cases_reach_the_whole_config_space_and_every_event() -> None:
    counts = count_cases()
    rare = {label: counts[label] for label in sorted(expected_labels()) if counts[label] < FEWEST}
    assert rare == {}
    # An event that says something not listed: the list, or the documentation, is behind.
    types = {event_type.value for event_type in EventType}
    assert {label for label in counts if label.split(" ")[0] in types} - EVENTS - expected_labels() == set()


def test_every_event_type_and_every_part_of_the_model_is_asked_for() -> None:
    assert {label.split(" ")[0] for label in EVENTS} == {event_type.value for event_type in EventType}
    # A few, to see that the model is really read.
    assert {
        "Strategy.overlap = scale_in",
        "Ladder.sequential = True",
        "Leg.when",
        "BreakEven.after_target",
        "VolumeShareSlippage.cap",
        "ReEntry.after = time",
        "Condition.op = crosses_below",
        "CandleOperand.candle = volume",
        "Not.lookback",
        "ichimoku.displacement",
        "bbands.percent_b true",
    } <= set(config_space())
