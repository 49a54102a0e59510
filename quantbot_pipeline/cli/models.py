"""`quantbot train` and `quantbot models list|show|promote|deprecate`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from quantbot_pipeline.cli.console import print_json, print_line, print_rows, print_warning, progress_bar, waiting
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.option_values import finite, read_seconds

if TYPE_CHECKING:
    from quantbot_pipeline.learning.labels import CandleLabel, TradeLabel
    from quantbot_pipeline.storage.records import ModelRow
    from quantbot_pipeline.workflows.train_models import ModelOutcome, ModelPlan

_TRAIN_HELP = flowing(
    """Build features and train a model that says which calls to take.

The label is whether the strategy's trade on a call earned more than the threshold; simulate the strategy first. The
model is tested walk-forward and on the latest quarter of the calls, against a constant and the caller's own record. It
is registered as ready when it beats both on the latest calls (p < 0.05), else as failed; docs/models.md says how. This
writes to the databases without Dagster.

--label takes pnl, or a file with a definition of docs/features.md. --strategy all learns the mean over all strategies
with finished trades, of the calls that every one of them traded: a choosy strategy leaves few. --by-strategy skips
strategies that have too few calls and says so; the exit code is 4 only if none has enough.

Examples:
  quantbot train --strategy conservative-24h
  quantbot train --threshold 0.1 --model logistic --seed 3 --json
  quantbot train --label pnl --model ranking --name rank-calls
  quantbot train --label up-half.json --model random_forest --search 20
  quantbot train --by-strategy --model logistic --class-weight balanced
"""
)

_SHOW_HELP = flowing(
    """Show a model: how it did beside its baselines, what it reads, and its card, which is written again.

Without VERSION the version in use, else the newest.

Examples:
  quantbot models show take-the-call
  quantbot models show take-the-call 3f2a9c41d0be --json
"""
)

_PROMOTE_HELP = flowing(
    """Make a version of a model the one in use; the one that was is deprecated in the same transaction.

Its file is verified and loaded first. Versions that failed against their baselines can't be promoted.

Example:
  quantbot models promote take-the-call 3f2a9c41d0be
"""
)

_DEPRECATE_HELP = flowing(
    """Take a version of a model out of use, the one in use without VERSION; it can be promoted again.

Example:
  quantbot models deprecate take-the-call
