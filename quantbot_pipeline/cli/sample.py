"""`quantbot sample`."""

from pathlib import Path

import typer

from quantbot_pipeline.cli.console import print_json, print_line, waiting
from quantbot_pipeline.cli.help_text import flowing

_HELP = flowing(
    """Write a synthetic data set: wild tokens, callers of different skill, some bad rows.

Files of the same names are replaced, others are left alone.

Example:
  quantbot sample sample/ --tokens 5 --months 1 --seed 3
"""
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command(help=_HELP)
    def sample(
        directory: Path = typer.Argument(..., help="Folder to write to; made when missing.", metavar="FOLDER"),
        seed: int = typer.Option(7, min=0, max=2**63 - 1, help="Seed: the same seed writes the same files."),
        tokens: int = typer.Option(20, min=2, max=1000, help="Number of tokens."),
        months: int = typer.Option(3, min=1, max=60, help="Number of months of 5-minute candles."),
        alerts: int = typer.Option(400, min=60, max=1_000_000, help="Number of alert rows, bad ones included."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
    ) -> None:
        from quantbot_pipeline.sample.generate import SampleSpec, write_sample

        spec = SampleSpec(seed=seed, token_count=tokens, months=months, alert_count=alerts)
        with waiting("writing the sample"):
            files = write_sample(directory, spec)
        if as_json:
            print_json(
                {
                    "directory": str(files.directory),
                    "candle_files": [str(path) for path in files.candle_files],
                    "alert_files": [str(path) for path in files.alert_files],
                    "expected": files.expected,
                }
            )
            return
        print_line(f"wrote {len(files.candle_files)} candle files and {len(files.alert_files)} alert files")
        print_line(f"to {files.directory}")
        print_line(f"ingest them with: quantbot ingest candles {files.directory}/candles")
