"""Features of stored calls: those whose inputs changed alone are built, and as if all were in memory."""

from datetime import timedelta
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quantbot_pipeline.engine.calls import Side
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.errors import InputError, LearningError
from quantbot_pipeline.ingest.checked_candles import CANDLE_SCHEMA
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.learning.call_features import FeatureCall
from quantbot_pipeline.learning.feature_registry import FEATURE_NAMES
from quantbot_pipeline.learning.features import build_features
from quantbot_pipeline.learning.labels import Pnl, PnlAbove, TimeToTarget, TripleBarrier
from quantbot_pipeline.workflows import stored_series
from quantbot_pipeline.workflows.build_features import (
    FeaturePlan,
    build_stored_features,
    load_entry_calls,
    signal_second,
)
from quantbot_pipeline.workflows.build_labels import load_labels
from quantbot_pipeline.workflows.run_simulations import run_simulations
from quantbot_pipeline.workflows.stored_series import StoredSeries
from tests.workflows.scene import BONK, MARCH, MINUTE, PEPE, Dying, Killed, Scene, alert, candle_rows
from tests.workflows.stored_features import load_features

pytestmark = pytest.mark.server

PLAN = FeaturePlan("plain")
DAY = timedelta(days=1)


def built(scene: Scene, plan: FeaturePlan = PLAN) -> int:
    return build_stored_features(plan, scene.state, scene.history).built


def sparse_rows(token: TokenKey, interval: str, seconds: int, share: float, days: int, seed: int) -> pa.Table:
    """Return candles with gaps that end at the first of April."""
    generator = np.random.default_rng(seed)
    end = int(MARCH.timestamp()) + 31 * 86_400
    timestamp = np.arange(end - days * 86_400, end, seconds, dtype=np.int64)
    timestamp = timestamp[generator.random(len(timestamp)) < share]
    n = len(timestamp)
    close = np.exp(np.cumsum(0.01 * generator.normal(size=n)))
    columns = {
        "chain": [token.chain] * n,
        "token_address": [token.address] * n,
        "interval": [interval] * n,
        "timestamp": timestamp,
        "open": close,
        "high": close * 1.01,
        "low": close * 0.99,
        "close": close,
        "volume": generator.lognormal(size=n),
    }
    return pa.table(columns).select(CANDLE_SCHEMA.names).cast(CANDLE_SCHEMA)


def as_candles(rows: pa.Table, seconds: int) -> Candles:
    names = ("open", "high", "low", "close", "volume")
    return Candles(seconds, rows["timestamp"].to_numpy(), *(rows[name].to_numpy() for name in names)).validate()


