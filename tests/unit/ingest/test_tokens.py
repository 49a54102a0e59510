"""The one identity of a token for all spellings of its chain and address."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.tokens import (
    TokenKey,
    canonical_chain,
    canonical_token,
    decode_base58,
    encode_base58,
)

WRAPPED_SOL = "So11111111111111111111111111111111111111112"
EVM_MIXED_CASE = "0x20d6015660b3fe52e6690a889b5C51F69902cE0e"


@pytest.mark.parametrize(
    ("spelling", "chain"),
    [
        ("SOL", "solana"),
        ("Solana", "solana"),
        (" solana ", "solana"),
        ("eth", "ethereum"),
        ("BNB", "bsc"),
        ("BNB Chain", "bsc"),
        ("Binance Smart Chain", "bsc"),
        ("binance", "binance"),
        ("Base", "base"),
        ("matic", "polygon"),
        ("freqtrade-testdata", "freqtrade-testdata"),
    ],
)
def test_spellings_of_a_chain_have_one_name(spelling: str, chain: str) -> None:
    assert canonical_chain(spelling) == chain


@pytest.mark.parametrize("chain", ["", "  ", "a/b", "my chain", "x" * 33, "..", "café", "a:b"])
def test_chain_that_is_no_safe_name_is_refused(chain: str) -> None:
    with pytest.raises(DataError, match="chain"):
        canonical_token(chain, "BTC_USDT")


def test_evm_addresses_have_one_case_on_every_evm_chain() -> None:
    lower = EVM_MIXED_CASE.lower()
    assert canonical_token("bsc", EVM_MIXED_CASE) == TokenKey("bsc", lower)
    assert canonical_token("base", "0X" + lower[2:].upper()) == TokenKey("base", lower)


def test_a_0x_address_stays_on_the_chain_that_its_row_names() -> None:
    """Once every 0x address was taken for bsc, whatever the row said."""
    assert canonical_token("ethereum", EVM_MIXED_CASE).chain == "ethereum"


@pytest.mark.parametrize("address", ["0x123", EVM_MIXED_CASE + "0", EVM_MIXED_CASE[2:], WRAPPED_SOL, "0x" + "g" * 40])
def test_evm_address_of_another_shape_is_refused(address: str) -> None:
    with pytest.raises(DataError, match="0x followed by 40 hex digits"):
        canonical_token("base", address)


def test_solana_address_keeps_its_case() -> None:
    """Solana addresses were lower-cased once, which made other addresses of them."""
    address = "FRFnJw7CpAjvV7xHbCxLsTCBach5DKkoCRxnPb89bonk"
    assert canonical_token("SOL", f" {address}\n") == TokenKey("solana", address)
    assert canonical_token("solana", WRAPPED_SOL).address == WRAPPED_SOL


@pytest.mark.parametrize(
    ("address", "reason"),
    [
        ("FRFnJw7CpAjvV7xHbCxLsTCBach5DKkoCRxnPb89bonkwatching", "52 characters"),
        ("FRFnJw7CpAjvV7xHbCxLsTCBach5DKkoCRxnPb89bon0", "'0' at position 44"),
        # 44 times the highest digit is 58^44 - 1 > 2^256, so it takes a 33rd byte.
        ("z" * 44, "33 bytes"),
        # 32 times the digit 1 is (58^32 - 1) / 57, which has 182 bits: 23 bytes.
        ("2" * 32, "23 bytes"),
        ("", "empty"),
    ],
)
def test_solana_address_that_is_not_32_bytes_is_refused(address: str, reason: str) -> None:
    with pytest.raises(DataError, match=reason):
        canonical_token("solana", address)


def test_pair_name_on_an_exchange_is_kept_as_it_is() -> None:
    assert canonical_token("Binance", "1000CHEEMS_USDT") == TokenKey("binance", "1000CHEEMS_USDT")


@pytest.mark.parametrize("pair", ["BTC/USDT", "BTC USDT", "x" * 65, "..", "BTC:USDT", "BTC\n_USDT"])
def test_pair_name_that_is_no_safe_key_is_refused(pair: str) -> None:
    with pytest.raises(DataError, match="no pair name on binance"):
        canonical_token("binance", pair)


@given(st.binary(min_size=0, max_size=40))
def test_base58_text_decodes_to_the_bytes_it_was_made_of(content: bytes) -> None:
    assert decode_base58(encode_base58(content)) == content


def test_base58_agrees_with_known_addresses() -> None:
    # The system program is 32 zero bytes; one leading "1" stands for each.
    assert encode_base58(bytes(32)) == "1" * 32
    assert len(decode_base58(WRAPPED_SOL)) == 32
    # 57 is the last digit, 58 carries.
    assert encode_base58(bytes([57])) == "z"
    assert encode_base58(bytes([58])) == "21"
