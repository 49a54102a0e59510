"""Candles of files, token by token, in bounded memory.

Files may hold their rows in any order, so a token is complete only when the last file was read. Up to
`ROWS_IN_MEMORY` rows wait in memory. Above that, all rows go to temporary files without a name, one for each
range of tokens, and are read back a range at a time: whatever happens, nothing of them stays. Either way tokens come in
sorted order. Rows of tokens that nobody asks for are checked, and not kept.
"""

import tempfile
from collections import defaultdict
from collections.abc import Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import IO, Any

import numpy as np

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, Candles, FloatArray, IntArray
from quantbot_pipeline.errors import DataError, InputError
from quantbot_pipeline.ingest.candle_streams import iterate_candles
from quantbot_pipeline.ingest.candles.options import CandleReadOptions
from quantbot_pipeline.ingest.checked_candles import VALUE_COLUMNS, CheckedCandles
from quantbot_pipeline.ingest.quarantine import QuarantinedRow
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress

ROWS_IN_MEMORY = 8_000_000
"""Rows that wait in memory, 52 bytes each."""

ROWS_PER_RANGE = 2_000_000
"""How many rows of a range of tokens are aimed at; a token is never cut."""

MAX_RANGES = 256
"""Temporary files that are open at once, at most."""

MAX_BAD_ROWS_TOLD = 10
"""Bad rows that are told one by one."""

_ROW_TYPES: tuple[np.dtype[Any], ...] = (
    np.dtype(np.int32),
    np.dtype(np.int64),
    *[np.dtype(np.float64)] * len(VALUE_COLUMNS),
)
_BYTES_PER_ROW = sum(kind.itemsize for kind in _ROW_TYPES)


@dataclass(frozen=True, slots=True)
class _Rows:
    """Rows of one file, sorted by series and time.

    Attributes:
        file: Position of the file.
        series: Number of each row's series, ascending within each piece of a file, int32.
        timestamp: Open times, int64 seconds.
        values: The columns of `VALUE_COLUMNS`.
    """

    file: int
    series: Any
    timestamp: IntArray
    values: tuple[FloatArray, ...]

    def __len__(self) -> int:
        return len(self.timestamp)

    def slice(self, begin: int, end: int) -> "_Rows":
        return _Rows(
            self.file,
            self.series[begin:end],
            self.timestamp[begin:end],
            tuple(values[begin:end] for values in self.values),
        )

    def take(self, positions: Any) -> "_Rows":
        return _Rows(
            self.file,
            self.series[positions],
            self.timestamp[positions],
            tuple(values[positions] for values in self.values),
        )


