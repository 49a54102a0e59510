"""Measure the marts in ClickHouse: how long they take to build, and how long the questions of dashboards take.

    python benchmarks/measure_marts.py --events 10000000
    python benchmarks/measure_marts.py --events 100000000 --json

Starts servers of their own in a temporary home, fills ClickHouse with synthetic runs, calls, events, scores and
candles that it makes itself, builds the views as the project does, and asks each question 50 times, warm, over HTTP and
with other values every time. 50 strategy versions, 500 callers, two months per token, 21 calls per run; one call in
twenty is skipped, one run in twenty superseded; a trade has ten events. Exits with 1 when the 95th percentile of a
question is above 200 ms.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import psutil

from quantbot_pipeline.servers.embedded import embedded_clickhouse, ensure_servers, stop_servers
from quantbot_pipeline.settings import load_settings
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
from quantbot_pipeline.storage.migrations import migrate
from quantbot_pipeline.storage.views import build_views

STRATEGIES = 50
CALLERS = 500
CALLS_PER_RUN = 21
EVENTS_PER_RUN = CALLS_PER_RUN * (10 * 19 + 1) / 20
RUNS_PER_INSERT = 50_000
CANDLE_TOKENS = 500
CANDLES_PER_TOKEN = 4_000
ROUNDS = 50
LIMIT_MS = 200.0

# A run is of one strategy and one token-month; calls of a token-month are the same under every strategy.
RUNS = """
insert into published_runs (
    simulation_run_id, run_type, strategy_name, strategy_version, config_hash, engine_version, chain, token_address,
    window_start, window_end, is_current, trade_count, completed_at, row_version, data_quality
)
select
    number + 1,
    'backtest',
    concat('strategy-', toString(intDiv(number, {months}) % 25)),
    toString(intDiv(number, {months} * 25) + 1),
    'hash',
    '2',
    'solana',
    concat('token', toString(number % {months} % {tokens})),
    toDateTime('2023-01-01 00:00:00', 'UTC') + toIntervalMonth(intDiv(number % {months}, {tokens}) * 12
    + cityHash64(number % {months} % {tokens}) % 12) as opens,
    opens + toIntervalMonth(1),
    number % 20 != 7,
    20,
    toDateTime('2025-01-01 00:00:00', 'UTC') + number % 100000,
    1,
    ['good', 'good', 'good', 'gaps'][number % 4 + 1]
from numbers({runs})
"""

AGGREGATES = """
insert into simulation_aggregates (
    simulation_run_id, chain, token_address, final_pnl, max_drawdown, volatility, sharpe_ratio, sortino_ratio, win_rate,
    trade_count, reentry_count, ladder_entries_used, ladder_exits_used
)
select
    number + 1,
    'solana',
    concat('token', toString(number % {months} % {tokens})),
    (toInt64(cityHash64(number) % 1000) - 480) / 4000,
    0.1,
    0.5,
    1.5,
    2.0,
    0.5,
    20,
    20,
    20,
    60
from numbers({runs})
"""

CALLS = """
insert into published_calls (
    call_id, caller_source, caller_handle, chain, token_address, symbol, signal_timestamp, signal_type, side,
    alert_price, alert_market_cap, row_version
)
select
    number + 1,
    'telegram',
    concat('caller-', toString(cityHash64(number, 3) % {callers})),
    'solana',
    concat('token', toString(number % {months} % {tokens})),
    concat('T', toString(number % {months} % {tokens})),
    toDateTime('2023-01-01 00:00:00', 'UTC') + toIntervalMonth(intDiv(number % {months}, {tokens}) * 12
    + cityHash64(number % {months} % {tokens}) % 12) + cityHash64(number, 5) % 2400000,
    'entry',
    'buy',
    1,
    1,
    1
