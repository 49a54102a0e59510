"""Time as sources see it; given from outside, so that tests need not wait."""

import time
from collections.abc import Callable
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Clock:
    """What tells the time and waits.

    Attributes:
        epoch_seconds: Seconds since the epoch, UTC.
        monotonic_seconds: Seconds from any beginning, never set back.
        sleep: Waits so many seconds.
    """

    epoch_seconds: Callable[[], float] = time.time
    monotonic_seconds: Callable[[], float] = time.monotonic
    sleep: Callable[[float], None] = time.sleep
