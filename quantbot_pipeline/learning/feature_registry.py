"""Which features there are: name, meaning, unit, source and what an unknown value means. Light to import.

The numbers are computed in `call_features` (callers, crowd, alert, clock) and `candle_features` (candles,
indicators). A feature is what this table says it is: `docs/features.md` is made of it, every test of look-ahead goes
through it, and a column that is not in it is no feature.
"""

from dataclasses import dataclass
from typing import Literal

FEATURE_SET = "call_v2"
"""Version of this set of features; a change of any meaning below needs a new one."""

ATTRIBUTE_PREFIX = "attribute:"
"""Begins the name of a feature that a user takes from the alerts' own columns."""

Family = Literal["candles", "indicators", "caller", "crowd", "alert", "clock"]
Source = Literal["candles", "trades", "calls", "alert", "signal time"]

FAMILIES: dict[Family, str] = {
    "candles": "The candles before the call: those that were closed at the signal (open time + interval <= signal).",
    "indicators": (
        "Indicators at the last candle closed at the signal, by the engine's own kernels, with the parameters that a "
        "strategy would name. They read as many candles as the engine declares for their warm-up, so they equal "
        "what a strategy sees."
    ),
    "caller": (
        "The caller's own record up to then, from trades of one strategy that were over and known at the signal, "
        "and from earlier calls."
    ),
    "crowd": "Who else called, and how soon; calls of the same second do not count, as none of them came first.",
    "alert": "What the alert itself states; nothing that a later message or import says.",
    "clock": "When the call was made, UTC, as points on a circle: 23:59 is next to 00:00.",
}
"""Families of features, in the order of the page that documents them."""

PRIOR_TRADES = 10
"""How many trades at the mean of all callers a caller's shrunk record begins with."""

RECENT_TRADES = 10
"""How many of a caller's last known trades are its recent ones."""


@dataclass(frozen=True, slots=True)
class FeatureSpec:
    """What a feature is.

    Attributes:
        name: Column name.
        meaning: One sentence.
        unit: Unit of the values.
        unknown: When the value is NaN; `never` where it is always known.
        family: What it belongs with.
        sources: What it is computed from.
        dtype: Type of the column.
    """

    name: str
    meaning: str
    unit: str
    unknown: str
    family: Family
    sources: tuple[Source, ...]
    dtype: str = "float64"


@dataclass(frozen=True, slots=True)
class IndicatorFeature:
    """An indicator's output as a feature.

    Attributes:
        name: Name of the feature.
        indicator: Name in the catalogue of indicators.
        parameters: All parameters of the indicator.
        output: Which of its outputs.
        form: `value` as it is, `over_close` divided by the close, `close_over` the close over it, less 1.
    """

    name: str
    indicator: str
    parameters: tuple[tuple[str, float], ...]
    output: str
    form: Literal["value", "over_close", "close_over"]


_MACD = (("fast", 12.0), ("slow", 26.0), ("signal", 9.0))
_BANDS = (("period", 20.0), ("deviations", 2.0))

INDICATOR_FEATURES: tuple[IndicatorFeature, ...] = (
    IndicatorFeature("rsi_14", "rsi", (("period", 14.0),), "value", "value"),
    IndicatorFeature("ema_20_distance", "ema", (("period", 20.0),), "value", "close_over"),
    IndicatorFeature("ema_50_distance", "ema", (("period", 50.0),), "value", "close_over"),
    IndicatorFeature("vwma_20_distance", "vwma", (("period", 20.0),), "value", "close_over"),
    IndicatorFeature("atr_14_share", "atr", (("period", 14.0),), "value", "over_close"),
    IndicatorFeature("bollinger_position", "bbands", _BANDS, "percent_b", "value"),
    IndicatorFeature("bollinger_bandwidth", "bbands", _BANDS, "bandwidth", "value"),
    IndicatorFeature("macd_line_share", "macd", _MACD, "line", "over_close"),
    IndicatorFeature("macd_histogram_share", "macd", _MACD, "histogram", "over_close"),
)
"""Features that are indicators, and how they are made of them."""

RETURN_SECONDS: dict[str, int] = {
    "return_5m": 300,
    "return_15m": 900,
    "return_1h": 3_600,
    "return_6h": 21_600,
    "return_24h": 86_400,
    "return_7d": 604_800,
}
"""Features that are returns, and how far they look back."""


def _return(name: str, span: str) -> FeatureSpec:
    return FeatureSpec(
        name,
        f"Last known close over the close that was known {span} before the signal, less 1.",
        "fraction",
        f"one of them does not exist, or candles are longer than {span}",
        "candles",
        ("candles",),
    )


def _candles(name: str, meaning: str, unit: str, unknown: str) -> FeatureSpec:
    return FeatureSpec(name, meaning, unit, unknown, "candles", ("candles",))


