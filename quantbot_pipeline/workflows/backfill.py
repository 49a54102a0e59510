"""Backfills: every strategy on the calls of many token-months, computing only what is stale.

Token-months are taken by batches up to a bound of candles, so that memory does not grow with their number. Of each
batch the candles are read at once and the results written at once; the next batch is read, and the last one written,
while one is simulated. Who works on a batch holds its tokens' locks: another backfill of the same waits, and then finds
the runs complete. What is wrong with one token or one run costs no other.
"""

from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from datetime import datetime

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.errors import DataError, ServerError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import StrategyRow
from quantbot_pipeline.workflows.backfill_plan import (
    RUN_TYPE,
    PlannedRun,
    PlannedStrategy,
    Staleness,
    plan_runs,
    planned_strategies,
)
from quantbot_pipeline.workflows.call_scores import CallScoreReader, ScoreCoverage
from quantbot_pipeline.workflows.prepare_engine import prepare_engine
from quantbot_pipeline.workflows.run_simulations import (
    RunOutcome,
    RunRequest,
    RunStatus,
    SimulatedBatch,
    publish,
    token_lock_name,
)
from quantbot_pipeline.workflows.simulation_inputs import (
    SimulationInputs,
    StoredInputs,
    TokenInput,
    validate_candles,
)
from quantbot_pipeline.workflows.stage_times import StageTimes
from quantbot_pipeline.workflows.token_months import TokenMonth

TOKEN_MONTHS_PER_PLAN = 2_000
"""Token-months that are planned at once: their calls and contents of months are in memory together."""

CANDLES_PER_BATCH = 1_000_000
"""Candles that a batch reads, but for a token-month that has more: 48 MB, of up to three batches at a time."""

RUNS_PER_BATCH = 1_000
"""Runs that are claimed, simulated and written at once; that many are computed again after a kill."""

FAILURES_KEPT = 1_000
"""Failures that a result names; all of them are in `backfill_token_months` and `simulation_runs`."""


@dataclass(frozen=True, slots=True)
class MonthOutcome:
    """What became of a token-month.

    Attributes:
        key: The token-month.
        computed: Runs that were computed.
        reused: Runs that were complete.
        failures: What each failed run, or the reading of candles, stumbled over.
        new_events: Events of the computed runs.
        trade_count: Trades of all its runs that did not fail.
        final_pnl: Mean over these runs, fraction of the capital per trade; None without runs.
        is_untouched: Whether all its runs were up to date, so that nothing was read or written.
        settled_at: Since when these are what they are; None without runs.
        why: Why its computed runs were stale, one for each.
    """

    key: TokenMonth
    computed: int
    reused: int
    failures: tuple[str, ...]
    new_events: int
    trade_count: int
    final_pnl: float | None
    is_untouched: bool = False
    settled_at: datetime | None = None
    why: tuple[Staleness, ...] = ()

    @property
    def reason(self) -> str | None:
        """Why it counts as failed, None if it does not."""
        return "; ".join(self.failures) or None


@dataclass(slots=True)
class BackfillCounts:
    """How far a backfill is, or what became of it.

    Attributes:
        total: Token-months that are wanted.
        done: Those it is through with, also failed ones.
        months_failed: Those with a failure.
        runs: Runs of token-months that it planned.
        computed: Runs that were computed.
        reused: Runs that were complete.
        failed: Runs that failed.
        new_events: Events of the computed runs.
        candles: Candles that were read.
        why: How many of the computed runs were stale for which reason; how many of the others were up to date.
        failures: The first failures, (token-month, reason).
        scores: How many of the calls have the scores that strategies ask for.
        waiting: Whether it waits for another process.
    """

    total: int
    done: int = 0
    months_failed: int = 0
    runs: int = 0
    computed: int = 0
    reused: int = 0
    failed: int = 0
    new_events: int = 0
    candles: int = 0
    why: Counter[Staleness] = field(default_factory=Counter)
    failures: list[tuple[TokenMonth, str]] = field(default_factory=list)
    scores: ScoreCoverage = field(default_factory=ScoreCoverage)
    waiting: bool = False

    def add(self, outcomes: Sequence[MonthOutcome]) -> None:
        """Count what became of token-months."""
        for outcome in outcomes:
            self.done += 1
            self.computed += outcome.computed
            self.reused += outcome.reused
            self.why.update(outcome.why)
            self.why[Staleness.UP_TO_DATE] += outcome.reused
            self.failed += len(outcome.failures)
            self.new_events += outcome.new_events
            if outcome.reason is not None:
                self.months_failed += 1
                if len(self.failures) < FAILURES_KEPT:
                    self.failures.append((outcome.key, outcome.reason))


