"""The data of a search: what its trials read, loaded once and cut once for all strategies that read alike."""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import BoolArray
from quantbot_pipeline.engine.prepared_markets import PreparedMarkets
from quantbot_pipeline.engine.version import ENGINE_VERSION
from quantbot_pipeline.errors import SearchSpaceError, SimulationError, StrategyError
from quantbot_pipeline.optimization.measured_trials import SearchCalls
from quantbot_pipeline.optimization.parameters import CategoricalParameter
from quantbot_pipeline.optimization.search import search_document
from quantbot_pipeline.optimization.spaces import apply_parameters
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.strategy.model import Strategy, parse_strategy
from quantbot_pipeline.workflows.call_scores import CallScoreReader, ScoreCoverage
from quantbot_pipeline.workflows.optimization_plan import WINDOWS_RULE, OptimizationPlan
from quantbot_pipeline.workflows.run_simulations import RunRequest, data_selection_of
from quantbot_pipeline.workflows.simulate_together import markets_of
from quantbot_pipeline.workflows.simulation_inputs import (
    SimulationInputs,
    StoredInputs,
    TokenInput,
    reading_key,
)
from quantbot_pipeline.workflows.token_months import format_token

_CACHE_BYTES = 128 * 2**20
_MARKETS_HELD = 8
"""Ways of reading whose markets are held at once; each is some tens of bytes per call and what signals it computed."""


@dataclass(frozen=True, slots=True)
class Reading:
    """What strategies that read alike read.

    Attributes:
        parts: One per token that has calls.
        selection: `data_selection_json` of their runs.
        markets: The same for the engine.
    """

    parts: tuple[TokenInput, ...]
    selection: Mapping[str, Any]
    markets: PreparedMarkets


class JobData:
    """The data of a job.

    Attributes:
        plan: The job.
        inputs: What was loaded.
        scores: How many of its calls have the scores that strategies ask for.
    """

    def __init__(self, plan: OptimizationPlan, inputs: SimulationInputs, scores: ScoreCoverage | None = None) -> None:
        """Take what was loaded."""
        self.plan = plan
        self.inputs = inputs
        self.scores = scores or ScoreCoverage()
        self._parts: dict[tuple[object, ...], tuple[TokenInput, ...]] = {}
        self._readings: dict[tuple[object, ...], Reading] = {}

    @classmethod
    def load(
        cls, plan: OptimizationPlan, strategies: Sequence[Strategy], state: StateStore, history: HistoryStore
    ) -> "JobData":
        """Read what these strategies need.

        Raises:
            InputError: one names a model of which no version was ever ready.
        """
        tokens = list(plan.selected.months)
        scores = CallScoreReader.of(strategies, state, history)
        every = StoredInputs.load(state, history, tokens, scores)
        calls = [call for call in state.load_calls(tokens=tokens) if plan.selected.takes(call)]
        windows = dict.fromkeys(tokens, (plan.window_start, plan.window_end))
        stored = StoredInputs(calls, every.months, every.scores)
        coverage = ScoreCoverage()
        start, end = plan.window_start, plan.window_end
        inside = [call for known in stored.calls.values() for instant, call in known if start <= instant < end]
        coverage.add(inside, stored.scores)
        return cls(plan, SimulationInputs.load(state, history, windows, strategies, stored=stored), coverage)

    def covers(self, strategy: Strategy) -> bool:
        """Return whether what was loaded suffices for a strategy."""
        return self.inputs.covers(strategy)

    def parts(self, strategy: Strategy) -> tuple[TokenInput, ...]:
        """Return what a strategy reads, one entry per token with calls in the window."""
        key = reading_key(strategy)
        if key not in self._parts:
            start, end = self.plan.window_start, self.plan.window_end
            cuts = [self.inputs.cut(token, start, end, strategy) for token in self.inputs.tokens()]
            self._parts[key] = tuple(cut for cut in cuts if cut is not None)
        return self._parts[key]

    def reading(self, strategy: Strategy) -> Reading:
        """Return what a strategy reads, ready for the engine."""
        key = reading_key(strategy)
        found = self._readings.pop(key, None)
        if found is None:
            parts = self.parts(strategy)
            request = self.request(strategy)
            # Few ways of reading are held, the ones that were used last.
            while len(self._readings) >= _MARKETS_HELD:
                self._readings.pop(next(iter(self._readings)))
            found = Reading(parts, data_selection_of(request), markets_of(parts, cache_bytes=_CACHE_BYTES))
        self._readings[key] = found
        return found

    def request(self, strategy: Strategy) -> RunRequest:
        """Return the run of a trial."""
        plan = self.plan
        selection = plan.data.document() if plan.selected.is_partial else None
        return RunRequest(
            plan.template,
            strategy,
            "optimization",
            self.parts(strategy),
            None,
            plan.window_start,
            plan.window_end,
            selection=selection,
        )

    def calls(self, strategies: Sequence[Strategy]) -> SearchCalls:
        """Return the calls that any of these strategies reports a trade for."""
        found: dict[int, Call] = {}
        for strategy in strategies:
            for part in self.parts(strategy):
                found |= {call.call_id: call for call in part.calls if call.call_id in part.reported_call_ids}
        return SearchCalls.of(list(found.values()))

    def has_candles(self, calls: SearchCalls, strategies: Sequence[Strategy]) -> BoolArray:
        """Return of which calls a trade can begin at all: a candle follows in time for one of these strategies.

        It is what the engine asks before anything else; no result decides.

        Args:
            calls: The calls of the search.
            strategies: Their latency and how long they wait for a candle count.
        """
        found = np.zeros(len(calls), dtype=np.bool_)
        for strategy in strategies:
            latency, most = strategy.costs.latency_seconds, strategy.max_staleness_seconds
            for part in self.parts(strategy):
                times = part.candles.timestamp
                place = calls.places(part.calls)
                place = place[place >= 0]
                called_at = calls.signal_timestamp[place]
                first = np.searchsorted(times, called_at + latency)
                is_there = first < len(times)
                found[place[is_there]] |= times[first[is_there]] - called_at[is_there] <= most
        return found

    def document(self, calls: SearchCalls, strategy: Strategy) -> dict[str, Any]:
        """Return what the selection came to, as it is stored.

        Args:
            calls: The calls of the search.
            strategy: The template.
        """
        selected = self.plan.selected
        tokens = sorted(selected.months)
        stamps = calls.signal_timestamp
        return {
            "tokens": [format_token(token) for token in tokens],
            "months": sorted(set().union(*selected.months.values())),
            "callers": None if selected.callers is None else list(self.plan.data.callers),
            "window": [self.plan.window_start.isoformat(), self.plan.window_end.isoformat()],
            "call_count": len(calls),
            "candle_count": self.inputs.candle_count(),
            "first_call": int(stamps[0]),
            "last_call": int(stamps[-1]),
            "overlap": strategy.overlap,
        } | ({"scores": self.scores.document()} if self.scores.calls else {})


