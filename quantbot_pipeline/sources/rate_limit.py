"""Keeping to an API's rate limit before it has to say so."""

from quantbot_pipeline.sources.clock import Clock


class TokenBucket:
    """Lets requests through at a steady rate, after a short burst.

    In any span of `t` seconds at most `burst + rate_per_second * t` requests pass: a limit of n requests in t seconds
    is kept by `rate_per_second = (n - burst) / t`.
    """

    def __init__(self, *, rate_per_second: float, burst: int, clock: Clock) -> None:
        """Fill the bucket.

        Args:
            rate_per_second: Requests per second in the long run, > 0.
            burst: Requests that pass at once after a pause, >= 1.
            clock: Tells the time and waits.
        """
        self._rate_per_second = rate_per_second
        self._burst = burst
        self._clock = clock
        self._left = float(burst)
        self._counted_at = clock.monotonic_seconds()

    def wait(self) -> None:
        """Return when one more request may be sent."""
        self._refill()
        if self._left < 1:
            self._clock.sleep((1 - self._left) / self._rate_per_second)
            self._refill()
            # A sleep may end a hair early; the next request then waits that much longer.
        self._left -= 1

    def _refill(self) -> None:
        now = self._clock.monotonic_seconds()
        self._left = min(self._burst, self._left + (now - self._counted_at) * self._rate_per_second)
        self._counted_at = now
