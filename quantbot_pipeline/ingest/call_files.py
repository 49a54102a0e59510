"""Call files: what `quantbot simulate` reads beside candles. A file with a bad row is refused whole."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from math import ceil, nan
from pathlib import Path

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.numbers import parse_number
from quantbot_pipeline.ingest.quarantine import shown
from quantbot_pipeline.ingest.source_files import (
    column_positions,
    csv_records,
    has_undecodable_bytes,
    read_header,
    read_source_file,
    text_lines,
)
from quantbot_pipeline.ingest.timestamps import parse_instant, zone_named
from quantbot_pipeline.ingest.tokens import TokenKey, canonical_token

_REQUIRED = ("call_id", "token_address", "chain", "signal_timestamp")
_OPTIONAL = ("side", "signal_type", "caller")

SCORE_COLUMN = "score:"
"""What the columns of scores begin with, before the name of the model."""


@dataclass(frozen=True, slots=True)
class FileCall:
    """One call of a call file.

    Attributes:
        line: Line at which it starts.
        call_id: Its id as written; unique in the file.
        token: The token.
        signal_timestamp: When it was made, seconds since the epoch, UTC, fractions rounded up.
        side: Direction; buy when the column is absent or empty.
        signal_type: What it asks for; entry when absent or empty (exit for a sell).
        caller: Who made it; empty when unknown.
        scores: What models say of it, by name; one per column `score:NAME` of the file, NaN where the cell is empty.
    """

    line: int
    call_id: str
    token: TokenKey
    signal_timestamp: int
    side: Side
    signal_type: SignalType
    caller: str
    scores: Mapping[str, float] = field(default_factory=dict)


def read_call_file(path: Path, *, timezone: str | None = None) -> list[FileCall]:
    """Read calls from CSV: call_id, token_address, chain, signal_timestamp, and optionally side, signal_type, caller.

    A column `score:NAME` holds what the model of this name, trained before the call, says of it.

    Args:
        path: `.csv`, also with `.gz`; columns by name in any order and case.
        timezone: IANA zone of times that state none.

    Raises:
        DataError: the file can't be read, a column is missing, or a row is wrong; the message names file, line,
            field, what was found and what is allowed.
    """
    zone = zone_named(timezone) if timezone is not None else None
    source = read_source_file(path, allowed=(".csv",))
    lines = text_lines(source)
    records = csv_records(lines)
    header = read_header(source, lines, records)
    positions = column_positions(header.fields, _REQUIRED + _OPTIONAL, file=source.name)
    missing = [name for name in _REQUIRED if name not in positions]
    if missing:
        raise DataError(
            f"{source.name}: column {missing[0]!r} is missing; found {', '.join(header.fields)}; "
            f"needed are {', '.join(_REQUIRED)}"
        )
    score_positions = _score_positions(header.fields, source.name)
    calls: list[FileCall] = []
    lines_of_ids: dict[str, int] = {}
    for record in records:
        where = f"{source.name}:{record.line}"
        if record.problem is not None:
            raise DataError(f"{where}: {record.problem}")
        cells = {name: record.fields[position].strip() for name, position in positions.items()}
        if any(has_undecodable_bytes(cell) for cell in cells.values()):
            raise DataError(f"{where}: the row holds bytes that are not UTF-8")
        try:
            call = FileCall(
                line=record.line,
                call_id=_call_id(cells["call_id"]),
                token=canonical_token(cells["chain"], cells["token_address"]),
                signal_timestamp=ceil(parse_instant(cells["signal_timestamp"], zone).timestamp()),
                side=_side(cells.get("side", "")),
                signal_type=_signal_type(cells.get("signal_type", ""), _side(cells.get("side", ""))),
                caller=cells.get("caller", ""),
                scores={
                    name: _score(record.fields[position].strip(), name) for name, position in score_positions.items()
                },
            )
        except DataError as error:
            raise DataError(f"{where}: {error}") from error
        if call.call_id in lines_of_ids:
            raise DataError(
                f"{where}: call_id {shown(call.call_id)} occurs in line {lines_of_ids[call.call_id]} too; "
                "every call needs an id of its own"
            )
        lines_of_ids[call.call_id] = record.line
        calls.append(call)
    return calls


def _score_positions(columns: list[str], file: str) -> dict[str, int]:
    """Return where the scores of each model are; their names keep their case."""
    positions: dict[str, int] = {}
    for position, column in enumerate(columns):
        text = column.strip()
        if text[: len(SCORE_COLUMN)].casefold() != SCORE_COLUMN:
            continue
        name = text[len(SCORE_COLUMN) :].strip()
        if not name or name in positions:
            fault = "occurs twice; keep one of them" if name else "names no model; allowed is score:NAME"
            raise DataError(f"{file}: column {text!r} {fault}")
        positions[name] = position
    return positions


def _score(text: str, name: str) -> float:
    return parse_number(text, f"{SCORE_COLUMN}{name}") if text else nan


def _call_id(text: str) -> str:
    if not text:
        raise DataError("call_id is empty; every call needs an id of its own")
    return text


def _side(text: str) -> Side:
    try:
        return Side(text.lower()) if text else Side.BUY
    except ValueError:
        raise DataError(f"side: found {shown(text)}; allowed are {', '.join(Side)}") from None


def _signal_type(text: str, side: Side) -> SignalType:
    if not text:
        return SignalType.EXIT if side is Side.SELL else SignalType.ENTRY
    try:
        return SignalType(text.lower())
    except ValueError:
        raise DataError(f"signal_type: found {shown(text)}; allowed are {', '.join(SignalType)}") from None
