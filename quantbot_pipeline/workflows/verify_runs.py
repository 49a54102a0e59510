"""Rules of docs/data-model.md on runs: their keys, events, summaries, aggregates and order."""

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.engine.events import BUY_EVENTS, SELL_EVENTS, EventType
from quantbot_pipeline.engine.metrics import Metrics, TradeResults, metrics_of_results
from quantbot_pipeline.errors import StrategyError
from quantbot_pipeline.strategy.model import config_hash, parse_strategy
from quantbot_pipeline.workflows.run_identity import METRICS_ONLY, events_digest, run_key_of
from quantbot_pipeline.workflows.verify_findings import Finding, FindingCounter, VerifiedStores, finding_of, state_pages

EVENTS_PER_BATCH = 200_000
"""Events that are looked at together (some 100 MB), but for a run that has more."""

_NEARLY = 1e-9
"""Relative difference by which sums that were made in another order may differ."""

_SHARED_COLUMNS = (
    "final_pnl",
    "max_drawdown",
    "volatility",
    "sharpe_ratio",
    "sortino_ratio",
    "win_rate",
    "trade_count",
    "reentry_count",
    "ladder_entries_used",
    "ladder_exits_used",
)
"""What aggregates and summaries both say."""

_COUNT_COLUMNS = ("trade_count", "reentry_count", "ladder_entries_used", "ladder_exits_used")

_READDED_COUNTS = (*_COUNT_COLUMNS, "skipped_count")
_READDED_AMOUNTS = (
    "final_pnl",
    "total_pnl",
    "win_rate",
    "stop_out_rate",
    "avg_trade_return",
    "median_trade_return",
    "profit_factor",
    "expectancy",
    "average_holding_minutes",
    "max_holding_minutes",
)
"""What follows from events alone; curves, and what follows from them, need the candles."""


@dataclass(frozen=True, slots=True)
class _StoredRun:
    """A completed run, as Postgres has it.

    Attributes:
        run_id: Its id.
        digest: Digest of its events.
        tokens: What it read, `chain:address`, in its order.
        summary: Every metric, those of `metadata_json` too.
        event_count: How many events it wrote.
    """

    run_id: int
    digest: str
    tokens: tuple[str, ...]
    summary: Mapping[str, Any]
    event_count: int


def check_completed_runs(stores: VerifiedStores) -> Finding:
    """A run has a summary, a digest and a time of completion when, and only when, it is completed."""
    return finding_of(stores.state.read("verify/check_completed_runs"))


def check_current_runs(stores: VerifiedStores) -> Finding:
    """A scope has at most one current run, and every superseded one leads to it or to one that lost its calls."""
    return finding_of(stores.state.read("verify/check_current_runs"))


def check_run_keys(stores: VerifiedStores) -> Finding:
    """Every run's key is the hash over the stored engine version, configuration hash and data selection."""
    found = FindingCounter()
    for rows in state_pages(stores, "verify/load_run_keys", "id"):
        for row in rows:
            found.look()
            key = run_key_of(row["engine_version"], row["config_hash"], json.loads(row["data_selection_json"]))
            if key != row["run_key"]:
                found.fault(f"run {row['id']} has the key {row['run_key'][:12]}…, its parts give {key[:12]}…")
    return found.finding()


def check_configs(stores: VerifiedStores) -> Finding:
    """Every configuration of a run or strategy has the hash that is stored with it."""
    found = FindingCounter()
    after_text = ""
    while rows := stores.state.read("verify/load_configs", after_text=after_text, row_limit=500).to_pylist():
        for row in rows:
            found.look()
            try:
                computed = config_hash(parse_strategy(json.loads(row["config_json"]), source=row["owner"]))
            except StrategyError as error:
                found.fault(f"{row['owner']}: {str(error).splitlines()[0]}")
                continue
            if computed != row["config_hash"]:
                found.fault(
                    f"{row['owner']} has the config hash {row['config_hash'][:12]}…, its config gives {computed[:12]}…"
                )
        stores.on_rows(len(rows))
        after_text = rows[-1]["place"]
    return found.finding()


def check_event_counts(stores: VerifiedStores) -> Finding:
    """Every completed run has as many events as it wrote; trials that were measured without events are left out."""
    found = FindingCounter()
    for rows in state_pages(stores, "verify/load_completed_runs", "id"):
        runs = _traced_runs(rows)
        answer = stores.history.read("verify/count_events", run_ids=[run.run_id for run in runs])
        counts = dict(zip(answer["simulation_run_id"].to_pylist(), answer["event_count"].to_pylist(), strict=True))
        for run in runs:
            found.look()
            if counts.get(run.run_id, 0) != run.event_count:
                found.fault(f"run {run.run_id} wrote {run.event_count} events, found are {counts.get(run.run_id, 0)}")
    return found.finding()


