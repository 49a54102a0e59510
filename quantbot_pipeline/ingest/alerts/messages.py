"""What a message says: the tokens it names, the chain they are on, whether it asks a bot, and what a bot answers."""

import re
from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import NamedTuple

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.alerts.addresses import BREAK, FoundAddress, UnclearAddress, find_addresses, search_text
from quantbot_pipeline.ingest.alerts.amounts import known_market_cap, parse_amount
from quantbot_pipeline.ingest.alerts.callers import folded_name, trimmed
from quantbot_pipeline.ingest.alerts.links import find_links, read_link
from quantbot_pipeline.ingest.alerts.records import AddressKind
from quantbot_pipeline.ingest.tokens import (
    EVM_CHAINS,
    UNKNOWN_EVM_CHAIN,
    TokenKey,
    canonical_token,
    find_chain,
    is_evm_address,
)

KNOWN_BOTS = frozenset({"rick", "rickbot", "rickburp", "rickburpbot", "phanes", "phanesbot", "phanesgreenbot"})
"""Names of bots that answer calls with figures, folded; further ones are an option of the import."""

MAX_ANSWER_SECONDS = 300
"""Longest time between a call and a bot's answer whose figures count as those of the call. Later answers tell
what became of the call, which nobody knew when it was made."""

QUOTE_TOKENS = frozenset(
    {
        "So11111111111111111111111111111111111111112",
        "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v",
        "Es9vMFrzaCERmJfrF4H2FYD4KCoNkY11McCe8BenwNYB",
        "0xc02aaa39b223fe8d0a0e5c4f27ead9083c756cc2",
        "0xbb4cdb9cbd36b01bd1cbaebf2de08d9173bc095c",
        "0x4200000000000000000000000000000000000006",
    }
)
"""Wrapped coins and dollars that other tokens are traded for: beside another token they are not what is called."""

_COMMAND = re.compile(r"/([A-Za-z][A-Za-z0-9_]{0,31})(?:@[A-Za-z0-9_]{1,64})?(?![A-Za-z0-9_/.])")
_CHAIN_WORDS = re.compile(
    r"\bon[ ]{1,3}(?:the[ ]{1,3})?([A-Za-z][A-Za-z0-9-]{1,24})\b"
    r"|\b(?:chain|network|blockchain)[ ]{0,3}[:=][ ]{0,3}([A-Za-z][A-Za-z0-9-]{1,24})\b"
    r"|[└├🌐][ ]{0,3}([A-Za-z][A-Za-z0-9-]{1,24})\b",
    re.IGNORECASE,
)
_AMOUNT = r"\$?[ ]?([0-9][0-9,.₀-₉{}]{0,30}(?:[eE][-+]?[0-9]{1,3})?(?:[ ]?[KMBTkmbt](?![A-Za-z]))?)"
_LABEL_GAP = r"[ ]{0,3}[:=]?[ `*]{0,4}"
_PRICE = re.compile(rf"(?<![A-Za-z0-9])(?:usd|price){_LABEL_GAP}{_AMOUNT}", re.IGNORECASE)
_MARKET_CAP = re.compile(
    rf"(?<![A-Za-z0-9])(?:fdv|mc|mcap|market[ ]?cap|mkt[ ]?cap){_LABEL_GAP}{_AMOUNT}", re.IGNORECASE
)
_PEAK = re.compile(r"\b(?:ath|peak|high)\b", re.IGNORECASE)
_TICKER = re.compile(r"\$([A-Za-z][A-Za-z0-9_]{0,19})\b")
_MARKED_FIRST_LINE = re.compile("[🟢🔴🟡⚪🟠🔵🟣]\ufe0f? {0,3}([^\\s]{1,32})[ ]*")
_MOST_LINES = 200
_LONGEST_LINE = 400


@dataclass(frozen=True, slots=True)
class NamedToken:
    """A token, or a pool, that a message names.

    Attributes:
        token: Its key; `unknown-evm` if nothing places a 0x address on a chain.
        kind: Whether the address is a token's or a pool's whose token is not known.
        is_placed: Whether the message or its link itself says which chain.
        notes: How it was made out, where that was not plain.
        pool: Address of the pool by which it was named, if its token is known.
    """

    token: TokenKey
    kind: AddressKind
    is_placed: bool
    notes: tuple[str, ...] = ()
    pool: str | None = None


@dataclass(frozen=True, slots=True)
class MessageReading:
    """What a message names.

    Attributes:
        tokens: Tokens, each once, in the order in which they stand; pools only if there are no tokens.
        unclear: Addresses that can be read in several ways.
        linked_pools: Pools named beside a token.
        chain: Chain that the text states for 0x addresses; None if it states none, or several.
    """

    tokens: tuple[NamedToken, ...]
    unclear: tuple[UnclearAddress, ...]
    linked_pools: tuple[str, ...]
    chain: str | None


class Figures(NamedTuple):
    """Figures that a message states with a label, as bots do.

    Attributes:
        price: Price in USD, > 0.
        market_cap: Market cap (or fully diluted value, the same for tokens of fixed supply) in USD, > 0.
        symbol: Ticker.
        notes: What was left out and why.
    """

    price: float | None
    market_cap: float | None
    symbol: str | None
    notes: tuple[str, ...]


