"""The operator's container policy in the settings, for all namespaces or for a single one. Pure."""

from __future__ import annotations

import json
import posixpath
import re
from collections.abc import Iterable
from typing import Annotated, Any, Final

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, field_validator
from pydantic_settings import NoDecode

from scheduler.domain.images import check_pattern
from scheduler.policy.container_policy import (
    BRIDGE,
    DEFAULT_CAPABILITIES,
    NO_NETWORK,
    AllowedMount,
    ContainerPolicy,
    is_foreign_network,
)

_CAPABILITY: Final = re.compile(r"[A-Z][A-Z_]{1,31}")
_NETWORK: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}", re.ASCII)


def _split(value: object) -> object:
    """Environment variables may contain a list as JSON, or items separated by commas."""
    if not isinstance(value, str):
        return value
    if value.lstrip().startswith("["):
        return json.loads(value)
    return [part.strip() for part in value.split(",") if part.strip()]


Texts = Annotated[list[str], NoDecode, BeforeValidator(_split)]


class PolicySettings(BaseModel):
    """What containers may do."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    no_new_privileges: bool = Field(
        default=True,
        description="Whether programs cannot gain privileges, for example through set-user-id files.",
    )
    capabilities: Texts = Field(
        default=list(DEFAULT_CAPABILITIES), description="Linux capabilities that every container has."
    )
    allowed_capabilities: Texts = Field(
        default_factory=list, description="Further capabilities that jobs may request."
    )
    pids_limit: int | None = Field(
        default=None,
        ge=2,
        description="Maximum number of processes and threads of a run. Default: the general setting pids_limit.",
    )
    nofile_limit: int = Field(
        default=16_384, ge=16, le=1_048_576, description="Maximum number of open files of a process."
    )
    allowed_mounts: Texts = Field(
        default_factory=list,
        description="Paths of the engine's host that jobs may mount, exactly as written: /srv/data:ro or "
        "/srv/out:rw.",
    )
    allowed_images: Texts = Field(
        default=["*"],
        description="Patterns of image repositories that jobs may use, such as registry.example.com/team/*.",
    )
    allowed_networks: Texts = Field(
        default=[BRIDGE],
        description="Networks of the engine that jobs may use; the first is the default, an empty list allows none.",
    )
    require_read_only_root: bool = Field(
        default=False, description="Whether jobs must have a read-only root file system."
    )
    require_non_root: bool = Field(
        default=False, description="Whether jobs must specify a user other than root."
    )
    require_digest: bool = Field(default=False, description="Whether jobs must pin their image.")

    @field_validator("capabilities", "allowed_capabilities")
    @classmethod
    def _check_capabilities(cls, names: list[str]) -> list[str]:
        capabilities = [name.upper().removeprefix("CAP_") for name in names]
        for name in capabilities:
            if not _CAPABILITY.fullmatch(name) or name == "ALL":
                msg = f"'{name}' is not a capability; name each one, such as NET_RAW"
                raise ValueError(msg)
        return capabilities

    @field_validator("allowed_mounts")
    @classmethod
    def _check_mounts(cls, texts: list[str]) -> list[str]:
        mounts = [_mount(text) for text in texts]
        for mount in mounts:
            for other in mounts:
                if not other.read_only and mount.source.startswith(other.source.rstrip("/") + "/"):
                    msg = (
                        f"'{mount.source}' is below '{other.source}', which jobs may write to and where they could "
                        "put a symbolic link in its place. Allow only one of them, or the upper one with :ro"
                    )
                    raise ValueError(msg)
        return texts

    @field_validator("allowed_images")
    @classmethod
    def _check_images(cls, patterns: list[str]) -> list[str]:
        return [check_pattern(pattern) for pattern in patterns]

    @field_validator("allowed_networks")
    @classmethod
    def _check_networks(cls, names: list[str]) -> list[str]:
        for name in names:
            if not _NETWORK.fullmatch(name) or is_foreign_network(name):
                msg = f"'{name}' cannot be allowed; use a network of the engine, such as {BRIDGE} or {NO_NETWORK}"
                raise ValueError(msg)
        return names


def policy_of(layers: Iterable[PolicySettings | None], *, pids_limit: int) -> ContainerPolicy:
    """The policy from several layers: what a later layer sets overrides the earlier ones.

    Args:
        layers: the policy for all namespaces first, then for one; None sets nothing.
        pids_limit: the limit if no layer sets it.
    """
    given: dict[str, Any] = {}
    for layer in layers:
        if layer is not None:
            given |= {name: getattr(layer, name) for name in layer.model_fields_set}
    merged = PolicySettings(**given)
    return ContainerPolicy(
        no_new_privileges=merged.no_new_privileges,
        capabilities=tuple(merged.capabilities),
        allowed_capabilities=frozenset(merged.allowed_capabilities),
        pids_limit=merged.pids_limit or pids_limit,
        nofile_limit=merged.nofile_limit,
        allowed_mounts=tuple(_mount(text) for text in merged.allowed_mounts),
        allowed_images=tuple(merged.allowed_images),
        allowed_networks=tuple(merged.allowed_networks),
        require_read_only_root=merged.require_read_only_root,
        require_non_root=merged.require_non_root,
        require_digest=merged.require_digest,
    )


def _mount(text: str) -> AllowedMount:
    source, colon, mode = text.rpartition(":")
    if not colon:
        source, mode = text, "ro"
    if mode not in ("ro", "rw") or not source.startswith("/") or posixpath.normpath(source) != source:
        msg = (
            f"'{text}' is not a valid mount; write an absolute path without '..', then :ro or :rw, such as "
            "/srv/data:ro"
        )
        raise ValueError(msg)
    return AllowedMount(source, read_only=mode == "ro")
