"""Collects what is stored of a search, by the named queries in `sql/postgres/queries/report/`.

Jobs of an older version have no plan, tally or evidence: what can't be known is left out.
"""

import json
import math
from collections.abc import Iterable, Mapping, Sequence
from datetime import UTC, date, datetime
from typing import Any

from pydantic import TypeAdapter, ValidationError

from quantbot_pipeline.errors import QuantbotError
from quantbot_pipeline.optimization.objectives import parse_objective
from quantbot_pipeline.optimization.parameters import (
    CategoricalParameter,
    FloatParameter,
    IntParameter,
    Parameter,
    same_json,
)
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
    first_score,
)
from quantbot_pipeline.storage.protocols import StateStore

MOST_ROWS = 5_000
"""Trials that are read row by row; of a search that stores more the sample in its tally is drawn."""

BEST_TRIALS = 10

_REASONS_PER_STATE = 5

_PARAMETER: TypeAdapter[Parameter] = TypeAdapter(Parameter)


def collect_search(state: StateStore, job_id: int | None = None, *, top: int = BEST_TRIALS) -> SearchContent | None:
    """Return a search as it is stored; None if there is no such search.

    Args:
        state: Postgres.
        job_id: The job; without it the search that was completed last.
        top: How many of the best trials are listed, at least 1.

    Raises:
        StorageError: a query fails.
    """
    rows = state.read("report/load_search", job_id=job_id).to_pylist()
    if not rows:
        return None
    job = rows[0]
    tally = _document(job["tally_json"])
    # Rows hold every trial unless the job keeps the best ones alone; the tally holds a sample of all scored ones.
    total = sum(tally.get("counts", {}).values()) or job["stored_count"]
    has_every_row = job["stored_count"] >= total and job["stored_count"] <= MOST_ROWS
    stored = state.read(
        "report/load_search_trials",
        job_id=job["job_id"],
        trial_limit=MOST_ROWS if has_every_row else top,
        metrics_limit=top,
    ).to_pylist()
    return search_content(job, stored, has_every_row=has_every_row, top=top)


def search_content(
    job: Mapping[str, Any], stored: Sequence[Mapping[str, Any]], *, has_every_row: bool, top: int = BEST_TRIALS
) -> SearchContent:
    """Return a search from its rows.

    Args:
        job: Row of `report/load_search`.
        stored: Rows of `report/load_search_trials`, best first.
        has_every_row: Whether `stored` holds every trial.
        top: How many of the best trials are listed.
    """
    tally = _document(job["tally_json"])
    plan = _document(job["plan_json"])
    evidence = _document(job["evidence_json"])
    verdict = _document(job["verdict_json"])
    records = [_record(row) for row in stored]
    kept = {record.index: record for record in map(_kept_record, tally.get("best", []))}
    best = [record for record in records if first_score(record) is not None][:top]
    # The tally's records of the best come with their metrics, and are there also where their rows are not.
    listed = {record.index for record in best}
    best = sorted(
        [*best, *(record for record in kept.values() if record.index not in listed)],
        key=lambda record: (-(first_score(record) or -math.inf), record.index),
    )[:top]
    trials = records if has_every_row else _sampled(tally, best)
    front = [_kept_record(each) for each in tally.get("front", [])] or _front(records)
    counts = dict(tally.get("counts", {})) or _counts(records)
    return SearchContent(
        job_id=job["job_id"],
        name=job["name"],
        objective=job["objective"],
        goals=_goals(plan.get("objective") or job["objective"], job["objective"]),
        parameters=_parameters(_document(job["search_space_json"]), trials),
        status=job["status"],
        template=job["template"] or "",
        sampler=str(plan.get("sampler") or ""),
        seed=plan.get("seed"),
        trial_count=sum(counts.values()),
        counts=counts,
        reasons=_reasons(tally, records),
        trials=tuple(sorted(trials, key=lambda trial: trial.index)),
        is_sample=not has_every_row,
        best=tuple(best),
        front=tuple(front),
        dropped_from_front=int(tally.get("dropped_from_front") or 0),
        run_ids={row["trial_index"]: row["simulation_run_id"] for row in stored if row["simulation_run_id"]},
        verdict=_verdict(verdict),
        walk_forward=_walk_forward(evidence.get("walk_forward")),
        sharpes=_sharpes(evidence.get("sharpes"), verdict.get("deflated_sharpe")),
        overfitting=_overfitting(evidence.get("overfitting"), verdict.get("backtest_overfitting")),
        path_means=tuple(_finite_numbers((evidence.get("combinatorial") or {}).get("path_means") or ())),
        note=job["note"] or (job["error_message"] or "" if job["status"] == "failed" else ""),
    )


