"""Each rule is broken by itself on real databases, and `verify` names exactly that one."""

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import psycopg
import pyarrow as pa
import pytest

from quantbot_pipeline.errors import InputError
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.storage.records import NewModel, NewTrial
from quantbot_pipeline.storage.views import build_views
from quantbot_pipeline.workflows.derive_calls import derive_calls
from quantbot_pipeline.workflows.import_alerts import import_alert_files
from quantbot_pipeline.workflows.import_candles import import_candle_files
from quantbot_pipeline.workflows.run_simulations import RunRequest, run_simulations
from quantbot_pipeline.workflows.verify import RULES, RuleOutcome, find_rules, verify
from tests.workflows.scene import BONK, MARCH, Scene, Urls, write_csv

pytestmark = pytest.mark.server

NOW = datetime(2026, 1, 1, tzinfo=UTC)


def broken_rules(scene: Scene) -> dict[str, RuleOutcome]:
    return {outcome.rule: outcome for outcome in verify(scene.state, scene.history, now=NOW) if not outcome.holds}


def fill(scene: Scene, folder: Path) -> None:
    """Import candles and alerts with repeated and bad rows; simulate, search, score and register a model."""
    rows = []
    for k in range(180):
        close = 1 + 0.2 * ((k * 7) % 60 - 30) / 30
        opens = f"2025-03-01T{k // 60:02d}:{k % 60:02d}:00Z"
        rows.append(f"BONK_USDT,binance,{opens},1m,{close},{close * 1.05},{close * 0.95},{close},5")
    candles = write_csv(
        folder / "candles.csv",
        "token_address,chain,timestamp,interval,open,high,low,close,volume",
        [*rows, rows[0], rows[1].removesuffix(",5") + ",-5"],
    )
    calls = [f"brook,BONK_USDT,binance,2025-03-01T00:{k:02d}:00Z,1,1000" for k in (1, 20, 40)]
    alerts = write_csv(
        folder / "alerts.csv",
        "caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert",
        # A call that no run reads, a repeated one, and one that can't be used.
        [*calls, calls[2].replace("BONK", "PEPE"), calls[0], calls[0].replace("BONK", "BO NK")],
    )
    import_candle_files([candles], scene.state, scene.history)
    import_alert_files([alerts], scene.state)
    derive_calls(scene.state, scene.history)
    strategies = [
        scene.strategy("one"),
        scene.strategy(
            "again",
            re_entry={"after": ["target", "stop"], "retrace": 0.1, "size": 0.5, "max_count": 2},
            entry={
                "type": "ladder",
                "legs": [{"id": "a", "size": 0.5, "offset": 0}, {"id": "b", "size": 0.5, "offset": -0.05}],
            },
        ),
    ]
    requests = scene.plan(*strategies)
    # A run that is about to be superseded, and a trial of a search.
    first = [request for request in requests if request.strategy_row.name == "one"]
    run_simulations(first, scene.state, scene.history)
    changed = [r.replace("T01:", "T03:") for r in rows[60:120]]
    more = write_csv(folder / "more.csv", "token_address,chain,timestamp,interval,open,high,low,close,volume", changed)
    import_candle_files([more], scene.state, scene.history)
    # One by one: runs of one batch get their ids in the order of their keys.
    run_simulations(scene.plan(strategies[1]), scene.state, scene.history)
    longer = [scene.strategy("one", "2", horizon_seconds=14_400)]
    outcomes = run_simulations(scene.plan(*longer), scene.state, scene.history)
    request = outcomes[0].request
    trial = RunRequest(
        longer[0], request.strategy, "optimization", request.inputs, None, request.window_start, request.window_end
    )
    [measured] = run_simulations([trial], scene.state, scene.history)
    job_id, _ = scene.state.create_job(
        name="search", strategy_template_id=longer[0].strategy_id, search_space={}, objective="sharpe", job_key="a"
    )
    scene.state.store_trials(job_id, [NewTrial(0, {}, measured.run_id, {}, 0.5), NewTrial(1, {}, None, {}, None)])
    scene.state.finish_job(job_id, status="completed")
    (folder / "model.skops").write_bytes(b"a model")
    model_id = scene.state.register_model(
        NewModel(
            name="take-the-call",
            version="1",
            model_type="logistic",
            input_features=("a",),
            label_definition={},
            storage_uri=(folder / "model.skops").as_uri(),
            sha256=hashlib.sha256(b"a model").hexdigest(),
            # Where tests that change these find them again.
            metrics={"uri": (folder / "model.skops").as_uri(), "sha256": hashlib.sha256(b"a model").hexdigest()},
            status="ready",
            trained_until=MARCH - timedelta(seconds=1),
        )
    )
    scene.history.insert_features(
        pa.table(
            {
                "feature_set": ["base"],
                "call_id": [1],
                "chain": [BONK.chain],
                "token_address": [BONK.address],
                "signal_timestamp": [int(MARCH.timestamp())],
                "values": pa.array([[("a", 1.0)]], pa.map_(pa.string(), pa.float64())),
                "inputs_stamp": ["0" * 64],
            }
        )
    )
    scene.history.insert_scores(
        pa.table(
            {
                "model_id": [model_id],
                "model_name": ["take-the-call"],
                "call_id": [1],
                "trained_until": [int(MARCH.timestamp()) - 1],
                "score": [0.5],
                "feature_set": ["base"],
                "inputs_stamp": ["0" * 64],
                "values": pa.array([[("a", 1.0)]], pa.map_(pa.string(), pa.float64())),
            }
        )
    )


