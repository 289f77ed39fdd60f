"""Reads give exactly the lines asked for, and touch only what they need."""

from __future__ import annotations

import asyncio
import random
from datetime import datetime, timedelta
from typing import Any

import pytest
import sqlalchemy as sa

from scheduler.domain.errors import InvalidInputError
from scheduler.domain.stream import Stream
from scheduler.logs import chunks, scanning
from scheduler.logs.chunks import Frame
from scheduler.logs.lines import Line
from scheduler.logs.places import run_cursor
from scheduler.logs.reader import BATCH_LINES, LogQuery
from scheduler.store import logs as store
from scheduler.store.tables import execs, from_micros
from tests.unit.logs.scene import EXEC, NOON, LogScene, slow_lines

OUT, ERR, SYSTEM = Stream.STDOUT, Stream.STDERR, Stream.SYSTEM
Plain = tuple[datetime, Stream, bytes]


async def print_something(scene: LogScene, seed: int) -> list[Plain]:
    """A log of many small chunks with lines across them, and what its lines are."""
    chance = random.Random(seed)  # noqa: S311 - a repeatable log is wanted, not a secret
    log = await scene.hub.open(EXEC)
    frames: list[Frame] = []
    for _ in range(120):
        scene.clock.forward(chance.choice([0, 0, 0.000001, 0.3, 1]))
        stream = chance.choice([OUT, OUT, OUT, ERR, SYSTEM])
        data = b"".join(chance.choice([b"a", b"bc", b"\n", b"\r\n", b""]) for _ in range(5))
        if stream is SYSTEM:
            log.system(data.decode().replace("\r\n", "").replace("\n", ""))
            data = data.replace(b"\r\n", b"").replace(b"\n", b"") + b"\n"
        else:
            log.add(stream, data)
        at = int((scene.clock.moment - from_micros(0)) / timedelta(microseconds=1))
        frames.append(Frame(stream, at, data))
        if chance.random() < 0.4:
            await log.flush()
    return [(from_micros(at), Stream(stream), line) for at, stream, line in slow_lines(frames)]


def plain(lines: list[Line]) -> list[Plain]:
    """Lines without their places."""
    return [(line.at, line.stream, line.data) for line in lines]


