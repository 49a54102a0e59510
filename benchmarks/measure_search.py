"""Measure a search: seconds by stage and the memory that it takes.

    python benchmarks/measure_search.py [--trials 1000] [--calls 2000] [--sampler random] [--threads 2]
    python benchmarks/measure_search.py --stored [--home DIR] [--sampler grid --trials 100000 --calls 200]

The strategy is the preset `laddered-dip-with-re-entry` (ladder, stop, trailing stop, signals, re-entry) that leaves
after a day, on random walks of minutes: 200 tokens of 10 000 candles. Five windows are scored for every trial, and the
series of all trials are gathered for the verdict. `--verdict` computes the verdict too.

With `--stored`, calls and candles go into a new home with embedded servers (or into DIR, which is kept, and used as it
is the next time), and `quantbot optimize` runs as a process of its own, with its databases and its verdict; printed are
its stages, its memory and processor time, and the rows that it wrote. Every job has another seed, so none is the
stored one.
"""

import argparse
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import psycopg
import pyarrow as pa
from psycopg import sql

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.ingest.checked_candles import CANDLE_SCHEMA
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.optimization.measured_trials import MeasuredTrial
from quantbot_pipeline.optimization.objectives import parse_objective
from quantbot_pipeline.optimization.search import Failure, SearchPlan, run_search
from quantbot_pipeline.optimization.spaces import parse_search_space
from quantbot_pipeline.optimization.study import Trial
from quantbot_pipeline.optimization.tally import SearchTally, TrialRecord
from quantbot_pipeline.servers.embedded import ensure_servers, stop_servers
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.migrations import migrate
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.storage.records import CallerKey, CallRow, NewAlert, StrategyRow
from quantbot_pipeline.strategy.model import config_hash, parse_strategy
from quantbot_pipeline.strategy.presets import load_preset
from quantbot_pipeline.workflows.derive_calls import derive_calls
from quantbot_pipeline.workflows.judge_optimization import JobJudge
from quantbot_pipeline.workflows.measure_trials import TrialMeter
from quantbot_pipeline.workflows.optimization_data import JobData, probes_of
from quantbot_pipeline.workflows.optimization_plan import (
    LAID_OUT_SAMPLERS,
    MOST_STORED_TRIALS,
    DataSelection,
    OptimizationPlan,
    SelectedCalls,
)
from quantbot_pipeline.workflows.simulation_inputs import SimulationInputs, StoredInputs, StoredMonth

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
MINUTE = 60
TOKENS, CANDLES = 200, 10_000
TEMPLATE = "searched-ladder"
COUNTED = ("optimization_jobs", "optimization_trials", "simulation_runs")

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
    parser.add_argument("--stored", action="store_true", help="Measure `quantbot optimize` with its databases.")
    parser.add_argument("--home", type=Path, help="Kept; a temporary folder without it.")
    asked = parser.parse_args()
    print(f"load {os.getloadavg()[0]:.1f} before")
    if asked.stored:
        with tempfile.TemporaryDirectory(prefix="quantbot-bench-") as folder:
            measure_stored(asked, asked.home or Path(folder))
    else:
        measure_alone(asked)
    print(f"  load       {os.getloadavg()[0]:.1f} after")


def template_config() -> dict[str, Any]:
    """Return the strategy whose fields are varied."""
    config = load_preset("laddered-dip-with-re-entry").model_dump(mode="json", by_alias=True)
    config["exits"]["max_hold_seconds"] = config["horizon_seconds"] = 86_400
    return config | {"name": TEMPLATE}


