"""The files that a simulation writes: events as they come, the summary at the end, both or none.

Everything goes to hidden files beside the outputs first, which are renamed at the end and removed on any other end.
"""

import csv
import json
import os
import secrets
import signal
import tempfile
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import IO, Any

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quantbot_pipeline.engine.arrow_columns import array_of
from quantbot_pipeline.errors import InputError

EVENT_SUFFIXES = (".parquet", ".csv", ".jsonl")

ROWS_PER_GROUP = 131_072
"""Rows of a row group: the same file whatever the tables in which events come."""

_BYTES_IN_MEMORY = 16 * 2**20
_ROWS_AT_ONCE = 16_384


def check_outputs(events: Path | None, summary: Path | None, inputs: Sequence[Path]) -> None:
    """Refuse outputs that can't be written, or that would overwrite something which is read.

    Raises:
        InputError: a suffix is wrong, a folder does not exist, a path is no file, is an input, or is both outputs.
    """
    for path, what, suffixes in ((events, "events", EVENT_SUFFIXES), (summary, "the summary", (".json",))):
        if path is None:
            continue
        if path.suffix.lower() not in suffixes:
            raise InputError(f"{path}: {what} can't be written to this kind of file; allowed are {', '.join(suffixes)}")
        if not path.absolute().parent.is_dir():
            raise InputError(f"{path}: the folder {path.absolute().parent} does not exist; make it first")
        if path.exists() and not path.is_file():
            raise InputError(f"{path}: can't be written: it is there and is no file; give another path")
        for given in inputs:
            if _is_same(path, given):
                raise InputError(f"{path}: {what} would overwrite an input, {given}; give another path")
    if events is not None and summary is not None and _is_same(events, summary):
        raise InputError(f"{events}: events and the summary can't go to one file; give two paths")


def _is_same(one: Path, other: Path) -> bool:
    if one.resolve() == other.resolve():
        return True
    return one.exists() and other.exists() and one.samefile(other)


class SimulationOutputs:
    """The open outputs of a simulation; made by `open_outputs`."""

    def __init__(self, events: Path | None, summary: Path | None, schema: pa.Schema, cleaning: ExitStack) -> None:
        self._cleaning = cleaning
        self._schema = schema
        self._summary = summary
        self._partial: dict[Path, Path] = {}
        self._later: list[_LaterEvents] = []
        for path in (summary, events):
            if path is not None:
                self._partial[path] = self._make_partial(path)
        self._events = _EventFile.opened(events, self._partial[events], schema) if events is not None else None
        if self._events is not None:
            cleaning.callback(self._events.abandon)
        self._path = events

    def add_events(self, position: int, events: pa.Table) -> None:
        """Write events of a strategy, which follow those that came of it before.

        Args:
            position: Position of the strategy; all events of one are written before those of the next.
            events: Some events.

        Raises:
            InputError: there is no room.
        """
        if self._events is None or self._path is None:
            return
        with _writing(self._path):
            if position == 0:
                self._events.append(events)
                return
            while len(self._later) < position:
                self._later.append(_LaterEvents(self._path.absolute().parent, self._schema, self._cleaning))
            self._later[position - 1].append(events)

    def finish(self, summary: Mapping[str, Any], on_written: Callable[[], None] = lambda: None) -> None:
        """Complete the files and give them their names.

        Args:
            summary: What the summary holds.
            on_written: Called when the files have their names; signals wait until then, so that there are both or none.

        Raises:
            InputError: a file can't be written.
        """
        if self._events is not None and self._path is not None:
            with _writing(self._path):
                for later in self._later:
                    for batch in later.batches():
                        self._events.append(batch)
                self._events.close()
        if self._summary is not None:
            with _writing(self._summary):
                text = json.dumps(summary, indent=2, allow_nan=False) + "\n"
                self._partial[self._summary].write_text(text, encoding="utf-8")
        with _signals_held_back():
            self._rename()
            on_written()

    def _rename(self) -> None:
        written: list[Path] = []
        for path, partial in self._partial.items():
            # A link stays a link; what it leads to is replaced.
            target = path.resolve()
            is_new = not target.exists()
            try:
                partial.replace(target)
            except OSError as error:
                for other in written:
                    other.unlink(missing_ok=True)
                raise InputError(f"{path}: can't be written: {error.strerror or error}") from error
            if is_new:
                written.append(target)

    def _make_partial(self, path: Path) -> Path:
        target = path.resolve()
        # A name that nothing else can have, so that it may be removed before it is known to be there: an interrupt
        # between making the file and noting that it must go would leave it behind.
        partial = target.with_name(f".{target.name}.{os.getpid()}-{secrets.token_hex(8)}")
        self._cleaning.callback(partial.unlink, missing_ok=True)
        with _writing(path):
            partial.touch(exist_ok=False)
        return partial


@contextmanager
def open_outputs(
    events: Path | None, summary: Path | None, inputs: Sequence[Path], schema: pa.Schema
) -> Iterator[SimulationOutputs]:
    """Check the outputs and open them; without `finish` nothing of them stays.

    Args:
        events: Where events go: `.parquet`, `.csv` or `.jsonl`.
        summary: Where the summary goes: `.json`.
        inputs: Files that must not be overwritten.
        schema: Of the events.

    Raises:
        InputError: an output can't be written.
    """
    check_outputs(events, summary, inputs)
    with ExitStack() as cleaning:
        yield SimulationOutputs(events, summary, schema, cleaning)


