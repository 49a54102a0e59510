"""Settings: the only reader of environment variables.

Everything else gets a `Settings` object. Nothing here opens a connection or a file.
"""

import re
from functools import cached_property
from pathlib import Path
from typing import Any, Literal
from urllib.parse import urlsplit

from pydantic import Field, SecretStr, ValidationError, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from quantbot_pipeline.errors import ConfigError
from quantbot_pipeline.ingest.calls import CallPolicy

Server = Literal["postgres", "clickhouse"]

_URL_SCHEMES: dict[Server, tuple[str, ...]] = {"postgres": ("postgresql", "postgres"), "clickhouse": ("http", "https")}


class Settings(BaseSettings):
    """What can be set from outside, as `QUANTBOT_*` environment variables.

    Attributes:
        home: Folder of the embedded servers, inbox, models and reports (`QUANTBOT_HOME`).
        postgres_url: External Postgres, `postgresql://user:password@host:port/database`; embedded when unset.
        clickhouse_url: External ClickHouse, `http(s)://user:password@host:port/database`; embedded when unset.
        first_month: First month, `YYYY-MM`, that has Dagster partitions.
        calls_policy: Which entry alerts of one caller on one token are calls, `every` or `first`; when unset, what
            `quantbot calls derive` was told last.
        calls_cool_down: How long a repeated entry alert of a caller on a token is no call, seconds; from text such
            as `90s`, `15m`, `1h`, `2d`. When unset, as above.
        calls_repetition: How far back alerts on the same token strengthen a call, seconds. When unset, as above.
        inbox_settle_seconds: How long size and time of a file in the inbox must stay the same for it to be taken.
        dagster_ui_port: Port of the Dagster UI on 127.0.0.1.
        server_start_timeout_seconds: How long a server may take to answer after its start.
        birdeye_api_key: Key of Birdeye's data API (`QUANTBOT_BIRDEYE_API_KEY`); without it, it is not asked.
        birdeye_url: Where Birdeye's data API is.
        birdeye_requests_per_second: Limit of the key's plan; the smallest plan has 1.
        geckoterminal_url: Where GeckoTerminal's public API is.
        candle_source: Which source the daily job asks for candles, `geckoterminal` or `birdeye`; none when unset.
        candle_source_interval: Interval of the candles that it asks for.
        candle_source_days: How many days back calls are looked at whose candles may be missing.
        models_uri: Folder that new model files are stored in, such as `s3://bucket/models`; the home's when unset.
        alert_webhook_url: Where failed runs are told to, as JSON by POST; nowhere but the log when unset.
    """

    model_config = SettingsConfigDict(env_prefix="QUANTBOT_", frozen=True, extra="ignore", env_ignore_empty=True)

    home: Path = Field(default_factory=lambda: Path.cwd() / ".quantbot")
    postgres_url: SecretStr | None = None
    clickhouse_url: SecretStr | None = None
    first_month: str = "2015-01"
    calls_policy: CallPolicy | None = None
    calls_cool_down: int | None = None
    calls_repetition: int | None = None
    inbox_settle_seconds: float = Field(default=5.0, ge=0, le=3600)
    dagster_ui_port: int = Field(default=3333, ge=1024, le=65535)
    server_start_timeout_seconds: float = Field(default=60.0, gt=0, le=86_400)
    # Judged by the source alone: a message about a field of this class quotes what was found.
    birdeye_api_key: SecretStr | None = None
    birdeye_url: str = "https://public-api.birdeye.so"
    birdeye_requests_per_second: float = Field(default=1.0, gt=0, le=100)
    geckoterminal_url: str = "https://api.geckoterminal.com/api/v2"
    candle_source: Literal["geckoterminal", "birdeye"] | None = None
    candle_source_interval: str = "5m"
    candle_source_days: int = Field(default=14, ge=1, le=3650)
    models_uri: str | None = None
    # A secret: whoever knows the address of a webhook can write to it.
    alert_webhook_url: SecretStr | None = None

    @field_validator("first_month")
    @classmethod
    def _month(cls, month: str) -> str:
        if not re.fullmatch(r"(?!0000)[0-9]{4}-(0[1-9]|1[0-2])", month):
            raise ValueError("allowed is a month YYYY-MM, such as 2015-01")
        return month

    @field_validator("calls_cool_down", "calls_repetition", mode="before")
    @classmethod
    def _duration(cls, duration: Any) -> Any:
        return parse_duration(duration) if isinstance(duration, str) else duration

    @field_validator("home")
    @classmethod
    def _absolute(cls, home: Path) -> Path:
        try:
            return home.expanduser().absolute()
        except RuntimeError as error:
            raise ValueError("allowed after ~ is the name of a user with a home folder, or nothing") from error

    @cached_property
    def inbox(self) -> Path:
        """Folder whose new alert and candle files the sensor ingests."""
        return self.home / "inbox"

    @cached_property
    def models_directory(self) -> Path:
        """Folder of trained models."""
        return self.home / "models"

    @cached_property
    def models_folder(self) -> Path | str:
        """Where new model files go: the address that was set, or the home's folder."""
        return self.models_directory if self.models_uri is None else self.models_uri

    @cached_property
    def reports_directory(self) -> Path:
        """Folder of HTML reports."""
        return self.home / "reports"

    @cached_property
    def dagster_home(self) -> Path:
        """Folder that holds this instance's `dagster.yaml`."""
        return self.home / "dagster"


