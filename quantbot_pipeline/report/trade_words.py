"""A trade in few words: titles, notes, the sentence that stands for the chart, and a plot as small as a sentence."""

import re
from datetime import UTC, datetime

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.engine.events import BUY_EVENTS, SELL_EVENTS, EventType
from quantbot_pipeline.report.small_plots import plot_price
from quantbot_pipeline.report.trade_content import DrawnCandles, TradeContent

MINUS = "\N{MINUS SIGN}"

# Names come from outside and may be of any length and of any characters: those that turn text around or show nothing
# are left out, the rest is cut.
_UNSEEN = re.compile(
    "[\x00-\x1f\x7f-\x9f\u061c\u200b\u200e\u200f\u2028-\u202e\u2060-\u206f\ud800-\udfff\ufeff\ufff9-\ufffb]"
)
_MARKUP = re.compile(r"[<>*`\\&]")
_LONGEST_NAME, _LONGEST_ADDRESS = 32, 18

_INTERVAL_NAMES = {seconds: name for name, seconds in INTERVAL_SECONDS.items()}

_QUALITY_WORDS = {
    "gaps": "the candles have gaps",
    "stale": "prices stand still for long",
    "sparse": "few candles are there",
}

_SKIP_WORDS = {
    "no_candles": "no candle follows the call in time",
    "overlap": "an earlier trade on the token was still open",
    "nothing_to_scale": "no trade was open to add to",
    "timeout": "the price did not come to the entry in time",
    "horizon": "the trade's horizon came before the entry",
    "end_of_data": "the candles end before the entry",
}

_EXIT_WORDS = {
    EventType.TARGET_HIT: "target",
    EventType.STOP_LOSS: "stop",
    EventType.TRAILING_STOP: "trailing stop",
    EventType.SIGNAL_EXIT: "signal",
    EventType.TIME_EXIT: "time",
    EventType.FINAL_EXIT: "end of data",
}


def shown_name(text: str, longest: int = _LONGEST_NAME) -> str:
    """Return a name from outside as a picture may show it: nothing unseen in it, cut where it is long."""
    plain = " ".join(_UNSEEN.sub("", text).split())
    return plain if len(plain) <= longest else f"{plain[: longest - 8]}…{plain[-7:]}"


def percent(fraction: float) -> str:
    """Return a signed percentage."""
    return f"{fraction:+,.1%}".replace("-", MINUS).replace("%", "\N{NARROW NO-BREAK SPACE}%")


def share(fraction: float) -> str:
    """Return a share as a percentage, without decimals where there are none."""
    return f"{fraction * 100:.3g}\N{NARROW NO-BREAK SPACE}%"


def moment(seconds: int) -> str:
    """Return a time for people, UTC."""
    at = datetime.fromtimestamp(seconds, UTC)
    return at.strftime("%Y-%m-%d %H:%M:%S" if at.second else "%Y-%m-%d %H:%M")


def interval_name(seconds: int) -> str:
    """Return the length of a candle, such as `5m`."""
    if seconds in _INTERVAL_NAMES:
        return _INTERVAL_NAMES[seconds]
    for size, unit in ((86_400, "d"), (3_600, "h"), (60, "m")):
        if seconds % size == 0:
            return f"{seconds // size}{unit}"
    return f"{seconds}s"


def token_name(content: TradeContent) -> str:
    """Return the ticker of the token, or its address where none is known."""
    call = content.call
    return shown_name(call.symbol) if call.symbol else shown_name(call.token_address, _LONGEST_ADDRESS)


def strategy_name(content: TradeContent) -> str:
    """Return the strategy version."""
    return f"{shown_name(content.strategy_name)} v{shown_name(content.strategy_version, 16)}"


def result_text(content: TradeContent) -> str:
    """Return the result in a word or two: the pnl, or that the call was skipped."""
    return percent(content.pnl) if content.has_bought else "skipped"


def title_text(content: TradeContent) -> str:
    """Return the title of the chart."""
    return f"{token_name(content)} · {strategy_name(content)} · {result_text(content)}"


