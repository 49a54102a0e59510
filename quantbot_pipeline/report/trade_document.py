"""A trade as plain JSON."""

import math
from dataclasses import asdict
from datetime import UTC, datetime
from typing import Any

from quantbot_pipeline.report.trade_content import TradeContent, event_rows
from quantbot_pipeline.report.trade_levels import trade_levels
from quantbot_pipeline.report.trade_words import caveats, describe_trade


def trade_document(content: TradeContent) -> dict[str, Any]:
    """Return the trade as plain JSON: what was called, what happened, the levels, the candles, the indicators.

    Times are ISO 8601 in UTC, prices in quote currency, sizes and results fractions; NaN is null.
    """
    levels = trade_levels(content)
    candles, call = content.candles, content.call
    return {
        "call": {
            "call_id": call.call_id,
            "caller_source": call.caller_source,
            "caller_handle": call.caller_handle,
            "chain": call.chain,
            "token_address": call.token_address,
            "symbol": call.symbol,
            "signal_at": _iso(call.signal_at),
        },
        "strategy": {
            "name": content.strategy_name,
            "version": content.strategy_version,
            "config": content.strategy.model_dump(mode="json", by_alias=True, exclude_none=True),
        },
        "run": {
            "id": content.run_id,
            "type": content.run_type,
            "is_current": content.is_current,
            "data_quality": content.data_quality,
        },
        "has_bought": content.has_bought,
        "skip_reason": content.skip_reason or None,
        "pnl": content.pnl,
        "text": describe_trade(content),
        "caveats": caveats(content, is_consistent=levels.is_consistent),
        "events": [{**asdict(row), "at": _iso(row.at)} for row in event_rows(content)],
        "levels": {
            name: [
                {
                    "name": level.name,
                    "steps": [[_iso(at), price] for at, price in level.steps],
                    "until": _iso(level.until),
                }
                for level in found
            ]
            for name, found in (
                ("orders", levels.orders),
                ("stops", levels.stops),
                ("targets", levels.targets),
                ("average_entries", levels.averages),
            )
        },
        "candles": {
            "interval_seconds": candles.interval_seconds,
            "opened_at": [_iso(at) for at in candles.timestamp.tolist()],
            "open": candles.open.tolist(),
            "high": candles.high.tolist(),
            "low": candles.low.tolist(),
            "close": candles.close.tolist(),
            "volume": candles.volume.tolist(),
        },
        "indicators": {
            line.label: [value if math.isfinite(value) else None for value in line.values.tolist()]
            for line in content.indicators
        },
    }


def _iso(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).isoformat()
