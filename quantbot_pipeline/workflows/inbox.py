"""The inbox: files that somebody drops into a folder are taken once, when they are complete.

::

    inbox/alerts/calls.csv                    dropped here, by whatever program
    inbox/alerts/taken/calls.csv              claimed by a rename; beside it its report, `calls.csv.report.json`
    inbox/alerts/done/calls.csv (+ report)    imported, or known already
    inbox/alerts/failed/calls.csv (+ report)  can't be imported; the report says why

A file is complete when two looks, some seconds apart, find the same size, time and identity. Taking it is five steps,
and every one may be the last of a process that is killed: whoever comes next finds in `taken` how far it got and goes
on from there. One process at a time takes files of a folder (a lock, which the system takes from the dead). Files are
renamed within the folder only, never copied, never overwritten. How `quantbot ingest inbox` and the sensors use this
is in docs/ingest-calls.md.
"""

import hashlib
import json
import os
import stat
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any, NamedTuple, Protocol

from filelock import FileLock

from quantbot_pipeline.errors import InputError, QuantbotError, StorageError
from quantbot_pipeline.ingest.source_files import file_sha256
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.check_files import check_candle_files
from quantbot_pipeline.workflows.find_files import ALERT_SUFFIXES, CANDLE_SUFFIXES
from quantbot_pipeline.workflows.import_alerts import AlertImportOptions, import_alert_file
from quantbot_pipeline.workflows.import_candles import (
    CandleImportOptions,
    ImportOutcome,
    import_candle_files,
)
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress

TAKEN, DONE, FAILED = "taken", "done", "failed"
"""Folders within an inbox folder; what lies in them is not looked at."""

REPORT_SUFFIX = ".report.json"

UNFINISHED_SUFFIXES = (".part", ".partial", ".tmp", ".temp", ".crdownload", ".download", ".filepart", "~")
"""Ends of names that programs give to files which they are still writing; they leave them when they are done."""

REASONS_IN_REPORT = 100
"""Most quarantined rows that a report repeats; all are in the table `quarantine`."""


class InboxFolder(NamedTuple):
    """One kind of files in the inbox.

    Attributes:
        root: The folder that files are dropped into; subfolders count too.
        suffixes: Ends of the names of files that are taken; others are left alone.
    """

    root: Path
    suffixes: tuple[str, ...]


def alert_inbox(inbox: Path) -> InboxFolder:
    """Return the folder of alert files of an inbox."""
    return InboxFolder(inbox / "alerts", ALERT_SUFFIXES)


def candle_inbox(inbox: Path) -> InboxFolder:
    """Return the folder of candle files of an inbox."""
    return InboxFolder(inbox / "candles", CANDLE_SUFFIXES)


class Look(NamedTuple):
    """What a file was like when it was first seen so.

    Attributes:
        stamp: Identity, size and time of change.
        since: When it was first seen like this, seconds since the epoch.
    """

    stamp: str
    since: float


Looks = Mapping[str, Look]
"""Looks by name; names are relative to the folder, with `/`."""


def look_around(folder: InboxFolder) -> dict[str, str]:
    """Return the stamps of the files that may be taken, by name, in no particular order.

    Names that begin with a dot, that say the file is unfinished, and reports are none. Symbolic links are, so that
    they are refused where everybody sees it.
    """
    return dict(_walk(folder, folder.root, ""))


def _walk(folder: InboxFolder, directory: Path, prefix: str) -> Iterator[tuple[str, str]]:
    try:
        entries = sorted(os.scandir(directory), key=lambda entry: entry.name)
    except (FileNotFoundError, NotADirectoryError):
        return
    for entry in entries:
        name = prefix + entry.name
        if entry.name.startswith(".") or (not prefix and entry.name in (TAKEN, DONE, FAILED)):
            continue
        try:
            status = entry.stat(follow_symlinks=False)
        except FileNotFoundError:
            continue
        if stat.S_ISDIR(status.st_mode):
            yield from _walk(folder, directory / entry.name, f"{name}/")
        elif _is_wanted(folder, entry.name, status.st_mode):
            yield name, f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def _is_wanted(folder: InboxFolder, name: str, mode: int) -> bool:
    lower = name.lower()
    if lower.endswith((*UNFINISHED_SUFFIXES, REPORT_SUFFIX)):
        return False
    # A link to a folder has no suffix, and would lie there for ever.
    return stat.S_ISLNK(mode) or (stat.S_ISREG(mode) and lower.endswith(folder.suffixes))


