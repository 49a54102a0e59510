"""`ClickHouseStore`: the history store. Bulk rows travel as Arrow tables in both directions.

Times are int64 seconds since the epoch, UTC, in every Arrow table; ClickHouse keeps them as DateTime, whose
range is 1970 to 2106. ClickHouse wraps what is outside without a word, so it is refused here.
"""

from collections.abc import Collection, Mapping, Sequence
from types import TracebackType
from typing import Any, Self

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.engine import events_table
from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, Candles, FloatArray
from quantbot_pipeline.errors import DataError, StorageError
from quantbot_pipeline.ingest.checked_candles import CANDLE_SCHEMA, FLAG_RESAMPLED
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
from quantbot_pipeline.storage.clickhouse_contents import CandleContents
from quantbot_pipeline.storage.clickhouse_imports import CandleImports
from quantbot_pipeline.storage.clickhouse_resampling import CandleResampling

LATEST_SECOND = 2**32 - 1
"""Last time that a DateTime holds, 2106-02-07 06:28:15 UTC."""

WINDOWS_PER_QUERY = 500
"""Token windows that one query reads: some 40 kB of parameters."""

_FLAGS_FIELD = pa.field("flags", pa.uint8(), nullable=False)

EVENT_SCHEMA = pa.schema(
    [
        pa.field("simulation_run_id", pa.int64(), nullable=False),
        pa.field("chain", pa.string(), nullable=False),
        pa.field("token_address", pa.string(), nullable=False),
        *events_table.EVENT_SCHEMA,
    ]
)
"""One event per row; `event_time` in seconds since the epoch, UTC; `price` may be NaN."""

AGGREGATE_SCHEMA = pa.schema(
    [
        pa.field("simulation_run_id", pa.int64(), nullable=False),
        pa.field("chain", pa.string(), nullable=False),
        pa.field("token_address", pa.string(), nullable=False),
        pa.field("final_pnl", pa.float64(), nullable=False),
        pa.field("max_drawdown", pa.float64()),
        pa.field("volatility", pa.float64()),
        pa.field("sharpe_ratio", pa.float64()),
        pa.field("sortino_ratio", pa.float64()),
        pa.field("win_rate", pa.float64()),
        pa.field("trade_count", pa.int64(), nullable=False),
        pa.field("reentry_count", pa.int64(), nullable=False),
        pa.field("ladder_entries_used", pa.int64(), nullable=False),
        pa.field("ladder_exits_used", pa.int64(), nullable=False),
    ]
)
"""One token of one run per row. `created_at` is the server's: it is no part of what a run computes."""

FEATURE_SCHEMA = pa.schema(
    [
        pa.field("feature_set", pa.string(), nullable=False),
        pa.field("call_id", pa.int64(), nullable=False),
        pa.field("chain", pa.string(), nullable=False),
        pa.field("token_address", pa.string(), nullable=False),
        pa.field("signal_timestamp", pa.int64(), nullable=False),
        pa.field("values", pa.map_(pa.string(), pa.float64()), nullable=False),
        pa.field("inputs_stamp", pa.string(), nullable=False),
    ]
)
"""One call of one feature set per row; a feature that is unknown is NaN; `inputs_stamp` is of what it was made of."""