def check_event_digests(stores: VerifiedStores) -> Finding:
    """Every completed run has exactly the events that it wrote: their digest is the stored one."""
    found = FindingCounter()
    for runs, events in _runs_with_events(stores):
        for run, part in _parts(runs, events):
            found.look(part.num_rows)
            if run.digest != events_digest(part):
                found.fault(f"run {run.run_id} has {part.num_rows} events whose digest is not the stored one")
    return found.finding()


def check_summaries(stores: VerifiedStores) -> Finding:
    """Events of every completed run add up to its summary, as far as it follows from events alone."""
    found = FindingCounter()
    for runs, events in _runs_with_events(stores):
        for run, part in _parts(runs, events):
            found.look()
            for name, wanted, value in _differences(run.summary, _readded(part)):
                found.fault(f"run {run.run_id} has {name} {wanted!r}, its events add up to {value!r}")
                break
    return found.finding()


def check_aggregates(stores: VerifiedStores) -> Finding:
    """Every completed run has one row of aggregates per token that it read, and they add up to its summary.

    Those of a run on one token equal the summary to the last bit.
    """
    found = FindingCounter()
    for rows in state_pages(stores, "verify/load_completed_runs", "id"):
        runs = {run.run_id: run for run in _traced_runs(rows)}
        by_run: dict[int, list[dict[str, Any]]] = {run_id: [] for run_id in runs}
        for row in stores.history.read("aggregates/load_aggregates", run_ids=list(runs)).to_pylist():
            by_run[row["simulation_run_id"]].append(row)
        for run in runs.values():
            found.look()
            fault = _fault_of_aggregates(run, by_run[run.run_id])
            if fault:
                found.fault(f"run {run.run_id} {fault}")
    return found.finding()


def _fault_of_aggregates(run: _StoredRun, aggregates: Sequence[Mapping[str, Any]]) -> str:
    tokens = [f"{row['chain']}:{row['token_address']}" for row in aggregates]
    missing = sorted(set(run.tokens) - set(tokens))
    if missing:
        return f"has no aggregates of {missing[0]}"
    beyond = sorted(set(tokens) - set(run.tokens))
    if beyond:
        return f"has aggregates of {beyond[0]}, which it did not read"
    if len(aggregates) == 1:
        for name in _SHARED_COLUMNS:
            if aggregates[0][name] != run.summary[name]:
                return f"has {name} {run.summary[name]!r} in its summary and {aggregates[0][name]!r} in its aggregates"
        return ""
    for name in _COUNT_COLUMNS:
        total = sum(row[name] for row in aggregates)
        if total != run.summary[name]:
            return f"has {name} {run.summary[name]!r} in its summary and {total!r} over its aggregates"
    total_pnl = math.fsum(row["final_pnl"] * row["trade_count"] for row in aggregates)
    wanted = run.summary["final_pnl"] * run.summary["trade_count"]
    if not math.isclose(total_pnl, wanted, rel_tol=_NEARLY, abs_tol=_NEARLY):
        return f"has a total pnl of {wanted!r} in its summary and {total_pnl!r} over its aggregates"
    return ""


# --- events ---


def _stored_run(row: Mapping[str, Any]) -> _StoredRun:
    metadata = json.loads(row["metadata_json"])
    selection = json.loads(row["data_selection_json"])
    return _StoredRun(
        run_id=row["id"],
        digest=row["events_digest"],
        tokens=tuple(selection.get("tokens", ())),
        summary={**metadata, **row},
        event_count=int(metadata.get("event_count", 0)),
    )


def _traced_runs(rows: Sequence[Mapping[str, Any]]) -> list[_StoredRun]:
    """Return the runs that kept a trace; trials that were measured without events have none to be looked at.

    What such a trial has in ClickHouse was written by an attempt at its trace that did not end, and counts for nothing.
    """
    return [run for row in rows if (run := _stored_run(row)).digest != METRICS_ONLY]


def _runs_with_events(stores: VerifiedStores) -> Iterator[tuple[list[_StoredRun], pa.Table]]:
    """Yield completed runs, some at a time, with their events in the order in which the run wrote them."""
    for rows in state_pages(stores, "verify/load_completed_runs", "id"):
        waiting: list[_StoredRun] = []
        held = 0
        for run in _traced_runs(rows):
            if waiting and held + run.event_count > EVENTS_PER_BATCH:
                yield waiting, _load_events(stores, waiting)
                waiting, held = [], 0
            waiting.append(run)
            held += run.event_count
        if waiting:
            yield waiting, _load_events(stores, waiting)


def _load_events(stores: VerifiedStores, runs: Sequence[_StoredRun]) -> pa.Table:
    events = stores.history.load_events([run.run_id for run in runs])
    run_ids = events["simulation_run_id"].to_numpy()
    call_ids = events["call_id"].to_numpy()
    keys = pc.binary_join_element_wise(events["chain"], events["token_address"], ":").to_pylist()
    place_of = {(run.run_id, token): place for run in runs for place, token in enumerate(run.tokens)}
    # Of no token that the run read: behind all others; the digest then differs.
    places = np.array([place_of.get(key, len(place_of)) for key in zip(run_ids.tolist(), keys, strict=True)])
    known = stores.state.read("verify/load_call_seconds", call_ids=np.unique(call_ids).tolist())
    seconds_of = dict(zip(known["id"].to_pylist(), known["signal_s"].to_pylist(), strict=True))
    seconds = np.array([seconds_of.get(call_id, 0) for call_id in call_ids.tolist()], dtype=np.int64)
    order = np.lexsort((events["seq"].to_numpy(), call_ids, seconds, places, run_ids))
    return events.take(pa.array(order))


