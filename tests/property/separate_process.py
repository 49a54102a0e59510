"""What other processes run in `test_engine_splits.py`; kept apart so that they import no test."""

from random import Random

from engines import ENGINES, as_text
from strategy_space import random_case


def simulate_share(engine: str, seed: int, share: int, shares: int) -> dict[int, str]:
    """Return the trades of every `shares`-th call of a seed's case, as text by call id."""
    case = random_case(Random(seed))  # noqa: S311 - cases, not secrets
    reported = {call.call_id for call in case.calls[share::shares]}
    trades = ENGINES[engine](case.market, case.calls, case.strategy, report_call_ids=reported)
    return {trade.call_id: as_text(trade) for trade in trades}
