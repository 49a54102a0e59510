"""Candle and alert files in: counts add up, each row once, also after a kill at any step."""

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.errors import DataError, IntegrityError
from quantbot_pipeline.storage.records import ImportRecord
from quantbot_pipeline.workflows import candle_bundles as module
from quantbot_pipeline.workflows.derive_calls import derive_calls
from quantbot_pipeline.workflows.find_files import ALERT_SUFFIXES, CANDLE_SUFFIXES, expand_files
from quantbot_pipeline.workflows.import_alerts import AlertImportOptions, import_alert_files
from quantbot_pipeline.workflows.import_candles import (
    CandleImportOptions,
    ImportOutcome,
    import_candle_files,
)
from quantbot_pipeline.workflows.integrity import check_integrity
from tests.workflows.scene import Dying, Killed, Scene, write_csv

pytestmark = pytest.mark.server

CANDLE_COLUMNS = "token_address,chain,timestamp,interval,open,high,low,close,volume"
ALERT_COLUMNS = "caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert"
IMPORTS = (
    "select file, status, rows_read, rows_stored, rows_duplicate, rows_quarantined, details_json::text "
    "from imports order by file"
)
QUARANTINE = "select file, line, field, reason, raw_text from quarantine order by file, line"
CANDLES = "select * except imported_at from ohlcv_candles final order by all"


def candle(minute: int, close: float = 1.0, *, pair: str = "BONK_USDT", interval: str = "1m", hour: int = 0) -> str:
    stamp = f"2025-03-01T{hour:02d}:{minute:02d}:00Z"
    return f"{pair},binance,{stamp},{interval},{close},{close},{close},{close},5"


def candle_file(folder: Path, name: str, *rows: str) -> Path:
    return write_csv(folder / name, CANDLE_COLUMNS, rows)


def import_candles(scene: Scene, *files: Path, **options: Any) -> list[ImportOutcome]:
    return import_candle_files(files, scene.state, scene.history, **options)


def counts(outcome: ImportOutcome) -> tuple[int, int, int, int]:
    """Return rows read, stored, duplicate and quarantined."""
    record = outcome.record
    return record.rows_read, record.rows_stored, record.rows_duplicate, record.rows_quarantined


def candle_closes(scene: Scene) -> list[tuple[Any, ...]]:
    return scene.ask_history(
        "select token_address, interval, toMinute(timestamp), close from ohlcv_candles final order by all"
    )


# --- candles ---


def test_rows_of_a_candle_file_are_stored_duplicate_or_quarantined(scene: Scene, tmp_path: Path) -> None:
    bad = candle(3).replace(",5", ",-5")
    file = candle_file(tmp_path, "a.csv", candle(0), candle(1), candle(1), candle(2), candle(2, 2.0), bad)
    [outcome] = import_candles(scene, file)
    # Of the two rows of minute 1 one is repeated, of the two of minute 2 the last wins.
    assert counts(outcome) == (6, 3, 2, 1)
    assert candle_closes(scene) == [
        ("BONK_USDT", "1m", 0, 1.0),
        ("BONK_USDT", "1m", 1, 1.0),
        ("BONK_USDT", "1m", 2, 2.0),
    ]
    [(name, line, field, _, raw)] = scene.ask_state(QUARANTINE)
    assert (name, line, field, raw) == (str(file), 7, "volume", bad)
    check_integrity(scene.state, scene.history, candle_files=[file])


def test_a_file_that_is_known_changes_nothing(scene: Scene, tmp_path: Path) -> None:
    file = candle_file(tmp_path, "a.csv", candle(0), candle(1))
    first = import_candles(scene, file)
    rows = scene.ask_state(IMPORTS), scene.ask_history(CANDLES)
    [again] = import_candles(scene, file.rename(tmp_path / "renamed.csv"))
    assert (first[0].is_known, again.is_known) == (False, True)
    assert counts(again) == counts(first[0])
    assert (scene.ask_state(IMPORTS), scene.ask_history(CANDLES)) == rows


