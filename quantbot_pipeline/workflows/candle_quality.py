"""The quality of stored candles, by token, month and interval: one query, judged, worst first."""

import json
from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping
from dataclasses import asdict, dataclass, fields
from datetime import UTC, datetime
from typing import Any

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.errors import InputError
from quantbot_pipeline.ingest.candle_quality import (
    DEFAULT_THRESHOLDS,
    CandleMeasures,
    CandleQuality,
    QualityThresholds,
    Verdict,
    quality_of,
    worst_first,
)
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.token_months import TokenMonth, month_start

_MEASURES = tuple(field.name for field in fields(CandleMeasures))


@dataclass(frozen=True, slots=True)
class ImportCounts:
    """Rows of candle files that became no candle of their own.

    Attributes:
        files: Imported files.
        duplicates: Rows whose key was stored already or came twice in a file, conflicts included.
        conflicts: Those among them with other values than the candle that was stored, or than a later row of the file.
        quarantined: Rows that could not be used.
    """

    files: int = 0
    duplicates: int = 0
    conflicts: int = 0
    quarantined: int = 0

    def plus(self, other: "ImportCounts") -> "ImportCounts":
        """Return the sums."""
        return ImportCounts(
            self.files + other.files,
            self.duplicates + other.duplicates,
            self.conflicts + other.conflicts,
            self.quarantined + other.quarantined,
        )


@dataclass(frozen=True, slots=True)
class MonthQuality:
    """One judged month of one series.

    Attributes:
        key: Token and month.
        interval: Name of the interval.
        quality: The judgement.
        imports: Of the files that touched this token-month, over all intervals; None when one of them touched
            others too, so that its rows can't be attributed.
    """

    key: TokenMonth
    interval: str
    quality: CandleQuality
    imports: ImportCounts | None = None


@dataclass(frozen=True, slots=True)
class QualityReport:
    """All judged months, and what imports met.

    Attributes:
        thresholds: What was judged by.
        months: Worst first.
        token_imports: Of the files that touched one token only, by token.
        other_imports: Of all other files.
    """

    thresholds: QualityThresholds
    months: tuple[MonthQuality, ...]
    token_imports: Mapping[TokenKey, ImportCounts]
    other_imports: ImportCounts

    def count_verdicts(self) -> dict[Verdict, int]:
        """Return how many months have each verdict, worst first."""
        counts = Counter(month.quality.verdict for month in self.months)
        return {verdict: counts[verdict] for verdict in reversed(Verdict)}


def measure_candle_quality(
    history: HistoryStore,
    *,
    tokens: Collection[TokenKey] = (),
    months: Collection[str] = (),
    interval: str | None = None,
    thresholds: QualityThresholds = DEFAULT_THRESHOLDS,
    as_of: datetime | None = None,
    wick_limit: float = 0.0,
) -> list[MonthQuality]:
    """Measure and judge stored candles, worst first.

    Args:
        history: Where candles are.
        tokens: Only these; all without any.
        months: Only these, `YYYY-MM`; all without any.
        interval: Only this one.
        thresholds: What is judged by.
        as_of: Until when candles could be there; without it the end of the newest candle of the token's chain.
        wick_limit: Count wicks longer than this many median ranges of the month; 0 counts none.

    Raises:
        InputError: the interval is unknown, a month is none, or the limit is negative.
    """
    if interval is not None and interval not in INTERVAL_SECONDS:
        raise InputError(f"candle interval {interval!r} is not known; allowed are {', '.join(INTERVAL_SECONDS)}")
    if not 0 <= wick_limit < float("inf"):
        raise InputError(f"wick limit: found {wick_limit}; allowed is 0 (off) or more median ranges, such as 20")
    ordered = sorted(tokens)
    rows = history.read(
        "candles/measure_quality",
        interval_names=list(INTERVAL_SECONDS),
        interval_lengths=list(INTERVAL_SECONDS.values()),
        chains=[token.chain for token in ordered],
        token_addresses=[token.address for token in ordered],
        months=sorted(f"{month_start(month):%Y-%m}" for month in months),
        interval=interval or "",
        as_of_s=int(as_of.timestamp()) if as_of else 0,
        wick_limit=wick_limit,
    )
    judged = [_judged(row, thresholds) for row in rows.to_pylist()]
    return sorted(judged, key=lambda month: (worst_first(month.quality), month.key, month.interval))


