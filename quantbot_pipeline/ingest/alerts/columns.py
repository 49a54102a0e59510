"""Which column of a table is which field of an alert: by name, in any order, case and spelling, or as mapped."""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alerts.times import TIME_ROLES
from quantbot_pipeline.ingest.quarantine import shown

NAMES_OF_FIELDS: Mapping[str, tuple[str, ...]] = {
    "caller": (
        "caller",
        "caller_name",
        "sender",
        "sender_name",
        "author",
        "from",
        "username",
        "user",
        "group",
        "group_name",
    ),
    "caller_id": ("caller_id", "sender_id", "from_id", "author_id", "user_id"),
    "token_address": (
        "token_address",
        "mint",
        "mint_b58",
        "mint_address",
        "token_mint",
        "contract_address",
        "contract",
        "ca",
        "base_token_id",
        "base_token_address",
        "base_mint",
        "token",
        "address",
    ),
    "pool_address": ("pool_address", "pool_id", "pool", "pair_address", "pair_id"),
    "chain": ("chain", "network", "network_id", "blockchain", "chain_id", "exchange"),
    "symbol": ("symbol", "ticker", "token_symbol"),
    "timestamp": (
        "timestamp",
        "alert_timestamp",
        "alert_ts_ms",
        "alert_ts",
        "alert_datetime",
        "alert_time",
        "alert_dt",
        "call_time",
        "call_ts",
        "call_timestamp",
        "signal_timestamp",
        "datetime",
        "date",
        "date_unixtime",
        "unixtime",
        "ts",
        "sent_at",
        "posted_at",
        "collected_at",
    ),
    "clock": ("time", "hour"),
    "price_at_alert": ("price_at_alert", "alert_price", "call_price", "price_usd", "price"),
    "mcap_at_alert": (
        "mcap_at_alert",
        "market_cap_at_alert",
        "alert_mcap",
        "call_mcap",
        "call_mc",
        "market_cap_usd",
        "market_cap",
        "mcap",
        "mc",
    ),
    "fdv_at_alert": ("fdv_at_alert", "fdv_usd", "fdv"),
    "side": ("side",),
    "signal_type": ("signal_type",),
    "confidence": ("confidence",),
    "message_id": ("message_id", "msg_id"),
    "chat_id": ("chat_id", "channel_id", "chat", "channel"),
    "message": ("message", "message_text", "message_preview", "text", "content"),
    "bot_reply_id": ("bot_reply_id",),
    "timestamp_mdy": (),
    "timestamp_dmy": (),
}
"""Names by which the columns of each field go, the strongest first; letter case, blanks, `_` and `-` do not count."""

IGNORED = "ignore"
"""What a column is mapped to that shall not count though its name would."""

_ANY_OTHER_SIGN = re.compile(r"[^0-9a-z]+")
_WORDS = re.compile(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])|[0-9]+")
# Words of columns such as max_gain, Max_Multiplier_Reached, PNL_Multiplier, TimeToAth_Minutes, Return_SOL.
_HINDSIGHT = frozenset(
    {
        *("after", "ath", "drawdown", "exit", "gain", "gains", "hold", "holding", "loss", "max", "maximum"),
        *("multiplier", "outcome", "peak", "pnl", "profit", "reached", "return", "returns", "roi", "won"),
    }
)
_CANDLE_COLUMNS = frozenset({"open", "high", "low", "close"})
# Names that may stand for something else: they count only where nothing better is there.
_WEAK_TOKEN_NAMES = frozenset({"token", "address"})


def folded_column(name: str) -> str:
    """Return a column's name for comparison: `tokenAddress`, `Token Address` and `token_address` are one."""
    return _ANY_OTHER_SIGN.sub("", name.casefold())


_FIELD_OF_NAME = {folded_column(name): field for field, names in NAMES_OF_FIELDS.items() for name in (field, *names)}
_RANK_OF_NAME = {folded_column(name): rank for names in NAMES_OF_FIELDS.values() for rank, name in enumerate(names)}


