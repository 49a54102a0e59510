"""What the fast engine adds to the reference: many tokens at once, buffers that grow, metrics without events."""

from collections.abc import Iterator

import numpy as np
import pytest
from engine_cases import candles, strategy

from quantbot_pipeline.engine import simulation_work
from quantbot_pipeline.engine.calls import Call, SignalType
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.events import EventType
from quantbot_pipeline.engine.events_table import events_to_arrow
from quantbot_pipeline.engine.fast import iterate_runs, score_many, simulate_fast, simulate_many
from quantbot_pipeline.engine.metrics import run_metrics
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.errors import SimulationError
from quantbot_pipeline.strategy.model import Strategy

# The kernels are compiled by the first test where numba's cache is empty.
pytestmark = pytest.mark.timeout(900)

RISING = candles([0, 1, 1, 1, 1], [60, 1, 2.5, 0.5, 2])
HALVING = candles([0, 1, 1, 1, 1], [60, 0.5, 0.6, 0.4, 0.5])
STOP_AND_TARGET = {"stop_loss": {"initial": 0.3}, "targets": [{"multiple": 2, "size": 1}]}


def test_each_token_keeps_its_own_trades_and_events() -> None:
    (run,) = simulate_many(
        {"up": RISING, "down": HALVING},
        {"up": [Call(7, 1, 0)], "down": [Call(3, 1, 0)]},
        [strategy(exits=STOP_AND_TARGET)],
    )
    # Worked examples 1 and 2 of docs/engine.md: the stop of 0.3 fills at 0.7, and at the open 0.5.
    pnl = {key: [trade.pnl for trade in trades] for key, trades in run.trades().items()}
    assert pnl["up"] == pytest.approx([-0.3])
    assert pnl["down"] == pytest.approx([-0.5])
    assert run.events_table()["call_id"].to_pylist() == [7, 7, 3, 3]
    assert run.events_table()["price"].to_pylist() == [1.0, 0.7, 1.0, 0.5]
    assert run.metrics().final_pnl == pytest.approx(-0.4)


def test_buffers_grow_for_trades_with_more_events_than_expected() -> None:
    # Every candle jumps down to 0.5 and back to 1: a re-entry at 0.5, and a target at 1.
    rows = [[60 * k, 1.0, 1.0, 0.5, 1.0] for k in range(400)]
    market = candles(*rows)
    often = strategy(
        exits={"targets": [{"multiple": 1.5, "size": 1}], "max_hold_seconds": 60},
        re_entry={"after": ["target", "time"], "retrace": 0.5, "size": 1, "max_count": 1000},
    )
    (run,) = simulate_many({"x": market}, {"x": [Call(1, 1, 0)]}, [often])
    (trade,) = run.trades()["x"]
    (expected,) = simulate_reference(market, [Call(1, 1, 0)], often)
    assert len(trade.events) > 300
    assert repr(trade.events) == repr(expected.events)


def test_trades_on_no_common_grid_have_the_same_drawdown() -> None:
    # Two candles, 40 years and a second apart: a grid of seconds would not fit any memory.
    far = 40 * 365 * 86_400 + 1
    market = candles([0, 1, 1, 1, 1], [far, 0.5, 0.5, 0.4, 0.4])
    held = strategy(horizon_seconds=10**10)
    (run,) = simulate_many({"x": market}, {"x": [Call(1, 1, 0)]}, [held])
    metrics = run.metrics()
    assert metrics == run_metrics(simulate_reference(market, [Call(1, 1, 0)], held))
    # Bought at 1, marked 0.4 at the last close: a fall of 0.6 from a wealth of 1.
    assert metrics.max_drawdown == pytest.approx(0.6)


def test_gaps_that_leave_the_grid_have_the_same_drawdown() -> None:
    # Opens at 0, 60, 150 and 210: the closes lie on no multiple of 60 from the first.
    market = candles([0, 1, 1, 1, 1], [60, 1, 1, 0.5, 0.5], [150, 0.5, 0.9, 0.5, 0.8], [210, 0.8, 0.8, 0.8, 0.8])
    held = strategy()
    (run,) = simulate_many({"x": market}, {"x": [Call(1, 1, 0)]}, [held])
    assert run.metrics() == run_metrics(simulate_reference(market, [Call(1, 1, 0)], held))
    assert run.metrics().max_drawdown == pytest.approx(0.5)


def test_events_without_trace_are_refused_and_metrics_are_there() -> None:
    (run,) = simulate_many({"x": RISING}, {"x": [Call(1, 1, 0)]}, [strategy(exits=STOP_AND_TARGET)], trace=False)
    assert run.metrics().final_pnl == pytest.approx(-0.3)
    with pytest.raises(SimulationError, match="trace=True"):
        run.trades()
    with pytest.raises(SimulationError, match="trace=True"):
        run.events_table()


def test_keys_without_calls_or_candles_do_nothing() -> None:
    nothing = Candles.empty(60)
    (run,) = simulate_many({"x": RISING, "y": nothing}, {"y": [Call(1, 1, 0)]}, [strategy()])
    (trade,) = run.trades()["y"]
    assert trade.events[0].event_type is EventType.ENTRY_SKIPPED
    assert trade.events[0].metadata == {"reason": "no_candles"}
    assert run.metrics().skipped_count == 1
    (idle,) = simulate_many({"x": RISING}, {}, [strategy()])
    assert idle.trades() == {}
    assert idle.events_table().num_rows == 0
    assert idle.metrics() == run_metrics([])
    assert simulate_fast(RISING, [], strategy()) == []


