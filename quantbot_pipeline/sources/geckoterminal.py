"""GeckoTerminal's public API: no key, 30 requests a minute, candles per pool, newest first.

Source: https://api.geckoterminal.com/docs and https://apiguide.geckoterminal.com (version 20230203).
"""

import math
import random
import re
from collections.abc import Iterator
from datetime import datetime
from typing import Any

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.errors import DataError, SourceError
from quantbot_pipeline.ingest.numbers import parse_number
from quantbot_pipeline.ingest.timestamps import EARLIEST_SECOND
from quantbot_pipeline.ingest.tokens import EVM_CHAINS, UNKNOWN_EVM_CHAIN, TokenKey
from quantbot_pipeline.sources.candle_pages import PAGE_CANDLES, CandlePage, Market, Record, Side, candle_rows
from quantbot_pipeline.sources.client import RequestLimits, SourceClient
from quantbot_pipeline.sources.clock import Clock
from quantbot_pipeline.sources.failures import SourceNotFoundError
from quantbot_pipeline.sources.rate_limit import TokenBucket

NAME = "geckoterminal"
BASE_URL = "https://api.geckoterminal.com/api/v2"

# 30 in any 60 seconds, also at a burst: 3 at once, then 27 a minute.
_BURST = 3
_RATE_PER_SECOND = (30 - _BURST) / 60

# One answer reaches back 6 months at most, and how far the free API reaches back at all is not documented: beyond
# this many seconds an absent candle proves nothing.
_REACH_SECONDS = 180 * 86400

_NETWORKS = {
    "ethereum": "eth",
    "polygon": "polygon_pos",
    "avalanche": "avax",
    "fantom": "ftm",
    "cronos": "cro",
}
_TIMEFRAMES = {
    "1m": ("minute", 1),
    "5m": ("minute", 5),
    "15m": ("minute", 15),
    "1h": ("hour", 1),
    "4h": ("hour", 4),
    "12h": ("hour", 12),
    "1d": ("day", 1),
}
_COLUMNS = ("timestamp", "open", "high", "low", "close", "volume")
# What comes from an answer and goes into a path: nothing that could lead elsewhere.
_POOL_ADDRESS = re.compile(r"[0-9A-Za-z]{1,128}")


