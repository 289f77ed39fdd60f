"""Determines whether a Docker Engine has been restarted since it created a container.

An engine makes its default network ``bridge`` anew whenever it starts (moby, daemon/daemon_unix.go,
configureNetworking), so the id of that network stands for one start. Every container gets the id as a label, read
right before it is created: if the network still has it, the engine has not been restarted since. There is no such
sign without that network or without access to it, nor with live-restore: an engine that finds containers running
then keeps the network. In these cases, the engine's events may show it: it remembers the last 256, and none from
before a restart.
"""

from __future__ import annotations

from typing import Any, Final

from docker.api.client import APIClient
from docker.errors import APIError

from scheduler.engine.frames import parse_time

LABEL_ENGINE_START: Final = "io.timeball.engine-start"
"""Label with what stands for the engine's start that created the container; empty if nothing does."""
_NETWORK: Final = "bridge"
_IS_DEFAULT: Final = "com.docker.network.bridge.default_bridge"


class EngineStarts:
    """The starts of one engine; its methods run in threads."""

    def __init__(self) -> None:
        self._asked = _NETWORK

    def present(self, client: APIClient, *, is_told: bool) -> str:
        """What stands for the engine's present start; empty if nothing does.

        Args:
            client: the engine.
            is_told: whether the network tells starts apart: not with live-restore, nor with other products.
        """
        if not is_told:
            return ""
        # By its id once it is known: for a name, a manager of a swarm also asks the others, and waits for them.
        network = _network(client, self._asked)
        if network is None and self._asked != _NETWORK:
            network = _network(client, _NETWORK)
        if network is None or (network.get("Options") or {}).get(_IS_DEFAULT) != "true":
            self._asked = _NETWORK
            return ""
        self._asked = str(network["Id"])
        return self._asked

    def has_created(self, client: APIClient, engine_id: str) -> bool:
        """Whether the engine has certainly not been restarted since it created this container."""
        try:
            container: dict[str, Any] = client.inspect_container(engine_id)
        except APIError as error:
            if error.status_code == 404:
                return False
            raise
        info = client.info()
        noted = (container["Config"].get("Labels") or {}).get(LABEL_ENGINE_START)
        # A setting that an engine also changes while it runs.
        is_told = info.get("LiveRestoreEnabled") is False
        if noted and noted == self.present(client, is_told=is_told):
            return True
        until = (
            int(parse_time(info["SystemTime"]).timestamp()) + 1
        )  # of the engine's clock; it then ends the answer
        filters = {"type": ["container"], "event": ["create"], "container": [engine_id]}
        return any(client.events(since=1, until=until, filters=filters, decode=True))


def _network(client: APIClient, name: str) -> dict[str, Any] | None:
    """A network of this machine by its id or name; None if the engine does not have it or does not show it."""
    try:
        found: dict[str, Any] = client.inspect_network(name, scope="local")
    except APIError:  # a filter in front of the engine may deny it
        return None
    return found
