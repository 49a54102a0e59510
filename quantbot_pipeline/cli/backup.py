"""`quantbot backup` and `quantbot restore`."""

from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from quantbot_pipeline.cli.console import print_json, print_line, print_warning, progress_stages, waiting
from quantbot_pipeline.cli.help_text import flowing

if TYPE_CHECKING:
    from quantbot_pipeline.workflows.backup_folder import Manifest

_BACKUP_HELP = flowing(
    """Copy both databases, Dagster's records and the home's files into a new folder.

Everything may go on working meanwhile; what the copy holds is consistent. The folder has its name only when it is
whole, so one that is there can be restored. Inbox and logs are left out, reports too without --with-reports.

Examples:
  quantbot backup /backups/monday
  quantbot backup /backups/monday --with-reports --json
  (cd /backups/monday && sha256sum --check --quiet SHA256SUMS)
"""
)

_RESTORE_HELP = flowing(
    """Put a backup into a home and its databases, and bring the schema up to date.

Every file is checked first. A home that holds something is refused without --force, which destroys what is there; stop
Dagster's UI and daemon and all other commands before. A restore that was killed is run again; until it has ended, no
other command works with the home. Databases named by QUANTBOT_POSTGRES_URL and QUANTBOT_CLICKHOUSE_URL are filled
instead of embedded ones.

Examples:
  quantbot restore /backups/monday --into ~/restored
  quantbot down && quantbot restore /backups/monday --force
"""
)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    app.command("backup", help=_BACKUP_HELP)(backup)
    app.command("restore", help=_RESTORE_HELP)(restore)


def _new_folder(text: str) -> Path:
    if not text:
        raise typer.BadParameter("found no text; allowed is the path of a folder to make")
    return Path(text)


def backup(
    target: Path = typer.Argument(
        parser=_new_folder, metavar="TARGET", help="Folder to make; must not be there, or be empty."
    ),
    *,
    with_reports: bool = typer.Option(False, "--with-reports", help="Also copy reports, which can be made again."),
    as_json: bool = typer.Option(False, "--json", help="Print what was copied as JSON."),
) -> None:
    """Back up; its help is above."""
    from quantbot_pipeline.cli.stores import load_usable_settings
    from quantbot_pipeline.servers.embedded import ensure_servers
    from quantbot_pipeline.workflows.back_up import back_up

    settings = load_usable_settings()
    with waiting("connecting to the databases") as tell:
        urls = ensure_servers(settings, on_progress=tell)
    with progress_stages() as on_stage:
        done = back_up(settings, urls, target, with_reports=with_reports, on_stage=on_stage)
    if done.left_out:
        print_warning(
            f"tables of ClickHouse that are not the project's were left out: {', '.join(done.left_out)}; "
            "copy them yourself"
        )
    if as_json:
        print_json(
            {"backup": str(done.folder), "bytes": done.bytes, "left_out": done.left_out, **_described(done.manifest)}
        )
        return
    print_line(f"backup: {done.folder} ({done.bytes / 1e6:,.1f} MB in {len(done.manifest.files) + 2} files)")
    _print_counts(done.manifest)


def restore(
    directory: Path = typer.Argument(help="Folder that 'quantbot backup' made."),
    into: Path | None = typer.Option(None, help="Home to restore into; QUANTBOT_HOME without it."),
    *,
    force: bool = typer.Option(False, "--force", help="Destroy what the home and its databases hold."),
    as_json: bool = typer.Option(False, "--json", help="Print what was restored as JSON."),
) -> None:
    """Restore; its help is above."""
    from quantbot_pipeline.cli.stores import load_checked_settings, load_usable_settings
    from quantbot_pipeline.servers.embedded import ensure_servers
    from quantbot_pipeline.workflows.restore import check_backup
    from quantbot_pipeline.workflows.restore import restore as restore_backup

    load_checked_settings(into)
    with progress_stages() as on_stage:
        manifest = check_backup(directory, on_stage=on_stage)
    settings = load_usable_settings(into)
    with waiting("connecting to the databases") as tell:
        urls = ensure_servers(settings, on_progress=tell, for_restore=True)
    with progress_stages() as on_stage:
        done = restore_backup(directory, manifest, settings, urls, force=force, on_stage=on_stage)
    if as_json:
        print_json(
            {
                "home": str(settings.home),
                "files": done.files,
                "migrations_applied": done.migrations_applied,
                **_described(manifest),
            }
        )
        return
    print_line(f"restored {directory} of {manifest.taken_at:%Y-%m-%d %H:%M:%S} UTC into {settings.home}")
    for name in done.migrations_applied:
        print_line(f"applied {name}")
    _print_counts(manifest)


def _described(manifest: "Manifest") -> dict[str, Any]:
    return manifest.model_dump(
        mode="json",
        include={
            "taken_at",
            "quantbot_version",
            "postgres_version",
            "clickhouse_version",
            "postgres_rows",
            "dagster_rows",
            "clickhouse_rows",
        },
    )


def _print_counts(manifest: "Manifest") -> None:
    for what, rows in (
        ("state", manifest.postgres_rows),
        ("history", manifest.clickhouse_rows),
        ("Dagster's records", manifest.dagster_rows),
    ):
        print_line(f"{what}: {sum(rows.values()):,} rows in {len(rows)} tables")
