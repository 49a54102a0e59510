"""Reading just enough of a ClickHouse statement to hand it to the engine the right way.

ClickHouse's HTTP interface takes the statement and an insert's rows in one body; the embedded engine
takes them apart. Here lives the lexical part: where an insert's rows begin, which output format a
query names. Nothing here validates SQL; whatever is not understood goes to the engine whole, and the
engine's own error is the answer.
"""

from dataclasses import dataclass
from enum import Enum, auto

_SPACES = b" \t\r\n\f\v"
_OPENING = b"([{"
_CLOSING = b")]}"
_WORD = frozenset(b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")


class _Kind(Enum):
    WORD = auto()
    QUOTED = auto()
    OPENING = auto()
    CLOSING = auto()
    OTHER = auto()


@dataclass(frozen=True, slots=True)
class _Token:
    kind: _Kind
    start: int
    end: int


class _CutOffError(Exception):
    """The buffer ends inside a token, so its meaning depends on bytes that are not here yet."""


class AmbiguousTextError(Exception):
    """A statement has outside of quotes what the engine may read in another way than this module."""


class UndecidedError(Exception):
    """More of the statement is needed before it can be split."""


@dataclass(frozen=True, slots=True)
class InlineInsert:
    """An insert whose rows follow the statement.

    Attributes:
        head: The statement up to its settings and rows: `INSERT INTO t (a, b)`.
        settings: Its SETTINGS clause, empty without one.
        input_format: Name of the rows' format; `Values` for a VALUES clause.
        rows_at: Offset of the first byte of the rows in the buffer that was split.
    """

    head: bytes
    settings: bytes
    input_format: str
    rows_at: int


def split_inline_insert(statement: bytes, *, is_complete: bool) -> InlineInsert | None:
    """Split an insert into its head and the rows that follow it.

    Args:
        statement: The statement from its first byte on, perhaps cut off.
        is_complete: False when more bytes follow.

    Returns:
        None when the statement is no insert, or takes its rows from a query or a file.

    Raises:
        UndecidedError: the statement is cut off before that can be said.
    """
    try:
        return _split_insert(statement, is_complete=is_complete)
    except _CutOffError as error:
        if is_complete:
            return None  # an unclosed quote: the engine's error says so
        raise UndecidedError from error


def _split_insert(statement: bytes, *, is_complete: bool) -> InlineInsert | None:
    depth = 0
    words_before_name = {b"INSERT", b"INTO", b"TABLE", b"FUNCTION"}
    is_first = True
    has_name = False
    position = 0
    settings_at: int | None = None
    while True:
        token = _next_token(statement, position, is_complete=is_complete)
        if token is None:
            if is_complete:
                return None
            raise UndecidedError
        after_dot = token.start > 0 and statement[token.start - 1] == ord(".")
        word = statement[token.start : token.end].upper() if token.kind is _Kind.WORD else b""
        position = token.end
        if is_first:
            if word != b"INSERT":
                return None
            is_first = False
        elif token.kind is _Kind.OPENING:
            depth += 1
            has_name = True
        elif token.kind is _Kind.CLOSING:
            depth -= 1
        elif depth > 0 or after_dot:
            continue
        elif not has_name:
            has_name = word not in words_before_name
        elif word in (b"SELECT", b"WITH", b"FROM", b"WATCH"):
            return None
        elif word == b"SETTINGS":
            settings_at = token.start
        elif word == b"VALUES":
            return _inline_insert(statement, settings_at, token.start, "Values", token.end)
        elif word == b"FORMAT":
            name = _next_token(statement, token.end, is_complete=is_complete)
            if name is None and not is_complete:
                raise UndecidedError
            if name is None or name.kind is not _Kind.WORD:
                return None
            rows_at = _skip_to_rows(statement, name.end, is_complete=is_complete)
            input_format = statement[name.start : name.end].decode()
            return _inline_insert(statement, settings_at, token.start, input_format, rows_at)


def _inline_insert(
    statement: bytes, settings_at: int | None, end: int, input_format: str, rows_at: int
) -> InlineInsert:
    head_end = end if settings_at is None else settings_at
    return InlineInsert(statement[:head_end], statement[head_end:end], input_format, rows_at)


def _skip_to_rows(statement: bytes, position: int, *, is_complete: bool) -> int:
    """Return where rows begin: after blanks and at most one line end, as ClickHouse has it."""
    for skipped, at_most in ((b" \t\f", len(statement)), (b"\r", 1), (b"\n", 1)):
        count = 0
        while position < len(statement) and statement[position] in skipped and count < at_most:
            position += 1
            count += 1
    if position == len(statement) and not is_complete and statement[position - 1 : position] != b"\n":
        raise UndecidedError
    return position


def find_output_format(statement: bytes) -> str | None:
    """Return the name in a query's closing FORMAT clause, None when it has none."""
    tokens: list[_Token] = []
    position = 0
    try:
        while (token := _next_token(statement, position, is_complete=True)) is not None:
            tokens.append(token)
            position = token.end
    except _CutOffError:
        return None
    words = [statement[token.start : token.end].upper() for token in tokens]
    while words and words[-1] == b";":
        words.pop()
    for index in range(len(words) - 2, 0, -1):
        if words[index] == b"FORMAT" and tokens[index + 1].kind is _Kind.WORD:
            following = words[index + 2 : index + 3]
            if not following or following[0] in (b"SETTINGS", b"INTO"):
                name = tokens[index + 1]
                return statement[name.start : name.end].decode()
    return None


def first_keyword(statement: bytes) -> str:
    """Return the statement's first word in capitals, comments and opening brackets skipped."""
    position = 0
    try:
        while (token := _next_token(statement, position, is_complete=True)) is not None:
            if token.kind is _Kind.WORD:
                return statement[token.start : token.end].upper().decode()
            position = token.end
    except _CutOffError:
        pass
    return ""


def names_in(statement: bytes) -> list[str]:
    """Return all words and quoted identifiers of a statement, without their quotes; not its texts in single quotes.

    Raises:
        AmbiguousTextError: outside of quotes and comments it has characters that begin a text or comment for some
            versions of the engine and not for this module, or a quote or comment that does not end.
    """
    names: list[str] = []
    position = 0
    try:
        while (token := _next_token(statement, position, is_complete=True)) is not None:
            text = statement[token.start : token.end]
            if token.kind is _Kind.WORD:
                names.append(text.decode())
            elif token.kind is _Kind.QUOTED and text[:1] != b"'":
                if b"\\" in text:
                    raise AmbiguousTextError("a backslash in a quoted name")
                names.append(text[1:-1].decode("utf-8", "replace"))
            elif token.kind is _Kind.OTHER and (text == b"$" or text[0] > 127):
                raise AmbiguousTextError("a dollar sign" if text == b"$" else "a character that is not ASCII")
            elif text == b"/" and statement[token.end : token.end + 1] == b"/":
                raise AmbiguousTextError("two slashes")
            position = token.end
    except _CutOffError as error:
        raise AmbiguousTextError("a quote or comment that does not end") from error
    return names


def split_type_list(types: str) -> list[str]:
    """Split `UInt8, Decimal(10, 2)` at the commas that are outside of brackets."""
    parts = [""]
    depth = 0
    for character in types:
        depth += (character in "([{") - (character in ")]}")
        if character == "," and depth == 0:
            parts.append("")
        else:
            parts[-1] += character
    return [part.strip() for part in parts]


def _next_token(statement: bytes, position: int, *, is_complete: bool) -> _Token | None:
    start = _skip_blanks_and_comments(statement, position, is_complete=is_complete)
    if start >= len(statement):
        return None
    byte = statement[start]
    if byte in b"'\"`":
        return _Token(_Kind.QUOTED, start, _end_of_quoted(statement, start))
    if byte in _WORD:
        end = start
        while end < len(statement) and statement[end] in _WORD:
            end += 1
        if end == len(statement) and not is_complete:
            raise _CutOffError
        return _Token(_Kind.WORD, start, end)
    if byte in _OPENING:
        return _Token(_Kind.OPENING, start, start + 1)
    if byte in _CLOSING:
        return _Token(_Kind.CLOSING, start, start + 1)
    return _Token(_Kind.OTHER, start, start + 1)


def _skip_blanks_and_comments(statement: bytes, position: int, *, is_complete: bool) -> int:
    while position < len(statement):
        if statement[position] in _SPACES:
            position += 1
        elif statement.startswith((b"--", b"# ", b"#!"), position):
            line_end = statement.find(b"\n", position)
            if line_end < 0 and not is_complete:
                raise _CutOffError
            position = len(statement) if line_end < 0 else line_end + 1
        elif statement.startswith(b"/*", position):
            comment_end = statement.find(b"*/", position + 2)
            if comment_end < 0:
                raise _CutOffError
            position = comment_end + 2
        elif not is_complete and position + 1 == len(statement) and statement[position] in b"-#/":
            raise _CutOffError
        else:
            break
    return position


def _end_of_quoted(statement: bytes, start: int) -> int:
    quote = statement[start]
    position = start + 1
    while position < len(statement):
        if statement[position] == ord("\\"):
            position += 2
        elif statement[position] == quote:
            return position + 1  # a doubled quote reads as two adjacent strings, which ends at the same byte
        else:
            position += 1
    raise _CutOffError
