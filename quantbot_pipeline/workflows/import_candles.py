"""Candle files in: parse, leave out what is stored already, insert, count.

Rows are stored a bundle at a time (`candle_bundles`): many small files, or a part of a large one. Counts are recorded
before rows are inserted, so that an import that was killed at any moment and is repeated ends with the same counts.
A small file is stored as a whole or not at all; of a large one that breaks in the middle, the rows before are stored
and counted, and its import stays begun.
"""

from collections import Counter
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.errors import DataError, InputError, IntegrityError, QuantbotError
from quantbot_pipeline.ingest.candles.options import CandleReadOptions
from quantbot_pipeline.ingest.candles.token_columns import require_usable_identity
from quantbot_pipeline.ingest.checked_candles import FLAG_DISTORTED_WICK, FLAG_VOLUME_MISSING, CheckedCandles
from quantbot_pipeline.ingest.quarantine import QuarantinedRow
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import BatchClaim, ImportBatch, ImportCompletion, ImportKey, ImportRecord
from quantbot_pipeline.workflows.candle_bundles import Bundle, CandleSource, FileBatch, read_bundles
from quantbot_pipeline.workflows.import_reasons import ReasonCounts
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.settle_candles import (
    CONFLICTS_LISTED,
    SettledBatch,
    conflict_details,
    rows_to_insert,
    settle_batches,
)
from quantbot_pipeline.workflows.token_months import TokenMonth

KIND = "candles"

_QUARANTINED_KEPT = 100
"""Quarantined rows that an outcome holds; all are in the table `quarantine`."""

RefusalListener = Callable[[Path, QuantbotError], None]
"""Called with a file that can't be imported and the reason; may raise it."""


@dataclass(frozen=True, slots=True)
class CandleImportOptions:
    """What a file's columns do not say.

    Attributes:
        chain: Chain of all rows, for files without the column.
        token: Token address of all rows, for files without the column.
        interval: Interval of all rows, for files without the column.
        timezone: IANA zone of naive timestamps.
        wick_limit: From which multiple of the body on a wick is flagged as distorted; None flags none.
        now: The present: rows later than a day after it are refused; None accepts any.

    Raises:
        DataError: the chain is none, or the token can't be an address on it.
    """

    chain: str | None = None
    token: str | None = None
    interval: str | None = None
    timezone: str | None = None
    wick_limit: float | None = None
    now: datetime | None = None

    def __post_init__(self) -> None:
        require_usable_identity(self.chain, self.token)

    @property
    def key(self) -> str:
        """Text that is equal for options that read a file alike; the present is no part of it."""
        key = "|".join(value or "" for value in (self.chain, self.token, self.interval, self.timezone))
        return key if self.wick_limit is None else f"{key}|wick={self.wick_limit!r}"

    @property
    def for_reading(self) -> CandleReadOptions:
        """The same, for the readers."""
        return CandleReadOptions(
            chain=self.chain,
            token=self.token,
            interval=self.interval,
            timezone=self.timezone,
            now=self.now,
            wick_limit=self.wick_limit,
        )


@dataclass(frozen=True, slots=True)
class ImportOutcome:
    """What became of one file.

    Attributes:
        record: The import's counts, those of its first import; `quarantined` holds the first of these rows only. Of a
            file that was refused in its middle: the counts of the rows before.
        is_known: Whether the file was imported before and nothing was done now.
        refusal: Why the rest of the file could not be read; None for a file that was imported.
        path: The file as it was given, whatever name its content was first imported under; None for alerts.
    """

    record: ImportRecord
    is_known: bool
    refusal: str | None = None
    path: Path | None = None


def token_months_of(candles: pa.Table) -> set[TokenMonth]:
    """Return the token-months that rows of CANDLE_SCHEMA touch."""
    month = pc.strftime(pc.cast(candles["timestamp"], pa.timestamp("s", tz="UTC")), format="%Y-%m")
    keys = candles.select(["chain", "token_address"]).append_column("month", month)
    distinct = keys.group_by(["chain", "token_address", "month"]).aggregate([])
    return {TokenMonth(TokenKey(row["chain"], row["token_address"]), row["month"]) for row in distinct.to_pylist()}


