"""From files in the inbox to simulated token-months, as the sensors and their jobs do it."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import dagster as dg
import psycopg
import pytest

from quantbot_pipeline.definitions import build_definitions
from quantbot_pipeline.defs.sensors import alert_inbox_sensor, candle_inbox_sensor, new_imports_sensor
from quantbot_pipeline.settings import Settings, load_settings
from quantbot_pipeline.workflows.new_imports import SeenImports, find_new_token_months
from tests.workflows.scene import BONK, MARCH, MINUTE, Scene, alert

pytestmark = pytest.mark.server

QUIET = {"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}}
SENSORS: Mapping[str, Any] = {
    "alerts": alert_inbox_sensor,
    "candles": candle_inbox_sensor,
    "new": new_imports_sensor,
}


@dataclass
class Daemon:
    """Ticks sensors and runs what they ask for, as Dagster's daemon does."""

    scene: Scene
    settings: Settings
    instance: dg.DagsterInstance
    cursors: dict[str, str | None]

    @property
    def _resources(self) -> dict[str, Any]:
        return {"state_store": self.scene.state, "history_store": self.scene.history, "settings": self.settings}

    def tick(self, name: str) -> list[dg.RunRequest]:
        resources = self._resources
        if name != "new":
            resources = {"settings": self.settings}
        context = dg.build_sensor_context(instance=self.instance, cursor=self.cursors.get(name), resources=resources)
        result = SENSORS[name](context)
        assert isinstance(result, dg.SensorResult)
        self.cursors[name] = result.cursor
        for request in result.dynamic_partitions_requests or []:
            assert isinstance(request, dg.AddDynamicPartitionsRequest)
            self.instance.add_dynamic_partitions(request.partitions_def_name, list(request.partition_keys))
        return list(result.run_requests or [])

    def run(self, job: str, request: dg.RunRequest) -> dg.ExecuteInProcessResult:
        resources = {"state_store": self.scene.state, "history_store": self.scene.history}
        definitions = build_definitions(resources=resources, settings=self.settings)
        return definitions.resolve_job_def(job).execute_in_process(
            run_config={**request.run_config, **QUIET}, instance=self.instance, tags=request.tags
        )

    def take(self, kind: str) -> dg.ExecuteInProcessResult:
        """Look twice and run what is asked for then."""
        assert self.tick(kind) == []
        [request] = self.tick(kind)
        job = {"alerts": "ingest_alerts_job", "candles": "candle_inbox_job"}[kind]
        result = self.run(job, request)
        assert result.success
        return result


@pytest.fixture
def daemon(scene: Scene, tmp_path: Path) -> Iterator[Daemon]:
    settings = load_settings(home=tmp_path, inbox_settle_seconds=0, first_month="2025-01")
    for kind in ("alerts", "candles"):
        (settings.inbox / kind).mkdir(parents=True)
    with dg.DagsterInstance.ephemeral() as instance:
        yield Daemon(scene, settings, instance, {})


def drop_candles(daemon: Daemon, name: str = "bonk.csv", pair: str = "BONK_USDT") -> None:
    rows = [f"{pair},binance,{int((MARCH + k * MINUTE).timestamp())},1m,1,1.2,0.9,1.1,5" for k in range(200)]
    header = "token_address,chain,timestamp,interval,open,high,low,close,volume"
    (daemon.settings.inbox / "candles" / name).write_text("\n".join([header, *rows]) + "\n")


def drop_alert(daemon: Daemon, name: str = "calls.csv") -> None:
    (daemon.settings.inbox / "alerts" / name).write_text(
        "caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert\n"
        "anna,BONK_USDT,binance,2025-03-01T00:30:00Z,1,\n"
    )


def test_a_new_tokens_candles_become_partitions_and_its_calls_are_simulated(daemon: Daemon) -> None:
    """Candles of a token without partition waited for one that nothing made."""
    daemon.scene.strategy()
    assert daemon.tick("new") == []
    drop_alert(daemon)
    daemon.take("alerts")
    # No candles yet: nothing to simulate on.
    assert daemon.tick("new") == []
    drop_candles(daemon)
    daemon.take("candles")
    assert daemon.instance.get_dynamic_partitions("token") == ["binance:BONK_USDT"]
    assert daemon.instance.get_materialized_partitions(dg.AssetKey("ohlcv_candles")) == {"2025-03-01|binance:BONK_USDT"}
    [request] = daemon.tick("new")
    assert daemon.tick("new") == []
    assert daemon.run("simulate_job", request).success
    assert daemon.scene.ask_state("select status from simulation_runs") == [("completed",)]
    assert daemon.instance.get_materialized_partitions(dg.AssetKey("simulation_runs")) == {
        "2025-03-01|binance:BONK_USDT"
    }


def test_alerts_on_tokens_with_candles_are_simulated_when_they_come(daemon: Daemon) -> None:
    daemon.scene.strategy()
    drop_candles(daemon)
    daemon.take("candles")
    assert daemon.tick("new") == []
    drop_alert(daemon)
    daemon.take("alerts")
    [request] = daemon.tick("new")
    assert request.tags["dagster/asset_partition_range_start"] == "2025-03-01|binance:BONK_USDT"


