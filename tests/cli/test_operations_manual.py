"""The operations manual: every command in it is one that the program takes, and the life of a home goes as it says."""

import os
import re
import shlex
import subprocess
import sys
import tempfile
from pathlib import Path

import click
import pytest
import typer

from quantbot_pipeline.cli.app import build_app

ROOT = Path(__file__).parents[2]
MANUALS = (ROOT / "docs" / "operations.md", ROOT / "deploy" / "README.md")
QUANTBOT = Path(sys.executable).with_name("quantbot")


def _commands(page: Path) -> list[str]:
    """Return the command lines of `quantbot` in blocks of shell and in the text."""
    text = page.read_text(encoding="utf-8")
    blocks = "".join(re.findall(r"^```sh\n(.*?)^```", text, re.MULTILINE | re.DOTALL)).replace("\\\n", " ")
    found = re.findall(r"(?:^|bin/|&& )(quantbot (?!-)[^\n#&]+)", blocks, re.MULTILINE)
    return found + re.findall(
        r"`(quantbot [a-z][^`…]*)`", re.sub(r"```.*?```", "", text, flags=re.DOTALL).replace("\n", " ")
    )


@pytest.mark.parametrize("page", MANUALS, ids=lambda page: page.name)
def test_every_command_of_the_manual_is_one_that_the_program_takes(page: Path) -> None:
    commands = _commands(page)
    assert commands
    for line in commands:
        command: click.Command = typer.main.get_command(build_app())  # type: ignore[assignment]
        words = shlex.split(line)[1:]
        context = None
        while (inner := getattr(command, "commands", {}).get(words[0] if words else None)) is not None:
            context = click.Context(command, info_name=command.name, parent=context)  # type: ignore[arg-type]
            command, words = inner, words[1:]
        options = {name for parameter in command.params for name in (*parameter.opts, *parameter.secondary_opts)}
        for word in words:
            if word.startswith("-"):
                assert word.split("=")[0] in options | {"--help"}, line
        assert not (getattr(command, "commands", None) and words), f"{line}: {words[0]} is no command"
        assert context is not None, line


def test_a_command_that_does_not_exist_is_found(tmp_path: Path) -> None:
    page = tmp_path / "operations.md"
    page.write_text("```sh\nquantbot backup --fast there # now\n```\nor `quantbot vanish`\n")
    assert _commands(page) == ["quantbot backup --fast there ", "quantbot vanish"]
    for line in _commands(page):
        page.write_text(f"`{line.strip()}`")
        with pytest.raises(AssertionError):
            test_every_command_of_the_manual_is_one_that_the_program_takes(page)


@pytest.mark.deep
@pytest.mark.server
@pytest.mark.timeout(900)
def test_a_home_lives_as_the_manual_says() -> None:
    """Start, work, back up, upgrade, restore, roll back, stop: the blocks of the manual, line by line."""
    text = MANUALS[0].read_text(encoding="utf-8")
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
