"""Where the report's pages lie, from the folder of the report. No name becomes a path unchecked."""

import hashlib
import re

from quantbot_pipeline.report.site_content import CallerName, StrategyName, TokenName

INDEX = "index.html"
STRATEGIES = "strategies.html"
CALLERS = "callers.html"
RUNS = "runs.html"
TOKENS = "tokens.html"
SEARCHES = "searches.html"
MODELS = "models.html"
QUALITY = "quality.html"
ABOUT = "about.html"

SECTIONS = (
    (STRATEGIES, "Strategies"),
    (CALLERS, "Callers"),
    (RUNS, "Runs"),
    (TOKENS, "Tokens"),
    (SEARCHES, "Searches"),
    (MODELS, "Models"),
    (QUALITY, "Data quality"),
)
"""Pages that every page leads to, with their names."""

ASSETS = "assets"
"""Folder of the scripts that pages share."""

_READABLE_LENGTH = 40


def strategy_path(name: StrategyName) -> str:
    """Return where the page of a strategy version is."""
    return f"strategies/{_slug(*name)}.html"


def caller_path(name: CallerName) -> str:
    """Return where the page of a caller is."""
    return f"callers/{_slug(*name)}.html"


def token_path(name: TokenName) -> str:
    """Return where the page of a token is."""
    return f"tokens/{_slug(*name)}.html"


def run_path(run_id: int) -> str:
    """Return where the page of a run is."""
    return f"runs/{run_id}.html"


def search_path(job_id: int) -> str:
    """Return where the page of a parameter search is."""
    return f"searches/{job_id}.html"


def _slug(*parts: str) -> str:
    """Return letters, digits and hyphens that say what a name says, and a digest that no other name has."""
    # A byte that no text holds keeps ("a b", "c") apart from ("a", "b c").
    digest = hashlib.sha256(b"\xff".join(part.encode("utf-8", "surrogatepass") for part in parts)).hexdigest()[:10]
    readable = re.sub(r"[^a-z0-9]+", "-", "-".join(parts).lower()[: 4 * _READABLE_LENGTH])[:_READABLE_LENGTH].strip("-")
    return f"{readable}-{digest}" if readable else digest