@dataclass(frozen=True, slots=True)
class BackfillListener:
    """Who is told of a backfill.

    Attributes:
        on_months: Given what became of some token-months, once it is stored; their order is not that of the keys.
        on_progress: Given the counts whenever they change.
        on_message: Told what is being waited for.
    """

    on_months: Callable[[Sequence[MonthOutcome]], None] = lambda _: None
    on_progress: Callable[[BackfillCounts], None] = lambda _: None
    on_message: Callable[[str], None] = lambda _: None


@dataclass(frozen=True, slots=True)
class _Batch:
    """Stale runs that are read together, all of whole token-months."""

    runs: Sequence[PlannedRun]
    reused: Sequence[PlannedRun]
    stored: StoredInputs

    @property
    def tokens(self) -> set[TokenKey]:
        return {run.key.token for run in self.runs}

    @property
    def keys(self) -> list[TokenMonth]:
        return sorted({run.key for run in self.runs})


@dataclass(frozen=True, slots=True)
class _Loaded:
    """What a batch reads.

    Attributes:
        inputs: By token.
        broken: Tokens whose candles can't be read, and why.
        suspect: Tokens with a candle that breaks a rule: runs that read it fail.
        unsteady: Tokens that got candles while they were read.
        candle_count: Candles that were read.
    """

    inputs: dict[TokenKey, SimulationInputs]
    broken: dict[TokenKey, str]
    suspect: set[TokenKey]
    unsteady: set[TokenKey]
    candle_count: int


class _Writing:
    """A batch that is being written, with the locks that it holds until then."""

    def __init__(self, tokens: set[TokenKey], written: "Future[list[MonthOutcome]]") -> None:
        self.tokens = tokens
        self.written = written


def explain_backfill(
    keys: Sequence[TokenMonth],
    strategies: Sequence[StrategyRow],
    state: StateStore,
    history: HistoryStore,
    *,
    force: bool = False,
    coverage: ScoreCoverage | None = None,
) -> Iterator[PlannedRun]:
    """Yield the runs that a backfill would come to, each with why it is stale; changes nothing that is shown.

    Args:
        keys: Token-months.
        strategies: Strategies; of several versions the newest is meant.
        state: Where calls and runs are.
        history: Where candles and scores are.
        force: All runs are to be computed.
        coverage: Told how many of the calls have the scores that strategies ask for.

    Raises:
        InputError: a strategy names a model of which no version was ever ready.
    """
    planned = planned_strategies(strategies)
    scores = CallScoreReader.of((strategy.strategy for strategy in planned), state, history)
    for part in _parts(sorted(keys)):
        stored = StoredInputs.load_stamped(state, history, {key.token for key in part}, scores)
        if coverage is not None:
            coverage.add(calls_of_months(part, stored), stored.scores)
        yield from plan_runs(part, planned, stored, state, force=force)


def run_backfill(
    keys: Sequence[TokenMonth],
    strategies: Sequence[StrategyRow],
    state: StateStore,
    history: HistoryStore,
    *,
    force: bool = False,
    jobs: int = 1,
    listener: BackfillListener | None = None,
    stages: StageTimes | None = None,
) -> BackfillCounts:
    """Compute and store what is stale of token-months.

    Args:
        keys: Token-months.
        strategies: Strategies; of several versions the newest is simulated.
        state: Where calls, runs and summaries are.
        history: Where candles, events and aggregates are.
        force: Compute complete runs anew too; a result that differs from the stored one is a failure.
        jobs: Threads of the engine; changes no result.
        listener: Who is told how far it is.
        stages: Where the time goes to; stages run side by side.

    Raises:
        ServerError: a server went away; what was finished is stored.
        StrategyError: a stored strategy can't be simulated; nothing was computed.
        InputError: a strategy names a model of which no version was ever ready; nothing was computed.
    """
    planned = planned_strategies(strategies)
    backfill = _Backfill(
        planned,
        CallScoreReader.of((strategy.strategy for strategy in planned), state, history),
        state,
        history,
        force=force,
        jobs=jobs,
        listener=listener or BackfillListener(),
        stages=stages or StageTimes(),
        counts=BackfillCounts(total=len(keys)),
    )
    backfill.run(sorted(keys))
    with backfill.stages.measure("publish"):
        publish(state, history)
    return backfill.counts