"""
)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""

    @app.command(help=_TRAIN_HELP)
    def train(
        strategy: str = typer.Option(
            "conservative-24h", help="The strategy whose trades are the label and the caller's record, or 'all'."
        ),
        threshold: float = typer.Option(
            0.0, callback=finite, help="Net pnl above which a trade is a success; 0.1 is 10 % of capital."
        ),
        label: str | None = typer.Option(None, help="What is learned: 'pnl', or a file.", metavar="pnl|FILE"),
        features: str | None = typer.Option(None, help="Version of the features; the only one is the default."),
        feature: list[str] = typer.Option(
            [],
            help="A column of the alerts as a further feature, attribute:COLUMN; may be given again.",
            metavar="NAME",
        ),
        model: Literal["hist_gbm", "logistic", "ridge", "random_forest", "ranking"] = typer.Option(
            "hist_gbm", help="Kind of model."
        ),
        name: str = typer.Option("take-the-call", help="Name of the model; one version of it is in use."),
        search: int = typer.Option(
            0, min=0, max=1_000, help="How many settings are tried beside the defaults, on training calls alone."
        ),
        class_weight: Literal["none", "balanced"] = typer.Option("none", help="balanced weighs the rarer class up."),
        calibration: Literal["sigmoid", "none"] = typer.Option("sigmoid", help="How scores become probabilities."),
        embargo: str = typer.Option("0", help="Time between the last training label and a test, such as 6h or 2d."),
        seed: int = typer.Option(7, min=0, max=2**32 - 1, help="Seed: the same data and seed give the same model."),
        *,
        by_strategy: bool = typer.Option(
            False, "--by-strategy", help="One model per stored strategy that has enough calls, named after it."
        ),
        group_by_token: bool = typer.Option(False, "--group-by-token", help="Never test a token that was trained on."),
        as_json: bool = typer.Option(False, "--json", help="Print the model and its metrics as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.errors import InputError
        from quantbot_pipeline.learning.feature_registry import FEATURE_SET
        from quantbot_pipeline.learning.hindsight import read_attribute_features
        from quantbot_pipeline.learning.model_addresses import require_file_name

        require_file_name("--name:", name)
        if features not in (None, FEATURE_SET):
            raise InputError(f"--features: found {features!r}; this version builds {FEATURE_SET!r} alone")
        embargo_seconds = read_seconds(embargo, "--embargo")
        attributes = read_attribute_features(feature)
        with open_stores() as stores:
            known = sorted({row.name for row in stores.state.load_strategies()})
            if strategy not in (*known, "all") or not known:
                there = ", ".join(known) or "none: run 'quantbot backfill' first"
                raise InputError(f"--strategy: {strategy!r} is not stored; stored are {there}")
            with waiting("loading the libraries"):
                from quantbot_pipeline.report import model_card as _  # noqa: F401 - loaded while it is said
                from quantbot_pipeline.workflows.build_features import build_stored_features
                from quantbot_pipeline.workflows.model_cards import write_model_card
                from quantbot_pipeline.workflows.train_models import (
                    find_model,
                    model_plans,
                    train_and_register,
                    train_each,
                )
            plans = model_plans(
                stores.state,
                by_strategy=by_strategy,
                label=_label(label, strategy),
                record_strategy=known[0] if strategy == "all" and "conservative-24h" not in known else "",
                attributes=attributes,
                name=name,
                strategy=strategy,
                threshold=threshold,
                model_type=model,
                seed=seed,
                search=search,
                class_weight=class_weight,
                calibration=calibration,
                embargo_seconds=embargo_seconds,
                group_by="token" if group_by_token else "none",
            )

            def train_one(plan: "ModelPlan") -> "tuple[ModelPlan, ModelOutcome, Path]":
                with progress_bar(f"features of {plan.features.strategy}, tokens") as on_progress:
                    build_stored_features(plan.features, stores.state, stores.history, on_progress=on_progress)
                with progress_bar(f"{plan.name}, steps") as on_progress:
                    outcome = train_and_register(
                        plan, stores.state, stores.history, stores.settings.models_folder, on_progress=on_progress
                    )
                row = find_model(stores.state, plan.name, outcome.version)
                return plan, outcome, write_model_card(row, stores.settings.reports_directory)

            trained, skipped = train_each(plans, train_one)
        for without, reason in skipped.items():
            print_warning(f"no model of {without}: {reason}")
        if as_json:
            documents = [_document(*each) for each in trained]
            documents += [{"strategy": each, "status": "skipped", "verdict": why} for each, why in skipped.items()]
            print_json(documents if by_strategy else documents[0])
            return
        for plan, outcome, card in trained:
            print_line(
                f"model {plan.name} version {outcome.version} is {outcome.status} and scored {outcome.scored_calls:,} "
                "calls"
            )
            if outcome.replaced:
                print_line(f"version {outcome.replaced}, which was in use, is deprecated now")
            print_line(outcome.result.reason)
            print_line(f"card: {card}")

    group = typer.Typer(help="Models that were trained, how they did, and which one is in use.", no_args_is_help=True)
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
            is_dense=True,
        )

    @group.command("show", help=_SHOW_HELP)
    def show(
        name: str = typer.Argument(help="Name of the model."),
        version: str | None = typer.Argument(None, help="Its version, or how it begins."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print all that is known of it as JSON."),
    ) -> None:
        from dataclasses import asdict

        from quantbot_pipeline.cli.stores import open_stores

        with open_stores() as stores:
            with waiting("loading the libraries"):
                from quantbot_pipeline.workflows.model_cards import drift_for_card, write_model_card
                from quantbot_pipeline.workflows.train_models import find_model
            row = find_model(stores.state, name, version)
            drift = drift_for_card(row, stores.state, stores.history)
            card = write_model_card(row, stores.settings.reports_directory, drift)
        if as_json:
            print_json(asdict(row) | {"card": str(card)})
            return
        _print_model(row, card)

    @group.command("promote", help=_PROMOTE_HELP)
    def promote_version(
        name: str = typer.Argument(help="Name of the model."),
        version: str = typer.Argument(help="The version to use, or the characters that it alone begins with."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the change as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores

        with open_stores() as stores:
            with waiting("loading the libraries"):
                from quantbot_pipeline.workflows.train_models import find_model, promote
            version = find_model(stores.state, name, version).version
            in_use = [row.version for row in stores.state.load_models(name) if row.status == "ready"]
            before = promote(stores.state, name, version)
        replaced = next((each for each in in_use if each != version), None)
        _print_change(name, version, before, "ready", replaced=replaced, as_json=as_json)

    @group.command("deprecate", help=_DEPRECATE_HELP)
    def deprecate_version(
        name: str = typer.Argument(help="Name of the model."),
        version: str | None = typer.Argument(None, help="The version to take out of use, or how it begins."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the change as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores

        with open_stores() as stores:
            with waiting("loading the libraries"):
                from quantbot_pipeline.workflows.train_models import deprecate
            row = deprecate(stores.state, name, version)
        _print_change(name, row.version, row.status, "deprecated", as_json=as_json)


def _label(text: str | None, strategy: str) -> "TradeLabel | CandleLabel | None":
    """Return the label's definition; None for a pnl above the threshold."""
    from quantbot_pipeline.learning.labels import Pnl, load_label_definition

    if text is None:
        return None
    if text == "pnl":
        return Pnl(name="pnl", strategy=strategy)
    return load_label_definition(Path(text))


