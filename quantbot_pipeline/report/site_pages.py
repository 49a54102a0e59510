"""Which pages the report has, but for those of runs, and what all of them are made by."""

import hashlib
from collections.abc import Iterator
from functools import lru_cache
from pathlib import Path

from quantbot_pipeline.report.site_content import SiteContent
from quantbot_pipeline.report.site_list_pages import (
    about_page,
    callers_page,
    index_page,
    models_page,
    quality_page,
    runs_page,
    searches_page,
    strategies_page,
    tokens_page,
)
from quantbot_pipeline.report.site_page import SitePage, paged_strategies, version_of
from quantbot_pipeline.report.site_paths import (
    ABOUT,
    INDEX,
    SECTIONS,
    caller_path,
    run_path,
    search_path,
    strategy_path,
    token_path,
)
from quantbot_pipeline.report.site_subject_pages import caller_page, search_page, strategy_page, token_page


def list_pages(content: SiteContent) -> Iterator[SitePage]:
    """Yield all pages but those of runs, which are collected one by one; the index comes last."""
    yield from (strategy_page(content, row) for row in paged_strategies(content))
    yield from (caller_page(content, name) for name in content.caller_pages)
    yield from (token_page(content, name) for name in content.token_pages)
    yield from (search_page(search) for search in content.search_pages)
    yield strategies_page(content)
    yield callers_page(content)
    yield runs_page(content)
    yield tokens_page(content)
    yield searches_page(content)
    yield models_page(content)
    yield quality_page(content)
    yield about_page(content)
    yield index_page(content)


def page_paths(content: SiteContent) -> frozenset[str]:
    """Return where all pages of the site are: names lead to those alone, a narrowed report has fewer."""
    return frozenset(
        [
            *(path for path, _ in SECTIONS),
            INDEX,
            ABOUT,
            *(strategy_path(version_of(row)) for row in paged_strategies(content)),
            *(caller_path(name) for name in content.caller_pages),
            *(token_path(name) for name in content.token_pages),
            *(run_path(run_id) for run_id in content.run_pages),
            *(search_path(search.job_id) for search in content.search_pages),
        ]
    )


@lru_cache(maxsize=1)
def pages_fingerprint() -> str:
    """Return a digest of everything that pages of runs are made by: pages that another version made are made anew."""
    folder = Path(__file__).parent
    digest = hashlib.sha256()
    for path in sorted([*folder.glob("*.py"), *(folder / "template").iterdir()]):
        digest.update(path.name.encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()
