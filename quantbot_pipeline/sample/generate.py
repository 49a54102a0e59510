"""A seeded synthetic data set: candle files, alert files, and what must come of importing them.

Nothing here is real: tokens, callers and prices are invented, with the dirt of real files put in on
purpose (bad rows, exact duplicates, several spellings of one thing). The same spec gives the same rows
everywhere, and with the same Arrow version the same bytes.
"""

import re
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import numpy as np

from quantbot_pipeline.engine.calls import SignalType
from quantbot_pipeline.engine.candles import INTERVAL_SECONDS, IntArray
from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.ingest.tokens import TokenKey, encode_base58
from quantbot_pipeline.sample.alert_contents import AlertContents, TokenHistory, make_alert_contents
from quantbot_pipeline.sample.candle_contents import CandleContent, csv_content, parquet_content
from quantbot_pipeline.sample.price_paths import PricePath, make_price_path
from quantbot_pipeline.sample.random_numbers import RandomNumbers

MIN_ALERT_COUNT = 60

_EVM_CHAIN_OF_TURN = {3: "base", 7: "ethereum", 11: "bsc"}
"""Of twelve tokens, three live on EVM chains and nine on Solana."""

# Streams of random numbers, told apart by what they are for.
_FOR_ADDRESSES, _FOR_PRICES, _FOR_ALERTS = 1, 2, 3


@dataclass(frozen=True)
class SampleSpec:
    """What to make.

    Attributes:
        seed: Everything random follows from it, >= 0.
        token_count: Tokens, 2 to 1000; the last one's first third comes as CSV.
        months: Calendar months, 1 to 60.
        first_month: `YYYY-MM`, 2010-01 to 2089-12, UTC.
        caller_count: Callers, 1 to 100; early, random, late and mixed ones by turns.
        alert_count: Rows of all alert files, bad ones and duplicates included; at least 60.
        interval: Candle length, a key of `INTERVAL_SECONDS` from 1m to 1d.
    """

    seed: int = 7
    token_count: int = 20
    months: int = 3
    first_month: str = "2025-01"
    caller_count: int = 4
    alert_count: int = 400
    interval: str = "5m"

    def validate(self) -> "SampleSpec":
        """Return self after checking every bound.

        Raises:
            ConfigError: a value is out of its bounds.
        """
        bounds = {
            "seed": (self.seed, 0, 2**63 - 1),
            "token_count": (self.token_count, 2, 1000),
            "months": (self.months, 1, 60),
            "caller_count": (self.caller_count, 1, 100),
            "alert_count": (self.alert_count, MIN_ALERT_COUNT, 1_000_000),
        }
        for name, (value, lowest, highest) in bounds.items():
            if not lowest <= value <= highest:
                raise ConfigError(f"sample: {name} is {value}; allowed are {lowest} to {highest}")
        if not re.fullmatch(r"20[1-8][0-9]-(0[1-9]|1[0-2])", self.first_month):
            raise ConfigError(
                f"sample: first_month is {self.first_month!r}; allowed is YYYY-MM from 2010-01 to 2089-12"
            )
        if not 60 <= INTERVAL_SECONDS.get(self.interval, 0) <= 86400:
            allowed = ", ".join(name for name, seconds in INTERVAL_SECONDS.items() if seconds >= 60)
            raise ConfigError(f"sample: interval is {self.interval!r}; allowed are {allowed}")
        return self


@dataclass(frozen=True)
class SampleFiles:
    """What was written.

    Attributes:
        directory: Where, with `candles/` and `alerts/` below it.
        candle_files: Parquet files, one per token, and one CSV file.
        alert_files: One CSV and one JSON Lines file.
        expected: Counts that importing exactly these files into an empty pipeline must give, with the
            default source name: `candle_rows`, `candles`, `candle_duplicates`, `candle_conflicts`,
            `candles_quarantined`, `alert_rows`, `alerts`, `alert_duplicates`, `alerts_quarantined`,
            `tokens`, `callers`, `entry_calls`, `exit_calls`, `scale_out_calls`.
    """

    directory: Path
    candle_files: tuple[Path, ...]
    alert_files: tuple[Path, ...]
    expected: dict[str, int]