def _document(text: str | Mapping[str, Any] | None) -> Mapping[str, Any]:
    """Return a JSON column as a document; empty without one."""
    if text is None:
        return {}
    found = json.loads(text) if isinstance(text, str) else text
    return found if isinstance(found, Mapping) else {}


def _json(text: Any) -> Any:
    return json.loads(text) if isinstance(text, str) else text


def _record(row: Mapping[str, Any]) -> TrialRecord:
    scores = _json(row["scores_json"])
    if scores is None and row["score"] is not None:
        # A trial of an older version has the first one alone.
        scores = [row["score"]]
    metrics = _json(row["metrics_json"])
    return TrialRecord(
        row["trial_index"],
        _json(row["trial_params_json"]),
        row["state"],
        None if scores is None else tuple(_number(score) for score in scores),
        violation=row["violation"],
        reason=row["reason"],
        metrics=metrics,
    )


def _kept_record(document: Mapping[str, Any]) -> TrialRecord:
    scores = document["scores"]
    return TrialRecord(
        document["index"],
        dict(document["params"]),
        document["state"],
        None if scores is None else tuple(_number(score) for score in scores),
        violation=document.get("violation", 0.0),
        reason=document.get("reason", ""),
        metrics=document.get("metrics"),
    )


def _number(value: Any) -> float:
    """Return a stored number; what is none, such as the null that a NaN becomes, is NaN."""
    return float(value) if isinstance(value, int | float) else math.nan


def _finite(value: Any) -> float | None:
    return float(value) if isinstance(value, int | float) and math.isfinite(value) else None


def _finite_numbers(values: Iterable[Any]) -> list[float]:
    return [number for value in values if (number := _finite(value)) is not None]


def _sampled(tally: Mapping[str, Any], best: Sequence[TrialRecord]) -> list[TrialRecord]:
    """Return the trials of the tally's sample, and the best ones, which need not be in it."""
    found = {
        index: TrialRecord(index, dict(params or {}), "scored", (_number(score),))
        for index, score, params in (tally.get("sample") or {}).get("trials", [])
    }
    found |= {record.index: record for record in best}
    return list(found.values())


def _front(records: Sequence[TrialRecord]) -> list[TrialRecord]:
    scored = [record for record in records if first_score(record) is not None and len(record.scores or ()) > 1]
    return [scored[k] for k in pareto_front([record.scores for record in scored])]


def _counts(records: Iterable[TrialRecord]) -> dict[str, int]:
    counts: dict[str, int] = {}
    for record in records:
        counts[record.state] = counts.get(record.state, 0) + 1
    return counts


def _reasons(tally: Mapping[str, Any], records: Iterable[TrialRecord]) -> dict[str, list[tuple[int, str]]]:
    found = {state: [(index, reason) for index, reason in each] for state, each in (tally.get("reasons") or {}).items()}
    if not found:
        for record in sorted(records, key=lambda each: each.index):
            if record.scores is None and len(found.setdefault(record.state, [])) < _REASONS_PER_STATE:
                found[record.state].append((record.index, record.reason))
    return found


def _goals(objective: str | Mapping[str, Any], text: str) -> tuple[SearchGoal, ...]:
    try:
        goals = parse_objective(objective).goals
    except QuantbotError:
        # What an older version could read; its scores are shown as they are.
        return (SearchGoal(text),)
    return tuple(SearchGoal(str(goal), goal.direction == "min") for goal in goals)


