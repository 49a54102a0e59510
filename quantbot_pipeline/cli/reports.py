"""`quantbot report` and `quantbot views`."""

import typer

from quantbot_pipeline.cli.console import print_json, print_line, print_rows, waiting


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""

    @app.command()
    def report(*, as_json: bool = typer.Option(False, "--json", help="Print the path as JSON.")) -> None:
        """Apply the views and write the HTML report of what is stored now: one file that works offline."""
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.storage.views import apply_views
        from quantbot_pipeline.workflows.write_report import write_current_report

        with open_stores() as stores, waiting("writing the report"):
            apply_views(stores.urls.postgres, stores.urls.clickhouse)
            path = write_current_report(stores.state, stores.history, stores.settings.reports_directory)
        if as_json:
            print_json({"report": str(path)})
        else:
            print_line(f"report: {path}")

    group = typer.Typer(help="Views of both databases.", no_args_is_help=True)
    app.add_typer(group, name="views")

    @group.command()
    def apply(*, as_json: bool = typer.Option(False, "--json", help="Print the names as JSON.")) -> None:
        """Create or replace all views, in dependency order."""
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.storage.views import apply_views

        with open_stores() as stores, waiting("applying the views"):
            names = apply_views(stores.urls.postgres, stores.urls.clickhouse)
        if as_json:
            print_json({"views": names})
        else:
            for name in names:
                print_line(name)

    @group.command()
    def test(*, as_json: bool = typer.Option(False, "--json", help="Print JSON.")) -> None:
        """Run the tests in the views' headers on the stored rows; exit 1 if one fails."""
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.storage.views import apply_views, check_views

        with open_stores() as stores, waiting("testing the views"):
            apply_views(stores.urls.postgres, stores.urls.clickhouse)
            results = check_views(stores.urls.postgres, stores.urls.clickhouse)
        rows = [
            {
                "database": result.database,
                "view": result.view,
                "test": result.test,
                "result": "passed" if result.passed else f"{result.failures} rows fail",
            }
            for result in results
        ]
        if as_json:
            print_json(rows)
        else:
            print_rows("View tests", rows)
        raise typer.Exit(0 if all(result.passed for result in results) else 1)
