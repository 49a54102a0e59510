"""A search in a few kilobytes of Markdown, for places that show no more than that, such as Dagster's metadata."""

import re
from collections.abc import Sequence

from quantbot_pipeline.optimization.tally import TrialRecord
from quantbot_pipeline.report.search_content import SearchContent, first_score, shortened, value_text
from quantbot_pipeline.report.search_figures import improvements
from quantbot_pipeline.report.search_importance import estimate_importance
from quantbot_pipeline.report.search_words import (
    goal_number,
    in_order,
    state_counts,
    untested_sentence,
    verdict_sentence,
)
from quantbot_pipeline.report.small_plots import plot_lines, plot_points

_BEST_TRIALS = 5
_FRONT_TRIALS = 10
_PARAMETERS = 12
_LENGTH = 60

# What Markdown or HTML act on; an entity is never acted on.
_ACTED_ON = re.compile(r"[&<>\"'\\`*_{}\[\]()#+\-.!|~:\n\r]")


def search_metadata(search: SearchContent) -> dict[str, str]:
    """Return Markdown by name: the verdict, the best trials, and small pictures of what there is to draw.

    Args:
        search: Its texts may hold anything.
    """
    found = {"verdict": _verdict(search), "states": _text(state_counts(search.counts) or "none")}
    if search.best:
        found["best_trials"] = _trials(search, search.best[:_BEST_TRIALS])
    if len(search.goals) > 1 and search.front:
        found["pareto_front"] = _front(search)
    goal = search.goals[0]
    scored = search.scored()
    if scored:
        best = [goal.shown(score) for _, score in improvements(scored)]
        found["history"] = plot_points(
            [(trial.index, goal.shown(first_score(trial) or 0.0)) for trial in scored],
            [*zip((index for index, _ in improvements(scored)), best, strict=True), (scored[-1].index, best[-1])],
            title=f"{shortened(goal.text, _LENGTH)} by trial, and the best so far",
        )
    if search.walk_forward is not None and search.walk_forward.days:
        curve = search.walk_forward
        found["walk_forward"] = plot_lines(
            {"unseen trades": curve.values},
            title=f"Mean result of {curve.trade_count} unseen trades, summed over time",
            first=str(curve.days[0]),
            last=str(curve.days[-1]),
        )
    if search.parameters:
        found["importance"] = _importance(search)
    return found


def _verdict(search: SearchContent) -> str:
    verdict = search.verdict
    if verdict is None:
        return _text(untested_sentence(search))
    lines = [f"**{_text(verdict_sentence(verdict.answer))}**", ""]
    lines += [f"- {_text(reason)}" for reason in verdict.marked_reasons()]
    if verdict.cautions:
        lines += ["", "Besides:", "", *(f"- {_text(caution)}" for caution in verdict.cautions)]
    return "\n".join(lines)


def _front(search: SearchContent) -> str:
    """Return the front from one end to the other, or as many of its trials, evenly chosen, as there is room for."""
    ordered = sorted(search.front, key=lambda trial: (-(first_score(trial) or 0.0), trial.index))
    count = min(_FRONT_TRIALS, len(ordered))
    shown = [ordered[k * (len(ordered) - 1) // max(count - 1, 1)] for k in range(count)]
    table = _trials(search, shown)
    return table if count == len(ordered) else f"{table}\n\n{_text(f'{count} of {len(ordered)} trials, evenly chosen')}"


def _trials(search: SearchContent, trials: Sequence[TrialRecord]) -> str:
    rows = [
        [
            str(trial.index),
            *(goal_number(score, goal) for score, goal in zip(trial.scores or (), search.goals, strict=False)),
            ", ".join(
                f"{path} = {shortened(value_text(value), _LENGTH)}" for path, value in in_order(search, trial.params)
            ),
        ]
        for trial in trials
    ]
    return _table(["trial", *(goal.text for goal in search.goals), "parameters"], rows)


def _importance(search: SearchContent) -> str:
    estimate = estimate_importance(search.parameters, search.trials)
    if not estimate.weights:
        return _text(estimate.refusal)
    rows = [
        [weight.path, f"{weight.share:.0%}", f"{weight.present_count}"] for weight in estimate.weights[:_PARAMETERS]
    ]
    return _table(["parameter", "importance", "scored trials with it"], rows)


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    lines = [[_text(shortened(head, _LENGTH)) for head in heads], ["---"] * len(heads)]
    lines += [[_text(cell) for cell in row] for row in rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _text(text: str) -> str:
    """Return a text that Markdown and HTML show as it is."""
    return _ACTED_ON.sub(lambda found: f"&#{ord(found[0])};", text)