def _parameters(space: Mapping[str, Any], trials: Sequence[TrialRecord]) -> tuple[Parameter, ...]:
    """Return what varies, in the order of the space; what it does not tell is read off the trials."""
    found: dict[str, Parameter] = {}
    for document in space.get("parameters") or []:
        try:
            parameter = _PARAMETER.validate_json(json.dumps(document))
        except ValidationError:
            continue
        found[parameter.path] = parameter
    unknown = sorted({path for trial in trials for path in trial.params} - found.keys())
    for path in unknown:
        found[path] = _inferred(path, [trial.params[path] for trial in trials if path in trial.params])
    return tuple(found.values())


def _inferred(path: str, values: Sequence[Any]) -> Parameter:
    numbers = [value for value in values if isinstance(value, int | float) and not isinstance(value, bool)]
    if len(numbers) == len(values):
        if all(isinstance(value, int) for value in numbers):
            return IntParameter(type="int", path=path, low=int(min(numbers)), high=int(max(numbers)))
        return FloatParameter(type="float", path=path, low=float(min(numbers)), high=float(max(numbers)))
    choices: list[Any] = []
    for value in values:
        if not any(same_json(choice, value) for choice in choices):
            choices.append(value)
    return CategoricalParameter(type="categorical", path=path, choices=tuple(choices))


def _verdict(document: Mapping[str, Any]) -> SearchVerdict | None:
    if not document.get("answer"):
        return None
    return SearchVerdict(
        str(document["answer"]),
        tuple(document.get("reasons") or ()),
        tuple(document.get("cautions") or ()),
        tuple(document.get("passed") or ()),
    )


def _walk_forward(document: Mapping[str, Any] | None) -> WalkForwardCurve | None:
    if not document:
        return None
    trades = document.get("trades") or {}
    by_day: dict[date, float] = {}
    count = 0
    for signal_s, pnl in zip(trades.get("signal_s") or (), trades.get("pnl") or (), strict=True):
        if (result := _finite(pnl)) is not None:
            day = datetime.fromtimestamp(signal_s, UTC).date()
            by_day[day] = by_day.get(day, 0.0) + result
            count += 1
    days = sorted(by_day)
    values = []
    total = 0.0
    for day in days:
        total += by_day[day]
        values.append(total / count)
    return WalkForwardCurve(
        tuple(days),
        tuple(values),
        count,
        tuple(_window(window) for window in document.get("windows") or ()),
        str(document.get("reason") or ""),
    )


def _window(document: Mapping[str, Any]) -> SearchWindow:
    return SearchWindow(
        test_from=datetime.fromisoformat(document["test_from"]).date(),
        test_to=datetime.fromisoformat(document["test_to"]).date(),
        trial=document.get("trial"),
        parameters=document.get("params"),
        score=_finite(document.get("score")),
        trade_count=int(document.get("trades") or 0),
        mean_pnl=_finite(document.get("mean_pnl")),
    )


def _sharpes(document: Mapping[str, Any] | None, deflated: Mapping[str, Any] | None) -> SharpeSpread | None:
    if not document:
        return None
    told = deflated or {}
    return SharpeSpread(
        ratios=tuple(_finite_numbers(document.get("per_period") or ())),
        period_seconds=int(document["period_seconds"]),
        winner=_finite(document.get("winner")),
        threshold=_finite(document.get("threshold")),
        probability=_finite(told.get("probability")),
        trial_count=int(told.get("trial_count") or 0),
        independent_count=_finite(told.get("independent_count")),
    )


def _overfitting(document: Mapping[str, Any] | None, estimate: Mapping[str, Any] | None) -> OverfittingSpread | None:
    probability = _finite((estimate or {}).get("probability"))
    if not document or probability is None:
        return None
    return OverfittingSpread(
        Histogram(tuple(map(float, document["logit_edges"])), tuple(map(int, document["logit_counts"]))), probability
    )
