"""Birdeye's data API: a key, candles per token over all its pools, oldest first.

Source: https://docs.birdeye.so (OHLCV, Rate Limiting, Error Handling, Data Coverage).
"""

import random
from collections.abc import Iterator
from typing import Any

from pydantic import SecretStr

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.errors import ConfigError, SourceError
from quantbot_pipeline.ingest.quarantine import shown
from quantbot_pipeline.ingest.tokens import EVM_CHAINS, TokenKey
from quantbot_pipeline.sources.candle_pages import PAGE_CANDLES, CandlePage, Market, Record, candle_rows
from quantbot_pipeline.sources.client import RequestLimits, SourceClient
from quantbot_pipeline.sources.clock import Clock
from quantbot_pipeline.sources.rate_limit import TokenBucket

NAME = "birdeye"
BASE_URL = "https://public-api.birdeye.so"
KEY_VARIABLE = "QUANTBOT_BIRDEYE_API_KEY"

REQUESTS_PER_SECOND = 1.0
"""Limit of the smallest plan; it holds for all requests of an account."""

_CHAINS = frozenset(
    {"solana", "ethereum", "arbitrum", "avalanche", "base", "bsc", "monad", "optimism", "polygon", "zksync"}
)
_TYPES = {
    "1m": "1m",
    "3m": "3m",
    "5m": "5m",
    "15m": "15m",
    "30m": "30m",
    "1h": "1H",
    "2h": "2H",
    "4h": "4H",
    "6h": "6H",
    "8h": "8H",
    "12h": "12H",
    "1d": "1D",
}
_PATH = "/defi/ohlcv"


class Birdeye:
    """Candles of a token over all its pools, in USD, volume in units of the token."""

    name = NAME
    intervals = tuple(_TYPES)

    def __init__(
        self,
        key: SecretStr | None,
        *,
        base_url: str = BASE_URL,
        requests_per_second: float = REQUESTS_PER_SECOND,
        clock: Clock | None = None,
        limits: RequestLimits | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        """Prepare the source; nothing is sent.

        Raises:
            ConfigError: there is no key, or it or the address can't be used.
        """
        if key is None or not key.get_secret_value():
            raise ConfigError(f"{KEY_VARIABLE} is not set; Birdeye answers nobody without a key")
        clock = clock or Clock()
        self._client = SourceClient(
            name=NAME,
            base_url=base_url,
            url_variable="QUANTBOT_BIRDEYE_URL",
            bucket=TokenBucket(rate_per_second=requests_per_second, burst=1, clock=clock),
            clock=clock,
            key_header="X-API-KEY",
            key=key,
            key_variable=KEY_VARIABLE,
            limits=limits,
            jitter=jitter,
        )

    @property
    def request_count(self) -> int:
        """Requests sent so far, tries included."""
        return self._client.request_count

    def close(self) -> None:
        """Close the connections."""
        self._client.close()

    def serves(self, chain: str) -> bool:
        """Return whether it knows tokens of a chain."""
        return chain in _CHAINS

    def find_market(self, token: TokenKey) -> Market:
        """Return the token itself: its candles are those of all its pools together."""
        return Market(token)

    def pages(self, market: Market, interval: str, start: int, end: int) -> Iterator[CandlePage]:
        """Yield candles from the oldest page to the newest; see `CandleSource.pages`.

        Raises:
            SourceError: no usable answer came, or one that is not about this token.
        """
        step = INTERVAL_SECONDS[interval]
        token = market.token
        name = f"{NAME}:{token.chain}:{token.address}:{interval}"
        for first in range(start, end, PAGE_CANDLES * step):
            last = min(end, first + PAGE_CANDLES * step)
            answer = self._client.get_json(
                _PATH,
                # Both times are inclusive; a second less leaves the candle of the next page out.
                {"address": token.address, "type": _TYPES[interval], "time_from": first, "time_to": last - 1},
                {"x-chain": token.chain},
            )
            items = _items(answer.document, token)
            yield CandlePage(first, last, candle_rows(name, [_record(item) for item in items], items), answer.sha256)


def _items(document: Any, token: TokenKey) -> list[Any]:
    if not isinstance(document, dict) or document.get("success") is not True:
        said = document.get("message") if isinstance(document, dict) else None
        raise SourceError(f"{NAME}: GET {_PATH}: no success for {token.chain}:{token.address}: {shown(said, 160)}")
    data = document.get("data")
    items = data.get("items") if isinstance(data, dict) else None
    if not isinstance(items, list):
        raise SourceError(f"{NAME}: GET {_PATH}: the answer has no list 'items'; the API may have changed")
    for item in items:
        address = item.get("address") if isinstance(item, dict) else None
        if isinstance(address, str) and _comparable(token, address) != token.address:
            raise SourceError(
                f"{NAME}: GET {_PATH}: asked for {token.address}, the answer is about {shown(address)}; it is left out"
            )
    return items


def _comparable(token: TokenKey, address: str) -> str:
    return address.lower() if token.chain in EVM_CHAINS else address


def _record(item: Any) -> Record | None:
    if not isinstance(item, dict):
        return None
    # The later version of the endpoint spells its time otherwise.
    return {
        "timestamp": item.get("unixTime", item.get("unix_time")),
        "open": item.get("o"),
        "high": item.get("h"),
        "low": item.get("l"),
        "close": item.get("c"),
        "volume": item.get("v"),
    }
