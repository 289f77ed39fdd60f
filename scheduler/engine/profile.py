"""What kind of engine answers: its product, version, image store, limits, and where containers' output goes.

Pure data. An implementation of `Engine` reads a profile when it connects; `judging` says what follows from it.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Product(StrEnum):
    """The software that answers; the value is its name for people."""

    DOCKER = "Docker Engine"
    PODMAN = "Podman"


class Limit(StrEnum):
    """A limit of a container that needs support by the engine and the kernel of its host."""

    CPUS = "cpus"
    """A maximum share of the processors."""
    MEMORY = "memory"
    """A maximum of memory."""
    SWAP = "swap"
    """A maximum of memory and swap together; without it, a container can use swap beyond its memory."""
    PIDS = "pids"
    """A maximum number of processes and threads."""


@dataclass(frozen=True, slots=True, kw_only=True)
class EngineProfile:
    """The kind of an engine; stays the same while it runs.

    Attributes:
        product: the software.
        version: its version, as it writes it.
        api_version: the newest version of the Docker API that it supports.
        image_store: where it keeps images: a storage driver such as ``overlay2``, or ``containerd (overlayfs)``.
        log_driver: the driver that keeps the output of runs, from those that it has; None if none is suitable.
        cgroup_version: 1 or 2; None if it does not say.
        cgroup_driver: who manages its cgroups, such as ``systemd`` or ``cgroupfs``; empty if it does not say.
        is_rootless: whether it runs without root's rights.
        has_userns_remap: whether it maps the users of all containers to others of its host.
        has_live_restore: whether containers continue while it is not running.
        missing_limits: limits that it cannot enforce.
        warnings: its own warnings, as it writes them.
    """

    product: Product
    version: str
    api_version: str
    image_store: str
    log_driver: str | None
    cgroup_version: int | None
    cgroup_driver: str = ""
    is_rootless: bool = False
    has_userns_remap: bool = False
    has_live_restore: bool = False
    missing_limits: tuple[Limit, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def name(self) -> str:
        """The product and its version, such as 'Podman 5.4.2'."""
        return f"{self.product} {self.version}"

    @property
    def description(self) -> str:
        """The kind of engine in a few words, for people."""
        words = [self.name, f"API {self.api_version}", f"image store {self.image_store}"]
        if self.cgroup_version is not None:
            words.append(f"cgroup v{self.cgroup_version}")
        if self.is_rootless:
            words.append("rootless")
        if self.has_userns_remap:
            words.append("userns-remap")
        return ", ".join(words)
