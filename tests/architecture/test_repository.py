"""Rules about the repository itself."""

import re
import subprocess
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
_WITH_WORDS = {".py", ".j2", ".md", ".sql", ".toml", ".json", ".yaml", ".service", ".js"}


def _tracked_files() -> list[Path]:
    try:
        listed = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    except (OSError, subprocess.CalledProcessError):
        pytest.skip("not a git checkout")
    return [ROOT / name for name in listed.splitlines()]


def test_lock_holds_exact_versions_and_no_addresses() -> None:
    for line in (ROOT / "requirements.lock").read_text(encoding="utf-8").splitlines():
        assert re.fullmatch(r"[A-Za-z0-9._-]+==[A-Za-z0-9.+!]+", line), line


def test_lock_holds_every_dependency_of_the_project() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    named = {
        re.split(r"[\[=<>]", entry)[0] for entry in project["dependencies"] + project["optional-dependencies"]["dev"]
    }
    lock = (ROOT / "requirements.lock").read_text(encoding="utf-8").lower().replace("_", "-").splitlines()
    assert {name.lower() for name in named} <= {line.partition("==")[0] for line in lock}


def test_no_generated_or_large_file_is_tracked() -> None:
    for path in _tracked_files():
        if not path.exists():
            continue
        assert path.suffix not in {".parquet", ".pkl", ".skops", ".db", ".log", ".ipynb"}, path
        assert path.stat().st_size < 600_000, path


def test_test_files_of_folders_that_are_no_packages_have_names_of_their_own() -> None:
    # pytest imports these by their name alone: the second of a name is an error of the whole run.
    names = [
        path.name
        for path in _tracked_files()
        if path.name.startswith("test_") and path.exists() and not (path.parent / "__init__.py").exists()
    ]
    assert sorted({name for name in names if names.count(name) > 1}) == []


def test_every_page_of_the_manual_that_is_named_is_there() -> None:
    # Those of tests may be made up.
    files = [path for path in _tracked_files() if path.suffix in _WITH_WORDS and "tests" not in path.parts]
    named = {
        (page, path.relative_to(ROOT).as_posix())
        for path in files
        if path.exists()
        for page in re.findall(r"\bdocs/[\w./-]+?\.md\b", path.read_text(encoding="utf-8"))
    }
    named |= {
        (f"docs/{page}", path.name)
        for path in (ROOT / "docs").glob("*.md")
        for page in re.findall(r"\]\(([\w./-]+\.md)[)#]", path.read_text(encoding="utf-8"))
    }
    assert len({page for page, _ in named}) > 10
    assert sorted((page, where) for page, where in named if not (ROOT / page).resolve().is_file()) == []
