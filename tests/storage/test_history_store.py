"""What every history store must do, on a real ClickHouse."""

import math
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa
import pytest
from stored_rows import (
    BONK,
    MARCH,
    MARCH_SECOND,
    PEPE,
    aggregates,
    alert,
    candles,
    events,
    run,
    store_calls,
    store_strategy,
    summary,
)

from quantbot_pipeline.errors import DataError, StorageError
from quantbot_pipeline.ingest.checked_candles import CANDLE_SCHEMA
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.clickhouse import (
    CALL_SCORE_SCHEMA,
    EVENT_SCHEMA,
    FEATURE_SCHEMA,
    LATEST_SECOND,
    SCORE_SCHEMA,
    ClickHouseStore,
)
from quantbot_pipeline.storage.postgres import PostgresStore

pytestmark = pytest.mark.server

SMALLEST_PRICES = [1e-15, 1.2345678901234567e-12, 5e-324, 0.1 + 0.2, 1.7976931348623157e308]
INJECTIONS = ["'; drop table ohlcv_candles; --", "{x:String}", "%(name)s", "\\N\\'", "a\tb\nc", "🚀 漢字"]


def count(history: ClickHouseStore) -> dict[str, int]:
    return dict(history.read("counts/count_history").to_pylist()[0])


def current_runs(history: ClickHouseStore) -> list[int]:
    """Return the current runs, as ClickHouse's mirror knows them."""
    rows = history.read("verify/load_published_runs", after_id=0, last_id=2**63 - 1).to_pylist()
    return [row["simulation_run_id"] for row in rows if row["is_current"]]


# --- candles ------------------------------------------------------------------------------------------


def test_candles_inserted_twice_are_there_once(history: ClickHouseStore) -> None:
    rows = candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.0, 3.0])
    history.insert_candles(rows)
    history.insert_candles(rows)

    assert count(history)["candles"] == 3
    assert history.load_candle_rows(*BONK, "5m", 0, LATEST_SECOND) == rows
    assert history.load_coverage()["candle_count"].to_pylist() == [3]


def test_the_newest_import_of_a_candle_wins(history: ClickHouseStore) -> None:
    history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.0, 3.0]))
    history.insert_candles(candles(BONK, "5m", MARCH_SECOND + 300, 300, [20.0]))

    loaded = history.load_candles({BONK: (0, LATEST_SECOND)})[BONK]
    assert loaded.close.tolist() == [1.0, 20.0, 3.0]
    assert history.load_candle_rows(*BONK, "5m", 0, LATEST_SECOND)["close"].to_pylist() == [1.0, 20.0, 3.0]
    assert count(history)["candles"] == 3


def test_candle_windows_are_half_open(history: ClickHouseStore) -> None:
    history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.0, 3.0, 4.0]))
    window = (MARCH_SECOND + 300, MARCH_SECOND + 900)

    assert history.load_candles({BONK: window})[BONK].close.tolist() == [2.0, 3.0]
    assert history.load_candle_rows(*BONK, "5m", *window)["close"].to_pylist() == [2.0, 3.0]
    assert history.load_candle_rows(*BONK, "5m", 0, 10) == CANDLE_SCHEMA.empty_table()


def test_candles_of_each_token_come_from_its_own_window(history: ClickHouseStore) -> None:
    history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [1.0, 2.0, 3.0]))
    history.insert_candles(candles(PEPE, "5m", MARCH_SECOND, 300, [10.0, 20.0, 30.0]))
    absent = TokenKey("base", "0x0")

    loaded = history.load_candles(
        {
            BONK: (MARCH_SECOND, MARCH_SECOND + 300),
            PEPE: (MARCH_SECOND + 600, MARCH_SECOND + 10**9),
            absent: (0, LATEST_SECOND),
        }
    )

    assert {token: found.close.tolist() for token, found in loaded.items()} == {BONK: [1.0], PEPE: [30.0]}
    assert loaded[PEPE].timestamp.tolist() == [MARCH_SECOND + 600]
    assert history.load_candles({}) == {}
    assert history.load_candles({absent: (0, 1)}) == {}


