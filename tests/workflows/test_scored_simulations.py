"""Strategies that ask for scores, on both stores: which scores runs read, and when that makes them stale."""

import json
from collections import Counter
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.learning.score_choice import ChosenScore
from quantbot_pipeline.storage.records import NewModel, StrategyRow
from quantbot_pipeline.workflows.backfill import BackfillCounts, explain_backfill, run_backfill
from quantbot_pipeline.workflows.backfill_records import select_backfill
from quantbot_pipeline.workflows.backfill_selection import Selection
from quantbot_pipeline.workflows.call_scores import ScoreCoverage
from quantbot_pipeline.workflows.optimization_plan import plan_optimization
from quantbot_pipeline.workflows.run_optimization import run_optimization
from quantbot_pipeline.workflows.run_simulations import run_simulations
from quantbot_pipeline.workflows.store_strategies import store_strategies
from tests.workflows.scene import BONK, MARCH, MINUTE, PEPE, Scene, alert, candle_rows

pytestmark = pytest.mark.timeout(900)

DAY = timedelta(days=1)


@pytest.fixture
def scored(scene: Scene) -> Scene:
    """Four calls on two tokens, and a strategy that waits two minutes for a score above 0.6."""
    scene.empty()
    for token in (BONK, PEPE):
        scene.history.insert_candles(candle_rows(token, MARCH, 180))
    scene.call(*(alert(k, MARCH + (10 + 15 * k) * MINUTE, token=(BONK, PEPE)[k % 2]) for k in range(4)))
    return scene


def asking(scene: Scene, model: str = "take", name: str = "picky", **more: Any) -> StrategyRow:
    when = {"score": model, "op": ">", "right": 0.6}
    return scene.strategy(name, entry={"type": "signal", "when": when, "max_wait_seconds": 120}, **more)


def register(scene: Scene, name: str = "take", version: str = "1", status: str = "ready") -> int:
    """Register a model and return its id; one that is ready deprecates the one before."""
    return scene.state.register_model(
        NewModel(
            name=name,
            version=version,
            model_type="logistic",
            input_features=("hour",),
            label_definition={"kind": "pnl_above"},
            storage_uri=f"file:///{name}-{version}",
            sha256="0" * 64,
            metrics={"beats_baseline": status != "failed", "verdict": "so it is said"},
            status=status,
            trained_until=MARCH,
        )
    )


def score(
    scene: Scene, model_id: int, scores: dict[int, float], *, until: datetime = MARCH, name: str = "take"
) -> None:
    count = len(scores)
    scene.history.insert_scores(
        pa.table(
            {
                "model_id": pa.array([model_id] * count, pa.int64()),
                "model_name": ["take"] * count,
                "call_id": pa.array(list(scores), pa.int64()),
                "trained_until": pa.array([int(until.timestamp())] * count, pa.int64()),
                "score": list(scores.values()),
                "feature_set": ["a set"] * count,
                "inputs_stamp": [""] * count,
                "values": pa.array([[("hour", 1.0)]] * count, pa.map_(pa.string(), pa.float64())),
            }
        )
    )


def fill(scene: Scene) -> BackfillCounts:
    keys = list(select_backfill(Selection(), scene.state).keys)
    return run_backfill(keys, scene.state.load_strategies(), scene.state, scene.history)


def why(scene: Scene) -> dict[str, int]:
    keys = list(select_backfill(Selection(), scene.state).keys)
    runs = explain_backfill(keys, scene.state.load_strategies(), scene.state, scene.history)
    return dict(Counter(f"{run.strategy.row.name} {run.key.token.address}: {run.staleness}" for run in runs))


def bought(scene: Scene) -> set[int]:
    """Return the calls that the current runs of the strategy bought."""
    rows = scene.ask_state("select id from simulation_runs where status = 'completed' and superseded_by is null")
    events = scene.history.load_events([run_id for (run_id,) in rows]).to_pylist()
    return {event["call_id"] for event in events if event["event_type"] == "entry"}


def test_a_backfill_buys_the_calls_that_the_model_likes(scored: Scene) -> None:
    asking(scored)
    score(scored, register(scored), {1: 0.9, 2: 0.1, 3: 0.61})
    counts = fill(scored)
    assert (counts.computed, counts.failed) == (2, 0)
    assert bought(scored) == {1, 3}
    # Three of the four calls have a score, and nothing needs a warning.
    assert counts.scores.document() == {"take": {"calls": 4, "scored": 3}}
    assert counts.scores.warnings() == []
    assert counts.scores.sentences() == ["scores of take: 3 of 4 calls have one: 3 by 1"]
    selections = [row for (row,) in scored.ask_state("select data_selection_json from simulation_runs order by id")]
    assert [found["scores"] for found in selections] == [{"take": {"1": 2}}, {"take": {"1": 1}}]


