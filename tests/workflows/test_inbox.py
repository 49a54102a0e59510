"""The inbox: complete files are taken once, whatever happens between two steps."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.errors import InputError, StorageError
from quantbot_pipeline.workflows.import_alerts import AlertImportOptions
from quantbot_pipeline.workflows.import_candles import CandleImportOptions
from quantbot_pipeline.workflows.inbox import (
    AlertImporter,
    CandleImporter,
    InboxFolder,
    Look,
    TakenFile,
    alert_inbox,
    candle_inbox,
    find_leftovers,
    look_around,
    take_files,
    watch,
)
from tests.workflows.scene import Killed, Scene

ALERTS = "caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert\n"
CANDLES = "token_address,chain,timestamp,interval,open,high,low,close,volume\n"
NOON = datetime(2025, 3, 1, 12, tzinfo=UTC)
STEPS = ("claimed", "noted", "imported", "reported", "moved", "finished")


def alert(minute: int, caller: str = "brook") -> str:
    return f"{caller},BONK_USDT,binance,2025-03-01T00:{minute:02d}:00Z,1.5,1000\n"


@pytest.fixture
def folder(tmp_path: Path) -> InboxFolder:
    found = alert_inbox(tmp_path / "inbox")
    found.root.mkdir(parents=True)
    return found


def drop(folder: InboxFolder, name: str, *rows: str, header: str = ALERTS) -> Path:
    path = folder.root / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(header + "".join(rows))
    return path


def take(scene: Scene, folder: InboxFolder, *names: str, on_step: Any = lambda *_: None) -> list[TakenFile]:
    importer = AlertImporter(scene.state, AlertImportOptions())
    return take_files(folder, names, importer, now=lambda: NOON, on_step=on_step)


def contents(folder: InboxFolder) -> dict[str, Any]:
    """Return what lies in an inbox folder, reports read and without their times."""
    found: dict[str, Any] = {}
    for path in sorted(folder.root.rglob("*")):
        if path.is_file() and path.name != ".lock":
            text = path.read_text()
            value: Any = text
            if path.name.endswith(".report.json"):
                value = {name: part for name, part in json.loads(text).items() if not name.endswith("_at")}
            found[path.relative_to(folder.root).as_posix()] = value
    return found


# --- looking ---


def test_a_file_is_complete_when_two_looks_far_enough_apart_find_it_the_same() -> None:
    complete, looks = watch({"a": "1"}, {}, now=100.0, settle_seconds=5)
    assert complete == []
    complete, looks = watch({"a": "1"}, looks, now=104.0, settle_seconds=5)
    assert complete == []
    complete, looks = watch({"a": "2"}, looks, now=106.0, settle_seconds=5)
    assert complete == [], "it grew"
    complete, looks = watch({"a": "2"}, looks, now=111.0, settle_seconds=5)
    assert complete == ["a"]


def test_one_look_is_never_enough() -> None:
    complete, looks = watch({"a": "1"}, {}, now=100.0, settle_seconds=0)
    assert complete == []
    assert watch({"a": "1"}, looks, now=100.0, settle_seconds=0)[0] == ["a"]


def test_a_clock_that_was_set_back_starts_the_wait_anew() -> None:
    complete, looks = watch({"a": "1"}, {"a": Look("1", 9e9)}, now=100.0, settle_seconds=5)
    assert complete == []
    assert looks["a"].since == 100.0


def test_unfinished_hidden_and_foreign_names_are_left_alone(folder: InboxFolder) -> None:
    for name in ("a.csv.part", ".a.csv", "a.csv.tmp", "a.csv~", "a.csv.crdownload", "notes.txt", "a.csv.report.json"):
        drop(folder, name)
    for name in ("done/b.csv", "failed/c.csv", "taken/d.csv"):
        drop(folder, name)
    drop(folder, "export/result.csv")
    assert list(look_around(folder)) == ["export/result.csv"]


def test_a_file_that_is_still_written_changes_its_stamp(folder: InboxFolder) -> None:
    path = drop(folder, "a.csv")
    before = look_around(folder)
    with path.open("a") as stream:
        stream.write(alert(0))
    os.utime(path, ns=(0, path.stat().st_mtime_ns))
    assert look_around(folder) != before


def test_no_inbox_is_an_empty_one(tmp_path: Path) -> None:
    assert look_around(alert_inbox(tmp_path / "absent")) == {}


# --- taking ---


@pytest.mark.server
def test_a_file_is_imported_and_moved_with_its_report(scene: Scene, folder: InboxFolder) -> None:
    drop(folder, "deep/a.csv", alert(0), alert(1), alert(1), alert(2).replace("BONK", "BO NK"))
    [taken] = take(scene, folder, "deep/a.csv")
    found = contents(folder)
    assert set(found) == {"done/deep/a.csv", "done/deep/a.csv.report.json"}
    report = found["done/deep/a.csv.report.json"]
    assert (report["rows"], report["stored"], report["duplicates"], report["quarantined"]) == (4, 2, 1, 1)
    assert (report["state"], report["known"], report["error"]) == ("done", False, None)
    assert report["reasons"][0].startswith("deep/a.csv:5: ")
    assert taken.report["moved_to"] == "done/deep/a.csv"
    assert scene.ask_state("select file from quarantine") == [("deep/a.csv",)]


@pytest.mark.server
def test_a_file_that_cannot_be_read_fails_alone_and_its_report_says_why(scene: Scene, folder: InboxFolder) -> None:
    drop(folder, "bad.csv", header="")
    drop(folder, "good.csv", alert(0))
    taken = take(scene, folder, "bad.csv", "good.csv")
    assert [file.is_failed for file in taken] == [True, False]
    found = contents(folder)
    assert found["failed/bad.csv"] == ""
    assert "empty" in found["failed/bad.csv.report.json"]["error"]
    assert str(folder.root) not in found["failed/bad.csv.report.json"]["error"]
    assert "done/good.csv" in found


@pytest.mark.server
def test_the_same_bytes_again_are_known_and_get_a_name_of_their_own(scene: Scene, folder: InboxFolder) -> None:
    for _ in range(3):
        drop(folder, "a.csv", alert(0))
        take(scene, folder, "a.csv")
    found = contents(folder)
    assert [found[f"done/{name}.report.json"]["known"] for name in ("a.csv", "a-2.csv", "a-3.csv")] == [
        False,
        True,
        True,
    ]
    assert scene.ask_state("select count(*) from alerts") == [(1,)]


@pytest.mark.server
def test_a_double_suffix_survives_a_name_clash(scene: Scene, folder: InboxFolder) -> None:
    for row in (alert(0), alert(1)):
        drop(folder, "a.csv.gz", row)
        take(scene, folder, "a.csv.gz")
    # They are no gzip streams: both fail, under names that still say what they are.
    assert {name for name in contents(folder) if not name.endswith(".json")} == {"failed/a.csv.gz", "failed/a-2.csv.gz"}


@pytest.mark.server
def test_a_new_file_of_the_name_that_is_being_taken_is_not_lost(scene: Scene, folder: InboxFolder) -> None:
    """Moved after its import by name alone, a file that replaced it meanwhile went to `done` unread."""

    def replace_it(step: str, name: str) -> None:
        if step == "imported" and not (folder.root / name).exists():
            drop(folder, name, alert(5))

    drop(folder, "a.csv", alert(0))
    take(scene, folder, "a.csv", on_step=replace_it)
    assert contents(folder)["a.csv"] == ALERTS + alert(5)
    take(scene, folder, "a.csv")
    assert scene.ask_state("select count(*) from alerts") == [(2,)]


@pytest.mark.server
def test_a_link_is_refused_and_what_it_points_to_is_not_read(scene: Scene, folder: InboxFolder, tmp_path: Path) -> None:
    secret = tmp_path / "secret.csv"
    secret.write_text(ALERTS + alert(0))
    (folder.root / "a.csv").symlink_to(secret)
    (folder.root / "dir").symlink_to(tmp_path)
    assert sorted(look_around(folder)) == ["a.csv", "dir"]
    taken = take(scene, folder, "a.csv", "dir")
    assert [file.is_failed for file in taken] == [True, True]
    assert "symbolic link" in json.loads((folder.root / "failed/a.csv.report.json").read_text())["error"]
    assert (folder.root / "failed/a.csv").is_symlink()
    assert scene.ask_state("select count(*) from alerts") == [(0,)]
    assert secret.exists()


@pytest.mark.parametrize("name", ["../x.csv", "/etc/passwd", "a/../../x.csv", "", "taken/x.csv", "out/x.csv"])
def test_a_name_outside_the_inbox_is_refused(folder: InboxFolder, tmp_path: Path, name: str) -> None:
    (folder.root / "out").symlink_to(tmp_path)
    with pytest.raises(InputError, match="outside the inbox"):
        take_files(folder, [name], None, now=lambda: NOON)  # type: ignore[arg-type]


@pytest.mark.server
def test_a_file_that_another_process_took_is_left_out(scene: Scene, folder: InboxFolder) -> None:
    assert take(scene, folder, "gone.csv") == []


@pytest.mark.server
def test_a_lost_database_fails_no_file(scene: Scene, folder: InboxFolder) -> None:
    class Lost:
        def is_known(self, *_: Any) -> bool:
            return False

        def import_file(self, *_: Any) -> Any:
            raise StorageError("the server went away")

    drop(folder, "a.csv", alert(0))
    with pytest.raises(StorageError):
        take_files(folder, ["a.csv"], Lost(), now=lambda: NOON)
    assert find_leftovers(folder) == ["a.csv"]
    [taken] = take(scene, folder)
    assert (taken.name, taken.is_failed) == ("a.csv", False)
    assert set(contents(folder)) == {"done/a.csv", "done/a.csv.report.json"}


@pytest.mark.server
def test_candles_of_a_month_without_partition_fail(scene: Scene, tmp_path: Path) -> None:
    folder = candle_inbox(tmp_path)
    drop(folder, "old.csv", "BONK_USDT,binance,2014-03-01T00:00:00Z,1m,1,1,1,1,5\n", header=CANDLES)
    drop(folder, "new.csv", "BONK_USDT,binance,2025-03-01T00:00:00Z,1m,1,1,1,1,5\n", header=CANDLES)
    importer = CandleImporter(scene.state, scene.history, "2015-01", CandleImportOptions())
    taken = take_files(folder, ["new.csv", "old.csv"], importer, now=lambda: NOON)
    assert [file.report["moved_to"] for file in taken] == ["done/new.csv", "failed/old.csv"]
    assert "QUANTBOT_FIRST_MONTH=2014-03" in taken[1].report["error"]
    assert taken[0].outcome is not None
    assert taken[0].outcome.record.details["token_months"] == [["binance", "BONK_USDT", "2025-03"]]


@pytest.mark.server
def test_what_only_an_option_can_say_names_the_command_that_has_it(scene: Scene, tmp_path: Path) -> None:
    folder = candle_inbox(tmp_path)
    header = "timestamp,open,high,low,close,volume,token_address,chain\n"
    drop(folder, "one.csv", "2025-03-01T00:00:00Z,1,1,1,1,5,BONK_USDT,binance\n", header=header)
    drop(folder, "x.csv", "2025-03-01T00:00:00Z,1,1,1,1,5,BONK_USDT\n", header=header.replace(",chain", ""))
    importer = CandleImporter(scene.state, scene.history, "2015-01", CandleImportOptions())
    one, without_chain = take_files(folder, ["one.csv", "x.csv"], importer, now=lambda: NOON)
    assert without_chain.is_failed
    assert "import it with 'quantbot ingest candles FILE --chain …'" in without_chain.report["error"]
    assert (one.is_failed, one.report["quarantined"]) == (False, 1)
    assert "'quantbot ingest candles FILE --interval …'" in one.report["advice"]


# --- dying ---


def two_files(folder: InboxFolder) -> None:
    drop(folder, "a.csv", alert(0), alert(1), alert(2).replace("BONK", "BO NK"))
    drop(folder, "b.csv", alert(1), alert(3))


def stored(scene: Scene) -> Mapping[str, Any]:
    columns = "file, status, rows_read, rows_stored, rows_duplicate, rows_quarantined"
    return {
        "imports": scene.ask_state(f"select {columns} from imports order by file"),  # noqa: S608 - the test's own text
        "quarantine": scene.ask_state("select file, line, reason from quarantine order by file, line"),
        "alerts": scene.ask_state("select alert_timestamp from alerts order by 1"),
    }


@pytest.fixture
def undisturbed(scene: Scene, tmp_path: Path) -> tuple[Mapping[str, Any], Mapping[str, Any]]:
    """What is stored and lies in the inbox when nothing goes wrong; the stores are empty again."""
    other = alert_inbox(tmp_path / "undisturbed")
    two_files(other)
    take(scene, other, "a.csv", "b.csv")
    found = stored(scene), contents(other)
    scene.empty()
    return found


@pytest.mark.server
@pytest.mark.parametrize("step", STEPS)
def test_a_process_that_died_after_any_step_changes_nothing_in_the_end(
    scene: Scene, folder: InboxFolder, undisturbed: Any, step: str
) -> None:
    def die(done: str, name: str) -> None:
        if (done, name) == (step, "a.csv"):
            raise Killed

    two_files(folder)
    with pytest.raises(Killed):
        take(scene, folder, "a.csv", "b.csv", on_step=die)
    take(scene, folder, *sorted(look_around(folder)))
    assert (stored(scene), contents(folder)) == undisturbed


_KILLED = """
import os, signal, sys
from datetime import UTC, datetime
from pathlib import Path
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.workflows.import_alerts import AlertImportOptions
from quantbot_pipeline.workflows.inbox import AlertImporter, alert_inbox, take_files

