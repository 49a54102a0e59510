"""Backup and restore: what is claimed is in the copy, while others write, and whatever is killed or damaged."""

import hashlib
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit
from uuid import uuid4

import clickhouse_connect
import psycopg
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest
from psycopg import sql

from quantbot_pipeline.errors import DataError, InputError, MigrationError, ServerError, StorageError
from quantbot_pipeline.project_files import project_file
from quantbot_pipeline.servers.embedded import ensure_servers
from quantbot_pipeline.servers.home import restore_mark
from quantbot_pipeline.servers.status import ServerUrls
from quantbot_pipeline.settings import Settings, load_settings
from quantbot_pipeline.storage import clickhouse_backup
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.migrations import migrate
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.postgres_backup import backing_up, drop_everything
from quantbot_pipeline.storage.records import NewModel
from quantbot_pipeline.workflows import back_up as back_up_module
from quantbot_pipeline.workflows import backup_folder
from quantbot_pipeline.workflows import restore as restore_module
from quantbot_pipeline.workflows.back_up import back_up, dagster_url
from quantbot_pipeline.workflows.backup_folder import MANIFEST_FILE, SUMS_FILE, Manifest, finish
from quantbot_pipeline.workflows.collect_garbage import remove_backup_clone
from quantbot_pipeline.workflows.import_candles import import_candle_files
from quantbot_pipeline.workflows.progress import no_stage
from quantbot_pipeline.workflows.restore import check_backup, restore
from quantbot_pipeline.workflows.run_identity import events_digest
from quantbot_pipeline.workflows.run_simulations import run_simulations
from quantbot_pipeline.workflows.verify import find_rules, verify
from tests.conftest import PROJECT_ROOT
from tests.workflows.scene import BONK, MARCH, MINUTE, PEPE, Scene, Urls, alert, candle_rows

pytestmark = pytest.mark.server

# The others need alerts from files and trained models.
RULES = (
    "unique-keys", "import-counts", "started-imports", "candle-counts", "candles", "completed-runs", "current-runs",
    "run-keys", "configs", "event-counts", "event-digests", "summaries", "aggregates", "published-runs",
    "published-calls", "views",
)  # fmt: skip


@dataclass
class Home:
    """A folder, and three databases of its own on this process's servers."""

    settings: Settings
    urls: ServerUrls = field(repr=False)
    scene: Scene
    backup: Path

    def dagster(self, statement: str) -> list[tuple[Any, ...]]:
        with psycopg.connect(dagster_url(self.urls), autocommit=True) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def work(self, *names: str) -> None:
        """Simulate strategies on what is there, as anybody may at any time."""
        run_simulations(
            self.scene.plan(*(self.scene.strategy(name) for name in names)), self.scene.state, self.scene.history
        )

    def bring(self, candles: pa.Table) -> None:
        """Import candles from a file."""
        file = self.settings.home / f"{uuid4().hex}.parquet"
        pq.write_table(candles, file)
        [outcome] = import_candle_files([file], self.scene.state, self.scene.history)
        assert outcome.record.rows_stored == candles.num_rows
        file.unlink()

    def broken_rules(self) -> list[str]:
        """Return the rules on runs and candles that `quantbot verify` finds broken."""
        rules = find_rules(RULES)
        outcomes = verify(self.scene.state, self.scene.history, now=datetime.now(UTC), rules=rules)
        return [f"{outcome.rule}: {outcome.examples}" for outcome in outcomes if outcome.wrong]

    def restore_from(self, folder: Path, *, force: bool = False) -> None:
        self.scene.state.close()  # a session that is kept open would keep a restore waiting
        restore(folder, check_backup(folder), self.settings, self.urls, force=force)

    def runs_with_events(self) -> dict[int, str]:
        """Return, per run of which ClickHouse has events, the digest of those."""
        run_ids = [
            run_id for (run_id,) in self.scene.ask_history("select distinct simulation_run_id from simulation_events")
        ]
        events = self.scene.history.load_events(run_ids)
        digests = {}
        for run_id in run_ids:
            own = events.filter(pc.equal(events["simulation_run_id"], run_id))
            digests[run_id] = events_digest(own.drop_columns(["simulation_run_id"]))
        return digests

    def completed_runs(self) -> dict[int, str]:
        return dict(self.scene.ask_state("select id, events_digest from simulation_runs where status = 'completed'"))  # type: ignore[arg-type]

    def contents(self) -> dict[str, Any]:
        """Return a digest of every row of every table but the times at which migrations were applied."""
        found: dict[str, Any] = {}
        for table in (*clickhouse_backup.COPIED_TABLES, *clickhouse_backup.MIRROR_TABLES):
            found[table] = self.scene.ask_history(f"select count(), sum(cityHash64(tuple(*))) from {table} final")  # noqa: S608 - a table's name
        tables = self.scene.ask_state("select tablename from pg_tables where schemaname = 'public' order by 1")
        for (table,) in tables:
            # Addresses of models differ by home.
            row = "to_jsonb(r) - 'storage_uri' - 'updated_at'" if table == "ml_models" else "to_jsonb(r)"
            found[f"state {table}"] = self.scene.ask_state(
                f"select md5(string_agg(({row})::text, '' order by r)) from {table} r"  # noqa: S608 - the same
            )
        found["dagster"] = self.dagster("select * from told order by 1")
        return found


