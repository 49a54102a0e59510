"""The invented data set: the same for a seed, wild, dirty, and with counts that are known beforehand."""

import tracemalloc
from collections import Counter, defaultdict
from dataclasses import replace
from hashlib import sha256
from pathlib import Path
from statistics import mean

import numpy as np
import pyarrow as pa
import pytest

from quantbot_pipeline.engine.calls import SignalType
from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.ingest.alert_files import ParsedAlert, read_alert_file
from quantbot_pipeline.ingest.calls import classify_call
from quantbot_pipeline.ingest.candle_files import read_candle_file
from quantbot_pipeline.sample.generate import SampleFiles, SampleSpec, write_sample
from quantbot_pipeline.sample.random_numbers import RandomNumbers

SMALL = SampleSpec(token_count=6, months=1, alert_count=80)


def read_counts(files: SampleFiles) -> dict[str, int]:
    """Count what the readers make of the files, under the names of `SampleFiles.expected`."""
    counts: Counter[str] = Counter(dict.fromkeys(files.expected, 0))
    tokens, callers, keys = set(), set(), set()
    for path in files.candle_files:
        candles = read_candle_file(path)
        counts["candle_rows"] += candles.rows_read
        counts["candles"] += candles.candles.num_rows
        counts["candle_duplicates"] += candles.duplicates
        counts["candle_conflicts"] += candles.conflicts
        counts["candles_quarantined"] += len(candles.quarantined)
        for column in ("chain", "token_address"):
            assert len(set(candles.candles[column].to_pylist())) == 1
        tokens.add((candles.candles["chain"][0].as_py(), candles.candles["token_address"][0].as_py()))
    for path in files.alert_files:
        alerts = read_alert_file(path)
        counts["alert_rows"] += alerts.rows_read
        counts["alerts"] += len(alerts.alerts)
        counts["alert_duplicates"] += alerts.duplicates
        counts["alerts_quarantined"] += len(alerts.quarantined)
        for alert in alerts.alerts:
            keys.add(alert.content_key)
            callers.add(alert.caller)
            tokens.add(alert.token)
            _side, signal_type = classify_call(alert.side, alert.signal_type)
            counts[f"{signal_type}_calls"] += 1
    assert len(keys) == counts["alerts"], "no alert is in both files"
    return dict(counts) | {"tokens": len(tokens), "callers": len(callers)}


def fingerprint(files: SampleFiles) -> dict[str, str]:
    return {path.name: sha256(path.read_bytes()).hexdigest() for path in (*files.candle_files, *files.alert_files)}


@pytest.fixture(scope="module")
def default_files(tmp_path_factory: pytest.TempPathFactory) -> SampleFiles:
    return write_sample(tmp_path_factory.mktemp("sample"))


@pytest.fixture(scope="module")
def series(default_files: SampleFiles) -> dict[str, pa.Table]:
    """The candles of every token, by address."""
    parts: defaultdict[str, list[pa.Table]] = defaultdict(list)
    for path in default_files.candle_files:
        candles = read_candle_file(path).candles
        parts[candles["token_address"][0].as_py()].append(candles)
    return {address: pa.concat_tables(tables).sort_by("timestamp") for address, tables in parts.items()}


@pytest.fixture(scope="module")
def alerts(default_files: SampleFiles) -> list[ParsedAlert]:
    return [alert for path in default_files.alert_files for alert in read_alert_file(path).alerts]


def test_readers_find_exactly_the_expected_counts(default_files: SampleFiles) -> None:
    assert read_counts(default_files) == default_files.expected


def test_the_default_has_the_size_and_the_dirt_that_it_promises(default_files: SampleFiles) -> None:
    expected = default_files.expected
    assert (expected["tokens"], expected["callers"], expected["alert_rows"]) == (20, 4, 400)
    assert 450_000 < expected["candles"] < 520_000
    assert len(default_files.candle_files) == 21
    assert {path.suffix for path in default_files.alert_files} == {".csv", ".jsonl"}
    for dirt in ("candle_duplicates", "candles_quarantined", "alert_duplicates", "alerts_quarantined"):
        assert expected[dirt] >= 5
    assert expected["exit_calls"] >= 5


