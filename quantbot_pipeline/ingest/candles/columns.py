"""Which column of a candle file is which: names in any order, case and spelling.

A name is compared without case, blanks, hyphens and underscores, so `Open Time`, `open_time` and `openTime` are one.
"""

import re
from collections.abc import Sequence
from dataclasses import dataclass

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.quarantine import shown

TIME_NAMES = (
    "timestamp", "time", "date", "datetime", "opentime", "unixtime", "unix", "ts", "t", "timestampms", "opentimems",
    "epoch", "epochms", "unixtimestamp", "startts", "starttime",
)  # fmt: skip
"""Names of columns that say when a candle opens."""

VALUE_NAMES: dict[str, tuple[str, ...]] = {
    "open": ("open", "o", "openprice", "priceopen"),
    "high": ("high", "h", "highprice", "pricehigh"),
    "low": ("low", "l", "lowprice", "pricelow"),
    "close": ("close", "c", "closeprice", "priceclose"),
    "volume": ("volume", "v", "vol", "volumebase", "basevolume"),
}
"""Names of the columns of prices and volume; of several that are there, the first named here is taken."""

QUOTE_VOLUME_NAMES = ("volumeusd", "usdvolume", "quotevolume", "volumequote")
"""Names of columns of a volume in what the price is in; read where there is no volume in the token itself."""

CHAIN_NAMES = ("chain", "network", "blockchain", "chainid")
TOKEN_NAMES = ("tokenaddress", "token", "mint", "mintaddress", "address", "poolid", "pooladdress", "pool")
SYMBOL_NAMES = ("pair", "symbol", "ticker")
INTERVAL_NAMES = ("interval", "timeframe", "resolution", "granularity", "type")

MAX_COLUMNS = 10_000
"""Columns that a file may have at most; real ones have a dozen."""

_TRADE_NAMES = frozenset({"price", "amount", "qty", "quantity", "size", "side", "cost", "tradeid", "isbuyermaker"})
_VALUE = re.compile(r"\s*(?:[+-]?[0-9.,:eE+-]+|nan|null|)\s*", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ColumnPlan:
    """Where a file's columns are.

    Attributes:
        names: All names, as they are spelled.
        positions: Position of `timestamp`, of prices and volume (`quote_volume` where only that is there), and of
            `chain`, `token_address`, `interval`, as far as they were found.
        other_times: Positions of further columns that say the time.
        has_symbols: Whether `token_address` is a column of names, such as `symbol`.
    """

    names: tuple[str, ...]
    positions: dict[str, int]
    other_times: tuple[int, ...]
    has_symbols: bool

    @property
    def wanted(self) -> tuple[int, ...]:
        """Positions of all columns that are read."""
        return (*self.positions.values(), *self.other_times)


def folded(name: str) -> str:
    """Return a column's name as it is compared."""
    if len(name) > 200:
        return ""
    return re.sub(r"[\s_\-]+", "", name.strip().lstrip("\ufeff").casefold())


def plan_columns(names: Sequence[str], *, file: str) -> ColumnPlan:
    """Return where the columns of a candle file are.

    Raises:
        DataError: a column of which there can be but one occurs twice under one name, or there are too many columns.
    """
    if len(names) > MAX_COLUMNS:
        raise DataError(f"{file}: the file has {len(names)} columns; at most {MAX_COLUMNS} are allowed")
    places: dict[str, list[int]] = {}
    for position, name in enumerate(names):
        places.setdefault(folded(name), []).append(position)
    positions: dict[str, int] = {}
    # A time may be said twice: the rows tell which column can be read, and whether they agree.
    times = sorted(position for name in TIME_NAMES for position in places.get(name, ()))
    if times:
        positions["timestamp"] = times[0]
    for field, allowed in VALUE_NAMES.items():
        _place(positions, field, allowed, places, file)
    if "volume" not in positions:
        _place(positions, "quote_volume", QUOTE_VOLUME_NAMES, places, file)
    _place(positions, "chain", CHAIN_NAMES, places, file)
    _place(positions, "token_address", TOKEN_NAMES, places, file)
    has_symbols = "token_address" not in positions
    if has_symbols:
        _place(positions, "token_address", SYMBOL_NAMES, places, file)
    _place(positions, "interval", INTERVAL_NAMES, places, file)
    return ColumnPlan(tuple(names), positions, tuple(times[1:]), has_symbols)


def _place(
    positions: dict[str, int], field: str, allowed: tuple[str, ...], places: dict[str, list[int]], file: str
) -> None:
    for name in allowed:
        found = places.get(name, [])
        if len(found) > 1:
            raise DataError(f"{file}: column {name!r} occurs twice; keep one of them")
        if found:
            positions[field] = found[0]
            return


def require_candle_columns(found: Sequence[str], present: Sequence[str], *, file: str) -> None:
    """Refuse a file that has no time, price or volume.

    Args:
        found: All names, as they are spelled.
        present: Those of `timestamp`, open, high, low, close, volume (or `quote_volume`) that were found.
        file: Name for the message.

    Raises:
        DataError: one is missing; the message names what was found, and what it looks like.
    """
    missing = [
        name
        for name in ("timestamp", *VALUE_NAMES)
        if name not in present and not (name == "volume" and "quote_volume" in present)
    ]
    if not missing:
        return
    shown_names = ", ".join(shown(name) for name in found[:20]) or "no columns"
    needed = "needed are timestamp, open, high, low, close, volume"
    if _TRADE_NAMES & {folded(name) for name in found} and {"open", "high", "low", "close"} <= set(missing):
        raise DataError(
            f"{file}: these are trades, not candles (found are {shown_names}): make candles of them first; {needed}"
        )
    raise DataError(f"{file}: column {missing[0]!r} is missing; {needed}; found are {shown_names}")


def refuse_values_as_header(names: Sequence[str], *, file: str, line: int) -> None:
    """Refuse a CSV file whose first line holds values instead of names.

    Raises:
        DataError: all of its fields look like numbers or times.
    """
    if not names or not any(name.strip() for name in names) or not all(_VALUE.fullmatch(name[:100]) for name in names):
        return
    values = shown(",".join(names))
    if len(names) in (3, 4):
        raise DataError(
            f"{file}: line {line} is {values}: no column names, and {len(names)} values a line, as lists of trades "
            "(time, price, amount) have; these are no candles, make candles of them first"
        )
    raise DataError(
        f"{file}: line {line} is {values}: no column names; put a line such as "
        "timestamp,open,high,low,close,volume before it, in the order of the file's columns"
    )