SCORE_SCHEMA = pa.schema(
    [
        pa.field("model_id", pa.int64(), nullable=False),
        pa.field("model_name", pa.string(), nullable=False),
        pa.field("call_id", pa.int64(), nullable=False),
        pa.field("trained_until", pa.int64(), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
        pa.field("feature_set", pa.string(), nullable=False),
        pa.field("inputs_stamp", pa.string(), nullable=False),
        pa.field("values", pa.map_(pa.string(), pa.float64()), nullable=False),
    ]
)
"""One call scored by one model, or by a walk-forward fold of it, per row.

`trained_until` is when the last label was known that it had learned from, `values` are the features that it read.
"""

CALL_SCORE_SCHEMA = pa.schema(
    [
        pa.field("call_id", pa.int64(), nullable=False),
        pa.field("model_name", pa.string(), nullable=False),
        pa.field("model_id", pa.int64(), nullable=False),
        pa.field("trained_until", pa.timestamp("us", tz="UTC"), nullable=False),
        pa.field("score", pa.float64(), nullable=False),
    ]
)
"""What is known of a call from one model, or a fold of it, per row; usable for calls after `trained_until` alone."""

PUBLISHED_RUN_SCHEMA = pa.schema(
    [
        pa.field("simulation_run_id", pa.int64(), nullable=False),
        pa.field("run_type", pa.string(), nullable=False),
        pa.field("strategy_name", pa.string(), nullable=False),
        pa.field("strategy_version", pa.string(), nullable=False),
        pa.field("config_hash", pa.string(), nullable=False),
        pa.field("engine_version", pa.string(), nullable=False),
        pa.field("chain", pa.string(), nullable=False),
        pa.field("token_address", pa.string(), nullable=False),
        pa.field("window_start", pa.int64(), nullable=False),
        pa.field("window_end", pa.int64(), nullable=False),
        pa.field("is_current", pa.bool_(), nullable=False),
        pa.field("trade_count", pa.int64(), nullable=False),
        pa.field("completed_at", pa.int64(), nullable=False),
        pa.field("data_quality", pa.string(), nullable=False),
        pa.field("row_version", pa.int64(), nullable=False),
    ]
)

PUBLISHED_CALL_SCHEMA = pa.schema(
    [
        pa.field("call_id", pa.int64(), nullable=False),
        pa.field("caller_source", pa.string(), nullable=False),
        pa.field("caller_handle", pa.string(), nullable=False),
        pa.field("chain", pa.string(), nullable=False),
        pa.field("token_address", pa.string(), nullable=False),
        pa.field("symbol", pa.string()),
        pa.field("signal_timestamp", pa.int64(), nullable=False),
        pa.field("signal_type", pa.string(), nullable=False),
        pa.field("side", pa.string(), nullable=False),
        pa.field("alert_price", pa.float64()),
        pa.field("alert_market_cap", pa.float64()),
        pa.field("row_version", pa.int64(), nullable=False),
    ]
)

_VALUE_COLUMNS = ("open", "high", "low", "close", "volume")


class ClickHouseStore(CandleImports, CandleResampling, CandleContents):
    """Time series and high-volume events in ClickHouse, as `protocols.HistoryStore` says.

    Usable from several threads at once. Every method raises ServerError when the server is out of reach,
    MigrationError when the schema is missing, and StorageError with the server's message when it refuses a
    statement. Inserts that failed may have left some of their rows; inserting the same rows again makes
    them whole, and rows of runs are read only once their run is complete.

    Args:
        url: `http(s)://user:password@host:port/database`.
    """

    def __init__(self, url: str) -> None:
        self._connection = ClickHouseConnection(url)

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
        """Close the connections to the server."""
        self._connection.close()

    # --- candles ------------------------------------------------------------------------------------
    def insert_candles(self, candles: pa.Table) -> None:
        """Insert imported rows of `CANDLE_SCHEMA`; the newest import of a key wins, over resampled ones always.

        A column `flags` (uint8, bits of FLAG_*) is optional; without it, all flags are 0. Texts may be dictionaries.

        Raises:
            DataError: a column is missing or of another type, a time is outside 1970 to 2106, or a row says that it
                was resampled: such rows are made by `resample_candles` alone.
        """
        rows = _conform(candles, _imported_schema(candles), "insert_candles", times=("timestamp",))
        if "flags" in rows.column_names:
            _refuse_resampled(rows)
        self._store_candles(rows)

    def load_candle_rows(self, chain: str, token_address: str, interval: str, start: int, end: int) -> pa.Table:
        """Return imported candles (CANDLE_SCHEMA) with `start <= timestamp < end` (seconds), by timestamp.

        Resampled ones are left out: an import of the same key is no repetition of them.
        """
        rows = self.read(
            "candles/load_candle_rows",
            chain=chain,
            token_address=token_address,
            interval=interval,
            start_s=_clamped(start),
            end_s=_clamped(end),
        )
        return rows.select(CANDLE_SCHEMA.names).cast(CANDLE_SCHEMA)

    def load_candles(
        self, windows: Mapping[TokenKey, tuple[int, int]], *, interval: str | None = None
    ) -> dict[TokenKey, Candles]:
        """Return one interval's candles per token for `[start, end)` windows in seconds, in bulk.

        Args:
            windows: Start and end per token, seconds since the epoch.
            interval: Name of the interval; without it the finest that is stored within each window.

        Returns:
            Candles per token with contiguous, writable arrays; a token without candles is absent.

        Raises:
            StorageError: an interval is stored or asked for that `INTERVAL_SECONDS` does not name.
        """
        if interval is not None:
            _interval_seconds(interval)
        # By start: windows of one query then lie close together, and few partitions are read.
        tokens = sorted(windows, key=lambda token: (windows[token], token))
        loaded: dict[TokenKey, Candles] = {}
        for first in range(0, len(tokens), WINDOWS_PER_QUERY):
            part = tokens[first : first + WINDOWS_PER_QUERY]
            loaded |= self._load_windows(part, [windows[token] for token in part], interval)
        return loaded

    def load_coverage(self) -> pa.Table:
        """Return chain, token_address, interval, month (YYYY-MM), candle_count, first_s, last_s."""
        return self.read("candles/load_coverage")

    def _load_windows(
        self, tokens: Sequence[TokenKey], bounds: Sequence[tuple[int, int]], interval: str | None
    ) -> dict[TokenKey, Candles]:
        starts = [_clamped(start) for start, _ in bounds]
        ends = [_clamped(end) for _, end in bounds]
        parameters: dict[str, Any] = {
            "positions": list(range(len(tokens))),
            "chains": [token.chain for token in tokens],
            "token_addresses": [token.address for token in tokens],
            "starts_s": starts,
            "ends_s": ends,
            "first_s": min(starts),
            "last_s": max(ends),
        }
        if interval is None:
            finest = _finest_intervals(self.read("candles/find_intervals", **parameters))
        else:
            finest = dict.fromkeys(range(len(tokens)), interval)
        wanted = sorted(finest)
        if not wanted:
            return {}
        for name in ("chains", "token_addresses", "starts_s", "ends_s"):
            parameters[name] = [parameters[name][position] for position in wanted]
        parameters["positions"] = wanted
        parameters["intervals"] = [finest[position] for position in wanted]
        rows = self.read("candles/load_windows", **parameters)
        positions = rows["position"].to_numpy()
        edges = np.flatnonzero(np.diff(positions)) + 1
        timestamp = rows["timestamp"].to_numpy().astype(np.int64)
        values = [_writable(rows[name]) for name in _VALUE_COLUMNS]
        flags = rows["flags"].to_numpy()
        loaded: dict[TokenKey, Candles] = {}
        for start, stop in zip([0, *edges], [*edges, len(positions)], strict=True):
            if start < stop:
                position = int(positions[start])
                loaded[tokens[position]] = Candles(
                    _interval_seconds(finest[position]),
                    timestamp[start:stop],
                    *(column[start:stop] for column in values),
                    flags=flags[start:stop],
                )
        return loaded

    # --- runs ---------------------------------------------------------------------------------------
    def insert_events(self, events: pa.Table) -> None:
        """Insert rows of `EVENT_SCHEMA`; the same (run, call, seq) again is the same row, once.

        Raises:
            DataError: a column is missing or of another type, or a time is outside 1970 to 2106.
        """
        rows = _conform(events, EVENT_SCHEMA, "insert_events", times=("event_time",))
        self._connection.insert_table("simulation_events", rows)

    def insert_aggregates(self, aggregates: pa.Table) -> None:
        """Insert rows of `AGGREGATE_SCHEMA`; the same (run, token) again is the same row, once.

        Raises:
            DataError: a column is missing or of another type.
        """
        rows = _conform(aggregates, AGGREGATE_SCHEMA, "insert_aggregates")
        self._connection.insert_table("simulation_aggregates", rows)

    def load_events(self, run_ids: Collection[int]) -> pa.Table:
        """Return events (EVENT_SCHEMA) of runs, ordered by (simulation_run_id, call_id, seq)."""
        return self.read("events/load_events", run_ids=sorted(run_ids)).cast(EVENT_SCHEMA)

    def load_aggregates(self, run_ids: Collection[int]) -> pa.Table:
        """Return aggregates (AGGREGATE_SCHEMA) of runs, ordered by (simulation_run_id, chain, token)."""
        return self.read("aggregates/load_aggregates", run_ids=sorted(run_ids)).cast(AGGREGATE_SCHEMA)

    def delete_run_rows(self, run_ids: Collection[int]) -> None:
        """Remove events and aggregates of runs that no reader may see: what dead attempts left."""
        if not run_ids:
            return
        for name in ("events/delete_events", "aggregates/delete_aggregates"):
            self._connection.run(name, run_ids=sorted(run_ids))

    def publish(self, runs: pa.Table | None, calls: pa.Table) -> None:
        """Mirror completed runs and calls, so that views in ClickHouse know what may be shown.

        Calls go first: a run that is shown then finds its calls.

        Args:
            runs: Rows of `PUBLISHED_RUN_SCHEMA`; None leaves the mirror of runs as it is.
            calls: Rows of `PUBLISHED_CALL_SCHEMA`.

        Raises:
            DataError: a column is missing or of another type, or a time is outside 1970 to 2106.
        """
        call_rows = _conform(calls, PUBLISHED_CALL_SCHEMA, "publish", times=("signal_timestamp",))
        times = ("window_start", "window_end", "completed_at")
        run_rows = None if runs is None else _conform(runs, PUBLISHED_RUN_SCHEMA, "publish", times=times)
        self._connection.insert_table("published_calls", call_rows)
        if run_rows is not None:
            self._connection.insert_table("published_runs", run_rows)

    # --- learning -----------------------------------------------------------------------------------
    def insert_features(self, features: pa.Table) -> None:
        """Insert rows of `FEATURE_SCHEMA`; the newest insert of a (feature set, call) wins.

        Raises:
            DataError: a column is missing or of another type, or a time is outside 1970 to 2106.
        """
        rows = _conform(features, FEATURE_SCHEMA, "insert_features", times=("signal_timestamp",))
        self._connection.insert_table("ml_features", rows)

    def insert_scores(self, scores: pa.Table) -> None:
        """Insert rows of `SCORE_SCHEMA`; the newest insert of a (model, call, trained until) wins.

        Raises:
            DataError: a column is missing or of another type, or a time is outside 1970 to 2106.
        """
        rows = _conform(scores, SCORE_SCHEMA, "insert_scores", times=("trained_until",))
        self._connection.insert_table("ml_scores", rows)

    def load_call_scores(self, model_names: Collection[str], call_ids: Collection[int]) -> pa.Table:
        """Return the scores (CALL_SCORE_SCHEMA) of some calls by all versions of models, and by their folds.

        Scores that do not say until when their model had learned are left out. Which of several counts for a call is
        for the reader to say; nothing here leaves out models that failed.

        Args:
            model_names: Names of models.
            call_ids: Calls.

        Returns:
            Rows by call, model name, `trained_until`, model.
        """
        if not model_names or not call_ids:
            return CALL_SCORE_SCHEMA.empty_table()
        # A range instead of the ids themselves: they would be part of the address that is asked.
        rows = self.read(
            "features/load_call_scores",
            model_names=sorted(set(model_names)),
            first_call_id=min(call_ids),
            last_call_id=max(call_ids),
        )
        wanted = pa.array(sorted(set(call_ids)), pa.int64())
        rows = rows.filter(pc.is_in(rows["call_id"], wanted))
        learned = rows["trained_until"].cast(pa.timestamp("s", tz="UTC"))
        rows = rows.set_column(rows.column_names.index("trained_until"), "trained_until", learned)
        return rows.select(CALL_SCORE_SCHEMA.names).cast(CALL_SCORE_SCHEMA)

    # --- reading ------------------------------------------------------------------------------------
    def read(self, query: str, **parameters: Any) -> pa.Table:
        """Run `sql/clickhouse/queries/<query>.sql` with named parameters and return all rows.

        Raises:
            ConfigError: there is no such query.
            StorageError: the query fails.
        """
        return self._connection.read(query, **parameters)


def _conform(rows: pa.Table, schema: pa.Schema, method: str, times: Sequence[str] = ()) -> pa.Table:
    """Return rows with the columns and types of a schema, times as seconds and checked.

    Timestamps with a zone become seconds; fractions of a second are dropped.
    """
    columns, fields = [], []
    for field in schema:
        if field.name not in rows.column_names:
            raise DataError(f"{method}: column {field.name!r} is missing; found are {', '.join(rows.column_names)}")
        column = rows[field.name]
        if pa.types.is_timestamp(column.type):
            if column.type.tz is None:
                raise DataError(f"{method}: column {field.name!r} holds times without a zone; allowed is UTC")
            column = pc.floor_temporal(column, unit="second").cast(pa.timestamp("s", tz="UTC"))
        if pa.types.is_dictionary(column.type) and column.type.value_type == field.type:
            # Texts that repeat on every row: the server takes them as they are, at a fraction of the bytes.
            field = field.with_type(column.type)
        try:
            column = column.cast(field.type)
        except pa.ArrowInvalid as error:
            raise DataError(
                f"{method}: column {field.name!r} is {column.type}, allowed is {field.type}: {error}"
            ) from error
        except pa.ArrowNotImplementedError as error:
            raise DataError(f"{method}: column {field.name!r} is {column.type}, allowed is {field.type}") from error
        if not field.nullable and column.null_count:
            raise DataError(f"{method}: column {field.name!r} has {column.null_count} nulls, allowed are none")
        if field.name in times and len(column):
            extremes = pc.min_max(column).as_py()
            if extremes["min"] < 0 or extremes["max"] > LATEST_SECOND:
                raise DataError(
                    f"{method}: column {field.name!r} reaches from {extremes['min']} to {extremes['max']} "
                    f"seconds since the epoch; allowed is 0 to {LATEST_SECOND} (years 1970 to 2106)"
                )
        columns.append(column)
        fields.append(field)
    return pa.Table.from_arrays(columns, schema=pa.schema(fields))


def _imported_schema(candles: pa.Table) -> pa.Schema:
    """Return the columns to insert: those of CANDLE_SCHEMA, with flags where the rows have them."""
    plain = pa.schema([field for field in CANDLE_SCHEMA if field.name != _FLAGS_FIELD.name])
    return plain.append(_FLAGS_FIELD) if _FLAGS_FIELD.name in candles.column_names else plain


def _refuse_resampled(candles: pa.Table) -> None:
    resampled = pc.bit_wise_and(candles["flags"], pa.scalar(FLAG_RESAMPLED, pa.uint8()))
    count = candles.num_rows - pc.sum(pc.equal(resampled, 0), min_count=0).as_py()
    if count:
        raise DataError(
            f"insert_candles: {count} rows have the flag {FLAG_RESAMPLED}, resampled; allowed are imported candles: "
            "'quantbot candles resample' makes the others"
        )


def _finest_intervals(found: pa.Table) -> dict[int, str]:
    finest: dict[int, str] = {}
    for position, name in zip(found["position"].to_pylist(), found["interval"].to_pylist(), strict=True):
        known = finest.get(position)
        if known is None or _interval_seconds(name) < _interval_seconds(known):
            finest[position] = name
    return finest


def _interval_seconds(name: str) -> int:
    if name not in INTERVAL_SECONDS:
        raise StorageError(f"candle interval {name!r} is not known; allowed are {', '.join(INTERVAL_SECONDS)}")
    return INTERVAL_SECONDS[name]


def _clamped(second: int) -> int:
    """Return a bound of a window within what a DateTime holds; nothing is stored beyond."""
    return min(max(int(second), 0), LATEST_SECOND)


def _writable(column: pa.ChunkedArray) -> FloatArray:
    """Return a column as a contiguous array; Arrow's own memory is read-only."""
    return np.array(column.to_numpy(), dtype=np.float64)
