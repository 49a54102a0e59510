"""What a backfill is asked for: selectors of tokens, months and strategies, and what they select of what is there.

A selector is a list of names with commas between them; a name may be a glob (`*`, `?`, `[…]`), for months also a range
`2025-01..2025-06`, and `all` is everything. Each has to match something: a name that was mistyped selects nothing, and
a backfill of nothing would look like one that is done.
"""

import difflib
import hashlib
import json
import re
from collections import Counter
from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from typing import Any

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.workflows.token_months import TokenMonth, format_token, month_start, parse_token

ALL = "all"
_RANGE = ".."
_GLOB = frozenset("*?[")
_SHOWN = 10
_MONTHS_SHOWN = 3
_MONTH = re.compile(r"[0-9]{4}-[0-9]{2}")
_CHAIN_END = ":"


@dataclass(frozen=True, slots=True)
class Selection:
    """Selectors as they were given; several of one kind are joined.

    Attributes:
        tokens: Of tokens `chain:address`.
        months: Of months `YYYY-MM`.
        strategies: Of names of strategies.
    """

    tokens: tuple[str, ...] = (ALL,)
    months: tuple[str, ...] = (ALL,)
    strategies: tuple[str, ...] = (ALL,)

    @classmethod
    def of(cls, tokens: Iterable[str] = (), months: Iterable[str] = (), strategies: Iterable[str] = ()) -> "Selection":
        """Return the selection that options name; an option that is not given selects all.

        Raises:
            InputError: one is given and names nothing.
        """
        return cls(_names("--tokens", tokens), _names("--months", months), _names("--strategies", strategies))

    @property
    def document(self) -> dict[str, Any]:
        """The selectors as JSON."""
        return {"tokens": list(self.tokens), "months": list(self.months), "strategies": list(self.strategies)}

    @classmethod
    def of_json(cls, text: str) -> "Selection":
        """Return the selection whose `document` this text of JSON is."""
        document: dict[str, list[str]] = json.loads(text)
        return cls(tuple(document["tokens"]), tuple(document["months"]), tuple(document["strategies"]))

    def __str__(self) -> str:
        """The selectors as they would be given."""
        return "; ".join(f"{name} {', '.join(texts)}" for name, texts in self.document.items())

    @property
    def key(self) -> str:
        """Hash of the selectors, whatever their order, hex."""
        ordered = {name: sorted(set(texts)) for name, texts in self.document.items()}
        return hashlib.sha256(json.dumps(ordered, sort_keys=True).encode()).hexdigest()

    @property
    def is_everything(self) -> bool:
        """Whether all tokens and all months are wanted."""
        return ALL in self.tokens and ALL in self.months


def _names(option: str, texts: Iterable[str]) -> tuple[str, ...]:
    names: list[str] = []
    for text in texts:
        found = [name for part in text.split(",") if (name := part.strip())]
        if not found:
            # A variable of a script that was never set: everything is not what it meant.
            raise InputError(f"{option}: {text!r} names nothing; allowed are names, globs, or 'all'")
        names += found
    return tuple(names) or (ALL,)


def check_form(selection: Selection) -> None:
    """Refuse tokens, months and ranges of months that can match nothing, whatever is stored.

    Raises:
        InputError: one is malformed.
    """
    for texts, matcher in ((selection.tokens, _token_matcher), (selection.months, _month_matcher)):
        for text in texts:
            if text != ALL:
                matcher(text)


def select_token_months(selection: Selection, known: Collection[TokenMonth]) -> list[TokenMonth]:
    """Return the token-months that are wanted of those that have calls, sorted.

    Raises:
        InputError: a selector matches none of them, or is malformed.
    """
    if not known and selection.is_everything:
        return []
    tokens = {format_token(key.token): key for key in known}
    wanted_tokens = _select("--tokens", selection.tokens, tokens, _token_matcher)
    of_tokens = [key for key in known if format_token(key.token) in wanted_tokens]
    wanted_months = _select("--months", selection.months, {key.month for key in of_tokens}, _month_matcher)
    return sorted(key for key in of_tokens if key.month in wanted_months)


