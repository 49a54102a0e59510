"""The sample's callers: who calls what and when, and the files that say so.

Callers differ in real skill, so that leaderboards and models have something to find: by turns one calls
before pumps, one at random, one at the top, one sometimes the one and sometimes the other. What a caller
knows is bent on purpose; nothing of it is in the files but times, prices and a confidence of some use.
"""

import json
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from enum import Enum
from types import MappingProxyType

import numpy as np

from quantbot_pipeline.engine.calls import Side, SignalType
from quantbot_pipeline.engine.candles import FloatArray, IntArray
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.sample.price_paths import PricePath, Pump
from quantbot_pipeline.sample.random_numbers import RandomNumbers

CSV_HEADER = "caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert"

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CHAIN_SPELLINGS = {
    "solana": ("solana", "Solana", "SOL"),
    "ethereum": ("ethereum", "eth", "ETH"),
    "bsc": ("bsc", "BNB", "bsc"),
    "base": ("base", "Base", "base"),
}


class Skill(Enum):
    """Shares of a caller's calls made (shortly before a pump, at the top of one); the rest is random."""

    EARLY = (0.65, 0.0)
    RANDOM = (0.1, 0.1)
    LATE = (0.0, 0.7)
    MIXED = (0.35, 0.2)


_CALLERS = (
    ("Early Owl 🦉", Skill.EARLY),
    ("Coin Flip", Skill.RANDOM),
    ("Late Larry", Skill.LATE),
    ("Mixed Signals 💀🧲", Skill.MIXED),
)


@dataclass(frozen=True, eq=False)
class TokenHistory:
    """A token, and what alerts say of it.

    Attributes:
        token: The token.
        bars: Bars that have a candle, ascending.
        closes: Last price of each of them, quote currency.
        first_open: First price of all.
        supply: Units of the token.
        pumps: In order of time.
    """

    token: TokenKey
    bars: IntArray
    closes: FloatArray
    first_open: float
    supply: float
    pumps: tuple[Pump, ...]

    @classmethod
    def of(cls, token: TokenKey, path: PricePath) -> "TokenHistory":
        """Return what alerts say of a token to which this happens."""
        bars = path.present_bars()
        return cls(token, bars, path.close[bars], float(path.open[bars[0]]), path.supply, path.pumps)


@dataclass(frozen=True)
class PlannedAlert:
    """One alert, before it is written down.

    Attributes:
        caller: Who makes it.
        history: Its token.
        at_ms: When, milliseconds since the epoch.
        side: Direction.
        signal_type: What it asks for.
        price: Price it states; None if it states none.
        market_cap: Market cap it states; None if it states none.
        confidence: In [0, 1]; None if it states none.
        spelling: Chooses among the ways in which one thing can be written, >= 0.
    """

    caller: str
    history: TokenHistory
    at_ms: int
    side: Side
    signal_type: SignalType
    price: float | None
    market_cap: float | None
    confidence: float | None
    spelling: int


@dataclass(frozen=True)
class AlertContents:
    """The alert files' texts and what importing them must count.

    Attributes:
        csv_text: The CSV file.
        json_text: The JSON Lines file.
        alerts: The good alerts of both.
        duplicates: Rows that repeat another one of the same file exactly.
        bad_rows: Rows that must be quarantined.
    """

    csv_text: str
    json_text: str
    alerts: tuple[PlannedAlert, ...]
    duplicates: int
    bad_rows: int


