"""A search on the page and in Markdown: what is said in words, and that names stay text."""

import base64
import re
from dataclasses import replace
from html import unescape
from xml.etree import ElementTree

import pytest
from made_up_content import NOON
from made_up_search import named_search, search
from test_report_site import HOSTILE, Elements

from quantbot_pipeline.report.content import ReportContent
from quantbot_pipeline.report.search_content import SearchContent, SearchVerdict
from quantbot_pipeline.report.search_metadata import search_metadata
from quantbot_pipeline.report.site_content import SiteContent
from quantbot_pipeline.report.site_pages import list_pages, page_paths
from quantbot_pipeline.report.site_paths import search_path
from quantbot_pipeline.report.site_render import render_site_page


def _shown(made: SearchContent) -> str:
    content = SiteContent(overview=ReportContent(generated_at=NOON), search_pages=(made,))
    (page,) = [page for page in list_pages(content) if page.path == search_path(made.job_id)]
    return Elements(
        render_site_page(page, generated_at=NOON, narrowing=content.narrowing, paths=page_paths(content)).text
    ).text


@pytest.mark.parametrize(
    ("answer", "expected"),
    [
        ("distinguishable from luck", "Yes: every test that was made tells the winner from luck."),
        ("not distinguishable from luck", "No: the winner can't be told from luck."),
        ("too little data to say", "Too little data to say whether the winner is luck."),
        ("what a later version says", "what a later version says"),
    ],
)
def test_the_verdict_is_said_in_words_with_its_reasons(answer: str, expected: str) -> None:
    made = replace(search(2, 0), verdict=SearchVerdict(answer, ("first reason", "second"), ("a caution",)))
    shown = _shown(made)

    assert expected in shown
    assert shown.index("first reason") < shown.index("second") < shown.index("a caution")


def test_each_reason_says_whether_its_test_was_passed() -> None:
    verdict = SearchVerdict("not distinguishable from luck", ("too few", "first", "second"), (), (None, False, True))
    shown = _shown(replace(search(2, 0), verdict=verdict))
    assert "too few" in shown
    assert "\N{HEAVY BALLOT X} failed: first" in shown
    assert "\N{HEAVY CHECK MARK} passed: second" in shown


def test_what_is_sampled_and_left_out_is_said() -> None:
    big = replace(search(40, 0), is_sample=True, trial_count=100_000, counts={"scored": 99_000, "refused": 1_000})
    shown = _shown(big)

    assert "100\N{NARROW NO-BREAK SPACE}000 trials" in shown
    assert "even sample of 40 of 99\N{NARROW NO-BREAK SPACE}000 scored trials" in shown
    assert "1\N{NARROW NO-BREAK SPACE}000 no valid strategy" in shown


@pytest.mark.parametrize(
    ("made", "expected"),
    [
        (search(0, 12, has_evidence=False), "No trial has a score, so there is no winner to test."),
        (search(1, 0, has_evidence=False), "20 need a score, 1 have one"),
        (replace(search(0, 0, has_evidence=False), status="running"), "The search has not ended"),
        (replace(search(0, 0, has_evidence=False), status="failed", note="no calls"), "no calls"),
    ],
    ids=["none scored", "one trial", "running", "failed"],
)
def test_searches_without_much_to_show_say_why(made: SearchContent, expected: str) -> None:
    assert expected in _shown(made)


def test_trials_without_a_score_are_listed_with_their_reasons() -> None:
    made = replace(search(30, 4), reasons={"failed": [(7, "token solana:X has no candles")]})

    assert "7: token solana:X has no candles" in _shown(made)


def test_several_goals_are_columns_and_shown_as_metrics() -> None:
    made = search(30, 0, goal_count=2)
    shown = _shown(made)

    assert "min:max_drawdown" in shown
    # A drawdown is stored as its negative.
    drawdown = -(made.best[0].scores or (0.0, 0.0))[1]
    assert f"{drawdown:.4g}" in shown
    assert f"\N{MINUS SIGN}{drawdown:.4g}" not in shown


def test_metadata_has_small_pictures_and_the_verdict() -> None:
    found = search_metadata(search())

    assert found["verdict"].startswith("**No&#58; the winner can&#39;t be told from luck&#46;**")
    assert set(found) == {"verdict", "states", "best_trials", "history", "walk_forward", "importance"}
    assert max(map(len, found.values())) < 40_000
    for name in ("history", "walk_forward"):
        encoded = re.search(r"base64,([A-Za-z0-9+/=]+)\)$", found[name])
        assert encoded is not None
        ElementTree.fromstring(base64.b64decode(encoded[1]))  # noqa: S314 - made here


def test_metadata_of_several_goals_has_the_front_from_end_to_end() -> None:
    made = search(goal_count=2)
    lines = search_metadata(made)["pareto_front"].splitlines()

    ordered = sorted(made.front, key=lambda trial: -(trial.scores or (0.0,))[0])
    assert len(ordered) > 10
    assert lines[2].startswith(f"| {ordered[0].index} |")
    assert lines[11].startswith(f"| {ordered[-1].index} |")
    assert unescape(lines[13]) == f"10 of {len(ordered)} trials, evenly chosen"


def test_metadata_of_a_search_without_scores_says_so() -> None:
    found = search_metadata(search(0, 12, has_evidence=False))

    assert unescape(found["verdict"]) == "No trial has a score, so there is no winner to test."
    assert "history" not in found


def test_markdown_shows_names_as_text() -> None:
    hostile = HOSTILE + "\n# [x](javascript:1) | `y` **z**"
    found = search_metadata(named_search(hostile))

    for name in ("verdict", "best_trials", "importance"):
        assert "<" not in found[name]
        assert "](" not in found[name]
        assert "\n#" not in found[name]
        assert "**z" not in found[name]
    # Cells stay cells: a bar in a name does not begin another one.
    assert {line.count("|") for line in found["best_trials"].splitlines()} == {4}
