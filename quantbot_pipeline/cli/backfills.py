"""`quantbot backfill`: arguments, progress and answers; what is done lives in the workflows."""

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from quantbot_pipeline.cli import interrupts
from quantbot_pipeline.cli.console import (
    QUIET_SECONDS,
    messages,
    print_json,
    print_line,
    print_rows,
    print_warning,
    waiting,
)
from quantbot_pipeline.cli.help_text import flowing

if TYPE_CHECKING:
    from quantbot_pipeline.cli.stores import OpenStores
    from quantbot_pipeline.workflows.backfill import BackfillCounts
    from quantbot_pipeline.workflows.backfill_plan import PlannedRun
    from quantbot_pipeline.workflows.backfill_records import SelectedBackfill
    from quantbot_pipeline.workflows.call_scores import ScoreCoverage
    from quantbot_pipeline.workflows.stage_times import StageTimes

_HELP = flowing(
    """Simulate strategies on the stored calls, computing only what is stale.

A run is stale when a candle, call or score that it can read, its strategy, or the engine changed; all others are reused
without reading candles. One token or run that fails costs no other: the good ones are stored, the bad ones are
listed (exit code 4), and --resume goes on with those that failed or that a stopped backfill never came to. Everything
is recorded in one Dagster run.

--resume without selectors goes on with the last backfill that did not come to its end, whatever it was asked for, and
names it; with selectors, with the last of just these. What was stored since and is selected counts as never come, with
--force too. --force is not remembered: give it again.

Selectors take lists with commas, are repeatable, and may be globs; months may be ranges. A selector that matches
nothing is refused.

Examples:
  quantbot backfill
  quantbot backfill --tokens 'binance:*' --months 2025-01..2025-06 --strategies conservative-24h,'basic-*'
  quantbot backfill --file mine.json --jobs 2 --json
  quantbot backfill --resume
  quantbot backfill --dry-run
"""
)