def make_alert_contents(
    random: RandomNumbers,
    histories: list[TokenHistory],
    *,
    first_second: int,
    interval_seconds: int,
    caller_count: int,
    row_count: int,
) -> AlertContents:
    """Invent the alerts and write them down in two files.

    Args:
        random: Stream of the alerts.
        histories: The tokens, at least one.
        first_second: Open time of bar 0.
        interval_seconds: Length of a bar.
        caller_count: Callers.
        row_count: Rows of both files together, bad rows and duplicates included.
    """
    duplicates = max(2, row_count * 3 // 100)
    bad_rows = len(_BAD_CSV_ROWS) + len(_BAD_JSON_ROWS)
    planner = _Planner(random, histories, first_second, interval_seconds)
    alerts = planner.plan(caller_count, row_count - duplicates - bad_rows)
    csv_alerts = [alert for number, alert in enumerate(alerts) if _fits_csv(alert) and number % 2 == 0]
    in_csv = set(map(id, csv_alerts))
    json_alerts = [alert for alert in alerts if id(alert) not in in_csv]
    csv_rows = [_csv_row(alert) for alert in csv_alerts]
    json_rows = [_json_row(alert, 10_000 + number) for number, alert in enumerate(json_alerts)]
    in_csv_count = duplicates // 2
    csv_rows = _with_duplicates(random, csv_rows, in_csv_count)
    json_rows = _with_duplicates(random, json_rows, duplicates - in_csv_count)
    bad_csv = [damage(csv_alerts[number % len(csv_alerts)]) for number, damage in enumerate(_BAD_CSV_ROWS)]
    bad_json = [damage(json_alerts[number % len(json_alerts)]) for number, damage in enumerate(_BAD_JSON_ROWS)]
    csv_rows = [CSV_HEADER, *_with_inserted(random, csv_rows, bad_csv)]
    json_rows = _with_inserted(random, json_rows, bad_json)
    return AlertContents(
        csv_text="".join(f"{row}\n" for row in csv_rows),
        json_text="".join(f"{row}\n" for row in json_rows),
        alerts=tuple(alerts),
        duplicates=duplicates,
        bad_rows=bad_rows,
    )


def caller_names(caller_count: int) -> list[str]:
    """Return the callers' names; from the fifth on they carry a number."""
    kinds = len(_CALLERS)
    return [
        _CALLERS[number % kinds][0] + (f" {number // kinds + 1}" if number >= kinds else "")
        for number in range(caller_count)
    ]


class _Planner:
    def __init__(
        self, random: RandomNumbers, histories: list[TokenHistory], first_second: int, interval_seconds: int
    ) -> None:
        self._random = random
        self._histories = histories
        self._first_ms = first_second * 1000
        self._interval_ms = interval_seconds * 1000
        self._pumps = [(history, pump) for history in histories for pump in history.pumps]
        self._taken: set[tuple[str, TokenKey, int]] = set()

    def plan(self, caller_count: int, alert_count: int) -> list[PlannedAlert]:
        """Return the alerts in order of time; one in twenty is an exit or a scale-out of an earlier call."""
        exit_count = alert_count // 20
        names = caller_names(caller_count)
        alerts: list[PlannedAlert] = []
        called: list[tuple[str, TokenHistory, Pump]] = []
        for number in range(alert_count - exit_count):
            caller = names[number % caller_count]
            before, top = _CALLERS[number % caller_count % len(_CALLERS)][1].value
            draw = self._random.uniform()
            if draw < before and self._pumps:
                history, pump = self._pumps[self._random.integer(0, len(self._pumps))]
                at_ms = self._instant(pump.start) - int(self._random.uniform(0.2, 6.0) * self._interval_ms)
                strength = 0.45 + 0.02 * pump.multiple
                called.append((caller, history, pump))
            elif draw < before + top and self._pumps:
                history, pump = self._pumps[self._random.integer(0, len(self._pumps))]
                at_ms = self._instant(pump.peak) + int(self._random.uniform(0.5, 8.0) * self._interval_ms)
                strength = 0.5
            else:
                history = self._histories[self._random.integer(0, len(self._histories))]
                bars = history.bars
                # Not before a tenth of the token's candles: indicators have something to stand on.
                bar = int(bars[self._random.integer(len(bars) // 10, len(bars))])
                at_ms = self._instant(bar) + int(self._random.uniform() * self._interval_ms)
                strength = 0.4
            confidence = min(0.99, max(0.01, strength + 0.15 * float(self._random.bells(1)[0])))
            alerts.append(self._alert(caller, history, at_ms, Side.BUY, SignalType.ENTRY, round(confidence, 2)))
        for number in range(exit_count):
            if called:
                caller, history, pump = called[number % len(called)]
                at_ms = self._instant(pump.peak) + int(self._random.uniform(0.5, 4.0) * self._interval_ms)
            else:
                earlier = alerts[number % len(alerts)]
                caller, history = earlier.caller, earlier.history
                at_ms = earlier.at_ms + 24 * self._interval_ms
            is_part = number % 5 == 4
            side, signal_type = (Side.BUY, SignalType.SCALE_OUT) if is_part else (Side.SELL, SignalType.EXIT)
            alerts.append(self._alert(caller, history, at_ms, side, signal_type, None))
        return sorted(alerts, key=lambda alert: (alert.at_ms, alert.caller, alert.history.token))

    def _instant(self, bar: int) -> int:
        return self._first_ms + bar * self._interval_ms

    def _alert(
        self,
        caller: str,
        history: TokenHistory,
        at_ms: int,
        side: Side,
        signal_type: SignalType,
        confidence: float | None,
    ) -> PlannedAlert:
        at_ms = max(at_ms, self._first_ms)
        while (caller, history.token, at_ms) in self._taken:
            at_ms += 1
        self._taken.add((caller, history.token, at_ms))
        # The last candle that was closed when the alert was made; before the first one, that one's open.
        last_closed = (at_ms - self._first_ms) // self._interval_ms - 1
        position = int(np.searchsorted(history.bars, last_closed, side="right")) - 1
        price = float(history.closes[position]) if position >= 0 else history.first_open
        states_price, states_cap, states_confidence = (self._random.uniform() for _ in range(3))
        return PlannedAlert(
            caller=caller,
            history=history,
            at_ms=at_ms,
            side=side,
            signal_type=signal_type,
            price=price if states_price > 0.15 else None,
            market_cap=float(f"{price * history.supply:.4g}") if states_cap > 0.3 else None,
            confidence=confidence if states_confidence > 0.1 else None,
            spelling=self._random.integer(0, 12),
        )


# ---- alerts into rows


def _fits_csv(alert: PlannedAlert) -> bool:
    # The CSV file has the six columns of the simplest exports, so all of its alerts are entries.
    return alert.signal_type is SignalType.ENTRY


def _chain(alert: PlannedAlert) -> str:
    spellings = _CHAIN_SPELLINGS[alert.history.token.chain]
    return spellings[alert.spelling % len(spellings)]


def _address(alert: PlannedAlert) -> str:
    token = alert.history.token
    if token.chain == "solana" or alert.spelling % 2 == 0:
        return token.address
    return "0x" + token.address[2:].upper()


def _utc_text(at_ms: int) -> str:
    return (_EPOCH + timedelta(milliseconds=at_ms)).strftime("%Y-%m-%dT%H:%M:%S.") + f"{at_ms % 1000:03d}Z"


def _number_text(number: float | None) -> str:
    return "" if number is None else repr(number)


def _csv_row(
    alert: PlannedAlert,
    *,
    caller: str | None = None,
    address: str | None = None,
    time: str | None = None,
    price: str | None = None,
) -> str:
    """Return an alert as a CSV row, with some of its cells replaced."""
    named = f" {alert.caller} " if alert.spelling == 5 else alert.caller
    cells = (
        named if caller is None else caller,
        _address(alert) if address is None else address,
        _chain(alert),
        _utc_text(alert.at_ms) if time is None else time,
        _number_text(alert.price) if price is None else price,
        _number_text(alert.market_cap),
    )
    return ",".join(cells)


def _json_row(alert: PlannedAlert, message_id: int, replaced: Mapping[str, object] = MappingProxyType({})) -> str:
    """Return an alert as a JSON line, with some of its fields replaced."""
    instant = _EPOCH + timedelta(milliseconds=alert.at_ms)
    times: tuple[str | int, ...] = (
        _utc_text(alert.at_ms),
        alert.at_ms,
        instant.astimezone(timezone(timedelta(hours=2))).isoformat(timespec="milliseconds"),
    )
    fields: dict[str, object] = {
        "caller": alert.caller,
        "token_address": _address(alert),
        "chain": _chain(alert),
        "timestamp": times[alert.spelling % len(times)],
        "price_at_alert": alert.price,
        "mcap_at_alert": alert.market_cap,
        "side": alert.side.value,
        "signal_type": alert.signal_type.value,
        "confidence": alert.confidence,
        "message_id": message_id,
    }
    return json.dumps({**fields, **replaced}, ensure_ascii=False)


_BAD_CSV_ROWS: tuple[Callable[[PlannedAlert], str], ...] = (
    lambda alert: _csv_row(alert, address=_address(alert) + "watching"),
    lambda alert: _csv_row(alert, caller=""),
    lambda alert: _csv_row(alert, time=_utc_text(alert.at_ms).rstrip("Z")),
    lambda alert: _csv_row(alert, price="-0.00012"),
    lambda _alert: "forwarded from nowhere",
)
_BAD_JSON_ROWS: tuple[Callable[[PlannedAlert], str], ...] = (
    lambda alert: _json_row(alert, 1, {"token_address": "not-an-address"}),
    lambda alert: _json_row(alert, 2, {"caller": "   "}),
    lambda alert: _json_row(alert, 3, {"timestamp": "2025-02-30T12:00:00Z"}),
    # Tenths of a second: of no year that can be, in any unit that is read.
    lambda alert: _json_row(alert, 4, {"timestamp": alert.at_ms // 100}),
    lambda alert: _json_row(alert, 5, {"side": "short"}),
    lambda alert: _json_row(alert, 6)[:-20],
)


def _with_duplicates(random: RandomNumbers, rows: list[str], count: int) -> list[str]:
    """Return the rows with some of them written a second time, a little later."""
    result = list(rows)
    for number in range(count):
        row = rows[number * len(rows) // count]
        result.insert(min(len(result), result.index(row) + 1 + random.integer(0, 9)), row)
    return result


def _with_inserted(random: RandomNumbers, rows: list[str], added: list[str]) -> list[str]:
    result = list(rows)
    for row in added:
        result.insert(random.integer(0, len(result) + 1), row)
    return result
