"""`quantbot calls derive`."""

from typing import TYPE_CHECKING

import typer

from quantbot_pipeline.cli.console import print_json, print_line, print_rows, waiting
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.option_values import read_seconds

if TYPE_CHECKING:
    from quantbot_pipeline.workflows.derive_calls import Derivation

_UNPLACED_SHOWN = 100
_UNPLACED_IN_TABLE = 20

_DERIVE_HELP = flowing(
    """Derive calls from all stored alerts anew; again changes nothing.

What is not given stays as it was at the last derivation, and stays so for imports; at first every entry alert is a
call, there is no cool-down, and alerts of the last 24 h strengthen a call. QUANTBOT_CALLS_POLICY,
QUANTBOT_CALLS_COOL_DOWN and QUANTBOT_CALLS_REPETITION win over the last derivation, options over both.

A call that the rules make no more is put out of force, never deleted: earlier runs keep it, and earlier rules bring
it back under its id. 'quantbot backfill' then computes the runs that read changed calls.

Examples:
  quantbot calls derive
  quantbot calls derive --first
  quantbot calls derive --every --cool-down 1h --json
"""
)


def register(app: typer.Typer) -> None:
    """Add the command group to `app`."""
    group = typer.Typer(help="Calls, which are derived from alerts by rules.", no_args_is_help=True)
    app.add_typer(group, name="calls")

    # One command alone would become the group itself.
    @group.callback()
    def _calls() -> None: ...

    @group.command(help=_DERIVE_HELP)
    def derive(
        cool_down: str | None = typer.Option(
            None,
            help="How long after an entry call another alert of that caller on that token is none, such as 1h; 0 for "
            "no such time.",
            metavar="TIME",
        ),
        repetition: str | None = typer.Option(
            None, help="How far back alerts on the same token strengthen a call, such as 24h.", metavar="TIME"
        ),
        *,
        is_first_alone: bool | None = typer.Option(
            None,
            "--first/--every",
            help="Whether a caller's first entry alert on a token alone is a call, or every one.",
        ),
        as_json: bool = typer.Option(False, "--json", help="Print what changed as JSON."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.ingest.calls import CallPolicy
        from quantbot_pipeline.workflows.derive_calls import choose_rules, derive_calls

        policy = None if is_first_alone is None else CallPolicy.FIRST if is_first_alone else CallPolicy.EVERY
        cool_down_seconds = None if cool_down is None else read_seconds(cool_down, "--cool-down")
        repetition_seconds = None if repetition is None else read_seconds(repetition, "--repetition")
        with open_stores() as stores, waiting("deriving calls"):
            rules = choose_rules(
                stores.state,
                stores.settings,
                policy=policy,
                cool_down_seconds=cool_down_seconds,
                repetition_seconds=repetition_seconds,
            )
            derivation = derive_calls(stores.state, stores.history, rules)
        _print(derivation, as_json=as_json)


def _print(derivation: "Derivation", *, as_json: bool) -> None:
    changes = derivation.counts._asdict()
    unplaced = [
        {"address": token.address, "alerts": token.alert_count, "reason": token.reason}
        for token in derivation.unplaced[:_UNPLACED_SHOWN]
    ]
    if as_json:
        print_json(
            {
                "rules": derivation.rules.as_document(),
                **changes,
                "unplaced_total": len(derivation.unplaced),
                "unplaced": unplaced,
            }
        )
        return
    rules = derivation.rules
    print_line(
        f"rules: {rules.policy.value} entry alert of a caller on a token, cool-down {rules.cool_down_seconds} s, "
        f"repetition within {rules.repetition_seconds} s"
    )
    print_rows("Calls", [changes])
    if unplaced:
        print_rows("0x addresses of unknown chain", unplaced[:_UNPLACED_IN_TABLE])
        if len(derivation.unplaced) > _UNPLACED_IN_TABLE:
            print_line(f"… and {len(derivation.unplaced) - _UNPLACED_IN_TABLE:,} more; their calls are on unknown-evm")
    if derivation.counts.changed or derivation.counts.deactivated or derivation.counts.reactivated:
        print_line("'quantbot backfill' computes the runs that read changed calls anew")
