"""What follows from an engine's profile: its known troubles, each with what to do, and whether runs are refused.

Pure. A trouble that breaks a promise of Timeball, such as a size that is not enforced, refuses runs; the others are
warnings.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from scheduler.engine.podman import GAPS, TRUNCATES_OUTPUT
from scheduler.engine.profile import EngineProfile, Limit, Product

#: The oldest release of Docker Engine that upstream has supported recently; 20.10 ended in December 2023.
OLDEST_DOCKER: Final = (23, 0)
#: The oldest release of Podman that Timeball is tested with.
OLDEST_PODMAN: Final = (5, 0)
#: Limits without which a size would be no limit. Without a limit of swap, memory is still limited.
_REQUIRED: Final = (Limit.CPUS, Limit.MEMORY, Limit.PIDS)
#: Warnings of engines about limits that are judged here, or about features that Timeball does not use.
_COVERED: Final = re.compile(
    r"no (swap|memory|kernel memory|kernel memory tcp|oom kill disable|cpu cfs|cpu shares|cpuset|cpu realtime|pids"
    r"|blkio|io)|bridge-nf-call|without cgroups|support for cgroup v2 is experimental",
    re.IGNORECASE,
)


@dataclass(frozen=True, slots=True)
class Trouble:
    """Something about an engine that operators should know.

    Attributes:
        name: one word that names its kind, always the same.
        summary: what is wrong, for people.
        remedy: what to do.
        refuses_runs: whether no run is started because of it.
    """

    name: str
    summary: str
    remedy: str
    refuses_runs: bool = False


def troubles_of(profile: EngineProfile, *, require_limits: bool = True) -> list[Trouble]:
    """All known troubles of an engine, those that refuse runs first.

    Args:
        profile: the engine's.
        require_limits: whether runs are refused if their size cannot be enforced.
    """
    found = [
        *_release(profile),
        *_limits(profile, require_limits=require_limits),
        *_output(profile),
        *_gaps(profile),
        *_users(profile),
        *_own_warnings(profile),
    ]
    return sorted(found, key=lambda trouble: not trouble.refuses_runs)


def refusal_of(profile: EngineProfile, *, require_limits: bool = True) -> str | None:
    """Why no run can be started on an engine, and what to do; None if runs can be started."""
    reasons = (t for t in troubles_of(profile, require_limits=require_limits) if t.refuses_runs)
    return next((f"{trouble.summary}. {trouble.remedy}" for trouble in reasons), None)


def _release(profile: EngineProfile) -> list[Trouble]:
    number = _number(profile.version)
    if number is None:
        return []
    if profile.product is Product.DOCKER and number < OLDEST_DOCKER:
        lockup = (
            ", and can lock up when the last container on the default network ends while others are ending"
            if number >= (20, 10)
            else ""
        )
        return [
            Trouble(
                "release",
                f"{profile.name} is no longer maintained{lockup}",
                "Install a newer Docker Engine. If the engine stops responding, restart it: runs wait until then",
            )
        ]
    if profile.product is Product.PODMAN and number < OLDEST_PODMAN:
        return [
            Trouble(
                "release",
                f"{profile.name} is older than any version that Timeball is tested with",
                "Install Podman 5 or newer",
            )
        ]
    return []


def _limits(profile: EngineProfile, *, require_limits: bool) -> list[Trouble]:
    found = []
    missing = [limit for limit in _REQUIRED if limit in profile.missing_limits]
    if missing:
        summary = f"{profile.name} cannot limit {_listed(missing)} of containers, so sizes are not enforced"
        remedy = _limits_remedy(profile)
        if require_limits:
            remedy += ", or set require_limits = false in the region's settings to run without these limits"
        found.append(Trouble("limits", summary, remedy, refuses_runs=require_limits))
    if Limit.SWAP in profile.missing_limits and Limit.MEMORY not in profile.missing_limits:
        found.append(
            Trouble(
                "swap",
                f"{profile.name} cannot limit swap: a run that uses up its memory continues in the host's swap",
                "Turn off swap on the engine's host, or boot it with swapaccount=1 (cgroup v1)",
            )
        )
    return found


def _limits_remedy(profile: EngineProfile) -> str:
    if not profile.is_rootless:
        return "Enable the cgroup controllers cpu, memory and pids in the kernel of the engine's host"
    if profile.cgroup_version == 1:
        return "Boot the engine's host with cgroup v2 (systemd.unified_cgroup_hierarchy=1), or run the engine as root"
    return (
        "Delegate the cgroup controllers cpu, memory and pids to the engine's user (Delegate=cpu memory pids for "
        "user@.service), and use the cgroup driver systemd"
    )


def _output(profile: EngineProfile) -> list[Trouble]:
    if profile.log_driver is None:
        return [
            Trouble(
                "output",
                f"{profile.name} has no log driver whose output can be read again after a crash",
                "Enable the log driver local or json-file (Docker), or k8s-file (Podman)",
                refuses_runs=True,
            )
        ]
    if profile.log_driver == "json-file":
        return [
            Trouble(
                "output",
                "The log driver local is missing. With json-file, output that is read again after a crash has U+FFFD "
                "in place of bytes that are not UTF-8",
                "Use an engine that has the log driver local",
            )
        ]
    if profile.log_driver in TRUNCATES_OUTPUT:
        return [
            Trouble(
                "output",
                TRUNCATES_OUTPUT[profile.log_driver],
                "Keep the daemon running; output that arrives while it does is complete",
            )
        ]
    return []


def _gaps(profile: EngineProfile) -> list[Trouble]:
    if profile.product is not Product.PODMAN:
        return []
    return [
        Trouble(
            "podman",
            f"With Podman, {'; '.join(GAPS)}",
            "See docs/engines.md; use Docker Engine where this matters",
        )
    ]


def _users(profile: EngineProfile) -> list[Trouble]:
    if profile.has_userns_remap or profile.is_rootless:
        kind = "userns-remap" if profile.has_userns_remap else "a rootless engine"
        return [
            Trouble(
                "users",
                f"With {kind}, users of containers are other users on the host: also root in a container can only "
                "read and write mounted files that these users may access",
                "Give mounted directories to the mapped users (see /etc/subuid on the engine's host)",
            )
        ]
    return []


def _own_warnings(profile: EngineProfile) -> list[Trouble]:
    lines = [line.removeprefix("WARNING: ").strip() for line in profile.warnings if not _COVERED.search(line)]
    if not lines:
        return []
    return [Trouble("warnings", f"{profile.name} warns: {'; '.join(lines)}", "See the manual of the engine")]


def _listed(limits: Sequence[Limit]) -> str:
    words = {Limit.CPUS: "the processors", Limit.MEMORY: "the memory", Limit.PIDS: "the number of processes"}
    *first, last = [words[limit] for limit in limits]
    return f"{', '.join(first)} and {last}" if first else last


def _number(version: str) -> tuple[int, int] | None:
    """The first two numbers of a version such as ``20.10.24+dfsg1``; None if it has none."""
    matched = re.match(r"(\d+)\.(\d+)", version)
    return None if matched is None else (int(matched[1]), int(matched[2]))
