"""Engines of the tests' own as fixtures, of the same product as the engine of the other tests."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from docker.api.client import APIClient

from tests.lab.private_engine import PrivateEngine, why_no_private_engine
from tests.lab.private_podman import PrivatePodman


@pytest.fixture
def private_engine(engine_client: APIClient, busybox_image: str) -> Iterator[PrivateEngine]:
    """A running engine that the test may do anything to, with the busybox image on it."""
    yield from _running(None, engine_client, busybox_image)


@pytest.fixture
def small_engine(engine_client: APIClient, busybox_image: str) -> Iterator[PrivateEngine]:
    """Such an engine with a disk of 48 MiB of its own."""
    yield from _running(48, engine_client, busybox_image)


def make_private_engine(disk_mib: int | None = None) -> PrivateEngine:
    """An engine of the same product as that of the other tests; stopped."""
    root = os.environ.get("TIMEBALL_TEST_PODMAN")
    return PrivateEngine(disk_mib=disk_mib) if root is None else PrivatePodman(Path(root), disk_mib=disk_mib)


def _running(disk_mib: int | None, engine_client: APIClient, busybox_image: str) -> Iterator[PrivateEngine]:
    if reason := why_no_private_engine():
        pytest.skip(reason)
    engine = make_private_engine(disk_mib)
    engine.start()
    try:
        engine.load(engine_client, busybox_image)
        yield engine
    finally:
        engine.destroy()
