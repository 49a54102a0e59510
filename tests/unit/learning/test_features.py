"""Features, worked out by hand."""

import math
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from quantbot_pipeline.engine.calls import Call as EngineCall
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.engine.reference import simulate_reference
from quantbot_pipeline.errors import InputError, LearningError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.learning.call_features import FeatureCall
from quantbot_pipeline.learning.feature_registry import (
    FAMILIES,
    FEATURE_NAMES,
    FEATURES,
    INDICATOR_FEATURES,
    names_from,
)
from quantbot_pipeline.learning.features import build_features
from quantbot_pipeline.learning.hindsight import read_attribute_features, refuse_outcome_columns
from quantbot_pipeline.learning.past_trades import PastTrade
from quantbot_pipeline.strategy.indicator_catalogue import indicator_label
from quantbot_pipeline.strategy.model import parse_strategy

MIDNIGHT = 1_704_067_200  # 2024-01-01 00:00 UTC
HOUR = 3600
BONK, WIF = TokenKey("binance", "BONKUSDT"), TokenKey("binance", "WIFUSDT")


def hourly(
    closes: dict[int, float], *, highs: dict[int, float] | None = None, volumes: dict[int, float] | None = None
) -> Candles:
    """Return one-hour candles that open `hour` hours after midnight; the others are missing."""
    hours = sorted(closes)
    close = np.array([closes[hour] for hour in hours])
    high = np.array([max(closes[hour], (highs or {}).get(hour, 0.0)) for hour in hours])
    volume = np.array([(volumes or {}).get(hour, 1.0) for hour in hours])
    timestamp = np.array([MIDNIGHT + hour * HOUR for hour in hours], dtype=np.int64)
    return Candles(HOUR, timestamp, close, high, close, close, volume).validate()


def call(call_id: int, hour: float, *, token: TokenKey = BONK, caller_id: int = 1, **alert: float) -> FeatureCall:
    return FeatureCall(
        call_id,
        token,
        caller_id,
        MIDNIGHT + round(hour * HOUR),
        alert.get("price"),
        alert.get("market_cap"),
    )


def row(table: pa.Table, call_id: int = 1) -> dict[str, Any]:
    (found,) = [found for found in table.to_pylist() if found["call_id"] == call_id]
    return dict(found)


def test_table_has_one_row_per_call_in_order_and_one_float_column_per_feature() -> None:
    features = build_features([call(7, 5), call(3, 2)], {}, [])

    assert features.column("call_id").to_pylist() == [7, 3]
    assert features.column_names == ["call_id", *FEATURE_NAMES]
    assert set(features.schema.types[1:]) == {pa.float64()}
    assert build_features([], {}, []).num_rows == 0


def test_every_feature_documents_itself() -> None:
    assert len(set(FEATURE_NAMES)) == len(FEATURES)
    for feature in FEATURES:
        assert feature.meaning.endswith(".")
        assert feature.unit
        assert feature.dtype == "float64"
        assert feature.unknown
        assert feature.sources
        assert feature.family in FAMILIES
    refuse_outcome_columns(FEATURE_NAMES)


def test_candle_is_known_from_the_second_it_closes() -> None:
    candles = {BONK: hourly({0: 1.0, 1: 2.0, 2: 8.0})}

    # The candle of hour 2 closes at hour 3.
    before = row(build_features([call(1, 3 - 1 / HOUR)], candles, []))
    at = row(build_features([call(1, 3)], candles, []))

    assert before["return_1h"] == pytest.approx(2.0 / 1.0 - 1)  # hour 1's close over hour 0's
    assert at["return_1h"] == pytest.approx(8.0 / 2.0 - 1)
    assert before["last_candle_age_seconds"] == HOUR - 1
    assert at["last_candle_age_seconds"] == 0


def test_returns_compare_with_the_close_known_that_long_before() -> None:
    # Closes 1 … 40 at hours 0 … 39; the signal at hour 30 knows the close of hour 29, which is 30.
    # Known 1 h before: 29, 6 h: 24, 24 h: 6.
    features = row(build_features([call(1, 30)], {BONK: hourly({h: h + 1.0 for h in range(40)})}, []))

    assert features["return_1h"] == pytest.approx(30 / 29 - 1)
    assert features["return_6h"] == pytest.approx(30 / 24 - 1)
    assert features["return_24h"] == pytest.approx(30 / 6 - 1)


