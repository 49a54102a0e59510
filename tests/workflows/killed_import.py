"""A process that imports candle files in tiny batches, and may kill itself between two steps of that.

Reads JSON from its standard input: postgres, clickhouse, files, rows_per_batch, and optionally store, method, after,
survived: which call ends the process, as kill -9 does. Prints the counts per file.
"""

import json
import os
import signal
import sys
from pathlib import Path
from typing import Any

from quantbot_pipeline.ingest import candle_streams
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.workflows import candle_bundles
from quantbot_pipeline.workflows.import_candles import import_candle_files


class _Fatal:
    """A store one of whose calls ends the process."""

    def __init__(self, store: Any, method: str, *, after: bool, survived: int) -> None:
        self._store = store
        self._method = method
        self._after = after
        self._survived = survived

    def __getattr__(self, name: str) -> Any:
        method = getattr(self._store, name)
        if name != self._method:
            return method

        def end(*values: Any, **named: Any) -> Any:
            self._survived -= 1
            if self._survived >= 0:
                return method(*values, **named)
            if self._after:
                method(*values, **named)
            os.kill(os.getpid(), signal.SIGKILL)
            raise AssertionError("unreachable")

        return end


def main() -> int:
    """Import, and end as asked."""
    asked = json.load(sys.stdin)
    candle_streams.ROWS_PER_BATCH = asked["rows_per_batch"]
    candle_bundles.ROWS_PER_BUNDLE = asked["rows_per_batch"]
    with PostgresStore(asked["postgres"]) as state, ClickHouseStore(asked["clickhouse"]) as history:
        stores: dict[str, Any] = {"state": state, "history": history}
        if "store" in asked:
            stores[asked["store"]] = _Fatal(
                stores[asked["store"]], asked["method"], after=asked["after"], survived=asked["survived"]
            )
        outcomes = import_candle_files([Path(name) for name in asked["files"]], stores["state"], stores["history"])
    records = [outcome.record for outcome in outcomes]
    counts = [
        [r.rows_read, r.rows_stored, r.rows_duplicate, r.rows_quarantined, r.details["conflict_count"]] for r in records
    ]
    sys.stdout.write(json.dumps(counts))
    return 0


if __name__ == "__main__":
    sys.exit(main())
