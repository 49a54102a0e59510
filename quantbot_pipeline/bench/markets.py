"""The markets that are measured on: a seeded one, and real candles of files."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from quantbot_pipeline.bench.works import HORIZON_SECONDS
from quantbot_pipeline.engine.calls import Call
from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, Candles
from quantbot_pipeline.errors import DataError
from quantbot_pipeline.ingest.candle_files import read_candle_file
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.workflows.progress import ProgressListener, no_progress

SEED = 20_240_101
CANDLES_PER_CALL = 960
"""One call per so many candles of a real token."""

REAL_INTERVAL = "5m"


@dataclass(frozen=True)
class BenchMarket:
    """Candles and calls to measure on.

    Attributes:
        name: What it is, for tables.
        candles: By token.
        calls: By token, each at the open of a candle.
        files: Where real candles come from, for what reads files itself.
    """

    name: str
    candles: Mapping[TokenKey, Candles]
    calls: Mapping[TokenKey, Sequence[Call]]
    files: tuple[Path, ...] = ()

    @cached_property
    def candle_count(self) -> int:
        """Candles of all tokens."""
        return sum(len(candles) for candles in self.candles.values())

    @cached_property
    def call_count(self) -> int:
        """Calls on all tokens."""
        return sum(len(calls) for calls in self.calls.values())

    def part(self, tokens: int) -> "BenchMarket":
        """Return the market of the first tokens, for what is too slow for all."""
        keys = list(self.candles)[:tokens]
        return BenchMarket(
            self.name, {key: self.candles[key] for key in keys}, {key: self.calls[key] for key in keys}, self.files
        )


def seeded_market(tokens: int, candles: int, calls: int) -> BenchMarket:
    """Return one-minute candles of walks with fat tails, and calls spread evenly over the tokens.

    The same numbers give the same market on every machine.

    Args:
        tokens: How many.
        candles: Per token.
        calls: Of all tokens.
    """
    numbers = np.random.default_rng(SEED)
    markets: dict[TokenKey, Candles] = {}
    asked: dict[TokenKey, list[Call]] = {}
    timestamp = 1_700_000_040 + 60 * np.arange(candles, dtype=np.int64)
    for token in range(tokens):
        # Student's t with 3 degrees of freedom: single minutes move by a tenth, as those of small tokens do.
        close = np.exp(np.cumsum(0.0015 * numbers.standard_t(3, candles)))
        open_ = np.concatenate([[1.0], close[:-1]])
        high = np.maximum(open_, close) * np.exp(np.abs(numbers.normal(0, 0.001, candles)))
        low = np.minimum(open_, close) * np.exp(-np.abs(numbers.normal(0, 0.001, candles)))
        volume = numbers.lognormal(8, 1, candles)
        key = TokenKey("bench", f"token-{token}")
        markets[key] = Candles(60, timestamp, open_, high, low, close, volume).validate()
        of_token = calls // tokens + (token < calls % tokens)
        starts = np.sort(numbers.integers(0, max(1, candles - HORIZON_SECONDS // 60 - 1), of_token))
        asked[key] = [Call(10_000 * token + k, 1, int(timestamp[i])) for k, i in enumerate(starts.tolist())]
    return BenchMarket("seeded, 1m", markets, asked)


def real_market(
    files: Sequence[Path], *, chain: str | None = None, on_progress: ProgressListener = no_progress
) -> BenchMarket:
    """Return the 5-minute candles of files, with one call per token every `CANDLES_PER_CALL` candles.

    Args:
        files: Candle files, read and checked as for an import; other intervals in them are left out.
        chain: Take only tokens of this chain.
        on_progress: Told after each file.

    Raises:
        DataError: no file has such candles, or two files hold the same token.
    """
    markets: dict[TokenKey, Candles] = {}
    used: list[Path] = []
    for done, path in enumerate(files, start=1):
        rows = read_candle_file(path).candles
        rows = rows.filter(pc.equal(rows["interval"], REAL_INTERVAL))
        if chain is not None:
            rows = rows.filter(pc.equal(rows["chain"], chain))
        found = _by_token(rows)
        for key, candles in found.items():
            if key in markets:
                raise DataError(
                    f"{path}: {key.chain}:{key.address} {REAL_INTERVAL} is in another file too; leave one out"
                )
            markets[key] = candles
        if found:
            used.append(path)
        on_progress(done, len(files), path.name)
    if not markets:
        wanted = f"{REAL_INTERVAL} candles" + (f" of chain {chain!r}" if chain else "")
        raise DataError(f"none of the {len(files)} candle files has {wanted}; give other files with --candles")
    asked: dict[TokenKey, list[Call]] = {}
    for token, (key, candles) in enumerate(markets.items()):
        starts = candles.timestamp[::CANDLES_PER_CALL].tolist()
        asked[key] = [Call(1_000_000 * token + k, 1, timestamp) for k, timestamp in enumerate(starts)]
    return BenchMarket(f"{chain or 'real'}, {REAL_INTERVAL}", markets, asked, tuple(used))


def _by_token(rows: pa.Table) -> dict[TokenKey, Candles]:
    keys = rows.group_by(["chain", "token_address"]).aggregate([]).sort_by("token_address").to_pylist()
    found: dict[TokenKey, Candles] = {}
    for key in keys:
        is_token = pc.and_(pc.equal(rows["chain"], key["chain"]), pc.equal(rows["token_address"], key["token_address"]))
        # Files come sorted by time within a token.
        columns = rows.filter(is_token)
        prices = [np.ascontiguousarray(columns[name].to_numpy()) for name in ("open", "high", "low", "close", "volume")]
        timestamp = np.ascontiguousarray(columns["timestamp"].to_numpy())
        candles = Candles(INTERVAL_SECONDS[REAL_INTERVAL], timestamp, *prices)
        found[TokenKey(key["chain"], key["token_address"])] = candles
    return found