def test_loaded_candles_are_what_the_engine_takes(history: ClickHouseStore) -> None:
    # Inserted out of order and over two months: 1 March and 1 February.
    february = MARCH_SECOND - 28 * 86400
    history.insert_candles(candles(BONK, "1m", MARCH_SECOND, 60, [3.0, 4.0]))
    history.insert_candles(candles(BONK, "1m", february, 60, [1.0, 2.0]))

    loaded = history.load_candles({BONK: (0, LATEST_SECOND)})[BONK].validate()

    assert loaded.interval_seconds == 60
    assert loaded.close.tolist() == [1.0, 2.0, 3.0, 4.0]
    assert loaded.timestamp.dtype == np.int64
    for column in (loaded.timestamp, loaded.open, loaded.high, loaded.low, loaded.close, loaded.volume):
        assert column.flags.c_contiguous
        assert column.flags.writeable


def test_the_finest_interval_within_the_window_is_chosen(history: ClickHouseStore) -> None:
    # 15m candles all day, 1m candles for three minutes from noon on; as texts, '15m' < '1m' < '5m'.
    noon = MARCH_SECOND + 43200
    history.insert_candles(candles(BONK, "15m", MARCH_SECOND, 900, [15.0] * 96))
    history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [5.0] * 2))
    history.insert_candles(candles(BONK, "1m", noon, 60, [1.0] * 3))

    def interval_within(start: int, end: int) -> int:
        return history.load_candles({BONK: (start, end)})[BONK].interval_seconds

    assert interval_within(MARCH_SECOND, noon + 1) == 60
    assert interval_within(MARCH_SECOND, noon) == 300
    assert interval_within(MARCH_SECOND + 600, noon) == 900
    named = history.load_candles({BONK: (0, LATEST_SECOND)}, interval="15m")[BONK]
    assert (named.interval_seconds, len(named)) == (900, 96)
    assert history.load_candles({BONK: (0, LATEST_SECOND)}, interval="1h") == {}
    with pytest.raises(StorageError, match="interval '7m' is not known; allowed are 1s, 15s"):
        history.load_candles({BONK: (0, 1)}, interval="7m")


def test_one_token_on_two_chains_stays_apart(history: ClickHouseStore) -> None:
    twin = TokenKey("bsc", PEPE.address)
    history.insert_candles(candles(PEPE, "5m", MARCH_SECOND, 300, [1.0]))
    history.insert_candles(candles(twin, "5m", MARCH_SECOND, 300, [2.0]))
    loaded = history.load_candles({PEPE: (0, LATEST_SECOND), twin: (0, LATEST_SECOND)})
    assert (loaded[PEPE].close.tolist(), loaded[twin].close.tolist()) == ([1.0], [2.0])


def test_one_insert_may_span_hundreds_of_partitions(history: ClickHouseStore) -> None:
    # 240 months of 31 days on 2 chains are some 490 partitions; the server refuses more than 100 at once.
    parts = [candles(token, "1d", 0, 31 * 86400, [float(month + 1) for month in range(240)]) for token in (BONK, PEPE)]
    history.insert_candles(pa.concat_tables(parts))

    loaded = history.load_candles({BONK: (0, LATEST_SECOND), PEPE: (0, LATEST_SECOND)})
    assert loaded[BONK].close.tolist() == [float(month + 1) for month in range(240)]
    assert len(loaded[PEPE]) == 240


@pytest.mark.parametrize("price", SMALLEST_PRICES)
def test_prices_survive_to_the_last_bit(history: ClickHouseStore, price: float) -> None:
    history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [price], volume=price))
    history.insert_events(events(1, 1, [{"price": price, "pnl_so_far": -price}]))
    history.insert_aggregates(aggregates(1, final_pnl=price, sharpe_ratio=price))

    loaded = history.load_candles({BONK: (0, LATEST_SECOND)})[BONK]
    assert (loaded.open[0], loaded.volume[0]) == (price, price)
    (event,) = history.load_events([1]).to_pylist()
    assert (event["price"], event["pnl_so_far"]) == (price, -price)
    (row,) = history.load_aggregates([1]).to_pylist()
    assert (row["final_pnl"], row["sharpe_ratio"], row["volatility"]) == (price, price, None)


@pytest.mark.parametrize("text", INJECTIONS)
def test_text_is_data_whatever_it_looks_like(history: ClickHouseStore, text: str) -> None:
    token = TokenKey(text, text)
    history.insert_candles(candles(token, "5m", MARCH_SECOND, 300, [1.0]))
    history.insert_events(events(1, 1, [{"metadata_json": text}], token=token))

    assert history.load_candles({token: (0, LATEST_SECOND)})[token].close.tolist() == [1.0]
    assert history.load_candle_rows(*token, "5m", 0, LATEST_SECOND).num_rows == 1
    assert history.load_events([1])["metadata_json"].to_pylist() == [text]
    assert count(history)["candles"] == 1


