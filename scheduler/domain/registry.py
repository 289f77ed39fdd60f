"""Registries: their host names, and credentials for them without the passwords. Pure."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

from scheduler.domain.images import DEFAULT_HOST, host_of

_LABEL: Final = r"[a-z0-9](?:[a-z0-9-]{0,61}[a-z0-9])?"
_HOST: Final = re.compile(rf"(?:{_LABEL}(?:\.{_LABEL})*|\[[0-9a-f:]+\])(?::[1-9][0-9]{{0,4}})?", re.ASCII)
_LONGEST: Final = 260
#: Other names of the default registry.
_ALIASES: Final = frozenset({"index.docker.io", "registry-1.docker.io", "hub.docker.com"})
HOST_REMEDY: Final = (
    "write it as in the image's name, without a scheme or path, such as registry.example.com, 127.0.0.1:5000 "
    "or docker.io"
)


def registry_host(text: str) -> str | None:
    """The registry's name under which credentials are stored; None if the text is not a registry.

    >>> registry_host('Registry.Example.COM:5000'), registry_host('index.docker.io'), registry_host('busybox')
    ('registry.example.com:5000', 'docker.io', None)
    """
    host = text.lower()
    if len(host) > _LONGEST or not _HOST.fullmatch(host):
        return None
    # The first part of an image's name is a registry under the same condition.
    if not set(".:[") & set(host) and host != "localhost":
        return None
    return DEFAULT_HOST if host in _ALIASES else host


def registry_of(repository: str) -> str | None:
    """The registry that an image is pulled from, as credentials are stored for it; None if there is none."""
    return registry_host(host_of(repository))


@dataclass(frozen=True, slots=True, kw_only=True)
class Registry:
    """A credential for a registry, without its password."""

    namespace: str
    host: str
    username: str
    created_by: str
    created_at: datetime
    updated_by: str
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Login:
    """A credential as it is sent to a registry."""

    host: str
    username: str
    password: str = field(repr=False)

    @property
    def server_address(self) -> str:
        """The registry as engines name it in a credential."""
        return "https://index.docker.io/v1/" if self.host == DEFAULT_HOST else self.host
