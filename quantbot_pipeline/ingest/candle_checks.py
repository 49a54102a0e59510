"""The rules of a valid candle, applied to the columns of one file.

Arrays run over the rows of the file in file order; a row index counts from 0. Only rows at fault cost
Python: a file without faults takes a few vector operations.
"""

from collections.abc import Mapping
from zoneinfo import ZoneInfo

import numpy as np

from quantbot_pipeline.ingest.candles.check_rules import CheckRules
from quantbot_pipeline.ingest.candles.faults import Faults
from quantbot_pipeline.ingest.candles.interval_columns import (
    derived_intervals,
    refuse_mixed_intervals,
    rows_to_hold,
    stated_intervals,
)
from quantbot_pipeline.ingest.candles.interval_names import NAME_OF_SECONDS
from quantbot_pipeline.ingest.candles.rows import CandleRows
from quantbot_pipeline.ingest.candles.times import end_second, read_times
from quantbot_pipeline.ingest.candles.token_columns import series_of_rows, tokens_of_rows
from quantbot_pipeline.ingest.candles.value_columns import (
    apply_candle_rules,
    float_column,
    is_distorted,
    settle_missing_volumes,
    settle_quote_volumes,
)
from quantbot_pipeline.ingest.checked_candles import (
    FLAG_DISTORTED_WICK,
    VALUE_COLUMNS,
    CheckedCandles,
    PlacedCandles,
    unique_candles,
)
from quantbot_pipeline.ingest.quarantine import QuarantinedRow, shown


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
    tokens, token_of_row = tokens_of_rows(rows, rules, faults)
    times = read_times(
        (("timestamp", rows.columns["timestamp"]), *rows.other_times), rules.zone, end_second(rules.now), file=rows.file
    )
    faults.add_where(~times.is_known, "timestamp", times.reason_of)
    is_held = np.zeros(rows.row_count, dtype=np.bool_)
    reasons: dict[int, str] = {}
    if "interval" in rows.columns:
        step = stated_intervals(rows, rules, faults)
    else:
        step, reasons = derived_intervals(rows, rules, tokens, token_of_row, times.seconds, faults)
        if more_follows:
            is_held = rows_to_hold(token_of_row, ~faults.is_bad)
    # Detached: the next piece keeps them, and would keep this one and all before it.
    held = rows.take(np.flatnonzero(is_held)).detached() if is_held.any() else None
    values = {name: float_column(rows, name, faults) for name in VALUE_COLUMNS}
    if "quote_volume" in rows.columns:
        settle_quote_volumes(values, float_column(rows, "volume", faults, column_name="quote_volume"))
    flags = settle_missing_volumes(values, faults)
    apply_candle_rules(values, faults)
    if "interval" not in rows.columns and rules.given.get("interval") is None:
        refuse_mixed_intervals(token_of_row, step, times.seconds, values, faults)
    if rules.wick_limit is not None:
        flags |= np.where(is_distorted(values, rules.wick_limit), FLAG_DISTORTED_WICK, 0).astype(np.uint8)
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
    found_series, series_of_row = series_of_rows(tokens, token_of_row, step)
    candles = PlacedCandles(
        np.flatnonzero(~faults.is_bad & ~is_held), series_of_row, found_series, times.seconds, values, flags
    )
    checked = unique_candles(
        candles, rows.line_of, tuple(sorted((*rows.broken, *quarantined), key=lambda row: row.line))
    )
    return checked, held


def _cell(rows: CandleRows, row: int) -> str:
    return shown(rows.columns["timestamp"][row].as_py())
