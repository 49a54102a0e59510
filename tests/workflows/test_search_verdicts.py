"""Jobs on markets without and with an edge: the whole way from calls to the verdict, but for the databases."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import pytest

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.engine.candles import Candles
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.optimization.honesty.verdict import Answer
from quantbot_pipeline.optimization.measured_trials import MeasuredTrial
from quantbot_pipeline.optimization.objectives import parse_objective
from quantbot_pipeline.optimization.search import SearchPlan, run_search
from quantbot_pipeline.optimization.spaces import parse_search_space
from quantbot_pipeline.optimization.study import Sampler, Trial
from quantbot_pipeline.optimization.tally import SearchTally, TrialRecord
from quantbot_pipeline.storage.records import CallerKey, CallRow, StrategyRow
from quantbot_pipeline.strategy.model import config_hash, parse_strategy
from quantbot_pipeline.workflows.judge_optimization import JobJudge, Judgement
from quantbot_pipeline.workflows.measure_trials import TrialMeter
from quantbot_pipeline.workflows.optimization_data import JobData, probes_of
from quantbot_pipeline.workflows.optimization_plan import DataSelection, OptimizationPlan, SelectedCalls, WalkForward
from quantbot_pipeline.workflows.simulation_inputs import SimulationInputs, StoredInputs, StoredMonth
from quantbot_pipeline.workflows.token_months import month_of

BEGIN = datetime(2025, 1, 1, tzinfo=UTC)
BEGIN_S = int(BEGIN.timestamp())
HOUR = 3_600
DAYS, TOKENS, CALLS = 150, 6, 200

TEMPLATE: dict[str, Any] = {
    "name": "searched",
    "entry": {"type": "immediate"},
    "exits": {"targets": [{"multiple": 1.1, "size": 1.0}], "stop_loss": {"initial": 0.1}},
    "horizon_seconds": 24 * HOUR,
}
SPACE: dict[str, Any] = {
    "parameters": [
        {"path": "exits.targets[0].multiple", "type": "float", "low": 1.03, "high": 1.4},
        {"path": "exits.stop_loss.initial", "type": "float", "low": 0.03, "high": 0.4},
        {"path": "horizon_seconds", "type": "categorical", "choices": [12 * HOUR, 24 * HOUR]},
    ]
}


def market(seed: int, edge: float) -> tuple[list[CallRow], dict[tuple[TokenKey, int], Candles]]:
    """Random walks of an hour's candles without drift, but for what every call adds to the half day after it."""
    rng = np.random.default_rng(seed)
    hours = DAYS * 24
    times = BEGIN_S + HOUR * np.arange(hours, dtype=np.int64)
    calls, candles = [], {}
    called_at = np.sort(rng.integers(24, hours - 48, CALLS))
    of_token = rng.integers(TOKENS, size=CALLS)
    market_steps = rng.normal(0, 0.006, hours)
    for number in range(TOKENS):
        token = TokenKey("binance", f"T{number}_USDT")
        steps = market_steps + 0.015 * rng.standard_t(4, hours) / np.sqrt(2)
        # The mean of exp(step) is 1: holding earns nothing on average.
        steps -= np.log(np.exp(steps).mean())
        for hour in called_at[of_token == number].tolist():
            steps[hour + 1 : hour + 13] += edge / 12
        close = np.exp(np.cumsum(steps))
        opened = np.concatenate([[1.0], close[:-1]])
        candles[token, HOUR] = Candles(
            timestamp=times,
            open=opened,
            high=np.maximum(opened, close),
            low=np.minimum(opened, close),
            close=close,
            volume=np.full(hours, 1e9),
            interval_seconds=HOUR,
        )
        calls += [
            CallRow(
                call_id=int(call) + 1,
                token_id=number + 1,
                token=token,
                caller_id=1,
                caller=CallerKey("file", "caller"),
                side=Side.BUY,
                signal_type=SignalType.ENTRY,
                signal_timestamp=BEGIN + timedelta(hours=int(called_at[call])),
                alert_price=None,
                alert_market_cap=None,
            )
            for call in np.flatnonzero(of_token == number)
        ]
    return calls, candles