def words_of(name: str) -> set[str]:
    """Return the words of a column's name in lower case: `TimeToAth_Minutes` has four."""
    return {word.casefold() for word in _WORDS.findall(name[:200])}


def is_known_afterwards(name: str) -> bool:
    """Return whether a column tells what became of a call: as a field of the alert it would be look-ahead."""
    return not _HINDSIGHT.isdisjoint(words_of(name))


def read_mapping(columns: Mapping[str, str]) -> dict[str, str]:
    """Return a mapping of columns to fields with both in their one spelling.

    Args:
        columns: Field by column; a field also by any of its columns' names, or `ignore`.

    Raises:
        DataError: a field is unknown, a column is named twice, or is known only after the alert.
    """
    mapping: dict[str, str] = {}
    for column, field in columns.items():
        folded = folded_column(column)
        target = IGNORED if field.strip().casefold() == IGNORED else _FIELD_OF_NAME.get(folded_column(field))
        if target is None:
            raise DataError(
                f"column {shown(column)} is mapped to {shown(field)}, which is no field of an alert; allowed are "
                f"{', '.join(NAMES_OF_FIELDS)}, {IGNORED}"
            )
        if folded in mapping:
            raise DataError(f"column {shown(column)} is mapped twice; keep one of them")
        if target != IGNORED and is_known_afterwards(column):
            raise DataError(
                f"column {shown(column)} is mapped to {target}, but it tells what became of the call, which nobody "
                "knew when it was made; it stays in the raw row"
            )
        mapping[folded] = target
    return mapping


@dataclass(frozen=True)
class ColumnPlan:
    """Where the fields of an alert are in a table.

    Attributes:
        positions: By field the columns that tell it, the strongest first; of times in the table's order.
        names: All columns' names as written.
    """

    positions: Mapping[str, tuple[int, ...]]
    names: tuple[str, ...]

    @property
    def names_tokens(self) -> bool:
        """Whether a column can name a token."""
        return any(field in self.positions for field in ("token_address", "pool_address", "message"))


def plan_columns(names: Sequence[str], mapping: Mapping[str, str], *, file: str) -> ColumnPlan:
    """Return where the fields are among a table's columns.

    Args:
        names: The columns as written.
        mapping: Result of `read_mapping`; a field that is mapped to has no other columns.
        file: Name for messages.

    Raises:
        DataError: a column that counts occurs twice.
    """
    mapped_fields = {"timestamp" if field in TIME_ROLES else field for field in mapping.values()}
    found: dict[str, list[tuple[int, int]]] = {}
    seen: dict[str, str] = {}
    for position, name in enumerate(names):
        folded = folded_column(name)
        field = mapping.get(folded)
        if field is None:
            field = _FIELD_OF_NAME.get(folded)
            if field is None or ("timestamp" if field in TIME_ROLES else field) in mapped_fields:
                continue
        if field == IGNORED:
            continue
        if seen.get(folded, "") != "":
            raise DataError(f"{file}: column {name.strip().casefold()!r} occurs twice; keep one of them")
        seen[folded] = name
        found.setdefault(field, []).append((_RANK_OF_NAME.get(folded, 0), position))
    positions = {
        field: tuple(position for _, position in (sorted(ranked) if field not in TIME_ROLES else ranked))
        for field, ranked in found.items()
    }
    _drop_weak_tokens(positions, names, mapping)
    return ColumnPlan(positions, tuple(names))


def _drop_weak_tokens(positions: dict[str, tuple[int, ...]], names: Sequence[str], mapping: Mapping[str, str]) -> None:
    tokens = positions.get("token_address", ())
    strong = tuple(
        position
        for position in tokens
        if (folded := folded_column(names[position])) not in _WEAK_TOKEN_NAMES or folded in mapping
    )
    if strong or "pool_address" in positions:
        # In a table of pools, "address" is the pool's.
        if strong:
            positions["token_address"] = strong
        else:
            positions.pop("token_address", None)


def looks_like_candles(names: Iterable[str]) -> bool:
    """Return whether columns are those of candles."""
    return {folded_column(name) for name in names} >= _CANDLE_COLUMNS
