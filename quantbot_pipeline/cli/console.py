"""What all commands share: where text goes, how progress, tables and JSON are shown.

Standard output holds the result alone, so that it can be piped; progress, warnings and errors go to
standard error. Where standard error is no terminal, progress is a plain line now and then.
"""

import json
import math
import re
import sys
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Literal

from rich.console import Console
from rich.markup import escape

from quantbot_pipeline.cli import interrupts
from quantbot_pipeline.workflows.progress import ProgressListener

if TYPE_CHECKING:
    from collections.abc import Iterable

    from rich.console import ConsoleOptions, RenderableType
    from rich.progress import Progress
    from rich.segment import Segment
    from rich.table import Table

# Bytes and marks that a terminal acts on instead of showing them: escapes, text turned around, nothing visible at all.
# Joiners stay, which some scripts and emoji need.
_ACTED_ON = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff"
    "\ufff9-\ufffb\U000e0000-\U000e007f]"
)


def visible(text: str) -> str:
    r"""Return text of users and files as a terminal may show it: what it would act on becomes `\u202e` and the like."""
    return _ACTED_ON.sub(_escape, text)


def _escape(found: re.Match[str]) -> str:
    units = found[0].encode("utf-16-be", "surrogatepass")
    return "".join(f"\\u{units[k]:02x}{units[k + 1]:02x}" for k in range(0, len(units), 2))


class _VisibleConsole(Console):
    """A console on which nothing that is printed can move the cursor or turn text around, whatever it holds."""

    def render(self, renderable: "RenderableType", options: "ConsoleOptions | None" = None) -> "Iterable[Segment]":
        """Render as the console does, with all text made visible."""
        for segment in super().render(renderable, options):
            if segment.control or not _ACTED_ON.search(segment.text):
                yield segment
            else:
                yield segment._replace(text=visible(segment.text))

    def on_broken_pipe(self) -> None:
        """Leave it to the command that the reader has seen enough: Rich would end it as failed."""
        raise BrokenPipeError


output = _VisibleConsole(highlight=False)
messages = _VisibleConsole(stderr=True, highlight=False)

StageListener = Callable[[str, int, int], None]

# What takes less than this needs no progress display, which would only flicker.
QUIET_SECONDS = 2.0
NARROW = 60
"""Characters below which a table of more than three columns is not a table any more."""
_COLUMNS_WHERE_NARROW = 3
_NARROWEST_HEADING = 9
# What a dense table never breaks: numbers with their units or a mark, days and times, short words.
_NUMERIC = re.compile("[+\N{MINUS SIGN}-]?[\\d,.]+(e[+-]\\d+)?([ \N{NARROW NO-BREAK SPACE}]%)?( few)?|-|skipped")
_UNBROKEN = re.compile(r"\d{4}-\d\d-\d\d( \d\d:\d\d)?|\S{0,12}")
# A log of a long job stays short enough to be read.
_SECONDS_BETWEEN_LINES = 5.0


def print_json(document: Mapping[str, Any] | Sequence[Any]) -> None:
    """Print one JSON document to standard output; numbers that JSON does not know become null."""
    finite = _finite(document)
    # An escape is JSON as well, so that a terminal can be shown this too.
    text = visible(json.dumps(finite, indent=2, ensure_ascii=False, default=str, allow_nan=False))
    try:
        text.encode(sys.stdout.encoding or "utf-8")
    except UnicodeEncodeError:
        # A file name that is not UTF-8, or a terminal that is not: escapes are valid JSON everywhere.
        text = json.dumps(finite, indent=2, default=str, allow_nan=False)
    sys.stdout.write(text + "\n")


def _finite(value: Any) -> Any:
    if isinstance(value, float):
        return value if math.isfinite(value) else None
    if isinstance(value, Mapping):
        return {key: _finite(part) for key, part in value.items()}
    if isinstance(value, list | tuple):
        return [_finite(part) for part in value]
    return value


def print_line(text: str) -> None:
    """Print a result line as it is: no markup, never broken, so that paths can be copied."""
    output.print(text, markup=False, soft_wrap=True)


def print_error(text: str) -> None:
    """Print an error to standard error."""
    messages.print(f"[bold red]error:[/] {escape(text)}", soft_wrap=True)


def print_warning(text: str) -> None:
    """Print a warning to standard error."""
    messages.print(f"[bold yellow]warning:[/] {escape(text)}", soft_wrap=True)


def print_rows(title: str, rows: Sequence[Mapping[str, Any]], *, if_none: str = "none", is_dense: bool = False) -> None:
    """Print rows that have the same columns as a table, or a sentence when there are none.

    Args:
        title: What stands above it.
        rows: What to print.
        if_none: The sentence.
        is_dense: Without lines between the columns, numbers never broken: for many columns.
    """
    if rows and output.width < NARROW and len(rows[0]) > _COLUMNS_WHERE_NARROW:
        # A table would break every word; each row is a paragraph instead.
        from rich.padding import Padding
        from rich.text import Text

        output.print(Text(visible(title), style="bold"))
        for row in rows:
            output.print()
            for name, value in row.items():
                output.print(Padding(Text(f"{name}: {cell_text(value)}"), (0, 0, 0, 2)))
    elif rows:
        output.print(rows_table(title, rows, is_dense=is_dense))
    else:
        print_line(if_none)


