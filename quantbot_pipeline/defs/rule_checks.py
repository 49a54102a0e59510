"""Rules of `quantbot verify` as asset checks: what is stored, counted again where it would mislead those who read it.

Each looks at all that is stored, in bulk. They run every night before views and report, and where somebody materialises
their asset in the UI; runs of sensors and schedules leave them out. Those that are blocking keep views and report as
they were: figures of yesterday are better than wrong ones.
"""

from datetime import UTC, datetime
from typing import NamedTuple

import dagster as dg

from quantbot_pipeline.storage.protocols import HistoryStore, StateStore
from quantbot_pipeline.workflows.verify import check_rule, find_rules


class _RuleCheck(NamedTuple):
    rule: str
    asset: str
    is_blocking: bool


RULE_CHECKS = {
    "candle_rows_add_up": _RuleCheck("candle-counts", "ohlcv_candles", is_blocking=False),
    "completed_runs_are_whole": _RuleCheck("completed-runs", "simulation_runs", is_blocking=True),
    "current_runs_do_not_overlap": _RuleCheck("current-runs", "simulation_runs", is_blocking=True),
    "runs_are_mirrored": _RuleCheck("published-runs", "simulation_runs", is_blocking=True),
    "events_are_complete": _RuleCheck("event-counts", "simulation_events", is_blocking=True),
    "aggregates_equal_summaries": _RuleCheck("aggregates", "simulation_aggregates", is_blocking=True),
    "events_add_up_to_summaries": _RuleCheck("summaries", "simulation_results_summary", is_blocking=True),
    "trials_name_their_runs": _RuleCheck("trials", "optimization_trials", is_blocking=False),
    "models_have_their_files": _RuleCheck("models", "ml_models", is_blocking=False),
}
"""Name of each check: which rule it is of, on which asset, and whether it keeps what reads the asset from running."""


def build_rule_checks() -> list[dg.AssetChecksDefinition]:
    """Return the checks, one per rule that is worth one."""
    return [_build(name, check) for name, check in RULE_CHECKS.items()]


def rule_check_keys() -> list[dg.AssetCheckKey]:
    """Return the keys of all of them."""
    return [dg.AssetCheckKey(dg.AssetKey(check.asset), name) for name, check in RULE_CHECKS.items()]


def _build(name: str, check: _RuleCheck) -> dg.AssetChecksDefinition:
    (rule,) = find_rules([check.rule])

    @dg.asset_check(
        asset=check.asset,
        name=name,
        blocking=check.is_blocking,
        description=f"{rule.statement.capitalize()}. Where not: {rule.advice}. Alone: "
        f"`quantbot verify --rules {rule.name}`.",
    )
    def rule_holds(
        state_store: dg.ResourceParam[StateStore], history_store: dg.ResourceParam[HistoryStore]
    ) -> dg.AssetCheckResult:
        """Count again, and say which rows are wrong."""
        outcome = check_rule(rule, state_store, history_store, now=datetime.now(UTC))
        told = "holds" if outcome.holds else f"{outcome.wrong} wrong: {'; '.join(outcome.examples)}; {outcome.advice}"
        return dg.AssetCheckResult(
            passed=outcome.holds,
            description=told,
            metadata={"looked_at": outcome.looked_at, "wrong": outcome.wrong, "seconds": outcome.seconds},
        )

    return rule_holds
