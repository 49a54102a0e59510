"""The document of a run as tables: for the terminal, and as markdown for docs/benchmarks.md."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from quantbot_pipeline.bench.engine import OURS

_THREE_DIGITS = 999.5
PNL_TOLERANCE = 1e-6
"""Results agree when they trade as often and the mean pnl differs by less; backtesting.py buys whole units."""


@dataclass(frozen=True, slots=True)
class ResultTable:
    """A title and rows that have the same columns."""

    title: str
    rows: Sequence[Mapping[str, Any]]


_LEFT_OUT_WHERE_NARROW = frozenset({"candles/s", "tokens"})


def tables_of(document: Mapping[str, Any], *, is_narrow: bool = False) -> list[ResultTable]:
    """Return the tables of a run, in the order in which they are read; for 80 columns without some of theirs."""
    tables = _tables_of(document)
    if not is_narrow:
        return tables
    return [
        ResultTable(
            table.title,
            [{name: row[name] for name in row if name not in _LEFT_OUT_WHERE_NARROW} for row in table.rows],
        )
        for table in tables
    ]


def _tables_of(document: Mapping[str, Any]) -> list[ResultTable]:
    tables = []
    for market in document["markets"]:
        size = f"{market['tokens']:,} tokens, {market['candles']:,} candles, {market['calls']:,} calls"
        tables.append(ResultTable(f"{market['name']}: {size}", _work_rows(market)))
        tables.append(ResultTable(f"{market['name']}: the same work by others", _other_rows(market)))
        tables.append(
            ResultTable(
                f"{market['name']}: around the kernels, full ladder",
                [
                    {"what": row["what"], "ms": 1000 * row["seconds"], "spread": _noise_mark(row)}
                    for row in market["around"]
                ],
            )
        )
    tables.append(ResultTable("whole processes", _process_rows(document)))
    return tables


def summary_lines(document: Mapping[str, Any]) -> list[str]:
    """Return what stands above the tables: command, machine, versions, load, and whether to rely on the figures."""
    machine, load = document["machine"], document["load"]
    versions = ", ".join(f"{name} {version}" for name, version in machine["versions"].items())
    noise = document["noise"]
    return [
        document["command"],
        f"{document['measured_at']}, {machine['cores']} cores, {machine['processor']}, {machine['system']}",
        versions,
        f"load average {load['before']:.1f} before, {load['after']:.1f} after",
        f"noisy run, take it again: {'; '.join(noise)}" if noise else "quiet run",
    ]


def markdown_of(document: Mapping[str, Any]) -> str:
    """Return the summary and the tables as markdown."""
    command, *lines = summary_lines(document)
    parts = [f"`{command}`\n\n" + ".\n".join(lines) + "."]
    for table in tables_of(document):
        names = list(table.rows[0])
        text = [f"**{table.title}**", "", _markdown_row(names), _markdown_row(["---"] * len(names))]
        text += [_markdown_row([_markdown_cell(value) for value in row.values()]) for row in table.rows]
        parts.append("\n".join(text))
    return "\n\n".join(parts) + "\n"


def _markdown_row(cells: Sequence[str]) -> str:
    return f"| {' | '.join(cells)} |"


def _markdown_cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        # Three digits tell what can be relied on; no exponent for what is read as milliseconds or times.
        return f"{value:.3g}" if value < _THREE_DIGITS else f"{round(value):,}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _rate(value: float | None) -> str | None:
    """Return a rate as 3.27e8: two digits behind the point, and no more exponent than needed."""
    if value is None:
        return None
    mantissa, _, exponent = f"{value:.2e}".partition("e")
    return f"{mantissa}e{int(exponent)}"


def _steps_rate(row: Mapping[str, Any]) -> float:
    """Return candle-steps per second; a sum goes through every candle once."""
    return float(row.get("candle_steps_per_second", row["candles_per_second"]))


def _noise_mark(*rows: Mapping[str, Any]) -> str:
    mark = "!" if any(row["is_noisy"] for row in rows) else ""
    return f"{100 * max(row['spread'] for row in rows):.0f} %{mark}"


def _work_rows(market: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return one row per work and mode: rates on one thread, and on all cores beside it."""
    limit = [{**row, "work": "sum of open … close", "mode": "", "trades": None} for row in market["memory_limit"]]
    searched = [{**row, "work": f"search of {row['sets']:,} sets", "mode": "metrics"} for row in market["search"]]
    by_work: dict[tuple[str, str], list[Mapping[str, Any]]] = {}
    for row in [*limit, *market["works"], *searched]:
        by_work.setdefault((row["work"], row["mode"]), []).append(row)
    rows = []
    for (work, mode), measured in by_work.items():
        one, *more = measured
        shown: dict[str, Any] = {"work": work, "mode": mode, "steps/s": _rate(_steps_rate(one))}
        for row in more:
            shown[f"on {row['threads']} cores"] = _rate(_steps_rate(row))
            shown["gain"] = round(one["seconds"] / row["seconds"], 2)
        shown["candles/s"] = _rate(one["candles_per_second"])
        shown["trades/s"] = _rate(one["trades"] / one["seconds"] if one["trades"] is not None else None)
        shown["spread"] = _noise_mark(*measured)
        rows.append(shown)
    return rows


def _other_rows(market: Mapping[str, Any]) -> list[dict[str, Any]]:
    return [
        {
            "work": row["work"],
            "engine": row["engine"],
            "tokens": row["tokens"],
            "ms": 1000 * row["seconds"],
            "x ours": None if row["engine"] == OURS else row["ratio"],
            "candles/s": _rate(row["candles_per_second"]),
            "agrees": row["has_same_trades"] and row["pnl_difference"] < PNL_TOLERANCE * row["trades"],
            "spread": _noise_mark(row),
        }
        for row in [*market["slower"], *market.get("vectorbt", [])]
    ]


def _process_rows(document: Mapping[str, Any]) -> list[dict[str, Any]]:
    first = document["first_call"]
    rows = [
        {"what": "first call of a fresh process, warm cache, beyond imports", "value": first["first_call_seconds"]},
        {"what": "its imports", "value": first["import_seconds"]},
    ]
    if "cold_compile" in document:
        cold = document["cold_compile"]["first_call_seconds"]
        rows.append({"what": "first call of all, compiling everything", "value": cold})
    for row in rows:
        row["unit"] = "s"
    rows += [
        {"what": f"peak memory of a search of {row['sets']:,} sets", "value": row["peak_mb"], "unit": "MB"}
        for row in document.get("search_memory", [])
    ]
    for market in document["markets"]:
        if "simulate_command" in market:
            row = market["simulate_command"]
            what = f"quantbot simulate, {row['candles']:,} candles, {row['calls']:,} calls, {row['work']}"
            rows.append({"what": what, "value": row["seconds"], "unit": "s"})
    return rows