@dataclass(frozen=True, slots=True)
class _Backfill:
    """A backfill that is under way."""

    strategies: Sequence[PlannedStrategy]
    scores: CallScoreReader
    state: StateStore
    history: HistoryStore
    force: bool
    jobs: int
    listener: BackfillListener
    stages: StageTimes
    counts: BackfillCounts

    def run(self, keys: Sequence[TokenMonth]) -> None:
        with ThreadPoolExecutor(1) as reader, ThreadPoolExecutor(1) as writer:
            writing: _Writing | None = None
            is_prepared = False
            for batch, loading in _one_ahead(self._batches(keys), lambda batch: reader.submit(self._load, batch)):
                if writing is not None and writing.tokens & batch.tokens:
                    # Its own locks are no reason to wait for another process.
                    self._tell(writing.written.result())
                    writing = None
                if not is_prepared:
                    # Only where there is something to compute: loading the engine takes a second.
                    with self.stages.measure("load the engine"):
                        prepare_engine(self.listener.on_message)
                    is_prepared = True
                simulated = self._work_on(batch, loading, writer)
                if writing is not None:
                    self._tell(writing.written.result())
                writing = simulated
            if writing is not None:
                self._tell(writing.written.result())

    # --- planning ---

    def _batches(self, keys: Sequence[TokenMonth]) -> Iterator[_Batch]:
        """Yield the stale runs by batches; token-months without any are told of at once."""
        for part in _parts(keys):
            stored, runs = self._plan(part)
            self.counts.scores.add(calls_of_months(part, stored), stored.scores)
            self.counts.runs += len(runs)
            stale = {run.key for run in runs if run.staleness is not Staleness.UP_TO_DATE}
            reused = [run for run in runs if run.key not in stale]
            self._tell(_month_outcomes([key for key in part if key not in stale], [], reused, {}))
            yield from self._cut_to_size([run for run in runs if run.key in stale], stored)

    def _plan(self, keys: Sequence[TokenMonth]) -> tuple[StoredInputs, list[PlannedRun]]:
        with self.stages.measure("fingerprint"):
            tokens = {key.token for key in keys}
            stored = StoredInputs.load_stamped(self.state, self.history, tokens, self.scores)
        with self.stages.measure("plan"):
            return stored, plan_runs(keys, self.strategies, stored, self.state, force=self.force)

    def _cut_to_size(self, runs: Sequence[PlannedRun], stored: StoredInputs) -> Iterator[_Batch]:
        batch: list[PlannedRun] = []
        candles = 0
        for position, run in enumerate(runs):
            if position == 0 or run.key != runs[position - 1].key:
                count = stored.count_candles(run.key.token, run.key.month)
                if batch and (candles + count > CANDLES_PER_BATCH or len(batch) >= RUNS_PER_BATCH):
                    yield _batch(batch, stored)
                    batch, candles = [], 0
                candles += count
            batch.append(run)
        if batch:
            yield _batch(batch, stored)

    # --- reading ---

    def _load(self, batch: _Batch) -> _Loaded:
        with self.stages.measure("load"):
            try:
                inputs = dict.fromkeys(batch.tokens, self._inputs(batch, batch.tokens))
                broken: dict[TokenKey, str] = {}
            except ServerError:
                raise
            except Exception:  # noqa: BLE001 - one of the tokens: which one shows when each is read by itself
                inputs, broken = self._load_one_by_one(batch)
            found = self.history.load_imported(list(inputs)).to_pylist() if inputs else []
        now = {(row["chain"], row["token_address"], row["month"], row["interval"]): row["imported"] for row in found}
        return _Loaded(
            inputs,
            broken,
            suspect={token for token, read in inputs.items() if not _is_valid(read, token)},
            unsteady={token for token in inputs if batch.stored.imported(token) != _of_token(now, token)},
            candle_count=sum(read.candle_count() for read in {id(read): read for read in inputs.values()}.values()),
        )

    def _load_one_by_one(self, batch: _Batch) -> tuple[dict[TokenKey, SimulationInputs], dict[TokenKey, str]]:
        inputs: dict[TokenKey, SimulationInputs] = {}
        broken: dict[TokenKey, str] = {}
        for token in sorted(batch.tokens):
            try:
                inputs[token] = self._inputs(batch, {token})
            except ServerError:
                raise
            except Exception as error:  # noqa: BLE001 - whatever a token stumbles over must not cost its neighbours
                broken[token] = f"candles can't be read: {type(error).__name__}: {error}"
        return inputs, broken

    def _inputs(self, batch: _Batch, tokens: set[TokenKey]) -> SimulationInputs:
        windows: dict[TokenKey, tuple[datetime, datetime]] = {}
        for key in batch.keys:
            if key.token in tokens:
                start, end = windows.get(key.token, (key.start, key.end))
                windows[key.token] = (min(start, key.start), max(end, key.end))
        strategies = [strategy.strategy for strategy in self.strategies]
        return SimulationInputs.load(self.state, self.history, windows, strategies, stored=batch.stored)

    # --- computing ---

    def _work_on(self, batch: _Batch, loading: "Future[_Loaded]", writer: ThreadPoolExecutor) -> _Writing:
        """Compute a batch, and let it be written; the locks are given back when it is."""
        locks = ExitStack()
        keys = sorted({*batch.keys, *(run.key for run in batch.reused)})
        try:
            names = {token_lock_name(token) for token in batch.tokens}
            with self.stages.measure("lock"):
                has_waited = locks.enter_context(self.state.exclusive_runs(names, self._say_waiting))
            if has_waited:
                self.counts.waiting = False
                # Who had them may have computed these runs, and candles may have come.
                loading.exception()
                stored, runs = self._plan(keys)
                batch = _batch(runs, stored)
                loaded = self._load(batch)
            else:
                with self.stages.measure("wait for candles"):
                    loaded = loading.result()
            self.counts.candles += loaded.candle_count
            with self.stages.measure("cut"):
                requests, failures = self._requests(batch, loaded)
            simulated = SimulatedBatch.of(requests, self.state, force=self.force, threads=self.jobs, stages=self.stages)
        except BaseException:
            locks.close()
            raise

        def write() -> list[MonthOutcome]:
            with locks:
                outcomes = simulated.store(self.state, self.history, stages=self.stages)
            return _month_outcomes(keys, outcomes, batch.reused, failures, batch.runs)

        return _Writing(batch.tokens, writer.submit(write))

    def _requests(self, batch: _Batch, loaded: _Loaded) -> tuple[list[RunRequest], dict[TokenMonth, list[str]]]:
        """Return requests of what can be simulated, and why the others can't, by token-month."""
        token_ids = self.state.upsert_tokens(dict.fromkeys(batch.tokens))
        cuts: dict[tuple[TokenMonth, tuple[object, ...]], TokenInput | str] = {}
        requests: list[RunRequest] = []
        failures: dict[TokenMonth, list[str]] = {}
        for run in batch.runs:
            key, strategy = run.key, run.strategy
            place = (key, strategy.reading)
            if place not in cuts:
                cuts[place] = _cut(run, loaded)
            cut = cuts[place]
            if isinstance(cut, str):
                failures.setdefault(key, []).append(f"{strategy.row.name}: {cut}")
                continue
            stamp = None if key.token in loaded.unsteady else run.stamp
            requests.append(
                RunRequest(
                    strategy.row,
                    strategy.strategy,
                    RUN_TYPE,
                    (cut,),
                    token_ids[key.token],
                    key.start,
                    key.end,
                    inputs_stamp=stamp,
                )
            )
        return requests, failures

    # --- telling ---

    def _say_waiting(self) -> None:
        self.counts.waiting = True
        self.listener.on_message("waiting for another process that computes runs of the same tokens")
        self.listener.on_progress(self.counts)

    def _tell(self, outcomes: Sequence[MonthOutcome]) -> None:
        self.counts.add(outcomes)
        if outcomes:
            with self.stages.measure("record"):
                self.listener.on_months(outcomes)
        self.listener.on_progress(self.counts)