@pytest.mark.parametrize(
    "spec",
    [
        SMALL,
        replace(SMALL, token_count=2, alert_count=60, caller_count=1),
        replace(SMALL, interval="1d", caller_count=9),
        replace(SMALL, interval="1h", first_month="2024-12", months=3, seed=0),
        replace(SMALL, first_month="2024-02", seed=2**40),
    ],
    ids=["small", "smallest", "daily", "hourly", "leap"],
)
def test_expected_counts_hold_for_other_specs(tmp_path: Path, spec: SampleSpec) -> None:
    files = write_sample(tmp_path, spec)
    assert read_counts(files) == files.expected


def test_one_seed_gives_the_same_bytes_and_another_seed_others(tmp_path: Path) -> None:
    first = fingerprint(write_sample(tmp_path / "a", SMALL))
    assert fingerprint(write_sample(tmp_path / "b", SMALL)) == first
    assert fingerprint(write_sample(tmp_path / "a", SMALL)) == first
    other = fingerprint(write_sample(tmp_path / "c", replace(SMALL, seed=8)))
    assert not set(first.values()) & set(other.values())


def test_random_numbers_are_those_of_the_generator_s_definition() -> None:
    """A changed stream would change every sample; PCG64's raw output and the arithmetic are pinned here."""
    assert RandomNumbers(7, 1, 0).uniforms(3).tolist() == [0.7701409510034741, 0.1119272443176843, 0.18909773329712753]
    assert RandomNumbers(7, 1, 0).raw_bytes(4).hex() == "cd5cc9de"


def test_random_numbers_have_the_moments_that_they_claim() -> None:
    random = RandomNumbers(1, 2)
    bells = random.bells(200_000)
    # Standard error of the mean is 1/sqrt(200000) = 0.0022, of the variance about 0.003.
    assert abs(bells.mean()) < 0.01
    assert abs(bells.var() - 1.0) < 0.02
    tailed = random.fat_tailed(200_000)
    assert abs(tailed.var() - 1.98) < 0.1
    # A bell of the same variance would have a kurtosis of 3.
    assert (tailed**4).mean() / tailed.var() ** 2 > 6
    assert set(random.integers(3, 6, 1000).tolist()) == {3, 4, 5}


def test_prices_are_wild(series: dict[str, pa.Table]) -> None:
    lows = [table["low"].to_numpy().min() for table in series.values()]
    assert min(lows) < 5e-9
    returns = [np.diff(np.log(table["close"].to_numpy())) for table in series.values()]
    everything = np.concatenate(returns)
    kurtosis = ((everything - everything.mean()) ** 4).mean() / everything.var() ** 2
    assert kurtosis > 50
    # Rug pulls: at least two tokens lose more than 60 % within two bars.
    assert sum(bool((values[1:] + values[:-1] < np.log(0.4)).any()) for values in returns) >= 2


def test_idle_stretches_are_real_gaps_or_flat_bars(series: dict[str, pa.Table]) -> None:
    gaps = {address: np.diff(table["timestamp"].to_numpy()) for address, table in series.items()}
    with_gaps = [address for address, steps in gaps.items() if (steps > 300).any()]
    assert len(with_gaps) == 15
    for address in set(series) - set(with_gaps):
        volume = series[address]["volume"].to_numpy()
        assert (volume == 0).sum() > 100


def test_volume_reacts_to_price(series: dict[str, pa.Table]) -> None:
    for table in series.values():
        moves = np.abs(table["close"].to_numpy() / table["open"].to_numpy() - 1)
        quote_volume = table["volume"].to_numpy() * table["close"].to_numpy()
        busiest = moves >= np.quantile(moves, 0.99)
        assert quote_volume[busiest].mean() > 2 * quote_volume[~busiest].mean()


