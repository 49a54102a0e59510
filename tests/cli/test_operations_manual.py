"""Manuals and messages: every command in them is one that the program takes, and a home lives as the manual says."""

import ast
import os
import re
import shlex
import subprocess
import sys
import tempfile
from functools import lru_cache
from pathlib import Path

import click
import pytest
import typer

from quantbot_pipeline.cli.app import build_app

ROOT = Path(__file__).parents[2]
OPERATIONS = ROOT / "docs" / "operations.md"
MANUALS = (ROOT / "README.md", *sorted((ROOT / "docs").glob("*.md")), *sorted((ROOT / "deploy").glob("*.md")))
CODE = ROOT / "quantbot_pipeline"
QUANTBOT = Path(sys.executable).with_name("quantbot")


def _commands(page: Path) -> list[str]:
    """Return the command lines of `quantbot` in blocks of shell and in the text."""
    text = page.read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    found = re.findall(r"(?:^|bin/|&& )(quantbot (?!-)[^\n#&]+)", blocks, re.MULTILINE)
    return found + re.findall(
        r"`(quantbot [a-z][^`…]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL).replace("\n", " ")
    )


def _texts(path: Path) -> list[str]:
    """Return the texts of a module, a placeholder where values are put in, or the whole of another file."""
    text = path.read_text(encoding="utf-8")
    if path.suffix != ".py":
        return [text]
    found: list[str] = []
    parts: set[int] = set()
    # Outer nodes come before what they hold.
    for node in ast.walk(ast.parse(text)):
        if isinstance(node, ast.JoinedStr):
            parts |= {id(part) for part in node.values}
            found.append("".join(str(part.value) if isinstance(part, ast.Constant) else "X" for part in node.values))
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            found.append(node.value)
    return found


def _told_commands(path: Path) -> list[str]:
    """Return the command lines of `quantbot` that a file of the program tells people."""
    return [
        command
        for text in _texts(path)
        for command in (
            *re.findall(r"(?:'|`|<code>)(quantbot [a-z-]+[^'`<…|]*)", text),
            *re.findall(r"(?:: |, |&& )(quantbot [a-z-]+\b[^'`<,;…\n]*)", text),
            # Examples, which may hold what is quoted.
            *re.findall(r"^ +(quantbot [a-z-]+\b[^&\n]*)", text, re.MULTILINE),
        )
    ]


@lru_cache
def _program() -> click.Command:
    return typer.main.get_command(build_app())  # type: ignore[return-value]  # one of typer's own classes


def _check(line: str) -> None:
    command = _program()
    words = shlex.split(line.replace("\\[", "["), comments=True)[1:]
    context = None
    while (inner := getattr(command, "commands", {}).get(words[0] if words else None)) is not None:
        context = click.Context(command, info_name=command.name, parent=context)  # type: ignore[arg-type]
        command, words = inner, words[1:]
    options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
    for word in words[: words.index("--") if "--" in words else None]:
        if word.startswith("-"):
            assert word.split("=")[0] in options | {"--help"}, line
    # A group of commands may list things by itself.
    is_group = bool(getattr(command, "commands", None))
    assert not (is_group and words and not words[0].startswith("-")), f"{line}: {words[0]} is no command"
    assert context is not None, line


@pytest.mark.parametrize("page", MANUALS, ids=lambda page: page.name)
def test_every_command_of_a_manual_is_one_that_the_program_takes(page: Path) -> None:
    commands = _commands(page)
    assert commands or page.name not in ("README.md", OPERATIONS.name)
    for line in commands:
        _check(line)


def test_every_command_that_messages_and_pages_tell_is_one_that_the_program_takes() -> None:
    told = {
        (command, path.name)
        for path in CODE.rglob("*")
        if path.suffix in (".py", ".j2", ".js")
        for command in _told_commands(path)
    }
    assert len(told) > 200
    wrong = []
    for command, name in sorted(told):
        try:
            _check(command)
        except (AssertionError, ValueError) as error:
            wrong.append(f"{name}: {str(error).partition(chr(10))[0]}")
    assert not wrong, "\n".join(wrong)


def test_a_command_that_does_not_exist_is_found(tmp_path: Path) -> None:
    page = tmp_path / "operations.md"
    page.write_text("```sh\nquantbot backup --fast there # now\n```\nor `quantbot vanish`\n")
    assert _commands(page) == ["quantbot backup --fast there ", "quantbot vanish"]
    for line in _commands(page):
        page.write_text(f"`{line.strip()}`")
        with pytest.raises(AssertionError):
            test_every_command_of_a_manual_is_one_that_the_program_takes(page)
    module = tmp_path / "module.py"
    module.write_text("why = f\"nothing is there; 'quantbot backfill --strategy {name}' \" 'makes it'\n")
    assert _told_commands(module) == ["quantbot backfill --strategy X"]
    with pytest.raises(AssertionError, match="--strategy X"):
        _check(_told_commands(module)[0])


@pytest.mark.deep
@pytest.mark.server
@pytest.mark.timeout(900)
def test_a_home_lives_as_the_manual_says() -> None:
    """Start, work, back up, upgrade, restore, roll back, stop: the blocks of the manual, line by line."""
    text = OPERATIONS.read_text(encoding="utf-8")
    blocks = dict(re.findall(r"^## ([^\n]+)\n+```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL))
    with tempfile.TemporaryDirectory(prefix="quantbot-manual-") as folder:
        base = Path(folder)
        environment = {name: value for name, value in os.environ.items() if not name.startswith("QUANTBOT_")} | {
            "PATH": f"{QUANTBOT.parent}:{os.environ['PATH']}",
            "QUANTBOT_HOME": str(base / "home"),
            "BACKUPS": str(base / "backups"),
            "RESTORED": str(base / "restored"),
        }

        def run(script: str, home: str = "home") -> str:
            answer = subprocess.run(
                ["bash", "-euc", script],
                env=environment | {"QUANTBOT_HOME": str(base / home)},
                cwd=base,
                capture_output=True,
                text=True,
                check=False,
            )
            assert answer.returncode == 0, (script, answer.stdout, answer.stderr)
            return answer.stdout

        try:
            run("quantbot demo --json")
            run(blocks["Start and stop"])
            run(blocks["Back up and restore"])
            assert "rules hold" in run("quantbot verify", home="restored")
            run('cd "$BACKUPS/monday" && sha256sum --check --quiet SHA256SUMS')
            # The new version is the one that runs.
            run(blocks["Upgrading"].replace("git pull && make install", ":"))
            run('quantbot restore "$BACKUPS/before-upgrade" --force')
            assert "rules hold" in run("quantbot verify")
        finally:
            run("quantbot down")
            run("quantbot down", home="restored")
