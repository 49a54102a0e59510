"""What `quantbot` runs: puts the command groups together and answers errors with one message."""

import io
import logging
import os
import sys
import tempfile
from collections.abc import Sequence
from pathlib import Path

import typer
from typer.exceptions import TyperException

from quantbot_pipeline import __version__
from quantbot_pipeline.cli import (
    backfills,
    backup,
    bench,
    callers,
    calls,
    candles,
    demo,
    features,
    fetch,
    garbage,
    ingest,
    interrupts,
    lookahead,
    migrations,
    models,
    optimization,
    quarantine,
    reports,
    runs,
    sample,
    scores,
    servers,
    simulations,
    strategies,
    tokens,
    trade,
    trades,
    verify,
    views,
)
from quantbot_pipeline.cli.console import messages, print_error
from quantbot_pipeline.cli.help_text import flowing, hide_types_of_flags
from quantbot_pipeline.errors import ConfigError, QuantbotError, StorageError
from quantbot_pipeline.full_disks import describe_full_disk
from quantbot_pipeline.settings import load_settings

_HELP = flowing(
    """Research lab for people who trade on calls.

Takes candles and alerts, simulates declarative strategies on every call, searches parameters, trains models, and
shows the whole lineage in Dagster. Start with 'quantbot demo'.
"""
)

_EXIT_CODES = flowing(
    """Exit codes:
  0    done
  1    a check says no: status, migrate --check, views test, check-lookahead, drift --fail-on-drift
  2    an option, a file or a setting is wrong; nothing was stored of it
  3    a database or a server refused or lost something
  4    a run or a model could not be computed; the others are stored
  5    counts that must add up do not, or verify found a broken rule
  130  stopped by Ctrl-C; what was finished is stored, of files all or nothing

Results go to standard output, progress and messages to standard error. Servers, data, models and reports are in
the folder QUANTBOT_HOME, ./.quantbot without it.
"""
)

WRITES_NOTHING_BEFORE_ITS_END = frozenset(
    {"simulate", "check-lookahead", "bench", "strategies", "runs", "trades", "trade", "tokens"}
)
"""Commands that have stored nothing when they are stopped."""


def _print_version(*, is_wanted: bool) -> None:
    if is_wanted:
        typer.echo(__version__)
        raise typer.Exit


def build_app() -> typer.Typer:
    """Return the command with all its groups."""
    app = typer.Typer(
        name="quantbot",
        help=_HELP,
        epilog=_EXIT_CODES,
        no_args_is_help=True,
        pretty_exceptions_enable=False,
        add_completion=False,
    )

    @app.callback()
    def _options(
        context: typer.Context,
        *,
        version: bool = typer.Option(  # noqa: ARG001 - its callback does it
            False,
            "--version",
            callback=lambda value: _print_version(is_wanted=value),
            is_eager=True,
            help="Print the version.",
        ),
    ) -> None:
        """Options before the command."""
        if context.invoked_subcommand not in WRITES_NOTHING_BEFORE_ITS_END:
            interrupts.say_when_stopped(interrupts.WORK_STORED)

    for group in (
        demo,
        servers,
        migrations,
        sample,
        ingest,
        fetch,
        candles,
        quarantine,
        callers,
        calls,
        strategies,
        simulations,
        lookahead,
        backfills,
        optimization,
        features,
        models,
        scores,
        runs,
        trades,
        trade,
        tokens,
        reports,
        views,
        verify,
        garbage,
        backup,
        bench,
    ):
        group.register(app)
    return app


def run(arguments: Sequence[str] | None) -> int:
    """Run the command and return its exit code.

    A mistake of the user becomes one message and its exit code, never a stack trace; what remains is a fault of
    the program and keeps its trace.
    """
    if isinstance(sys.stdout, io.TextIOWrapper):
        # A file name that is not UTF-8 must not end a command that has done its work.
        sys.stdout.reconfigure(errors="backslashreplace")
    # They log what they raise too; without a handler, Python prints that above the one message.
    for driver in ("clickhouse_connect", "psycopg"):
        logging.getLogger(driver).addHandler(logging.NullHandler())
    # Dagster tells of each attempt to reach Postgres; what comes of them is told once.
    logging.getLogger().addFilter(_is_no_retry)
    try:
        command = hide_types_of_flags(typer.main.get_group(build_app()))
        code = command.main(args=arguments, prog_name="quantbot", standalone_mode=False)
        sys.stdout.flush()
    except TyperException as error:
        return _answer_usage(error)
    except QuantbotError as error:
        return _answer_error(error)
    except KeyboardInterrupt:
        code = interrupts.INTERRUPTED
    except BrokenPipeError:
        # The reader has seen enough, as in 'quantbot … | head'. Python would complain once more at its end.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    except Exception as error:
        if isinstance(error.__cause__, interrupts.Interrupted):
            # Python 3.11 wraps what is raised while it makes a class, as it does in most imports.
            interrupts.end(interrupts.INTERRUPTED)
            messages.print(interrupts.text_when_stopped(), soft_wrap=True)
            return interrupts.INTERRUPTED
        where = "standard output" if _is_output_lost() else None
        if (sentence := describe_full_disk(error, where=where, folders=_folders_written())) is not None:
            print_error(sentence)
            return StorageError.exit_code
        if not isinstance(error, OSError) or error.filename is None:
            raise
        print_error(f"{error.filename}: {error.strerror}")
        return 2
    if code == interrupts.INTERRUPTED:
        # Answered from here on: nothing that is freed now may raise it again.
        interrupts.end(code)
        messages.print(interrupts.text_when_stopped(), soft_wrap=True)
    return code if isinstance(code, int) else 0


def _answer_error(error: QuantbotError) -> int:
    """Answer an error of the project; one behind which a disk is that takes nothing more says which."""
    text = str(error)
    sentence = describe_full_disk(error, folders=_folders_written())
    if sentence is None:
        print_error(text)
        return error.exit_code
    is_said = "run it again" in text and any(word in text.lower() for word in ("space", "quota", "read-only"))
    print_error(text if is_said else f"{sentence} ({text})")
    return StorageError.exit_code


def _is_output_lost() -> bool:
    """Return whether what was printed can't be written, and see to it that Python does not try again at its end."""
    try:
        sys.stdout.flush()
    except OSError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return True
    return False


def _folders_written() -> list[Path]:
    """Return where a command writes, wherever else it does."""
    try:
        home = [load_settings().home]
    except ConfigError:
        home = []
    return [*home, Path(os.curdir), Path(tempfile.gettempdir()), Path("/dev/stdout")]


def _is_no_retry(record: logging.LogRecord) -> bool:
    return not str(record.msg).startswith("Retrying failed database")


def _answer_usage(error: TyperException) -> int:
    """Answer a wrong command line with one line; a command without its arguments has shown its help already."""
    text = " ".join(error.format_message().split()).rstrip(".").replace("Value error, ", "")
    if text:
        context = getattr(error, "ctx", None)
        command = context.command_path if context is not None else "quantbot"
        print_error(f"{text}{_found(error.__cause__, text)}; see '{command} --help'")
    return error.exit_code


def _found(cause: BaseException | None, text: str) -> str:
    """Return what was found on the command line, where the text does not say it."""
    from pydantic import ValidationError

    if not isinstance(cause, ValidationError):
        return ""
    found = repr(cause.errors()[0]["input"])
    return "" if found in text else f" (found {found})"
