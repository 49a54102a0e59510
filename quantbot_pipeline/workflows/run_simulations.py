"""Simulation runs: claim, simulate, store events, complete; each run once for ever.

The order of writes is the one of docs/data-model.md: the run row `running` in Postgres, events and
aggregates in ClickHouse, then one Postgres transaction with summary and `completed`. A run's key is a hash
over everything that its result depends on, so a second attempt writes the same rows again.
"""

from collections.abc import Collection, Iterator, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.fast import StrategyRun, iterate_runs
from quantbot_pipeline.engine.metrics import Metrics
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.run_totals import RunTotals
from quantbot_pipeline.engine.version import ENGINE_VERSION
from quantbot_pipeline.errors import SimulationError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import NewRun, RunClaim, RunSummary, StrategyRow
from quantbot_pipeline.strategy.model import Strategy, config_hash, parse_strategy
from quantbot_pipeline.workflows.prepare_engine import prepare_engine
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.run_identity import document_sha256, events_digest, run_key_of
from quantbot_pipeline.workflows.simulation_inputs import SimulationInputs, TokenInput
from quantbot_pipeline.workflows.store_strategies import newest_versions
from quantbot_pipeline.workflows.token_months import TokenMonth, format_token

# Runs per write: large enough that an insert is one block, small enough that little is repeated after a kill.
_RUNS_PER_BATCH = 64


class RunStatus(StrEnum):
    """What became of a run that was asked for."""

    COMPUTED = "computed"
    REUSED = "reused"
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RunRequest:
    """A run that is wanted: one configuration on the calls of a window of some tokens.

    Attributes:
        strategy_row: The stored strategy (for a trial: the template).
        strategy: The configuration to simulate.
        run_type: backtest, optimization, what_if or live_eval.
        inputs: What the run reads, one entry per token that has calls in the window.
        token_id: The token, if the run is about one token.
        window_start: Start of the window, inclusive.
        window_end: End of the window, exclusive.
    """

    strategy_row: StrategyRow
    strategy: Strategy
    run_type: str
    inputs: tuple[TokenInput, ...]
    token_id: int | None
    window_start: datetime
    window_end: datetime


@dataclass(frozen=True, slots=True)
class RunOutcome:
    """What became of a request.

    Attributes:
        request: What was asked for.
        run_id: The run's id in `simulation_runs`.
        status: computed, reused or failed.
        metrics: Metrics of a computed run; None for a reused or failed one.
        event_count: Events of a computed run, else 0.
        error: Message of a failed run.
    """

    request: RunRequest
    run_id: int
    status: RunStatus
    metrics: Metrics | None = None
    event_count: int = 0
    error: str | None = None


@dataclass(frozen=True, slots=True)
class _Result:
    """A computed run before it is stored."""

    claim: RunClaim
    request: RunRequest
    metrics: Metrics
    events: pa.Table
    aggregates: pa.Table
    digest: str


def plan_backtests(
    keys: Sequence[TokenMonth],
    strategies: Sequence[StrategyRow],
    state: StateStore,
    history: HistoryStore,
) -> list[RunRequest]:
    """Return one request per token-month and strategy that has calls to simulate.

    Of several versions of a strategy the newest is simulated: its runs supersede those of older versions.
    """
    strategies = newest_versions(strategies)
    if not keys or not strategies:
        return []
    parsed = [parse_strategy(row.config, source=f"strategy {row.name!r}") for row in strategies]
    windows: dict[TokenKey, tuple[datetime, datetime]] = {}
    for key in keys:
        start, end = windows.get(key.token, (key.start, key.end))
        windows[key.token] = (min(start, key.start), max(end, key.end))
    token_ids = state.upsert_tokens(dict.fromkeys(windows))
    inputs = SimulationInputs.load(state, history, windows, parsed)
    requests = []
    for key in keys:
        for row, strategy in zip(strategies, parsed, strict=True):
            cut = inputs.cut(key.token, key.start, key.end, strategy)
            if cut is not None:
                requests.append(RunRequest(row, strategy, "backtest", (cut,), token_ids[key.token], key.start, key.end))
    return requests


