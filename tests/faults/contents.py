"""What is stored in a home, in a form in which two homes can be compared.

Ids are given out by sequences, and a server that was killed gives out later ones: two homes that hold the same differ
in them. Every id is therefore replaced by the natural key of what it names, and what is made of ids (run keys, digests
of events that name calls) is left out of the comparison between homes; within one home it is recomputed.
Times of the writing are left out too. Everything else is compared, to the last bit of every number.
"""

import json
import struct
from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any, LiteralString

import clickhouse_connect
import psycopg
from psycopg import sql
from psycopg.rows import dict_row

from quantbot_pipeline.servers.status import ServerUrls

Row = dict[str, Any]

# Times of the writing, versions made of them, and how often something was begun.
_TIMES = frozenset(
    {
        "times_json",
        "applied_at", "attempt", "begun_at", "chosen_at", "claimed_at", "completed_at", "created_at", "derived_at",
        "fetched_at", "imported_at", "inserted_at", "row_version", "started_at", "superseded_at", "updated_at",
    }
)  # fmt: skip
# Made of ids among other things.
_MADE_OF_IDS = frozenset(
    {
        "run_key",
        "scope_key",
        "events_digest",
        "job_key",
        "fingerprint",
        "storage_uri",
        "sha256_of_model",
        "evidence_json",
    }
)
_TABLE_OF = {
    "token_id": "tokens",
    "caller_id": "callers",
    "canonical_caller_id": "callers",
    "strategy_id": "strategies",
    "strategy_template_id": "strategies",
    "alert_id": "alerts",
    "call_id": "calls",
    "import_id": "imports",
    "simulation_run_id": "simulation_runs",
    "superseded_by": "simulation_runs",
    "job_id": "optimization_jobs",
    "model_id": "ml_models",
}
_NATURAL_KEYS = {
    "tokens": ("chain", "address"),
    "callers": ("source", "handle"),
    "strategies": ("name", "version"),
    "alerts": ("content_key",),
    "calls": ("alert_id",),
    "imports": ("kind", "file", "options_key"),
    "simulation_runs": ("run_type", "strategy_id", "token_id", "config_hash", "window_start", "window_end"),
    "optimization_jobs": ("name", "objective", "search_space_json"),
    "ml_models": ("name", "label_definition"),
}
_STATE_ORDER = tuple(_NATURAL_KEYS)
# What was attempted: a job that was disturbed took more attempts. And memories, of which only what holds is read.
_LEFT_OUT = frozenset(
    {"schema_migrations", "backfills", "backfill_token_months", "simulation_run_inputs", "candle_contents"}
)
# Views whose rows are results: what readers look at.
_VIEWS = {"postgres": ("mart_runs_ranked",), "clickhouse": ("stg_runs", "stg_calls", "int_trades")}


@dataclass(frozen=True)
class Contents:
    """Everything that is stored.

    Attributes:
        tables: Rows by table, each as a text, sorted.
        runs: By the natural key of each completed run: its summary, events and aggregates, and whether it is current.
        views: Rows by view, each as a text, sorted; None for a view that does not exist.
    """

    tables: Mapping[str, list[str]]
    runs: Mapping[str, Row]
    views: Mapping[str, list[str] | None]


class _Names:
    """Natural keys by table and id."""

    def __init__(self) -> None:
        self._names: dict[str, dict[int, str]] = {}

    def learn(self, table: str, rows: list[Row]) -> None:
        self._names[table] = {
            row["id"]: "/".join(_text(self.named(name, row[name])) for name in _NATURAL_KEYS[table]) for row in rows
        }

    def named(self, column: str, value: Any) -> Any:
        """Return the natural key that an id stands for; any other value as it is."""
        table = _TABLE_OF.get(column)
        if table is None or value is None:
            return value
        return self._names[table].get(int(value), f"a row of {table} that is not there")

    def of(self, table: str, number: int) -> str | None:
        return self._names[table].get(number)