@pytest.fixture(scope="module")
def databases(server_urls: ServerUrls) -> Iterator[list[ServerUrls]]:
    """Databases of three homes; making them costs more than emptying them."""
    with (
        psycopg.connect(server_urls.postgres, autocommit=True) as postgres,
        closing(clickhouse_connect.get_client(dsn=server_urls.clickhouse)) as clickhouse,
        ExitStack() as cleaning,
    ):
        made = []
        for _ in range(3):
            name = f"backup_{uuid4().hex[:12]}"
            for database in (name, f"{name}_dagster"):
                identifier = sql.Identifier(database)
                postgres.execute(sql.SQL("create database {}").format(identifier))
                cleaning.callback(postgres.execute, sql.SQL("drop database {} with (force)").format(identifier))
                postgres.execute(sql.SQL("alter database {} set synchronous_commit = off").format(identifier))
            clickhouse.command("create database {name:Identifier}", parameters={"name": name})
            cleaning.callback(clickhouse.command, "drop database {name:Identifier}", parameters={"name": name})
            made.append(
                ServerUrls(
                    _with_database(server_urls.postgres, name),
                    _with_database(server_urls.dagster_postgres, f"{name}_dagster"),
                    _with_database(server_urls.clickhouse, name),
                )
            )
        yield made


@contextmanager
def _open_home(urls: ServerUrls, folder: Path) -> Iterator[Home]:
    """Open a home in which nothing is, not even a schema."""
    for url in (urls.postgres, dagster_url(urls)):
        drop_everything(url)
    with clickhouse_backup.ClickHouseBackup(urls.clickhouse) as clickhouse:
        clickhouse.drop_tables(list(clickhouse.tables()))
    settings = load_settings(home=folder / "home", postgres_url=None, clickhouse_url=None)
    settings.home.mkdir(parents=True)
    with PostgresStore(urls.postgres) as state, ClickHouseStore(urls.clickhouse) as history:
        yield Home(settings, urls, Scene(state, history, Urls(urls.postgres, urls.clickhouse)), folder / "backup")


