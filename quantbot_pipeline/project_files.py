"""Where the files beside the package are: `sql/`, `dbt_like_views/`, `dagster.yaml`, `workspace.yaml`.

In a checkout (and an editable install) they are at the top level; a wheel carries them in `_project/`.
"""

from pathlib import Path

from quantbot_pipeline.errors import ConfigError


def project_file(relative: str) -> Path:
    """Return the path of a file or folder that belongs to the project but not to the package.

    Args:
        relative: Path below the top level, such as `sql/postgres`.

    Raises:
        ConfigError: it is neither in the wheel nor in the checkout.
    """
    package = Path(__file__).resolve().parent
    candidates = (package / "_project" / relative, package.parent / relative)
    for candidate in candidates:
        if candidate.exists():
            return candidate
    looked = " and ".join(str(candidate) for candidate in candidates)
    raise ConfigError(f"project file {relative!r} is missing: looked at {looked}; install the project again")