def write_sample(directory: Path, spec: SampleSpec | None = None) -> SampleFiles:
    """Write a data set; files of the same names are replaced, others are left alone.

    Args:
        directory: Made if it is not there.
        spec: What to make; by default `SampleSpec()`.

    Raises:
        ConfigError: the spec is out of its bounds, or the files can't be written.
    """
    spec = (spec if spec is not None else SampleSpec()).validate()
    interval_seconds = INTERVAL_SECONDS[spec.interval]
    first_second, end_second = _time_line(spec)
    timestamps: IntArray = np.arange(first_second, end_second, interval_seconds, dtype=np.int64)
    histories: list[TokenHistory] = []
    candle_files: list[Path] = []
    candle_counts: Counter[str] = Counter()
    for number, token in enumerate(_make_tokens(spec)):
        random = RandomNumbers(spec.seed, _FOR_PRICES, number)
        path = make_price_path(random, number, len(timestamps), interval_seconds)
        # Written at once: of many tokens and months, memory holds no more than alerts need.
        for name, content in _candle_contents(spec, number, token, path, timestamps):
            candle_files.append(directory / "candles" / name)
            _write(candle_files[-1], content.content)
            candle_counts.update(rows=content.row_count, duplicates=content.duplicates, bad_rows=content.bad_rows)
        histories.append(TokenHistory.of(token, path))
    alerts = make_alert_contents(
        RandomNumbers(spec.seed, _FOR_ALERTS),
        histories,
        first_second=first_second,
        interval_seconds=interval_seconds,
        caller_count=spec.caller_count,
        row_count=spec.alert_count,
    )
    alert_files = {
        directory / "alerts" / "calls.csv": alerts.csv_text,
        directory / "alerts" / "messages.jsonl": alerts.json_text,
    }
    for file, text in alert_files.items():
        _write(file, text.encode())
    return SampleFiles(
        directory=directory,
        candle_files=tuple(candle_files),
        alert_files=tuple(alert_files),
        expected=_expected_counts(spec, candle_counts, alerts),
    )


def _time_line(spec: SampleSpec) -> tuple[int, int]:
    """Return the first second and the second after the last one."""
    year, month = (int(part) for part in spec.first_month.split("-"))
    end = year * 12 + month - 1 + spec.months
    first_at = datetime(year, month, 1, tzinfo=UTC)
    end_at = datetime(end // 12, end % 12 + 1, 1, tzinfo=UTC)
    return int(first_at.timestamp()), int(end_at.timestamp())


def _make_tokens(spec: SampleSpec) -> list[TokenKey]:
    tokens = []
    for number in range(spec.token_count):
        random = RandomNumbers(spec.seed, _FOR_ADDRESSES, number)
        chain = _EVM_CHAIN_OF_TURN.get(number % 12, "solana")
        address = encode_base58(random.raw_bytes(32)) if chain == "solana" else "0x" + random.raw_bytes(20).hex()
        tokens.append(TokenKey(chain, address))
    return tokens


def _candle_contents(
    spec: SampleSpec, number: int, token: TokenKey, path: PricePath, timestamps: IntArray
) -> Iterator[tuple[str, CandleContent]]:
    """Yield name and content of a token's candle files; the last token's first third is a CSV file."""
    name = f"{token.chain}__{token.address}__{spec.interval}"
    bars = path.present_bars()
    if number == spec.token_count - 1:
        csv_bars, bars = bars[: len(bars) // 3], bars[len(bars) // 3 :]
        yield f"{name}.first-third.csv", csv_content(token, spec.interval, path, timestamps, csv_bars)
    yield (
        f"{name}.parquet",
        parquet_content(
            token,
            spec.interval,
            path,
            timestamps,
            bars,
            with_bad_rows=number == 0,
            with_duplicates=number == 1,
        ),
    )


def _expected_counts(spec: SampleSpec, candles: Mapping[str, int], alerts: AlertContents) -> dict[str, int]:
    signals = Counter(alert.signal_type for alert in alerts.alerts)
    return {
        "tokens": spec.token_count,
        "candle_rows": candles["rows"],
        "candles": candles["rows"] - candles["duplicates"] - candles["bad_rows"],
        "candle_duplicates": candles["duplicates"],
        "candle_conflicts": 0,
        "candles_quarantined": candles["bad_rows"],
        "alert_rows": spec.alert_count,
        "alerts": len(alerts.alerts),
        "alert_duplicates": alerts.duplicates,
        "alerts_quarantined": alerts.bad_rows,
        "callers": len({alert.caller for alert in alerts.alerts}),
        "entry_calls": signals[SignalType.ENTRY],
        "exit_calls": signals[SignalType.EXIT],
        "scale_out_calls": signals[SignalType.SCALE_OUT],
    }


def _write(path: Path, content: bytes) -> None:
    # Beside the target and then in its place: whoever reads meanwhile sees a whole file.
    unfinished = path.with_name(f".{path.name}.unfinished")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        unfinished.write_bytes(content)
        unfinished.replace(path)
    except OSError as error:
        raise ConfigError(f"sample: {path} can't be written: {error.strerror or error}") from error