def test_volatility_is_the_root_of_summed_squared_log_returns() -> None:
    # Closes in hours 0 … 3 are 1, 2, 1, 2: three log returns of ln 2.
    features = row(build_features([call(1, 4)], {BONK: hourly({0: 1.0, 1: 2.0, 2: 1.0, 3: 2.0})}, []))

    assert features["volatility_24h"] == pytest.approx(math.sqrt(3) * math.log(2))


def test_volatility_leaves_out_what_closed_more_than_a_day_ago() -> None:
    # Signal at hour 26: candles that closed after hour 2 opened at hours 2 … 25. The wild hour 1 is out;
    # hour 2's return, from 100 back to 1, is in: it happened within the day.
    closes = dict.fromkeys(range(26), 1.0) | {1: 100.0}

    features = row(build_features([call(1, 26)], {BONK: hourly(closes)}, []))

    assert features["volatility_24h"] == pytest.approx(math.log(100))


def test_quote_volume_is_summed_and_compared_with_the_day_before() -> None:
    # Price 2, volume 1: the last 24 candles trade 48, the 24 before 24 · 2 · 3 = 144.
    volumes = {h: 3.0 if h < 24 else 1.0 for h in range(48)}
    candles = {BONK: hourly(dict.fromkeys(range(48), 2.0), volumes=volumes)}

    features = row(build_features([call(1, 48)], candles, []))

    assert features["log_quote_volume_24h"] == pytest.approx(math.log(1 + 48))
    assert features["quote_volume_change_24h"] == pytest.approx(math.log(48 / 144))


def test_quiet_day_behind_a_loud_past_keeps_its_volume() -> None:
    """A difference of two running sums would lose 24 units of volume beside 1e20."""
    candles = {BONK: hourly(dict.fromkeys(range(48), 1.0), volumes={0: 1e20})}

    features = row(build_features([call(1, 48)], candles, []))

    assert features["log_quote_volume_24h"] == pytest.approx(math.log(1 + 24))


def test_drawdown_is_measured_from_the_highest_high_of_the_window() -> None:
    # Signal at hour 30. High 10 at hour 3 closed 26 h ago: outside 24 h, inside 7 d. High 5 at hour 20.
    candles = {BONK: hourly(dict.fromkeys(range(30), 2.0), highs={3: 10.0, 20: 5.0})}

    features = row(build_features([call(1, 30)], candles, []))

    assert features["drawdown_24h"] == pytest.approx(1 - 2 / 5)
    assert features["drawdown_7d"] == pytest.approx(1 - 2 / 10)


def test_age_and_missing_candles_count_from_the_first_candle() -> None:
    # First candle at hour 2; at 10:30, 8.5 h later, the 8 of hours 2 … 9 could have closed: 4, 5, 6 and 9
    # are missing.
    candles = {BONK: hourly(dict.fromkeys((2, 3, 7, 8), 1.0))}

    features = row(build_features([call(1, 10.5)], candles, []))

    assert features["token_age_hours"] == 8.5
    assert features["missing_candle_share_24h"] == pytest.approx(1 - 4 / 8)
    assert features["last_candle_age_seconds"] == 1.5 * HOUR


def test_missing_candles_are_those_of_the_last_day_only() -> None:
    # 24 candles fit into the last day; hours 10 … 15 (6 of them) are missing, hours 1 … 3 too, but before.
    present = {h: 1.0 for h in range(34) if not 1 <= h <= 3 and not 10 <= h <= 15}

    features = row(build_features([call(1, 34)], {BONK: hourly(present)}, []))

    assert features["missing_candle_share_24h"] == pytest.approx(6 / 24)


def test_token_without_closed_candles_has_no_candle_features() -> None:
    calls = [call(1, 0.5, price=2.0), call(2, 5, token=WIF, price=2.0)]

    features = build_features(calls, {BONK: hourly({0: 1.0, 1: 1.0}), WIF: Candles.empty(60)}, [])

    for call_id in (1, 2):
        found = row(features, call_id)
        assert [name for name in names_from("candles") if not math.isnan(found[name])] == []


