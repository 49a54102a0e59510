"""Buy orders of a trade: what an entry, a ladder or a re-entry lets come to rest at each candle.

A plan answers, for candle i, which market orders fill at its open, which limits rest in it, and where the
stop-buy is. It knows closed candles only: whatever it says about candle i depends on candles before i, the
reference price (the open of candle a) aside. It fills nothing; the trade does, and tells it.
"""

from bisect import bisect_right
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Literal

from quantbot_pipeline.strategy.model import Ladder

OrderKind = Literal["market", "limit", "stop_buy"]


@dataclass(frozen=True, slots=True)
class BuyOrder:
    """One buy that a plan asks for.

    Attributes:
        kind: How it fills.
        price: Its limit or trigger; unused by a market order.
        size: Cash it spends.
        leg: Position of its leg in the ladder; 0 elsewhere.
        leg_id: The leg's id; None elsewhere.
    """

    kind: OrderKind
    price: float
    size: float
    leg: int = 0
    leg_id: str | None = None


class BuyPlan:
    """Base of all plans: asks for nothing.

    Attributes:
        last_candle: Last candle in which its orders rest and at whose close its conditions count.
        is_filled: Whether all it wanted was bought.
    """

    __slots__ = ("is_filled", "last_candle")

    def __init__(self, last_candle: int) -> None:
        self.last_candle = last_candle
        self.is_filled = False

    def market_orders(self, i: int) -> Sequence[BuyOrder]:  # noqa: ARG002 - a plan without any has no use for i
        """Return what fills at the open of candle i."""
        return ()

    def limit_orders(self, i: int) -> Sequence[BuyOrder]:  # noqa: ARG002 - the same
        """Return the limits that rest in candle i, in descending price."""
        return ()

    def stop_buy(self, i: int) -> BuyOrder | None:  # noqa: ARG002 - the same
        """Return the stop-buy that rests in candle i."""
        return None

    def on_filled(self, order: BuyOrder, i: int) -> None:  # noqa: ARG002 - only ladders care which and when
        """Take note that an order filled in candle i."""
        self.is_filled = True


class ImmediatePlan(BuyPlan):
    """A market buy at the open of candle a."""

    __slots__ = ("_orders", "_start")

    def __init__(self, start: int) -> None:
        super().__init__(start)
        self._start = start
        self._orders = (BuyOrder("market", 0.0, 1.0),)

    def market_orders(self, i: int) -> Sequence[BuyOrder]:
        """Return the one buy, at candle a."""
        return self._orders if i == self._start else ()


class DipPlan(BuyPlan):
    """A limit below the reference price, from candle a on."""

    __slots__ = ("_orders",)

    def __init__(self, last_candle: int, limit: float) -> None:
        super().__init__(last_candle)
        self._orders = (BuyOrder("limit", limit, 1.0),)

    def limit_orders(self, i: int) -> Sequence[BuyOrder]:
        """Return the limit while it rests."""
        return self._orders if i <= self.last_candle else ()


class ReboundPlan(BuyPlan):
    """A stop-buy above the lowest low of candles a … i - 1 (at a: above the reference price)."""

    __slots__ = ("_factor", "_lowest", "_lows", "_start")

    def __init__(self, start: int, last_candle: int, reference: float, rebound: float, lows: list[float]) -> None:
        super().__init__(last_candle)
        self._start = start
        self._lowest = reference
        self._factor = 1.0 + rebound
        self._lows = lows

    def stop_buy(self, i: int) -> BuyOrder | None:
        """Return the stop-buy; asked at every candle from a on, in order."""
        if i > self.last_candle:
            return None
        if i > self._start:
            self._lowest = min(self._lowest, self._lows[i - 1])
        return BuyOrder("stop_buy", self._lowest * self._factor, 1.0)