def test_a_score_by_a_model_that_learned_later_is_not_there_for_the_call(scored: Scene) -> None:
    asking(scored)
    model = register(scored)
    # Calls 1 to 4 come 10, 25, 40 and 55 minutes into March.
    score(scored, model, dict.fromkeys((1, 2, 3, 4), 0.9), until=MARCH + 25 * MINUTE)
    fill(scored)
    assert bought(scored) == {3, 4}


def test_a_new_score_makes_exactly_the_runs_stale_that_read_it(scored: Scene) -> None:
    asking(scored)
    scored.strategy("plain")
    model = register(scored)
    score(scored, model, {1: 0.9, 2: 0.1})
    fill(scored)
    fresh = {f"{name} {token}: up to date": 1 for name in ("picky", "plain") for token in (BONK.address, PEPE.address)}
    assert why(scored) == fresh
    # Of call 4, on PEPE.
    score(scored, model, {4: 0.9})
    stale = {key: count for key, count in fresh.items() if key != f"picky {PEPE.address}: up to date"}
    assert why(scored) == stale | {f"picky {PEPE.address}: new scores": 1}
    counts = fill(scored)
    assert (counts.computed, counts.reused) == (1, 3)
    assert counts.why["new scores"] == 1  # type: ignore[index]
    assert 4 in bought(scored)
    assert why(scored) == fresh
    # Candles are another reason than scores; both runs of the token read them.
    scored.history.insert_candles(candle_rows(PEPE, MARCH, 180, scale=2))
    assert why(scored) == {
        f"picky {BONK.address}: up to date": 1,
        f"plain {BONK.address}: up to date": 1,
        f"picky {PEPE.address}: new data": 1,
        f"plain {PEPE.address}: new data": 1,
    }


def test_a_model_that_is_trained_and_promoted_later_leaves_runs_of_the_past_alone(scored: Scene) -> None:
    asking(scored)
    score(scored, register(scored), {1: 0.9, 2: 0.1, 3: 0.9, 4: 0.1})
    fill(scored)
    before, keys = bought(scored), scored.ask_state("select run_key from simulation_runs order by id")
    second = register(scored, version="2")
    # It learned after the first three calls; of them it may say what it likes.
    score(scored, second, {1: 0.1, 2: 0.9, 3: 0.1}, until=MARCH + DAY)
    assert set(why(scored)) == {f"picky {token.address}: up to date" for token in (BONK, PEPE)}
    assert fill(scored).computed == 0
    # Back to the first one, by hand: what is in use now was in use then, or not, whatever is in use now.
    scored.state.change_model_status("take", "1", status="ready")
    assert fill(scored).computed == 0
    assert bought(scored) == before == {1, 3}
    assert scored.ask_state("select run_key from simulation_runs order by id") == keys


def test_of_two_versions_the_one_counts_that_had_learned_longer_before_the_call(scored: Scene) -> None:
    asking(scored)
    score(scored, register(scored), {1: 0.9, 3: 0.9})
    score(scored, register(scored, version="2"), {1: 0.1, 3: 0.1}, until=MARCH + 30 * MINUTE)
    fill(scored)
    assert bought(scored) == {1}


def test_another_version_that_says_the_same_is_another_run(scored: Scene) -> None:
    """A run names the models that it read."""
    asking(scored)
    score(scored, register(scored), {1: 0.9})
    fill(scored)
    score(scored, register(scored, version="2"), {1: 0.9}, until=MARCH + MINUTE)
    assert why(scored)[f"picky {BONK.address}: new scores"] == 1
    assert fill(scored).computed == 1
    assert len(scored.ask_state("select distinct run_key from simulation_runs")) == 3


def test_scores_of_a_failed_version_are_not_read(scored: Scene) -> None:
    asking(scored)
    score(scored, register(scored), {1: 0.1})
    score(scored, register(scored, version="2", status="failed"), {1: 0.9, 3: 0.9}, until=MARCH + MINUTE)
    fill(scored)
    assert bought(scored) == set()


@pytest.mark.parametrize(
    ("status", "told"),
    [(None, "strategy 'picky': model 'take' .* is not registered"), ("failed", "no version of it was ever ready")],
)
def test_a_model_that_no_score_may_come_from_is_refused_before_anything_runs(
    scored: Scene, status: str | None, told: str
) -> None:
    scored.strategy("plain")
    asking(scored)
    if status is not None:
        register(scored, status=status)
    with pytest.raises(InputError, match=told):
        fill(scored)
    with pytest.raises(InputError, match=told):
        why(scored)
    with pytest.raises(InputError, match=told):
        scored.plan(*scored.state.load_strategies())
    assert scored.runs() == []


