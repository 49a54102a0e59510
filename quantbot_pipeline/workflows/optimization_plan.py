"""What a search is asked for, checked before anything runs."""

import json
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import datetime
from fnmatch import fnmatchcase
from typing import Any, get_args

from quantbot_pipeline.engine.calls import SignalType
from quantbot_pipeline.errors import ConfigError, InputError, SearchSpaceError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.optimization.objectives import Objective, parse_objective
from quantbot_pipeline.optimization.parameters import value_count
from quantbot_pipeline.optimization.pruning import PruningRule, parse_pruning_rule
from quantbot_pipeline.optimization.search import SearchPlan
from quantbot_pipeline.optimization.spaces import SearchSpace, default_search_space, parse_search_space
from quantbot_pipeline.optimization.study import Sampler
from quantbot_pipeline.storage.protocols import StateStore
from quantbot_pipeline.storage.records import CallRow, StrategyRow
from quantbot_pipeline.workflows.backfill_selection import ALL, Selection, check_form, select_token_months
from quantbot_pipeline.workflows.callers import format_caller
from quantbot_pipeline.workflows.store_strategies import newest_versions
from quantbot_pipeline.workflows.token_months import TokenMonth, month_of, month_start, next_month

LAID_OUT_SAMPLERS: frozenset[Sampler] = frozenset({"grid", "random", "qmc"})
"""Samplers whose trials do not depend on any result: a walk-forward may choose among them."""

DEFAULT_KEEP = 5
"""Trials that keep their full trace."""

MOST_STORED_TRIALS = 5_000
"""Jobs of more trials keep rows of the best ones alone, unless they are asked for all."""

WINDOWS_RULE = 2
"""Version of how windows are cut; a job of another version is another job."""

_BATCH_SIZES: Mapping[Sampler, int] = {"grid": 64, "random": 64, "qmc": 64, "nsga2": 32}

_DATA_KEYS = ("tokens", "months", "callers")


@dataclass(frozen=True, slots=True)
class WalkForward:
    """How the calls of a job are split in time.

    Attributes:
        windows: Test windows of about equally many calls that have candles, one after the other, at least 1.
        train_share: Share of these calls before the first test, in (0, 1).
        embargo_seconds: How long before a test a training trade must be done, at least 0.
        trials: Most trials of a search inside a window, where windows are searched anew.
    """

    windows: int = 5
    train_share: float = 0.3
    embargo_seconds: int = 3_600
    trials: int = 200


@dataclass(frozen=True, slots=True)
class DataSelection:
    """Which calls are searched on: names, globs, or ranges of months, as `quantbot backfill` takes them.

    Attributes:
        tokens: `chain:address`.
        months: `YYYY-MM`.
        callers: `source/handle`.
        start: Calls from here on; None: no bound besides the months.
        end: Calls before here.
    """

    tokens: tuple[str, ...] = (ALL,)
    months: tuple[str, ...] = (ALL,)
    callers: tuple[str, ...] = (ALL,)
    start: datetime | None = None
    end: datetime | None = None

    def document(self) -> dict[str, Any]:
        """Return the selection as JSON."""
        document: dict[str, Any] = {
            "tokens": list(self.tokens),
            "months": list(self.months),
            "callers": list(self.callers),
        }
        bounds = {"start": self.start, "end": self.end}
        return document | {name: at.isoformat() for name, at in bounds.items() if at is not None}


@dataclass(frozen=True, slots=True)
class SelectedCalls:
    """What a selection came to.

    Attributes:
        months: Months of each token, sorted.
        callers: Ids of the callers whose calls are taken; None: all.
        window_start: Calls from here on are simulated.
        window_end: Calls before here are.
        is_partial: Whether calls of these tokens within the window are left out.
    """

    months: Mapping[TokenKey, frozenset[str]]
    callers: frozenset[int] | None
    window_start: datetime
    window_end: datetime
    is_partial: bool

    def takes(self, call: CallRow) -> bool:
        """Return whether a call is there for the search: calls that are no entries also outside of the months."""
        if self.callers is not None and call.caller_id not in self.callers:
            return False
        if call.signal_type is not SignalType.ENTRY:
            return call.token in self.months
        return month_of(call.signal_timestamp) in self.months.get(call.token, ())