class FileCandles:
    """Candles of some files, of those tokens that are asked for; made by `open_candles`.

    Attributes:
        repeated_rows: Rows whose candle came again in the same file, so far; the last one of each was taken.
        good_rows: Rows that can be used, of whichever token.
        bad_rows: Rows that can't be used.
        first_bad_rows: The first of these, in file order, `MAX_BAD_ROWS_TOLD` at most.
    """

    def __init__(self, files: Sequence[Path], tokens: Collection[TokenKey], interval: str | None) -> None:
        self.repeated_rows = 0
        self.good_rows = 0
        self.bad_rows = 0
        self.first_bad_rows: list[QuarantinedRow] = []
        self._files = files
        self._interval = interval
        self._other_intervals: dict[TokenKey, set[str]] = {}
        self._rank = {token: rank for rank, token in enumerate(sorted(tokens))}
        self._series: list[tuple[TokenKey, str]] = []
        self._numbers: dict[tuple[TokenKey, str], int] = {}
        self._held: list[_Rows] = []
        self._held_rows = 0
        self._spill: _Spill | None = None

    def note(self, checked: CheckedCandles) -> None:
        """Count some rows of a file."""
        self.good_rows += len(checked.timestamp)
        self.bad_rows += len(checked.quarantined)
        room = MAX_BAD_ROWS_TOLD - len(self.first_bad_rows)
        self.first_bad_rows += checked.quarantined[:room]

    def other_intervals(self, token: TokenKey) -> set[str]:
        """Return the intervals of a token's candles that were left aside, as another one is wanted."""
        return self._other_intervals.get(token, set())

    def add(self, file: int, checked: CheckedCandles) -> None:
        """Keep what is asked for among some rows of a file."""
        if self._interval is not None:
            for token, interval in checked.series:
                if token in self._rank and interval != self._interval:
                    self._other_intervals.setdefault(token, set()).add(interval)
        wanted = [
            k
            for k, (token, interval) in enumerate(checked.series)
            if token in self._rank and self._interval in (None, interval)
        ]
        if not wanted:
            return
        self.repeated_rows += int(checked.repeats[wanted].sum())
        number_of = np.full(len(checked.series), -1, dtype=np.int32)
        number_of[wanted] = [self._number(checked.series[k]) for k in wanted]
        rows = _Rows(
            file,
            number_of[checked.series_of_row],
            checked.timestamp,
            tuple(checked.values[name] for name in VALUE_COLUMNS),
        )
        if len(wanted) < len(checked.series):
            rows = rows.take(np.flatnonzero(rows.series >= 0))
        if self._spill is not None:
            self._spill.add(rows, self._ranks())
        elif len(rows):
            self._held.append(rows)
            self._held_rows += len(rows)

    @property
    def is_full(self) -> bool:
        """Whether more rows wait in memory than should."""
        return self._spill is None and self._held_rows > ROWS_IN_MEMORY

    def spill(self, spill: "_Spill") -> None:
        """Put what waits, and all that follows, into temporary files."""
        for rows in self._held:
            spill.add(rows, self._ranks())
        self._held = []
        self._spill = spill

    def parts(self) -> Iterator[dict[TokenKey, Candles]]:
        """Yield candles of all tokens that have some, in sorted order, many tokens at a time.

        Of several intervals of a token the finest is taken.

        Raises:
            DataError: two files hold the same candle.
        """
        if self._spill is None:
            held, self._held = self._held, []
            yield self._tokens(held)
            return
        for rows in self._spill.ranges():
            yield self._tokens(rows)

    def _number(self, series: tuple[TokenKey, str]) -> int:
        if series not in self._numbers:
            self._numbers[series] = len(self._series)
            self._series.append(series)
        return self._numbers[series]

    def _ranks(self) -> IntArray:
        """Return the rank of each series' token."""
        return np.array([self._rank[token] for token, _ in self._series], dtype=np.int64)

    def _tokens(self, pieces: Sequence[_Rows]) -> dict[TokenKey, Candles]:
        by_series = _by_series(pieces)
        finest: dict[TokenKey, int] = {}
        for number in by_series:
            token, interval = self._series[number]
            known = finest.get(token)
            if known is None or INTERVAL_SECONDS[interval] < INTERVAL_SECONDS[self._series[known][1]]:
                finest[token] = number
        return {token: self._candles(self._series[finest[token]], by_series[finest[token]]) for token in sorted(finest)}

    def _candles(self, series: tuple[TokenKey, str], pieces: Sequence[_Rows]) -> Candles:
        timestamp, values = pieces[0].timestamp, list(pieces[0].values)
        if len(pieces) > 1:
            timestamp = np.concatenate([p.timestamp for p in pieces])
            values = [np.concatenate(columns) for columns in zip(*(p.values for p in pieces), strict=True)]
        if len(pieces) > 1 and not (timestamp[1:] > timestamp[:-1]).all():
            file = np.repeat([p.file for p in pieces], [len(p) for p in pieces])
            # Stable: rows of one time stay in the order in which they were read.
            order = np.argsort(timestamp, kind="stable")
            timestamp, file = timestamp[order], file[order]
            is_last = np.append(timestamp[1:] != timestamp[:-1], [True])
            self._refuse_two_files(series, timestamp, file, is_last)
            self.repeated_rows += int((~is_last).sum())
            kept = order[is_last]
            timestamp, values = timestamp[is_last], [column[kept] for column in values]
        return Candles(INTERVAL_SECONDS[series[1]], timestamp, *values)

    def _refuse_two_files(self, series: tuple[TokenKey, str], timestamp: IntArray, file: Any, is_last: Any) -> None:
        other = np.flatnonzero(~is_last[:-1] & (file[1:] != file[:-1]))
        if len(other):
            token, interval = series
            first = int(other[0])
            at = datetime.fromtimestamp(int(timestamp[first]), UTC)
            found = " and ".join(str(self._files[k]) for k in sorted((int(file[first]), int(file[first + 1]))))
            raise DataError(
                f"candles of {token.chain}:{token.address} {interval}: {at:%Y-%m-%dT%H:%M:%SZ} occurs twice, in "
                f"{found}; leave one of them out"
            )


