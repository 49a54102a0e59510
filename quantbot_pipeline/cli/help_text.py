"""Help texts: written as wrapped paragraphs in the source, shown at the width of the terminal."""


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