def test_caller_record_counts_trades_that_were_known_at_the_signal() -> None:
    def trade(call_id: int, hour: int, pnl: float | None, caller_id: int = 1) -> PastTrade:
        return PastTrade(call_id, caller_id, "basic", MIDNIGHT, MIDNIGHT + hour * HOUR, pnl)

    trades = [
        trade(10, 1, 0.5),
        trade(11, 2, -0.1),
        trade(12, 3, 0.2),  # done in the very second of the signal: known
        trade(13, 4, 9.0),  # later
        trade(14, 1, None),  # never bought
        trade(15, 1, 5.0, caller_id=2),
    ]

    features = build_features([call(1, 3), call(2, 0), call(3, 3, caller_id=3)], {}, trades)

    assert row(features, 1)["caller_finished_trades"] == 3
    assert row(features, 1)["caller_win_rate"] == pytest.approx(2 / 3)
    assert row(features, 1)["caller_mean_pnl"] == pytest.approx(0.6 / 3)
    for nothing_known in (2, 3):
        assert row(features, nothing_known)["caller_finished_trades"] == 0
        assert math.isnan(row(features, nothing_known)["caller_win_rate"])
        assert math.isnan(row(features, nothing_known)["caller_mean_pnl"])


def test_mean_pnl_is_the_same_in_whatever_order_trades_of_one_second_are_given() -> None:
    # In floats (0.1 + 0.2) + 0.3 is 0.6000000000000001 and (0.3 + 0.2) + 0.1 is 0.6.
    trades = [PastTrade(k, 1, "basic", MIDNIGHT, MIDNIGHT, pnl) for k, pnl in enumerate([0.1, 0.2, 0.3])]

    means = {row(build_features([call(1, 1)], {}, order))["caller_mean_pnl"] for order in (trades, trades[::-1])}

    assert len(means) == 1


def test_trades_are_read_from_a_table_with_timestamps_too() -> None:
    known_at = pa.array([MIDNIGHT * 1000], pa.timestamp("ms", "UTC"))
    trades = pa.table(
        {
            "call_id": [10],
            "caller_id": [1],
            "strategy": ["basic"],
            "signal_timestamp": known_at,
            "known_at": known_at,
            "pnl": [0.5],
            "more": ["is left alone"],
        }
    )

    assert row(build_features([call(1, 0)], {}, trades))["caller_mean_pnl"] == 0.5


def test_activity_counts_strictly_earlier_calls_of_the_caller() -> None:
    # At hour 200: hour 176 is exactly 24 h and hour 32 exactly 168 h before, both in; 175 is only in the
    # week, 31 in none; the second call of the same second does not count.
    hours = [31, 32, 175, 176, 199, 200]
    calls = [call(k, hour, token=WIF) for k, hour in enumerate(hours)]
    calls += [call(8, 200), call(9, 199, caller_id=2)]

    features = row(build_features(calls, {}, []), 5)

    assert features["caller_calls_24h"] == 2
    assert features["caller_calls_7d"] == 4


def test_crowd_counts_other_callers_once_and_time_since_the_first_call() -> None:
    calls = [
        call(1, 1, caller_id=1),
        call(2, 2, caller_id=2),
        call(3, 3, caller_id=2),
        call(4, 4, caller_id=3),
        call(5, 4, caller_id=1),
        call(6, 4, caller_id=1, token=WIF),
    ]

    features = build_features(calls, {}, [])

    # Call 4 and call 5 share a second: neither counts for the other.
    others = {k: row(features, k)["other_callers_on_token"] for k in range(1, 7)}
    since = {k: row(features, k)["hours_since_first_call_on_token"] for k in range(1, 7)}
    assert others == {1: 0, 2: 1, 3: 1, 4: 2, 5: 1, 6: 0}
    assert since == {1: 0, 2: 1, 3: 2, 4: 3, 5: 3, 6: 0}


def test_alert_price_and_market_cap_are_logarithms() -> None:
    candles = {BONK: hourly({0: 4.0})}

    features = row(build_features([call(1, 1, price=2.0, market_cap=1e6)], candles, []))

    assert features["log_alert_price"] == pytest.approx(math.log(2))
    assert features["alert_price_over_last_close"] == pytest.approx(math.log(2 / 4))
    assert features["log_market_cap"] == pytest.approx(math.log(1e6))


@pytest.mark.parametrize("price", [0.0, -1.0, math.inf, math.nan])
def test_alert_price_that_can_not_be_one_is_unknown(price: float) -> None:
    features = row(build_features([call(1, 1, price=price, market_cap=price)], {BONK: hourly({0: 4.0})}, []))

    for name in ("log_alert_price", "alert_price_over_last_close", "log_market_cap"):
        assert math.isnan(features[name])