@dataclass(frozen=True, slots=True)
class OptimizationPlan:
    """What a job searches, and on what.

    Attributes:
        name: Name of the job, for people.
        template: The strategy whose fields are varied.
        search: Space, objective, sampler, seed, trials, batches and pruning.
        space_document: The space as JSON, as it was given.
        data: Which calls were asked for.
        selected: What that came to.
        keep: How many of the best trials keep their full trace.
        stores_all: Whether every trial has a row.
        walk_forward: Windows in time.
        shuffles: Most shuffles of the calls' times; 0: no such test.
        draws: Resamples of each test.
        level: Of each test.
    """

    name: str
    template: StrategyRow
    search: SearchPlan
    space_document: Mapping[str, Any]
    data: DataSelection
    selected: SelectedCalls
    keep: int = DEFAULT_KEEP
    stores_all: bool = True
    walk_forward: WalkForward = WalkForward()
    shuffles: int = 99
    draws: int = 999
    level: float = 0.05

    @property
    def space(self) -> SearchSpace:
        """What varies."""
        return self.search.space

    @property
    def objective(self) -> Objective:
        """What is improved."""
        return self.search.objective

    @property
    def trial_count(self) -> int:
        """How many trials were asked for."""
        return self.search.trial_count

    @property
    def window_start(self) -> datetime:
        """Calls from here on are simulated."""
        return self.selected.window_start

    @property
    def window_end(self) -> datetime:
        """Calls before here are simulated."""
        return self.selected.window_end

    @property
    def searches_inside(self) -> bool:
        """Whether each window is searched anew: of trials that knew its test none may be chosen."""
        return self.search.sampler not in LAID_OUT_SAMPLERS or self.search.pruning is not None

    def document(self) -> dict[str, Any]:
        """Return what is stored as `plan_json`, from which `plan_of_job` makes the plan again."""
        pruning = self.search.pruning
        return {
            "sampler": self.search.sampler,
            "seed": self.search.seed,
            "trial_count": self.search.trial_count,
            "batch_size": self.search.batch_size,
            "pruning": None if pruning is None else pruning.model_dump(mode="json"),
            "objective": self.objective.document(),
            "data": self.data.document(),
            "keep": self.keep,
            "stores_all_trials": self.stores_all,
            "walk_forward": {
                "windows": self.walk_forward.windows,
                "train_share": self.walk_forward.train_share,
                "embargo_seconds": self.walk_forward.embargo_seconds,
                "trials": self.walk_forward.trials,
            },
            "shuffles": self.shuffles,
            "draws": self.draws,
            "level": self.level,
        }


def parse_data_selection(document: Mapping[str, Any] | None) -> DataSelection:
    """Return the selection of a JSON document such as `{"tokens": ["solana:*"], "months": ["2025-01..2025-03"]}`.

    Raises:
        InputError: a key is unknown, or what is under it is no list of texts; the message names it.
    """
    found = dict(document or {})
    if unknown := sorted(found.keys() - {*_DATA_KEYS, "start", "end"}):
        raise InputError(f"--data: found {unknown[0]!r}; allowed are {', '.join(_DATA_KEYS)}, start and end")
    names: dict[str, tuple[str, ...]] = {}
    for key in _DATA_KEYS:
        value = found.get(key, [])
        texts = [value] if isinstance(value, str) else value
        if not isinstance(texts, list | tuple) or not all(isinstance(text, str) for text in texts):
            raise InputError(f"--data: {key}: found {value!r}; allowed is a text or a list of texts")
        names[key] = tuple(part.strip() for text in texts for part in text.split(",") if part.strip()) or (ALL,)
    return DataSelection(
        names["tokens"],
        names["months"],
        names["callers"],
        start=_instant("start", found.get("start")),
        end=_instant("end", found.get("end")),
    )


def _instant(key: str, value: Any) -> datetime | None:
    if value is None:
        return None
    try:
        instant = datetime.fromisoformat(value)
    except (TypeError, ValueError) as error:
        raise InputError(f"--data: {key}: found {value!r}; allowed is a time such as 2025-03-01T00:00:00Z") from error
    if instant.tzinfo is None:
        raise InputError(f"--data: {key}: found {value!r} without a time zone; allowed is a time that ends with Z")
    return instant