def measure_stored(asked: argparse.Namespace, home: Path) -> None:
    """Run a search as a user does, on embedded servers, and print what it took and left."""
    settings = load_settings(home=home, postgres_url=None, clickhouse_url=None)
    try:
        urls = ensure_servers(settings)
        migrate(urls.postgres, urls.clickhouse)
        with PostgresStore(urls.postgres) as state, ClickHouseStore(urls.clickhouse) as history:
            if not state.load_calls():
                store_market(asked.calls, state, history)
        with psycopg.connect(urls.postgres, autocommit=True) as postgres:
            jobs, trials, runs = (_count(postgres, table) for table in COUNTED)
            processor, memory = _optimize(asked, home, seed=jobs + 1)
            after = [_count(postgres, table) for table in COUNTED]
            row = postgres.execute(
                "select times_json, tally_json -> 'counts', (data_json ->> 'call_count')::int, "
                "verdict_json ->> 'answer' from optimization_jobs order by id desc limit 1"
            ).fetchone()
        assert row is not None and after[0] == jobs + 1  # noqa: PT018, S101  the command stored a job, or it failed
        times, counts, call_count, answer = row
        count = sum(counts.values())
        print(f"{count} trials of {call_count} calls: {times['total']:.1f} s")
        for stage in ("evaluation", "sampler", "statistics", "storage", "evidence", "traces"):
            print(f"  {stage:10} {times[stage]:.1f} s")
        searching = sum(times[stage] for stage in ("evaluation", "sampler", "statistics", "storage"))
        print(f"  speed      {count / searching:.0f} trials a second before the verdict")
        print(f"  processor  {processor:.1f} s of the process, {1_000 * processor / count:.2f} ms a trial")
        print(f"  rows       {after[1] - trials} of trials, {after[2] - runs} of runs; verdict: {answer}")
        print(f"  peak memory {memory:.0f} MB")
    finally:
        if asked.home is None:
            stop_servers(settings)


def store_market(call_count: int, state: StateStore, history: HistoryStore) -> None:
    """Store the calls, the candles and the strategy."""
    calls, candles = stored_market(call_count)
    for (token, _), each in candles.items():
        columns = {
            "chain": pa.array([token.chain] * len(each)),
            "token_address": pa.array([token.address] * len(each)),
            "interval": pa.array(["1m"] * len(each)),
            **{name: getattr(each, name) for name in ("timestamp", "open", "high", "low", "close", "volume")},
        }
        history.insert_candles(pa.table(columns).select(CANDLE_SCHEMA.names).cast(CANDLE_SCHEMA))
    alerts = [
        NewAlert(
            token=call.token,
            symbol=None,
            caller=call.caller,
            side=call.side,
            signal_type=call.signal_type,
            confidence=None,
            alert_price=None,
            alert_market_cap=None,
            alert_timestamp=call.signal_timestamp,
            content_key=f"{call.call_id:064x}",
            raw_payload={"number": call.call_id},
        )
        for call in calls
    ]
    state.store_alerts(alerts, None)
    derive_calls(state, history)
    strategy = parse_strategy(template_config())
    state.store_strategy(
        name=strategy.name,
        version=strategy.version,
        category=strategy.category,
        description=strategy.description,
        config=strategy.model_dump(mode="json", by_alias=True),
        config_hash=config_hash(strategy),
    )


def _optimize(asked: argparse.Namespace, home: Path, *, seed: int) -> tuple[float, float]:
    """Run the command; return its processor seconds, and its peak memory in MB."""
    space = home / "space.json"
    space.write_text(json.dumps(SPACE), encoding="utf-8")
    command = [str(Path(sys.executable).with_name("quantbot")), "optimize"]
    command += ["--template", TEMPLATE, "--space", str(space)]
    command += ["--trials", str(asked.trials), "--sampler", asked.sampler, "--objective", asked.objective]
    command += ["--jobs", str(asked.threads), "--seed", str(seed), "--shuffles", "0", "--json"]
    environment = {name: value for name, value in os.environ.items() if not name.startswith("QUANTBOT_")}
    process = subprocess.Popen(  # noqa: S603 - this project's own command
        command, env=environment | {"QUANTBOT_HOME": str(home)}, stdout=subprocess.DEVNULL
    )
    # Of this process alone: the servers are children too.
    _, status, used = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode:
        raise SystemExit(f"quantbot optimize ended with exit code {process.returncode}")
    return used.ru_utime + used.ru_stime, used.ru_maxrss / 1024


def _count(postgres: "psycopg.Connection[Any]", table: str) -> int:
    found = postgres.execute(sql.SQL("select count(*) from {}").format(sql.Identifier(table))).fetchone()
    assert found is not None  # noqa: S101  a count has one row
    return int(found[0])


def measure_alone(asked: argparse.Namespace) -> None:
    """Search without databases in this process, and print what it took."""
    config = template_config()
    strategy = parse_strategy(config)
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
            results = meter.measure(strategies, judge.windows, every_metric=asked.trials <= MOST_STORED_TRIALS)
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