def read_contents(urls: ServerUrls) -> Contents:
    """Read everything that both databases hold."""
    names = _Names()
    with psycopg.connect(urls.postgres, row_factory=dict_row) as postgres:
        postgres.execute("set transaction isolation level repeatable read read only")
        found = {
            row["tablename"] for row in postgres.execute("select tablename from pg_tables where schemaname = 'public'")
        }
        state = {table: _select(postgres, table) for table in sorted(found - _LEFT_OUT)}
        existing = {
            row["viewname"] for row in postgres.execute("select viewname from pg_views where schemaname = 'public'")
        }
        views: dict[str, list[Row] | None] = {
            f"postgres {view}": _select(postgres, view) if view in existing else None for view in _VIEWS["postgres"]
        }
    for table in _STATE_ORDER:
        names.learn(table, state[table])
    with closing(clickhouse_connect.get_client(dsn=urls.clickhouse)) as clickhouse:
        engines = dict(
            clickhouse.query("select name, engine from system.tables where database = currentDatabase()").result_rows
        )
        history = {
            table: _query(clickhouse, f"select * from {table} final")  # noqa: S608 - names of the database's own
            for table, engine in sorted(engines.items())
            if engine.endswith("MergeTree") and table not in _LEFT_OUT
        }
        for view in _VIEWS["clickhouse"]:
            rows = _query(clickhouse, f"select * from {view}") if view in engines else None  # noqa: S608 - the same
            views[f"clickhouse {view}"] = rows
    by_run = _runs(state, history, names)
    # Rows of runs that are not completed are nobody's to see; they stay until their run is tried again.
    shown = {row["id"] for row in state["simulation_runs"] if _has_trace(row)}
    tables: dict[str, list[str]] = {}
    for table, rows in {**state, **history}.items():
        tables[table] = sorted(
            _line(row, names)
            for row in rows
            if table not in ("simulation_events", "simulation_aggregates") or row["simulation_run_id"] in shown
        )
    return Contents(
        tables=tables,
        runs=by_run,
        views={
            view: None if rows is None else sorted(_line(row, names) for row in rows) for view, rows in views.items()
        },
    )


def _has_trace(run: Row) -> bool:
    """Return whether a run is whole; trials are complete before the best of them get their traces."""
    return bool(run["status"] == "completed" and run["events_digest"] != "metrics-only")


def _runs(state: Mapping[str, list[Row]], history: Mapping[str, list[Row]], names: _Names) -> dict[str, Row]:
    found: dict[int, Row] = {
        row["id"]: {"summary": None, "events": [], "aggregates": [], "is_current": row["superseded_by"] is None}
        for row in state["simulation_runs"]
        if _has_trace(row)
    }
    for row in state["simulation_results_summary"]:
        if row["simulation_run_id"] in found:
            found[row["simulation_run_id"]]["summary"] = _line(row, names)
    for table, part in (("simulation_events", "events"), ("simulation_aggregates", "aggregates")):
        for row in history[table]:
            if row["simulation_run_id"] in found:
                found[row["simulation_run_id"]][part].append(_line(row, names))
    for run in found.values():
        run["events"].sort()
    return {str(names.of("simulation_runs", number)): run for number, run in found.items()}


def _names_in(postgres: psycopg.Connection[Row], query: LiteralString) -> set[str]:
    return {row["name"] for row in postgres.execute(query)}


def _select(postgres: psycopg.Connection[Row], table: str) -> list[Row]:
    return postgres.execute(sql.SQL("select * from {}").format(sql.Identifier(table))).fetchall()


def _query(clickhouse: Any, query: str) -> list[Row]:
    return list(clickhouse.query(query).named_results())