def months_of_batch(checked: CheckedCandles) -> set[TokenMonth]:
    """Return the token-months that checked candles touch."""
    months = checked.timestamp.astype("datetime64[s]").astype("datetime64[M]")
    # Rows are sorted by series and time: a new month begins where either changes.
    is_first = np.ones(len(months), dtype=np.bool_)
    is_first[1:] = (np.diff(checked.series_of_row) != 0) | (months[1:] != months[:-1])
    firsts = np.flatnonzero(is_first)
    return {
        TokenMonth(checked.series[series][0], month)
        for series, month in zip(
            checked.series_of_row[firsts].tolist(), months[firsts].astype(str).tolist(), strict=True
        )
    }


def import_candle_files(
    paths: Sequence[Path],
    state: StateStore,
    history: HistoryStore,
    *,
    options: CandleImportOptions | None = None,
    on_progress: ProgressListener = no_progress,
    sources: Sequence[CandleSource] = (),
    on_refused: RefusalListener | None = None,
) -> list[ImportOutcome]:
    """Import candle files, each once; a file that is known already changes nothing.

    Args:
        paths: The files.
        state: Where imports are recorded.
        history: Where candles go.
        options: What the files' columns do not say.
        on_progress: Told how many rows are done, of about how many, and the file.
        sources: What `check_candle_files` kept of some of the files; these are not read twice.
        on_refused: Told of a file that can't be read; the others go on, and a file whose rows could not even be begun
            has no outcome. Without it, the error is raised.

    Returns:
        One outcome per file, in the order of `paths`; files of the same content are one import.

    Raises:
        DataError: a file can't be read at all; files before it are stored, those after it are not.
    """
    run = _CandleImport(state, history, options or CandleImportOptions(), on_progress, on_refused)
    return run.run(paths, {source.path: source for source in sources})


def find_known(
    sources: Iterable[CandleSource], state: StateStore, options: CandleImportOptions
) -> tuple[dict[Path, ImportKey], dict[ImportKey, ImportRecord]]:
    """Return the key of each file's import, and those of these imports that are completed.

    A file's name is no part of its key, so that a renamed copy is the same import; but where its token or interval was
    taken from its name, the same content under another name is another import.
    """
    plain = {source.path: ImportKey(KIND, source.sha256, options.key) for source in sources}
    named = {path: key._replace(options_key=f"{key.options_key}|file={path.name}") for path, key in plain.items()}
    known = state.find_imports({*plain.values(), *named.values()})
    keys = {}
    for path, key in plain.items():
        record = known.get(key)
        # Only such notes name the file's name.
        is_from_name = record is not None and any("file's name" in note for note in record.details.get("notes", ()))
        is_of_other_name = record is not None and is_from_name and record.file != path.name
        keys[path] = named[path] if is_of_other_name else key
    return keys, {key: known[key] for key in keys.values() if key in known}


@dataclass
class _FileState:
    """What is known of a file while its batches come in."""

    path: Path
    key: ImportKey
    inserted: dict[int, BatchClaim] = field(default_factory=dict)
    import_id: int | None = None
    is_known: bool = False
    counts: Counter[str] = field(default_factory=Counter)
    found: Counter[str] = field(default_factory=Counter)
    conflicts: list[dict[str, Any]] = field(default_factory=list)
    token_months: set[TokenMonth] = field(default_factory=set)
    reasons: ReasonCounts = field(default_factory=ReasonCounts)
    notes: list[str] = field(default_factory=list)
    quarantined: list[QuarantinedRow] = field(default_factory=list)

    def add_read(self, checked: CheckedCandles) -> None:
        """Take in what the reader found in a batch."""
        self.token_months |= months_of_batch(checked)
        self.reasons.add(checked.quarantined)
        self.quarantined += checked.quarantined[: _QUARANTINED_KEPT - len(self.quarantined)]
        self.notes += [note for note in checked.notes if note not in self.notes]
        self.found["volume_missing"] += checked.flag_count(FLAG_VOLUME_MISSING)
        self.found["distorted_wicks"] += checked.flag_count(FLAG_DISTORTED_WICK)

    def add_claim(self, claim: BatchClaim) -> None:
        """Take in the counts of a batch that hold."""
        batch = claim.batch
        self.import_id = claim.import_id
        self.counts.update(
            batches=1,
            read=batch.rows_read,
            stored=batch.rows_stored,
            duplicate=batch.rows_duplicate,
            quarantined=batch.rows_quarantined,
            conflicts=batch.details["conflict_count"],
            conflicts_in_file=batch.details["conflicts_in_file"],
        )
        self.conflicts += batch.details["conflicts"][: CONFLICTS_LISTED - len(self.conflicts)]

    @property
    def details(self) -> dict[str, Any]:
        """What is kept with the import beside its counts."""
        return {
            "conflicts_in_file": self.counts["conflicts_in_file"],
            "conflict_count": self.counts["conflicts"],
            "conflicts": self.conflicts,
            "token_months": [[key.token.chain, key.token.address, key.month] for key in sorted(self.token_months)],
            "reasons": self.reasons.largest(),
            "notes": self.notes,
            "volume_missing": self.found["volume_missing"],
            "distorted_wicks": self.found["distorted_wicks"],
        }

    @property
    def record(self) -> ImportRecord:
        """The counts so far."""
        return ImportRecord(
            kind=KIND,
            file=self.path.name,
            sha256=self.key.sha256,
            options_key=self.key.options_key,
            rows_read=self.counts["read"],
            rows_stored=self.counts["stored"],
            rows_duplicate=self.counts["duplicate"],
            rows_quarantined=self.counts["quarantined"],
            details=self.details,
            quarantined=tuple(self.quarantined),
        )


