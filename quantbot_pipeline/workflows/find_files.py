"""Which files a person means who names files and folders."""

from collections.abc import Collection, Iterable
from pathlib import Path

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alert_files import ALERT_FILE_KINDS

_TEXT_SUFFIXES = (".csv", ".json", ".jsonl", ".ndjson")
CANDLE_SUFFIXES = (".parquet", ".feather", *_TEXT_SUFFIXES, *(f"{suffix}.gz" for suffix in _TEXT_SUFFIXES))
"""Ends of the names of candle files."""

ALERT_SUFFIXES = tuple(kind + end for kind in ALERT_FILE_KINDS for end in ("", ".gz"))
"""Ends of the names of alert files."""


def expand_files(paths: Iterable[Path], suffixes: Collection[str]) -> list[Path]:
    """Return the files that are named, and those with one of `suffixes` below the folders that are named.

    Raises:
        DataError: a path does not exist, or a folder holds no such file.
    """
    files: list[Path] = []
    for path in paths:
        if path.is_dir():
            named = (file for file in path.rglob("*") if file.name.lower().endswith(tuple(suffixes)))
            found = sorted(file for file in named if not file.is_dir())
            if not found:
                raise DataError(f"{path}: folder holds no file that ends in {', '.join(suffixes)}")
            files.extend(found)
        elif path.is_file():
            files.append(path)
        elif path.exists():
            raise DataError(f"{path}: is no regular file (a pipe, socket or device); copy its content into one")
        else:
            raise DataError(f"{path}: no such file or folder")
    return files


def find_candle_files(paths: Iterable[Path]) -> list[Path]:
    """Return the candle files among `paths` and in the folders among them, each once.

    Raises:
        DataError: a path does not exist, or a folder holds no candle file.
    """
    return list(dict.fromkeys(expand_files(paths, CANDLE_SUFFIXES)))


def find_alert_files(paths: Iterable[Path]) -> list[Path]:
    """Return the alert files among `paths` and in the folders among them, each once.

    Raises:
        DataError: a path does not exist, or a folder holds no alert file.
    """
    return list(dict.fromkeys(expand_files(paths, ALERT_SUFFIXES)))
