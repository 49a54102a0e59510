"""The report's pages: what they show, that they load nothing, and that text from outside stays text."""

import base64
import errno
import json
import re
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from html.parser import HTMLParser
from pathlib import Path, PurePosixPath

import pytest
from made_up_content import NOON, STANDING, content, run_detail, run_line, site_content, trade

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.report import page as pages
from quantbot_pipeline.report import site_files
from quantbot_pipeline.report.content import ReportContent
from quantbot_pipeline.report.site_content import Narrowing, SiteContent, TradeList
from quantbot_pipeline.report.site_files import SiteFolder
from quantbot_pipeline.report.site_page import SitePage
from quantbot_pipeline.report.site_pages import list_pages, page_paths
from quantbot_pipeline.report.site_paths import caller_path, strategy_path, token_path
from quantbot_pipeline.report.site_render import RenderedPage, plotly_path, render_site_page
from quantbot_pipeline.report.site_run_page import DRAWN_TRADES, choose_drawn, run_page
from quantbot_pipeline.report.site_sources import mart_source, months_source, runs_source
from quantbot_pipeline.report.site_tables import trade_table
from quantbot_pipeline.report.tables import Interval, Source, Table, visible

HOSTILE = "\"'><script>document.title='owned'</script><img src=x onerror=\"document.title='owned'\">{{ 7 * 7 }}"


