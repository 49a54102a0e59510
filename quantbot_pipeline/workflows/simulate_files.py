"""Files in, files out: strategies simulated on candle and call files, without any database.

`docs/simulate.md` is the contract. Tokens are simulated some at a time, so memory does not grow with the files; what
is written depends neither on how many that are, nor on threads or engine.
"""

import math
from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pyarrow as pa

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, Candles
from quantbot_pipeline.engine.events_table import EVENT_SCHEMA
from quantbot_pipeline.engine.metrics import Metrics
from quantbot_pipeline.engine.version import ENGINE_VERSION
from quantbot_pipeline.errors import InputError
from quantbot_pipeline.ingest.candles.options import CandleReadOptions
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.strategy.model import Strategy
from quantbot_pipeline.workflows.file_calls import FileCalls, read_calls
from quantbot_pipeline.workflows.file_candles import FileCandles, open_candles
from quantbot_pipeline.workflows.file_engines import FileEngine, engine_named
from quantbot_pipeline.workflows.prepare_engine import prepare_engine
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.simulation_outputs import SimulationOutputs, check_outputs, open_outputs

EVENT_COLUMNS = (
    "call_id",
    "token_address",
    "chain",
    "strategy",
    "seq",
    "event_time",
    "event_type",
    "price",
    "size",
    "remaining_position",
    "pnl_so_far",
    "indicators_json",
    "position_state_json",
    "metadata_json",
)

CALLS_AT_ONCE = 20_000
"""Calls whose events are held in memory together; those of one token always are."""


@dataclass(frozen=True, slots=True)
class FilesToSimulate:
    """What a simulation reads and where it writes.

    Attributes:
        candles: Candle files.
        calls: Call files.
        events_out: Where events go, `.parquet`, `.csv` or `.jsonl`; nowhere without it.
        summary_out: Where the summary goes, `.json`; nowhere without it.
        interval: Interval to use; by default the finest one of each token.
        timezone: IANA zone of times that state none.
        chain: Chain of all candles, for files without the column.
        token: Token address of all candles, likewise.
        are_bad_rows_skipped: Whether candle rows that can't be used are left out; else one of them refuses everything.
        other_inputs: Further files that no output may overwrite.
    """

    candles: Sequence[Path]
    calls: Sequence[Path]
    events_out: Path | None = None
    summary_out: Path | None = None
    interval: str | None = None
    timezone: str | None = None
    chain: str | None = None
    token: str | None = None
    are_bad_rows_skipped: bool = False
    other_inputs: Sequence[Path] = ()

    @property
    def inputs(self) -> list[Path]:
        """All files that are read."""
        return [*self.candles, *self.calls, *self.other_inputs]


def check_simulation(files: FilesToSimulate, strategies: Sequence[Strategy]) -> None:
    """Refuse at once what could not end well.

    Raises:
        InputError: an output can't be written, two strategies have one name, or the interval is unknown.
    """
    check_outputs(files.events_out, files.summary_out, files.inputs)
    names = [strategy.name for strategy in strategies]
    for name in names:
        if names.count(name) > 1:
            raise InputError(f"strategy name {name!r} occurs {names.count(name)} times; give each its own name")
    if files.interval is not None and files.interval not in INTERVAL_SECONDS:
        raise InputError(f"interval {files.interval!r} is unknown; allowed are {', '.join(INTERVAL_SECONDS)}")


def simulate_files(
    files: FilesToSimulate,
    strategies: Sequence[Strategy],
    *,
    engine: str = "fast",
    threads: int = 1,
    on_progress: ProgressListener = no_progress,
    tell: Callable[[str], None] = lambda _: None,
    warn: Callable[[str], None] = lambda _: None,
    on_written: Callable[[], None] = lambda: None,
) -> dict[str, Any]:
    """Simulate strategies on the calls of files, and write events and summary, both or none.

    Args:
        files: What is read and written.
        strategies: Strategies with names of their own.
        engine: fast or reference; changes no result.
        threads: Over how many threads the fast engine spreads its work; changes no result.
        on_progress: Told how many `candle files` are read and how many `simulated tokens` are done.
        tell: Told once all files are read, if the engine has to be compiled first.
        warn: Told what of the candles is not simulated on, once all files are read.
        on_written: Called when the outputs have their names, before a signal that came meanwhile is handled.

    Returns:
        The summary: metrics per strategy, overall and per token, finite numbers and None only.

    Raises:
        DataError: a file or one of its rows is wrong.
        InputError: an output can't be written, two strategies have one name, a call file lacks a column of scores that
            a strategy asks for, or an option is wrong.
    """
    check_simulation(files, strategies)
    # Events are written strategy by strategy, in the order of their names.
    ordered = sorted(strategies, key=lambda strategy: strategy.name)
    chosen = engine_named(engine, ordered, threads=threads, has_events=files.events_out is not None)
    calls = read_calls(files.calls, files.timezone, ordered)
    output = files.events_out or files.summary_out
    schema = _event_schema(calls)
    with (
        open_outputs(files.events_out, files.summary_out, files.inputs, schema) as outputs,
        open_candles(
            files.candles,
            list(calls.by_token),
            spill_folder=output.absolute().parent if output is not None else None,
            interval=files.interval,
            options=CandleReadOptions(chain=files.chain, token=files.token, timezone=files.timezone),
            are_bad_rows_skipped=files.are_bad_rows_skipped,
            on_progress=on_progress,
        ) as candles,
    ):
        _warn_of_bad_rows(candles, warn)
        _warn_of_missing_scores(ordered, calls, warn)
        if engine == "fast":
            prepare_engine(tell)
        simulated = _Simulated(ordered, calls, outputs)
        for tokens in _tokens_at_once(candles, calls):
            simulated.add(chosen, tokens)
            simulated.note_other_intervals(tokens, candles)
            on_progress(simulated.token_count, len(calls.by_token), "simulated tokens")
        summary = simulated.summary(strategies, chosen, candles)
        outputs.finish(summary, on_written)
    return summary