def judged(
    seed: int,
    *,
    edge: float = 0.0,
    sampler: Sampler = "random",
    trials: int = 24,
    strays: int = 0,
    objective: str = "final_pnl",
    **changes: Any,
) -> Judgement:
    """Return what a job on a made-up market is worth; everything but the stores is the job's own code.

    `strays` calls lie before all candles, 90 days from each other.
    """
    calls, candles = market(seed, edge)
    old = [BEGIN - timedelta(days=90 * (number + 1)) for number in range(strays)]
    calls += [replace(calls[0], call_id=10_000 + number, signal_timestamp=at) for number, at in enumerate(old)]
    begin = min([BEGIN, *old])
    strategy = parse_strategy(TEMPLATE)
    config = strategy.model_dump(mode="json", by_alias=True)
    tokens = {token for token, _ in candles}
    months = frozenset(month_of(BEGIN + timedelta(days=day)) for day in range(DAYS))
    plan = OptimizationPlan(
        name="made up",
        template=StrategyRow(
            strategy_id=1,
            name="searched",
            version="1",
            category="",
            config=config,
            config_hash=config_hash(strategy),
            is_active=True,
        ),
        search=SearchPlan(
            space=parse_search_space(SPACE, template=config),
            objective=parse_objective(objective),
            sampler=sampler,
            seed=seed,
            trial_count=trials,
        ),
        space_document=SPACE,
        data=DataSelection(),
        selected=SelectedCalls(
            dict.fromkeys(tokens, months), None, begin, BEGIN + timedelta(days=DAYS + 1), is_partial=False
        ),
        draws=499,
        **changes,
    )
    stored = {
        key: [StoredMonth(month_of(BEGIN), len(each), int(each.timestamp[0]), int(each.timestamp[-1]))]
        for key, each in candles.items()
    }
    probes = probes_of(plan)
    data = JobData(plan, SimulationInputs.of_loaded(StoredInputs(calls, stored), candles, probes))
    found = data.calls(probes)
    assert len(found) == CALLS + strays
    with TrialMeter(data, found, plan.objective, threads=1, widen=lambda _: data) as meter:
        judge = JobJudge(plan, found, meter, probes)
        measured: dict[int, MeasuredTrial] = {}

        def evaluate(batch: Sequence[Trial], _: int) -> list[Any]:
            results = meter.measure([trial.strategy for trial in batch if trial.strategy is not None], judge.windows)
            for trial, result in zip(batch, results, strict=True):
                assert isinstance(result, MeasuredTrial)
                measured[trial.index] = result
            return [measured[trial.index].metrics for trial in batch]

        def take(records: Sequence[TrialRecord], _: SearchTally) -> None:
            for record in records:
                judge.take(record, measured.pop(record.index))

        tally = run_search(plan.search, evaluate, take_batch=take)
        return judge.judge(tally)


def answer(judgement: Judgement) -> str:
    assert judgement.verdict is not None
    return str(judgement.verdict["answer"])


def test_jobs_on_noise_are_not_told_from_luck() -> None:
    found = [answer(judged(seed)) for seed in range(18)] + [answer(judged(100 + s, sampler="tpe")) for s in range(2)]
    # At most one of twenty may err; seeds are fixed, so this is always the same count.
    assert found.count(Answer.DISTINGUISHABLE) <= 1, found
    assert found.count(Answer.NOT_DISTINGUISHABLE) >= 15, found


