"""Candles that calls need, from an HTTP source: plan what is missing, ask for it, store it page by page.

A call needs the candles from its strategies' warm-up before it to the end of their horizon after it. Windows of calls
on one token are merged. Of a window, only what is missing is asked for: not what is stored, from whatever source, and
not what this source was asked for before (`fetched_ranges`), for where it had no candle, nothing was traded.

Every page is an import of its own: its range is begun, its rows are checked by the rules of candle files, the bad ones
quarantined, the good ones stored, and only then its range is fetched. A run that dies is taken up at the page that it
did not finish: that range is asked for again, alone, so that the same answer completes the same import. What fails
costs its token alone.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Literal, cast

import numpy as np

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.engine.reference import warm_up_candles
from quantbot_pipeline.errors import InputError, SourceError
from quantbot_pipeline.ingest.candle_checks import check_candles
from quantbot_pipeline.ingest.checked_candles import CheckedCandles
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.sources.candle_pages import PAGE_CANDLES, CandlePage, CandleSource, Market
from quantbot_pipeline.sources.candle_pages import Side as PoolSide
from quantbot_pipeline.sources.failures import SourceAccessError, SourceUnreachableError
from quantbot_pipeline.storage.fetches import FetchLedger, StoredPool
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import CallRow, ImportRecord
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.import_candles import ImportOutcome, months_of_batch
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.settle_candles import SettledBatch, rows_to_insert, settle_batches
from quantbot_pipeline.workflows.simulation_inputs import trade_reach_seconds
from quantbot_pipeline.workflows.token_months import format_token

DEFAULT_WARM_UP_SECONDS = 86400
"""Before a call, where no strategy is stored: a day, which is what most features look back on."""
DEFAULT_HORIZON_SECONDS = 86400
"""After a call, where no strategy is stored: a day, the longest horizon of most presets."""

SETTLING_SECONDS = 120
"""Candles that closed less than this ago are left for the next run: answers are cached for a minute."""

UNREACHABLE_TOKENS = 3
"""After so many tokens in a row for which nothing came back, the others are not tried: the source is down."""

Range = tuple[int, int]
"""`[start, end)`, seconds since the epoch, on the grid of the interval."""

Status = Literal["fetched", "complete", "failed", "not tried", "not served"]


@dataclass(frozen=True, slots=True)
class TokenPlan:
    """What one token needs.

    Attributes:
        token: The token.
        token_id: Its id in Postgres.
        first_call_at: When its first call was made.
        call_count: Calls that ask for candles.
        windows: What the calls need, merged, as far as candles have closed.
        missing: The parts of it that are asked for.
        is_served: Whether the source knows the token's chain.
    """

    token: TokenKey
    token_id: int
    first_call_at: datetime
    call_count: int
    windows: tuple[Range, ...]
    missing: tuple[Range, ...]
    is_served: bool


@dataclass(frozen=True, slots=True)
class FetchPlan:
    """What is asked of a source.

    Attributes:
        source: Its name.
        interval: Interval of the candles.
        warm_up_seconds: Before each call.
        horizon_seconds: After each call.
        tokens: One plan per token with calls, sorted.
    """

    source: str
    interval: str
    warm_up_seconds: int
    horizon_seconds: int
    tokens: tuple[TokenPlan, ...]

    def candle_count(self, ranges: Iterable[Range]) -> int:
        """Return how many candles ranges have room for."""
        return sum(end - start for start, end in ranges) // INTERVAL_SECONDS[self.interval]


@dataclass(slots=True)
class TokenOutcome:
    """What became of one token; `received == stored + duplicates + quarantined + left_out`.

    Attributes:
        token: The token.
        status: fetched; complete: nothing was missing; failed; not tried: others failed before it; not served: the
            source does not know its chain.
        requested: Candles that the missing ranges have room for.
        received: Rows that came.
        stored: Candles that are new.
        duplicates: Rows whose candle was stored already, or came twice in a page.
        quarantined: Rows that can't be used.
        left_out: Candles outside of what was asked for, still open ones among them.
        requests: Requests that were sent, further tries included.
        reason: Why it failed, one line; empty otherwise.
        note: What one should know of its candles; empty for nothing.
    """

    token: TokenKey
    status: Status
    requested: int = 0
    received: int = 0
    stored: int = 0
    duplicates: int = 0
    quarantined: int = 0
    left_out: int = 0
    requests: int = 0
    reason: str = ""
    note: str = ""


@dataclass(frozen=True, slots=True)
class FetchReport:
    """What became of a plan.

    Attributes:
        tokens: One outcome per token, in the plan's order.
        imports: One per page that had rows.
    """

    tokens: list[TokenOutcome] = field(default_factory=list)
    imports: list[ImportOutcome] = field(default_factory=list)

    @property
    def failed(self) -> list[TokenOutcome]:
        """Tokens that did not get all that they need."""
        return [outcome for outcome in self.tokens if outcome.status in {"failed", "not tried"}]


def plan_fetch(
    source: CandleSource,
    state: StateStore,
    history: HistoryStore,
    ledger: FetchLedger,
    *,
    since: datetime,
    now: float,
    until: datetime | None = None,
    tokens: Collection[TokenKey] | None = None,
    interval: str = "5m",
    warm_up_seconds: int | None = None,
    horizon_seconds: int | None = None,
    strategies: Sequence[Strategy] = (),
) -> FetchPlan:
    """Return what stored calls need and is missing. Asks the source for nothing.

    Args:
        source: Who will be asked.
        state: Where calls are.
        history: Where candles are.
        ledger: What was asked before.
        since: Calls from here,
        until: to here, exclusive; without it, all later ones.
        now: Seconds since the epoch; candles that have not closed by then are not asked for.
        tokens: Only these; all with calls without it.
        interval: Interval of the candles.
        warm_up_seconds: Before each call; from `strategies` without it.
        horizon_seconds: After each call; from `strategies` without it.
        strategies: Whose warm-up and horizon the candles are to suffice for; the documented defaults without any.

    Raises:
        InputError: the source does not have the interval.
    """
    if interval not in source.intervals:
        raise InputError(f"--interval: {source.name} has no {interval!r} candles; it has {', '.join(source.intervals)}")
    step = INTERVAL_SECONDS[interval]
    if warm_up_seconds is None:
        needs = [warm_up_candles(strategy) * step for strategy in strategies]
        warm_up_seconds = max(needs, default=DEFAULT_WARM_UP_SECONDS)
    if horizon_seconds is None:
        horizon_seconds = max((trade_reach_seconds(s) for s in strategies), default=DEFAULT_HORIZON_SECONDS)
    closed_until = (int(now) - SETTLING_SECONDS) // step * step
    calls: dict[TokenKey, list[CallRow]] = defaultdict(list)
    for call in state.load_calls(tokens=tokens, start=since, end=until):
        # Other calls act on trades that such a one has opened, within its window.
        if call.side is Side.BUY and call.signal_type in {SignalType.ENTRY, SignalType.SCALE_IN}:
            calls[call.token].append(call)
    plans = [
        _plan_token(
            calls[token],
            _windows(calls[token], warm_up_seconds, horizon_seconds, step, closed_until),
            source,
            interval,
            ledger,
            history,
        )
        for token in sorted(calls)
    ]
    return FetchPlan(source.name, interval, warm_up_seconds, horizon_seconds, tuple(plans))


def _plan_token(
    calls: Sequence[CallRow],
    windows: Sequence[Range],
    source: CandleSource,
    interval: str,
    ledger: FetchLedger,
    history: HistoryStore,
) -> TokenPlan:
    """Return what the calls on one token need, oldest first, and what of it is missing."""
    first = calls[0]
    is_served = source.serves(first.token.chain)
    missing: list[Range] = []
    if is_served:
        ranges = ledger.load_ranges(first.token_id, source.name, interval)
        begun, fetched = (
            [(int(r.start.timestamp()), int(r.end.timestamp())) for r in ranges if r.is_complete is is_complete]
            for is_complete in (False, True)
        )
        unfinished = _unfinished(begun, fetched, windows, INTERVAL_SECONDS[interval])
        known = fetched + unfinished
        parts = [part for window in windows for part in _missing(first.token, interval, window, known, history)]
        missing = sorted(unfinished + parts)
    return TokenPlan(
        first.token, first.token_id, first.signal_timestamp, len(calls), tuple(windows), tuple(missing), is_served
    )


def fetch_candles(
    plan: FetchPlan,
    source: CandleSource,
    state: StateStore,
    history: HistoryStore,
    ledger: FetchLedger,
    *,
    report: FetchReport | None = None,
    on_progress: ProgressListener = no_progress,
) -> FetchReport:
    """Ask for what is missing and store it, token by token.

    A source that fails costs the token that was asked for; one that lets nobody in, or gives nothing for several
    tokens in a row, is not asked for the others. The pages before a failure stay stored.

    Raises:
        StorageError: a database failed; what was stored before stays.
    """
    report = report if report is not None else FetchReport()
    progress = _Progress(plan, on_progress)
    unreachable = 0
    stopped_by = ""
    for token_plan in plan.tokens:
        outcome = TokenOutcome(token_plan.token, "complete", requested=plan.candle_count(token_plan.missing))
        report.tokens.append(outcome)
        if not token_plan.is_served:
            outcome.status = "not served"
            outcome.reason = f"{source.name} does not know the chain {token_plan.token.chain!r}"
        elif token_plan.missing and stopped_by:
            outcome.status = "not tried"
            outcome.reason = stopped_by
        elif token_plan.missing:
            sent_before = source.request_count
            try:
                _fetch_token(token_plan, plan, source, state, history, ledger, outcome, report.imports, progress)
            except SourceError as error:
                outcome.status = "failed"
                outcome.reason = str(error)
                unreachable = unreachable + 1 if isinstance(error, SourceUnreachableError) else 0
                if isinstance(error, SourceAccessError):
                    stopped_by = "not tried: the source lets us in for no token"
                elif unreachable >= UNREACHABLE_TOKENS:
                    stopped_by = f"not tried: nothing came for {unreachable} tokens in a row"
            else:
                outcome.status = "fetched"
                unreachable = 0
            outcome.requests = source.request_count - sent_before
        progress.finish(token_plan)
    return report


class _Progress:
    """Tells how many of the missing candles were asked for."""

    def __init__(self, plan: FetchPlan, on_progress: ProgressListener) -> None:
        self._plan = plan
        self._on_progress = on_progress
        self._total = sum(plan.candle_count(token.missing) for token in plan.tokens)
        self._before = 0
        self._of_token = 0
        on_progress(0, self._total, "")

    def advance(self, token_plan: TokenPlan, covered: Range) -> None:
        self._of_token += self._plan.candle_count([covered])
        self._on_progress(self._before + self._of_token, self._total, format_token(token_plan.token))

    def finish(self, token_plan: TokenPlan) -> None:
        """Count a token as done, also where it failed."""
        self._before += self._plan.candle_count(token_plan.missing)
        self._of_token = 0
        self._on_progress(self._before, self._total, format_token(token_plan.token))


def _windows(
    calls: Sequence[CallRow], warm_up_seconds: int, horizon_seconds: int, step: int, closed_until: int
) -> list[Range]:
    """Return what calls need, oldest first, merged where windows touch."""
    windows: list[Range] = []
    for call in calls:
        called_at = int(call.signal_timestamp.timestamp())
        start = (called_at - warm_up_seconds) // step * step
        # The candle that the horizon falls into, and the one after it: a trade ends at the first open at or after it.
        end = min(closed_until, (called_at + horizon_seconds) // step * step + 2 * step)
        if end <= start:
            continue
        if windows and start <= windows[-1][1]:
            windows[-1] = (windows[-1][0], max(windows[-1][1], end))
        else:
            windows.append((start, end))
    return windows


def _unfinished(begun: Sequence[Range], fetched: Sequence[Range], windows: Sequence[Range], step: int) -> list[Range]:
    """Return the begun ranges that windows need and that were not fetched otherwise since."""
    covered = {slot for start, end in fetched for slot in range(start, end, step)} if begun else set()
    return [
        (start, end)
        for start, end in begun
        if any(start < last and first < end for first, last in windows)
        and not covered.issuperset(range(start, end, step))
    ]


def _missing(
    token: TokenKey, interval: str, window: Range, known: Sequence[Range], history: HistoryStore
) -> list[Range]:
    """Return the parts of a window that are neither stored nor in one of the known ranges.

    Parts that fit into one answer together are asked for together: one request is what costs.
    """
    step = INTERVAL_SECONDS[interval]
    first, last = window
    is_known = np.zeros((last - first) // step, dtype=np.bool_)
    for start, end in known:
        is_known[max(0, (start - first) // step) : max(0, (end - first) // step)] = True
    stored = history.load_candle_rows(token.chain, token.address, interval, first, last)
    is_known[(stored["timestamp"].to_numpy() - first) // step] = True
    edges = np.flatnonzero(np.diff(np.concatenate(([True], is_known, [True])).astype(np.int8))) * step + first
    parts: list[Range] = []
    for start, end in zip(edges[::2].tolist(), edges[1::2].tolist(), strict=True):
        if parts and end - parts[-1][0] <= PAGE_CANDLES * step:
            parts[-1] = (parts[-1][0], end)
        else:
            parts.append((start, end))
    return parts


def _fetch_token(
    token_plan: TokenPlan,
    plan: FetchPlan,
    source: CandleSource,
    state: StateStore,
    history: HistoryStore,
    ledger: FetchLedger,
    outcome: TokenOutcome,
    imports: list[ImportOutcome],
    progress: _Progress,
) -> None:
    market = _market(token_plan, source, ledger)
    created = market.pool_created_at
    if created is not None and created > token_plan.first_call_at:
        outcome.note = (
            f"pool {market.pool_address} was made {created:%Y-%m-%dT%H:%M:%SZ}, after the first call: what was traded "
            "in other pools before is not among its candles"
        )
    # The newest part first: where a run is cut short, what is nearest to today is there.
    for asked in reversed(token_plan.missing):
        for page in source.pages(market, plan.interval, *asked):
            place = (
                token_plan.token_id,
                source.name,
                plan.interval,
                datetime.fromtimestamp(page.start, UTC),
                datetime.fromtimestamp(page.end, UTC),
            )
            is_range = page.start < page.end
            if is_range:
                ledger.begin_range(*place, rows_received=page.row_count)
            imported = _store_page(page, asked, market, plan, state, history, outcome)
            if imported is not None:
                imports.append(imported)
            if is_range:
                ledger.complete_range(*place, rows_received=page.row_count)
            progress.advance(token_plan, (page.start, page.end))


def _market(token_plan: TokenPlan, source: CandleSource, ledger: FetchLedger) -> Market:
    pool = ledger.find_pool(token_plan.token_id, source.name)
    if pool is None:
        found = source.find_market(token_plan.token)
        if found.pool_address is None:
            return found
        chosen = StoredPool(found.pool_address, found.side, found.pool_created_at)
        pool = ledger.remember_pool(token_plan.token_id, source.name, chosen)
    return Market(token_plan.token, pool.pool_address, cast("PoolSide", pool.side), pool.pool_created_at)


def _store_page(
    page: CandlePage,
    asked: Range,
    market: Market,
    plan: FetchPlan,
    state: StateStore,
    history: HistoryStore,
    outcome: TokenOutcome,
) -> ImportOutcome | None:
    """Store what a page holds of the range that was asked for; None for a page without rows."""
    if not page.row_count:
        return None
    token = market.token
    given = {"chain": token.chain, "token_address": token.address, "interval": plan.interval}
    whole = check_candles(page.rows, dict(given), None)
    # All that is asked for has closed, so this leaves open candles out too.
    checked = whole.between(*asked)
    left_out = whole.rows_read - checked.rows_read
    outcome.received += page.row_count
    outcome.left_out += left_out
    # Between comparing with what is stored and storing: two at once would both count a candle as new.
    with state.exclusive_import():
        [settled] = settle_batches([checked], history)
        options_key = "|".join([plan.source, *given.values(), str(page.start), str(page.end)])
        known = state.find_import("candles", page.sha256, options_key)
        if known is not None:
            # Stored by a run that died before it could say so, or fetched again on purpose after its rows were removed.
            _insert(checked, settled, history)
            outcome.duplicates += checked.rows_read - len(checked.quarantined)
            outcome.quarantined += len(checked.quarantined)
            return ImportOutcome(known, is_known=True)
        record = state.begin_import(
            ImportRecord(
                kind="candles",
                file=page.rows.file,
                sha256=page.sha256,
                options_key=options_key,
                rows_read=checked.rows_read,
                rows_stored=settled.new_count,
                rows_duplicate=settled.repeated_count + checked.duplicates + checked.conflicts,
                rows_quarantined=len(checked.quarantined),
                details={
                    "conflicts_in_file": checked.conflicts,
                    "conflict_count": checked.conflicts + settled.conflict_count,
                    "rows_left_out": left_out,
                    "pool_address": market.pool_address,
                    "token_months": [
                        [key.token.chain, key.token.address, key.month] for key in sorted(months_of_batch(checked))
                    ],
                },
                quarantined=checked.quarantined,
            )
        )
        _insert(checked, settled, history)
        state.complete_import(record)
    outcome.stored += record.rows_stored
    outcome.duplicates += record.rows_duplicate
    outcome.quarantined += record.rows_quarantined
    return ImportOutcome(record, is_known=False)


def _insert(checked: CheckedCandles, settled: SettledBatch, history: HistoryStore) -> None:
    if settled.is_needed.any():
        history.insert_candles(rows_to_insert([(checked, settled.is_needed)]))
