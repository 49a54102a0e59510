"""The rules of a valid candle, applied to the columns of one file.

Arrays run over the rows of the file in file order; a row index counts from 0. Only rows at fault cost
Python: a file without faults takes a few vector operations.
"""

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.engine.arrow_columns import array_of, filled, text_column
from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, FloatArray, IntArray
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candles.faults import BoolArray, Faults
from quantbot_pipeline.ingest.candles.interval_names import NAME_OF_SECONDS, find_interval
from quantbot_pipeline.ingest.candles.intervals import (
    ROWS_TO_JUDGE,
    derive_intervals,
    find_coarser_interval,
    fits,
)
from quantbot_pipeline.ingest.candles.rows import CandleRows
from quantbot_pipeline.ingest.candles.times import end_second, read_times
from quantbot_pipeline.ingest.numbers import parse_number
from quantbot_pipeline.ingest.quarantine import QuarantinedRow, shown
from quantbot_pipeline.ingest.tokens import (
    EVM_CHAINS,
    TokenKey,
    canonical_chain,
    canonical_token,
    find_chain,
    is_evm_address,
    is_solana_address,
)

__all__ = [
    "CANDLE_SCHEMA",
    "FLAGGED_CANDLE_SCHEMA",
    "FLAG_DISTORTED_WICK",
    "FLAG_VOLUME_MISSING",
    "VALUE_COLUMNS",
    "CandleConflict",
    "CandleRows",
    "CheckRules",
    "CheckedCandles",
    "chain_and_address",
    "check_candles",
    "check_piece",
    "merged",
    "require_usable_identity",
    "unknown_interval",
]

CANDLE_SCHEMA = pa.schema(
    [
        pa.field("chain", pa.string(), nullable=False),
        pa.field("token_address", pa.string(), nullable=False),
        pa.field("interval", pa.string(), nullable=False),
        pa.field("timestamp", pa.int64(), nullable=False),
        pa.field("open", pa.float64(), nullable=False),
        pa.field("high", pa.float64(), nullable=False),
        pa.field("low", pa.float64(), nullable=False),
        pa.field("close", pa.float64(), nullable=False),
        pa.field("volume", pa.float64(), nullable=False),
    ]
)
"""One candle per row; `timestamp` is the open time in seconds since the epoch, UTC."""

FLAGGED_CANDLE_SCHEMA = CANDLE_SCHEMA.append(pa.field("flags", pa.uint8(), nullable=False))
"""The same with what is known of a candle beyond its numbers, as bits of FLAG_*."""

FLAG_VOLUME_MISSING = 1
"""The volume was NaN or empty on an idle bar (open = high = low = close) and became 0."""
FLAG_DISTORTED_WICK = 2
"""The wick is longer than the import's limit allows; the prices are as they came."""

VALUE_COLUMNS = ("open", "high", "low", "close", "volume")
IDENTITY_COLUMNS = ("chain", "token_address", "interval")
OPTION_OF_COLUMN = {"chain": "--chain", "token_address": "--token", "interval": "--interval"}
"""The option of the import that stands in for a missing column."""

MAX_CONFLICT_EXAMPLES = 100
"""Conflicts that are listed, of each piece of a file."""


@dataclass(frozen=True, slots=True)
class CandleConflict:
    """A row that gave way to a later row of the same key with other values.

    Attributes:
        token: Token and
        interval: interval and
        timestamp: open time in seconds of both rows.
        line: Line of the row that gave way, and
        values: its values, in the order of `VALUE_COLUMNS`.
        kept_line: Line of the row that was taken, and
        kept_values: its values.
    """

    token: TokenKey
    interval: str
    timestamp: int
    line: int
    values: tuple[float, ...]
    kept_line: int
    kept_values: tuple[float, ...]


