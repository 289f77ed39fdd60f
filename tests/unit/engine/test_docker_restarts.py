"""How an engine's answers about its default network are understood, and when its events are used instead."""

from __future__ import annotations

from typing import Any, cast

import pytest
import requests
from docker.api.client import APIClient
from docker.errors import APIError, NotFound

from scheduler.engine.docker_restarts import LABEL_ENGINE_START, EngineStarts

DEFAULT = {"com.docker.network.bridge.default_bridge": "true"}


class Client:
    """Stands for the SDK with an engine that answers so.

    Attributes:
        networks: its networks, by id.
        denies: whether a filter in front of it denies access to networks.
        has_live_restore: what it says of itself.
        remembers: whether it remembers the creation of its container.
        labels: those of its container; None if it has none.
        asked: the networks that it was asked for.
    """

    def __init__(self) -> None:
        self.networks: dict[str, dict[str, Any]] = {"1": {"Id": "1", "Name": "bridge", "Options": DEFAULT}}
        self.denies = False
        self.has_live_restore = False
        self.remembers = False
        self.labels: dict[str, str] | None = {LABEL_ENGINE_START: "1"}
        self.asked: list[str] = []

    def inspect_network(self, name: str, *, scope: str) -> dict[str, Any]:
        """The network of that id or name."""
        assert scope == "local"
        self.asked.append(name)
        if self.denies:
            response = requests.Response()
            response.status_code = 403
            raise APIError("forbidden", response)
        for found in self.networks.values():
            if name in (found["Id"], found["Name"]):
                return found
        raise NotFound("no such network")

    def inspect_container(self, _: str) -> dict[str, Any]:
        """Its container."""
        if self.labels is None:
            response = requests.Response()
            response.status_code = 404
            raise NotFound("no such container", response)
        return {"Config": {"Labels": self.labels}}

    def info(self) -> dict[str, Any]:
        """What it says of itself."""
        return {"LiveRestoreEnabled": self.has_live_restore, "SystemTime": "2026-01-31T09:54:00Z"}

    def events(self, **_: Any) -> list[dict[str, Any]]:
        """What it remembers."""
        return [{"Action": "create"}] if self.remembers else []


def _present(starts: EngineStarts, client: Client) -> str:
    return starts.present(cast("APIClient", client), is_told=True)


def _has_created(client: Client) -> bool:
    return EngineStarts().has_created(cast("APIClient", client), "container")


def test_a_known_network_is_asked_for_by_its_id_and_by_its_name_again_when_it_is_gone() -> None:
    """A manager of a swarm that has lost the others takes long to answer to a name."""
    starts, client = EngineStarts(), Client()
    assert [_present(starts, client), _present(starts, client)] == ["1", "1"]
    client.networks = {"2": {"Id": "2", "Name": "bridge", "Options": DEFAULT}}
    assert [_present(starts, client), _present(starts, client)] == ["2", "2"]
    assert client.asked == ["bridge", "1", "1", "bridge", "2"]


def test_a_network_that_only_has_the_name_stands_for_nothing() -> None:
    """Whoever made it may keep it over restarts."""
    client = Client()
    client.networks = {"1": {"Id": "1", "Name": "bridge", "Options": {}}}
    assert _present(EngineStarts(), client) == ""
    assert not _has_created(client)


@pytest.mark.parametrize("remembers", [True, False])
@pytest.mark.parametrize("obstacle", ["denied", "live-restore", "unlabelled", "restarted"])
def test_where_the_network_shows_nothing_the_events_decide(obstacle: str, *, remembers: bool) -> None:
    """Without access to it, with live-restore that was switched on meanwhile, for containers of earlier versions."""
    client = Client()
    client.remembers = remembers
    if obstacle == "denied":
        client.denies = True
    elif obstacle == "live-restore":
        client.has_live_restore = True
    elif obstacle == "unlabelled":
        client.labels = {}
    else:
        client.networks = {"2": {"Id": "2", "Name": "bridge", "Options": DEFAULT}}
    assert _has_created(client) is remembers


def test_the_same_network_is_enough() -> None:
    """However much has happened since; of a container that is gone, nothing is known."""
    client = Client()
    assert _has_created(client)
    client.labels = None
    client.remembers = True
    assert not _has_created(client)
