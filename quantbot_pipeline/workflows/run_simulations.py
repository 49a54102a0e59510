"""Simulation runs: claim, simulate, store events, complete; each run once for ever.

The order of writes is the one of docs/data-model.md: the run row `running` in Postgres, events and
aggregates in ClickHouse, then one Postgres transaction with summary and `completed`. A run's key is a hash
over everything that its result depends on, so a second attempt writes the same rows again.
"""

from collections import Counter, defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from datetime import datetime
from enum import StrEnum
from typing import TYPE_CHECKING, Any, Self

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.metrics import Metrics
from quantbot_pipeline.engine.run_totals import RunTotals
from quantbot_pipeline.engine.version import ENGINE_VERSION
from quantbot_pipeline.errors import DataError, ServerError, SimulationError, StorageError
from quantbot_pipeline.ingest.run_quality import ReadCandles, RunQuality, quality_of_run
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import NewRun, RunClaim, RunSummary, StrategyRow
from quantbot_pipeline.strategy.model import Strategy, config_hash
from quantbot_pipeline.workflows.prepare_engine import prepare_engine
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.run_identity import METRICS_ONLY, document_sha256, events_digest, run_key_of
from quantbot_pipeline.workflows.simulation_inputs import TokenInput
from quantbot_pipeline.workflows.stage_times import StageTimes
from quantbot_pipeline.workflows.token_months import format_token

