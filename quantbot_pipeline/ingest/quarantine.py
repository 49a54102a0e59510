"""Rows that can't be used: kept with their place, the reason and their text, never dropped."""

from dataclasses import dataclass

RAW_TEXT_LIMIT = 2000
"""Longest raw text that is kept of one row, characters."""


@dataclass(frozen=True, slots=True)
class QuarantinedRow:
    """One row that an import refused.

    Attributes:
        file: The file's name as it was given.
        line: Line of the text file at which the record starts, from 1 (the header is line 1); for parquet
            the row, from 1.
        field: The column at fault; None when the row as a whole can't be read.
        reason: What is wrong, what was found and what is allowed.
        raw_text: The raw line, or the row as JSON for parquet; at most `RAW_TEXT_LIMIT` characters, free
            of NUL and of lone surrogates so that every database takes it.
    """

    file: str
    line: int
    field: str | None
    reason: str
    raw_text: str


def storable_text(text: str) -> str:
    r"""Return text that any UTF-8 database column takes, at most `RAW_TEXT_LIMIT` characters long.

    Bytes that were no UTF-8 (decoded with `surrogateescape`), lone surrogates and NUL become
    visible escapes such as `\xff`, `\ud83d` and `\x00`.
    """
    clipped = text[:RAW_TEXT_LIMIT]
    if is_storable(clipped):
        return clipped
    as_bytes = b"".join(
        character.encode("utf-8", "surrogateescape")
        if not "\ud800" <= character <= "\udfff" or "\udc80" <= character <= "\udcff"
        else f"\\u{ord(character):04x}".encode("ascii")
        for character in clipped
    )
    escaped = as_bytes.decode("utf-8", "backslashreplace").replace("\x00", "\\x00")
    return escaped[:RAW_TEXT_LIMIT]


def is_storable(text: str) -> bool:
    """Return whether a UTF-8 database column takes the text: no NUL, no lone surrogate."""
    if "\x00" in text:
        return False
    try:
        text.encode("utf-8")
    except UnicodeEncodeError:
        return False
    return True


def shown(value: object, limit: int = 80) -> str:
    """Return a value as a short one-line quotation for a message."""
    text = repr(storable_text(value) if isinstance(value, str) else value)
    return text if len(text) <= limit else text[: limit - 1] + "…"