def _indicator(name: str, meaning: str, unit: str, unknown: str = "too few candles are closed") -> FeatureSpec:
    return FeatureSpec(name, meaning, unit, unknown, "indicators", ("candles",))


def _record(name: str, meaning: str, unit: str, unknown: str) -> FeatureSpec:
    return FeatureSpec(name, meaning, unit, unknown, "caller", ("trades",))


def _activity(name: str, meaning: str, unit: str, unknown: str) -> FeatureSpec:
    return FeatureSpec(name, meaning, unit, unknown, "caller", ("calls",))


def _crowd(name: str, meaning: str, unit: str, unknown: str) -> FeatureSpec:
    return FeatureSpec(name, meaning, unit, unknown, "crowd", ("calls",))


def _alert(name: str, meaning: str, unit: str, unknown: str, *sources: Source) -> FeatureSpec:
    return FeatureSpec(name, meaning, unit, unknown, "alert", ("alert", *sources))


def _clock(name: str, meaning: str) -> FeatureSpec:
    return FeatureSpec(name, meaning, "-1 to 1", "never", "clock", ("signal time",))


_NO_CANDLE = "no candle closed in that time"
_NO_TRADE = "no trade of the caller is known"
_NO_TRADE_OF_ANYONE = "no trade of anyone is known"