def report_candle_quality(
    state: StateStore,
    history: HistoryStore,
    *,
    tokens: Collection[TokenKey] = (),
    months: Collection[str] = (),
    interval: str | None = None,
    thresholds: QualityThresholds = DEFAULT_THRESHOLDS,
    as_of: datetime | None = None,
    wick_limit: float = 0.0,
) -> QualityReport:
    """Return judged months with what their imports met; arguments as of `measure_candle_quality`."""
    measured = measure_candle_quality(
        history,
        tokens=tokens,
        months=months,
        interval=interval,
        thresholds=thresholds,
        as_of=as_of,
        wick_limit=wick_limit,
    )
    by_month, by_token, others = _attribute(state.read("imports/list_candle_imports").to_pylist())
    return QualityReport(
        thresholds=thresholds,
        months=tuple(
            MonthQuality(month.key, month.interval, month.quality, by_month.get(month.key)) for month in measured
        ),
        token_imports={token: counts for token, counts in by_token.items() if not tokens or token in tokens},
        other_imports=others,
    )


def quality_document(report: QualityReport) -> dict[str, Any]:
    """Return the whole report for JSON; times are ISO 8601 in UTC."""
    return {
        "thresholds": asdict(report.thresholds),
        "verdicts": {verdict.value: count for verdict, count in report.count_verdicts().items()},
        "months": [month_document(month) for month in report.months],
        "imports": {
            "by_token": [
                {"chain": token.chain, "token_address": token.address, **asdict(counts)}
                for token, counts in sorted(report.token_imports.items())
            ],
            "other_files": asdict(report.other_imports),
        },
    }


def month_document(month: MonthQuality) -> dict[str, Any]:
    """Return one judged month for JSON."""
    quality = month.quality
    measures = asdict(quality.measures)
    times = {name.replace("_s", "_at"): _moment(measures.pop(name)) for name in ("first_candle_s", "last_candle_s")}
    return {
        "chain": month.key.token.chain,
        "token_address": month.key.token.address,
        "month": month.key.month,
        "interval": month.interval,
        "verdict": quality.verdict.value,
        "reasons": list(quality.reasons),
        "coverage": quality.coverage,
        "zero_volume_share": quality.zero_volume_share,
        "longest_gap_seconds": quality.longest_gap_seconds,
        "source": quality.source,
        **measures,
        **times,
        "imports": asdict(month.imports) if month.imports else None,
    }


def _moment(second: int | None) -> str | None:
    return None if second is None else f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%SZ}"


def _judged(row: Mapping[str, Any], thresholds: QualityThresholds) -> MonthQuality:
    values = {name: row[name] for name in _MEASURES}
    if not row["candle_count"]:
        values["first_candle_s"] = values["last_candle_s"] = None
    key = TokenMonth.from_parts(row["chain"], row["token_address"], row["month"])
    return MonthQuality(key, row["interval"], quality_of(CandleMeasures(**values), thresholds))


def _attribute(
    imports: Iterable[Mapping[str, Any]],
) -> tuple[dict[TokenMonth, ImportCounts], dict[TokenKey, ImportCounts], ImportCounts]:
    """Return the counts of imports by token-month, by token, and of the rest.

    A file's counts are of the file: they say something of a token-month, or of a token, that is its only one.
    """
    by_month: dict[TokenMonth, ImportCounts] = defaultdict(ImportCounts)
    by_token: dict[TokenKey, ImportCounts] = defaultdict(ImportCounts)
    others = ImportCounts()
    shared: set[TokenMonth] = set()
    for row in imports:
        counts = ImportCounts(1, row["rows_duplicate"], row["rows_conflicting"], row["rows_quarantined"])
        touched = [TokenMonth.from_parts(*parts) for parts in json.loads(row["token_months_json"])]
        if len(touched) == 1:
            by_month[touched[0]] = by_month[touched[0]].plus(counts)
        else:
            shared.update(touched)
        tokens = {key.token for key in touched}
        if len(tokens) == 1:
            (token,) = tokens
            by_token[token] = by_token[token].plus(counts)
        else:
            others = others.plus(counts)
    return {key: counts for key, counts in by_month.items() if key not in shared}, dict(by_token), others
