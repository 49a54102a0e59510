"""`quantbot features list|build`."""

import typer

from quantbot_pipeline.cli.console import print_json, print_line, print_rows, progress_bar
from quantbot_pipeline.cli.help_text import flowing

_LIST_HELP = flowing(
    """List the features of calls: what each means, its unit, what it is made of and when it is unknown.

Examples:
  quantbot features list
  quantbot features list --json
"""
)

_BUILD_HELP = flowing(
    """Build the features of all calls, as they were known when each call was made.

Only calls whose candles, trades, earlier calls or alert changed since are built again. 'quantbot train' builds what it
needs itself. This writes to the databases without Dagster.

Columns of the alert files can be features too, by their name there; those that tell what became of a call, such as
max_gain, are refused.

Examples:
  quantbot features build
  quantbot features build --strategy ladder-dip --json
  quantbot features build --feature attribute:score --feature attribute:initial_mc
"""
)


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    group = typer.Typer(help="Features of calls: what was known when each was made.", no_args_is_help=True)
    app.add_typer(group, name="features")

    @group.command("list", help=_LIST_HELP)
    def list_features(
        *,
        as_json: bool = typer.Option(False, "--json", help="Print all of them as JSON."),
        as_page: bool = typer.Option(False, "--markdown", help="Print the page docs/features.md."),
    ) -> None:
        from dataclasses import asdict

        from quantbot_pipeline.errors import InputError
        from quantbot_pipeline.learning.feature_page import feature_page
        from quantbot_pipeline.learning.feature_registry import FEATURE_SET, FEATURES

        if as_json and as_page:
            raise InputError("--json and --markdown: found both; allowed is one of them")
        if as_page:
            typer.echo(feature_page(), nl=False)
        elif as_json:
            print_json({"version": FEATURE_SET, "features": [asdict(feature) for feature in FEATURES]})
        else:
            rows = [
                {
                    "name": feature.name,
                    "family": feature.family,
                    "unit": feature.unit,
                    "meaning": feature.meaning,
                }
                for feature in FEATURES
            ]
            print_rows(f"Features {FEATURE_SET}", rows)

    @group.command("build", help=_BUILD_HELP)
    def build(
        strategy: str = typer.Option(
            "conservative-24h", help="The strategy whose finished trades are a caller's record."
        ),
        feature: list[str] = typer.Option(
            [],
            help="A column of the alerts as a further feature, attribute:COLUMN; may be given again.",
            metavar="NAME",
        ),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print what was built as JSON."),
    ) -> None:
        from dataclasses import asdict

        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.errors import InputError
        from quantbot_pipeline.learning.hindsight import read_attribute_features

        attributes = read_attribute_features(feature)
        with open_stores() as stores:
            known = sorted({row.name for row in stores.state.load_strategies()})
            if strategy not in known:
                there = ", ".join(known) or "none: run 'quantbot backfill' first"
                raise InputError(f"--strategy: {strategy!r} is not stored; stored are {there}")
            from quantbot_pipeline.workflows.build_features import FeaturePlan, build_stored_features

            with progress_bar("features, tokens") as on_progress:
                counts = build_stored_features(
                    FeaturePlan(strategy, attributes), stores.state, stores.history, on_progress=on_progress
                )
        if as_json:
            print_json(asdict(counts))
            return
        print_line(
            f"features of {counts.calls:,} calls are up to date as {counts.feature_set}: {counts.built:,} built, "
            f"{counts.up_to_date:,} as they were; callers' records are made of {counts.known_trades:,} trades"
        )
