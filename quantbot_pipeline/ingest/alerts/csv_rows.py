"""Rows of CSV files."""

from collections.abc import Iterator, Mapping

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alerts.columns import IGNORED, ColumnPlan, folded_column, looks_like_candles, plan_columns
from quantbot_pipeline.ingest.alerts.table_rows import Cell, TableRow, no_token_columns
from quantbot_pipeline.ingest.alerts.text_source import TextSource, bounded_lines
from quantbot_pipeline.ingest.quarantine import is_storable, shown
from quantbot_pipeline.ingest.source_files import csv_records, has_undecodable_bytes

NEEDED = (
    "needed are caller, token_address (or message), timestamp, and where known chain, price_at_alert, mcap_at_alert"
)


def read_csv_rows(source: TextSource, mapping: Mapping[str, str]) -> Iterator[TableRow]:
    """Yield the rows of a CSV file.

    Args:
        source: The file.
        mapping: Result of `columns.read_mapping`.

    Raises:
        DataError: there is no header, it is not separated by commas, it is that of candles, or a mapped column
            is not there.
    """
    lines: list[str] = []
    too_long: dict[int, str] = {}
    for number, line in enumerate(bounded_lines(source)):
        lines.append(line.text)
        if line.problem is not None:
            too_long[number] = line.problem
    records = csv_records(lines)
    header = next(records, None)
    if header is None:
        raise DataError(f"{source.name}: the file has no header; the first line must name the columns")
    header_text = header.raw_text(lines)
    problem = header.problem or too_long.get(header.line - 1)
    if problem is None and not is_storable(header_text):
        problem = f"{shown(header_text)} holds bytes that are not UTF-8, or NUL"
    if problem is not None:
        raise DataError(f"{source.name}: line {header.line}: {problem}; it must name the columns")
    names = header.fields
    plan = plan_columns(names, mapping, file=source.name)
    _require_alerts(source.name, header.line, plan, mapping)
    no_token = None if plan.names_tokens else no_token_columns(plan.names)
    distinct = _distinct_names(names)
    for record in records:
        raw_text = record.raw_text(lines)
        problem = next(
            (too_long[number] for number in range(record.line - 1, record.next_line - 1) if number in too_long),
            record.problem,
        )
        if problem is None and has_undecodable_bytes(raw_text):
            problem = "the row holds bytes that are not UTF-8"
        if problem is not None:
            yield TableRow(record.line, raw_text, {}, {}, problem)
            continue
        cells = {
            field: tuple(Cell(names[position].strip(), record.fields[position]) for position in positions)
            for field, positions in plan.positions.items()
        }
        yield TableRow(record.line, raw_text, cells, dict(zip(distinct, record.fields, strict=True)), None, no_token)


def _require_alerts(file: str, line: int, plan: ColumnPlan, mapping: Mapping[str, str]) -> None:
    names = plan.names
    found = ", ".join(shown(name) for name in names)
    if looks_like_candles(names) and "caller" not in plan.positions:
        raise DataError(
            f"{file}: line {line}: these are the columns of candles, and none of them is 'caller'; {NEEDED}; found "
            f"are {found}"
        )
    if not plan.positions:
        raise DataError(f"{file}: line {line}: no column is known; {NEEDED}, separated by commas; found are {found}")
    known = {folded_column(name) for name in names}
    absent = [column for column, field in mapping.items() if column not in known and field != IGNORED]
    if absent:
        raise DataError(
            f"{file}: line {line}: column {absent[0]!r} is mapped to {mapping[absent[0]]} but is not there; found are "
            f"{found}"
        )


def _distinct_names(names: list[str]) -> list[str]:
    """Return the column names with repeated ones numbered, so that a raw row keeps every cell."""
    seen: dict[str, int] = {}
    distinct: list[str] = []
    for name in names:
        seen[name] = seen.get(name, 0) + 1
        distinct.append(name if seen[name] == 1 else f"{name}#{seen[name]}")
    return distinct
