"""Reads the profile of an engine from its answers to ``/version`` and ``/info`` of the Docker API.

Pure. Podman answers both as well, with other words; `podman` has what is different there.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from scheduler.engine import podman
from scheduler.engine.profile import EngineProfile, Limit, Product

#: Suitable log drivers, the best first. ``local`` keeps every byte and is compact; ``json-file`` replaces bytes that
#: are not UTF-8.
_LOG_DRIVERS: Final = ("local", "json-file")
_LIMITS: Final = {
    Limit.CPUS: "CpuCfsQuota",
    Limit.MEMORY: "MemoryLimit",
    Limit.SWAP: "SwapLimit",
    Limit.PIDS: "PidsLimit",
}
_CONTAINERD: Final = "io.containerd.snapshotter.v1"


def profile_of(version: Mapping[str, Any], info: Mapping[str, Any]) -> EngineProfile:
    """The profile of the engine that gave these answers.

    Args:
        version: the answer to ``GET /version``.
        info: the answer to ``GET /info``.
    """
    is_podman = podman.answers(version)
    options = _security_options(info)
    is_rootless = "rootless" in options or bool(info.get("Rootless"))
    cgroup_version = _cgroup_version(info)
    available = (info.get("Plugins") or {}).get("Log") or ()
    # An engine that says nothing of a limit has it: the fields are older than any engine that can be used here.
    missing = tuple(limit for limit, key in _LIMITS.items() if info.get(key) is False)
    if is_podman and is_rootless and cgroup_version == 1:
        missing = podman.LIMITS_MISSING_WITHOUT_ROOT
    return EngineProfile(
        product=Product.PODMAN if is_podman else Product.DOCKER,
        version=str(version.get("Version", "?")),
        api_version=str(version.get("ApiVersion", "?")),
        image_store=_image_store(info),
        log_driver=_log_driver(podman.LOG_DRIVERS if is_podman else _LOG_DRIVERS, available),
        cgroup_version=cgroup_version,
        cgroup_driver=str(info.get("CgroupDriver") or ""),
        is_rootless=is_rootless,
        has_userns_remap="userns" in options,
        has_live_restore=bool(info.get("LiveRestoreEnabled")),
        missing_limits=missing,
        warnings=tuple(str(line) for line in info.get("Warnings") or ()),
    )


def _log_driver(wanted: Sequence[str], available: Sequence[str]) -> str | None:
    """The best driver; the first one if the engine does not say which it has."""
    return next((driver for driver in wanted if driver in available), None if available else wanted[0])


def _image_store(info: Mapping[str, Any]) -> str:
    driver = str(info.get("Driver") or "?")
    status = {str(entry[0]): str(entry[1]) for entry in info.get("DriverStatus") or () if len(entry) == 2}
    return f"containerd ({driver})" if status.get("driver-type") == _CONTAINERD else driver


def _cgroup_version(info: Mapping[str, Any]) -> int | None:
    text = str(info.get("CgroupVersion") or "").removeprefix("v")
    return int(text) if text.isdecimal() else None


def _security_options(info: Mapping[str, Any]) -> set[str]:
    """The names of options such as ``name=seccomp,profile=default``."""
    return {
        part.removeprefix("name=")
        for option in info.get("SecurityOptions") or ()
        for part in str(option).split(",")
        if part.startswith("name=")
    }
