"""What was asked of HTTP sources: ranges that need not be asked for again, and the pools that stand for tokens."""

from dataclasses import dataclass
from datetime import datetime
from types import TracebackType
from typing import Protocol, Self

from quantbot_pipeline.errors import StorageError
from quantbot_pipeline.storage.postgres_connection import PostgresConnections, PostgresTransaction


@dataclass(frozen=True, slots=True)
class StoredPool:
    """The pool whose candles stand for a token.

    Attributes:
        pool_address: Its address as the source spells it.
        side: `base` or `quote`: which of its two tokens the token is.
        pool_created_at: When it was made, UTC; None while unknown.
    """

    pool_address: str
    side: str
    pool_created_at: datetime | None


@dataclass(frozen=True, slots=True)
class FetchedRange:
    """One page that a source answered.

    Attributes:
        start: First open time that it covers, UTC.
        end: End of what it covers, exclusive, UTC.
        is_complete: Whether all of it is stored; else it was begun by a run that died or still runs.
    """

    start: datetime
    end: datetime
    is_complete: bool


class FetchLedger(Protocol):
    """What workflows may ask and tell about fetches; every write is idempotent."""

    def load_ranges(self, token_id: int, source: str, interval: str) -> list[FetchedRange]:
        """Return the ranges of a token, by start; they may touch and overlap."""
        ...

    def begin_range(
        self, token_id: int, source: str, interval: str, start: datetime, end: datetime, *, rows_received: int
    ) -> None:
        """Keep a range as begun, before anything of it is stored."""
        ...

    def complete_range(
        self, token_id: int, source: str, interval: str, start: datetime, end: datetime, *, rows_received: int
    ) -> None:
        """Keep a begun range as fetched, after all of it is stored."""
        ...

    def find_pool(self, token_id: int, source: str) -> StoredPool | None:
        """Return the pool that was chosen for a token."""
        ...

    def remember_pool(self, token_id: int, source: str, pool: StoredPool) -> StoredPool:
        """Keep the choice of a pool and return it; one that was made before stays and is returned."""
        ...


class PostgresFetchLedger:
    """The ledger in Postgres, tables `fetched_ranges` and `token_pools`."""

    def __init__(self, url: str) -> None:
        """Prepare the ledger; nothing is sent.

        Args:
            url: `postgresql://user:password@host:port/database`, migrated.
        """
        self._connections = PostgresConnections(url)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        error_type: type[BaseException] | None,
        error: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def close(self) -> None:
        """Close idle connections."""
        self._connections.close()

    def load_ranges(self, token_id: int, source: str, interval: str) -> list[FetchedRange]:
        """Return the ranges of a token, by start; they may touch and overlap."""
        rows = self._connections.run(
            lambda t: t.fetch_rows("fetches/load_ranges", token_id=token_id, source=source, interval=interval)
        )
        return [FetchedRange(row["start_at"], row["end_at"], row["is_complete"]) for row in rows]

    def begin_range(
        self, token_id: int, source: str, interval: str, start: datetime, end: datetime, *, rows_received: int
    ) -> None:
        """Keep a range as begun; one that is known stays as it is.

        Raises:
            StorageError: the range is empty, or there is no such token.
        """
        self._write_range("fetches/insert_range", token_id, source, interval, start, end, rows_received)

    def complete_range(
        self, token_id: int, source: str, interval: str, start: datetime, end: datetime, *, rows_received: int
    ) -> None:
        """Keep a begun range as fetched.

        Raises:
            StorageError: it was never begun.
        """
        written = self._write_range("fetches/complete_range", token_id, source, interval, start, end, rows_received)
        if written != 1:
            raise StorageError(
                f"range {start.isoformat()} to {end.isoformat()} of token {token_id} at {source} was never begun; "
                "begin_range comes before complete_range"
            )

    def _write_range(
        self,
        query: str,
        token_id: int,
        source: str,
        interval: str,
        start: datetime,
        end: datetime,
        rows_received: int,
    ) -> int:
        return self._connections.run(
            lambda t: t.execute(
                query,
                token_id=token_id,
                source=source,
                interval=interval,
                start_at=start,
                end_at=end,
                rows_received=rows_received,
            )
        )

    def find_pool(self, token_id: int, source: str) -> StoredPool | None:
        """Return the pool that was chosen for a token."""
        return self._connections.run(lambda t: _find_pool(t, token_id, source))

    def remember_pool(self, token_id: int, source: str, pool: StoredPool) -> StoredPool:
        """Keep the choice of a pool and return the one that counts, which is the first.

        Raises:
            StorageError: there is no such token.
        """

        def remember(transaction: PostgresTransaction) -> StoredPool:
            transaction.execute(
                "fetches/insert_pool",
                token_id=token_id,
                source=source,
                pool_address=pool.pool_address,
                side=pool.side,
                pool_created_at=pool.pool_created_at,
            )
            return _find_pool(transaction, token_id, source) or pool

        return self._connections.run(remember)


def _find_pool(transaction: PostgresTransaction, token_id: int, source: str) -> StoredPool | None:
    row = transaction.fetch_row("fetches/find_pool", token_id=token_id, source=source)
    return None if row is None else StoredPool(**row)