def test_a_bad_file_fails_alone_and_the_run_does_its_work(daemon: Daemon) -> None:
    drop_candles(daemon)
    (daemon.settings.inbox / "candles" / "bad.csv").write_text("some,other\n1,2\n")
    daemon.take("candles")
    root = daemon.settings.inbox / "candles"
    assert (root / "done" / "bonk.csv").exists()
    assert (root / "failed" / "bad.csv.report.json").exists()
    assert daemon.tick("candles") == []


def test_candles_in_the_inbox_are_taken_by_the_asset_too_with_tokens_of_no_partition(daemon: Daemon) -> None:
    daemon.instance.add_dynamic_partitions("token", ["binance:OTHER"])
    drop_candles(daemon)
    definitions = build_definitions(
        resources={"state_store": daemon.scene.state, "history_store": daemon.scene.history},
        settings=daemon.settings,
    )
    key = str(dg.MultiPartitionKey({"month": "2025-03-01", "token": "binance:OTHER"}))
    job = definitions.resolve_implicit_global_asset_job_def()
    tags = {"dagster/asset_partition_range_start": key, "dagster/asset_partition_range_end": key}
    assert job.execute_in_process(
        run_config=QUIET, instance=daemon.instance, asset_selection=[dg.AssetKey("ohlcv_candles")], tags=tags
    ).success
    assert "binance:BONK_USDT" in daemon.instance.get_dynamic_partitions("token")
    assert "2025-03-01|binance:BONK_USDT" in daemon.instance.get_materialized_partitions(dg.AssetKey("ohlcv_candles"))
    assert (daemon.settings.inbox / "candles" / "done" / "bonk.csv").exists()


def test_imports_that_are_not_settled_are_looked_at_later(daemon: Daemon) -> None:
    """An import that was begun before a later one was looked at must not be passed over when it completes."""
    scene = daemon.scene
    drop_candles(daemon)
    daemon.take("candles")
    scene.change_state(
        "insert into imports (kind, file, sha256, options_key, status, rows_read, rows_stored, rows_duplicate, "
        "rows_quarantined, details_json) select kind, file, repeat('0', 64), '', 'started', 0, 0, 0, 0, details_json "
        "from imports"
    )
    scene.call(alert(1, MARCH + 30 * MINUTE))
    drop_candles(daemon, "other.csv", "PEPE_USDT")
    daemon.take("candles")
    found = find_new_token_months(scene.state, scene.history, SeenImports(), limit=20)
    assert {key.token for key in found.token_months} == {BONK}
    assert found.seen == SeenImports(3, frozenset({2}))
    assert find_new_token_months(scene.state, scene.history, found.seen, limit=20).token_months == frozenset()
    scene.change_state("update imports set status = 'completed', imported_at = now() where status = 'started'")
    again = find_new_token_months(scene.state, scene.history, found.seen, limit=20)
    assert {key.token for key in again.token_months} == {BONK}
    assert again.seen == SeenImports(3, frozenset())


def test_an_import_that_commits_after_a_later_one_is_not_passed_over(daemon: Daemon) -> None:
    """Ids are given at the insert, rows are seen at the commit: alerts of a large file take a while in between.

    Whoever looks meanwhile sees the later import alone. Ids that nobody writes any more are waited for no longer.
    """
    scene = daemon.scene
    drop_candles(daemon)
    daemon.take("candles")
    scene.call(alert(1, MARCH + 30 * MINUTE))
    begun = (
        "insert into imports (kind, file, sha256, options_key, status, rows_read, rows_stored, rows_duplicate, "
        "rows_quarantined, details_json, imported_at) select 'candles', file, repeat({number}, 64), '', 'completed', "
        "0, 0, 0, 0, details_json, now() from imports where id = 1"
    )
    with psycopg.connect(scene.urls.postgres) as slow, psycopg.connect(scene.urls.postgres) as undone:
        slow.execute(begun.format(number="'a'").encode())
        undone.execute(begun.format(number="'b'").encode())
        undone.rollback()
        scene.change_state(begun.format(number="'c'"))
        meanwhile = find_new_token_months(scene.state, scene.history, SeenImports(1), limit=20)
        assert meanwhile.seen == SeenImports(4, frozenset({2, 3}))
    found = find_new_token_months(scene.state, scene.history, meanwhile.seen, limit=20)
    assert {key.token for key in found.token_months} == {BONK}
    assert found.seen == SeenImports(4, frozenset())


def test_new_candles_are_asked_for_with_the_months_beside_them(daemon: Daemon) -> None:
    """Trades of the month before reach into them, indicators of the month after look back on them."""
    scene = daemon.scene
    drop_candles(daemon)
    daemon.take("candles")
    # The middles of January to May.
    scene.call(*(alert(number, MARCH + timedelta(days=30 * number - 75)) for number in range(1, 6)))
    found = find_new_token_months(scene.state, scene.history, SeenImports(), limit=20)
    assert sorted(key.month for key in found.token_months) == ["2025-02", "2025-03", "2025-04"]


def test_a_limit_leaves_the_later_imports_for_the_next_time(daemon: Daemon) -> None:
    scene = daemon.scene
    for name, pair in (("a.csv", "BONK_USDT"), ("b.csv", "PEPE_USDT")):
        drop_candles(daemon, name, pair)
        daemon.take("candles")
    first = find_new_token_months(scene.state, scene.history, SeenImports(), limit=1)
    assert first.seen == SeenImports(1, frozenset())
    assert find_new_token_months(scene.state, scene.history, first.seen, limit=1).seen == SeenImports(2, frozenset())
