"""Backing up a home: both Postgres databases, ClickHouse and files, consistent with each other, while others write.

What is claimed is copied after who claims it, so that every claim in the backup finds what it is about:

1. Dagster's database. It says which partitions were materialised; what it says is in the state by then.
2. The state, as one snapshot of Postgres. A completed run's events and aggregates were in ClickHouse before the run was
   completed (rule 2 of docs/data-model.md), and are never changed or removed afterwards.
3. ClickHouse. It has moved on since the snapshot, so only rows are copied that the snapshot accounts for. Runs that
   were completed or begun later are left out: after a restore Postgres would give their ids to other runs, whose
   events would then mix with theirs. Candles refer to no id, but imports count them: for the moment of the snapshot no
   import is at work, and a clone of their table, which costs nothing, holds on to them. The mirror of the state is
   left out, for its newer rows would win over the restored state; it is written again from Postgres.
4. Files of models, which are written before their row and never change.

Copied the other way round, ClickHouse first, a run that completes in between would be completed without its events.
"""

from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from quantbot_pipeline import __version__
from quantbot_pipeline.engine.version import ENGINE_VERSION
from quantbot_pipeline.errors import MigrationError
from quantbot_pipeline.servers.postgres_dump import dump_database
from quantbot_pipeline.servers.status import ServerUrls
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.clickhouse_backup import (
    ALL_TABLES,
    CANDLES_CLONE,
    COPIED_TABLES,
    ClickHouseBackup,
    HistoryBounds,
)
from quantbot_pipeline.storage.migrations import applied_migrations, check_migrations
from quantbot_pipeline.storage.postgres_backup import backing_up, no_candle_import, open_snapshot
from quantbot_pipeline.workflows.backup_folder import (
    FORMAT_VERSION,
    CopiedMigration,
    Manifest,
    copy_file,
    finish,
    full_or_broken,
    new_backup_folder,
)
from quantbot_pipeline.workflows.progress import StageListener, no_stage

DAGSTER_DUMP = "postgres/dagster.dump"
STATE_DUMP = "postgres/quantbot.dump"
HISTORY_FOLDER = "clickhouse"
HOME_FOLDER = "home"
KEPT_FOLDERS = ("models", "strategies", "reports")
"""Folders of a home that a backup may hold."""


@dataclass(frozen=True, slots=True)
class Backup:
    """A finished backup.

    Attributes:
        folder: Where it is.
        manifest: What it holds.
        bytes: Size of its files.
        left_out: Tables of ClickHouse with rows that no migration of this project made; copy them yourself.
    """

    folder: Path
    manifest: Manifest
    bytes: int
    left_out: tuple[str, ...]


