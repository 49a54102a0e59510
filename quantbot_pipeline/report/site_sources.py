"""Where the report's tables and charts are read from, narrowed as the report is."""

from quantbot_pipeline.report.site_content import Narrowing
from quantbot_pipeline.report.tables import Source

Filter = tuple[str, str | int]


def mart_source(relation: str, narrowing: Narrowing, *filters: Filter, order: str) -> Source:
    """Return a view that has a column `strategy_name`, narrowed to the strategy of the report."""
    return Source(relation, filters=_narrowed(narrowing, filters, with_caller=False), order=order)


def callers_source(
    narrowing: Narrowing, *filters: Filter, order: str, relation: str = "mart_caller_leaderboard"
) -> Source:
    """Return a view that has a strategy and a caller in each row."""
    return Source(relation, filters=_narrowed(narrowing, filters), order=order)


def months_source(narrowing: Narrowing, *filters: Filter) -> Source:
    """Return where results by month come from: of whole months."""
    since = None if narrowing.since is None else ("month", f"{narrowing.since:%Y-%m-01}")
    return Source("mart_caller_months", filters=_narrowed(narrowing, filters), order="month", since=since)


def trades_source(narrowing: Narrowing, *filters: Filter, order: str = "signal_timestamp desc") -> Source:
    """Return where trades come from."""
    since = None if narrowing.since is None else ("signal_timestamp", _instant(narrowing))
    return Source("mart_trades", filters=_narrowed(narrowing, filters), order=order, since=since)


def runs_source(narrowing: Narrowing, *filters: Filter) -> Source:
    """Return where runs come from: with a caller, those that looked at a call of the caller's."""
    return Source(
        "mart_runs_ranked",
        filters=_narrowed(narrowing, filters, with_caller=False),
        order="run_rank",
        after=None if narrowing.since is None else ("window_end", _instant(narrowing)),
        among=("simulation_run_id", trades_source(narrowing)) if narrowing.caller else None,
    )


def _narrowed(narrowing: Narrowing, filters: tuple[Filter, ...], *, with_caller: bool = True) -> tuple[Filter, ...]:
    """Return filters with those of the report that do not stand among them yet."""
    own: list[Filter] = [("strategy_name", narrowing.strategy)] if narrowing.strategy else []
    if narrowing.version:
        own.append(("strategy_version", narrowing.version))
    if narrowing.caller and with_caller:
        own += [("caller_source", narrowing.caller[0]), ("caller_handle", narrowing.caller[1])]
    named = {column for column, _ in filters}
    return (*filters, *(each for each in own if each[0] not in named))


def _instant(narrowing: Narrowing) -> str:
    return f"{narrowing.since:%Y-%m-%d %H:%M:%S}"
