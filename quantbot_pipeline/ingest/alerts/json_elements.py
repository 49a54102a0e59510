"""JSON files of any size, element by element: the objects of the one list that matters, the rest never held.

A chat's export is one JSON document of up to gigabytes. It is scanned for the brackets that hold its lists; only
one element at a time becomes Python objects. Time goes by the length of the file, memory by the longest element.
"""

import re
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alerts.text_source import MAX_RECORD_CHARACTERS, too_long
from quantbot_pipeline.ingest.quarantine import RAW_TEXT_LIMIT

MAX_OUTER_NESTING = 32
"""Deepest nesting outside the elements; a full export has 4 levels."""
_LONGEST_SCALAR = 10_000
_OUTSIDE = re.compile(r'[{}\[\]",:]|[^\s{}\[\]",:]+')
_WITHIN = re.compile(r'[{}\[\]"]')
_IN_STRING = re.compile(r'["\\]')

Path = tuple[str, ...]
"""Where a value is: the names that lead to it, with `*` for a list's elements."""


@dataclass(frozen=True, slots=True)
class JsonElement:
    """One element of a list that matters.

    Attributes:
        line: Line at which it starts, from 1.
        text: Its text; if it is too long or cut off, its beginning.
        problem: Why it can't be used; None if it can.
        scope: Number of the object around its list, and so of the chat, counted from 0.
        path: Path of the list.
    """

    line: int
    text: str
    problem: str | None
    scope: int
    path: Path


@dataclass(frozen=True, slots=True)
class JsonScalar:
    """A text, number or word outside the elements, with its line and the scope that it belongs to."""

    line: int
    scope: int
    path: Path
    text: str


@dataclass(slots=True)
class _Level:
    is_list: bool
    scope: int
    name: str | None = None


@dataclass
class _Scanner:
    """The state between two pieces of the text."""

    is_wanted: Callable[[Path], bool]
    levels: list[_Level] = field(default_factory=list)
    scopes: int = 0
    line: int = 1
    is_in_string: bool = False
    is_escaped: bool = False
    expects_value: bool = True
    token: list[str] = field(default_factory=list)
    token_length: int = 0
    pending: str = ""
    element_depth: int = 0
    element_line: int = 0
    element: list[str] = field(default_factory=list)
    element_length: int = 0
    has_wanted_list: bool = False
    is_done: bool = False

    def path(self) -> Path:
        return tuple("*" if level.is_list else level.name or "" for level in self.levels)


def read_elements(
    chunks: Iterable[str], is_wanted: Callable[[Path], bool], *, file: str
) -> Iterator[JsonElement | JsonScalar]:
    """Yield the elements of every list that is wanted, and every scalar outside them, in the file's order.

    A file that ends too early gives what it has, and a last element with that problem.

    Args:
        chunks: The text in pieces.
        is_wanted: Whether the list at a path is wanted.
        file: Name for messages.

    Raises:
        DataError: the text is no JSON document as far as its brackets go, or holds no list that is wanted.
    """
    scanner = _Scanner(is_wanted)
    for chunk in chunks:
        yield from _scan(scanner, chunk, file)
    if scanner.pending:
        yield from _scan(scanner, " ", file)
    if scanner.element_depth:
        text = "".join(scanner.element)[:RAW_TEXT_LIMIT]
        problem = "the file ends within this element: it is cut off"
        yield JsonElement(scanner.element_line, text, problem, _scope(scanner), scanner.path())
    elif scanner.levels or scanner.is_in_string:
        yield JsonElement(scanner.line, "", "the file ends before its last bracket: it is cut off", 0, ())
    elif not scanner.is_done:
        raise DataError(f"{file}: the file holds no JSON object or list")
    elif not scanner.has_wanted_list:
        raise DataError(
            f"{file}: the JSON holds neither a list of rows nor the 'messages' of an exported chat; allowed are a list "
            "of objects, and Telegram's result.json"
        )


def _scope(scanner: _Scanner) -> int:
    return scanner.levels[-1].scope if scanner.levels else 0


