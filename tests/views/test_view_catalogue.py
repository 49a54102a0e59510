"""The page and the JSON that describe every view."""

import json
from html.parser import HTMLParser
from pathlib import Path

import pytest

from quantbot_pipeline.storage.views import load_views
from quantbot_pipeline.storage.views.catalogue import describe_views, draw_lineage, write_catalogue
from quantbot_pipeline.storage.views.rendering import DATABASES

FILE = """/*
description: What of <b>it</b>?
grain: one row
columns:
  two: {meaning: Second}
  one: {meaning: First, unit: USD}
tests:
  - expression: one < 2
*/
select 1 as one, 2 as two from """


class Links(HTMLParser):
    def __init__(self) -> None:
        super().__init__()
        self.targets: set[str] = set()
        self.ids: set[str] = set()
        self.loads: list[str] = []

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        said = dict(attrs)
        if said.get("id"):
            self.ids.add(str(said["id"]))
        if tag == "a":
            self.targets.add(str(said["href"]))
        if said.get("src") or tag in ("link", "script", "img", "iframe"):
            self.loads.append(tag)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "stg_a.sql").write_text(FILE + "{{ source('runs') }}", encoding="utf-8")
    (tmp_path / "mart_b.sql").write_text(FILE + "{{ ref('stg_a') }}", encoding="utf-8")
    return tmp_path


def test_a_view_is_described_with_what_it_reads_and_who_reads_it(folder: Path) -> None:
    below, above = describe_views(load_views("postgres", folder, frozenset({"runs"})))

    assert (below["reads_tables"], below["reads_views"], below["read_by"]) == (["runs"], [], ["mart_b"])
    assert (above["reads_tables"], above["reads_views"], above["read_by"]) == ([], ["stg_a"], [])
    # In the select's order, not the header's.
    assert [(column["name"], column["unit"]) for column in above["columns"]] == [("one", "USD"), ("two", "")]
    assert above["tests"] == ["expression(one < 2)"]
    assert above["sql"] == "select 1 as one, 2 as two from stg_a"


def test_a_picture_has_what_is_read_left_of_what_reads_it(folder: Path) -> None:
    picture = draw_lineage(load_views("postgres", folder, frozenset({"runs"})))

    places = {box.name: (box.kind, box.x) for box in picture.boxes}
    assert [places[name][0] for name in ("runs", "stg_a", "mart_b")] == ["table", "stg", "mart"]
    assert places["runs"][1] < places["stg_a"][1] < places["mart_b"][1]
    assert len(picture.lines) == 2
    assert picture.description == "stg_a reads runs; mart_b reads stg_a"


def test_text_of_files_is_shown_as_text(folder: Path) -> None:
    page, _ = write_catalogue(load_views("postgres", folder, frozenset({"runs"})), folder / "out")

    text = page.read_text(encoding="utf-8")
    assert "<b>" not in text
    assert "What of &lt;b&gt;it&lt;/b&gt;?" in text


def test_the_page_of_all_views_loads_nothing_and_its_links_lead_somewhere(tmp_path: Path) -> None:
    views = [view for database in DATABASES for view in load_views(database)]
    page, data = write_catalogue(views, tmp_path)

    links = Links()
    links.feed(page.read_text(encoding="utf-8"))
    assert links.loads == []
    assert {target.removeprefix("#") for target in links.targets} <= links.ids
    assert {f"{view.database}-{view.name}" for view in views} <= links.ids
    assert len(json.loads(data.read_text(encoding="utf-8"))) == len(views)
