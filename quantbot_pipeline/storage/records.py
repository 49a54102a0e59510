"""Rows that cross the border between workflows and stores.

Times are tz-aware UTC datetimes here; the engine's int seconds and Arrow's columns are converted at the
border. Bulk rows of ClickHouse travel as Arrow tables, see `protocols.py`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, NamedTuple

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.ingest.quarantine import QuarantinedRow
from quantbot_pipeline.ingest.tokens import TokenKey


class CallerKey(NamedTuple):
    """Natural key of a caller."""

    source: str
    handle: str


class SeriesWindow(NamedTuple):
    """Candles of one token and interval with `start <= timestamp < end`, seconds since the epoch."""

    token: TokenKey
    interval: str
    start: int
    end: int


class ImportKey(NamedTuple):
    """What makes a file's import the same import: its kind, its content, and the options that it is read with."""

    kind: str
    sha256: str
    options_key: str


class InsertCounts(NamedTuple):
    """What an idempotent insert did: `stored + duplicates` = rows given."""

    stored: int
    duplicates: int


@dataclass(frozen=True, slots=True)
class NewAlert:
    """One parsed alert, ready to be stored.

    Attributes:
        token: The token, or the pool if `address_kind` says so.
        symbol: Ticker; None if unknown.
        caller: Who made it, as the alert says: aliases are followed when calls are derived.
        side: Direction.
        signal_type: What it asks for.
        confidence: As stated; None if it was not.
        alert_price: Price that was stated; None if none was.
        alert_market_cap: Market cap that was stated; None if none was.
        alert_timestamp: When it was made, tz-aware.
        content_key: Natural key, sha256 in hex.
        raw_payload: The row as it was read.
        caller_name: The caller's name as shown, cleaned; None if unknown.
        caller_attributes: What cleaning took from the name, by what it is.
        message_id: The source's id of the message; None if unknown.
        chat_id: The chat of the message; None if unknown.
        address_kind: `token` or `pool`.
        attributes: What else is known of the alert, storable as JSON.
    """

    token: TokenKey
    symbol: str | None
    caller: CallerKey
    side: Side
    signal_type: SignalType
    confidence: float | None
    alert_price: float | None
    alert_market_cap: float | None
    alert_timestamp: datetime
    content_key: str
    raw_payload: Mapping[str, Any]
    caller_name: str | None = None
    caller_attributes: Mapping[str, str] = field(default_factory=dict)
    message_id: str | None = None
    chat_id: str | None = None
    address_kind: str = "token"
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class AlertRow:
    """A stored alert, as far as calls are derived from it.

    Attributes:
        alert_id: Its id.
        token_id: Its token's id.
        token: Its token, as it said.
        caller_id: Its caller's id.
        canonical_caller_id: Who the caller is once aliases are followed; the same without one.
        side: Direction, as it said.
        signal_type: What it asked for, as it said.
        confidence: As stated; None if it was not.
        alert_timestamp: When it was made, UTC.
    """

    alert_id: int
    token_id: int
    token: TokenKey
    caller_id: int
    canonical_caller_id: int
    side: Side
    signal_type: SignalType
    confidence: float | None
    alert_timestamp: datetime


@dataclass(frozen=True, slots=True)
class NewCall:
    """A call derived from one alert; `alert_id` is its natural key.

    `inactive_reason` says why the rules make no call of the alert; None for one that is in force.
    """

    alert_id: int
    token_id: int
    caller_id: int
    side: Side
    signal_type: SignalType
    signal_strength: float | None
    signal_timestamp: datetime
    metadata: Mapping[str, Any]
    inactive_reason: str | None = None


class DerivationCounts(NamedTuple):
    """What a derivation of calls changed.

    Attributes:
        new: Calls of alerts that had none, active or not.
        changed: Calls that are now of another token, caller or kind.
        deactivated: Calls that the rules make no more.
        reactivated: Calls that the rules make again.
        active: Calls in force now.
        inactive: Alerts of which the rules make no call.
        runs_retired: Current runs that have no call left in their window.
    """

    new: int
    changed: int
    deactivated: int
    reactivated: int
    active: int
    inactive: int
    runs_retired: int


