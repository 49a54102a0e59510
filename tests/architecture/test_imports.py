"""The import rule of the architecture, held against the source of every module."""

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path(__file__).parents[2] / "quantbot_pipeline"
DRIVERS = {"psycopg", "psycopg_pool", "psycopg2", "clickhouse_connect", "chdb", "sqlalchemy"}
PURE_ROOMS = ("strategy", "engine", "optimization", "learning", "ingest", "sample")
OUTER_WORLD = re.compile(r"(^|\.)(now|utcnow|today)$|^time\.|^os\.(environ|getenv)")


def _modules(room: str) -> list[Path]:
    return sorted((PACKAGE / room).rglob("*.py"))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _top_level(names: Iterator[str]) -> set[str]:
    return {name.split(".")[0] for name in names}


def _rooms(path: Path) -> set[str]:
    return {name.split(".")[1] for name in _imported(path) if name.startswith("quantbot_pipeline.")}


def _clock_readings(path: Path) -> list[str]:
    found = []
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute):
            text = ast.unparse(node.func)
            if OUTER_WORLD.search(text):
                found.append(f"{path.name}:{node.lineno}: {text}")
    return found


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_pure_rooms_know_no_database_no_dagster_and_no_outer_room(room: str) -> None:
    forbidden_rooms = {"storage", "servers", "defs", "workflows", "cli", "report", "settings", "definitions"}
    for path in _modules(room):
        assert not _top_level(_imported(path)) & (DRIVERS | {"dagster"}), path
        assert not _rooms(path) & forbidden_rooms, path


@pytest.mark.parametrize("room", PURE_ROOMS)
def test_pure_rooms_read_neither_clock_nor_environment(room: str) -> None:
    for path in _modules(room):
        assert not _clock_readings(path), path


@pytest.mark.parametrize("room", ["storage", "servers", "workflows", "report"])
def test_inner_rooms_know_no_dagster(room: str) -> None:
    for path in _modules(room):
        assert "dagster" not in _top_level(_imported(path)), path


def test_sources_know_no_dagster_no_database_and_no_outer_room() -> None:
    """They ask other people's servers: what to ask for and where to store it is decided outside."""
    outer = {"storage", "servers", "defs", "workflows", "cli", "report", "settings", "definitions"}
    assert _modules("sources")
    for path in _modules("sources"):
        assert not _top_level(_imported(path)) & (DRIVERS | {"dagster"}), path
        assert not _rooms(path) & outer, path
        # The clock is given from outside, so that tests of waits need not wait.
        assert not _clock_readings(path), path


def test_only_sources_speak_http_to_the_outer_world() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.relative_to(PACKAGE).parts[0] != "sources":
            assert "httpx" not in _top_level(_imported(path)), path


def test_only_definitions_and_cli_import_defs() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0]
        if room not in {"defs", "cli", "definitions.py"}:
            assert "defs" not in _rooms(path), path


def test_only_defs_and_definitions_import_dagster() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        room = path.relative_to(PACKAGE).parts[0]
        if room not in {"defs", "definitions.py"}:
            assert "dagster" not in _top_level(_imported(path)), path


def test_environment_is_read_by_settings_alone() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        if path.name == "settings.py":
            continue
        text = path.read_text(encoding="utf-8")
        assert "os.getenv" not in text, path
        assert "environ.get" not in text, path


def test_every_room_says_what_lives_there() -> None:
    for path in sorted(PACKAGE.rglob("*.py")):
        assert ast.get_docstring(ast.parse(path.read_text(encoding="utf-8"))), path