def plan_optimization(
    state: StateStore,
    *,
    template_name: str,
    space_document: Mapping[str, Any] | None = None,
    space_source: str = "search space",
    objective: str | Mapping[str, Any] = "final_pnl",
    trial_count: int = 12,
    seed: int = 7,
    sampler: Sampler = "tpe",
    data: DataSelection | Mapping[str, Any] | None = None,
    pruning: Mapping[str, Any] | None = None,
    batch_size: int | None = None,
    keep: int = DEFAULT_KEEP,
    store_all: bool = False,
    walk_forward: WalkForward | None = None,
    shuffles: int = 99,
    draws: int = 999,
) -> OptimizationPlan:
    """Check what a user asks for and return the plan of the job.

    Args:
        state: Where strategies and calls are.
        template_name: Name of a stored strategy; its newest version is taken.
        space_document: The search space; the default space of the template without it.
        space_source: What messages call it, such as its file.
        objective: Text or JSON form of the objective.
        trial_count: How many trials, at least 1.
        seed: Seed of the sampler and of all tests, at least 0.
        sampler: How parameters are proposed.
        data: Which calls; all without it.
        pruning: When bad trials are given up; None: never.
        batch_size: Trials that are proposed at once; the sampler's own without it. Other sizes give other trials.
        keep: How many of the best trials keep their trace, at least 1.
        store_all: Whether each trial has a row even of a large job.
        walk_forward: Windows in time.
        shuffles: Most shuffles of the calls' times, at least 0.
        draws: Resamples of each test, at least 99.

    Raises:
        InputError: a number is out of bounds, the template is unknown, or the selection matches no calls.
        SearchSpaceError: the space does not fit the template, or the sampler not the space.
        ConfigError: the objective or the pruning can't be used.
    """
    for name, number, least in (
        ("trials", trial_count, 1),
        ("seed", seed, 0),
        ("keep", keep, 1),
        ("shuffles", shuffles, 0),
        ("draws", draws, 99),
        ("batch size", 1 if batch_size is None else batch_size, 1),
    ):
        if number < least:
            raise InputError(f"{name}: {number} is not allowed; at least {least}")
    windows = walk_forward or WalkForward()
    _check_windows(windows)
    if sampler not in get_args(Sampler):
        raise InputError(f"sampler: {sampler!r} is unknown; allowed are {', '.join(get_args(Sampler))}")
    goals = parse_objective(objective)
    rule: PruningRule | None = None
    if pruning is not None:
        rule = parse_pruning_rule(pruning, goal_count=len(goals.goals))
    rows = state.load_strategies([template_name])
    if not rows:
        known = ", ".join(sorted({row.name for row in state.load_strategies()})) or "none"
        raise InputError(
            f"template: strategy {template_name!r} is not stored; stored are {known}; "
            "a file of it, --template mine.json, is stored and taken"
        )
    [template] = newest_versions(rows)
    document = dict(space_document or default_search_space(template.config))
    search = SearchPlan(
        space=parse_search_space(document, template=template.config, source=space_source),
        objective=goals,
        sampler=sampler,
        seed=seed,
        trial_count=trial_count,
        batch_size=batch_size or _BATCH_SIZES.get(sampler, 8),
        pruning=rule,
    )
    if all(value_count(parameter) == 1 for parameter in search.space.parameters):
        raise SearchSpaceError(
            f"{space_source}: every parameter has a single value, so nothing varies and there is nothing to choose; "
            "give at least one a range or more choices, or run the strategy with 'quantbot simulate'"
        )
    # What the sampler can't serve is refused here; of a grid the number of points is known then.
    count = search.study().trial_count
    selection = data if isinstance(data, DataSelection) else parse_data_selection(data)
    selected = _select_calls(state, selection)
    stores_all = store_all or count <= MOST_STORED_TRIALS
    if not stores_all and (sampler not in ("grid", "random") or (rule is not None and rule.kind == "median")):
        # These go on from their stored trials alone.
        stores_all = True
    return OptimizationPlan(
        name=f"{template.name} by {goals}",
        template=template,
        search=search,
        space_document=document,
        data=selection,
        selected=selected,
        keep=keep,
        stores_all=stores_all,
        walk_forward=windows,
        shuffles=shuffles,
        draws=draws,
    )


