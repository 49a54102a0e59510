"""Looking through files before anything of them is stored.

An import takes files one after the other; a file that can't be read would leave those before it stored. What a
person names in one command is looked through first, so that a mistake in the last file changes nothing.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.ingest.candle_files import read_candle_file
from quantbot_pipeline.storage.protocols import StateStore
from quantbot_pipeline.workflows.find_files import expand_files
from quantbot_pipeline.workflows.find_files import find_candle_files as find_candle_files
from quantbot_pipeline.workflows.import_alerts import ALERT_SUFFIXES, AlertImportOptions
from quantbot_pipeline.workflows.import_candles import (
    CandleImportOptions,
    file_sha256,
    token_months_of,
)
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.token_months import month_of


def find_alert_files(paths: Iterable[Path]) -> list[Path]:
    """Return the alert files among `paths` and in the folders among them, each once.

    Raises:
        DataError: a path does not exist, or a folder holds no alert file.
    """
    return _each_once(expand_files(paths, ALERT_SUFFIXES))


def check_candle_files(
    paths: Sequence[Path],
    state: StateStore,
    *,
    first_month: str,
    options: CandleImportOptions | None = None,
    on_progress: ProgressListener = no_progress,
) -> None:
    """Read candle files that are not imported yet, and refuse those that can't be imported.

    Args:
        paths: Candle files.
        state: Where imports are recorded.
        first_month: First month, `YYYY-MM`, that has a partition.
        options: What the files' columns do not say.
        on_progress: Told after each file.

    Raises:
        DataError: a file can't be read.
        ConfigError: a file has candles before `first_month`.
    """
    options = options or CandleImportOptions()
    for position, path in enumerate(paths, start=1):
        if state.find_import("candles", file_sha256(path), options.key) is None:
            file = read_candle_file(
                path, chain=options.chain, token=options.token, interval=options.interval, timezone=options.timezone
            )
            _refuse_early(path, "candles", (key.month for key in token_months_of(file.candles)), first_month)
        on_progress(position, len(paths), path.name)


def check_alert_files(
    paths: Sequence[Path],
    *,
    options: AlertImportOptions | None = None,
    first_month: str | None = None,
    on_progress: ProgressListener = no_progress,
) -> None:
    """Read alert files, and refuse those that can't be imported.

    Args:
        paths: Alert files.
        options: What the files do not say themselves.
        first_month: First month, `YYYY-MM`, that alerts may be of; any without it.
        on_progress: Told after each file.

    Raises:
        DataError: a file can't be read.
        ConfigError: a file has alerts before `first_month`.
    """
    options = options or AlertImportOptions()
    for position, path in enumerate(paths, start=1):
        file = options.read(path)
        if first_month is not None:
            _refuse_early(path, "alerts", (month_of(alert.alert_timestamp) for alert in file.alerts), first_month)
        on_progress(position, len(paths), path.name)


def _refuse_early(path: Path, what: str, months: Iterable[str], first_month: str) -> None:
    earliest = min(months, default=first_month)
    if earliest < first_month:
        raise ConfigError(
            f"{path}: found {what} of {earliest}; allowed are months from {first_month} on: set "
            f"QUANTBOT_FIRST_MONTH={earliest}, or leave those rows out; nothing was stored"
        )


def _each_once(files: Iterable[Path]) -> list[Path]:
    return list(dict.fromkeys(files))
