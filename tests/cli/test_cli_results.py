"""What commands answer when all is well: true counts, JSON that is JSON, tables that fit, progress beside them."""

import json
import re
import socket
from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit, urlunsplit

import clickhouse_connect
import dagster as dg
import psycopg
import pytest
from conftest import WIDTH, Databases, Quantbot, rows_of

from quantbot_pipeline.cli import console
from quantbot_pipeline.defs.backfills import backfill_job
from quantbot_pipeline.errors import DataError, InputError
from quantbot_pipeline.learning.drift import ColumnDrift
from quantbot_pipeline.sample.generate import SampleFiles
from quantbot_pipeline.storage.clickhouse import ClickHouseStore
from quantbot_pipeline.storage.postgres import PostgresStore
from quantbot_pipeline.workflows import model_drift, run_optimization
from quantbot_pipeline.workflows.backfill_records import select_unfinished

Counts = Callable[[], dict[str, int]]


@pytest.fixture
def stocked(quantbot: Quantbot, databases: Databases, sample: SampleFiles) -> Quantbot:
    """The command, on databases that hold the sample and runs of one strategy on it."""
    for arguments in (
        ("ingest", "candles", sample.candle_files[0].parent),
        ("ingest", "alerts", *sample.alert_files),
        ("backfill", "--strategies", "conservative-24h"),
    ):
        answer = quantbot(*arguments)
        assert answer.code == 0, answer.err
    return quantbot


@pytest.mark.server
def test_ingest_counts_every_row_and_a_second_time_says_known(
    quantbot: Quantbot, fresh_databases: Databases, sample: SampleFiles
) -> None:
    folder = sample.candle_files[0].parent
    first = quantbot("ingest", "candles", folder, "--json").document
    assert {Path(row["file"]) for row in first["files"]} == set(sample.candle_files)
    assert not any(row["known"] for row in first["files"])
    assert first["totals"]["stored"] == sample.expected["candles"]
    assert first["totals"]["quarantined"] == sample.expected["candles_quarantined"] == len(first["quarantined"])
    assert first["totals"]["rows"] == sum(first["totals"][name] for name in ("stored", "duplicates", "quarantined"))

    alerts = quantbot("ingest", "alerts", *sample.alert_files, "--json").document
    assert alerts["totals"]["stored"] == sample.expected["alerts"] == alerts["new_calls"]
    assert alerts["totals"]["quarantined"] == sample.expected["alerts_quarantined"]

    stored = rows_of(fresh_databases)
    assert (stored["ohlcv_candles"], stored["alerts"]) == (sample.expected["candles"], sample.expected["alerts"])

    again = quantbot("ingest", "candles", folder, "--json").document
    assert all(row["known"] for row in again["files"])
    assert again["totals"] == first["totals"]
    alerts_again = quantbot("ingest", "alerts", *sample.alert_files, "--json").document
    assert all(row["known"] for row in alerts_again["files"])
    assert alerts_again["new_calls"] == 0
    assert rows_of(fresh_databases) == stored

    told = quantbot("ingest", "candles", folder)
    assert "3 of 3 files were imported before" in told.out
    tables = [line for line in told.out.splitlines() if not line.startswith("quarantined")]
    assert max(map(len, tables)) <= WIDTH


@pytest.mark.server
def test_file_that_is_named_twice_is_one_file(
    quantbot: Quantbot, fresh_databases: Databases, sample: SampleFiles
) -> None:
    file = sample.candle_files[0]
    answer = quantbot("ingest", "candles", file, file, "--json")
    assert len(answer.document["files"]) == 1


@pytest.mark.server
def test_file_of_bad_rows_alone_is_kept_in_quarantine_with_a_warning(
    quantbot: Quantbot, databases: Databases, tmp_path: Path
) -> None:
    """The import did what it promises, every row is accounted for: exit code 0, and a warning for people."""
    path = tmp_path / "bad.csv"
    path.write_text(
        "caller,token_address,chain,timestamp,price_at_alert,mcap_at_alert\n"
        ",BONK_USDT,binance,2025-01-01T00:00:00Z,1,\n"
        "ann,BONK_USDT,binance,yesterday,1,\n"
    )
    answer = quantbot("ingest", "alerts", path, "--json")
    assert answer.code == 0
    assert answer.document["totals"] == {"rows": 2, "stored": 0, "duplicates": 0, "quarantined": 2}
    assert [reason.startswith(f"{path}:{line}: ") for line, reason in enumerate(answer.document["quarantined"], 2)]
    assert "warning: " in answer.err
    assert f"{path}: none of its 2 rows" in answer.err


