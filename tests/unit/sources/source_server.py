"""A server on this machine that answers like the two APIs, or as badly as a test wants it to.

Shapes are those of the APIs' documentation: GeckoTerminal's `data.attributes.ohlcv_list` of `[t, o, h, l, c, v]`,
newest first, with `meta`; Birdeye's `data.items` of objects, oldest first, with `success`.
"""

import json
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qsl, urlsplit

from quantbot_pipeline.sources.clock import Clock

KEY = "kEy-8f31c0ffee-do-not-show"

Row = Sequence[Any]


@dataclass(frozen=True)
class Request:
    """What a client asked."""

    path: str
    query: Mapping[str, str]
    headers: Mapping[str, str]
    body: bytes = b""


@dataclass(frozen=True)
class Reply:
    """What it is answered.

    Attributes:
        status: HTTP status.
        body: Its bytes.
        headers: Further headers; they replace the usual ones.
        missing_bytes: How many bytes more than are sent the answer claims to have.
        stall_seconds: How long nothing is sent.
        drip_seconds: Pause after every single byte.
    """

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    missing_bytes: int = 0
    stall_seconds: float = 0.0
    drip_seconds: float = 0.0


def json_reply(document: Any, status: int = 200, **headers: str) -> Reply:
    return Reply(status, json.dumps(document).encode(), headers)


class SourceServer:
    """Takes requests down and answers them: the queued replies first, then what `answer` says."""

    def __init__(self, answer: Callable[[Request], Reply]) -> None:
        self.requests: list[Request] = []
        self.queued: list[Reply] = []
        self.answer = answer
        server = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_GET(self) -> None:
                server.reply(self)

            def do_POST(self) -> None:
                server.reply(self, self.rfile.read(int(self.headers.get("content-length", 0))))

            def log_message(self, *_: Any) -> None:
                """Say nothing."""

        class Server(ThreadingHTTPServer):
            def handle_error(self, *_: Any) -> None:
                """Say nothing: a client that goes away is what tests are about."""

        self._http = Server(("127.0.0.1", 0), Handler)
        self._http.daemon_threads = True
        self._http.block_on_close = False
        self._ended = threading.Event()
        self._thread = threading.Thread(target=self._http.serve_forever, args=(0.01,), daemon=True)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    def start(self) -> None:
        self._thread.start()

    def stop(self) -> None:
        self._ended.set()
        self._http.shutdown()
        self._http.server_close()
        self._thread.join()

    def reply(self, handler: BaseHTTPRequestHandler, body: bytes = b"") -> None:
        parts = urlsplit(handler.path)
        request = Request(
            parts.path,
            dict(parse_qsl(parts.query)),
            {name.lower(): text for name, text in handler.headers.items()},
            body,
        )
        self.requests.append(request)
        answer = self.queued.pop(0) if self.queued else self.answer(request)
        try:
            self._ended.wait(answer.stall_seconds)
            handler.send_response(answer.status)
            headers = {
                "Content-Type": "application/json; charset=utf-8",
                "Content-Length": str(len(answer.body) + answer.missing_bytes),
                **answer.headers,
            }
            for name, text in headers.items():
                handler.send_header(name, text)
            handler.end_headers()
            if answer.drip_seconds:
                for position in range(len(answer.body)):
                    handler.wfile.write(answer.body[position : position + 1])
                    time.sleep(answer.drip_seconds)
            else:
                handler.wfile.write(answer.body)
            handler.close_connection = bool(answer.missing_bytes)
        except OSError:
            # The client has gone, which is what the test is about.
            handler.close_connection = True


@contextmanager
def serving(answer: Callable[[Request], Reply]) -> Iterator[SourceServer]:
    server = SourceServer(answer)
    server.start()
    try:
        yield server
    finally:
        server.stop()


