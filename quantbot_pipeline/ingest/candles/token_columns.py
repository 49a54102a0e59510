"""Which token each row of a candle file is about, by its columns, the file's name and what a person told."""

from collections.abc import Mapping

import numpy as np
import pyarrow as pa

from quantbot_pipeline.engine.arrow_columns import array_of, filled
from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, IntArray
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candles.check_rules import CheckRules
from quantbot_pipeline.ingest.candles.faults import Faults
from quantbot_pipeline.ingest.candles.interval_names import NAME_OF_SECONDS
from quantbot_pipeline.ingest.candles.rows import CandleRows
from quantbot_pipeline.ingest.quarantine import shown
from quantbot_pipeline.ingest.tokens import (
    EVM_CHAINS,
    TokenKey,
    canonical_chain,
    canonical_token,
    find_chain,
    is_evm_address,
    is_solana_address,
)

OPTION_OF_COLUMN = {"chain": "--chain", "token_address": "--token", "interval": "--interval"}
"""The option of the import that stands in for a missing column."""


def tokens_of_rows(rows: CandleRows, rules: CheckRules, faults: Faults) -> tuple[list[TokenKey], IntArray]:
    """Return the tokens in sorted order, and for every row the index of its token (any index if it has none)."""
    has_chain = "chain" in rows.columns
    chain_codes, chains = text_codes(rows, "chain", rules.told("chain"))
    token_codes, addresses = text_codes(rows, "token_address", rules.told("token_address"))
    if rows.has_symbols and rules.given.get("token_address") is not None:
        token_codes, addresses = np.zeros(rows.row_count, dtype=np.int64), [rules.given["token_address"]]
    spellings, spelling_of_row = distinct(chain_codes * len(addresses) + token_codes)
    keys: list[TokenKey | None] = []
    refused: list[tuple[str, str] | None] = []
    for spelling in spellings:
        chain_code, token_code = divmod(int(spelling), len(addresses))
        is_chain_stated = has_chain or rules.given.get("chain") is not None
        key, fault = _token_key(
            chains[chain_code],
            addresses[token_code],
            is_chain_stated=is_chain_stated,
            is_symbol=rows.has_symbols,
        )
        if key is not None:
            _refuse_contradiction(rows.file, key, rules.given)
        keys.append(key)
        refused.append(fault)
    if any(refused):
        for row in np.flatnonzero(np.array([fault is not None for fault in refused])[spelling_of_row]):
            fault = refused[int(spelling_of_row[row])]
            if fault is not None:
                faults.add(int(row), *fault)
    tokens = sorted({key for key in keys if key is not None})
    rank = {key: position for position, key in enumerate(tokens)}
    rank_of_spelling = np.array([0 if key is None else rank[key] for key in keys], dtype=np.int64)
    if not len(spellings):
        return tokens, np.zeros(0, dtype=np.int64)
    return tokens, rank_of_spelling[spelling_of_row]


def series_of_rows(
    tokens: list[TokenKey], token_of_row: IntArray, step: IntArray
) -> tuple[list[tuple[TokenKey, str]], IntArray]:
    """Return the (token, interval) of rows in sorted order, and for every row the index of its own (or any)."""
    lengths = np.array([0, *sorted(INTERVAL_SECONDS.values())], dtype=np.int64)
    spellings, spelling_of_row = distinct(token_of_row * len(lengths) + np.searchsorted(lengths, step))
    keys: list[tuple[TokenKey, str] | None] = []
    for spelling in spellings.tolist():
        token, length = divmod(spelling, len(lengths))
        keys.append((tokens[token], NAME_OF_SECONDS[int(lengths[length])]) if tokens and length else None)
    series = sorted({key for key in keys if key is not None})
    rank = {key: position for position, key in enumerate(series)}
    ranks = np.array([0 if key is None else rank[key] for key in keys], dtype=np.int64)
    return series, ranks[spelling_of_row] if len(spellings) else np.zeros(0, dtype=np.int64)


