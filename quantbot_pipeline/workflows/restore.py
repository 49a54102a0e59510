"""Restoring a backup into a home, so that a restore that is killed can be repeated and shows nothing half.

Everything is checked before anything is touched. Then who is claimed comes before who claims: ClickHouse, files, the
state in one transaction of Postgres, the mirror of the state, Dagster's records. A file marks the home from the first
change to the last, and no command but `quantbot restore` works with a home that has the mark: ClickHouse would hold
rows of runs whose ids Postgres gives away again.
"""

import time
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from quantbot_pipeline.errors import InputError, IntegrityError, MigrationError, ServerError
from quantbot_pipeline.servers.home import locked_home, restore_mark
from quantbot_pipeline.servers.postgres_dump import restore_database
from quantbot_pipeline.servers.processes import write_atomically
from quantbot_pipeline.servers.status import ServerUrls
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.clickhouse_backup import ALL_TABLES, CANDLES_CLONE, ClickHouseBackup
from quantbot_pipeline.storage.migrations import create_history, migrate, read_migrations
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.postgres_backup import (
    count_other_sessions,
    count_rows,
    drop_everything,
    finish_restored,
)
from quantbot_pipeline.storage.views import build_views
from quantbot_pipeline.workflows.back_up import (
    DAGSTER_DUMP,
    HISTORY_FOLDER,
    HOME_FOLDER,
    KEPT_FOLDERS,
    STATE_DUMP,
    dagster_url,
    folder_uri,
)
from quantbot_pipeline.workflows.backup_folder import (
    Manifest,
    copy_file,
    full_or_broken,
    read_checked,
)
from quantbot_pipeline.workflows.progress import StageListener, no_stage
from quantbot_pipeline.workflows.run_simulations import publish

_LAST_SESSIONS_SECONDS = 3.0


@dataclass(frozen=True, slots=True)
class Restored:
    """What a restore did.

    Attributes:
        manifest: Of the backup.
        migrations_applied: Names of migrations that this version has and the backup's lacked, applied after it.
        files: Files that were put into the home.
    """

    manifest: Manifest
    migrations_applied: tuple[str, ...]
    files: int


def check_backup(folder: Path, *, on_stage: StageListener = no_stage) -> Manifest:
    """Return the manifest of a backup that this version can restore. Changes nothing.

    Raises:
        DataError: it is no backup, not a whole one, of a later format, or damaged.
        MigrationError: its schema is newer than this version's, or another one.
    """
    manifest = read_checked(folder, on_stage)
    for database, applied in manifest.migrations.items():
        files = {file.number: file for file in read_migrations(database)}
        for migration in applied:
            file = files.get(migration.number)
            if file is None:
                raise MigrationError(
                    f"{folder}: the backup has {database} migration {migration.name}, which this version lacks: it "
                    f"was made by quantbot {manifest.quantbot_version}; restore it with that version or a later one"
                )
            if (file.name, file.sha256) != (migration.name, migration.sha256):
                raise MigrationError(
                    f"{folder}: {database} migration {migration.name} of the backup is another one than "
                    f"{file.name} of this version; restore it with quantbot {manifest.quantbot_version}"
                )
    return manifest


def restore(
    folder: Path,
    manifest: Manifest,
    settings: Settings,
    urls: ServerUrls,
    *,
    force: bool = False,
    on_stage: StageListener = no_stage,
) -> Restored:
    """Put a backup into a home, and bring its schema up to date.

    Args:
        folder: The backup.
        manifest: What `check_backup` said of it just now.
        settings: Which home.
        urls: Its databases.
        force: Destroy what these databases hold.
        on_stage: Told how far each stage is.

    Raises:
        InputError: the databases or the home hold something, without `force`.
        ServerError: somebody else is connected to the databases.
        IntegrityError: a table has not the rows that the backup says.
        StorageError: a server refuses, or the disk is full.
    """
    mark = restore_mark(settings)
    with locked_home(settings):
        if not (force or mark.exists()):
            _refuse_contents(settings, urls)
        _refuse_company(urls)
        try:
            write_atomically(mark, f"{folder.absolute()}\n")
            _restore_history(folder, manifest, urls, on_stage)
            files = _restore_files(folder, manifest, settings, on_stage)
            on_stage("state", 0, 1)
            _restore_postgres(urls.postgres, folder / STATE_DUMP, manifest.postgres_rows)
            finish_restored(
                urls.postgres,
                old_models_uri=manifest.models_uri,
                models_uri=folder_uri(settings.models_directory),
            )
            on_stage("state", 1, 1)
            on_stage("schema, views and mirror", 0, 1)
            applied = migrate(urls.postgres, urls.clickhouse)
            build_views(urls.postgres, urls.clickhouse).require_all()
            with PostgresStore(urls.postgres) as state, ClickHouseStore(urls.clickhouse) as history:
                publish(state, history)
            on_stage("schema, views and mirror", 1, 1)
            on_stage("Dagster's records", 0, 1)
            _restore_postgres(dagster_url(urls), folder / DAGSTER_DUMP, manifest.dagster_rows)
            finish_restored(dagster_url(urls))
            on_stage("Dagster's records", 1, 1)
            mark.unlink()
        except OSError as error:
            raise full_or_broken(settings.home, error) from error
    return Restored(manifest, tuple(f"{item.database} {item.name}" for item in applied), files)