@pytest.fixture(autouse=True)
def _no_waiting_between_flushes(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("scheduler.logs.hub.LEAST_SECONDS_BETWEEN", 0)


@pytest.mark.parametrize("seed", range(3))
async def test_any_query_gives_what_its_words_say(
    scene: LogScene, seed: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ranges, streams, limits, both orders and pages, against plain filtering of all lines."""
    monkeypatch.setattr(scanning, "STEP_CHUNKS", 3)
    every = await print_something(scene, seed)
    chance = random.Random(seed + 100)  # noqa: S311 - as above
    assert plain(await scene.lines()) == every
    for _ in range(25):
        start, end = sorted(
            chance.choice(every)[0] + timedelta(microseconds=chance.choice([-1, 0, 1])) for _ in "ab"
        )
        query: dict[str, Any] = {
            "start": chance.choice([None, start]),
            "end": chance.choice([None, end]),
            "streams": chance.choice([None, frozenset({ERR}), frozenset({OUT}), frozenset({OUT, SYSTEM})]),
            "order": chance.choice(["asc", "desc"]),
        }
        wanted = [
            line
            for line in every
            if (query["start"] is None or line[0] >= start)
            and (query["end"] is None or line[0] <= end)
            and (query["streams"] is None or line[1] in query["streams"])
        ]
        if query["order"] == "desc":
            wanted.reverse()
        assert plain(await scene.lines(**query)) == wanted
        limit = chance.choice([1, 3, 7]) if len(wanted) < 30 else chance.choice([20, 50])
        cursor: str | None = None
        for begin in range(0, len(wanted) + limit, limit):
            page = await scene.lines(**query, limit=limit, cursor=cursor)
            assert plain(page) == wanted[begin : begin + limit]
            cursor = run_cursor(EXEC, page[-1].position) if page else cursor


async def test_a_cursor_goes_on_while_the_run_goes_on(scene: LogScene) -> None:
    """Every line once, whatever the flushes in between, also where a line was open at the time."""
    log = await scene.hub.open(EXEC)
    seen: list[bytes] = []
    cursor: str | None = None
    printed = b"".join(b"%d\n" % n for n in range(200))
    for begin in range(0, len(printed), 7):
        log.add(OUT, printed[begin : begin + 7])
        for line in await scene.lines(cursor=cursor):
            seen.append(line.message)
            cursor = run_cursor(EXEC, line.position)
    assert seen == printed.split(b"\n")[:-1]


@pytest.mark.parametrize("cursor", ["", "x", "1-", "1-xyz", "2-5", "1-5 ", "1-" + "f" * 40, "1-٣"])
async def test_what_is_no_cursor_is_refused(scene: LogScene, cursor: str) -> None:
    """With a remedy, and before the first line."""
    with pytest.raises(InvalidInputError, match="use a cursor from an earlier response"):
        await scene.lines(cursor=cursor)


async def test_an_exec_without_output_has_no_lines(scene: LogScene) -> None:
    """In no order and no range."""
    assert await scene.lines() == []
    assert await scene.lines(order="desc", start=NOON, end=NOON) == []


async def test_ten_megabytes_in_one_line_come_back_intact(scene: LogScene) -> None:
    """Across forty chunks, forward and backward, with the other stream's lines in between."""
    log = await scene.hub.open(EXEC)
    chance = random.Random(1)  # noqa: S311 - repeatable bytes are wanted
    long = chance.randbytes(10_000_000).replace(b"\n", b" ").replace(b"\r", b" ")
    for begin in range(0, len(long), 1_000_000):
        scene.clock.forward(1)
        log.add(OUT, long[begin : begin + 1_000_000])
        log.add(ERR, b"tick\n")
    log.add(OUT, b"\nshort")
    log.end_output()
    wanted = [b"tick"] * 10 + [long, b"short"]
    assert await scene.texts() == wanted
    assert await scene.texts(order="desc") == wanted[::-1]
    assert await scene.texts(start=scene.clock.moment, streams=frozenset({OUT})) == [long, b"short"]
    assert await scene.texts(limit=1, order="desc") == [b"short"]


async def test_a_line_open_for_long_costs_other_reads_nothing(
    scene: LogScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its beginning is fetched only by a read that shows it, and of the chunks between only its stream's."""
    log = await scene.hub.open(EXEC)
    log.add(ERR, b"Password: ")
    for number in range(50):
        scene.clock.forward(1)
        log.add(OUT, b"%d\n" % number)
        await log.flush()
    decoded = 0
    decode = chunks.decode

    def count(data: bytes) -> list[Frame]:
        nonlocal decoded
        decoded += 1
        return decode(data)

    monkeypatch.setattr(chunks, "decode", count)
    assert await scene.texts(start=NOON + timedelta(seconds=40), end=NOON + timedelta(seconds=41)) == [
        b"39",
        b"40",
    ]
    assert decoded <= 3
    log.add(ERR, b"***\n")
    decoded = 0
    assert await scene.texts(start=scene.clock.moment, streams=frozenset({ERR})) == [b"Password: ***"]
    assert decoded <= 3


async def test_a_damaged_chunk_becomes_a_line_that_says_so(scene: LogScene) -> None:
    """The rest is read as ever, and nothing is joined across the gap."""
    log = await scene.hub.open(EXEC)
    for text in (b"one\ntw", b"o\nthree\nfo", b"ur\nfive\n"):
        scene.clock.forward(1)
        log.add(OUT, text)
        await log.flush()
    row = (await scene.rows())[1]
    await scene.change_row(1, data=row.data[:-1] + b"?")
    for query in ({}, {"streams": frozenset({OUT})}, {"order": "desc"}):
        lines = await scene.lines(**query)
        if query.get("order") == "desc":
            lines.reverse()
        assert [line.message for line in lines if line.stream is OUT][::3] == [b"one", b"five"]
        [note] = [line for line in lines if line.stream is SYSTEM]
        assert b"2 lines) is damaged" in note.data
        assert [line.at for line in lines] == sorted(line.at for line in lines)
    assert b"damaged" not in b"".join(await scene.texts(start=NOON + timedelta(seconds=3)))


async def test_reading_ends_with_what_had_arrived_when_it_began(
    scene: LogScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A busy run cannot keep a reader for ever."""
    monkeypatch.setattr(scanning, "STEP_CHUNKS", 1)
    log = await scene.hub.open(EXEC)
    for number in range(5):
        log.add(OUT, b"%d\n" % number)
        await log.flush()
    found = []
    async for batch in scene.reader.read(EXEC, LogQuery()):
        found += [line.message for line in batch]
        log.add(OUT, b"more\n")
        await log.flush()
    assert found == [b"0", b"1", b"2", b"3", b"4"]


async def test_what_is_being_stored_is_waited_for(scene: LogScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """It has arrived, so it is read."""
    write, begun, may_go_on = scene.database.write, asyncio.Event(), asyncio.Event()

    async def write_slowly(*args: Any, **options: Any) -> Any:
        begun.set()
        await may_go_on.wait()
        return await write(*args, **options)

    log = await scene.hub.open(EXEC)
    log.add(OUT, b"here\n")
    monkeypatch.setattr(scene.database, "write", write_slowly)
    storing = asyncio.create_task(log.flush())
    await begun.wait()
    flush, asked = scene.hub.flush, asyncio.Event()

    async def flush_and_tell(exec_id: str) -> None:
        asked.set()
        await flush(exec_id)

    monkeypatch.setattr(scene.hub, "flush", flush_and_tell)
    reading = asyncio.create_task(scene.texts())
    await asyncio.wait({reading, asyncio.create_task(asked.wait())}, return_when=asyncio.FIRST_COMPLETED)
    for _ in range(10):
        await asyncio.sleep(0)  # until it waits for what is being stored
    assert not reading.done()
    may_go_on.set()
    assert await reading == [b"here"]
    await storing


async def test_an_exec_deleted_while_it_is_read_has_no_more_lines(
    scene: LogScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The answer ends; it is no error."""
    monkeypatch.setattr(scanning, "STEP_CHUNKS", 1)
    log = await scene.hub.open(EXEC)
    for number in range(5):
        log.add(OUT, b"%d\n" % number)
        await log.flush()
    found = []
    async for batch in scene.reader.read(EXEC, LogQuery()):
        found += [line.message for line in batch]
        await scene.database.write(lambda c: c.execute(sa.delete(execs)))
    assert found == [b"0"]


async def test_batches_stay_small(scene: LogScene) -> None:
    """Even where a chunk holds nothing but newlines."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"\n" * 300_000)
    sizes = [len(batch) async for batch in scene.reader.read(EXEC, LogQuery())]
    assert sum(sizes) == 300_000
    assert max(sizes) <= BATCH_LINES
    backward = [line.position async for b in scene.reader.read(EXEC, LogQuery(order="desc")) for line in b]
    assert backward == sorted(backward, reverse=True)
    assert len(backward) == 300_000


async def test_readers_beside_a_writer_see_every_line_once(scene: LogScene) -> None:
    """While chunks are being stored, each read is a beginning of the log."""
    log = await scene.hub.open(EXEC)
    running = asyncio.create_task(scene.hub.run())
    whole = [b"%06d" % number for number in range(20_000)]

    async def write() -> None:
        for begin in range(0, len(whole), 100):
            log.add(OUT, b"\n".join(whole[begin : begin + 100]) + b"\n")
            await log.room()
            await asyncio.sleep(0)

    async def read() -> None:
        for _ in range(5):
            texts = await scene.texts()
            assert texts == whole[: len(texts)]

    await asyncio.gather(write(), read(), read())
    running.cancel()
    assert await scene.texts() == whole


async def test_finding_a_range_uses_the_indexes(scene: LogScene) -> None:
    """No table is scanned and nothing is sorted, however long the log is."""
    queries = {
        "range": store.first_ending_at_or_after_query(EXEC, NOON),
        "chunks": store.chunks_query(EXEC, 3, 9, 0b010, limit=5),
        "backward": store.chunks_query(EXEC, 3, 9, 0b010, newest_first=True, limit=5),
    }

    def explain(connection: sa.Connection) -> dict[str, str]:
        plans = {}
        for name, query in queries.items():
            text = query.compile(connection, compile_kwargs={"literal_binds": True})
            rows = connection.exec_driver_sql(f"EXPLAIN QUERY PLAN {text}").all()
            plans[name] = "; ".join(row[3] for row in rows)
        return plans

    plans = await scene.database.read(explain)
    for plan in plans.values():
        assert plan.startswith("SEARCH log_chunks USING")
        assert "TEMP B-TREE" not in plan
    assert "COVERING INDEX ix_log_chunks_exec_id_last_at_seq" in plans["range"]
