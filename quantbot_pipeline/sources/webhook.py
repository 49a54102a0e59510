"""Delivery of one JSON document to a webhook: bounded in time, in tries, and by never raising.

A webhook's address is a secret, as whoever knows it can write there: no answer of this module repeats it, and
redirects are not followed. The document is posted as `application/json` with the header `Idempotency-Key`, by which a
receiver can tell a repetition. Nothing of the answer but its status is read.
"""

import asyncio
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from quantbot_pipeline.sources.clock import Clock

# What may be better at the next try; everything else from 400 on is final.
_PASSING_STATUSES = {408, 425, 429, 500, 502, 503, 504}


@dataclass(frozen=True, slots=True)
class DeliveryLimits:
    """How long and how often.

    Five deliveries that all fail take less than the 60 seconds of one tick of a sensor.

    Attributes:
        try_seconds: For one try as a whole, from connecting to the status, however steadily an answer drips.
        tries: Tries in all.
        first_wait_seconds: Wait before the second try; it doubles with each further one.
    """

    try_seconds: float = 3.0
    tries: int = 3
    first_wait_seconds: float = 0.5


def deliver(
    url: SecretStr,
    document: Mapping[str, Any],
    *,
    idempotency_key: str,
    limits: DeliveryLimits | None = None,
    clock: Clock | None = None,
) -> str | None:
    """Post a document, and return None, or why it could not be delivered.

    Args:
        url: The webhook's address.
        document: What to post.
        idempotency_key: Equal for repetitions of one document.
        limits: Time and tries.
        clock: Waits between tries.
    """
    limits, clock = limits or DeliveryLimits(), clock or Clock()
    try:
        parts = urlsplit(url.get_secret_value())
        is_address = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
    except ValueError:
        is_address = False
    if not is_address:
        return "QUANTBOT_ALERT_WEBHOOK_URL is no address; allowed is one such as https://host/path"
    reason = ""
    for number in range(1, limits.tries + 1):
        if number > 1:
            clock.sleep(limits.first_wait_seconds * 2 ** (number - 2))
        reason, is_final = asyncio.run(_try(url, document, idempotency_key, limits))
        if not reason:
            return None
        if is_final:
            return reason
    return f"{reason}, at each of {limits.tries} tries"


async def _try(
    url: SecretStr, document: Mapping[str, Any], idempotency_key: str, limits: DeliveryLimits
) -> tuple[str, bool]:
    """Return why one try failed, empty if it did not, and whether another can't be better."""
    try:
        async with asyncio.timeout(limits.try_seconds):
            status = await _post(url, document, idempotency_key, limits.try_seconds)
    except TimeoutError:
        return f"the webhook gave no answer within {limits.try_seconds:g} seconds", False
    except httpx.HTTPError as error:
        # The text of these errors may hold the address.
        return f"the webhook can't be reached ({type(error).__name__})", False
    except (httpx.InvalidURL, ValueError):
        return "QUANTBOT_ALERT_WEBHOOK_URL is no address; allowed is one such as https://host/path", True
    if status < 300:
        return "", True
    return f"the webhook answered with status {status}", status not in _PASSING_STATUSES


async def _post(url: SecretStr, document: Mapping[str, Any], idempotency_key: str, seconds: float) -> int:
    async with (
        # The client's own time-out starts anew with each byte: the one around the try is what bounds it.
        httpx.AsyncClient(timeout=seconds, follow_redirects=False) as client,
        client.stream(
            "POST", url.get_secret_value(), json=document, headers={"idempotency-key": idempotency_key}
        ) as answer,
    ):
        return answer.status_code