class _CandleImport:
    """One call of `import_candle_files`."""

    def __init__(
        self,
        state: StateStore,
        history: HistoryStore,
        options: CandleImportOptions,
        on_progress: ProgressListener,
        on_refused: RefusalListener | None,
    ) -> None:
        self._state = state
        self._history = history
        self._options = options
        self._on_progress = on_progress
        self._on_refused = on_refused
        self._tokens: set[TokenKey] = set()
        self._rows_done = 0
        self._rows_expected = 0

    def run(self, paths: Sequence[Path], looked_at: dict[Path, CandleSource]) -> list[ImportOutcome]:
        sources = dict(self._sources(paths, looked_at))
        keys, known = find_known(sources.values(), self._state, self._options)
        outcomes = {key: ImportOutcome(record, is_known=True) for key, record in known.items()}
        # Of several files with the same content the first one is read; to the others it is known.
        first_of: dict[ImportKey, Path] = {}
        for path, key in keys.items():
            if key not in known:
                first_of.setdefault(key, path)
        inserted = self._state.load_inserted_batches(first_of)
        files = [_FileState(path, key, inserted.get(key, {})) for key, path in first_of.items()]
        outcomes |= self._import(files, [sources[file.path] for file in files])
        done: set[ImportKey] = set()
        found = []
        for path in paths:
            if path in keys and keys[path] in outcomes:
                outcome = outcomes[keys[path]]
                found.append(replace(outcome, path=path, is_known=outcome.is_known or keys[path] in done))
                done.add(keys[path])
        return found

    def _sources(
        self, paths: Sequence[Path], looked_at: dict[Path, CandleSource]
    ) -> Iterator[tuple[Path, CandleSource]]:
        for path in dict.fromkeys(paths):
            try:
                yield path, looked_at.get(path) or CandleSource(path, self._options.for_reading)
            except InputError as error:
                if self._on_refused is None:
                    raise
                self._on_refused(path, error)

    def _import(self, files: Sequence[_FileState], sources: Sequence[CandleSource]) -> dict[ImportKey, ImportOutcome]:
        self._rows_expected = sum(source.expected_rows() for source in sources)
        outcomes: dict[ImportKey, ImportOutcome] = {}
        with closing(read_bundles(sources)) as bundles:
            for bundle in bundles:
                outcomes |= self._store(bundle, files)
                for position, error in bundle.refused:
                    outcomes |= self._refuse(files[position], error)
        return outcomes

    def _refuse(self, file: _FileState, error: InputError) -> dict[ImportKey, ImportOutcome]:
        if file.counts["batches"]:
            error = DataError(
                f"{error}; its first {file.counts['read']:,} rows could be read and are stored, quarantined or "
                "duplicates, the rest is not imported"
            )
        if self._on_refused is None:
            raise error
        self._on_refused(file.path, error)
        return (
            {file.key: ImportOutcome(file.record, is_known=False, refusal=str(error))} if file.counts["batches"] else {}
        )

    def _store(self, bundle: Bundle, files: Sequence[_FileState]) -> dict[ImportKey, ImportOutcome]:
        """Store one bundle: count, insert, complete what ends in it."""
        if not bundle.batches:
            return {}
        new: list[FileBatch] = []
        for batch in bundle.batches:
            file = files[batch.position]
            file.add_read(batch.checked)
            before = file.inserted.get(batch.number)
            if before is not None and _is_read_alike(before, batch.checked):
                file.add_claim(before)
            else:
                new.append(batch)
        with self._state.exclusive_import():
            claims = self._insert(new, files)
            for batch, claim in zip(new, claims, strict=True):
                file = files[batch.position]
                file.add_claim(claim)
                file.is_known |= claim.is_completed
            ended = [files[batch.position] for batch in bundle.batches if batch.is_last]
            records = self._state.finish_batches(claims, [_completion(file) for file in ended])
        self._tell(bundle, files)
        return {
            file.key: ImportOutcome(
                replace(records[file.key], quarantined=tuple(file.quarantined)), is_known=file.is_known
            )
            for file in ended
        }

    def _insert(self, batches: Sequence[FileBatch], files: Sequence[_FileState]) -> list[BatchClaim]:
        settled = settle_batches([batch.checked for batch in batches], self._history)
        claims = self._state.begin_batches(
            [_counted(batch, files[batch.position], found) for batch, found in zip(batches, settled, strict=True)]
        )
        tokens = {token for batch in batches for token, _ in batch.checked.series}
        if new_tokens := tokens - self._tokens:
            self._state.upsert_tokens(dict.fromkeys(sorted(new_tokens)))
            self._tokens |= new_tokens
        needed = [
            (batch.checked, found.is_needed)
            for batch, found, claim in zip(batches, settled, claims, strict=True)
            if not claim.is_inserted and not claim.is_completed and found.is_needed.any()
        ]
        if needed:
            self._history.insert_candles(rows_to_insert(needed))
        return claims

    def _tell(self, bundle: Bundle, files: Sequence[_FileState]) -> None:
        self._rows_done += sum(batch.checked.rows_read for batch in bundle.batches)
        self._rows_expected = max(self._rows_expected, self._rows_done)
        last = bundle.batches[-1]
        if last.is_last and last.position == len(files) - 1:
            self._rows_expected = self._rows_done
        self._on_progress(self._rows_done, self._rows_expected, files[last.position].path.name)