@dataclass(frozen=True, slots=True)
class CallerRow:
    """A stored caller.

    Attributes:
        caller_id: Its id.
        caller: Source and handle.
        display_name: Name as shown; None if unknown.
        alias_of_id: The caller whose alias a person said that it is; None if it is nobody's.
        canonical_caller_id: Who it is once aliases are followed; itself without one.
        alert_count: Alerts under this handle.
        call_count: Active calls that count for it, those of its aliases too; none for an alias.
        first_alert_at: Its oldest alert, UTC; None without one.
        last_alert_at: Its newest alert, UTC; None without one.
    """

    caller_id: int
    caller: CallerKey
    display_name: str | None
    alias_of_id: int | None
    canonical_caller_id: int
    alert_count: int
    call_count: int
    first_alert_at: datetime | None
    last_alert_at: datetime | None


@dataclass(frozen=True, slots=True)
class CallRow:
    """A stored call with the natural keys of its token and caller."""

    call_id: int
    token_id: int
    token: TokenKey
    caller_id: int
    caller: CallerKey
    side: Side
    signal_type: SignalType
    signal_timestamp: datetime
    alert_price: float | None
    alert_market_cap: float | None


@dataclass(frozen=True, slots=True)
class StrategyRow:
    """A stored strategy version; `config` is the canonical JSON document."""

    strategy_id: int
    name: str
    version: str
    category: str
    config: Mapping[str, Any]
    config_hash: str
    is_active: bool


@dataclass(frozen=True, slots=True)
class NewRun:
    """A simulation run that is about to be computed.

    Attributes:
        run_key: sha256 hex over engine version, config hash, data selection and the fingerprint of what
            was read: the identity of the run's result.
        scope_key: sha256 hex over run type, strategy name, token and window (without data fingerprint,
            version and engine): a newer completed run of the same scope supersedes the older one.
        strategy_id: The strategy version (for a trial: the template that it varies).
        token_id: The token; None for a run over many tokens.
        caller_id: The caller when only one caller's calls were read, else None.
        run_type: backtest, optimization, what_if or live_eval.
        engine_version: Version of the engine's semantics.
        config_hash: Hash of the configuration that was simulated.
        config: The full configuration that was simulated.
        data_selection: Tokens, interval, window and fingerprint, as JSON.
        window_start: Start of the window, inclusive.
        window_end: End of the window, exclusive.
    """

    run_key: str
    scope_key: str
    strategy_id: int
    token_id: int | None
    caller_id: int | None
    run_type: str
    engine_version: str
    config_hash: str
    config: Mapping[str, Any]
    data_selection: Mapping[str, Any]
    window_start: datetime
    window_end: datetime


@dataclass(frozen=True, slots=True)
class RunClaim:
    """Answer to a claim: the run's id, whether it is complete already (then it is reused), and its attempt."""

    run_key: str
    run_id: int
    is_complete: bool
    events_digest: str | None
    attempt: int = 1


@dataclass(frozen=True, slots=True)
class BackfilledMonth:
    """What became of a token-month in a backfill: done, or failed for a reason."""

    token: TokenKey
    month: str
    reason: str | None


@dataclass(frozen=True, slots=True)
class RunSummary:
    """What completes a run: one row of `simulation_results_summary` and the digest of its events.

    `data_quality` is the verdict on the candles that the run read. `attempt` is the claim's: an attempt whose rows
    were removed as those of a dead one can't complete the run; None completes it whatever was removed.
    """

    run_id: int
    events_digest: str
    final_pnl: float
    max_drawdown: float | None
    volatility: float | None
    sharpe_ratio: float | None
    sortino_ratio: float | None
    win_rate: float | None
    trade_count: int
    avg_trade_return: float | None
    median_trade_return: float | None
    reentry_count: int
    ladder_entries_used: int
    ladder_exits_used: int
    average_holding_minutes: float | None
    max_holding_minutes: float | None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    data_quality: str = "unknown"
    data_quality_details: Mapping[str, Any] = field(default_factory=dict)
    attempt: int | None = None


