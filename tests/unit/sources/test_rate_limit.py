"""The rate limit that is kept before a server has to say so."""

import pytest

from quantbot_pipeline.sources.rate_limit import TokenBucket
from tests.unit.sources.source_server import TestClock


def test_never_more_than_thirty_requests_pass_in_any_minute() -> None:
    clock = TestClock(0.0)
    bucket = TokenBucket(rate_per_second=27 / 60, burst=3, clock=clock.clock)
    passed = []
    for number in range(100):
        bucket.wait()
        passed.append(clock.read())
        if number == 40:
            clock.sleep(600)  # a long pause fills the bucket, but with no more than the burst
    for moment in passed:
        assert sum(moment <= other < moment + 60 for other in passed) <= 30


def test_after_the_burst_requests_pass_at_the_steady_rate() -> None:
    clock = TestClock(0.0)
    bucket = TokenBucket(rate_per_second=0.5, burst=2, clock=clock.clock)
    for _ in range(5):
        bucket.wait()
    # Two at once, then one every two seconds.
    assert clock.slept == pytest.approx([2.0, 2.0, 2.0])
