"""The operator's settings: from the command line, then `TIMEBALL_…` environment variables, then a TOML file.

Reads the environment and at most one file, once, at start; other modules receive the settings they need.
"""

from __future__ import annotations

import difflib
import os
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final, Literal

from pydantic import (
    Field,
    IPvAnyNetwork,
    SecretStr,
    ValidationError,
    model_validator,
)
from pydantic.fields import FieldInfo
from pydantic_settings import (
    BaseSettings,
    EnvSettingsSource,
    InitSettingsSource,
    PydanticBaseSettingsSource,
    SettingsConfigDict,
)

from scheduler.domain.errors import SettingsError
from scheduler.domain.job import (
    DEFAULT_SIZE,
    LEAST_LOG_BYTES,
    LOCAL_REGION,
    MOST_LOG_BYTES,
    STANDARD_SIZES,
    Size,
)
from scheduler.notify.options import HooksSettings, MailSettings
from scheduler.policy.options import PolicySettings
from scheduler.settings.parts import (
    NamespaceName,
    NamespaceSettings,
    Patience,
    RegionName,
    RegionSettings,
    SizeName,
    SizeSettings,
    local_region,
)

DEFAULT_PORT = 8601
DEFAULT_DATA_DIR = Path("~/.timeball")
PREFIX: Final = "TIMEBALL_"
NESTING: Final = "__"
#: Settings that contain others by name, as in TIMEBALL_SIZES__HUGE__CPUS.
NAMING: Final = ("regions", "sizes", "namespaces")
#: Settings that are lists; environment variables separate the items by commas.
LISTS: Final = ("allowed_hosts", "trusted_proxies")
#: Groups of settings, as in TIMEBALL_MAIL__HOST.
GROUPS: Final = ("hooks", "mail", "namespace_defaults", "policy")
#: Variables of the command and of the tests, which are not settings of the daemon.
OTHERS: Final = (
    "URL",
    "TOKEN",
    "CONFIG",
    "LANGUAGE",
    "REQUIRE_ENGINE",
    "TEST_SEED",
    "TEST_FAULT",
    "TEST_PROCESSES",
    "FUZZ",
)


class _Environment(EnvSettingsSource):
    """Environment variables in upper case, except for names of regions, sizes and namespaces."""

    def __init__(self, settings_cls: type[BaseSettings]) -> None:
        super().__init__(settings_cls, case_sensitive=True)

    def _load_env_vars(self) -> Mapping[str, str | None]:
        return {_key(name): value for name, value in os.environ.items() if name.upper().startswith(PREFIX)}

    def prepare_field_value(
        self, field_name: str, field: FieldInfo, value: Any, value_is_complex: bool
    ) -> Any:
        """The value that a variable stands for."""
        if field_name in LISTS and isinstance(value, str) and not value.lstrip().startswith("["):
            return [item.strip() for item in value.split(",") if item.strip()]
        try:
            return super().prepare_field_value(field_name, field, value, value_is_complex)
        except ValueError as error:
            raise SettingsError(
                f"{PREFIX}{field_name.upper()} is not valid JSON: {error} (got {value!r}). Write an object, "
                f"or set its members one by one as {PREFIX}{field_name.upper()}{NESTING}…"
            ) from error


def _key(variable: str) -> str:
    """A variable's name as pydantic expects it: the prefix, and the setting's name in the model."""
    setting, *below = variable[len(PREFIX) :].split(NESTING)
    if setting.lower() in GROUPS:
        return PREFIX + NESTING.join(part.lower() for part in (setting, *below))
    return PREFIX + NESTING.join([setting.lower(), *below[:1], *(part.lower() for part in below[1:])])


