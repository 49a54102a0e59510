"""Objectives: which metric a search improves, and how a run's metrics become one score.

A score is always better when it is higher: a metric that is minimised enters with its sign changed, so
that trials are ranked by descending score whatever the objective.

Text form: `metric[:max|:min][,min_trades=N]`, such as `final_pnl`, `max_drawdown` (minimised, because a
smaller one is better), `average_holding_minutes:min,min_trades=30`.
"""

import math
import re
from collections.abc import Mapping
from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from quantbot_pipeline.errors import ConfigError

Direction = Literal["max", "min"]

METRIC_DIRECTIONS: dict[str, Direction | None] = {
    "final_pnl": "max",
    "total_pnl": "max",
    "win_rate": "max",
    "avg_trade_return": "max",
    "median_trade_return": "max",
    "profit_factor": "max",
    "expectancy": "max",
    "sqn": "max",
    "volatility": "min",
    "sharpe_ratio": "max",
    "sortino_ratio": "max",
    "max_drawdown": "min",
    "calmar": "max",
    "trade_count": None,
    "reentry_count": None,
    "ladder_entries_used": None,
    "ladder_exits_used": None,
    "average_holding_minutes": None,
    "max_holding_minutes": None,
}
"""Metrics of a run that can be an objective, and their better direction; None: the user must say."""

_OBJECTIVE = re.compile(r"\s*(\w+)\s*(?::\s*(\w+)\s*)?(?:,\s*min_trades\s*=\s*(\d{1,9})\s*)?", re.ASCII)


class Objective(BaseModel):
    """What a search improves.

    Attributes:
        metric: Name of the metric, one of `METRIC_DIRECTIONS`.
        direction: Whether a higher (`max`) or a lower (`min`) value is better.
        min_trades: Runs with fewer trades have no score, at least 0.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    metric: str
    direction: Direction
    min_trades: int = Field(default=1, ge=0)

    def score(self, metrics: Mapping[str, float | int | None]) -> float | None:
        """Return the score of a run, higher is better.

        Args:
            metrics: The run's metrics by name, with `trade_count`.

        Returns:
            The metric, negated when it is minimised; None when the metric is null (or not finite) or the
            run has fewer than `min_trades` trades.

        Raises:
            ConfigError: the metric or `trade_count` is not among `metrics`.
        """
        for name in (self.metric, "trade_count"):
            if name not in metrics:
                raise ConfigError(
                    f"objective {self}: the run has no metric {name!r}; found {', '.join(sorted(metrics)) or 'none'}"
                )
        value = metrics[self.metric]
        if value is None or not math.isfinite(value) or (metrics["trade_count"] or 0) < self.min_trades:
            return None
        # `0.0 -` instead of a minus sign: a drawdown of 0 gives 0, not -0.
        return float(value) if self.direction == "max" else 0.0 - float(value)

    def __str__(self) -> str:
        return f"{self.metric}:{self.direction},min_trades={self.min_trades}"


def parse_objective(text: str) -> Objective:
    """Return the objective of its text form, see the module's docstring.

    Raises:
        ConfigError: the text can't be read, the metric is unknown, or it has no better direction of its
            own and none was given.
    """
    found = _OBJECTIVE.fullmatch(text)
    if found is None:
        raise ConfigError(
            f"objective {text!r} can't be read; allowed is metric[:max|:min][,min_trades=N], such as "
            "'sharpe_ratio' or 'max_drawdown:min,min_trades=20'"
        )
    metric, direction, min_trades = found.groups()
    if metric not in METRIC_DIRECTIONS:
        raise ConfigError(f"objective {text!r}: unknown metric {metric!r}; allowed are {', '.join(METRIC_DIRECTIONS)}")
    direction = direction or METRIC_DIRECTIONS[metric]
    if direction not in ("max", "min"):
        raise ConfigError(
            f"objective {text!r}: found direction {direction!r} for {metric}; allowed are max and min, "
            f"such as '{metric}:max'"
        )
    return Objective(metric=metric, direction=direction, min_trades=1 if min_trades is None else int(min_trades))