@pytest.fixture(scope="module")
def filled(workflow_urls: Urls, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Scene]:
    """One filled scene for all tests here: each leaves it as it was."""
    with PostgresStore(workflow_urls.postgres) as state, ClickHouseStore(workflow_urls.clickhouse) as history:
        scene = Scene(state, history, workflow_urls)
        scene.empty()
        fill(scene, tmp_path_factory.mktemp("files"))
        build_views(workflow_urls.postgres, workflow_urls.clickhouse).require_all()
        # In one part nothing waits to be merged, which would make what is remembered count no more.
        scene.change_history("optimize table ohlcv_candles final")
        scene.history.load_contents([BONK])
        for table in HISTORY_TABLES:
            scene.change_history(f"create table kept_{table} as {table}")
            scene.change_history(f"insert into kept_{table} select * from {table}")  # noqa: S608 - own names
        yield scene
        for table in HISTORY_TABLES:
            scene.change_history(f"drop table kept_{table}")
        scene.empty()


HISTORY_TABLES = (
    "schema_migrations",
    "ohlcv_candles",
    "candle_contents",
    "simulation_events",
    "simulation_aggregates",
    "published_runs",
    "published_calls",
    "ml_features",
    "ml_scores",
)


@dataclass(frozen=True)
class Break:
    """A way to break one rule.

    Attributes:
        rule: The rule.
        example: What `verify` says of it, or a part.
        state: Statements for Postgres, run without triggers and foreign keys.
        undo: Statements that undo them.
        history: Statements for ClickHouse.
        tables: Tables of ClickHouse that they change.
        also: Other rules that can't hold then.
    """

    rule: str
    example: str
    state: tuple[str, ...] = ()
    undo: tuple[str, ...] = ()
    history: tuple[str, ...] = ()
    tables: tuple[str, ...] = ()
    also: tuple[str, ...] = ()

    def __str__(self) -> str:
        return f"{self.rule}: {self.example}"