from numbers({calls})
"""

EVENTS = """
insert into simulation_events (
    simulation_run_id, chain, token_address, call_id, seq, event_time, event_type, price, size, remaining_position,
    pnl_so_far, indicators_json, position_state_json, metadata_json
)
select
    run + 1,
    'solana',
    concat('token', toString(run % {months} % {tokens})),
    run % {months} + {months} * call_number + 1 as call,
    seq,
    toDateTime('2023-01-01 00:00:00', 'UTC') + toIntervalMonth(intDiv(run % {months}, {tokens}) * 12
    + cityHash64(run % {months} % {tokens}) % 12) + cityHash64(call - 1, 5) % 2400000
    + if(seq = 9, 6000 + draw % 500000, 600 * seq),
    if(is_skipped, 'entry_skipped', [
        'entry', 'ladder_entry', 'stop_moved', 'target_hit', 'target_hit', 'stop_moved', 're_entry', 'target_hit',
        'stop_moved', ['stop_loss', 'trailing_stop', 'target_hit', 'time_exit', 'signal_exit'][draw % 5 + 1]
    ][seq + 1]),
    1 + draw % 1000 / 1000,
    0.3,
    1 - seq / 9,
    if(is_skipped, 0, (toInt64(draw % 1000) - 480) / 1000 * seq / 9),
    '{{"ema(period=20)":1.25}}',
    concat('{{"average_entry":', toString(1 + draw % 1000 / 1000), ',"cycle":1,"peak":2.5,"quantity":0.9,"stop":0.7}}'),
    multiIf(is_skipped, '{{"reason":"no_candles"}}', seq = 9, [
        '{{"order":"stop","stop":"initial"}}', '{{"order":"stop","stop":"trailing"}}', '{{"order":"limit","target":2}}',
        '{{"order":"market","reason":"max_hold"}}', '{{"order":"market","reason":"signal"}}'
    ][draw % 5 + 1], '{{"order":"market"}}')
from (
    select
        {first_run} + intDiv(number, {calls_per_run} * 10) as run,
        intDiv(number, 10) % {calls_per_run} as call_number,
        toInt32(number % 10) as seq,
        cityHash64(intDiv(number, 10) + {first_run} * {calls_per_run}, 7) as draw,
        draw % 20 = 3 as is_skipped
    from numbers({first_run_rows})
)
where not is_skipped or seq = 0
"""

SCORES = """
insert into ml_scores (model_id, model_name, call_id, score, trained_until)
select
    number % 2 + 1,
    concat('model-', toString(number % 2)),
    intDiv(number, 2) + 1,
    cityHash64(number, 11) % 10000 / 10000,
    toDateTime('2023-06-01 00:00:00', 'UTC')
from numbers(2 * {calls})
"""

CANDLES = """
insert into ohlcv_candles (chain, token_address, interval, timestamp, open, high, low, close, volume)
select
    'solana',
    concat('token', toString(intDiv(number, {candles_per_token}))),
    '15m',
    toDateTime('2023-01-20 00:00:00', 'UTC') + 900 * (number % {candles_per_token}),
    1,
    1.1,
    0.9,
    1,
    100
