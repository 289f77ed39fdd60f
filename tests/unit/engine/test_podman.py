"""What is made of Podman's own way to speak the Docker API; the words are Podman 5.4's."""

from __future__ import annotations

from dataclasses import replace

import pytest

from scheduler.engine.docker_dialect import DockerDialect
from scheduler.engine.docker_words import EngineRefusedError
from scheduler.engine.podman import PodmanDialect, answers
from scheduler.engine.types import Capacity, EventKind, LaunchSpec

SPEC = LaunchSpec(
    exec_id="one",
    job_id=7,
    image="busybox:1",
    command=("true",),
    cpus=0.5,
    memory_bytes=64 << 20,
    pids_limit=64,
    capabilities=("CHOWN",),
)
CAPACITY = Capacity(cpus=2.0, memory_bytes=1 << 30)
PODMAN, DOCKER = PodmanDialect(), DockerDialect()
NOT_FOUND = (
    "preparing container 01decb9db831 for attach: crun: executable file `nonesuch` not found in $PATH: "
    "No such file or directory: OCI runtime attempted to invoke a command that was not found"
)


@pytest.mark.parametrize(
    ("components", "is_podman"),
    [
        (["Podman Engine", "Conmon", "OCI Runtime (crun)"], True),
        (["Engine", "containerd"], False),
        ([], False),
    ],
)
def test_podman_is_told_by_its_components(components: list[str], is_podman: bool) -> None:
    """Every engine names them."""
    assert answers({"Components": [{"Name": name} for name in components]}) is is_podman
    assert answers({"Components": None}) is False


def test_a_removal_has_another_name() -> None:
    """The other events are called as everywhere."""
    assert PODMAN.event_names == ["start", "die", "oom", "remove"]
    assert [PODMAN.event_kind(name) for name in PODMAN.event_names] == list(EventKind)
    assert [DOCKER.event_kind(name) for name in DOCKER.event_names] == list(EventKind)
    with pytest.raises(ValueError, match="remove"):
        DOCKER.event_kind("remove")


def test_a_name_that_is_taken_is_told_by_words() -> None:
    """Its status is that of any failure."""
    taken = EngineRefusedError(
        500, 'container create: the container name "q1" is already in use by d5950d4dcff2'
    )
    assert PODMAN.is_name_taken(taken)
    assert not DOCKER.is_name_taken(taken)
    assert not PODMAN.is_name_taken(EngineRefusedError(500, "database is locked"))


@pytest.mark.parametrize(
    ("status", "words", "is_refused"),
    [
        (500, NOT_FOUND, True),
        (
            500,
            "preparing container a for attach: crun: cannot stat `/nowhere`: No such file or directory",
            True,
        ),
        (500, "preparing container a for attach: runc: runc create failed: OCI runtime error", True),
        (500, "database is locked", False),
        (500, "crun: connection refused", False),
        (404, "no container with name or ID a found: no such container", False),
    ],
)
def test_a_container_that_cannot_be_started_is_found_out_when_it_is_attached_to(
    status: int, words: str, is_refused: bool
) -> None:
    """What is no fault of the container is asked again."""
    error = EngineRefusedError(status, words)
    assert PODMAN.is_launch_refused_at_attach(error) is is_refused
    assert not DOCKER.is_launch_refused_at_attach(error)


def test_a_second_start_leaves_no_error() -> None:
    """Podman notes it in the state of a container that runs."""
    assert PODMAN.start_error("container 7b12daf88f06: container is running") == ""
    assert PODMAN.start_error(NOT_FOUND) == NOT_FOUND


@pytest.mark.parametrize(
    ("user", "image_user", "keeps"),
    [
        (None, "", True),
        (None, "root", True),
        (None, "1000", False),
        ("0:5", "1000", True),
        ("1000:0", "", False),
        ("nobody", "root", False),
    ],
)
def test_only_root_keeps_capabilities(user: str | None, image_user: str, keeps: bool) -> None:
    """As with Docker Engine, where those of other users are not effective."""
    created = PODMAN.as_created(replace(SPEC, user=user), image_user=image_user)
    assert created.capabilities == (("CHOWN",) if keeps else ())
    assert DOCKER.as_created(SPEC, image_user="1000") == SPEC


@pytest.mark.parametrize(
    ("spec", "has_command", "words"),
    [
        (SPEC, True, None),
        (SPEC, False, "No command specified"),
        (replace(SPEC, cpus=3), True, "only 2 CPUs available"),
        (replace(SPEC, memory_bytes=1024), True, "Minimum memory limit"),
    ],
)
def test_what_podman_does_not_check_is_checked_for_it(
    spec: LaunchSpec, has_command: bool, words: str | None
) -> None:
    """Docker Engine refuses it itself."""
    reason = PODMAN.why_refused(spec, CAPACITY, has_command=has_command)
    assert (reason is None) if words is None else (reason is not None and words in reason)
    assert DOCKER.why_refused(spec, CAPACITY, has_command=has_command) is None
