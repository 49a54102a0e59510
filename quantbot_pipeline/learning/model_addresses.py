"""Where model files are: `file://` on this machine, and object stores through fsspec. Light to import.

Bytes alone: nothing here looks into a file. Stores other than this machine's disk need a package of their own, which is
the user's to install, and take their credentials from where that package looks for them; none belongs in an address.
"""

import contextlib
import os
import re
from pathlib import Path
from typing import Any
from urllib.parse import unquote, urlsplit

from quantbot_pipeline.errors import InputError, LearningError

SCHEMES: dict[str, str] = {
    "file": "",
    "memory": "",
    "s3": "s3fs",
    "gs": "gcsfs",
    "az": "adlfs",
    "abfs": "adlfs",
}
"""Schemes of addresses, and the package that each needs beside fsspec."""

MAX_MODEL_BYTES = 1_000_000_000
"""Larger files are refused."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,99}", re.ASCII)


def require_file_name(what: str, text: str) -> None:
    """Refuse a name that can't be part of a file name everywhere.

    Raises:
        InputError: it is not 1 to 100 letters, digits, `.`, `_` and `-`, the first a letter or digit.
    """
    if _NAME.fullmatch(text) is None:
        raise InputError(
            f"{what} {text!r} can't be part of a file name; allowed are 1 to 100 letters, digits, '.', '_' and '-', "
            "the first a letter or digit"
        )


def write_model_bytes(folder: Path | str, file_name: str, content: bytes) -> str:
    """Store a file, whole or not at all, and return its address.

    Args:
        folder: A directory, made when it is absent, or the address of a folder.
        file_name: Name of the file, safe in a path.
        content: What is in it; the name says which content it is, so a file of this name is the same.

    Raises:
        LearningError: the address is not allowed, its package is not installed, or the file can't be written.
    """
    path = folder if isinstance(folder, Path) else _local_path(folder)
    if path is not None:
        return _write_file(path.resolve() / file_name, content)
    uri = f"{str(folder).rstrip('/')}/{file_name}"
    shown = shown_address(uri)
    system, place = _open_system(uri)
    try:
        # An object store shows an object once it was written to its end.
        with system.open(place, "wb") as file:
            file.write(content)
    # Each store's package has errors of its own, without a common parent.
    except Exception as e:
        raise LearningError(f"model file {shown} can't be written: {type(e).__name__}: {e}") from e
    return uri


def read_model_bytes(uri: str) -> bytes:
    """Return the bytes of a model file.

    Raises:
        LearningError: the address is not allowed, its package is not installed, the file can't be read or is larger
            than `MAX_MODEL_BYTES`.
    """
    shown = shown_address(uri)
    path = _local_path(uri)
    try:
        if path is not None:
            with path.open("rb") as local:
                content = local.read(MAX_MODEL_BYTES + 1)
        else:
            system, place = _open_system(uri)
            with system.open(place, "rb") as remote:
                content = bytes(remote.read(MAX_MODEL_BYTES + 1))
    except LearningError:
        raise
    except OSError as e:
        raise LearningError(
            f"model file {shown} can't be read: {e.strerror or e}; restore it, or train the model again"
        ) from e
    except Exception as e:
        raise LearningError(f"model file {shown} can't be read: {type(e).__name__}: {e}") from e
    if len(content) > MAX_MODEL_BYTES:
        raise LearningError(f"model file {shown} is larger than {MAX_MODEL_BYTES:,} bytes; it was not read")
    return content


def shown_address(uri: str) -> str:
    """Return an address for people: the path of a local file, and nothing that stands before an @ or after a ?."""
    parts = urlsplit(uri)
    if parts.scheme == "file":
        return unquote(parts.path)
    return f"{parts.scheme}://{parts.netloc.rpartition('@')[2]}{parts.path}" if parts.scheme else uri


def _local_path(uri: str) -> Path | None:
    """Return the path of an address of this machine; None for one of a store.

    Raises:
        LearningError: the address is of neither.
    """
    parts = urlsplit(uri)
    if parts.scheme not in SCHEMES or (parts.scheme == "file" and parts.netloc not in ("", "localhost")):
        raise LearningError(
            f"model address {shown_address(uri)!r} can't be used; allowed are file:// addresses of this machine, and "
            f"{', '.join(f'{scheme}://' for scheme in SCHEMES if scheme != 'file')}"
        )
    if "@" in parts.netloc and parts.scheme in ("s3", "gs"):
        raise LearningError(
            f"model address {shown_address(uri)!r} holds credentials, which would be stored with every model; "
            f"give them to {SCHEMES[parts.scheme]} by its own settings"
        )
    return Path(unquote(parts.path)) if parts.scheme == "file" else None


def _open_system(uri: str) -> tuple[Any, str]:
    """Return fsspec's file system of an address, and the place in it."""
    import fsspec

    scheme = urlsplit(uri).scheme
    try:
        system, place = fsspec.core.url_to_fs(uri)
    except ImportError as e:
        raise LearningError(
            f"model address {shown_address(uri)!r} needs the package {SCHEMES[scheme]}, which is not installed: "
            f"'pip install {SCHEMES[scheme]}'"
        ) from e
    except ValueError as e:
        raise LearningError(f"model address {shown_address(uri)!r} can't be used: {e}") from e
    return system, str(place)


def _write_file(path: Path, content: bytes) -> str:
    # One temporary name per process: two that store the same model do not write into one file.
    temporary = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        with temporary.open("wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        temporary.replace(path)
    except OSError as e:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise LearningError(f"model file {path} can't be written: {e.strerror or e}") from e
    return path.as_uri()
