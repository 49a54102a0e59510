"""What the report's pages need besides the overview: plain values, ready to be put into tables. No database, no HTML.

Fractions are fractions (0.25 is 25 %), pnl is on a trade's capital of 1, times are tz-aware UTC datetimes.
"""

import hashlib
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from quantbot_pipeline.report.content import ReportContent, Standing
from quantbot_pipeline.report.search_content import SearchContent

CallerName = tuple[str, str]
"""Source and handle."""

StrategyName = tuple[str, str]
"""Name and version."""

TokenName = tuple[str, str]
"""Chain and address."""


@dataclass(frozen=True, slots=True)
class Narrowing:
    """What a report is narrowed to; the default is everything.

    Attributes:
        strategy: Name of a strategy.
        version: Of the strategy; all of its versions without it.
        caller: Source and handle; runs that looked at one of the caller's calls.
        since: Calls made from then on, in UTC; runs whose window ends after it.
        run_ids: Runs that get a page, however many others there are. Narrows nothing else.
    """

    strategy: str = ""
    caller: CallerName | None = None
    since: datetime | None = None
    run_ids: tuple[int, ...] = ()
    version: str = ""

    @property
    def is_whole(self) -> bool:
        """Whether nothing is left out."""
        return not self.strategy and self.caller is None and self.since is None

    @property
    def strategy_text(self) -> str:
        """The strategy as `NAME` or `NAME@VERSION`; empty for every one."""
        return f"{self.strategy}@{self.version}" if self.version else self.strategy

    def has_strategy(self, strategy: str, version: str) -> bool:
        """Return whether a strategy version is among what it is narrowed to."""
        return self.strategy in ("", strategy) and self.version in ("", version)

    def folder(self) -> str:
        """Return the folder of a narrowed report, from that of the whole one; empty for the whole one."""
        if self.is_whole:
            return ""
        digest = hashlib.sha256(repr((self.strategy_text, self.caller, self.since)).encode()).hexdigest()[:8]
        readable = re.sub(r"[^a-z0-9]+", "-", self.words().lower()[:60]).strip("-")
        return f"only-{readable}-{digest}"

    def words(self) -> str:
        """Return what it is narrowed to, such as `strategy ladder, calls since 2025-03-01`."""
        said = []
        if self.strategy:
            said.append(f"strategy {self.strategy_text}")
        if self.caller:
            said.append(f"caller {self.caller[0]} / {self.caller[1]}")
        if self.since:
            said.append(f"calls since {self.since:%Y-%m-%d}")
        return ", ".join(said)


@dataclass(frozen=True, slots=True)
class TradeLine:
    """What became of a call under a strategy version; see `mart_trades`.

    Attributes:
        pnl: None when nothing was bought.
        exit_event: The last selling event; empty when nothing was bought.
        end_reason: Why it sold last, or why nothing was bought; empty when no reason was noted.
        action_count: Buys, sells, targets and re-entries: how much happened.
    """

    strategy: str
    version: str
    run_id: int
    call_id: int
    caller: CallerName
    chain: str
    token_address: str
    symbol: str
    signal_at: datetime
    entered_at: datetime | None
    holding_minutes: float | None
    exit_event: str
    end_reason: str
    pnl: float | None
    action_count: int
    data_quality: str


@dataclass(frozen=True, slots=True)
class TradeList:
    """Trades of one strategy version, caller or run.

    Attributes:
        trades: Those that are listed.
        total: All that there are; more than are listed when the list was cut.
    """

    trades: tuple[TradeLine, ...] = ()
    total: int = 0


@dataclass(frozen=True, slots=True)
class RunLine:
    """A completed, current backtest; see `mart_runs_ranked`."""

    rank: int
    run_id: int
    strategy: str
    version: str
    engine_version: str
    chain: str
    token_address: str
    window_start: datetime
    window_end: datetime
    completed_at: datetime
    trade_count: int
    win_rate: float | None
    mean_pnl: float | None
    total_pnl: float
    max_drawdown: float | None
    sharpe_ratio: float | None
    is_small_sample: bool
    data_quality: str


@dataclass(frozen=True, slots=True)
class RunDetail:
    """What is known of a run besides its line.

    Attributes:
        quality: Why its candles were judged as they were, see docs/candle-quality.md; empty when they were not.
        selection: What it read.
        config_hash: Of the configuration that it simulated.
        events_digest: Of its events.
        attempt: How often it was begun.
    """

    quality: Mapping[str, Any]
    selection: Mapping[str, Any]
    config_hash: str
    events_digest: str
    attempt: int


@dataclass(frozen=True, slots=True)
class CallerMonth:
    """Results of a caller's calls of a month, under a strategy version; see `mart_caller_months`."""

    strategy: str
    version: str
    month: str
    trade_count: int
    skipped_count: int
    win_rate: float | None
    mean_pnl: float | None
    mean_pnl_lower: float | None
    total_pnl: float
    is_small_sample: bool


@dataclass(frozen=True, slots=True)
class ExitLine:
    """How many calls of a strategy version ended so, and with what result; see `mart_exit_reasons`."""

    outcome: str
    exit_event: str
    exit_reason: str
    call_count: int
    share_of_calls: float
    win_rate: float | None
    mean_pnl: float | None
    median_pnl: float | None
    total_pnl: float
    mean_holding_minutes: float | None


@dataclass(frozen=True, slots=True)
class TokenLine:
    """Results on a token under a strategy version; see `mart_token_results`."""

    rank: int
    strategy: str
    version: str
    chain: str
    token_address: str
    symbol: str
    trade_count: int
    skipped_count: int
    caller_count: int
    win_rate: float | None
    mean_pnl: float | None
    median_pnl: float | None
    total_pnl: float