def test_rows_that_another_file_brought_are_duplicates(scene: Scene, tmp_path: Path) -> None:
    files = [
        candle_file(tmp_path, "a.csv", candle(0), candle(1), candle(2)),
        candle_file(tmp_path, "b.csv", candle(2), candle(3)),
    ]
    assert [counts(outcome) for outcome in import_candles(scene, *files)] == [(3, 3, 0, 0), (2, 1, 1, 0)]
    assert check_integrity(scene.state, scene.history)["candles"] == 4


def test_the_newest_import_of_a_candle_wins_and_counts_as_duplicate(scene: Scene, tmp_path: Path) -> None:
    files = [
        candle_file(tmp_path, "a.csv", candle(0), candle(1)),
        candle_file(tmp_path, "b.csv", candle(1, 7.0), candle(2, 7.0)),
    ]
    assert [counts(outcome) for outcome in import_candles(scene, *files)] == [(2, 2, 0, 0), (2, 1, 1, 0)]
    assert [close for *_, close in candle_closes(scene)] == [1.0, 7.0, 7.0]
    check_integrity(scene.state, scene.history)


def test_several_tokens_and_intervals_in_one_file_are_told_apart(scene: Scene, tmp_path: Path) -> None:
    import_candles(scene, candle_file(tmp_path, "a.csv", candle(5), candle(5, pair="PEPE_USDT")))
    mixed = [
        candle(5, interval=interval, pair=pair)
        for pair in ("PEPE_USDT", "BONK_USDT", "WIF_USDT")
        for interval in ("5m", "1m")
    ]
    [outcome] = import_candles(scene, candle_file(tmp_path, "b.csv", *mixed))
    assert counts(outcome) == (6, 4, 2, 0)
    assert check_integrity(scene.state, scene.history)["tokens"] == 3


def test_a_file_without_a_good_row_is_imported_all_the_same(scene: Scene, tmp_path: Path) -> None:
    [outcome] = import_candles(scene, candle_file(tmp_path, "a.csv", candle(0).replace(",5", ",x")))
    assert counts(outcome) == (1, 0, 0, 1)
    check_integrity(scene.state, scene.history)


def test_one_file_read_with_other_options_is_another_import(scene: Scene, tmp_path: Path) -> None:
    file = write_csv(tmp_path / "a.csv", "timestamp,open,high,low,close,volume", ["2025-03-01T00:00:00Z,1,1,1,1,5"])
    bonk = CandleImportOptions("binance", "BONK_USDT", "1m")
    for options in (bonk, CandleImportOptions("binance", "PEPE_USDT", "1m"), bonk):
        import_candles(scene, file, options=options)
    assert [row[0] for row in candle_closes(scene)] == ["BONK_USDT", "PEPE_USDT"]
    check_integrity(scene.state, scene.history)


@pytest.mark.parametrize(
    ("where", "method", "after", "survived"),
    [
        ("state", "begin_batches", False, 1),
        ("state", "begin_batches", True, 1),
        ("state", "upsert_tokens", False, 0),
        ("history", "insert_candles", False, 1),
        ("history", "insert_candles", True, 1),
        ("state", "finish_batches", False, 1),
        ("state", "finish_batches", True, 1),
    ],
)
def test_a_kill_during_an_import_changes_no_final_count(
    scene: Scene, tmp_path: Path, where: str, method: str, after: bool, survived: int
) -> None:
    files = [
        candle_file(tmp_path, "a.csv", candle(0), candle(1)),
        candle_file(tmp_path, "b.csv", candle(1, 7.0), candle(2), candle(3).replace(",5", ",-5")),
    ]
    stores: dict[str, Any] = {"state": scene.state, "history": scene.history}
    stores[where] = Dying(stores[where], method, after=after, survived=survived)
    with pytest.raises(Killed):
        import_candle_files(files, stores["state"], stores["history"])
    outcomes = import_candles(scene, *files)
    assert [counts(outcome) for outcome in outcomes] == [(2, 2, 0, 0), (3, 1, 1, 1)]
    check_integrity(scene.state, scene.history, candle_files=files)
    tables = IMPORTS, QUARANTINE
    healed = [scene.ask_state(table) for table in tables], scene.ask_history(CANDLES)
    scene.empty()
    import_candles(scene, *files)
    assert ([scene.ask_state(table) for table in tables], scene.ask_history(CANDLES)) == healed


