"""`quantbot score` and `quantbot drift`."""

from typing import TYPE_CHECKING

import typer

from quantbot_pipeline.cli.console import print_json, print_line, print_rows, print_warning, progress_stages, waiting
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.option_values import LARGEST_ID, read_instant

if TYPE_CHECKING:
    from quantbot_pipeline.workflows.model_drift import DriftReport
    from quantbot_pipeline.workflows.score_calls import ScoreCounts

_SCORE_HELP = flowing(
    """Score the calls that have no score yet with the models in use; again changes nothing.

A model scores calls that came after its training alone: what it says of calls that it learned from is no forecast.
Earlier calls are counted and left alone; 'quantbot train' stores what walk-forward models said of them. Features that
are missing are built first. A score whose features were corrected since is replaced. This writes to the databases
without Dagster.

Without --model all models in use score. A deprecated version keeps the scores that it has and gets no further ones,
because strategies read them; --model and --version with --dry-run count what it would score.

Examples:
  quantbot score
  quantbot score --model take-the-call --since 2025-11-01 --dry-run
  quantbot score --model take-the-call --calls 17,18 --json
  quantbot score --model take-the-call --version 3f2a9c41d0be --dry-run
"""
)

_DRIFT_HELP = flowing(
    """Tell whether the calls that a model scored lately look like those that it learned from.

Per feature and for the score: the population stability index, a shift from 0.1 and a large one from 0.25 on, where
that is more than chance explains for so many calls. Below 50 calls nothing is said. docs/models.md says how. Run
'quantbot score' first; nothing is computed or stored here. The exit code is 0 whatever is found, and with
--fail-on-drift 1 where a shift of a model is told; too few calls are none.

Without NAME all models in use are looked at.

Examples:
  quantbot drift
  quantbot drift take-the-call --days 7 --json
  quantbot drift --fail-on-drift || quantbot train
"""
)

_FEWEST_SHOWN = 10


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""

    @app.command(help=_SCORE_HELP)
    def score(
        model: str | None = typer.Option(None, help="A model; without it all that are in use.", metavar="NAME"),
        version: str | None = typer.Option(None, help="A version of it; without it the one in use."),
        since: str | None = typer.Option(None, help="Calls from this date or time on, UTC.", metavar="DATE"),
        calls: str | None = typer.Option(None, help="These calls alone.", metavar="ID[,ID…]"),
        *,
        dry_run: bool = typer.Option(False, "--dry-run", help="Count only; build and store nothing."),
        as_json: bool = typer.Option(False, "--json", help="Print the counts as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores

        first = None if since is None else read_instant(since, "--since")
        call_ids = None if calls is None else _call_ids(calls)
        with open_stores() as stores:
            with waiting("loading the libraries"):
                from quantbot_pipeline.workflows.score_calls import score_stored_calls
            with progress_stages() as on_stage:
                counts = score_stored_calls(
                    stores.state,
                    stores.history,
                    name=model,
                    version=version,
                    since=first,
                    call_ids=call_ids,
                    is_dry_run=dry_run,
                    on_stage=on_stage,
                )
        _print_counts(counts, is_dry_run=dry_run, as_json=as_json)

    @app.command(help=_DRIFT_HELP)
    def drift(
        name: str | None = typer.Argument(None, help="A model; without it all that are in use."),
        version: str | None = typer.Argument(None, help="A version of it; without it the one in use."),
        days: int = typer.Option(
            30, min=1, max=3_650, help="How far back from the newest scored call the calls of now reach."
        ),
        *,
        fails_on_drift: bool = typer.Option(
            False, "--fail-on-drift", help="End with exit code 1 where a shift is told."
        ),
        as_json: bool = typer.Option(False, "--json", help="Print all of it as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores

        with open_stores() as stores:
            with waiting("loading the libraries"):
                from quantbot_pipeline.workflows.model_drift import measure_model_drift
                from quantbot_pipeline.workflows.score_calls import models_to_score
            rows = models_to_score(stores.state, name, version, purpose="compared")
            with waiting("comparing calls"):
                reports = [measure_model_drift(row, stores.state, stores.history, days=days) for row in rows]
        if as_json:
            documents = [report.document() for report in reports]
            print_json(documents if name is None else documents[0])
        else:
            for report in reports:
                _print_drift(report)
        if fails_on_drift and any(report.told for report in reports):
            raise typer.Exit(1)


def _call_ids(text: str) -> list[int]:
    from quantbot_pipeline.errors import InputError

    parts = [part.strip() for part in text.split(",")]
    if not all(part.isascii() and part.isdigit() and len(part) < 20 and int(part) <= LARGEST_ID for part in parts):
        raise InputError(f"--calls: found {text!r}; allowed are ids of calls with commas between them, such as 17,18")
    return [int(part) for part in parts]


def _print_counts(counts: "list[ScoreCounts]", *, is_dry_run: bool, as_json: bool) -> None:
    from dataclasses import asdict

    if as_json:
        print_json({"is_dry_run": is_dry_run, "models": [asdict(each) for each in counts]})
        return
    print_rows(
        "Calls, if it were done" if is_dry_run else "Calls",
        [
            {
                "model": each.name,
                "version": each.version,
                "calls": each.calls,
                "scored": each.scored,
                "renewed": each.renewed,
                "scored before": each.already_scored,
                "before training": each.before_training,
                "without features": each.without_features,
            }
            for each in counts
        ],
        is_dense=True,
    )
    for each in counts:
        print_line(
            f"{each.name} had learned until {each.trained_until:%Y-%m-%d %H:%M:%S} UTC; it scores no call from before"
        )
        if each.without_features:
            print_warning(
                f"{each.without_features} calls came or changed while {each.name} scored; run 'quantbot score' again"
            )


def _print_drift(report: "DriftReport") -> None:
    print_line(report.sentence())
    if not report.columns:
        return
    shown = max(_FEWEST_SHOWN, sum(column.is_told for column in report.columns))
    print_line(
        f"{report.calls:,} calls from {report.first:%Y-%m-%d %H:%M} to {report.last:%Y-%m-%d %H:%M} UTC against "
        f"{report.training_calls:,} that it learned from"
    )
    print_rows(
        "Largest shifts",
        [
            {
                "column": column.name,
                "PSI": column.psi,
                "chance": column.chance,
                "verdict": column.verdict,
                "unknown before": f"{column.before[-1]:.0%}",
                "unknown now": f"{column.now[-1]:.0%}",
            }
            for column in report.columns[:shown]
        ],
    )