@pytest.mark.parametrize("second", [-1, LATEST_SECOND + 1])
def test_a_time_that_the_server_would_wrap_is_refused(history: ClickHouseStore, second: int) -> None:
    with pytest.raises(DataError, match=r"'timestamp' reaches from .* allowed is 0 to 4294967295"):
        history.insert_candles(candles(BONK, "5m", second, 300, [1.0]))
    with pytest.raises(DataError, match="'event_time' reaches"):
        history.insert_events(events(1, 1, [{"event_time": second}]))
    assert count(history)["candles"] == 0


def test_the_ends_of_time_are_kept(history: ClickHouseStore) -> None:
    history.insert_events(events(1, 1, [{"event_time": 0}, {"event_time": LATEST_SECOND}]))
    assert history.load_events([1])["event_time"].to_pylist() == [0, LATEST_SECOND]


def test_rows_of_another_form_are_refused_by_name(history: ClickHouseStore) -> None:
    rows = candles(BONK, "5m", MARCH_SECOND, 300, [1.0])
    with pytest.raises(DataError, match="insert_candles: column 'volume' is missing"):
        history.insert_candles(rows.drop_columns(["volume"]))
    with pytest.raises(DataError, match="column 'open' is string, allowed is double"):
        history.insert_candles(rows.set_column(4, "open", pa.array(["cheap"])))
    with pytest.raises(DataError, match="column 'open' has 1 nulls"):
        history.insert_candles(rows.set_column(4, "open", pa.array([None], pa.float64())))
    with pytest.raises(DataError, match="'timestamp' holds times without a zone"):
        history.insert_candles(rows.set_column(3, "timestamp", pa.array([datetime(2025, 3, 1)])))  # noqa: DTZ001


def test_coverage_counts_each_month_of_each_interval(history: ClickHouseStore) -> None:
    history.insert_candles(candles(BONK, "1d", MARCH_SECOND - 86400, 86400, [1.0, 2.0, 3.0]))
    history.insert_candles(candles(BONK, "5m", MARCH_SECOND, 300, [1.0]))
    assert history.load_coverage().to_pylist() == [
        {
            "chain": BONK.chain,
            "token_address": BONK.address,
            "interval": interval,
            "month": month,
            "candle_count": candle_count,
            "first_s": first,
            "last_s": last,
        }
        for interval, month, candle_count, first, last in [
            ("1d", "2025-02", 1, MARCH_SECOND - 86400, MARCH_SECOND - 86400),
            ("1d", "2025-03", 2, MARCH_SECOND, MARCH_SECOND + 86400),
            ("5m", "2025-03", 1, MARCH_SECOND, MARCH_SECOND),
        ]
    ]


# --- events and aggregates ----------------------------------------------------------------------------


def test_events_inserted_again_are_the_same_rows_once(history: ClickHouseStore) -> None:
    trade = events(7, 3, [{}, {"event_type": "stop_loss", "price": 0.5, "remaining_position": 0.0}])
    history.insert_events(trade)
    history.insert_events(trade)
    history.insert_aggregates(aggregates(7))
    history.insert_aggregates(aggregates(7, final_pnl=0.2))

    assert history.load_events([7]) == trade
    assert history.load_aggregates([7])["final_pnl"].to_pylist() == [0.2]
    assert history.load_events([8]) == EVENT_SCHEMA.empty_table()
    assert history.load_events([]).num_rows == 0


def test_events_come_ordered_whatever_the_order_of_inserts(history: ClickHouseStore) -> None:
    history.insert_events(events(2, 1, [{}, {}]))
    history.insert_events(events(1, 9, [{}]))
    history.insert_events(events(1, 2, [{}, {}]))
    rows = history.load_events([2, 1]).to_pylist()
    assert [(row["simulation_run_id"], row["call_id"], row["seq"]) for row in rows] == [
        (1, 2, 0),
        (1, 2, 1),
        (1, 9, 0),
        (2, 1, 0),
        (2, 1, 1),
    ]


def test_an_event_may_have_no_price(history: ClickHouseStore) -> None:
    history.insert_events(events(1, 1, [{"event_type": "entry_skipped", "price": float("nan")}]))
    assert math.isnan(history.load_events([1])["price"][0].as_py())