def _counted(batch: FileBatch, file: _FileState, settled: SettledBatch) -> ImportBatch:
    """Return a batch with the counts that it will have.

    Raises:
        IntegrityError: a row was lost.
    """
    checked = batch.checked
    duplicates = checked.duplicates + checked.conflicts + settled.repeated_count
    counted = settled.new_count + duplicates + len(checked.quarantined)
    if counted != checked.rows_read:
        raise IntegrityError(
            f"{file.path}: {checked.rows_read} rows read, but {counted} stored, duplicate or quarantined"
        )
    in_file = [
        conflict_details((found.token, found.interval, found.timestamp), found.values, found.kept_values)
        | {"line": found.line, "kept_line": found.kept_line}
        for found in checked.conflict_examples[:CONFLICTS_LISTED]
    ]
    return ImportBatch(
        key=file.key,
        file=file.path.name,
        number=batch.number,
        rows_read=checked.rows_read,
        rows_stored=settled.new_count,
        rows_duplicate=duplicates,
        rows_quarantined=len(checked.quarantined),
        details={
            "conflicts_in_file": checked.conflicts,
            "conflict_count": checked.conflicts + settled.conflict_count,
            "conflicts": [*in_file, *settled.conflicts][:CONFLICTS_LISTED],
        },
        quarantined=checked.quarantined,
    )


def _completion(file: _FileState) -> ImportCompletion:
    if file.import_id is None:
        raise IntegrityError(f"{file.path}: ended without a batch; nothing of it was recorded")
    return ImportCompletion(file.import_id, file.key, file.counts["batches"], file.details)


def _is_read_alike(before: BatchClaim, checked: CheckedCandles) -> bool:
    counts = before.batch.rows_read, before.batch.rows_quarantined
    return counts == (checked.rows_read, len(checked.quarantined))
