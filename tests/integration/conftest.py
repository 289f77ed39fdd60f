"""Whole daemons on real engines: one that most tests share, and others to be ended at will."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio
from docker.api.client import APIClient

from tests.lab.databases import put_into
from tests.lab.engine import busybox_tar
from tests.lab.nursery import Nursery
from tests.lab.timeball import Timeball

MakeTimeball = Callable[..., Awaitable[Timeball]]


@pytest_asyncio.fixture(scope="session", loop_scope="session")
async def timeball(
    engine_url: str, busybox_image: str, tmp_path_factory: pytest.TempPathFactory
) -> AsyncIterator[Timeball]:
    """A daemon that all tests share which neither end it nor need the machine for themselves."""
    made = Timeball(tmp_path_factory.mktemp("shared") / "data", engine_url, busybox_image)
    await made.start()
    yield made
    await made.clear_away()


@pytest_asyncio.fixture(loop_scope="session")
async def make_timeball(
    engine_url: str, busybox_image: str, nursery: Nursery, migrated: Path, tmp_path: Path
) -> AsyncIterator[MakeTimeball]:
    """Makes daemons of the test's own, forked and with tables; what is left of them is removed afterwards."""
    made: list[Timeball] = []

    async def make(*, engine: str = engine_url, config: str = "", until_ready: bool = True) -> Timeball:
        data_dir = tmp_path / f"data-{len(made)}"
        put_into(data_dir, migrated)
        one = Timeball(data_dir, engine, busybox_image, config=config, nursery=nursery)
        made.append(one)
        await one.start(until_ready=until_ready)
        return one

    yield make
    for one in made:
        await one.clear_away()


@pytest_asyncio.fixture(loop_scope="session")
async def own_timeball(make_timeball: MakeTimeball) -> Timeball:
    """A daemon of the test's own, on the shared engine."""
    return await make_timeball()


@pytest.fixture(scope="session")
def greeting_image(engine_client: APIClient, busybox_image: str) -> Iterator[str]:
    """An image whose own command greets; of this session alone, which removes it."""
    assert busybox_image
    repository, tag = "timeball-test/greeting", uuid.uuid4().hex[:12]
    engine_client.import_image_from_data(
        busybox_tar(), repository=repository, tag=tag, changes=['CMD ["echo", "from the image itself"]']
    )
    yield f"{repository}:{tag}"
    engine_client.remove_image(f"{repository}:{tag}", force=True)
