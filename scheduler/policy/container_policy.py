"""The container policy: decides what the operator allows containers to do.

Pure. A job is checked when it is defined and again when its container is started, because the policy may have
changed in between. No field of a job can request a privileged container or the host's network, processes or users.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from scheduler.domain.errors import FieldError
from scheduler.domain.images import full_name, matches
from scheduler.domain.job import ContainerOptions, Mount

#: The root capabilities that containers keep: enough to install and serve something, nothing that affects the host.
DEFAULT_CAPABILITIES: Final = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
)
#: The engine's default network.
BRIDGE: Final = "bridge"
#: No network except the container's own loopback; every policy allows it.
NO_NETWORK: Final = "none"
#: Names with which an engine shares the namespaces of the host or of another container; never our own networks.
_NETWORKS_OF_OTHERS = re.compile(r"(?:host|default|container:.*|ns:.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AllowedMount:
    """A directory or file of the engine's host that jobs may mount, exactly as written."""

    source: str
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPolicy:
    """What the containers of one namespace may do.

    Attributes:
        no_new_privileges: whether programs cannot gain privileges, for example through set-user-id files.
        capabilities: Linux capabilities that every container has.
        allowed_capabilities: further capabilities that jobs may request.
        pids_limit: maximum number of processes and threads of a run.
        nofile_limit: maximum number of open files of a process.
        allowed_mounts: everything that may be mounted.
        allowed_images: patterns of repositories, one of which must match.
        allowed_networks: networks that jobs may use; the first is the default. Empty: no network.
        require_read_only_root: whether every job must have a read-only root file system.
        require_non_root: whether every job must specify a user other than root.
        require_digest: whether every job must pin its image.
    """

    no_new_privileges: bool = True
    capabilities: tuple[str, ...] = DEFAULT_CAPABILITIES
    allowed_capabilities: frozenset[str] = frozenset()
    pids_limit: int = 512
    nofile_limit: int = 16_384
    allowed_mounts: tuple[AllowedMount, ...] = ()
    allowed_images: tuple[str, ...] = ("*",)
    allowed_networks: tuple[str, ...] = (BRIDGE,)
    require_read_only_root: bool = False
    require_non_root: bool = False
    require_digest: bool = False

    def network_of(self, options: ContainerOptions) -> str:
        """The network that a container is connected to."""
        return options.network or next(iter(self.allowed_networks), NO_NETWORK)

    def capabilities_of(self, options: ContainerOptions) -> tuple[str, ...]:
        """All capabilities of a container, sorted."""
        return tuple(sorted({*self.capabilities, *options.capabilities}))


def violations(policy: ContainerPolicy, repository: str, options: ContainerOptions) -> list[FieldError]:
    """The violations of the policy; empty if there are none. Each message names the rule.

    Args:
        policy: the policy of the job's namespace.
        repository: the image's repository.
        options: the job's options.
    """
    return [
        *_check_image(policy, repository),
        *_check_capabilities(policy, options.capabilities),
        *_check_mounts(policy, options.mounts),
        *_check_network(policy, options.network),
        *_check_requirements(policy, options),
    ]


def is_foreign_network(name: str) -> bool:
    """Whether the name refers to the host's or another container's network, which no policy can allow."""
    return _NETWORKS_OF_OTHERS.fullmatch(name) is not None


def _not_allowed(rule: str, why: str) -> str:
    return f"is not allowed by the container policy's rule '{rule}': {why}"


def _check_image(policy: ContainerPolicy, repository: str) -> Iterator[FieldError]:
    if not any(matches(pattern, repository) for pattern in policy.allowed_images):
        yield FieldError(
            "docker_image_repo",
            repository,
            _not_allowed("allowed_images", f"no pattern matches {full_name(repository)}"),
            _choices("allowed_images", policy.allowed_images, "an image that matches"),
        )


def _check_capabilities(policy: ContainerPolicy, wanted: Iterable[str]) -> Iterator[FieldError]:
    possible = {*policy.capabilities, *policy.allowed_capabilities}
    for name in wanted:
        if name not in possible:
            yield FieldError(
                "capabilities",
                name,
                _not_allowed("allowed_capabilities", "the capability is not in the list"),
                _choices("allowed_capabilities", sorted(possible), "only"),
            )


def _check_mounts(policy: ContainerPolicy, wanted: Iterable[Mount]) -> Iterator[FieldError]:
    for mount in wanted:
        # Exactly the path that the operator wrote, and nothing below it: a path below it could be replaced by a
        # symbolic link, which the engine would follow.
        matching = [rule for rule in policy.allowed_mounts if rule.source == mount.source]
        if not matching:
            remedy = _choices("allowed_mounts", [rule.source for rule in policy.allowed_mounts], "exactly")
            yield FieldError(
                "mounts",
                mount.source,
                _not_allowed("allowed_mounts", "the source is not in the list"),
                remedy,
            )
        elif not mount.read_only and all(rule.read_only for rule in matching):
            yield FieldError(
                "mounts",
                mount.source,
                _not_allowed("allowed_mounts", "the source may only be mounted read-only"),
                "set read_only to true",
            )


def _check_network(policy: ContainerPolicy, wanted: str | None) -> Iterator[FieldError]:
    if wanted is None or wanted == NO_NETWORK or wanted in policy.allowed_networks:
        return
    yield FieldError(
        "network",
        wanted,
        _not_allowed("allowed_networks", "the network is not in the list"),
        _choices("allowed_networks", dict.fromkeys((*policy.allowed_networks, NO_NETWORK)), "one of"),
    )


def _check_requirements(policy: ContainerPolicy, options: ContainerOptions) -> Iterator[FieldError]:
    if policy.require_read_only_root and not options.read_only_root:
        yield FieldError(
            "read_only_root",
            options.read_only_root,
            _not_allowed("require_read_only_root", "every container must have a read-only root file system"),
            "set read_only_root to true",
        )
    if policy.require_non_root and not is_other_than_root(options.user):
        yield FieldError(
            "user",
            options.user,
            _not_allowed("require_non_root", "every container must run as a user other than root"),
            'use a number above 0, such as "1000" or "1000:1000"; a name could be an alias of root in the image',
        )
    if policy.require_digest and not (options.pin_digest or options.docker_image_digest):
        yield FieldError(
            "pin_digest",
            options.pin_digest,
            _not_allowed("require_digest", "every image must be pinned"),
            "set pin_digest to true, or set docker_image_digest",
        )


def is_other_than_root(user: str | None) -> bool:
    """Whether a user is certainly not root, whatever the image: user id, and group id if given, are above 0."""
    parts = (user or "").split(":")
    return all(re.fullmatch(r"0*[1-9][0-9]*", part, re.ASCII) for part in parts) and len(parts) <= 2


def _choices(rule: str, possible: Iterable[str], words: str) -> str:
    named = ", ".join(possible)
    return (
        f"use {words} {named}" if named else f"remove it, or ask an administrator to add it to policy.{rule}"
    )
