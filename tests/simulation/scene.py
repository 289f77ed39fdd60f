"""The simulated engine as a scene of the contract suite, which runs on every engine."""

from __future__ import annotations

import random

from tests.lab.engine_scene import FAKE_PROGRAMS, Scene
from tests.lab.fake_engine import FAKE_IMAGE, FakeImage
from tests.simulation.engine import Client, Network
from tests.simulation.host import Host, Kind

INSTALLATION = "simulated"


def simulated_scene(behaviour: Kind = Kind.REPLACES) -> tuple[Scene, Host]:
    """A scene behind a network with delays, and the host behind it."""
    host = Host(behaviour, installation=INSTALLATION)
    host.programs.update(FAKE_PROGRAMS)
    host.registry["registry.test/fake:1"] = FakeImage(digest="sha256:" + "1" * 64)
    client = Client(host, Network(random.Random(0), slow=0.005))
    return Scene(client, FAKE_IMAGE, "registry.test/fake:1", "registry.test/fake:missing"), host