def test_time_of_day_is_a_point_on_a_circle() -> None:
    features = build_features([call(1, 6), call(2, 24 + 12)], {}, [])

    assert row(features, 1)["hour_sin"] == pytest.approx(1)
    assert row(features, 1)["hour_cos"] == pytest.approx(0, abs=1e-12)
    assert row(features, 2)["hour_cos"] == pytest.approx(-1)


def test_call_that_is_given_twice_is_refused() -> None:
    with pytest.raises(LearningError, match="call 4 is given 2 times"):
        build_features([call(4, 1), call(5, 1), call(4, 2)], {}, [])


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda table: table.drop_columns(["known_at"]), "lacks known_at"),
        (lambda table: table.set_column(4, "known_at", pa.array([None], pa.int64())), "holds 1 nulls"),
        (lambda table: table.set_column(4, "known_at", pa.array(["soon"])), "'known_at' of past trades is not int64"),
    ],
)
def test_table_that_holds_no_past_trades_is_refused(change: Any, message: str) -> None:
    trades = pa.table(
        {"call_id": [1], "caller_id": [1], "strategy": ["s"], "signal_timestamp": [1], "known_at": [1], "pnl": [0.1]}
    )

    with pytest.raises(LearningError, match=message):
        build_features([call(1, 1)], {}, change(trades))


@pytest.mark.parametrize("name", ["max_gain", "gains_count", "pnl", "Max Gain", "final_pnl", "future_return", "label"])
def test_columns_known_only_afterwards_are_refused_by_name(name: str) -> None:
    with pytest.raises(LearningError, match=f"columns {name} are known only after the call"):
        refuse_outcome_columns(["return_1h", name])


@pytest.mark.parametrize(
    "name",
    [
        *("x_multiple", "ath", "ATH", "peak", "PNL_Multiplier", "Max_Multiplier_Reached", "TimeToAth_Minutes"),
        *("Return_SOL", "is_win", "targetsHit", "exit_price", "final price", "maxgain", "attribute:max_gain", "rug"),
    ],
)
def test_columns_of_alert_files_that_tell_the_outcome_are_refused(name: str) -> None:
    with pytest.raises(LearningError, match="are known only after the call"):
        refuse_outcome_columns([name])
    with pytest.raises(InputError, match="tells what became of the call"):
        read_attribute_features([f"attribute:{name.removeprefix('attribute:')}"])


# Columns of real alert files that were known at the alert.
STATED = (
    "score",
    "initial_mc",
    "call_mc",
    "supply",
    "top_holders_percent",
    "lp_burned",
    "hour_of_day",
    "reserve_in_usd",
)


def test_columns_that_were_stated_at_the_alert_are_allowed_by_name() -> None:
    names = [f"attribute:{column}" for column in STATED]
    assert read_attribute_features([*names, names[0]]) == tuple(sorted(names))
    for wrong in ("score", "attribute:", "attribute:a\nb", "feature:score"):
        with pytest.raises(InputError, match="allowed is attribute:<column>"):
            read_attribute_features([wrong])


def test_user_columns_become_features_and_are_unknown_where_a_call_has_none() -> None:
    calls = [
        FeatureCall(1, BONK, 1, MIDNIGHT, None, None, {"score": 3.5, "other": 1.0}),
        FeatureCall(2, BONK, 1, MIDNIGHT, None, None),
    ]

    features = build_features(calls, {}, [], attributes=["attribute:score"])

    assert features.column_names[-1] == "attribute:score"
    assert features["attribute:score"].to_pylist()[0] == 3.5
    assert math.isnan(features["attribute:score"].to_pylist()[1])


def test_return_shorter_than_a_candle_is_unknown() -> None:
    features = row(build_features([call(1, 30)], {BONK: hourly(dict.fromkeys(range(30), 1.0))}, []))

    assert math.isnan(features["return_5m"])
    assert math.isnan(features["return_15m"])
    assert features["return_1h"] == 0


