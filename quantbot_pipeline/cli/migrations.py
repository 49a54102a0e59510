"""`quantbot migrate`."""

from dataclasses import asdict

import typer

from quantbot_pipeline.cli.console import print_json, print_line, waiting


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command()
    def migrate(
        *,
        check: bool = typer.Option(False, "--check", help="Change nothing; exit 1 if something is missing or wrong."),
        as_json: bool = typer.Option(False, "--json", help="Print the result as JSON."),
    ) -> None:
        """Create or update all tables in both databases; each migration is applied once, in order.

        Other commands do this themselves; with --check, scripts learn whether there is something to do.
        """
        from quantbot_pipeline.cli.stores import load_usable_settings
        from quantbot_pipeline.servers.embedded import ensure_servers
        from quantbot_pipeline.storage import migrations

        settings = load_usable_settings()
        with waiting("connecting to the databases") as tell:
            urls = ensure_servers(settings, on_progress=tell)
        if check:
            pending = migrations.check_migrations(urls.postgres, urls.clickhouse)
            if as_json:
                print_json({"current": not pending, "pending": [asdict(item) for item in pending]})
            else:
                for fault in pending:
                    print_line(fault.message)
                if not pending:
                    print_line("the schema is current")
            raise typer.Exit(1 if pending else 0)
        with waiting("bringing the schema up to date"):
            applied = migrations.migrate(urls.postgres, urls.clickhouse)
        if as_json:
            print_json({"applied": [asdict(item) for item in applied]})
        else:
            for item in applied:
                print_line(f"applied {item.database} {item.name}")
            print_line("the schema is current")