@pytest.fixture(scope="module")
def original(databases: list[ServerUrls], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """A home with candles, calls, runs of two strategies, a model and Dagster's records, and its backup.

    Tests leave it as it is.
    """
    with _open_home(databases[0], tmp_path_factory.mktemp("original")) as home:
        migrate(home.urls.postgres, home.urls.clickhouse)
        fill(home)
        back_up(home.settings, home.urls, home.backup)
        yield home


@pytest.fixture
def home(original: Home, databases: list[ServerUrls], tmp_path: Path) -> Iterator[Home]:
    """The same home once more, for tests that change it."""
    with _open_home(databases[1], tmp_path / "home") as copy:
        copy.restore_from(original.backup)
        yield copy


@pytest.fixture
def other(databases: list[ServerUrls], tmp_path: Path) -> Iterator[Home]:
    """A home without anything, to restore into."""
    with _open_home(databases[2], tmp_path / "other") as empty:
        yield empty


def _with_database(url: str, name: str) -> str:
    parts = urlsplit(url)
    return parts._replace(path=f"/{name}").geturl()


def fill(home: Home) -> None:
    scene = home.scene
    home.bring(candle_rows(BONK, MARCH, 120))
    home.bring(candle_rows(PEPE, MARCH, 60, scale=1e-12))
    scene.call(alert(1, MARCH + 3 * MINUTE), alert(2, MARCH + 40 * MINUTE))
    home.work("first", "second")
    file = home.settings.models_directory / "take-1-abc.skops"
    file.parent.mkdir()
    file.write_bytes(b"a model")
    (file.parent / ".take-2.7.tmp").write_bytes(b"half a model")
    scene.state.register_model(
        NewModel(
            name="take",
            version="1",
            model_type="test",
            input_features=("x",),
            label_definition={},
            storage_uri=file.resolve().as_uri(),
            sha256="0" * 64,
            metrics={},
            status="ready",
        )
    )
    home.dagster("create table told (id int); insert into told values (1), (2)")


def test_a_restored_home_holds_every_row_of_the_backup(original: Home, other: Home) -> None:
    other.restore_from(original.backup)

    assert other.contents() == original.contents()
    assert other.runs_with_events() == other.completed_runs()
    assert other.broken_rules() == []
    models = other.settings.models_directory
    assert [path.name for path in models.iterdir()] == ["take-1-abc.skops"]
    assert other.scene.ask_state("select storage_uri from ml_models") == [((models / "take-1-abc.skops").as_uri(),)]
    # The next ids are new ones, and the schema is the current one.
    other.work("third")
    assert other.runs_with_events() == other.completed_runs()
    assert len(other.completed_runs()) == 3
    assert migrate(other.urls.postgres, other.urls.clickhouse) == []


@pytest.mark.parametrize("table", ["state", "dagster"])
def test_runs_that_complete_during_a_backup_are_in_it_whole_or_not_at_all(
    home: Home, other: Home, monkeypatch: pytest.MonkeyPatch, table: str
) -> None:
    """Others simulate after each snapshot was taken, and derive calls, which get new ids."""
    dump = back_up_module.dump_database
    url = home.urls.postgres if table == "state" else dagster_url(home.urls)

    def work_and_dump(dumped: str, file: Path, *, snapshot: str) -> None:
        if dumped == url:
            home.work("during one", "during two")
            home.scene.call(alert(3, MARCH + 50 * MINUTE))
            home.dagster("insert into told values (3)")
            home.bring(candle_rows(BONK, MARCH.replace(month=2), 30))
        dump(dumped, file, snapshot=snapshot)
        if dumped == url:
            home.work("during three")
            home.bring(candle_rows(PEPE, MARCH.replace(month=2), 30))

    monkeypatch.setattr(back_up_module, "dump_database", work_and_dump)
    back_up(home.settings, home.urls, home.backup)
    other.restore_from(home.backup)

    # Dagster's records are copied first: work that is done while they are is in the state that follows.
    assert len(other.completed_runs()) == (2 if table == "state" else 5)
    assert other.runs_with_events() == other.completed_runs()
    assert other.dagster("select id from told order by 1") == [(1,), (2,)]
    # Imports have counted the candles that are there, the mirror shows what the state knows, and so on.
    assert other.broken_rules() == []
    # Ids that were given after the snapshot are given again, and the new runs have their own events alone.
    other.work("after one", "after two", "after three")
    assert other.runs_with_events() == other.completed_runs()
    assert other.broken_rules() == []
    # The next import of a file that came meanwhile stores what it did then.
    if table == "state":
        other.bring(candle_rows(BONK, MARCH.replace(month=2), 30))
        assert other.broken_rules() == []
    clones = "select count() from system.tables where database = currentDatabase() and name like 'backup%'"
    assert home.scene.ask_history(clones) == [(0,)]


def test_large_tables_are_copied_in_pieces_without_loss(
    home: Home, other: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    home.scene.history.insert_candles(candle_rows(BONK, MARCH.replace(month=1), 200))
    for name, value in (
        ("_CANDLES_PER_PIECE", 150),
        ("_RUN_ROWS_PER_PIECE", 3),
        ("_CALLS_PER_PIECE", 1),
        ("_PARTITIONS_PER_PIECE", 1),
    ):
        monkeypatch.setattr(clickhouse_backup, name, value)
    done = back_up(home.settings, home.urls, home.backup)
    assert done.manifest.clickhouse_rows["ohlcv_candles"] == 120 + 60 + 200
    # A home that has a schema and nothing else is as good as a new one.
    migrate(other.urls.postgres, other.urls.clickhouse)
    other.restore_from(home.backup)
    assert other.contents() == home.contents()


def test_every_table_of_the_history_is_copied_or_written_again() -> None:
    """A migration that adds a table must say here which of both."""
    texts = "".join(path.read_text() for path in sorted(project_file("sql/clickhouse").glob("*.sql")))
    created = {
        line.split()[5].strip("(`") for line in texts.splitlines() if line.startswith("create table if not exists")
    }
    assert created | {"schema_migrations"} == set(clickhouse_backup.ALL_TABLES)


def test_tables_of_others_are_named_as_left_out(home: Home) -> None:
    home.scene.change_history("create table mine (x Int64) engine = MergeTree order by x as select 1 as x")
    assert back_up(home.settings, home.urls, home.backup).left_out == ("mine",)


def test_a_backup_never_replaces_what_is_there(original: Home, tmp_path: Path) -> None:
    (tmp_path / "mine").touch()
    with pytest.raises(InputError, match="is there already"):
        back_up(original.settings, original.urls, tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["mine"]


def test_databases_without_schema_are_refused(other: Home) -> None:
    with pytest.raises(MigrationError, match="nothing to back up"):
        back_up(other.settings, other.urls, other.backup)
    assert not other.backup.exists()


def _die(home: Home, work: str, step: str, folder: Path, survived: int = 0) -> None:
    asked = {
        "work": work,
        "home": str(home.settings.home),
        "postgres": home.urls.postgres,
        "dagster_postgres": home.urls.dagster_postgres,
        "clickhouse": home.urls.clickhouse,
        "folder": str(folder),
        "dies_before": step,
        "survived": survived,
    }
    ended = subprocess.run(
        [sys.executable, "-m", "tests.workflows.killed_backup"],
        input=json.dumps(asked),
        cwd=PROJECT_ROOT,
        text=True,
        capture_output=True,
        check=False,
    )
    assert ended.returncode == -9, ended.stderr


def test_the_next_backup_removes_what_dead_ones_of_any_name_left(tmp_path: Path) -> None:
    gone = subprocess.Popen([sys.executable, "-c", ""])
    gone.wait()
    alive, machine = os.getpid(), backup_folder._this_machine()
    dead = [f".monday.{gone.pid}.partial", f".tuesday.{machine}-{gone.pid}.partial", ".old.elsewhere-7.partial"]
    kept = [
        f".friday.{machine}-{alive}.partial",  # at work
        ".sunday.elsewhere-7.partial",  # may be at work on another machine
        f".thesis.{gone.pid}.partial",  # no backup
        "monday",
    ]
    for name in (*dead, *kept):
        (tmp_path / name / ("chapters" if "thesis" in name else "postgres")).mkdir(parents=True)
    for path in (tmp_path / dead[2] / "postgres", tmp_path / dead[2]):
        os.utime(path, (1, 1))
    with backup_folder.new_backup_folder(tmp_path / "today"):
        pass
    assert sorted(path.name for path in tmp_path.iterdir()) == sorted([*kept, "today"])


def test_a_backup_whose_place_can_t_be_is_refused_and_leaves_nothing(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with (
        pytest.raises(InputError, match=f"{tmp_path / 'file'} is a file"),
        backup_folder.new_backup_folder(tmp_path / "file" / "deep" / "backup"),
    ):
        pass
    with (
        pytest.raises(InputError, match="is there already"),
        backup_folder.new_backup_folder(tmp_path / "new" / ".."),
    ):
        pass
    assert [path.name for path in tmp_path.iterdir()] == ["file"]


def test_gc_removes_the_table_of_a_killed_backup_and_of_no_other(home: Home) -> None:
    with clickhouse_backup.ClickHouseBackup(home.urls.clickhouse) as history:
        history.clone_candles()
        with backing_up(home.urls.postgres):
            assert remove_backup_clone(home.scene.state, home.urls.clickhouse) is None
        clone = clickhouse_backup.CANDLES_CLONE
        assert remove_backup_clone(home.scene.state, home.urls.clickhouse, dry_run=True) == clone
        assert clone in history.tables()
        assert remove_backup_clone(home.scene.state, home.urls.clickhouse) == clone
        assert clone not in history.tables()
    assert remove_backup_clone(home.scene.state, home.urls.clickhouse) is None


def test_a_killed_backup_leaves_no_folder_and_the_next_one_its_remains(original: Home, tmp_path: Path) -> None:
    folder = tmp_path / "backup"
    _die(original, "backup", "finish", folder)
    assert not folder.exists()
    [partial] = tmp_path.glob(".backup.*.partial")
    with pytest.raises(DataError, match="no backup"):
        check_backup(partial)

    back_up(original.settings, original.urls, folder)
    assert [path.name for path in tmp_path.iterdir()] == ["backup"]


@pytest.mark.parametrize(
    ("step", "survived"),
    [
        pytest.param("create_history", 0, marks=pytest.mark.deep),
        pytest.param("copy_file", 0, marks=pytest.mark.deep),
        ("restore_database", 0),
        pytest.param("migrate", 0, marks=pytest.mark.deep),
        ("restore_database", 1),
    ],
)
def test_a_killed_restore_lets_nobody_in_and_is_repeated(original: Home, other: Home, step: str, survived: int) -> None:
    _die(other, "restore", step, original.backup, survived)

    with pytest.raises(ServerError, match=f"quantbot restore {original.backup} --into {other.settings.home}"):
        ensure_servers(other.settings)
    other.restore_from(original.backup)
    assert not restore_mark(other.settings).exists()
    assert other.contents() == original.contents()


def test_a_home_that_holds_something_is_restored_by_force_alone(original: Home, home: Home) -> None:
    home.work("later")
    with pytest.raises(InputError, match=r"is in use: .*rows in public.alerts.*--force"):
        home.restore_from(original.backup)
    assert len(home.completed_runs()) == 3
    home.restore_from(original.backup, force=True)
    assert home.contents() == original.contents()
    assert home.runs_with_events() == home.completed_runs()


def test_files_of_a_home_are_not_written_over_without_force(original: Home, other: Home) -> None:
    (other.settings.home / "strategies").mkdir()
    (other.settings.home / "strategies" / "mine.json").touch()
    with pytest.raises(InputError, match=r"files in .*strategies"):
        other.restore_from(original.backup)


def test_nothing_is_restored_while_somebody_is_connected(
    original: Home, other: Home, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(restore_module, "_LAST_SESSIONS_SECONDS", 0.2)
    with psycopg.connect(other.urls.postgres), pytest.raises(ServerError, match="1 other clients are connected"):
        other.restore_from(original.backup)
    assert not restore_mark(other.settings).exists()


def _flip_byte(folder: Path) -> None:
    path = folder / "clickhouse" / "ohlcv_candles.parquet"
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


def _truncate(name: str) -> Callable[[Path], None]:
    def truncate(folder: Path) -> None:
        content = (folder / name).read_bytes()
        (folder / name).write_bytes(content[: len(content) // 2])

    return truncate


def _remanifest(folder: Path, **changes: Any) -> None:
    """Write a manifest that says something else, with sums that fit."""
    document = json.loads((folder / MANIFEST_FILE).read_text()) | changes
    for name in (MANIFEST_FILE, SUMS_FILE):
        (folder / name).unlink()
    finish(folder, Manifest.model_validate(document), no_stage)


@pytest.mark.parametrize(
    ("damage", "message"),
    [
        (_flip_byte, "file clickhouse/ohlcv_candles.parquet was changed"),
        (_truncate("postgres/quantbot.dump"), "file postgres/quantbot.dump has .* bytes, it had"),
        (_truncate(MANIFEST_FILE), "manifest.json is not the one that SHA256SUMS names"),
        (lambda folder: (folder / SUMS_FILE).write_text(""), "manifest.json is not the one that SHA256SUMS names"),
        (lambda folder: (folder / "postgres/dagster.dump").unlink(), "file postgres/dagster.dump is missing"),
        (lambda folder: (folder / MANIFEST_FILE).unlink(), "no backup: .*manifest.json"),
        (lambda folder: _remanifest(folder, format_version=2), "has format 2, this version reads 1"),
    ],
)
def test_a_damaged_backup_is_refused_before_anything_is_touched(
    original: Home, tmp_path: Path, damage: Callable[[Path], None], message: str
) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(original.backup, folder)
    assert check_backup(folder).format_version == 1
    damage(folder)
    with pytest.raises(DataError, match=message):
        check_backup(folder)


def test_a_manifest_that_leads_out_of_its_folder_is_refused(original: Home, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(original.backup, folder)
    for leading_out in ("../outside", "/etc/passwd", "home/models/../../../outside"):
        text = (folder / MANIFEST_FILE).read_text().replace("postgres/dagster.dump", leading_out)
        (folder / MANIFEST_FILE).write_text(text)
        (folder / SUMS_FILE).write_text(f"{_sha256(text)}  {MANIFEST_FILE}\n")
        with pytest.raises(DataError, match="outside of the folder"):
            check_backup(folder)
        shutil.copy(original.backup / MANIFEST_FILE, folder)


def test_a_backup_of_a_newer_or_another_schema_is_refused(original: Home, tmp_path: Path) -> None:
    folder = tmp_path / "copy"
    shutil.copytree(original.backup, folder)
    migrations = json.loads((folder / MANIFEST_FILE).read_text())["migrations"]
    newer = {"number": 900, "name": "900_of_the_future", "sha256": "0" * 64}
    _remanifest(folder, migrations={**migrations, "postgres": [*migrations["postgres"], newer]})
    with pytest.raises(MigrationError, match=r"900_of_the_future, which this version lacks.*quantbot \d"):
        check_backup(folder)
    another = {**migrations["clickhouse"][0], "sha256": "0" * 64}
    _remanifest(folder, migrations={**migrations, "clickhouse": [another, *migrations["clickhouse"][1:]]})
    with pytest.raises(MigrationError, match="clickhouse migration 001_create_ohlcv_candles of the backup is another"):
        check_backup(folder)


def _sha256(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()


def test_a_full_disk_ends_a_backup_and_leaves_nothing_on_it(original: Home, tmp_path: Path) -> None:
    disk = tmp_path / "disk"
    disk.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "tmpfs", str(disk)], capture_output=True, check=False
    )
    if mounted.returncode != 0:
        pytest.skip("this account may not mount a small disk")
    try:
        with pytest.raises(StorageError, match="No space left on device"):
            back_up(original.settings, original.urls, disk / "backup")
        assert list(disk.iterdir()) == []
    finally:
        subprocess.run(["umount", str(disk)], check=True)


def test_the_copy_of_a_backup_is_checked_by_common_tools(original: Home) -> None:
    checked = subprocess.run(
        ["sha256sum", "--check", "--quiet", SUMS_FILE], cwd=original.backup, capture_output=True, check=False
    )
    assert checked.returncode == 0, checked.stderr
