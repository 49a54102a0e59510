"""Asset checks: sums that must hold, and candles that are worth a look."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import dagster as dg

from quantbot_pipeline.defs.partitions import parse_token_month_key, token_month_key, token_month_partitions
from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.ingest.candle_quality import Verdict
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import CallRow
from quantbot_pipeline.workflows.candle_quality import MonthQuality, measure_candle_quality
from quantbot_pipeline.workflows.token_months import TokenMonth

CANDLE_QUALITY = "candle_quality"

_CANDLE_QUALITY_DESCRIPTION = """\
Candles of the token-month are there, move, and go on to its end. A warning: simulations run on what there is.

Judged is the finest interval of the month, which simulations read. What to do:

- sparse, gaps: fetch or import the missing candles, and materialise the token-month again. Pools that trade seldom
  have no candle where nobody traded: then the gaps are true, and fills in them are at the next candle's open.
- stale: the price stood still or the candles end early. Look whether the token died or the source did; calls that wait
  longer than `max_staleness_seconds` for a candle are skipped.

`quantbot candles quality --tokens CHAIN:ADDRESS --months YYYY-MM` shows every interval; `docs/candle-quality.md` says
from where on a month is what.
"""

_COVERAGE_DESCRIPTION = """\
Calls that open trades lie within the candles of their token. A warning: calls without candles are skipped by
simulations, and told as such. What to do: `quantbot fetch candles --calls-since DATE` fetches what is missing.
"""


@dg.asset_check(asset="alerts", description="Rows read = rows stored + duplicates + quarantined, over all imports.")
def alert_counts_add_up(state_store: dg.ResourceParam[StateStore]) -> dg.AssetCheckResult:
    """Hold every alert row that was read against what became of it."""
    counts = state_store.read("counts/count_state").to_pylist()[0]
    parts = {name: int(counts[f"alert_rows_{name}"]) for name in ("read", "stored", "duplicate", "quarantined")}
    is_sum = parts["read"] == parts["stored"] + parts["duplicate"] + parts["quarantined"]
    return dg.AssetCheckResult(passed=is_sum and parts["stored"] == counts["alerts"], metadata=dict(parts))


@dg.asset_check(asset="calls", description="Every alert has exactly one call, in force or not.")
def every_alert_has_its_call(state_store: dg.ResourceParam[StateStore]) -> dg.AssetCheckResult:
    """Compare the numbers of alerts and calls; a call is unique by alert."""
    counts = state_store.read("counts/count_state").to_pylist()[0]
    return dg.AssetCheckResult(
        passed=counts["alerts"] == counts["calls"],
        metadata={"alerts": counts["alerts"], "calls": counts["calls"]},
    )


@dg.asset_check(asset="calls", description=_COVERAGE_DESCRIPTION)
def candles_cover_calls(
    state_store: dg.ResourceParam[StateStore],
    history_store: dg.ResourceParam[HistoryStore],
) -> dg.AssetCheckResult:
    """Hold the calls that open trades against the time of which their tokens have candles."""
    return judge_coverage(state_store.load_calls(), history_store.load_coverage().to_pylist())


def judge_coverage(calls: Iterable[CallRow], coverage: Iterable[Mapping[str, Any]]) -> dg.AssetCheckResult:
    """Return how many calls that open trades lie outside the candles of their token.

    Args:
        calls: Calls in force.
        coverage: Rows of `HistoryStore.load_coverage`.
    """
    spans: dict[TokenKey, tuple[int, int]] = {}
    for row in coverage:
        token = TokenKey(row["chain"], row["token_address"])
        first, last = spans.get(token, (row["first_s"], row["last_s"]))
        spans[token] = (min(first, row["first_s"]), max(last, row["last_s"]))
    counts = dict.fromkeys(("covered", "before_candles", "after_candles", "without_candles"), 0)
    for call in calls:
        if call.side is not Side.BUY or call.signal_type is not SignalType.ENTRY:
            continue
        if call.token not in spans:
            counts["without_candles"] += 1
            continue
        first, last = spans[call.token]
        called_at = call.signal_timestamp.timestamp()
        place = "before_candles" if called_at < first else "after_candles" if called_at > last else "covered"
        counts[place] += 1
    missing = sum(counts.values()) - counts["covered"]
    return dg.AssetCheckResult(
        passed=missing == 0,
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{missing} of {sum(counts.values())} calls have no candles of their time",
        metadata=dict(counts),
    )


def build_candle_quality_check(settings: Settings) -> dg.AssetChecksDefinition:
    """Return the check of candles, evaluated per token-month, of the partitions that a run materialises."""

    @dg.asset_check(
        asset="ohlcv_candles",
        name=CANDLE_QUALITY,
        partitions_def=token_month_partitions(settings),
        description=_CANDLE_QUALITY_DESCRIPTION,
    )
    def candle_quality(
        context: dg.AssetCheckExecutionContext,
        history_store: dg.ResourceParam[HistoryStore],
    ) -> dg.AssetCheckResult:
        """Judge the run's token-months; in a range run each gets its own evaluation, and the run one of them all."""
        run = context.op_execution_context
        keys = [parse_token_month_key(key) for key in run.partition_keys]
        judged = judge_token_months(history_store, keys)
        if len(keys) == 1:
            return _result(judged.get(keys[0]))
        for key, month in judged.items():
            result = _result(month)
            run.log_event(
                dg.AssetCheckEvaluation(  # type: ignore[arg-type]  # log_event takes them, its annotation lags behind
                    asset_key=dg.AssetKey("ohlcv_candles"),
                    check_name=CANDLE_QUALITY,
                    passed=result.passed,
                    severity=result.severity,
                    description=result.description,
                    metadata=result.metadata,
                    partition=token_month_key(key),
                )
            )
        return _summary(list(judged.values()))

    return candle_quality


