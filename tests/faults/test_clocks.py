"""Time zones and clocks that jump change nothing that is stored."""

import json
from contextlib import closing

import clickhouse_connect
import psycopg
import pytest

from quantbot_pipeline.servers.embedded import stop_servers
from tests.faults.contents import Contents, differences
from tests.faults.home import FaultHome

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.timeout(300), pytest.mark.xdist_group("faults")]


@pytest.mark.parametrize("zone", ["Asia/Kolkata", pytest.param("America/New_York", marks=pytest.mark.deep)])
def test_a_machine_in_another_time_zone_stores_the_same(
    zone: str, fault_home: FaultHome, undisturbed: Contents
) -> None:
    """The sample's month has the hour that New York skips; the servers too are started in the zone."""
    fault_home.empty()
    stop_servers(fault_home.settings)
    fault_home.run(with_moments=False, TZ=zone)
    assert differences(fault_home.contents(), undisturbed) == []


def test_runs_of_a_new_version_are_current_though_the_clock_went_back_a_day(fault_home: FaultHome) -> None:
    """Rows of before have times of tomorrow: what is done now is later all the same, in both databases."""
    fault_home.empty()
    first = fault_home.start(fault_home.steps[:3], with_moments=False)
    assert first.finish() == 0, first.text
    with psycopg.connect(fault_home.urls().postgres) as postgres:
        postgres.execute("set session_replication_role = replica")  # no trigger of ours or theirs
        postgres.execute(
            "update simulation_runs set claimed_at = claimed_at + interval '1 day', "
            "updated_at = updated_at + interval '1 day'"
        )
    changed = json.loads((fault_home.folder / "quick.json").read_text()) | {"version": "2", "horizon_seconds": 7200}
    file = fault_home.folder / "quick-2.json"
    file.write_text(json.dumps(changed))
    # The first one brings the times of tomorrow into ClickHouse too.
    backfill = ["simulate", "backfill", "--strategies", "quick"]
    again = fault_home.start(
        [[*backfill, "--force"], [*backfill, "--file", str(file)], ["verify", "verify"]], with_moments=False
    )
    assert again.finish() == 0, again.text
    with psycopg.connect(fault_home.urls().postgres) as postgres:
        current = postgres.execute(
            "select distinct strategies.version from simulation_runs as runs "
            "inner join strategies on runs.strategy_id = strategies.id "
            "where strategies.name = 'quick' and runs.status = 'completed' and runs.superseded_by is null"
        ).fetchall()
    assert current == [("2",)]
    with closing(clickhouse_connect.get_client(dsn=fault_home.urls().clickhouse)) as clickhouse:
        shown = clickhouse.query(
            "select distinct strategy_version from published_runs final where strategy_name = 'quick' and is_current"
        ).result_rows
    assert shown == [("2",)]
