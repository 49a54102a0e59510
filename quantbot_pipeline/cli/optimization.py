"""`quantbot optimize`, and `quantbot trials` behind it."""

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import typer

from quantbot_pipeline.cli import interrupts
from quantbot_pipeline.cli import trials as trials_command
from quantbot_pipeline.cli.console import StageListener, messages, print_warning, progress_stages
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.option_values import finite
from quantbot_pipeline.cli.trials import DEFAULT_TOP, print_search

if TYPE_CHECKING:
    from quantbot_pipeline.storage.protocols import StateStore

_OPTIMIZE_HELP = flowing(
    """Search the parameters of a strategy, and say whether the winner is luck.

Every trial is simulated on all calls of --data; the best ones keep their full trace. Then parameters are chosen in one
stretch of time after the other, from what came before it alone, and what they earned there is what counts. A job that
ran already, with the same data, is the stored one. A job that was stopped, by Ctrl-C or a kill, goes on when the same
command is given again, or with --resume. A job of which no trial has a score fails, exit code 4, and says which limit
was missed. This writes to the databases without Dagster.

An objective is a metric of a run, a weighted sum, or several, with limits where wanted.

Examples:
  quantbot optimize --template conservative-24h --trials 40
  quantbot optimize --template mine.json --trials 40
  quantbot optimize --template NAME --objective "sqn subject to trade_count >= 30 and max_drawdown <= 0.4"
  quantbot optimize --template NAME --space space.json --sampler qmc --trials 1000 --jobs 2
  quantbot optimize --template NAME --data '{"tokens": \\["solana:*"], "months": \\["2025-01..2025-03"]}'
  quantbot optimize --resume 3

A search space is JSON, such as
  {"parameters": \\[{"path": "entry.drop", "type": "float", "low": 0.1, "high": 0.5}]}
"""
)


def register(app: typer.Typer) -> None:
    """Add the commands to `app`."""
    _register_optimize(app)
    trials_command.register(app)