class SignalPlan(BuyPlan):
    """A market buy at the open after a signal held at the close of a candle from a on."""

    __slots__ = ("_orders", "_signal", "_start")

    def __init__(self, start: int, last_candle: int, signal: list[bool]) -> None:
        super().__init__(last_candle)
        self._start = start
        self._signal = signal
        self._orders = (BuyOrder("market", 0.0, 1.0),)

    def market_orders(self, i: int) -> Sequence[BuyOrder]:
        """Return the buy when the signal held at the close before, within the wait."""
        decided_at = i - 1
        if self._start <= decided_at <= self.last_candle and self._signal[decided_at]:
            return self._orders
        return ()


class LadderPlan(BuyPlan):
    """The legs of a ladder that did not fill yet: all of them from candle a on, or one after the other."""

    __slots__ = (
        "_armed",
        "_armed_from",
        "_has_signals",
        "_is_sequential",
        "_legs",
        "_limits",
        "_reference",
        "_signals",
        "_start",
    )

    def __init__(
        self,
        start: int,
        last_candle: int,
        reference: float,
        entry: Ladder,
        signals: Sequence[list[bool] | None],
    ) -> None:
        super().__init__(last_candle)
        self._start = start
        self._reference = reference
        self._legs = entry.legs
        self._is_sequential = entry.sequential
        self._signals = signals
        self._has_signals = any(signal is not None for signal in signals)
        self._arm([0] if entry.sequential else list(range(len(entry.legs))), start)

    def _arm(self, legs: list[int], armed_from: int) -> None:
        """Let these legs, and no others, be bought from a candle on."""
        self._armed = legs
        self._armed_from = armed_from
        limits = [
            BuyOrder("limit", self._reference * (1.0 + leg.offset), leg.size, k, leg.id)
            for k in legs
            if (leg := self._legs[k]).offset is not None
        ]
        self._limits = tuple(sorted(limits, key=lambda order: -order.price))

    def market_orders(self, i: int) -> Sequence[BuyOrder]:
        """Return legs whose condition held at the close before, and at candle a those with offset 0."""
        if i > self._start and not self._has_signals:
            return ()
        return [
            BuyOrder("market", 0.0, self._legs[k].size, k, self._legs[k].id)
            for k in self._armed
            if self._fills_at_open(k, i)
        ]

    def _fills_at_open(self, k: int, i: int) -> bool:
        signal = self._signals[k]
        if signal is None:
            return i == self._start and self._legs[k].offset == 0
        decided_at = i - 1
        return self._armed_from <= decided_at <= self.last_candle and signal[decided_at]

    def limit_orders(self, i: int) -> Sequence[BuyOrder]:
        """Return the armed legs with a limit, in descending price, equal prices in the order of the legs."""
        return self._limits if self._armed_from <= i <= self.last_candle else ()

    def on_filled(self, order: BuyOrder, i: int) -> None:
        """Take the leg out; arm the next one from the next candle on when the ladder is sequential."""
        if not self._is_sequential:
            self._arm([k for k in self._armed if k != order.leg], self._start)
        elif order.leg + 1 < len(self._legs):
            self._arm([order.leg + 1], i + 1)
        else:
            self._arm([], i + 1)
        self.is_filled = not self._armed


class ReEntryPlan(BuyPlan):
    """A limit below the highest high since the trade's first fill.

    It is made in the candle in which a cycle ended; the trade buys nothing more in that candle.
    """

    __slots__ = ("_highest_high", "_retrace", "_size")

    def __init__(self, last_candle: int, retrace: float, size: float, highest_high: Callable[[], float | None]) -> None:
        super().__init__(last_candle)
        self._retrace = retrace
        self._size = size
        self._highest_high = highest_high

    def limit_orders(self, i: int) -> Sequence[BuyOrder]:
        """Return the limit while it rests; none before there is a high."""
        highest = self._highest_high()
        if highest is None or i > self.last_candle:
            return ()
        return (BuyOrder("limit", highest * (1.0 - self._retrace), self._size),)


def last_candle_within(timestamps: list[int], start_time: int, max_wait_seconds: int) -> int:
    """Return the index of the last candle with t <= start_time + max_wait_seconds."""
    return bisect_right(timestamps, start_time + max_wait_seconds) - 1
