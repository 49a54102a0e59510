"""Candles of one token and one interval, as the engine reads them."""

from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from quantbot_pipeline.errors import DataError

FloatArray = npt.NDArray[np.float64]
IntArray = npt.NDArray[np.int64]
FlagArray = npt.NDArray[np.uint8]
BoolArray = npt.NDArray[np.bool_]

INTERVAL_SECONDS: dict[str, int] = {
    "1s": 1,
    "15s": 15,
    "30s": 30,
    "1m": 60,
    "3m": 180,
    "5m": 300,
    "15m": 900,
    "30m": 1800,
    "1h": 3600,
    "2h": 7200,
    "4h": 14400,
    "6h": 21600,
    "8h": 28800,
    "12h": 43200,
    "1d": 86400,
}
"""Interval names that are allowed everywhere, and their length in seconds."""


@dataclass(frozen=True, slots=True)
class Candles:
    """Candles of one token and one interval, oldest first; gaps are allowed and never filled.

    Attributes:
        interval_seconds: Length of a candle, seconds.
        timestamp: Open time, int64 seconds since the epoch, UTC, strictly increasing, shape (n,).
        open: First price, float64, quote currency, shape (n,).
        high: Highest price.
        low: Lowest price.
        close: Last price.
        volume: Base volume, >= 0.
        flags: What is known of each candle beyond its numbers, bits of `ohlcv_candles.flags`, uint8; None where nothing
            is. No simulation reads them.
    """

    interval_seconds: int
    timestamp: IntArray
    open: FloatArray
    high: FloatArray
    low: FloatArray
    close: FloatArray
    volume: FloatArray
    flags: FlagArray | None = field(default=None, kw_only=True)

    def __len__(self) -> int:
        return len(self.timestamp)

    def slice(self, start: int, stop: int) -> "Candles":
        """Return candles `start … stop - 1` as views of the same arrays."""
        return Candles(
            self.interval_seconds,
            self.timestamp[start:stop],
            self.open[start:stop],
            self.high[start:stop],
            self.low[start:stop],
            self.close[start:stop],
            self.volume[start:stop],
            flags=None if self.flags is None else self.flags[start:stop],
        )

    @classmethod
    def empty(cls, interval_seconds: int) -> "Candles":
        """Return no candles."""
        nothing = np.empty(0, dtype=np.float64)
        return cls(interval_seconds, np.empty(0, dtype=np.int64), *([nothing] * 5))

    def validate(self) -> "Candles":
        """Return self after checking every rule of engine.md section 1.

        Raises:
            DataError: a rule is broken; the message names the rule, the candle's index and its values.
        """
        rules = {
            "all values are finite": np.isfinite(self.open)
            & np.isfinite(self.high)
            & np.isfinite(self.low)
            & np.isfinite(self.close)
            & np.isfinite(self.volume),
            "low > 0": self.low > 0,
            "low <= min(open, close)": self.low <= np.minimum(self.open, self.close),
            "max(open, close) <= high": np.maximum(self.open, self.close) <= self.high,
            "volume >= 0": self.volume >= 0,
            "timestamps increase": np.concatenate(
                [np.ones(min(len(self), 1), dtype=bool), np.diff(self.timestamp) > 0]
            ),
        }
        for rule, holds in rules.items():
            if not holds.all():
                i = int(np.argmin(holds))
                raise DataError(
                    f"candle {i} (timestamp {int(self.timestamp[i])}) breaks the rule {rule!r}: "
                    f"open {self.open[i]!r}, high {self.high[i]!r}, low {self.low[i]!r}, "
                    f"close {self.close[i]!r}, volume {self.volume[i]!r}"
                )
        return self