def test_shrunk_record_lies_between_the_callers_own_and_everyones() -> None:
    # Caller 1 won 2 of 2 (mean 0.5), everyone 2 of 4 (mean 0.1): (2 + 10 · 0.5) / 12, (1 + 10 · 0.1) / 12.
    pnl = {10: (1, 0.4), 11: (1, 0.6), 12: (2, -0.3), 13: (2, -0.3)}
    trades = [PastTrade(k, caller, "basic", MIDNIGHT, MIDNIGHT, value) for k, (caller, value) in pnl.items()]

    features = build_features([call(1, 1), call(2, 1, caller_id=3)], {}, trades)

    assert row(features, 1)["caller_win_rate_shrunk"] == pytest.approx(7 / 12)
    assert row(features, 1)["caller_mean_pnl_shrunk"] == pytest.approx(2 / 12)
    # A caller without trades has everyone's record.
    assert row(features, 2)["caller_win_rate_shrunk"] == row(features, 2)["everyone_win_rate"] == pytest.approx(0.5)
    assert row(features, 2)["caller_mean_pnl_shrunk"] == pytest.approx(0.1)
    assert math.isnan(row(features, 2)["caller_recent_mean_pnl"])


def test_recent_trades_are_the_last_ten_that_are_known() -> None:
    # Trade k is known at hour k and earned k; at hour 12 the last ten are those of hours 3 … 12, mean 7.5.
    trades = [PastTrade(k, 1, "basic", MIDNIGHT, MIDNIGHT + k * HOUR, float(k)) for k in range(20)]

    features = build_features([call(1, 12), call(2, 1)], {}, trades)

    assert row(features, 1)["caller_recent_mean_pnl"] == pytest.approx(7.5)
    assert row(features, 2)["caller_recent_mean_pnl"] == pytest.approx(0.5)


def test_activity_of_a_caller_is_counted_from_its_first_call() -> None:
    # Calls at hours 0, 12, 48: the third has two before it, within two days, the last 36 h ago.
    features = row(build_features([call(1, 0), call(2, 12), call(3, 48)], {}, []), 3)

    assert features["caller_calls_before"] == 2
    assert features["caller_days_since_first_call"] == 2
    assert features["caller_calls_per_day"] == 1
    assert features["caller_hours_since_last_call"] == 36
    # Within the first day, the day is whole.
    second = row(build_features([call(1, 0), call(2, 12), call(3, 48)], {}, []), 2)
    assert second["caller_calls_per_day"] == 1


def test_crowd_says_how_soon_callers_followed_each_other() -> None:
    # First calls by callers 1, 2 and 3 at hours 0, 1 and 4; caller 1 calls again at hour 2.
    calls = [call(1, 0), call(2, 1, caller_id=2), call(3, 2), call(4, 4, caller_id=3), call(5, 4.5, caller_id=4)]
    calls.append(call(6, 4.5, token=WIF))

    features = build_features(calls, {}, [])

    last = row(features, 5)
    assert last["hours_between_callers"] == 2  # (4 - 0) / 2
    assert last["hours_since_last_call_on_token"] == 0.5
    assert (last["calls_on_token_1h"], last["calls_on_token_24h"], last["all_calls_1h"]) == (1, 4, 1)
    assert row(features, 3)["caller_calls_on_token"] == 1
    assert row(features, 3)["hours_between_callers"] == 1
    assert math.isnan(row(features, 2)["hours_between_callers"])
    assert math.isnan(row(features, 1)["hours_since_last_call_on_token"])


def test_week_begins_on_monday() -> None:
    # 2024-01-01 was a Monday: at its midnight the angle is 0, half a week later pi.
    features = build_features([call(1, 0), call(2, 84)], {}, [])

    assert (row(features, 1)["weekday_sin"], row(features, 1)["weekday_cos"]) == (0, 1)
    assert row(features, 2)["weekday_cos"] == pytest.approx(-1)


def test_supply_is_the_market_cap_over_the_price() -> None:
    features = row(build_features([call(1, 1, price=0.5, market_cap=1e6)], {}, []))

    assert features["log_stated_supply"] == pytest.approx(math.log(2e6))


def test_idle_candles_and_the_low_count_within_their_windows() -> None:
    # 30 hourly candles at 2, of which hours 6 … 29 closed in the last day; 6 of them traded nothing.
    volumes = dict.fromkeys((1, 2, 10, 11, 12, 13, 14, 15), 0.0)
    features = row(build_features([call(1, 30)], {BONK: hourly(dict.fromkeys(range(30), 2.0), volumes=volumes)}, []))

    assert features["idle_candle_share_24h"] == pytest.approx(6 / 24)
    assert features["rise_from_low_24h"] == 0