@contextmanager
def _writing(path: Path) -> Iterator[None]:
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error).splitlines()[0]
        raise InputError(f"{path}: can't be written: {reason}") from error


@contextmanager
def _signals_held_back() -> Iterator[None]:
    """Let SIGINT and SIGTERM wait for the end of a moment that must not be cut in two."""
    if threading.current_thread() is not threading.main_thread():
        # Python runs handlers in the main thread only.
        yield
        return
    came: list[int] = []

    def note(number: int, frame: FrameType | None) -> None:  # noqa: ARG001 - what Python hands to a handler
        came.append(number)

    before = {number: signal.getsignal(number) for number in (signal.SIGINT, signal.SIGTERM)}
    for number, handler in before.items():
        if handler is not signal.SIG_IGN:
            signal.signal(number, note)
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)
    if came:
        signal.raise_signal(came[0])


class _LaterEvents:
    """Events that wait until those of the strategies before are written."""

    def __init__(self, folder: Path, schema: pa.Schema, cleaning: ExitStack) -> None:
        file = tempfile.SpooledTemporaryFile(max_size=_BYTES_IN_MEMORY, dir=str(folder))  # noqa: SIM115 - by the stack
        self._file: IO[bytes] = cleaning.enter_context(file)
        self._writer = pa.ipc.new_stream(pa.PythonFile(self._file, mode="w"), schema)

    def append(self, events: pa.Table) -> None:
        self._writer.write_table(events)

    def batches(self) -> Iterator[pa.Table]:
        self._writer.close()
        self._file.seek(0)
        with pa.ipc.open_stream(pa.PythonFile(self._file, mode="r")) as reader:
            for batch in reader:
                yield pa.Table.from_batches([batch])


class _EventFile(ABC):
    """Events on their way to a file."""

    @staticmethod
    def opened(path: Path, partial: Path, schema: pa.Schema) -> "_EventFile":
        kind = path.suffix.lower()
        return _ParquetEvents(partial, schema) if kind == ".parquet" else _TextEvents(partial, schema, kind)

    @abstractmethod
    def append(self, events: pa.Table) -> None:
        """Write events, or keep them for the next writing."""

    @abstractmethod
    def close(self) -> None:
        """Write what is left, and finish the file."""

    def abandon(self) -> None:
        """Let go of the file, whatever state it is in."""
        with suppress(OSError, pa.ArrowException):
            self.close()


class _ParquetEvents(_EventFile):
    def __init__(self, partial: Path, schema: pa.Schema) -> None:
        self._writer = pq.ParquetWriter(partial, schema)
        self._waiting: list[pa.Table] = []
        self._count = 0

    def append(self, events: pa.Table) -> None:
        self._waiting.append(events)
        self._count += events.num_rows
        if self._count < ROWS_PER_GROUP:
            return
        table = pa.concat_tables(self._waiting)
        begin = 0
        while self._count - begin >= ROWS_PER_GROUP:
            self._writer.write_table(table.slice(begin, ROWS_PER_GROUP).combine_chunks(), ROWS_PER_GROUP)
            begin += ROWS_PER_GROUP
        self._waiting = [table.slice(begin)]
        self._count -= begin

    def close(self) -> None:
        if self._count:
            waiting, self._waiting, self._count = self._waiting, [], 0
            self._writer.write_table(pa.concat_tables(waiting).combine_chunks(), ROWS_PER_GROUP)
        self._writer.close()


class _TextEvents(_EventFile):
    def __init__(self, partial: Path, schema: pa.Schema, kind: str) -> None:
        self._stream: IO[str] = partial.open("w", encoding="utf-8", newline="")
        self._names = schema.names
        self._write: Callable[[Iterator[tuple[Any, ...]]], None] = self._write_json
        if kind == ".csv":
            self._writer = csv.writer(self._stream, lineterminator="\n")
            self._writer.writerow(self._names)
            self._write = self._writer.writerows

    def append(self, events: pa.Table) -> None:
        for batch in events.to_batches(max_chunksize=_ROWS_AT_ONCE):
            columns = [
                _time_texts(column) if name == "event_time" else column.to_pylist()
                for name, column in zip(self._names, batch.columns, strict=True)
            ]
            self._write(zip(*columns, strict=True))

    def _write_json(self, rows: Iterator[tuple[Any, ...]]) -> None:
        for row in rows:
            values = dict(zip(self._names, row, strict=True))
            if values["price"] != values["price"]:
                values["price"] = None
            self._stream.write(json.dumps(values, allow_nan=False) + "\n")

    def close(self) -> None:
        self._stream.close()


def _time_texts(column: pa.Array) -> list[str]:
    """Return UTC times to the second as ISO 8601."""
    seconds = array_of(column.cast(pa.int64())).astype("datetime64[s]")
    return [f"{text}Z" for text in np.datetime_as_string(seconds).tolist()]