_SHOWN = 20
_SECONDS_BETWEEN_LINES = 5.0


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command(help=_HELP)
    def backfill(
        tokens: list[str] = typer.Option(
            [], "--tokens", help="Tokens CHAIN:ADDRESS, globs such as 'binance:*', or all.", metavar="SELECTOR"
        ),
        months: list[str] = typer.Option(
            [], "--months", help="Months YYYY-MM, ranges A..B, globs such as '2025-0*', or all.", metavar="SELECTOR"
        ),
        strategies: list[str] = typer.Option(
            [], "--strategies", help="Names of stored strategies and presets, globs, or all.", metavar="SELECTOR"
        ),
        files: list[Path] = typer.Option([], "--file", help="Strategy file to store and simulate; repeatable."),
        jobs: int = typer.Option(1, "--jobs", min=1, max=256, help="Threads of the engine; changes no result."),
        *,
        resume: bool = typer.Option(
            False, "--resume", help="Go on with what failed, or never came, of the last unfinished backfill."
        ),
        force: bool = typer.Option(False, "--force", help="Compute complete runs anew; the rows must be identical."),
        is_dry: bool = typer.Option(False, "--dry-run", help="Say what is stale and why; compute nothing."),
        as_json: bool = typer.Option(False, "--json", help="Print the counts as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.strategy.model import load_strategy
        from quantbot_pipeline.strategy.presets import preset_names
        from quantbot_pipeline.workflows.backfill_records import select_backfill, select_unfinished
        from quantbot_pipeline.workflows.backfill_selection import Selection, check_form, select_strategies
        from quantbot_pipeline.workflows.store_strategies import store_strategies

        began = time.perf_counter()
        of_files = [load_strategy(file).name for file in files]
        names = [*strategies, *of_files]
        selection = Selection.of(tokens, months, names)
        check_form(selection)
        with open_stores() as stores:
            stored = {row.name for row in stores.state.load_strategies()}
            # Before anything is stored.
            select_strategies(selection, {*stored, *of_files, *preset_names()})
            store_strategies(stores.state, files)
            if resume and not (tokens or months or names):
                selected = select_unfinished(stores.state)
            else:
                selected = select_backfill(selection, stores.state, resume=resume)
            _say_what_is_resumed(selected)
            if is_dry:
                _explain(selected, stores, force=force, as_json=as_json)
                return
            counts, stages = _run(selected, stores, force=force, jobs=jobs)
            stale = _count_stale(selected, stores)
        seconds = time.perf_counter() - began
        _answer(selected, counts, stages, seconds, stale=stale, as_json=as_json)


# --- computing ---


def _run(
    selected: "SelectedBackfill", stores: "OpenStores", *, force: bool, jobs: int
) -> "tuple[BackfillCounts, StageTimes]":
    from quantbot_pipeline.workflows.backfill import BackfillCounts, BackfillListener
    from quantbot_pipeline.workflows.stage_times import StageTimes

    stages = StageTimes()
    if not selected.keys:
        if selected.backfill_id is not None:
            with waiting("opening Dagster"):
                from quantbot_pipeline.defs.backfills import end_dead_backfills

                end_dead_backfills(stores.settings)
        return BackfillCounts(total=0), stages
    with waiting("opening Dagster"):
        from quantbot_pipeline.defs.backfills import backfill_here

    with _progress() as (on_progress, on_message):
        counts = backfill_here(
            selected,
            stores.state,
            stores.history,
            stores.settings,
            force=force,
            jobs=jobs,
            listener=BackfillListener(on_progress=on_progress, on_message=on_message),
            stages=stages,
        )
    return counts, stages


@contextmanager
def _progress() -> "Iterator[tuple[Callable[[BackfillCounts], None], Callable[[str], None]]]":
    """Show how far a backfill is; yields what to tell counts and messages to."""
    began = time.monotonic()
    if not messages.is_terminal:
        spoke_at = began

        def tell_line(counts: "BackfillCounts") -> None:
            nonlocal spoke_at
            interrupts.check()
            now = time.monotonic()
            if now - spoke_at >= (QUIET_SECONDS if counts.done == counts.total else _SECONDS_BETWEEN_LINES):
                spoke_at = now
                text = f"{counts.done:,} of {counts.total:,} token-months, {_figures(counts, now - began)}"
                messages.print(text, markup=False, soft_wrap=True)

        yield tell_line, lambda message: messages.print(f"{message} …", markup=False, soft_wrap=True)
        return
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeRemainingColumn

    columns = (
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=20),
        MofNCompleteColumn(),
        TextColumn("{task.fields[figures]}"),
        TextColumn("left"),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=messages, transient=True) as display:
        task = display.add_task("token-months", total=None, figures="")

        def tell_bar(counts: "BackfillCounts") -> None:
            interrupts.check()
            what = "waiting for another process" if counts.waiting else "token-months"
            figures = _figures(counts, time.monotonic() - began)
            display.update(task, description=what, completed=counts.done, total=counts.total, figures=figures)

        yield tell_bar, lambda message: display.update(task, description=message)


def _figures(counts: "BackfillCounts", seconds: float) -> str:
    rate = counts.candles / max(seconds, 0.1)
    return f"{counts.computed:,} runs, {counts.reused:,} reused, {counts.failed:,} failed, {rate:,.0f} candles/s"


# --- answering ---


def _answer(
    selected: "SelectedBackfill",
    counts: "BackfillCounts",
    stages: "StageTimes",
    seconds: float,
    *,
    stale: int | None,
    as_json: bool,
) -> None:
    from quantbot_pipeline.errors import SimulationError
    from quantbot_pipeline.workflows.backfill_plan import Staleness

    summary = {
        "token_months": counts.done,
        "runs": counts.computed + counts.reused + counts.failed,
        "computed": counts.computed,
        "reused": counts.reused,
        "failed": counts.failed,
        "new_events": counts.new_events,
    }
    if as_json:
        print_json(
            summary
            | {
                "candles": counts.candles,
                "done_before": selected.done,
                "resumed": _resumed(selected),
                "stale": stale,
                "why": {str(why): count for why, count in counts.why.items()},
                "scores": counts.scores.document(),
                "scored_by": counts.scores.versions_document(),
                "failures": [_failure(key.token, key.month, reason) for key, reason in counts.failures],
                "seconds": round(seconds, 2),
                "stages": {name: round(value, 3) for name, value in stages.seconds.items()},
            }
        )
    else:
        print_rows("Backfilled", [summary])
        computed = {why: count for why, count in counts.why.items() if why is not Staleness.UP_TO_DATE}
        if computed:
            print_line("computed: " + ", ".join(f"{count:,} {why}" for why, count in computed.items()))
    if counts.why[Staleness.NEW_ENGINE]:
        print_warning(f"{counts.why[Staleness.NEW_ENGINE]:,} runs were stale because the engine's version is new")
    _say_scores(counts.scores, as_json=as_json)
    if not selected.keys:
        _say_nothing_to_do(selected, stale)
    if counts.failed:
        shown = [f"{row['token']} {row['month']}: {row['reason']}" for row in _failures(counts)[:_SHOWN]]
        if counts.months_failed > len(shown):
            shown.append(f"and {counts.months_failed - len(shown):,} more: --json lists them")
        raise SimulationError(
            "\n".join(
                [
                    f"{counts.failed:,} failures in {counts.months_failed:,} token-months, the others are stored; "
                    "the same command with --resume tries these again:",
                    *shown,
                ]
            )
        )


def _say_scores(coverage: "ScoreCoverage", *, as_json: bool) -> None:
    """Say how many calls have the scores that strategies ask for; a model that says nothing of any is warned of."""
    if not as_json:
        for sentence in coverage.sentences():
            print_line(sentence)
    for warning in coverage.warnings():
        print_warning(warning)


def _say_what_is_resumed(selected: "SelectedBackfill") -> None:
    if selected.keys and selected.begun_at is not None:
        messages.print(
            f"resuming the backfill of {selected.selection}, begun {selected.begun_at.astimezone(UTC):%Y-%m-%d %H:%M} "
            f"UTC: {len(selected.keys):,} of {len(selected.keys) + selected.done:,} token-months are left",
            markup=False,
            soft_wrap=True,
        )


def _resumed(selected: "SelectedBackfill") -> dict[str, Any] | None:
    if selected.backfill_id is None:
        return None
    return {
        "backfill": selected.backfill_id,
        "selection": selected.selection.document,
        "begun_at": selected.begun_at,
        "left": len(selected.keys),
    }


def _count_stale(selected: "SelectedBackfill", stores: "OpenStores") -> int | None:
    """Count what a backfill of everything would compute, where nothing is to be resumed; None where that takes long."""
    from quantbot_pipeline.workflows.backfill import TOKEN_MONTHS_PER_PLAN, explain_backfill
    from quantbot_pipeline.workflows.backfill_plan import Staleness
    from quantbot_pipeline.workflows.backfill_records import select_backfill
    from quantbot_pipeline.workflows.backfill_selection import Selection

    if selected.keys or selected.backfill_id is None:
        return None
    everything = select_backfill(Selection(), stores.state)
    if len(everything.keys) > TOKEN_MONTHS_PER_PLAN:
        return None
    with waiting("comparing with what is stored"):
        runs = explain_backfill(everything.keys, everything.strategies, stores.state, stores.history)
        return sum(run.staleness is not Staleness.UP_TO_DATE for run in runs)


def _say_nothing_to_do(selected: "SelectedBackfill", stale: int | None) -> None:
    if selected.backfill_id is not None:
        if stale is None:
            rest = "what else is stale says 'quantbot backfill --dry-run'"
        elif stale:
            rest = f"{stale:,} runs are stale: 'quantbot backfill' computes them"
        else:
            rest = "no run is stale"
        print_line(
            f"nothing to resume: all {selected.done:,} token-months of the backfill of {selected.selection} are done; "
            f"{rest}"
        )
    else:
        print_warning("no call is stored of what was asked for: 'quantbot ingest alerts' stores calls")


def _failures(counts: "BackfillCounts") -> list[dict[str, str]]:
    return [_failure(key.token, key.month, reason) for key, reason in counts.failures]


def _failure(token: Any, month: str, reason: str) -> dict[str, str]:
    from quantbot_pipeline.workflows.token_months import format_token

    return {"token": format_token(token), "month": month, "reason": reason}


def _explain(selected: "SelectedBackfill", stores: "OpenStores", *, force: bool, as_json: bool) -> None:
    from quantbot_pipeline.workflows.backfill import explain_backfill
    from quantbot_pipeline.workflows.backfill_plan import Staleness
    from quantbot_pipeline.workflows.call_scores import ScoreCoverage

    why: Counter[str] = Counter()
    coverage = ScoreCoverage()
    stale: list[dict[str, str]] = []
    with waiting("comparing with what is stored"):
        runs: Iterator[PlannedRun] = explain_backfill(
            selected.keys, selected.strategies, stores.state, stores.history, force=force, coverage=coverage
        )
        for run in runs:
            interrupts.check()
            why[str(run.staleness)] += 1
            if run.staleness is not Staleness.UP_TO_DATE:
                stale.append(_stale(run))
    if as_json:
        print_json(
            {
                "token_months": len(selected.keys),
                "runs": why.total(),
                "why": dict(why),
                "stale": stale,
                "scores": coverage.document(),
                "scored_by": coverage.versions_document(),
                "resumed": _resumed(selected),
            }
        )
        _say_scores(coverage, as_json=True)
        return
    if not selected.keys:
        _say_nothing_to_do(selected, _count_stale(selected, stores))
        return
    print_rows("What a backfill would do", [{"why": name, "runs": count} for name, count in why.most_common()])
    if stale:
        _print_first(stale)
    _say_scores(coverage, as_json=False)


def _stale(run: "PlannedRun") -> dict[str, str]:
    from quantbot_pipeline.workflows.token_months import format_token

    return {
        "token": format_token(run.key.token),
        "month": run.key.month,
        "strategy": run.strategy.row.name,
        "why": str(run.staleness),
    }


def _print_first(stale: Sequence[dict[str, str]]) -> None:
    print_rows("Stale", list(islice(stale, _SHOWN)))
    if len(stale) > _SHOWN:
        print_line(f"and {len(stale) - _SHOWN:,} more: --json lists them")