def _register_optimize(app: typer.Typer) -> None:

    @app.command(help=_OPTIMIZE_HELP)
    def optimize(
        context: typer.Context,
        template: str | None = typer.Option(
            None,
            help="Name of a stored strategy or a preset, or a strategy file, which is stored.",
            metavar="NAME|FILE",
        ),
        space: Path | None = typer.Option(None, help="Search space, JSON; a default space of the template without it."),
        objective: str = typer.Option("final_pnl", help="What to improve."),
        trials: int = typer.Option(12, min=1, max=1_000_000, help="Number of trials."),
        data: str | None = typer.Option(
            None, help="Calls to search on: tokens, months and callers, JSON or a file; all calls without it."
        ),
        seed: int = typer.Option(
            7, min=0, max=2**32 - 1, help="Seed of everything random: the same seed, the same job."
        ),
        sampler: Literal["tpe", "random", "grid", "cmaes", "nsga2", "qmc"] = typer.Option(
            "tpe", help="How parameters are proposed."
        ),
        jobs: int = typer.Option(1, min=1, max=256, help="Trials that are simulated at once; changes no result."),
        timeout: float | None = typer.Option(
            None,
            min=1,
            callback=finite,
            help="Seconds after which no further trial is begun; the job ends with what there is.",
        ),
        resume: int | None = typer.Option(None, min=1, help="Go on with this stored search.", metavar="JOB"),
        keep: int = typer.Option(5, min=1, max=1_000, help="How many of the best trials keep their full trace."),
        prune: Literal["halving", "median"] | None = typer.Option(None, help="Give bad trials up early."),
        shuffles: int = typer.Option(99, min=0, max=9_999, help="Most shuffles of the calls' times in the last test."),
        *,
        store_all: bool = typer.Option(False, "--store-all", help="A row per trial also of more than 5 000 trials."),
        as_json: bool = typer.Option(False, "--json", help="Print the job, its verdict and its best trials as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.errors import EvidenceError, InputError
        from quantbot_pipeline.optimization.objectives import parse_objective
        from quantbot_pipeline.report.search_collect import collect_search
        from quantbot_pipeline.workflows.optimization_plan import (
            parse_data_selection,
            plan_of_job,
            plan_optimization,
        )
        from quantbot_pipeline.workflows.run_optimization import run_optimization

        if (template is None) == (resume is None):
            raise InputError("give either --template NAME, for a search, or --resume JOB, to go on with one")
        if resume is not None:
            _refuse_other_plan(context, resume)
        parse_objective(objective)
        document = None if space is None else _read_space(space)
        selection = parse_data_selection(_read_data(data))
        with open_stores() as stores:
            name = _store_template(stores.state, template)
            plan = (
                plan_of_job(stores.state, resume)
                if resume is not None
                else plan_optimization(
                    stores.state,
                    template_name=name,
                    space_document=document,
                    space_source="search space" if space is None else str(space),
                    objective=objective,
                    trial_count=trials,
                    seed=seed,
                    sampler=sampler,
                    data=selection,
                    pruning=None if prune is None else {"kind": prune},
                    keep=keep,
                    store_all=store_all,
                    shuffles=shuffles,
                )
            )
            with _stopped_by_kill(), _search_progress(plan.trial_count) as progress:
                outcome = run_optimization(
                    plan,
                    stores.state,
                    stores.history,
                    threads=jobs,
                    timeout_seconds=timeout,
                    job_id=resume,
                    on_progress=progress.listen,
                    on_job=progress.begin,
                    warn=print_warning,
                )
            found = collect_search(stores.state, outcome.job_id, top=DEFAULT_TOP)
        assert found is not None  # noqa: S101  the search has just been stored
        about = {
            "reused": outcome.is_known,
            "seconds": outcome.times,
        }
        if outcome.is_known and not as_json:
            ended = "was complete" if outcome.failure is None else "had failed"
            messages.print(
                f"search {outcome.job_id} {ended}; nothing was simulated, this is what is stored", soft_wrap=True
            )
        if as_json or outcome.failure is None:
            print_search(found, top=DEFAULT_TOP, as_json=as_json, about=about)
        if outcome.failure is not None:
            raise EvidenceError(
                f"search {outcome.job_id} failed: {outcome.failure}; "
                f"'quantbot trials {outcome.job_id}' shows its trials"
            )
        if outcome.note is not None and not as_json:
            messages.print(f"go on with: quantbot optimize --resume {outcome.job_id}", soft_wrap=True)


_WITH_RESUME = frozenset({"resume", "jobs", "timeout", "as_json"})
"""Options that a stored search takes: they change nothing of it."""


def _refuse_other_plan(context: typer.Context, job_id: int) -> None:
    """Refuse options that say what is searched where that is stored; they would be left aside in silence."""
    from quantbot_pipeline.errors import InputError

    given = [
        f"--{name.replace('_', '-')}"
        for name in context.params
        if name not in _WITH_RESUME and getattr(context.get_parameter_source(name), "name", "") == "COMMANDLINE"
    ]
    if given:
        raise InputError(
            f"{', '.join(given)}: can't be given with --resume {job_id}: a stored search goes on as it was begun; "
            "allowed besides are --jobs, --timeout and --json; for another search, give --template instead"
        )


class _SearchProgress:
    """Progress of a search, and what is said of it when it is stopped.

    Args:
        on_stage: Shows a stage, units done and units in all.
        trial_count: Trials that were asked for.
    """

    def __init__(self, on_stage: StageListener, trial_count: int) -> None:
        self._on_stage = on_stage
        self._trial_count = trial_count
        self._job_id: int | None = None
        self._stage = ""
        on_stage("trials", 0, trial_count)

    def begin(self, job_id: int) -> None:
        """Take the id of the job, which exists from now on."""
        self._job_id = job_id
        self._say(0)

    def listen(self, done: int, total: int, message: str) -> None:
        """Show how far the search is, or what it does beside its trials."""
        self.end_stage()
        if message.startswith("trial ") or not message:
            self._on_stage("trials", done, total)
        else:
            self._stage = message
            self._on_stage(message, 0, 1)
        self._say(done)

    def end_stage(self) -> None:
        """Show that what was done beside the trials is done."""
        if self._stage:
            self._on_stage(self._stage, 1, 1)
            self._stage = ""

    def _say(self, done: int) -> None:
        if self._job_id is not None:
            interrupts.say_when_stopped(
                f"stopped search {self._job_id} after {done:,} of {self._trial_count:,} trials; go on with the same "
                f"command, or with: quantbot optimize --resume {self._job_id}"
            )


@contextmanager
def _search_progress(trial_count: int) -> Iterator[_SearchProgress]:
    with progress_stages() as on_stage:
        progress = _SearchProgress(on_stage, trial_count)
        yield progress
        progress.end_stage()


@contextmanager
def _stopped_by_kill() -> Iterator[None]:
    """Let SIGTERM stop the search as Ctrl-C does, and say the same of it."""
    try:
        with interrupts.ended_by_kill():
            yield
    except interrupts.Terminated:
        messages.print(interrupts.text_when_stopped(), soft_wrap=True)
        raise


def _store_template(state: "StateStore", template: str | None) -> str:
    """Store the presets, and the template if it is a file; return the template's name."""
    from quantbot_pipeline.errors import InputError
    from quantbot_pipeline.workflows.store_strategies import newest_versions, store_strategies

    path = None if template is None else Path(template)
    if path is None or not (path.suffix == ".json" or path.is_file()):
        store_strategies(state)
        return template or ""
    stored = store_strategies(state, [path])[-1]
    [newest] = newest_versions(state.load_strategies([stored.name]))
    if newest.strategy_id != stored.strategy_id:
        raise InputError(
            f"--template: {path}: version {stored.version!r} of {stored.name!r} is stored, but version "
            f"{newest.version!r} was stored after it, and a search takes the newest; give the file a new version"
        )
    return stored.name


def _read_space(path: Path) -> dict[str, Any]:
    from quantbot_pipeline.cli.documents import read_json_object
    from quantbot_pipeline.errors import SearchSpaceError

    return read_json_object(path, SearchSpaceError)


def _read_data(text: str | None) -> dict[str, Any] | None:
    """Return the document of --data, which is JSON, or a file of it."""
    from quantbot_pipeline.cli.documents import parse_json_object, read_json_object
    from quantbot_pipeline.errors import InputError

    if text is None:
        return None
    if text.lstrip().startswith("{"):
        return parse_json_object(text, "--data", InputError)
    return read_json_object(Path(text), InputError)
