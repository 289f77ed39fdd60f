"""Many runs' logs read as one are in the order of time, each line once, and cost what they return."""

from __future__ import annotations

import random
from collections.abc import AsyncIterator
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID

import pytest
import sqlalchemy as sa

from scheduler.domain.stream import Stream
from scheduler.logs import builder, merging
from scheduler.logs.filtering import LineFilter
from scheduler.logs.merging import Merging, RunLine
from scheduler.logs.reader import LogQuery
from scheduler.store import spans
from scheduler.store.spans import Scope
from scheduler.store.tables import execs
from tests.unit.logs.scene import NOON, LogScene, _anything

JOB = Scope(job_id=1)
SECOND = timedelta(seconds=1)


def run_id(number: int) -> str:
    """The id of a run; ids do not follow the order of time."""
    return str(UUID(int=(number * 2654435761 + 17) % 2**32 << 96 | number))


class ManyRuns(LogScene):
    """A scene with runs at will."""

    async def begin(self, number: int) -> str:
        """A run made now."""
        row = _anything(
            execs,
            id=run_id(number),
            job_id=1,
            namespace="x",
            status="R",
            trigger_mode="M",
            created_at=self.clock.now(),
        )
        row |= {"number": 1_000 + number, "dispatched_at": self.clock.now(), "started_at": self.clock.now()}
        await self.database.write(lambda c: c.execute(execs.insert(), [row]))
        return str(row["id"])

    async def end(self, exec_id: str) -> None:
        """Its end, recorded now."""
        await self.hub.close(exec_id)

        def work(connection: sa.Connection) -> None:
            row = connection.execute(sa.select(execs.c.created_at).where(execs.c.id == exec_id)).one()
            fields = spans.closing(row[0], self.clock.now())
            connection.execute(
                execs.update()
                .where(execs.c.id == exec_id)
                .values(status="S", ended_at=self.clock.now(), **fields)
            )

        await self.database.write(work)

    def merging(self, **query: Any) -> Merging:
        """A read of the job's log."""
        return Merging(self.reader, JOB, LogQuery(**query), self.clock.now())

    async def merged(self, **query: Any) -> list[RunLine]:
        """Its lines."""
        return [line async for batch in self.merging(**query) for line in batch]


@pytest.fixture
async def runs(tmp_path: Path) -> AsyncIterator[ManyRuns]:
    """A scene with runs at will."""
    scene = ManyRuns(tmp_path)
    yield scene
    await scene.database.close()


async def filled(runs: ManyRuns, seed: int, *, count: int = 12, steps: int = 400) -> list[RunLine]:
    """Runs that begin, print and end at random; all their lines in the order in which they were printed."""
    chance = random.Random(seed)  # noqa: S311
    going: list[str] = []
    printed: list[tuple[datetime, str, bytes]] = []
    made = 0
    for step in range(steps):
        runs.clock.forward(chance.choice([0, 0.000001, 0.01, 1, 30]))
        if made < count and (not going or chance.random() < 0.05):
            going.append(await runs.begin(made))
            made += 1
        if not going:
            continue
        exec_id = chance.choice(going)
        log = await runs.hub.open(exec_id)
        text = b"%d\n" % step
        log.add(chance.choice([Stream.STDOUT, Stream.STDERR]), text)
        printed.append((runs.clock.now(), exec_id, text))
        if chance.random() < 0.2:
            await log.flush()
        if chance.random() < 0.03:
            going.remove(exec_id)
            await runs.end(exec_id)
    lines = await runs.merged()
    assert sorted((line.at, line.exec_id, line.data) for line in lines) == sorted(printed)
    return lines


