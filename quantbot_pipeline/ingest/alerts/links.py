"""Links in messages: which ones name a token, which ones a pool, and on which chain."""

import re
from collections.abc import Mapping
from typing import NamedTuple
from urllib.parse import parse_qsl, urlsplit

from quantbot_pipeline.ingest.alerts.addresses import (
    FoundAddress,
    UnclearAddress,
    find_addresses,
)
from quantbot_pipeline.ingest.alerts.records import AddressKind
from quantbot_pipeline.ingest.tokens import find_chain, is_evm_address

_SITES = (
    "dexscreener.com",
    "axiom.trade",
    "pump.fun",
    "birdeye.so",
    "gmgn.ai",
    "geckoterminal.com",
    "photon-sol.tinyastro.io",
    "dextools.io",
    "solscan.io",
    "etherscan.io",
    "bscscan.com",
    "basescan.org",
)
_LINK = re.compile(
    r"""(?:https?://|www\.)[^\s<>"'\x1f]{1,2000}|(?<![\w.@/-])(?:"""
    + "|".join(re.escape(site) for site in _SITES)
    + r""")/[^\s<>"'\x1f]{1,2000}""",
    re.IGNORECASE,
)
_EXPLORERS = {
    "solscan.io": "solana",
    "etherscan.io": "ethereum",
    "bscscan.com": "bsc",
    "basescan.org": "base",
}
# Parts of a path behind which stands a person or a transaction.
_NO_TOKEN_PARTS = frozenset({"tx", "address", "account", "wallet", "profile", "user", "u", "block", "nft"})
_NUMBERED_CHAINS = {"1": "ethereum", "56": "bsc", "8453": "base", "42161": "arbitrum", "137": "polygon"}
_CHAIN_PARAMETERS = ("chain", "network", "chainid")
# "network=Base" with the next sentence glued to it: the exporter lost the line ends.
_LEADING_WORD = re.compile(r"[A-Z]?[a-z0-9]+|[A-Z]+(?![a-z])")


class LinkedAddress(NamedTuple):
    """What a link names.

    Attributes:
        found: The address, or why it is unclear.
        chain: Chain that the link names; None if it names none.
        kind: Whether the link's place for it is that of a token or of a pool.
    """

    found: FoundAddress | UnclearAddress
    chain: str | None
    kind: AddressKind


def find_links(text: str) -> tuple[str, list[str]]:
    """Return the text with a blank in place of each link, and the links in order."""
    links: list[str] = []

    def take(match: re.Match[str]) -> str:
        links.append(match[0])
        return " "

    return _LINK.sub(take, text), links


def read_link(link: str) -> LinkedAddress | None:
    """Return the address that a link names; None if it names none.

    Known sites: dexscreener, axiom (`/meme/` holds the pool, `/t/` the token), pump.fun, birdeye, gmgn, photon,
    geckoterminal, dextools, and explorers' token pages. Of any other site only a 0x address that is a whole part
    of the path or a whole parameter counts, since file names and ids look like Solana addresses too.
    """
    try:
        url = urlsplit(link if "://" in link[:8] else f"https://{link}")
        host = (url.hostname or "").removeprefix("www.")
        parameters = {name.casefold(): value for name, value in parse_qsl(url.query, max_num_fields=50)}
    except ValueError:
        return None
    parts = [part for part in url.path.split("/") if part][:12]
    chain = _chain_of(parameters)
    if host == "dexscreener.com" and len(parts) >= 2:
        return _linked(parts[1], find_chain(parts[0]), AddressKind.POOL)
    if host == "axiom.trade" and len(parts) >= 2:
        return _linked(parts[1], chain, AddressKind.POOL if parts[0] == "meme" else AddressKind.TOKEN)
    if host == "pump.fun" and parts:
        return _linked(parts[-1], "solana", AddressKind.TOKEN)
    if host == "birdeye.so" and "token" in parts[:-1]:
        position = parts.index("token")
        return _linked(
            parts[position + 1], (find_chain(parts[position - 1]) if position else None) or chain, AddressKind.TOKEN
        )
    if host == "gmgn.ai" and len(parts) >= 3 and parts[1] == "token":
        # "reference_address": who shared the link comes first.
        return _linked(parts[2].rpartition("_")[2], find_chain(parts[0]), AddressKind.TOKEN)
    if host == "geckoterminal.com":
        return _read_geckoterminal(parts)
    if host.startswith("photon-") and host.endswith(".tinyastro.io") and "lp" in parts[:-1]:
        on = find_chain(host.removeprefix("photon-").removesuffix(".tinyastro.io"))
        return _linked(parts[parts.index("lp") + 1], on, AddressKind.POOL)
    if host == "dextools.io" and "pair-explorer" in parts[1:-1]:
        position = parts.index("pair-explorer")
        return _linked(parts[position + 1], find_chain(parts[position - 1]), AddressKind.POOL)
    if host in _EXPLORERS:
        if "token" not in parts[:-1]:
            return None
        return _linked(parts[parts.index("token") + 1], _EXPLORERS[host], AddressKind.TOKEN)
    return _read_other(parts, parameters, chain)


def _read_geckoterminal(parts: list[str]) -> LinkedAddress | None:
    for word, kind in (("pools", AddressKind.POOL), ("tokens", AddressKind.TOKEN)):
        if word in parts[1:-1]:
            position = parts.index(word, 1)
            return _linked(parts[position + 1], find_chain(parts[position - 1]), kind)
    return None


def _read_other(parts: list[str], parameters: Mapping[str, str], chain: str | None) -> LinkedAddress | None:
    if not _NO_TOKEN_PARTS.isdisjoint(part.casefold() for part in parts):
        return None
    for part in (*parts, *parameters.values()):
        if is_evm_address(part):
            return _linked(part, chain, AddressKind.TOKEN)
    return None


def _chain_of(parameters: Mapping[str, str]) -> str | None:
    for name in _CHAIN_PARAMETERS:
        value = parameters.get(name, "")[:64]
        known = find_chain(value) or _NUMBERED_CHAINS.get(value)
        if known is None and (word := _LEADING_WORD.match(value)):
            known = find_chain(word[0])
        if known is not None:
            return known
    return None


def _linked(part: str, chain: str | None, kind: AddressKind) -> LinkedAddress | None:
    found = next(iter(find_addresses(part)), None)
    if found is None:
        return None
    if isinstance(found, FoundAddress) and found.is_evm != (chain != "solana") and chain is not None:
        # The link names a chain on which there are no such addresses: the address tells more.
        chain = None
    return LinkedAddress(found, chain, kind)