def _scan(scanner: _Scanner, chunk: str, file: str) -> Iterator[JsonElement | JsonScalar]:
    chunk, scanner.pending = scanner.pending + chunk, ""
    position = 0
    counted = 0
    size = len(chunk)
    kept_from = 0  # where the part of the current element that lies in this chunk starts
    while position < size:
        if scanner.is_in_string:
            start = position
            position, is_closed = _skip_string(scanner, chunk, position)
            if not scanner.element_depth:
                _keep_token(scanner, chunk[start:position], file)
                if is_closed:
                    yield from _finish_string(scanner)
            continue
        if scanner.element_depth:
            match = _WITHIN.search(chunk, position)
            if match is None:
                break
            position = match.end()
            sign = match[0]
            if sign == '"':
                scanner.is_in_string = True
            elif sign in "{[":
                scanner.element_depth += 1
            else:
                scanner.element_depth -= 1
                if scanner.element_depth == 0:
                    _keep_element(scanner, chunk[kept_from:position])
                    yield _finished_element(scanner)
            continue
        match = _OUTSIDE.search(chunk, position)
        if match is None:
            break
        sign = match[0]
        scanner.line += chunk.count("\n", counted, match.start())
        counted = match.start()
        if sign in ("{", "[") and scanner.levels and scanner.levels[-1].is_list and scanner.is_wanted(scanner.path()):
            scanner.element_line = scanner.line
            scanner.element_depth = 1
            kept_from = match.start()
            position = match.end()
            continue
        position = match.end()
        if position == size and sign not in '{}[]",:' and size - match.start() < _LONGEST_SCALAR:
            # A number may go on in the next piece.
            scanner.pending = sign
            break
        yield from _take_sign(scanner, sign, file)
    if scanner.element_depth:
        _keep_element(scanner, chunk[kept_from:])
    scanner.line += chunk.count("\n", counted)


def _skip_string(scanner: _Scanner, chunk: str, position: int) -> tuple[int, bool]:
    """Return where a string ends, or the chunk does, and whether the string does."""
    while position < len(chunk):
        if scanner.is_escaped:
            scanner.is_escaped = False
            position += 1
            continue
        match = _IN_STRING.search(chunk, position)
        if match is None:
            return len(chunk), False
        position = match.end()
        if match[0] == '"':
            scanner.is_in_string = False
            return position, True
        scanner.is_escaped = True
    return position, False


def _keep_token(scanner: _Scanner, text: str, file: str) -> None:
    scanner.token_length += len(text)
    if scanner.token_length > _LONGEST_SCALAR:
        raise DataError(
            f"{file}: line {scanner.line}: a text outside the messages has more than {_LONGEST_SCALAR} characters; "
            "this is no export of chats"
        )
    scanner.token.append(text)


def _finish_string(scanner: _Scanner) -> Iterator[JsonScalar]:
    text = "".join(scanner.token)[:-1]
    scanner.token.clear()
    scanner.token_length = 0
    yield from _take_value(scanner, text)


def _take_value(scanner: _Scanner, text: str) -> Iterator[JsonScalar]:
    if not scanner.levels:
        return
    level = scanner.levels[-1]
    if not level.is_list and not scanner.expects_value:
        level.name = text
        return
    yield JsonScalar(scanner.line, level.scope, scanner.path(), text)


def _take_sign(scanner: _Scanner, sign: str, file: str) -> Iterator[JsonScalar]:
    if sign == '"':
        scanner.is_in_string = True
    elif sign in ("{", "["):
        if len(scanner.levels) >= MAX_OUTER_NESTING:
            raise DataError(
                f"{file}: line {scanner.line}: the JSON is nested more than {MAX_OUTER_NESTING} levels deep outside "
                "the messages; this is no export of chats"
            )
        is_list = sign == "["
        scope = _scope(scanner)
        if not is_list:
            scope = scanner.scopes
            scanner.scopes += 1
        scanner.levels.append(_Level(is_list, scope))
        scanner.has_wanted_list |= is_list and scanner.is_wanted(scanner.path())
        scanner.expects_value = is_list
    elif sign in ("}", "]"):
        if not scanner.levels or scanner.levels[-1].is_list != (sign == "]"):
            raise DataError(f"{file}: line {scanner.line}: {sign!r} closes nothing; the file is no JSON")
        scanner.levels.pop()
        scanner.is_done = not scanner.levels
        scanner.expects_value = False
    elif sign == ":":
        scanner.expects_value = True
    elif sign == ",":
        scanner.expects_value = bool(scanner.levels) and scanner.levels[-1].is_list
    elif not scanner.levels:
        raise DataError(f"{file}: line {scanner.line}: the file is no JSON object or list")
    else:
        yield from _take_value(scanner, sign[:_LONGEST_SCALAR])


def _keep_element(scanner: _Scanner, text: str) -> None:
    scanner.element_length += len(text)
    if scanner.element_length <= MAX_RECORD_CHARACTERS:
        scanner.element.append(text)
    elif len(scanner.element) != 1 or len(scanner.element[0]) > RAW_TEXT_LIMIT:
        beginning = "".join([*scanner.element, text[:RAW_TEXT_LIMIT]])[:RAW_TEXT_LIMIT]
        scanner.element[:] = [beginning]


def _finished_element(scanner: _Scanner) -> JsonElement:
    problem = too_long(scanner.element_length) if scanner.element_length > MAX_RECORD_CHARACTERS else None
    text = "".join(scanner.element)
    scanner.element.clear()
    scanner.element_length = 0
    return JsonElement(scanner.element_line, text, problem, _scope(scanner), scanner.path())