def test_stored_features_are_those_of_all_candles_in_memory(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What is read around the calls, by batches of tokens, gives the same bits as everything at once."""
    monkeypatch.setattr(stored_series.StoredSeries.batches, "__defaults__", (1,))
    rows = {
        # Hours with large gaps: the candles that an average needs reach back over months.
        (BONK, 3600): sparse_rows(BONK, "1h", 3600, 0.3, 200, 1),
        (BONK, 300): sparse_rows(BONK, "5m", 300, 0.9, 12, 2),
        (PEPE, 900): sparse_rows(PEPE, "15m", 900, 0.02, 120, 3),
    }
    for each in rows.values():
        scene.history.insert_candles(each)
    scene.strategy()
    scene.call(
        *(
            alert(k, MARCH + timedelta(hours=7 * k), token=BONK if k % 3 else PEPE, alert_price=1.0 + k)
            for k in range(90)
        )
    )
    assert built(scene) == 90
    stored = load_features(PLAN, scene.history)

    calls = [
        FeatureCall(row.call_id, row.token, row.caller_id, signal_second(row), row.alert_price, row.alert_market_cap)
        for row in load_entry_calls(scene.state)
    ]
    candles = {
        token: [as_candles(each, seconds) for (owner, seconds), each in rows.items() if owner == token]
        for token in (BONK, PEPE)
    }
    expected = build_features(calls, candles, []).sort_by("call_id")
    assert stored.column_names == expected.column_names
    for name in FEATURE_NAMES:
        here, there = (np.where(np.isnan(v), np.nan, v) for v in (stored[name].to_numpy(), expected[name].to_numpy()))
        assert here.tobytes() == there.tobytes(), name
    assert np.isfinite(stored["ema_50_distance"].to_numpy()).all()


def test_calls_whose_inputs_did_not_change_are_not_built_again(scene: Scene) -> None:
    scene.history.insert_candles(candle_rows(BONK, MARCH - DAY, 3000))
    scene.history.insert_candles(candle_rows(PEPE, MARCH - DAY, 3000))
    scene.strategy()
    scene.call(
        # Callers 1, 0, 1: no call is among the others' inputs.
        alert(1, MARCH - timedelta(hours=20)),
        alert(2, MARCH + timedelta(hours=20), token=PEPE),
        alert(3, MARCH + timedelta(hours=21), token=BONK),
    )
    assert built(scene) == 3
    assert built(scene) == 0
    # Candles of March concern the calls of March on their token alone.
    scene.history.insert_candles(candle_rows(BONK, MARCH, 10, scale=2.0))
    assert built(scene) == 1
    # A price that an alert did not state before.
    scene.change_state("update alerts set alert_price = 5 where content_key = %s", f"{2:064x}")
    assert built(scene) == 1
    # An earlier call is among what later ones of its caller or on its token know.
    scene.call(alert(4, MARCH - timedelta(hours=19), token=PEPE))
    assert built(scene) == 2
    assert built(scene) == 0
    # The same values again are no change.
    scene.history.insert_candles(candle_rows(PEPE, MARCH - DAY, 3000))
    assert built(scene) == 0


def test_finished_trades_change_the_records_of_later_calls_alone(scene: Scene) -> None:
    scene.history.insert_candles(candle_rows(BONK, MARCH, 600))
    row = scene.strategy()
    scene.call(*(alert(2 * k, MARCH + 100 * k * MINUTE) for k in range(1, 5)))
    assert built(scene) == 4
    run_simulations(scene.plan(row), scene.state, scene.history)
    # The first call knows of no trade, before and after.
    assert built(scene) == 3
    features = load_features(PLAN, scene.history)
    assert features["caller_finished_trades"].to_pylist() == [0.0, 1.0, 2.0, 3.0]


def test_trade_counts_from_the_end_of_the_candle_it_ended_in(scene: Scene) -> None:
    """An event inside a candle bears its open time; a call in that candle must not know of it, nor the trade's own."""
    # The price stands at 1 and falls to 0.5 within minute 60.
    rows = candle_rows(BONK, MARCH, 120).to_pylist()
    for k, candle in enumerate(rows):
        candle |= {"open": 1.0, "high": 1.0, "low": 0.5 if k == 60 else 1.0, "close": 1.0}
    scene.history.insert_candles(pa.Table.from_pylist(rows, schema=CANDLE_SCHEMA))
    row = scene.strategy()
    scene.call(
        alert(2, MARCH + 60 * MINUTE),
        alert(4, MARCH + 60 * MINUTE + timedelta(seconds=59)),
        alert(6, MARCH + 61 * MINUTE),
    )
    run_simulations(scene.plan(row), scene.state, scene.history)
    # The trade of the first call is stopped in the candle that it is bought in: its event is of second 3600 too.
    assert scene.ask_history(
        "select toUnixTimestamp(event_time) from simulation_events where event_type = 'stop_loss'"
    ) == [(int(MARCH.timestamp()) + 3600,)]
    build_stored_features(PLAN, scene.state, scene.history)
    assert load_features(PLAN, scene.history)["caller_finished_trades"].to_pylist() == [0.0, 0.0, 1.0]
    labels = load_labels(PnlAbove(name="l", strategy="plain"), scene.state, scene.history)
    assert labels["label_end"].to_pylist()[0] == int(MARCH.timestamp()) + 3660


def test_trades_that_the_end_of_the_data_closed_are_neither_record_nor_label(scene: Scene) -> None:
    # 120 minutes at 1: a trade of 30 minutes begun at minute 100 is closed by the end of the data.
    rows = [
        candle | {"open": 1.0, "high": 1.0, "low": 1.0, "close": 1.0}
        for candle in candle_rows(BONK, MARCH, 120).to_pylist()
    ]
    scene.history.insert_candles(pa.Table.from_pylist(rows, schema=CANDLE_SCHEMA))
    row = scene.strategy()
    scene.call(alert(2, MARCH + 10 * MINUTE), alert(4, MARCH + 100 * MINUTE), alert(6, MARCH + 500 * MINUTE))
    run_simulations(scene.plan(row), scene.state, scene.history)
    assert scene.ask_history("select count() from simulation_events where event_type = 'final_exit'") == [(1,)]
    build_stored_features(PLAN, scene.state, scene.history)
    assert load_features(PLAN, scene.history)["caller_finished_trades"].to_pylist() == [0.0, 1.0, 1.0]
    labels = load_labels(Pnl(name="l", strategy="plain"), scene.state, scene.history)
    assert labels["call_id"].to_pylist() == [1]


def test_quick_trades_near_the_end_of_the_data_are_no_label(scene: Scene) -> None:
    """Of calls whose time the data does not cover, only the quick trades are over; as labels they would be all losses.

    The time of a trade counts from its first candle, and ends with the candles that it was made on.
    """
    # Minutes 0 to 59 and 80 to 119 at 1; the price falls to 0.5 within minute 82. Days reach further than minutes.
    rows = [
        candle | {"open": 1.0, "high": 1.0, "low": 0.5 if k == 82 else 1.0, "close": 1.0}
        for k, candle in enumerate(candle_rows(BONK, MARCH, 120).to_pylist())
        if k < 60 or k >= 80
    ]
    scene.history.insert_candles(pa.Table.from_pylist(rows, schema=CANDLE_SCHEMA))
    days = candle_rows(BONK, MARCH, 1, interval="1d")
    scene.history.insert_candles(days)
    row = scene.strategy(horizon_seconds=2400)
    scene.call(alert(2, MARCH + 5 * MINUTE), alert(4, MARCH + 70 * MINUTE), alert(6, MARCH + 79 * MINUTE))
    run_simulations(scene.plan(row), scene.state, scene.history)
    # The second and third call are bought at minute 80, so their time ends at minute 120, which no candle has.
    assert scene.ask_history("select count() from simulation_events where event_type = 'stop_loss'") == [(2,)]
    labels = load_labels(Pnl(name="l", strategy="plain"), scene.state, scene.history)
    assert labels["call_id"].to_pylist() == [1]


def test_barrier_labels_of_stored_candles_leave_out_calls_near_their_end(scene: Scene) -> None:
    scene.history.insert_candles(candle_rows(BONK, MARCH, 120))
    scene.call(
        alert(2, MARCH), alert(4, MARCH + 59 * MINUTE), alert(6, MARCH + 60 * MINUTE), alert(8, MARCH, token=PEPE)
    )
    for definition in (
        TripleBarrier(name="b", upper=0.1, lower=0.1, horizon_seconds=3600),
        TimeToTarget(name="t", target=0.1, horizon_seconds=3600),
    ):
        labels = load_labels(definition, scene.state, scene.history)
        # The last candle opens at minute 119, an hour after minute 59.
        assert labels["call_id"].to_pylist() == [1, 3]
        assert (np.array(labels["label_end"]) > np.array(labels["signal_timestamp"])).all()


def test_columns_of_the_alerts_become_features_by_name(scene: Scene) -> None:
    scene.strategy()
    payloads: list[dict[str, Any]] = [{"score": "3.5", "flag": True, "max_gain": 9}, {"score": "high"}, {}]
    scene.call(
        *(alert(k, MARCH + k * MINUTE, raw_payload=payload) for k, payload in enumerate(payloads)),
        alert(9, MARCH + 9 * MINUTE, raw_payload={"score": 1}, attributes={"score": 2.0}),
    )
    plan = FeaturePlan("plain", ("attribute:score", "attribute:flag"))
    assert build_stored_features(plan, scene.state, scene.history).feature_set == (
        "call_v2/plain/attribute:flag/attribute:score"
    )
    features = load_features(plan, scene.history)
    assert features["attribute:score"].to_pandas().fillna(-1).tolist() == [3.5, -1, -1, 2.0]
    assert features["attribute:flag"].to_pandas().fillna(-1).tolist() == [1, -1, -1, -1]
    # Beside the set without them.
    assert built(scene) == 4
    assert load_features(PLAN, scene.history).column_names == ["call_id", *FEATURE_NAMES]
    with pytest.raises(InputError, match="no alert states a number in a column 'scores'"):
        built(scene, FeaturePlan("plain", ("attribute:scores",)))
    with pytest.raises(InputError, match="tells what became of the call"):
        built(scene, FeaturePlan("plain", ("attribute:max_gain",)))


def test_build_that_died_is_ended_by_the_next_one(scene: Scene, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(StoredSeries.batches, "__defaults__", (1,))
    scene.history.insert_candles(candle_rows(BONK, MARCH, 120))
    scene.history.insert_candles(candle_rows(PEPE, MARCH, 120))
    scene.call(alert(2, MARCH + 60 * MINUTE), alert(4, MARCH + 60 * MINUTE, token=PEPE))
    with pytest.raises(Killed):
        build_stored_features(PLAN, scene.state, Dying(scene.history, "insert_features", after=False, survived=1))
    assert load_features(PLAN, scene.history).num_rows == 1
    assert built(scene) == 1


def test_rows_of_another_version_are_refused_where_they_are_read(scene: Scene) -> None:
    scene.call(alert(2, MARCH))
    build_stored_features(PLAN, scene.state, scene.history)
    scene.change_history(
        "insert into ml_features select * replace(mapFilter((k, v) -> k != 'rsi_14', values) as values, "
        "row_version + 1 as row_version) from ml_features"
    )
    with pytest.raises(LearningError, match="build them again"):
        load_features(PLAN, scene.history)


def test_sells_open_no_trade_and_have_no_features(scene: Scene) -> None:
    scene.call(alert(2, MARCH), alert(4, MARCH + MINUTE, side=Side.SELL))
    assert built(scene) == 1
