"""`quantbot simulate`."""

from pathlib import Path

import typer

from quantbot_pipeline.cli.console import output, print_json, progress_bar, rows_table


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def simulate(
        names: list[str] = typer.Option(
            [], "--strategy", help="Name of a stored strategy; repeatable. All without it."
        ),
        files: list[Path] = typer.Option([], "--file", help="Strategy file to store first; repeatable."),
        tokens: list[str] = typer.Option([], "--token", help="chain:address; repeatable. All with calls without it."),
        months: list[str] = typer.Option([], "--month", help="YYYY-MM; repeatable. All with calls without it."),
        *,
        force: bool = typer.Option(False, "--force", help="Compute complete runs anew; the rows must be identical."),
        as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
    ) -> None:
        """Simulate strategies on the stored calls; runs that are complete are reused.

        This writes runs without Dagster; the demo and the Dagster UI record materialisations too.
        """
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.errors import InputError, SimulationError
        from quantbot_pipeline.workflows.run_simulations import failed, plan_backtests, run_simulations
        from quantbot_pipeline.workflows.store_strategies import store_strategies
        from quantbot_pipeline.workflows.token_months import TokenMonth, month_of, month_start, parse_token

        wanted_tokens = {parse_token(text) for text in tokens}
        wanted_months = {f"{month_start(month):%Y-%m}" for month in months}
        with open_stores() as stores:
            stored = store_strategies(stores.state, files)
            known = {row.name for row in stored} | {row.name for row in stores.state.load_strategies()}
            for name in names:
                if name not in known:
                    raise InputError(f"strategy {name!r} is not stored; there are {', '.join(sorted(known))}")
            keys = {TokenMonth(call.token, month_of(call.signal_timestamp)) for call in stores.state.load_calls()}
            keys = {
                key
                for key in keys
                if (not wanted_tokens or key.token in wanted_tokens)
                and (not wanted_months or key.month in wanted_months)
            }
            rows = stores.state.load_strategies(names or None)
            with progress_bar("simulate") as listen:
                requests = plan_backtests(sorted(keys), rows, stores.state, stores.history)
                outcomes = run_simulations(requests, stores.state, stores.history, force=force, on_progress=listen)
        counts = {
            "token_months": len(keys),
            "runs": len(outcomes),
            "computed": sum(outcome.status == "computed" for outcome in outcomes),
            "reused": sum(outcome.status == "reused" for outcome in outcomes),
            "failed": len(failed(outcomes)),
            "new_events": sum(outcome.event_count for outcome in outcomes),
        }
        if as_json:
            print_json(counts)
        else:
            output.print(rows_table("Simulated", [counts]))
        if failed(outcomes):
            lines = [f"run {outcome.run_id}: {outcome.error}" for outcome in failed(outcomes)[:10]]
            raise SimulationError("\n".join([f"{counts['failed']} runs failed, the others are stored:", *lines]))