@pytest.mark.parametrize("sampler", ["random", "tpe"])
def test_a_planted_edge_is_found(sampler: Sampler) -> None:
    judgement = judged(1, edge=0.06, sampler=sampler)
    assert answer(judgement) == Answer.DISTINGUISHABLE, judgement.verdict
    assert judgement.verdict is not None
    assert judgement.evidence is not None
    assert judgement.verdict["permutation"]["p_value"] <= 0.05
    assert len(judgement.evidence["walk_forward"]["windows"]) == 5
    assert judgement.evidence["combinatorial"]["chosen_by"] == "max:final_pnl"
    assert min(judgement.evidence["combinatorial"]["path_means"]) > 0
    trades = judgement.evidence["walk_forward"]["trades"]
    assert len(trades["pnl"]) == judgement.verdict["walk_forward"]["trade_count"]
    # Each window's choice was made before its trades, with what was known then.
    assert judgement.verdict["walk_forward"]["searched_inside"] is True
    laid_out = judgement.evidence["trials_laid_out"]
    assert laid_out == (24 if sampler == "tpe" else 0)


def test_old_calls_without_candles_move_no_window() -> None:
    judgement = judged(1, edge=0.06, strays=25)
    assert judgement.verdict is not None
    assert judgement.evidence is not None
    walk, without = judgement.evidence["walk_forward"], judged(1, edge=0.06).evidence
    assert without is not None
    assert walk["windows"] == without["walk_forward"]["windows"]
    # 30 % of 200 calls are for learning alone, 140 are tested by five windows.
    assert [window["test_calls"] for window in walk["windows"]] == [28] * 5
    assert (walk["reason"], walk["calls_without_candles"]) == ("", 25)
    assert answer(judgement) == Answer.DISTINGUISHABLE
    caution = next(each for each in judgement.verdict["cautions"] if "no candles" in each)
    assert caution.startswith("25 of 225 calls have no candles and are in no window; the others lie from 2025-01-")


@pytest.mark.parametrize(("limit", "empty"), [(13, 3), (11, 1)])
def test_windows_that_choose_nothing_say_why_and_what_to_do(limit: int, empty: int) -> None:
    # The system quality number grows with the number of trades: what all calls reach, the first windows don't.
    judgement = judged(1, edge=0.06, strays=3, shuffles=0, objective=f"final_pnl subject to sqn >= {limit}")
    assert judgement.verdict is not None
    assert judgement.evidence is not None
    walk = judgement.evidence["walk_forward"]
    assert [window["params"] for window in walk["windows"]].count(None) == empty
    assert walk["reason"].startswith(f"{empty} of 5 windows chose nothing, because no trial has a score on the ")
    assert walk["reason"].endswith("; select more calls, ease the limits of the objective, or widen the space")
    said = "\n".join([*judgement.verdict["reasons"], *judgement.verdict["cautions"]])
    assert walk["reason"] in said
    assert said.count("chose nothing") == 1


def test_a_range_of_seconds_beyond_the_data_is_told_of(monkeypatch: pytest.MonkeyPatch) -> None:
    long = {"path": "horizon_seconds", "type": "int", "low": HOUR, "high": 10**10}
    monkeypatch.setitem(SPACE, "parameters", [*SPACE["parameters"][:2], long])
    verdict = judged(1, trials=4, shuffles=0).verdict
    assert verdict is not None
    assert any("horizon_seconds goes up to 10,000,000,000 seconds, but" in each for each in verdict["cautions"])


def test_a_search_without_any_window_says_so_first() -> None:
    judgement = judged(1, strays=3, shuffles=0, walk_forward=WalkForward(embargo_seconds=10**9))
    assert judgement.verdict is not None
    assert judgement.evidence is not None
    why = judgement.evidence["walk_forward"]["reason"]
    assert why.startswith("200 samples give no walk-forward window")
    assert judgement.verdict["reasons"] == [f"The walk-forward made 0 trades; 30 are needed: {why}."]
    assert judgement.verdict["cautions"][-1].startswith("3 of 203 calls have no candles")


@pytest.mark.deep
def test_at_most_five_in_a_hundred_jobs_on_noise_are_told_from_luck() -> None:
    found = [answer(judged(1_000 + seed, sampler="tpe" if seed % 10 == 0 else "random")) for seed in range(200)]
    assert found.count(Answer.DISTINGUISHABLE) <= 10, found.count(Answer.DISTINGUISHABLE)
