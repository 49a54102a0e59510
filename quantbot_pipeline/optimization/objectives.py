"""Objectives: what a search improves, and how a run's metrics become scores.

Text form, of which `objective_text.py` reads every part:

    final_pnl                                       one metric, in its better direction
    max:trade_count                                 a metric in a direction of your own
    0.7*final_pnl - 0.3*max_drawdown                a weighted sum, which is maximised
    max:sharpe_ratio, min:max_drawdown              several goals: the Pareto front is kept
    final_pnl subject to trade_count >= 30 and max_drawdown <= 0.4

A score is always better when it is higher: what is minimised enters with its sign changed. Metrics enter
sums as they are: nothing is scaled by what other trials reached, so that a trial's score depends on that
trial alone and stays the same when a job goes on. Weights therefore carry units; divide by what counts as
much to bring metrics to one scale (`final_pnl/0.2 + sharpe_ratio/2`).
"""

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.optimization.fault_texts import found_and_allowed

Direction = Literal["max", "min"]
Comparison = Literal[">=", "<=", ">", "<", "=="]

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
    "average_return_deployed": "max",
    "max_adverse_excursion": "max",
    "max_favourable_excursion": "max",
    "stop_out_rate": "min",
    "trade_count": None,
    "skipped_count": None,
    "reentry_count": None,
    "ladder_entries_used": None,
    "ladder_exits_used": None,
    "average_holding_minutes": None,
    "max_holding_minutes": None,
}
"""Metrics of a run that can be part of an objective, and their better direction; None: the user must say."""

_UNBOUNDED = (-math.inf, math.inf)

METRIC_RANGES: dict[str, tuple[float, float]] = {
    "win_rate": (0.0, 1.0),
    "profit_factor": (0.0, math.inf),
    "volatility": (0.0, math.inf),
    "max_drawdown": (0.0, math.inf),
    "max_adverse_excursion": (-math.inf, 0.0),
    "max_favourable_excursion": (0.0, math.inf),
    "stop_out_rate": (0.0, 1.0),
    "trade_count": (0.0, math.inf),
    "skipped_count": (0.0, math.inf),
    "reentry_count": (0.0, math.inf),
    "ladder_entries_used": (0.0, math.inf),
    "ladder_exits_used": (0.0, math.inf),
    "average_holding_minutes": (0.0, math.inf),
    "max_holding_minutes": (0.0, math.inf),
}
"""Between what a metric can lie, where that is known; a limit outside of it can't be met."""

COUNTED_METRICS = frozenset(
    {"trade_count", "skipped_count", "reentry_count", "ladder_entries_used", "ladder_exits_used"}
)
"""Metrics that grow with the number of calls; limits on them shrink with the share of calls seen."""

UNKNOWN_VIOLATION = 1e6
"""How far a limit counts as missed when its metric has no value: further than any that has one."""