def plan_of_job(state: StateStore, job_id: int) -> OptimizationPlan:
    """Return the plan of a stored job, to go on with it.

    Raises:
        InputError: there is no such job, or its plan was not stored, or it no longer fits what is stored.
    """
    found = state.read("optimization/load_job_plan", job_id=job_id).to_pylist()
    if not found:
        raise InputError(f"--resume: there is no search {job_id}; 'quantbot trials' shows the last completed one")
    row = found[0]
    plan = json.loads(row["plan_json"])
    if not plan:
        raise InputError(f"--resume: search {job_id} is of a version that did not store its plan; begin a new one")
    rows = [each for each in state.load_strategies() if each.strategy_id == row["strategy_template_id"]]
    if not rows:
        raise InputError(f"--resume: the template of search {job_id} is not active any more; begin a new search")
    again = plan_optimization(
        state,
        template_name=rows[0].name,
        space_document=json.loads(row["search_space_json"]),
        objective=plan["objective"],
        trial_count=plan["trial_count"],
        seed=plan["seed"],
        sampler=plan["sampler"],
        data=plan["data"],
        pruning=plan["pruning"],
        batch_size=plan["batch_size"],
        keep=plan["keep"],
        store_all=plan["stores_all_trials"],
        walk_forward=WalkForward(**plan["walk_forward"]),
        shuffles=plan["shuffles"],
        draws=plan["draws"],
    )
    if again.template.strategy_id != row["strategy_template_id"]:
        raise InputError(
            f"--resume: search {job_id} varies version {rows[0].version} of {rows[0].name!r}, of which version "
            f"{again.template.version} is stored now; begin a new search"
        )
    return again


def _check_windows(windows: WalkForward) -> None:
    if windows.windows < 1 or not 0 < windows.train_share < 1 or windows.embargo_seconds < 0 or windows.trials < 1:
        raise ConfigError(
            f"walk-forward of {windows.windows} windows after {windows.train_share} of the calls, embargo "
            f"{windows.embargo_seconds} s, {windows.trials} trials; allowed are at least 1 window, a share between "
            "0 and 1, no negative embargo and at least 1 trial"
        )


def _select_calls(state: StateStore, data: DataSelection) -> SelectedCalls:
    selection = Selection(tokens=data.tokens, months=data.months)
    with _naming_keys_of_data():
        check_form(selection)
    calls = [call for call in state.load_calls() if call.signal_type is SignalType.ENTRY]
    if not calls:
        raise InputError("there are no entry calls to search on; ingest alerts first")
    callers = _select_callers(data.callers, calls)
    of_callers = [call for call in calls if callers is None or call.caller_id in callers]
    known = {TokenMonth(call.token, month_of(call.signal_timestamp)) for call in of_callers}
    with _naming_keys_of_data():
        wanted = select_token_months(selection, known)
    months: dict[TokenKey, frozenset[str]] = {}
    for key in wanted:
        months[key.token] = months.get(key.token, frozenset()) | {key.month}
    every = sorted({key.month for key in wanted})
    start = data.start or month_start(every[0])
    end = data.end or month_start(next_month(every[-1]))
    if end <= start:
        raise InputError(f"--data: end {end.isoformat()} is not after start {start.isoformat()}")
    within = {key for key in known if key.token in months and every[0] <= key.month <= every[-1]}
    return SelectedCalls(
        months=months,
        callers=callers,
        window_start=start,
        window_end=end,
        is_partial=callers is not None or len(within) > len(wanted),
    )


@contextmanager
def _naming_keys_of_data() -> Iterator[None]:
    """Tell of selectors as what they are here: backfills have an option for each, searches keys of one document."""
    try:
        yield
    except InputError as error:
        raise InputError(re.sub(r"^--(tokens|months):", r"--data: \1:", str(error))) from error


def _select_callers(texts: Sequence[str], calls: Sequence[CallRow]) -> frozenset[int] | None:
    if ALL in texts:
        return None
    names = {format_caller(call.caller): call.caller_id for call in calls}
    chosen: set[int] = set()
    for text in texts:
        found = {caller_id for name, caller_id in names.items() if name == text or fnmatchcase(name, text)}
        if not found:
            shown = ", ".join(sorted(names)[:10])
            raise InputError(f"--data: callers: {text!r} matches no caller with calls; there are {shown}")
        chosen |= found
    return frozenset(chosen)


def training_objective(objective: Objective, train_count: int, call_count: int) -> Objective:
    """Return the objective over the calls of a training window: lower limits on counts shrink with their share."""
    return objective.at_share(min(1.0, max(train_count, 1) / max(call_count, 1)))