def test_a_kill_half_way_through_the_insert_changes_no_final_count(scene: Scene, tmp_path: Path) -> None:
    """ClickHouse takes a large insert in parts; the first of them may be stored when the process dies."""
    file = candle_file(tmp_path, "a.csv", candle(0), candle(1), candle(2))

    class HalfInserted:
        def insert_candles(self, candles: Any) -> None:
            scene.history.insert_candles(candles.slice(0, 2))
            raise Killed

        def __getattr__(self, name: str) -> Any:
            return getattr(scene.history, name)

    with pytest.raises(Killed):
        import_candle_files([file], scene.state, HalfInserted())  # type: ignore[arg-type]
    [outcome] = import_candles(scene, file)
    assert counts(outcome) == (3, 3, 0, 0)
    check_integrity(scene.state, scene.history)


def test_a_second_attempt_that_reads_the_file_otherwise_counts_anew(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Between the attempts a new version of the reader came: the import stayed `started` for ever."""
    file = candle_file(tmp_path, "a.csv", candle(0), candle(1).replace(",5", ",-5"))
    dying: Any = Dying(scene.history, "insert_candles", after=False)
    with pytest.raises(Killed):
        import_candle_files([file], scene.state, dying)
    read = module.iterate_candles

    def read_without_checks(path: Path, **given: Any) -> Any:
        for found in read(path, **given):
            yield replace(found, quarantined=(), duplicates=1)

    monkeypatch.setattr(module, "iterate_candles", read_without_checks)
    [outcome] = import_candles(scene, file)
    assert counts(outcome) == (2, 1, 1, 0)
    assert scene.ask_state("select status from imports") == [("completed",)]


def test_a_file_that_cannot_be_read_keeps_those_before_it(scene: Scene, tmp_path: Path) -> None:
    good = candle_file(tmp_path, "a.csv", candle(0))
    bad = write_csv(tmp_path / "b.csv", "some,other,columns", ["1,2,3"])
    with pytest.raises(DataError, match=r"b\.csv"):
        import_candles(scene, good, bad)
    assert [row[:2] for row in scene.ask_state(IMPORTS)] == [("a.csv", "completed")]


def test_a_reader_that_loses_a_row_is_found_out(scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    read = module.iterate_candles

    def lose_a_row(path: Path, **given: Any) -> Any:
        for found in read(path, **given):
            kept = {name: column[1:] for name, column in found.values.items()}
            rows = {name: getattr(found, name)[1:] for name in ("series_of_row", "timestamp", "flags")}
            yield replace(found, values=kept, **rows)

    monkeypatch.setattr(module, "iterate_candles", lose_a_row)
    with pytest.raises(IntegrityError, match="2 rows read, but 1 stored"):
        import_candles(scene, candle_file(tmp_path, "a.csv", candle(0), candle(1)))
    assert scene.ask_state(IMPORTS) == []
    assert scene.ask_history(CANDLES) == []


def test_progress_is_told_in_rows_and_ends_complete(
    scene: Scene, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "BATCHES_PER_BUNDLE", 1)
    files = [candle_file(tmp_path, f"{k}.csv", candle(k), candle(k + 10)) for k in range(2)]
    told: list[tuple[int, int, str]] = []
    import_candles(scene, *files, on_progress=lambda *step: told.append(step))
    assert [(done, name) for done, _, name in told] == [(2, "0.csv"), (4, "1.csv")]
    assert told[-1][1] == 4


# --- alerts ---


def alert(minute: int, caller: str = "brook", price: str = "1.5") -> str:
    return f"{caller},BONK_USDT,binance,2025-03-01T00:{minute:02d}:00Z,{price},1000"


def alert_file(folder: Path, name: str, *rows: str) -> Path:
    return write_csv(folder / name, ALERT_COLUMNS, rows)


def test_an_alert_in_two_files_is_one_row(scene: Scene, tmp_path: Path) -> None:
    files = [
        alert_file(tmp_path, "a.csv", alert(0), alert(1), alert(1)),
        alert_file(tmp_path, "b.csv", alert(1), alert(2), alert(3).replace("BONK", "BO NK")),
    ]
    outcomes = import_alert_files(files, scene.state)
    assert [counts(outcome) for outcome in outcomes] == [(3, 2, 1, 0), (3, 1, 1, 1)]
    again = import_alert_files(files, scene.state)
    assert [outcome.is_known for outcome in again] == [True, True]
    assert [counts(outcome) for outcome in again] == [counts(outcome) for outcome in outcomes]
    assert scene.ask_state("select count(*) from alerts") == [(3,)]


@pytest.mark.parametrize("after", [False, True])
def test_a_kill_during_an_alert_import_changes_no_final_count(scene: Scene, tmp_path: Path, after: bool) -> None:
    file = alert_file(tmp_path, "a.csv", alert(0), alert(1), alert(2, price="-1"))
    dying: Any = Dying(scene.state, "store_alerts", after=after)
    with pytest.raises(Killed):
        import_alert_files([file], dying)
    [outcome] = import_alert_files([file], scene.state)
    assert counts(outcome) == (3, 2, 0, 1)
    derive_calls(scene.state, scene.history)
    check_integrity(scene.state, scene.history, alert_files=[file])


def test_every_alert_gets_one_call_however_often_they_are_derived(scene: Scene, tmp_path: Path) -> None:
    import_alert_files([alert_file(tmp_path, "a.csv", alert(0), alert(1))], scene.state)
    dying: Any = Dying(scene.state, "derive_calls", after=True)
    with pytest.raises(Killed):
        derive_calls(dying, scene.history)
    assert derive_calls(scene.state, scene.history).counts.new == 0
    import_alert_files([alert_file(tmp_path, "b.csv", alert(1), alert(2))], scene.state)
    assert derive_calls(scene.state, scene.history).counts.new == 1
    assert scene.ask_state("select count(*), count(distinct alert_id) from calls") == [(3, 3)]


def test_calls_derived_anew_are_the_same(scene: Scene, tmp_path: Path) -> None:
    import_alert_files([alert_file(tmp_path, "a.csv", alert(1), alert(0, "lsy"))], scene.state)
    columns = "alert_id, token_id, caller_id, side, signal_type, signal_timestamp"
    calls = f"select {columns} from calls order by alert_id"  # noqa: S608 - the tests' own text
    derive_calls(scene.state, scene.history)
    first = scene.ask_state(calls)
    scene.change_state("delete from calls")
    derive_calls(scene.state, scene.history)
    assert scene.ask_state(calls) == first


def test_alerts_of_another_source_are_others(scene: Scene, tmp_path: Path) -> None:
    file = alert_file(tmp_path, "a.csv", alert(0))
    for source in ("file", "telegram", "file"):
        import_alert_files([file], scene.state, options=AlertImportOptions(source=source))
    assert scene.ask_state("select source, handle from callers order by source") == [
        ("file", "brook"),
        ("telegram", "brook"),
    ]


# --- files ---


def test_folders_are_searched_and_files_taken_as_named(tmp_path: Path) -> None:
    (tmp_path / "deep").mkdir()
    (tmp_path / "unpacked.csv").mkdir()
    names = ["b.csv", "a.parquet", "deep/c.CSV.GZ", "note.txt"]
    for name in names:
        (tmp_path / name).touch()
    found = expand_files([tmp_path, tmp_path / "note.txt"], CANDLE_SUFFIXES)
    assert [str(path.relative_to(tmp_path)) for path in found] == ["a.parquet", "b.csv", "deep/c.CSV.GZ", "note.txt"]
    with pytest.raises(DataError, match="no such file or folder"):
        expand_files([tmp_path / "absent"], ALERT_SUFFIXES)
    (tmp_path / "empty").mkdir()
    with pytest.raises(DataError, match=r"folder holds no file that ends in \.csv"):
        expand_files([tmp_path / "empty"], ALERT_SUFFIXES)


def test_the_counts_of_a_started_import_are_those_of_its_first_attempt(scene: Scene, tmp_path: Path) -> None:
    file = candle_file(tmp_path, "a.csv", candle(0))
    dying: Any = Dying(scene.state, "finish_batches", after=False)
    with pytest.raises(Killed):
        import_candle_files([file], dying, scene.history)
    [outcome] = import_candles(scene, file)
    assert isinstance(outcome.record, ImportRecord)
    # The row was stored by the first attempt; the second found it and still does not call it a duplicate.
    assert counts(outcome) == (1, 1, 0, 0)
