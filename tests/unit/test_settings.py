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
    [("QUANTBOT_FIRST_MONTH", "2025-13"), ("QUANTBOT_DAGSTER_UI_PORT", "http"), ("QUANTBOT_DAGSTER_UI_PORT", "80")],
)
def test_a_wrong_value_is_refused_by_the_name_of_its_variable(
    monkeypatch: pytest.MonkeyPatch, name: str, value: str
) -> None:
    monkeypatch.setenv(name, value)
    with pytest.raises(ConfigError, match=f"{name}: .*{value}"):
        load_settings()
