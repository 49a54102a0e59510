"""`quantbot migrate`."""

from dataclasses import asdict

import typer

from quantbot_pipeline.cli.console import messages, output, print_json


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def migrate(
        *,
        check: bool = typer.Option(False, "--check", help="Change nothing; exit 1 if something is missing or wrong."),
        as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
    ) -> None:
        """Create or update all tables in both databases; each migration is applied once, in order."""
        from quantbot_pipeline.servers.embedded import ensure_servers
        from quantbot_pipeline.settings import load_settings
        from quantbot_pipeline.storage import migrations

        with messages.status("starting the servers"):
            urls = ensure_servers(load_settings())
        if check:
            pending = migrations.check_migrations(urls.postgres, urls.clickhouse)
            if as_json:
                print_json({"current": not pending, "pending": [asdict(item) for item in pending]})
            else:
                for fault in pending:
                    output.print(str(fault), markup=False)
                output.print("the schema is current" if not pending else "run 'quantbot migrate'")
            raise typer.Exit(1 if pending else 0)
        applied = migrations.migrate(urls.postgres, urls.clickhouse)
        if as_json:
            print_json({"applied": [asdict(item) for item in applied]})
        else:
            for item in applied:
                output.print(f"applied {item}", markup=False)
            output.print("the schema is current")
