"""The folder of a backup: what is in it, how it is finished, and how it is checked.

::

    manifest.json     what was copied: versions, rows per table, size and SHA-256 per file
    SHA256SUMS        the same hashes for `sha256sum --check`, with that of manifest.json first
    postgres/         dagster.dump, quantbot.dump: custom format of pg_dump
    clickhouse/       <table>.parquet
    home/             models/, strategies/, reports/ as they are in the home

A backup is written under another name beside its own and renamed when all of it is on the disk: a folder that has the
name is whole, whatever was killed when.
"""

import hashlib
import json
import os
import re
import shutil
import socket
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path, PurePosixPath
from typing import Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field, ValidationError

from quantbot_pipeline.errors import DataError, InputError, StorageError
from quantbot_pipeline.full_disks import describe_full_disk
from quantbot_pipeline.servers.processes import process_exists
from quantbot_pipeline.workflows.progress import StageListener

FORMAT_VERSION = 1
MANIFEST_FILE = "manifest.json"
SUMS_FILE = "SHA256SUMS"
_HASH_BYTES = 1 << 20


class _Document(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class CopiedFile(_Document):
    """One file of a backup: its size and hash (hex)."""

    bytes: int = Field(ge=0)
    sha256: str = Field(pattern=r"^[0-9a-f]{64}$")


class CopiedMigration(_Document):
    """A migration that was applied to what was copied."""

    number: int = Field(ge=1)
    name: str
    sha256: str


class Manifest(_Document):
    """What a backup holds.

    Attributes:
        format_version: Of this layout.
        quantbot_version: Version that made it.
        engine_version: Of the simulation engine that made it; runs of other ones may be in it too.
        taken_at: When the state of Postgres was seen, UTC.
        home: Folder that it is of.
        models_uri: Address of the home's models, `file://…/`.
        postgres_version: Of the server.
        clickhouse_version: Of the server.
        migrations: Applied ones, by database.
        postgres_rows: Rows by `schema.table` of the state.
        dagster_rows: The same of Dagster's own database.
        clickhouse_rows: Rows by table of the history.
        files: By path below the folder, `/` between parts.
    """

    format_version: int
    quantbot_version: str
    engine_version: str
    taken_at: AwareDatetime
    home: str
    models_uri: str
    postgres_version: str
    clickhouse_version: str
    migrations: dict[Literal["postgres", "clickhouse"], list[CopiedMigration]]
    postgres_rows: dict[str, int]
    dagster_rows: dict[str, int]
    clickhouse_rows: dict[str, int]
    files: dict[str, CopiedFile]


@contextmanager
def new_backup_folder(target: Path) -> Iterator[Path]:
    """Yield a folder to write a backup to, which becomes `target` when the context ends well.

    What dead attempts at any target in the same folder left is removed first; a failed attempt leaves nothing.

    Raises:
        InputError: the target is there and not empty, or can't be made.
        StorageError: the disk is full.
    """
    # Resolved: of `new/..` the folder `new` would be made, to be left empty.
    target = target.resolve()
    if target.exists() and (not target.is_dir() or any(target.iterdir())):
        raise InputError(f"backup {target}: is there already; allowed is a path where nothing is, or an empty folder")
    for folder in target.parents:
        if folder.exists() and not folder.is_dir():
            raise InputError(f"backup {target}: can't be made: {folder} is a file; give another folder")
    partial = target.with_name(f".{target.name}.{_this_machine()}-{os.getpid()}.partial")
    try:
        target.parent.mkdir(parents=True, exist_ok=True)
        for leftover in _dead_attempts(target.parent):
            shutil.rmtree(leftover)
        partial.mkdir(mode=0o700)
    except OSError as error:
        if describe_full_disk(error) is not None:
            raise full_or_broken(target, error) from error
        raise InputError(f"backup {target}: can't be made: {error.strerror or error}; give another folder") from error
    try:
        yield partial
        _flush_folder(partial)
        try:
            partial.rename(target)
        except OSError as error:
            raise InputError(f"backup {target}: was made by somebody else meanwhile; give another folder") from error
        _flush_folder(target.parent)
    finally:
        shutil.rmtree(partial, ignore_errors=True)


def finish(folder: Path, manifest: Manifest, on_stage: StageListener) -> Manifest:
    """Hash all files of a folder, write manifest and sums, and return the manifest with the files in it."""
    paths = sorted(path for path in folder.rglob("*") if path.is_file())
    files = {}
    for done, path in enumerate(paths, start=1):
        files[path.relative_to(folder).as_posix()] = CopiedFile(bytes=path.stat().st_size, sha256=_sha256(path))
        on_stage("hashing files", done, len(paths))
    whole = manifest.model_copy(update={"files": files})
    text = json.dumps(whole.model_dump(mode="json"), indent=2, sort_keys=True) + "\n"
    sums = [(hashlib.sha256(text.encode()).hexdigest(), MANIFEST_FILE)]
    sums += [(copied.sha256, name) for name, copied in files.items()]
    _write_flushed(folder / MANIFEST_FILE, text)
    _write_flushed(folder / SUMS_FILE, "".join(f"{digest}  {name}\n" for digest, name in sums))
    return whole


def read_checked(folder: Path, on_stage: StageListener) -> Manifest:
    """Return the manifest of a backup after a look at every byte of it.

    Raises:
        DataError: it is no backup, not a whole one, of a later format, or damaged; the message names the file.
    """
    manifest = _read_manifest(folder)
    total = sum(copied.bytes for copied in manifest.files.values())
    done = 0
    for name, copied in manifest.files.items():
        path = _inside(folder, name)
        found = path.stat().st_size if path.is_file() else None
        if found is None:
            raise _damaged(folder, f"file {name} is missing")
        if found != copied.bytes:
            raise _damaged(folder, f"file {name} has {found:,} bytes, it had {copied.bytes:,}")
        if _sha256(path) != copied.sha256:
            raise _damaged(folder, f"file {name} was changed: its SHA-256 is not the one of {MANIFEST_FILE}")
        done += copied.bytes
        on_stage("checking files", done, total)
    return manifest


def copy_file(source: Path, target: Path) -> None:
    """Copy a file so that it is on the disk, and under its name only when whole."""
    target.parent.mkdir(parents=True, exist_ok=True)
    partial = target.with_name(f".{target.name}.{os.getpid()}.partial")
    try:
        with source.open("rb") as reader, partial.open("wb") as writer:
            shutil.copyfileobj(reader, writer, _HASH_BYTES)
            writer.flush()
            os.fsync(writer.fileno())
        partial.replace(target)
    finally:
        partial.unlink(missing_ok=True)


def full_or_broken(target: Path, error: OSError) -> StorageError:
    """Return what to say when a disk does not take a backup or give it."""
    return StorageError(f"{target}: {error.strerror or error}; make room or give another folder, and run it again")


def _read_manifest(folder: Path) -> Manifest:
    try:
        sums = (folder / SUMS_FILE).read_text(encoding="utf-8").splitlines()
        content = (folder / MANIFEST_FILE).read_bytes()
    except (OSError, UnicodeDecodeError) as error:
        raise DataError(
            f"{folder}: no backup: {MANIFEST_FILE} or {SUMS_FILE} can't be read ({error}); allowed is a folder that "
            "'quantbot backup' finished"
        ) from error
    if f"{hashlib.sha256(content).hexdigest()}  {MANIFEST_FILE}" not in sums:
        raise _damaged(folder, f"{MANIFEST_FILE} is not the one that {SUMS_FILE} names")
    try:
        document = json.loads(content)
        version = document["format_version"]
        if version != FORMAT_VERSION:
            raise DataError(
                f"{folder}: the backup has format {version}, this version reads {FORMAT_VERSION}; "
                f"restore it with quantbot {document.get('quantbot_version', 'of a later version')}"
            )
        return Manifest.model_validate(document)
    except (ValueError, KeyError, TypeError, ValidationError) as error:
        raise _damaged(folder, f"{MANIFEST_FILE} can't be read: {error}") from error


def _inside(folder: Path, name: str) -> Path:
    """Return the path of a file that a manifest names, which must not lead out of its folder."""
    parts = PurePosixPath(name)
    if parts.is_absolute() or ".." in parts.parts or not (folder / name).resolve().is_relative_to(folder.resolve()):
        raise _damaged(folder, f"{MANIFEST_FILE} names {name!r}, which is outside of the folder")
    return folder / name


def _damaged(folder: Path, what: str) -> DataError:
    return DataError(f"{folder}: the backup is damaged: {what}; nothing was restored, use another backup")


def _sha256(path: Path) -> str:
    digest = hashlib.sha256()
    with path.open("rb") as stream:
        while piece := stream.read(_HASH_BYTES):
            digest.update(piece)
    return digest.hexdigest()


def _write_flushed(path: Path, text: str) -> None:
    with path.open("w", encoding="utf-8") as stream:
        stream.write(text)
        stream.flush()
        os.fsync(stream.fileno())


def _flush_folder(folder: Path) -> None:
    """Have the names in a folder on the disk, where the system can do that."""
    with suppress(OSError):
        descriptor = os.open(folder, os.O_RDONLY)
        try:
            os.fsync(descriptor)
        finally:
            os.close(descriptor)


# Of a version before machines were named, or of one that names them.
_ATTEMPT = re.compile(r"\..+\.(?:(?P<machine>[^.]*)-)?(?P<process>\d+)\.partial", re.DOTALL)
_PARTS = frozenset({MANIFEST_FILE, SUMS_FILE, "postgres", "clickhouse", "home"})
_SILENT_SECONDS = 86_400.0


def _this_machine() -> str:
    return re.sub(r"[^A-Za-z0-9_-]", "_", socket.gethostname())


def _dead_attempts(folder: Path) -> Iterator[Path]:
    """Yield the folders of backups that were killed.

    Whether a process of another machine lives can't be seen from here; its backup counts as dead when nothing in it
    has changed for a day.
    """
    for path in sorted(folder.iterdir()):
        match = _ATTEMPT.fullmatch(path.name)
        if match is None or path.is_symlink() or not path.is_dir():
            continue
        contents = list(path.iterdir())
        if not _PARTS.issuperset(content.name for content in contents):
            continue  # not of a backup, whatever its name
        if match["machine"] in (None, _this_machine()):
            is_dead = not process_exists(int(match["process"]))
        else:
            changed = max(found.lstat().st_mtime for found in (path, *path.rglob("*")))
            is_dead = time.time() - changed > _SILENT_SECONDS
        if is_dead:
            yield path
