"""The report's pages in a real browser: they draw, sort, filter, load nothing, run no text, and can be read by all.

Screenshots of the main pages are left in `build/screenshots/`, to be looked at.
"""

import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest
from axe_playwright_python.sync_playwright import Axe
from made_up_content import NOON, run_detail, run_line, site_content, trade
from made_up_search import search
from playwright.sync_api import Browser, Page, sync_playwright
from test_model_card import row as model_row
from test_report_site import HOSTILE

from quantbot_pipeline.report.model_card import render_model_card
from quantbot_pipeline.report.page import write_page
from quantbot_pipeline.report.site_content import SiteContent
from quantbot_pipeline.report.site_files import SiteFolder
from quantbot_pipeline.report.site_pages import list_pages, page_paths
from quantbot_pipeline.report.site_paths import caller_path, strategy_path, token_path
from quantbot_pipeline.report.site_render import render_site_page
from quantbot_pipeline.report.site_run_page import run_page

CHROMIUM = shutil.which("chromium") or shutil.which("chromium-browser") or shutil.which("google-chrome")
SCREENSHOTS = Path(__file__).parents[3] / "build" / "screenshots"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.xdist_group("report-browser"),
    pytest.mark.skipif(CHROMIUM is None, reason="no browser: install Debian's package chromium"),
]

NAMES = {"plain": "steady", "hostile": f"{HOSTILE}\N{RIGHT-TO-LEFT OVERRIDE}🦉{'long' * 2_500}"}
TRADES = 2_000

PICTURED = {
    "index.html": "index",
    strategy_path(("steady", "1")): "strategy",
    caller_path(("steady", "steady")): "caller",
    token_path(("solana", "steady")): "token",
    "runs/7.html": "run",
    "models/card-1.html": "card",
}

# The page that holds as many trades as a page ever does.
LARGEST = strategy_path(("largest", "1"))


def _made(name: str) -> SiteContent:
    made = site_content(name)
    # One that has every picture of a search.
    return replace(made, search_pages=(search(60, 8, goal_count=2),)) if name == "steady" else made


def _write(folder_path: Path, name: str) -> Path:
    made = _made(name)
    with SiteFolder(folder_path) as folder:
        folder.put_script()
        card = render_model_card(model_row(name), is_beside_report=True)
        write_page(card, folder.staging / "models/card-1.html")
        trades = made.strategy_trades[name, "1"]
        drawn = [trade(name, call_id=9), trade(name, call_id=10, candle_count=900)]
        every = [run_page(made, run_line(name), run_detail(name), trades, drawn), *list_pages(made)]
        if name == "steady":
            many = site_content("largest", trade_count=TRADES)
            every.insert(0, next(page for page in list_pages(many) if page.path == LARGEST))
        for page in every[:-1]:
            folder.put(render_site_page(page, generated_at=NOON, narrowing=made.narrowing, paths=page_paths(made)))
        folder.finish(render_site_page(every[-1], generated_at=NOON, narrowing=made.narrowing, paths=page_paths(made)))
    return folder_path