def test_what_a_dead_attempt_left_can_be_removed(history: ClickHouseStore) -> None:
    for run_id in (1, 2):
        history.insert_events(events(run_id, 1, [{}, {}]))
        history.insert_aggregates(aggregates(run_id))

    history.delete_run_rows([1])
    history.delete_run_rows([])

    assert history.load_events([1, 2])["simulation_run_id"].to_pylist() == [2, 2]
    assert history.load_aggregates([1, 2])["simulation_run_id"].to_pylist() == [2]
    history.insert_events(events(1, 1, [{}]))
    assert history.load_events([1]).num_rows == 1


# --- what Postgres says may be shown ------------------------------------------------------------------


def test_only_published_runs_count(state: PostgresStore, history: ClickHouseStore) -> None:
    store_calls(state, [alert(1), alert(2)])
    first_call, second_call = state.load_calls()
    strategy_id = store_strategy(state)
    done, dead = state.claim_runs([run(strategy_id, "done", "a"), run(strategy_id, "dead", "b")])
    for claim in (done, dead):
        history.insert_events(
            events(
                claim.run_id,
                first_call.call_id,
                [
                    {"event_time": MARCH_SECOND + 60},
                    {"event_time": MARCH_SECOND + 90, "event_type": "stop_moved", "price": 1.0, "size": 0.0},
                    {"event_time": MARCH_SECOND + 120, "event_type": "target_hit", "pnl_so_far": 0.25},
                ],
            )
        )
        history.insert_events(events(claim.run_id, second_call.call_id, [{"event_type": "entry_skipped", "size": 0.0}]))
        history.insert_aggregates(aggregates(claim.run_id))
    assert (count(history)["events"], count(history)["aggregates"]) == (0, 0)

    state.complete_runs([summary(done.run_id)])
    for _ in range(2):
        history.publish(state.load_published_runs(), state.load_published_calls())

    assert (count(history)["events"], count(history)["aggregates"]) == (4, 1)


def test_a_superseded_run_leaves_the_trades_but_stays_counted(state: PostgresStore, history: ClickHouseStore) -> None:
    store_calls(state, [alert(1)])
    (call,) = state.load_calls()
    strategy_id = store_strategy(state)
    run_ids = []
    for key in ("old", "new"):
        (claim,) = state.claim_runs([run(strategy_id, key)])
        history.insert_events(events(claim.run_id, call.call_id, [{}]))
        state.complete_runs([summary(claim.run_id)])
        history.publish(state.load_published_runs(), state.load_published_calls())
        run_ids.append(claim.run_id)

    assert current_runs(history) == run_ids[1:]
    assert count(history)["events"] == 2
    state.reactivate_runs(run_ids[:1])
    history.publish(state.load_published_runs(), state.load_published_calls())
    assert current_runs(history) == run_ids[:1]


def test_an_older_copy_that_arrives_late_changes_nothing(state: PostgresStore, history: ClickHouseStore) -> None:
    store_calls(state, [alert(1, symbol="OLD")])
    strategy_id = store_strategy(state)
    (first,) = state.claim_runs([run(strategy_id, "first")])
    state.complete_runs([summary(first.run_id)])
    old = (state.load_published_runs(), state.load_published_calls())
    (second,) = state.claim_runs([run(strategy_id, "second")])
    state.complete_runs([summary(second.run_id)])
    state.upsert_tokens({BONK: "NEW"})
    new = (state.load_published_runs(), state.load_published_calls())

    history.publish(*new)
    history.publish(*old)

    assert current_runs(history) == [second.run_id]
    calls = history.read("verify/load_published_calls", after_id=0, last_id=2**63 - 1)
    assert calls["symbol"].to_pylist() == ["NEW"]


# --- learning -----------------------------------------------------------------------------------------


def test_features_and_scores_keep_the_newest_insert(history: ClickHouseStore) -> None:
    def features(value: float) -> pa.Table:
        row = {
            "feature_set": "v1",
            "call_id": 5,
            "chain": BONK.chain,
            "token_address": BONK.address,
            "signal_timestamp": MARCH_SECOND,
            "values": [("market cap 🚀", value), ("hour", float("nan"))],
            "inputs_stamp": f"{value}",
        }
        return pa.Table.from_pylist([row], schema=FEATURE_SCHEMA)

    for value in (1.0, 1e-15):
        history.insert_features(features(value))
        history.insert_scores(scores((1, "take", 5, MARCH_SECOND, value)))

    (row,) = history.read("features/load_features", feature_set="v1").to_pylist()
    values = dict(row["values"])
    assert row["call_id"] == 5
    assert values["market cap 🚀"] == 1e-15
    assert history.read("features/load_stamps", feature_set="v1")["inputs_stamp"].to_pylist() == ["1e-15"]
    assert math.isnan(values["hour"])
    assert history.read("features/load_scores", model_id=1)["score"].to_pylist() == [1e-15]
    assert history.read("features/load_features", feature_set="v2").num_rows == 0
    assert (count(history)["features"], count(history)["scores"]) == (1, 1)


