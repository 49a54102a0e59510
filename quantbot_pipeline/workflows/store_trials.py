"""Trials of a search on their way to Postgres: their runs, measured without a trace, and their rows, in bulk.

A trial's run is claimed and completed like any other, under the key over all that it reads, so a trial that was
measured before, by whatever job, is found. Its events come later, and only if it is among the best.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantbot_pipeline.optimization.tally import TrialRecord
from quantbot_pipeline.storage.protocols import StateStore
from quantbot_pipeline.storage.records import NewTrial
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.optimization_data import JobData
from quantbot_pipeline.workflows.run_identity import METRICS_ONLY
from quantbot_pipeline.workflows.run_simulations import lock_name, new_run, run_summary

ROWS_PER_WRITE = 64
"""Trials that are stored together: a kill costs the time to simulate this many again."""


@dataclass(frozen=True, slots=True)
class MeasuredRecord:
    """A trial before it is stored.

    Attributes:
        record: What became of it.
        strategy: What was simulated; None for a trial that was not run over all calls.
    """

    record: TrialRecord
    strategy: Strategy | None


def store_trials(job_id: int, trials: Sequence[MeasuredRecord], data: JobData, state: StateStore) -> None:
    """Store trials, and the runs of those that were run over all calls."""
    run_ids = _store_runs([trial for trial in trials if trial.strategy is not None], data, state)
    state.store_trials(job_id, [_row(trial.record, run_ids.get(trial.record.index)) for trial in trials])


def _store_runs(trials: Sequence[MeasuredRecord], data: JobData, state: StateStore) -> dict[int, int]:
    """Store runs, and return their ids by the number of the trial."""
    if not trials:
        return {}
    requests, runs = [], []
    for trial in trials:
        assert trial.strategy is not None  # noqa: S101  the caller chose them
        request = data.request(trial.strategy)
        requests.append(request)
        runs.append(new_run(request, data.reading(trial.strategy).selection))
    with state.exclusive_runs({lock_name(request) for request in requests}):
        claims = state.claim_runs(runs)
        summaries = {
            claim.run_id: run_summary(claim, trial.record.metrics or {}, digest=METRICS_ONLY, event_count=0)
            for claim, trial in zip(claims, trials, strict=True)
            if not claim.is_complete
        }
        state.complete_runs(list(summaries.values()))
        # A run that was found is shown again, should another one of its scope have taken its place meanwhile.
        state.reactivate_runs(sorted({claim.run_id for claim in claims if claim.is_complete}))
    return {trial.record.index: claim.run_id for trial, claim in zip(trials, claims, strict=True)}


def _row(record: TrialRecord, run_id: int | None) -> NewTrial:
    return NewTrial(
        trial_index=record.index,
        params=record.params,
        simulation_run_id=run_id,
        metrics=record.metrics or {},
        score=None if record.scores is None else record.scores[0],
        state=record.state,
        scores=record.scores,
        violation=record.violation,
        reason=record.reason,
        look_scores=record.look_scores,
    )


def load_records(state: StateStore, job_id: int) -> list[TrialRecord]:
    """Return the stored trials of a job, by their number."""
    rows = state.read("optimization/load_trials", job_id=job_id).to_pylist()
    return sorted((_record(row) for row in rows), key=lambda record: record.index)


def _record(row: Mapping[str, Any]) -> TrialRecord:
    scores, looks = row["scores_json"], row["look_scores_json"]
    return TrialRecord(
        index=row["trial_index"],
        params=json.loads(row["trial_params_json"]),
        state=row["state"],
        scores=None if scores is None else tuple(map(float, json.loads(scores))),
        violation=row["violation"],
        reason=row["reason"],
        look_scores=tuple(
            None if each is None else tuple(map(float, each)) for each in (json.loads(looks) if looks else [])
        ),
        metrics=json.loads(row["metrics_json"]) or None,
    )