def select_strategies(selection: Selection, known: Collection[str]) -> list[str]:
    """Return the names of the strategies that are wanted, sorted.

    Raises:
        InputError: a selector matches none of them.
    """
    return sorted(_select("--strategies", selection.strategies, known, _matcher))


def _select(
    option: str, texts: Sequence[str], known: Collection[str], matcher: Callable[[str], Callable[[str], bool]]
) -> set[str]:
    wanted: set[str] = set()
    for text in texts:
        matches = (lambda _: True) if text == ALL else matcher(text)
        found = {name for name in known if matches(name)}
        if not found and text != ALL:
            raise InputError(f"{option}: {text!r} matches nothing {_AMONG[option]}; {_near(option, text, known)}")
        wanted |= found
    return wanted


_AMONG = {
    "--tokens": "that has calls",
    "--months": "in which these tokens have calls",
    "--strategies": "that is stored",
}


def _near(option: str, text: str, known: Collection[str]) -> str:
    if not known:
        return "there is none: 'quantbot ingest alerts' stores calls"
    if len(known) <= _SHOWN:
        return f"there are {', '.join(sorted(known))}"
    if option == "--months":
        return _near_months(text, known)
    if _CHAIN_END in text:
        chains = Counter(name.partition(_CHAIN_END)[0] for name in known)
        chain = text.partition(_CHAIN_END)[0]
        if chain not in chains:
            near_chains = difflib.get_close_matches(chain.casefold(), chains, 1)
            shown = ", ".join(f"{name}:* ({chains[name]:,})" for name in near_chains or sorted(chains))
            return f"near is {shown}" if near_chains else f"there are {shown}"
    by_case = {name.casefold(): name for name in sorted(known)}
    near = [by_case[name] for name in difflib.get_close_matches(text.casefold(), by_case, _SHOWN, 0.4)]
    ordered = sorted(known)
    return f"near are {', '.join(near)}" if near else f"there are {len(known)}, from {ordered[0]} to {ordered[-1]}"


def _near_months(text: str, known: Collection[str]) -> str:
    ordered = sorted(known)
    span = f"{len(ordered)}, from {ordered[0]} to {ordered[-1]}"
    wanted = [_month_number(month) for month in _MONTH.findall(text)]
    if not wanted:
        return f"there are {span}"

    def months_away(month: str) -> int:
        return min(abs(_month_number(month) - number) for number in wanted)

    # Ordered by time, so that of two as near the earlier one comes first.
    nearest = sorted(sorted(ordered, key=months_away)[:_MONTHS_SHOWN])
    return f"nearest are {', '.join(nearest)}, of {span}"


def _month_number(month: str) -> int:
    year, number = month.split("-")
    return 12 * int(year) + int(number)


def _matcher(text: str) -> Callable[[str], bool]:
    if _GLOB.isdisjoint(text):
        return lambda name: name == text
    return lambda name: fnmatchcase(name, text)


def _token_matcher(text: str) -> Callable[[str], bool]:
    if _GLOB.isdisjoint(text):
        canonical = format_token(parse_token(text))
        return lambda name: name == canonical
    return _matcher(text)


def _month_matcher(text: str) -> Callable[[str], bool]:
    first, dots, last = text.partition(_RANGE)
    if dots:
        if not first or not last:
            raise InputError(f"--months: {text!r} lacks an end; a range is FIRST..LAST, such as 2025-01..2025-06")
        for month in (first, last):
            month_start(month)
        if last < first:
            raise InputError(f"--months: {text!r} ends before it begins; allowed is FIRST..LAST")
        return lambda month: first <= month <= last
    if _GLOB.isdisjoint(text):
        month_start(text)
    return _matcher(text)
