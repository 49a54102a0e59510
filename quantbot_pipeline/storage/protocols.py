"""What workflows may ask of the two databases.

`StateStore` is Postgres, the source of truth for state; `HistoryStore` is ClickHouse, the source of truth
for history. The conformance suite in `tests/storage` holds both to what is written here.

Common rules: every write is idempotent; a write that raised left nothing behind that a reader sees;
times are UTC; prices are float64 on every hop.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager
from datetime import datetime
from typing import Any, Protocol

import pyarrow as pa

from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.records import (
    AlertRow,
    BackfilledMonth,
    BatchClaim,
    CallerRow,
    CallRow,
    DerivationCounts,
    ImportBatch,
    ImportCompletion,
    ImportKey,
    ImportRecord,
    InsertCounts,
    JobResult,
    ModelRow,
    NewAlert,
    NewCall,
    NewModel,
    NewRun,
    NewTrial,
    RunClaim,
    RunSummary,
    SeriesWindow,
    StrategyRow,
)


class StateStore(Protocol):
    """Entities and relationships, in Postgres."""

    # --- tokens, callers, alerts, calls -------------------------------------------------------------
    def upsert_tokens(self, tokens: Mapping[TokenKey, str | None]) -> dict[TokenKey, int]:
        """Store tokens (key → symbol, None keeps what is known) and return their ids."""
        ...

    def store_alerts(self, alerts: Sequence[NewAlert], record: ImportRecord | None) -> InsertCounts:
        """Store alerts with their tokens and callers, in one transaction, by COPY.

        With `record`, the import and its quarantined rows are recorded in the same transaction; its
        `rows_stored` and `rows_duplicate` are corrected by what the insert found stored already.

        An alert that is stored already keeps what it says; what it left open (a price, the chain of a 0x
        address) is filled by this one, which counts as duplicate all the same.
        """
        ...

    def load_callers(self) -> list[CallerRow]:
        """Return all callers by (source, handle)."""
        ...

    def set_caller_alias(self, caller_id: int, canonical_caller_id: int) -> bool:
        """Say that a caller is another one, and return whether that is new; calls must be derived again.

        Raises:
            InputError: it would close a circle; the message shows it.
        """
        ...

    def remove_caller_alias(self, caller_id: int) -> bool:
        """Say that a caller is itself again, and return whether it was an alias; calls must be derived again."""
        ...

    def derive_calls(
        self, rules: Mapping[str, Any], derive: Callable[[Sequence[AlertRow]], Sequence[NewCall]]
    ) -> DerivationCounts:
        """Make the calls what `derive` says of all alerts, in one transaction; one process at a time.

        A call's row keeps its id for ever: one that is derived otherwise is changed, one that the rules make no
        more is marked inactive. Current runs that have no call left in their window are retired: superseded by
        themselves. Deriving twice changes nothing.

        Args:
            rules: The rules, to be remembered as those in force.
            derive: Gives one call per alert, given all alerts, oldest first; it may be called again from its
                start, so it changes nothing.
        """
        ...

    def load_call_rules(self) -> Mapping[str, Any] | None:
        """Return the rules that calls were last derived by; None if they never were."""
        ...

    def load_calls(
        self,
        tokens: Collection[TokenKey] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[CallRow]:
        """Return active calls with `start <= signal_timestamp < end`, ordered by (signal_timestamp, call_id)."""
        ...

    # --- imports and quarantine ---------------------------------------------------------------------
    def find_import(self, kind: str, sha256: str, options_key: str) -> ImportRecord | None:
        """Return the import of a file with this content and these options, if it was completed."""
        ...

    def begin_import(self, record: ImportRecord) -> ImportRecord:
        """Record an import as `started`, with the counts that it will have, before its rows are inserted.

        Where an attempt that died left a started import of the same (kind, sha256, options_key), that
        one's counts are returned instead: a repeated attempt finds the rows of the first one stored and
        would count them as duplicates.
        """
        ...

    def complete_import(self, record: ImportRecord) -> None:
        """Set a begun import `completed` and store its quarantined rows, in one transaction; again is a no-op."""
        ...

    def find_imports(self, keys: Collection[ImportKey]) -> dict[ImportKey, ImportRecord]:
        """Return those imports that were completed, each with its first hundred quarantined rows."""
        ...

    def load_inserted_batches(self, keys: Collection[ImportKey]) -> dict[ImportKey, dict[int, BatchClaim]]:
        """Return, of imports that were begun and not completed, the batches whose rows are in, by their number."""
        ...

    def exclusive_import(self) -> AbstractContextManager[None]:
        """Wait until no other process is between settling and storing candles, and keep others out within the context.

        What is stored is compared with what is to be stored; two processes that did so at once would both count a
        candle as new. The lock ends with the process that holds it, however it ends.
        """
        ...

    def begin_batches(self, batches: Sequence[ImportBatch]) -> list[BatchClaim]:
        """Record batches with their counts, before their rows are inserted, and say which counts hold; one transaction.

        A batch that was counted before keeps the counts of then: a repeated attempt finds its rows stored and would
        count them as duplicates. Where the file is read otherwise now, what was recorded from that batch on is given
        up, and rows that were stored by it still count as stored once the import is completed.
        """
        ...

    def finish_batches(
        self, claims: Sequence[BatchClaim], completed: Sequence[ImportCompletion]
    ) -> dict[ImportKey, ImportRecord]:
        """Record that the rows of batches are in, keep their quarantined rows, and complete imports: one transaction.

        Args:
            claims: As `begin_batches` returned them; those that are in already change nothing.
            completed: Imports all of whose batches are in now; batches beyond their number are given up.

        Returns:
            The completed imports.
        """
        ...

    # --- strategies ----------------------------------------------------------------------------------
    def store_strategy(
        self,
        *,
        name: str,
        version: str,
        category: str,
        description: str,
        config: Mapping[str, Any],
        config_hash: str,
    ) -> StrategyRow:
        """Store a strategy version, or return the stored one.

        Raises:
            InputError: this (name, version) is stored with another config; the message says what to do.
        """
        ...

    def load_strategies(self, names: Collection[str] | None = None) -> list[StrategyRow]:
        """Return active strategies, all or those named, ordered by (name, version)."""
        ...

    # --- runs ----------------------------------------------------------------------------------------
    def claim_runs(self, runs: Sequence[NewRun]) -> list[RunClaim]:
        """Insert or take over runs as `running`, in bulk, and say which are complete already.

        A run key has one row for ever: a failed or dead attempt's row is taken over. Completed rows are left as they
        are, also for who computes them anew (and then compares digests).
        """
        ...

    def complete_runs(self, summaries: Sequence[RunSummary]) -> None:
        """Write summaries, set `completed`, and supersede older runs of the same scope: one transaction.

        Runs that are complete already are left alone.
        """
        ...

    def reactivate_runs(self, run_ids: Sequence[int]) -> None:
        """Make reused completed runs the current ones of their scopes again, superseding others."""
        ...

    def fail_runs(self, failures: Mapping[int, str]) -> None:
        """Set `failed` with the error message for runs that are not complete."""
        ...

    def idle_runs(self, names: Collection[str]) -> AbstractContextManager[frozenset[str]]:
        """Hold, without waiting, those of the names that no other process holds, and yield them."""
        ...

    def find_same_attempts(self, attempts: Mapping[int, int]) -> list[int]:
        """Return those runs (id → attempt) that are not completed and were not begun again since."""
        ...

    def clear_attempts(self, attempts: Mapping[int, int]) -> list[int]:
        """Let these attempts (run id → attempt) complete their runs no more, and return those it was in time for.

        What they wrote may then be removed by who holds what the runs are about.
        """
        ...

    def unknown_runs(self, run_ids: Collection[int]) -> AbstractContextManager[list[int]]:
        """Yield those ids that no run has; while the context lasts, none gets one."""
        ...

    def exclusive_runs(
        self, names: Collection[str], on_wait: Callable[[], None] = lambda: None
    ) -> AbstractContextManager[bool]:
        """Wait until no other process holds one of the names, and hold all of them within the context.

        Who claims and computes runs holds what they are about (`run_lock_name`), so that nobody else computes them
        meanwhile. It ends with the process that holds it, however it ends. Yields whether it had to wait: what was read
        before may then be out of date.

        Args:
            names: What the runs are about, without order.
            on_wait: Called before waiting for another process.
        """
        ...

    def held_as_sign(self, name: str) -> AbstractContextManager[None]:
        """Hold a name within the context for `idle_runs` of others to see; nothing depends on it.

        The name is held as long as the connection lasts: where Postgres is started again, others see nothing more.
        """
        ...

    def stamp_runs(self, stamps: Mapping[int, str]) -> None:
        """Record, by run id, a stamp of all that a completed run can have read; other runs are left alone."""
        ...

    def load_published_runs(self) -> pa.Table:
        """Return all completed runs as rows of ClickHouse's `published_runs`."""
        ...

    def load_published_calls(self) -> pa.Table:
        """Return all calls, active or not, as rows of ClickHouse's `published_calls`."""
        ...

    # --- backfills -------------------------------------------------------------------------------------
    def begin_backfill(
        self,
        *,
        selection_key: str,
        selection: Mapping[str, Any],
        token_month_count: int,
        dagster_run_id: str | None = None,
    ) -> int:
        """Record that a backfill begins, and return its id."""
        ...

    def resume_backfill(self, backfill_id: int, *, dagster_run_id: str | None = None) -> None:
        """Record that a backfill goes on where it stopped."""
        ...

    def record_token_months(self, backfill_id: int, outcomes: Sequence[BackfilledMonth]) -> None:
        """Record what became of token-months of a backfill; the last that is said of one stands."""
        ...

    def finish_backfill(self, backfill_id: int) -> None:
        """Record that a backfill came to its end: completed, or failed where a token-month of it is."""
        ...

    # --- optimization ----------------------------------------------------------------------------------
    def create_job(
        self,
        *,
        name: str,
        strategy_template_id: int,
        search_space: Mapping[str, Any],
        objective: str,
        job_key: str,
        plan: Mapping[str, Any] | None = None,
        data: Mapping[str, Any] | None = None,
    ) -> tuple[int, bool]:
        """Insert a job as `running` or take over the one with this key: (job id, came to its end as it was asked for).

        A job that failed with a result, none of its trials having a score, came to its end.
        """
        ...

    def store_trials(self, job_id: int, trials: Sequence[NewTrial]) -> InsertCounts:
        """Store trials by COPY; a trial index that is stored already counts as duplicate."""
        ...

    def store_tally(self, job_id: int, tally: Mapping[str, Any]) -> None:
        """Keep how far a running job is."""
        ...

    def finish_job(
        self, job_id: int, *, status: str, error_message: str | None = None, result: JobResult | None = None
    ) -> None:
        """Set a job `completed` or `failed`, with what came of it."""
        ...

    # --- models ------------------------------------------------------------------------------------------
    def register_model(self, model: NewModel) -> int:
        """Store or replace a model version; a `ready` one deprecates other ready versions of its name."""
        ...

    def change_model_status(self, name: str, version: str, *, status: str) -> str:
        """Make a version `ready`, which deprecates the one that was, or `deprecated`; return its status before.

        All in one transaction: at every moment a name has at most one ready version. A version that is failed or in
        training is refused.
        """
        ...

    def load_models(self, name: str | None = None) -> list[ModelRow]:
        """Return registered models, newest first."""
        ...

    # --- reading for reports and features ----------------------------------------------------------------
    def read(self, query: str, **parameters: Any) -> pa.Table:
        """Run `sql/postgres/queries/<query>.sql` with named parameters and return all rows."""
        ...