def rows_table(title: str, rows: Sequence[Mapping[str, Any]], *, is_dense: bool = False) -> "Table":
    """Return a table of rows that have the same columns; numbers are right-aligned."""
    from rich import box
    from rich.table import Table
    from rich.text import Text

    table = Table(title=Text(visible(title)), title_justify="left", title_style="bold", header_style="bold")
    if is_dense:
        table.box, table.pad_edge, table.padding = box.SIMPLE_HEAD, False, (0, 1, 0, 0)
    for name in rows[0] if rows else ():
        if is_dense:
            texts = [cell_text(row[name]) for row in rows]
            is_numeric = all(_NUMERIC.fullmatch(text) for text in texts)
            is_whole = is_numeric or all(_UNBROKEN.fullmatch(text) for text in texts)
            justify: Literal["left", "right"] = "right" if is_numeric else "left"
            table.add_column(name, justify=justify, overflow="fold", no_wrap=is_whole)
            continue
        is_number = any(isinstance(row[name], int | float) and not isinstance(row[name], bool) for row in rows)
        # Words are broken where they must be: an ellipsis would lose what a reader wants to copy. A column never gets
        # narrower than the longest word of its heading, up to a width, for headings in single letters say nothing.
        narrowest = min(max(map(len, name.split()), default=1), _NARROWEST_HEADING)
        table.add_column(name, justify="right" if is_number else "left", overflow="fold", min_width=narrowest)
    for row in rows:
        table.add_row(*(Text(cell_text(value)) for value in row.values()))
    return table


def cell_text(value: Any) -> str:
    """Return a value as a cell of a table shows it."""
    if value is None:
        return "-"
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, int):
        return f"{value:,}"
    if isinstance(value, float):
        return f"{value:.4g}"
    return visible(str(value))


@contextmanager
def waiting(description: str) -> Iterator[Callable[[str], None]]:
    """Show what is waited for, once it takes longer than a moment; yields a function that says what it is now."""
    display = messages.status(f"{escape(description)} …")
    said = description
    is_shown, is_done = threading.Event(), threading.Event()

    def show_later() -> None:
        if not is_done.wait(QUIET_SECONDS):
            is_shown.set()
            if messages.is_terminal:
                display.start()
            else:
                messages.print(f"{said} …", markup=False, soft_wrap=True)

    def tell(message: str) -> None:
        nonlocal said
        if message.startswith("note: "):
            messages.print(message, markup=False, soft_wrap=True)
            return
        if message == said:
            return
        said = message
        display.update(f"{escape(message)} …")
        if is_shown.is_set() and not messages.is_terminal:
            messages.print(f"{message} …", markup=False, soft_wrap=True)

    thread = threading.Thread(target=show_later, daemon=True)
    thread.start()
    try:
        yield tell
    finally:
        is_done.set()
        thread.join()
        display.stop()


@contextmanager
def progress_bar(description: str) -> Iterator[ProgressListener]:
    """Show one bar while a workflow runs; yields the listener to give to it."""
    with progress_stages() as on_stage:

        def listen(done: int, total: int, message: str) -> None:  # noqa: ARG001 - the bar has no room for it
            on_stage(description, done, total)

        yield listen


@contextmanager
def progress_stages() -> Iterator[StageListener]:
    """Show one bar per stage while a job runs; yields a function of stage, units done and units in all.

    The bars vanish when the job is done. Without a terminal, a line is printed when a stage is done that took
    longer than a moment, and now and then before.
    """
    if not messages.is_terminal:
        plain = _PlainProgress(time.monotonic())

        def on_plain_stage(name: str, done: int, total: int) -> None:
            interrupts.check()
            plain(name, done, total)

        yield on_plain_stage
        return
    with _bars() as display:
        tasks: dict[str, Any] = {}

        def on_stage(name: str, done: int, total: int) -> None:
            interrupts.check()
            if name not in tasks:
                tasks[name] = display.add_task(escape(name), total=total)
            display.update(tasks[name], completed=done, total=total)

        yield on_stage


class _PlainProgress:
    """Lines of progress for logs and pipes."""

    def __init__(self, began_at: float) -> None:
        self._began: dict[str, float] = {}
        self._done: set[str] = set()
        self._spoke_at = began_at

    def __call__(self, name: str, done: int, total: int) -> None:
        now = time.monotonic()
        # A stage whose beginning was not told began with the job.
        began = self._began.setdefault(name, now if done == 0 else self._spoke_at)
        if name in self._done:
            return
        if done >= total:
            self._done.add(name)
            is_due = now - began >= QUIET_SECONDS
        else:
            is_due = now - max(began, self._spoke_at) >= _SECONDS_BETWEEN_LINES
        if is_due:
            self._spoke_at = now
            messages.print(f"{name}: {done:,} of {total:,} after {now - began:.0f} s", markup=False, soft_wrap=True)


def _bars() -> "Progress":
    from rich.progress import BarColumn, MofNCompleteColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    return Progress(
        SpinnerColumn(),
        TextColumn("{task.description}"),
        BarColumn(bar_width=30),
        MofNCompleteColumn(),
        TimeElapsedColumn(),
        console=messages,
        transient=True,
    )
