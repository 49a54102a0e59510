"""Help texts: written as wrapped paragraphs in the source, shown at the width of the terminal."""

import typer
from typer.core import TyperGroup, TyperOption


def flowing(text: str) -> str:
    """Return a text whose paragraphs are one line each, for the terminal to wrap.

    Lines that are indented, such as examples and lists, stay lines of their own.

    Args:
        text: Paragraphs with blank lines between them.
    """
    return "\n\n".join(_flowing_paragraph(paragraph) for paragraph in text.strip().split("\n\n"))


def _flowing_paragraph(paragraph: str) -> str:
    lines: list[str] = []
    for line in paragraph.splitlines():
        if line.startswith("  ") or not lines or lines[-1].startswith("  "):
            lines.append(line)
        else:
            lines[-1] += f" {line}"
    return "\n".join(lines)


def hide_types_of_flags(group: TyperGroup) -> TyperGroup:
    """Return a group of commands, changed so that help names no type of options that take no value."""
    for command in (group, *group.commands.values()):
        if isinstance(command, TyperGroup) and command is not group:
            hide_types_of_flags(command)
            continue
        for parameter in command.get_params(typer.Context(command)):
            if isinstance(parameter, TyperOption) and parameter.is_flag:
                parameter.metavar = ""
    return group
