"""Candle files of any kind and size in, checked candles out, some rows at a time, in bounded memory.

What is repeated within one file is told apart within a piece only, so whoever takes the pieces settles what is repeated
across them: of several rows of one key the last one counts.
"""

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candle_checks import check_piece
from quantbot_pipeline.ingest.candles.arrow_tables import read_feather_rows, read_parquet_rows
from quantbot_pipeline.ingest.candles.check_rules import CheckRules
from quantbot_pipeline.ingest.candles.columns import QUOTE_VOLUME_NAMES, folded, require_candle_columns
from quantbot_pipeline.ingest.candles.csv_tables import read_csv_rows
from quantbot_pipeline.ingest.candles.file_names import NameHints, read_file_name
from quantbot_pipeline.ingest.candles.interval_columns import unknown_interval
from quantbot_pipeline.ingest.candles.json_tables import read_json_line_rows, read_json_rows
from quantbot_pipeline.ingest.candles.options import CandleReadOptions
from quantbot_pipeline.ingest.candles.rows import CandleRows, joined
from quantbot_pipeline.ingest.candles.token_columns import OPTION_OF_COLUMN, chain_and_address
from quantbot_pipeline.ingest.checked_candles import VALUE_COLUMNS, CheckedCandles
from quantbot_pipeline.ingest.quarantine import shown
from quantbot_pipeline.ingest.source_files import kind_of_source
from quantbot_pipeline.ingest.timestamps import zone_named

CANDLE_FILE_KINDS = (".parquet", ".feather", ".csv", ".json", ".jsonl", ".ndjson")
"""Suffixes of candle files; text also with `.gz`."""

ROWS_PER_BATCH = 2**19
"""Rows of parquet that are looked at together: 60 MB while they are checked."""

BYTES_PER_BATCH = 32 * 2**20
"""Bytes of text that are looked at together; a file of no more is one batch."""

ROWS_PER_WINDOW = 2**19
"""Rows that are looked at together where steps between rows must tell the interval."""


MAX_WAITING_BROKEN = 20_000
"""Rows that can't be split which wait with the others of their window."""


def iterate_candles(path: Path, *, options: CandleReadOptions | None = None) -> Iterator[CheckedCandles]:
    """Yield the candles of a file, some rows at a time.

    Args:
        path: One of `CANDLE_FILE_KINDS`, text also with `.gz`.
        options: What the file does not say.

    Yields:
        The candles of some neighbouring rows, sorted by series and time, in file order of the pieces; at least one
        piece. Rows that can't be used are in `quarantined`, with their place in the file. The rows that were read are
        those of all pieces together, exactly once each.

    Raises:
        DataError: the file can't be read or is refused whole, also after pieces of it were yielded; a column is
            missing and neither an option nor the file's name stands in for it; an option is not usable or contradicts
            the file; or a typed column has times without a zone and `options.timezone` is not given.
    """
    options = options or CandleReadOptions()
    zone = zone_named(options.timezone) if options.timezone is not None else None
    if options.interval is not None and options.interval not in INTERVAL_SECONDS:
        raise DataError(unknown_interval(options.interval))
    if options.wick_limit is not None and not options.wick_limit > 1:
        raise DataError(f"wick limit {options.wick_limit} is no limit; allowed are numbers above 1")
    if options.now is not None and options.now.tzinfo is None:
        raise DataError(f"the present {options.now.isoformat()} states no zone")
    kind = kind_of_source(path, allowed=CANDLE_FILE_KINDS)
    hints = read_file_name(path)
    rules = CheckRules(
        given={"chain": options.chain, "token_address": options.token, "interval": options.interval},
        hints={},
        zone=zone,
        now=options.now,
        wick_limit=options.wick_limit,
    )
    notes: tuple[str, ...] | None = None
    held: CandleRows | None = None
    is_quote_volume_told = False
    for window, more_follows in _windows(_rows(path, kind)):
        if notes is None:
            require_candle_columns(window.found_names, list(window.columns), file=window.file)
        if not window.row_count:
            # Nothing but rows that can't be split, or an empty file.
            yield check_piece(_completed(window), rules)[0]
            continue
        if notes is None:
            rules, notes = _with_hints(rules, hints, window)
        if "quote_volume" in window.columns and not is_quote_volume_told:
            is_quote_volume_told = True
            notes = (*notes, _quote_volume_note(window))
        rows = _completed(window if held is None else joined([held, window]))
        checked, held = check_piece(rows, rules, more_follows=more_follows)
        yield replace(checked, notes=notes)
        notes = ()
    if held is not None:
        yield check_piece(held, rules)[0]


