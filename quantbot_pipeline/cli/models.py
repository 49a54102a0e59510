"""`quantbot train` and `quantbot models list`."""

import math
from typing import Literal

import typer

from quantbot_pipeline.cli.console import print_json, print_line, print_rows, waiting
from quantbot_pipeline.cli.help_text import flowing

_TRAIN_HELP = flowing(
    """Build features and train a model that says which calls to take.

The label is whether the strategy's trade on a call earned more than the threshold; simulate the strategy first. The
model is tested on the latest quarter of the calls and compared with baselines; the verdict is shown and stored. This
writes to the databases without Dagster.

Examples:
  quantbot train --strategy conservative-24h
  quantbot train --threshold 0.1 --model logistic --seed 3 --json
"""
)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""

    @app.command(help=_TRAIN_HELP)
    def train(
        strategy: str = typer.Option("conservative-24h", help="The strategy whose trades are the label."),
        threshold: float = typer.Option(0.0, help="Net pnl above which a trade is a success; 0.1 is 10 % of capital."),
        model: Literal["hist_gbm", "logistic"] = typer.Option("hist_gbm", help="Kind of model."),
        seed: int = typer.Option(7, min=0, max=2**32 - 1, help="Seed: the same data and seed give the same model."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the model and its metrics as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.errors import InputError

        if not math.isfinite(threshold):
            raise InputError(f"--threshold: found {threshold}; allowed is a finite number, such as 0.1")
        with open_stores() as stores:
            known = sorted({row.name for row in stores.state.load_strategies()})
            if strategy not in known:
                there = ", ".join(known) or "none: run 'quantbot backfill' first"
                raise InputError(f"--strategy: {strategy!r} is not stored; stored are {there}")
            with waiting("loading the libraries") as tell:
                from quantbot_pipeline.workflows.build_features import FeaturePlan, build_stored_features
                from quantbot_pipeline.workflows.learn import ModelPlan, train_and_register

                tell("building features")
                build_stored_features(FeaturePlan(strategy), stores.state, stores.history)
                tell("training and testing the model")
                plan = ModelPlan(strategy=strategy, threshold=threshold, model_type=model, seed=seed)
                outcome = train_and_register(plan, stores.state, stores.history, stores.settings.models_directory)
        result = outcome.result
        if as_json:
            print_json(
                {
                    "model_id": outcome.model_id,
                    "name": plan.name,
                    "version": outcome.version,
                    "model_type": model,
                    "scored_calls": outcome.scored_calls,
                    "features": list(result.feature_names),
                    "beats_baseline": result.beats_baseline,
                    "verdict": result.reason,
                    "metrics": result.metrics,
                }
            )
            return
        print_line(f"model {plan.name} version {outcome.version} is stored and scored {outcome.scored_calls:,} calls")
        print_line(result.reason)

    group = typer.Typer(help="Models that were trained, and how they did.", no_args_is_help=True)
    app.add_typer(group, name="models")

    @group.command("list")
    def list_models(*, as_json: bool = typer.Option(False, "--json", help="Print all of them as JSON.")) -> None:
        """List the registered models, newest first, with how they did against the baselines."""
        from dataclasses import asdict

        from quantbot_pipeline.cli.stores import open_stores

        with open_stores() as stores:
            rows = stores.state.load_models()
        if as_json:
            print_json([asdict(row) for row in rows])
            return
        print_rows(
            "Models",
            [
                {
                    "name": row.name,
                    "version": row.version,
                    "kind": row.model_type,
                    "status": row.status,
                    "ROC AUC": row.metrics.get("roc_auc"),
                    "beats baselines": row.metrics.get("beats_baseline"),
                }
                for row in rows
            ],
            if_none="no models are stored; train one with 'quantbot train'",
        )