@pytest.mark.parametrize("seed", range(2))
async def test_lines_are_in_the_order_of_time_each_once(
    runs: ManyRuns, monkeypatch: pytest.MonkeyPatch, seed: int
) -> None:
    """Whatever the range, the direction and the size of pages, also where hardly anything is kept in memory."""
    monkeypatch.setattr(builder, "CHUNK_BYTES", 40)
    monkeypatch.setattr(merging, "SPANS_AT_ONCE", 3)
    whole = await filled(runs, seed)
    order = [(line.at, line.exec_id, line.position) for line in whole]
    assert order == sorted(order)
    assert await runs.merged(order="desc") == whole[::-1]
    monkeypatch.setattr(merging, "MEMORY_LINES", 8)
    monkeypatch.setattr(merging, "LEAST_LINES", 2)
    assert await runs.merged() == whole
    assert await runs.merged(order="desc") == whole[::-1]
    assert await runs.merged(tail=17) == whole[-17:]
    chance = random.Random(seed)  # noqa: S311
    for _ in range(4):
        begin, end = sorted(chance.choice(whole).at for _ in range(2))
        within = [line for line in whole if begin <= line.at <= end]
        assert await runs.merged(start=begin, end=end) == within
        assert await runs.merged(start=begin, end=end, order="desc") == within[::-1]
        assert await runs.merged(start=begin) == [line for line in whole if line.at >= begin]
        assert await runs.merged(end=end, order="desc") == [line for line in whole if line.at <= end][::-1]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("limit", [1, 7])
