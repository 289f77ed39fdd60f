"""The daemon dies exactly between two steps of a run's life, at each of the points that the code names.

All cases go on side by side, each with a daemon and a data directory of its own; the tests look at what came out.
"""

from __future__ import annotations

import asyncio
import threading
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
import pytest_asyncio
from docker.api.client import APIClient

from scheduler.engine.types import LABEL_EXEC
from scheduler.process.faults import Point
from tests.lab.databases import put_into
from tests.lab.engine import connect
from tests.lab.nursery import Nursery
from tests.lab.timeball import Timeball, script, until

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

#: Cases that go on at the same time; more are no faster on two processors.
AT_ONCE = 6
LINES = 10
#: Prints numbered lines on both streams for some half a second; the last one has no end.
NUMBERS = f"i=0; while [ $i -lt {LINES} ]; do i=$((i+1)); echo out $i; echo err $i >&2; sleep 0.05; done; printf end"
OUT = [*(f"out {number}" for number in range(1, LINES + 1)), "end"]
ERR = [f"err {number}" for number in range(1, LINES + 1)]


class Launches:
    """Counts what an engine makes and starts, by its own events.

    Attributes:
        counts: how often, by ``create`` or ``start`` and the exec's id.
    """

    def __init__(self, client: APIClient) -> None:
        self.counts: Counter[tuple[str, str]] = Counter()
        filters = {"type": "container", "event": ["create", "start"]}
        self._events = client.events(filters=filters, decode=True)
        self._thread = threading.Thread(target=self._listen)
        self._thread.start()

    def _listen(self) -> None:
        with suppress(ValueError, OSError):  # what a closed connection is read with
            for event in self._events:
                if exec_id := event["Actor"]["Attributes"].get(LABEL_EXEC):
                    self.counts[event["Action"], exec_id] += 1

    def close(self) -> None:
        """Listen no more."""
        self._events.close()
        self._thread.join()

    def of(self, exec_id: str) -> tuple[int, int]:
        """How many containers were made for an exec, and how often one was started."""
        return self.counts["create", exec_id], self.counts["start", exec_id]


@dataclass(frozen=True, slots=True)
class Case:
    """One daemon that dies at one point.

    Attributes:
        point: where.
        timeball: the daemon.
        client: of its engine.
        launches: of its engine.
    """

    point: Point
    timeball: Timeball
    client: APIClient
    launches: Launches

    async def die_while(self, *, doing: Callable[[], Awaitable[object]]) -> None:
        """Do something during which the daemon dies."""

        async def try_it() -> None:
            with suppress(aiohttp.ClientError):  # it may die before it answers
                await doing()

        asked = asyncio.create_task(try_it())
        await self.timeball.until_dead()
        await asked

    async def check_runs(self, job: int, *, count: int, status: str = "S") -> None:
        """So many runs have ended thus, each with one container, started once, and all of its output."""
        runs = await self.timeball.until_all_ended(job, count=count)
        for run in runs:
            assert run["status"] == status, run
            assert self.launches.of(run["id"]) == (1, 1), run
            assert await self.timeball.lines(job, run["id"], "stdout") == OUT
            assert await self.timeball.lines(job, run["id"], "stderr") == ERR

    async def check_none_left(self) -> None:
        """No container of its is on the engine."""

        async def none_left() -> bool:
            return not await asyncio.to_thread(self.timeball.containers, self.client)

        await until(none_left)