def _batch(runs: Sequence[PlannedRun], stored: StoredInputs) -> _Batch:
    return _Batch(
        [run for run in runs if run.staleness is not Staleness.UP_TO_DATE],
        [run for run in runs if run.staleness is Staleness.UP_TO_DATE],
        stored,
    )


def _cut(run: PlannedRun, loaded: _Loaded) -> TokenInput | str:
    """Return what a run reads, or why it can't."""
    token = run.key.token
    if token in loaded.broken:
        return loaded.broken[token]
    try:
        cut = loaded.inputs[token].cut(token, run.key.start, run.key.end, run.strategy.strategy)
        if cut is None:
            return "no call asks for anything any more; run the backfill again"
        if token in loaded.suspect:
            validate_candles(token, cut.candles, cut.candles.interval_seconds)
    except Exception as error:  # noqa: BLE001 - whatever one token stumbles over must not cost its neighbours
        return f"{type(error).__name__}: {error}"
    return cut


def _is_valid(inputs: SimulationInputs, token: TokenKey) -> bool:
    try:
        inputs.validate(token)
    except DataError:
        return False
    return True


def _of_token(imported: dict[tuple[str, str, str, str], int], token: TokenKey) -> dict[tuple[str, str], int]:
    return {
        (month, interval): number
        for (chain, address, month, interval), number in imported.items()
        if (chain, address) == tuple(token)
    }


