"""A search's content without a database: a plateau in two parameters, and everything that can go wrong in a trial."""

import math
from collections import Counter
from dataclasses import replace
from datetime import date, timedelta
from typing import Any

from quantbot_pipeline.optimization.parameters import CategoricalParameter, FloatParameter, IntParameter, Parameter
from quantbot_pipeline.optimization.pareto import pareto_front
from quantbot_pipeline.optimization.tally import TrialRecord
from quantbot_pipeline.report.search_content import (
    Histogram,
    OverfittingSpread,
    SearchContent,
    SearchGoal,
    SearchVerdict,
    SearchWindow,
    SharpeSpread,
    WalkForwardCurve,
)

MULTIPLE = FloatParameter(type="float", path="exits.targets[0].multiple", low=1.2, high=5.0, log=True)
HOLD = IntParameter(type="int", path="exits.max_hold_seconds", low=3600, high=86400, step=3600)
ENTRY = CategoricalParameter(type="categorical", path="entry.type", choices=("immediate", "dip"))
DROP = FloatParameter(type="float", path="entry.drop", low=0.1, high=0.5, when={"entry.type": "dip"})
STOP = CategoricalParameter(type="categorical", path="exits.stop_loss.initial", choices=(0.2, 0.3, None))
PARAMETERS: tuple[Parameter, ...] = (MULTIPLE, HOLD, ENTRY, DROP, STOP)
SINGLE_GOAL = (SearchGoal("max:sqn"),)
TWO_GOALS = (SearchGoal("max:sharpe_ratio"), SearchGoal("min:max_drawdown", is_minimised=True))


def _share(index: int, prime: int) -> float:
    """Return a number in [0, 1) that is spread evenly over indices and looks drawn."""
    return math.sqrt(prime) * (index + 1) % 1


def trial(index: int, *, goal_count: int = 1, entry: str | None = None) -> TrialRecord:
    """Return a scored trial: the score rises with the multiple to 2.5 and falls from there, a dip entry adds to it."""
    params: dict[str, Any] = {
        MULTIPLE.path: 1.2 * (5.0 / 1.2) ** _share(index, 2),
        HOLD.path: 3600 * (1 + int(24 * _share(index, 3))),
        ENTRY.path: entry or ("dip" if index % 2 else "immediate"),
        STOP.path: STOP.choices[int(3 * _share(index, 7))],
    }
    if params[ENTRY.path] == "dip":
        params[DROP.path] = 0.1 + 0.4 * _share(index, 5)
    score = 1 - abs(math.log(params[MULTIPLE.path] / 2.5)) + 0.4 * (index % 2) + 0.1 * _share(index, 11)
    scores = (score, -0.2 - 0.3 * params[MULTIPLE.path] / 5)[:goal_count]
    metrics = {"trade_count": 40 + index % 30, "final_pnl": 0.05 * score, "win_rate": 0.4}
    return TrialRecord(index, params, "scored", scores, metrics=metrics)


def unlucky(index: int) -> TrialRecord:
    """Return a trial without a score, of every state in turn."""
    states = ("unscored", "pruned", "refused", "failed")
    state = states[index % 4]
    reason = {
        "unscored": "trade_count is 3; the objective asks for at least 30",
        "pruned": "score 0.1 after 10% of the calls",
        "refused": "exits.targets: sizes sum to 1.2; at most 1 is allowed",
        "failed": "token solana:X has no candles",
    }[state]
    return TrialRecord(index, trial(index).params, state, None, violation=1.0, reason=reason)  # type: ignore[arg-type]  # one of the four


def search(scored: int = 120, failed: int = 20, *, goal_count: int = 1, has_evidence: bool = True) -> SearchContent:
    """Return a search of so many trials with and without a score."""
    count = scored + failed
    # Spread evenly, so that every state is met everywhere.
    is_failed = {int(k * count / failed) for k in range(failed)} if failed else set()
    trials = tuple(unlucky(k) if k in is_failed else trial(k, goal_count=goal_count) for k in range(count))
    good = [each for each in trials if each.scores]
    best = tuple(sorted(good, key=lambda each: -(each.scores or (0.0,))[0])[:10])
    front = tuple(good[k] for k in pareto_front([each.scores for each in good]))
    content = SearchContent(
        job_id=3,
        name="laddered-dip-with-re-entry, sqn, tpe, seed 7",
        objective="max:sqn subject to trade_count >= 30",
        goals=SINGLE_GOAL if goal_count == 1 else TWO_GOALS,
        parameters=PARAMETERS,
        template="laddered-dip-with-re-entry",
        sampler="tpe",
        seed=7,
        trial_count=count,
        counts=Counter(each.state for each in trials),
        trials=trials,
        best=best,
        front=front,
    )
    return replace(content, **evidence(best[0] if best else None)) if has_evidence else content


def evidence(winner: TrialRecord | None) -> dict[str, Any]:
    """Return what a verdict was made of."""
    days = tuple(date(2025, 2, 3) + timedelta(days=k) for k in range(90))
    results = [0.02 * math.sin(k * 1.7) + 0.004 for k in range(90)]
    values = tuple(sum(results[: k + 1]) / 90 for k in range(90))
    windows = tuple(
        SearchWindow(
            days[0] + timedelta(days=18 * k),
            days[0] + timedelta(days=18 * (k + 1)),
            None if winner is None else winner.index,
            None if winner is None else winner.params,
            0.8,
            18,
            0.004,
        )
        for k in range(5)
    )
    return {
        "verdict": SearchVerdict(
            "not distinguishable from luck",
            (
                "The winner stands 1.9 standard errors above 0, where the best of 120 trials without an edge typically "
                "stands 2.4; p = 0.412, above the 0.05 allowed.",
                "Unseen trades of the walk-forward (90 in 90 periods) earned +0.40% each, with 95% confidence between "
                "-0.10% and +0.90%; p = 0.048, within the 0.05 allowed.",
            ),
            ("Deflated Sharpe ratio 0.61: the winner's 0.210 per period, where luck gives 0.190.",),
        ),
        "walk_forward": WalkForwardCurve(days, values, 90, windows),
        "sharpes": SharpeSpread(
            tuple(0.25 * math.sin(k) * _share(k, 13) for k in range(120)), 86_400, 0.21, 0.19, 0.61, 120, 14.2
        ),
        "overfitting": OverfittingSpread(
            Histogram((-3.0, -2.0, -1.0, 0.0, 1.0, 2.0, 3.0), (10, 20, 30, 50, 60, 30)), 0.3
        ),
        "path_means": tuple(0.004 + 0.01 * math.sin(k * 2.3) for k in range(15)),
    }


def named_search(text: str) -> SearchContent:
    """Return a small search in which every text that comes from outside is `text`."""
    made = search(30, 4)
    parameters = (
        MULTIPLE,
        CategoricalParameter(type="categorical", path=text, choices=(text, {"a": text}, None)),
    )
    trials = tuple(
        replace(
            each,
            params={MULTIPLE.path: each.params[MULTIPLE.path], text: (text, {"a": text}, None)[each.index % 3]},
            reason=each.reason and text,
        )
        for each in made.trials
    )
    return replace(
        made,
        name=text,
        objective=text,
        goals=(SearchGoal(text),),
        template=text,
        sampler=text,
        parameters=parameters,
        trials=trials,
        best=tuple(trials[each.index] for each in made.best),
        reasons={"failed": [(3, text)]},
        verdict=SearchVerdict(text, (text,), (text,)),
        note=text,
    )
