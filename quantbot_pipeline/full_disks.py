"""A disk that takes nothing more: found in whatever error it shows up as, and said in one sentence.

The system, Postgres, ClickHouse and libraries around them say it each in their own way, often several errors deep.
"""

import errno
import os
from collections.abc import Iterable, Iterator
from pathlib import Path

_WHATS = {
    errno.ENOSPC: ("no space left on", "make room"),
    errno.EDQUOT: ("quota used up on", "make room"),
    errno.EROFS: ("read-only file system at", "make it writable"),
}
_TEXTS = {
    "no space left on device": errno.ENOSPC,
    "not_enough_space": errno.ENOSPC,
    "not enough space": errno.ENOSPC,
    "disk quota exceeded": errno.EDQUOT,
    "read-only file system": errno.EROFS,
}
# `disk_full` of Postgres; drivers carry it under one name or the other.
_POSTGRES_DISK_FULL = "53100"
_CLICKHOUSE_NOT_ENOUGH_SPACE = 243
# Less than a server needs for a start: a page, a lock file, a line of its log.
_FULL_BELOW_BYTES = 256 << 10


def describe_full_disk(error: BaseException, *, where: str | None = None, folders: Iterable[Path] = ()) -> str | None:
    """Return `no space left on PATH: make room, run it again` if a disk is behind an error, else None.

    Args:
        error: The error; those that led to it are looked at too.
        where: What to name instead of the file that the error names.
        folders: Named, where the error names no file, is the first of these whose disk is full.
    """
    for cause in _causes(error):
        number = _number(cause)
        if number is None:
            continue
        what, to_do = _WHATS[number]
        named = where or _file(cause) or next((str(folder) for folder in folders if is_full(folder)), "the disk")
        return f"{what} {named}: {to_do}, run it again"
    return None


def says_full_disk(text: str) -> bool:
    """Return whether a line of a log or a message says that a disk takes nothing more."""
    return any(phrase in text.lower() for phrase in _TEXTS)


def is_full(folder: Path) -> bool:
    """Return whether there is next to no room where a folder is, or is going to be."""
    for path in (folder, *folder.parents):
        try:
            found = os.statvfs(path)
        except OSError:
            continue
        return found.f_bavail * found.f_frsize < _FULL_BELOW_BYTES or (found.f_files > 0 and found.f_favail == 0)
    return False


def _causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error, what it wraps and what led to it, each once."""
    left, seen = [error], set()
    while left:
        cause = left.pop(0)
        if id(cause) in seen:
            continue
        seen.add(id(cause))
        yield cause
        # SQLAlchemy keeps the driver's error in `orig`.
        inner = (getattr(cause, "orig", None), cause.__cause__, cause.__context__)
        left += [error for error in inner if isinstance(error, BaseException)]


def _number(cause: BaseException) -> int | None:
    if isinstance(cause, OSError) and cause.errno in _WHATS:
        return cause.errno
    if _POSTGRES_DISK_FULL in (getattr(cause, "sqlstate", None), getattr(cause, "pgcode", None)):
        return errno.ENOSPC
    if getattr(cause, "code", None) == _CLICKHOUSE_NOT_ENOUGH_SPACE:
        return errno.ENOSPC
    text = str(cause).lower()
    return next((number for phrase, number in _TEXTS.items() if phrase in text), None)


def _file(cause: BaseException) -> str | None:
    name = getattr(cause, "filename", None)
    if isinstance(name, bytes):
        return name.decode(errors="backslashreplace")
    return name if isinstance(name, str) else None