def scores(*rows: tuple[int, str, int, int, float]) -> pa.Table:
    """Return scores of (model id, model name, call id, trained until, score)."""
    return pa.Table.from_pylist(
        [
            {
                "model_id": model_id,
                "model_name": name,
                "call_id": call_id,
                "trained_until": trained_until,
                "score": score,
                "feature_set": "v1",
                "inputs_stamp": "s",
                "values": [("hour", 1.0)],
            }
            for model_id, name, call_id, trained_until, score in rows
        ],
        schema=SCORE_SCHEMA,
    )


def test_scores_of_a_call_are_those_of_all_versions_and_folds_that_say_what_they_had_seen(
    history: ClickHouseStore,
) -> None:
    history.insert_scores(
        scores(
            # A fold of model 1 and the model itself; the same again is the same row.
            (1, "take", 5, MARCH_SECOND, 0.25),
            (1, "take", 5, MARCH_SECOND + 60, 0.5),
            (1, "take", 5, MARCH_SECOND, 0.3),
            (2, "take", 5, MARCH_SECOND, 0.75),
            (3, "rank", 5, MARCH_SECOND, 0.1),
            (1, "take", 6, MARCH_SECOND, 0.6),
            (1, "take", 7, MARCH_SECOND, 0.7),
            # As rows were before it was known what they had seen.
            (1, "take", 6, 0, 0.9),
        )
    )
    found = history.load_call_scores(["take", "absent"], [7, 5])
    assert found.schema == CALL_SCORE_SCHEMA
    at = datetime.fromtimestamp(MARCH_SECOND, UTC)
    assert [tuple(row.values()) for row in found.to_pylist()] == [
        (5, "take", 1, at, 0.3),
        (5, "take", 2, at, 0.75),
        (5, "take", 1, at + timedelta(seconds=60), 0.5),
        (7, "take", 1, at, 0.7),
    ]
    # What stood in the table before is no score that a past call could have had.
    assert history.load_call_scores(["take"], [6])["score"].to_pylist() == [0.6]
    assert history.load_call_scores([], [5]).num_rows == history.load_call_scores(["take"], []).num_rows == 0


# --- threads and speed --------------------------------------------------------------------------------


def test_threads_share_one_store(history: ClickHouseStore) -> None:
    tokens = [TokenKey("binance", f"PAIR{number}") for number in range(8)]

    def work(number: int) -> list[float]:
        token = tokens[number]
        history.insert_candles(candles(token, "5m", MARCH_SECOND, 300, [float(number + 1)] * 50))
        closes: list[float] = history.load_candles({token: (0, LATEST_SECOND)})[token].close.tolist()
        return closes

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(work, range(8))) == [[float(number + 1)] * 50 for number in range(8)]


def test_many_tokens_are_loaded_in_bulk(history: ClickHouseStore) -> None:
    """A million candles of 100 tokens take about a second on an idle machine; row loops take a minute."""
    first = int(datetime(2025, 1, 1, tzinfo=UTC).timestamp())
    random_walk = np.exp(np.cumsum(np.random.default_rng(1).normal(0, 0.01, 10_000))) * 1e-9
    tokens = [TokenKey("solana", f"{number:044d}") for number in range(100)]
    for token in tokens:
        history.insert_candles(candles(token, "5m", first, 300, random_walk.tolist()))

    began = time.perf_counter()
    loaded = history.load_candles(dict.fromkeys(tokens, (0, LATEST_SECOND)))
    seconds = time.perf_counter() - began

    assert len(loaded) == 100
    assert all(np.array_equal(found.close, random_walk) for found in loaded.values())
    assert seconds < 15


def test_a_window_holds_what_its_times_say_in_any_zone(history: ClickHouseStore) -> None:
    rows = candles(BONK, "5m", MARCH_SECOND, 300, [1.0])
    typed = rows.set_column(3, "timestamp", pa.array([MARCH], pa.timestamp("us", tz="Australia/Sydney")))
    history.insert_candles(typed)
    start = int((MARCH - timedelta(seconds=1)).timestamp())
    assert history.load_candles({BONK: (start, start + 2)})[BONK].timestamp.tolist() == [MARCH_SECOND]
