"""The source of candles that is asked for by name, from what is configured for it."""

from pydantic import SecretStr

from quantbot_pipeline.sources.birdeye import Birdeye
from quantbot_pipeline.sources.candle_pages import CandleSource
from quantbot_pipeline.sources.geckoterminal import GeckoTerminal


def open_source(
    name: str,
    *,
    geckoterminal_url: str,
    birdeye_url: str,
    birdeye_api_key: SecretStr | None,
    birdeye_requests_per_second: float,
    is_asked: bool = True,
) -> CandleSource:
    """Return the source `geckoterminal` or `birdeye`; nothing is sent.

    Args:
        name: Which one.
        geckoterminal_url: Where GeckoTerminal's API is.
        birdeye_url: Where Birdeye's API is.
        birdeye_api_key: Its key.
        birdeye_requests_per_second: Limit of the key's plan.
        is_asked: Whether requests will be sent: without, no key is needed.

    Raises:
        ConfigError: a key is missing, or an address can't be used.
    """
    if name == "geckoterminal":
        return GeckoTerminal(base_url=geckoterminal_url)
    # A plan needs no key; one that is missing is named before anything is asked.
    key = birdeye_api_key if is_asked else SecretStr("none")
    return Birdeye(key, base_url=birdeye_url, requests_per_second=birdeye_requests_per_second)