BREAKS = (
    Break(
        "migrations",
        "postgres migration 001_create_entities was changed",
        ("update schema_migrations set sha256 = 'x' || sha256 where number = 1",),
        ("update schema_migrations set sha256 = substr(sha256, 2) where number = 1",),
    ),
    Break(
        "migrations",
        "clickhouse has migration 099_of_tomorrow, which these files lack",
        history=("insert into schema_migrations (number, name, sha256) values (99, '099_of_tomorrow', '')",),
        tables=("schema_migrations",),
    ),
    Break(
        "unique-keys",
        "tokens: binance BONK_USDT stands 2 times",
        (
            "alter table tokens drop constraint tokens_chain_address_unique",
            "insert into tokens (chain, address) values ('binance', 'BONK_USDT')",
        ),
        (
            "delete from tokens where id not in (select token_id from alerts)",
            "alter table tokens add constraint tokens_chain_address_unique unique (chain, address)",
        ),
    ),
    Break(
        "unique-keys",
        "ml_scores: model 1 call 1 trained until 1970-01-01 00:00:00 stands 2 times",
        history=(
            "create or replace table ml_scores engine = ReplacingMergeTree(row_version) "
            "order by (model_id, call_id, score) as select * from kept_ml_scores where 0",
            "insert into ml_scores (model_id, call_id, score) values (1, 1, 0.5), (1, 1, 0.6)",
        ),
        tables=("ml_scores",),
    ),
    Break(
        "tokens",
        "token 99 is eth 0xABCDEF0123456789abcdef0123456789abcdef01, not ethereum 0xabc",
        (
            "insert into tokens (id, chain, address) overriding system value "
            "values (99, 'eth', '0xABCDEF0123456789abcdef0123456789abcdef01')",
        ),
        ("delete from tokens where id = 99",),
    ),
    Break(
        "times",
        "run 98 begins at 2031-01-01",
        (
            "insert into simulation_runs overriding system value "
            "select (jsonb_populate_record(runs, jsonb_build_object('id', 98, 'status', "
            "'failed', 'error_message', 'a test', 'run_key', repeat('b', 64), 'completed_at', null, 'events_digest', "
            "null, 'superseded_by', null, 'superseded_at', null, 'window_start', '2031-01-01T00:00:00Z', 'window_end', "
            "'2031-02-01T00:00:00Z'))).* from simulation_runs as runs where id = 1",
        ),
        ("delete from simulation_runs where id = 98",),
        also=("run-keys",),
    ),
    Break(
        "times",
        "column tokens.seen_at is of type timestamp without time zone",
        ("alter table tokens add column seen_at timestamp",),
        ("alter table tokens drop column seen_at",),
    ),
    Break(
        "import-counts",
        "rows in quarantine, counted were 1",
        ("update quarantine set import_id = -import_id",),
        ("update quarantine set import_id = -import_id",),
    ),
    Break(
        "import-counts",
        "rows read, but",
        (
            "alter table imports drop constraint imports_counts_add_up",
            "update imports set rows_read = rows_read + 1 where kind = 'alerts'",
        ),
        (
            "update imports set rows_read = rows_read - 1 where kind = 'alerts'",
            "alter table imports add constraint imports_counts_add_up "
            "check (rows_read = rows_stored + rows_duplicate + rows_quarantined)",
        ),
    ),
    Break(
        "import-counts",
        "its batches have other sums",
        ("update import_batches set rows_read = rows_read + 1, rows_quarantined = rows_quarantined + 1",),
        ("update import_batches set rows_read = rows_read - 1, rows_quarantined = rows_quarantined - 1",),
    ),
    Break(
        "started-imports",
        "(candles, old.csv) was begun at 2025-01-01T00:00:00Z and is not completed",
        (
            "insert into imports (kind, file, sha256, options_key, status, rows_read, rows_stored, rows_duplicate, "
            "rows_quarantined, details_json, created_at) values ('candles', 'old.csv', repeat('a', 64), '', 'started', "
            "0, 0, 0, 0, '{}', '2025-01-01T00:00:00Z')",
        ),
        ("delete from imports where file = 'old.csv'",),
    ),
    Break(
        "alerts",
        "alert 99 was brought by no import",
        (
            "insert into alerts (id, token_id, caller_id, side, signal_type, alert_timestamp, content_key, "
            "raw_payload_json) overriding system value "
            "values (99, 1, 1, 'buy', 'entry', '2025-03-02T00:00:00Z', repeat('f', 64), '{}')",
            "insert into calls (id, alert_id, token_id, caller_id, side, signal_type, signal_timestamp, is_active, "
            "inactive_reason) overriding system value "
            "values (99, 99, 1, 1, 'buy', 'entry', '2025-03-02T00:00:00Z', false, 'a test')",
        ),
        ("delete from calls where id = 99", "delete from alerts where id = 99"),
        (
            "insert into published_calls (call_id, caller_source, caller_handle, chain, token_address, "
            "signal_timestamp, signal_type, side) "
            "values (99, 'file', 'brook', 'binance', 'BONK_USDT', '2025-03-02 00:00:00', 'entry', 'buy')",
        ),
        ("published_calls",),
    ),
    Break(
        "calls",
        " has 0 calls",
        ("create table kept_calls as table calls", "delete from calls where token_id <> 1"),
        (
            "insert into calls overriding system value select * from kept_calls where token_id <> 1",
            "drop table kept_calls",
        ),
        ("delete from published_calls where token_address = 'PEPE_USDT'",),
        ("published_calls",),
    ),
    Break(
        "candle-counts",
        "239 imported candles in ClickHouse, 240 counted by imports",
        history=("delete from ohlcv_candles where timestamp = toDateTime('2025-03-01 03:30:00', 'UTC')",),
        tables=("ohlcv_candles",),
    ),
    Break(
        "candle-counts",
        "241 imported candles in ClickHouse, 240 counted by imports",
        history=(
            "insert into ohlcv_candles select * replace(toDateTime('2025-03-01 09:00:00', 'UTC') as timestamp) "
            "from ohlcv_candles limit 1",
        ),
        tables=("ohlcv_candles",),
    ),
    Break(
        "candles",
        "binance BONK_USDT 1m 2025-03-01 03:30:00 has a high below its open or close",
        history=(
            "insert into ohlcv_candles select * replace(low as high, now64(6) as imported_at) from ohlcv_candles "
            "where timestamp = toDateTime('2025-03-01 03:30:00', 'UTC')",
        ),
        tables=("ohlcv_candles",),
    ),
    Break(
        "candles",
        "has a value that is not finite",
        history=(
            "insert into ohlcv_candles select * replace(nan as open, now64(6) as imported_at) from ohlcv_candles "
            "where timestamp = toDateTime('2025-03-01 03:30:00', 'UTC')",
        ),
        tables=("ohlcv_candles",),
    ),
    Break(
        "candle-contents",
        "binance BONK_USDT 1m 2025-03: 240 candles are remembered, others are stored",
        history=(
            "insert into candle_contents select * replace('0' as content, row_version + 1 as row_version) "
            "from candle_contents final where interval = '1m'",
        ),
        tables=("candle_contents",),
    ),
    Break(
        "candle-contents",
        "binance BONK_USDT 1m 2025-03: 0 candles are remembered, 240 are stored",
        history=(
            "insert into candle_contents select * replace('' as interval) from candle_contents final",
            "delete from candle_contents where interval = '1m'",
        ),
        tables=("candle_contents",),
    ),
    Break(
        "completed-runs",
        "run 98 is failed and has a summary and no digest and time of completion",
        (
            "insert into simulation_runs overriding system value "
            "select (jsonb_populate_record(runs, jsonb_build_object('id', 98, 'status', "
            "'failed', 'error_message', 'a test', 'run_key', repeat('b', 64), 'completed_at', null, 'events_digest', "
            "null, 'superseded_by', null, 'superseded_at', null))).* from simulation_runs as runs where id = 1",
            "insert into simulation_results_summary select (jsonb_populate_record(s, "
            "jsonb_build_object('simulation_run_id', 98))).* from simulation_results_summary as s "
            "where simulation_run_id = 1",
        ),
        (
            "delete from simulation_results_summary where simulation_run_id = 98",
            "delete from simulation_runs where id = 98",
        ),
        also=("run-keys",),
    ),
    Break(
        "current-runs",
        "run 1 (completed) was superseded by run 4, which is of another scope",
        ("update simulation_runs set superseded_by = 4 where id = 1",),
        ("update simulation_runs set superseded_by = 3 where id = 1",),
    ),
    Break(
        "current-runs",
        "run 1 (completed) was superseded by run 3, which is older",
        ("update simulation_runs set claimed_at = claimed_at + interval '1 day' where id = 1",),
        ("update simulation_runs set claimed_at = claimed_at - interval '1 day' where id = 1",),
    ),
    Break(
        "run-keys",
        "run 1 has the key ",
        ("update simulation_runs set data_selection_json = data_selection_json || '{\"a\": 1}' where id = 1",),
        ("update simulation_runs set data_selection_json = data_selection_json - 'a' where id = 1",),
    ),
    Break(
        "configs",
        "run 1 has the config hash ",
        ("update simulation_runs set config_json = jsonb_set(config_json, '{horizon_seconds}', '1801') where id = 1",),
        ("update simulation_runs set config_json = jsonb_set(config_json, '{horizon_seconds}', '1800') where id = 1",),
    ),
    Break(
        "event-counts",
        "run 1 wrote 6 events, found are 5",
        history=("delete from simulation_events where simulation_run_id = 1 and call_id = 3 and seq = 1",),
        tables=("simulation_events",),
        also=("event-digests", "summaries"),
    ),
    Break(
        "event-digests",
        "run 1 has 6 events whose digest is not the stored one",
        history=(
            "alter table simulation_events update metadata_json = '{}' "
            "where simulation_run_id = 1 and call_id = 1 and seq = 1 settings mutations_sync = 2",
        ),
        tables=("simulation_events",),
    ),
    Break(
        "summaries",
        "run 1 has ladder_exits_used 4, its events add up to 3",
        (
            "update simulation_results_summary set ladder_exits_used = ladder_exits_used + 1 "
            "where simulation_run_id = 1",
        ),
        (
            "update simulation_results_summary set ladder_exits_used = ladder_exits_used - 1 "
            "where simulation_run_id = 1",
        ),
        (
            "alter table simulation_aggregates update ladder_exits_used = ladder_exits_used + 1 "
            "where simulation_run_id = 1 settings mutations_sync = 2",
        ),
        ("simulation_aggregates",),
    ),
    Break(
        "aggregates",
        "run 1 has no aggregates of binance:BONK_USDT",
        history=("delete from simulation_aggregates where simulation_run_id = 1",),
        tables=("simulation_aggregates",),
    ),
    Break(
        "aggregates",
        "run 1 has max_drawdown ",
        history=(
            "alter table simulation_aggregates update max_drawdown = max_drawdown + 1e-15 where simulation_run_id = 1 "
            "settings mutations_sync = 2",
        ),
        tables=("simulation_aggregates",),
    ),
    Break(
        "published-runs",
        "run 1 has is_current True in ClickHouse and False in Postgres",
        history=(
            "insert into published_runs select * replace(true as is_current, row_version + 1 as row_version) "
            "from published_runs final where simulation_run_id = 1",
        ),
        tables=("published_runs",),
    ),
    Break(
        "published-runs",
        "run 3 is not mirrored",
        history=("delete from published_runs where simulation_run_id = 3",),
        tables=("published_runs",),
    ),
    Break(
        "published-calls",
        "call 99 is mirrored and not in Postgres",
        history=("insert into published_calls select * replace(99 as call_id) from published_calls final limit 1",),
        tables=("published_calls",),
    ),
    Break(
        "views",
        "run 77 is shown by a view and not completed",
        history=("create or replace view mart_runs_ranked as select toUInt64(77) as simulation_run_id",),
    ),
    Break(
        "trials",
        "trial 1 of job 1 has a score and no run",
        ("update optimization_trials set score = 1 where trial_index = 1",),
        ("update optimization_trials set score = null where trial_index = 1",),
    ),
    Break(
        "trials",
        "job 1 is completed and has 1 trials, the last one is number 1",
        ("update optimization_trials set job_id = -1 where trial_index = 0",),
        ("update optimization_trials set job_id = 1 where trial_index = 0",),
    ),
    Break(
        "scored-calls",
        "model 7 has 1 scores and is not registered",
        history=("insert into ml_scores (model_id, call_id, score) values (7, 1, 0.5)",),
        tables=("ml_scores",),
    ),
    Break(
        "scored-calls",
        "call 98 has features or scores and does not exist",
        history=("insert into ml_features select * replace(98 as call_id) from ml_features",),
        tables=("ml_features",),
    ),
    Break(
        "scores",
        "call 1 of 2025-03-01 00:00:00 has a score by model 1, which had learned until 2025-03-01 00:00:00",
        history=("insert into ml_scores select * replace(trained_until + 1 as trained_until) from ml_scores",),
        tables=("ml_scores",),
    ),
    Break(
        "scores",
        "call 1 has a score by model 1 and no features",
        history=("insert into ml_scores select * replace('other' as feature_set) from ml_scores",),
        tables=("ml_scores",),
    ),
    Break(
        "scores",
        "scores of model 1 bear the name ['other'], and it is take-the-call",
        history=("insert into ml_scores select * replace('other' as model_name) from ml_scores",),
        tables=("ml_scores",),
    ),
    Break(
        "scores",
        "and its row says nothing",
        ("update ml_models set trained_until = null",),
        ("update ml_models set trained_until = '2025-02-28T23:59:59Z'",),
    ),
    Break(
        "models",
        "registered is 000000000000",
        ("update ml_models set sha256 = repeat('0', 12) || substr(sha256, 13)",),
        ("update ml_models set sha256 = metrics_json ->> 'sha256'",),
    ),
    Break(
        "models",
        "gone.skops can't be read: No such file or directory",
        ("update ml_models set storage_uri = 'file:///gone.skops'",),
        ("update ml_models set storage_uri = metrics_json ->> 'uri'",),
    ),
)


