"""Every run that is completed carries the verdict on the candles that it read, in both databases."""

import json

import pyarrow as pa
import pytest

from quantbot_pipeline.storage.views import build_views
from quantbot_pipeline.workflows.run_simulations import run_simulations
from tests.workflows.scene import BONK, MARCH, MINUTE, Scene, alert, candle_rows

pytestmark = pytest.mark.server


def test_runs_are_judged_by_what_they_read_and_views_show_it(scene: Scene) -> None:
    # Ten minutes of candles without the fourth and fifth, one of them with a wick flagged; bought at the open of
    # candle 1 and sold at the end of the data: held over the gap. The other strategy sells before it.
    rows = candle_rows(BONK, MARCH, 10, scale=1.0)
    rows = pa.concat_tables([rows.slice(0, 4), rows.slice(6)])
    flags = pa.array([0, 2, 0, 0, 0, 0, 0, 0], pa.uint8())
    scene.history.insert_candles(rows.append_column(pa.field("flags", pa.uint8(), nullable=False), flags))
    scene.call(alert(1, MARCH + MINUTE))
    long = scene.strategy("long", exits={})
    short = scene.strategy("short", exits={}, horizon_seconds=120)
    run_simulations(scene.plan(long, short), scene.state, scene.history)

    stored = scene.ask_state(
        "select s.name, r.data_quality, r.data_quality_json::text from simulation_runs as r "
        "inner join strategies as s on r.strategy_id = s.id order by 1"
    )
    assert [(name, verdict) for name, verdict, _ in stored] == [("long", "gaps"), ("short", "good")]
    found = [json.loads(details) for _, _, details in stored]
    # Long reads candles 1 to 9 of which 4 and 5 are missing: 7 of 9. Short reads candles 1, 2 and 3.
    assert [(d["candle_count"], d["expected_count"], d["distorted_count"]) for d in found] == [(7, 9, 1), (3, 3, 1)]
    assert [(d["trades_over_gaps"], d["longest_held_gap_seconds"]) for d in found] == [(1, 120), (0, 0)]

    build_views(scene.urls.postgres, scene.urls.clickhouse).require_all()
    shown = "select strategy_name, data_quality from stg_runs order by 1"
    wanted = [("long", "gaps"), ("short", "good")]
    assert scene.ask_state(shown) == scene.ask_history(shown) == wanted
    trades = "select strategy_name, good_data_trade_count from mart_strategy_leaderboard order by 1"
    assert scene.ask_state(trades) == scene.ask_history(trades) == [("long", 0), ("short", 1)]


def test_runs_from_before_runs_were_judged_are_unknown(scene: Scene) -> None:
    scene.history.insert_candles(candle_rows(BONK, MARCH, 10))
    scene.call(alert(1, MARCH + MINUTE))
    requests = scene.plan(scene.strategy())
    run_simulations(requests, scene.state, scene.history)
    scene.change_state("update simulation_runs set data_quality = default, data_quality_json = default")
    # Found complete, not computed: nothing judges it.
    [outcome] = run_simulations(requests, scene.state, scene.history)
    assert outcome.status == "reused"
    assert scene.ask_history("select data_quality from published_runs final") == [("unknown",)]