def _line(row: Row, names: _Names) -> str:
    kept = {
        name: names.named(name, value)
        for name, value in row.items()
        if name not in _TIMES and name not in _MADE_OF_IDS and name != "id"
    }
    if "data_selection_json" in kept:
        kept["data_selection_json"] = {k: v for k, v in kept["data_selection_json"].items() if k != "fingerprint"}
    if "input_features_json" in row:
        # A model's version and file are named after its data, which name calls by their ids.
        kept = {name: value for name, value in kept.items() if name not in ("version", "sha256")}
    for name in ("inserted_at", "imported_at", "completed_at"):
        if name in row and "status" in row:
            kept[f"has {name}"] = row[name] is not None
    return _text(kept)


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(_exact(value), sort_keys=True, default=str)


def _exact(value: Any) -> Any:
    """Return a value whose text differs whenever a bit of a number does."""
    if isinstance(value, float):
        return f"{value!r} {struct.pack('>d', value).hex()}" if value == value else "nan"
    if isinstance(value, Mapping):
        return {str(key): _exact(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_exact(part) for part in value]
    return value


def differences(found: Contents, expected: Contents) -> list[str]:
    """Return, for people, where two homes hold different things; nothing where they hold the same."""
    told = []
    for kind in ("tables", "views"):
        left, right = getattr(found, kind), getattr(expected, kind)
        for name in sorted({*left, *right}):
            told += _row_differences(name, left.get(name) or [], right.get(name) or [])
    if found.runs.keys() != expected.runs.keys():
        told.append(f"completed runs: {sorted(found.runs.keys() ^ expected.runs.keys())[:4]}")
    return told


def _row_differences(name: str, found: list[str], expected: list[str]) -> list[str]:
    if found == expected:
        return []
    extra, missing = sorted(set(found) - set(expected)), sorted(set(expected) - set(found))
    return [f"{name}: {len(found)} rows, expected {len(expected)}; extra {extra[:2]}; missing {missing[:2]}"]


def half_results(found: Contents, expected: Contents) -> list[str]:
    """Return what readers could see that is not what they see in the end, at a moment when a job is not finished.

    Each completed run is there as a whole: summary, every event, aggregates, as the undisturbed job wrote them. The
    views in ClickHouse show only such runs; they may lag behind.
    """
    told = []
    for key, run in found.runs.items():
        if key not in expected.runs:
            told.append(f"run {key} is completed and not known to the undisturbed job")
        elif run != expected.runs[key]:
            parts = [part for part in run if run[part] != expected.runs[key][part]]
            told.append(f"run {key} is completed and differs in {', '.join(parts)}")
    for view, rows in found.views.items():
        if view.startswith("clickhouse stg_") or view.endswith(("int_trades", "int_token_results")):
            strange = sorted(set(rows or []) - set(expected.views[view] or []))
            if strange:
                told.append(f"{view} shows {len(strange)} rows that the undisturbed job does not, such as {strange[0]}")
    return told + _half_states(found, expected)


def _half_states(found: Contents, expected: Contents) -> list[str]:
    """Return rows with a final status that are not the final rows: imports, jobs, models."""
    told = []
    for table, status in (("imports", '"completed"'), ("optimization_jobs", '"completed"'), ("ml_models", '"ready"')):
        final = [row for row in found.tables[table] if f'"status": {status}' in row]
        strange = sorted(set(final) - set(expected.tables[table]))
        if strange:
            told.append(f"{table} has a row of status {status} unlike the undisturbed job's: {strange[0]}")
    if any('"ready"' in row for row in found.tables["ml_models"]):
        scores = len(found.tables["ml_scores"]), len(expected.tables["ml_scores"])
        if scores[0] != scores[1]:
            told.append(f"a model is ready and has {scores[0]} of {scores[1]} scores")
    if any('"status": "completed"' in row for row in found.tables["optimization_jobs"]):
        trials = len(found.tables["optimization_trials"]), len(expected.tables["optimization_trials"])
        if trials[0] != trials[1]:
            told.append(f"a search is completed and has {trials[0]} of {trials[1]} trials")
    return told


def model_files(directory: Path) -> list[str]:
    """Return the names of the files of models, unfinished ones included."""
    return sorted(path.name for path in directory.iterdir()) if directory.is_dir() else []