class Settings(BaseSettings, Patience):
    """All settings, each with its default."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTING,
        extra="forbid",
        frozen=True,
        validate_default=True,
        regex_engine="python-re",
    )

    host: str = Field(default="127.0.0.1", min_length=1, description="The address that the API listens on.")
    port: int = Field(
        default=DEFAULT_PORT,
        ge=0,
        le=65535,
        description="The port that the API listens on; 0 chooses a free port.",
    )
    data_dir: Path = Field(default=DEFAULT_DATA_DIR, description="The daemon's data directory.")
    database_url: str | None = Field(
        default=None,
        description="The database: sqlite:///… or postgresql+psycopg://…. Default: SQLite in the data directory.",
    )
    default_region: RegionName = Field(
        default=LOCAL_REGION, description="The region of jobs that specify none."
    )
    default_size: SizeName = Field(default=DEFAULT_SIZE, description="The size of jobs that specify none.")
    regions: dict[RegionName, RegionSettings] = Field(
        default_factory=dict, description="Engines by name; LOCAL exists even if it is not configured."
    )
    sizes: dict[SizeName, SizeSettings] = Field(
        default_factory=dict, description="Sizes by name, in addition to the standard ones or replacing them."
    )
    namespaces: dict[NamespaceName, NamespaceSettings] = Field(
        default_factory=dict, description="Settings of namespaces by name."
    )
    namespace_defaults: NamespaceSettings = Field(
        default_factory=NamespaceSettings,
        description="Settings of all namespaces, for everything that a namespace does not set itself.",
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="The key that seals secrets, followed by previous keys, separated by commas; secret_key_file is "
        "safer.",
    )
    secret_key_file: Path | None = Field(
        default=None,
        description="A file that contains the key, followed by previous keys, one per line. Default: secret.key "
        "in the data directory, created at the first start.",
    )
    policy: PolicySettings = Field(
        default_factory=PolicySettings, description="What the containers of all namespaces may do."
    )
    log_limit_bytes: int = Field(
        default=1024**3,
        ge=LEAST_LOG_BYTES,
        le=MOST_LOG_BYTES,
        description="Maximum number of bytes of a run's output that are kept, not counting its very end; jobs "
        "can set their own.",
    )
    pids_limit: int = Field(
        default=512, ge=2, description="Maximum number of processes and threads of a run."
    )
    horizon_seconds: int = Field(
        default=60, ge=5, le=3600, description="How far ahead due times are kept in memory, in seconds."
    )
    database_wait_seconds: float = Field(
        default=5.0,
        ge=0.1,
        le=60,
        description="How long to wait for a database lock that another process holds, in seconds.",
    )
    max_body_bytes: int = Field(
        default=1024 * 1024, ge=1024, description="Maximum size of a request body, in bytes."
    )
    tls_cert: Path | None = Field(
        default=None,
        description="The API's certificate with its chain, as PEM; if set, the API accepts only HTTPS.",
    )
    tls_key: Path | None = Field(default=None, description="The key of the API's certificate.")
    allowed_hosts: list[str] = Field(
        default_factory=list,
        description="Host names that clients may use for the API, in addition to localhost, while it listens on "
        "a loopback address; * allows any. If a proxy forwards the client's Host header, add its names here.",
    )
    trusted_proxies: list[IPvAnyNetwork] = Field(
        default_factory=list,
        description="Addresses or networks of proxies whose X-Forwarded-For, -Proto and -Host headers are trusted.",
    )
    max_connections: int = Field(
        default=8192,
        ge=1,
        description="Maximum number of connections to the API; every client that follows a log uses one.",
    )
    max_connections_per_address: int = Field(
        default=4096,
        ge=1,
        description="Maximum number of connections to the API from one address; trusted proxies do not count.",
    )
    request_seconds: int = Field(
        default=30,
        ge=1,
        description="Seconds within which the head of a request, and then its body, must arrive.",
    )
    keepalive_seconds: int = Field(
        default=75, ge=1, description="Seconds after which an idle connection is closed."
    )
    login_token_days: int = Field(
        default=30,
        ge=0,
        le=3650,
        description="How long a token from a login is valid, in days; 0 means it never expires.",
    )
    audit_days: int = Field(
        default=365, ge=2, le=36500, description="How long audit entries are kept, in days."
    )
    lease_seconds: int = Field(
        default=15,
        ge=3,
        le=600,
        description="Seconds without a sign of life after which another daemon counts as dead.",
    )
    ordine_success_word: Literal["completed", "done"] = Field(
        default="completed", description="The status that the Ordine dialect shows for a run that succeeded."
    )
    hooks: HooksSettings = Field(default_factory=HooksSettings, description="Deliveries to webhooks.")
    mail: MailSettings = Field(default_factory=MailSettings, description="Emails to the owners of jobs.")
    retention_days: int = Field(
        default=90,
        ge=0,
        le=36_500,
        description="How long an ended run, its log and its ledger entry are kept, in days, for jobs that do not "
        "set it; 0 means no limit.",
    )
    retention_count: int = Field(
        default=100_000,
        ge=0,
        le=10**9,
        description="Number of runs that are kept per job, for jobs that do not set it; 0 means no limit.",
    )
    retention_log_bytes: int = Field(
        default=10 * 1024**3,
        ge=0,
        le=2**62,
        description="Bytes of logs, as stored (compressed), that are kept per job, for jobs that do not set it; "
        "0 means no limit.",
    )
    retention_interval_seconds: int = Field(
        default=60,
        ge=1,
        le=24 * 3600,
        description="Seconds between searches for data whose retention has ended.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="The lowest level of the messages in the daemon's log."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto",
        description="Format of the daemon's log: console for people, json for programs; auto chooses console on a "
        "terminal.",
    )

    @model_validator(mode="after")
    def _check_tls(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "tls_cert and tls_key belong together: set both or neither"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_defaults(self) -> Settings:
        if self.default_region not in self.all_regions():
            known = ", ".join(self.all_regions())
            msg = f"default_region '{self.default_region}' is not configured; use one of {known}"
            raise ValueError(msg)
        if self.default_size not in self.all_sizes():
            known = ", ".join(self.all_sizes())
            msg = f"default_size '{self.default_size}' is not configured; use one of {known}"
            raise ValueError(msg)
        return self

    def all_regions(self) -> Mapping[str, RegionSettings]:
        """The configured regions and LOCAL, each with its timeouts."""
        regions = {LOCAL_REGION: self.regions.get(LOCAL_REGION) or local_region(), **self.regions}
        return {name: self._with_patience(region) for name, region in regions.items()}

    def _with_patience(self, region: RegionSettings) -> RegionSettings:
        missing = Patience.model_fields.keys() - region.model_fields_set
        return region.model_copy(update={name: getattr(self, name) for name in missing})

    def all_sizes(self) -> Mapping[str, Size]:
        """The standard sizes, with the configured ones added or replaced."""
        return dict(STANDARD_SIZES) | {
            name: Size(size.cpus, size.memory_mib) for name, size in self.sizes.items()
        }

    def namespace(self, name: str) -> NamespaceSettings:
        """The settings of a namespace: its own, completed by those of all namespaces."""
        own = self.namespaces.get(name)
        if own is None:
            return self.namespace_defaults
        return self.namespace_defaults.model_copy(
            update={field: getattr(own, field) for field in own.model_fields_set}
        )

    def resolved_data_dir(self) -> Path:
        """The data directory as an absolute path."""
        return self.data_dir.expanduser().absolute()

    def resolved_database_url(self) -> str:
        """The database's URL. Default: SQLite in the data directory."""
        return self.database_url or f"sqlite:///{self.resolved_data_dir() / 'timeball.db'}"


