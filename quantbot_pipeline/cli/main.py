"""The command `quantbot`: puts the command groups together and answers errors with one line."""

import sys
from collections.abc import Sequence

import typer

from quantbot_pipeline import __version__
from quantbot_pipeline.cli import demo, ingest, migrations, reports, sample, servers, simulations, strategies
from quantbot_pipeline.cli.console import messages
from quantbot_pipeline.errors import QuantbotError

_HELP = """Research lab for people who trade on calls.

Takes candles and alerts, simulates declarative strategies on every call, searches parameters, trains models, and
shows the whole lineage in Dagster. Start with 'quantbot demo'.
"""


def _print_version(*, is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(__version__)
        raise typer.Exit


def build_app() -> typer.Typer:
    """Return the command with all its groups."""
    app = typer.Typer(
        name="quantbot",
        help=_HELP,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    @app.callback()
    def _options(
        *,
        version: bool = typer.Option(
            False,
            "--version",
            callback=lambda value: _print_version(is_wanted=value),
            is_eager=True,
            help="Print the version.",
        ),
    ) -> None:
        """Options before the command."""

    for group in (demo, servers, migrations, sample, ingest, strategies, simulations, reports):
        group.register(app)
    return app


def main(arguments: Sequence[str] | None = None) -> None:
    """Run the command; a `QuantbotError` becomes one message and its exit code, never a stack trace."""
    try:
        build_app()(args=arguments)
    except QuantbotError as error:
        messages.print(f"[bold red]error:[/] {_escape(str(error))}", soft_wrap=True)
        sys.exit(error.exit_code)
    except KeyboardInterrupt:
        messages.print("stopped; what was finished is stored, run the command again to go on")
        sys.exit(130)


def _escape(text: str) -> str:
    # Square brackets in paths and values would be read as rich markup.
    return text.replace("[", r"\[")