@dataclass(frozen=True)
class CheckedCandles:
    """Good candles and refused rows of one file, or of some neighbouring rows of one.

    `rows_read == len(timestamp) + duplicates + conflicts + len(quarantined)` always holds.

    Attributes:
        series: Token and interval of each series, sorted; also of those without a good row.
        series_of_row: Index of each good candle's series, ascending, int64, shape (n,).
        timestamp: Open times in seconds, increasing within a series, int64, shape (n,).
        values: By name of `VALUE_COLUMNS`, float64, shape (n,).
        repeats: How many good rows of each series gave way to a later row of the same key, int64, shape (n_series,).
        duplicates: Rows among these that say the same as the row that was taken.
        conflicts: Rows among these that say something else.
        quarantined: Rows that can't be used, in file order.
        rows_read: Rows of the file that this is made of.
        flags: What is known of each candle beyond its numbers, bits of FLAG_*, uint8, shape (n,).
        conflict_examples: The first of the conflicts, `MAX_CONFLICT_EXAMPLES` at most.
        notes: What a person should know about how the file was read, such as that chain and token were taken from its
            name; each is told once, with the first rows.
    """

    series: list[tuple[TokenKey, str]]
    series_of_row: IntArray
    timestamp: IntArray
    values: dict[str, FloatArray]
    repeats: IntArray
    duplicates: int
    conflicts: int
    quarantined: tuple[QuarantinedRow, ...]
    rows_read: int
    flags: npt.NDArray[np.uint8]
    conflict_examples: tuple[CandleConflict, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def candles(self) -> pa.Table:
        """The good candles as a table of `FLAGGED_CANDLE_SCHEMA`; made anew at every access."""
        return self.table().append_column(FLAGGED_CANDLE_SCHEMA.field("flags"), pa.array(self.flags, type=pa.uint8()))

    def flag_count(self, flag: int) -> int:
        """Return how many of the good candles have a flag."""
        return int(np.count_nonzero(self.flags & np.uint8(flag)))

    def table(self) -> pa.Table:
        """Return the good candles as a table of `CANDLE_SCHEMA`."""
        texts = {
            "chain": [token.chain for token, _ in self.series],
            "token_address": [token.address for token, _ in self.series],
            "interval": [interval for _, interval in self.series],
        }
        codes = pa.array(self.series_of_row.astype(np.int32))
        arrays = [
            pa.DictionaryArray.from_arrays(codes, pa.array(texts[name], type=pa.string())).cast(pa.string())
            for name in IDENTITY_COLUMNS
        ]
        arrays.append(pa.array(self.timestamp, type=pa.int64()))
        arrays += [pa.array(self.values[name], type=pa.float64()) for name in VALUE_COLUMNS]
        return pa.Table.from_arrays(arrays, schema=CANDLE_SCHEMA)


def unknown_interval(interval: str) -> str:
    """Return the message that refuses an interval name."""
    return f"interval {shown(interval)} is unknown; allowed are {', '.join(INTERVAL_SECONDS)}"


@dataclass(frozen=True, slots=True)
class CheckRules:
    """What the rows of a file are held to.

    Attributes:
        given: Chain, token address and interval that a person told, by column name; None for what was not told.
        hints: What the file's name says of them; it counts where neither a column nor a person says anything.
        zone: Zone of times that state none; None refuses them.
        now: The present; rows later than a day after it are refused. Without it, those from 2100 on.
        wick_limit: See `CandleReadOptions`.
    """

    given: Mapping[str, str | None] = field(default_factory=dict)
    hints: Mapping[str, str | None] = field(default_factory=dict)
    zone: ZoneInfo | None = None
    now: datetime | None = None
    wick_limit: float | None = None

    def told(self, name: str) -> str | None:
        """Return what a person, else the file's name says of an identity column."""
        return self.given.get(name) or self.hints.get(name)


def check_candles(rows: CandleRows, given: Mapping[str, str | None], zone: ZoneInfo | None) -> CheckedCandles:
    """Return the good candles of some rows, once each, and the rows that are refused.

    Args:
        rows: The rows as read; all value columns and `timestamp` are there.
        given: Chain, token address and interval for rows that state none, by column name.
        zone: Zone of times that state none; None refuses them.

    Raises:
        DataError: a column's type can't be read at all, or the file contradicts what is given.
    """
    return check_piece(rows, CheckRules(given=given, zone=zone))[0]


def check_piece(
    rows: CandleRows, rules: CheckRules, *, more_follows: bool = False
) -> tuple[CheckedCandles, CandleRows | None]:
    """Return the good candles of a piece of a file and the rows that are refused, and rows to look at again.

    Args:
        rows: As for `check_candles`.
        rules: What they are held to.
        more_follows: Whether the file goes on: the last rows of each token, whose interval the next rows may
            tell, are then given back instead of being judged.

    Returns:
        The candles, and the rows that belong to the next piece; None if there are none.

    Raises:
        DataError: as for `check_candles`.
    """
    faults = Faults(rows.row_count)
    tokens, token_of_row = _tokens(rows, rules, faults)
    times = read_times(
        (("timestamp", rows.columns["timestamp"]), *rows.other_times), rules.zone, end_second(rules.now), file=rows.file
    )
    faults.add_where(~times.is_known, "timestamp", times.reason_of)
    is_held = np.zeros(rows.row_count, dtype=np.bool_)
    reasons: dict[int, str] = {}
    if "interval" in rows.columns:
        step = _stated_intervals(rows, rules, faults)
    else:
        step, reasons = _derived_intervals(rows, rules, tokens, token_of_row, times.seconds, faults)
        if more_follows:
            is_held = _rows_to_hold(token_of_row, ~faults.is_bad)
    # Detached: the next piece keeps them, and would keep this one and all before it.
    held = rows.take(np.flatnonzero(is_held)).detached() if is_held.any() else None
    values = {name: _float_column(rows, name, faults) for name in VALUE_COLUMNS}
    if "quote_volume" in rows.columns:
        _settle_quote_volumes(values, _float_column(rows, "volume", faults, column_name="quote_volume"))
    flags = _settle_missing_volumes(values, faults)
    _apply_candle_rules(values, faults)
    if "interval" not in rows.columns and rules.given.get("interval") is None:
        _refuse_mixed_intervals(token_of_row, step, times.seconds, values, faults)
    if rules.wick_limit is not None:
        flags |= np.where(_is_distorted(values, rules.wick_limit), FLAG_DISTORTED_WICK, 0).astype(np.uint8)
    for row in reasons:
        faults.add(row, "interval", reasons[row])
    with_step = np.maximum(step, 1)
    faults.add_where(
        ~times.is_whole | (times.seconds % with_step != 0),
        "timestamp",
        lambda row: (
            f"timestamp {_cell(rows, row)} is not on the grid of interval "
            f"{NAME_OF_SECONDS[int(step[row])]} (a multiple of {int(step[row])} seconds)"
        ),
    )
    refused = [found for found in faults.in_order() if not is_held[found[0]]]
    texts = rows.raw_texts_of([row for row, _, _ in refused]) if refused else []
    quarantined = [
        QuarantinedRow(rows.file, rows.line_of(row), name, reason, text)
        for (row, name, reason), text in zip(refused, texts, strict=True)
    ]
    found_series, series_of_row = _series(tokens, token_of_row, step)
    candles = _PlacedCandles(
        np.flatnonzero(~faults.is_bad & ~is_held), series_of_row, found_series, times.seconds, values, flags
    )
    checked = _unique_candles(
        candles, rows.line_of, tuple(sorted((*rows.broken, *quarantined), key=lambda row: row.line))
    )
    return checked, held


def _cell(rows: CandleRows, row: int) -> str:
    return shown(rows.columns["timestamp"][row].as_py())


def _rows_to_hold(token_of_row: IntArray, is_good: BoolArray) -> BoolArray:
    """Return which rows are the last of their token, so many that the rows after them may tell their interval."""
    is_held = np.zeros(len(is_good), dtype=np.bool_)
    good = np.flatnonzero(is_good)
    if not len(good):
        return is_held
    groups = token_of_row[good]
    order = np.argsort(groups, kind="stable")
    ordered = groups[order]
    last_of_group = np.searchsorted(ordered, ordered, side="right")
    is_last = last_of_group - np.arange(len(ordered)) <= ROWS_TO_JUDGE
    # Many tokens of few rows each: holding nearly all of them back would never end.
    if int(is_last.sum()) <= len(is_good) // 2:
        is_held[good[order[is_last]]] = True
    return is_held


def _text_codes(rows: CandleRows, name: str, given: str | None) -> tuple[IntArray, list[str | None]]:
    """Return for every row the index of its text, and the texts; what is told fills empty cells."""
    column = rows.columns.get(name)
    if column is None:
        return np.zeros(rows.row_count, dtype=np.int64), [given]
    try:
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        texts = [_text_or_none(text) or given for text in column.dictionary.cast(pa.string()).to_pylist()]
    except pa.ArrowException as error:
        raise DataError(
            f"{rows.file}: column {name!r} is of type {rows.columns[name].type}; text is allowed"
        ) from error
    indices = filled(column.indices.cast(pa.int64()), len(texts))
    codes: IntArray = array_of(indices)
    return codes, [*texts, given]


def _text_or_none(text: str | None) -> str | None:
    trimmed = "" if text is None else text.strip()
    return trimmed or None


def _tokens(rows: CandleRows, rules: CheckRules, faults: Faults) -> tuple[list[TokenKey], IntArray]:
    """Return the tokens in sorted order, and for every row the index of its token (any index if it has none)."""
    has_chain = "chain" in rows.columns
    chain_codes, chains = _text_codes(rows, "chain", rules.told("chain"))
    token_codes, addresses = _text_codes(rows, "token_address", rules.told("token_address"))
    if rows.has_symbols and rules.given.get("token_address") is not None:
        token_codes, addresses = np.zeros(rows.row_count, dtype=np.int64), [rules.given["token_address"]]
    spellings, spelling_of_row = _distinct(chain_codes * len(addresses) + token_codes)
    keys: list[TokenKey | None] = []
    refused: list[tuple[str, str] | None] = []
    for spelling in spellings:
        chain_code, token_code = divmod(int(spelling), len(addresses))
        is_chain_stated = has_chain or rules.given.get("chain") is not None
        key, fault = _token_key(
            chains[chain_code],
            addresses[token_code],
            is_chain_stated=is_chain_stated,
            is_symbol=rows.has_symbols,
        )
        if key is not None:
            _refuse_contradiction(rows.file, key, rules.given)
        keys.append(key)
        refused.append(fault)
    if any(refused):
        for row in np.flatnonzero(np.array([fault is not None for fault in refused])[spelling_of_row]):
            fault = refused[int(spelling_of_row[row])]
            if fault is not None:
                faults.add(int(row), *fault)
    tokens = sorted({key for key in keys if key is not None})
    rank = {key: position for position, key in enumerate(tokens)}
    rank_of_spelling = np.array([0 if key is None else rank[key] for key in keys], dtype=np.int64)
    if not len(spellings):
        return tokens, np.zeros(0, dtype=np.int64)
    return tokens, rank_of_spelling[spelling_of_row]


def _distinct(codes: IntArray) -> tuple[IntArray, IntArray]:
    """Return the distinct codes and for every row the position of its code; quick when there is but one."""
    if len(codes) and (codes == codes[0]).all():
        return codes[:1], np.zeros(len(codes), dtype=np.int64)
    distinct, positions = np.unique(codes, return_inverse=True)
    return distinct, positions.astype(np.int64)


def chain_and_address(text: str) -> tuple[str, str] | None:
    """Return chain and address of a text such as `solana_<address>`; None if it is not of that form."""
    prefix, separator, address = text.rpartition("_")
    chain = find_chain(prefix) if separator else None
    if chain is None:
        return None
    is_address = is_solana_address(address) if chain == "solana" else is_evm_address(address)
    return (chain, address) if is_address else None


def _token_key(
    chain: str | None, address: str | None, *, is_chain_stated: bool, is_symbol: bool
) -> tuple[TokenKey | None, tuple[str, str] | None]:
    """Return the token that the texts name, or the field at fault and the reason."""
    pair = chain_and_address(address) if address is not None else None
    if pair is not None and not is_chain_stated:
        return canonical_token(*pair), None
    if chain is None:
        return None, ("chain", "chain is empty")
    if address is None:
        return None, ("token_address", "token_address is empty")
    try:
        name = canonical_chain(chain)
    except DataError as error:
        return None, ("chain", str(error))
    if pair is not None and (name in EVM_CHAINS or name == "solana"):
        if canonical_chain(pair[0]) != name:
            return None, ("token_address", f"token_address {shown(address)} is on {pair[0]}, but chain says {name}")
        address = pair[1]
    elif is_symbol and name != "solana" and name not in EVM_CHAINS:
        # Exchanges write BTC/USDT or BTC/USDT:USDT; the pair's name here has underscores.
        address = address.replace("/", "_").replace(":", "_")
    try:
        return canonical_token(name, address), None
    except DataError as error:
        return None, ("token_address", str(error))


def require_usable_identity(chain: str | None, token: str | None) -> None:
    """Refuse options that would refuse every row.

    Args:
        chain: Chain of all rows, as a person wrote it; None if none was given.
        token: Token address of all rows, likewise.

    Raises:
        DataError: there is no such chain, or the address can't be one of that chain.
    """
    if chain is None:
        return
    if token is None:
        canonical_chain(chain)
        return
    _, fault = _token_key(chain, token, is_chain_stated=True, is_symbol=True)
    if fault is not None:
        field, reason = fault
        raise DataError(f"{OPTION_OF_COLUMN[field]}: {reason}")


def _refuse_contradiction(file: str, token: TokenKey, given: Mapping[str, str | None]) -> None:
    """Refuse a file whose own columns say something else than the options of the import."""
    asked = canonical_token(given.get("chain") or token.chain, given.get("token_address") or token.address)
    for name, found, wanted in (
        ("chain", token.chain, asked.chain),
        ("token_address", token.address, asked.address),
    ):
        if found != wanted:
            raise DataError(
                f"{file}: column {name!r} says {found!r}, but {OPTION_OF_COLUMN[name]} says "
                f"{wanted!r}; leave {OPTION_OF_COLUMN[name]} out for files that have the column"
            )


def _stated_intervals(rows: CandleRows, rules: CheckRules, faults: Faults) -> IntArray:
    """Return the interval of every row in seconds as its column says, 0 where it says none that is allowed."""
    given = rules.given.get("interval")
    codes, texts = _text_codes(rows, "interval", rules.told("interval"))
    seconds = []
    reasons: dict[int, str] = {}
    used = set(np.unique(codes).tolist())
    for code, text in enumerate(texts):
        name = find_interval(text) if text is not None else None
        if code in used and name is None:
            reasons[code] = "interval is empty" if text is None else unknown_interval(text)
        elif code in used and given is not None and name != given:
            raise DataError(
                f"{rows.file}: column 'interval' says {name!r}, but --interval says {given!r}; "
                "leave --interval out for files that have the column"
            )
        seconds.append(0 if name is None else INTERVAL_SECONDS[name])
    if reasons:
        is_refused = np.isin(codes, list(reasons))
        faults.add_where(is_refused, "interval", lambda row: reasons[int(codes[row])])
    by_code: IntArray = np.array(seconds, dtype=np.int64)
    return by_code[codes]


def _derived_intervals(
    rows: CandleRows,
    rules: CheckRules,
    tokens: list[TokenKey],
    token_of_row: IntArray,
    seconds: IntArray,
    faults: Faults,
) -> tuple[IntArray, dict[int, str]]:
    """Return the interval of every row in seconds as the steps between rows tell, and why a row has none.

    Raises:
        DataError: not one row can have the interval that a person told.
    """
    given, hint = rules.given.get("interval"), rules.hints.get("interval")
    told = INTERVAL_SECONDS[given] if given is not None else INTERVAL_SECONDS[hint] if hint is not None else 0
    intervals = np.full(rows.row_count, told, dtype=np.int64)
    reasons: dict[int, str] = {}
    good = np.flatnonzero(~faults.is_bad)
    order = good[np.argsort(token_of_row[good], kind="stable")] if len(tokens) > 1 else good
    cuts = np.flatnonzero(np.diff(token_of_row[order])) + 1 if len(tokens) > 1 else np.zeros(0, dtype=np.int64)
    agreeing = len(good) == 0
    for members in np.split(order, cuts):
        derived = derive_intervals(seconds[members])
        present = np.unique(derived).tolist()
        for interval in present:
            mine = members[derived == interval]
            if not told:
                intervals[mine] = interval
            elif fits(told, interval, len(mine) - 1):
                agreeing = True
            elif given is None:
                # Names lie; the steps do not.
                intervals[mine] = interval
            else:
                reason = (
                    f"the rows here are {NAME_OF_SECONDS[interval]} candles, told from the steps between them, but "
                    f"--interval says {given}; leave --interval out"
                )
                reasons |= dict.fromkeys(mine.tolist(), reason)
        if not told and 0 in present:
            reason = (
                "the interval of this row can't be told from the steps between the rows (too few of them, or they fit "
                "several intervals); name it with --interval"
            )
            reasons |= dict.fromkeys(members[derived == 0].tolist(), reason)
    if given is not None and reasons and not agreeing:
        raise DataError(f"{rows.file}: {next(iter(reasons.values()))}")
    return intervals, reasons


def _refuse_mixed_intervals(
    token_of_row: IntArray, step: IntArray, seconds: IntArray, values: dict[str, FloatArray], faults: Faults
) -> None:
    """Refuse rows that open at once and disagree, where the disagreement looks like a second, coarser interval.

    The last of them would replace the others as conflicts, although one is a 1m candle and the other a 5m candle.
    """
    good = np.flatnonzero(~faults.is_bad & (step > 0))
    is_next_token = np.diff(token_of_row[good]) > 0
    if bool((is_next_token | ((np.diff(token_of_row[good]) == 0) & (np.diff(seconds[good]) > 0))).all()):
        return
    order = good[np.lexsort((seconds[good], step[good], token_of_row[good]))]
    is_same_series = (np.diff(token_of_row[order]) == 0) & (np.diff(step[order]) == 0)
    is_repeat = is_same_series & (np.diff(seconds[order]) == 0)
    if not is_repeat.any():
        return
    is_differing = np.zeros(len(is_repeat), dtype=np.bool_)
    for numbers in values.values():
        is_differing |= np.diff(numbers[order]) != 0
    # Of keys, not of rows: a key is where a run of repeats begins.
    is_first = np.concatenate([[True], ~is_repeat])
    key_of_place = np.cumsum(is_first) - 1
    keys = order[is_first]
    repeated = np.zeros(len(keys), dtype=np.bool_)
    differing = np.zeros(len(keys), dtype=np.bool_)
    repeated[key_of_place[1:][is_repeat]] = True
    differing[key_of_place[1:][is_repeat & is_differing]] = True
    is_mixed = np.zeros(len(keys), dtype=np.bool_)
    coarser_of: dict[int, int] = {}
    cuts = np.flatnonzero((np.diff(token_of_row[keys]) != 0) | (np.diff(step[keys]) != 0)) + 1
    for members in np.split(np.arange(len(keys)), cuts):
        finer = int(step[keys[members[0]]])
        coarser = find_coarser_interval(seconds[keys[members]], finer, repeated[members], differing[members])
        if coarser is not None:
            found = members[differing[members]]
            is_mixed[found] = True
            coarser_of |= dict.fromkeys(found.tolist(), coarser)
    for place in np.flatnonzero(is_mixed[key_of_place]).tolist():
        row, coarser = int(order[place]), coarser_of[int(key_of_place[place])]
        faults.add(
            row,
            "interval",
            f"the interval of this row can't be told: rows of one time disagree, all on the grid of "
            f"{NAME_OF_SECONDS[coarser]}, so {NAME_OF_SECONDS[int(step[row])]} and {NAME_OF_SECONDS[coarser]} candles "
            "seem to be mixed; say which is which with an interval column, or in a file for each with --interval",
        )


def _series(
    tokens: list[TokenKey], token_of_row: IntArray, step: IntArray
) -> tuple[list[tuple[TokenKey, str]], IntArray]:
    """Return the (token, interval) of rows in sorted order, and for every row the index of its own (or any)."""
    lengths = np.array([0, *sorted(INTERVAL_SECONDS.values())], dtype=np.int64)
    spellings, spelling_of_row = _distinct(token_of_row * len(lengths) + np.searchsorted(lengths, step))
    keys: list[tuple[TokenKey, str] | None] = []
    for spelling in spellings.tolist():
        token, length = divmod(spelling, len(lengths))
        keys.append((tokens[token], NAME_OF_SECONDS[int(lengths[length])]) if tokens and length else None)
    series = sorted({key for key in keys if key is not None})
    rank = {key: position for position, key in enumerate(series)}
    ranks = np.array([0 if key is None else rank[key] for key in keys], dtype=np.int64)
    return series, ranks[spelling_of_row] if len(spellings) else np.zeros(0, dtype=np.int64)


def _float_column(rows: CandleRows, name: str, faults: Faults, *, column_name: str | None = None) -> FloatArray:
    """Return a column of numbers; where there is none, a fault is noted, save for a volume, which is NaN then."""
    column = rows.columns[column_name or name]
    if pa.types.is_dictionary(column.type):
        column = column.cast(column.type.value_type)
    if pa.types.is_null(column.type):
        column = column.cast(pa.float64())
    blank = math.nan if name == "volume" else 1.0
    if column.null_count and name != "volume":
        faults.add_where(column.is_null().to_numpy(zero_copy_only=False), name, lambda _row: f"{name} is missing")
    kind = column.type
    if pa.types.is_string(kind) or pa.types.is_large_string(kind):
        return _floats_of_texts(filled(column, "nan" if name == "volume" else "1"), name, faults)
    if not (pa.types.is_integer(kind) or pa.types.is_floating(kind) or pa.types.is_decimal(kind)):
        raise DataError(f"{rows.file}: column {name!r} is of type {kind}; numbers or text are allowed")
    numbers: FloatArray = array_of(filled(column.cast(pa.float64(), safe=False), blank))
    return numbers


_NUMBER = r"^[+-]?([0-9]+(\.[0-9]*)?|\.[0-9]+)([eE][+-]?[0-9]+)?$"
_NO_VOLUME = text_column(["", "nan", "null", "none", "na", "n/a"])


def _floats_of_texts(column: pa.Array, name: str, faults: Faults) -> FloatArray:
    trimmed = pc.utf8_trim_whitespace(column)
    try:
        numbers: FloatArray = array_of(trimmed.cast(pa.float64()))
    except pa.ArrowInvalid:
        pass
    else:
        return numbers
    parsed = np.ones(len(trimmed), dtype=np.float64)
    if name == "volume":
        is_missing = pc.is_in(pc.utf8_lower(trimmed), value_set=_NO_VOLUME.cast(trimmed.type))
        parsed[is_missing.to_numpy(zero_copy_only=False)] = math.nan
        is_number = pc.and_not(pc.match_substring_regex(trimmed, _NUMBER), is_missing)
        others = pc.and_not(pc.invert(is_number), is_missing)
    else:
        is_number = pc.match_substring_regex(trimmed, _NUMBER)
        others = pc.invert(is_number)
    numeric = np.flatnonzero(is_number.to_numpy(zero_copy_only=False))
    try:
        parsed[numeric] = array_of(trimmed.take(pa.array(numeric, type=pa.int64())).cast(pa.float64()))
        odd = np.flatnonzero(others.to_numpy(zero_copy_only=False))
    except pa.ArrowInvalid:
        # Forms that Arrow does not read, such as +1.
        odd = np.flatnonzero(~np.isnan(parsed))
    for row in odd.tolist():
        text = trimmed[row].as_py()
        if not text:
            faults.add(row, name, f"{name} is empty")
            continue
        try:
            parsed[row] = parse_number(text, name)
        except DataError as error:
            faults.add(row, name, str(error))
    return parsed


def _settle_quote_volumes(values: dict[str, FloatArray], quote_volumes: FloatArray) -> None:
    """Fill volumes that rows say in what the price is in: that amount, divided by the close, is the token's volume."""
    closes = values["close"]
    # A row without a usable close is refused for it; its volume stays as it came.
    divisors = np.where(closes > 0, closes, 1.0)
    with np.errstate(invalid="ignore", over="ignore"):
        base_volumes = quote_volumes / divisors
    values["volume"] = np.where(np.isnan(values["volume"]), base_volumes, values["volume"])


def _settle_missing_volumes(values: dict[str, FloatArray], faults: Faults) -> npt.NDArray[np.uint8]:
    """Make missing volumes of idle bars 0, refuse those of bars that moved, and return the flags."""
    flags = np.zeros(len(faults.is_bad), dtype=np.uint8)
    is_missing = np.isnan(values["volume"])
    if not is_missing.any():
        return flags
    opens, highs, lows, closes = (values[name] for name in VALUE_COLUMNS[:4])
    is_idle = (opens == highs) & (highs == lows) & (lows == closes)
    values["volume"] = np.where(is_missing & is_idle, 0.0, values["volume"])
    flags[is_missing & is_idle] = FLAG_VOLUME_MISSING
    return flags


def _is_distorted(values: dict[str, FloatArray], limit: float) -> BoolArray:
    opens, highs, lows, closes = (values[name] for name in VALUE_COLUMNS[:4])
    with np.errstate(invalid="ignore", over="ignore"):
        found: BoolArray = (highs > limit * np.maximum(opens, closes)) | (lows < np.minimum(opens, closes) / limit)
    return found


def _apply_candle_rules(values: dict[str, FloatArray], faults: Faults) -> None:
    """Note every row that is no valid candle: the rules of the engine's contract, in its order."""
    opens, highs, lows, closes, volumes = (values[name] for name in VALUE_COLUMNS)

    def candle(row: int) -> str:
        return ", ".join(f"{name} {values[name][row]!s}" for name in VALUE_COLUMNS)

    for name in VALUE_COLUMNS:
        for row in np.flatnonzero(~np.isfinite(values[name])):
            faults.add(int(row), name, _not_finite(name, float(values[name][row])))
    # Comparisons with NaN are false, so these rules also catch what was named above; the first reason stays.
    rules: tuple[tuple[str, str, BoolArray], ...] = (
        ("low", "0 < low", lows > 0),
        ("low", "low <= min(open, close)", lows <= np.minimum(opens, closes)),
        ("high", "max(open, close) <= high", np.maximum(opens, closes) <= highs),
        ("volume", "volume >= 0", volumes >= 0),
    )
    for column, rule, holds in rules:
        for row in np.flatnonzero(~holds & ~faults.is_bad):
            faults.add(int(row), column, f"the rule {rule} is broken: {candle(int(row))}")


def _not_finite(name: str, value: float) -> str:
    if name == "volume" and math.isnan(value):
        return (
            "volume is missing on a bar that moved: it must be finite, found nan; only where open = high = low = close "
            "a missing one counts as 0"
        )
    return f"{name} must be finite, found {value!s}"


@dataclass(frozen=True)
class _PlacedCandles:
    """Good rows of a piece: which they are, and for every row of the piece its series, time, values and flags."""

    usable: IntArray
    series_of_row: IntArray
    series: list[tuple[TokenKey, str]]
    seconds: IntArray
    values: dict[str, FloatArray]
    flags: npt.NDArray[np.uint8]


def _unique_candles(
    candles: _PlacedCandles, line_of: Callable[[int], int], quarantined: tuple[QuarantinedRow, ...]
) -> CheckedCandles:
    """Return the usable candles, one per key and sorted; of several rows of a key the last one is taken."""
    usable = candles.usable
    group = candles.series_of_row[usable]
    timestamp = candles.seconds[usable]
    is_sorted = bool(((group[1:] > group[:-1]) | ((group[1:] == group[:-1]) & (timestamp[1:] > timestamp[:-1]))).all())
    duplicates = conflicts = 0
    repeats = np.zeros(len(candles.series), dtype=np.int64)
    examples: tuple[CandleConflict, ...] = ()
    kept = usable
    if not is_sorted:
        # Stable, so that rows of one key stay in file order and the last of them is the newest.
        order = np.lexsort((timestamp, group))
        group, timestamp, ordered = group[order], timestamp[order], usable[order]
        is_last = np.ones(len(ordered), dtype=np.bool_)
        is_last[:-1] = (group[1:] != group[:-1]) | (timestamp[1:] != timestamp[:-1])
        kept = ordered
        if not is_last.all():
            last_positions = np.flatnonzero(is_last)
            run: IntArray = np.cumsum(is_last) - is_last
            winner = ordered[last_positions[run]]
            is_equal = np.ones(len(ordered), dtype=np.bool_)
            for numbers in candles.values.values():
                is_equal &= numbers[ordered] == numbers[winner]
            duplicates = int((~is_last & is_equal).sum())
            conflicts = int((~is_last & ~is_equal).sum())
            listed = np.flatnonzero(~is_last & ~is_equal)[:MAX_CONFLICT_EXAMPLES]
            examples = tuple(
                _conflict(candles, line_of, int(ordered[place]), int(winner[place]), int(group[place]))
                for place in listed
            )
            repeats = np.bincount(group[~is_last], minlength=len(candles.series)).astype(np.int64)
            kept, group, timestamp = ordered[is_last], group[is_last], timestamp[is_last]
    is_whole_file = len(kept) == len(candles.seconds) and is_sorted
    return CheckedCandles(
        series=candles.series,
        series_of_row=group,
        timestamp=timestamp,
        values={name: numbers if is_whole_file else numbers[kept] for name, numbers in candles.values.items()},
        repeats=repeats,
        duplicates=duplicates,
        conflicts=conflicts,
        quarantined=quarantined,
        rows_read=len(kept) + duplicates + conflicts + len(quarantined),
        flags=candles.flags[kept],
        conflict_examples=examples,
    )


def merged(pieces: Sequence[CheckedCandles]) -> CheckedCandles:
    """Return the pieces of one file, in its order, as one; at least one piece.

    Candles that come again in a later piece give way to it, as duplicates or conflicts.
    """
    if len(pieces) == 1:
        return pieces[0]
    series = sorted({key for piece in pieces for key in piece.series})
    rank = {key: position for position, key in enumerate(series)}
    ranks = [np.array([rank[key] for key in piece.series], dtype=np.int64) for piece in pieces]
    groups = [
        own[piece.series_of_row] if len(own) else piece.series_of_row for own, piece in zip(ranks, pieces, strict=True)
    ]
    seconds = np.concatenate([piece.timestamp for piece in pieces])
    candles = _PlacedCandles(
        np.arange(len(seconds)),
        np.concatenate(groups),
        series,
        seconds,
        {name: np.concatenate([piece.values[name] for piece in pieces]) for name in VALUE_COLUMNS},
        np.concatenate([piece.flags for piece in pieces]),
    )
    quarantined = tuple(sorted((row for piece in pieces for row in piece.quarantined), key=lambda row: row.line))
    # Lines of candles are not kept; a conflict between pieces is listed with line 0.
    whole = _unique_candles(candles, lambda _row: 0, quarantined)
    repeats = whole.repeats
    for own, piece in zip(ranks, pieces, strict=True):
        np.add.at(repeats, own, piece.repeats)
    examples = (*(example for piece in pieces for example in piece.conflict_examples), *whole.conflict_examples)
    return replace(
        whole,
        repeats=repeats,
        duplicates=whole.duplicates + sum(piece.duplicates for piece in pieces),
        conflicts=whole.conflicts + sum(piece.conflicts for piece in pieces),
        rows_read=sum(piece.rows_read for piece in pieces),
        conflict_examples=examples[:MAX_CONFLICT_EXAMPLES],
        notes=tuple(note for piece in pieces for note in piece.notes),
    )


def _conflict(
    candles: _PlacedCandles, line_of: Callable[[int], int], row: int, kept: int, series: int
) -> CandleConflict:
    token, interval = candles.series[series]

    def values_of(place: int) -> tuple[float, ...]:
        return tuple(float(candles.values[name][place]) for name in VALUE_COLUMNS)

    return CandleConflict(
        token,
        interval,
        int(candles.seconds[row]),
        line_of(row),
        values_of(row),
        line_of(kept),
        values_of(kept),
    )
