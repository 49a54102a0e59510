"""Where the files beside the package are: `sql/`, `dbt_like_views/`, `dagster.yaml`, `workspace.yaml`.

In a checkout (and an editable install) they are at the top level; a wheel installs them to `share/quantbot`.
"""

import sys
from pathlib import Path

from quantbot_pipeline.errors import ConfigError


def project_file(relative: str) -> Path:
    """Return the path of a file or folder that belongs to the project but not to the package.

    Args:
        relative: Path below the top level, such as `sql/postgres`.

    Raises:
        ConfigError: it is neither in the checkout nor installed.
    """
    checkout = Path(__file__).resolve().parents[1]
    root = checkout if (checkout / "pyproject.toml").exists() else Path(sys.prefix) / "share" / "quantbot"
    path = root / relative
    if not path.exists():
        raise ConfigError(f"project file {path} is missing; install the project again")
    return path
