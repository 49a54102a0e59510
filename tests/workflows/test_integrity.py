"""Every sum that does not hold is reported, each by its name."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from quantbot_pipeline.errors import IntegrityError
from quantbot_pipeline.workflows import run_simulations as simulations
from quantbot_pipeline.workflows.derive_calls import derive_calls
from quantbot_pipeline.workflows.import_alerts import import_alert_files
from quantbot_pipeline.workflows.import_candles import import_candle_files
from quantbot_pipeline.workflows.integrity import check_integrity
from tests.workflows.scene import BONK, MARCH, MINUTE, Scene, alert, candle_rows, write_csv

pytestmark = pytest.mark.server


@pytest.fixture
def files(scene: Scene, tmp_path: Path) -> list[Path]:
    """Import a file of candles and one of alerts, each with a repeated and a bad row, and simulate."""
    rows = [f"BONK_USDT,binance,2025-03-01T00:{k:02d}:00Z,1m,1,1,1,1,5" for k in range(30)]
    candles = write_csv(
        tmp_path / "candles.csv",
        "token_address,chain,timestamp,interval,open,high,low,close,volume",
        [*rows, rows[0], rows[1].replace(",5", ",-5")],
    )
    call = "brook,BONK_USDT,binance,2025-03-01T00:01:00Z,1,1000"
    alerts = write_csv(
        tmp_path / "alerts.csv",
        "caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert",
        [call, call, call.replace("BONK", "BO NK")],
    )
    import_candle_files([candles], scene.state, scene.history)
    import_alert_files([alerts], scene.state)
    derive_calls(scene.state, scene.history)
    strategies = [scene.strategy("one"), scene.strategy("two", exits={})]
    simulations.run_simulations(scene.plan(*strategies), scene.state, scene.history)
    return [candles, alerts]


def faults(scene: Scene) -> list[str]:
    with pytest.raises(IntegrityError) as caught:
        check_integrity(scene.state, scene.history)
    headline, *lines = str(caught.value).splitlines()
    assert headline == "counts do not add up:"
    return lines


def test_counts_of_what_was_imported_and_computed(scene: Scene, files: list[Path]) -> None:
    expected = {
        "candles": 30,
        "candle_duplicates": 1,
        "candles_quarantined": 1,
        "alerts": 1,
        "alert_duplicates": 1,
        "alerts_quarantined": 1,
    }
    counts = check_integrity(
        scene.state, scene.history, candle_files=files[:1], alert_files=files[1:], expected=expected
    )
    # Each of the two runs buys and sells at the end of the data.
    wanted = {
        "candles": 30,
        "alerts": 1,
        "duplicates": 2,
        "quarantined": 2,
        "calls": 1,
        "runs_completed": 2,
        "runs_failed": 0,
        "events": 4,
        "aggregates": 2,
        "trials": 0,
        "models_ready": 0,
        "tokens": 1,
        "callers": 1,
        "strategies": 2,
    }
    assert {name: counts[name] for name in wanted} == wanted
    assert counts["candle_rows"] == {"read": 32, "stored": 30, "duplicate": 1, "quarantined": 1}
    assert counts["alert_rows"] == {"read": 3, "stored": 1, "duplicate": 1, "quarantined": 1}


def test_empty_stores_add_up(scene: Scene) -> None:
    counts = check_integrity(scene.state, scene.history)
    assert {value for value in counts.values() if not isinstance(value, dict)} == {0}


def test_more_candles_than_were_imported_are_reported(scene: Scene, files: list[Path]) -> None:
    scene.history.insert_candles(candle_rows(BONK, MARCH + 60 * MINUTE, 2))
    assert faults(scene) == [
        "- candles in ClickHouse are those that imports stored: "
        "32 imported candles in ClickHouse, 30 counted by imports"
    ]


def test_lost_candles_are_reported(scene: Scene, files: list[Path]) -> None:
    scene.change_history("truncate table ohlcv_candles")
    assert faults(scene) == [
        "- candles in ClickHouse are those that imports stored: 0 imported candles in ClickHouse, 30 counted by imports"
    ]


def test_alerts_without_import_and_call_are_reported(scene: Scene, files: list[Path]) -> None:
    scene.state.store_alerts([alert(9, MARCH)], None)
    assert faults(scene) == [
        "- every alert was brought and counted by a completed import: alert 2 was brought by no import",
        "- every alert has one call: alert 2 has 0 calls",
    ]


def test_lost_quarantined_rows_are_reported(scene: Scene, files: list[Path]) -> None:
    scene.change_state("delete from quarantine where file like %s", "%candles.csv")
    assert faults(scene) == [
        "- rows read = stored + duplicate + quarantined, for every import: "
        "import 1 (candles, candles.csv): 0 rows in quarantine, counted were 1"
    ]


@pytest.fixture
def unchecked_imports(scene: Scene) -> Iterator[None]:
    """Without the table's own check of the sum: what is tested is the second lock on that door."""
    [(name, check)] = scene.ask_state(
        "select conname, pg_get_constraintdef(oid) from pg_constraint where conrelid = 'imports'::regclass "
        "and pg_get_constraintdef(oid) like '%rows_stored + rows_duplicate%'"
    )
    scene.change_state(f"alter table imports drop constraint {name}")
    yield
    scene.empty()
    scene.change_state(f"alter table imports add constraint {name} {check}")