def read_message(
    text: str, links: Iterable[str] = (), mints_of_pools: Mapping[str, str] | None = None
) -> MessageReading:
    """Read which tokens a message names.

    Args:
        text: What it shows; `BREAK` stands around code blocks.
        links: Addresses of links that are not part of the text.
        mints_of_pools: Token address by pool address (0x addresses in lower case).
    """
    pools = mints_of_pools or {}
    without_links, links_in_text = find_links(search_text(text) if "://" in text or "/" in text else text)
    if not links_in_text:
        without_links = text
    chain = stated_chain(text)
    named: dict[str, NamedToken] = {}
    unclear: dict[str, UnclearAddress] = {}
    for found in find_addresses(without_links):
        _take(named, unclear, found, None, AddressKind.TOKEN, chain, pools)
    for link in (*links_in_text, *links):
        linked = read_link(link)
        if linked is not None:
            _take(named, unclear, linked.found, linked.chain, linked.kind, chain, pools)
    tokens = [token for token in named.values() if token.kind is AddressKind.TOKEN]
    linked_pools: tuple[str, ...] = ()
    if tokens:
        linked_pools = tuple(token.token.address for token in named.values() if token.kind is AddressKind.POOL)
    else:
        tokens = list(named.values())
    called = [token for token in tokens if token.token.address not in QUOTE_TOKENS]
    known = {address for token in tokens for address in (token.token.address, token.pool)}
    return MessageReading(
        tokens=tuple(called or tokens),
        unclear=tuple(one for one in unclear.values() if known.isdisjoint(_folded(one.readings))),
        linked_pools=linked_pools,
        chain=chain,
    )


def _folded(addresses: Iterable[str]) -> list[str]:
    return [address.lower() if is_evm_address(address) else address for address in addresses]


def _take(
    named: dict[str, NamedToken],
    unclear: dict[str, UnclearAddress],
    found: FoundAddress | UnclearAddress,
    linked_chain: str | None,
    kind: AddressKind,
    stated: str | None,
    pools: Mapping[str, str],
) -> None:
    if isinstance(found, UnclearAddress):
        unclear.setdefault(found.text, found)
        return
    chain = (linked_chain or stated or UNKNOWN_EVM_CHAIN) if found.is_evm else "solana"
    key = canonical_token(chain, found.address)
    one = NamedToken(key, kind, chain != UNKNOWN_EVM_CHAIN, (found.note,) if found.note else ())
    mint = pools.get(key.address)
    if mint is not None:
        one = replace(one, token=canonical_token(chain, mint), kind=AddressKind.TOKEN, pool=key.address)
    known = named.get(one.token.address)
    if known is None:
        named[one.token.address] = one
        return
    # Named twice: what either naming tells counts.
    better = known if known.is_placed or not one.is_placed else replace(known, token=one.token, is_placed=True)
    if one.kind is AddressKind.TOKEN:
        better = replace(better, kind=AddressKind.TOKEN)
    named[one.token.address] = replace(better, pool=known.pool or one.pool)


def stated_chain(text: str) -> str | None:
    """Return the EVM chain that a text states (`on Base`, `chain: bsc`, `└ Base`); None if none, or several.

    A mere word is no statement: `17 ETH` is an amount.
    """
    chains = {
        chain
        for match in _CHAIN_WORDS.finditer(search_text(text))
        if (chain := find_chain(match[1] or match[2] or match[3])) in EVM_CHAINS
    }
    return chains.pop() if len(chains) == 1 else None


def command_of(text: str) -> str | None:
    """Return the bot command that a message begins with, such as `/pnl`; None if it begins with none."""
    match = _COMMAND.match(trimmed(search_text(text.replace(BREAK, " "))[:200]))
    return f"/{match[1]}" if match else None


def is_bot(names: Iterable[str | None], bots: Collection[str]) -> bool:
    """Return whether one of a sender's names or ids is that of a known bot."""
    return any(name is not None and (name in bots or folded_name(name) in bots) for name in names)


def read_figures(text: str, first_marked: str | None = None) -> Figures:
    """Read the figures that a message states with their labels: `USD: $0.0012`, `FDV: $26.3K`.

    Args:
        text: What the message shows.
        first_marked: Text of its first bold or code piece, where bots put the ticker.
    """
    price: float | None = None
    market_cap: float | None = None
    notes: list[str] = []
    lines = search_text(text[: _MOST_LINES * _LONGEST_LINE]).replace(BREAK, " ").splitlines()[:_MOST_LINES]
    for line in lines:
        if price is None and (match := _labelled(_PRICE, line)):
            price = _positive(match)[0]
        if market_cap is None and (match := _labelled(_MARKET_CAP, line)):
            amount, has_unit = _positive(match)
            if amount is not None:
                market_cap, note = known_market_cap(amount, has_unit=has_unit)
                notes.extend([note] if note else [])
    return Figures(price, market_cap, _symbol(lines, first_marked), tuple(notes))


def _labelled(pattern: re.Pattern[str], line: str) -> str | None:
    match = pattern.search(line[:_LONGEST_LINE])
    if match is None or _PEAK.search(line[: match.start(1)]):
        return None
    return match[1]


def _positive(text: str) -> tuple[float | None, bool]:
    try:
        amount, has_unit = parse_amount(text.rstrip(".,"), "figure")
    except DataError:
        return None, False
    return (amount if amount > 0 else None), has_unit


def _symbol(lines: list[str], first_marked: str | None) -> str | None:
    marked = trimmed(first_marked or "")
    if 1 <= len(marked) <= 32 and not any(character.isspace() for character in marked):
        return marked.removeprefix("$") or None
    first = next((line for line in lines if line.strip()), "")
    if tickers := set(_TICKER.findall(first[:_LONGEST_LINE])):
        return tickers.pop() if len(tickers) == 1 else None
    match = _MARKED_FIRST_LINE.fullmatch(first.strip())
    return match[1] if match else None
