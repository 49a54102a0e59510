"""Options that would refuse every row are refused themselves."""

import pytest

from quantbot_pipeline.errors import DataError
from quantbot_pipeline.workflows.import_candles import CandleImportOptions

MINT = "So11111111111111111111111111111111111111112"


@pytest.mark.parametrize(
    ("chain", "token", "named"),
    [("solana", "U2", "--token"), ("bsc", MINT, "--token"), ("no chain!", "BTC_USDT", "--chain"), ("", "X", "--chain")],
)
def test_token_that_is_no_address_on_its_chain_is_refused(chain: str, token: str, named: str) -> None:
    with pytest.raises(DataError, match=f"^{named}: "):
        CandleImportOptions(chain=chain, token=token)


@pytest.mark.parametrize(
    ("chain", "token"),
    [
        ("solana", MINT),
        ("solana", f"solana_{MINT}"),
        ("bsc", "0x" + "aB" * 20),
        ("binance", "BTC/USDT"),
        ("binance", None),
        (None, "U2"),
        (None, None),
    ],
)
def test_options_that_may_fit_are_taken(chain: str | None, token: str | None) -> None:
    assert CandleImportOptions(chain=chain, token=token).chain == chain