def _month_outcomes(
    keys: Sequence[TokenMonth],
    outcomes: Sequence[RunOutcome],
    reused: Sequence[PlannedRun],
    failures: dict[TokenMonth, list[str]],
    stale: Sequence[PlannedRun] = (),
) -> list[MonthOutcome]:
    """Return what became of token-months, given what became of their runs."""
    reasons = {(run.key, run.strategy.row.name): run.staleness for run in stale}
    by_key: dict[TokenMonth, list[RunOutcome]] = {}
    for outcome in outcomes:
        key = TokenMonth(outcome.request.inputs[0].token, f"{outcome.request.window_start:%Y-%m}")
        by_key.setdefault(key, []).append(outcome)
    known: dict[TokenMonth, list[PlannedRun]] = {}
    for run in reused:
        known.setdefault(run.key, []).append(run)
    months = []
    for key in keys:
        of_month = by_key.get(key, [])
        failed = [
            f"{outcome.request.strategy_row.name} (run {outcome.run_id}): {outcome.error}"
            for outcome in of_month
            if outcome.status is RunStatus.FAILED
        ]
        metrics = [outcome.metrics for outcome in of_month if outcome.metrics is not None]
        current = [run.current for run in known.get(key, []) if run.current is not None]
        pnl = [*(found.final_pnl for found in metrics), *(run.final_pnl for run in current)]
        statuses = [outcome.status for outcome in of_month]
        months.append(
            MonthOutcome(
                key,
                computed=statuses.count(RunStatus.COMPUTED),
                reused=statuses.count(RunStatus.REUSED) + len(known.get(key, [])),
                failures=(*failures.get(key, ()), *failed),
                new_events=sum(outcome.event_count for outcome in of_month),
                trade_count=sum(found.trade_count for found in metrics) + sum(run.trade_count for run in current),
                final_pnl=sum(pnl) / len(pnl) if pnl else None,
                is_untouched=not of_month and key not in failures,
                settled_at=max((run.settled_at for run in current), default=None),
                why=tuple(
                    reasons[key, outcome.request.strategy_row.name]
                    for outcome in of_month
                    if outcome.status is RunStatus.COMPUTED
                ),
            )
        )
    return months


def calls_of_months(keys: Sequence[TokenMonth], stored: StoredInputs) -> list[Call]:
    """Return the calls of token-months, each once."""
    return [call for key in keys for instant, call in stored.calls.get(key.token, ()) if key.start <= instant < key.end]


def _parts(keys: Sequence[TokenMonth]) -> Iterator[Sequence[TokenMonth]]:
    """Yield sorted keys by parts of whole tokens, but for a token that is larger than a part."""
    begin = 0
    while begin < len(keys):
        end = min(begin + TOKEN_MONTHS_PER_PLAN, len(keys))
        if end < len(keys):
            whole = end
            while whole > begin and keys[whole].token == keys[whole - 1].token:
                whole -= 1
            end = whole if whole > begin else end
        yield keys[begin:end]
        begin = end


def _one_ahead(
    batches: Iterator[_Batch], load: "Callable[[_Batch], Future[_Loaded]]"
) -> "Iterator[tuple[_Batch, Future[_Loaded]]]":
    """Yield batches with what is read of them, the next one being read meanwhile."""
    waiting: tuple[_Batch, Future[_Loaded]] | None = None
    for batch in batches:
        following = (batch, load(batch))
        if waiting is not None:
            yield waiting
        waiting = following
    if waiting is not None:
        yield waiting