def _document(plan: "ModelPlan", outcome: "ModelOutcome", card: Path) -> dict[str, Any]:
    result = outcome.result
    return {
        "model_id": outcome.model_id,
        "name": plan.name,
        "version": outcome.version,
        "model_type": plan.model_type,
        "status": outcome.status,
        "replaced": outcome.replaced,
        "scored_calls": outcome.scored_calls,
        "features": list(result.feature_names),
        "beats_baseline": result.beats_baseline,
        "verdict": result.reason,
        "metrics": result.metrics,
        "card": str(card),
    }


def _print_model(row: "ModelRow", card: Path) -> None:
    metrics = row.metrics
    print_line(f"model {row.name} version {row.version}: {row.model_type}, {row.status}")
    if metrics.get("verdict"):
        print_line(str(metrics["verdict"]))
    baselines = {
        name.removeprefix("baseline_").replace("_", " "): value
        for name, value in metrics.items()
        if name.startswith("baseline_") and isinstance(value, dict)
    }
    names = [name for name in metrics if any(name in each for each in baselines.values())]
    walk = metrics.get("out_of_fold") or {}
    print_rows(
        "On later calls",
        [
            {
                "metric": name.replace("_", " "),
                "model": metrics[name],
                **{baseline: value.get(name) for baseline, value in baselines.items()},
                "model, walk-forward": walk.get(name),
            }
            for name in names
        ],
        if_none="its row holds no metrics",
    )
    if metrics.get("pnl_uplift") is not None:
        print_line(
            f"taking only the {metrics['n_above_threshold']:,} calls beyond the threshold: mean pnl "
            f"{metrics['mean_pnl_above_threshold']:+.2%} against {metrics['mean_pnl_all']:+.2%} of all"
        )
    print_rows(
        "Most important features",
        [
            {"feature": each["feature"], "rise of the loss": each["rise"]}
            for each in (metrics.get("importance") or [])[:8]
        ],
        if_none=f"it reads {', '.join(row.input_features)}",
    )
    print_line(f"card: {card}")


def _print_change(
    name: str, version: str, before: str, after: str, *, replaced: str | None = None, as_json: bool
) -> None:
    if as_json:
        change = {"name": name, "version": version, "before": before, "status": after}
        print_json(change | ({"replaced": replaced} if replaced else {}))
    elif before == after:
        print_line(f"model {name} version {version} is {after} already")
    else:
        print_line(f"model {name} version {version} is {after} now; it was {before}")
    if replaced and not as_json:
        print_line(f"version {replaced}, which was in use, is deprecated now")