def _by_series(pieces: Sequence[_Rows]) -> dict[int, list[_Rows]]:
    """Return the rows of each series, in the order in which they were read."""
    by_series: dict[int, list[_Rows]] = defaultdict(list)
    for piece in pieces:
        cuts = np.flatnonzero(piece.series[1:] != piece.series[:-1]) + 1
        begins = [0, *cuts.tolist()]
        for begin, end in zip(begins, [*begins[1:], len(piece)], strict=True):
            if end > begin:
                by_series[int(piece.series[begin])].append(piece.slice(begin, end))
    return by_series


class _Spill:
    """Rows in temporary files, one for each range of tokens."""

    def __init__(self, folder: Path, range_count: int, token_count: int, cleaning: ExitStack) -> None:
        self._folder = folder
        self._range_of_rank = np.arange(token_count) * range_count // token_count
        self._files: list[IO[bytes] | None] = [None] * range_count
        self._pieces: list[list[tuple[int, int]]] = [[] for _ in range(range_count)]
        self._cleaning = cleaning

    def add(self, rows: _Rows, rank_of_series: IntArray) -> None:
        """Write rows to the files of their tokens.

        Raises:
            InputError: the disk is full, or the folder can't be written.
        """
        # Rows are sorted by token, and ranges follow the order of the tokens: each range is one piece.
        target = self._range_of_rank[rank_of_series[rows.series]]
        cuts = [0, *(np.flatnonzero(target[1:] != target[:-1]) + 1).tolist(), len(rows)]
        try:
            for begin, end in pairwise(cuts):
                if end > begin:
                    self._write(int(target[begin]), rows.slice(begin, end))
        except OSError as error:
            raise InputError(
                f"{self._folder}: can't hold the candles, which are more than fit in memory: "
                f"{error.strerror or error}; they need {_BYTES_PER_ROW} bytes each: free some room, write the outputs "
                "to another disk, or set TMPDIR if there are none"
            ) from error

    def _write(self, number: int, rows: _Rows) -> None:
        file = self._files[number]
        if file is None:
            # Without a name from the start (where the system can): gone even after a kill.
            file = tempfile.TemporaryFile(dir=self._folder)  # noqa: SIM115 - closed by the stack
            self._files[number] = self._cleaning.enter_context(file)
        for column in (rows.series, rows.timestamp, *rows.values):
            file.write(np.ascontiguousarray(column).data)
        self._pieces[number].append((rows.file, len(rows)))

    def ranges(self) -> Iterator[list[_Rows]]:
        """Yield the rows of each range of tokens, and give their room on the disk back."""
        for number, file in enumerate(self._files):
            if file is None:
                continue
            file.seek(0)
            yield [_read(file, source, count) for source, count in self._pieces[number]]
            file.close()


