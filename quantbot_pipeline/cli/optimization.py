"""`quantbot optimize` and `quantbot trials`."""

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from quantbot_pipeline.cli.console import print_json, print_line, print_rows, progress_bar
from quantbot_pipeline.cli.help_text import flowing

if TYPE_CHECKING:
    from quantbot_pipeline.storage.postgres import PostgresStore

_OPTIMIZE_HELP = flowing(
    """Search the parameters of a strategy; each trial is a simulation run.

The search sees the first 70 % of the calls; the rest stays unseen. A job that ran already, with the same data, is the
stored one. This writes to the databases without Dagster.

An objective is a metric of a run, with :max or :min and a least number of trades where wanted.

Examples:
  quantbot optimize --template conservative-24h --trials 40
  quantbot optimize --template NAME --objective max_drawdown:min,min_trades=30
  quantbot optimize --template NAME --space space.json --sampler grid

A search space is JSON, such as
  {"parameters": \\[{"path": "entry.drop", "type": "float", "low": 0.1, "high": 0.5}]}
"""
)

_TRIALS_HELP = flowing(
    """Show the trials of a search, best first; the search that was completed last without JOB.

Example:
  quantbot trials 3 --top 5 --json
"""
)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""

    @app.command(help=_OPTIMIZE_HELP)
    def optimize(
        template: str = typer.Option(..., help="Name of a stored strategy or a preset.", metavar="NAME"),
        space: Path | None = typer.Option(None, help="Search space, JSON; a default space of the template without it."),
        objective: str = typer.Option("final_pnl", help="What to improve."),
        trials: int = typer.Option(12, min=1, max=100_000, help="Number of trials."),
        seed: int = typer.Option(7, min=0, max=2**32 - 1, help="Seed of the sampler: the same seed, the same trials."),
        sampler: Literal["tpe", "random", "grid"] = typer.Option("tpe", help="How parameters are proposed."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the job and its best trials as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.documents import read_json_object
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.errors import SearchSpaceError
        from quantbot_pipeline.optimization.objectives import parse_objective
        from quantbot_pipeline.workflows.run_optimization import plan_optimization, run_optimization
        from quantbot_pipeline.workflows.store_strategies import store_strategies

        parse_objective(objective)
        document = None if space is None else read_json_object(space, SearchSpaceError)
        with open_stores() as stores:
            store_strategies(stores.state)
            try:
                plan = plan_optimization(
                    stores.state,
                    template_name=template,
                    space_document=document,
                    objective=objective,
                    trial_count=trials,
                    seed=seed,
                    sampler=sampler,
                )
            except SearchSpaceError as error:
                raise SearchSpaceError(f"{space}: {error}" if space is not None else str(error)) from error
            with progress_bar("trials") as listen:
                listen(0, trials, "")
                outcome = run_optimization(plan, stores.state, stores.history, on_progress=listen)
            rows = _load_trials(stores.state, outcome.job_id)
        _print_trials(
            {"job": outcome.job_id, "name": plan.name, "reused": outcome.is_known}, rows, top=10, as_json=as_json
        )

    @app.command(help=_TRIALS_HELP)
    def trials(
        job: int | None = typer.Argument(
            None, help="Id of the search; the last completed one without it.", min=1, metavar="JOB"
        ),
        top: int = typer.Option(10, min=1, help="How many trials to show."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print them as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.errors import InputError

        with open_stores() as stores:
            if job is not None:
                if not stores.state.read("optimization/find_job_status", job_id=job).num_rows:
                    raise InputError(f"JOB: there is no search {job}; 'quantbot trials' shows the last one")
                about: dict[str, Any] = {"job": job}
                rows = _load_trials(stores.state, job)
            else:
                about, rows = _load_last_trials(stores.state, top)
        _print_trials(about, rows, top=top, as_json=as_json)


def _load_trials(state: "PostgresStore", job_id: int) -> list[dict[str, Any]]:
    return [_trial(row) for row in state.read("optimization/load_trials", job_id=job_id).to_pylist()]


def _load_last_trials(state: "PostgresStore", top: int) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    rows = state.read("report/rank_trials", trial_limit=top).to_pylist()
    about = {"name": rows[0]["job"], "objective": rows[0]["objective"]} if rows else {}
    return about, [_trial(row) for row in rows]


def _trial(row: dict[str, Any]) -> dict[str, Any]:
    metrics = json.loads(row["metrics_json"])
    return {
        "trial": row["trial_index"],
        "score": row["score"],
        "run": row.get("simulation_run_id"),
        "params": json.loads(row["trial_params_json"]),
        "metrics": metrics,
    }


def _print_trials(about: dict[str, Any], rows: list[dict[str, Any]], *, top: int, as_json: bool) -> None:
    if as_json:
        print_json(about | {"trials": rows[:top]})
        return
    if not rows:
        print_line("no trials are stored; start a search with 'quantbot optimize --template NAME'")
        return
    shown = [
        {
            "rank": rank,
            "trial": row["trial"],
            "score": row["score"],
            "trades": row["metrics"].get("trade_count"),
            "parameters": "\n".join(f"{path} = {_short(value)}" for path, value in row["params"].items()),
        }
        for rank, row in enumerate(rows[:top], start=1)
    ]
    if "name" in about:
        print_line(f"search {about['name']}{', stored already' if about.get('reused') else ''}")
    print_rows("Best trials", shown)
    if about.get("job") and len(rows) > top:
        print_line(f"all of them: quantbot trials {about['job']} --top {len(rows)}")


def _short(value: Any) -> str:
    return f"{value:.4g}" if isinstance(value, float) else str(value)
