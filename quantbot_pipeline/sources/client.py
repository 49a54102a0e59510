"""One HTTP client for all sources: rate limit, time limits, size limit, retries; JSON in.

A request is tried again after 429, 408 and 5xx, after time-outs and broken connections, and when the answer is no
JSON. Everything else is final at once. Redirects are never followed: headers, and with them the key, go to the
configured address and to no other.

The key is part of no message: what a server says is quoted only after the key was taken out of it, and exceptions of
the HTTP library, which carry the request with its headers, are not passed on.
"""

import hashlib
import json
import random
import re
from collections.abc import Mapping
from dataclasses import dataclass
from email.utils import parsedate_to_datetime
from typing import Any
from urllib.parse import urlsplit

import httpx
from pydantic import SecretStr

from quantbot_pipeline.errors import ConfigError, SourceError
from quantbot_pipeline.ingest.quarantine import shown
from quantbot_pipeline.sources.clock import Clock
from quantbot_pipeline.sources.failures import SourceAccessError, SourceNotFoundError, SourceUnreachableError
from quantbot_pipeline.sources.rate_limit import TokenBucket

_LOOPBACK = {"localhost", "127.0.0.1", "::1"}
_HIDDEN = "***"
_QUOTED_BYTES = 2000
_QUOTED_CHARACTERS = 160
_KEY = re.compile(r"[\x21-\x7e]+")


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """How long, how often and how much.

    Attributes:
        connect_seconds: Until a connection stands.
        read_seconds: Without a single byte: a server that accepts and then stalls.
        total_seconds: For a whole answer, however steadily it drips.
        tries: Requests in all for one answer.
        first_wait_seconds: Longest wait before the second try; it doubles with each further one. The wait is a random
            part of that (full jitter), so that clients that failed together do not come back together.
        longest_wait_seconds: Bound of that doubling.
        longest_retry_after_seconds: A server that asks for a longer pause is left alone until the next run.
        answer_bytes: Largest answer. A page of 1 000 candles takes about 100 kB.
    """

    connect_seconds: float = 10.0
    read_seconds: float = 30.0
    total_seconds: float = 120.0
    tries: int = 6
    first_wait_seconds: float = 2.0
    longest_wait_seconds: float = 60.0
    longest_retry_after_seconds: float = 300.0
    answer_bytes: int = 8_000_000


@dataclass(frozen=True, slots=True)
class JsonAnswer:
    """A parsed answer and the SHA-256 of its bytes, in hex."""

    document: Any
    sha256: str


class _PassingFaultError(Exception):
    """What may be better at the next try."""

    def __init__(self, reason: str, *, retry_after: float | None = None) -> None:
        super().__init__(reason)
        self.reason = reason
        self.retry_after = retry_after