def tamper(scene: Scene, statements: Sequence[str]) -> None:
    """Change Postgres as nobody can who uses it: without triggers and foreign keys."""
    with psycopg.connect(scene.urls.postgres, autocommit=True) as postgres:
        postgres.execute("set session_replication_role = replica")
        for statement in statements:
            postgres.execute(statement.encode())


@contextmanager
def broken(scene: Scene, how: Break) -> Iterator[None]:
    # What is remembered of candles is of them as they are now.
    scene.history.load_contents([BONK])
    try:
        tamper(scene, how.state)
        for statement in how.history:
            scene.change_history(statement)
        yield
    finally:
        tamper(scene, how.undo)
        for table in how.tables:
            scene.change_history(f"create or replace table {table} as kept_{table}")
            scene.change_history(f"insert into {table} select * from kept_{table}")  # noqa: S608 - own names
        if how.rule == "views":
            build_views(scene.urls.postgres, scene.urls.clickhouse).require_all()


def test_every_rule_holds_on_what_the_workflows_stored(filled: Scene) -> None:
    outcomes = verify(filled.state, filled.history, now=NOW)
    assert [outcome for outcome in outcomes if not outcome.holds] == []
    assert [outcome.rule for outcome in outcomes] == [rule.name for rule in RULES]
    # Every rule had something to look at: an empty scene would keep all of them.
    assert [outcome.rule for outcome in outcomes if outcome.looked_at == 0] == []
    # One run was superseded, so that the order of a scope is looked at.
    assert [superseded for _, _, superseded in filled.runs() if superseded] == [3]


