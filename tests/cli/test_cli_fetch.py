"""`quantbot fetch candles`: what it prints, its exit codes, and the key that it never shows."""

import os
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from conftest import Databases, Quantbot

from tests.unit.sources.source_server import (
    KEY,
    FakeBirdeye,
    FakeGeckoTerminal,
    SourceServer,
    birdeye_items,
    gecko_rows,
    pool,
    serving,
)

pytestmark = pytest.mark.server

TOKEN = "EPjFWdd5AufqSSqeM2qN1xzybapC8G4wEGGkZwyTDt1v"  # noqa: S105 - the address of a token
OTHER = "So11111111111111111111111111111111111111112"
POOL = "4w2cysotX6czaUGmmWg13hDpY4QEMG2CzeKYEQyK9Ama"
CALLED = (datetime.now(UTC) - timedelta(days=10)).replace(hour=12, minute=0, second=0, microsecond=0)
CALLED_S = int(CALLED.timestamp())
SINCE = f"{CALLED:%Y-%m-%d}"
SLOTS = 26  # an hour before and an hour after, and two candles for the end of the horizon
OPTIONS = ("--calls-since", SINCE, "--warm-up", "1h", "--horizon", "60m")
VARIABLES = (
    "QUANTBOT_BIRDEYE_API_KEY",
    "QUANTBOT_BIRDEYE_URL",
    "QUANTBOT_BIRDEYE_REQUESTS_PER_SECOND",
    "QUANTBOT_GECKOTERMINAL_URL",
)