@pytest.fixture(scope="module")
def sites(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    return {key: _write(tmp_path_factory.mktemp(key), name) for key, name in NAMES.items()}


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    with sync_playwright() as playwright:
        found = playwright.chromium.launch(executable_path=CHROMIUM, args=["--no-sandbox", "--disable-gpu"])
        yield found
        found.close()


@dataclass
class Visit:
    """A page that was opened, with what the browser said of it."""

    page: Page
    complaints: list[str] = field(default_factory=list)
    requests: list[str] = field(default_factory=list)

    def draw_all(self) -> None:
        """Scroll through the page until every chart that is in sight has been drawn."""
        self.page.evaluate(
            """async () => {
                for (const place of document.querySelectorAll(".figure")) {
                    if (place.closest("details:not([open])")) continue;
                    place.scrollIntoView();
                    for (let k = 0; k < 100 && !place.querySelector(".main-svg"); k++) {
                        if (place.classList.contains("undrawn")) break;
                        await new Promise((done) => setTimeout(done, 20));
                    }
                }
                window.scrollTo(0, 0);
            }"""
        )


@pytest.fixture(scope="module")
def visit(browser: Browser, sites: dict[str, Path]) -> Iterator[Callable[..., Visit]]:
    """Return a function that opens a page of a site: site, path, width and colour scheme."""
    contexts: dict[Any, Any] = {}

    def open_page(site: str, path: str, *, width: int = 1280, scheme: str = "light") -> Visit:
        key = (width, scheme)
        if key not in contexts:
            contexts[key] = browser.new_context(
                viewport={"width": width, "height": 900},
                color_scheme=scheme,  # type: ignore[arg-type]  # one of the two
                offline=False,
            )
            contexts[key].set_default_timeout(15_000)
        page = contexts[key].new_page()
        found = Visit(page)
        page.on("console", lambda message: found.complaints.append(message.text))
        page.on("pageerror", lambda error: found.complaints.append(str(error)))
        page.on("request", lambda request: found.requests.append(request.url))
        page.goto((sites[site] / path).as_uri())
        return found

    yield open_page
    for context in contexts.values():
        context.close()


def _picture(page: Page, name: str) -> None:
    """Leave pictures of a page that has been drawn: on a desk in the light, on a telephone in the dark."""
    SCREENSHOTS.mkdir(parents=True, exist_ok=True)
    for width, scheme in ((1280, "light"), (390, "dark")):
        page.set_viewport_size({"width": width, "height": 900})
        page.emulate_media(color_scheme=scheme)  # type: ignore[arg-type]  # one of the two
        # Charts are drawn anew in their new width and colours.
        page.wait_for_timeout(300)
        picture = SCREENSHOTS / f"report-{name}-{width}-{scheme}.png"
        page.screenshot(path=picture, full_page=True)
        assert picture.stat().st_size > 20_000


def _paths(site: Path) -> list[str]:
    return sorted(path.relative_to(site).as_posix() for path in site.rglob("*.html"))


@dataclass
class Seen:
    """What was seen on one page: charts by number, width on a telephone, faults that axe found."""

    complaints: list[str]
    requests: list[str]
    title: str
    places: int
    drawn: int
    undrawn: int
    width: int
    strange: list[str]
    faults: list[str] = field(default_factory=list)


def _look(visit: Callable[..., Visit], key: str, path: str) -> Seen:
    found = visit(key, path)
    found.draw_all()
    page = found.page
    faults = []
    if key == "plain" and path != LARGEST:
        faults = _serious_faults(page, {})
        if path in PICTURED:
            _picture(page, PICTURED[path])
            # Colours alone differ in the dark, which the pictures end with.
            faults += _serious_faults(page, {"runOnly": ["color-contrast"]})
    page.set_viewport_size({"width": 360, "height": 800})
    places, drawn, undrawn, width, strange = page.evaluate(
        """() => [
            [...document.querySelectorAll(".figure")].filter((x) => !x.closest("details:not([open])")).length,
            [...document.querySelectorAll(".figure")].filter((x) => x.querySelector(".main-svg")).length,
            document.querySelectorAll(".undrawn").length,
            document.documentElement.scrollWidth,
            [...document.querySelectorAll("*")].filter(
                (x) => x.hasAttribute("onerror") || (x.tagName === "IMG" && !x.src.startsWith("data:"))
                    || (x.tagName === "SCRIPT" && !x.type && x.textContent.includes("document.title"))
            ).map((x) => x.outerHTML.slice(0, 200)),
        ]"""
    )
    seen = Seen(found.complaints, found.requests, page.title(), places, drawn, undrawn, width, strange, faults)
    page.close()
    return seen


def _serious_faults(page: Page, options: dict[str, Any]) -> list[str]:
    result = Axe().run(page, options={"resultTypes": ["violations"], **options}).response
    return [
        f"{fault['id']}: {node['html'][:160]} {node['failureSummary']}"
        for fault in result["violations"]
        if fault["impact"] in ("serious", "critical")
        for node in fault["nodes"][:3]
    ]


@pytest.fixture(scope="module")
def seen(visit: Callable[..., Visit], sites: dict[str, Path]) -> dict[tuple[str, str], Seen]:
    """Every page of every site, looked at once."""
    return {(key, path): _look(visit, key, path) for key, site in sites.items() for path in _paths(site)}


def test_no_page_makes_the_browser_complain(seen: dict[tuple[str, str], Seen]) -> None:
    assert len(seen) == 31
    assert {where: page.complaints for where, page in seen.items() if page.complaints} == {}


def test_every_chart_is_drawn(seen: dict[tuple[str, str], Seen]) -> None:
    assert sum(page.places for page in seen.values()) > 40
    assert {where: page for where, page in seen.items() if page.undrawn or page.drawn != page.places} == {}


def test_nothing_is_asked_for_but_what_lies_beside_the_page(
    seen: dict[tuple[str, str], Seen], sites: dict[str, Path]
) -> None:
    for (key, path), page in seen.items():
        allowed = (f"{sites[key].as_uri()}/", "data:", "blob:")
        assert [url for url in page.requests if not url.startswith(allowed)] == [], (key, path)


def test_text_from_outside_can_not_run(seen: dict[tuple[str, str], Seen]) -> None:
    assert {where: page.strange for where, page in seen.items() if page.strange} == {}
    assert "owned" not in {page.title for page in seen.values()}


def test_no_page_is_wider_than_a_telephone(seen: dict[tuple[str, str], Seen]) -> None:
    assert {where: page.width for where, page in seen.items() if page.width > 360} == {}


def test_axe_finds_no_serious_fault(seen: dict[tuple[str, str], Seen]) -> None:
    assert {where: page.faults for where, page in seen.items() if page.faults} == {}


def test_tables_sort_filter_and_turn_pages_by_keyboard(visit: Callable[..., Visit]) -> None:
    found = visit("plain", LARGEST)
    page = found.page
    sheet = page.locator("#table-trades")
    status = sheet.get_by_role("status")
    shown = "() => [...document.querySelectorAll('#table-trades tbody tr:not([hidden])')]"
    assert status.inner_text() == "1 to 25 of 2,000 rows"
    assert page.evaluate(f"({shown})().length") == 25

    heading = sheet.get_by_role("button", name="Pnl", exact=True)
    heading.focus()
    page.keyboard.press("Enter")
    # k * 37 mod 101 is 100 somewhere: 0.5, and the first press shows the greatest first; what was skipped comes last.
    values = page.evaluate(f"({shown})().map((row) => Number(row.querySelectorAll('td.n')[1].dataset.v))")
    assert values[0] == 0.5
    assert values == sorted(values, reverse=True)
    assert sheet.locator("th[aria-sort]").get_attribute("aria-sort") == "descending"
    page.keyboard.press("Enter")
    assert page.evaluate(f"({shown})().map((row) => Number(row.querySelectorAll('td.n')[1].dataset.v))")[0] == -0.5
    assert sheet.locator("th[aria-sort]").get_attribute("aria-sort") == "ascending"

    sheet.get_by_role("searchbox").focus()
    page.keyboard.type("SKIPPED sparse")
    # Every 7th was skipped, every 5th from the 3rd is sparse: every 35th of 2 000, from the 28th.
    assert status.inner_text() == "1 to 25 of 57 rows, 2,000 without the filter"
    sheet.get_by_role("button", name="Next").focus()
    page.keyboard.press("Enter")
    page.keyboard.press("Enter")
    assert status.inner_text().startswith("51 to 57 of 57 rows")
    assert page.evaluate(f"({shown})().length") == 7
    assert sheet.get_by_role("button", name="Next").is_disabled()
    sheet.get_by_role("searchbox").fill("no such words")
    assert status.inner_text() == "0 rows, 2,000 without the filter"
    assert found.complaints == []
    page.close()


def test_a_page_of_2000_trades_is_ready_at_once(visit: Callable[..., Visit], sites: dict[str, Path]) -> None:
    path = LARGEST
    assert (sites["plain"] / path).stat().st_size < 4_000_000
    found = visit("plain", path)
    ready, sorting = found.page.evaluate(
        """() => {
            const began = performance.now();
            document.querySelector("#table-trades .sort").click();
            return [performance.getEntriesByType("navigation")[0].domContentLoadedEventEnd, performance.now() - began];
        }"""
    )
    # Some tenths of a second when nothing else runs; other tests do.
    assert ready < 20_000
    assert sorting < 5_000
    found.page.close()


def test_what_is_first_skips_to_the_content(visit: Callable[..., Visit]) -> None:
    found = visit("plain", "runs/7.html")
    found.page.keyboard.press("Tab")
    assert found.page.evaluate("document.activeElement.textContent") == "Skip to the content"
    found.page.keyboard.press("Enter")
    assert found.page.evaluate("document.activeElement.id") == "main"
    found.page.close()


def test_all_charts_are_there_when_a_page_is_printed(visit: Callable[..., Visit]) -> None:
    found = visit("plain", "runs/7.html")
    page = found.page
    page.pdf()
    assert (
        page.evaluate(
            "() => [...document.querySelectorAll('.figure')].filter((x) => !x.querySelector('.main-svg')).length"
        )
        == 0
    )
    # After it charts have the width of the screen again, which is more than that of paper.
    assert any(
        page.evaluate("() => document.querySelector('.figure .main-svg').clientWidth") > 800
        or page.wait_for_timeout(50)
        for _ in range(100)
    )
    assert found.complaints == []
    page.close()


def test_charts_are_drawn_without_being_scrolled_to(visit: Callable[..., Visit]) -> None:
    found = visit("plain", "runs/7.html")
    undrawn = "() => [...document.querySelectorAll('.figure')].filter((x) => !x.querySelector('.main-svg')).length"
    assert any(found.page.evaluate(undrawn) == 0 or found.page.wait_for_timeout(50) for _ in range(200))
    assert found.page.evaluate("() => window.scrollY") == 0
    found.page.close()


def test_tables_that_go_on_behind_an_edge_show_it(visit: Callable[..., Visit]) -> None:
    found = visit("plain", "runs/7.html", width=390)
    region = found.page.locator("#table-trades .scroll")
    edges = "(x) => [x.classList.contains('more-left'), x.classList.contains('more-right')]"

    def become(expected: list[bool]) -> bool:
        return any(
            region.evaluate(edges) == expected or found.page.wait_for_timeout(50) is not None for _ in range(100)
        )

    assert become([False, True])
    region.focus()
    found.page.keyboard.press("ArrowRight")
    assert become([True, True])
    region.evaluate("(x) => { x.scrollLeft = x.scrollWidth; }")
    assert become([True, False])
    found.page.set_viewport_size({"width": 2000, "height": 900})
    assert become([False, False])
    found.page.close()


def test_charts_follow_the_colours_of_the_page(visit: Callable[..., Visit]) -> None:
    found = visit("plain", "index.html")
    found.draw_all()
    colour = "() => getComputedStyle(document.querySelector('#figure-equity .xtick text')).fill"
    light = found.page.evaluate(colour)
    found.page.emulate_media(color_scheme="dark")
    # The policy lets nothing be evaluated in the page later on, so it is asked again and again from outside.
    assert any(found.page.evaluate(colour) != light or found.page.wait_for_timeout(50) for _ in range(100))
    found.page.close()


def test_tables_are_whole_without_javascript(browser: Browser, sites: dict[str, Path]) -> None:
    context = browser.new_context(java_script_enabled=False)
    page = context.new_page()
    page.goto((sites["plain"] / LARGEST).as_uri())
    assert page.locator("#table-trades tbody tr").count() == TRADES
    assert page.locator("noscript").first.is_visible() or "Charts need JavaScript" in page.content()
    context.close()


def test_a_missing_script_is_said_where_charts_would_be(
    visit: Callable[..., Visit], sites: dict[str, Path], tmp_path: Path
) -> None:
    copy = tmp_path / "strategies.html"
    shutil.copy(sites["plain"] / "strategies.html", copy)
    sites["alone"] = tmp_path
    found = visit("alone", "strategies.html")
    found.page.wait_for_selector(".undrawn")
    assert "its script is missing beside the page" in found.page.locator(".undrawn").inner_text()
    del sites["alone"]
    found.page.close()