inbox, url, step = sys.argv[1:]

def die(done, name):
    if done == step:
        os.kill(os.getpid(), signal.SIGKILL)

with PostgresStore(url) as state:
    importer = AlertImporter(state, AlertImportOptions())
    take_files(alert_inbox(Path(inbox)), ["a.csv", "b.csv"], importer, now=lambda: datetime.now(UTC), on_step=die)
"""


@pytest.mark.server
@pytest.mark.parametrize("step", STEPS)
def test_a_killed_process_leaves_its_lock_and_its_files_to_the_next(
    scene: Scene, folder: InboxFolder, undisturbed: Any, step: str
) -> None:
    two_files(folder)
    ended = subprocess.run(
        [sys.executable, "-c", _KILLED, str(folder.root.parent), scene.urls.postgres, step], check=False
    )
    assert ended.returncode == -signal.SIGKILL
    take(scene, folder, *sorted(look_around(folder)))
    assert (stored(scene), contents(folder)) == undisturbed


@pytest.mark.server
def test_a_place_in_done_that_was_filled_while_nobody_worked_is_not_overwritten(
    scene: Scene, folder: InboxFolder
) -> None:
    def die(done: str, _: str) -> None:
        if done == "reported":
            raise Killed

    drop(folder, "a.csv", alert(0))
    with pytest.raises(Killed):
        take(scene, folder, "a.csv", on_step=die)
    drop(folder, "done/a.csv", "somebody's own")
    take(scene, folder)
    found = contents(folder)
    assert found["done/a.csv"].endswith("somebody's own")
    assert found["done/a-2.csv"] == ALERTS + alert(0)
    assert found["done/a-2.csv.report.json"]["moved_to"] == "done/a-2.csv"
