"""What containers may do: decides whether a definition is within the operator's policy.

Pure. The same decision is made when a job is defined and again when its container is launched, as the policy may
have changed in between. Nothing that a definition can say leads to a privileged container or to the host's network,
processes or users: there is no field for it.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from typing import Final

from scheduler.domain.errors import FieldError
from scheduler.domain.images import full_name, matches
from scheduler.domain.job import ContainerOptions, Mount

#: What containers keep of root's powers: enough to install and serve something, nothing that reaches the host.
DEFAULT_CAPABILITIES: Final = (
    "CHOWN",
    "DAC_OVERRIDE",
    "FOWNER",
    "KILL",
    "NET_BIND_SERVICE",
    "SETGID",
    "SETUID",
)
#: The engine's own network for containers that are given none.
BRIDGE: Final = "bridge"
#: No network at all but the container's own loopback; every policy allows it.
NO_NETWORK: Final = "none"
#: Words by which an engine shares the namespaces of the host or of another container; never networks of ours.
_NETWORKS_OF_OTHERS = re.compile(r"(?:host|default|container:.*|ns:.*)", re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class AllowedMount:
    """A directory or file of the engine's machine that jobs may mount, exactly as it is written."""

    source: str
    read_only: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class ContainerPolicy:
    """What the containers of one namespace may do.

    Attributes:
        no_new_privileges: whether programs can gain nothing by set-user-id files.
        capabilities: that every container has.
        allowed_capabilities: that jobs may ask for besides.
        pids_limit: processes and threads of one run.
        nofile_limit: open files of one process.
        allowed_mounts: all that may be mounted.
        allowed_images: patterns of repositories; one has to match.
        allowed_networks: names; the first is that of jobs which name none. Empty: no network.
        require_read_only_root: whether every job has to have a read-only root.
        require_non_root: whether every job has to name a user other than root.
        require_digest: whether every job has to pin its image.
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
        """All that a container keeps of root's powers, sorted."""
        return tuple(sorted({*self.capabilities, *options.capabilities}))


def violations(policy: ContainerPolicy, repository: str, options: ContainerOptions) -> list[FieldError]:
    """What a container is to do beyond the policy; empty if nothing. Each message names its rule.

    Args:
        policy: of the job's namespace.
        repository: of its image.
        options: what the job asks for.
    """
    return [
        *_check_image(policy, repository),
        *_check_capabilities(policy, options.capabilities),
        *_check_mounts(policy, options.mounts),
        *_check_network(policy, options.network),
        *_check_requirements(policy, options),
    ]


def words_of(errors: Iterable[FieldError]) -> str:
    """The violations in one line, for a run's error and log."""
    return "; ".join(f"{one.field} {one.value!r} {one.message} ({one.remedy})" for one in errors)


def is_foreign_network(name: str) -> bool:
    """Whether the name means the host's or another container's network, which no policy can allow."""
    return _NETWORKS_OF_OTHERS.fullmatch(name) is not None


def _beyond(rule: str, why: str) -> str:
    return f"is beyond the container policy's rule '{rule}': {why}"


def _check_image(policy: ContainerPolicy, repository: str) -> Iterator[FieldError]:
    if not any(matches(pattern, repository) for pattern in policy.allowed_images):
        yield FieldError(
            "docker_image_repo",
            repository,
            _beyond("allowed_images", f"no pattern matches {full_name(repository)}"),
            _choices(policy.allowed_images, "an image of"),
        )


def _check_capabilities(policy: ContainerPolicy, wanted: Iterable[str]) -> Iterator[FieldError]:
    possible = {*policy.capabilities, *policy.allowed_capabilities}
    for name in wanted:
        if name not in possible:
            yield FieldError(
                "capabilities",
                name,
                _beyond("allowed_capabilities", "the job asks for a capability that is not allowed"),
                _choices(sorted(possible), "some of"),
            )


def _check_mounts(policy: ContainerPolicy, wanted: Iterable[Mount]) -> Iterator[FieldError]:
    for mount in wanted:
        # Exactly the path that the operator wrote, and nothing below it: what lies below can be made a symbolic
        # link by whoever can write there, and the engine would follow it.
        allowed = [one for one in policy.allowed_mounts if one.source == mount.source]
        if not allowed:
            remedy = _choices([one.source for one in policy.allowed_mounts], "exactly")
            yield FieldError(
                "mounts", mount.source, _beyond("allowed_mounts", "this source is not in it"), remedy
            )
        elif not mount.read_only and all(one.read_only for one in allowed):
            yield FieldError(
                "mounts",
                mount.source,
                _beyond("allowed_mounts", "this source may only be read"),
                "give read_only: true",
            )


def _check_network(policy: ContainerPolicy, wanted: str | None) -> Iterator[FieldError]:
    if wanted is None or wanted == NO_NETWORK or wanted in policy.allowed_networks:
        return
    yield FieldError(
        "network",
        wanted,
        _beyond("allowed_networks", "this network is not in it"),
        _choices(dict.fromkeys((*policy.allowed_networks, NO_NETWORK)), "one of"),
    )


def _check_requirements(policy: ContainerPolicy, options: ContainerOptions) -> Iterator[FieldError]:
    if policy.require_read_only_root and not options.read_only_root:
        yield FieldError(
            "read_only_root",
            options.read_only_root,
            _beyond("require_read_only_root", "every container's root has to be read-only"),
            "give read_only_root: true",
        )
    if policy.require_non_root and not is_other_than_root(options.user):
        yield FieldError(
            "user",
            options.user,
            _beyond("require_non_root", "every container has to run as a user other than root"),
            'give a number above 0, such as "1000" or "1000:1000"; a name could stand for root in the image',
        )
    if policy.require_digest and not (options.pin_digest or options.docker_image_digest):
        yield FieldError(
            "pin_digest",
            options.pin_digest,
            _beyond("require_digest", "every image has to be pinned"),
            "give pin_digest: true, or a docker_image_digest",
        )


def is_other_than_root(user: str | None) -> bool:
    """Whether it is certain, whatever the image, that this is not root: a number above 0, of the group as well."""
    parts = (user or "").split(":")
    return all(re.fullmatch(r"0*[1-9][0-9]*", part, re.ASCII) for part in parts) and len(parts) <= 2


def _choices(possible: Iterable[str], words: str) -> str:
    named = ", ".join(possible)
    return f"use {words} {named}" if named else "leave it out: this policy allows none"
