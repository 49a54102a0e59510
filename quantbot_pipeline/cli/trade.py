"""`quantbot trade`: one trade, drawn in the terminal or into a file."""

import math
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any

import typer

from quantbot_pipeline.cli.console import (
    messages,
    output,
    print_json,
    print_line,
    print_rows,
    print_warning,
    visible,
)
from quantbot_pipeline.cli.help_text import flowing
from quantbot_pipeline.cli.option_values import LARGEST_ID

if TYPE_CHECKING:
    from quantbot_pipeline.report.trade_content import TradeContent

_TRADE_HELP = flowing(
    """Show what one call became under a strategy: candles, orders, fills, the stop and its moves, exits, indicators.

Without --out it is drawn in the terminal, with the table of its events. The chart of a file is by its ending: .png is a
picture, .html a page that can be pointed at and works offline, .json everything in numbers. The trade is that of the
current backtest; --run shows that of any completed run, superseded runs and trials of a search among them.

Examples:
  quantbot trade 17 --strategy conservative-24h
  quantbot trade 17 --strategy conservative-24h@2 --out trade.png
  quantbot trade 17 --run 343 --open
  quantbot trade 17 --strategy conservative-24h --json
"""
)

_SUFFIXES = (".png", ".html", ".json")
_CHART_HEIGHT, _WIDEST = 16, 110
_ROOMY = 100

_SIGNS = {
    "re_entry": ("◆", "bold blue"),
    "stop_loss": ("✕", "bold magenta"),
    "trailing_stop": ("✕", "bold magenta"),
    "stop_moved": ("○", "magenta"),
    "entry_skipped": ("?", "bold yellow"),
}
_BUY_SIGN, _SELL_SIGN = ("▲", "bold blue"), ("▼", "bold red")


def register(app: typer.Typer) -> None:
    """Add the command to `app`."""

    @app.command(help=_TRADE_HELP)
    def trade(
        call_id: int = typer.Argument(
            ..., min=1, max=LARGEST_ID, help="Id of the call, as in 'quantbot trades'.", metavar="CALL_ID"
        ),
        strategy: str | None = typer.Option(
            None, help="The strategy; may be left out where one alone has a trade.", metavar="NAME[@VERSION]"
        ),
        run: int | None = typer.Option(
            None, min=1, max=LARGEST_ID, help="Id of the run; without it the current backtest."
        ),
        out: Path | None = typer.Option(None, help="File to draw into: .png, .html or .json."),
        *,
        is_opened: bool = typer.Option(False, "--open", help="Open the page in the browser."),
        as_json: bool = typer.Option(False, "--json", help="Print everything in numbers."),
    ) -> None:
        from quantbot_pipeline.cli.stores import open_stores
        from quantbot_pipeline.report.trade_collect import collect_trade, find_trade

        _check_target(out, is_opened=is_opened)
        with open_stores() as stores:
            key = find_trade(stores.state, stores.history, call_id, strategy, run_id=run)
            content = collect_trade(stores.state, stores.history, key)
            reports = stores.settings.reports_directory
        if is_opened and out is None:
            out = reports / "trades" / f"call-{key.call_id}-run-{key.run_id}.html"
        if out is not None:
            _write(content, out)
        if as_json:
            from quantbot_pipeline.report.trade_document import trade_document

            print_json(trade_document(content) | ({} if out is None else {"file": str(out)}))
        elif out is not None:
            print_line(f"wrote {out}")
        else:
            _print_trade(content)
        if is_opened and out is not None:
            _open(out)


def _check_target(out: Path | None, *, is_opened: bool) -> None:
    from quantbot_pipeline.errors import InputError

    if out is None:
        return
    if out.suffix.lower() not in _SUFFIXES:
        raise InputError(f"--out: found {out.name!r}; allowed are files that end in {', '.join(_SUFFIXES)}")
    if is_opened and out.suffix.lower() != ".html":
        raise InputError(f"--open opens a page; found --out {out.name!r}; allowed are .html, or no --out")
    if not out.parent.is_dir():
        raise InputError(f"--out: folder {out.parent} is not there; make it, or name another")
    if out.is_dir():
        raise InputError(f"--out: {out} is a folder; name a file")


def _write(content: "TradeContent", path: Path) -> None:
    from quantbot_pipeline.errors import InputError

    try:
        _write_by_suffix(content, path)
    except OSError as error:
        raise InputError(f"{path}: can't be written: {error.strerror}; name another file") from error


def _write_by_suffix(content: "TradeContent", path: Path) -> None:
    suffix = path.suffix.lower()
    if suffix == ".png":
        from quantbot_pipeline.report.trade_picture import draw_trade_png

        draw_trade_png(content, path)
        return
    from quantbot_pipeline.report.page import write_page

    if suffix == ".html":
        from quantbot_pipeline.report.trade_page import render_trade_page

        write_page(render_trade_page(content), path)
        return
    import json

    from quantbot_pipeline.report.trade_document import trade_document

    write_page(json.dumps(trade_document(content), indent=1, ensure_ascii=False, allow_nan=False) + "\n", path)


