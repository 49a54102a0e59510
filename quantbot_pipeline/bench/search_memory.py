"""Run as a module with TOKENS CANDLES CALLS SETS: a search in a fresh process; prints its peak memory as JSON."""

import json
import resource
import sys

from quantbot_pipeline.bench.engine import core_count, prepare
from quantbot_pipeline.bench.markets import seeded_market
from quantbot_pipeline.bench.works import searched_strategies
from quantbot_pipeline.engine.fast import score_many


def main() -> None:
    """Search on all cores and print the peak before and after, MB."""
    tokens, candles, calls, sets = (int(text) for text in sys.argv[1:])
    prepared = prepare(seeded_market(tokens, candles, calls))
    strategies = searched_strategies(sets)
    before = _peak_mb()
    score_many(prepared, strategies, threads=core_count())
    sys.stdout.write(json.dumps({"sets": sets, "before_mb": before, "peak_mb": _peak_mb()}) + "\n")


def _peak_mb() -> float:
    # Linux counts in KiB, macOS in bytes.
    unit = 2**20 if sys.platform == "darwin" else 2**10
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / unit


if __name__ == "__main__":
    main()
