"""What `quantbot ingest candles` says about what became of files."""

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from quantbot_pipeline.cli.console import output, print_json, print_line, print_warning, rows_table

if TYPE_CHECKING:
    from quantbot_pipeline.workflows.import_candles import ImportOutcome

_FILES_SHOWN = 20
_SHORTEST_NAME = 10
_REASONS_SHOWN = 10
_CONFLICTS_SHOWN = 5
_QUARANTINED_IN_JSON = 1000
_PRICE_ORDER = ("open", "high", "low", "close", "volume")
_SUMS = ("rows", "stored", "duplicates", "quarantined")


def print_candle_outcomes(outcomes: "Sequence[ImportOutcome]", refused: Mapping[Path, str], *, as_json: bool) -> None:
    """Print counts by file, why rows were refused, which candles say two things, and which files were refused.

    Args:
        outcomes: One per file that was imported, known, or begun.
        refused: Files that can't be read, or not to their end, and why.
        as_json: Whether to print JSON.
    """
    rows = [_row(outcome) for outcome in outcomes]
    totals = {name: sum(row[name] for row in rows) for name in _SUMS}
    stored_now = sum(row["stored_now"] for row in rows)
    reasons = largest_reasons(rows)
    if as_json:
        quarantined = [f"{row.file}:{row.line}: {row.reason}" for found in outcomes for row in found.record.quarantined]
        print_json(
            {
                "files": rows,
                "totals": totals,
                "stored_now": stored_now,
                "conflicts": sum(row["conflicts"] for row in rows),
                "refused": [{"file": str(path), "reason": reason} for path, reason in refused.items()],
                "reasons": reasons,
                "quarantined_total": totals["quarantined"],
                "quarantined": quarantined[:_QUARANTINED_IN_JSON],
            }
        )
    else:
        _print_table(rows, totals, refused)
        _print_findings(rows, reasons)
    for path, reason in refused.items():
        print_warning(reason if str(path) in reason else f"{path}: {reason}")
    for row in rows:
        if row["rows"] == row["quarantined"]:
            found = f"none of its {row['rows']:,} rows could be used, all are in quarantine"
            print_warning(f"{row['file']}: {found if row['rows'] else 'no rows'}")


def _row(outcome: "ImportOutcome") -> dict[str, Any]:
    record, details = outcome.record, outcome.record.details
    return {
        # The name that was given now: a file that is known may have come under another.
        "file": str(outcome.path or record.file),
        "rows": record.rows_read,
        "stored": record.rows_stored,
        "duplicates": record.rows_duplicate,
        "conflicts": details.get("conflict_count", details.get("conflicts_in_file", 0)),
        "quarantined": record.rows_quarantined,
        "known": outcome.is_known,
        "stored_now": 0 if outcome.is_known else record.rows_stored,
        "volume_missing": details.get("volume_missing", 0),
        "distorted_wicks": details.get("distorted_wicks", 0),
        "refused": outcome.refusal,
        "notes": details.get("notes", []),
        "reasons": details.get("reasons", []),
        "conflicting": details.get("conflicts", []),
    }


def largest_reasons(rows: Sequence[Mapping[str, Any]]) -> list[dict[str, Any]]:
    """Return the largest kinds of reasons over all files, with an example of each."""
    kinds: dict[str, dict[str, Any]] = {}
    for row in rows:
        for reason in row["reasons"]:
            first = {
                "reason": reason["reason"],
                "rows": 0,
                "example": f"{row['file']}:{reason['line']}: {reason['example']}",
            }
            kinds.setdefault(reason["reason"], first)["rows"] += reason["rows"]
    return sorted(kinds.values(), key=lambda kind: (-kind["rows"], kind["reason"]))[:_REASONS_SHOWN]


def _print_table(rows: Sequence[Mapping[str, Any]], totals: Mapping[str, int], refused: Mapping[Path, str]) -> None:
    known = sum(row["known"] for row in rows)
    conflicts = sum(row["conflicts"] for row in rows)
    # Without a known file the column says nothing, and file names need its room.
    columns = ("file", *_SUMS[:3], "conflicts", "quarantined", *(("known",) if known else ()))
    total = {"file": "total", **totals, "conflicts": conflicts, "known": known}
    room = output.width - 1 - sum(max(len(name), len(f"{total[name]:,}")) + 3 for name in columns[1:]) - 3
    names = short_names([Path(row["file"]).name for row in rows[:_FILES_SHOWN]], max(room, _SHORTEST_NAME))
    # Of those that are not shown, the name does not matter.
    names += [""] * (len(rows) - len(names))
    shown = [{name: row[name] for name in columns} | {"file": file} for row, file in zip(rows, names, strict=True)]
    if len(shown) > _FILES_SHOWN:
        left_out = len(shown) - _FILES_SHOWN + 1
        shown = [*shown[: _FILES_SHOWN - 1], dict.fromkeys(columns, "") | {"file": f"… {left_out} more"}]
    output.print(rows_table("Imported", [*shown, {name: total[name] for name in columns}]))
    if known:
        print_line(f"{known:,} of {len(rows):,} files were imported before: nothing was done, these are their counts")
    if refused:
        print_line(f"{len(refused):,} of {len(rows) + len(refused):,} files were refused, as warned below")


def shortened(name: str, length: int) -> str:
    """Return a file's name with its middle left out where it is longer than so many characters."""
    if len(name) <= length:
        return name
    # The end tells the interval and the kind of file, the beginning the token: both matter.
    tail = (length - 1) // 2
    return f"{name[: length - 1 - tail]}…{name[len(name) - tail :]}"


def format_instant(timestamp: int | str) -> str:
    """Return an instant, Unix seconds or a text that says it already, as a text of UTC."""
    if isinstance(timestamp, str):
        return timestamp
    return f"{datetime.fromtimestamp(timestamp, UTC):%Y-%m-%d %H:%M:%S} UTC"


def short_names(names: Sequence[str], length: int) -> list[str]:
    """Return files' names, shortened to so many characters; whole ones where shortened ones would be alike."""
    short = [shortened(name, length) for name in names]
    return short if len(set(short)) == len(set(names)) else list(names)


def _print_findings(rows: Sequence[Mapping[str, Any]], reasons: Sequence[Mapping[str, Any]]) -> None:
    for row in rows[:_FILES_SHOWN]:
        for note in row["notes"]:
            print_line(f"{Path(row['file']).name}: {note}")
    for reason in reasons:
        print_line(f"quarantined {reason['rows']:,} rows: {reason['reason']}; such as {reason['example']}")
    if reasons:
        print_line("all refused rows: 'quantbot quarantine'")
    conflicting = [conflict for row in rows for conflict in row["conflicting"]]
    for conflict in conflicting[:_CONFLICTS_SHOWN]:
        replaced, kept = conflict["replaced"], conflict["kept"]
        names = [name for name in _PRICE_ORDER if name in replaced]
        names += [name for name in replaced if name not in names]
        differing = [f"{name} {replaced[name]} became {kept[name]}" for name in names if replaced[name] != kept[name]]
        print_line(
            f"conflict {conflict['chain']}:{conflict['token_address']} {conflict['interval']} at "
            f"{format_instant(conflict['timestamp'])}: {', '.join(differing)}"
        )