@dataclass(frozen=True, slots=True)
class ImportRecord:
    """One file's import; the counts are those of its first import and never change afterwards.

    `rows_read == rows_stored + rows_duplicate + rows_quarantined`. `details` holds what was touched,
    such as the token-months of a candle file.
    """

    kind: str
    file: str
    sha256: str
    options_key: str
    rows_read: int
    rows_stored: int
    rows_duplicate: int
    rows_quarantined: int
    details: Mapping[str, Any]
    quarantined: tuple[QuarantinedRow, ...] = ()


@dataclass(frozen=True, slots=True)
class ImportBatch:
    """Neighbouring rows of one file, settled and stored together.

    Attributes:
        key: The import that it is a part of.
        file: Name of the file.
        number: Place among the file's batches, from 0.
        rows_read: Rows; the sum of the next three.
        rows_stored: Rows with a key that was not stored before.
        rows_duplicate: Rows with a key that was, in the store or earlier in the file.
        rows_quarantined: Rows that can't be used.
        details: What else was found, as JSON.
        quarantined: The rows that can't be used, in file order.
    """

    key: ImportKey
    file: str
    number: int
    rows_read: int
    rows_stored: int
    rows_duplicate: int
    rows_quarantined: int
    details: Mapping[str, Any]
    quarantined: tuple[QuarantinedRow, ...] = ()


@dataclass(frozen=True, slots=True)
class BatchClaim:
    """Answer to `begin_batches`.

    Attributes:
        import_id: The import.
        batch: The batch with the counts that hold: those of the first attempt that counted it.
        is_inserted: Whether an attempt has brought its rows in already.
        is_completed: Whether the whole import is completed already.
    """

    import_id: int
    batch: ImportBatch
    is_inserted: bool
    is_completed: bool


@dataclass(frozen=True, slots=True)
class ImportCompletion:
    """An import whose batches are all in: how many they are, and what was touched."""

    import_id: int
    key: ImportKey
    batch_count: int
    details: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class NewTrial:
    """One trial of an optimization job.

    Attributes:
        trial_index: Position within the job, from 0.
        params: Path → value.
        simulation_run_id: The run that measured it; None for one that was not run over all calls.
        metrics: Of the run; of a pruned trial over the calls that it saw.
        score: Of the first goal, higher is better; None without one.
        state: scored, unscored, pruned, refused or failed; None: by score and run.
        scores: One per goal; None without any.
        violation: How far it is from having a score, at least 0.
        reason: Why it has none.
        look_scores: Scores at the early looks of pruning; None where it had none.
    """

    trial_index: int
    params: Mapping[str, Any]
    simulation_run_id: int | None
    metrics: Mapping[str, Any]
    score: float | None
    state: str | None = None
    scores: Sequence[float] | None = None
    violation: float = 0.0
    reason: str = ""
    look_scores: Sequence[Sequence[float] | None] = ()


@dataclass(frozen=True, slots=True)
class JobResult:
    """What is stored of a search when it ends; see docs/optimize.md, "What is stored".

    Attributes:
        tally: Counts, best trials, front and a sample of scores.
        verdict: Whether the winner is luck; None without a scored trial.
        evidence: What the verdict was made of; None without a scored trial.
        times: Seconds by stage.
        note: Why the job is not what was asked for; None if it is.
    """

    tally: Mapping[str, Any]
    verdict: Mapping[str, Any] | None
    evidence: Mapping[str, Any] | None
    times: Mapping[str, float]
    note: str | None = None


@dataclass(frozen=True, slots=True)
class NewModel:
    """A trained model to register; unique by (name, version).

    `trained_until` is when the last label was known that anything fitted had seen; it scores calls after that.
    """

    name: str
    version: str
    model_type: str
    input_features: tuple[str, ...]
    label_definition: Mapping[str, Any]
    storage_uri: str
    sha256: str
    metrics: Mapping[str, Any]
    status: str
    trained_until: datetime | None = None


@dataclass(frozen=True, slots=True)
class ModelRow:
    """A registered model."""

    model_id: int
    name: str
    version: str
    model_type: str
    input_features: tuple[str, ...]
    label_definition: Mapping[str, Any]
    storage_uri: str
    sha256: str
    metrics: Mapping[str, Any]
    status: str
    created_at: datetime
    trained_until: datetime | None = None
