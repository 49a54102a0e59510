"""The tables of the report's page on data quality."""

from collections.abc import Iterable, Sequence

from quantbot_pipeline.report.content import QuarantineReason
from quantbot_pipeline.report.site_content import FailureLine, GapLine, HealthLine, QualityCount
from quantbot_pipeline.report.site_tables import QUALITY, strategy_link, token_link
from quantbot_pipeline.report.tables import Column, Link, Source, Table


def quality_table(qualities: Iterable[QualityCount]) -> Table:
    """Return how many runs read which quality of candles."""
    return Table(
        "run-quality",
        "Current runs by what their candles were like",
        (
            Column("Strategy", is_name=True),
            Column("Candles", "quality", QUALITY),
            Column("Runs", "whole"),
            Column("Trades", "whole"),
        ),
        tuple(
            (strategy_link(line.strategy, line.version), line.data_quality, line.run_count, line.trade_count)
            for line in qualities
        ),
        (Source("int_run_results", "postgres", order="simulation_run_id"),),
    )


def failure_table(failures: Iterable[FailureLine]) -> Table:
    """Return why runs, searches and backfills failed."""
    return Table(
        "failures",
        "What failed, by reason",
        (
            Column("What", is_name=True),
            Column("Failures", "whole"),
            Column("Reason", meaning="The last of them; values in it differ from case to case"),
            Column("Last", "moment", "UTC"),
        ),
        tuple((line.area, line.failure_count, line.example, line.last_at) for line in failures),
        (Source("mart_failure_reasons", "postgres", order="failure_count desc"),),
    )


def health_table(health: Iterable[HealthLine]) -> Table:
    """Return whether everything is imported, simulated and up to date."""
    return Table(
        "health",
        "Is everything imported, simulated and up to date?",
        (
            Column("Measure", is_name=True),
            Column("State", meaning="Whether somebody should look at it"),
            Column("How many", "whole"),
            Column("Newest", "moment", "UTC"),
            Column("What it means"),
        ),
        tuple(
            (
                Link(line.measure.replace("_", " "), detail=line.area),
                "look" if line.is_problem else "fine",
                line.value,
                line.latest_at,
                line.what_it_means,
            )
            for line in health
        ),
        (Source("mart_pipeline_health", "postgres", order="is_problem desc, area, measure"),),
    )


def gap_table(gaps: Sequence[GapLine], total: int) -> Table:
    """Return months of tokens in which candles are missing."""
    note = f"The {len(gaps):,} months with most missing candles of {total:,}." if total > len(gaps) else ""
    return Table(
        "gaps",
        "Months with missing candles",
        (
            Column("Token", is_name=True),
            Column("Month"),
            Column("Interval"),
            Column("Covered", "share"),
            Column("Missing", "whole", "Candles"),
            Column("Gaps", "whole"),
            Column("Longest", "span"),
            Column("Silent at the end", "span", "From the last candle to the end of the month or of the data"),
            Column("Flagged", "whole", "Candles whose wick the import judged distorted"),
        ),
        tuple(
            (
                token_link(line.chain, line.token_address),
                line.month,
                line.interval,
                line.coverage,
                line.missing_count,
                line.gap_count,
                line.longest_gap_minutes,
                line.silent_hours * 60,
                line.distorted_count,
            )
            for line in gaps
        ),
        (
            Source(
                "mart_data_coverage",
                filters=(("is_finest_interval", 1),),
                after=("missing_count", 0),
                order="missing_count desc",
            ),
        ),
        note,
    )


def quarantine_table(reasons: Iterable[QuarantineReason]) -> Table:
    """Return why rows of imported files could not be used."""
    return Table(
        "quarantine",
        "Quarantined rows by reason",
        (
            Column("Rows", "whole"),
            Column("Went in later", "whole"),
            Column("Import"),
            Column("Field", is_name=True),
            Column("The first of them"),
            Column("Where"),
        ),
        tuple(
            (
                reason.row_count,
                reason.resolved_count,
                reason.kind,
                reason.field or "row",
                reason.example,
                reason.example_place,
            )
            for reason in reasons
        ),
        (Source("quarantined_rows", "postgres", order="id"),),
    )