async def test_pages_put_together_are_the_whole(runs: ManyRuns, order: str, limit: int) -> None:
    """By each page's last line."""
    whole = await filled(runs, 7, steps=120)
    found: list[RunLine] = []
    cursor = None
    while page := await runs.merged(order=order, limit=limit, cursor=cursor):
        found += page
        cursor = runs.merging().cursor_of(page[-1])
    assert found == (whole if order == "asc" else whole[::-1])


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_filtered_read_stops_and_goes_on(
    runs: ManyRuns, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """Where its bounds are reached, and by its cursor, until all has been looked through."""
    whole = await filled(runs, 11)
    monkeypatch.setattr(merging, "SCAN_BYTES", 10)
    monkeypatch.setattr(merging, "MEMORY_LINES", 8)
    monkeypatch.setattr(merging, "LEAST_LINES", 2)
    found: list[RunLine] = []
    cursor, reads = None, 0
    while True:
        read = runs.merging(
            order=order, cursor=cursor, limit=5, filter=LineFilter(contains="77"), is_bounded=True
        )
        page = [line async for batch in read for line in batch]
        found += page
        reads += 1
        if read.is_complete:
            break
        cursor = read.cursor_of(page[-1]) if len(page) == 5 else read.frontier
        assert cursor is not None
        assert reads < 1_000
    expected = [line for line in whole if b"77" in line.data]
    assert found == (expected if order == "asc" else expected[::-1])
    assert reads > 3


async def test_pages_lose_nothing_of_what_is_printed_while_one_is_made(
    runs: ManyRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What comes in time before a page's cursor is on that page, also where other runs print meanwhile."""
    logs = [await runs.hub.open(await runs.begin(number)) for number in range(3)]
    flush, printed, found = runs.reader.flush, list[bytes](), list[bytes]()

    def print_everywhere() -> None:
        for log in logs:
            runs.clock.forward(0.001)
            printed.append(b"%d\n" % len(printed))
            log.add(Stream.STDOUT, printed[-1])

    async def flush_while_all_print(exec_id: str) -> None:
        await flush(exec_id)
        print_everywhere()

    cursor = None
    for is_last in (False, False, False, True):
        print_everywhere()
        monkeypatch.setattr(runs.reader, "flush", flush if is_last else flush_while_all_print)
        reading = runs.merging(limit=1_000, cursor=cursor)
        lines = [line async for batch in reading for line in batch]
        cursor = reading.cursor_of(lines[-1])
        found += [line.data for line in lines]
    assert found == printed


async def test_a_cursor_after_the_last_lines_leads_to_all_that_come_later(
    runs: ManyRuns, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also lines that arrived while the last ones were read."""
    first, second = [await runs.hub.open(await runs.begin(number)) for number in range(2)]
    first.add(Stream.STDOUT, b"before\n")
    flush = runs.reader.flush

    async def flush_while_both_print(exec_id: str) -> None:
        await flush(exec_id)
        if exec_id == first.exec_id:
            for log in (first, second):
                runs.clock.forward(0.001)
                log.add(Stream.STDOUT, b"meanwhile\n")

    monkeypatch.setattr(runs.reader, "flush", flush_while_both_print)
    reading = runs.merging(tail=10)
    lines = [line async for batch in reading for line in batch]
    assert [line.data for line in lines] == [b"before\n"]
    monkeypatch.setattr(runs.reader, "flush", flush)
    after = await runs.merged(cursor=reading.cursor_of(lines[-1]))
    assert [line.data for line in after] == [b"meanwhile\n"] * 2


async def test_what_is_still_in_memory_is_read_as_well(runs: ManyRuns) -> None:
    """Of every run that goes on."""
    for number in range(3):
        log = await runs.hub.open(await runs.begin(number))
        log.add(Stream.STDOUT, b"%d\n" % number)
        runs.clock.forward(1)
    assert [line.data for line in await runs.merged()] == [b"0\n", b"1\n", b"2\n"]


@pytest.mark.parametrize("order", ["asc", "desc"])
@pytest.mark.parametrize("scope", [JOB, Scope(namespace="x")], ids=["job", "namespace"])
async def test_a_range_touches_only_the_runs_that_overlap_it(
    runs: ManyRuns, monkeypatch: pytest.MonkeyPatch, order: str, scope: Scope
) -> None:
    """Whether 20,000 others lie before it or after it, short ones and long ones."""
    same = _anything(execs, job_id=1, namespace="x", status="S", trigger_mode="M")
    rows = []
    for number in range(20_000):
        begin = NOON + number * 10 * SECOND
        until = begin + (5 if number % 1_000 else 100_000) * SECOND
        rows.append(
            same
            | {
                "id": run_id(number),
                "number": 1_000 + number,
                "created_at": begin,
                "started_at": begin,
                "ended_at": until,
            }
            | spans.closing(begin, until)
        )
    await runs.database.write(lambda c: c.execute(execs.insert(), rows))
    runs.clock.forward(10**6)
    opened: set[str] = set()
    step = runs.reader.step

    async def note(scan: Any) -> Any:
        opened.add(scan._exec_id)
        return await step(scan)

    monkeypatch.setattr(runs.reader, "step", note)
    looked = 0
    look = runs.reader.look

    async def count(work: Any) -> Any:
        nonlocal looked
        looked += 1
        return await look(work)

    monkeypatch.setattr(runs.reader, "look", count)
    middle = NOON + 100_001 * SECOND
    query = LogQuery(start=middle, end=middle + SECOND, order=order)  # type: ignore[arg-type]
    read = Merging(runs.reader, scope, query, runs.clock.now())
    assert [batch async for batch in read] == []
    # The one that goes at that time, the long ones, and those that clocks a little apart would make overlap.
    assert run_id(10_000) in opened
    assert len(opened) <= 15
    assert looked <= 3


def test_spans_are_sorted_by_length() -> None:
    """By powers of four; the last reach has no end."""
    reaches = [
        spans.closing(NOON, NOON + timedelta(seconds=seconds))["log_reach"]
        for seconds in (0, 1, 1.5, 4, 5, 16, 10**6, 10**10)
    ]
    assert reaches == [0, 0, 1, 1, 2, 2, 10, 15]


@pytest.mark.parametrize("order", ["asc", "desc"])
async def test_a_page_that_takes_too_long_ends_with_a_cursor(
    runs: ManyRuns, monkeypatch: pytest.MonkeyPatch, order: str
) -> None:
    """But not before it has come further, so that somebody who goes on gets to the end."""
    whole = await filled(runs, 3, steps=100)
    monkeypatch.setattr(merging, "SCAN_SECONDS", -1.0)
    found: list[RunLine] = []
    cursor, complete = None, False
    while not complete:
        read = runs.merging(order=order, limit=1_000, is_bounded=True, cursor=cursor)
        found += [line async for batch in read for line in batch]
        assert read.is_complete or read.frontier != cursor
        cursor, complete = read.frontier, read.is_complete
    assert found == (whole if order == "asc" else whole[::-1])
