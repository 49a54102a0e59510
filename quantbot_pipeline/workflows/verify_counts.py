"""Rules of docs/data-model.md on keys, imports, calls, candles and the mirror in ClickHouse."""

from collections.abc import Iterable, Mapping
from datetime import timedelta
from typing import Any

import pyarrow as pa

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.tokens import TokenKey, canonical_token
from quantbot_pipeline.storage.migrations import DATABASES, read_migrations
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.verify_findings import (
    IMPORT_PATIENCE,
    ROWS_PER_PAGE,
    Finding,
    FindingCounter,
    VerifiedStores,
    finding_of,
    state_pages,
)

_LAST_ID = 2**63 - 1
_TOKENS_PER_PAGE = 500
_SHOWING_VIEWS = frozenset({"stg_runs", "stg_events", "stg_aggregates", "int_current_backtests", "mart_runs_ranked"})


def check_migrations(stores: VerifiedStores) -> Finding:
    """Both databases have the migrations of `sql/`, unchanged."""
    found = FindingCounter()
    for database in DATABASES:
        store: StateStore | HistoryStore = stores.state if database == "postgres" else stores.history
        applied = {
            row["number"]: (row["name"], row["sha256"])
            for row in store.read("migrations/load_schema_migrations").to_pylist()
        }
        wanted = {file.number: (file.name, file.sha256) for file in read_migrations(database)}
        for number in sorted(applied.keys() | wanted.keys()):
            found.look()
            if number not in applied:
                found.fault(f"{database} lacks migration {wanted[number][0]}")
            elif number not in wanted:
                found.fault(f"{database} has migration {applied[number][0]}, which these files lack")
            elif applied[number] != wanted[number]:
                found.fault(f"{database} migration {applied[number][0]} was changed after it was applied")
    return found.finding()


def check_unique_keys(stores: VerifiedStores) -> Finding:
    """No natural key stands twice in any table of both databases; of ClickHouse's, as `final` reads them."""
    return finding_of(stores.state.read("verify/check_unique_keys")) + finding_of(
        stores.history.read("verify/check_unique_keys")
    )


def check_tokens(stores: VerifiedStores) -> Finding:
    """Every token has the one spelling of its chain and address."""
    found = FindingCounter()
    for rows in state_pages(stores, "verify/load_tokens", "id"):
        for row in rows:
            found.look()
            stored = (row["chain"], row["address"])
            try:
                if canonical_token(*stored) != stored:
                    found.fault(f"token {row['id']} is {' '.join(stored)}, not {' '.join(canonical_token(*stored))}")
            except DataError as error:
                found.fault(f"token {row['id']}: {error}")
    return found.finding()


def check_times(stores: VerifiedStores) -> Finding:
    """Every time has a zone, lies between 1970 and tomorrow, and a call has its alert's."""
    return finding_of(stores.state.read("verify/check_times", latest=stores.now + timedelta(days=1)))


def check_import_counts(stores: VerifiedStores) -> Finding:
    """Of every import, rows read = stored + duplicate + quarantined, and what is stored of it are these rows."""
    return finding_of(stores.state.read("verify/check_import_counts"))


def check_started_imports(stores: VerifiedStores) -> Finding:
    """No import was left in its middle."""
    return finding_of(stores.state.read("verify/check_started_imports", stale_before=stores.now - IMPORT_PATIENCE))


def check_counted_alerts(stores: VerifiedStores) -> Finding:
    """Every alert was brought, and counted, by a completed import."""
    return finding_of(stores.state.read("verify/check_counted_alerts"))


def check_calls(stores: VerifiedStores) -> Finding:
    """Every alert has one call row, in force or not."""
    return finding_of(stores.state.read("verify/check_calls"))


def check_counted_candles(stores: VerifiedStores) -> Finding:
    """Imported candles in ClickHouse are as many as imports say that they stored.

    An import that is under way counts its rows before it inserts them: what it has not finished may be there or not.
    """
    before = stores.state.read("verify/count_candle_rows").to_pylist()[0]
    [candles] = stores.history.read("verify/count_imported_candles")["candles"].to_pylist()
    after = stores.state.read("verify/count_candle_rows").to_pylist()[0]
    least, most = before["rows_stored"], after["rows_stored"] + after["rows_pending"]
    if least <= candles <= most:
        return Finding(candles)
    counted = f"{least:,}" if least == most else f"{least:,} to {most:,}"
    wrong = least - candles if candles < least else candles - most
    return Finding(candles, wrong, (f"{candles:,} imported candles in ClickHouse, {counted} counted by imports",))


def check_candles(stores: VerifiedStores) -> Finding:
    """Every candle has positive finite prices between its low and its high, a volume, a known interval and a time."""
    latest = min(int((stores.now + timedelta(days=1)).timestamp()), 2**32 - 1)
    return finding_of(
        stores.history.read("verify/check_candles", intervals=list(INTERVAL_SECONDS), latest_s=latest),
    )