def test_last_hours_volume_is_compared_with_the_days_hourly_mean() -> None:
    # 24 hourly candles at price 1: 23 with volume 1, the last one with 9: mean 32 / 24 an hour.
    volumes = {23: 9.0}
    features = row(build_features([call(1, 24)], {BONK: hourly(dict.fromkeys(range(24), 1.0), volumes=volumes)}, []))

    assert features["log_quote_volume_1h"] == pytest.approx(math.log(10))
    assert features["quote_volume_change_1h"] == pytest.approx(math.log(9 / (32 / 24)))


def test_finest_interval_that_is_alive_is_read() -> None:
    """A finer series that begins only later must not take the candles from calls before it."""
    fine_open = MIDNIGHT + 20 * HOUR + 60 * np.arange(60, dtype=np.int64)
    fine = Candles(60, fine_open, *([np.full(60, 3.0)] * 4), np.ones(60)).validate()
    candles = {BONK: [hourly(dict.fromkeys(range(60), 1.0)), fine]}
    calls = [call(1, 10), call(2, 20.5), call(3, 24), call(4, 46)]

    features = build_features(calls, candles, [])

    # At hour 46 the fine series has been silent for a day and more.
    ages = {k: row(features, k)["last_candle_age_seconds"] for k in range(1, 5)}
    assert ages == {1: 0, 2: 0, 3: 3 * HOUR, 4: 0}
    assert [row(features, k)["token_age_hours"] for k in range(1, 5)] == [10, 20.5, 24, 46]


def test_indicators_are_those_that_a_strategy_sees_at_the_call() -> None:
    """The event of a trade that a call opens reports its strategy's indicators at the last closed candle."""
    generator = np.random.default_rng(3)
    n = 2_000
    close = np.exp(np.cumsum(0.02 * generator.normal(size=n)))
    timestamp = MIDNIGHT + 300 * np.arange(n, dtype=np.int64)
    candles = Candles(300, timestamp, close, close * 1.01, close * 0.98, close, generator.lognormal(size=n)).validate()
    operands = []
    for feature in INDICATOR_FEATURES:
        field = {} if feature.output == "value" else {"field": feature.output}
        params = {name: value if name == "deviations" else int(value) for name, value in feature.parameters}
        operands.append({"indicator": feature.indicator, "params": params, **field})
    strategy = parse_strategy(
        {
            "name": "all of them",
            "entry": {"type": "immediate"},
            "exits": {"when": {"all": [{"left": operand, "op": ">", "right": -1e9} for operand in operands]}},
            "horizon_seconds": 600,
        }
    )
    signals = [int(timestamp[k]) for k in (60, 400, 1_000, 1_999)]
    trades = simulate_reference(candles, [EngineCall(k, 1, s) for k, s in enumerate(signals)], strategy)
    calls = [FeatureCall(k, BONK, 1, s, None, None) for k, s in enumerate(signals)]

    features = build_features(calls, {BONK: candles}, [])

    for trade in trades:
        seen = trade.events[0].indicators
        last_close = close[np.searchsorted(timestamp + 300, signals[trade.call_id], side="right") - 1]
        for feature in INDICATOR_FEATURES:
            value = seen[indicator_label(feature.indicator, dict(feature.parameters), feature.output)]
            expected = {
                "value": value,
                "over_close": value / last_close,
                "close_over": last_close / value - 1,
            }[feature.form]
            found = row(features, trade.call_id)[feature.name]
            assert found == pytest.approx(expected, rel=1e-9, abs=1e-12, nan_ok=True), feature.name
    assert not any(math.isnan(row(features, 3)[feature.name]) for feature in INDICATOR_FEATURES)


def test_age_counts_from_candles_that_are_closed() -> None:
    """A coarser candle that opened before the first fine one says nothing until it closes."""
    opens = MIDNIGHT + 40 * 60 + 60 * np.arange(60, dtype=np.int64)
    fine = Candles(60, opens, *([np.full(60, 3.0)] * 4), np.ones(60)).validate()
    candles = {BONK: [hourly({0: 1.0, 1: 1.0}), fine]}

    features = build_features([call(1, 0.75), call(2, 1)], candles, [])

    assert row(features, 1)["token_age_hours"] == pytest.approx(5 / 60)
    assert row(features, 2)["token_age_hours"] == 1