class Elements(HTMLParser):
    """Collects elements with their attributes, the text of the page, and what its scripts hold."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.elements: list[tuple[str, dict[str, str | None]]] = []
        self.scripts: list[tuple[dict[str, str | None], str]] = []
        self.text = ""
        self._inside = ""
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements.append((tag, dict(attrs)))
        self._inside = tag
        if tag == "script":
            self.scripts.append((dict(attrs), ""))

    def handle_endtag(self, tag: str) -> None:  # noqa: ARG002 - the parser's signature
        self._inside = ""

    def handle_data(self, data: str) -> None:
        if self._inside == "script":
            attributes, before = self.scripts[-1]
            self.scripts[-1] = (attributes, before + data)
        elif self._inside != "style":
            self.text += data


def all_pages(made: SiteContent) -> list[SitePage]:
    """Return every page, with that of one run, the index last."""
    text = made.overview.strategies[0].strategy if made.overview.strategies else "plain"
    if not made.runs:
        return list(list_pages(made))
    trades = next(iter(made.strategy_trades.values()))
    return [run_page(made, run_line(text), run_detail(text), trades, [trade(text)]), *list_pages(made)]


def rendered(made: SiteContent) -> dict[str, RenderedPage]:
    """Return every page by its path."""
    every = (
        render_site_page(page, generated_at=NOON, narrowing=made.narrowing, paths=page_paths(made))
        for page in all_pages(made)
    )
    return {page.path: page for page in every}


@pytest.fixture(scope="module")
def plain() -> dict[str, RenderedPage]:
    return rendered(site_content("some-name"))


@pytest.fixture(scope="module")
def hostile() -> dict[str, RenderedPage]:
    return rendered(site_content(HOSTILE))


@pytest.mark.parametrize(
    ("path", "expected"),
    [
        ("index.html", "+154.25"),  # sum
        ("index.html", "2 failed and 0 unfinished runs"),
        ("index.html", "2025-02-03 12:00"),
        ("index.html", "Picked for how much happens in it"),
        ("strategies.html", "1\N{NARROW NO-BREAK SPACE}234"),  # trades
        ("strategies.html", "+12.5\N{NARROW NO-BREAK SPACE}%"),  # mean pnl
        ("strategies.html", "\N{MINUS SIGN}30.0\N{NARROW NO-BREAK SPACE}%"),  # median pnl
        ("callers.html", "small sample"),
        ("callers.html", "The first 1 of 12 callers have a page"),
        ("runs.html", "The first 2 of 9 runs"),
        ("runs/7.html", "target hit"),
        ("runs/7.html", "1 of 25 trades are drawn"),
        ("tokens.html", "The first 1 of 4 rows by what they brought or cost"),
        ("tokens.html", "1 of 3 tokens have a page"),
        (token_path(("solana", "some-name")), "30 calls of 1 caller, simulated under 1 strategy version."),
        # From 1.0 on by a tenth an hour, thirty times, begun 20 hours before noon.
        (token_path(("solana", "some-name")), "lowest 1 on 2025-02-02, highest 3.9 on 2025-02-03"),
        (token_path(("solana", "some-name")), "The first 2 of 3 runs"),
        ("searches.html", "The newest 1 of 2 searches have a page"),
        ("searches/3.html", "some-name = some-name"),
        ("models.html", "higher is better"),
        ("quality.html", "A cell holds 2 days. The 2 tokens with the least coverage of 70"),
        ("quality.html", "select * from quarantined_rows order by id"),
        (strategy_path(("some-name", "1")), "The latest 30 of 35 calls"),
        (strategy_path(("some-name", "1")), "skipped, no candles"),
        (strategy_path(("some-name", "1")), "skipped, timeout"),
        ("quality.html", "1 of 1 measures want a look"),
        ("quality.html", "The 1 months with most missing candles of 3"),
        (caller_path(("some-name", "some-name")), "2025-03"),
        ("about.html", "quantbot report --run ID"),
    ],
)
def test_every_page_shows_its_content(plain: dict[str, RenderedPage], path: str, expected: str) -> None:
    assert expected in Elements(plain[path].text).text


def test_an_empty_report_says_what_to_do_next() -> None:
    made = rendered(SiteContent(overview=ReportContent(generated_at=NOON)))

    for path, expected in (
        ("index.html", "quantbot ingest candles PATH"),
        ("index.html", "No model is registered yet"),
        ("index.html", "No parameter search"),
        ("strategies.html", "quantbot demo"),
        ("runs.html", "quantbot backfill"),
        ("quality.html", "Nothing has been imported yet"),
    ):
        assert expected in Elements(made[path].text).text, expected
    assert all("application/json" not in page.text for page in made.values())


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_nothing_is_loaded_but_the_script_beside_the_pages(name: str, request: pytest.FixtureRequest) -> None:
    for page in request.getfixturevalue(name).values():
        root = "../" * page.path.count("/")
        for tag, attributes in Elements(page.text).elements:
            assert tag not in {"link", "img", "iframe", "object", "embed", "base", "form", "video", "audio"}
            assert attributes.get("src") in (None, f"{root}{plotly_path()}")
            assert not [name for name in attributes if name.startswith("on")]
            assert not (attributes.get("href") or "").lower().startswith(("javascript", "data", "http", "//"))
        style = page.text[page.text.index("<style>") : page.text.index("</style>")]
        assert "url(" not in style
        assert "@import" not in style


@pytest.mark.parametrize("name", ["plain", "hostile"])
def test_every_link_leads_to_a_page_or_a_place_on_it(name: str, request: pytest.FixtureRequest) -> None:
    made: dict[str, RenderedPage] = request.getfixturevalue(name)
    ids = {path: {each.get("id") for _, each in Elements(page.text).elements} for path, page in made.items()}
    for path, page in made.items():
        for tag, attributes in Elements(page.text).elements:
            if tag != "a":
                continue
            target, _, place = (attributes["href"] or "").partition("#")
            found = _joined(path, target) if target else path
            # Cards of models are written beside the pages.
            assert found in made or found.startswith("models/"), f"{path} leads to {found}"
            assert not place or place in ids[found], f"{path} leads to {found}#{place}"


def _joined(path: str, target: str) -> str:
    parts = list(PurePosixPath(path).parent.parts)
    for part in target.split("/"):
        if part == "..":
            parts.pop()
        else:
            parts.append(part)
    return "/".join(parts)


def test_hostile_text_is_shown_as_text(hostile: dict[str, RenderedPage]) -> None:
    for path, page in hostile.items():
        found = Elements(page.text)
        assert "<script>document.title" not in page.text, path
        assert "document.title" not in found.scripts[-1][1], path
        for attributes, script in found.scripts[:-1]:
            assert attributes.get("type") == "application/json" or attributes.get("src"), path
            if attributes.get("type") == "application/json":
                # Plotly would read the tags of a name; it gets them as entities.
                assert "<" not in re.sub(r"<(b|/b|br|extra|/extra)>", "", "".join(_texts(json.loads(script)))), path
    # Long names are cut in a table's cells, and whole where they are pointed at.
    assert HOSTILE[:40] in Elements(hostile["callers.html"].text).text
    assert HOSTILE in [attributes.get("title") for _, attributes in Elements(hostile["callers.html"].text).elements]
    assert HOSTILE in Elements(hostile["quality.html"].text).text


def _texts(value: object) -> list[str]:
    if isinstance(value, str):
        return [value]
    if isinstance(value, dict):
        return [text for part in value.values() for text in _texts(part)]
    if isinstance(value, list):
        return [text for part in value for text in _texts(part)]
    return []


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain 🦉 text", "plain 🦉 text"),
        ("up\N{RIGHT-TO-LEFT OVERRIDE}gpj.exe", "up\\u202egpj.exe"),
        ("nul\x00 and bell\x07", "nul\\u0000 and bell\\u0007"),
        # Joiners stay, which emoji need.
        ("👩\N{ZERO WIDTH JOINER}🚀", "👩\N{ZERO WIDTH JOINER}🚀"),
        ("a" * 10_000, "a" * 1000 + " … (8,000 characters are left out) … " + "a" * 1000),
    ],
)
def test_what_a_browser_would_act_on_is_made_visible(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_names_that_turn_text_around_or_are_endless_do_no_harm() -> None:
    name = "\N{RIGHT-TO-LEFT OVERRIDE}" + "long" * 2_500

    for page in rendered(site_content(name)).values():
        assert "\N{RIGHT-TO-LEFT OVERRIDE}" not in page.text
        assert len(page.text) < 700_000


def test_the_policy_allows_only_the_scripts_of_the_page_and_no_text_knows_its_nonce(
    plain: dict[str, RenderedPage], hostile: dict[str, RenderedPage]
) -> None:
    nonces = set()
    for page in (*plain.values(), *hostile.values()):
        found = Elements(page.text)
        (policy,) = [
            attributes["content"] or ""
            for tag, attributes in found.elements
            if tag == "meta" and attributes.get("http-equiv") == "Content-Security-Policy"
        ]
        allowed = re.search(r"script-src 'nonce-([A-Za-z0-9+/]+)';", policy)
        assert allowed is not None
        assert policy.startswith("default-src 'none';")
        assert len(base64.b64decode(allowed[1])) == 18
        for attributes, _ in found.scripts:
            assert attributes.get("nonce") == allowed[1] or attributes.get("type") == "application/json"
        nonces.add(allowed[1])
    # One page holds no text from outside: what these pages leave out.
    assert len(nonces) == len(plain) + len(hostile) - 1


def test_equal_contents_give_equal_pages(plain: dict[str, RenderedPage]) -> None:
    pages.page_environment.cache_clear()

    assert rendered(site_content("some-name")) == plain


def test_a_page_that_shows_the_same_at_another_time_has_the_same_digest(plain: dict[str, RenderedPage]) -> None:
    made = site_content("some-name")
    page = next(page for page in all_pages(made) if page.path == "callers.html")

    later = render_site_page(page, generated_at=NOON.replace(hour=13), narrowing=made.narrowing, paths=page_paths(made))

    assert later.digest == plain["callers.html"].digest
    assert later.text != plain["callers.html"].text


def test_a_narrowed_report_says_so_on_every_page() -> None:
    narrowing = Narrowing(strategy="some-name", since=NOON)

    for page in rendered(site_content("some-name", narrowing=narrowing)).values():
        assert "Narrowed to strategy some-name, calls since 2025-02-03." in Elements(page.text).text


def test_folders_of_narrowed_reports_differ_and_say_what_they_hold() -> None:
    made = [
        Narrowing(),
        Narrowing(run_ids=(4,)),
        Narrowing(strategy="a b"),
        Narrowing(strategy="a/b"),
        Narrowing(strategy="a", version="b"),
        Narrowing(caller=("../..", "x")),
    ]
    folders = [each.folder() for each in made]

    assert folders[:2] == ["", ""]
    assert re.fullmatch(r"only-strategy-a-b-[0-9a-f]{8}", folders[2])
    assert re.fullmatch(r"only-strategy-a-b-[0-9a-f]{8}", folders[4])
    assert len(set(folders[2:])) == 4
    assert all("/" not in folder and ".." not in folder for folder in folders)


@pytest.mark.parametrize("name", ["../../etc", "a" * 5_000, "CON", "🦉", "", "\N{RIGHT-TO-LEFT OVERRIDE}", "a\x00b"])
def test_paths_of_any_name_stay_in_their_folder(name: str) -> None:
    path = caller_path((name, name))

    assert re.fullmatch(r"callers/[a-z0-9-]{10,60}\.html", path)
    assert path != caller_path((name, f"{name} "))


def test_a_run_draws_its_best_its_worst_and_those_in_which_most_happens() -> None:
    lines = site_content(trade_count=30).strategy_trades["plain", "1"].trades
    bought = [line for line in lines if line.pnl is not None]
    busy = replace(bought[5], action_count=9)
    trades = TradeList(tuple(busy if line.call_id == busy.call_id else line for line in lines), 30)

    drawn = choose_drawn(trades)

    by_result = sorted(bought, key=lambda line: (line.pnl or 0.0, line.call_id))
    assert len(drawn) == DRAWN_TRADES
    assert {by_result[0].call_id, by_result[-1].call_id, busy.call_id} <= set(drawn)
    assert choose_drawn(TradeList(tuple(line for line in lines if line.pnl is None))) == []


@pytest.mark.parametrize(
    ("source", "sql"),
    [
        (Source("v"), "select * from v"),
        (
            Source("v", filters=(("a", "it's \\ 1"), ("b", 2)), order="c"),
            r"select * from v where a = 'it''s \\ 1' and b = 2 order by c",
        ),
        (Source("v", "postgres", (("a", "it's \\ 1"),)), r"select * from v where a = 'it''s \ 1'"),
        (Source("v", since=("at", "2025-01-01 00:00:00")), "select * from v where at >= '2025-01-01 00:00:00'"),
        (
            Source(
                "v", filters=(("a", 1),), after=("at", 0), among=("b", Source("w", filters=(("c", "x"),), order="d"))
            ),
            "select * from v where a = 1 and at > 0 and b in (select b from w where c = 'x')",
        ),
    ],
)
def test_statements_quote_what_they_look_for(source: Source, sql: str) -> None:
    assert source.sql() == sql


def test_call_ids_lead_to_the_chart_on_their_page_and_else_say_how_to_draw_it() -> None:
    made = site_content("it's", trade_count=30)
    trades = made.strategy_trades["it's", "1"]
    first, second = trades.trades[:2]

    table = trade_table(trades, source=Source("mart_trades"), caller_pages=(), run_pages=(), drawn=[first.call_id])

    links = [row[-1] for row in table.rows]
    assert (links[0].text, links[0].href) == (str(first.call_id), f"#trade-{first.call_id}")
    assert links[1].href == ""
    # As a shell reads it: the quote within ends the quoted text, stands alone, and the text goes on.
    assert links[1].tip == f"""quantbot trade {second.call_id} --strategy 'it'"'"'s'"""
    assert "draws a call whose id leads nowhere" in table.note


def test_calls_that_nothing_can_draw_promise_no_chart() -> None:
    trades = site_content(trade_count=30).strategy_trades["plain", "1"]

    table = trade_table(trades, source=Source("mart_trades"), caller_pages=(), run_pages=(), drawn=None)

    assert "quantbot trade " not in table.note
    assert {(row[-1].href, row[-1].tip) for row in table.rows} == {("", "")}


def test_a_table_refuses_rows_that_do_not_fit_its_columns() -> None:
    with pytest.raises(ValueError, match="a row of 2 cells, columns are 0"):
        Table("t", "T", (), ((1, 2),))


def test_interval_bars_are_scaled_by_rows_of_enough_trades() -> None:
    solid, wild = Interval(0.125, -0.02), Interval(5.0, -9.0, is_small_sample=True)
    scale = Table("t", "T", ("c",), ((solid,), (wild,))).interval_scale  # type: ignore[arg-type]  # columns are not read

    assert scale == pytest.approx(0.27)
    # The middle is 60, the ends are 4 and 116: 60 - 56 * 0.02 / 0.27 = 55.9.
    assert "M55.9 7H116.0" in pages._interval_bar(solid, scale)
    assert "M4.0 7H116.0" in pages._interval_bar(wild, scale)


@pytest.mark.parametrize(
    ("fraction", "shown"),
    [
        (None, "\N{EN DASH}"),
        (float("nan"), "\N{EN DASH}"),
        (0.0, "0.0 %"),
        (-0.0004, "0.0 %"),
        (0.0006, "+0.1 %"),
        (-1.0, "-100.0 %"),
        (12.3456, "+1 235 %"),
    ],
)
def test_percentages_carry_sign_and_no_false_precision(fraction: float | None, shown: str) -> None:
    expected = shown.replace(" ", "\N{NARROW NO-BREAK SPACE}").replace("-", "\N{MINUS SIGN}")

    assert pages._percent(fraction) == expected


# The folder


def _page(path: str, text: str = "text", digest: str = "1") -> RenderedPage:
    return RenderedPage(path, text, digest)


def _files(folder: Path) -> set[str]:
    return {path.relative_to(folder).as_posix() for path in folder.rglob("*") if path.is_file()}


_OWN = {"index.html", ".quantbot-report.json", ".quantbot-report.lock"}


def test_only_what_changed_is_written_and_what_is_left_over_goes(tmp_path: Path) -> None:
    with SiteFolder(tmp_path) as folder:
        for name in ("a", "b", "c"):
            folder.put(_page(f"x/{name}.html"), key=f"key {name}")
        assert folder.finish(_page("index.html")).written == 4
    (tmp_path / "mine.html").write_text("mine", encoding="utf-8")
    (tmp_path / "x/b.html").write_text("touched", encoding="utf-8")

    with SiteFolder(tmp_path) as folder:
        assert folder.has("x/a.html", "key a")
        assert not folder.has("x/a.html", "another")
        folder.keep("x/a.html")
        folder.put(_page("x/b.html", "never written", "1"))
        changes = folder.finish(_page("index.html", "new", "2"))

    assert (changes.written, changes.unchanged, changes.removed) == (1, 2, 1)
    assert _files(tmp_path) == _OWN | {"x/a.html", "x/b.html", "mine.html"}
    assert (tmp_path / "index.html").read_text(encoding="utf-8") == "new"


def test_a_page_that_somebody_deleted_is_written_again(tmp_path: Path) -> None:
    for _ in range(2):
        with SiteFolder(tmp_path) as folder:
            assert not folder.has("a.html", "key")
            folder.put(_page("a.html"), key="key")
            folder.finish(_page("index.html"))
        (tmp_path / "a.html").unlink()


def test_pages_made_without_a_key_are_never_taken_for_made(tmp_path: Path) -> None:
    with SiteFolder(tmp_path) as folder:
        folder.put(_page("a.html"))
        folder.finish(_page("index.html"))
    with SiteFolder(tmp_path) as folder:
        assert not folder.has("a.html", "")


def test_a_write_that_fails_leaves_the_old_page_and_the_old_manifest(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SiteFolder(tmp_path) as folder:
        folder.finish(_page("index.html", "old"))
    before = (tmp_path / ".quantbot-report.json").read_bytes()
    monkeypatch.setattr(pages.Path, "replace", _refuse)

    with pytest.raises(OSError, match="disk full"), SiteFolder(tmp_path) as folder:
        folder.finish(_page("index.html", "new", "2"))

    assert (tmp_path / "index.html").read_text(encoding="utf-8") == "old"
    assert (tmp_path / ".quantbot-report.json").read_bytes() == before
    assert _files(tmp_path) == _OWN


def _refuse(*_: object) -> None:
    raise OSError(errno.ENOSPC, "disk full")


def test_a_write_that_fails_names_the_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """A full disk was once told of standard output."""
    monkeypatch.setattr(pages.os, "fsync", _refuse)

    with pytest.raises(OSError, match="disk full") as caught:
        pages.write_page("text", tmp_path / "a.html")

    assert caught.value.filename == str(tmp_path / "a.html")
    assert _files(tmp_path) == set()


def test_what_ends_the_making_leaves_the_report_before_whole(tmp_path: Path) -> None:
    """Pages were once swapped in as they were made: new ones led to others that were not there yet."""
    with SiteFolder(tmp_path) as folder:
        folder.put(_page("a.html", "old"), key="old")
        folder.finish(_page("index.html", "old"))
    before = {path: (tmp_path / path).read_bytes() for path in _files(tmp_path)}

    with pytest.raises(KeyboardInterrupt):
        _make(tmp_path, "a.html", "b.html", before_end=_die)

    assert {path: (tmp_path / path).read_bytes() for path in _files(tmp_path)} == before


def test_what_was_killed_while_it_was_moved_in_is_put_right_by_the_next_one(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SiteFolder(tmp_path) as folder:
        for name in ("a.html", "gone.html"):
            folder.put(_page(name, "old"), key="old")
        folder.finish(_page("index.html", "old"))
    monkeypatch.setattr(SiteFolder, "_move_in", _die)
    # As after a kill: nothing is cleaned up.
    monkeypatch.setattr(site_files.shutil, "rmtree", lambda *_, **__: None)
    with pytest.raises(KeyboardInterrupt):
        _make(tmp_path, "a.html", "b.html")
    monkeypatch.undo()
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == "old"

    with SiteFolder(tmp_path) as folder:
        assert not folder.has("a.html", "new")
        folder.put(_page("a.html", "new", "2"))
        changes = folder.finish(_page("index.html", "new", "2"))

    assert (changes.written, changes.removed) == (2, 2)
    assert _files(tmp_path) == _OWN | {"a.html"}
    assert (tmp_path / "a.html").read_text(encoding="utf-8") == "new"


def _make(directory: Path, *paths: str, before_end: Callable[[], None] = lambda: None) -> None:
    """Make a report whose pages say `new`."""
    with SiteFolder(directory) as folder:
        for path in paths:
            folder.put(_page(path, "new", "2"), key="new")
        before_end()
        folder.finish(_page("index.html", "new", "2"))


def _die(*_: object) -> None:
    raise KeyboardInterrupt


def test_new_pages_are_moved_in_before_those_that_lead_to_them_and_the_index_last(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with SiteFolder(tmp_path) as folder:
        folder.put(_page("a.html", "old"))
        folder.finish(_page("index.html", "old"))
    moved: list[str] = []
    replace_file = pages.Path.replace

    def note(source: Path, target: Path) -> Path:
        moved.append(target.name)
        return replace_file(source, target)

    with SiteFolder(tmp_path) as folder:
        folder.put(_page("a.html", "new", "2"))
        folder.put(_page("z.html", "new", "2"))
        monkeypatch.setattr(pages.Path, "replace", note)
        folder.finish(_page("index.html", "new", "2"))

    assert [name for name in moved if name in ("a.html", "z.html")] == ["z.html", "a.html"]
    assert moved[-2:] == ["index.html", ".quantbot-report.json"]


@pytest.mark.parametrize("name", ["index.html", "callers.html"])
def test_pages_of_somebody_else_are_never_overwritten(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("mine", encoding="utf-8")

    with pytest.raises(ConfigError, match=rf"{name} is there and is no report of quantbot.*--out DIR"):
        _make(tmp_path, "callers.html")

    assert (tmp_path / name).read_text(encoding="utf-8") == "mine"
    assert _files(tmp_path) == {name, ".quantbot-report.lock"}


def test_a_folder_that_can_not_be_made_is_named(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("", encoding="utf-8")

    with pytest.raises(ConfigError, match=r"can't be written to .*file/below"), SiteFolder(tmp_path / "file/below"):
        pass


@pytest.mark.parametrize(
    "manifest",
    ["", "{}", "[]", '{"version": 1, "pages": {"../x": {"digest": "", "key": ""}}}', '{"version": 9, "pages": 3}'],
)
def test_a_damaged_manifest_makes_all_anew_and_removes_nothing_outside(tmp_path: Path, manifest: str) -> None:
    (tmp_path / "x").write_text("not in the report", encoding="utf-8")
    folder_path = tmp_path / "report"
    folder_path.mkdir()
    (folder_path / ".quantbot-report.json").write_text(manifest, encoding="utf-8")

    with SiteFolder(folder_path) as folder:
        changes = folder.finish(_page("index.html"))

    assert (changes.written, changes.removed) == (1, 0)
    assert (tmp_path / "x").exists()


def test_the_single_page_of_older_versions_goes_and_another_of_its_name_stays(tmp_path: Path) -> None:
    for name, text in (("ours", "<title>Quantbot report, 2025-01-01</title>"), ("theirs", "<title>Mine</title>")):
        (tmp_path / name).mkdir()
        (tmp_path / name / "report.html").write_text(text, encoding="utf-8")
        with SiteFolder(tmp_path / name) as folder:
            folder.finish(_page("index.html"))

    assert not (tmp_path / "ours/report.html").exists()
    assert (tmp_path / "theirs/report.html").exists()


def test_the_script_is_written_once_and_an_old_one_goes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(site_files, "plotly_script", lambda: "script")
    (tmp_path / "assets").mkdir()
    (tmp_path / "assets/plotly-0.js").write_text("old", encoding="utf-8")

    with SiteFolder(tmp_path) as folder:
        folder.put_script()
        folder.finish(_page("index.html"))

    assert _files(tmp_path / "assets") == {Path(plotly_path()).name}


def test_a_narrowed_report_says_where_its_rows_come_from() -> None:
    since = datetime(2025, 2, 3, 12, 30, tzinfo=UTC)
    narrowing = Narrowing(strategy="one", caller=("tg", "ann"), since=since)

    assert runs_source(narrowing).sql() == (
        "select * from mart_runs_ranked where strategy_name = 'one' and window_end > '2025-02-03 12:30:00' and "
        "simulation_run_id in (select simulation_run_id from mart_trades where strategy_name = 'one' and "
        "caller_source = 'tg' and caller_handle = 'ann' and signal_timestamp >= '2025-02-03 12:30:00') "
        "order by run_rank"
    )
    assert mart_source("mart_exit_reasons", Narrowing("one", version="2"), order="exit_event").sql() == (
        "select * from mart_exit_reasons where strategy_name = 'one' and strategy_version = '2' order by exit_event"
    )
    # A filter of the page's own stands once.
    assert months_source(narrowing, ("strategy_name", "one")).sql() == (
        "select * from mart_caller_months where strategy_name = 'one' and caller_source = 'tg' and caller_handle = "
        "'ann' and month >= '2025-02-01' order by month"
    )


def test_the_overview_is_of_the_strategy_that_is_asked_for_alone() -> None:
    made = site_content("one")
    both = replace(made.overview, strategies=(*made.overview.strategies, replace(STANDING, strategy="two", rank=2)))
    narrowed = replace(made, overview=both, narrowing=Narrowing(strategy="one"))

    paths = [page.path for page in list_pages(narrowed)]

    assert [path for path in paths if path.startswith("strategies/")] == [strategy_path(("one", "1"))]
    another = replace(narrowed, narrowing=Narrowing(strategy="one", version="2"))
    assert not [page.path for page in list_pages(another) if page.path.startswith("strategies/")]
    assert content().strategies[0].strategy == "plain"


def test_a_short_name_of_a_row_takes_no_more_room_than_it_needs(plain: dict[str, RenderedPage]) -> None:
    # Names have a least width, of which a telephone has little.
    assert '<th class="when" scope="row" data-v="7">' in plain["runs.html"].text
    assert 'class="name" scope="row"' in plain["callers.html"].text