def watch(stamps: Mapping[str, str], before: Looks, *, now: float, settle_seconds: float) -> tuple[list[str], Looks]:
    """Return the names of complete files, and the looks to remember until the next look.

    Args:
        stamps: What `look_around` found.
        before: The looks of last time; empty at the first.
        now: The present time, seconds since the epoch.
        settle_seconds: How long a file must have stayed the same, over at least two looks.
    """
    looks = {}
    complete = []
    for name, stamp in stamps.items():
        known = before.get(name)
        if known is None or known.stamp != stamp or known.since > now:
            looks[name] = Look(stamp, now)
            continue
        looks[name] = known
        if now - known.since >= settle_seconds:
            complete.append(name)
    return sorted(complete), looks


def wait_for_complete(
    folder: InboxFolder,
    *,
    settle_seconds: float,
    now: Callable[[], float] = time.time,
    sleep: Callable[[float], None] = time.sleep,
) -> list[str]:
    """Return the names of the files that are complete, after two looks.

    Args:
        folder: The inbox folder.
        settle_seconds: Time between the looks.
        now: Gives seconds since the epoch.
        sleep: Waits for some seconds.
    """
    stamps = look_around(folder)
    if not stamps:
        return []
    _, looks = watch(stamps, {}, now=now(), settle_seconds=settle_seconds)
    sleep(settle_seconds)
    # The wait itself was the time that must pass; a clock may be a little off it.
    return watch(look_around(folder), looks, now=now(), settle_seconds=0)[0]


class FileImporter(Protocol):
    """How files of one kind are imported."""

    def is_known(self, path: Path) -> bool:
        """Return whether the file's content was imported before."""
        ...

    def import_file(self, path: Path, name: str) -> ImportOutcome:
        """Import a file, once; `name` is what people know it by.

        Raises:
            InputError: it can't be imported; nothing of it is stored.
        """
        ...


@dataclass(frozen=True, slots=True)
class AlertImporter:
    """Imports alert files."""

    state: StateStore
    options: AlertImportOptions

    def is_known(self, path: Path) -> bool:
        """Return whether the file's content was imported before."""
        return self.state.find_import("alerts", file_sha256(path), self.options.key) is not None

    def import_file(self, path: Path, name: str) -> ImportOutcome:
        """Import a file, once."""
        return import_alert_file(path, self.state, self.options, shown_as=name)


@dataclass(frozen=True, slots=True)
class CandleImporter:
    """Imports candle files; one that reaches back before `first_month` (`YYYY-MM`) is refused."""

    state: StateStore
    history: HistoryStore
    first_month: str
    options: CandleImportOptions

    def is_known(self, path: Path) -> bool:
        """Return whether the file's content was imported before."""
        return self.state.find_import("candles", file_sha256(path), self.options.key) is not None

    def import_file(self, path: Path, name: str) -> ImportOutcome:  # noqa: ARG002 - candles are quarantined by path
        """Import a file, once."""
        try:
            checked = check_candle_files([path], self.state, first_month=self.first_month, options=self.options)
            [outcome] = import_candle_files([path], self.state, self.history, options=self.options, sources=checked)
        except InputError as error:
            advice = advice_on_options(str(error))
            if not advice:
                raise
            raise InputError(f"{error}; {advice}") from error
        return outcome


def advice_on_options(reason: str) -> str:
    """Return what to do where a reason names options of `ingest candles` that the inbox lacks; empty elsewhere."""
    options = [option for option in ("--chain", "--token", "--interval") if option in reason]
    if not options:
        return ""
    said = " ".join(f"{option} …" for option in options)
    return f"the inbox takes no such option: import it with 'quantbot ingest candles FILE {said}'"


@dataclass(frozen=True, slots=True)
class TakenFile:
    """What became of a file.

    Attributes:
        name: Its name in the inbox folder.
        report: The report that lies beside it now.
        outcome: Its import; None if it failed, or was imported by a process that died.
    """

    name: str
    report: Mapping[str, Any]
    outcome: ImportOutcome | None

    @property
    def is_failed(self) -> bool:
        """Whether it could not be imported."""
        return bool(self.report["state"] == FAILED)


