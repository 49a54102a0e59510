"""What a simulation reports: events and trades."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from quantbot_pipeline.engine.candles import FloatArray, IntArray


class EventType(StrEnum):
    """Everything that can happen in a trade (docs/engine.md, section 5)."""

    ENTRY = "entry"
    LADDER_ENTRY = "ladder_entry"
    SCALE_IN = "scale_in"
    RE_ENTRY = "re_entry"
    TARGET_HIT = "target_hit"
    STOP_LOSS = "stop_loss"
    TRAILING_STOP = "trailing_stop"
    SIGNAL_EXIT = "signal_exit"
    TIME_EXIT = "time_exit"
    FINAL_EXIT = "final_exit"
    STOP_MOVED = "stop_moved"
    ENTRY_SKIPPED = "entry_skipped"


BUY_EVENTS = frozenset({EventType.ENTRY, EventType.LADDER_ENTRY, EventType.SCALE_IN, EventType.RE_ENTRY})
SELL_EVENTS = frozenset(
    {
        EventType.TARGET_HIT,
        EventType.STOP_LOSS,
        EventType.TRAILING_STOP,
        EventType.SIGNAL_EXIT,
        EventType.TIME_EXIT,
        EventType.FINAL_EXIT,
    }
)


@dataclass(frozen=True, slots=True)
class Event:
    """One thing that happened in one trade.

    Attributes:
        call_id: The call whose trade this is.
        seq: Position within the trade, from 0.
        event_time: Seconds since the epoch, UTC: the candle's open time for fills at the open and inside
            the candle, its close time for what happens at the close.
        event_type: What happened.
        price: Execution price of a fill, the new stop of a `stop_moved`, the reference price (or NaN) of
            an `entry_skipped`; quote currency.
        size: Cash spent by a buy (capital of a trade = 1), share of what the cycle bought for a sell, else 0.
        remaining_position: Open quantity / quantity bought in this cycle, after the event, in [0, 1].
        pnl_so_far: Realised profit after the event, fraction of the trade's capital.
        indicators: Values at the last closed candle of the indicators that the strategy names.
        position_state: Quantity, average entry, stop, peak and cycle after the event.
        metadata: Reason, order kind, gap flag and the like.
    """

    call_id: int
    seq: int
    event_time: int
    event_type: EventType
    price: float
    size: float
    remaining_position: float
    pnl_so_far: float
    indicators: Mapping[str, float] = field(default_factory=dict)
    position_state: Mapping[str, float] = field(default_factory=dict)
    metadata: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Trade:
    """Everything that came of one call.

    Attributes:
        call_id: The call.
        caller_id: Who made it.
        signal_timestamp: When it was made, seconds since the epoch, UTC.
        events: In order of `seq`; a skipped call has the one event `entry_skipped`.
        pnl: Proceeds - cash spent, on capital 1; 0 for a trade that never bought.
        cash_spent: Cash of all buys, fees included.
        entered_at: Time of the first buy, seconds; None if the trade never bought.
        done_at: Time of the last event, seconds.
        holding_seconds: Sum over cycles of exit time - entry time.
        max_adverse_excursion: Lowest price while open / average entry - 1, at most 0.
        max_favourable_excursion: Highest price while open / average entry - 1, at least 0.
        mark_timestamp: Open time of every candle from the first buy to the candle in which the trade last
            was open, int64 seconds, shape (n_marks,).
        mark_value: At each of these candles' closes: cash in - cash out so far + the open position at
            the close after exit costs; float64, fraction of capital, shape (n_marks,). The last one
            equals `pnl`.
        interval_seconds: Length of a candle, so that close time = mark_timestamp + interval_seconds.
    """

    call_id: int
    caller_id: int
    signal_timestamp: int
    events: tuple[Event, ...]
    pnl: float
    cash_spent: float
    entered_at: int | None
    done_at: int
    holding_seconds: int
    max_adverse_excursion: float
    max_favourable_excursion: float
    mark_timestamp: IntArray
    mark_value: FloatArray
    interval_seconds: int

    @property
    def has_bought(self) -> bool:
        """Whether the trade bought at least once."""
        return self.entered_at is not None
