"""Partitions by token and month, and how assets map to each other's: keys are made and read here and nowhere else.

A month's key is its first day. A token's key is `chain:address`; a token-month's key is Dagster's multi-partition key
over the dimensions `month` and `token`. Characters that Dagster's UI or key syntax stumbles over (`|`, `,`) can't
occur: the canonical form of a token admits none of them.
"""

import re
from collections import defaultdict
from collections.abc import Collection, Iterable, Sequence
from typing import NamedTuple

import dagster as dg

from quantbot_pipeline.errors import ConfigError, InputError
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.settings import Settings
from quantbot_pipeline.workflows.token_months import TokenMonth, format_token, month_of, month_start, parse_token

_KEY = re.compile(r"[A-Za-z0-9._:-]+")

token_partitions = dg.DynamicPartitionsDefinition(name="token")


def month_partitions(settings: Settings) -> dg.MonthlyPartitionsDefinition:
    """Return the months from the first configured one to the current one, included."""
    # Without end_offset the current month has no partition until it is over.
    return dg.MonthlyPartitionsDefinition(start_date=f"{settings.first_month}-01", fmt="%Y-%m-%d", end_offset=1)


def token_month_partitions(settings: Settings) -> dg.MultiPartitionsDefinition:
    """Return the product of all known tokens and all months."""
    return dg.MultiPartitionsDefinition({"month": month_partitions(settings), "token": token_partitions})


def candles_around_month() -> dg.PartitionMapping:
    """Return the mapping of a simulated token-month to the candles that it reads: its month and the two beside it.

    Warm-up reaches into the month before, the horizon of the last calls into the month after. A run whose trades
    reach farther reads farther: what is current is decided by the key of the run, this says what Dagster shows as
    stale and what it runs by itself. The first and the last month have one neighbour.
    """
    beside = dg.TimeWindowPartitionMapping(start_offset=-1, end_offset=1, allow_nonexistent_upstream_partitions=True)
    return dg.MultiPartitionMapping(
        {
            "month": dg.DimensionPartitionMapping("month", beside),
            "token": dg.DimensionPartitionMapping("token", dg.IdentityPartitionMapping()),
        }
    )


def calls_of_month() -> dg.PartitionMapping:
    """Return the mapping of a simulated token-month to the calls of its month."""
    return dg.MultiToSingleDimensionPartitionMapping("month")


def simulation_deps() -> list[dg.AssetDep]:
    """Return what simulations of a token-month read."""
    return [
        dg.AssetDep("ohlcv_candles", partition_mapping=candles_around_month()),
        dg.AssetDep("calls", partition_mapping=calls_of_month()),
        dg.AssetDep("strategies"),
    ]


def month_key(month: str) -> str:
    """Return the partition key of a month `YYYY-MM`."""
    return f"{month_start(month):%Y-%m-%d}"


def parse_month_key(key: str) -> str:
    """Return the month `YYYY-MM` that a partition key names.

    Raises:
        InputError: it names none.
    """
    return month_of(month_start(key[:7]))


def token_key(token: TokenKey) -> str:
    """Return a token's partition key.

    Raises:
        InputError: the key holds a character that partition keys may not have.
    """
    key = format_token(token)
    if not _KEY.fullmatch(key):
        raise InputError(f"token {key!r} can't be a partition key: allowed are letters, digits and . _ : -")
    return key


def token_month_key(key: TokenMonth) -> dg.MultiPartitionKey:
    """Return the partition key of a token-month."""
    return dg.MultiPartitionKey({"month": month_key(key.month), "token": token_key(key.token)})


def parse_token_month_key(key: str) -> TokenMonth:
    """Return the token-month that a partition key names."""
    month, _, token = key.partition("|")
    return TokenMonth(parse_token(token), parse_month_key(month))


def register_tokens(instance: dg.DagsterInstance, keys: Iterable[TokenMonth]) -> None:
    """Make the tokens of some token-months known to Dagster.

    Tokens are added in the order of their first and last month, so that tokens with the same life lie side by
    side and a range run over them is a full box.
    """
    months: dict[TokenKey, list[str]] = defaultdict(list)
    for key in keys:
        months[key.token].append(key.month)
    known = set(instance.get_dynamic_partitions(str(token_partitions.name)))
    ordered = sorted(months, key=lambda token: (min(months[token]), max(months[token]), token))
    new = [token_key(token) for token in ordered if token_key(token) not in known]
    if new:
        instance.add_dynamic_partitions(str(token_partitions.name), new)


class Box(NamedTuple):
    """A range run: all tokens between two, in all months between two.

    Attributes:
        first: Its first token in its first month.
        last: Its last token in its last month.
        keys: The token-months in it that are wanted.
    """

    first: TokenMonth
    last: TokenMonth
    keys: tuple[TokenMonth, ...]


class _Span(NamedTuple):
    """Positions of tokens and numbers of months, both ends included."""

    first_token: int
    last_token: int
    first_month: int
    last_month: int

    def area(self) -> int:
        return (self.last_token - self.first_token + 1) * (self.last_month - self.first_month + 1)

    def join(self, other: "_Span") -> "_Span":
        return _Span(
            min(self.first_token, other.first_token),
            max(self.last_token, other.last_token),
            min(self.first_month, other.first_month),
            max(self.last_month, other.last_month),
        )


def cover_with_boxes(
    keys: Collection[TokenMonth], token_order: Sequence[TokenKey], *, unwanted_per_box: int = 6
) -> list[Box]:
    """Return boxes that cover all keys, each key once; a box may hold token-months that are not wanted.

    A range run over two dimensions is a box. A run costs about as much as the events of a few partitions, so a token
    joins the box before it when that adds at most `unwanted_per_box` unwanted token-months.

    Args:
        keys: The token-months that are wanted.
        token_order: All tokens, in the order of Dagster's dynamic partitions.
        unwanted_per_box: How many unwanted token-months a joining token may add.
    """
    months: dict[TokenKey, list[str]] = defaultdict(list)
    for key in keys:
        months[key.token].append(key.month)
    spans: list[_Span] = []
    members: list[list[TokenMonth]] = []
    for position, token in enumerate(token_order):
        if token not in months:
            continue
        numbers = [_month_number(month) for month in months[token]]
        own = _Span(position, position, min(numbers), max(numbers))
        joined = spans[-1].join(own) if spans else own
        if spans and joined.area() - spans[-1].area() - own.area() <= unwanted_per_box:
            spans[-1] = joined
        else:
            spans.append(own)
            members.append([])
        members[-1].extend(TokenMonth(token, month) for month in sorted(months[token]))
    return [
        Box(
            TokenMonth(token_order[span.first_token], _month_text(span.first_month)),
            TokenMonth(token_order[span.last_token], _month_text(span.last_month)),
            tuple(box),
        )
        for span, box in zip(spans, members, strict=True)
    ]


def _month_number(month: str) -> int:
    return int(month[:4]) * 12 + int(month[5:7]) - 1


def _month_text(number: int) -> str:
    return f"{number // 12:04d}-{number % 12 + 1:02d}"


def check_months(keys: Iterable[TokenMonth], settings: Settings) -> None:
    """Refuse token-months that have no partition.

    Raises:
        ConfigError: a month lies before the first configured one.
    """
    early = sorted({key.month for key in keys if key.month < settings.first_month})
    if early:
        raise ConfigError(
            f"month {early[0]} lies before the first partition {settings.first_month}: "
            f"set QUANTBOT_FIRST_MONTH={early[0]} or leave those candles out"
        )