def check_candle_contents(stores: VerifiedStores) -> Finding:
    """Months of candles hold what they are remembered to hold, by which a backfill decides what is stale."""
    found = FindingCounter()
    after = TokenKey("", "")
    while tokens := [
        TokenKey(row["chain"], row["token_address"])
        for row in stores.history.read(
            "verify/load_remembered_tokens",
            after_chain=after.chain,
            after_token_address=after.address,
            row_limit=_TOKENS_PER_PAGE,
        ).to_pylist()
    ]:
        remembered, stored = map(_by_series_month, stores.history.load_remembered_contents(tokens))
        found.look(len(remembered))
        for key in sorted(remembered.keys() | stored.keys()):
            if remembered.get(key) != stored.get(key):
                was, has = (series[key]["candle_count"] if key in series else 0 for series in (remembered, stored))
                told = f"{has:,} are stored" if was != has else "others are stored"
                found.fault(f"{' '.join(key)}: {was:,} candles are remembered, {told}")
        stores.on_rows(len(tokens))
        after = tokens[-1]
    return found.finding()


def _by_series_month(contents: pa.Table) -> dict[tuple[str, str, str, str], dict[str, Any]]:
    return {(row["chain"], row["token_address"], row["interval"], row["month"]): row for row in contents.to_pylist()}


def check_published_runs(stores: VerifiedStores) -> Finding:
    """ClickHouse's mirror of runs holds Postgres' completed runs, each as it is there, and no other."""
    return _check_mirror(stores, "verify/load_published_runs", "simulation_run_id", "run")


def check_published_calls(stores: VerifiedStores) -> Finding:
    """ClickHouse's mirror of calls holds Postgres' calls, each as it is there, and no other."""
    return _check_mirror(stores, "verify/load_published_calls", "call_id", "call")


def _check_mirror(stores: VerifiedStores, query: str, key: str, what: str) -> Finding:
    found = FindingCounter()
    after_id = 0
    while True:
        rows = stores.state.read(query, after_id=after_id, row_limit=ROWS_PER_PAGE).to_pylist()
        last_id = rows[-1][key] if len(rows) == ROWS_PER_PAGE else _LAST_ID
        mirrored = stores.history.read(query, after_id=after_id, last_id=last_id).to_pylist()
        faults = _mirror_faults(_by_id(rows, key), _by_id(mirrored, key), what)
        if faults:
            # What was completed between the two readings is no fault: read again, the mirror first.
            mirrored = stores.history.read(query, after_id=after_id, last_id=last_id).to_pylist()
            rows = stores.state.read(query, after_id=after_id, row_limit=ROWS_PER_PAGE).to_pylist()
            rows = [row for row in rows if row[key] <= last_id]
            again = _mirror_faults(_by_id(rows, key), _by_id(mirrored, key), what)
            faults = {number: text for number, text in again.items() if number in faults}
        found.look(len(rows))
        for number in sorted(faults):
            found.fault(faults[number])
        stores.on_rows(len(rows))
        if last_id == _LAST_ID:
            return found.finding()
        after_id = last_id


def _by_id(rows: Iterable[dict[str, Any]], key: str) -> dict[int, dict[str, Any]]:
    return {row[key]: row for row in rows}


def _mirror_faults(
    wanted: Mapping[int, Mapping[str, Any]], mirrored: Mapping[int, Mapping[str, Any]], what: str
) -> dict[int, str]:
    faults: dict[int, str] = {}
    for number in wanted.keys() | mirrored.keys():
        if number not in mirrored:
            faults[number] = f"{what} {number} is not mirrored"
        elif number not in wanted:
            faults[number] = f"{what} {number} is mirrored and {_absence(what)}"
        elif wanted[number] != mirrored[number]:
            column = next(name for name, value in wanted[number].items() if mirrored[number][name] != value)
            there, here = mirrored[number][column], wanted[number][column]
            faults[number] = f"{what} {number} has {column} {there!r} in ClickHouse and {here!r} in Postgres"
    return faults


def _absence(what: str) -> str:
    return "not completed in Postgres" if what == "run" else "not in Postgres"


def check_views(stores: VerifiedStores) -> Finding:
    """Views show no run that is not completed; where views were not made yet, none are shown."""
    found = FindingCounter()
    if not {row["name"] for row in stores.history.read("verify/find_views").to_pylist()} >= _SHOWING_VIEWS:
        return found.finding()
    after_id = 0
    while shown := stores.history.read("verify/load_shown_runs", after_id=after_id, row_limit=ROWS_PER_PAGE)[
        "simulation_run_id"
    ].to_pylist():
        completed = set(stores.state.read("verify/find_completed_runs", run_ids=shown)["id"].to_pylist())
        found.look(len(shown))
        for run_id in shown:
            if run_id not in completed:
                found.fault(f"run {run_id} is shown by a view and not completed")
        stores.on_rows(len(shown))
        after_id = shown[-1]
    return found.finding()