from numbers({candle_tokens} * {candles_per_token})
where cityHash64(number) % 50 != 0
"""


@dataclass(frozen=True)
class Question:
    """What a dashboard asks.

    Attributes:
        name: What it shows.
        sql: The query; `{strategy}`, `{version}`, `{caller}` and `{token}` are other ones every time.
    """

    name: str
    sql: str


QUESTIONS = [
    Question(
        "caller leaderboard of a strategy",
        "select caller_rank, caller_handle, trade_count, win_rate, win_rate_lower, win_rate_upper, mean_pnl, "
        "mean_pnl_lower, mean_pnl_upper, median_pnl, best_pnl, worst_pnl from mart_caller_leaderboard "
        "where strategy_name = '{strategy}' and strategy_version = '{version}' order by caller_rank limit 100",
    ),
    Question(
        "callers with the best lower bounds of all",
        "select strategy_name, strategy_version, caller_handle, mean_pnl, mean_pnl_lower from mart_caller_leaderboard "
        "where not is_small_sample order by mean_pnl_lower desc limit 50",
    ),
    Question(
        "a caller by month, under all strategies",
        "select month, sum(trade_count) as trades, sum(total_pnl) as pnl from mart_caller_months "
        "where caller_handle = '{caller}' group by month order by month",
    ),
    Question("strategy leaderboard", "select * from mart_strategy_leaderboard order by strategy_rank"),
    Question(
        "strategies against callers, whole matrix",
        "select strategy_name, strategy_version, caller_handle, mean_pnl from mart_strategy_caller_matrix",
    ),
    Question("runs ranked, first 100", "select * from mart_runs_ranked order by run_rank limit 100"),
    Question(
        "runs of a strategy, best 100",
        "select * from mart_runs_ranked where strategy_name = '{strategy}' order by run_rank limit 100",
    ),
    Question(
        "equity of a strategy by day",
        "select day, pnl, cumulative_pnl, drawdown from mart_equity_by_day "
        "where strategy_name = '{strategy}' and strategy_version = '{version}' order by day",
    ),
    Question(
        "equity of all strategies by day",
        "select strategy_name, strategy_version, day, cumulative_pnl from mart_equity_by_day "
        "order by strategy_name, strategy_version, day",
    ),
    Question(
        "trades of a strategy, newest 100",
        "select * from mart_trades where strategy_name = '{strategy}' and strategy_version = '{version}' "
        "order by signal_timestamp desc limit 100",
    ),
    Question(
        "trades of a caller, newest 100",
        "select strategy_name, strategy_version, token_address, signal_timestamp, outcome, exit_reason, pnl "
        "from mart_caller_trades where caller_handle = '{caller}' order by signal_timestamp desc limit 100",
    ),
    Question(
        "trades of a token under a strategy",
        "select * from mart_trades where strategy_name = '{strategy}' and token_address = '{token}' "
        "order by signal_timestamp",
    ),
    Question(
        "trades of a strategy by week and outcome",
        "select toStartOfWeek(signal_timestamp) as week, outcome, count() as n, avg(pnl) as pnl from mart_trades "
        "where strategy_name = '{strategy}' and strategy_version = '{version}' group by week, outcome order by week",
    ),
    Question(
        "exit reasons of a strategy",
        "select * from mart_exit_reasons where strategy_name = '{strategy}' and strategy_version = '{version}'",
    ),
    Question(
        "tokens of a strategy, best and worst",
        "select * from mart_token_results where strategy_name = '{strategy}' and strategy_version = '{version}' "
        "order by total_pnl desc limit 50",
    ),
    Question(
        "a token under all strategies",
        "select strategy_name, strategy_version, trade_count, mean_pnl, total_pnl from mart_token_results "
        "where token_address = '{token}' order by total_pnl desc",
    ),
    Question(
        "scores against outcomes",
        "select score_decile, mean_score, win_rate, mean_pnl from mart_score_outcomes "
        "where model_name = 'model-1' and strategy_name = '{strategy}' and strategy_version = '{version}' "
        "order by score_decile",
    ),
    Question(
        "candles that are missing, worst 50",
        "select * from mart_data_coverage order by coverage limit 50",
    ),
    Question(
        "candles by month",
        "select month, interval_name, count() as tokens, sum(candle_count) as candles, avg(coverage) as coverage "
        "from mart_data_coverage group by month, interval_name order by month, interval_name",
    ),
]


class PeakMemory:
    """The most memory that a process held while this ran, in bytes."""

    def __init__(self, pid: int) -> None:
        self._process = psutil.Process(pid)
        self._over = threading.Event()
        self._thread = threading.Thread(target=self._sample, daemon=True)
        self.peak = self._process.memory_info().rss

    def __enter__(self) -> "PeakMemory":
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        self._thread.join()

    def _sample(self) -> None:
        while not self._over.wait(0.1):
            self.peak = max(self.peak, self._process.memory_info().rss)


def fill(clickhouse: ClickHouseConnection, events: int, tell: Callable[[str], None]) -> dict[str, int]:
    """Fill ClickHouse and return how many rows it has."""
    months = max(round(events / EVENTS_PER_RUN / STRATEGIES), 2)
    values = {
        "months": months,
        "tokens": max(months // 2, 1),
        "runs": months * STRATEGIES,
        "calls": months * CALLS_PER_RUN,
        "callers": CALLERS,
        "calls_per_run": CALLS_PER_RUN,
        "candle_tokens": CANDLE_TOKENS,
        "candles_per_token": CANDLES_PER_TOKEN,
    }
    for name, statement in (
        ("runs", RUNS),
        ("aggregates", AGGREGATES),
        ("calls", CALLS),
        ("scores", SCORES),
        ("candles", CANDLES),
    ):
        clickhouse.command(statement.format(**values), name=name)
    for first_run in range(0, values["runs"], RUNS_PER_INSERT):
        tell(f"events of runs from {first_run:,} of {values['runs']:,}")
        rows = min(RUNS_PER_INSERT, values["runs"] - first_run) * CALLS_PER_RUN * 10
        clickhouse.command(EVENTS.format(**values, first_run=first_run, first_run_rows=rows), name="events")
    counted = clickhouse.fetch_table(
        "select (select count() from simulation_events) as events, (select count() from published_runs) as runs, "
        "(select count() from published_calls) as calls, (select count() from ohlcv_candles) as candles",
        name="count",
    )
    return {name: int(value) for name, value in counted.to_pylist()[0].items()}


def build(postgres_url: str, clickhouse_url: str, tell: Callable[[str], None]) -> list[dict[str, Any]]:
    """Build the views and return seconds and rows of each."""
    begun: list[tuple[str, float]] = []

    def progress(text: str) -> None:
        tell(text)
        begun.append((text.rpartition(".")[2], time.perf_counter()))

    built = build_views(postgres_url, clickhouse_url, databases=["clickhouse"], on_progress=progress)
    ends = [at for _, at in begun[1:]] + [time.perf_counter()]
    built.require_all()
    seconds = {name: end - at for (name, at), end in zip(begun, ends, strict=True)}
    return [
        {"view": view.view, "seconds": round(seconds[view.view], 2), "rows": view.row_count}
        for view in built.views
        if view.row_count is not None
    ]


def ask(clickhouse: ClickHouseConnection, months: int) -> list[dict[str, Any]]:
    """Ask each question and return its times in milliseconds."""
    generator = random.Random(1)  # noqa: S311 - a choice of values, no secret
    answers = []
    for question in QUESTIONS:
        milliseconds = []
        rows = 0
        for number in range(ROUNDS + 5):
            text = question.sql.format(
                strategy=f"strategy-{generator.randrange(25)}",
                version=generator.randrange(2) + 1,
                caller=f"caller-{generator.randrange(CALLERS)}",
                token=f"token{generator.randrange(max(months // 2, 1))}",
            )
            started = time.perf_counter()
            rows = clickhouse.fetch_table(text, name=question.name).num_rows
            if number >= 5:  # the first ones warm up
                milliseconds.append(1000 * (time.perf_counter() - started))
        answers.append(
            {
                "question": question.name,
                "rows": rows,
                "p50_ms": round(float(np.quantile(milliseconds, 0.5)), 1),
                "p95_ms": round(float(np.quantile(milliseconds, 0.95)), 1),
                "max_ms": round(max(milliseconds), 1),
            }
        )
    return answers


def measure(home: Path, events: int, tell: Callable[[str], None]) -> dict[str, Any]:
    """Fill, build and ask, in servers of a home of their own."""
    settings = load_settings(home=home, postgres_url=None, clickhouse_url=None)
    urls = ensure_servers(settings)
    try:
        migrate(urls.postgres, urls.clickhouse)
        state = embedded_clickhouse(settings).state()
        if state is None:
            raise SystemExit("the owner ended right after its start")
        clickhouse = ClickHouseConnection(urls.clickhouse)
        started = time.perf_counter()
        counts = fill(clickhouse, events, tell)
        filled = time.perf_counter()
        with PeakMemory(state.process.pid) as memory:
            tables = build(urls.postgres, urls.clickhouse, tell)
        built = time.perf_counter()
        load_before = os.getloadavg()[0]
        answers = ask(clickhouse, counts["runs"] // STRATEGIES)
        clickhouse.close()
        return {
            "counts": counts,
            "fill_seconds": round(filled - started, 1),
            "build_seconds": round(built - filled, 1),
            "build_peak_gigabytes": round(memory.peak / 1e9, 2),
            "tables": tables,
            "questions": answers,
            "load_before": load_before,
            "load_after": os.getloadavg()[0],
        }
    finally:
        stop_servers(settings)


def main() -> None:
    """Measure, print, and exit with 1 where a question took too long."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--events", type=int, default=10_000_000, help="how many events, about")
    parser.add_argument("--json", action="store_true", help="print JSON")
    arguments = parser.parse_args()

    def tell(text: str) -> None:
        print(text, file=sys.stderr)

    # Not below a folder that is closed to others: as root, Postgres runs under another account.
    with tempfile.TemporaryDirectory(prefix="quantbot-marts-", ignore_cleanup_errors=True) as folder:
        result = measure(Path(folder) / "home", arguments.events, tell)
    if arguments.json:
        print(json.dumps(result, indent=1))
    else:
        print(f"{result['counts']}; filled in {result['fill_seconds']} s, built in {result['build_seconds']} s, ")
        print(f"peak {result['build_peak_gigabytes']} GB; load {result['load_before']:.1f} {result['load_after']:.1f}")
        for table in result["tables"]:
            print(f"{table['view']:32} {table['seconds']:8.1f} s {table['rows']:12,} rows")
        for answer in result["questions"]:
            print(
                f"{answer['question']:44} p50 {answer['p50_ms']:7.1f} p95 {answer['p95_ms']:7.1f} "
                f"max {answer['max_ms']:7.1f} ms {answer['rows']:8,} rows"
            )
    if any(answer["p95_ms"] > LIMIT_MS for answer in result["questions"]):
        raise SystemExit(1)


if __name__ == "__main__":
    main()
