"""`quantbot verify`."""

from dataclasses import asdict
from datetime import UTC, datetime
from typing import TYPE_CHECKING

import typer

from quantbot_pipeline.cli.console import print_json, print_line, progress_stages
from quantbot_pipeline.cli.help_text import flowing

if TYPE_CHECKING:
    from quantbot_pipeline.workflows.verify import RuleOutcome

_HELP = flowing(
    """Count every rule of the data model again on the live databases, and say what is broken.

For each rule: how many rows were looked at, how many break it, the first of them by their keys, and what to do.
Nothing is written, so it may run at any time, beside anything. Exit code 0: every rule holds; 5: one does not.

Examples:
  quantbot verify
  quantbot verify --quick
  quantbot verify --rules event-digests,summaries --json
  quantbot verify --quick --list
"""
)


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command("verify", help=_HELP)
    def verify(
        rules: str | None = typer.Option(None, help="Rules to look at, comma-separated; all without it."),
        *,
        quick: bool = typer.Option(
            False,
            "--quick",
            help="Only what the databases count by themselves; no event is read, no file hashed. Rules that need this "
            "can't be named with it.",
        ),
        as_list: bool = typer.Option(False, "--list", help="List the rules and look at none."),
        as_json: bool = typer.Option(False, "--json", help="Print every rule's outcome as JSON."),
    ) -> None:
        from quantbot_pipeline.workflows.verify import find_rules
        from quantbot_pipeline.workflows.verify import verify as look_at

        names = None if rules is None else [name.strip() for name in rules.split(",") if name.strip()]
        wanted = find_rules(names, quick=quick)
        if as_list:
            if as_json:
                print_json([{"rule": rule.name, "statement": rule.statement} for rule in wanted])
            else:
                for rule in wanted:
                    print_line(f"{rule.name:<16}  {rule.statement}")
            return
        from quantbot_pipeline.cli.stores import open_stores

        with open_stores() as stores, progress_stages() as on_stage:
            outcomes = look_at(
                stores.state,
                stores.history,
                now=datetime.now(UTC),
                rules=wanted,
                on_progress=lambda done, total, _: on_stage("rules", done, total),
            )
        broken = [outcome for outcome in outcomes if not outcome.holds]
        if as_json:
            print_json({"clean": not broken, "rules": [asdict(outcome) for outcome in outcomes]})
        else:
            for outcome in outcomes:
                _print_outcome(outcome)
            print_line(
                f"{len(outcomes)} rules hold"
                if not broken
                else f"{len(broken)} of {len(outcomes)} rules are broken: {', '.join(found.rule for found in broken)}"
            )
        raise typer.Exit(5 if broken else 0)


def _print_outcome(outcome: "RuleOutcome") -> None:
    if outcome.holds:
        print_line(f"holds   {outcome.rule:<16}  {outcome.looked_at:>12,}  {outcome.statement}")
        return
    print_line(f"BROKEN  {outcome.rule:<16}  {outcome.looked_at:>12,}  {outcome.statement}: {outcome.wrong:,} wrong")
    for example in outcome.examples:
        print_line(f"          {example}")
    if outcome.wrong > len(outcome.examples):
        print_line(f"          and {outcome.wrong - len(outcome.examples):,} more")
    print_line(f"        what to do: {outcome.advice}")
