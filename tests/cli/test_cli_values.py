"""Values of options: numbers that are none, times, documents, ids that no row has."""

import pytest
from conftest import Quantbot

ENDLESS = "1" * 5_000
"""More digits than Python turns into a number."""


@pytest.mark.parametrize("number", ["nan", "inf"])
@pytest.mark.parametrize(
    "command",
    [
        "gc --older-than-hours",
        "candles quality --stale-hours",
        "candles quality --long-gap-hours",
        "candles quality --wick-limit",
        "candles quality --gaps-below",
        "optimize --template x --timeout",
        "train --threshold",
    ],
)
def test_numbers_that_are_none_are_refused(command: str, number: str, quantbot: Quantbot) -> None:
    """Bounds let NaN pass: it became a stack trace, or no limit."""
    quantbot(*command.split(), number).refuses(command.rpartition(" ")[2], number)


@pytest.mark.parametrize(
    ("command", "text", "part"),
    [
        ("fetch candles --source birdeye --calls-since 2025-01-01 --warm-up", "5", "a unit is needed"),
        ("fetch candles --source birdeye --calls-since 2025-01-01 --horizon", "9999d", "up to 3650d"),
        ("train --embargo", "3600", "a unit is needed"),
        ("calls derive --cool-down", "soon", "such as 90s"),
    ],
)
def test_times_are_written_alike_everywhere(command: str, text: str, part: str, quantbot: Quantbot) -> None:
    quantbot(*command.split(), text).refuses(command.rpartition(" ")[2], repr(text), part)


@pytest.mark.parametrize(
    ("document", "part"),
    [
        ('{"tokens": [', "line 1, column 13: not JSON"),
        ('{"tokens": []}, {}', "not JSON"),
        ('{"tokens": [], "tokens": []}', "'tokens' occurs twice"),
        ('{"tokens": NaN}', "found NaN"),
        (f'{{"tokens": {ENDLESS}}}', "not JSON: Exceeds the limit"),
        ('{"tokens": ' + "[" * 200_000, "nested too deep"),
    ],
    ids=["broken", "more", "twice", "nan", "endless", "deep"],
)
def test_a_document_on_the_command_line_is_read_as_one_in_a_file(document: str, part: str, quantbot: Quantbot) -> None:
    quantbot("optimize", "--template", "x", "--data", document).refuses("--data", part)


@pytest.mark.parametrize("command", ["runs --limit", "trades --limit", "trades --run", "trials"])
def test_numbers_beyond_what_databases_count_are_refused(command: str, quantbot: Quantbot) -> None:
    quantbot(*command.split(), "9" * 25).refuses("9" * 25, "less than or equal to")