def _warn_of_bad_rows(candles: FileCandles, warn: Callable[[str], None]) -> None:
    for row in candles.first_bad_rows:
        warn(f"{row.file}:{row.line}: left out: {row.reason}")
    if candles.bad_rows > len(candles.first_bad_rows):
        warn(f"{candles.bad_rows - len(candles.first_bad_rows):,} more bad candle rows are left out")


def _warn_of_missing_scores(strategies: Sequence[Strategy], calls: FileCalls, warn: Callable[[str], None]) -> None:
    known = {
        name
        for of_token in calls.by_token.values()
        for call in of_token
        for name in call.scores
        if not math.isnan(call.scores[name])
    }
    for strategy in strategies:
        for name in strategy.score_names():
            if name not in known:
                warn(
                    f"no call has a score of model {name!r}, so the conditions of strategy {strategy.name!r} on it are "
                    "false for all of them"
                )


def _event_schema(calls: FileCalls) -> pa.Schema:
    types = {
        "call_id": calls.id_type,
        "token_address": pa.string(),
        "chain": pa.string(),
        "strategy": pa.string(),
        "event_time": pa.timestamp("s", tz="UTC"),
    }
    return pa.schema(
        [(name, types[name] if name in types else EVENT_SCHEMA.field(name).type) for name in EVENT_COLUMNS]
    )


def _tokens_at_once(candles: FileCandles, calls: FileCalls) -> Iterator[dict[TokenKey, Candles]]:
    """Yield all tokens that have calls in sorted order, some at a time; those without candles have empty ones."""
    waiting = deque(calls.by_token)
    for found in candles.parts():
        last = max(found, default=None)
        together: dict[TokenKey, Candles] = {}
        call_count = 0
        while waiting and last is not None and waiting[0] <= last:
            token = waiting[0]
            if together and call_count + len(calls.by_token[token]) > CALLS_AT_ONCE:
                yield together
                together, call_count = {}, 0
            # Nothing keeps candles that were simulated.
            together[waiting.popleft()] = found.pop(token) if token in found else Candles.empty(60)
            call_count += len(calls.by_token[token])
        if together:
            yield together
    while waiting:
        some = [waiting.popleft() for _ in range(min(CALLS_AT_ONCE, len(waiting)))]
        yield {token: Candles.empty(60) for token in some}


class _Simulated:
    """What came of the tokens so far."""

    def __init__(self, strategies: Sequence[Strategy], calls: FileCalls, outputs: SimulationOutputs) -> None:
        self.token_count = 0
        self._strategies = strategies
        self._calls = calls
        self._outputs = outputs
        self._candle_count = 0
        self._without_candles = 0
        self._of_other_intervals = 0
        self._other_intervals: set[str] = set()
        self._metrics: dict[str, list[tuple[TokenKey, Metrics]]] = {strategy.name: [] for strategy in strategies}

    def add(self, engine: FileEngine, tokens: Mapping[TokenKey, Candles]) -> None:
        """Simulate further tokens, and write their events."""
        calls = {token: self._calls.by_token[token] for token in tokens}
        results = engine.simulate(tokens, calls)
        for position, (strategy, result) in enumerate(zip(self._strategies, results, strict=True)):
            if result.events is not None:
                events = self._calls.name_events(result.events, strategy.name, EVENT_COLUMNS)
                self._outputs.add_events(position, events)
            self._metrics[strategy.name] += result.metrics
        self.token_count += len(tokens)
        self._candle_count += sum(len(candles) for candles in tokens.values())
        self._without_candles += sum(len(candles) == 0 for candles in tokens.values())

    def note_other_intervals(self, tokens: Mapping[TokenKey, Candles], candles: FileCandles) -> None:
        """Note which of the tokens have no candles of the interval that is wanted, but others."""
        for token, found in tokens.items():
            others = candles.other_intervals(token)
            if others and len(found) == 0:
                self._of_other_intervals += 1
                self._other_intervals |= others

    def summary(self, strategies: Sequence[Strategy], engine: FileEngine, candles: FileCandles) -> dict[str, Any]:
        """Return the summary, strategies in the order in which they were asked for."""
        overall = dict(zip((s.name for s in self._strategies), engine.overall(), strict=True))
        return {
            "engine_version": ENGINE_VERSION,
            "candle_count": self._candle_count,
            "repeated_candle_rows": candles.repeated_rows,
            "bad_candle_rows": candles.bad_rows,
            "call_count": self._calls.count,
            "token_count": self.token_count,
            "tokens_without_candles": self._without_candles,
            "tokens_with_other_intervals": self._of_other_intervals,
            "other_intervals": sorted(self._other_intervals, key=INTERVAL_SECONDS.__getitem__),
            "strategies": [
                {
                    "strategy": strategy.name,
                    "overall": _finite(overall[strategy.name]),
                    "tokens": [
                        {"token_address": token.address, "chain": token.chain, **_finite(metrics)}
                        for token, metrics in self._metrics[strategy.name]
                    ],
                }
                for strategy in strategies
            ],
        }


def _finite(metrics: Metrics) -> dict[str, Any]:
    """Return metrics by name; what is beyond the largest float is not defined."""
    return {
        name: None if isinstance(value, float) and not math.isfinite(value) else value
        for name, value in asdict(metrics).items()
    }