@pytest.mark.server
def test_simulating_again_reuses_runs_and_forcing_gives_the_same_rows(stocked: Quantbot, databases: Databases) -> None:
    before = rows_of(databases)
    again = stocked("backfill", "--strategies", "conservative-24h", "--json").document
    assert again["runs"] == again["reused"] > 0
    assert (again["computed"], again["failed"], again["new_events"]) == (0, 0, 0)
    forced = stocked("backfill", "--strategies", "conservative-24h", "--force", "--json").document
    assert forced["computed"] == again["runs"]
    assert rows_of(databases) == before


@pytest.mark.server
def test_simulating_what_has_no_calls_is_refused(stocked: Quantbot) -> None:
    stocked("backfill", "--months", "2031-01", "--json").refuses("--months", "'2031-01'", "there are 2025-01")
    stocked("backfill", "--tokens", "binance:NONE*").refuses("--tokens", "'binance:NONE*'", "matches nothing")


@pytest.mark.server
def test_a_dry_run_says_what_is_stale_and_why(stocked: Quantbot) -> None:
    names = "conservative-24h,buy-the-dip-30pct"
    told = stocked("backfill", "--strategies", names, "--dry-run", "--json").document
    assert told["why"] == {"up to date": told["runs"] // 2, "never run": told["runs"] // 2}
    assert {row["strategy"] for row in told["stale"]} == {"buy-the-dip-30pct"}
    assert len(told["stale"]) == told["runs"] // 2
    assert "never run" in stocked("backfill", "--strategies", names, "--dry-run").out
    assert stocked("backfill", "--strategies", names, "--dry-run", "--json").document == told


@pytest.mark.server
def test_a_backfill_is_resumed_where_it_stopped_and_recorded_in_dagster(
    stocked: Quantbot, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    stocked("backfill", "--strategies", "aggressive-multi-tp", "--resume").refuses("no backfill of this selection")
    with monkeypatch.context() as patch:
        patch.setattr("quantbot_pipeline.workflows.backfill.CANDLES_PER_BATCH", 1)
        insert, inserted = ClickHouseStore.insert_events, []

        def break_second(self: ClickHouseStore, events: Any) -> None:
            inserted.append(events)
            with PostgresStore(databases.postgres) as other, pytest.raises(InputError, match="is still running"):
                select_unfinished(other)
            if len(inserted) == 2:
                raise DataError("a number is out of range")
            insert(self, events)

        patch.setattr(ClickHouseStore, "insert_events", break_second)
        # Tried by itself once more, the run is stored: nothing failed.
        answer = stocked("backfill", "--strategies", "aggressive-multi-tp", "--json")
        assert (answer.code, answer.document["failed"]) == (0, 0)

        def break_always(self: ClickHouseStore, events: Any) -> None:
            if events["token_address"][0].as_py() == first:
                raise DataError("a number is out of range")
            insert(self, events)

        first = inserted[0]["token_address"][0].as_py()
        patch.setattr(ClickHouseStore, "insert_events", break_always)
        answer = stocked("backfill", "--strategies", "laddered-dip-with-re-entry", "--json")
    assert answer.code == 4
    document = answer.document
    assert document["failed"] == len(document["failures"]) > 0
    assert all(row["token"].endswith(first) for row in document["failures"])
    assert f"{document['failures'][0]['token']} {document['failures'][0]['month']}: " in answer.err
    assert "--resume" in answer.err
    resumed = stocked("backfill", "--strategies", "laddered-dip-with-re-entry", "--resume", "--json").document
    assert (resumed["token_months"], resumed["computed"]) == (document["failed"], document["failed"])
    assert resumed["done_before"] == document["token_months"] - document["failed"]
    tags = {"quantbot/host": socket.gethostname(), "quantbot/process": "4194399:1700000000.00"}
    with dg.DagsterInstance.get() as instance:
        died = instance.create_run_for_job(backfill_job, tags=tags, status=dg.DagsterRunStatus.STARTED).run_id
    again = stocked("backfill", "--strategies", "laddered-dip-with-re-entry", "--resume")
    assert (again.code, "nothing to resume" in again.out) == (0, True)
    with dg.DagsterInstance.get() as instance:
        ended = instance.get_run_by_id(died)
    assert ended is not None
    assert ended.status is dg.DagsterRunStatus.FAILURE
    # Nor of any other; what is stale besides is said, for that is no "all is done".
    again = stocked("backfill", "--resume", "--dry-run")
    assert again.out.startswith("nothing to resume: ")
    assert "runs are stale: 'quantbot backfill' computes them" in again.out
    with psycopg.connect(urlunsplit(urlsplit(databases.postgres)._replace(path="/dagster"))) as dagster:
        [(failed,)] = dagster.execute(
            "select count(*) from runs where pipeline_name = 'backfill_job' and status = 'FAILURE'"
        ).fetchall()
    assert failed >= 1


@pytest.mark.server
def test_strategy_file_is_stored_and_only_it_is_simulated(stocked: Quantbot, tmp_path: Path) -> None:
    document = stocked("strategies", "show", "basic-6h-20pct-sl").document | {"name": "mine"}
    path = tmp_path / "mine.json"
    path.write_text(json.dumps(document))
    assert stocked("strategies", "validate", path, "--json").document[0]["name"] == "mine"
    token_months = stocked("backfill", "--strategies", "conservative-24h", "--json").document["token_months"]
    answer = stocked("backfill", "--file", path, "--json")
    assert answer.code == 0, answer.err
    assert answer.document["runs"] == answer.document["computed"] == token_months


@pytest.mark.server
def test_search_is_stored_ranked_and_reused(stocked: Quantbot, tmp_path: Path) -> None:
    space = tmp_path / "space.json"
    space.write_text(
        '{"parameters": [{"path": "exits.stop_loss.initial", "type": "float", "low": 0.1, "high": 0.4, "step": 0.1}]}'
    )
    arguments = ["optimize", "--template", "conservative-24h", "--space", space, "--sampler", "grid", "--trials", "4"]
    first = stocked(*arguments, "--json")
    assert first.code == 0, first.err
    scores = [trial["score"] for trial in first.document["trials"]]
    assert scores == sorted(scores, reverse=True)
    assert sorted(round(trial["params"]["exits.stop_loss.initial"], 9) for trial in first.document["trials"]) == [
        0.1,
        0.2,
        0.3,
        0.4,
    ]
    assert all(trial["run"] for trial in first.document["trials"])
    again = stocked(*arguments, "--json").document
    assert again["reused"] is True
    assert again["trials"] == first.document["trials"]
    job = first.document["job"]
    resumed = stocked("optimize", "--resume", job)
    assert resumed.err.endswith(f"search {job} was complete; nothing was simulated, this is what is stored\n")
    assert "4 trials: 4 scored" in resumed.out
    one = stocked("trials", job, "--top", "1", "--json").document
    assert one["trials"] == first.document["trials"][:1]
    assert one["verdict"] == first.document["verdict"]
    assert (one["job"], one["status"], one["trial_count"], one["counts"]) == (job, "completed", 4, {"scored": 4})
    last = stocked("trials", "--top", "2", "--json").document
    assert [trial["trial"] for trial in last["trials"]] == [trial["trial"] for trial in first.document["trials"][:2]]
    table = stocked("trials").out
    assert "exits.stop_loss.initial" in table
    # Whether the winner is luck is said in words: one of 99 shuffles too many did as well as it.
    assert "No: the winner can't be told from luck." in table
    assert max(map(len, table.splitlines())) <= WIDTH


@pytest.mark.server
def test_search_without_a_score_fails_with_the_limit_that_was_missed(stocked: Quantbot, tmp_path: Path) -> None:
    space = tmp_path / "space.json"
    space.write_text(
        '{"parameters": [{"path": "exits.stop_loss.initial", "type": "categorical", "choices": [0.1, 0.4]}]}'
    )
    arguments = ["optimize", "--template", "conservative-24h", "--space", space, "--sampler", "grid", "--trials", "2"]
    answer = stocked(*arguments, "--objective", "final_pnl subject to win_rate >= 0.9999")
    assert (answer.code, answer.out) == (4, "")
    told = re.search(
        r"search (\d+) failed: no trial of 2 met 'win_rate >= 0.9999': the most was 0\.\d+; "
        r"'quantbot trials \1' shows its trials",
        answer.err.replace("\n", " "),
    )
    assert told is not None, answer.err
    job = told[1]
    resumed = stocked("optimize", "--resume", job, "--json")
    assert resumed.code == 4
    assert (resumed.document["status"], resumed.document["reused"]) == ("failed", True)
    assert "no trial of 2 met" in resumed.document["note"]
    assert f"search {job} failed: no trial of 2 met" in resumed.err
    table = stocked("trials", job).out
    assert "status: failed" in table
    assert "no trial of 2 met 'win_rate >= 0.9999'" in table
    assert table.count("allowed is win_rate") == 2


@pytest.mark.server
def test_search_that_its_time_or_ctrl_c_ended_says_how_it_goes_on(
    stocked: Quantbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def interrupted() -> bool:
        raise KeyboardInterrupt

    monkeypatch.setattr(run_optimization, "_stop_after", lambda _, seconds: (lambda: True) if seconds else interrupted)
    space = tmp_path / "space.json"
    space.write_text(
        '{"parameters": [{"path": "exits.stop_loss.initial", "type": "categorical", "choices": [0.15, 0.35]}]}'
    )
    arguments = ["optimize", "--template", "conservative-24h", "--space", space, "--sampler", "grid", "--trials", "2"]
    short = stocked(*arguments, "--timeout", "1")
    assert short.code == 0, short.err
    assert "--timeout ended the search after 0 of 2 trials" in short.out
    told = re.search(r"go on with: quantbot optimize --resume (\d+)\n", short.err)
    assert told is not None, short.err
    stopped = stocked("optimize", "--resume", told[1])
    assert stopped.code == 130
    assert (
        f"stopped search {told[1]} after 0 of 2 trials; go on with the same command, or with: "
        f"quantbot optimize --resume {told[1]}\n"
    ) in stopped.err
    monkeypatch.setattr(run_optimization, "_stop_after", lambda *_: lambda: False)
    whole = stocked("optimize", "--resume", told[1], "--json")
    assert whole.code == 0, whole.err
    assert (whole.document["counts"], whole.document["note"]) == ({"scored": 2}, None)


@pytest.mark.server
def test_model_is_trained_listed_and_the_same_again(stocked: Quantbot) -> None:
    first = stocked("train", "--model", "logistic", "--json")
    assert first.code == 0, first.err
    again = stocked("train", "--model", "logistic", "--json").document
    assert {name: again[name] for name in ("model_id", "version", "metrics")} == {
        name: first.document[name] for name in ("model_id", "version", "metrics")
    }
    listed = stocked("models", "list", "--json").document
    assert first.document["model_id"] in {model["model_id"] for model in listed}
    table = stocked("models", "list").out
    assert first.document["version"] in table
    assert max(map(len, table.splitlines())) <= WIDTH
    assert first.document["status"] == ("ready" if first.document["beats_baseline"] else "failed")
    name, version = first.document["name"], first.document["version"]
    shown = stocked("models", "show", name)
    assert version in shown.out
    assert "caller win rate" in shown.out
    assert Path(first.document["card"]).name == f"{name}-{version}.html"
    assert Path(stocked("models", "show", name, version, "--json").document["card"]).stat().st_size > 100_000


@pytest.mark.server
def test_version_that_is_in_use_is_chosen_by_hand(
    stocked: Quantbot, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    trained = stocked("train", "--model", "logistic", "--name", "chosen", "--json").document
    version = trained["version"]
    with psycopg.connect(databases.postgres, autocommit=True) as connection:
        # Whatever the test says of the sample's few calls.
        connection.execute(
            "update ml_models set status = 'deprecated', metrics_json = metrics_json - 'beats_baseline' "
            "where name = 'chosen'"
        )
    change = {"name": "chosen", "version": version}
    assert stocked("models", "promote", "chosen", version, "--json").document == change | {
        "before": "deprecated",
        "status": "ready",
    }
    assert "is ready already" in stocked("models", "promote", "chosen", version).out
    [counts] = stocked("score", "--model", "chosen", "--json").document["models"]
    parts = ("scored", "renewed", "already_scored", "before_training", "without_features")
    assert sum(counts[part] for part in parts) == counts["calls"]
    # Training scored what came after it, and nothing came since.
    assert counts["scored"] == counts["renewed"] == counts["without_features"] == 0 < counts["already_scored"]
    again = stocked("score", "--model", "chosen", "--dry-run")
    assert "it scores no call from before" in again.out
    assert max(map(len, again.out.splitlines())) <= WIDTH
    assert stocked("drift", "chosen", "--json").document["verdict"] == "too few calls"
    assert "at least 50 on either side" in stocked("drift", "chosen").out
    assert stocked("drift", "chosen", "--fail-on-drift").code == 0
    # The sample has too few calls to tell a shift of.
    moved = ColumnDrift("hour_sin", 0.4, 0.2, "drifted", (0.5, 0.5, 0.0), (0.9, 0.1, 0.0), (0.0,))
    shift = {
        "verdict": "drifted",
        "calls": 60,
        "first": datetime.now(UTC),
        "last": datetime.now(UTC),
        "columns": (moved,),
    }
    measure = model_drift.measure_model_drift
    with monkeypatch.context() as patch:
        patch.setattr(model_drift, "measure_model_drift", lambda *a, **named: replace(measure(*a, **named), **shift))
        assert stocked("drift", "chosen", "--fail-on-drift").code == 1
        assert stocked("drift", "chosen", "--fail-on-drift", "--json").document["told"] == ["hour_sin"]
        assert stocked("drift", "chosen").code == 0
    assert stocked("models", "deprecate", "chosen", "--json").document == change | {
        "before": "ready",
        "status": "deprecated",
    }
    stocked("models", "deprecate", "chosen").refuses("'chosen' has no version in use")
    stocked("score", "--model", "chosen").refuses("'chosen' has no version in use")
    stocked("models", "promote", "chosen", "nope").refuses("'nope'", version)
    stocked("models", "show", "nobody").refuses("'nobody'", "chosen")


@pytest.mark.server
def test_report_and_views_answer_in_json(stocked: Quantbot, monkeypatch: pytest.MonkeyPatch) -> None:
    report = stocked("report", "--json").document
    assert report["pages"] == report["written"] + report["unchanged"]
    assert Path(report["report"]).name == "index.html"
    assert Path(report["report"]).stat().st_size > 20_000
    version = stocked("report", "--strategy", "conservative-24h@1", "--json").document
    assert "only-strategy-conservative-24h-1-" in version["report"]
    assert [Path(path).parent.name for path in version["asked_for"]] == ["strategies"]
    late = stocked("report", "--since", "2099-01-01")
    assert late.code == 0
    assert "no calls match (calls since 2099-01-01); leave an option out" in " ".join(late.err.split())
    with monkeypatch.context() as patch:
        # What is unknown is refused before anything is built.
        patch.setattr("quantbot_pipeline.storage.views.build_views", None)
        stocked("report", "--strategy", "conservative-24").refuses("'conservative-24' is unknown", "conservative-24h")
        stocked("report", "--strategy", "conservative-24h@9").refuses("near are conservative-24h@1")
        stocked("report", "--caller", "telegram/nobody").refuses("'telegram/nobody'")
        stocked("report", "--run", "987654321").refuses("run 987654321 is unknown")
    # The report built them.
    built = stocked("views", "build", "--select", "+mart_caller_leaderboard", "--database", "postgres", "--json")
    assert built.code == 0
    assert {"database": "postgres", "view": "mart_caller_leaderboard", "outcome": "unchanged"}.items() <= (
        built.document[-1].items()
    )
    results = stocked("views", "test", "--select", "mart_*", "--json")
    assert results.code == 0
    assert {row["result"] for row in results.document} == {"passed"}
    stocked("views", "build", "--select", "mart_caler_leaderboard").refuses("did you mean mart_caller_leaderboard")


def test_views_are_described_without_a_server(quantbot: Quantbot, tmp_path: Path) -> None:
    answer = quantbot("views", "docs", "--select", "mart_*", "--out", str(tmp_path / "site"), "--json").document

    assert [Path(answer[kind]).name for kind in ("page", "data")] == ["views.html", "views.json"]
    assert "mart_caller_leaderboard" in Path(answer["page"]).read_text(encoding="utf-8")
    (tmp_path / "file").write_text("", encoding="utf-8")
    quantbot("views", "docs", "--out", str(tmp_path / "file")).refuses("can't be written to", str(tmp_path / "file"))


@pytest.mark.server
def test_empty_databases_are_told_in_a_sentence(quantbot: Quantbot, fresh_databases: Databases) -> None:
    assert "quantbot optimize" in quantbot("trials").out
    assert quantbot("trials", "--json").document == {"trials": []}
    assert "quantbot train" in quantbot("models", "list").out
    assert quantbot("models", "list", "--json").document == []
    assert "nothing to remove" in quantbot("gc").out
    quantbot("optimize", "--template", "conservative-24h").refuses("no entry calls", "ingest alerts")
    quantbot("train", "--strategy", "conservative-24h").refuses("no features", code=4)
    quantbot("score").refuses("no model is in use")


@pytest.mark.server
def test_gc_removes_what_an_interrupted_simulation_left(
    stocked: Quantbot, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ctrl-C after the events were written and before the runs were completed: a dead attempt."""
    before = rows_of(databases)

    def interrupt(*_: Any) -> None:
        raise KeyboardInterrupt

    with monkeypatch.context() as patch:
        patch.setattr(PostgresStore, "complete_runs", interrupt)
        stopped = stocked("backfill", "--strategies", "trailing-stop-20pct")
    assert (stopped.code, stopped.out) == (130, "")
    assert stopped.err.splitlines()[-1].startswith("stopped; ")
    left = rows_of(databases)["simulation_events"] - before["simulation_events"]
    assert left > 0

    # Begun a moment ago; nobody works on it, which gc knows too.
    young = stocked("gc", "--older-than-hours", "6", "--json").document
    assert (young["runs_running"], young["events"]) == (0, 0)
    assert young["runs_young"] > 0

    would_remove = stocked("gc", "--dry-run", "--json").document
    removed = stocked("gc", "--json").document
    assert removed == would_remove | {"dry_run": False}
    assert (removed["runs_running"], removed["events"]) == (young["runs_young"], left)
    assert {removed[name] for name in ("runs_failed", "runs_working", "runs_young", "runs_unknown")} == {0}
    counts = ("simulation_events", "simulation_aggregates")
    assert {name: rows_of(databases)[name] for name in counts} == {name: before[name] for name in counts}
    assert stocked("gc", "--json").document["events"] == 0

    done = stocked("backfill", "--strategies", "trailing-stop-20pct", "--json").document
    assert (done["computed"], done["new_events"]) == (done["runs"], left)
    assert "nothing to remove" in stocked("gc").out
    assert "rules hold" in stocked("verify", "--quick").out


def test_sample_is_the_same_for_the_same_seed(quantbot: Quantbot, tmp_path: Path) -> None:
    arguments = ["--tokens", "2", "--months", "1", "--alerts", "60", "--seed", "3", "--json"]
    one = quantbot("sample", tmp_path / "one", *arguments)
    other = quantbot("sample", tmp_path / "other", *arguments)
    assert one.code == 0
    assert one.document["expected"] == other.document["expected"]
    assert [Path(file).read_bytes() for file in one.document["candle_files"]] == [
        Path(file).read_bytes() for file in other.document["candle_files"]
    ]


def test_presets_are_listed_within_the_terminal(quantbot: Quantbot) -> None:
    assert max(map(len, quantbot("strategies", "list").out.splitlines())) <= WIDTH
    names = {row["name"] for row in quantbot("strategies", "list", "--json").document}
    assert {"basic-6h-20pct-sl", "conservative-24h", "trailing-stop-20pct"} <= names
    assert quantbot("strategies", "show", "conservative-24h").document["name"] == "conservative-24h"
    assert quantbot("strategies", "schema").document["type"] == "object"


def test_numbers_that_json_does_not_know_become_null(capsys: pytest.CaptureFixture[str]) -> None:
    console.print_json({"a": [float("nan"), (1.5, float("-inf"))], "b": {"c": float("inf")}})
    assert json.loads(capsys.readouterr().out) == {"a": [None, [1.5, None]], "b": {"c": None}}


def test_progress_without_a_terminal_is_a_line_per_long_stage(
    capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    clock = iter([0.0, 1.0, 10.0, 14.0, 16.0, 40.0, 41.0])
    monkeypatch.setattr(console.time, "monotonic", lambda: next(clock))
    listen = console._PlainProgress(next(clock))
    listen("quick", 0, 2)  # second 1
    listen("long", 0, 90)  # 10
    listen("long", 1, 90)  # 14: 4 seconds after the start, too early to speak
    listen("long", 2, 90)  # 16
    listen("long", 90, 90)  # 40
    listen("long", 90, 90)  # 41: told to be done twice
    out, err = capsys.readouterr()
    assert out == ""
    assert err.splitlines() == ["long: 2 of 90 after 6 s", "long: 90 of 90 after 30 s"]


@pytest.mark.server
def test_printed_addresses_let_a_client_in(quantbot: Quantbot, databases: Databases) -> None:
    with psycopg.connect(quantbot("url", "postgres").out.strip()) as connection:
        assert connection.execute("select 1").fetchone() == (1,)
    client = clickhouse_connect.get_client(dsn=quantbot("url", "clickhouse").out.strip())
    assert int(client.command("select 1")) == 1
    client.close()
    # These servers are external ones, as far as this home is concerned.
    quantbot("url", "postgres", "--read-only").refuses("users are its own matter", "docs/dashboards.md", code=3)
