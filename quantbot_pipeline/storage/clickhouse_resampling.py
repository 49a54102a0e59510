"""The part of `ClickHouseStore` that makes coarse candles from fine ones, inside the server.

What is stored is `sql/clickhouse/queries/candles/insert_resampled_candles.sql`; which candles, tokens and months go
into one statement is the business of `workflows.resample_candles`.
"""

from collections.abc import Collection

from quantbot_pipeline.engine.candles import INTERVAL_SECONDS
from quantbot_pipeline.errors import InputError
from quantbot_pipeline.storage.clickhouse_connection import ClickHouseConnection
from quantbot_pipeline.storage.sql_files import load_sql

_INSERT = "candles/insert_resampled_candles"


class CandleResampling:
    """Resampling, for a store that has a connection."""

    _connection: ClickHouseConnection

    def resample_candles(
        self,
        chain: str,
        token_addresses: Collection[str],
        start: int,
        end: int,
        *,
        source_interval: str,
        target_interval: str,
        include_open: bool = False,
    ) -> int:
        """Make candles of `target_interval` from those of `source_interval`; `protocols.HistoryStore` says how.

        Args:
            chain: Chain of the tokens.
            token_addresses: Their addresses.
            start: First second of the source candles; a bound of target candles, such as a month's first.
            end: First second after them, likewise; at most 90 months after `start`.
            source_interval: What is read.
            target_interval: What is made; a whole multiple of it.
            include_open: Whether to make the bucket that ends after the series' last candle.

        Returns:
            How many candles were inserted; 0 when all of them were stored already.

        Raises:
            InputError: an interval is unknown, or the target is no multiple of the source.
        """
        check_intervals(source_interval, target_interval)
        if not token_addresses:
            return 0
        return self._connection.insert_selected(
            load_sql("clickhouse", _INSERT),
            name=_INSERT,
            parameters={
                "chain": chain,
                "token_addresses": sorted(token_addresses),
                "start_s": start,
                "end_s": end,
                "source_interval": source_interval,
                "source_seconds": INTERVAL_SECONDS[source_interval],
                "target_interval": target_interval,
                "target_seconds": INTERVAL_SECONDS[target_interval],
                "include_open": int(include_open),
            },
        )


def check_intervals(source: str, target: str) -> None:
    """Raise unless candles of `target` can be made from whole candles of `source`.

    Raises:
        InputError: an interval is unknown, or the target is no multiple of the source.
    """
    for name in (source, target):
        if name not in INTERVAL_SECONDS:
            raise InputError(f"candle interval {name!r} is not known; allowed are {', '.join(INTERVAL_SECONDS)}")
    length = INTERVAL_SECONDS[source]
    if INTERVAL_SECONDS[target] <= length or INTERVAL_SECONDS[target] % length:
        possible = [name for name, seconds in INTERVAL_SECONDS.items() if seconds > length and seconds % length == 0]
        raise InputError(
            f"candles of {target} can't be made from candles of {source}; allowed are "
            f"{', '.join(possible) or 'none: there is no coarser interval'}"
        )