StepListener = Callable[[str, str], None]
"""Told the step that was just done, and the name of the file; tests end the process there."""


def _no_step(step: str, name: str) -> None:
    del step, name


def find_leftovers(folder: InboxFolder) -> list[str]:
    """Return the names of files that were claimed by a process that came to no end."""
    names = {name.removesuffix(REPORT_SUFFIX) for name in _files_below(folder.root / TAKEN)}
    return sorted(names)


def take_files(
    folder: InboxFolder,
    names: Sequence[str],
    importer: FileImporter,
    *,
    now: Callable[[], datetime],
    on_step: StepListener = _no_step,
    on_progress: ProgressListener = no_progress,
) -> list[TakenFile]:
    """Take files out of an inbox folder, after those that a dead process left half taken.

    A file that is gone is left out: another process took it.

    Args:
        folder: The inbox folder.
        names: Names of complete files in it, relative to its root.
        importer: How they are imported.
        now: Gives the present time, UTC.
        on_step: Told each step.
        on_progress: Told after each file.

    Raises:
        InputError: a name points outside the folder; nothing was taken.
        StorageError: a database refused or lost something; the file that was at work stays in `taken`, and whoever
            comes next goes on with it.
    """
    for name in names:
        _require_inside(folder, name)
    if not folder.root.is_dir():
        return []
    with FileLock(folder.root / ".lock"):
        taking = _Taking(folder, importer, now, on_step)
        leftovers = find_leftovers(folder)
        total = len(leftovers) + len(names)
        taken: list[TakenFile] = []
        for position, name in enumerate(leftovers, start=1):
            taken.append(taking.go_on(name))
            on_progress(position, total, name)
        for position, name in enumerate(names, start=len(leftovers) + 1):
            if taking.claim(name):
                taken.append(taking.go_on(name))
            on_progress(position, total, name)
    return taken


def _require_inside(folder: InboxFolder, name: str) -> None:
    parts = PurePosixPath(name).parts
    is_plain = bool(parts) and not PurePosixPath(name).is_absolute() and ".." not in parts and "\x00" not in name
    root = folder.root.resolve()
    # A folder on the way may be a link out of the inbox.
    if not is_plain or parts[0] in (TAKEN, DONE, FAILED) or not (root / name).parent.resolve().is_relative_to(root):
        raise InputError(f"{name!r} points outside the inbox {folder.root}; allowed are files in it")


