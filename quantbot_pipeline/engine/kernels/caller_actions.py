"""Calls of a trade's own caller that act on it: exit, scale-out and scale-in calls (`docs/engine.md` section 6)."""

# mypy: disable-error-code="no-any-return"
# (numpy's stubs type an element of an array as Any.)

from quantbot_pipeline.engine.candles import IntArray
from quantbot_pipeline.engine.kernels.compiling import inner
from quantbot_pipeline.engine.kernels.layout import CALL_SCALE_IN
from quantbot_pipeline.engine.kernels.market import first_candle_at_nb, market_at_nb
from quantbot_pipeline.engine.kernels.trade_state import (
    ACTION,
    ACTION_CANDLE,
    ACTION_END,
    START,
    calls_of_nb,
    rules_of_nb,
    trade_of_nb,
)
from quantbot_pipeline.strategy.compile import Choice, OverlapKind


@inner
def _is_effective_nb(run: IntArray, kind: int) -> bool:
    """Return whether the strategy listens to calls of a kind."""
    rules = rules_of_nb(run)
    if kind == CALL_SCALE_IN:
        return rules.choices[Choice.OVERLAP] == OverlapKind.SCALE_IN
    return rules.choices[Choice.SELLS_ON_EXIT_CALL] != 0


@inner
def begin_actions_nb(run: IntArray, call: int) -> None:
    """Find the first call of the caller that can act in or after the trade's first candle."""
    market, rules, trade, calls = market_at_nb(run), rules_of_nb(run), trade_of_nb(run), calls_of_nb(run)
    marks, choices = trade.marks, rules.choices
    marks[ACTION_CANDLE] = -1
    marks[ACTION_END] = calls.end_action[call]
    if choices[Choice.SELLS_ON_EXIT_CALL] == 0 and choices[Choice.OVERLAP] != OverlapKind.SCALE_IN:
        marks[ACTION] = marks[ACTION_END]
        return
    low, high = calls.first_action[call], calls.end_action[call]
    if marks[START] > 0:
        after = market.time[marks[START] - 1] - choices[Choice.LATENCY_SECONDS]
        while low < high:
            middle = (low + high) >> 1
            if calls.timestamp[calls.action[middle]] <= after:
                low = middle + 1
            else:
                high = middle
    marks[ACTION] = low


@inner
def find_action_nb(run: IntArray, i: int) -> None:
    """Move to the first call of the caller that acts at the open of candle i or later."""
    market, rules, trade, calls = market_at_nb(run), rules_of_nb(run), trade_of_nb(run), calls_of_nb(run)
    marks = trade.marks
    while marks[ACTION] < marks[ACTION_END]:
        if marks[ACTION_CANDLE] < 0:
            call = calls.action[marks[ACTION]]
            if _is_effective_nb(run, calls.kind[call]):
                acts_at = calls.timestamp[call] + rules.choices[Choice.LATENCY_SECONDS]
                marks[ACTION_CANDLE] = first_candle_at_nb(market.time, acts_at)
        if marks[ACTION_CANDLE] >= i:
            return
        marks[ACTION] += 1
        marks[ACTION_CANDLE] = -1
    marks[ACTION_CANDLE] = market.n


@inner
def end_of_actions_nb(run: IntArray, i: int) -> int:
    """Return the end of the calls that act at the open of candle i; the first one is the current action."""
    market, rules, trade, calls = market_at_nb(run), rules_of_nb(run), trade_of_nb(run), calls_of_nb(run)
    marks = trade.marks
    end = marks[ACTION]
    while end < marks[ACTION_END]:
        acts_at = calls.timestamp[calls.action[end]] + rules.choices[Choice.LATENCY_SECONDS]
        if first_candle_at_nb(market.time, acts_at) != i:
            break
        end += 1
    return end
