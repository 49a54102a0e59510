"""Callers' names: what a person is called, apart from what an export glued to it."""

import re
import unicodedata

from quantbot_pipeline.ingest.alerts.records import MAX_NAME_LENGTH, RowRefusal

LINE_BREAKS = re.compile(r"[ \t]*+[\n\r\v\f\x1c-\x1e\x85\u2028\u2029]++\s*+")
# Marks without width that copied text carries at its ends; the joiner within emoji is not among them.
INVISIBLE = "\u200b\u200e\u200f\u2060\ufeff"
_DATE = r"[0-9]{2}\.[0-9]{2}\.[0-9]{4} [0-9]{2}:[0-9]{2}(?::[0-9]{2})?"
_FORWARD_HEADER = re.compile(rf"(.*?)\s*+({_DATE})", re.DOTALL)
_TRAILING_DATE = re.compile(rf"\s({_DATE})$")
_VIA_BOT = re.compile(r"\svia (@[A-Za-z0-9_]{1,64})$")
_LONGEST_WRITTEN = 1000


def trimmed(text: str) -> str:
    """Return a text without blanks and invisible marks around it."""
    return text.strip().strip(INVISIBLE).strip()


def one_line(text: str) -> str:
    """Return a trimmed text with each line end as one blank."""
    return LINE_BREAKS.sub(" ", trimmed(text))


def clean_name(written: str, field: str = "caller") -> tuple[str | None, dict[str, str]]:
    """Return a name as shown, None if nothing is left, and what was taken from it.

    `Name via @bot`, a date behind the name, and a forward header on further lines (`Name`, then `Other Channel
    19.07.2025 01:20:39`) are no part of it.

    Raises:
        RowRefusal: the name is longer than any real one.
    """
    if len(written) > _LONGEST_WRITTEN:
        raise RowRefusal(field, f"{field} has {len(written)} characters; at most {MAX_NAME_LENGTH} are allowed")
    attributes: dict[str, str] = {}
    lines = [part for part in map(trimmed, LINE_BREAKS.split(trimmed(written))) if part]
    name = lines[0] if lines else ""
    if len(lines) > 1:
        header = _FORWARD_HEADER.fullmatch(" ".join(lines[1:]))
        if header:
            attributes["forwarded_from"] = header[1]
            attributes["forwarded_at_as_written"] = header[2]
        else:
            name = one_line(written)
    if match := _TRAILING_DATE.search(name):
        attributes["date_as_written"] = match[1]
        name = name[: match.start()].rstrip()
    if match := _VIA_BOT.search(name):
        attributes["via_bot"] = match[1]
        name = name[: match.start()].rstrip()
    if name != written:
        attributes["name_as_written"] = written
    if len(name) > MAX_NAME_LENGTH:
        raise RowRefusal(field, f"{field} has {len(name)} characters; at most {MAX_NAME_LENGTH} are allowed")
    return name or None, attributes


def folded_name(name: str) -> str:
    """Return a name for comparison: `Phanes [Gold]` and `PHANES` are one."""
    plain = unicodedata.normalize("NFKC", name).casefold()
    return plain.split("[", 1)[0].split("(", 1)[0].strip().lstrip("@")
