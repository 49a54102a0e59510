"""`quantbot sample`."""

from pathlib import Path

import typer

from quantbot_pipeline.cli.console import messages, output, print_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def sample(
        directory: Path = typer.Argument(..., help="Folder to write to; made when missing."),
        seed: int = typer.Option(7, help="Seed: the same seed writes the same files."),
        tokens: int = typer.Option(20, min=1, max=2000, help="Number of tokens."),
        months: int = typer.Option(3, min=1, max=60, help="Number of months of 5-minute candles."),
        alerts: int = typer.Option(400, min=10, max=1_000_000, help="Number of alert rows, bad ones included."),
        *,
        as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
    ) -> None:
        """Write a synthetic data set: wild tokens, callers of different skill, some bad rows."""
        from quantbot_pipeline.sample.generate import SampleSpec, write_sample

        spec = SampleSpec(seed=seed, token_count=tokens, months=months, alert_count=alerts)
        with messages.status("writing the sample"):
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
        output.print(
            f"wrote {len(files.candle_files)} candle files and {len(files.alert_files)} alert files",
            markup=False,
        )
        output.print(f"to {files.directory}", markup=False, soft_wrap=True)
        output.print(
            f"ingest them with: quantbot ingest candles {files.directory}/candles",
            markup=False,
            soft_wrap=True,
        )