def _read(file: IO[bytes], source: int, count: int) -> _Rows:
    columns: list[Any] = [np.frombuffer(bytearray(file.read(count * kind.itemsize)), dtype=kind) for kind in _ROW_TYPES]
    return _Rows(source, columns[0], columns[1], tuple(columns[2:]))


@contextmanager
def open_candles(
    files: Sequence[Path],
    tokens: Collection[TokenKey],
    *,
    spill_folder: Path | None,
    interval: str | None = None,
    options: CandleReadOptions | None = None,
    are_bad_rows_skipped: bool = False,
    on_progress: ProgressListener = no_progress,
) -> Iterator[FileCandles]:
    """Read and check candle files; yields the candles of the tokens that are asked for.

    Args:
        files: Candle files.
        tokens: Whose candles are kept; at least one.
        spill_folder: Where temporary files go if there is more than fits in memory; the system's folder without it.
        interval: Keep only this interval.
        options: What the files do not say.
        are_bad_rows_skipped: Whether rows that can't be used are left out; else one of them refuses everything.
        on_progress: Told after each file that `candle files` are being read.

    Raises:
        DataError: a file or one of its rows is wrong.
        InputError: there is no room for temporary files, or the files hold no candle.
    """
    folder = spill_folder if spill_folder is not None else Path(tempfile.gettempdir())
    with ExitStack() as cleaning:
        candles = FileCandles(files, tokens, interval)
        for number, path in enumerate(files):
            refused_rows = candles.bad_rows
            for checked in candle_pieces(path, options or CandleReadOptions(), interval):
                candles.note(checked)
                if candles.bad_rows == refused_rows or are_bad_rows_skipped:
                    candles.add(number, checked)
                if candles.is_full:
                    size = sum(file.stat().st_size for file in files)
                    range_count = _range_count(size, len(tokens))
                    candles.spill(_Spill(folder, range_count, len(tokens), cleaning))
            if candles.bad_rows and not are_bad_rows_skipped:
                first, count = candles.first_bad_rows[0], candles.bad_rows
                raise DataError(
                    f"{first.file}:{first.line}: {first.reason} ({count} bad row{'s' if count > 1 else ''} in this "
                    "file; --skip-bad-rows leaves them out)"
                )
            on_progress(number + 1, len(files), "candle files")
        if not candles.good_rows:
            raise InputError(no_candles_text(files))
        yield candles


def candle_pieces(path: Path, options: CandleReadOptions, interval: str | None) -> Iterator[CheckedCandles]:
    """Yield the candles of a file, some rows at a time, of which one interval is wanted.

    Rows that state no interval have that of the steps between them. Where there are too few to tell, they have the
    interval that is wanted.

    Raises:
        DataError: as `iterate_candles`.
    """
    pieces = iterate_candles(path, options=options)
    first = next(pieces)
    if interval is not None and any(_asks_for_interval(row) for row in first.quarantined):
        yield from iterate_candles(path, options=replace(options, interval=interval))
        return
    yield first
    yield from pieces


def _asks_for_interval(row: QuarantinedRow) -> bool:
    return row.field == "interval" and "name it with --interval" in row.reason


def no_candles_text(files: Sequence[Path], interval: str | None = None, others: Sequence[str] = ()) -> str:
    """Return the message that refuses files without any candle of an interval; `others` are there."""
    named = ", ".join(map(str, files[:3])) + (f" and {len(files) - 3} more" if len(files) > 3 else "")
    if others:
        return f"{named}: found no candles of {interval}; there are {', '.join(others)}"
    return f"{named}: found no candles; there is nothing to work on"


def _range_count(file_bytes: int, token_count: int) -> int:
    """Return into how many ranges to cut the tokens.

    A row of a file takes 8 bytes at least, at most some 50 in parquet; too many ranges cost less than too few.
    """
    return min(max(file_bytes // (8 * ROWS_PER_RANGE), 8), MAX_RANGES, token_count)
