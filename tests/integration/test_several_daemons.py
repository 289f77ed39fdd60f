"""Two daemons on one PostgreSQL and one engine: each run once, whatever becomes of one of them."""

from __future__ import annotations

import asyncio
import os
import signal
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
import pytest_asyncio
import sqlalchemy as sa
from docker.api.client import APIClient

from scheduler.engine.types import container_name
from scheduler.process.faults import FaultAction, Point
from tests.lab.engine import connect
from tests.lab.moments import in_time, written
from tests.lab.timeball import Timeball, is_there, script, tell, until

pytestmark = [pytest.mark.engine, pytest.mark.postgresql, pytest.mark.asyncio(loop_scope="session")]

#: Runs on until it is asked to end.
ENDS_WHEN_ASKED = script("trap 'exit 7' TERM; echo ready; while true; do sleep 0.05; done")
LEASE = 3


#: Prints numbers, with pauses, until it is told to end.
COUNTS = script(
    "told=; trap told=1 USR1; n=0; while [ -z $told ]; do echo $n; n=$((n+1)); sleep 0.1; done; echo end"
)
#: The number that a run has printed at least that goes on beyond the death or the rest of its daemon.
GOES_ON = "30"


def is_whole(lines: list[str]) -> bool:
    """Whether these are all numbers in turn, each once, and the end."""
    return lines == [*(str(n) for n in range(len(lines) - 1)), "end"]


async def tell_each(timeball: Timeball, client: APIClient, job: int, runs: Sequence[str]) -> None:
    """Tell runs to end, in whatever order they start."""

    async def tell_it(run: str) -> None:
        await timeball.until_printed(job, run, "0")
        tell(client, run)

    await asyncio.gather(*(tell_it(run) for run in runs))


class Shared(Timeball):
    """A daemon on a database that others use too."""

    database_url = ""

    @property
    def installation(self) -> str:
        """The id that its containers carry."""
        with sa.create_engine(self.database_url, poolclass=sa.NullPool).connect() as connection:
            found = connection.exec_driver_sql("SELECT value FROM facts WHERE name = 'installation'")
            return str(found.scalar_one())

    def owner(self, exec_id: str) -> str:
        """Who looks after a run."""
        with sa.create_engine(self.database_url, poolclass=sa.NullPool).connect() as connection:
            query = sa.text("SELECT owner FROM execs WHERE id = :id")
            return str(connection.execute(query, {"id": exec_id}).scalar_one())

    @property
    def instance(self) -> str:
        """Its own id."""
        return (self.data_dir / "instance").read_text().strip()

    def freeze(self) -> None:
        """Let it do nothing until `thaw`."""
        os.kill(self.pid, signal.SIGSTOP)

    def thaw(self) -> None:
        """Let it go on."""
        os.kill(self.pid, signal.SIGCONT)

    async def until_owned(self, exec_id: str) -> None:
        """Return when it is this daemon that looks after a run."""

        async def owner() -> str:
            return self.owner(exec_id)

        await until(owner, lambda found: found == self.instance)


MakeShared = Callable[..., Awaitable[list[Shared]]]


@pytest_asyncio.fixture(loop_scope="session")
async def make_shared(
    engine_url: str, busybox_image: str, tmp_path: Path, postgresql_url: str
) -> AsyncIterator[MakeShared]:
    """Makes daemons that share a new database."""
    name = f"shared_{uuid.uuid4().hex}"
    admin = sa.create_engine(postgresql_url, isolation_level="AUTOCOMMIT")
    with admin.connect() as connection:
        connection.exec_driver_sql(f"CREATE DATABASE {name}")
    admin.dispose()
    url = sa.make_url(postgresql_url).set(database=name).render_as_string(hide_password=False)
    made: list[Shared] = []

    async def make(count: int = 2, config: str = "", fault: str | None = None) -> list[Shared]:
        for number in range(len(made), len(made) + count):
            settings = f"database_url = '{url}'\nlease_seconds = {LEASE}\n{config}"
            one = Shared(tmp_path / f"data-{number}", engine_url, busybox_image, config=settings)
            one.database_url = url
            made.append(one)
            await one.start(fault=fault)
        return made

    yield make
    for one in made:
        if one.is_running:
            one.thaw()
    for one in made:
        await one.clear_away()


