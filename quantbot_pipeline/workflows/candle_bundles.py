"""Candle files in, bundles of batches out: read ahead in a thread, in bounded memory.

A batch is some neighbouring rows of one file, a small file being one batch. A bundle is what is compared with the store
and inserted together: batches of one or many files, none of whose series overlap in time.
"""

import queue
import threading
from collections import deque
from collections.abc import Generator, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

from quantbot_pipeline.errors import DataError, InputError
from quantbot_pipeline.ingest.candle_streams import iterate_candles
from quantbot_pipeline.ingest.candles.options import CandleReadOptions
from quantbot_pipeline.ingest.checked_candles import VALUE_COLUMNS, CheckedCandles
from quantbot_pipeline.ingest.source_files import file_sha256
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.workflows.settle_candles import series_windows

ROWS_PER_BUNDLE = 3 * 2**19
"""Rows that are compared and inserted together, when there are that many: work for three inserts at once. At most
three bundles are in memory, one that is read, one that waits, one that is stored: some 110 MB each."""

BATCHES_PER_BUNDLE = 1000
"""Small files that are recorded in one transaction."""

BATCHES_LOOKED_AT = 2
"""Batches of a file that are read before anything is stored; a file of fewer is looked through as a whole."""

_STOP_POLL_SECONDS = 0.2


