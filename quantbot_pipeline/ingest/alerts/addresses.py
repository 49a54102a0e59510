"""Token addresses in free text, where people glue words to them, break them over lines, and hide marks in them.

Every search takes time by the length of the text. What can be read in two ways is never guessed.
"""

import re
from collections.abc import Iterator
from typing import NamedTuple

from quantbot_pipeline.ingest.tokens import SOLANA_ADDRESS_LENGTHS, decode_base58, is_evm_address, is_solana_address

VANITY_ENDINGS = ("pump", "bonk")
"""How the mints of the two large launchpads end; an ending where text is glued on tells where the mint ends."""

MAX_GLUED_RUN = 132
"""Longest run of letters and digits in which an address with text glued to it is looked for: three addresses."""

BREAK = "\x1f"
"""Stands between a code block and the text beside it: no line end, but never within an address."""

_EVM = re.compile(r"0[xX]([0-9a-fA-F]{40,})")
_EVM_DIGITS = 40
_HASH_DIGITS = 64
_RUN = re.compile(r"[A-Za-z0-9]{32,}")
_HEX = re.compile(r"[0-9a-fA-F]+")
_WIDTHLESS = re.compile("[\u00ad\u061c\u180e\u200b-\u200f\u202a-\u202e\u2060-\u2064\u2066-\u2069\ufeff]")
_BLANKS = re.compile("[\u00a0\u1680\u2000-\u200a\u202f\u205f\u3000]")
_BROKEN_EVM = re.compile(r"(0[xX][0-9a-fA-F]{1,39})[ \t]{0,8}\r?\n[ \t]{0,8}([0-9a-fA-F]{1,39})(?![A-Za-z0-9])")
_BROKEN_SOLANA = re.compile(
    r"(?<![A-Za-z0-9])([A-Za-z0-9]{4,40})[ \t]{0,8}\r?\n[ \t]{0,8}([A-Za-z0-9]{4,40})(?![A-Za-z0-9])"
)


class FoundAddress(NamedTuple):
    """An address in a text.

    Attributes:
        address: As written: mixed case, without text around it.
        is_evm: Whether it is 0x and 40 hex digits; else it is Solana's base58.
        note: How it was made out, if that was not plain.
    """

    address: str
    is_evm: bool
    note: str | None


class UnclearAddress(NamedTuple):
    """A text that holds an address, but not one only.

    Attributes:
        text: The text.
        reason: Why it is unclear, with what it could be.
        readings: The addresses that it could be.
    """

    text: str
    reason: str
    readings: tuple[str, ...]


def read_evm_run(digits: str, follower: str) -> FoundAddress | UnclearAddress | None:
    """Return what hex digits behind `0x`, 40 or more of them, are; the run ends where hex digits end.

    An address has 40 digits. With 64 or more it is a transaction, a hash or another network's address. Between
    them it is an address with text glued to it if the text goes on with a letter that is no digit (`Aped`);
    else it may be a mistyped one, and is unclear.

    Args:
        digits: The hex digits.
        follower: The character behind them; empty at the end of the text.
    """
    address = "0x" + digits[:_EVM_DIGITS]
    if len(digits) == _EVM_DIGITS:
        return FoundAddress(address, is_evm=True, note=None)
    if len(digits) >= _HASH_DIGITS:
        return None
    rest = digits[_EVM_DIGITS:]
    if rest.isalpha() and follower.isalpha():
        return FoundAddress(address, is_evm=True, note=f"text was glued to the address: {rest + '…'!r}")
    return UnclearAddress(
        f"0x{digits}",
        f"'0x{digits}' has {len(digits)} hex digits, an address has {_EVM_DIGITS}; it could be {address} with "
        f"{rest!r} glued to it, or a mistake",
        (address,),
    )