FEATURES: tuple[FeatureSpec, ...] = (
    _return("return_5m", "5 min"),
    _return("return_15m", "15 min"),
    _return("return_1h", "1 h"),
    _return("return_6h", "6 h"),
    _return("return_24h", "24 h"),
    _return("return_7d", "7 days"),
    _candles(
        "volatility_6h",
        "Root of the sum of squared log returns, close to close, of the candles that closed in the 6 h before.",
        "log return per 6 h",
        "fewer than two returns",
    ),
    _candles("volatility_24h", "The same over 24 h.", "log return per day", "fewer than two returns"),
    _candles(
        "log_quote_volume_1h",
        "ln(1 + sum of volume times close) of the candles that closed in the hour before.",
        "ln quote currency",
        "no candle is closed, or candles are longer than 1 h",
    ),
    _candles(
        "log_quote_volume_24h",
        "The same over 24 h.",
        "ln quote currency",
        "no candle is closed",
    ),
    _candles(
        "quote_volume_change_1h",
        "ln of the quote volume of the last hour over a 24th of that of the last 24 h.",
        "ln ratio",
        "either is 0, or candles are longer than 1 h",
    ),
    _candles(
        "quote_volume_change_24h",
        "ln of the quote volume of the last 24 h over that of the 24 h before.",
        "ln ratio",
        "either is 0",
    ),
    _candles(
        "drawdown_24h",
        "1 - last close over the highest high of the candles that closed in the 24 h before.",
        "fraction",
        _NO_CANDLE,
    ),
    _candles("drawdown_7d", "The same over 7 days.", "fraction", _NO_CANDLE),
    _candles(
        "rise_from_low_24h",
        "Last close over the lowest low of the candles that closed in the 24 h before, less 1.",
        "fraction",
        _NO_CANDLE,
    ),
    _candles("rise_from_low_7d", "The same over 7 days.", "fraction", _NO_CANDLE),
    _candles(
        "idle_candle_share_24h",
        "Share without any volume of the candles that closed in the 24 h before.",
        "fraction",
        _NO_CANDLE,
    ),
    _candles(
        "token_age_hours",
        "Time since the token's first candle opened, of any interval that has a closed candle.",
        "hours",
        "no candle is closed",
    ),
    _candles(
        "missing_candle_share_24h",
        "Share of candles that are absent among those that fit into the last 24 h, or into the age of the series if "
        "that is shorter.",
        "fraction",
        "no candle is closed, or none fits",
    ),
    _candles(
        "last_candle_age_seconds",
        "Time since the last known candle closed.",
        "seconds",
        "no candle is closed",
    ),
    _indicator("rsi_14", "Relative strength index of 14 candles.", "0 to 100"),
    _indicator("ema_20_distance", "Last close over the exponential average of 20 candles, less 1.", "fraction"),
    _indicator("ema_50_distance", "Last close over the exponential average of 50 candles, less 1.", "fraction"),
    _indicator(
        "vwma_20_distance",
        "Last close over the volume-weighted average of 20 candles, less 1.",
        "fraction",
        "too few candles are closed, or none of them has volume",
    ),
    _indicator("atr_14_share", "Average true range of 14 candles over the last close.", "fraction"),
    _indicator(
        "bollinger_position",
        "Where the last close lies between the lower (0) and the upper (1) band of 20 candles and 2 deviations.",
        "fraction of the bands' width",
        "too few candles are closed, or the bands have no width",
    ),
    _indicator("bollinger_bandwidth", "Width of these bands over their middle.", "fraction"),
    _indicator("macd_line_share", "MACD line (12, 26, 9) over the last close.", "fraction"),
    _indicator("macd_histogram_share", "MACD histogram (12, 26, 9) over the last close.", "fraction"),
    _record("caller_win_rate", "Share with pnl > 0 of the caller's known trades.", "fraction", _NO_TRADE),
    _record("caller_mean_pnl", "Mean pnl of the caller's known trades.", "fraction of capital", _NO_TRADE),
    _record(
        "caller_win_rate_shrunk",
        f"The caller's win rate as if {PRIOR_TRADES} trades at the win rate of all callers had come before.",
        "fraction",
        _NO_TRADE_OF_ANYONE,
    ),
    _record(
        "caller_mean_pnl_shrunk",
        f"The caller's mean pnl as if {PRIOR_TRADES} trades at the mean of all callers had come before.",
        "fraction of capital",
        _NO_TRADE_OF_ANYONE,
    ),
    _record(
        "caller_recent_mean_pnl",
        f"Mean pnl of the caller's last {RECENT_TRADES} known trades, or of all if there are fewer.",
        "fraction of capital",
        _NO_TRADE,
    ),
    _record("caller_finished_trades", "Number of the caller's known trades.", "count", "never"),
    _record("everyone_win_rate", "Share with pnl > 0 of all callers' known trades.", "fraction", _NO_TRADE_OF_ANYONE),
    _record("everyone_mean_pnl", "Mean pnl of all callers' known trades.", "fraction of capital", _NO_TRADE_OF_ANYONE),
    _activity("caller_calls_before", "Number of earlier calls by the caller.", "count", "never"),
    _activity("caller_calls_24h", "Number of calls by the caller in the 24 h before.", "count", "never"),
    _activity("caller_calls_7d", "Number of calls by the caller in the 7 days before.", "count", "never"),
    _activity(
        "caller_calls_per_day",
        "Earlier calls by the caller over the days since its first call, at least one day.",
        "calls per day",
        "the caller has no earlier call",
    ),
    _activity(
        "caller_days_since_first_call",
        "Time since the caller's first call.",
        "days",
        "the caller has no earlier call",
    ),
    _activity(
        "caller_hours_since_last_call",
        "Time since the caller's last earlier call.",
        "hours",
        "the caller has no earlier call",
    ),
    _crowd("other_callers_on_token", "Number of other callers with an earlier call on the token.", "count", "never"),
    _crowd("calls_on_token_1h", "Number of calls by anyone on the token in the hour before.", "count", "never"),
    _crowd("calls_on_token_24h", "Number of calls by anyone on the token in the 24 h before.", "count", "never"),
    _crowd("caller_calls_on_token", "Number of earlier calls by the caller on the token.", "count", "never"),
    _crowd(
        "hours_since_first_call_on_token",
        "Time since the first call of anyone on the token; 0 for that call itself.",
        "hours",
        "never",
    ),
    _crowd(
        "hours_since_last_call_on_token",
        "Time since the last earlier call of anyone on the token.",
        "hours",
        "the token has no earlier call",
    ),
    _crowd(
        "hours_between_callers",
        "Mean time between the first calls on the token of callers who followed each other.",
        "hours",
        "fewer than two callers called the token before",
    ),
    _crowd("all_calls_1h", "Number of calls by anyone on any token in the hour before.", "count", "never"),
    _alert(
        "log_alert_price",
        "ln of the price that the alert states.",
        "ln quote currency",
        "it states none",
    ),
    _alert(
        "alert_price_over_last_close",
        "ln of the alert's price over the last known close.",
        "ln ratio",
        "one of them does not exist",
        "candles",
    ),
    _alert("log_market_cap", "ln of the market cap that the alert states.", "ln USD", "it states none"),
    _alert(
        "log_stated_supply",
        "ln of the stated market cap over the stated price.",
        "ln tokens",
        "it does not state both",
    ),
    _clock("hour_sin", "Sine of the time of day."),
    _clock("hour_cos", "Cosine of the time of day."),
    _clock("weekday_sin", "Sine of the time within the week that begins on Monday."),
    _clock("weekday_cos", "Cosine of the time within the week that begins on Monday."),
)
"""Every feature of the set, in the order of the columns."""

FEATURE_NAMES: tuple[str, ...] = tuple(feature.name for feature in FEATURES)


def names_from(*sources: Source) -> tuple[str, ...]:
    """Return the names of the features that read any of these sources, in the order of the columns."""
    return tuple(feature.name for feature in FEATURES if not set(feature.sources).isdisjoint(sources))