def chain_and_address(text: str) -> tuple[str, str] | None:
    """Return chain and address of a text such as `solana_<address>`; None if it is not of that form."""
    prefix, separator, address = text.rpartition("_")
    chain = find_chain(prefix) if separator else None
    if chain is None:
        return None
    is_address = is_solana_address(address) if chain == "solana" else is_evm_address(address)
    return (chain, address) if is_address else None


def require_usable_identity(chain: str | None, token: str | None) -> None:
    """Refuse options that would refuse every row.

    Args:
        chain: Chain of all rows, as a person wrote it; None if none was given.
        token: Token address of all rows, likewise.

    Raises:
        DataError: there is no such chain, or the address can't be one of that chain.
    """
    if chain is None:
        return
    if token is None:
        canonical_chain(chain)
        return
    _, fault = _token_key(chain, token, is_chain_stated=True, is_symbol=True)
    if fault is not None:
        field, reason = fault
        raise DataError(f"{OPTION_OF_COLUMN[field]}: {reason}")


def _token_key(
    chain: str | None, address: str | None, *, is_chain_stated: bool, is_symbol: bool
) -> tuple[TokenKey | None, tuple[str, str] | None]:
    """Return the token that the texts name, or the field at fault and the reason."""
    pair = chain_and_address(address) if address is not None else None
    if pair is not None and not is_chain_stated:
        return canonical_token(*pair), None
    if chain is None:
        return None, ("chain", "chain is empty")
    if address is None:
        return None, ("token_address", "token_address is empty")
    try:
        name = canonical_chain(chain)
    except DataError as error:
        return None, ("chain", str(error))
    if pair is not None and (name in EVM_CHAINS or name == "solana"):
        if canonical_chain(pair[0]) != name:
            return None, ("token_address", f"token_address {shown(address)} is on {pair[0]}, but chain says {name}")
        address = pair[1]
    elif is_symbol and name != "solana" and name not in EVM_CHAINS:
        # Exchanges write BTC/USDT or BTC/USDT:USDT; the pair's name here has underscores.
        address = address.replace("/", "_").replace(":", "_")
    try:
        return canonical_token(name, address), None
    except DataError as error:
        return None, ("token_address", str(error))


def _refuse_contradiction(file: str, token: TokenKey, given: Mapping[str, str | None]) -> None:
    """Refuse a file whose own columns say something else than the options of the import."""
    asked = canonical_token(given.get("chain") or token.chain, given.get("token_address") or token.address)
    for name, found, wanted in (
        ("chain", token.chain, asked.chain),
        ("token_address", token.address, asked.address),
    ):
        if found != wanted:
            raise DataError(
                f"{file}: column {name!r} says {found!r}, but {OPTION_OF_COLUMN[name]} says "
                f"{wanted!r}; leave {OPTION_OF_COLUMN[name]} out for files that have the column"
            )


def text_codes(rows: CandleRows, name: str, given: str | None) -> tuple[IntArray, list[str | None]]:
    """Return for every row the index of its text, and the texts; what is told fills empty cells."""
    column = rows.columns.get(name)
    if column is None:
        return np.zeros(rows.row_count, dtype=np.int64), [given]
    try:
        if not pa.types.is_dictionary(column.type):
            column = column.cast(pa.string()).dictionary_encode()
        texts = [_text_or_none(text) or given for text in column.dictionary.cast(pa.string()).to_pylist()]
    except pa.ArrowException as error:
        raise DataError(
            f"{rows.file}: column {name!r} is of type {rows.columns[name].type}; text is allowed"
        ) from error
    indices = filled(column.indices.cast(pa.int64()), len(texts))
    codes: IntArray = array_of(indices)
    return codes, [*texts, given]


def _text_or_none(text: str | None) -> str | None:
    trimmed = "" if text is None else text.strip()
    return trimmed or None


def distinct(codes: IntArray) -> tuple[IntArray, IntArray]:
    """Return the distinct codes and for every row the position of its code; quick when there is but one."""
    if len(codes) and (codes == codes[0]).all():
        return codes[:1], np.zeros(len(codes), dtype=np.int64)
    distinct, positions = np.unique(codes, return_inverse=True)
    return distinct, positions.astype(np.int64)
