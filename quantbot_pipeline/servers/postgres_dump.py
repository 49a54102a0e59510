"""Copies of one Postgres database in a file, by `pg_dump` and `pg_restore` of the embedded server's wheel.

Knows nothing of tables. Works for any server that is not newer than the wheel's.
"""

import os
import subprocess
from collections.abc import Sequence
from pathlib import Path

from psycopg.conninfo import conninfo_to_dict, make_conninfo

from quantbot_pipeline.errors import StorageError
from quantbot_pipeline.servers.postgres_server import postgres_programs

_SHOWN_LINES = 3


def dump_database(url: str, file: Path, *, snapshot: str) -> None:
    """Write one database to a file in the custom format of `pg_dump`.

    Args:
        url: libpq URL.
        file: Where to; replaced when it is there.
        snapshot: Name of a snapshot that an open transaction exported: the copy holds what that one sees.

    Raises:
        StorageError: the server or the disk refuses; the message has what `pg_dump` said.
    """
    _run(
        "pg_dump",
        url,
        # Owners and rights are the other server's own matter.
        ["--format=custom", "--no-owner", "--no-privileges", f"--snapshot={snapshot}", f"--file={file}"],
        f"a copy in {file}",
    )


def restore_database(url: str, file: Path) -> None:
    """Fill an empty database from a file of `dump_database`, in one transaction: all of it or nothing.

    Raises:
        StorageError: the server refuses; the message has what `pg_restore` said.
    """
    _run(
        "pg_restore",
        url,
        ["--single-transaction", "--exit-on-error", "--no-owner", "--no-privileges", str(file)],
        f"filling a database from {file}",
    )


def _run(program: str, url: str, arguments: Sequence[str], purpose: str) -> None:
    # Others can read a command line, so the password travels in the environment.
    parameters = {name: str(value) for name, value in conninfo_to_dict(url).items() if value is not None}
    password = parameters.pop("password", None)
    environment = dict(os.environ) | ({} if password is None else {"PGPASSWORD": password})
    finished = subprocess.run(  # noqa: S603 - a program of the wheel
        [str(postgres_programs() / program), f"--dbname={make_conninfo(**parameters)}", "--no-password", *arguments],
        env=environment,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="replace",
        check=False,
    )
    if finished.returncode != 0:
        lines = [line.strip() for line in finished.stderr.splitlines() if line.strip()]
        raise StorageError(
            f"Postgres: {purpose} failed: {' | '.join(lines[:_SHOWN_LINES]) or f'exit code {finished.returncode}'}"
        )