class CandleSource:
    """One file to import, and what was read of it before the import.

    Attributes:
        path: The file.
        sha256: Hex digest of its bytes.
        kept_rows: Rows that are held in memory.
    """

    def __init__(self, path: Path, options: CandleReadOptions) -> None:
        """Take the fingerprint of a file.

        Raises:
            DataError: the file can't be read.
        """
        self.path = path
        self._options = options
        self._identity = _identity(path)
        self.sha256 = file_sha256(path)
        self._kept: deque[CheckedCandles] = deque()
        self._rest: Iterator[CheckedCandles] | None = None
        self._is_whole = False
        self.kept_rows = 0

    def look(self) -> Iterator[CheckedCandles]:
        """Yield the first `BATCHES_LOOKED_AT` batches, and keep them for the import.

        Raises:
            DataError: the file can't be read as candles.
        """
        self._rest = iterate_candles(self.path, options=self._options)
        for _ in range(BATCHES_LOOKED_AT):
            checked = next(self._rest, None)
            if checked is None:
                self._is_whole = True
                return
            self._kept.append(checked)
            self.kept_rows += len(checked.timestamp)
            yield checked

    def let_go(self) -> None:
        """Keep nothing: the import will read the file again."""
        self._kept.clear()
        self._rest = None
        self._is_whole = False
        self.kept_rows = 0

    def batches(self) -> Iterator[CheckedCandles]:
        """Yield all batches, those that were kept without reading them again; once only.

        Raises:
            DataError: the file can't be read as candles, or was changed since its fingerprint was taken.
        """
        rest = self._rest if self._rest is not None else iterate_candles(self.path, options=self._options)
        while self._kept:
            yield self._kept.popleft()
        if not self._is_whole:
            yield from rest
        if _identity(self.path) != self._identity:
            raise DataError(f"{self.path}: was changed while it was read; import it again once it is written")

    def expected_rows(self) -> int:
        """Return about how many rows the file has, for progress."""
        rows = sum(checked.rows_read for checked in self._kept)
        if self._is_whole:
            return rows
        if self.path.suffix.lower() == ".parquet":
            with suppress(pa.ArrowException, OSError), pq.ParquetFile(self.path) as parquet:
                return int(parquet.metadata.num_rows)
        # A row of text takes some 90 bytes; compressed some 25.
        size = self._identity[0]
        return max(rows, size // (25 if self.path.suffix.lower() == ".gz" else 90))


@dataclass(frozen=True)
class FileBatch:
    """Some neighbouring rows of one file.

    Attributes:
        position: Which of the files.
        number: Place in the file, from 0.
        checked: The rows.
        is_last: Whether the file ends with it.
    """

    position: int
    number: int
    checked: CheckedCandles
    is_last: bool


@dataclass
class Bundle:
    """Batches that are stored together, and files that turned out unreadable after the batches before them.

    Attributes:
        batches: In the order of files and of their rows.
        refused: Position and error of each file that can't be read any further.
    """

    batches: list[FileBatch] = field(default_factory=list)
    refused: list[tuple[int, InputError]] = field(default_factory=list)


def read_bundles(sources: Sequence[CandleSource]) -> Generator[Bundle, None, None]:
    """Yield the rows of files in order, while a thread reads what comes next."""
    ready: queue.Queue[Bundle | BaseException | None] = queue.Queue(maxsize=1)
    stop = threading.Event()

    def put(item: Bundle | BaseException | None) -> None:
        while not stop.is_set():
            with suppress(queue.Full):
                ready.put(item, timeout=_STOP_POLL_SECONDS)
                return

    def read() -> None:
        try:
            with closing(_bundles(sources)) as bundles:
                for bundle in bundles:
                    put(bundle)
                    if stop.is_set():
                        return
            put(None)
        except BaseException as error:  # noqa: BLE001 - raised again where the bundles are taken
            put(error)

    reader = threading.Thread(target=read, name="candle-reader", daemon=True)
    reader.start()
    try:
        while (item := ready.get()) is not None:
            if isinstance(item, BaseException):
                raise item
            yield item
    finally:
        stop.set()
        reader.join()


def _bundles(sources: Sequence[CandleSource]) -> Generator[Bundle, None, None]:
    bundle, taken, rows = Bundle(), _Spans(), 0
    for position, source in enumerate(sources):
        batches = _numbered(position, source)
        while True:
            try:
                batch = next(batches, None)
            except InputError as error:
                bundle.refused.append((position, error))
                break
            if batch is None:
                break
            count = len(batch.checked.timestamp)
            is_full = rows + count > ROWS_PER_BUNDLE or len(bundle.batches) >= BATCHES_PER_BUNDLE
            if bundle.batches and (is_full or taken.overlaps(batch.checked)):
                yield bundle
                bundle, taken, rows = Bundle(), _Spans(), 0
            taken.add(batch.checked)
            bundle.batches.append(batch)
            rows += count
    if bundle.batches or bundle.refused:
        yield bundle


def _numbered(position: int, source: CandleSource) -> Iterator[FileBatch]:
    number = 0
    batches = source.batches()
    batch = next(batches, None) or _no_rows()
    while True:
        following = next(batches, None)
        yield FileBatch(position, number, batch, is_last=following is None)
        if following is None:
            return
        batch, number = following, number + 1


class _Spans:
    """Where the series of a bundle lie in time."""

    def __init__(self) -> None:
        self._spans: dict[tuple[TokenKey, str], list[tuple[int, int]]] = {}

    def overlaps(self, checked: CheckedCandles) -> bool:
        return any(
            window.start < end and start < window.end
            for window, _, _ in series_windows(checked)
            for start, end in self._spans.get((window.token, window.interval), ())
        )

    def add(self, checked: CheckedCandles) -> None:
        for window, _, _ in series_windows(checked):
            self._spans.setdefault((window.token, window.interval), []).append((window.start, window.end))


def _identity(path: Path) -> tuple[int, int]:
    try:
        found = path.stat()
    except OSError as error:
        raise DataError(f"{path}: can't be read: {error.strerror or error}") from error
    return found.st_size, found.st_mtime_ns


def _no_rows() -> CheckedCandles:
    return CheckedCandles(
        series=[],
        series_of_row=np.zeros(0, dtype=np.int64),
        timestamp=np.zeros(0, dtype=np.int64),
        values={name: np.zeros(0, dtype=np.float64) for name in VALUE_COLUMNS},
        repeats=np.zeros(0, dtype=np.int64),
        duplicates=0,
        conflicts=0,
        quarantined=(),
        rows_read=0,
        flags=np.zeros(0, dtype=np.uint8),
    )