def judge_token_months(history: HistoryStore, keys: Sequence[TokenMonth]) -> dict[TokenMonth, MonthQuality]:
    """Return the judgement of each token-month that has candles around it, of its finest interval."""
    measured = measure_candle_quality(history, tokens={key.token for key in keys}, months={key.month for key in keys})
    finest: dict[TokenMonth, MonthQuality] = {}
    for month in sorted(measured, key=_reading_order):
        finest.setdefault(month.key, month)
    return {key: finest[key] for key in keys if key in finest}


def _reading_order(month: MonthQuality) -> tuple[bool, int]:
    """Return a key that puts first what a simulation reads: the finest interval that has candles in the month."""
    measures = month.quality.measures
    return (measures.candle_count == 0, measures.interval_seconds)


def _result(month: MonthQuality | None) -> dg.AssetCheckResult:
    if month is None:
        return dg.AssetCheckResult(
            passed=False,
            severity=dg.AssetCheckSeverity.WARN,
            description="no candles of this token are stored for this month",
            metadata={"candle_count": 0},
        )
    quality, measures = month.quality, month.quality.measures
    return dg.AssetCheckResult(
        passed=quality.verdict is Verdict.GOOD,
        severity=dg.AssetCheckSeverity.WARN,
        description="; ".join([quality.verdict.value, *quality.reasons]),
        metadata={
            "interval": month.interval,
            "verdict": quality.verdict.value,
            "source": quality.source,
            "coverage": quality.coverage,
            "expected_count": measures.expected_count,
            "candle_count": measures.candle_count,
            "gap_count": measures.gap_count,
            "longest_gap_seconds": quality.longest_gap_seconds,
            "zero_volume_share": quality.zero_volume_share,
            "volume_missing_count": measures.volume_missing_count,
            "distorted_count": measures.distorted_count,
            "flat_run_seconds": measures.flat_run_seconds,
            "silent_seconds": measures.silent_seconds,
        },
    )


def _summary(judged: Sequence[MonthQuality]) -> dg.AssetCheckResult:
    counts: Mapping[str, int] = {
        verdict.value: sum(month.quality.verdict is verdict for month in judged) for verdict in Verdict
    }
    told = ", ".join(f"{count} {verdict}" for verdict, count in counts.items() if count)
    return dg.AssetCheckResult(
        passed=counts[Verdict.GOOD.value] == len(judged),
        severity=dg.AssetCheckSeverity.WARN,
        description=f"{len(judged)} token-months: {told or 'no candles are stored'}",
        metadata={f"{verdict}_count": count for verdict, count in counts.items()},
    )
