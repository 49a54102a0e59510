"""`quantbot optimize`, and `quantbot trials` behind it."""

import json
from pathlib import Path
from typing import Any, Literal

import typer

from quantbot_pipeline.cli import trials as trials_command
from quantbot_pipeline.cli.console import progress_bar
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.trials import DEFAULT_TOP, print_search

_OPTIMIZE_HELP = flowing(
    """Search the parameters of a strategy, and say whether the winner is luck.

Every trial is simulated on all calls of --data; the best ones keep their full trace. Then parameters are chosen in one
stretch of time after the other, from what came before it alone, and what they earned there is what counts. A job that
ran already, with the same data, is the stored one. A job that was stopped, by Ctrl-C or a kill, goes on when the same
command is given again, or with --resume. This writes to the databases without Dagster.

An objective is a metric of a run, a weighted sum, or several, with limits where wanted.

Examples:
  quantbot optimize --template conservative-24h --trials 40
  quantbot optimize --template NAME --objective "sqn subject to trade_count >= 30 and max_drawdown <= 0.4"
  quantbot optimize --template NAME --space space.json --sampler qmc --trials 1000 --jobs 2
  quantbot optimize --template NAME --data '{"tokens": \\["solana:*"], "months": \\["2025-01..2025-03"]}'
  quantbot optimize --resume 3

A search space is JSON, such as
  {"parameters": \\[{"path": "entry.drop", "type": "float", "low": 0.1, "high": 0.5}]}
"""
)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    _register_optimize(app)
    trials_command.register(app)


def _register_optimize(app: typer.Typer) -> None:

    @app.command(help=_OPTIMIZE_HELP)
    def optimize(
        template: str | None = typer.Option(None, help="Name of a stored strategy or a preset.", metavar="NAME"),
        space: Path | None = typer.Option(None, help="Search space, JSON; a default space of the template without it."),
        objective: str = typer.Option("final_pnl", help="What to improve."),
        trials: int = typer.Option(12, min=1, max=1_000_000, help="Number of trials."),
        data: str | None = typer.Option(
            None, help="Calls to search on: tokens, months and callers, JSON or a file; all calls without it."
        ),
        seed: int = typer.Option(
            7, min=0, max=2**32 - 1, help="Seed of everything random: the same seed, the same job."
        ),
        sampler: Literal["tpe", "random", "grid", "cmaes", "nsga2", "qmc"] = typer.Option(
            "tpe", help="How parameters are proposed."
        ),
        jobs: int = typer.Option(1, min=1, max=256, help="Trials that are simulated at once; changes no result."),
        timeout: float | None = typer.Option(
            None, min=1, help="Seconds after which no further trial is begun; the job ends with what there is."
        ),
        resume: int | None = typer.Option(None, min=1, help="Go on with this stored search.", metavar="JOB"),
        keep: int = typer.Option(5, min=1, max=1_000, help="How many of the best trials keep their full trace."),
        prune: Literal["halving", "median"] | None = typer.Option(None, help="Give bad trials up early."),
        shuffles: int = typer.Option(99, min=0, max=9_999, help="Most shuffles of the calls' times in the last test."),
        *,
        store_all: bool = typer.Option(False, "--store-all", help="A row per trial also of more than 5 000 trials."),
        as_json: bool = typer.Option(False, "--json", help="Print the job, its verdict and its best trials as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.errors import InputError, SearchSpaceError
        from quantbot_pipeline.optimization.objectives import parse_objective
        from quantbot_pipeline.report.search_collect import collect_search
        from quantbot_pipeline.workflows.optimization_plan import (
            parse_data_selection,
            plan_of_job,
            plan_optimization,
        )
        from quantbot_pipeline.workflows.run_optimization import run_optimization
        from quantbot_pipeline.workflows.store_strategies import store_strategies

        if (template is None) == (resume is None):
            raise InputError("give either --template NAME, for a search, or --resume JOB, to go on with one")
        parse_objective(objective)
        document = None if space is None else _read_space(space)
        selection = parse_data_selection(_read_data(data))
        with open_stores() as stores:
            store_strategies(stores.state)
            try:
                plan = (
                    plan_of_job(stores.state, resume)
                    if resume is not None
                    else plan_optimization(
                        stores.state,
                        template_name=template or "",
                        space_document=document,
                        objective=objective,
                        trial_count=trials,
                        seed=seed,
                        sampler=sampler,
                        data=selection,
                        pruning=None if prune is None else {"kind": prune},
                        keep=keep,
                        store_all=store_all,
                        shuffles=shuffles,
                    )
                )
            except SearchSpaceError as error:
                raise SearchSpaceError(f"{space}: {error}" if space is not None else str(error)) from error
            with progress_bar("trials") as listen:
                listen(0, plan.trial_count, "")
                outcome = run_optimization(
                    plan,
                    stores.state,
                    stores.history,
                    threads=jobs,
                    timeout_seconds=timeout,
                    job_id=resume,
                    on_progress=listen,
                )
            found = collect_search(stores.state, outcome.job_id, top=DEFAULT_TOP)
        assert found is not None  # noqa: S101  the search has just been stored
        about = {
            "reused": outcome.is_known,
            "seconds": outcome.times,
        }
        print_search(found, top=DEFAULT_TOP, as_json=as_json, about=about)


def _read_space(path: Path) -> dict[str, Any]:
    from quantbot_pipeline.cli.documents import read_json_object
    from quantbot_pipeline.errors import SearchSpaceError

    return read_json_object(path, SearchSpaceError)


def _read_data(text: str | None) -> dict[str, Any] | None:
    """Return the document of --data, which is JSON, or a file of it."""
    from quantbot_pipeline.cli.documents import read_json_object
    from quantbot_pipeline.errors import InputError

    if text is None:
        return None
    if not text.lstrip().startswith("{"):
        return read_json_object(Path(text), InputError)
    try:
        found: dict[str, Any] = json.loads(text)
    except json.JSONDecodeError as error:
        raise InputError(f"--data: column {error.colno}: not JSON: {error.msg}") from error
    return found