def back_up(
    settings: Settings,
    urls: ServerUrls,
    target: Path,
    *,
    with_reports: bool = False,
    on_stage: StageListener = no_stage,
) -> Backup:
    """Write a backup of a home and its databases to a new folder.

    Others may go on working. A backup that is killed leaves no folder of this name.

    Args:
        settings: Which home.
        urls: Its databases.
        target: Folder to make.
        with_reports: Also copy reports, which can be made again.
        on_stage: Told how far each stage is.

    Raises:
        InputError: the folder is there and not empty, or can't be made.
        MigrationError: the databases are newer than this version, or have no schema yet.
        StorageError: a server refuses, or the disk is full.
    """
    wrong = [fault for fault in check_migrations(urls.postgres, urls.clickhouse) if fault.problem != "pending"]
    if wrong:
        raise MigrationError(wrong[0].message)
    migrations = applied_migrations(urls.postgres, urls.clickhouse)
    if not all(migrations.values()):
        raise MigrationError("the databases have no schema, so there is nothing to back up; run 'quantbot migrate'")
    with backing_up(urls.postgres), new_backup_folder(target) as folder:
        try:
            (folder / HISTORY_FOLDER).mkdir(mode=0o700)
            (folder / "postgres").mkdir(mode=0o700)
            dagster_rows = _copy_dagster(urls, folder, on_stage)
            with ExitStack() as opened:
                history = opened.enter_context(ClickHouseBackup(urls.clickhouse))
                on_stage("waiting for imports", 0, 1)
                with no_candle_import(urls.postgres):
                    state = opened.enter_context(open_snapshot(urls.postgres))
                    name = state.name()
                    taken_at = datetime.now(UTC)
                    history.clone_candles()
                    opened.callback(history.drop_tables, [CANDLES_CLONE])
                on_stage("waiting for imports", 1, 1)
                on_stage("state", 0, 1)
                newest = state.newest_ids()
                bounds = HistoryBounds(state.completed_run_ids(), newest.call_id, newest.model_id)
                state_rows = state.count_rows()
                postgres_version = state.server_version()
                dump_database(urls.postgres, folder / STATE_DUMP, snapshot=name)
                on_stage("state", 1, 1)
                present = history.tables()
                clickhouse_version = history.server_version()
                history_rows = _copy_history(history, present, bounds, folder, on_stage)
            _copy_home(settings.home, folder, on_stage, with_reports=with_reports)
            manifest = finish(
                folder,
                Manifest(
                    format_version=FORMAT_VERSION,
                    quantbot_version=__version__,
                    engine_version=ENGINE_VERSION,
                    taken_at=taken_at,
                    home=str(settings.home),
                    models_uri=folder_uri(settings.models_directory),
                    postgres_version=postgres_version,
                    clickhouse_version=clickhouse_version,
                    migrations={
                        database: [
                            CopiedMigration(number=number, name=name, sha256=sha256)
                            for number, (name, sha256) in sorted(applied.items())
                        ]
                        for database, applied in migrations.items()
                    },
                    postgres_rows=state_rows,
                    dagster_rows=dagster_rows,
                    clickhouse_rows=history_rows,
                    files={},
                ),
                on_stage,
            )
        except OSError as error:
            raise full_or_broken(target, error) from error
    return Backup(
        folder=target.resolve(),
        manifest=manifest,
        bytes=sum(copied.bytes for copied in manifest.files.values()),
        left_out=tuple(table for table, rows in present.items() if rows and table not in (*ALL_TABLES, CANDLES_CLONE)),
    )


def folder_uri(folder: Path) -> str:
    """Return a folder as `file://…/`, as addresses of files in it begin."""
    return folder.resolve().as_uri() + "/"


def dagster_url(urls: ServerUrls) -> str:
    """Return the libpq URL of Dagster's own database."""
    return urls.dagster_postgres.replace("postgresql+psycopg2://", "postgresql://", 1)


def _copy_dagster(urls: ServerUrls, folder: Path, on_stage: StageListener) -> dict[str, int]:
    on_stage("Dagster's records", 0, 1)
    url = dagster_url(urls)
    with open_snapshot(url) as snapshot:
        name = snapshot.name()
        rows = snapshot.count_rows()
        dump_database(url, folder / DAGSTER_DUMP, snapshot=name)
    on_stage("Dagster's records", 1, 1)
    return rows


def _copy_history(
    history: ClickHouseBackup,
    present: Mapping[str, int],
    bounds: HistoryBounds,
    folder: Path,
    on_stage: StageListener,
) -> dict[str, int]:
    rows = {}
    for table in COPIED_TABLES:
        if table in present:  # an earlier schema lacks some

            def listen(done: int, total: int, table: str = table) -> None:
                on_stage(f"rows of {table}", done, total)

            rows[table] = history.copy_table(table, folder / HISTORY_FOLDER / f"{table}.parquet", bounds, listen)
    return rows


def _copy_home(home: Path, folder: Path, on_stage: StageListener, *, with_reports: bool) -> None:
    sources = list(_kept_files(home, with_reports=with_reports))
    for done, source in enumerate(sources, start=1):
        copy_file(source, folder / HOME_FOLDER / source.relative_to(home))
        on_stage("files", done, len(sources))


def _kept_files(home: Path, *, with_reports: bool) -> Iterator[Path]:
    for name in KEPT_FOLDERS:
        if name == "reports" and not with_reports:
            continue
        for path in sorted((home / name).rglob("*")):
            # Files that are being written begin with a dot.
            if path.is_file() and not path.name.startswith("."):
                yield path
