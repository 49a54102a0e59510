"""Looking through files before anything of them is stored.

An import takes files one after the other; a file that can't be read would leave those before it stored. What a
person names in one command is looked through first, so that a mistake in the last file changes nothing.
"""

from collections.abc import Iterable, Sequence
from pathlib import Path

from quantbot_pipeline.errors import ConfigError, InputError, QuantbotError
from quantbot_pipeline.storage.protocols import StateStore
from quantbot_pipeline.workflows.candle_bundles import CandleSource
from quantbot_pipeline.workflows.import_alerts import AlertImportOptions
from quantbot_pipeline.workflows.import_candles import CandleImportOptions, RefusalListener, find_known, months_of_batch
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.token_months import month_of

KEPT_ROWS = 4_000_000
"""Rows of files that were looked through and wait in memory for their import, some 70 bytes each; files beyond are
read a second time."""


def check_candle_files(
    paths: Sequence[Path],
    state: StateStore,
    *,
    first_month: str,
    options: CandleImportOptions | None = None,
    on_progress: ProgressListener = no_progress,
    on_refused: RefusalListener | None = None,
) -> list[CandleSource]:
    """Read candle files that are not imported yet, and refuse those that can't be imported.

    A file of at most `candle_bundles.BATCHES_LOOKED_AT` batches (a million rows of parquet) is looked through as a
    whole, a larger one up to there: what breaks later in it is found when the rows before are stored.

    Args:
        paths: Candle files.
        state: Where imports are recorded.
        first_month: First month, `YYYY-MM`, that has a partition.
        options: What the files' columns do not say.
        on_progress: Told after each file.
        on_refused: Told of a file that is refused, which is then left out; without it, the error is raised.

    Returns:
        The files that can be imported, for `import_candle_files`; what fits into memory is not read again.

    Raises:
        DataError: a file can't be read.
        ConfigError: a file has candles before `first_month`.
    """
    options = options or CandleImportOptions()
    sources = []
    for path in dict.fromkeys(paths):
        try:
            sources.append(CandleSource(path, options.for_reading))
        except InputError as error:
            _refuse(path, error, on_refused)
    keys, known = find_known(sources, state, options)
    usable = []
    kept_rows = 0
    for position, source in enumerate(sources, start=1):
        try:
            if keys[source.path] not in known:
                for checked in source.look():
                    months = (key.month for key in months_of_batch(checked))
                    _refuse_early(source.path, "candles", months, first_month)
            usable.append(source)
        except (InputError, ConfigError) as error:
            _refuse(source.path, error, on_refused)
        if kept_rows + source.kept_rows > KEPT_ROWS:
            source.let_go()
        kept_rows += source.kept_rows
        on_progress(position, len(sources), source.path.name)
    return usable


def _refuse(path: Path, error: QuantbotError, on_refused: RefusalListener | None) -> None:
    if on_refused is None:
        raise error
    on_refused(path, error)


def check_alert_files(
    paths: Sequence[Path],
    *,
    options: AlertImportOptions | None = None,
    first_month: str | None = None,
    on_progress: ProgressListener = no_progress,
    on_refused: RefusalListener | None = None,
) -> list[Path]:
    """Read alert files, and refuse those that can't be imported.

    Args:
        paths: Alert files.
        options: What the files do not say themselves.
        first_month: First month, `YYYY-MM`, that alerts may be of; any without it.
        on_progress: Told after each file.
        on_refused: Told of a file that is refused, which is then left out; without it, the error is raised.

    Returns:
        The files that can be imported.

    Raises:
        DataError: a file can't be read.
        ConfigError: a file has alerts before `first_month`.
    """
    options = options or AlertImportOptions()
    usable = []
    for position, path in enumerate(paths, start=1):
        try:
            file = options.read(path)
            if first_month is not None:
                _refuse_early(path, "alerts", (month_of(alert.alert_timestamp) for alert in file.alerts), first_month)
            usable.append(path)
        except (InputError, ConfigError) as error:
            _refuse(path, error, on_refused)
        on_progress(position, len(paths), path.name)
    return usable


def _refuse_early(path: Path, what: str, months: Iterable[str], first_month: str) -> None:
    earliest = min(months, default=first_month)
    if earliest < first_month:
        raise ConfigError(
            f"{path}: found {what} of {earliest}; allowed are months from {first_month} on: set "
            f"QUANTBOT_FIRST_MONTH={earliest}, or leave those rows out; nothing was stored"
        )