def test_a_strategy_file_is_not_stored_before_its_model_can_be_used(scored: Scene, tmp_path: Path) -> None:
    """Stored, it would keep every backfill of all strategies from running."""
    when = {"score": "take", "op": ">", "right": 0.6}
    file = tmp_path / "picky.json"
    file.write_text(json.dumps({"name": "picky", "entry": {"type": "signal", "when": when}}))
    with pytest.raises(InputError, match="strategy 'picky': model 'take' of a condition on a score is not registered"):
        store_strategies(scored.state, [file])
    assert scored.state.load_strategies() == []
    register(scored)
    assert "picky" in {row.name for row in store_strategies(scored.state, [file])}


def test_a_model_that_says_nothing_of_any_call_is_warned_of(scored: Scene) -> None:
    asking(scored)
    register(scored)
    counts = fill(scored)
    assert (counts.computed, bought(scored)) == (2, set())
    [warning] = counts.scores.warnings()
    assert warning.startswith("none of 4 calls has a score of model 'take' that had learned before the call")
    coverage = ScoreCoverage()
    keys = list(select_backfill(Selection(), scored.state).keys)
    list(explain_backfill(keys, scored.state.load_strategies(), scored.state, scored.history, coverage=coverage))
    assert coverage.warnings() == [warning]


def test_a_backfill_says_which_versions_the_scores_are_of(scored: Scene) -> None:
    asking(scored)
    score(scored, register(scored, version="1"), dict.fromkeys((1, 2, 3), 0.9))
    score(scored, register(scored, version="2"), {3: 0.9}, until=MARCH + 30 * MINUTE)
    # Calls 1 and 2 are scored by the first version alone, which the second one deprecated.
    coverage = fill(scored).scores
    assert coverage.sentences() == ["scores of take: 3 of 4 calls have one: 2 by 1 (deprecated), 1 by 2"]
    assert coverage.versions_document() == {
        "take": [
            {"version": "1", "status": "deprecated", "scored": 2},
            {"version": "2", "status": "ready", "scored": 1},
        ]
    }


def test_runs_that_are_planned_one_by_one_read_the_same_as_a_backfill(scored: Scene) -> None:
    row = asking(scored)
    score(scored, register(scored), {1: 0.9, 2: 0.1, 3: 0.2})
    [request] = scored.plan(row)
    [part] = request.inputs
    assert {call.call_id: dict(call.scores) for call in part.calls} == {1: {"take": 0.9}, 3: {"take": 0.2}}
    assert part.scores[1] == {"take": ChosenScore(1, int(MARCH.timestamp()), 0.9)}
    run_simulations([request], scored.state, scored.history)
    counts = fill(scored)
    # The run of BONK is the one that was computed before.
    assert (counts.computed, counts.reused) == (1, 1)


def test_a_search_may_look_for_the_threshold(scored: Scene) -> None:
    asking(scored)
    model = register(scored)
    score(scored, model, {1: 0.9, 2: 0.7, 3: 0.5, 4: 0.3})
    space = {"parameters": [{"path": "entry.when.right", "type": "float", "low": 0.25, "high": 1.0, "step": 0.25}]}

    def search() -> Any:
        plan = plan_optimization(
            scored.state, template_name="picky", space_document=space, trial_count=4, sampler="grid", store_all=True
        )
        return run_optimization(plan, scored.state, scored.history)

    first = search()
    rows = scored.ask_state(
        "select (trial_params_json ->> 'entry.when.right')::float8, (metrics_json ->> 'trade_count')::int "
        "from optimization_trials order by 1"
    )
    # As many trades as scores above the threshold.
    assert rows == [(0.25, 4), (0.5, 2), (0.75, 1), (1.0, 0)]
    assert search().job_id == first.job_id
    score(scored, register(scored, version="2"), {1: 0.1}, until=MARCH + MINUTE)
    # It reads other scores now: another search.
    assert search().job_id != first.job_id


def test_a_search_over_scores_that_no_call_has_is_warned_of(scored: Scene) -> None:
    asking(scored)
    register(scored)
    space = {"parameters": [{"path": "entry.when.right", "type": "float", "low": 0.25, "high": 0.5, "step": 0.25}]}
    plan = plan_optimization(
        scored.state, template_name="picky", space_document=space, trial_count=2, sampler="grid", store_all=True
    )
    told: list[str] = []
    run_optimization(plan, scored.state, scored.history, warn=told.append)
    assert [text[:60] for text in told] == ["none of 4 calls has a score of model 'take' that had learned"]
    [(stored,)] = scored.ask_state("select data_json -> 'scores' from optimization_jobs")
    assert stored == {"take": {"calls": 4, "scored": 0}}
