"""A disk that takes nothing more is found behind whatever error it shows up as."""

import errno
from pathlib import Path

import psycopg
import pytest
import sqlalchemy.exc

from quantbot_pipeline.full_disks import describe_full_disk, is_full


def _wrapped(cause: Exception) -> Exception:
    """Return an error that another one led to, as libraries raise it."""
    wrapped = RuntimeError("it did not work")
    wrapped.__cause__ = cause
    return wrapped


class _ClickHouseError(Exception):
    code = 243


@pytest.mark.parametrize(
    ("error", "sentence"),
    [
        (OSError(errno.ENOSPC, "No space left on device", "/h/x"), "no space left on /h/x: make room, run it again"),
        (OSError(errno.EDQUOT, "Disk quota exceeded", "/h/x"), "quota used up on /h/x: make room, run it again"),
        (
            OSError(errno.EROFS, "Read-only file system", "/h/x"),
            "read-only file system at /h/x: make it writable, run it again",
        ),
        (OSError("[Errno 28] Error writing bytes. Detail: No space left on device"), "no space left on the disk: "),
        (psycopg.errors.DiskFull('could not extend file "base/1"'), "no space left on the disk: "),
        (
            sqlalchemy.exc.OperationalError("insert", {}, psycopg.errors.DiskFull("could not extend")),
            "no space left on the disk: ",
        ),
        (_ClickHouseError("Cannot reserve 1.00 MiB"), "no space left on the disk: "),
    ],
)
def test_a_full_disk_is_said_in_one_sentence_however_deep_it_is(error: Exception, sentence: str) -> None:
    assert (describe_full_disk(error) or "").startswith(sentence)
    assert (describe_full_disk(_wrapped(error)) or "").startswith(sentence)


@pytest.mark.parametrize("error", [ValueError("x"), OSError(errno.EACCES, "Permission denied", "/h/x"), KeyError(28)])
def test_other_errors_are_no_full_disk(error: Exception) -> None:
    assert describe_full_disk(error) is None


def test_what_is_asked_for_is_named_before_what_the_error_names(tmp_path: Path) -> None:
    error = OSError(errno.ENOSPC, "No space left on device", "/h/x")
    assert describe_full_disk(error, where="the disk of Postgres") == (
        "no space left on the disk of Postgres: make room, run it again"
    )
    assert not is_full(tmp_path / "not" / "there")