if TYPE_CHECKING:
    # What computes loads the compiled engine, which takes a second: who finds all runs complete need not wait for it.
    from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
    from quantbot_pipeline.workflows.simulate_together import SimulatedWindow

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
        inputs_stamp: Stamp of all that `inputs` were cut from, if it is known that nothing changed meanwhile.
        selection: What leaves out calls of these tokens and this window, as JSON; None: nothing does.
    """

    strategy_row: StrategyRow
    strategy: Strategy
    run_type: str
    inputs: tuple[TokenInput, ...]
    token_id: int | None
    window_start: datetime
    window_end: datetime
    inputs_stamp: str | None = None
    selection: Mapping[str, Any] | None = None


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
    quality: RunQuality


def run_simulations(
    requests: Sequence[RunRequest],
    state: StateStore,
    history: HistoryStore,
    *,
    force: bool = False,
    on_progress: ProgressListener = no_progress,
) -> list[RunOutcome]:
    """Compute and store the runs that are not complete yet; reuse the others.

    A run that fails is recorded as `failed` with its message and costs no other run. Processes that want the same
    runs take turns: who comes later finds them complete.

    Args:
        requests: The runs that are wanted; two of one key are one run.
        state: Where runs and summaries go.
        history: Where events and aggregates go.
        force: Compute complete runs anew too; a result that differs from the stored one is a failure.
        on_progress: Told after each run.
    """
    outcomes: list[RunOutcome] = []
    prepare_engine(lambda message: on_progress(0, len(requests), message))
    for requested in _batches(requests, _RUNS_PER_BATCH):
        told = len(outcomes)
        with state.exclusive_runs({lock_name(request) for request in requested}):
            batch = SimulatedBatch.of(requested, state, force=force)
            outcomes += batch.store(state, history)
        for done, request in enumerate(requested, start=told + 1):
            on_progress(done, len(requests), _describe(request))
    publish(state, history)
    return outcomes


def lock_name(request: RunRequest) -> str:
    """Return what a process must hold (`StateStore.exclusive_runs`) that claims and computes a run."""
    if request.token_id is not None:
        return token_lock_name(request.inputs[0].token)
    return scope_lock_name(request.run_type, scope_key_of(request))


def scope_lock_name(run_type: str, scope_key: str) -> str:
    """Return what a process must hold that computes runs of one scope over many tokens."""
    return f"quantbot runs {run_type} {scope_key}"


def token_lock_name(token: TokenKey) -> str:
    """Return what a process must hold that computes runs of one token."""
    return f"quantbot runs of {format_token(token)}"


class SimulatedBatch:
    """Runs that were claimed and simulated, before they are stored; made and stored by who holds their locks.

    Attributes:
        event_count: Events of all computed runs.
    """

    def __init__(
        self,
        requests: Sequence[RunRequest],
        claims: Sequence[RunClaim],
        found: dict[int, RunOutcome],
        results: list[_Result],
    ) -> None:
        self._requests = requests
        self._claims = claims
        self._found = found
        self._results = results

    @classmethod
    def of(
        cls,
        requests: Sequence[RunRequest],
        state: StateStore,
        *,
        force: bool = False,
        threads: int = 1,
        stages: StageTimes | None = None,
    ) -> Self:
        """Claim runs, and simulate those that are not complete.

        Args:
            requests: The runs that are wanted.
            state: Where they are claimed.
            force: Simulate complete runs too, and hold what comes of them against what is stored.
            threads: Of the engine; changes no result.
            stages: Where the time goes to.
        """
        stages = stages or StageTimes()
        with stages.measure("claim"):
            claims = state.claim_runs([new_run(request) for request in requests])
        found: dict[int, RunOutcome] = {}
        wanted: list[tuple[RunClaim, RunRequest]] = []
        for claim, request in zip(claims, requests, strict=True):
            if claim.run_id not in found:
                found[claim.run_id] = RunOutcome(request, claim.run_id, RunStatus.REUSED)
                # A trial that was measured without events gets its trace now.
                if force or not claim.is_complete or claim.events_digest == METRICS_ONLY:
                    wanted.append((claim, request))
        with stages.measure("simulate"):
            simulated = _simulate_together(wanted, threads)
        results: list[_Result] = []
        with stages.measure("encode"):
            for claim, request in wanted:
                found[claim.run_id] = _simulate(claim, request, simulated.get(claim.run_id), results)
        return cls(requests, claims, found, results)

    @property
    def event_count(self) -> int:
        """Events of all computed runs."""
        return sum(outcome.event_count for outcome in self._found.values())

    def store(self, state: StateStore, history: HistoryStore, *, stages: StageTimes | None = None) -> list[RunOutcome]:
        """Store what was computed, and return what became of each request, in their order."""
        found, stages = self._found, stages or StageTimes()
        try:
            _store(self._results, state, history, stages)
        except ServerError:
            raise
        except (StorageError, DataError):
            # One of them is refused: the others are not to pay for it.
            for result in self._results:
                try:
                    _store([result], state, history, stages)
                except ServerError:
                    raise
                except (StorageError, DataError) as error:
                    run_id = result.claim.run_id
                    found[run_id] = RunOutcome(
                        result.request, run_id, RunStatus.FAILED, error=f"{type(error).__name__}: {error}"
                    )
        with stages.measure("complete"):
            failures = {outcome.run_id: outcome.error or "" for outcome in failed(found.values())}
            known = {claim.run_id for claim in self._claims if claim.is_complete}
            state.reactivate_runs(sorted(known - failures.keys()))
            state.fail_runs(failures)
            stamps = {
                claim.run_id: request.inputs_stamp
                for claim, request in zip(self._claims, self._requests, strict=True)
                if request.inputs_stamp is not None and claim.run_id not in failures
            }
            state.stamp_runs(stamps)
        return [found[claim.run_id] for claim in self._claims]


def publish(state: StateStore, history: HistoryStore) -> None:
    """Mirror completed runs and calls to ClickHouse; done again by every later run, so a kill before it heals."""
    history.publish(state.load_published_runs(), state.load_published_calls())


def _simulate_together(wanted: Sequence[tuple[RunClaim, RunRequest]], threads: int) -> "dict[int, SimulatedWindow]":
    """Return what came of runs over one token each, by run id, strategy by strategy.

    Runs of a strategy that can't be simulated together are left out: each of them is tried by itself.
    """
    if not wanted:
        return {}
    from quantbot_pipeline.workflows.simulate_together import markets_of, simulate_together

    by_config: dict[str, list[tuple[RunClaim, RunRequest]]] = defaultdict(list)
    for claim, request in wanted:
        if len(request.inputs) == 1:
            by_config[config_hash(request.strategy)].append((claim, request))
    # Strategies that read the same share the engine's form of it, and the indicators.
    known: dict[tuple[str, ...], PreparedMarkets] = {}
    simulated: dict[int, SimulatedWindow] = {}
    for together in by_config.values():
        windows = [request.inputs[0] for _, request in together]
        reading = tuple(window.fingerprint for window in windows)
        try:
            if reading not in known:
                known[reading] = markets_of(windows)
            found = simulate_together(windows, together[0][1].strategy, threads=threads, markets=known[reading])
        except Exception:  # noqa: BLE001, S112 - the one it is about is found when each is tried by itself
            continue
        simulated |= {claim.run_id: window for (claim, _), window in zip(together, found, strict=True)}
    return simulated


def _simulate(
    claim: RunClaim, request: RunRequest, window: "SimulatedWindow | None", results: list[_Result]
) -> RunOutcome:
    try:
        result = _compute(claim, request, window)
    except Exception as error:  # noqa: BLE001 - whatever one run stumbles over must not cost its neighbours
        return RunOutcome(request, claim.run_id, RunStatus.FAILED, error=f"{type(error).__name__}: {error}")
    results.append(result)
    return RunOutcome(request, claim.run_id, RunStatus.COMPUTED, result.metrics, result.events.num_rows)


def _compute(claim: RunClaim, request: RunRequest, window: "SimulatedWindow | None") -> _Result:
    from quantbot_pipeline.workflows.run_quality import read_candles_of
    from quantbot_pipeline.workflows.simulate_together import simulate_together

    events: list[pa.Table] = []
    aggregates: list[dict[str, Any]] = []
    totals = RunTotals()
    read: list[ReadCandles] = []
    for part in request.inputs:
        [simulated] = [window] if window is not None else simulate_together([part], request.strategy)
        totals.add(simulated.run)
        read.append(read_candles_of(part.candles, simulated.run))
        events.append(_with_run_columns(simulated.events, claim.run_id, part.token))
        aggregates.append(_aggregate(claim.run_id, part.token, simulated.run.metrics()))
    all_events = pa.concat_tables(events)
    digest = events_digest(all_events)
    if claim.is_complete and claim.events_digest not in (digest, METRICS_ONLY):
        raise SimulationError(
            f"run {claim.run_id} ({_describe(request)}) gives other events than those stored under the same "
            f"key: digest {digest}, stored {claim.events_digest}; the engine's results depend on something "
            "outside the run key, or the stored rows were changed"
        )
    return _Result(
        claim,
        request,
        totals.metrics(),
        all_events,
        pa.Table.from_pylist(aggregates, _AGGREGATES),
        digest,
        quality_of_run(read),
    )


def _store(results: Sequence[_Result], state: StateStore, history: HistoryStore, stages: StageTimes) -> None:
    if not results:
        return
    with stages.measure("insert"):
        history.insert_events(pa.concat_tables([result.events for result in results]))
        history.insert_aggregates(pa.concat_tables([result.aggregates for result in results]))
    with stages.measure("complete"):
        state.complete_runs([_summary(result) for result in results])


def data_selection_of(request: RunRequest) -> dict[str, Any]:
    """Return what a run reads, as JSON, with the fingerprint over it."""
    tokens = [format_token(part.token) for part in request.inputs]
    window = [request.window_start.isoformat(), request.window_end.isoformat()]
    selection: dict[str, Any] = {
        "run_type": request.run_type,
        "strategy": request.strategy_row.name,
        "tokens": tokens,
        "window": window,
        "intervals_seconds": [part.candles.interval_seconds for part in request.inputs],
        "candle_count": sum(len(part.candles) for part in request.inputs),
        "call_count": sum(len(part.reported_call_ids) for part in request.inputs),
        "fingerprint": document_sha256([part.fingerprint for part in request.inputs]),
    }
    if names := request.strategy.score_names():
        selection["scores"] = {name: _versions_of(name, request.inputs) for name in names}
    return selection if request.selection is None else selection | {"selection": dict(request.selection)}


def _versions_of(name: str, inputs: Sequence[TokenInput]) -> dict[str, int]:
    """Return of how many calls each version of a model says something, by its id."""
    found = Counter(of_call[name].model_id for part in inputs for of_call in part.scores.values() if name in of_call)
    return {str(model_id): count for model_id, count in sorted(found.items())}


def new_run(request: RunRequest, data_selection: Mapping[str, Any] | None = None) -> NewRun:
    """Return the row by which a run is claimed.

    Args:
        request: What is wanted.
        data_selection: `data_selection_of(request)`, where it was made before.
    """
    hash_of_config = config_hash(request.strategy)
    data_selection = data_selection_of(request) if data_selection is None else data_selection
    return NewRun(
        run_key=run_key_of(ENGINE_VERSION, hash_of_config, data_selection),
        scope_key=scope_key_of(request),
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


def scope_key_of(request: RunRequest) -> str:
    """Return the hash of what a run is about; of the complete runs of one scope one is current."""
    return hash_of_scope(
        request.run_type,
        request.strategy_row.name,
        request.token_id,
        [part.token for part in request.inputs],
        (request.window_start, request.window_end),
        # Trials differ in their configuration alone: each is a result of its own and supersedes none.
        hash_of_config=config_hash(request.strategy) if request.run_type == "optimization" else None,
        selection=request.selection,
    )


def hash_of_scope(
    run_type: str,
    strategy_name: str,
    token_id: int | None,
    tokens: Sequence[TokenKey],
    window: tuple[datetime, datetime],
    *,
    hash_of_config: str | None = None,
    selection: Mapping[str, Any] | None = None,
) -> str:
    """Return a scope key, which says nothing of what a run reads.

    Args:
        run_type: backtest, optimization, what_if or live_eval.
        strategy_name: Name of the strategy.
        token_id: The token, if the run is about one.
        tokens: All tokens that have calls in the window.
        window: Start and end.
        hash_of_config: Of the configuration, where that is part of what the run is about.
        selection: What leaves out calls, if anything does.
    """
    scope: list[Any] = [run_type, strategy_name, token_id, [format_token(token) for token in tokens]]
    scope.append([instant.isoformat() for instant in window])
    if hash_of_config is not None:
        scope.append(hash_of_config)
    if selection is not None:
        scope.append(dict(selection))
    return document_sha256(scope)


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
    return replace(
        run_summary(result.claim, asdict(result.metrics), digest=result.digest, event_count=result.events.num_rows),
        data_quality=result.quality.verdict.value,
        data_quality_details=result.quality.details,
    )


def run_summary(claim: RunClaim, metrics: Mapping[str, Any], *, digest: str, event_count: int) -> RunSummary:
    """Return what completes a run with these metrics."""
    values = dict(metrics)
    fields = {name: values.pop(name) for name in _SUMMARY_FIELDS}
    return RunSummary(
        run_id=claim.run_id,
        events_digest=digest,
        metadata=values | {"event_count": event_count},
        attempt=claim.attempt,
        **fields,
    )


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