class Starts:
    """How often each container was started, by the engine's own account.

    It remembers its last 256 events alone, which others' containers soon push out: so it is asked all the time.
    """

    def __init__(self, client: APIClient) -> None:
        self._client = client
        self._since = datetime.now(UTC)
        self._seen: set[tuple[int, str]] = set()
        self._one_at_a_time = asyncio.Lock()

    async def look(self) -> None:
        """Take down what has been started since the last look."""
        async with self._one_at_a_time:
            until = datetime.now(UTC) + timedelta(seconds=1)  # whole seconds count, the last one not
            self._seen |= await asyncio.to_thread(self._ask, until)
            self._since = until - timedelta(seconds=3)

    def _ask(self, until: datetime) -> set[tuple[int, str]]:
        filters = {"type": "container", "event": "start"}
        events = self._client.events(since=self._since, until=until, filters=filters, decode=True)
        return {(event["timeNano"], event["Actor"]["Attributes"]["name"]) for event in events}

    async def watch(self, over: asyncio.Event) -> None:
        """Look again and again."""
        while not over.is_set():
            await self.look()

    async def of(self, exec_id: str) -> int:
        """How often the container of a run was."""
        await self.look()
        return sum(1 for _, name in self._seen if name == container_name(exec_id))


@pytest_asyncio.fixture(loop_scope="session")
async def starts(engine_url: str) -> AsyncIterator[Starts]:
    """What the engine starts from now on."""
    with connect(engine_url) as client:
        made = Starts(client)
        over = asyncio.Event()
        watching = asyncio.create_task(made.watch(over))
        yield made
        over.set()
        await watching


async def test_the_runs_of_a_daemon_that_is_killed_are_brought_to_their_end_by_the_other(
    make_shared: MakeShared, engine_client: APIClient, starts: Starts
) -> None:
    """What ran goes on and is heard to the end, what waited starts; each once."""
    one, other = await make_shared()
    job = await one.create(COUNTS, resource_size="S")
    runs = [await one.trigger(job) for _ in range(6)]
    await one.until_printed(job, runs[0], "3")
    await one.kill()

    await other.until_printed(job, runs[0], GOES_ON)
    await tell_each(other, engine_client, job, runs)
    ended = await other.until_all_ended(job, count=6)

    assert Counter(run["status"] for run in ended) == {"S": 6}
    for run in runs:
        assert is_whole(await other.lines(job, run))
        assert await starts.of(run) == 1
        assert not is_there(engine_client, run)


async def test_of_two_daemons_that_race_for_due_times_one_runs_each(make_shared: MakeShared) -> None:
    """Both know the schedule; the ledger has every due time once, and so have the runs."""
    one, other = await make_shared()

    async def make(start: datetime) -> list[int]:
        return [
            await daemon.create(
                "true",
                schedule_mode=f"R8/{written(start)}/PT1S",
                is_schedule_active=True,
                concurrency_policy=policy,
            )
            for daemon, policy in ((one, "allow"), (other, "allow"), (one, "queue"), (other, "forbid"))
        ]

    _, jobs = await in_time(make, seconds=3)
    for job in jobs:
        ledger = await one.until_decided(job, count=8)
        assert len({entry["due_at"] for entry in ledger}) == len(ledger) == 8
        ended = await other.until_idle(job)
        ran = [entry["exec"] for entry in ledger if entry["outcome"] == "ran"]
        assert sorted(ran) == sorted(run["id"] for run in ended)
        assert {run["status"] for run in ended} == {"S"}


async def test_what_is_asked_of_one_daemon_takes_effect_on_the_runs_of_the_other(
    make_shared: MakeShared, engine_client: APIClient
) -> None:
    """A stop, a replacement, the deletion of a run and that of a job; no container is left."""
    one, other = await make_shared()
    job = await one.create(ENDS_WHEN_ASKED, resource_size="XXS")
    runs = [await one.trigger(job) for _ in range(3)]
    for run in runs:
        await one.until_printed(job, run, "ready")
    owners = {run: one if one.owner(run) == one.instance else other for run in runs}

    def stranger(run: str) -> Shared:
        return other if owners[run] is one else one

    await stranger(runs[0]).post(f"/v1/jobs/{job}/execs/{runs[0]}/stop")
    stopped = await one.until_ended(job, runs[0])
    assert (stopped["status"], stopped["exit_code"], stopped["stop_reason"]) == ("C", 7, "requested by admin")
    await stranger(runs[1]).delete(f"/v1/jobs/{job}/execs/{runs[1]}?force=true")
    await stranger(runs[2]).delete(f"/v1/jobs/{job}")

    async def left() -> bool:
        return any(is_there(engine_client, run) for run in runs)

    await until(left, lambda found: not found)