def load_settings(config: Path | None = None, **explicit: Any) -> Settings:
    """The settings from a TOML file, the environment and explicit values; later ones take precedence.

    Args:
        config: the TOML file; None if there is none.
        explicit: values from the command line; those that are None were not given.

    Raises:
        SettingsError: names the file or setting, its value, and what is wrong with it.
    """
    stored = {} if config is None else _read_toml(config)
    given = {name: value for name, value in explicit.items() if value is not None}

    class _Layered(Settings):
        @classmethod
        def settings_customise_sources(
            cls,
            settings_cls: type[BaseSettings],
            init_settings: PydanticBaseSettingsSource,
            env_settings: PydanticBaseSettingsSource,  # noqa: ARG003 - the signature is pydantic's
            dotenv_settings: PydanticBaseSettingsSource,  # noqa: ARG003
            file_secret_settings: PydanticBaseSettingsSource,  # noqa: ARG003
        ) -> tuple[PydanticBaseSettingsSource, ...]:
            return (
                init_settings,
                _Environment(settings_cls),
                InitSettingsSource(settings_cls, init_kwargs=stored),
            )

    _refuse_unknown_variables()
    try:
        return _Layered(**given)
    except ValidationError as error:
        lines = [
            f"{'.'.join(str(part) for part in item['loc']) or 'settings'}: {item['msg']} (got {item['input']!r})"
            for item in error.errors()
        ]
        raise SettingsError("Invalid settings:\n  " + "\n  ".join(lines)) from error


def _refuse_unknown_variables() -> None:
    """Reject unknown TIMEBALL_… variables: a misspelt one would have no effect."""
    settings = [
        name.upper() for name in sorted(Settings.model_fields, key=Patience.model_fields.__contains__)
    ]
    lines = []
    for variable in sorted(os.environ):
        if not variable.upper().startswith(PREFIX):
            continue
        setting, nesting, _ = variable[len(PREFIX) :].partition(NESTING)
        if (
            setting.lower() in ((*NAMING, *GROUPS) if nesting else Settings.model_fields)
            or setting.upper() in OTHERS
        ):
            continue
        near = difflib.get_close_matches(setting.upper(), settings, n=1)
        lines.append(
            f"{variable} is not a setting; "
            + (
                f"did you mean {PREFIX}{near[0]}?"
                if near
                else f"use {PREFIX}… with one of {', '.join(settings)}, or unset the variable"
            )
        )
    if lines:
        raise SettingsError("Invalid settings:\n  " + "\n  ".join(lines))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(
            f"--config {path} cannot be read: {error.strerror}. Choose a file that the daemon can read"
        ) from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {path} is not valid TOML: {error}. Fix the file") from error
