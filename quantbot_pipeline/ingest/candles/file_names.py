"""What a candle file's name says about its token, chain and interval, where columns and options are silent.

| name | says |
| --- | --- |
| `binance__BTC_USDT__5m.parquet` | chain, token and interval |
| `RED_USDT-5m.feather` | token and interval: the chain (the exchange) must be told |
| `solana_<address>_….csv`, `TROLL_2_solana_<address>.csv`, `bsc_0x…_….csv` | chain and token |
| `AIRI_3hAQddKZ_solana.csv` | chain; the address is shortened, so the token must be told |

Dates in names are not read: they are in local time as often as not.
"""

import re
from dataclasses import dataclass
from pathlib import Path

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candles.interval_names import find_interval
from quantbot_pipeline.ingest.tokens import canonical_token, find_chain, is_evm_address, is_solana_address

MAX_NAME = 255
"""Longest name that is looked at, characters; file systems allow no more."""

_PAIR_AND_INTERVAL = re.compile(r"([A-Za-z0-9.]+(?:_[A-Za-z0-9.]+){1,3})-([0-9]{1,4}[smhdwM])(?:-(?:spot|futures))?")
_CHAIN_AND_ADDRESS = re.compile(
    r"(?:^|_)([A-Za-z-]{2,20})_(0[xX][0-9a-fA-F]{40}|[1-9A-HJ-NP-Za-km-z]{32,44})(?=[_.]|$)"
)
_SHORT_AND_CHAIN = re.compile(r"_([1-9A-HJ-NP-Za-km-z]{4,16}|0[xX][0-9a-fA-F]{4,12})_([A-Za-z-]{2,20})(?=[.]|$)")


@dataclass(frozen=True, slots=True)
class NameHints:
    """What a file's name says.

    Attributes:
        chain: A chain, or
        token: a token's address, or
        interval: an interval that is allowed; None where the name is silent.
        interval_text: The interval as it is written there, also if it is not allowed.
        shortened: A part of an address that stands for the whole; it can't be used.
    """

    chain: str | None = None
    token: str | None = None
    interval: str | None = None
    interval_text: str | None = None
    shortened: str | None = None


def read_file_name(path: Path) -> NameHints:
    """Return what a file's name says."""
    name = path.name[:MAX_NAME]
    stem = re.sub(r"(?i)(?:\.(?:parquet|feather|csv|json|jsonl|ndjson))?(?:\.gz)?$", "", name, count=1)
    parts = stem.split("__")
    if len(parts) == 3:
        interval = find_interval(parts[2])
        if interval is not None and _is_token(parts[0], parts[1]):
            return NameHints(parts[0], parts[1], interval, parts[2])
    pair = _PAIR_AND_INTERVAL.fullmatch(stem)
    if pair is not None:
        return NameHints(token=pair[1], interval=find_interval(pair[2]), interval_text=pair[2])
    for found in _CHAIN_AND_ADDRESS.finditer(stem):
        chain = find_chain(found[1])
        if chain is not None and (is_solana_address if chain == "solana" else is_evm_address)(found[2]):
            return NameHints(chain, found[2])
    shortened = _SHORT_AND_CHAIN.search(stem)
    chain = find_chain(shortened[2]) if shortened is not None else None
    if shortened is not None and chain is not None:
        return NameHints(chain, shortened=shortened[1])
    return NameHints()


def _is_token(chain: str, address: str) -> bool:
    try:
        canonical_token(chain, address)
    except DataError:
        return False
    return True
