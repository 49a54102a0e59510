"""Every rule of docs/data-model.md, counted again on the live databases. Nothing is written.

Rules are looked at one by one, in batches, so that memory does not grow with what is stored. What other processes
store meanwhile is no fault: what is compared across databases is read in an order in which it can't seem one.
"""

import time
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from datetime import datetime

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows import verify_counts, verify_learning, verify_runs
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.verify_findings import Finding, VerifiedStores

RuleCheck = Callable[[VerifiedStores], Finding]


@dataclass(frozen=True, slots=True)
class Rule:
    """One rule.

    Attributes:
        name: What it is called, in `--rules` too.
        statement: What has to be true.
        advice: What to do where it is not.
        check: Counts what breaks it.
        is_quick: Whether the databases count by themselves; the others read what is stored and compute it anew.
    """

    name: str
    statement: str
    advice: str
    check: RuleCheck
    is_quick: bool = True


@dataclass(frozen=True, slots=True)
class RuleOutcome:
    """What became of a rule.

    Attributes:
        rule: Its name.
        statement: What has to be true.
        looked_at: Rows that were looked at.
        wrong: How many break it; 0 where it holds.
        examples: The first of them, by their keys.
        advice: What to do; empty where it holds.
        seconds: How long it took.
    """

    rule: str
    statement: str
    looked_at: int
    wrong: int
    examples: tuple[str, ...]
    advice: str
    seconds: float

    @property
    def holds(self) -> bool:
        """Whether nothing breaks the rule."""
        return self.wrong == 0


_RESTORE = "restore a backup from before (docs/operations.md), and tell what happened since"
_SIMULATE = "write their rows again: 'quantbot backfill --force' for their tokens and months"
_PUBLISH = "mirror anew: 'quantbot gc', or the next simulation"

RULES: tuple[Rule, ...] = (
    Rule(
        "migrations",
        "both databases have every migration, unchanged",
        "run 'quantbot migrate'",
        verify_counts.check_migrations,
    ),
    Rule("unique-keys", "no key stands twice in any table", _RESTORE, verify_counts.check_unique_keys),
    Rule("tokens", "every token has the one spelling of its chain and address", _RESTORE, verify_counts.check_tokens),
    Rule("times", "times have a zone and lie between 1970 and tomorrow", _RESTORE, verify_counts.check_times),
    Rule(
        "import-counts",
        "rows read = stored + duplicate + quarantined, for every import",
        _RESTORE,
        verify_counts.check_import_counts,
    ),
    Rule(
        "started-imports",
        "no import was left in its middle",
        "import the same files again: it goes on where it stopped",
        verify_counts.check_started_imports,
    ),
    Rule(
        "alerts",
        "every alert was brought and counted by a completed import",
        "import the file again",
        verify_counts.check_counted_alerts,
    ),
    Rule("calls", "every alert has one call", "run 'quantbot calls derive'", verify_counts.check_calls),
    Rule(
        "candle-counts",
        "candles in ClickHouse are those that imports stored",
        "import the candle files again if candles are missing; " + _RESTORE,
        verify_counts.check_counted_candles,
    ),
    Rule("candles", "every candle can be: prices, volume, interval, time", _RESTORE, verify_counts.check_candles),
    Rule(
        "candle-contents",
        "what months of candles are remembered to hold is what they hold",
        "empty the table candle_contents of ClickHouse, which is a memory alone, then 'quantbot backfill'",
        verify_counts.check_candle_contents,
        is_quick=False,
    ),
    Rule(
        "completed-runs",
        "a run has a summary and a digest when, and only when, it is completed",
        _RESTORE,
        verify_runs.check_completed_runs,
    ),
    Rule(
        "current-runs",
        "a scope has at most one current run, and the others lead to it",
        _RESTORE,
        verify_runs.check_current_runs,
    ),
    Rule(
        "run-keys",
        "run keys are the hashes of what is stored under them",
        _RESTORE,
        verify_runs.check_run_keys,
        is_quick=False,
    ),
    Rule(
        "configs",
        "configurations have the hashes that are stored with them",
        _RESTORE,
        verify_runs.check_configs,
        is_quick=False,
    ),
    Rule("event-counts", "completed runs have as many events as they wrote", _SIMULATE, verify_runs.check_event_counts),
    Rule(
        "event-digests",
        "events of completed runs have the digest that is stored",
        _SIMULATE,
        verify_runs.check_event_digests,
        is_quick=False,
    ),
    Rule(
        "summaries",
        "events of completed runs add up to their summaries",
        _RESTORE,
        verify_runs.check_summaries,
        is_quick=False,
    ),
    Rule(
        "aggregates",
        "completed runs have aggregates for each token, which add up to their summaries",
        _SIMULATE,
        verify_runs.check_aggregates,
    ),
    Rule("published-runs", "ClickHouse mirrors the completed runs", _PUBLISH, verify_counts.check_published_runs),
    Rule("published-calls", "ClickHouse mirrors the calls", _PUBLISH, verify_counts.check_published_calls),
    Rule("views", "views show completed runs alone", "run 'quantbot views build'", verify_counts.check_views),
    Rule(
        "trials",
        "trials name the completed runs that measured them",
        "run the same search again",
        verify_learning.check_trials,
    ),
    Rule(
        "scored-calls",
        "features and scores are of calls and models that exist",
        _RESTORE,
        verify_learning.check_scored_calls,
    ),
    Rule(
        "scores",
        "scores are of calls that came after all that their model had learned from",
        "train the model again; what was simulated with these scores knows the future",
        verify_learning.check_scores,
    ),
    Rule(
        "models",
        "models have their files, as they were registered",
        "train the model again, or restore its file",
        verify_learning.check_models,
        is_quick=False,
    ),
)
"""All rules, in the order in which they are looked at."""


