"""The report as one HTML file that needs nothing else: no network, no fonts, no server.

Plotly's script is carried along, gzipped and in base64 (2 MB in place of 5), and unpacked by the browser.
A content security policy lets exactly the page's own two scripts run and nothing be loaded, so that text
from an alert can do nothing even if it were not escaped. It is escaped: the template escapes everything.
"""

import base64
import gzip
import hashlib
import math
import os
import tempfile
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import cache, lru_cache
from pathlib import Path
from typing import Any

from jinja2 import Environment, FileSystemLoader, StrictUndefined
from markupsafe import Markup
from plotly.offline import get_plotlyjs

from quantbot_pipeline.report.search_content import shortened
from quantbot_pipeline.report.search_words import SEARCH_FILTERS
from quantbot_pipeline.report.tables import Interval, interval_ends, visible

_TEMPLATE_FOLDER = Path(__file__).parent / "template"
_NO_VALUE = "\N{EN DASH}"
_MINUS = "\N{MINUS SIGN}"
_THIN_SPACE = "\N{NARROW NO-BREAK SPACE}"


def render_page(template: str, figures: Mapping[str, Any], **named: Any) -> str:
    """Return a page of this package as one file, with its style, its script and Plotly in it.

    Args:
        template: Name of the template.
        figures: Plotly documents by name; each has a place of id `figure-<name>` in the template.
        named: What else the template shows.
    """
    script = read_template_file("page.js")
    plotly_source = get_plotlyjs()
    allowed = f"'sha256-{_digest(script)}' 'sha256-{_digest(plotly_source)}'" if figures else "'none'"
    return (
        page_environment()
        .get_template(template)
        .render(
            figures=figures,
            allowed_scripts=Markup(allowed),  # noqa: S704 - two digests in base64
            style=Markup(read_template_file("page.css")),  # noqa: S704 - own file
            script=Markup(script),  # noqa: S704 - own file
            plotly=Markup(_packed(plotly_source)) if figures else "",  # noqa: S704 - base64
            **named,
        )
    )


def write_page(text: str, path: Path) -> Path:
    """Write a page, whole or not at all, and return its path; its folder is made when it is missing."""
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=f".{path.name}.")
    partial = Path(name)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            file.flush()
            os.fsync(file.fileno())
        # A temporary file is the owner's alone; a report may be read by whoever may read the folder.
        partial.chmod(0o644)
        partial.replace(path)
    except BaseException as error:
        partial.unlink(missing_ok=True)
        if isinstance(error, OSError) and error.errno and error.filename is None:
            # A write that fails names no file; whoever tells of a full disk wants to say which.
            error.filename = str(path)
        raise
    return path


@cache
def read_template_file(name: str) -> str:
    """Return a file beside the templates, such as the style of all pages."""
    return (_TEMPLATE_FOLDER / name).read_text(encoding="utf-8")


def _digest(text: str) -> str:
    return base64.b64encode(hashlib.sha256(text.encode("utf-8")).digest()).decode("ascii")


@lru_cache(maxsize=1)
def _packed(text: str) -> str:
    return base64.b64encode(gzip.compress(text.encode("utf-8"), compresslevel=9, mtime=0)).decode("ascii")