def subtitle_text(content: TradeContent, drawn: DrawnCandles) -> str:
    """Return who called when, and what a drawn candle is."""
    call = content.call
    return (
        f"call {call.call_id} by {shown_name(call.caller)}, {moment(call.signal_at)} UTC · run {content.run_id} · "
        f"{candles_text(drawn)}"
    )


def candles_text(drawn: DrawnCandles) -> str:
    """Return what a drawn candle covers, and of what it was made."""
    if not len(drawn.candles):
        return "no candles stored"
    text = f"{interval_name(drawn.candles.interval_seconds)} candles"
    return f"{text} made of {interval_name(drawn.stored_seconds)} ones" if drawn.is_sampled else text


def caveats(content: TradeContent, *, is_consistent: bool = True) -> list[str]:
    """Return what a reader must know of the trade, in sentences without their full stop.

    Args:
        content: The trade.
        is_consistent: Whether the stops follow from the stored candles, see `TradeLevels.is_consistent`.
    """
    found = []
    if not content.is_current:
        found.append(f"run {content.run_id} was superseded by a later run")
    if content.run_type != "backtest":
        found.append(f"run {content.run_id} is of type {content.run_type.replace('_', ' ')}, not a backtest")
    if not len(content.candles):
        found.append("no candles are stored for this time")
    elif not is_consistent:
        found.append("the stored candles do not give the stops that the run reports: they were imported anew since")
    if content.data_quality in _QUALITY_WORDS:
        found.append(f"data quality of the run is {content.data_quality}: {_QUALITY_WORDS[content.data_quality]}")
    return found


def describe_trade(content: TradeContent) -> str:
    """Return the trade in a few sentences: the text that stands for the chart."""
    call = content.call
    head = (
        f"{token_name(content)}, called by {shown_name(call.caller)} on {moment(call.signal_at)} UTC, "
        f"under {strategy_name(content)}"
    )
    if not content.has_bought:
        reason = content.skip_reason
        return f"{head}: skipped, {_SKIP_WORDS.get(reason, reason.replace('_', ' '))}."
    buys = [event for event in content.events if event.event_type in BUY_EVENTS]
    sells = [event for event in content.events if event.event_type in SELL_EVENTS]
    moves = sum(event.event_type is EventType.STOP_MOVED for event in content.events)
    bought = (
        f"bought at {buys[0].price:.6g} on {moment(buys[0].event_time)}"
        if len(buys) == 1
        else f"bought {len(buys)} times, first at {buys[0].price:.6g} on {moment(buys[0].event_time)}, "
        f"last at {buys[-1].price:.6g} on {moment(buys[-1].event_time)}"
    )
    exits = ", ".join(
        f"{share(sell.size)} at {sell.price:.6g} by {_EXIT_WORDS[sell.event_type]} on {moment(sell.event_time)}"
        for sell in sells
    )
    moved = {0: "", 1: " The stop was armed once."}.get(moves, f" The stop was armed {moves} times.")
    is_open = content.events[-1].remaining_position > 0
    ended = "It is still open" if is_open else "It ended"
    sold = f"; sold {exits}" if exits else "; sold nothing"
    return f"{head}: {bought}{sold}.{moved} {ended} at {percent(content.pnl)} of its capital."


def plot_small_trade(content: TradeContent) -> str:
    """Return closes, buys and sells of a trade as a small plot in Markdown."""
    candles = content.candles
    closes = list(zip(candles.timestamp.astype(float).tolist(), candles.close.tolist(), strict=True))

    def fills(kinds: frozenset[EventType]) -> list[tuple[float, float]]:
        return [(float(event.event_time), event.price) for event in content.events if event.event_type in kinds]

    return plot_price(
        closes,
        fills(BUY_EVENTS),
        fills(SELL_EVENTS),
        # Names stand in Markdown there, which may hold HTML.
        title=_MARKUP.sub("", f"{title_text(content)}, call {content.call.call_id}, run {content.run_id}"),
        first=moment(int(candles.timestamp[0])) if len(candles) else "",
        last=moment(int(candles.timestamp[-1])) if len(candles) else "",
    )
