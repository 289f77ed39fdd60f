"""The container settings of jobs on the wire. Pure.

Only the form is checked here. What is allowed is decided by the container policy, which depends on the namespace.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Mapping
from typing import Annotated, Final

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints, WithJsonSchema

from api.schemas.common import SECRET_REFERENCE, Input, Output, refuse, shown_as
from scheduler.domain.job import Mount
from scheduler.domain.secret import NAME_REMEDY, REFERENCE, is_name
from scheduler.domain.secret_files import MOST_FILES

MOST_MOUNTS: Final = 64
LONGEST_PATH: Final = 1_000
_CAPABILITY = re.compile(r"[A-Z][A-Z_]{1,31}", re.ASCII)
_USER_PART = r"[A-Za-z0-9_][A-Za-z0-9_.\-]{0,63}"
_USER = re.compile(rf"{_USER_PART}(?::{_USER_PART})?", re.ASCII)
_NETWORK = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.\-]{0,127}", re.ASCII)
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}", re.ASCII)
#: Where the engine mounts file systems of its own; a mount over them would break the container or its isolation.
_RESERVED: Final = ("/proc", "/sys", "/dev")


def _check_path(path: str) -> str:
    if not path.startswith("/"):
        raise refuse("is not an absolute path", "start it with '/'")
    if ".." in path.split("/"):
        raise refuse("contains '..'", "write the resulting path")
    if len(path) > LONGEST_PATH or any(ord(character) < 32 or character == "\x7f" for character in path):
        raise refuse(
            "is too long or contains a control character", f"use at most {LONGEST_PATH} printable characters"
        )
    return "/" + posixpath.normpath(path).lstrip("/")


def _check_target(path: str) -> str:
    if path == "/" or any(path == reserved or path.startswith(f"{reserved}/") for reserved in _RESERVED):
        raise refuse(
            "cannot be a mount point", f"choose a path other than / that is not in {', '.join(_RESERVED)}"
        )
    return path


_PATH: Final = shown_as(maxLength=LONGEST_PATH, pattern=r"^/[^\u0000-\u001f\u007f]*$")


class MountIn(Input):
    """One mount of a job."""

    source: Annotated[str, AfterValidator(_check_path), _PATH] = Field(
        description="A path on the engine's host."
    )
    target: Annotated[str, AfterValidator(_check_path), AfterValidator(_check_target), _PATH] = Field(
        description="A path in the container."
    )
    read_only: bool = Field(default=True, description="Whether the mount is read-only.")

    def as_mount(self) -> Mount:
        """The mount as in a job's definition."""
        return Mount(self.source, self.target, self.read_only)


def _check_mounts(mounts: list[MountIn]) -> list[MountIn]:
    if len(mounts) > MOST_MOUNTS:
        raise refuse(f"has {len(mounts)} entries", f"use at most {MOST_MOUNTS}")
    targets = [mount.target for mount in mounts]
    if twice := next((target for target in targets if targets.count(target) > 1), None):
        raise refuse(f"has two mounts at {twice}", "use a different target for each")
    return mounts


def _check_secret_files(files: dict[str, str]) -> dict[str, str]:
    if len(files) > MOST_FILES:
        raise refuse(f"has {len(files)} entries", f"use at most {MOST_FILES}")
    return files


def _check_reference(value: object) -> object:
    name = value.get(REFERENCE) if isinstance(value, dict) and set(value) == {REFERENCE} else None
    if not isinstance(name, str) or not is_name(name):
        raise refuse(
            "is not a reference to a secret", f'write {{"secret": "name"}}; for the name, {NAME_REMEDY}'
        )
    return name


def _check_file(path: str) -> str:
    if path.endswith("/"):
        raise refuse("is a directory", "add the name of the file")
    return path


def _check_capabilities(names: object) -> object:
    if not isinstance(names, list | tuple):
        raise refuse("is not a list of capabilities", 'write a list such as ["NET_RAW"]')
    capabilities = []
    for number, name in enumerate(names, 1):
        short = name.upper().removeprefix("CAP_") if isinstance(name, str) else ""
        if not _CAPABILITY.fullmatch(short) or short == "ALL":
            raise refuse(
                f"has an invalid entry at position {number}",
                'use names of capabilities such as "NET_RAW"; ALL is not supported',
            )
        capabilities.append(short)
    return tuple(dict.fromkeys(capabilities))


