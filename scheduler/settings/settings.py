"""The operator's settings: command line first, then `TIMEBALL_…` in the environment, then a TOML file.

Reads the environment and at most one file, once, at start; whoever needs a setting is given it.
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
#: Settings that hold others by name, as in TIMEBALL_SIZES__HUGE__CPUS.
NAMING: Final = ("regions", "sizes", "namespaces")
#: Settings that are lists; in the environment a comma stands between the items.
LISTS: Final = ("allowed_hosts", "trusted_proxies")
#: Settings that belong together, as in TIMEBALL_MAIL__HOST.
GROUPS: Final = ("hooks", "mail", "namespace_defaults", "policy")
#: Variables of the command and of the tests, which are no settings of the daemon.
OTHERS: Final = ("URL", "TOKEN", "CONFIG", "LANGUAGE", "REQUIRE_ENGINE", "TEST_SEED", "TEST_FAULT", "FUZZ")


class _Environment(EnvSettingsSource):
    """Variables in upper case, except for the names that the operator gives to regions and sizes."""

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
                f"{PREFIX}{field_name.upper()}: is not JSON: {error} (got {value!r}). Write an object, "
                f"or name one after the other as {PREFIX}{field_name.upper()}{NESTING}…"
            ) from error


def _key(variable: str) -> str:
    """A variable's name as pydantic looks for it: the prefix, and the setting as it is named in the model."""
    setting, *below = variable[len(PREFIX) :].split(NESTING)
    if setting.lower() in GROUPS:
        return PREFIX + NESTING.join(part.lower() for part in (setting, *below))
    return PREFIX + NESTING.join([setting.lower(), *below[:1], *(part.lower() for part in below[1:])])


