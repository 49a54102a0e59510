"""What every page of the report is made of before it is rendered. Texts stay as they are; the templates escape them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from quantbot_pipeline.report.content import Standing
from quantbot_pipeline.report.site_collect import STRATEGY_PAGES
from quantbot_pipeline.report.site_content import SiteContent, StrategyName
from quantbot_pipeline.report.tables import Table

NO_VALUE = "\N{EN DASH}"

RUN_NOTE = "Runs without a link have no page; 'quantbot report --run ID' makes one."

NARROWED_HOW = (
    "Lists of trades hold nothing else, and runs are those that may hold such trades; a run's own page has all of its "
    "calls, months are whole. Ranks, leaderboards, equity, exits and tokens are reckoned "
    "over all calls, and the counts, searches, models and data quality are of everything."
)
"""What narrowing does and does not do."""


@dataclass(frozen=True, slots=True)
class SitePage:
    """A page before it is rendered.

    Attributes:
        path: From the folder of the report.
        section: The page in the navigation that it belongs to; empty for none.
        title: Of the window.
        template: Name of its template.
        figures: Plotly documents by name; each has a place of id `figure-<name>` in the template.
        named: What else the template shows.
    """

    path: str
    section: str
    title: str
    template: str
    figures: Mapping[str, Any] = field(default_factory=dict)
    named: Mapping[str, Any] = field(default_factory=dict)


def list_page(
    path: str,
    heading: str,
    standfirst: str,
    tables: Sequence[Table],
    *,
    empty: str,
    figures: Mapping[str, Any] | None = None,
    chart: Mapping[str, Any] | None = None,
) -> SitePage:
    """Return a page of tables, with a chart above them if there is one."""
    named = {"heading": heading, "standfirst": standfirst, "tables": tables, "empty": empty, "chart": chart}
    return SitePage(path, path, f"{heading} \N{MIDDLE DOT} Quantbot report", "site_list.html.j2", figures or {}, named)


def titled(name: str) -> str:
    """Return the title of the window of a page."""
    return f"{name} \N{MIDDLE DOT} Quantbot report"


def version_of(row: Standing) -> StrategyName:
    """Return the strategy version that a standing is of."""
    return row.strategy, row.version


def shown_strategies(content: SiteContent) -> tuple[Standing, ...]:
    """Return the strategy versions that the report is of, best first."""
    return tuple(row for row in content.overview.strategies if content.narrowing.has_strategy(*version_of(row)))


def paged_strategies(content: SiteContent) -> tuple[Standing, ...]:
    """Return the strategy versions that have a page of their own."""
    return shown_strategies(content)[:STRATEGY_PAGES]


def first_of(shown: int, total: int, what: str, how: str) -> str:
    """Return how many of how many are shown and how to get the others; empty where nothing is left out."""
    return f"The first {shown:,} of {total:,} {what}; {how}." if total > shown else ""


def counted(count: int, what: str) -> str:
    """Return how many of what there are, such as `1 call` and `2 calls`."""
    return f"{count:,} {what}{'' if count == 1 else 's'}"