async def test_limits_and_policies_hold_over_all_daemons(make_shared: MakeShared) -> None:
    """Runs asked of both: never more at a time than the job, the namespace or the machine takes."""
    one, other = await make_shared(config="[namespaces.small]\nmax_running = 2\n")
    jobs = {
        "limited": (await one.create("sleep 0.5", max_running=1), 1),
        "queued": (await other.create("sleep 0.5", concurrency_policy="queue"), 1),
        "small": (await one.create("sleep 0.5", namespace="small"), 2),
    }
    for job, _ in jobs.values():
        await asyncio.gather(*(daemon.trigger(job) for _ in range(3) for daemon in (one, other)))
    for job, most in jobs.values():
        ended = await one.until_all_ended(job, count=6, seconds=120)
        assert Counter(run["status"] for run in ended) == {"S": 6}
        changes = sorted(
            (run[name], step) for run in ended for name, step in (("ended_at", -1), ("started_at", 1))
        )
        at_once = [sum(step for _, step in changes[:n]) for n in range(1, len(changes) + 1)]
        assert max(at_once) <= most

    forbidding = await one.create(ENDS_WHEN_ASKED, concurrency_policy="forbid")
    answers = await asyncio.gather(
        *(daemon.send("POST", f"/v1/jobs/{forbidding}/execs") for _ in range(4) for daemon in (one, other))
    )
    assert Counter(status for status, _ in answers) == {201: 1, 409: 7}


async def test_a_daemon_that_was_frozen_beyond_its_lease_gives_way(
    make_shared: MakeShared, engine_client: APIClient, starts: Starts
) -> None:
    """What it ran belongs to the other by then: no second container, no second line, no status of its own."""
    one, other = await make_shared()
    job = await one.create(COUNTS, resource_size="XXS", max_running=4)
    runs = [await one.trigger(job) for _ in range(5)]
    await one.until_printed(job, runs[0], "3")
    mine = [run for run in runs if one.owner(run) == one.instance]
    assert mine
    one.freeze()
    for run in mine:
        await other.until_owned(run)
    one.thaw()
    # It serves as before, and whoever looks after the runs now brings them to their end.
    await until(one.is_ready)
    fresh = await one.trigger(job)

    await other.until_printed(job, runs[0], GOES_ON)
    await tell_each(one, engine_client, job, (*runs, fresh))
    ended = await one.until_all_ended(job, count=6)

    assert Counter(run["status"] for run in ended) == {"S": 6}
    for run in (*runs, fresh):
        assert is_whole(await other.lines(job, run))
        assert await starts.of(run) == 1
        assert not is_there(engine_client, run)


async def test_a_daemon_that_was_frozen_between_its_request_and_the_start_starts_nothing_afterwards(
    make_shared: MakeShared, engine_client: APIClient, starts: Starts
) -> None:
    """The other daemon cannot know whether the engine was asked: the run is lost, and its retry another run."""
    fault = f"{Point.START_REQUESTED.value}:1:{FaultAction.STOP.value}"
    [one] = await make_shared(1, fault=fault)
    job = await one.create("true", resource_size="XXS", max_retries=1, retry_backoff_seconds=0)
    run = await one.trigger(job)

    async def stands_still() -> bool:
        return one.stands_still

    await until(stands_still)
    _, other = await make_shared(1)
    first, second = await other.until_all_ended(job, count=2)
    one.thaw()
    await until(one.is_ready)

    assert (first["id"], first["status"], first["fail_reason"]) == (run, "F", "engine_lost")
    assert second["status"] == "S"
    assert (await starts.of(run), await starts.of(second["id"])) == (0, 1)
    assert not is_there(engine_client, run)


async def test_a_daemon_that_is_alone_and_was_frozen_beyond_its_lease_simply_goes_on(
    make_timeball: Callable[..., Awaitable[Timeball]], engine_client: APIClient, starts: Starts
) -> None:
    """On SQLite as well: nothing is lost, nothing happens twice."""
    timeball = await make_timeball(config=f"lease_seconds = {LEASE}")
    job = await timeball.create(COUNTS, resource_size="XXS", max_running=2)
    runs = [await timeball.trigger(job) for _ in range(4)]
    await timeball.until_printed(job, runs[0], "3")
    os.kill(timeball.pid, signal.SIGSTOP)
    await asyncio.sleep(LEASE + 1)  # nothing can tell that a frozen process's lease has ended
    os.kill(timeball.pid, signal.SIGCONT)

    await timeball.until_printed(job, runs[0], GOES_ON)
    await tell_each(timeball, engine_client, job, runs)
    ended = await timeball.until_all_ended(job, count=4)

    assert Counter(run["status"] for run in ended) == {"S": 4}
    for run in runs:
        assert is_whole(await timeball.lines(job, run))
        assert await starts.of(run) == 1