def find_rules(names: Collection[str] | None, *, quick: bool = False) -> tuple[Rule, ...]:
    """Return the rules that are asked for, in their order.

    Args:
        names: Their names; all without it.
        quick: Only those that the databases count by themselves.

    Raises:
        InputError: there is no such rule, none is named, or one that is named is not quick and only such are wanted.
    """
    known = {rule.name for rule in RULES}
    unknown = sorted(set(names or ()) - known)
    if unknown:
        raise InputError(f"rules: {', '.join(unknown)} not known; allowed are {', '.join(rule.name for rule in RULES)}")
    found = tuple(rule for rule in RULES if names is None or rule.name in names)
    if not found:
        # That nothing is broken where nothing was looked at says nothing.
        raise InputError(f"rules: no rule left to look at; allowed are {', '.join(rule.name for rule in RULES)}")
    slow = [rule.name for rule in found if not rule.is_quick]
    if quick and names is not None and slow:
        # Nor does it of a rule that was asked for and left out.
        raise InputError(
            f"rules: --quick leaves out {', '.join(slow)}, which take reading what is stored; ask without --quick, or "
            "without these"
        )
    return tuple(rule for rule in found if rule.is_quick or not quick)


def check_rule(rule: Rule, state: StateStore, history: HistoryStore, *, now: datetime) -> RuleOutcome:
    """Look at one rule.

    Args:
        rule: The rule.
        state: Postgres.
        history: ClickHouse.
        now: The present, UTC.
    """
    return _look_at(rule, VerifiedStores(state, history, now))


def verify(
    state: StateStore,
    history: HistoryStore,
    *,
    now: datetime,
    rules: Sequence[Rule] = RULES,
    on_progress: ProgressListener = no_progress,
) -> list[RuleOutcome]:
    """Look at rules, each by itself: one that does not hold keeps no other from being looked at.

    Args:
        state: Postgres.
        history: ClickHouse.
        now: The present, UTC.
        rules: Those to look at.
        on_progress: Told after each batch of rows and after each rule, in rules.
    """
    outcomes: list[RuleOutcome] = []
    for rule in rules:
        on_progress(len(outcomes), len(rules), rule.name)

        def on_rows(count: int, rule: Rule = rule) -> None:  # noqa: ARG001 - rows have no total; that it goes on counts
            on_progress(len(outcomes), len(rules), rule.name)

        outcomes.append(_look_at(rule, VerifiedStores(state, history, now, on_rows)))
    on_progress(len(outcomes), len(rules), "done")
    return outcomes


def _look_at(rule: Rule, stores: VerifiedStores) -> RuleOutcome:
    began = time.monotonic()
    found = rule.check(stores)
    return RuleOutcome(
        rule=rule.name,
        statement=rule.statement,
        looked_at=found.looked_at,
        wrong=found.wrong,
        examples=found.examples,
        advice=rule.advice if found.wrong else "",
        seconds=round(time.monotonic() - began, 3),
    )
