"""`quantbot backfill`."""

from pathlib import Path
from typing import TYPE_CHECKING

import typer

from quantbot_pipeline.cli.console import print_json, print_rows, print_warning, progress_bar, waiting
from quantbot_pipeline.cli.help_text import flowing

if TYPE_CHECKING:
    from quantbot_pipeline.ingest.tokens import TokenKey
    from quantbot_pipeline.storage.protocols import StateStore
    from quantbot_pipeline.workflows.token_months import TokenMonth

_HELP = flowing(
    """Simulate strategies on the stored calls; runs that are complete are reused.

Without --strategy and --file, all stored strategies are simulated. This writes runs without Dagster; the demo and the
Dagster UI record materialisations too.

Examples:
  quantbot backfill
  quantbot backfill --strategy conservative-24h --token binance:BONK_USDT --month 2025-03
  quantbot backfill --file mine.json --json
"""
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command(help=_HELP)
    def backfill(
        names: list[str] = typer.Option(
            [], "--strategy", help="Name of a stored strategy or preset; repeatable.", metavar="NAME"
        ),
        files: list[Path] = typer.Option([], "--file", help="Strategy file to store and simulate; repeatable."),
        tokens: list[str] = typer.Option(
            [], "--token", help="Tokens; repeatable. All with calls without it.", metavar="CHAIN:ADDRESS"
        ),
        months: list[str] = typer.Option(
            [], "--month", help="Months; repeatable. All with calls without it.", metavar="YYYY-MM"
        ),
        *,
        force: bool = typer.Option(False, "--force", help="Compute complete runs anew; the rows must be identical."),
        as_json: bool = typer.Option(False, "--json", help="Print the counts as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.errors import SimulationError
        from quantbot_pipeline.strategy.model import load_strategy
        from quantbot_pipeline.workflows.run_simulations import failed, plan_backtests, run_simulations
        from quantbot_pipeline.workflows.store_strategies import store_strategies
        from quantbot_pipeline.workflows.token_months import month_start, parse_token

        wanted_tokens = {parse_token(text) for text in tokens}
        wanted_months = {f"{month_start(month):%Y-%m}" for month in months}
        file_names = [load_strategy(file).name for file in files]
        with open_stores() as stores:
            _refuse_unknown(names, {*file_names, *(row.name for row in stores.state.load_strategies())})
            store_strategies(stores.state, files)
            keys = _token_months(stores.state, wanted_tokens, wanted_months)
            rows = stores.state.load_strategies([*names, *file_names] or None)
            with waiting("loading calls and candles"):
                requests = plan_backtests(keys, rows, stores.state, stores.history)
            with progress_bar("simulations") as listen:
                listen(0, len(requests), "")
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
            print_rows("Backfilled", [counts])
        if not keys:
            print_warning("no call is stored of what was asked for: 'quantbot ingest alerts' stores calls")
        elif not requests:
            print_warning("no candles are stored around these calls: 'quantbot ingest candles' stores them")
        if failed(outcomes):
            lines = [f"run {outcome.run_id}: {outcome.error}" for outcome in failed(outcomes)[:10]]
            raise SimulationError("\n".join([f"{counts['failed']} runs failed, the others are stored:", *lines]))


def _refuse_unknown(names: list[str], stored: set[str]) -> None:
    from quantbot_pipeline.errors import InputError
    from quantbot_pipeline.strategy.presets import preset_names

    known = stored | set(preset_names())
    for name in names:
        if name not in known:
            raise InputError(f"--strategy: {name!r} is not stored; there are {', '.join(sorted(known))}")


def _token_months(state: "StateStore", tokens: "set[TokenKey]", months: set[str]) -> "list[TokenMonth]":
    """Return the token-months that have calls, of some tokens and months or of all, sorted."""
    from quantbot_pipeline.workflows.token_months import TokenMonth, month_of

    keys = {TokenMonth(call.token, month_of(call.signal_timestamp)) for call in state.load_calls()}
    return sorted(key for key in keys if (not tokens or key.token in tokens) and (not months or key.month in months))
