"""Measure a search without databases: seconds by stage and the memory that it takes.

    python benchmarks/measure_search.py [--trials 1000] [--calls 2000] [--sampler random] [--threads 2]

The strategy is the preset `laddered-dip-with-re-entry` (ladder, stop, trailing stop, signals, re-entry) that leaves
after a day, on random walks of minutes: 200 tokens of 10 000 candles. Five windows are scored for every trial, and the
series of all trials are gathered for the verdict. `--verdict` computes the verdict too.
"""

import argparse
import resource
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.optimization.measured_trials import MeasuredTrial
from quantbot_pipeline.optimization.objectives import parse_objective
from quantbot_pipeline.optimization.search import Failure, SearchPlan, run_search
from quantbot_pipeline.optimization.spaces import parse_search_space
from quantbot_pipeline.optimization.study import Trial
from quantbot_pipeline.optimization.tally import SearchTally, TrialRecord
from quantbot_pipeline.storage.records import CallerKey, CallRow, StrategyRow
from quantbot_pipeline.strategy.model import config_hash
from quantbot_pipeline.strategy.presets import load_preset
from quantbot_pipeline.workflows.judge_optimization import JobJudge
from quantbot_pipeline.workflows.measure_trials import TrialMeter
from quantbot_pipeline.workflows.optimization_data import JobData, probes_of
from quantbot_pipeline.workflows.optimization_plan import (
    LAID_OUT_SAMPLERS,
    DataSelection,
    OptimizationPlan,
    SelectedCalls,
)
from quantbot_pipeline.workflows.simulation_inputs import SimulationInputs, StoredInputs, StoredMonth

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
MINUTE = 60
TOKENS, CANDLES = 200, 10_000

SPACE = {
    "parameters": [
        {"path": "exits.targets[0].multiple", "type": "float", "low": 1.1, "high": 2.4, "step": 0.01},
        {"path": "exits.stop_loss.initial", "type": "float", "low": 0.1, "high": 0.6, "step": 0.01},
        {"path": "exits.trailing.distance", "type": "float", "low": 0.05, "high": 0.5, "step": 0.01},
        {"path": "re_entry.retrace", "type": "float", "low": 0.2, "high": 0.8, "step": 0.05},
    ]
}


def stored_market(call_count: int) -> tuple[list[CallRow], dict[tuple[TokenKey, int], Candles]]:
    """Return calls and candles of random walks."""
    rng = np.random.default_rng(0)
    calls: list[CallRow] = []
    candles = {}
    for number in range(TOKENS):
        token = TokenKey("binance", f"T{number}_USDT")
        # Tokens follow each other, so that calls are spread over months.
        first = BEGIN + timedelta(hours=12 * number)
        close = np.exp(np.cumsum(rng.normal(0, 0.004, CANDLES)))
        opened = np.concatenate([[1.0], close[:-1]])
        candles[token, MINUTE] = Candles(
            timestamp=int(first.timestamp()) + MINUTE * np.arange(CANDLES, dtype=np.int64),
            open=opened,
            high=np.maximum(opened, close) * 1.002,
            low=np.minimum(opened, close) * 0.998,
            close=close,
            volume=rng.uniform(1e3, 1e5, CANDLES),
            interval_seconds=MINUTE,
        )
        minutes = np.sort(rng.integers(60, CANDLES - 1_500, call_count // TOKENS))
        calls += [
            CallRow(
                call_id=len(calls) + place + 1,
                token_id=number + 1,
                token=token,
                caller_id=1,
                caller=CallerKey("file", "caller"),
                side=Side.BUY,
                signal_type=SignalType.ENTRY,
                signal_timestamp=first + timedelta(minutes=int(minute)),
                alert_price=None,
                alert_market_cap=None,
            )
            for place, minute in enumerate(minutes)
        ]
    return calls, candles


def main() -> None:
    """Measure one search and print where its time goes."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--trials", type=int, default=1_000)
    parser.add_argument("--calls", type=int, default=2_000)
    parser.add_argument("--sampler", default="random")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--objective", default="final_pnl")
    parser.add_argument("--verdict", action="store_true", help="Compute the verdict too.")
    asked = parser.parse_args()
    strategy = load_preset("laddered-dip-with-re-entry")
    config = strategy.model_dump(mode="json", by_alias=True)
    config["exits"]["max_hold_seconds"] = config["horizon_seconds"] = 86_400
    calls, candles = stored_market(asked.calls)
    months = frozenset(f"2025-{month:02d}" for month in range(1, 13))
    plan = OptimizationPlan(
        name="benchmark",
        template=StrategyRow(1, strategy.name, "1", "", config, config_hash(strategy), is_active=True),
        search=SearchPlan(
            space=parse_search_space(SPACE, template=config),
            objective=parse_objective(asked.objective),
            sampler=asked.sampler,
            seed=7,
            trial_count=asked.trials,
            batch_size=64 if asked.sampler in LAID_OUT_SAMPLERS else 8,
        ),
        space_document=SPACE,
        data=DataSelection(),
        selected=SelectedCalls(
            {token: months for token, _ in candles}, None, BEGIN, BEGIN + timedelta(days=300), is_partial=False
        ),
        shuffles=0,
    )
    stored = {
        key: [StoredMonth("2025-01", len(each), int(each.timestamp[0]), int(each.timestamp[-1]))]
        for key, each in candles.items()
    }
    probes = probes_of(plan)
    data = JobData(plan, SimulationInputs.of_loaded(StoredInputs(calls, stored), candles, probes))
    found = data.calls(probes)
    evaluating = gathering = 0.0
    with TrialMeter(data, found, plan.objective, threads=asked.threads, widen=lambda _: data) as meter:
        judge = JobJudge(plan, found, meter, probes)
        measured: dict[int, MeasuredTrial] = {}

        def evaluate(batch: Sequence[Trial], _: int) -> list[Any]:
            nonlocal evaluating
            began = time.perf_counter()
            strategies = [trial.strategy for trial in batch if trial.strategy is not None]
            results = meter.measure(strategies, judge.windows)
            evaluating += time.perf_counter() - began
            for trial, result in zip(batch, results, strict=True):
                if isinstance(result, MeasuredTrial):
                    measured[trial.index] = result
            return [each if isinstance(each, Failure) else each.metrics for each in results]

        def take(records: Sequence[TrialRecord], _: SearchTally) -> None:
            nonlocal gathering
            began = time.perf_counter()
            for record in records:
                if (trial := measured.pop(record.index, None)) is not None:
                    judge.take(record, trial)
            gathering += time.perf_counter() - began

        # Numba loads what it compiled before, once per process.
        meter.measure(probes, judge.windows)
        began, worked = time.perf_counter(), time.process_time()
        tally = run_search(plan.search, evaluate, take_batch=take)
        searching, worked = time.perf_counter() - began, time.process_time() - worked
        print(f"{tally.trial_count} trials of {len(found)} calls, {len(judge.splits)} windows: {searching:.1f} s")
        print(f"  evaluation {evaluating:.1f} s, {1_000 * evaluating / tally.trial_count:.1f} ms a trial")
        print(f"  processor  {worked:.1f} s in all, {1_000 * worked / tally.trial_count:.1f} ms a trial")
        print(f"  statistics {gathering:.1f} s, sampler {searching - evaluating - gathering:.1f} s")
        if asked.verdict:
            began = time.perf_counter()
            judgement = judge.judge(tally)
            print(f"  verdict    {time.perf_counter() - began:.1f} s: {(judgement.verdict or {}).get('answer')}")
    print(f"  peak memory {resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024:.0f} MB")


if __name__ == "__main__":
    main()