def _quote_volume_note(rows: CandleRows) -> str:
    names = {folded(name): name for name in rows.found_names}
    name = next((names[known] for known in QUOTE_VOLUME_NAMES if known in names), None)
    if name is None or "usd" in folded(name):
        return "volume is in USD: divided by the close"
    return f"volume is in the quote currency (column {shown(name)}): divided by the close"


def _completed(rows: CandleRows) -> CandleRows:
    """Return rows with all columns that a candle needs; of JSON, a later piece may lack one."""
    missing = [name for name in ("timestamp", *VALUE_COLUMNS) if name not in rows.columns]
    if not missing:
        return rows
    return replace(rows, columns=rows.columns | {name: pa.nulls(rows.row_count, pa.string()) for name in missing})


def _rows(path: Path, kind: str) -> Iterator[CandleRows]:
    if kind == ".parquet":
        return read_parquet_rows(path, ROWS_PER_BATCH)
    if kind == ".feather":
        return read_feather_rows(path, ROWS_PER_BATCH)
    if kind == ".csv":
        return read_csv_rows(path, BYTES_PER_BATCH)
    if kind == ".json":
        return read_json_rows(path, BYTES_PER_BATCH)
    return read_json_line_rows(path, BYTES_PER_BATCH)


def _windows(pieces: Iterator[CandleRows]) -> Iterator[tuple[CandleRows, bool]]:
    """Yield rows that are judged together, and whether more of the file follows.

    Rows that state their interval are judged as they come. Others wait until there are enough of them: windows are cut
    at the same rows however the file came in pieces.
    """
    waiting: list[CandleRows] = []
    count = broken_count = 0
    for piece in pieces:
        if "interval" in piece.columns and not waiting:
            yield piece, False
            continue
        rest = piece
        while count + rest.row_count >= ROWS_PER_WINDOW:
            cut = ROWS_PER_WINDOW - count
            yield joined([*waiting, replace(rest.take(np.arange(cut)), broken=rest.broken)]), True
            rest = rest.take(np.arange(cut, rest.row_count))
            waiting, count, broken_count = [], 0, 0
        if rest.row_count or rest.broken or rest is piece:
            waiting.append(rest)
            count += rest.row_count
            broken_count += len(rest.broken)
        if broken_count > MAX_WAITING_BROKEN:
            # Rows that can't be split have no interval to wait for.
            together = joined(waiting)
            yield replace(together.take(np.arange(0)), broken=together.broken), True
            waiting, broken_count = [replace(piece, broken=()) for piece in waiting if piece.row_count], 0
    if waiting:
        yield joined(waiting), False


def _with_hints(rules: CheckRules, hints: NameHints, rows: CandleRows) -> tuple[CheckRules, tuple[str, ...]]:
    """Return the rules with what the file's name says where nothing else does, and what to tell of it.

    Raises:
        DataError: chain or token are said nowhere.
    """
    says = {"chain": hints.chain, "token_address": hints.token, "interval": hints.interval}
    used = {
        name: value
        for name, value in says.items()
        if value is not None and name not in rows.columns and rules.given.get(name) is None
    }
    if "chain" in used and "token_address" not in used and hints.token is not None:
        # A chain from the name belongs to the token of the name; columns and options name another token.
        used.pop("chain") if _names_its_chain(rows) else None
    notes = []
    if used:
        words = {"chain": "chain", "token_address": "token", "interval": "interval"}
        named = [words[name] for name in used]
        listed = " and ".join([", ".join(named[:-1]), named[-1]] if len(named) > 1 else named)
        values = ", ".join(shown(value) for value in used.values())
        notes.append(f"{listed} taken from the file's name: {values}")
    if hints.interval_text is not None and hints.interval is None and "interval" not in rows.columns:
        notes.append(
            f"the interval {hints.interval_text!r} of the file's name is none that is allowed; the steps between the "
            "rows tell it"
        )
    rules = replace(rules, hints=used)
    for name in ("chain", "token_address"):
        if name in rows.columns or rules.told(name) is not None or (name == "chain" and _names_its_chain(rows)):
            continue
        shortened = (
            f"; the file's name shortens the address to {hints.shortened!r}, which can't be used"
            if name == "token_address" and hints.shortened is not None
            else ""
        )
        raise DataError(
            f"{rows.file}: column {name!r} is missing (found are "
            f"{', '.join(map(shown, rows.found_names[:20]))}){shortened}; name it for the whole file with "
            f"{OPTION_OF_COLUMN[name]}"
        )
    return rules, tuple(notes)


def _names_its_chain(rows: CandleRows) -> bool:
    """Return whether tokens are written with their chain, such as `solana_<address>`."""
    column = rows.columns.get("token_address")
    if column is None:
        return False
    first = next((str(text) for text in column.slice(0, 1000).to_pylist() if text), "")
    return chain_and_address(first.strip()[:100]) is not None