_DURATION = re.compile(r"(\d{1,9})\s*([smhd]?)")
_UNIT_SECONDS = {"": 1, "s": 1, "m": 60, "h": 3600, "d": 86_400}


def parse_duration(text: str) -> int:
    """Return the seconds that a text such as `90`, `90s`, `15m`, `1h` or `2d` means.

    Raises:
        ValueError: it is none.
    """
    match = _DURATION.fullmatch(text.strip().lower())
    if match is None:
        raise ValueError("allowed is a time such as 90s, 15m, 1h or 2d")
    return int(match[1]) * _UNIT_SECONDS[match[2]]


def load_settings(**overrides: Any) -> Settings:
    """Return the settings of this process.

    Args:
        **overrides: Fields that win over the environment.

    Raises:
        ConfigError: a variable has a value that is not allowed; the message names it. Or the current folder is gone,
            and the home is said relative to it.
    """
    try:
        return Settings(**overrides)
    except FileNotFoundError as error:
        raise ConfigError(
            "the current folder was removed; go to one that is there, or set QUANTBOT_HOME to an absolute path"
        ) from error
    except ValidationError as error:
        first = error.errors()[0]
        name = "QUANTBOT_" + "_".join(str(part) for part in first["loc"]).upper()
        raise ConfigError(
            f"{name}: {first['msg'].removeprefix('Value error, ')} (found {first.get('input')!r})"
        ) from error


def check_server_urls(settings: Settings) -> None:
    """Refuse URLs of external servers that can't be read.

    Raises:
        ConfigError: one can't. The message does not repeat it: it may hold a password.
    """
    urls: dict[Server, SecretStr | None] = {"postgres": settings.postgres_url, "clickhouse": settings.clickhouse_url}
    for server, url in urls.items():
        if url is not None and not _is_server_url(url.get_secret_value(), _URL_SCHEMES[server]):
            raise unreadable_server_url(server)


def unreadable_server_url(server: Server) -> ConfigError:
    """Return the error of a URL that can't be read, without the URL."""
    return ConfigError(
        f"QUANTBOT_{server.upper()}_URL can't be read; allowed is "
        f"{_URL_SCHEMES[server][0]}://user:password@host:port/database, with characters such as space, /, @, : and % "
        "in the password percent-encoded"
    )


def _is_server_url(text: str, schemes: tuple[str, ...]) -> bool:
    try:
        parts = urlsplit(text)
        # Reading the port checks it.
        has_place = parts.port != 0 and bool(parts.hostname or parts.query)
    except ValueError:
        return False
    return parts.scheme in schemes and has_place and not any(character.isspace() for character in text)


def what_to_do_without(server: Server) -> str:
    """Return what to do when a server does not answer: another thing for one of your own than for the embedded one."""
    variable = f"QUANTBOT_{server.upper()}_URL"
    try:
        settings = load_settings()
        is_external = (settings.postgres_url if server == "postgres" else settings.clickhouse_url) is not None
    except ConfigError:
        is_external = False
    if is_external:
        return f"check {variable}, and the server"
    return f"start the embedded servers with 'quantbot up', or check {variable}"
