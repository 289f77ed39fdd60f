"""What is made of an engine's word that a container's name is taken."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any, cast

import pytest
from docker.api.client import APIClient

from scheduler.engine.docker import DockerEngine
from scheduler.engine.docker_api import DockerApi
from scheduler.engine.docker_words import EngineRefusedError
from scheduler.engine.errors import EngineUnavailableError, LaunchError
from scheduler.engine.profile import EngineProfile, Limit
from scheduler.engine.types import LABEL_EXEC, LABEL_INSTALLATION, Handle, LaunchSpec
from tests.lab.fake_engine import FAKE_KIND

SPEC = LaunchSpec(
    exec_id="one", job_id=7, image="busybox:1", command=None, cpus=0.1, memory_bytes=64 << 20, pids_limit=64
)
OURS = {LABEL_INSTALLATION: "here", LABEL_EXEC: "one"}


class Client:
    """Stands for the SDK, with an engine that holds the name; labels of None: it shows no container."""

    def __init__(self, labels: dict[str, str] | None) -> None:
        self.labels = labels

    def create_host_config(self, **_: Any) -> dict[str, Any]:
        """Any will do."""
        return {}

    def inspect_network(self, *_: Any, **__: Any) -> dict[str, Any]:
        """It tells nothing."""
        return {}

    def create_container(self, *_: Any, **__: Any) -> dict[str, Any]:
        """Refuse it."""
        raise EngineRefusedError(409, 'Conflict. The container name "/timeball-one" is already in use')

    def inspect_container(self, name: str) -> dict[str, Any]:
        """The container that holds the name."""
        if self.labels is None:
            raise EngineRefusedError(404, f"No such container: {name}")
        return {"Id": "abc", "Config": {"Labels": self.labels}}


@dataclass
class Api:
    """Stands for the connection."""

    client: Client
    kind: EngineProfile = FAKE_KIND

    async def profile(self) -> EngineProfile:
        """What kind of engine it is."""
        return self.kind

    async def quick(self, call: Callable[[APIClient], Any]) -> Any:
        """Make the call at once."""
        return call(cast("APIClient", self.client))


def engine_with(labels: dict[str, str] | None) -> DockerEngine:
    """The part under test."""
    engine = DockerEngine("unix:///nowhere.sock", installation="here")
    engine._api = cast("DockerApi", Api(Client(labels)))
    return engine


async def test_a_name_that_is_held_by_a_container_not_yet_to_be_seen_is_asked_for_again() -> None:
    """An earlier call, given up for slowness, is still at work: that says nothing about the run."""
    with pytest.raises(EngineUnavailableError, match="already in use"):
        await engine_with(None).create(SPEC)


async def test_a_name_that_the_runs_own_container_holds_is_that_container() -> None:
    """The earlier call has been carried out after all."""
    assert await engine_with(OURS).create(SPEC) == Handle(engine_id="abc", name="timeball-one")


@pytest.mark.parametrize(
    "labels", [{}, {LABEL_EXEC: "one"}, OURS | {LABEL_INSTALLATION: "there"}, OURS | {LABEL_EXEC: "two"}]
)
async def test_a_name_that_a_foreign_container_holds_fails_the_launch(labels: dict[str, str]) -> None:
    """Another one of that name can never be made beside it."""
    with pytest.raises(LaunchError, match="already in use"):
        await engine_with(labels).create(SPEC)


async def test_nothing_is_created_where_a_size_would_be_no_limit() -> None:
    """The error says why and what to do; an operator can do without."""
    kind = replace(FAKE_KIND, missing_limits=(Limit.MEMORY,))
    refusing = engine_with({})
    refusing._api = cast("DockerApi", Api(Client({}), kind))
    with pytest.raises(LaunchError, match=r"cannot limit the memory.*require_limits = false"):
        await refusing.create(SPEC)
    allowing = DockerEngine("unix:///nowhere.sock", installation="here", require_limits=False)
    allowing._api = cast("DockerApi", Api(Client(OURS), kind))
    assert await allowing.create(SPEC) == Handle(engine_id="abc", name="timeball-one")