@lru_cache(maxsize=1)
def page_environment() -> Environment:
    """Return what renders templates: everything escaped, nothing undefined, hidden characters made visible."""
    environment = Environment(
        loader=FileSystemLoader(_TEMPLATE_FOLDER),
        autoescape=True,
        undefined=StrictUndefined,
        finalize=_visible,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters.update(
        whole=_whole,
        percent=_percent,
        share=_share,
        number=_number,
        price=_price,
        moment=_moment,
        day=_day,
        sign=_sign,
        duration=_duration,
        interval_bar=_interval_bar,
        words=_words,
        sentence=_sentence,
        direction=_direction,
        multiple=_multiple,
        instant=_instant,
        span=format_span,
        short=shortened,
        quality_class=_quality_class,
        **SEARCH_FILTERS,
    )
    return environment


def _is_missing(value: float | None) -> bool:
    return value is None or not math.isfinite(value)


def _whole(value: int | None) -> str:
    return _NO_VALUE if value is None else f"{value:,}".replace(",", _THIN_SPACE).replace("-", _MINUS)


def _percent(fraction: float | None) -> str:
    """Return a signed percentage; without decimals from 1000 % on, where they say nothing."""
    if fraction is None or _is_missing(fraction):
        return _NO_VALUE
    digits = 0 if abs(fraction) >= 10 else 1
    if round(fraction * 100, digits) == 0:
        return f"0.0{_THIN_SPACE}%"
    text = f"{fraction * 100:+,.{digits}f}".replace(",", _THIN_SPACE).replace("-", _MINUS)
    return f"{text}{_THIN_SPACE}%"


def _multiple(value: float | None) -> str:
    """Return a signed number of capitals."""
    if value is None or _is_missing(value):
        return _NO_VALUE
    return f"{value:+,.2f}".replace(",", _THIN_SPACE).replace("-", _MINUS)


def _words(text: str) -> str:
    return text.replace("_", " ")


def _direction(metric: str) -> str:
    """Return which way a metric is better, where its name is a known one."""
    if metric in {"brier", "log_loss"}:
        return "lower is better"
    return "higher is better" if metric.endswith("auc") else ""


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:].rstrip('.')}."


def _share(fraction: float | None) -> str:
    """Return a share in [0, 1] as a percentage without a sign."""
    if fraction is None or _is_missing(fraction):
        return _NO_VALUE
    return f"{fraction * 100:.0f}{_THIN_SPACE}%"


def _number(value: float | None) -> str:
    if value is None or _is_missing(value):
        return _NO_VALUE
    return f"{value:.4g}".replace("-", _MINUS)


def _price(value: float | None) -> str:
    if value is None or _is_missing(value):
        return _NO_VALUE
    return f"{value:.6g}"


def _moment(at: datetime | None) -> str:
    return _NO_VALUE if at is None else at.strftime("%Y-%m-%d %H:%M")


def _day(at: datetime | None) -> str:
    return _NO_VALUE if at is None else at.strftime("%Y-%m-%d")


def _sign(value: float | None) -> str:
    """Return the class that colours a number; the number carries its sign for those who see no colours."""
    # What is shown as 0.0 % is neither.
    if value is None or _is_missing(value) or abs(value) < 0.0005:
        return "even"
    return "gain" if value > 0 else "loss"


def _duration(seconds: int) -> str:
    for size, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= size and seconds % size == 0:
            return f"{seconds // size}{_THIN_SPACE}{unit}"
    return f"{seconds}{_THIN_SPACE}s"


def _interval_bar(interval: Interval, scale: float) -> Markup:
    """Return a small drawing of the mean and its interval around zero, 120 by 14."""
    low, high = interval_ends(interval)
    if interval.mean is None or low is None or high is None or scale <= 0:
        return Markup("")

    def x(value: float) -> float:
        return round(60 + 56 * max(-1.0, min(1.0, value / scale)), 1)

    line = "" if interval.lower is None else f'<path d="M{x(low)} 7H{x(high)}" class="whisker"/>'
    return Markup(  # noqa: S704 - numbers only
        '<svg class="bar" width="120" height="14" viewBox="0 0 120 14" aria-hidden="true">'
        f'<path d="M60 0V14" class="zero"/>{line}<circle cx="{x(interval.mean)}" cy="7" r="3.5" '
        f'class="{_sign(interval.mean)}"/></svg>'
    )


def _instant(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%d %H:%M:%S")


def format_span(minutes: float) -> str:
    """Return a length of time in the unit in which it is a small number."""
    for size, unit in ((1440, "d"), (60, "h")):
        if minutes >= 2 * size:
            return f"{minutes / size:.1f}{_THIN_SPACE}{unit}"
    return f"{minutes:.0f}{_THIN_SPACE}min"


def _quality_class(verdict: str) -> str:
    """Return the class that colours a verdict on candles, which says the same in words."""
    return verdict if verdict in {"good", "gaps", "stale", "sparse"} else "unknown"


def _visible(value: Any) -> Any:
    return visible(value) if isinstance(value, str) and not isinstance(value, Markup) else value
