"""Which indicators a strategy may name: their parameters, defaults and output fields.

The numbers themselves are computed in `quantbot_pipeline.engine.indicators`.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

from quantbot_pipeline.strategy.values import Number, Whole

MAX_PERIOD = 100_000
"""Longest period of an indicator, candles."""

SINGLE_FIELD = "value"
"""Name of the output of an indicator that has only one."""

_PERIOD = Whole(ge=1, le=MAX_PERIOD)
_DISPLACEMENT = Whole(ge=0, le=MAX_PERIOD)


@dataclass(frozen=True, slots=True)
class IndicatorSpecification:
    """What a strategy may say about one indicator.

    Attributes:
        parameters: Name of each parameter and what it may be.
        defaults: Values of the parameters that may be left out.
        fields: Names of the outputs; one that has `SINGLE_FIELD` needs no `field`.
    """

    parameters: Mapping[str, Whole | Number]
    defaults: Mapping[str, int] = field(default_factory=dict)
    fields: tuple[str, ...] = (SINGLE_FIELD,)


INDICATORS: Mapping[str, IndicatorSpecification] = {
    "sma": IndicatorSpecification({"period": _PERIOD}),
    "ema": IndicatorSpecification({"period": _PERIOD}),
    "vwma": IndicatorSpecification({"period": _PERIOD}),
    "rsi": IndicatorSpecification({"period": _PERIOD}),
    "macd": IndicatorSpecification(
        {"fast": _PERIOD, "slow": _PERIOD, "signal": _PERIOD}, fields=("line", "signal", "histogram")
    ),
    "bbands": IndicatorSpecification(
        {"period": _PERIOD, "deviations": Number(gt=0)},
        fields=("upper", "middle", "lower", "percent_b", "bandwidth"),
    ),
    "atr": IndicatorSpecification({"period": _PERIOD}),
    "ichimoku": IndicatorSpecification(
        {"conversion": _PERIOD, "base": _PERIOD, "span": _PERIOD, "displacement": _DISPLACEMENT},
        defaults={"conversion": 9, "base": 26, "span": 52, "displacement": 26},
        fields=("tenkan", "kijun", "senkou_a", "senkou_b"),
    ),
    "price_change": IndicatorSpecification({"periods": _PERIOD}),
    "volume_change": IndicatorSpecification({"periods": _PERIOD}),
    "highest": IndicatorSpecification({"period": _PERIOD}),
    "lowest": IndicatorSpecification({"period": _PERIOD}),
}
"""Every indicator by its name."""


def indicator_label(name: str, parameters: Mapping[str, float], output: str) -> str:
    """Return the name of one indicator output in events, such as `macd(fast=12,signal=9,slow=26).line`."""
    inside = ",".join(f"{key}={parameters[key]:g}" for key in sorted(parameters))
    suffix = "" if output == SINGLE_FIELD else f".{output}"
    return f"{name}({inside}){suffix}"