def _refuse_company(urls: ServerUrls) -> None:
    # Sessions of a command that has just ended, or of a restore that was killed, end when the server notices.
    deadline = time.monotonic() + _LAST_SESSIONS_SECONDS
    while sessions := count_other_sessions(urls.postgres) + count_other_sessions(dagster_url(urls)):
        if time.monotonic() < deadline:
            time.sleep(0.1)
            continue
        raise ServerError(
            f"{sessions} other clients are connected to the databases; stop what works with them ('quantbot down' ends "
            "the embedded servers with Dagster's UI and daemon), and restore again"
        )


def _refuse_contents(settings: Settings, urls: ServerUrls) -> None:
    found = [
        f"{rows:,} rows in {table}" for table, rows in _contents(urls).items() if rows and table not in _BOOKKEEPING
    ]
    found += [
        f"files in {settings.home / name}"
        for name in KEPT_FOLDERS
        if any(path.is_file() for path in (settings.home / name).rglob("*"))
    ]
    if found:
        raise InputError(
            f"{settings.home} is in use: {', '.join(found[:3])}{', …' if found[3:] else ''}; restore into a new home "
            "with '--into DIR', or destroy what is there with '--force'"
        )


# Filled by every start, without anybody having worked.
_BOOKKEEPING = frozenset(
    {
        "public.schema_migrations",
        "clickhouse.schema_migrations",
        "dagster.public.alembic_version",
        "dagster.public.secondary_indexes",
        "dagster.public.instance_info",
        "dagster.public.daemon_heartbeats",
        "dagster.public.kvs",
    }
)


def _contents(urls: ServerUrls) -> dict[str, int]:
    rows = count_rows(urls.postgres)
    with ClickHouseBackup(urls.clickhouse) as history:
        rows |= {f"clickhouse.{table}": count for table, count in history.tables().items()}
    return rows | {f"dagster.{table}": count for table, count in count_rows(dagster_url(urls)).items()}


def _restore_history(folder: Path, manifest: Manifest, urls: ServerUrls, on_stage: StageListener) -> None:
    with ClickHouseBackup(urls.clickhouse) as history:
        history.drop_tables([*ALL_TABLES, CANDLES_CLONE])
        create_history(urls.clickhouse, newest=max(item.number for item in manifest.migrations["clickhouse"]))
        for table, expected in manifest.clickhouse_rows.items():
            if expected == 0:
                continue

            def listen(done: int, total: int, table: str = table) -> None:
                on_stage(f"rows of {table}", done, total)

            history.fill_table(table, folder / HISTORY_FOLDER / f"{table}.parquet", listen)
            found = history.count_rows(table)
            if found != expected:
                raise IntegrityError(
                    f"clickhouse table {table} has {found:,} rows after the restore, the backup has {expected:,}; "
                    "run the restore again, and 'quantbot status' if that does not help"
                )


def _restore_files(folder: Path, manifest: Manifest, settings: Settings, on_stage: StageListener) -> int:
    names = [
        name.removeprefix(f"{HOME_FOLDER}/")
        for name in manifest.files
        if name.startswith(tuple(f"{HOME_FOLDER}/{kept}/" for kept in KEPT_FOLDERS))
    ]
    for done, name in enumerate(names, start=1):
        copy_file(folder / HOME_FOLDER / name, settings.home / name)
        on_stage("files", done, len(names))
    return len(names)


def _restore_postgres(url: str, file: Path, expected: Mapping[str, int]) -> None:
    drop_everything(url)
    restore_database(url, file)
    found = count_rows(url)
    if found != dict(expected):
        table = min(name for name in found.keys() | expected.keys() if found.get(name) != expected.get(name))
        raise IntegrityError(
            f"postgres table {table} has {found.get(table)} rows after the restore, the backup has "
            f"{expected.get(table)}; run the restore again"
        )
