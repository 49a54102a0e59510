"""Dagster's own storage: Postgres, at the address that this home's servers have when an instance opens.

`dagster.yaml` names this class instead of an address, so that no password is in a file or a variable, and every
Dagster command that is started in the project works as it is.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import sqlalchemy.exc
from dagster._config.config_schema import UserConfigSchema
from dagster._serdes import ConfigurableClassData
from dagster_postgres import DagsterPostgresStorage
from dagster_postgres.utils import DagsterPostgresException

from quantbot_pipeline.errors import ServerError, StorageError
from quantbot_pipeline.full_disks import describe_full_disk
from quantbot_pipeline.servers.embedded import ensure_servers
from quantbot_pipeline.settings import load_settings

_STATEMENT_TIMEOUT_MS = 120_000
_POOL_RECYCLE_SECONDS = 3_600
_MAX_OVERFLOW = 20
_LONGEST_REASON = 300


class HomePostgresStorage(DagsterPostgresStorage):
    """Dagster's storage in the database `dagster` of this home's Postgres, which is started when embedded."""

    @classmethod
    def config_type(cls) -> UserConfigSchema:
        """Return the schema of this class's part of `dagster.yaml`: nothing."""
        return {}

    @classmethod
    def from_config_value(
        cls,
        inst_data: ConfigurableClassData | None,
        config_value: Any,  # noqa: ARG003 - Dagster's signature
    ) -> "HomePostgresStorage":
        """Return the storage at the servers' address, with pooled connections."""
        storage = cls(postgres_url=ensure_servers(load_settings()).dagster_postgres, inst_data=inst_data)
        # Without this every query opens a connection of its own: 7 of 10 seconds of a run that computes little.
        for part in (storage.event_log_storage, storage.run_storage, storage.schedule_storage):
            part.optimize_for_webserver(
                statement_timeout=_STATEMENT_TIMEOUT_MS,
                pool_recycle=_POOL_RECYCLE_SECONDS,
                max_overflow=_MAX_OVERFLOW,
            )
        return storage


@contextmanager
def storage_errors() -> Iterator[None]:
    """Turn what Dagster's storage raises when Postgres goes away into this project's error."""
    try:
        yield
    except (sqlalchemy.exc.DBAPIError, DagsterPostgresException) as error:
        where = "the disk of Postgres, where Dagster keeps its records"
        if (full := describe_full_disk(error, where=where)) is not None:
            raise StorageError(f"{full}; what was finished is kept") from error
        raise ServerError(
            f"Postgres went away while Dagster recorded a run ({_reason(error)}); run the same command again: what was "
            "finished is kept"
        ) from error


def _reason(error: BaseException) -> str:
    """Return what the driver said, on one line, without the statement and its values."""
    cause: BaseException = error
    while isinstance(cause, DagsterPostgresException) and cause.__cause__ is not None:
        cause = cause.__cause__
    return " ".join(str(getattr(cause, "orig", None) or cause).split())[:_LONGEST_REASON]
