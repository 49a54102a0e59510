"""The check of candles: a warning by token-month, with the numbers, in single and in range runs."""

import warnings
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import dagster as dg
import pyarrow as pa
import pytest

from quantbot_pipeline.defs.checks import build_candle_quality_check, judge_token_months
from quantbot_pipeline.defs.partitions import register_tokens, token_month_key, token_month_partitions
from quantbot_pipeline.ingest.candle_quality import Verdict
from quantbot_pipeline.ingest.tokens import TokenKey
from quantbot_pipeline.settings import Settings, load_settings
from quantbot_pipeline.workflows.token_months import TokenMonth

BONK = TokenKey("binance", "BONK_USDT")
PEPE = TokenKey("binance", "PEPE_USDT")

_PLAIN = {
    "expected_count": 100,
    "candle_count": 100,
    "gap_count": 0,
    "longest_gap_candles": 0,
    "zero_volume_count": 0,
    "volume_missing_count": 0,
    "distorted_count": 0,
    "long_wick_count": 0,
    "resampled_count": 0,
    "off_grid_count": 0,
    "flat_run_candles": 1,
    "flat_run_seconds": 300,
    "silent_seconds": 0,
    "first_candle_s": 1,
    "last_candle_s": 2,
}


def _measured(token: TokenKey, month: str, interval: str = "5m", seconds: int = 300, **changes: int) -> dict[str, Any]:
    key = {"chain": token.chain, "token_address": token.address, "month": month}
    return {**key, "interval": interval, "interval_seconds": seconds, **_PLAIN, **changes}


class FakeHistory:
    """Answers the measuring query alone, with the rows that are asked for."""

    def __init__(self, rows: Sequence[Mapping[str, Any]]) -> None:
        self._rows = rows

    def read(self, query: str, **parameters: Any) -> pa.Table:
        assert query == "candles/measure_quality"
        tokens = set(zip(parameters["chains"], parameters["token_addresses"], strict=True))
        found = [
            row
            for row in self._rows
            if (row["chain"], row["token_address"]) in tokens and row["month"] in parameters["months"]
        ]
        return pa.Table.from_pylist(found)


ROWS = [
    _measured(BONK, "2025-01"),
    _measured(BONK, "2025-02", candle_count=90, gap_count=10),
    # The finest interval that has candles is judged: the 1m series has none in this month.
    _measured(PEPE, "2025-01", interval="1m", seconds=60, candle_count=0),
    _measured(PEPE, "2025-01", silent_seconds=90_000),
    _measured(PEPE, "2025-01", interval="1h", seconds=3600),
]


@pytest.fixture
def settings(tmp_path_factory: pytest.TempPathFactory) -> Settings:
    return load_settings(home=tmp_path_factory.mktemp("home"), first_month="2025-01")


@pytest.fixture
def instance() -> Iterator[dg.DagsterInstance]:
    with dg.DagsterInstance.ephemeral() as made:
        register_tokens(made, [TokenMonth(BONK, "2025-01"), TokenMonth(PEPE, "2025-01")])
        yield made


def _run(settings: Settings, instance: dg.DagsterInstance, first: TokenMonth, last: TokenMonth) -> list[Any]:
    with warnings.catch_warnings():
        # Checks by partition are in preview, range runs in beta: as in quantbot_pipeline.definitions.
        warnings.simplefilter("ignore", dg.PreviewWarning)
        warnings.simplefilter("ignore", dg.BetaWarning)

        @dg.asset(partitions_def=token_month_partitions(settings), backfill_policy=dg.BackfillPolicy.single_run())
        def ohlcv_candles() -> None:
            """Stand in for the asset."""

        check = build_candle_quality_check(settings)
    definitions = dg.Definitions(
        assets=[ohlcv_candles],
        asset_checks=[check],
        resources={"history_store": FakeHistory(ROWS)},
        executor=dg.in_process_executor,
    )
    one = {"partition_key": token_month_key(first)}
    several = {
        "tags": {
            "dagster/asset_partition_range_start": token_month_key(first),
            "dagster/asset_partition_range_end": token_month_key(last),
        }
    }
    result = definitions.resolve_implicit_global_asset_job_def().execute_in_process(
        instance=instance,
        run_config={"loggers": {"console": {"config": {"log_level": "CRITICAL"}}}},
        **(one if first == last else several),  # type: ignore[arg-type]  # two shapes of one call
    )
    # A warning stops nothing.
    assert result.success
    return result.get_asset_check_evaluations()


def test_a_run_of_one_token_month_judges_it(settings: Settings, instance: dg.DagsterInstance) -> None:
    key = TokenMonth(BONK, "2025-02")

    (found,) = _run(settings, instance, key, key)

    assert (found.passed, found.severity) == (False, dg.AssetCheckSeverity.WARN)
    assert found.partition == "2025-02-01|binance:BONK_USDT"
    assert found.description == "gaps; 10 candles are missing in 10 gaps, the longest of 0.0 h"
    assert found.metadata["coverage"].value == 0.9
    assert found.metadata["gap_count"].value == 10


def test_a_range_run_judges_each_of_its_token_months_and_sums_up(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    found = _run(settings, instance, TokenMonth(BONK, "2025-01"), TokenMonth(PEPE, "2025-02"))

    # PEPE's February has no candles and is only part of the box.
    assert {one.partition: (one.passed, one.description.split(";")[0]) for one in found} == {
        "2025-01-01|binance:BONK_USDT": (True, "good"),
        "2025-02-01|binance:BONK_USDT": (False, "gaps"),
        "2025-01-01|binance:PEPE_USDT": (False, "stale"),
        None: (False, "3 token-months: 1 good, 1 gaps, 1 stale"),
    }
    assert {one.severity for one in found} == {dg.AssetCheckSeverity.WARN}


def test_a_token_month_without_candles_is_told_when_it_is_asked_for(
    settings: Settings, instance: dg.DagsterInstance
) -> None:
    key = TokenMonth(PEPE, "2025-02")

    (found,) = _run(settings, instance, key, key)

    assert (found.passed, found.description) == (False, "no candles of this token are stored for this month")


def test_the_finest_interval_with_candles_is_judged() -> None:
    key = TokenMonth(PEPE, "2025-01")

    judged = judge_token_months(FakeHistory(ROWS), [key])  # type: ignore[arg-type]  # reads alone

    assert (judged[key].interval, judged[key].quality.verdict) == ("5m", Verdict.STALE)


def test_the_check_says_what_to_do(settings: Settings) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.PreviewWarning)
        (spec,) = build_candle_quality_check(settings).check_specs

    assert spec.blocking is False
    for expected in ("quantbot candles quality", "materialise the token-month again", "max_staleness_seconds"):
        assert expected in (spec.description or "")
