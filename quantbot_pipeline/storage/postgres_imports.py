"""Imports that come in batches: what happens inside one Postgres transaction.

Imports of one piece, such as alerts and fetched pages, are in `postgres_entities`.
"""

from collections import defaultdict
from collections.abc import Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

from quantbot_pipeline.errors import IntegrityError
from quantbot_pipeline.ingest.quarantine import QuarantinedRow
from quantbot_pipeline.storage.json_text import storable_text, to_json_text
from quantbot_pipeline.storage.postgres_connection import PostgresTransaction
from quantbot_pipeline.storage.records import BatchClaim, ImportBatch, ImportCompletion, ImportKey, ImportRecord

QUARANTINED_SHOWN = 100
"""Quarantined rows that come back with the record of an import; all of them are in the table `quarantine`."""


def find_imports(transaction: PostgresTransaction, keys: Collection[ImportKey]) -> dict[ImportKey, ImportRecord]:
    """Return completed imports; see `StateStore.find_imports`."""
    if not keys:
        return {}
    rows = transaction.fetch_rows("imports/find_imports", **_asked(keys))
    quarantined = _first_quarantined(transaction, [row["import_id"] for row in rows if row["rows_quarantined"]])
    return {_key(row): _record(row, tuple(quarantined[row["import_id"]])) for row in rows}


def load_inserted_batches(
    transaction: PostgresTransaction, keys: Collection[ImportKey]
) -> dict[ImportKey, dict[int, BatchClaim]]:
    """Return what is in already of imports that are not completed; see `StateStore.load_inserted_batches`."""
    found: dict[ImportKey, dict[int, BatchClaim]] = defaultdict(dict)
    for row in transaction.fetch_rows("imports/load_inserted_batches", **_asked(keys)) if keys else []:
        batch = ImportBatch(
            key=_key(row),
            file=row["file"],
            number=row["batch_number"],
            rows_read=row["rows_read"],
            rows_stored=row["rows_stored"],
            rows_duplicate=row["rows_duplicate"],
            rows_quarantined=row["rows_quarantined"],
            details=row["details_json"],
        )
        found[batch.key][batch.number] = BatchClaim(row["import_id"], batch, is_inserted=True, is_completed=False)
    return dict(found)


def begin_batches(transaction: PostgresTransaction, batches: Sequence[ImportBatch]) -> list[BatchClaim]:
    """Record batches before their rows are inserted; see `StateStore.begin_batches`."""
    if not batches:
        return []
    for batch in batches:
        _check_counts(batch)
    transaction.execute("imports/stage_batches")
    transaction.copy_rows(
        "imports/copy_staged_batches",
        (
            (
                position,
                batch.key.kind,
                storable_text(batch.file),
                batch.key.sha256,
                batch.key.options_key,
                batch.number,
                batch.rows_read,
                batch.rows_stored,
                batch.rows_duplicate,
                batch.rows_quarantined,
                to_json_text(batch.details),
            )
            for position, batch in enumerate(batches)
        ),
    )
    transaction.execute("imports/insert_staged_imports")
    transaction.execute("imports/insert_staged_batches")
    claims = _load_claims(transaction, batches)
    cut_otherwise = [
        (claim, batch)
        for claim, batch in zip(claims, batches, strict=True)
        if claim.is_inserted and not claim.is_completed and not _is_read_alike(claim.batch, batch)
    ]
    if not cut_otherwise:
        return claims
    # A newer reader makes other batches of the file than the attempt that died.
    for claim, batch in cut_otherwise:
        transaction.execute("imports/give_up_batches", import_id=claim.import_id, batch_number=batch.number)
    transaction.execute("imports/insert_staged_batches")
    return _load_claims(transaction, batches)