def run_simulations(
    requests: Sequence[RunRequest],
    state: StateStore,
    history: HistoryStore,
    *,
    force: bool = False,
    on_progress: ProgressListener = no_progress,
) -> list[RunOutcome]:
    """Compute and store the runs that are not complete yet; reuse the others.

    A run that fails is recorded as `failed` with its message and costs no other run.

    Args:
        requests: The runs that are wanted; two of one key are one run.
        state: Where runs and summaries go.
        history: Where events and aggregates go.
        force: Compute complete runs anew too; a result that differs from the stored one is a failure.
        on_progress: Told after each run.
    """
    outcomes: list[RunOutcome] = []
    prepare_engine(lambda message: on_progress(0, len(requests), message))
    for batch in _batches(requests, _RUNS_PER_BATCH):
        claims = state.claim_runs([_new_run(request) for request in batch], force=force)
        results: list[_Result] = []
        found: dict[int, RunOutcome] = {}
        markets = _SharedMarkets()
        for claim, request in zip(claims, batch, strict=True):
            if claim.run_id not in found:
                found[claim.run_id] = (
                    RunOutcome(request, claim.run_id, RunStatus.REUSED)
                    if claim.is_complete and not force
                    else _simulate(claim, request, markets, results)
                )
            outcomes.append(found[claim.run_id])
            on_progress(len(outcomes), len(requests), _describe(request))
        _store(results, state, history)
        failures = {outcome.run_id: outcome.error or "" for outcome in failed(found.values())}
        known = {claim.run_id for claim in claims if claim.is_complete}
        state.reactivate_runs(sorted(known - failures.keys()))
        state.fail_runs(failures)
    publish(state, history)
    return outcomes


def publish(state: StateStore, history: HistoryStore) -> None:
    """Mirror completed runs and calls to ClickHouse; done again by every later run, so a kill before it heals."""
    history.publish(state.load_published_runs(), state.load_published_calls())


class _SharedMarkets:
    """Candles and calls in the engine's form, made once for all runs of a batch that read the same.

    Runs share what was read and nothing else: each is simulated by itself, so one that fails costs no other.
    """

    def __init__(self) -> None:
        self._known: dict[tuple[TokenKey, str], PreparedMarkets] = {}

    def run(self, part: TokenInput, strategy: Strategy) -> StrategyRun:
        """Return what comes of a strategy on a token."""
        # The fingerprint covers candles, calls and which of these are reported.
        key = (part.token, part.fingerprint)
        if key not in self._known:
            self._known[key] = PreparedMarkets({part.token: part.candles}, {part.token: part.calls})
        [run] = iterate_runs(self._known[key], [strategy], report_call_ids=part.reported_call_ids)
        return run


def _simulate(claim: RunClaim, request: RunRequest, markets: _SharedMarkets, results: list[_Result]) -> RunOutcome:
    try:
        result = _compute(claim, request, markets)
    except Exception as error:  # noqa: BLE001 - whatever one run stumbles over must not cost its neighbours
        return RunOutcome(request, claim.run_id, RunStatus.FAILED, error=f"{type(error).__name__}: {error}")
    results.append(result)
    return RunOutcome(request, claim.run_id, RunStatus.COMPUTED, result.metrics, result.events.num_rows)


def _compute(claim: RunClaim, request: RunRequest, markets: _SharedMarkets) -> _Result:
    events: list[pa.Table] = []
    aggregates: list[dict[str, Any]] = []
    totals = RunTotals()
    for part in request.inputs:
        run = markets.run(part, request.strategy)
        totals.add(run)
        events.append(_with_run_columns(run.events_table(), claim.run_id, part.token))
        aggregates.append(_aggregate(claim.run_id, part.token, run.metrics()))
    all_events = pa.concat_tables(events)
    digest = events_digest(all_events)
    if claim.is_complete and claim.events_digest != digest:
        raise SimulationError(
            f"run {claim.run_id} ({_describe(request)}) gives other events than those stored under the same "
            f"key: digest {digest}, stored {claim.events_digest}; the engine's results depend on something "
            "outside the run key, or the stored rows were changed"
        )
    return _Result(claim, request, totals.metrics(), all_events, pa.Table.from_pylist(aggregates, _AGGREGATES), digest)


def _store(results: Sequence[_Result], state: StateStore, history: HistoryStore) -> None:
    if not results:
        return
    history.insert_events(pa.concat_tables([result.events for result in results]))
    history.insert_aggregates(pa.concat_tables([result.aggregates for result in results]))
    state.complete_runs([_summary(result) for result in results])


