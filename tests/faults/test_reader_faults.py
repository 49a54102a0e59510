"""A server is lost while views are built and the report is written from them: readers see no half, again is enough."""

import json
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any

import clickhouse_connect
import psycopg
import pytest
from psycopg import sql

from tests.faults.faults import FAULTS, OVER_RELAYS, Case, Scene
from tests.faults.home import FaultHome

pytestmark = [pytest.mark.server, pytest.mark.slow, pytest.mark.deep, pytest.mark.timeout(400)]

MOMENTS = (
    # Built aside: the first ones, in the midst, on trial and not accepted; then shown.
    "views before postgres-views.create 1",
    "views before postgres-views.accept 9",
    "views before postgres-views.publish 1",
    "views before clickhouse-views.create 5",
    "views before clickhouse-views.accept 9",
    "views before clickhouse-views.publish 1",
    "views before clickhouse:stg_runs 2",
    "views before clickhouse:mart_runs_ranked 2",
    # Read by the report.
    "report before clickhouse:report/rank_strategies 1",
    "report before postgres:report/load_search 1",
    "report before clickhouse:trades/load_trade_events 2",
)
CASES = [
    *(Case(server, fault, moment) for server in ("postgres", "clickhouse") for fault in ("kill", "term", "reset")
      for moment in MOMENTS),
    *(Case("clickhouse", "lost-answer", moment) for moment in MOMENTS if "clickhouse" in moment),
    *(Case(target, "full-disk", moment) for target in ("postgres", "clickhouse") for moment in MOMENTS[:6]),
    *(Case(server, "stop", moment, 20.0) for server in ("postgres", "clickhouse") for moment in MOMENTS[::5]),
]  # fmt: skip
_STEPS = [["views", "views", "build"], ["report", "report", "--json"]]
# Ages, which are others at each look.
_OF_NOW = frozenset({"postgres mart_pipeline_health"})


@dataclass(frozen=True)
class Seen:
    """What readers see.

    Attributes:
        views: By database and name, the rows of each view that there is, as texts.
        pages: What each page of the report shows, as a digest; None without a report.
    """

    views: Mapping[str, list[str]]
    pages: Mapping[str, str] | None


def _look(home: FaultHome) -> Seen:
    """Read every view and the report; each that there is must be readable."""
    urls = home.urls()
    views: dict[str, list[str]] = {}
    with psycopg.connect(urls.postgres) as postgres:
        for (name,) in postgres.execute("select viewname from pg_views where schemaname = 'public'").fetchall():
            rows = postgres.execute(sql.SQL("select * from {}").format(sql.Identifier(name))).fetchall()
            views[f"postgres {name}"] = sorted(map(repr, rows))
    with closing(clickhouse_connect.get_client(dsn=urls.clickhouse)) as clickhouse:
        for name in _clickhouse_views(clickhouse):
            rows = clickhouse.query(f"select * from {name}").result_rows  # noqa: S608 - a name of the database's own
            views[f"clickhouse {name}"] = sorted(map(repr, rows))
    folder = home.settings.reports_directory
    if not (folder / "index.html").exists():
        return Seen(views, None)
    pages = json.loads((folder / ".quantbot-report.json").read_text())["pages"]
    assert [page for page in pages if not (folder / page).is_file()] == []
    # The first page says when the report was made.
    return Seen(views, {page: about["digest"] for page, about in pages.items() if page != "index.html"})


def _clickhouse_views(clickhouse: Any) -> list[str]:
    found = clickhouse.query("select name from system.tables where database = currentDatabase() and engine = 'View'")
    return [name for (name,) in found.result_rows]


def _forget(home: FaultHome) -> None:
    """Leave nothing of views and reports, as before the first build."""
    urls = home.urls()
    with psycopg.connect(urls.postgres, autocommit=True) as postgres:
        # With what people read, which shows builds.
        postgres.execute("drop schema if exists view_builds cascade")
    with closing(clickhouse_connect.get_client(dsn=urls.clickhouse)) as clickhouse:
        for name in _clickhouse_views(clickhouse):
            clickhouse.command(f"drop view {name}")
        clickhouse.command(f"drop database if exists {clickhouse.database}_view_builds")
    for path in sorted(home.settings.reports_directory.rglob("*"), reverse=True):
        path.rmdir() if path.is_dir() else path.unlink()


@pytest.fixture(scope="module")
def researched(fault_home: FaultHome) -> FaultHome:
    """A home with everything but views and a report."""
    fault_home.empty()
    fault_home.run(steps=fault_home.steps[:-1], with_moments=False)
    return fault_home


@pytest.fixture(scope="module")
def whole(researched: FaultHome) -> Seen:
    """What readers see when nothing happens."""
    _forget(researched)
    researched.run(steps=_STEPS, with_moments=False)
    return _look(researched)


@pytest.fixture
def home(researched: FaultHome, whole: Seen) -> Iterator[FaultHome]:
    """A home without views and a report."""
    _forget(researched)
    yield researched
    researched.close_victims()


@pytest.mark.parametrize("case", CASES, ids=lambda case: str(case).replace(" ", "-").replace("/", "."))
def test_views_and_report_are_whole_or_absent_after_every_fault_of_a_server(
    case: Case, home: FaultHome, whole: Seen
) -> None:
    if case.fault == "full-disk" and not home.has_small_disks:
        pytest.skip("a small disk to fill is a tmpfs, which this account may not mount; run as root")
    with home.relays() as relays:
        victim = home.start(_STEPS, relays=relays if case.fault in OVER_RELAYS else None)
        assert victim.run_to(case.moment), f"{case.moment!r} was never reached:\n{victim.text}"
        with FAULTS[case.fault](Scene(home, case, victim, relays)):
            victim.go_on()
            code = victim.finish()
    told = f"exit code {code}, last moment {victim.passed[-1]}\n{victim.text[-3000:]}"
    assert "Traceback" not in victim.text, told
    assert code in ({0, 2, 3} if case.fault == "full-disk" else {0, 3}), told
    seen = _look(home)
    for name, rows in seen.views.items():
        assert name in _OF_NOW or rows == whole.views[name], f"{name}: {told}"
    assert seen.pages in (None, whole.pages), told
    home.run(steps=[*_STEPS, ["verify", "verify"]], with_moments=False)
    again = _look(home)
    assert again.views.keys() == whole.views.keys()
    assert [name for name, rows in again.views.items() if name not in _OF_NOW and rows != whole.views[name]] == []
    assert again.pages == whole.pages
