"""Candle files that are imported in several batches: bounded memory, and counts that no kill changes."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest import candle_streams
from quantbot_pipeline.workflows import candle_bundles
from quantbot_pipeline.workflows.check_files import check_candle_files
from quantbot_pipeline.workflows.import_candles import ImportOutcome, import_candle_files
from quantbot_pipeline.workflows.integrity import check_integrity
from tests.workflows.scene import BONK, MARCH, MINUTE, PEPE, Scene, candle_rows

pytestmark = pytest.mark.server

ROWS_PER_BATCH = 4
TABLES = (
    "select file, status, rows_read, rows_stored, rows_duplicate, rows_quarantined, details_json::text from imports "
    "order by file",
    "select batch_number, rows_read, rows_stored, rows_duplicate, rows_quarantined, details_json::text, "
    "inserted_at is not null from import_batches order by import_id, batch_number",
    "select file, line, field, reason, raw_text, batch_number from quarantine order by file, line",
)
CANDLES = "select * except imported_at from ohlcv_candles final order by all"
COUNTS = [18, 12, 5, 1, 2]
"""Of `messy_file`: rows read, stored, duplicate, quarantined, and conflicts among the duplicates."""


def messy_file(folder: Path) -> Path:
    """Write 18 rows in five batches of four: 12 BONK minutes, of which six come again, and a bad one among them.

    Rows 13 to 18 are: minute 0 again as it was, minute 1 again at another close, minute 2 with a negative volume,
    minutes 3 and 4 again as they were, and minute 5 again at another close.
    """
    fresh = candle_rows(BONK, MARCH, 12)
    again = candle_rows(BONK, MARCH, 6).to_pylist()
    again[1]["close"] = again[1]["high"]
    again[2]["volume"] = -1.0
    again[5]["close"] = again[5]["high"]
    path = folder / "messy.parquet"
    pq.write_table(pa.concat_tables([fresh, pa.Table.from_pylist(again, fresh.schema)]), path)
    return path


@pytest.fixture
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(candle_streams, "ROWS_PER_BATCH", ROWS_PER_BATCH)
    monkeypatch.setattr(candle_bundles, "ROWS_PER_BUNDLE", ROWS_PER_BATCH)


def counts(outcome: ImportOutcome) -> list[int]:
    record = outcome.record
    return [
        record.rows_read,
        record.rows_stored,
        record.rows_duplicate,
        record.rows_quarantined,
        record.details["conflict_count"],
    ]


def stored(scene: Scene) -> tuple[Any, ...]:
    return [scene.ask_state(table) for table in TABLES], scene.ask_history(CANDLES)


def process_of(scene: Scene, *files: Path, **death: Any) -> subprocess.Popen[str]:
    """Start a process that imports files in batches of four rows."""
    process = subprocess.Popen(
        [sys.executable, "-m", "tests.workflows.killed_import"],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(__file__).parents[2],
    )
    asked = {
        "postgres": scene.urls.postgres,
        "clickhouse": scene.urls.clickhouse,
        "files": [str(file) for file in files],
        "rows_per_batch": ROWS_PER_BATCH,
        **death,
    }
    assert process.stdin is not None
    process.stdin.write(json.dumps(asked))
    process.stdin.close()
    process.stdin = None
    return process


def test_a_file_of_several_batches_has_the_counts_of_one_that_is_read_at_once(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = messy_file(tmp_path)
    [at_once] = import_candle_files([file], scene.state, scene.history)
    whole = scene.ask_history(CANDLES)
    scene.empty()
    monkeypatch.setattr(candle_streams, "ROWS_PER_BATCH", ROWS_PER_BATCH)
    monkeypatch.setattr(candle_bundles, "ROWS_PER_BUNDLE", ROWS_PER_BATCH)
    [outcome] = import_candle_files([file], scene.state, scene.history)
    assert counts(outcome) == counts(at_once) == COUNTS
    assert scene.ask_history(CANDLES) == whole
    assert scene.ask_state("select count(*) from import_batches") == [(5,)]
    assert scene.ask_state("select line from quarantine") == [(15,)]
    assert check_integrity(scene.state, scene.history, candle_files=[file])["candles"] == 12


@pytest.mark.usefixtures("small_batches")
def test_conflicts_are_listed_with_both_values_and_the_newest_is_kept(scene: Scene, tmp_path: Path) -> None:
    [outcome] = import_candle_files([messy_file(tmp_path)], scene.state, scene.history)
    listed = outcome.record.details["conflicts"]
    old, new = candle_rows(BONK, MARCH, 6).to_pylist()[1]["close"], candle_rows(BONK, MARCH, 6).to_pylist()[1]["high"]
    assert [row["timestamp"] - int(MARCH.timestamp()) for row in listed] == [60, 300]
    assert (listed[0]["replaced"]["close"], listed[0]["kept"]["close"]) == (old, new)
    assert scene.ask_history("select close from ohlcv_candles final where toMinute(timestamp) = 1") == [(new,)]


@pytest.mark.parametrize("survived", [0, *(pytest.param(batch, marks=pytest.mark.deep) for batch in (1, 3, 4))])
@pytest.mark.parametrize(
    ("store", "method", "after"),
    [
        ("state", "begin_batches", True),
        ("history", "insert_candles", True),
        ("state", "finish_batches", False),
        ("state", "finish_batches", True),
    ],
)
@pytest.mark.usefixtures("small_batches")
def test_an_import_that_was_killed_between_batches_goes_on_to_the_same_counts(
    scene: Scene, tmp_path: Path, store: str, method: str, after: bool, survived: int
) -> None:
    """After kill -9 in any batch, the repeat ends with what an undisturbed import stores."""
    file = messy_file(tmp_path)
    killed = process_of(scene, file, store=store, method=method, after=after, survived=survived)
    killed.communicate(timeout=60)
    assert killed.returncode == -signal.SIGKILL
    [outcome] = import_candle_files([file], scene.state, scene.history)
    assert counts(outcome) == COUNTS
    check_integrity(scene.state, scene.history, candle_files=[file])
    healed = stored(scene)
    scene.empty()
    import_candle_files([file], scene.state, scene.history)
    assert stored(scene) == healed


@pytest.mark.usefixtures("small_batches")
def test_two_processes_that_import_one_file_at_once_store_it_once(scene: Scene, tmp_path: Path) -> None:
    file = messy_file(tmp_path)
    processes = [process_of(scene, file) for _ in range(2)]
    told = [json.loads(process.communicate(timeout=60)[0]) for process in processes]
    assert told == [[COUNTS], [COUNTS]]
    assert scene.ask_state("select count(*) from imports") == [(1,)]
    check_integrity(scene.state, scene.history, candle_files=[file])
    both = stored(scene)
    scene.empty()
    import_candle_files([file], scene.state, scene.history)
    assert stored(scene) == both


@pytest.mark.usefixtures("small_batches")
def test_one_content_under_two_names_is_one_import(scene: Scene, tmp_path: Path) -> None:
    file = messy_file(tmp_path)
    twin = tmp_path / "twin.parquet"
    twin.write_bytes(file.read_bytes())
    first, second = import_candle_files([file, twin], scene.state, scene.history)
    assert (first.is_known, second.is_known) == (False, True)
    assert counts(first) == counts(second) == COUNTS
    assert (first.path, second.path) == (file, twin)
    assert scene.ask_state("select file from imports") == [("messy.parquet",)]


@pytest.mark.usefixtures("small_batches")
def test_a_changed_file_under_the_same_name_brings_what_is_new(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "grows.parquet"
    pq.write_table(candle_rows(BONK, MARCH, 6), file)
    import_candle_files([file], scene.state, scene.history)
    pq.write_table(candle_rows(BONK, MARCH, 10), file)
    [outcome] = import_candle_files([file], scene.state, scene.history)
    assert counts(outcome) == [10, 4, 6, 0, 0]
    check_integrity(scene.state, scene.history, candle_files=[file])


def test_of_small_files_in_one_bundle_the_bad_one_is_refused_alone(scene: Scene, tmp_path: Path) -> None:
    files = []
    for number in range(8):
        file = tmp_path / f"{number}.parquet"
        pq.write_table(candle_rows(PEPE, MARCH + 60 * number * MINUTE, 60), file)
        files.append(file)
    files[5].write_bytes(b"PAR1 and nothing more")
    with pytest.raises(DataError, match=r"5\.parquet"):
        check_candle_files(files, scene.state, first_month="2025-01")
    assert scene.ask_state("select count(*) from imports") == [(0,)]
    refused: list[Path] = []

    def note(path: Path, _: Exception) -> None:
        refused.append(path)

    sources = check_candle_files(files, scene.state, first_month="2025-01", on_refused=note)
    outcomes = import_candle_files(
        [source.path for source in sources], scene.state, scene.history, sources=sources, on_refused=note
    )
    assert refused == [files[5]]
    assert [outcome.path for outcome in outcomes] == [file for file in files if file != files[5]]
    assert check_integrity(scene.state, scene.history)["candles"] == 7 * 60


@pytest.mark.usefixtures("small_batches")
def test_a_file_that_breaks_in_its_middle_keeps_the_rows_before_and_says_so(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = tmp_path / "breaks.parquet"
    pq.write_table(candle_rows(BONK, MARCH, 12), file)
    read = candle_bundles.iterate_candles

    def break_off(path: Path, **given: Any) -> Any:
        batches = read(path, **given)
        yield next(batches)
        yield next(batches)
        raise DataError(f"{path}: the file is broken")

    with monkeypatch.context() as broken:
        broken.setattr(candle_bundles, "iterate_candles", break_off)
        with pytest.raises(DataError, match=r"the file is broken; its first [48] rows"):
            import_candle_files([file], scene.state, scene.history)
    # What is stored is counted, though the import is not complete.
    stored_rows = check_integrity(scene.state, scene.history)["candles"]
    assert stored_rows in (4, 8)
    assert scene.ask_state("select status from imports") == [("started",)]
    # Once the same content can be read, the import goes on.
    [outcome] = import_candle_files([file], scene.state, scene.history)
    assert counts(outcome) == [12, 12, 0, 0, 0]


def test_a_later_reader_that_cuts_the_file_otherwise_counts_every_row_once(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    file = messy_file(tmp_path)
    killed = process_of(scene, file, store="state", method="finish_batches", after=True, survived=2)
    killed.communicate(timeout=60)
    monkeypatch.setattr(candle_streams, "ROWS_PER_BATCH", 7)
    [outcome] = import_candle_files([file], scene.state, scene.history)
    # Eighteen rows in three batches now; the twelve that three batches of four had stored are still stored once.
    assert counts(outcome)[:2] == COUNTS[:2]
    check_integrity(scene.state, scene.history, candle_files=[file])


def test_a_file_that_changes_while_it_is_read_is_refused(scene: Scene, tmp_path: Path) -> None:
    file = tmp_path / "changes.parquet"
    pq.write_table(candle_rows(BONK, MARCH, 6), file)
    [source] = check_candle_files([file], scene.state, first_month="2025-01")
    os.utime(file, ns=(1, 1))
    with pytest.raises(DataError, match="was changed while it was read"):
        import_candle_files([file], scene.state, scene.history, sources=[source])
    assert scene.ask_history("select count() from ohlcv_candles") == [(0,)]