async def _due_twice(case: Case) -> None:
    """Two due times, at once and a second later; the daemon dies over the first."""
    timeball = case.timeball
    fields = {"misfire_policy": "all", "is_schedule_active": True, "schedule_mode": "R2//PT1S"}
    await case.die_while(doing=lambda: timeball.create(script(NUMBERS), **fields))
    if case.point in SECOND_DEATHS:
        second = timeball.spawn(fault=case.point.value)
        assert await asyncio.to_thread(second.wait, 60) == -9, timeball.log_file.read_text()[-4000:]
        assert second.stdout is not None
        second.stdout.close()
    await timeball.start()

    [found] = (await timeball.get("/v1/jobs"))["results"]
    job, start = found["id"], datetime.fromisoformat(found["schedule_mode"].split("/")[1])
    entries = await timeball.until_decided(job, count=2)
    assert [datetime.fromisoformat(entry["due_at"]) for entry in entries] == [
        start,
        start + timedelta(seconds=1),
    ]
    assert [entry["outcome"] for entry in entries] == ["ran", "ran"]
    await case.check_runs(job, count=2)
    assert {entry["exec"] for entry in entries} == {run["id"] for run in await timeball.execs(job)}
    assert len(await timeball.ledger(job)) == 2
    await case.check_none_left()


async def _is_triggered(case: Case) -> None:
    """Somebody makes a run, and gets no answer."""
    timeball = case.timeball
    job = await timeball.create(script(NUMBERS))
    await case.die_while(doing=lambda: timeball.trigger(job))
    await timeball.start()

    await case.check_runs(job, count=1)
    await case.check_none_left()


async def _fails_once(case: Case) -> None:
    """A run fails and is tried again; the daemon dies in between."""
    timeball = case.timeball
    job = await timeball.create(script(f"{NUMBERS}; exit 7"), max_retries=1, retry_backoff_seconds=1)
    await case.die_while(doing=lambda: timeball.trigger(job))
    await timeball.start()

    await case.check_runs(job, count=2, status="F")
    first, second = await timeball.execs(job)
    assert (first["exit_code"], first["attempt"]) == (7, 1)
    assert (second["exit_code"], second["attempt"], second["retry_of"]) == (7, 2, first["id"])
    await case.check_none_left()


async def _has_secret_files(case: Case) -> None:
    """The files are in the memory of a container that was not started; the start to come brings them again."""
    timeball = case.timeball
    status, _ = await timeball.send("PUT", "/v1/secrets/db", {"value": "hunter2-and-more"})
    assert status == 201
    job = await timeball.create(
        script(f'[ "$(cat /run/secrets/db | md5sum)" = "$(printf hunter2-and-more | md5sum)" ] && {NUMBERS}'),
        secret_files={"/run/secrets/db": {"secret": "db"}},
    )
    await case.die_while(doing=lambda: timeball.trigger(job))
    await timeball.start()

    await case.check_runs(job, count=1)
    await case.check_none_left()  # no holder either


async def _key_is_rotated(case: Case) -> None:
    """A new key takes over; what was sealed before is opened by the next daemon, whichever key is the present one."""
    timeball = case.timeball
    await timeball.send("PUT", "/v1/secrets/db", {"value": "hunter2-and-more"})
    job = await timeball.create(
        script(f'[ "$DB" = "$(printf hunter2)-and-more" ] && {NUMBERS}'),
        runtime_vars={"DB": {"secret": "db"}},
    )
    await case.die_while(doing=lambda: timeball.post("/v1/secret-key/rotate"))
    assert len((timeball.data_dir / "secret.key").read_text().split()) == 2
    await timeball.start()

    await timeball.trigger(job)
    await case.check_runs(job, count=1)
    assert (await timeball.post("/v1/secret-key/rotate"))["cannot_be_opened"] == 0
    assert len((timeball.data_dir / "secret.key").read_text().split()) == 1


async def _is_stopped(case: Case) -> None:
    """Somebody stops a run; the daemon dies over it."""
    timeball = case.timeball
    job = await timeball.create(script(f"{NUMBERS}; trap 'exit 9' TERM; sleep 1000 & wait"))
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, ERR[-1])
    await case.die_while(doing=lambda: timeball.post(f"/v1/jobs/{job}/execs/{run}/stop"))
    await timeball.start()

    await case.check_runs(job, count=1, status="C")
    await case.check_none_left()