def finish_batches(
    transaction: PostgresTransaction, claims: Sequence[BatchClaim], completed: Sequence[ImportCompletion]
) -> dict[ImportKey, ImportRecord]:
    """Record that batches are in, and complete imports; see `StateStore.finish_batches`."""
    # Of two processes that finish one batch, the update lets one through: quarantined rows are kept once.
    finished = {
        (row["import_id"], row["batch_number"])
        for row in transaction.fetch_rows(
            "imports/finish_batches",
            import_ids=[claim.import_id for claim in claims],
            batch_numbers=[claim.batch.number for claim in claims],
        )
    }
    transaction.copy_rows(
        "imports/copy_batch_quarantine",
        (
            (
                claim.import_id,
                claim.batch.number,
                storable_text(row.file),
                row.line,
                row.field,
                storable_text(row.reason),
                storable_text(row.raw_text),
            )
            for claim in claims
            if (claim.import_id, claim.batch.number) in finished
            for row in claim.batch.quarantined
        ),
    )
    if not completed:
        return {}
    for completion in completed:
        transaction.execute(
            "imports/give_up_batches", import_id=completion.import_id, batch_number=completion.batch_count
        )
    transaction.execute(
        "imports/complete_imports",
        import_ids=[completion.import_id for completion in completed],
        details_json=[to_json_text(completion.details) for completion in completed],
    )
    return find_imports(transaction, [completion.key for completion in completed])


def _load_claims(transaction: PostgresTransaction, batches: Sequence[ImportBatch]) -> list[BatchClaim]:
    return [
        BatchClaim(
            import_id=row["import_id"],
            batch=replace(
                batch,
                rows_read=row["rows_read"],
                rows_stored=row["rows_stored"],
                rows_duplicate=row["rows_duplicate"],
                rows_quarantined=row["rows_quarantined"],
                details=row["details_json"],
            ),
            is_inserted=row["is_inserted"],
            is_completed=row["status"] == "completed",
        )
        for row, batch in zip(transaction.fetch_rows("imports/load_staged_batches"), batches, strict=True)
    ]


def _is_read_alike(recorded: ImportBatch, batch: ImportBatch) -> bool:
    return (recorded.rows_read, recorded.rows_quarantined) == (batch.rows_read, batch.rows_quarantined)


def _first_quarantined(transaction: PostgresTransaction, import_ids: Sequence[int]) -> dict[int, list[QuarantinedRow]]:
    quarantined: dict[int, list[QuarantinedRow]] = defaultdict(list)
    if import_ids:
        for row in transaction.fetch_rows(
            "imports/load_first_quarantined", import_ids=list(import_ids), row_limit=QUARANTINED_SHOWN
        ):
            quarantined[row.pop("import_id")].append(QuarantinedRow(**row))
    return quarantined


def _asked(keys: Collection[ImportKey]) -> dict[str, list[str]]:
    wanted = sorted(set(keys))
    return {
        "kinds": [key.kind for key in wanted],
        "sha256s": [key.sha256 for key in wanted],
        "options_keys": [key.options_key for key in wanted],
    }


def _key(row: Mapping[str, Any]) -> ImportKey:
    return ImportKey(row["kind"], row["sha256"], row["options_key"])


def _record(row: Mapping[str, Any], quarantined: tuple[QuarantinedRow, ...]) -> ImportRecord:
    return ImportRecord(
        kind=row["kind"],
        file=row["file"],
        sha256=row["sha256"],
        options_key=row["options_key"],
        rows_read=row["rows_read"],
        rows_stored=row["rows_stored"],
        rows_duplicate=row["rows_duplicate"],
        rows_quarantined=row["rows_quarantined"],
        details=row["details_json"],
        quarantined=quarantined,
    )


def _check_counts(batch: ImportBatch) -> None:
    total = batch.rows_stored + batch.rows_duplicate + batch.rows_quarantined
    if batch.rows_read != total or len(batch.quarantined) != batch.rows_quarantined:
        raise IntegrityError(
            f"import of {batch.key.kind} file {batch.file!r}, batch {batch.number}: {batch.rows_read} rows read, but "
            f"{batch.rows_stored} stored + {batch.rows_duplicate} duplicate + {batch.rows_quarantined} quarantined are "
            f"{total} ({len(batch.quarantined)} quarantined rows are given to be kept); a row was lost or counted "
            "twice, nothing of the batch was recorded"
        )