class SourceClient:
    """Asks one API for JSON.

    Attributes:
        name: The source's name, for messages.
        request_count: Requests sent so far, tries included.
    """

    def __init__(
        self,
        *,
        name: str,
        base_url: str,
        url_variable: str,
        bucket: TokenBucket,
        clock: Clock,
        headers: Mapping[str, str] | None = None,
        key_header: str | None = None,
        key: SecretStr | None = None,
        key_variable: str = "",
        limits: RequestLimits | None = None,
        jitter: random.Random | None = None,
    ) -> None:
        """Prepare the client; nothing is sent.

        Args:
            name: The source's name, for messages.
            base_url: Where its paths begin.
            url_variable: Environment variable that `base_url` may come from, for messages.
            bucket: Keeps its rate limit.
            clock: Tells the time and waits.
            headers: Sent with every request.
            key_header: Header that carries the key.
            key: The key.
            key_variable: Environment variable that `key` comes from, for messages.
            limits: Times, tries and sizes.
            jitter: Chance of the waits.

        Raises:
            ConfigError: the address or the key can't be used; the message repeats neither a password nor the key.
        """
        self.name = name
        self.request_count = 0
        self._bucket = bucket
        self._clock = clock
        self._limits = limits or RequestLimits()
        # Waits need no secrecy, only variety.
        self._jitter = jitter or random.Random()  # noqa: S311
        self._key = key
        self._key_variable = key_variable
        self._base_url = _checked_url(base_url, url_variable, has_key=key is not None)
        # Not compressed: the size limit then holds for what is read, and no answer can unfold beyond it.
        sent = {"accept": "application/json", **(headers or {}), "accept-encoding": "identity"}
        if key is not None and key_header is not None:
            if not _KEY.fullmatch(key.get_secret_value()):
                raise ConfigError(
                    f"{key_variable} holds blanks, line ends or characters that no header can carry; set it to the "
                    "key alone"
                )
            sent[key_header] = key.get_secret_value()
        self._http = httpx.Client(
            headers=sent,
            follow_redirects=False,
            timeout=httpx.Timeout(self._limits.read_seconds, connect=self._limits.connect_seconds),
        )

    def close(self) -> None:
        """Close the connections."""
        self._http.close()

    def get_json(
        self, path: str, parameters: Mapping[str, str | int], headers: Mapping[str, str] | None = None
    ) -> JsonAnswer:
        """Return the JSON answer to a GET request.

        Args:
            path: Path below the base URL, beginning with a slash.
            parameters: The query.
            headers: Further headers of this request.

        Raises:
            SourceNotFoundError: 404.
            SourceAccessError: 401 or 403 although a key was sent.
            SourceUnreachableError: no usable answer in all tries, or a pause was asked for that is too long.
            SourceError: any other refusal, a redirect, or an answer beyond the size limit.
        """
        limits = self._limits
        place = f"{self.name}: GET {path}"
        attempt = 1
        while True:
            self._bucket.wait()
            self.request_count += 1
            try:
                return self._try_once(place, path, parameters, headers or {})
            except _PassingFaultError as fault:
                if attempt == limits.tries:
                    raise SourceUnreachableError(
                        f"{place}: no usable answer in {limits.tries} tries, the last one: {fault.reason}; run the "
                        "command again later, what was stored is not asked for again"
                    ) from None
                wait = self._wait_after(attempt, fault, place)
            attempt += 1
            self._clock.sleep(wait)

    def _wait_after(self, attempt: int, fault: _PassingFaultError, place: str) -> float:
        limits = self._limits
        bound = min(limits.longest_wait_seconds, limits.first_wait_seconds * 2 ** (attempt - 1))
        wait = self._jitter.uniform(0, bound)
        if fault.retry_after is None:
            return wait
        if fault.retry_after > limits.longest_retry_after_seconds:
            raise SourceUnreachableError(
                f"{place}: {fault.reason}, and asks to wait {fault.retry_after:.0f} s; at most "
                f"{limits.longest_retry_after_seconds:.0f} s are waited for; run the command again after that"
            ) from None
        # Never earlier than asked for; the jitter comes on top, for others were told the same.
        return fault.retry_after + wait

    def _try_once(
        self, place: str, path: str, parameters: Mapping[str, str | int], headers: Mapping[str, str]
    ) -> JsonAnswer:
        try:
            with self._http.stream(
                "GET", self._base_url + path, params=dict(parameters), headers=dict(headers)
            ) as response:
                return self._answer(place, response)
        except httpx.ConnectTimeout:
            raise _PassingFaultError(f"no connection within {self._limits.connect_seconds:g} s") from None
        except httpx.TimeoutException:
            raise _PassingFaultError(f"nothing came for {self._limits.read_seconds:g} s") from None
        except httpx.ConnectError:
            raise _PassingFaultError("no connection: refused, no such host, or no valid certificate") from None
        except httpx.RemoteProtocolError:
            raise _PassingFaultError("the connection was closed before the answer was complete") from None
        except httpx.HTTPError as error:
            # By its name alone: its text may quote a header.
            raise _PassingFaultError(f"the connection failed ({type(error).__name__})") from None

    def _answer(self, place: str, response: httpx.Response) -> JsonAnswer:
        status = response.status_code
        if response.is_redirect:
            target = urlsplit(self._without_key(response.headers.get("location", ""))).hostname or "the same host"
            raise SourceError(
                f"{place}: answered {status}, a redirect to {shown(target)}, which is not followed; "
                "set the base URL to where the API is now"
            )
        if status in {408, 429} or status >= 500:
            raise _PassingFaultError(
                f"answered {status}", retry_after=self._retry_after(response.headers.get("retry-after"))
            )
        if status != 200:
            self._refuse(place, status, self._read(place, response, _QUOTED_BYTES, is_cut=True))
        kind = self._without_key(response.headers.get("content-type", "")).partition(";")[0].strip().lower()
        if kind and kind != "application/json" and not kind.endswith("+json"):
            raise _PassingFaultError(f"answered with {shown(kind)}, not with JSON")
        if response.headers.get("content-encoding", "identity").lower() != "identity":
            raise SourceError(f"{place}: the answer is compressed although that was not asked for")
        body = self._read(place, response, self._limits.answer_bytes)
        try:
            document = json.loads(body)
        except (ValueError, RecursionError):
            # A body that ends early, half a page of HTML, brackets without end: none of it is candles.
            raise _PassingFaultError(f"answered {len(body):,} bytes that are no JSON") from None
        return JsonAnswer(document, hashlib.sha256(body).hexdigest())

    def _refuse(self, place: str, status: int, body: bytes) -> None:
        said = shown(" ".join(body.decode("utf-8", "replace").split()), _QUOTED_CHARACTERS)
        if status == 404:
            raise SourceNotFoundError(f"{place}: not known there (404: {said})")
        if status in {401, 403} and self._key is not None:
            raise SourceAccessError(
                f"{place}: {status}, the key is not accepted: {said}; check {self._key_variable} and what its plan "
                "includes"
            )
        raise SourceError(f"{place}: refused with {status}: {said}")

    def _read(self, place: str, response: httpx.Response, limit: int, *, is_cut: bool = False) -> bytes:
        """Return a body of at most `limit` bytes, with the key, should a server repeat it, taken out.

        Args:
            place: For messages.
            response: Whose body is read.
            limit: Its largest length.
            is_cut: Whether a longer one is cut, not refused.
        """
        ends_at = self._clock.monotonic_seconds() + self._limits.total_seconds
        body = bytearray()
        for part in response.iter_raw():
            body += part
            if len(body) > limit:
                if is_cut:
                    break
                raise SourceError(f"{place}: the answer is longer than {limit:,} bytes; it is not read further")
            if self._clock.monotonic_seconds() > ends_at:
                raise _PassingFaultError(f"the answer was not complete after {self._limits.total_seconds:g} s")
        if self._key is None:
            return bytes(body[:limit])
        # Taken out before it is cut: half a key would not be found.
        key = re.escape(self._key.get_secret_value().encode())
        return re.sub(key, _HIDDEN.encode(), bytes(body), flags=re.IGNORECASE)[:limit]

    def _without_key(self, text: str) -> str:
        if self._key is None:
            return text
        return re.sub(re.escape(self._key.get_secret_value()), _HIDDEN, text, flags=re.IGNORECASE)

    def _retry_after(self, text: str | None) -> float | None:
        """Return the seconds of a Retry-After header, which are a number or a date; None if it is neither."""
        if text is None:
            return None
        if re.fullmatch(r"\d{1,9}", text.strip(), re.ASCII):
            return float(text)
        try:
            return max(0.0, parsedate_to_datetime(text).timestamp() - self._clock.epoch_seconds())
        except (ValueError, TypeError, OverflowError):
            return None


def _checked_url(base_url: str, variable: str, *, has_key: bool) -> str:
    # The address itself is not repeated: it may hold a password.
    try:
        parts = urlsplit(base_url)
        # What the one takes the other may not, such as a host that begins like a Punycode name and is none.
        is_address = parts.port != 0 and bool(parts.hostname) and bool(httpx.URL(base_url).host)
    except (ValueError, httpx.InvalidURL):
        is_address = False
    if not is_address or parts.scheme not in {"http", "https"} or parts.query or parts.fragment:
        raise ConfigError(f"{variable} can't be read; allowed is an address such as https://host/path")
    if has_key and parts.scheme != "https" and parts.hostname not in _LOOPBACK:
        raise ConfigError(f"{variable} begins with http://: a key is sent over https:// alone")
    return base_url.rstrip("/")
