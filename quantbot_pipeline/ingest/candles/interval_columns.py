"""Which interval each row of a candle file has: by its column, by what a person told, by the steps between rows."""

import numpy as np

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, FloatArray, IntArray
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candles.check_rules import CheckRules
from quantbot_pipeline.ingest.candles.faults import BoolArray, Faults
from quantbot_pipeline.ingest.candles.interval_names import NAME_OF_SECONDS, find_interval
from quantbot_pipeline.ingest.candles.intervals import (
    ROWS_TO_JUDGE,
    derive_intervals,
    find_coarser_interval,
    fits,
)
from quantbot_pipeline.ingest.candles.rows import CandleRows
from quantbot_pipeline.ingest.candles.token_columns import text_codes
from quantbot_pipeline.ingest.quarantine import shown
from quantbot_pipeline.ingest.tokens import TokenKey


def unknown_interval(interval: str) -> str:
    """Return the message that refuses an interval name."""
    return f"interval {shown(interval)} is unknown; allowed are {', '.join(INTERVAL_SECONDS)}"


def stated_intervals(rows: CandleRows, rules: CheckRules, faults: Faults) -> IntArray:
    """Return the interval of every row in seconds as its column says, 0 where it says none that is allowed."""
    given = rules.given.get("interval")
    codes, texts = text_codes(rows, "interval", rules.told("interval"))
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


def derived_intervals(
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


def refuse_mixed_intervals(
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


def rows_to_hold(token_of_row: IntArray, is_good: BoolArray) -> BoolArray:
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