def test_callers_differ_in_what_follows_their_calls(series: dict[str, pa.Table], alerts: list[ParsedAlert]) -> None:
    gains: defaultdict[str, list[float]] = defaultdict(list)
    for alert in alerts:
        if alert.signal_type is not SignalType.ENTRY:
            continue
        table = series[alert.token.address]
        times = table["timestamp"].to_numpy()
        start = int(np.searchsorted(times, alert.alert_timestamp.timestamp()))
        end = int(np.searchsorted(times, alert.alert_timestamp.timestamp() + 6 * 3600))
        if start < end:
            highest = table["high"].to_numpy()[start:end].max()
            gains[alert.caller].append(float(highest / table["open"].to_numpy()[start]))
    # The highest price within six hours of the call, as a multiple of the price at the call.
    average = {caller.split()[0]: mean(values) for caller, values in gains.items()}
    assert average["Early"] > 1.3 * average["Mixed"]
    assert average["Mixed"] > 1.5 * average["Coin"]
    assert average["Coin"] > 1.1 * average["Late"]


def test_stated_prices_are_those_known_at_the_alert(series: dict[str, pa.Table], alerts: list[ParsedAlert]) -> None:
    """A price of a candle that had not closed yet would be a look into the future."""
    checked = 0
    for alert in alerts:
        table = series[alert.token.address]
        times = table["timestamp"].to_numpy()
        closed = int(np.searchsorted(times + 300, alert.alert_timestamp.timestamp(), side="right")) - 1
        if alert.alert_price is not None and closed >= 0:
            assert alert.alert_price == table["close"][closed].as_py()
            checked += 1
    assert checked > 250


def test_alerts_lack_some_prices_and_confidences(alerts: list[ParsedAlert]) -> None:
    assert any(alert.alert_price is None for alert in alerts)
    assert any(alert.alert_market_cap is None for alert in alerts)
    assert any(alert.confidence is None and alert.message_id is not None for alert in alerts)


def test_alerts_lie_within_the_months(default_files: SampleFiles, alerts: list[ParsedAlert]) -> None:
    times = [alert.alert_timestamp for alert in alerts]
    assert (min(times).year, min(times).month) >= (2025, 1)
    assert (max(times).year, max(times).month) <= (2025, 3)


def test_bad_rows_break_a_rule_each(default_files: SampleFiles) -> None:
    candle_rows = [row for path in default_files.candle_files for row in read_candle_file(path).quarantined]
    assert [row.field for row in candle_rows] == [
        *("high", "close", "low", "volume", "timestamp"),
        *(None, "timestamp", "low", "close"),
    ]
    alert_rows = [row for path in default_files.alert_files for row in read_alert_file(path).quarantined]
    assert Counter(row.field for row in alert_rows) == {
        "timestamp": 3,
        "token_address": 2,
        "caller": 2,
        None: 2,
        "price_at_alert": 1,
        "side": 1,
    }


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("seed", -1),
        ("token_count", 1),
        ("months", 0),
        ("caller_count", 0),
        ("alert_count", 59),
        ("first_month", "2025-13"),
        ("first_month", "25-01"),
        ("interval", "1s"),
        ("interval", "7m"),
    ],
)
def test_spec_out_of_bounds_is_refused_and_nothing_is_written(tmp_path: Path, field: str, value: int | str) -> None:
    with pytest.raises(ConfigError, match=f"sample: {field} is .*allowed"):
        write_sample(tmp_path / "sample", replace(SMALL, **{field: value}))
    assert not (tmp_path / "sample").exists()


def test_folder_that_cannot_be_written_is_refused(tmp_path: Path) -> None:
    (tmp_path / "sample").write_text("a file, not a folder")
    with pytest.raises(ConfigError, match="can't be written"):
        write_sample(tmp_path / "sample", SMALL)


def test_no_unfinished_file_stays_behind(tmp_path: Path) -> None:
    files = write_sample(tmp_path, SMALL)
    found = {path for path in tmp_path.rglob("*") if path.is_file()}
    assert found == {*files.candle_files, *files.alert_files}


def test_memory_holds_of_each_token_what_alerts_need_and_no_more(tmp_path: Path) -> None:
    """All prices and files of all tokens were held until the end: 108 bytes per candle."""

    def peak(token_count: int) -> int:
        tracemalloc.start()
        try:
            write_sample(tmp_path, replace(SMALL, token_count=token_count))
            return tracemalloc.get_traced_memory()[1]
        finally:
            tracemalloc.stop()

    peak(2)
    bars = 31 * 288
    assert peak(10) - peak(2) < 8 * bars * 40