@pytest.mark.parametrize("kind", ["candles", "alerts"])
def test_rows_that_were_read_and_went_nowhere_are_reported(
    scene: Scene, files: list[Path], unchecked_imports: None, kind: str
) -> None:
    scene.change_state("update imports set rows_read = 40 where kind = %s", kind)
    [fault] = faults(scene)
    assert f"({kind}, {kind}.csv): 40 rows read, but " in fault


def test_lost_events_are_reported(scene: Scene, files: list[Path]) -> None:
    scene.change_history("delete from simulation_events where simulation_run_id = 1 and seq = 1")
    assert faults(scene) == ["- completed runs have as many events as they wrote: run 1 wrote 2 events, found are 1"]


def test_lost_aggregates_are_reported(scene: Scene, files: list[Path]) -> None:
    scene.change_history("delete from simulation_aggregates where simulation_run_id = 1")
    assert faults(scene) == [
        "- completed runs have aggregates for each token, which add up to their summaries: "
        "run 1 has no aggregates of binance:BONK_USDT"
    ]


def test_events_of_runs_that_did_not_complete_are_no_fault(scene: Scene, files: list[Path]) -> None:
    of_no_run = "select * replace(99 as simulation_run_id) from simulation_events"
    scene.change_history(f"insert into simulation_events {of_no_run}")
    assert check_integrity(scene.state, scene.history)["events"] == 4


def test_failed_runs_are_reported(scene: Scene, files: list[Path], monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: Any, **__: Any) -> Any:
        raise ZeroDivisionError("a price was 0")

    monkeypatch.setattr("quantbot_pipeline.workflows.simulate_together.simulate_together", fail)
    simulations.run_simulations(scene.plan(scene.strategy("three")), scene.state, scene.history)
    assert faults(scene) == ["- no run failed: 1 did"]


def test_files_that_were_not_imported_are_named(scene: Scene, files: list[Path], tmp_path: Path) -> None:
    other = write_csv(tmp_path / "other.csv", "anything", [])
    with pytest.raises(IntegrityError, match=f"- {other} was not imported"):
        check_integrity(scene.state, scene.history, candle_files=[*files[:1], other])


def test_another_number_than_expected_is_reported(scene: Scene, files: list[Path]) -> None:
    expected = dict.fromkeys(
        ["candles", "candle_duplicates", "candles_quarantined", "alerts", "alert_duplicates", "alerts_quarantined"], 1
    )
    with pytest.raises(IntegrityError, match=r"- candles of the sample: 30, expected 1$"):
        check_integrity(scene.state, scene.history, candle_files=files[:1], alert_files=files[1:], expected=expected)


def test_all_faults_are_reported_at_once(scene: Scene, files: list[Path]) -> None:
    scene.change_history("truncate table ohlcv_candles")
    scene.change_state("delete from quarantine")
    assert len(faults(scene)) == 2