def _parts(runs: Sequence[_StoredRun], events: pa.Table) -> Iterator[tuple[_StoredRun, pa.Table]]:
    """Yield each run with its events, none for a run without."""
    run_ids = events["simulation_run_id"].to_numpy()
    for run in runs:
        begin, end = np.searchsorted(run_ids, [run.run_id, run.run_id + 1]).tolist()
        yield run, events.slice(begin, end - begin)


def _readded(events: pa.Table) -> Metrics:
    """Return the metrics that follow from a run's events; those of curves mean nothing."""
    kind = np.array(events["event_type"].to_pylist(), dtype=object)
    call_ids, times = events["call_id"].to_numpy(), events["event_time"].to_numpy()
    remaining, pnl = events["remaining_position"].to_numpy(), events["pnl_so_far"].to_numpy()
    is_buy = np.isin(kind, [str(value) for value in BUY_EVENTS])
    is_sell = np.isin(kind, [str(value) for value in SELL_EVENTS])
    is_initial_stop = pc.match_substring(events["metadata_json"], '"stop":"initial"').to_numpy()
    begins = _begins(call_ids)
    ends = np.append(begins[1:], len(call_ids))[: len(begins)]
    sizes = np.where(is_buy, events["size"].to_numpy(), 0.0)
    has_bought = np.add.reduceat(is_buy, begins) > 0 if len(begins) else np.empty(0, dtype=np.bool_)
    bought = np.flatnonzero(has_bought)
    return metrics_of_results(
        TradeResults(
            pnl=pnl[ends[bought] - 1] if len(bought) else np.empty(0),
            cash_spent=np.add.reduceat(sizes, begins)[bought] if len(bought) else np.empty(0),
            holding_seconds=_holding_seconds(call_ids, times, remaining, is_buy, is_sell, begins)[bought],
            max_adverse_excursion=0.0,
            max_favourable_excursion=0.0,
            done_at=0,
            skipped_count=len(begins) - len(bought),
            re_entries=int(np.count_nonzero(kind == EventType.RE_ENTRY)),
            ladder_entries=int(np.count_nonzero(kind == EventType.LADDER_ENTRY)),
            target_hits=int(np.count_nonzero(kind == EventType.TARGET_HIT)),
            stopped_out=len(np.unique(call_ids[is_initial_stop])),
        ),
        np.empty(0),
        0.0,
    )


def _begins(call_ids: IntArray) -> IntArray:
    """Return where the events of each trade begin."""
    is_first = np.ones(len(call_ids), dtype=np.bool_)
    is_first[1:] = call_ids[1:] != call_ids[:-1]
    return np.flatnonzero(is_first)


def _holding_seconds(
    call_ids: IntArray,
    times: IntArray,
    remaining: np.ndarray[Any, np.dtype[np.float64]],
    is_buy: np.ndarray[Any, np.dtype[np.bool_]],
    is_sell: np.ndarray[Any, np.dtype[np.bool_]],
    begins: IntArray,
) -> IntArray:
    """Return how long each trade held something: from the first buy of a cycle to the sell that leaves nothing."""
    fills = np.flatnonzero(is_buy | is_sell)
    held_before = np.zeros(len(fills))
    held_before[1:] = np.where(call_ids[fills[1:]] == call_ids[fills[:-1]], remaining[fills[:-1]], 0.0)
    changes = np.zeros(len(call_ids), dtype=np.int64)
    opening = fills[is_buy[fills] & (held_before == 0)]
    closing = fills[is_sell[fills] & (remaining[fills] == 0)]
    changes[opening] -= times[opening]
    changes[closing] += times[closing]
    return np.add.reduceat(changes, begins) if len(begins) else np.empty(0, dtype=np.int64)


def _differences(summary: Mapping[str, Any], readded: Metrics) -> Iterator[tuple[str, Any, Any]]:
    """Yield what a summary and its events say differently: name, the summary's, the events'."""
    values = asdict(readded)
    for name in _READDED_COUNTS:
        if name in summary and summary[name] != values[name]:
            yield name, summary[name], values[name]
    for name in _READDED_AMOUNTS:
        if name not in summary:
            continue
        if not _are_near(summary[name], values[name]):
            yield name, summary[name], values[name]


def _are_near(one: float | None, other: float | None) -> bool:
    if one is None or other is None:
        return one is other
    return math.isclose(one, other, rel_tol=_NEARLY, abs_tol=_NEARLY)
