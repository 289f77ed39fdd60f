"""The operator's container policy, as `scheduler.settings.settings` holds it, for all namespaces or for one. Pure."""

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
    """A variable may hold a list as JSON, or with commas between the items."""
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
        default=True, description="Whether programs can gain nothing by set-user-id files."
    )
    capabilities: Texts = Field(
        default=list(DEFAULT_CAPABILITIES), description="Linux capabilities that every container has."
    )
    allowed_capabilities: Texts = Field(
        default_factory=list, description="Capabilities that jobs may ask for besides."
    )
    pids_limit: int | None = Field(
        default=None,
        ge=2,
        description="Processes and threads that one run may have; as pids_limit says for all, if not given.",
    )
    nofile_limit: int = Field(
        default=16_384, ge=16, le=1_048_576, description="Files that a process of a run may have open."
    )
    allowed_mounts: Texts = Field(
        default_factory=list,
        description="What jobs may mount of the engine's machine, exactly as written: /srv/data:ro or /srv/out:rw.",
    )
    allowed_images: Texts = Field(
        default=["*"], description="Patterns of image repositories, such as registry.example.com/team/*."
    )
    allowed_networks: Texts = Field(
        default=[BRIDGE],
        description="Networks of the engine that jobs may name; the first is the default, an empty list is none.",
    )
    require_read_only_root: bool = Field(
        default=False, description="Refuse jobs whose root file system is not read-only."
    )
    require_non_root: bool = Field(
        default=False, description="Refuse jobs that do not name a user other than root."
    )
    require_digest: bool = Field(default=False, description="Refuse jobs that do not pin their image.")

    @field_validator("capabilities", "allowed_capabilities")
    @classmethod
    def _check_capabilities(cls, names: list[str]) -> list[str]:
        found = [name.upper().removeprefix("CAP_") for name in names]
        for name in found:
            if not _CAPABILITY.fullmatch(name) or name == "ALL":
                msg = f"'{name}' is no capability; name each one, like NET_RAW"
                raise ValueError(msg)
        return found

    @field_validator("allowed_mounts")
    @classmethod
    def _check_mounts(cls, texts: list[str]) -> list[str]:
        found = [_mount(text) for text in texts]
        for one in found:
            for other in found:
                if not other.read_only and one.source.startswith(other.source.rstrip("/") + "/"):
                    msg = (
                        f"'{one.source}' lies below '{other.source}', which jobs may write to: they could put a "
                        "symbolic link in its place. Allow only one of them, or the upper one with :ro"
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
                msg = f"'{name}' cannot be allowed; name a network of the engine, such as {BRIDGE} or {NO_NETWORK}"
                raise ValueError(msg)
        return names


def policy_of(layers: Iterable[PolicySettings | None], *, pids_limit: int) -> ContainerPolicy:
    """The policy that comes of several: what a later one says itself wins over the earlier ones.

    Args:
        layers: for all namespaces first, then for one; None says nothing.
        pids_limit: where none of them says it.
    """
    given: dict[str, Any] = {}
    for layer in layers:
        if layer is not None:
            given |= {name: getattr(layer, name) for name in layer.model_fields_set}
    found = PolicySettings(**given)
    return ContainerPolicy(
        no_new_privileges=found.no_new_privileges,
        capabilities=tuple(found.capabilities),
        allowed_capabilities=frozenset(found.allowed_capabilities),
        pids_limit=found.pids_limit or pids_limit,
        nofile_limit=found.nofile_limit,
        allowed_mounts=tuple(_mount(text) for text in found.allowed_mounts),
        allowed_images=tuple(found.allowed_images),
        allowed_networks=tuple(found.allowed_networks),
        require_read_only_root=found.require_read_only_root,
        require_non_root=found.require_non_root,
        require_digest=found.require_digest,
    )


def _mount(text: str) -> AllowedMount:
    source, colon, mode = text.rpartition(":")
    if not colon:
        source, mode = text, "ro"
    if mode not in ("ro", "rw") or not source.startswith("/") or posixpath.normpath(source) != source:
        msg = f"'{text}' is no mount; write an absolute path without '..' and then :ro or :rw, like /srv/data:ro"
        raise ValueError(msg)
    return AllowedMount(source, read_only=mode == "ro")
