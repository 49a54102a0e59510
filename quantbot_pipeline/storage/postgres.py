"""`PostgresStore`: the state store. Each method is one transaction."""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from datetime import datetime
from types import TracebackType
from typing import Any, Self

import pyarrow as pa

from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage import (
    postgres_backfills,
    postgres_calls,
    postgres_entities,
    postgres_imports,
    postgres_research,
    postgres_runs,
)
from quantbot_pipeline.storage.postgres_connection import PostgresConnections
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
    StrategyRow,
)


class PostgresStore:
    """Entities and relationships in Postgres, as `protocols.StateStore` says.

    Usable from several threads at once; connections are opened when first needed and opened anew after the
    server restarted. Every method raises ServerError when the server is out of reach, MigrationError when
    the schema is missing, and StorageError with the server's message when it refuses a statement; in all
    cases nothing of the method's work is kept.

    Args:
        url: `postgresql://user:password@host:port/database`, or with `?host=/directory` a Unix socket.
    """

    def __init__(self, url: str) -> None:
        self._connections = PostgresConnections(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close the idle connections; the store opens new ones should it be used again."""
        self._connections.close()

    # --- tokens, callers, alerts, calls -------------------------------------------------------------
    def upsert_tokens(self, tokens: Mapping[TokenKey, str | None]) -> dict[TokenKey, int]:
        """Store tokens (key → symbol, None keeps what is known) and return their ids."""
        return self._connections.run(lambda t: postgres_entities.upsert_tokens(t, tokens))

    def store_alerts(self, alerts: Sequence[NewAlert], record: ImportRecord | None) -> InsertCounts:
        """Store alerts with their tokens and callers, and the import that brought them.

        Raises:
            IntegrityError: the record's counts do not add up; nothing was stored.
            DataError: a time states no zone; nothing was stored.
        """
        return self._connections.run(lambda t: postgres_entities.store_alerts(t, alerts, record))

    def load_callers(self) -> list[CallerRow]:
        """Return all callers by (source, handle)."""
        return self._connections.run(postgres_calls.load_callers)

    def set_caller_alias(self, caller_id: int, canonical_caller_id: int) -> bool:
        """Say that a caller is another one, and return whether that is new; calls must be derived again.

        Raises:
            InputError: it would close a circle; the message shows it.
            StorageError: a caller does not exist.
        """
        return self._connections.run(lambda t: postgres_calls.set_caller_alias(t, caller_id, canonical_caller_id))

    def remove_caller_alias(self, caller_id: int) -> bool:
        """Say that a caller is itself again, and return whether it was an alias; calls must be derived again."""
        return self._connections.run(lambda t: postgres_calls.remove_caller_alias(t, caller_id))

    def derive_calls(
        self, rules: Mapping[str, Any], derive: Callable[[Sequence[AlertRow]], Sequence[NewCall]]
    ) -> DerivationCounts:
        """Make the calls what `derive` says of all alerts; rows keep their ids, deriving twice changes nothing.

        Raises:
            IntegrityError: `derive` does not give exactly one call per alert; nothing was changed.
        """
        return self._connections.run(lambda t: postgres_calls.derive_calls(t, rules, derive))

    def load_call_rules(self) -> Mapping[str, Any] | None:
        """Return the rules that calls were last derived by; None if they never were."""
        return self._connections.run(postgres_calls.load_call_rules)

    def load_calls(
        self,
        tokens: Collection[TokenKey] | None = None,
        start: datetime | None = None,
        end: datetime | None = None,
    ) -> list[CallRow]:
        """Return active calls with `start <= signal_timestamp < end`, ordered by (signal_timestamp, call_id)."""
        return self._connections.run(lambda t: postgres_calls.load_calls(t, tokens, start, end))

    # --- imports and quarantine ---------------------------------------------------------------------
    def find_import(self, kind: str, sha256: str, options_key: str) -> ImportRecord | None:
        """Return the completed import of this content with these options, with its quarantined rows."""
        return self._connections.run(lambda t: postgres_entities.find_import(t, kind, sha256, options_key))

    def begin_import(self, record: ImportRecord) -> ImportRecord:
        """Record an import as `started`; the counts of the first attempt are returned and stay.

        Raises:
            IntegrityError: the counts do not add up; nothing was recorded.
        """
        return self._connections.run(lambda t: postgres_entities.begin_import(t, record))

    def complete_import(self, record: ImportRecord) -> None:
        """Set a begun import `completed` and keep its quarantined rows; again is a no-op.

        Raises:
            StorageError: the import was never begun.
            IntegrityError: the quarantined rows are not as many as were counted.
        """
        self._connections.run(lambda t: postgres_entities.complete_import(t, record))

    def find_imports(self, keys: Collection[ImportKey]) -> dict[ImportKey, ImportRecord]:
        """Return those imports that were completed, each with its first hundred quarantined rows."""
        return self._connections.run(lambda t: postgres_imports.find_imports(t, keys))

    def load_inserted_batches(self, keys: Collection[ImportKey]) -> dict[ImportKey, dict[int, BatchClaim]]:
        """Return, of imports that were begun and not completed, the batches whose rows are in, by their number."""
        return self._connections.run(lambda t: postgres_imports.load_inserted_batches(t, keys))

    def exclusive_import(self) -> AbstractContextManager[None]:
        """Wait until no other process is between settling and storing candles, and keep others out of it."""
        return self._connections.locked("imports/lock_imports", "imports/unlock_imports")

    def begin_batches(self, batches: Sequence[ImportBatch]) -> list[BatchClaim]:
        """Record batches with their counts, before their rows are inserted, and say which counts hold.

        Raises:
            IntegrityError: the counts of a batch do not add up; nothing was recorded.
        """
        return self._connections.run(lambda t: postgres_imports.begin_batches(t, batches))

    def finish_batches(
        self, claims: Sequence[BatchClaim], completed: Sequence[ImportCompletion]
    ) -> dict[ImportKey, ImportRecord]:
        """Record that the rows of batches are in, keep their quarantined rows, and complete imports."""
        return self._connections.run(lambda t: postgres_imports.finish_batches(t, claims, completed))

    # --- strategies ---------------------------------------------------------------------------------
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
        """Store a strategy version, or return the stored one with its category and description renewed.

        Raises:
            InputError: this (name, version) is stored with another config.
        """
        return self._connections.run(
            lambda t: postgres_runs.store_strategy(
                t,
                name=name,
                version=version,
                category=category,
                description=description,
                config=config,
                config_hash=config_hash,
            )
        )

    def load_strategies(self, names: Collection[str] | None = None) -> list[StrategyRow]:
        """Return active strategies, all or those named, ordered by (name, version)."""
        return self._connections.run(lambda t: postgres_runs.load_strategies(t, names))

    # --- runs ---------------------------------------------------------------------------------------
    def claim_runs(self, runs: Sequence[NewRun]) -> list[RunClaim]:
        """Insert or take over runs as `running`, and say which are complete already, in the order given.

        Args:
            runs: What is about to be computed; a key may come more than once.

        Raises:
            IntegrityError: a run key is stored for another scope.
        """
        return self._connections.run(lambda t: postgres_runs.claim_runs(t, runs))

    def complete_runs(self, summaries: Sequence[RunSummary]) -> None:
        """Write summaries, set `completed`, and supersede other runs of the same scopes.

        Of a scope's completed runs the last claimed one is current, also when an earlier one is
        completed later. Runs that are complete already are left alone.

        Raises:
            StorageError: a run does not exist.
        """
        self._connections.run(lambda t: postgres_runs.complete_runs(t, summaries))

    def reactivate_runs(self, run_ids: Sequence[int]) -> None:
        """Make completed runs the current ones of their scopes again, superseding others.

        Raises:
            StorageError: a run does not exist or is not completed, or two runs have one scope.
        """
        self._connections.run(lambda t: postgres_runs.reactivate_runs(t, run_ids))

    def fail_runs(self, failures: Mapping[int, str]) -> None:
        """Set `failed` with the error message for runs that are not complete.

        Raises:
            StorageError: a run does not exist.
        """
        self._connections.run(lambda t: postgres_runs.fail_runs(t, failures))

    def idle_runs(self, names: Collection[str]) -> AbstractContextManager[frozenset[str]]:
        """Hold, without waiting, those of the names that no other process holds, and yield them."""
        return self._connections.holding_idle(names)

    def find_same_attempts(self, attempts: Mapping[int, int]) -> list[int]:
        """Return those runs (id → attempt) that are not completed and were not begun again since."""
        return self._connections.run(lambda t: postgres_runs.find_same_attempts(t, attempts))

    def clear_attempts(self, attempts: Mapping[int, int]) -> list[int]:
        """Let these attempts (run id → attempt) complete their runs no more, and return those it was in time for."""
        return self._connections.run(lambda t: postgres_runs.clear_attempts(t, attempts))

    @contextmanager
    def unknown_runs(self, run_ids: Collection[int]) -> Iterator[list[int]]:
        """Yield those ids that no run has; while the context lasts, nobody begins or changes a run."""
        with self._connections.transaction() as transaction:
            transaction.execute("runs/lock_runs_table")
            known = {row["id"] for row in transaction.fetch_rows("runs/find_runs", run_ids=list(run_ids))}
            yield sorted(set(run_ids) - known)

    def exclusive_runs(
        self, names: Collection[str], on_wait: Callable[[], None] = lambda: None
    ) -> AbstractContextManager[bool]:
        """Hold the right to compute what the names stand for while the context lasts; yields whether it waited."""
        return self._connections.holding(names, on_wait)

    def held_as_sign(self, name: str) -> AbstractContextManager[None]:
        """Hold a name within the context, as far as the connection lasts, for others to see."""
        return self._connections.held_as_sign(name)

    def stamp_runs(self, stamps: Mapping[int, str]) -> None:
        """Record, by run id, a stamp of all that a completed run can have read; others are left alone."""
        self._connections.run(lambda t: postgres_runs.stamp_runs(t, stamps))

    def load_published_runs(self) -> pa.Table:
        """Return all completed runs as rows of ClickHouse's `published_runs`."""
        return self.read("published/load_runs")

    def load_published_calls(self) -> pa.Table:
        """Return all calls, active or not, as rows of ClickHouse's `published_calls`."""
        return self.read("published/load_calls")

    # --- backfills ----------------------------------------------------------------------------------
    def begin_backfill(
        self,
        *,
        selection_key: str,
        selection: Mapping[str, Any],
        token_month_count: int,
        dagster_run_id: str | None = None,
    ) -> int:
        """Record that a backfill begins, and return its id."""
        return self._connections.run(
            lambda t: postgres_backfills.begin_backfill(
                t,
                selection_key=selection_key,
                selection=selection,
                token_month_count=token_month_count,
                dagster_run_id=dagster_run_id,
            )
        )

    def resume_backfill(self, backfill_id: int, *, dagster_run_id: str | None = None) -> None:
        """Record that a backfill goes on where it stopped.

        Raises:
            StorageError: there is no such backfill.
        """
        self._connections.run(lambda t: postgres_backfills.resume_backfill(t, backfill_id, dagster_run_id))

    def record_token_months(self, backfill_id: int, outcomes: Sequence[BackfilledMonth]) -> None:
        """Record what became of token-months of a backfill; the last that is said of one stands."""
        self._connections.run(lambda t: postgres_backfills.record_token_months(t, backfill_id, outcomes))

    def finish_backfill(self, backfill_id: int) -> None:
        """Record that a backfill came to its end: completed, or failed where a token-month of it is.

        Raises:
            StorageError: there is no such backfill.
        """
        self._connections.run(lambda t: postgres_backfills.finish_backfill(t, backfill_id))

    # --- optimization -------------------------------------------------------------------------------
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
        """Insert a job as `running` or take over the one with this key: (job id, is complete already).

        One that was completed with a note, because it is shorter than what was asked for, is taken over too.
        """
        return self._connections.run(
            lambda t: postgres_research.create_job(
                t,
                name=name,
                strategy_template_id=strategy_template_id,
                search_space=search_space,
                objective=objective,
                job_key=job_key,
                plan=plan or {},
                data=data or {},
            )
        )

    def store_trials(self, job_id: int, trials: Sequence[NewTrial]) -> InsertCounts:
        """Store trials; a trial index that is stored already counts as duplicate."""
        return self._connections.run(lambda t: postgres_research.store_trials(t, job_id, trials))

    def store_tally(self, job_id: int, tally: Mapping[str, Any]) -> None:
        """Keep how far a running job is."""
        self._connections.run(lambda t: postgres_research.store_tally(t, job_id, tally))

    def finish_job(
        self, job_id: int, *, status: str, error_message: str | None = None, result: JobResult | None = None
    ) -> None:
        """Set a job `completed` or `failed` (which needs a message); a completed one stays so.

        Raises:
            StorageError: the job does not exist, or the status is another one.
        """
        self._connections.run(
            lambda t: postgres_research.finish_job(t, job_id, status=status, error_message=error_message, result=result)
        )

    # --- models -------------------------------------------------------------------------------------
    def register_model(self, model: NewModel) -> int:
        """Store or replace a model version; a `ready` one deprecates the other ready version of its name."""
        return self._connections.run(lambda t: postgres_research.register_model(t, model))

    def change_model_status(self, name: str, version: str, *, status: str) -> str:
        """Make a version `ready`, which deprecates the one that was, or `deprecated`; return its status before.

        Raises:
            InputError: there is no such version, or it is failed or in training.
        """
        return self._connections.run(lambda t: postgres_research.change_model_status(t, name, version, status=status))

    def load_models(self, name: str | None = None) -> list[ModelRow]:
        """Return registered models, newest first."""
        return self._connections.run(lambda t: postgres_research.load_models(t, name))

    # --- reading for reports and features -----------------------------------------------------------
    def read(self, query: str, **parameters: Any) -> pa.Table:
        """Run `sql/postgres/queries/<query>.sql` with named parameters and return all rows.

        Raises:
            ConfigError: there is no such query.
            StorageError: the query fails, or a column's type has no Arrow form here.
        """
        return self._connections.run(lambda t: t.fetch_table(query, **parameters))