def _new_run(request: RunRequest) -> NewRun:
    hash_of_config = config_hash(request.strategy)
    tokens = [format_token(part.token) for part in request.inputs]
    window = [request.window_start.isoformat(), request.window_end.isoformat()]
    data_selection = {
        "run_type": request.run_type,
        "strategy": request.strategy_row.name,
        "tokens": tokens,
        "window": window,
        "intervals_seconds": [part.candles.interval_seconds for part in request.inputs],
        "candle_count": sum(len(part.candles) for part in request.inputs),
        "call_count": sum(len(part.reported_call_ids) for part in request.inputs),
        "fingerprint": document_sha256([part.fingerprint for part in request.inputs]),
    }
    scope = [request.run_type, request.strategy_row.name, request.token_id, tokens, window]
    if request.run_type == "optimization":
        # Trials differ in their configuration alone: each is a result of its own and supersedes none.
        scope.append(hash_of_config)
    return NewRun(
        run_key=run_key_of(ENGINE_VERSION, hash_of_config, data_selection),
        scope_key=document_sha256(scope),
        strategy_id=request.strategy_row.strategy_id,
        token_id=request.token_id,
        caller_id=None,
        run_type=request.run_type,
        engine_version=ENGINE_VERSION,
        config_hash=hash_of_config,
        config=request.strategy.model_dump(mode="json", by_alias=True),
        data_selection=data_selection,
        window_start=request.window_start,
        window_end=request.window_end,
    )


_AGGREGATES = pa.schema(
    [
        ("simulation_run_id", pa.int64()),
        ("chain", pa.string()),
        ("token_address", pa.string()),
        ("final_pnl", pa.float64()),
        ("max_drawdown", pa.float64()),
        ("volatility", pa.float64()),
        ("sharpe_ratio", pa.float64()),
        ("sortino_ratio", pa.float64()),
        ("win_rate", pa.float64()),
        ("trade_count", pa.int64()),
        ("reentry_count", pa.int64()),
        ("ladder_entries_used", pa.int64()),
        ("ladder_exits_used", pa.int64()),
    ]
)


def _aggregate(run_id: int, token: TokenKey, metrics: Metrics) -> dict[str, Any]:
    values = asdict(metrics)
    row = {name: values[name] for name in _AGGREGATES.names if name in values}
    return row | {
        "simulation_run_id": run_id,
        "chain": token.chain,
        "token_address": token.address,
    }


_SUMMARY_FIELDS = (
    "final_pnl",
    "max_drawdown",
    "volatility",
    "sharpe_ratio",
    "sortino_ratio",
    "win_rate",
    "trade_count",
    "avg_trade_return",
    "median_trade_return",
    "reentry_count",
    "ladder_entries_used",
    "ladder_exits_used",
    "average_holding_minutes",
    "max_holding_minutes",
)


def _summary(result: _Result) -> RunSummary:
    values = asdict(result.metrics)
    fields = {name: values.pop(name) for name in _SUMMARY_FIELDS}
    values["event_count"] = result.events.num_rows
    return RunSummary(run_id=result.claim.run_id, events_digest=result.digest, metadata=values, **fields)


def _with_run_columns(events: pa.Table, run_id: int, token: TokenKey) -> pa.Table:
    count = events.num_rows
    return (
        events.append_column("simulation_run_id", pa.array(np.full(count, run_id, dtype=np.int64)))
        .append_column("chain", pa.array([token.chain] * count, pa.string()))
        .append_column("token_address", pa.array([token.address] * count, pa.string()))
    )


def _describe(request: RunRequest) -> str:
    tokens = request.inputs[0].token.address if len(request.inputs) == 1 else f"{len(request.inputs)} tokens"
    return f"{request.strategy_row.name} on {tokens} {request.window_start:%Y-%m}"


def _batches(requests: Sequence[RunRequest], size: int) -> Iterator[Sequence[RunRequest]]:
    for start in range(0, len(requests), size):
        yield requests[start : start + size]


def failed(outcomes: Collection[RunOutcome]) -> list[RunOutcome]:
    """Return the outcomes that failed."""
    return [outcome for outcome in outcomes if outcome.status is RunStatus.FAILED]