def template_of(plan: OptimizationPlan) -> Strategy:
    """Return the template's strategy."""
    return parse_strategy(plan.template.config, source=f"strategy {plan.template.name!r}")


def probes_of(plan: OptimizationPlan) -> list[Strategy]:
    """Return the template, and what trials may become that read other data than it does.

    Each parameter goes to its ends by itself, and all go to their upper ends together. A space whose trials
    read still further loads more when it gets there.
    """
    template = template_of(plan)
    ends = {
        parameter.path: parameter.choices
        if isinstance(parameter, CategoricalParameter)
        else (parameter.low, parameter.high)
        for parameter in plan.space.parameters
    }
    changes = [{path: value} for path, values in ends.items() for value in values]
    changes.append({path: values[-1] for path, values in ends.items()})
    probes = {reading_key(template): template}
    for change in changes:
        try:
            probe = parse_strategy(apply_parameters(plan.template.config, change))
        except (StrategyError, SearchSpaceError):
            continue
        probes.setdefault(reading_key(probe), probe)
    return list(probes.values())


def job_key_of(plan: OptimizationPlan, probes: Sequence[Strategy], data: JobData) -> str:
    """Return the identity of a job: all that its trials and its verdict depend on."""
    document = {
        "engine": ENGINE_VERSION,
        "template": plan.template.config_hash,
        "search": search_document(plan.search),
        "plan": plan.document(),
        "windows_rule": WINDOWS_RULE,
        "window": [plan.window_start.isoformat(), plan.window_end.isoformat()],
        "data": [[part.fingerprint for part in data.parts(probe)] for probe in probes],
    }
    return hashlib.sha256(json.dumps(document, sort_keys=True).encode()).hexdigest()


def require_trades(plan: OptimizationPlan, data: JobData, template: Strategy) -> None:
    """Refuse data in which no call opens a trade.

    Raises:
        SimulationError: there is none.
    """
    if not data.parts(template):
        raise SimulationError(
            f"job {plan.name!r}: no calls that open a trade in [{plan.window_start:%Y-%m-%d}, "
            f"{plan.window_end:%Y-%m-%d}); ingest alerts of this time or choose another window"
        )