class Goal(BaseModel):
    """A weighted sum of metrics that is made large or small.

    Attributes:
        terms: Metric → weight, at least one; no weight is 0.
        direction: Whether a higher (`max`) or a lower (`min`) value is better.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    terms: dict[str, float] = Field(min_length=1)
    direction: Direction

    def value(self, metrics: Mapping[str, float | int | None]) -> float | None:
        """Return the sum as it is; None when one of its metrics has no (finite) value."""
        total = 0.0
        for metric, weight in self.terms.items():
            found = metrics[metric]
            if found is None or not math.isfinite(found):
                return None
            total += weight * float(found)
        return total if math.isfinite(total) else None

    def score(self, metrics: Mapping[str, float | int | None]) -> float | None:
        """Return the sum so that higher is better; None when it has no value."""
        value = self.value(metrics)
        # `0.0 -` instead of a minus sign: a drawdown of 0 gives 0, not -0.
        return value if value is None or self.direction == "max" else 0.0 - value

    def __str__(self) -> str:
        text = ""
        for metric, weight in self.terms.items():
            size = metric if abs(weight) == 1 else f"{_written(abs(weight))}*{metric}"
            sign = "-" if weight < 0 else "+"
            text += f" {sign} {size}" if text else f"-{size}" if weight < 0 else size
        return f"{self.direction}:{text}"


class Limit(BaseModel):
    """What a metric of a run must meet, such as trade_count >= 30.

    Attributes:
        metric: Name of the metric.
        comparison: How it is compared.
        bound: With what.
    """

    model_config = ConfigDict(frozen=True, extra="forbid", strict=True, allow_inf_nan=False)

    metric: str
    comparison: Comparison
    bound: float

    def violation(self, metrics: Mapping[str, float | int | None]) -> float:
        """Return how far a run is from meeting it, in units of the bound (or of 1, if that is more); 0 if it does."""
        value = metrics[self.metric]
        if value is None or not math.isfinite(value):
            return UNKNOWN_VIOLATION
        gap = {
            ">=": self.bound - value,
            ">": self.bound - value,
            "<=": value - self.bound,
            "<": value - self.bound,
            "==": abs(value - self.bound),
        }[self.comparison]
        is_strict = self.comparison in (">", "<")
        if gap < 0 or (gap == 0 and not is_strict):
            return 0.0
        # The smallest positive number: at a strict bound nothing is missing, and yet it is missed.
        return max(gap / max(abs(self.bound), 1.0), 1e-12)

    def at_share(self, share: float) -> "Limit":
        """Return the limit on a count for a run over a share of the calls, as `Objective.at_share` has it."""
        if self.comparison not in (">=", ">"):
            return self
        bound = math.floor(self.bound * share)
        # A run without trades has a result of 0, which would beat every loss.
        if self.metric == "trade_count" and self.comparison == ">=" and self.bound > 0:
            bound = max(bound, 1)
        return self.model_copy(update={"bound": float(bound)})

    def __str__(self) -> str:
        return f"{self.metric} {self.comparison} {_written(self.bound)}"


@dataclass(frozen=True, slots=True)
class Evaluation:
    """What an objective says of a run.

    Attributes:
        values: One score per goal, higher is better; None when a goal has none or a limit is missed.
        violation: How far the run is from meeting all limits, in sum; 0 when it meets them.
        reason: Why there are no values; empty otherwise.
    """

    values: tuple[float, ...] | None
    violation: float
    reason: str = ""

    @property
    def score(self) -> float | None:
        """The score of the first goal, by which trials are listed."""
        return None if self.values is None else self.values[0]


class Objective(BaseModel):
    """What a search improves.

    Attributes:
        goals: At least one; with several no single trial is the best, but the Pareto front is.
        limits: What every run must meet to have a score. Unless one bounds `trade_count` from below, at
            least one trade is asked for.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    goals: tuple[Goal, ...] = Field(min_length=1)
    limits: tuple[Limit, ...] = ()

    def evaluate(self, metrics: Mapping[str, float | int | None]) -> Evaluation:
        """Return what the metrics of a run are worth.

        Args:
            metrics: The run's metrics by name, with `trade_count`.

        Raises:
            ConfigError: one of the metrics asked for is not among `metrics`.
        """
        for name in self.metrics():
            if name not in metrics:
                raise ConfigError(
                    f"objective {self}: the run has no metric {name!r}; found {', '.join(sorted(metrics)) or 'none'}"
                )
        missed = [(limit, amount) for limit in self.all_limits() if (amount := limit.violation(metrics)) > 0]
        if missed:
            found = ", ".join(f"{limit.metric} = {_number(metrics[limit.metric])}" for limit, _ in missed)
            return Evaluation(
                None,
                sum(amount for _, amount in missed),
                f"{found}; allowed is {_joined([each for each, _ in missed])}",
            )
        values = [goal.score(metrics) for goal in self.goals]
        if empty := [goal for goal, value in zip(self.goals, values, strict=True) if value is None]:
            return Evaluation(None, UNKNOWN_VIOLATION, f"no value: {', '.join(map(str, empty))}")
        return Evaluation(tuple(value for value in values if value is not None), 0.0)

    def score(self, metrics: Mapping[str, float | int | None]) -> float | None:
        """Return the score of the first goal, higher is better; None when the run has none.

        Raises:
            ConfigError: one of the metrics asked for is not among `metrics`.
        """
        return self.evaluate(metrics).score

    def metrics(self) -> tuple[str, ...]:
        """Return the names of all metrics that it reads."""
        terms = [metric for goal in self.goals for metric in goal.terms]
        return tuple(dict.fromkeys([*terms, *(limit.metric for limit in self.all_limits())]))

    def all_limits(self) -> tuple[Limit, ...]:
        """Return the limits, with the one on trades that holds by itself."""
        if any(limit.metric == "trade_count" and limit.comparison in (">=", ">", "==") for limit in self.limits):
            return self.limits
        return (*self.limits, Limit(metric="trade_count", comparison=">=", bound=1))

    def at_share(self, share: float) -> "Objective":
        """Return the objective for a run over a share of the calls.

        Lower limits on counts are multiplied by the share and rounded down: 30 trades among all calls are 3
        among a tenth of them. A limit that asks for trades still asks for one. Everything else stays.

        Args:
            share: Share of the calls, in (0, 1].
        """
        if share >= 1:
            return self
        limits = tuple(
            limit.at_share(share) if limit.metric in COUNTED_METRICS else limit
            for limit in self.limits
            if not (limit.metric in COUNTED_METRICS and limit.comparison == "==")
        )
        return self.model_copy(update={"limits": limits})

    def require_reachable(self, call_count: int) -> None:
        """Refuse an objective that no strategy can reach on this many calls.

        Raises:
            ConfigError: it asks for more trades than there are calls.
        """
        for limit in self.limits:
            least = limit.bound + (limit.comparison == ">")
            if limit.metric == "trade_count" and limit.comparison in (">=", ">", "==") and least > call_count:
                raise ConfigError(
                    f"objective {self}: found the limit {limit}, but there are {call_count} calls; "
                    f"allowed are at most {call_count} trades: lower the limit or take more data"
                )

    def document(self) -> dict[str, Any]:
        """Return the JSON form, which `parse_objective` reads."""
        return {
            "goals": [{"direction": goal.direction, "terms": dict(goal.terms)} for goal in self.goals],
            "subject_to": [
                {"metric": limit.metric, "comparison": limit.comparison, "bound": limit.bound} for limit in self.limits
            ],
        }

    def __str__(self) -> str:
        text = ", ".join(map(str, self.goals))
        return f"{text} subject to {_joined(self.limits)}" if self.limits else text


