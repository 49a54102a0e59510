"""Settings: defaults, and what a variable may hold."""

from pathlib import Path

import pytest

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.settings import load_settings


def test_an_empty_variable_is_as_good_as_none(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """`QUANTBOT_HOME=` made the current folder the home: servers' data would have gone into it."""
    monkeypatch.chdir(tmp_path)
    for name in ("QUANTBOT_HOME", "QUANTBOT_POSTGRES_URL", "QUANTBOT_CLICKHOUSE_URL"):
        monkeypatch.setenv(name, "")
    settings = load_settings()
    assert settings.home == tmp_path / ".quantbot"
    assert settings.postgres_url is None
    assert settings.clickhouse_url is None


def test_a_relative_home_is_meant_from_the_current_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("QUANTBOT_HOME", "lab")
    assert load_settings().home == tmp_path / "lab"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("QUANTBOT_FIRST_MONTH", "2025-13"),
        ("QUANTBOT_FIRST_MONTH", "0000-01"),
        # Digits of another script: months are compared as texts.
        ("QUANTBOT_FIRST_MONTH", "\u0662\u0660\u0662\u0665-01"),
        ("QUANTBOT_DAGSTER_UI_PORT", "http"),
        ("QUANTBOT_DAGSTER_UI_PORT", "80"),
        ("QUANTBOT_SERVER_START_TIMEOUT_SECONDS", "inf"),
        ("QUANTBOT_HOME", "~nobody-has-this-name/lab"),
    ],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{name}: .*{value}"):
        load_settings()


def test_a_current_folder_that_was_removed_is_said(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    monkeypatch.chdir(gone)
    gone.rmdir()
    with pytest.raises(ConfigError, match="the current folder was removed"):
        load_settings()
    assert load_settings(home=tmp_path).home == tmp_path