class _Taking:
    """The steps of taking one file."""

    def __init__(
        self, folder: InboxFolder, importer: FileImporter, now: Callable[[], datetime], on_step: StepListener
    ) -> None:
        self._root = folder.root
        self._importer = importer
        self._now = now
        self._on_step = on_step

    def claim(self, name: str) -> bool:
        """Rename a file into `taken`, and return whether it was still there."""
        target = self._root / TAKEN / name
        target.parent.mkdir(parents=True, exist_ok=True)
        try:
            (self._root / name).rename(target)
        except FileNotFoundError:
            return False
        self._on_step("claimed", name)
        return True

    def go_on(self, name: str) -> TakenFile:
        """Do what is left to do for a file in `taken`."""
        file = self._root / TAKEN / name
        report_path = _report_of(file)
        report = _read_report(report_path)
        outcome = None
        if report is None or report["state"] == TAKEN:
            report, outcome = self._import(name, file, report)
            self._write_report(report_path, report)
            self._on_step("reported", name)
        if _exists(file):
            target = self._root / report["moved_to"]
            if _exists(target) or _exists(_report_of(target)):
                # Somebody put another one there since the report was written.
                report = report | {"moved_to": self._free_place(report["state"], name)}
                self._write_report(report_path, report)
                target = self._root / report["moved_to"]
            target.parent.mkdir(parents=True, exist_ok=True)
            file.rename(target)
            self._on_step("moved", name)
        _report_of(self._root / report["moved_to"]).parent.mkdir(parents=True, exist_ok=True)
        report_path.rename(_report_of(self._root / report["moved_to"]))
        self._on_step("finished", name)
        return TakenFile(name, report, outcome)

    def _import(
        self, name: str, file: Path, begun: dict[str, Any] | None
    ) -> tuple[dict[str, Any], ImportOutcome | None]:
        report: dict[str, Any] = begun or {
            "file": name,
            "state": TAKEN,
            "taken_at": self._now().astimezone(UTC).isoformat(timespec="seconds"),
        }
        try:
            _require_file(file)
            if "known" not in report:
                report |= {"sha256": file_sha256(file), "known": self._importer.is_known(file)}
                # Whether it was known must be written down before it is imported: afterwards it always is.
                self._write_report(_report_of(file), report)
                self._on_step("noted", name)
            outcome = self._importer.import_file(file, name)
        except StorageError:
            raise
        except QuantbotError as error:
            return self._finished(report, FAILED, name, str(error).replace(str(file), name)), None
        except Exception as error:  # noqa: BLE001 - a file that a reader stumbles over would be tried again for ever
            return self._finished(report, FAILED, name, f"{name}: {type(error).__name__}: {error}"), None
        self._on_step("imported", name)
        record = outcome.record
        report |= {
            "rows": record.rows_read,
            "stored": record.rows_stored,
            "duplicates": record.rows_duplicate,
            "quarantined": record.rows_quarantined,
            "token_months": record.details.get("token_months", []),
            "reasons": [f"{name}:{row.line}: {row.reason}" for row in record.quarantined[:REASONS_IN_REPORT]],
        }
        advice = next((found for row in record.quarantined if (found := advice_on_options(row.reason))), "")
        if advice and outcome.record.kind == "candles":
            report |= {"advice": advice}
        return self._finished(report, DONE, name, None), outcome

    def _finished(self, report: dict[str, Any], state: str, name: str, error: str | None) -> dict[str, Any]:
        return report | {
            "state": state,
            "error": error,
            "moved_to": self._free_place(state, name),
            "finished_at": self._now().astimezone(UTC).isoformat(timespec="seconds"),
        }

    def _free_place(self, state: str, name: str) -> str:
        """Return a name below `done` or `failed` that neither a file nor a report has."""
        path = PurePosixPath(name)
        stem, dot, ends = path.name.partition(".")
        for number in range(1, 1_000_000):
            candidate = path.name if number == 1 else f"{stem}-{number}{dot}{ends}"
            place = PurePosixPath(state) / path.parent / candidate
            target = self._root / place
            if not _exists(target) and not _exists(_report_of(target)):
                return str(place)
        raise InputError(f"{self._root / state}: a million files are named {name!r}; move some of them away")

    def _write_report(self, path: Path, report: Mapping[str, Any]) -> None:
        """Write a report whole or not at all."""
        path.parent.mkdir(parents=True, exist_ok=True)
        # A name of its own however long the file's is: names may have 255 bytes and no more.
        temporary = path.with_name("." + hashlib.sha256(os.fsencode(path.name)).hexdigest()[:16])
        with temporary.open("w", encoding="utf-8", errors="backslashreplace") as stream:
            json.dump(report, stream, indent=2, ensure_ascii=False)
            stream.write("\n")
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)


def _require_file(file: Path) -> None:
    """Refuse what is no file.

    Raises:
        InputError: it is gone, or a symbolic link.
    """
    try:
        mode = file.lstat().st_mode
    except FileNotFoundError:
        raise InputError(f"{file}: was taken and is gone; put it into the inbox again") from None
    if stat.S_ISLNK(mode):
        raise InputError(
            f"{file}: is a symbolic link to {os.fspath(file.readlink())!r}; links are not followed, as they may "
            "point outside the inbox: put the file itself there"
        )


def _report_of(file: Path) -> Path:
    return file.with_name(file.name + REPORT_SUFFIX)


def _read_report(path: Path) -> dict[str, Any] | None:
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        return None
    return found


def _exists(path: Path) -> bool:
    # A link that points nowhere is there too.
    return os.path.lexists(path)


def _files_below(directory: Path) -> Iterator[str]:
    for parent, _, files in os.walk(directory):
        for file in files:
            if not file.startswith("."):
                yield (Path(parent) / file).relative_to(directory).as_posix()