async def _its_job_is_deleted(case: Case) -> None:
    """Somebody deletes a job with a run that goes on; the daemon dies over it, and the job is gone all the same."""
    timeball = case.timeball
    job = await timeball.create(script(f"{NUMBERS}; trap 'exit 9' TERM; sleep 1000 & wait"))
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, ERR[-1])
    await case.die_while(doing=lambda: timeball.delete(f"/v1/jobs/{job}"))
    await timeball.start()

    assert (await timeball.get("/v1/jobs"))["count"] == 0
    assert (await timeball.send("GET", f"/v1/jobs/{job}"))[0] == 404
    await case.check_none_left()
    assert case.launches.of(run) == (1, 1)


async def _is_deleted(case: Case) -> None:
    """Somebody deletes a run that goes on; the daemon dies over it, and is asked again."""
    timeball = case.timeball
    job = await timeball.create(script(f"{NUMBERS}; trap 'exit 9' TERM; sleep 1000 & wait"))
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, ERR[-1])
    path = f"/v1/jobs/{job}/execs/{run}?force=true"
    await case.die_while(doing=lambda: timeball.delete(path))
    await timeball.start()

    await timeball.delete(path)
    assert await timeball.execs(job) == []
    assert case.launches.of(run) == (1, 1)
    await case.check_none_left()


#: Points that only a daemon passes which finds something that another left.
SECOND_DEATHS = {
    Point.ADOPTED: Point.STARTED,
    Point.RESUMING: Point.STARTED,
    Point.CLEARING: Point.END_RECORDED,
}
#: What happens to the runs; every point that is not named here lies in the life of a run that is due.
SPECIAL: dict[Point, Callable[[Case], Awaitable[None]]] = {
    Point.TRIGGERED: _is_triggered,
    Point.SECRETS_PLACED: _has_secret_files,
    Point.KEY_WRITTEN: _key_is_rotated,
    Point.KEY_TAKEN_OVER: _key_is_rotated,
    Point.RETRY_RECORDED: _fails_once,
    Point.STOP_REQUESTED: _is_stopped,
    Point.STOPPING: _is_stopped,
    Point.STOPPED: _is_stopped,
    Point.DELETING: _its_job_is_deleted,
    Point.DISCARDING: _is_deleted,
}


@pytest.fixture(scope="module")
def launches(engine_url: str) -> Iterator[Launches]:
    """What is launched on the engine while this module runs."""
    with connect(engine_url) as client:
        counted = Launches(client)
        yield counted
        counted.close()


@pytest_asyncio.fixture(scope="module", loop_scope="session")
async def cases(
    request: pytest.FixtureRequest,
    launches: Launches,
    nursery: Nursery,
    migrated: Path,
    tmp_path_factory: pytest.TempPathFactory,
) -> AsyncIterator[dict[Point, asyncio.Task[None]]]:
    """The cases of all points that are asked for, under way."""
    room = asyncio.Semaphore(AT_ONCE)
    folder = tmp_path_factory.mktemp("faults")
    engine_url, image, client = (
        request.getfixturevalue(name) for name in ("engine_url", "busybox_image", "engine_client")
    )

    async def play(point: Point) -> None:
        async with room:
            put_into(folder / point.value, migrated)
            timeball = Timeball(folder / point.value, engine_url, image, nursery=nursery)
            try:
                await timeball.start(fault=SECOND_DEATHS.get(point, point).value)
                await SPECIAL.get(point, _due_twice)(Case(point, timeball, client, launches))
            finally:
                await timeball.clear_away()

    asked = [
        item.callspec.params["point"]
        for item in request.session.items
        if isinstance(item, pytest.Function) and item.originalname == POINTS_TEST
    ]
    playing = {point: asyncio.create_task(play(point)) for point in asked}
    yield playing
    for task in playing.values():
        task.cancel()
    await asyncio.gather(*playing.values(), return_exceptions=True)


@pytest.mark.parametrize("point", Point)
async def test_a_daemon_that_dies_between_two_steps_loses_and_repeats_nothing(
    cases: dict[Point, asyncio.Task[None]], point: Point
) -> None:
    """Each due time once, one container for each attempt, started once, every line once, nothing left over."""
    await cases[point]


POINTS_TEST = test_a_daemon_that_dies_between_two_steps_loses_and_repeats_nothing.__name__