def read_run(run: str) -> FoundAddress | UnclearAddress | None:
    """Return what a run of letters and digits, 32 or more of them, is to Solana.

    It is an address if the whole decodes to 32 bytes. With text glued to either end, it is the one part at
    the beginning or the end that decodes to 32 bytes; of several such parts the one that ends as a
    launchpad's mints do (`VANITY_ENDINGS`); else it is unclear. Signatures (64 bytes), hashes in hex, and
    content ids are none.
    """
    if len(run) > MAX_GLUED_RUN or _HEX.fullmatch(run):
        return None
    if is_solana_address(run):
        return _read_whole(run)
    if _is_of_bytes(run, 64) or _is_content_id(run):
        return None
    parts: dict[str, None] = {}
    for length in SOLANA_ADDRESS_LENGTHS:
        for part in (run[:length], run[-length:]):
            if len(part) == length and is_solana_address(part) and _has_both_cases(part):
                parts[part] = None
    likely = [part for part in parts if part.endswith(VANITY_ENDINGS)] or list(parts)
    if not likely:
        return None
    if len(likely) == 1:
        rest = run.replace(likely[0], "…", 1)
        return FoundAddress(likely[0], is_evm=False, note=f"text was glued to the address: {rest!r}")
    return UnclearAddress(
        run, f"{run!r} is an address with text glued to it; it could be {' or '.join(sorted(likely))}", tuple(likely)
    )


def _read_whole(run: str) -> FoundAddress | UnclearAddress | None:
    if not _has_both_cases(run):
        if not any(character.isalpha() for character in run):
            return None
        return UnclearAddress(run, f"{run!r} has lost the case of its letters, which is part of the address", ())
    if not run.endswith(VANITY_ENDINGS):
        for ending in VANITY_ENDINGS:
            mint = run[: run.rfind(ending) + len(ending)] if ending in run[31:] else ""
            if is_solana_address(mint):
                return UnclearAddress(run, f"{run!r} could be itself, or {mint} with text glued to it", (run, mint))
    return FoundAddress(run, is_evm=False, note=None)


def _has_both_cases(text: str) -> bool:
    return text != text.lower() and text != text.upper()


def _is_of_bytes(run: str, count: int) -> bool:
    if not 86 <= len(run) <= 88 or not run.isascii() or any(character in "0OIl" for character in run):
        return False
    return len(decode_base58(run)) == count


def _is_content_id(run: str) -> bool:
    return len(run) == 46 and run.startswith("Qm") and not any(character in "0OIl" for character in run)


def search_text(text: str) -> str:
    """Return a text for searching: every kind of blank is one, marks without width are blanks."""
    return _BLANKS.sub(" ", _WIDTHLESS.sub(" ", text))


def find_addresses(text: str) -> list[FoundAddress | UnclearAddress]:
    """Return the addresses in a text without links, in the order in which they stand in it, repeats included.

    Marks without width count as blanks at first; only where that leaves no address are they taken out, and
    after that addresses broken over a line end are put together.
    """
    spaced = search_text(text)
    found = list(_find_in(spaced))
    if found:
        return found
    joined = _BLANKS.sub(" ", _WIDTHLESS.sub("", text))
    if joined != spaced:
        found = list(_find_in(joined))
        if found:
            return found
    return list(_find_broken(joined))


def _find_in(text: str) -> Iterator[FoundAddress | UnclearAddress]:
    position = 0
    for match in _EVM.finditer(text):
        yield from _find_solana(text[position : match.start()])
        evm = read_evm_run(match[1], text[match.end() : match.end() + 1])
        if evm is not None:
            yield evm
        # Letters behind the digits are text that was glued on, never the beginning of another address.
        position = match.end()
        while position < len(text) and text[position].isascii() and text[position].isalnum():
            position += 1
    yield from _find_solana(text[position:])


def _find_solana(text: str) -> Iterator[FoundAddress | UnclearAddress]:
    for match in _RUN.finditer(text):
        found = read_run(match[0])
        if found is not None:
            yield found


def _find_broken(text: str) -> Iterator[FoundAddress]:
    note = "the address was broken over a line end"
    for match in _BROKEN_EVM.finditer(text):
        address = match[1] + match[2]
        if is_evm_address(address):
            yield FoundAddress(address, is_evm=True, note=note)
    for match in _BROKEN_SOLANA.finditer(text):
        address = match[1] + match[2]
        # Two words on two lines would hardly hold two digits between them, and letters of both cases.
        if (
            is_solana_address(address)
            and _has_both_cases(address)
            and sum(character.isdigit() for character in address) >= 2
        ):
            yield FoundAddress(address, is_evm=False, note=note)
