"""Run as a module: the first simulation of a fresh process; prints seconds of imports and of the call as JSON."""

import json
import sys
import time


def main() -> None:
    """Import, simulate the full ladder on a small market with events and metrics, and print how long each took."""
    begin = time.perf_counter()
    from quantbot_pipeline.bench.markets import seeded_market
    from quantbot_pipeline.bench.works import FULL_LADDER, strategy_of
    from quantbot_pipeline.engine.fast import simulate_many

    imported = time.perf_counter()
    market, strategy = seeded_market(2, 2_000, 4), strategy_of(FULL_LADDER)
    made = time.perf_counter()
    (run,) = simulate_many(market.candles, market.calls, [strategy])
    run.events_table()
    run.metrics()
    seconds = {"import_seconds": imported - begin, "first_call_seconds": time.perf_counter() - made}
    sys.stdout.write(json.dumps(seconds) + "\n")


if __name__ == "__main__":
    main()