def _open(path: Path) -> None:
    import webbrowser

    if not webbrowser.open(path.resolve().as_uri()):
        print_warning(f"no browser was found; open {path} yourself")


def _print_trade(content: "TradeContent") -> None:
    from rich.text import Text

    from quantbot_pipeline.report.trade_content import event_rows
    from quantbot_pipeline.report.trade_drawing import plan_drawing
    from quantbot_pipeline.report.trade_words import caveats, describe_trade, result_text, strategy_name, token_name

    style = "bold" if not content.has_bought else "bold green" if content.pnl > 0 else "bold red"
    head = Text(visible(f"{token_name(content)} · {strategy_name(content)} · "), style="bold")
    head.append(result_text(content), style=style)
    output.print(head)
    # A terminal breaks lines at the narrow space before a percent sign, whatever Unicode says.
    output.print(Text(visible(describe_trade(content)).replace("\N{NARROW NO-BREAK SPACE}%", "%")))
    drawing = plan_drawing(content)
    if len(content.candles) and _shows_unicode():
        output.print()
        _print_chart(content)
    output.print()
    print_rows("Events", [_event_row(row) for row in event_rows(content)], is_dense=True)
    for note in caveats(content, is_consistent=drawing.levels.is_consistent):
        messages.print(f"note: {note}", markup=False, soft_wrap=True)


def _shows_unicode() -> bool:
    try:
        "⣿▲✕".encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return False
    return True


def _print_chart(content: "TradeContent") -> None:
    from rich.text import Text

    from quantbot_pipeline.cli.terminal_chart import Mark, Span, chart_lines
    from quantbot_pipeline.engine.events import BUY_EVENTS, SELL_EVENTS, EventType
    from quantbot_pipeline.report.trade_levels import trade_levels
    from quantbot_pipeline.report.trade_words import moment

    candles = content.candles
    start = int(candles.timestamp[0])
    end = int(candles.timestamp[-1]) + candles.interval_seconds
    spans = [
        Span(at, at + candles.interval_seconds, low, high)
        for at, low, high in zip(candles.timestamp.tolist(), candles.low.tolist(), candles.high.tolist(), strict=True)
    ]
    width = min(output.width, _WIDEST)
    # What is drawn last is seen: the stop lies under the fills.
    marks: list[Mark] = []
    step = max((end - start) // width, 1)
    for level in trade_levels(content).stops:
        for at in range(level.steps[0][0], level.until, step):
            price = next(price for begins, price in reversed(level.steps) if begins <= at)
            marks.append(Mark(at, price, "─", "magenta"))
    for event in content.events:
        if math.isfinite(event.price) and event.price > 0:
            sign = _SIGNS.get(event.event_type, _BUY_SIGN if event.event_type in BUY_EVENTS else _SELL_SIGN)
            marks.append(Mark(event.event_time, event.price, *sign))
    lines = chart_lines(
        spans,
        marks,
        start=start,
        end=end,
        width=width,
        height=_CHART_HEIGHT,
        upright_at=content.call.signal_at,
    )
    for line in lines:
        output.print(line, no_wrap=True, overflow="crop")
    first, last = moment(start), f"{moment(end)} UTC"
    output.print(Text(first + last.rjust(width - len(first)), style="dim"))
    kinds = {event.event_type for event in content.events}
    stopped = {EventType.STOP_LOSS, EventType.TRAILING_STOP}
    legend = [
        "┊ call",
        "▲ buy" if kinds & BUY_EVENTS else "",
        "◆ re-entry" if EventType.RE_ENTRY in kinds else "",
        "▼ sell" if kinds & (SELL_EVENTS - stopped) else "",
        "✕ stopped" if kinds & stopped else "",
        "○ stop armed" if EventType.STOP_MOVED in kinds else "",
        "? skipped" if EventType.ENTRY_SKIPPED in kinds else "",
        "─ stop" if any(mark.sign == "─" for mark in marks) else "",
    ]
    output.print(Text("   ".join(text for text in legend if text), style="dim"))


def _event_row(row: Any) -> dict[str, Any]:
    from quantbot_pipeline.report.trade_words import moment, percent, share

    shown = {
        "#": row.seq,
        # The year stands above.
        "time (UTC)": moment(row.at)[0 if output.width >= _ROOMY else len("2025-") :],
        "event": row.kind,
        "price": None if row.price is None else f"{row.price:.5g}",
        "size": None if row.size is None else share(row.size),
        "open": share(row.remaining),
        "stop": None if row.stop is None else f"{row.stop:.5g}",
        "pnl": percent(row.pnl_so_far),
        "why": row.why,
    }
    if output.width < _ROOMY:
        # What can be told from the rest.
        del shown["open"], shown["stop"]
    return shown