class TestClock:
    """A clock that stands still but for what is slept."""

    __test__ = False

    def __init__(self, now: float) -> None:
        self.slept: list[float] = []
        self._now = now

    @property
    def clock(self) -> Clock:
        return Clock(epoch_seconds=self.read, monotonic_seconds=self.read, sleep=self.sleep)

    def read(self) -> float:
        return self._now

    def sleep(self, seconds: float) -> None:
        self.slept.append(seconds)
        self._now += seconds


@dataclass
class FakeGeckoTerminal:
    """Pools of tokens and their candles.

    Attributes:
        pools: By token address, the pools as the API shows them.
        candles: By pool address, `[t, o, h, l, c, v]` in any order.
        is_border_inclusive: Whether the candle at `before_timestamp` is given too.
    """

    pools: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    candles: dict[str, list[Row]] = field(default_factory=dict)
    is_border_inclusive: bool = False

    def __call__(self, request: Request) -> Reply:
        _, _, _, kind, address, *_ = request.path.split("/")
        if kind == "tokens":
            return json_reply({"data": self.pools[address]}) if address in self.pools else NOT_FOUND
        if address not in self.candles:
            return NOT_FOUND
        before, limit = int(request.query["before_timestamp"]), int(request.query["limit"])
        found = [
            row for row in self.candles[address] if row[0] < before or (self.is_border_inclusive and row[0] == before)
        ]
        newest = sorted(found, key=lambda row: -row[0])[:limit]
        return gecko_candles(newest)


NOT_FOUND = json_reply({"errors": [{"status": "404", "title": "Not Found"}]}, 404)


def gecko_candles(rows: Sequence[Any], **meta: Any) -> Reply:
    return json_reply(
        {"data": {"id": "x", "type": "ohlcv_request_response", "attributes": {"ohlcv_list": rows}}, "meta": meta}
    )


def pool(
    address: str,
    token: str,
    *,
    network: str = "solana",
    reserve: str | None = "1000.0",
    created: str | None = "2025-01-01T00:00:00Z",
    side: str = "base",
    other: str = "So11111111111111111111111111111111111111112",
) -> dict[str, Any]:
    """A pool as `/networks/{network}/tokens/{address}/pools` shows it."""
    base, quote = (token, other) if side == "base" else (other, token)
    return {
        "id": f"{network}_{address}",
        "type": "pool",
        "attributes": {"address": address, "reserve_in_usd": reserve, "pool_created_at": created, "name": "A / B"},
        "relationships": {
            "base_token": {"data": {"id": f"{network}_{base}", "type": "token"}},
            "quote_token": {"data": {"id": f"{network}_{quote}", "type": "token"}},
        },
    }


def gecko_rows(start: int, count: int, *, step: int = 300) -> list[list[Any]]:
    """Candles of a rising price, oldest first; 50 USD are traded in each."""
    return [[start + step * k, 1.0 + k, 2.0 + k, 0.5 + k, 1.5 + k, 50.0] for k in range(count)]


@dataclass
class FakeBirdeye:
    """Candles by token address, as objects."""

    candles: dict[str, list[dict[str, Any]]] = field(default_factory=dict)

    def __call__(self, request: Request) -> Reply:
        if request.headers.get("x-api-key") != KEY:
            return json_reply({"success": False, "message": "Unauthorized. Authentication required."}, 401)
        first, last = int(request.query["time_from"]), int(request.query["time_to"])
        items = [item for item in self.candles.get(request.query["address"], []) if first <= item["unixTime"] <= last]
        return json_reply({"success": True, "data": {"items": items[:1000]}})


def birdeye_items(address: str, start: int, count: int, *, step: int = 300) -> list[dict[str, Any]]:
    return [
        {
            "address": address,
            "c": 1.5 + k,
            "h": 2.0 + k,
            "l": 0.5 + k,
            "o": 1.0 + k,
            "type": "5m",
            "unixTime": start + step * k,
            "v": 7.0,
        }
        for k in range(count)
    ]
