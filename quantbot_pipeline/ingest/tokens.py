"""The identity of a token: one canonical chain name and address for all its spellings.

`chain:address` of a canonical token consists of `[A-Za-z0-9._:-]` only, so it is safe as a partition
key, in a URL and in a file name.
"""

import re
from functools import lru_cache
from typing import NamedTuple

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.quarantine import shown

CHAIN_ALIASES: dict[str, str] = {
    "sol": "solana",
    "eth": "ethereum",
    "erc20": "ethereum",
    "mainnet": "ethereum",
    "bnb": "bsc",
    "bep20": "bsc",
    "bnb-chain": "bsc",
    "bnbchain": "bsc",
    "binance-smart-chain": "bsc",
    "arb": "arbitrum",
    "arbitrum-one": "arbitrum",
    "matic": "polygon",
    "polygon-pos": "polygon",
    "op": "optimism",
    "avax": "avalanche",
    "ftm": "fantom",
}
"""Other spellings of chain names, after case folding and with blanks and underscores as hyphens."""

UNKNOWN_EVM_CHAIN = "unknown-evm"
"""Stands for the chain of a 0x address that nothing places on one, until a source of candles knows it."""

EVM_CHAINS: frozenset[str] = frozenset(
    {
        UNKNOWN_EVM_CHAIN,
        "abstract",
        "arbitrum",
        "avalanche",
        "base",
        "berachain",
        "blast",
        "bsc",
        "cronos",
        "ethereum",
        "fantom",
        "hyperevm",
        "linea",
        "mantle",
        "monad",
        "optimism",
        "polygon",
        "pulsechain",
        "scroll",
        "sonic",
        "unichain",
        "zksync",
    }
)
"""Chains whose addresses are 20 bytes in hex; letter case carries a checksum only."""

SOLANA_ADDRESS_LENGTHS = range(32, 45)
"""Characters that 32 bytes can take in base58."""

_BASE58_ALPHABET = "123456789ABCDEFGHJKLMNPQRSTUVWXYZabcdefghijkmnopqrstuvwxyz"
_BASE58_VALUE = {character: value for value, character in enumerate(_BASE58_ALPHABET)}
_BASE58_TEXT = re.compile(f"[{_BASE58_ALPHABET}]+")
_EVM_ADDRESS = re.compile(r"0[xX][0-9a-fA-F]{40}")
_CHAIN_NAME = re.compile(r"[a-z0-9._-]{1,32}")
# At least one letter or digit: "." and ".." would be folders.
_PAIR_NAME = re.compile(r"(?=.*[A-Za-z0-9])[A-Za-z0-9._-]{1,64}")


class TokenKey(NamedTuple):
    """A token's canonical identity."""

    chain: str
    address: str


def canonical_chain(chain: str) -> str:
    """Return the one name of a chain or exchange.

    Raises:
        DataError: the name is empty or holds characters that are not allowed.
    """
    folded = chain.strip().casefold()
    hyphenated = re.sub(r"[\s_]+", "-", folded)
    name = CHAIN_ALIASES.get(hyphenated, CHAIN_ALIASES.get(folded, folded))
    if not name:
        raise DataError("chain is empty: name a chain such as solana, base, ethereum, or an exchange")
    if not _CHAIN_NAME.fullmatch(name) or not any(character.isalnum() for character in name):
        raise DataError(f"chain {shown(chain)} is no usable name: allowed are 1 to 32 of a-z, 0-9, '.', '_' and '-'")
    return name


def find_chain(word: str) -> str | None:
    """Return the chain that a word of a text or link names; None if it names none that is known.

    Unlike `canonical_chain` it takes no word for the name of an exchange or of the user's own chain.
    """
    hyphenated = re.sub(r"[\s_]+", "-", word.strip().casefold()) if len(word) <= 64 else ""
    name = CHAIN_ALIASES.get(hyphenated, hyphenated)
    return name if name == "solana" or (name in EVM_CHAINS and name != UNKNOWN_EVM_CHAIN) else None


def is_solana_address(text: str) -> bool:
    """Return whether a text is base58 for 32 bytes."""
    if len(text) not in SOLANA_ADDRESS_LENGTHS or not _BASE58_TEXT.fullmatch(text):
        return False
    return len(decode_base58(text)) == 32


def is_evm_address(text: str) -> bool:
    """Return whether a text is 0x and 40 hex digits."""
    return _EVM_ADDRESS.fullmatch(text) is not None


def decode_base58(text: str) -> bytes:
    """Return the bytes that base58 text stands for.

    Raises:
        DataError: a character outside the base58 alphabet.
    """
    number = 0
    for position, character in enumerate(text, start=1):
        value = _BASE58_VALUE.get(character)
        if value is None:
            raise DataError(
                f"{shown(text)} is not base58: character {shown(character)} at position {position} "
                "is outside the alphabet (no 0, O, I, l)"
            )
        number = number * 58 + value
    leading_zeros = len(text) - len(text.lstrip("1"))
    return b"\x00" * leading_zeros + number.to_bytes((number.bit_length() + 7) // 8, "big")


def encode_base58(content: bytes) -> str:
    """Return the base58 text of bytes."""
    number = int.from_bytes(content, "big")
    digits: list[str] = []
    while number:
        number, value = divmod(number, 58)
        digits.append(_BASE58_ALPHABET[value])
    leading_zeros = len(content) - len(content.lstrip(b"\x00"))
    return "1" * leading_zeros + "".join(reversed(digits))


@lru_cache(maxsize=65536)
def canonical_token(chain: str, address: str) -> TokenKey:
    """Return the one identity of a token.

    EVM addresses become lower case. Solana addresses keep their case, which is part of the value, and must
    decode to 32 bytes. Any other chain is an exchange or the user's own: its address is a pair name.

    Raises:
        DataError: the chain or the address can't be used; the message fits a quarantine row.
    """
    name = canonical_chain(chain)
    trimmed = address.strip()
    if not trimmed:
        raise DataError("token_address is empty")
    if name in EVM_CHAINS:
        if not _EVM_ADDRESS.fullmatch(trimmed):
            raise DataError(
                f"token_address {shown(address)} is no address on {name}: allowed is 0x followed by 40 hex digits"
            )
        return TokenKey(name, trimmed.lower())
    if name == "solana":
        # 32 bytes are 32 to 44 base58 characters; checked first, so that a long text costs nothing.
        if len(trimmed) not in SOLANA_ADDRESS_LENGTHS:
            raise DataError(
                f"token_address {shown(address)} is no Solana address: it has {len(trimmed)} characters, "
                "32 to 44 are allowed"
            )
        byte_count = len(decode_base58(trimmed))
        if byte_count != 32:
            raise DataError(
                f"token_address {shown(address)} is no Solana address: it decodes to {byte_count} bytes and must be 32"
            )
        return TokenKey(name, trimmed)
    if not _PAIR_NAME.fullmatch(trimmed):
        raise DataError(
            f"token_address {shown(address)} is no pair name on {name}: "
            "allowed are 1 to 64 of A-Z, a-z, 0-9, '.', '_' and '-'"
        )
    return TokenKey(name, trimmed)
