"""`quantbot trials`: what a search found, and whether its winner is luck."""

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

import typer

from quantbot_pipeline.cli.console import output, print_json, print_line, print_rows, visible
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.option_values import LARGEST_ID

if TYPE_CHECKING:
    from quantbot_pipeline.optimization.tally import TrialRecord
    from quantbot_pipeline.report.search_content import SearchContent

DEFAULT_TOP = 10

_TRIALS_HELP = flowing(
    """Show the trials of a search, best first, and its verdict; the search that was completed last without JOB.

Of a search that keeps no row per trial, the best ones are shown. Trials without a score come last, with the reason.
'quantbot report' draws the newest searches.

Examples:
  quantbot trials
  quantbot trials 3 --top 20
  quantbot trials 3 --top 5 --json
  quantbot trials 3 --export-study sqlite:///search.db
"""
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command(help=_TRIALS_HELP)
    def trials(
        job: int | None = typer.Argument(
            None, help="Id of the search; the last completed one without it.", min=1, max=LARGEST_ID, metavar="JOB"
        ),
        top: int = typer.Option(DEFAULT_TOP, min=1, help="How many trials to show."),
        export_study: str | None = typer.Option(
            None, help="Write the trials as a study of Optuna too, such as sqlite:///search.db.", metavar="URL"
        ),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print them as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.errors import InputError
        from quantbot_pipeline.report.search_collect import collect_search

        with open_stores() as stores:
            search = collect_search(stores.state, job, top=top)
            if export_study is not None and search is not None:
                from quantbot_pipeline.workflows.export_study import export_job

                export_job(stores.state, search.job_id, export_study)
        if search is not None:
            print_search(search, top=top, as_json=as_json)
        elif job is not None:
            raise InputError(f"JOB: there is no search {job}; 'quantbot trials' shows the last one")
        elif as_json:
            print_json({"trials": []})
        else:
            print_line("no trials are stored; start a search with 'quantbot optimize --template NAME'")


def search_document(search: "SearchContent", *, top: int) -> dict[str, Any]:
    """Return a search and its best trials as JSON.

    Args:
        search: As it is stored.
        top: How many trials at most.
    """
    verdict = search.verdict
    return {
        "job": search.job_id,
        "name": search.name,
        "status": search.status,
        "template": search.template,
        "objective": search.objective,
        "sampler": search.sampler or None,
        "seed": search.seed,
        "trial_count": search.trial_count,
        "counts": dict(search.counts),
        "verdict": verdict
        and {
            "answer": verdict.answer,
            "reasons": list(verdict.reasons),
            "passed": list(verdict.passed),
            "cautions": list(verdict.cautions),
        },
        "note": search.note or None,
        "front": [trial.index for trial in search.front] if len(search.goals) > 1 else None,
        "trials": [_trial(search, trial) for trial in _listed(search, top)],
    }


def print_search(search: "SearchContent", *, top: int, as_json: bool, about: Mapping[str, Any] | None = None) -> None:
    """Print a search: its verdict in words and a table of its best trials, or one JSON document.

    Args:
        search: As it is stored.
        top: How many trials at most.
        as_json: Print JSON.
        about: What the JSON document says besides.
    """
    if as_json:
        print_json(dict(about or {}) | search_document(search, top=top))
        return
    from quantbot_pipeline.report.search_words import state_counts

    print_line(f"search {search.job_id}: {search.name}")
    counts = f": {state_counts(search.counts, separator=',')}" if search.counts else ""
    trials = "1 trial" if search.trial_count == 1 else f"{search.trial_count:,} trials"
    print_line(f"{trials}{counts}; objective {search.objective}")
    if search.status != "completed":
        print_line(f"status: {search.status}")
    if search.note:
        _print_indented(search.note, indent=0)
    _print_verdict(search)
    listed = _listed(search, top)
    if listed:
        print_rows("Best trials", [_row(search, trial) for trial in listed])
    if len(listed) < search.trial_count and not search.is_sample:
        print_line(f"all of them: quantbot trials {search.job_id} --top {search.trial_count}")
    elif len(listed) < search.trial_count:
        print_line("this search keeps no row for its other trials; 'quantbot report' draws a sample of them")


def _print_verdict(search: "SearchContent") -> None:
    from rich.text import Text

    from quantbot_pipeline.report.search_words import untested_sentence, verdict_class, verdict_sentence

    verdict = search.verdict
    output.print()
    if verdict is None:
        output.print(Text(untested_sentence(search), style="bold yellow"))
        output.print()
        return
    style = {"yes": "bold green", "no": "bold red"}.get(verdict_class(verdict.answer), "bold yellow")
    output.print(Text(visible(verdict_sentence(verdict.answer)), style=style))
    for reason in verdict.marked_reasons():
        _print_indented(f"- {reason}")
    if verdict.cautions:
        output.print("Besides:")
        for caution in verdict.cautions:
            _print_indented(f"- {caution}")
    output.print()


def _print_indented(text: str, *, indent: int = 2) -> None:
    from rich.padding import Padding
    from rich.text import Text

    output.print(Padding(Text(visible(text)), (0, 0, 0, indent)))


def _listed(search: "SearchContent", top: int) -> list["TrialRecord"]:
    """Return the best trials and behind them, if there is room, those without a score."""
    best = list(search.best[:top])
    if search.is_sample or len(best) == top:
        return best
    return [*best, *(trial for trial in search.trials if trial.scores is None)][:top]


def _trial(search: "SearchContent", trial: "TrialRecord") -> dict[str, Any]:
    from quantbot_pipeline.report.search_words import in_order

    return {
        "trial": trial.index,
        "state": trial.state,
        "score": None if trial.scores is None else trial.scores[0],
        "scores": None if trial.scores is None else list(trial.scores),
        "reason": trial.reason or None,
        "run": search.run_ids.get(trial.index),
        "params": dict(in_order(search, trial.params)),
        "metrics": dict(trial.metrics or {}),
    }


def _row(search: "SearchContent", trial: "TrialRecord") -> dict[str, Any]:
    from quantbot_pipeline.report.search_content import value_text
    from quantbot_pipeline.report.search_words import in_order, metric

    scores = trial.scores or (None,) * len(search.goals)
    row: dict[str, Any] = {"trial": trial.index}
    heads = [goal.text.removeprefix("max:").removeprefix("min:") for goal in search.goals]
    if len(set(heads)) < len(heads):
        heads = [goal.text for goal in search.goals]
    # Narrow heads leave room for the parameters; the objective stands above the table.
    # A score is shown as the metric that it is of: a drawdown of 0.3 and not of -0.3.
    row |= {
        head: None if score is None else goal.shown(score)
        for head, goal, score in zip(heads, search.goals, scores, strict=False)
    }
    if len(search.goals) > 1:
        row["front"] = trial.index in {each.index for each in search.front}
    trades = metric(trial, "trade_count")
    row["trades"] = None if trades is None else int(trades)
    lines = [f"{path} = {value_text(value)}" for path, value in in_order(search, trial.params)]
    if trial.reason:
        lines.append(f"({trial.reason})")
    return row | {"parameters": "\n".join(lines)}