def _check_user(user: str) -> str:
    if not _USER.fullmatch(user):
        raise refuse(
            "is not a valid user", 'write a number or a name, with or without a group, such as "1000:1000"'
        )
    return user


def _check_network(name: str) -> str:
    if not _NETWORK.fullmatch(name):
        raise refuse(
            "is not a valid name of a network", 'write a name such as "bridge", or "none" for no network'
        )
    return name


def _check_digest(digest: str) -> str:
    if not _DIGEST.fullmatch(digest):
        raise refuse(
            "is not a valid image digest", "write sha256: followed by 64 hexadecimal digits in lower case"
        )
    return digest


SecretFiles = Annotated[
    dict[
        Annotated[
            str, AfterValidator(_check_file), AfterValidator(_check_path), AfterValidator(_check_target)
        ],
        Annotated[str, BeforeValidator(_check_reference)],
    ],
    AfterValidator(_check_secret_files),
    WithJsonSchema(
        {
            "type": "object",
            "maxProperties": MOST_FILES,
            "propertyNames": {"maxLength": LONGEST_PATH, "pattern": r"^/[^\u0000-\u001f\u007f]*$"},
            "additionalProperties": SECRET_REFERENCE,
        }
    ),
]
"""The names of secrets by the paths of their files; on the wire `{"/run/secrets/db": {"secret": "db"}}`."""
Mounts = Annotated[
    list[MountIn], AfterValidator(_check_mounts), Field(json_schema_extra={"maxItems": MOST_MOUNTS})
]
_Capability = Annotated[str, shown_as(pattern=r"^(?:[Cc][Aa][Pp]_)?[A-Za-z][A-Za-z_]{1,31}$")]
Capabilities = Annotated[tuple[_Capability, ...], Field(max_length=64), BeforeValidator(_check_capabilities)]
User = Annotated[
    str,
    StringConstraints(max_length=129),
    AfterValidator(_check_user),
    shown_as(pattern=f"^{_USER_PART}(?::{_USER_PART})?$"),
]
Network = Annotated[str, AfterValidator(_check_network), shown_as(pattern=f"^{_NETWORK.pattern}$")]
Digest = Annotated[str, AfterValidator(_check_digest), shown_as(pattern=f"^{_DIGEST.pattern}$")]


class ContainerIn(Input):
    """The container settings of a job."""

    capabilities: Capabilities = Field(
        default=(),
        description="Linux capabilities in addition to those that the container policy grants every container.",
    )
    mounts: Mounts = Field(
        default_factory=list,
        description="Directories and files of the engine's host; the container policy defines which are allowed.",
    )
    secret_files: SecretFiles = Field(
        default_factory=dict,
        description='Secrets as files in memory: `{"/run/secrets/db": {"secret": "db"}}`.',
    )
    user: User | None = Field(
        default=None,
        description="The user that the container's processes run as, such as `1000:1000`; null for the image's user.",
    )
    read_only_root: bool = Field(default=False, description="Whether only mounts and `/tmp` are writable.")
    network: Network | None = Field(
        default=None,
        description="A network of the engine, or `none`; null for the default of the container policy.",
    )
    pin_digest: bool = Field(
        default=False, description="Whether all later runs use the same image as the first one."
    )
    docker_image_digest: Digest | None = Field(
        default=None, description="The image's digest. If it is given, the tag is only a name."
    )


class MountOut(Output):
    """One mount, as users receive it."""

    described_like = (MountIn,)

    source: str
    target: str
    read_only: bool


def _as_references(files: Mapping[str, str]) -> dict[str, dict[str, str]]:
    return {path: {REFERENCE: name} for path, name in files.items()}


class ContainerOut(Output):
    """The container settings of a job or a run."""

    capabilities: list[str]
    mounts: list[MountOut]
    secret_files: Annotated[dict[str, dict[str, str]], BeforeValidator(_as_references)]
    user: str | None
    read_only_root: bool
    network: str | None
    pin_digest: bool
    docker_image_digest: str | None
