"""Coarse candles from fine ones, for any tokens and months, in statements of bounded size.

The work is done in ClickHouse; here it is shared out. No bucket reaches over a month's end (the longest interval is
a day, aligned to the epoch), so each month of each token can be resampled apart from all others.
"""

from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.errors import InputError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.storage.clickhouse_resampling import check_intervals
from quantbot_pipeline.storage.protocols import HistoryStore
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress
from quantbot_pipeline.workflows.token_months import TokenMonth, month_start, next_month

CANDLES_PER_STATEMENT = 3_000_000
"""Source candles of one statement at most, a single token-month aside: some 300 MB in the server."""

MONTHS_PER_STATEMENT = 90
"""ClickHouse refuses an insert of one block into more than 100 partitions."""


@dataclass(frozen=True, slots=True)
class SourceMonth:
    """One month of one token that has candles of the source interval.

    Attributes:
        key: Token and month.
        row_count: Stored rows; those that wait to be merged count twice.
        last_s: Open time of the month's last candle, seconds since the epoch.
    """

    key: TokenMonth
    row_count: int
    last_s: int


@dataclass(frozen=True, slots=True)
class Portion:
    """What one statement resamples: some tokens of a chain over neighbouring months.

    Attributes:
        chain: The chain.
        token_addresses: Addresses of the tokens, sorted.
        first_month: First month, `YYYY-MM`.
        end_month: First month that is not part of it.
        row_count: Source rows in it.
    """

    chain: str
    token_addresses: tuple[str, ...]
    first_month: str
    end_month: str
    row_count: int


@dataclass(frozen=True, slots=True)
class ResampledInterval:
    """What became of one target interval.

    Attributes:
        interval: Its name.
        candles_inserted: Candles that are new or changed.
        open_buckets: Series whose last bucket is not complete yet: left out, unless asked for.
    """

    interval: str
    candles_inserted: int
    open_buckets: int


@dataclass(frozen=True, slots=True)
class Resampling:
    """What was resampled.

    Attributes:
        source: Interval that was read.
        token_months: Token-months that have candles of it, among those asked for.
        source_rows: Their stored rows.
        intervals: What became of each target interval, in the order asked for.
    """

    source: str
    token_months: tuple[TokenMonth, ...]
    source_rows: int
    intervals: tuple[ResampledInterval, ...]


def resample_candles(
    history: HistoryStore,
    *,
    source: str,
    targets: Sequence[str],
    tokens: Collection[TokenKey] = (),
    months: Collection[str] = (),
    include_open: bool = False,
    on_progress: ProgressListener = no_progress,
) -> Resampling:
    """Make candles of each target interval from the source interval's; again changes nothing.

    Args:
        history: Where candles are.
        source: Interval that is read; no other contributes, so that no volume counts twice.
        targets: Intervals that are made, each a whole multiple of the source.
        tokens: Only these; all without any.
        months: Only these, `YYYY-MM`; all without any.
        include_open: Whether to make the bucket that ends after a series' last candle.
        on_progress: Told of each statement.

    Raises:
        InputError: an interval is unknown, no multiple of the source, or named twice.
    """
    for target in targets:
        check_intervals(source, target)
    if len(set(targets)) != len(targets) or not targets:
        raise InputError(f"intervals to make: found {', '.join(targets) or 'none'}; allowed is each one once")
    stored = [_source_month(row) for row in history.read("candles/find_series_months", interval=source).to_pylist()]
    wanted = [
        found
        for found in stored
        if (not tokens or found.key.token in tokens) and (not months or found.key.month in months)
    ]
    portions = list(share_out(wanted))
    inserted = dict.fromkeys(targets, 0)
    for position, portion in enumerate(portions):
        for number, target in enumerate(targets, start=1):
            inserted[target] += history.resample_candles(
                portion.chain,
                portion.token_addresses,
                int(month_start(portion.first_month).timestamp()),
                int(month_start(portion.end_month).timestamp()),
                source_interval=source,
                target_interval=target,
                include_open=include_open,
            )
            on_progress(position * len(targets) + number, len(portions) * len(targets), portion.first_month)
    touched = {found.key for found in wanted}
    last_candles = {found.key: found.last_s for found in sorted(stored, key=lambda found: found.key.month)}
    ends = {key.token: (key, last_s) for key, last_s in last_candles.items()}
    return Resampling(
        source=source,
        token_months=tuple(sorted(touched)),
        source_rows=sum(found.row_count for found in wanted),
        intervals=tuple(
            ResampledInterval(
                interval=target,
                candles_inserted=inserted[target],
                open_buckets=sum(key in touched and _is_open(last_s, source, target) for key, last_s in ends.values()),
            )
            for target in targets
        ),
    )


def share_out(
    found: Collection[SourceMonth], *, candles_per_statement: int = CANDLES_PER_STATEMENT
) -> Iterator[Portion]:
    """Yield portions that hold each source month once, as few as the bounds allow.

    A month of a chain that is too large is shared out by tokens; months that are small and follow each other are put
    together. A portion holds no month of a token that was not given: all tokens of a portion of several months
    are read in all of its months, and those given are all that were asked for.
    """
    by_month = sorted(found, key=lambda month: (month.key.token.chain, month.key.month, month.key.token.address))
    waiting: Portion | None = None
    for (chain, month), group in groupby(by_month, key=lambda one: (one.key.token.chain, one.key.month)):
        rows_of = {one.key.token.address: one.row_count for one in group}
        packs = list(_packs(rows_of, candles_per_statement))
        if len(packs) == 1:
            joined = _joined(waiting, chain, month, packs[0], candles_per_statement) if waiting else None
            if joined is None and waiting is not None:
                yield waiting
            waiting = joined or _portion(chain, month, packs[0])
            continue
        if waiting is not None:
            yield waiting
            waiting = None
        for pack in packs:
            yield _portion(chain, month, pack)
    if waiting is not None:
        yield waiting


def _packs(rows_of: Mapping[str, int], limit: int) -> Iterator[dict[str, int]]:
    pack: dict[str, int] = {}
    total = 0
    for address, row_count in rows_of.items():
        if pack and total + row_count > limit:
            yield pack
            pack, total = {}, 0
        pack[address] = row_count
        total += row_count
    yield pack


def _portion(chain: str, month: str, pack: Mapping[str, int]) -> Portion:
    return Portion(chain, tuple(sorted(pack)), month, next_month(month), sum(pack.values()))


def _joined(waiting: Portion, chain: str, month: str, pack: Mapping[str, int], limit: int) -> Portion | None:
    """Return the portion with one more month, or None where that would break a bound."""
    row_count = waiting.row_count + sum(pack.values())
    if waiting.chain != chain or waiting.end_month != month or row_count > limit:
        return None
    if _month_number(month) - _month_number(waiting.first_month) >= MONTHS_PER_STATEMENT:
        return None
    addresses = tuple(sorted({*waiting.token_addresses, *pack}))
    return Portion(chain, addresses, waiting.first_month, next_month(month), row_count)


def _month_number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:])


def _is_open(last_s: int, source: str, target: str) -> bool:
    """Return whether the bucket of a series' last candle ends after that candle."""
    length = INTERVAL_SECONDS[target]
    return last_s // length * length + length > last_s + INTERVAL_SECONDS[source]


def _source_month(row: Mapping[str, object]) -> SourceMonth:
    token = TokenKey(str(row["chain"]), str(row["token_address"]))
    return SourceMonth(
        key=TokenMonth(token, str(row["month"])),
        row_count=int(str(row["row_count"])),
        last_s=int(str(row["last_s"])),
    )
