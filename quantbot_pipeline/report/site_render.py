"""Renders the report's pages. A page is one file beside which lies the one script that draws charts.

A content security policy lets exactly the scripts run that carry the page's nonce, and nothing be loaded from a
network, so that text from an alert can do nothing even if it were not escaped. It is escaped: the templates escape
everything. The nonce is a digest of the page's own content: no text can hold the nonce of the page that it stands on.
"""

import base64
import hashlib
import json
from dataclasses import dataclass
from datetime import datetime
from functools import lru_cache
from typing import Any

from markupsafe import Markup
from plotly.offline import get_plotlyjs

from quantbot_pipeline import __version__
from quantbot_pipeline.report.page import page_environment, read_template_file
from quantbot_pipeline.report.site_content import Narrowing
from quantbot_pipeline.report.site_page import NARROWED_HOW, SitePage
from quantbot_pipeline.report.site_paths import ASSETS, SECTIONS
from quantbot_pipeline.report.tables import visible


@dataclass(frozen=True, slots=True)
class RenderedPage:
    """A page as it is written.

    Attributes:
        path: From the folder of the report.
        text: The HTML.
        digest: Of all that it shows but the time at which it was made: equal contents have equal digests.
    """

    path: str
    text: str
    digest: str


def render_site_page(
    page: SitePage, *, generated_at: datetime, narrowing: Narrowing, paths: frozenset[str]
) -> RenderedPage:
    """Return a page; equal contents give equal text.

    Args:
        page: What to render. Its texts may hold anything.
        generated_at: The time that the page carries.
        narrowing: What the report is narrowed to.
        paths: All pages of the report; a name whose page is not there leads nowhere.
    """
    environment = page_environment()
    root = "../" * page.path.count("/")
    figures = _shown_figures(dict(page.figures))
    common = {"root": root, "figure_names": set(figures), "figures": figures, "paths": paths}
    body = environment.get_template(page.template).render(**common, **page.named)
    layout = {
        "title": page.title,
        "section": page.section,
        "own_path": page.path,
        "sections": SECTIONS,
        "narrowed_to": narrowing.words(),
        "narrowed_how": NARROWED_HOW,
        "plotly_path": plotly_path(),
        "package_version": __version__,
    }
    own = (read_template_file("site.html.j2"), read_template_file("page.css"), read_template_file("page.js"))
    digest = hashlib.sha256(json.dumps([body, figures, {**layout, "root": root}, own], default=str).encode("utf-8"))
    text = environment.get_template("site.html.j2").render(
        **common,
        **layout,
        generated_at=generated_at,
        nonce=base64.b64encode(digest.digest()[:18]).decode("ascii"),
        body=Markup(body),  # noqa: S704 - rendered above, with everything in it escaped
        style=Markup(own[1]),  # noqa: S704 - own file
        script=Markup(own[2]),  # noqa: S704 - own file
    )
    return RenderedPage(page.path, text, digest.hexdigest())


@lru_cache(maxsize=1)
def plotly_path() -> str:
    """Return where the script is that draws charts; its name changes with its content, so that no old one is used."""
    return f"{ASSETS}/plotly-{hashlib.sha256(plotly_script().encode('utf-8')).hexdigest()[:12]}.js"


def plotly_script() -> str:
    """Return the script that draws charts."""
    script: str = get_plotlyjs()
    return script


def _shown_figures(value: Any) -> Any:
    """Return figures whose texts a browser can't act on."""
    if isinstance(value, str):
        return visible(value)
    if isinstance(value, dict):
        return {key: _shown_figures(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_shown_figures(part) for part in value]
    return value