def parse_objective(objective: str | Mapping[str, Any]) -> Objective:
    """Return the objective of its text or JSON form.

    Args:
        objective: Text, see the module's docstring; or `{"goals": [{"direction": "max", "terms": {"final_pnl":
            1}}], "subject_to": [{"metric": "trade_count", "comparison": ">=", "bound": 30}]}`.

    Raises:
        ConfigError: it can't be read (with the position in a text), names an unknown metric, leaves a
            direction open that is not clear, or has limits that nothing can meet.
    """
    # Here, because the reader of texts makes what is defined above.
    from quantbot_pipeline.optimization.objective_text import read_objective_text

    if isinstance(objective, str):
        found = read_objective_text(objective)
        source = f"objective {objective!r}"
    else:
        found = _read_document(objective)
        source = "objective"
    _refuse_repeated(found, source)
    _refuse_unreachable(found, source)
    return found


def _read_document(document: Mapping[str, Any]) -> Objective:
    if not isinstance(document, Mapping) or not {"goals"} <= set(document) <= {"goals", "subject_to"}:
        found = ", ".join(map(str, document)) if isinstance(document, Mapping) else type(document).__name__
        raise ConfigError(
            f"objective: found {found or 'nothing'}; allowed is a text, or an object with goals and, if wanted, "
            "subject_to"
        )
    try:
        objective = Objective.model_validate({"goals": document["goals"], "limits": document.get("subject_to", ())})
    except ValidationError as error:
        fault = error.errors()[0]
        where = ".".join("subject_to" if step == "limits" else str(step) for step in fault["loc"])
        raise ConfigError(f"objective: {where}: {found_and_allowed(fault)}") from error
    for name in objective.metrics():
        if name not in METRIC_DIRECTIONS:
            raise ConfigError(f"objective: unknown metric {name!r}; allowed are {', '.join(METRIC_DIRECTIONS)}")
    for name, weight in (term for goal in objective.goals for term in goal.terms.items()):
        if weight == 0:
            raise ConfigError(f"objective: found the weight 0 of {name!r}; allowed is another weight, or no such term")
    return objective


def _refuse_repeated(objective: Objective, source: str) -> None:
    texts = [str(goal) for goal in objective.goals]
    for text in texts:
        if texts.count(text) > 1:
            raise ConfigError(f"{source}: found the goal {text} {texts.count(text)} times; allowed is each goal once")


def _refuse_unreachable(objective: Objective, source: str) -> None:
    """Refuse limits outside of what their metric can be, or that exclude each other."""
    for metric in dict.fromkeys(limit.metric for limit in objective.limits):
        limits = [limit for limit in objective.limits if limit.metric == metric]
        known = METRIC_RANGES.get(metric, _UNBOUNDED)
        lower = [limit for limit in limits if limit.comparison in (">=", ">", "==")]
        upper = [limit for limit in limits if limit.comparison in ("<=", "<", "==")]
        low = max([known[0], *(limit.bound for limit in lower)])
        high = min([known[1], *(limit.bound for limit in upper)])
        # A strict limit excludes its end.
        is_open = any(limit.bound == low == high and limit.comparison in (">", "<") for limit in limits)
        if low > high or is_open:
            raise ConfigError(
                f"{source}: no run can meet {_joined(limits)}"
                + (f"; {metric} {_range_text(*known)}" if known != _UNBOUNDED else "")
            )


def _joined(limits: Sequence[Limit]) -> str:
    return " and ".join(map(str, limits))


def _range_text(low: float, high: float) -> str:
    if math.isinf(high):
        return f"is at least {low:g}"
    return f"is at most {high:g}" if math.isinf(low) else f"lies between {low:g} and {high:g}"


def _written(number: float) -> str:
    """Return a number with all its digits, as people write it: 30 and not 30.0."""
    return repr(number).removesuffix(".0")


def _number(value: float | None) -> str:
    return "null" if value is None else f"{value:g}"
