"""What the report's overview needs: plain values, ready to be shown. No database, no HTML here.

Fractions are fractions (0.25 is 25 %), pnl is on a trade's capital of 1, times are tz-aware UTC datetimes.
Texts are as they were imported: whoever shows them escapes them.
"""

from dataclasses import dataclass
from datetime import date, datetime

from quantbot_pipeline.report.search_content import SearchContent
from quantbot_pipeline.report.trade_content import TradeContent


@dataclass(frozen=True, slots=True)
class Headline:
    """The counts at the top.

    Attributes:
        candles: Candles stored, of all tokens and intervals.
        tokens_with_candles: Tokens that have any.
        alerts: Alerts stored.
        duplicates: Alert rows that imports met a second time.
        calls: Calls derived from alerts.
        callers: Callers known.
        quarantined: Rows of candle and alert files that could not be used.
        runs_completed: Completed runs of every type, superseded ones included.
        runs_current: Completed backtests that are not superseded: what the page is about.
        runs_failed: Runs whose last attempt failed.
        runs_unfinished: Runs that are pending or running, or were when something died.
        trades: Trades of the current backtests, each call once per strategy version.
        skipped: Calls of these backtests that never bought.
    """

    candles: int = 0
    tokens_with_candles: int = 0
    alerts: int = 0
    duplicates: int = 0
    calls: int = 0
    callers: int = 0
    quarantined: int = 0
    runs_completed: int = 0
    runs_current: int = 0
    runs_failed: int = 0
    runs_unfinished: int = 0
    trades: int = 0
    skipped: int = 0


@dataclass(frozen=True, slots=True)
class DataWindow:
    """What the numbers rest on.

    Attributes:
        first_candle_at: Open time of the oldest candle; None without candles.
        last_candle_at: Open time of the newest candle.
        intervals: Candle intervals stored, such as `5m`.
        first_call_at: Time of the oldest call; None without calls.
        last_call_at: Time of the newest call.
        engine_versions: Versions of the engine that computed the current backtests.
    """

    first_candle_at: datetime | None = None
    last_candle_at: datetime | None = None
    intervals: tuple[str, ...] = ()
    first_call_at: datetime | None = None
    last_call_at: datetime | None = None
    engine_versions: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Standing:
    """A row of a leaderboard; `dbt_like_views/clickhouse/mart_*_leaderboard.sql` define the numbers.

    Attributes:
        rank: Place, from 1.
        strategy: `name` of the strategy.
        version: Its version.
        caller: `source / handle`; None in the strategy leaderboard.
        trade_count: Trades that bought.
        skipped_count: Calls that never bought.
        token_count: Tokens traded.
        win_rate: Share of trades with pnl > 0; None without trades.
        win_rate_lower: Lower end of its 95 % Wilson interval.
        mean_pnl: Mean over trades.
        mean_pnl_lower: Mean less 1.96 standard errors between tokens; None with fewer than two tokens.
        median_pnl: Median over trades.
        total_pnl: Sum over trades.
        is_small_sample: Too few trades or tokens to say much.
        good_data_trade_count: Trades of runs whose candles were judged good.
        caller_name: Source and handle; None in the strategy leaderboard.
    """

    rank: int
    strategy: str
    version: str
    caller: str | None
    trade_count: int
    skipped_count: int
    token_count: int
    win_rate: float | None
    win_rate_lower: float | None
    mean_pnl: float | None
    mean_pnl_lower: float | None
    median_pnl: float | None
    total_pnl: float
    is_small_sample: bool
    good_data_trade_count: int = 0
    caller_name: tuple[str, str] | None = None


@dataclass(frozen=True, slots=True)
class EquityCurve:
    """Realised pnl of a strategy version over time.

    Attributes:
        strategy: `name` of the strategy.
        version: Its version.
        trade_count: Trades that the curve is divided by: all of the strategy version.
        days: UTC days on which a trade closed, oldest first.
        values: Sum of the pnl of trades closed up to and including the day / trade_count; the last one is
            the mean pnl of a trade.
        is_sampled: Whether days were left out because there are too many to draw.
    """

    strategy: str
    version: str
    trade_count: int
    days: tuple[date, ...]
    values: tuple[float, ...]
    is_sampled: bool = False


@dataclass(frozen=True, slots=True)
class ModelMetric:
    """A metric of a model beside the same metric of its baselines, in the order of `ModelStanding.baselines`.

    None where one does not have it.
    """

    name: str
    model: float | None
    baselines: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class ModelStanding:
    """A registered model.

    Attributes:
        name: Name of the model.
        version: Its version.
        model_type: Kind of model.
        status: training, ready, deprecated or failed.
        feature_count: Input features.
        verdict: How it compares with its baselines, in a sentence; None when its metrics do not say.
        baselines: Names of the baselines.
        metrics: Metrics that a baseline has as well.
        facts: Everything else that its metrics say in a line, such as row counts, as name and text.
        card: Where its card is, from the folder of the report.
    """

    name: str
    version: str
    model_type: str
    status: str
    feature_count: int
    verdict: str | None
    baselines: tuple[str, ...]
    metrics: tuple[ModelMetric, ...]
    facts: tuple[tuple[str, str], ...]
    card: str


@dataclass(frozen=True, slots=True)
class QuarantineReason:
    """Rows that were refused for one reason.

    Attributes:
        kind: What was imported: alerts or candles.
        field: The column at fault; None when the row as a whole was.
        row_count: How many rows.
        example: Reason of the first of them, in full.
        example_place: Its file and line.
        resolved_count: How many of the rows went in with another import of the same file.
    """

    kind: str
    field: str | None
    row_count: int
    example: str
    example_place: str
    resolved_count: int = 0


@dataclass(frozen=True, slots=True)
class TokenCoverage:
    """How much of a token's life its candles cover, in cells of days.

    Attributes:
        token: `chain:address`.
        coverage: Share of the time between its first and last candle, in [0, 1].
        shares: The same by cell; None before its first candle and after its last one.
    """

    token: str
    coverage: float
    shares: tuple[float | None, ...]


@dataclass(frozen=True, slots=True)
class CoverageMap:
    """Coverage by token and day, in candles of each month's finest interval.

    Attributes:
        first_days: First UTC day of each cell, oldest first.
        days_per_cell: Days that a cell holds.
        token_count: All tokens with candles.
        total: Of all tokens together, by cell.
        tokens: Those with the least coverage, worst first.
    """

    first_days: tuple[date, ...]
    days_per_cell: int
    token_count: int
    total: tuple[float | None, ...]
    tokens: tuple[TokenCoverage, ...]


@dataclass(frozen=True, slots=True)
class ReportContent:
    """What the overview and the pages of models and data quality show.

    Attributes:
        generated_at: When the content was collected.
        headline: Counts.
        window: What the numbers rest on.
        strategies: Strategy leaderboard, best first.
        equity: Equity curves of strategies with trades, in their order.
        example: The trade that shows most; None without trades.
        search: The search that was completed last; None without any.
        models: Registered models, those in use first.
        quarantine: Most frequent reasons first.
        coverage: Coverage by token and day; None without candles.
    """

    generated_at: datetime
    headline: Headline = Headline()
    window: DataWindow = DataWindow()
    strategies: tuple[Standing, ...] = ()
    equity: tuple[EquityCurve, ...] = ()
    example: TradeContent | None = None
    search: SearchContent | None = None
    models: tuple[ModelStanding, ...] = ()
    quarantine: tuple[QuarantineReason, ...] = ()
    coverage: CoverageMap | None = None
