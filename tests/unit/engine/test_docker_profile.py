"""What is read of an engine from its own answers, recorded from real ones."""

from __future__ import annotations

from typing import Any

import pytest

from scheduler.engine.docker_profile import profile_of
from scheduler.engine.profile import EngineProfile, Limit, Product

VERSION = {"Version": "28.5.2", "ApiVersion": "1.51", "Components": [{"Name": "Engine"}]}
INFO: dict[str, Any] = {
    "Driver": "overlay2",
    "DriverStatus": [["Backing Filesystem", "extfs"], ["userxattr", "false"]],
    "Plugins": {"Log": ["awslogs", "journald", "json-file", "local"]},
    "MemoryLimit": True,
    "SwapLimit": True,
    "CpuCfsQuota": True,
    "PidsLimit": True,
    "CgroupDriver": "systemd",
    "CgroupVersion": "2",
    "SecurityOptions": ["name=seccomp,profile=default"],
    "Warnings": None,
}
PODMAN = {"Version": "5.4.2", "ApiVersion": "1.41", "Components": [{"Name": "Podman Engine"}]}
PODMAN_INFO = INFO | {
    "Driver": "overlay",
    "Plugins": {"Log": ["k8s-file", "none", "passthrough", "journald"]},
    "Rootless": False,
    "CgroupVersion": "1",
    "CgroupDriver": "cgroupfs",
}


def test_a_docker_engine_is_described_by_its_own_words() -> None:
    """Product, versions, store, log driver, cgroups."""
    assert profile_of(VERSION, INFO) == EngineProfile(
        product=Product.DOCKER,
        version="28.5.2",
        api_version="1.51",
        image_store="overlay2",
        log_driver="local",
        cgroup_version=2,
        cgroup_driver="systemd",
    )


def test_podman_is_told_by_the_name_of_its_first_component() -> None:
    """It answers as version 1.41 of the same API, and has other log drivers."""
    profile = profile_of(PODMAN, PODMAN_INFO)
    assert (profile.product, profile.image_store, profile.log_driver) == (
        Product.PODMAN,
        "overlay",
        "k8s-file",
    )
    assert profile.description == "Podman 5.4.2, API 1.41, image store overlay, cgroup v1"


def test_an_engine_that_says_little_is_taken_for_an_ordinary_one() -> None:
    """Old ones say nothing of cgroups and log drivers."""
    profile = profile_of({"Version": "19.03.15", "ApiVersion": "1.40"}, {"Driver": "overlay2"})
    assert profile.cgroup_version is None
    assert profile.log_driver == "local"
    assert profile.missing_limits == ()


@pytest.mark.parametrize(
    ("changes", "field", "value"),
    [
        (
            {"Driver": "overlayfs", "DriverStatus": [["driver-type", "io.containerd.snapshotter.v1"]]},
            "image_store",
            "containerd (overlayfs)",
        ),
        ({"SecurityOptions": ["name=seccomp,profile=default", "name=rootless"]}, "is_rootless", True),
        ({"SecurityOptions": ["name=userns"]}, "has_userns_remap", True),
        ({"LiveRestoreEnabled": True}, "has_live_restore", True),
        ({"Plugins": {"Log": ["json-file", "syslog"]}}, "log_driver", "json-file"),
        ({"Plugins": {"Log": ["none", "syslog"]}}, "log_driver", None),
        ({"CpuCfsQuota": False, "PidsLimit": False}, "missing_limits", (Limit.CPUS, Limit.PIDS)),
        ({"SwapLimit": False}, "missing_limits", (Limit.SWAP,)),
        ({"Warnings": ["WARNING: No swap limit support"]}, "warnings", ("WARNING: No swap limit support",)),
    ],
)
def test_each_fact_has_its_place(changes: dict[str, Any], field: str, value: object) -> None:
    """One change of the answer changes one field."""
    usual, changed = profile_of(VERSION, INFO), profile_of(VERSION, INFO | changes)
    assert getattr(changed, field) == value
    assert getattr(usual, field) != value


def test_podman_without_root_has_no_limits_with_cgroup_v1() -> None:
    """Whatever it says of them: it ignores them."""
    rootless = PODMAN_INFO | {"Rootless": True}
    assert set(profile_of(PODMAN, rootless).missing_limits) == set(Limit)
    assert profile_of(PODMAN, rootless | {"CgroupVersion": "2"}).missing_limits == ()
