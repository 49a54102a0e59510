"""`quantbot report`."""

import typer

from quantbot_pipeline.cli.console import print_json, print_line, waiting


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""

    @app.command()
    def report(*, as_json: bool = typer.Option(False, "--json", help="Print the path as JSON.")) -> None:
        """Apply the views and write the HTML report of what is stored now: one file that works offline."""
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.storage.views import build_views
        from quantbot_pipeline.workflows.write_report import write_current_report

        with open_stores() as stores, waiting("writing the report"):
            build_views(stores.urls.postgres, stores.urls.clickhouse).require_all()
            path = write_current_report(stores.state, stores.history, stores.settings.reports_directory)
        if as_json:
            print_json({"report": str(path)})
        else:
            print_line(f"report: {path}")
