"""Variables with values that can't be used: named, with what is allowed, and never a password."""

import json
from pathlib import Path

import pytest
from conftest import Databases, Quantbot

PASSWORD = "hunter2"  # noqa: S105 - made up, and looked for in what is printed


@pytest.mark.parametrize(
    ("name", "value", "parts"),
    [
        ("QUANTBOT_DAGSTER_UI_PORT", "abc", ["'abc'", "integer"]),
        ("QUANTBOT_DAGSTER_UI_PORT", "80", ["'80'", "1024"]),
        ("QUANTBOT_FIRST_MONTH", "2025-13", ["'2025-13'"]),
        ("QUANTBOT_POSTGRES_URL", f"mysql://u:{PASSWORD}@h/d", ["postgresql://"]),
        ("QUANTBOT_POSTGRES_URL", f"postgresql://u:{PASSWORD}@h:abc/d", ["postgresql://"]),
        ("QUANTBOT_POSTGRES_URL", f"postgresql://u:{PASSWORD} x@h/d", ["percent-encoded"]),
        ("QUANTBOT_POSTGRES_URL", f"postgresql://u:{PASSWORD}@[h/d", ["postgresql://"]),
        ("QUANTBOT_CLICKHOUSE_URL", PASSWORD, ["http://"]),
        ("QUANTBOT_CLICKHOUSE_URL", f"http://u:{PASSWORD}@h:99999/d", ["http://"]),
    ],
)
@pytest.mark.parametrize("command", ["status", "migrate", "down", "up"])
def test_nonsense_in_a_variable_is_refused_by_name(
    name: str, value: str, parts: list[str], command: str, quantbot: Quantbot, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, value)
    answer = quantbot(command)
    answer.refuses(name, *parts)
    assert PASSWORD not in answer.err


@pytest.mark.parametrize("command", [["status"], ["down"], ["up"], ["migrate"], ["demo"], ["gc"], ["report"]])
def test_home_that_is_a_file_is_refused(command: list[str], quantbot: Quantbot, tmp_path: Path) -> None:
    (tmp_path / "home").write_text("not a folder")
    quantbot(*command).refuses("QUANTBOT_HOME", str(tmp_path / "home"), "folder")
    assert (tmp_path / "home").read_text() == "not a folder"


@pytest.mark.parametrize("place", ["/proc/quantbot", "a-file/home"])
def test_home_that_can_not_be_made_is_refused(
    place: str, quantbot: Quantbot, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a-file").write_text("")
    monkeypatch.setenv("QUANTBOT_HOME", place)
    quantbot("up").refuses("QUANTBOT_HOME", place, "can't be made")


def test_status_of_a_home_without_servers_says_1_and_starts_none(quantbot: Quantbot, tmp_path: Path) -> None:
    answer = quantbot("status", "--json")
    assert answer.code == 1
    assert answer.document["home"] == str(tmp_path / "home")
    assert answer.document["is_up"] is False
    assert {server["name"]: server["state"] for server in answer.document["servers"]} == {
        "postgres": "stopped",
        "clickhouse": "stopped",
        "dagster-webserver": "stopped",
        "dagster-daemon": "stopped",
    }
    assert not (tmp_path / "home").exists()


@pytest.mark.parametrize(
    ("name", "url"),
    [
        ("QUANTBOT_POSTGRES_URL", f"postgresql://somebody:{PASSWORD}@127.0.0.1:1/d"),
        ("QUANTBOT_CLICKHOUSE_URL", f"http://somebody:{PASSWORD}@127.0.0.1:1/d"),
    ],
)
@pytest.mark.server
def test_dead_server_is_one_message_without_its_password(
    name: str, url: str, quantbot: Quantbot, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(name, url)
    answer = quantbot("trials")
    answer.refuses("127.0.0.1:1", code=3)
    assert answer.err.count("\n") == 1
    assert PASSWORD not in answer.err
    status = quantbot("status", "--json")
    assert status.code == 1
    states = {server["name"]: server["state"] for server in status.document["servers"]}
    assert sorted(states.values()) == ["external", "stopped", "stopped", "unreachable"]
    assert PASSWORD not in status.out + status.err


@pytest.mark.server
def test_wrong_password_is_one_message_without_it(
    quantbot: Quantbot, databases: Databases, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = databases.clickhouse.rpartition("@")[2]
    monkeypatch.setenv("QUANTBOT_CLICKHOUSE_URL", f"http://default:{PASSWORD}@{place}")
    answer = quantbot("trials")
    answer.refuses("'default'", "QUANTBOT_CLICKHOUSE_URL", code=3)
    assert answer.err.count("\n") == 1
    assert PASSWORD not in answer.err


@pytest.mark.server
def test_migrate_check_tells_a_fresh_database_from_a_current_one(
    quantbot: Quantbot, fresh_databases: Databases
) -> None:
    fresh = quantbot("migrate", "--check", "--json")
    assert fresh.code == 1
    assert fresh.document["current"] is False
    assert {item["database"] for item in fresh.document["pending"]} == {"postgres", "clickhouse"}
    assert {item["problem"] for item in fresh.document["pending"]} == {"pending"}

    told = quantbot("migrate", "--check")
    assert told.code == 1
    assert "postgres lacks migration 001_create_entities; run 'quantbot migrate'" in told.out

    applied = quantbot("migrate", "--json")
    assert applied.code == 0
    assert len(applied.document["applied"]) == len(fresh.document["pending"])

    current = quantbot("migrate", "--check", "--json")
    assert (current.code, current.document) == (0, {"current": True, "pending": []})
    assert quantbot("migrate", "--json").document == {"applied": []}
    assert json.loads(quantbot("status", "--json").out)["is_up"] is True


def test_a_half_restored_home_is_told_by_status(quantbot: Quantbot, tmp_path: Path, databases: Databases) -> None:
    assert quantbot("status").code == 0
    (tmp_path / "home").mkdir(exist_ok=True)
    (tmp_path / "home" / "restore-unfinished").write_text("/backups/of monday\n")
    answer = quantbot("status")
    assert answer.code == 1
    assert f"quantbot restore '/backups/of monday' --into {tmp_path / 'home'}" in answer.err
    assert quantbot("status", "--json").document["is_half_restored"] is True
