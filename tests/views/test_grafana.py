"""The Grafana dashboard: each of its questions runs on the views, as the user that can only read."""

import json
import re
from pathlib import Path
from typing import Any

import psycopg
import pytest
from view_scene import Scene

from quantbot_pipeline.servers.embedded import reader_url
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
from quantbot_pipeline.storage.views import build_views

pytestmark = pytest.mark.server

DASHBOARD = Path(__file__).parents[2] / "deploy" / "grafana" / "quantbot.json"

# What Grafana puts in their place.
REPLACEMENTS = {
    r"\$__dateFilter\((\w+)\)": r"\1 >= toDate('2020-01-01') and \1 <= toDate('2030-01-01')",
    r"\$__timeFilter\((\w+)\)": r"\1 >= toDateTime(1577836800) and \1 <= toDateTime(1893456000)",
    r"\$\{strategy:singlequote\}": "'steady','other'",
}


def _questions() -> list[tuple[str, str, str]]:
    dashboard: dict[str, Any] = json.loads(DASHBOARD.read_text(encoding="utf-8"))
    found = [
        (panel["title"], target["datasource"]["type"], target["rawSql"])
        for panel in dashboard["panels"]
        for target in panel["targets"]
    ]
    found += [(one["name"], one["datasource"]["type"], one["query"]) for one in dashboard["templating"]["list"]]
    return found


def test_every_question_of_the_dashboard_runs_for_the_reader(scene: Scene, server_settings: Settings) -> None:
    scene.run("steady", {scene.call("ann", "A"): 0.5})
    scene.run("steady", {scene.call("bob", "B"): -0.25})
    build_views(scene.urls.postgres, scene.urls.clickhouse).require_all()
    clickhouse_database = scene.urls.clickhouse.rpartition("/")[2]
    postgres_database = psycopg.conninfo.conninfo_to_dict(scene.urls.postgres)["dbname"]
    clickhouse = ClickHouseConnection(
        f"{reader_url(server_settings, 'clickhouse').rpartition('/')[0]}/{clickhouse_database}"
    )
    rows = {}
    with psycopg.connect(reader_url(server_settings, "postgres"), dbname=postgres_database) as postgres:
        for title, kind, question in _questions():
            for pattern, replacement in REPLACEMENTS.items():
                question = re.sub(pattern, replacement, question)
            assert "$" not in question, title
            if "clickhouse" in kind:
                rows[title] = clickhouse.fetch_table(question, name=title).num_rows
            else:
                rows[title] = len(postgres.execute(question.encode()).fetchall())
    clickhouse.close()

    assert rows["Strategies"] == rows["strategy"] == 1
    assert rows["Callers"] == rows["Trades of the time chosen"] == 2
    assert rows["Equity"] >= 1
    assert rows["Pipeline"] >= 1


def test_no_panel_hides_where_its_numbers_come_from() -> None:
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        view = re.search(r"View: (\w+)\.", panel["description"])
        assert view is not None, panel["title"]
        assert f"from {view[1]}" in panel["targets"][0]["rawSql"]
