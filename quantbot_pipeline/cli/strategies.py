"""`quantbot strategies list|show|validate|schema`."""

import json
from pathlib import Path

import typer

from quantbot_pipeline.cli.console import print_json, print_rows
from quantbot_pipeline.cli.help_text import flowing

_SHOW_HELP = flowing(
    """Print a preset as JSON, to copy and change.

Give the copy a name of its own, or a new version.

Example:
  quantbot strategies show conservative-24h > mine.json
"""
)

_VALIDATE_HELP = flowing(
    """Check strategy files; names every field that is wrong and what is allowed. Stores nothing.

Example:
  quantbot strategies validate mine.json
"""
)


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    group = typer.Typer(help="Declarative strategies: presets and your own JSON files.", no_args_is_help=True)
    app.add_typer(group, name="strategies")

    @group.command("list")
    def list_presets(*, as_json: bool = typer.Option(False, "--json", help="Print the result as JSON.")) -> None:
        """List the presets that ship with the project, to simulate as they are or to copy and change."""
        from quantbot_pipeline.strategy.presets import load_preset, preset_names

        presets = [load_preset(name) for name in preset_names()]
        rows = [
            {
                "name": item.name,
                "version": item.version,
                "category": item.category,
                "description": item.description,
            }
            for item in presets
        ]
        if as_json:
            print_json(rows)
        else:
            print_rows("Presets", rows)

    @group.command(help=_SHOW_HELP)
    def show(name: str = typer.Argument(..., help="Name of a preset.", metavar="NAME")) -> None:
        from quantbot_pipeline.errors import StrategyError
        from quantbot_pipeline.strategy.presets import load_preset, preset_names

        if name not in preset_names():
            raise StrategyError(f"preset {name!r} is unknown; there are {', '.join(preset_names())}")
        print_json(load_preset(name).model_dump(mode="json", by_alias=True, exclude_none=True))

    @group.command(help=_VALIDATE_HELP)
    def validate(
        paths: list[Path] = typer.Argument(..., help="Strategy files, JSON.", metavar="FILE"),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
    ) -> None:
        from quantbot_pipeline.errors import StrategyError
        from quantbot_pipeline.strategy.model import config_hash, load_strategy

        checked, refused = [], []
        for path in paths:
            try:
                checked.append((path, load_strategy(path)))
            except StrategyError as error:
                refused.append(str(error))
        if refused:
            head = [f"{len(refused)} of {len(paths)} files are refused"] if len(refused) > 1 else []
            raise StrategyError("\n".join([*head, *refused]))
        rows = [{"file": str(path), "name": item.name, "config_hash": config_hash(item)} for path, item in checked]
        if as_json:
            print_json(rows)
        else:
            print_rows("Valid", rows)

    @group.command()
    def schema() -> None:
        """Print the JSON Schema of strategies, for editors that check while you type."""
        from quantbot_pipeline.strategy.model import strategy_json_schema

        typer.echo(json.dumps(strategy_json_schema(), indent=2))