class HistoryStore(Protocol):
    """Time series and high-volume events, in ClickHouse."""

    def insert_candles(self, candles: pa.Table) -> None:
        """Insert imported rows of `ingest.checked_candles.CANDLE_SCHEMA`; the newest import of a key wins.

        A column `flags` (uint8) is optional: 1 volume was missing on an idle bar and became 0, 2 distorted wick.
        Imported rows win over resampled ones of the same key, whichever came first.
        """
        ...

    def load_candle_rows(self, chain: str, token_address: str, interval: str, start: int, end: int) -> pa.Table:
        """Return imported candles (CANDLE_SCHEMA) with `start <= timestamp < end` (seconds), by timestamp.

        Resampled ones are left out: an import of the same key is no repetition of them.
        """
        ...

    def count_stored_candles(self, windows: Sequence[SeriesWindow]) -> list[int]:
        """Return for each window how many imported candles are stored at most; 0 only where there are none."""
        ...

    def load_stored_candles(self, windows: Sequence[SeriesWindow]) -> pa.Table:
        """Return imported candles of windows: `position` in `windows`, timestamp (seconds), values, flags, by these."""
        ...

    def load_candles(
        self, windows: Mapping[TokenKey, tuple[int, int]], *, interval: str | None = None
    ) -> dict[TokenKey, Candles]:
        """Return one interval's candles per token for `[start, end)` windows in seconds, in bulk.

        Without `interval`, the finest stored one within the window of each token. A token without
        candles in its window is absent.
        """
        ...

    def resample_candles(
        self,
        chain: str,
        token_addresses: Collection[str],
        start: int,
        end: int,
        *,
        source_interval: str,
        target_interval: str,
        include_open: bool = False,
    ) -> int:
        """Make candles of `target_interval` from the source candles of `[start, end)`; return how many were new.

        Buckets are aligned to the epoch. One is made where a source candle exists: its first open, highest high,
        lowest low, last close, and the sum of volumes in the order of time. The bucket that the series ends in is
        made once a candle reaches its end, or with `include_open`. An imported candle of the same key always wins.
        The same again changes nothing; after new source candles, the candles they touch are made anew.

        Raises:
            InputError: an interval is unknown, or the target is no multiple of the source.
        """
        ...

    def load_coverage(self) -> pa.Table:
        """Return chain, token_address, interval, month (YYYY-MM), candle_count, first_s, last_s."""
        ...

    def load_contents(self, tokens: Collection[TokenKey], *, anew: bool = False) -> pa.Table:
        """Return what `load_coverage` does of some tokens, with `content`, a hash of the candles, and `imported`.

        `content` stays the same while the candles' values do, `imported` (int64) changes with every import. Both are
        remembered of what did not change; `anew` hashes everything, and remembers nothing.
        """
        ...

    def load_remembered_contents(self, tokens: Collection[TokenKey]) -> tuple[pa.Table, pa.Table]:
        """Return what `load_contents` remembers of some tokens and would answer, and the same hashed anew."""
        ...

    def load_imported(self, tokens: Collection[TokenKey]) -> pa.Table:
        """Return chain, token_address, interval, month and `imported` of some tokens: quicker than their contents."""
        ...

    def insert_events(self, events: pa.Table) -> None:
        """Insert simulation events; the same (run, call, seq) again is the same row, once."""
        ...

    def insert_aggregates(self, aggregates: pa.Table) -> None:
        """Insert simulation aggregates; the same (run, token) again is the same row, once."""
        ...

    def load_events(self, run_ids: Collection[int]) -> pa.Table:
        """Return the events of runs, ordered by (simulation_run_id, call_id, seq)."""
        ...

    def delete_run_rows(self, run_ids: Collection[int]) -> None:
        """Remove events and aggregates of runs that no reader may see."""
        ...

    def publish(self, runs: pa.Table | None, calls: pa.Table) -> None:
        """Mirror completed runs and calls, so that views in ClickHouse know what may be shown; None leaves runs."""
        ...

    def insert_features(self, features: pa.Table) -> None:
        """Insert rows of `ml_features`: feature_set, call_id, chain, token_address, signal_timestamp, values, stamp."""
        ...

    def insert_scores(self, scores: pa.Table) -> None:
        """Insert rows of `ml_scores` (`clickhouse.SCORE_SCHEMA`); the newest of (model, call, trained until) wins."""
        ...

    def load_call_scores(self, model_names: Collection[str], call_ids: Collection[int]) -> pa.Table:
        """Return call_id, model_name, model_id, `trained_until` (UTC, us) and score of some calls.

        Of all versions of these models and of their walk-forward folds, whatever their status; scores that do not say
        until when their model had learned are left out. A score is usable for calls after `trained_until` alone.
        """
        ...

    def read(self, query: str, **parameters: Any) -> pa.Table:
        """Run `sql/clickhouse/queries/<query>.sql` with named parameters and return all rows."""
        ...