@pytest.fixture(autouse=True)
def _no_variable_of_the_caller(monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    for name in VARIABLES:
        monkeypatch.delenv(name, raising=False)
    yield
    assert not [name for name in VARIABLES if os.environ.get(name) == KEY and name != VARIABLES[0]]


@pytest.fixture
def called(fresh_databases: Databases, quantbot: Quantbot, tmp_path: Path) -> Quantbot:
    """The command, on databases with one call on each of two tokens."""
    lines = ["caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert"]
    lines += [f"anna,{token},solana,{CALLED:%Y-%m-%dT%H:%M:%SZ},1,1" for token in (TOKEN, OTHER)]
    (tmp_path / "alerts.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    answer = quantbot("ingest", "alerts", tmp_path / "alerts.csv", "--json")
    assert answer.document["new_calls"] == 2
    return quantbot


@pytest.fixture
def gecko(monkeypatch: pytest.MonkeyPatch) -> Iterator[SourceServer]:
    api = FakeGeckoTerminal(pools={TOKEN: [pool(POOL, TOKEN)]}, candles={POOL: gecko_rows(CALLED_S - 100 * 300, 200)})
    with serving(api) as server:
        monkeypatch.setenv("QUANTBOT_GECKOTERMINAL_URL", server.url)
        yield server


def test_plan_is_printed_and_nothing_is_sent(called: Quantbot, gecko: SourceServer) -> None:
    answer = called("fetch", "candles", "--source", "geckoterminal", *OPTIONS, "--dry-run", "--json")
    assert answer.code == 0
    assert gecko.requests == []
    assert answer.document["totals"] == {"calls": 2, "candles": 2 * SLOTS, "missing": 2 * SLOTS}
    assert answer.document["tokens"][0]["windows"] == [
        [f"{CALLED - timedelta(hours=1):%Y-%m-%dT%H:%M:%SZ}", f"{CALLED + timedelta(minutes=70):%Y-%m-%dT%H:%M:%SZ}"]
    ]
    # A plan needs no key.
    assert called("fetch", "candles", "--source", "birdeye", *OPTIONS, "--dry-run").code == 0


def test_one_token_that_fails_is_one_line_and_code_3_and_the_other_is_stored(
    called: Quantbot, gecko: SourceServer
) -> None:
    command = ("fetch", "candles", "--source", "geckoterminal", *OPTIONS)
    answer = called(*command, "--json")
    assert answer.code == 3
    totals = answer.document["totals"]
    assert (totals["requested"], totals["stored"], totals["quarantined"]) == (2 * SLOTS, SLOTS, 0)
    assert totals["received"] == totals["stored"] + totals["duplicates"] + totals["quarantined"] + totals["left_out"]
    assert [row["status"] for row in answer.document["tokens"]] == ["fetched", "failed"]
    assert "error: 1 of 2 tokens failed:\n" in answer.err
    assert answer.err.count(f"solana:{OTHER}: geckoterminal: GET") == 1
    # The second time only the one that failed is asked for; chosen alone, the other is complete.
    sent = len(gecko.requests)
    alone = called(*command, "--tokens", f"solana:{TOKEN}", "--json")
    assert (alone.code, alone.document["tokens"][0]["status"], len(gecko.requests)) == (0, "complete", sent)
    shown = called(*command, "--tokens", f"solana:{TOKEN}")
    assert (shown.code, shown.err) == (0, "")
    assert f"solana:{TOKEN}: complete, requested 0, received 0, stored 0," in shown.out
    assert "total: 1 tokens, requested 0" in shown.out


def test_candles_place_an_address_whose_chain_somebody_left_open(
    fresh_databases: Databases, quantbot: Quantbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As they do when files bring them; the call stayed on no chain until something else was imported."""
    address, traded = f"0x{'ab' * 20}", f"0x{'cd' * 20}"
    lines = ["caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert"]
    lines += [
        f"{who},{address},{chain},{CALLED:%Y-%m-%dT%H:%M:%SZ},1,1" for who, chain in (("anna", "base"), ("ben", ""))
    ]
    (tmp_path / "alerts.csv").write_text("\n".join(lines) + "\n", encoding="utf-8")
    assert quantbot("ingest", "alerts", tmp_path / "alerts.csv", "--json").document["new_calls"] == 2
    assert quantbot("calls", "derive", "--json").document["unplaced_total"] == 1
    pools = {address: [pool(traded, address, network="base")]}
    with serving(FakeGeckoTerminal(pools=pools, candles={traded: gecko_rows(CALLED_S - 100 * 300, 200)})) as server:
        monkeypatch.setenv("QUANTBOT_GECKOTERMINAL_URL", server.url)
        fetched = quantbot("fetch", "candles", "--source", "geckoterminal", *OPTIONS, "--json")
    assert fetched.document["totals"]["stored"] == SLOTS
    answer = quantbot("calls", "derive", "--json").document
    assert (answer["changed"], answer["unplaced_total"]) == (0, 0)


def test_key_is_in_no_output_and_candles_come(called: Quantbot, monkeypatch: pytest.MonkeyPatch) -> None:
    items = birdeye_items(TOKEN, CALLED_S - 100 * 300, 200)
    with serving(FakeBirdeye({TOKEN: items, OTHER: []})) as server:
        monkeypatch.setenv("QUANTBOT_BIRDEYE_URL", server.url)
        monkeypatch.setenv("QUANTBOT_BIRDEYE_REQUESTS_PER_SECOND", "100")
        command = ("fetch", "candles", "--source", "birdeye", *OPTIONS, "--json")
        without_key = called(*command)
        without_key.refuses("QUANTBOT_BIRDEYE_API_KEY is not set")
        monkeypatch.setenv("QUANTBOT_BIRDEYE_API_KEY", f"{KEY}x")
        refused = called(*command)
        assert refused.code == 3
        assert "key is not accepted" in refused.err
        monkeypatch.setenv("QUANTBOT_BIRDEYE_API_KEY", f"{KEY}\n{KEY}")
        broken = called(*command)
        broken.refuses("QUANTBOT_BIRDEYE_API_KEY holds")
        monkeypatch.setenv("QUANTBOT_BIRDEYE_API_KEY", KEY)
        good = called(*command)
        assert good.code == 0, good.err
        assert good.document["totals"]["stored"] == SLOTS
    for answer in (without_key, refused, broken, good):
        assert KEY not in answer.out + answer.err


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--source", "elsewhere", "--calls-since", SINCE), "geckoterminal"),
        (("--source", "geckoterminal"), "--calls-since"),
        (("--source", "geckoterminal", "--calls-since", "yesterday"), "--calls-since: timestamp 'yesterday'"),
        (("--source", "geckoterminal", "--calls-since", SINCE, "--until", "1"), "--until: timestamp 1"),
        (("--source", "geckoterminal", "--calls-since", SINCE, "--warm-up", "5"), "--warm-up: a unit is needed"),
        (("--source", "geckoterminal", "--calls-since", SINCE, "--horizon", "9999d"), "--horizon: allowed are times"),
        (("--source", "geckoterminal", "--calls-since", SINCE, "--tokens", "x"), "chain:address"),
    ],
)
def test_wrong_options_are_refused_before_a_server_starts(
    options: tuple[str, ...], message: str, quantbot: Quantbot
) -> None:
    quantbot("fetch", "candles", *options).refuses(message)


def test_calls_that_reach_before_the_first_partition_are_refused(
    called: Quantbot, gecko: SourceServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("QUANTBOT_FIRST_MONTH", f"{CALLED + timedelta(days=40):%Y-%m}")
    called("fetch", "candles", "--source", "geckoterminal", *OPTIONS).refuses("before the first partition")
    assert gecko.requests == []


def test_without_calls_it_says_so(fresh_databases: Databases, quantbot: Quantbot, gecko: SourceServer) -> None:
    answer = quantbot("fetch", "candles", "--source", "geckoterminal", *OPTIONS)
    assert answer.code == 0
    assert "no call is stored" in answer.err