class GeckoTerminal:
    """Candles of a token's most liquid pool, in USD."""

    name = NAME
    intervals = tuple(_TIMEFRAMES)

    def __init__(
        self,
        *,
        base_url: str = BASE_URL,
        clock: Clock | None = None,
        limits: RequestLimits | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        """Prepare the source; nothing is sent.

        Raises:
            ConfigError: the address can't be used.
        """
        self._clock = clock or Clock()
        self._client = SourceClient(
            name=NAME,
            base_url=base_url,
            url_variable="QUANTBOT_GECKOTERMINAL_URL",
            bucket=TokenBucket(rate_per_second=_RATE_PER_SECOND, burst=_BURST, clock=self._clock),
            clock=self._clock,
            headers={"accept": "application/json;version=20230203"},
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
        return chain == "solana" or (chain in EVM_CHAINS and chain != UNKNOWN_EVM_CHAIN)

    def find_market(self, token: TokenKey) -> Market:
        """Return the token's most liquid pool as of now.

        Raises:
            SourceNotFoundError: it has no pool there, or is not known.
            SourceError: no usable answer came.
        """
        network = _network(token)
        path = f"/networks/{network}/tokens/{token.address}/pools"
        answer = self._client.get_json(path, {"page": 1})
        pools = _member(answer.document, "data")
        if not isinstance(pools, list):
            raise SourceError(f"{NAME}: GET {path}: the answer has no list 'data'; the API may have changed")
        found = [candidate for pool in pools if (candidate := _candidate(pool, network, token)) is not None]
        if not found:
            raise SourceNotFoundError(
                f"{NAME}: no pool trades {token.chain}:{token.address}; of {len(pools)} pools none could be used"
            )
        # The address decides between equals, so that two first runs choose alike.
        return max(found, key=lambda candidate: (candidate[0], candidate[1].pool_address or ""))[1]

    def pages(self, market: Market, interval: str, start: int, end: int) -> Iterator[CandlePage]:
        """Yield candles from the newest page to the oldest; see `CandleSource.pages`.

        Raises:
            SourceError: no usable answer came, or one that is not about this token or does not go back in time.
        """
        timeframe, aggregate = _TIMEFRAMES[interval]
        step = INTERVAL_SECONDS[interval]
        path = f"/networks/{_network(market.token)}/pools/{market.pool_address}/ohlcv/{timeframe}"
        name = f"{NAME}:{market.token.chain}:{market.pool_address}:{interval}"
        before = end
        while before > start:
            # One more than fits: whether the candle at `before` itself is given again is not documented.
            limit = min(PAGE_CANDLES, (before - start) // step + 1)
            answer = self._client.get_json(
                path,
                {
                    "aggregate": aggregate,
                    "before_timestamp": before,
                    "limit": limit,
                    "currency": "usd",
                    "token": market.side,
                },
            )
            rows = _member(_member(_member(answer.document, "data"), "attributes"), "ohlcv_list")
            if not isinstance(rows, list):
                raise SourceError(f"{NAME}: GET {path}: the answer has no list 'ohlcv_list'; the API may have changed")
            _require_token(answer.document, market, path)
            earlier = [time for row in rows if (time := _open_time(row, step)) is not None and time < before]
            if len(rows) < limit:
                # All there is before `before`, as far back as one answer reaches.
                reached = max(start, before - _REACH_SECONDS)
                proven = max(reached, min(before, self._oldest_proven(earlier, step)))
            elif earlier:
                reached = proven = max(start, min(earlier))
            else:
                raise SourceError(
                    f"{NAME}: GET {path}: {len(rows)} candles came and none of them lies before {before}, which was "
                    "asked for; the API may have changed"
                )
            yield CandlePage(proven, before, candle_rows(name, [_record(row) for row in rows], rows), answer.sha256)
            before = reached

    def _oldest_proven(self, earlier: list[int], step: int) -> int:
        """Return from when on an absent candle means that nothing was traded."""
        horizon = (int(self._clock.epoch_seconds()) - _REACH_SECONDS) // step * step
        return min([horizon, *earlier])


def _network(token: TokenKey) -> str:
    return _NETWORKS.get(token.chain, token.chain)


def _member(document: Any, name: str) -> Any:
    return document.get(name) if isinstance(document, dict) else None


def _candidate(pool: Any, network: str, token: TokenKey) -> tuple[float, Market] | None:
    """Return a pool with its liquidity in USD; None if it can't be used for this token."""
    attributes, relationships = _member(pool, "attributes"), _member(pool, "relationships")
    address = _member(attributes, "address")
    if not isinstance(address, str) or not _POOL_ADDRESS.fullmatch(address):
        return None
    wanted = _comparable(token, f"{network}_{token.address}")
    side: Side
    if _comparable(token, _member(_member(_member(relationships, "base_token"), "data"), "id")) == wanted:
        side = "base"
    elif _comparable(token, _member(_member(_member(relationships, "quote_token"), "data"), "id")) == wanted:
        side = "quote"
    else:
        # Asked for its base, such a pool would answer with the prices of another token.
        return None
    liquidity = _number(_member(attributes, "reserve_in_usd"))
    created = _member(attributes, "pool_created_at")
    return (
        liquidity if liquidity is not None else -1.0,
        Market(token, address, side, _instant(created) if isinstance(created, str) else None),
    )


def _comparable(token: TokenKey, text: Any) -> str | None:
    if not isinstance(text, str):
        return None
    return text.lower() if token.chain in EVM_CHAINS else text


def _require_token(document: Any, market: Market, path: str) -> None:
    """Refuse candles of a pool of other tokens; an answer that names none is believed."""
    meta = _member(document, "meta")
    # Which of the two comes first when the quote token was asked for is not documented.
    named = [_comparable(market.token, _member(_member(meta, side), "address")) for side in ("base", "quote")]
    if any(named) and market.token.address not in named:
        raise SourceError(
            f"{NAME}: GET {path}: the answer is about a pool without {market.token.address}; it is left out"
        )


def _open_time(row: Any, step: int) -> int | None:
    """Return the time of a row as far as the way back in time may rest on it."""
    value = row[0] if isinstance(row, list) and row else None
    if isinstance(value, bool) or not isinstance(value, int) or value < EARLIEST_SECOND or value % step:
        return None
    return value


def _record(row: Any) -> Record | None:
    """Return the values of `[t, o, h, l, c, v]`, with the volume in base units.

    The API gives the volume in USD. Ours is in base units, and what reads it multiplies it by the close to get what
    was traded in quote currency; divided by the close here, that product is again what the API said.
    """
    if not isinstance(row, list) or len(row) != len(_COLUMNS):
        return None
    values: dict[str, Any] = dict(zip(_COLUMNS, row, strict=True))
    close, volume_usd = _number(values["close"]), _number(values["volume"])
    if close is not None and close > 0 and volume_usd is not None:
        values["volume"] = volume_usd / close
    return values


def _number(value: Any) -> float | None:
    """Return a finite number that came as number or text; what is none is left to the checks."""
    if isinstance(value, str):
        try:
            return parse_number(value, "")
        except DataError:
            return None
    if isinstance(value, bool) or not isinstance(value, int | float):
        return None
    try:
        number = float(value)
    except OverflowError:
        return None
    return number if math.isfinite(number) else None


def _instant(text: str) -> datetime | None:
    try:
        instant = datetime.fromisoformat(text)
    except ValueError:
        return None
    return instant if instant.tzinfo is not None else None