def test_calls_without_candles_and_ids_used_twice_are_refused() -> None:
    with pytest.raises(SimulationError, match="'y' have no candles"):
        simulate_many({"x": RISING}, {"y": [Call(1, 1, 0)]}, [strategy()])
    with pytest.raises(SimulationError, match="unique ids"):
        simulate_fast(RISING, [Call(1, 1, 0), Call(1, 1, 60)], strategy())


def test_one_call_id_may_appear_on_two_tokens() -> None:
    (run,) = simulate_many({"a": RISING, "b": RISING}, {"a": [Call(1, 1, 0)], "b": [Call(1, 1, 0)]}, [strategy()])
    assert run.events_table()["call_id"].to_pylist() == [1, 1, 1, 1]
    assert run.events_table()["seq"].to_pylist() == [0, 1, 0, 1]


def test_exit_calls_act_on_trades_of_their_own_caller_and_token_only() -> None:
    flat = candles(*[[60 * k, 1, 1, 1, 1] for k in range(5)])
    leaving = strategy(exits={"on_exit_call": True})
    exit_call = Call(3, 1, 60, SignalType.EXIT)
    (run,) = simulate_many(
        {"a": flat, "b": flat}, {"a": [Call(1, 1, 0), Call(2, 2, 0), exit_call], "b": [Call(4, 1, 0)]}, [leaving]
    )
    done_at = {trade.call_id: trade.done_at for trades in run.trades().values() for trade in trades}
    # Caller 1 leaves token a at the open at 60; the others stay to the last close, 300.
    assert done_at == {1: 60, 2: 300, 4: 300}


def test_scores_do_not_depend_on_threads_and_follow_the_order_of_the_strategies() -> None:
    prices = np.exp(np.cumsum(np.random.default_rng(5).normal(0, 0.02, 500)))
    market = candles(*[[60 * k, p, p * 1.01, p * 0.99, p] for k, p in enumerate(prices.tolist())])
    markets = PreparedMarkets({"x": market}, {"x": [Call(k, 1, 600 * k) for k in range(20)]})
    searched = [strategy(exits={"stop_loss": {"initial": 0.01 * k}}) for k in range(1, 30)]
    scores = score_many(markets, searched)
    assert scores == score_many(markets, searched, threads=3)
    expected = simulate_reference(market, markets.calls, searched[7])
    assert scores[7] == run_metrics(expected)


@pytest.mark.parametrize("overlap", ["independent", "skip", "scale_in"])
@pytest.mark.parametrize("rows_per_call", [1, 12])
def test_pieces_of_calls_change_nothing_whoever_takes_them_and_however_often_they_get_rows(
    overlap: str, rows_per_call: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(simulation_work, "CALLS_PER_PIECE", 2)
    monkeypatch.setattr(simulation_work, "ROWS_PER_CALL", rows_per_call)
    numbers = np.random.default_rng(7)
    tokens = {}
    for key in ("a", "b", "c"):
        prices = np.exp(np.cumsum(numbers.normal(0, 0.02, 600))).tolist()
        tokens[key] = candles(*[[60 * k, p, p * 1.02, p * 0.98, p] for k, p in enumerate(prices)])
    kinds = [SignalType.ENTRY, SignalType.ENTRY, SignalType.SCALE_IN, SignalType.EXIT]
    calls = {
        key: [Call(k, k % 3, int(at), kinds[k % 4]) for k, at in enumerate(numbers.integers(0, 36_000, 40))]
        for key in tokens
    }
    asked = strategy(
        overlap=overlap,
        exits={
            "targets": [{"multiple": 1.05, "size": 0.5}],
            "trailing": {"activate_at": 0, "distance": 0.05},
            "on_exit_call": True,
        },
        re_entry={"after": ["trailing", "target"], "retrace": 0.02, "size": 0.5, "max_count": 5},
    )
    (expected,) = simulate_many(tokens, calls, [asked])
    trades = [trade for key in tokens for trade in simulate_reference(tokens[key], calls[key], asked)]
    # As text: NaN is the same as NaN.
    rows = repr(events_to_arrow(trades).to_pylist())
    assert repr(expected.events_table().to_pylist()) == rows
    for threads in (2, 5):
        (run,) = simulate_many(tokens, calls, [asked], threads=threads)
        assert repr(run.events_table().to_pylist()) == rows
        assert run.metrics() == expected.metrics()
        assert (run.trades_of == expected.trades_of).all()
        (scored,) = simulate_many(tokens, calls, [asked], threads=threads, trace=False)
        assert scored.metrics() == expected.metrics()


def test_runs_are_made_as_they_are_asked_for() -> None:
    made = []

    def strategies() -> Iterator[Strategy]:
        for k in range(100):
            made.append(k)
            yield strategy(exits={"stop_loss": {"initial": 0.005 * (k + 1)}})

    runs = iterate_runs(PreparedMarkets({"x": RISING}, {"x": [Call(1, 1, 0)]}), strategies(), threads=2)
    next(runs)
    next(runs)
    assert made == [0, 1]


def test_candles_in_pieces_of_other_arrays_are_read_as_they_are() -> None:
    table = np.array([[0, 1, 1, 1, 1, 1], [60, 1, 2.5, 0.5, 2, 1]], dtype=np.float64)
    # Columns of a row-major table are not contiguous.
    strided = Candles(60, table[:, 0].astype(np.int64), *(table[:, k] for k in range(1, 6)))
    asked = [Call(1, 1, 0)]
    found = simulate_fast(strided, asked, strategy(exits=STOP_AND_TARGET))
    assert events_to_arrow(found).equals(events_to_arrow(simulate_fast(RISING, asked, strategy(exits=STOP_AND_TARGET))))