class Settings(BaseSettings, Patience):
    """All of them, each with its default."""

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_nested_delimiter=NESTING,
        extra="forbid",
        frozen=True,
        validate_default=True,
        regex_engine="python-re",
    )

    host: str = Field(default="127.0.0.1", min_length=1, description="The address that the API listens on.")
    port: int = Field(default=DEFAULT_PORT, ge=0, le=65535, description="Its port; 0 takes a free one.")
    data_dir: Path = Field(default=DEFAULT_DATA_DIR, description="Where the daemon keeps all that it keeps.")
    database_url: str | None = Field(
        default=None,
        description="sqlite:///… or postgresql+psycopg://…; SQLite in the data directory if not given.",
    )
    default_region: RegionName = Field(default=LOCAL_REGION, description="The region of jobs that name none.")
    default_size: SizeName = Field(default=DEFAULT_SIZE, description="The size of jobs that name none.")
    regions: dict[RegionName, RegionSettings] = Field(
        default_factory=dict, description="Engines by name; LOCAL exists even if it is not named here."
    )
    sizes: dict[SizeName, SizeSettings] = Field(
        default_factory=dict, description="Sizes beside the standard ones, or instead of them."
    )
    namespaces: dict[NamespaceName, NamespaceSettings] = Field(
        default_factory=dict, description="Limits and weights of namespaces by name."
    )
    namespace_defaults: NamespaceSettings = Field(
        default_factory=NamespaceSettings,
        description="The same for all that a namespace does not say itself.",
    )
    secret_key: SecretStr | None = Field(
        default=None,
        description="The key that secrets are sealed with, former ones after it with commas; a file is better.",
    )
    secret_key_file: Path | None = Field(
        default=None,
        description="A file with the key, former ones on lines after it; secret.key in the data directory, made "
        "at the first start, if not given.",
    )
    policy: PolicySettings = Field(
        default_factory=PolicySettings, description="What the containers of all namespaces may do."
    )
    log_limit_bytes: int = Field(
        default=1024**3,
        ge=LEAST_LOG_BYTES,
        le=MOST_LOG_BYTES,
        description="How much of a run's output is kept, and its very end besides; jobs can have their own.",
    )
    pids_limit: int = Field(default=512, ge=2, description="Processes and threads that one run may have.")
    horizon_seconds: int = Field(
        default=60, ge=5, le=3600, description="How far ahead due times are held in memory."
    )
    database_wait_seconds: float = Field(
        default=5.0,
        ge=0.1,
        le=60,
        description="How long a lock that others hold on the database is waited for.",
    )
    max_body_bytes: int = Field(
        default=1024 * 1024, ge=1024, description="The largest request body that is accepted."
    )
    tls_cert: Path | None = Field(
        default=None,
        description="The API's certificate with its chain, as PEM; the API then speaks HTTPS alone.",
    )
    tls_key: Path | None = Field(default=None, description="The certificate's key.")
    allowed_hosts: list[str] = Field(
        default_factory=list,
        description="Names by which the API is asked for, beside localhost, while it listens on a loopback address; "
        "* for any. A proxy that hands on the client's Host needs its names here.",
    )
    trusted_proxies: list[IPvAnyNetwork] = Field(
        default_factory=list,
        description="Addresses or networks of proxies whose X-Forwarded-For, -Proto and -Host are believed.",
    )
    max_connections: int = Field(
        default=8192, ge=1, description="Connections to the API, in all; everybody who follows a log has one."
    )
    max_connections_per_address: int = Field(
        default=4096,
        ge=1,
        description="Connections to the API from one address; trusted proxies are not counted.",
    )
    request_seconds: int = Field(
        default=30,
        ge=1,
        description="Within how many seconds a request's head, and then its body, has to arrive.",
    )
    keepalive_seconds: int = Field(
        default=75, ge=1, description="For how long a connection stays open that nothing is asked on."
    )
    login_token_days: int = Field(
        default=30, ge=0, le=3650, description="How long a token from logging in is valid; 0 for ever."
    )
    audit_days: int = Field(default=365, ge=2, le=36500, description="How long it is kept who did what.")
    lease_seconds: int = Field(
        default=15, ge=3, le=600, description="For how long a silent daemon is taken to be alive."
    )
    ordine_success_word: Literal["completed", "done"] = Field(
        default="completed", description="How clients of the Ordine dialect are told that a run succeeded."
    )
    hooks: HooksSettings = Field(default_factory=HooksSettings, description="Deliveries to hooks.")
    mail: MailSettings = Field(default_factory=MailSettings, description="Mail to the owners of jobs.")
    retention_days: int = Field(
        default=90,
        ge=0,
        le=36_500,
        description="Days for which an ended run, its log and the ledger are kept, of jobs that do not say; "
        "0 is for ever.",
    )
    retention_count: int = Field(
        default=100_000,
        ge=0,
        le=10**9,
        description="Runs that are kept of a job that does not say how many; 0 is no limit.",
    )
    retention_log_bytes: int = Field(
        default=10 * 1024**3,
        ge=0,
        le=2**62,
        description="Bytes of logs, compressed as they are stored, that are kept of a job that does not say; "
        "0 is no limit.",
    )
    retention_interval_seconds: int = Field(
        default=60,
        ge=1,
        le=24 * 3600,
        description="How often it is looked for what need not be kept any more.",
    )
    log_level: Literal["debug", "info", "warning", "error"] = Field(
        default="info", description="How much the daemon says about itself."
    )
    log_format: Literal["auto", "console", "json"] = Field(
        default="auto", description="For people or for programs; auto looks whether a terminal listens."
    )

    @model_validator(mode="after")
    def _check_tls(self) -> Settings:
        if (self.tls_cert is None) != (self.tls_key is None):
            msg = "tls_cert and tls_key belong together: give both or none"
            raise ValueError(msg)
        return self

    @model_validator(mode="after")
    def _check_defaults(self) -> Settings:
        if self.default_region not in self.all_regions():
            msg = f"default_region names '{self.default_region}', which is not configured"
            raise ValueError(msg)
        if self.default_size not in self.all_sizes():
            msg = f"default_size names '{self.default_size}', which is not configured"
            raise ValueError(msg)
        return self

    def all_regions(self) -> Mapping[str, RegionSettings]:
        """The configured regions, and LOCAL; each with the patience that is meant for it."""
        found = {LOCAL_REGION: self.regions.get(LOCAL_REGION) or local_region(), **self.regions}
        return {name: self._with_patience(region) for name, region in found.items()}

    def _with_patience(self, region: RegionSettings) -> RegionSettings:
        missing = Patience.model_fields.keys() - region.model_fields_set
        return region.model_copy(update={name: getattr(self, name) for name in missing})

    def all_sizes(self) -> Mapping[str, Size]:
        """The standard sizes, changed and completed by the configured ones."""
        return dict(STANDARD_SIZES) | {
            name: Size(size.cpus, size.memory_mib) for name, size in self.sizes.items()
        }

    def namespace(self, name: str) -> NamespaceSettings:
        """What a namespace may do: its own settings over those of all namespaces."""
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
        """The database's URL; SQLite in the data directory unless one was given."""
        return self.database_url or f"sqlite:///{self.resolved_data_dir() / 'timeball.db'}"


def load_settings(config: Path | None = None, **explicit: Any) -> Settings:
    """The settings from a TOML file, the environment and explicit values; later ones win.

    Args:
        config: the TOML file; None for none.
        explicit: values from the command line; those that are None were not given.

    Raises:
        SettingsError: names the file or setting, the value, and what is wrong with it.
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
        raise SettingsError("The settings cannot be used:\n  " + "\n  ".join(lines)) from error


def _refuse_unknown_variables() -> None:
    """Accept an environment whose TIMEBALL_… variables all mean something: a misspelt one would be without effect."""
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
            f"{variable}: is no setting; "
            + (
                f"did you mean {PREFIX}{near[0]}?"
                if near
                else f"use {PREFIX}… with one of {', '.join(settings)}, or unset it"
            )
        )
    if lines:
        raise SettingsError("The settings cannot be used:\n  " + "\n  ".join(lines))


def _read_toml(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise SettingsError(f"--config {path}: cannot be read: {error.strerror}") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"--config {path}: is not TOML: {error}") from error