@dataclass(frozen=True, slots=True)
class TokenPrices:
    """Closing prices of a token over all of its time.

    Attributes:
        at: When each stretch of time begins.
        close: Last closing price of each, in quote currency.
        stretch_minutes: Length of a stretch, in which there may be many candles.
    """

    at: tuple[datetime, ...]
    close: tuple[float, ...]
    stretch_minutes: float


@dataclass(frozen=True, slots=True)
class StrategyDocument:
    """A stored strategy version as its author wrote it."""

    category: str
    config: Mapping[str, Any]
    config_hash: str


@dataclass(frozen=True, slots=True)
class SearchLine:
    """A parameter search in a line.

    Attributes:
        answer: Of its verdict; empty without one.
        trial_count: Trials that ended.
        completed_at: None unless it was completed.
    """

    job_id: int
    name: str
    status: str
    template: str
    objective: str
    answer: str
    trial_count: int
    created_at: datetime
    completed_at: datetime | None


@dataclass(frozen=True, slots=True)
class QualityCount:
    """Current backtests of a strategy version whose candles got a verdict."""

    strategy: str
    version: str
    data_quality: str
    run_count: int
    trade_count: int


@dataclass(frozen=True, slots=True)
class FailureLine:
    """What failed for one kind of reason; see `mart_failure_reasons`."""

    area: str
    reason: str
    failure_count: int
    last_at: datetime
    example: str


@dataclass(frozen=True, slots=True)
class HealthLine:
    """A measure of whether everything is up to date; see `mart_pipeline_health`."""

    area: str
    measure: str
    value: int
    latest_at: datetime | None
    is_problem: bool
    what_it_means: str


@dataclass(frozen=True, slots=True)
class GapLine:
    """A month of a token in which candles are missing; see `mart_data_coverage`."""

    chain: str
    token_address: str
    month: str
    interval: str
    candle_count: int
    missing_count: int
    coverage: float
    gap_count: int
    longest_gap_minutes: float
    silent_hours: float
    distorted_count: int


@dataclass(frozen=True, slots=True)
class SiteContent:
    """Everything that the pages show, but for the pages of runs, which are collected one by one.

    Attributes:
        overview: Counts, leaderboards, equity, the drawn trade, models, quarantine, coverage.
        narrowing: What all of it is narrowed to.
        callers: Standings of callers under strategy versions, by strategy version.
        caller_pages: Callers that have a page of their own, best first.
        caller_total: All callers in the leaderboards.
        version_callers: How many callers each strategy version has in all.
        caller_months: Results by month of callers that have a page.
        caller_trades: Their trades.
        strategy_trades: Trades by strategy version.
        strategy_documents: Strategy versions as their authors wrote them.
        exits: How trades ended, by strategy version.
        runs: Best first: the best of all, of each strategy version and of tokens that have a page, and the latest.
        run_total: All current runs.
        version_runs: How many current runs each strategy version has in all.
        token_runs: How many each token that has a page has in all.
        run_pages: Runs that have a page of their own.
        tokens: Results by token, those first that brought or cost most.
        token_total: All such rows.
        token_pages: Tokens that have a page of their own, those first that brought or cost most.
        token_count: All tokens with a result.
        token_trades: Trades of tokens that have a page.
        token_prices: Their prices.
        searches: Searches that are listed, newest first.
        search_total: All searches.
        search_pages: The searches that have a page.
        qualities: Current runs by what their candles were like.
        failures: Why runs, searches and backfills failed.
        health: Whether everything is up to date.
        gaps: Months of tokens in which candles are missing, the most missing first.
        gap_total: All such months.
    """

    overview: ReportContent
    narrowing: Narrowing = Narrowing()
    callers: tuple[Standing, ...] = ()
    caller_pages: tuple[CallerName, ...] = ()
    caller_total: int = 0
    version_callers: Mapping[StrategyName, int] = field(default_factory=dict)
    caller_months: Mapping[CallerName, tuple[CallerMonth, ...]] = field(default_factory=dict)
    caller_trades: Mapping[CallerName, TradeList] = field(default_factory=dict)
    strategy_trades: Mapping[StrategyName, TradeList] = field(default_factory=dict)
    strategy_documents: Mapping[StrategyName, StrategyDocument] = field(default_factory=dict)
    exits: Mapping[StrategyName, tuple[ExitLine, ...]] = field(default_factory=dict)
    runs: tuple[RunLine, ...] = ()
    run_total: int = 0
    version_runs: Mapping[StrategyName, int] = field(default_factory=dict)
    token_runs: Mapping[TokenName, int] = field(default_factory=dict)
    run_pages: tuple[int, ...] = ()
    tokens: tuple[TokenLine, ...] = ()
    token_total: int = 0
    token_pages: tuple[TokenName, ...] = ()
    token_count: int = 0
    token_trades: Mapping[TokenName, TradeList] = field(default_factory=dict)
    token_prices: Mapping[TokenName, TokenPrices] = field(default_factory=dict)
    searches: tuple[SearchLine, ...] = ()
    search_total: int = 0
    search_pages: tuple[SearchContent, ...] = ()
    qualities: tuple[QualityCount, ...] = ()
    failures: tuple[FailureLine, ...] = ()
    health: tuple[HealthLine, ...] = ()
    gaps: tuple[GapLine, ...] = ()
    gap_total: int = 0
