"""What is measured of stored candles, held against counts by hand and against a plain count in Python."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime
from io import StringIO
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quantbot_pipeline.cli.candles import quality_table
from quantbot_pipeline.errors import InputError
from quantbot_pipeline.ingest.candle_quality import QualityThresholds, Verdict
from quantbot_pipeline.ingest.checked_candles import CANDLE_SCHEMA
from quantbot_pipeline.ingest.quarantine import QuarantinedRow
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.records import ImportRecord
from quantbot_pipeline.workflows.candle_quality import (
    ImportCounts,
    MonthQuality,
    measure_candle_quality,
    quality_document,
    report_candle_quality,
)
from quantbot_pipeline.workflows.resample_candles import resample_candles
from quantbot_pipeline.workflows.token_months import TokenMonth
from tests.workflows.scene import BONK, MARCH, PEPE, Scene

pytestmark = pytest.mark.server

MARCH_S = int(MARCH.timestamp())
APRIL_S = MARCH_S + 31 * 86400
HOUR = 3600


def _candles(
    times: Sequence[int],
    *,
    token: TokenKey = BONK,
    interval: str = "1h",
    close: Sequence[float] | None = None,
    volume: Sequence[float] | None = None,
    wick: Sequence[float] | None = None,
    flags: Sequence[int] | None = None,
) -> pa.Table:
    count = len(times)
    closes = np.array(close if close is not None else [1.0 + 0.01 * (k % 7) for k in range(count)])
    values = {
        "open": closes,
        "high": closes * (1.001 + np.array(wick if wick is not None else [0.0] * count)),
        "low": closes * 0.999,
        "close": closes,
        "volume": np.array(volume if volume is not None else [1.0] * count),
    }
    plain = pa.schema([field for field in CANDLE_SCHEMA if field.name != "flags"])
    identity = {
        "chain": [token.chain] * count,
        "token_address": [token.address] * count,
        "interval": [interval] * count,
    }
    rows = pa.table({**identity, "timestamp": list(times), **values}, schema=plain)
    return rows.append_column("flags", pa.array(flags or [0] * count, type=pa.uint8()))


def _hours(*hours: int) -> list[int]:
    return [MARCH_S + HOUR * hour for hour in hours]


def _by_month(months: Sequence[MonthQuality]) -> dict[tuple[str, str, str], MonthQuality]:
    return {(month.key.token.address, month.key.month, month.interval): month for month in months}


def test_gaps_are_counted_and_cut_at_the_months_ends(scene: Scene) -> None:
    # From hour 700 of March to hour 50 of April (March has 744). Missing: 720 to 723, and 740 to 753.
    hours = [h for h in range(700, 744 + 50) if not (720 <= h < 724 or 740 <= h < 754)]
    scene.history.insert_candles(_candles(_hours(*hours)))

    found = _by_month(measure_candle_quality(scene.history))

    march = found["BONK_USDT", "2025-03", "1h"].quality.measures
    # Nothing is expected before the first candle: 44 hours, of which 4 + 4 are missing; the last 4 to the end.
    assert (march.expected_count, march.candle_count, march.gap_count, march.longest_gap_candles) == (44, 36, 2, 4)
    assert march.silent_seconds == 4 * HOUR
    april = found["BONK_USDT", "2025-04", "1h"].quality.measures
    assert (april.expected_count, april.candle_count, april.gap_count, april.longest_gap_candles) == (50, 40, 1, 10)
    # The newest candle of the chain is its own.
    assert april.silent_seconds == 0
    assert (april.first_candle_s, april.last_candle_s) == (APRIL_S + 10 * HOUR, APRIL_S + 49 * HOUR)


def test_a_month_without_any_candle_between_two_others_is_told(scene: Scene) -> None:
    scene.history.insert_candles(_candles([MARCH_S, MARCH_S + 92 * 86400]))  # 1 March and 1 June

    found = measure_candle_quality(scene.history)

    assert [(one.key.month, one.quality.measures.candle_count) for one in found[:3]] == [
        ("2025-05", 0),
        ("2025-04", 0),
        ("2025-03", 1),
    ]
    empty = found[0].quality
    assert (empty.verdict, empty.source, empty.coverage) == (Verdict.SPARSE, "none", 0.0)
    counts = (empty.measures.expected_count, empty.measures.gap_count, empty.measures.longest_gap_candles)
    assert counts == (744, 1, 744)
    assert empty.measures.silent_seconds == 31 * 86400
    assert (empty.measures.first_candle_s, empty.measures.last_candle_s) == (None, None)


def test_flat_runs_volumes_flags_and_wicks_are_counted(scene: Scene) -> None:
    scene.history.insert_candles(
        _candles(
            # Hour 5 is missing within the run of four equal closes: hours 3, 4, 6 and 7.
            _hours(0, 1, 2, 3, 4, 6, 7, 8),
            close=[1.0, 1.0, 2.0, 3.0, 3.0, 3.0, 3.0, 2.0],
            volume=[0.0, 1.0, 0.0, 1.0, 1.0, 1.0, 1.0, 1.0],
            # Ranges are 0.2 % of the close; one wick of 10 %.
            wick=[0.0, 0.0, 0.1, 0.0, 0.0, 0.0, 0.0, 0.0],
            flags=[1, 0, 3, 2, 0, 0, 0, 0],
        )
    )

    (found,) = measure_candle_quality(scene.history, wick_limit=20.0)

    measures = found.quality.measures
    assert (measures.flat_run_candles, measures.flat_run_seconds) == (4, 5 * HOUR)
    assert measures.zero_volume_count == 2
    assert (measures.volume_missing_count, measures.distorted_count, measures.resampled_count) == (2, 2, 0)
    assert measures.long_wick_count == 1
    assert found.quality.zero_volume_share == 0.25
    (found,) = measure_candle_quality(scene.history)
    assert found.quality.measures.long_wick_count == 0


def test_silence_is_measured_to_the_chains_newest_candle_or_to_the_time_given(scene: Scene) -> None:
    scene.history.insert_candles(_candles(_hours(*range(10))))
    scene.history.insert_candles(_candles(_hours(*range(48)), token=PEPE))

    found = _by_month(measure_candle_quality(scene.history))
    assert found["BONK_USDT", "2025-03", "1h"].quality.measures.silent_seconds == 38 * HOUR
    assert found["BONK_USDT", "2025-03", "1h"].quality.verdict is Verdict.STALE
    # Also when only one token is asked for.
    (alone,) = measure_candle_quality(scene.history, tokens={BONK})
    assert alone.quality.measures.silent_seconds == 38 * HOUR

    (then,) = measure_candle_quality(scene.history, tokens={BONK}, as_of=datetime(2025, 3, 1, 12, tzinfo=UTC))
    assert then.quality.measures.silent_seconds == 2 * HOUR
    # Not beyond the month's end: what comes after it is another month's.
    (later,) = measure_candle_quality(scene.history, tokens={BONK}, as_of=datetime(2026, 1, 1, tzinfo=UTC))
    assert later.quality.measures.silent_seconds == (744 - 10) * HOUR


def test_what_is_asked_for_is_judged_as_in_the_whole(scene: Scene) -> None:
    scene.history.insert_candles(_candles(_hours(*range(700, 800))))
    scene.history.insert_candles(_candles(_hours(*range(700, 760)), token=PEPE))
    scene.history.insert_candles(_candles([MARCH_S + 300 * k for k in range(12)], interval="5m"))
    whole = measure_candle_quality(scene.history)
    assert len(whole) == 5

    parts = [
        *measure_candle_quality(scene.history, tokens={BONK}, months={"2025-03"}),
        *measure_candle_quality(scene.history, months={"2025-04"}, interval="1h"),
        *measure_candle_quality(scene.history, tokens={PEPE}, months={"2025-03"}),
    ]

    assert _by_month(parts) == _by_month(whole)
    assert measure_candle_quality(scene.history, months={"2024-01"}) == []


def test_resampled_candles_are_told_apart_and_rewritten_rows_count_once(scene: Scene) -> None:
    rows = _candles([MARCH_S + 60 * k for k in range(30)], interval="1m")
    scene.history.insert_candles(rows)
    scene.history.insert_candles(rows)
    resample_candles(scene.history, source="1m", targets=["5m"])
    scene.history.insert_candles(_candles([MARCH_S], interval="5m"))

    found = _by_month(measure_candle_quality(scene.history))

    assert found["BONK_USDT", "2025-03", "1m"].quality.measures.candle_count == 30
    assert found["BONK_USDT", "2025-03", "1m"].quality.source == "imported"
    five = found["BONK_USDT", "2025-03", "5m"].quality
    assert (five.measures.candle_count, five.measures.resampled_count, five.source) == (6, 5, "mixed")


def test_random_series_are_counted_as_a_plain_loop_counts_them(scene: Scene) -> None:
    random = np.random.default_rng(5)
    expected: dict[tuple[str, str], tuple[int, ...]] = {}
    for number in range(12):
        token = TokenKey("binance", f"T{number}_USDT")
        hours = np.sort(random.choice(3000, size=int(random.integers(2, 1500)), replace=False))
        close = random.choice([1.0, 2.0], size=len(hours), p=[0.8, 0.2])
        scene.history.insert_candles(_candles(_hours(*hours.tolist()), token=token, close=close.tolist()))
        expected |= _plain_counts(token.address, hours.tolist(), close.tolist())

    found = measure_candle_quality(scene.history)

    counted = {}
    for one in found:
        m = one.quality.measures
        numbers = (m.expected_count, m.candle_count, m.gap_count, m.longest_gap_candles, m.flat_run_candles)
        counted[one.key.token.address, one.key.month] = numbers
    assert counted == expected


def _plain_counts(address: str, hours: list[int], closes: list[float]) -> dict[tuple[str, str], tuple[int, ...]]:
    """Return (expected, found, gaps, longest gap, longest flat run) by month, hour by hour from March on."""
    close_of = dict(zip(hours, closes, strict=True))
    by_month: dict[str, list[int]] = {}
    for hour in range(hours[0], hours[-1] + 1):
        month = f"{datetime.fromtimestamp(MARCH_S + HOUR * hour, UTC):%Y-%m}"
        by_month.setdefault(month, []).append(hour)
    counts = {}
    for month, inside in by_month.items():
        gaps, longest, missing, flat, longest_flat, last = 0, 0, 0, 0, 0, None
        for hour in inside:
            if hour not in close_of:
                missing += 1
                gaps += missing == 1
                longest = max(longest, missing)
                continue
            missing = 0
            flat = flat + 1 if close_of[hour] == last else 1
            last = close_of[hour]
            longest_flat = max(longest_flat, flat)
        found = sum(hour in close_of for hour in inside)
        counts[address, month] = (len(inside), found, gaps, longest, longest_flat)
    return counts


def _record(name: str, token_months: Sequence[TokenMonth], **counts: int) -> ImportRecord:
    duplicates, quarantined = counts.get("duplicates", 0), counts.get("quarantined", 0)
    return ImportRecord(
        kind="candles",
        file=f"{name}.csv",
        sha256=name.encode().hex().rjust(64, "0"),
        options_key="",
        rows_read=10 + duplicates + quarantined,
        rows_stored=10,
        rows_duplicate=duplicates,
        rows_quarantined=quarantined,
        details={
            "conflicts_in_file": counts.get("conflicts", 0),
            # Imports of before did not count the conflicts with stored candles.
            **({"conflict_count": counts["all_conflicts"]} if "all_conflicts" in counts else {}),
            "token_months": [[key.token.chain, key.token.address, key.month] for key in token_months],
        },
        quarantined=tuple(QuarantinedRow(f"{name}.csv", line, None, "broken", "raw") for line in range(quarantined)),
    )


def test_rows_of_imports_are_attributed_where_a_file_has_one_token_month(scene: Scene) -> None:
    scene.history.insert_candles(_candles(_hours(*range(700, 800))))
    scene.history.insert_candles(_candles(_hours(*range(10)), token=PEPE))
    bonk_march, bonk_april = TokenMonth(BONK, "2025-03"), TokenMonth(BONK, "2025-04")
    pepe_march = TokenMonth(PEPE, "2025-03")
    for record in (
        _record("one", [pepe_march], duplicates=3, conflicts=1),
        _record("two", [pepe_march], quarantined=2),
        _record("three", [bonk_march, bonk_april], duplicates=5),
        _record("four", [bonk_march], duplicates=7, all_conflicts=6),
        _record("none", [], quarantined=4),
    ):
        scene.state.complete_import(scene.state.begin_import(record))

    report = report_candle_quality(scene.state, scene.history)

    found = {month.key: month.imports for month in report.months}
    # BONK's March has duplicates of a file that has April's too: it can't be said whose they are.
    assert found == {bonk_march: None, bonk_april: None, pepe_march: ImportCounts(2, 3, 1, 2)}
    assert report.token_imports == {BONK: ImportCounts(2, 12, 6, 0), PEPE: ImportCounts(2, 3, 1, 2)}
    assert report.other_imports == ImportCounts(1, 0, 0, 4)
    assert report_candle_quality(scene.state, scene.history, tokens={PEPE}).token_imports.keys() == {PEPE}


def test_the_document_holds_everything(scene: Scene) -> None:
    scene.history.insert_candles(_candles(_hours(0, 1, 2, 9)))

    document: dict[str, Any] = quality_document(
        report_candle_quality(scene.state, scene.history, thresholds=QualityThresholds(sparse_below_coverage=0.3))
    )

    assert document["verdicts"] == {"sparse": 0, "stale": 0, "gaps": 1, "good": 0}
    assert document["thresholds"]["sparse_below_coverage"] == 0.3
    (month,) = document["months"]
    expected = {"token_address": "BONK_USDT", "month": "2025-03", "interval": "1h", "verdict": "gaps", "coverage": 0.4}
    assert {name: month[name] for name in expected} == expected
    assert month["last_candle_at"] == "2025-03-01T09:00:00Z"
    assert month["reasons"] == ["6 candles are missing in 1 gaps, the longest of 6.0 h"]


def test_the_table_fits_100_columns_with_the_longest_names(scene: Scene) -> None:
    from rich.console import Console

    token = TokenKey("binance-futures", "1000PEPE_USDT_USDT")
    scene.history.insert_candles(_candles(_hours(0, 700), token=token, interval="15m"))
    (found,) = measure_candle_quality(scene.history)
    measures = replace(found.quality.measures, gap_count=12_345, longest_gap_candles=2900, silent_seconds=99 * 86400)
    wide = replace(found, quality=replace(found.quality, measures=measures, source="resampled"))

    console = Console(width=100, record=True, file=StringIO())
    console.print(quality_table([wide]))
    lines = console.export_text().splitlines()

    # A title, the header, and one line: nothing was broken.
    assert len(lines) == 3
    assert "binance-futures:1000…USDT" in lines[2]
    assert "resamp" in lines[2]


def test_unknown_intervals_and_limits_are_refused(scene: Scene) -> None:
    with pytest.raises(InputError, match="'7m' is not known"):
        measure_candle_quality(scene.history, interval="7m")
    with pytest.raises(InputError, match="wick limit: found -1"):
        measure_candle_quality(scene.history, wick_limit=-1.0)
    with pytest.raises(InputError, match="YYYY-MM"):
        measure_candle_quality(scene.history, months={"March"})