def test_every_rule_has_a_test_that_breaks_it() -> None:
    assert {how.rule for how in BREAKS} == {rule.name for rule in RULES}


@pytest.mark.parametrize("how", BREAKS, ids=str)
def test_a_broken_rule_is_named_with_an_example_and_what_to_do(filled: Scene, how: Break) -> None:
    with broken(filled, how):
        [outcome] = verify(filled.state, filled.history, now=NOW, rules=find_rules([how.rule]))
    assert how.example in " | ".join(outcome.examples)
    assert outcome.wrong >= 1
    assert outcome.advice


@pytest.mark.deep
@pytest.mark.parametrize("how", BREAKS, ids=str)
def test_a_broken_rule_breaks_no_other(filled: Scene, how: Break) -> None:
    with broken(filled, how):
        assert set(broken_rules(filled)) == {how.rule, *how.also}
    assert not broken_rules(filled)


def test_identical_rows_that_wait_to_be_merged_are_no_fault(filled: Scene) -> None:
    for table in HISTORY_TABLES[1:]:
        filled.change_history(f"insert into {table} select * from {table}")  # noqa: S608 - own names
    assert not broken_rules(filled)


def test_rules_are_chosen_by_name_and_by_speed() -> None:
    assert [rule.name for rule in find_rules(["calls", "tokens"])] == ["tokens", "calls"]
    assert not {"event-digests", "summaries", "models"} & {rule.name for rule in find_rules(None, quick=True)}
    with pytest.raises(InputError, match=r"rules: --quick leaves out event-digests, which"):
        find_rules(["calls", "event-digests"], quick=True)
    with pytest.raises(InputError, match=r"rules: no rule left to look at"):
        find_rules([])
    with pytest.raises(InputError, match=r"rules: orders not known; allowed are migrations, unique-keys"):
        find_rules(["orders", "calls"])
