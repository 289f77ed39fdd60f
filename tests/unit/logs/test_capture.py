"""A capture stores every byte once, and finds its place again after any kill."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import OperationalError

from scheduler.domain.errors import UnavailableError
from scheduler.domain.stream import Stream
from scheduler.logs import builder, capture
from scheduler.logs.capture import CAPTURE_BYTES, Capture
from scheduler.logs.chunks import decode
from scheduler.logs.places import run_cursor
from scheduler.store import logs as store
from scheduler.store.tables import execs, log_chunks
from tests.unit.logs.scene import EXEC, NOON, LogScene

PATIENCE = 60.0

OUT, ERR = Stream.STDOUT, Stream.STDERR


async def test_what_was_added_is_read_at_once(scene: LogScene) -> None:
    """A read stores first what is still in memory."""
    log = await scene.hub.open(EXEC)
    log.system("Start running!")
    log.add(OUT, b"one\ntw")
    log.add(ERR, b"three\n")
    scene.clock.forward(1)
    log.add(OUT, b"o\n")
    lines = await scene.lines()
    assert [(line.stream, line.message) for line in lines] == [
        (Stream.SYSTEM, b"Start running!"),
        (OUT, b"one"),
        (ERR, b"three"),
        (OUT, b"two"),
    ]
    assert [line.at for line in lines] == [NOON] * 3 + [NOON + timedelta(seconds=1)]


async def test_one_of_our_own_lines_stays_one_line(scene: LogScene) -> None:
    """Whatever words an engine or a registry put into it."""
    log = await scene.hub.open(EXEC)
    log.system("pull failed:\nno such image\r\nsorry\n")
    assert await scene.texts() == ["pull failed:⏎no such image⏎sorry".encode()]


async def test_times_never_go_back(scene: LogScene) -> None:
    """Neither when the clock is set back, nor by the engine's own times; nor do they run ahead."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"1\n")
    scene.clock.forward(-60)
    log.add(OUT, b"2\n")
    scene.clock.forward(120)
    log.add_frames([(OUT, b"3\n", NOON - timedelta(days=1)), (OUT, b"4\n", NOON + timedelta(days=1))])
    assert [line.at - NOON for line in await scene.lines()] == [
        timedelta(0),
        timedelta(0),
        timedelta(0),
        timedelta(seconds=60),
    ]


async def test_frames_of_one_read_are_stored_as_one(scene: LogScene) -> None:
    """A container that prints line by line costs no more to read than one that prints in blocks."""
    log = await scene.hub.open(EXEC)
    log.add_frames([(OUT, b"%d\n" % n, None) for n in range(100)] + [(ERR, b"e\n", None)])
    await log.flush()
    [row] = await scene.rows()
    assert [len(frame.data) for frame in decode(row.data)] == [190 + 100, 2]
    assert (row.lines, row.stdout_end, row.stderr_end, row.streams) == (101, 290, 2, 0b110)


async def test_a_kill_after_any_chunk_goes_on_exactly(scene: LogScene) -> None:
    """The cursor that is read back is the one that was left, and lines across the kill are whole."""
    printed = b"".join(b"line %d of this\r\n" % n for n in range(40)) + b"no newline at the end"
    for size in (3, 17, 300):
        await scene.database.write(lambda c: c.execute(sa.delete(log_chunks)))
        for begin in range(0, len(printed), size):
            scene.restart()
            log = await scene.hub.open(EXEC)
            assert log.cursor().streams[OUT].end == begin
            scene.clock.forward(0.5)
            log.add(OUT if begin % 3 else ERR, b"")
            log.add(OUT, printed[begin : begin + size])
            left = log.cursor()
            await log.flush()
            scene.restart()
            found = (await scene.hub.open(EXEC)).cursor()
            assert found.streams == left.streams
            assert (found.seq, found.last_at) == (left.seq + 1, left.last_at)
        assert await scene.texts() == printed.replace(b"\r", b"").split(b"\n")[:-1]
        (await scene.hub.open(EXEC)).end_output()
        assert await scene.texts() == printed.replace(b"\r", b"").split(b"\n")


async def test_the_cursor_has_samples_of_both_ends_of_each_stream(scene: LogScene) -> None:
    """Over many chunks, and also where one stream was silent for long."""
    log = await scene.hub.open(EXEC)
    log.add(ERR, b"E" * 100)
    printed = b"".join(b"%07d\n" % n for n in range(100_000))
    for begin in range(0, len(printed), 30_000):
        scene.clock.forward(0.1)
        log.add(OUT, printed[begin : begin + 30_000])
    before = log.cursor()
    await log.flush()
    scene.restart()
    after = (await scene.hub.open(EXEC)).cursor()
    assert after.streams == before.streams
    assert after.streams[OUT].head == printed[:4096]
    assert after.streams[OUT].tail == printed[-4096:]
    assert after.streams[ERR].tail == b"E" * 100
    assert after.streams[ERR].open_from == 0


async def test_damage_costs_a_cursor_its_samples_and_nothing_else(scene: LogScene) -> None:
    """Counting still works; the comparison is left out."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"abc\n")
    await log.flush()
    await scene.change_row(0, data=b"broken")
    scene.restart()
    found = (await scene.hub.open(EXEC)).cursor().streams[OUT]
    assert (found.end, found.head, found.tail) == (4, b"", b"")


async def test_an_endless_line_is_cut(scene: LogScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Output without a newline must not take all memory when it is read; no byte is lost by it."""
    monkeypatch.setattr(builder, "LONGEST_LINE_BYTES", 1000)
    log = await scene.hub.open(EXEC)
    for number in range(30):
        scene.clock.forward(1)
        log.add(OUT, b"x" * 90)
        if number % 7 == 0:
            await log.flush()
            scene.restart()
            log = await scene.hub.open(EXEC)
    log.end_output()
    texts = await scene.texts()
    assert b"".join(texts) == b"x" * 2700
    assert len(texts) == 3


@pytest.mark.parametrize("size", [1, 13, 700, 100_000])
async def test_a_progress_bar_is_seen_while_it_is_drawn(scene: LogScene, size: int) -> None:
    """It has no newline for minutes: it is cut where it begins anew, and no byte of it is lost."""
    log = await scene.hub.open(EXEC)
    bar = b"".join(b"\r%6d of 3000 [%s]" % (n, b"#" * (n // 150)) for n in range(3000))
    for number, begin in enumerate(range(0, len(bar), size)):
        log.add(OUT, bar[begin : begin + size])
        if number % 1000 == 500:
            await log.flush()
            scene.restart()
            log = await scene.hub.open(EXEC)
    while_drawn = await scene.lines()
    log.add(OUT, b"\r\ndone\n")
    lines = await scene.lines()
    assert b"".join(line.data for line in lines) == bar + b"\r\ndone\n"
    assert all(len(line.data) <= 4096 + 64 + size for line in lines)
    assert max(len(line.message) for line in lines) < 50
    assert len(while_drawn) >= len(lines) - 3
    assert [line.message for line in lines][-2:] == [b"  2999 of 3000 [" + b"#" * 19 + b"]", b"done"]


async def test_lines_that_end_as_on_windows_are_never_cut_in_their_ending(scene: LogScene) -> None:
    """Also when they come byte by byte and are long."""
    log = await scene.hub.open(EXEC)
    printed = (b"x" * 5000 + b"\r\n") * 3
    for begin in range(len(printed)):
        log.add(OUT, printed[begin : begin + 1])
    assert await scene.texts() == [b"x" * 5000] * 3


async def test_the_last_rows_are_stored_with_the_final_status(scene: LogScene) -> None:
    """The log is complete when the status becomes final: its rows go into that very transaction."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"first\nunfinished")
    await log.flush()
    log.add(OUT, b" line")
    rows = log.drain()
    assert [row.seq for row in rows] == [1]
    await scene.database.write(lambda c: store.insert(c, rows))
    log.confirm()
    assert log.unstored_bytes == 0
    scene.restart()
    assert await scene.texts() == [b"first", b"unfinished line"]


@pytest.mark.parametrize("is_restarted", [False, True])
async def test_an_unfinished_last_line_has_the_time_of_its_last_bytes(
    scene: LogScene, *, is_restarted: bool
) -> None:
    """Not that at which the end was noticed, which lies after the run's own end."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"no newline ")
    scene.clock.forward(1)
    log.add(OUT, b"at the end")
    if is_restarted:
        await log.flush()
        scene.restart()
        log = await scene.hub.open(EXEC)
    scene.clock.forward(5)
    log.end_output()
    log.system("Ended")
    ended_at = NOON + timedelta(seconds=1)
    assert await scene.texts(start=NOON, end=ended_at) == [b"no newline at the end"]
    assert await scene.texts(start=NOON, end=ended_at, order="desc") == [b"no newline at the end"]
    assert [line.at for line in await scene.lines()] == [ended_at, NOON + timedelta(seconds=6)]


async def test_an_unfinished_line_never_goes_back_behind_what_was_shown(scene: LogScene) -> None:
    """Whoever has read the other stream's later line finds it after that one."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"unfinished")
    scene.clock.forward(1)
    log.add(ERR, b"later\n")
    [shown] = await scene.lines()
    scene.clock.forward(1)
    log.end_output()
    [rest] = await scene.lines(cursor=run_cursor(EXEC, shown.position))
    assert (rest.data, rest.at) == (b"unfinished", shown.at)


async def test_a_drain_whose_transaction_failed_is_done_again(scene: LogScene) -> None:
    """Nothing is let go before it is confirmed."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"a\n")
    first = log.drain()
    log.add(OUT, b"b\n")
    again = log.drain()
    assert [row.seq for row in again] == [0, 1]
    assert again[0] == first[0]
    await scene.database.write(lambda c: store.insert(c, again))
    log.confirm()
    await scene.hub.close(EXEC)
    assert await scene.texts() == [b"a", b"b"]


async def test_rows_stored_twice_are_stored_once(scene: LogScene) -> None:
    """A flush under way and the last drain hold the same rows."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"a\n")
    rows = log.drain()
    await asyncio.gather(log.flush(), scene.database.write(lambda c: store.insert(c, rows)))
    log.confirm()
    assert await scene.texts() == [b"a"]


async def test_a_refusing_database_loses_nothing(scene: LogScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """What could not be stored stays in memory and is stored by the next try."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"a\n")
    refusal = OperationalError("INSERT", {}, Exception("database or disk is full"))

    def refuse(*_: object) -> None:
        raise refusal

    with monkeypatch.context() as patch:
        patch.setattr("scheduler.logs.hub.insert", refuse)
        with pytest.raises(UnavailableError, match="disk is full"):
            await log.flush()
    log.add(OUT, b"b\n")
    await log.flush()
    assert await scene.texts() == [b"a", b"b"]


async def test_the_hub_tries_again_by_itself(scene: LogScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """And the stream waits meanwhile, once there is too much in memory."""
    monkeypatch.setattr("scheduler.logs.hub.FIRST_BACKOFF_SECONDS", 0.001)
    tries = 0

    def insert(*arguments: object) -> None:
        nonlocal tries
        tries += 1
        if tries < 4:
            raise OperationalError("INSERT", {}, Exception("database is locked"))
        store.insert(*arguments)  # type: ignore[arg-type]

    monkeypatch.setattr("scheduler.logs.hub.insert", insert)
    running = asyncio.create_task(scene.hub.run())
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"x" * CAPTURE_BYTES + b"\n")
    assert log.unstored_bytes > CAPTURE_BYTES
    await asyncio.wait_for(log.room(), PATIENCE)
    assert tries == 4
    assert log.unstored_bytes == 0
    running.cancel()
    assert [len(text) for text in await scene.texts()] == [CAPTURE_BYTES]


async def test_a_quiet_stream_is_stored_promptly_by_itself(
    scene: LogScene, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody needs to ask."""
    running = asyncio.create_task(scene.hub.run())
    log = await scene.hub.open(EXEC)
    stored = asyncio.Event()
    note = log.stored

    def note_and_tell(seq: int) -> None:
        note(seq)
        stored.set()

    monkeypatch.setattr(log, "stored", note_and_tell)
    clock = asyncio.get_running_loop().time
    before = clock()
    log.add(OUT, b"hello\n")
    assert before <= log.due - capture.PROMPT_SECONDS <= clock()
    await asyncio.wait_for(stored.wait(), PATIENCE)
    assert [row.lines for row in await scene.rows()] == [1]
    now = clock()
    log.add(OUT, b"more\n")
    # From when the first was stored on, or, where that is long ago, promptly.
    assert max(before + capture.BUSY_SECONDS, now + capture.PROMPT_SECONDS) <= log.due
    assert log.due <= clock() + capture.BUSY_SECONDS
    running.cancel()


async def test_a_full_chunk_is_due_at_once(scene: LogScene) -> None:
    """A busy stream does not wait for its second to pass."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"a\n")
    await log.flush()
    log.add(OUT, b"x" * builder.CHUNK_BYTES)
    assert log.due <= asyncio.get_running_loop().time()


async def test_two_who_open_a_log_get_the_same_capture(scene: LogScene) -> None:
    """Two writers of one log would write over each other."""
    first, second = await asyncio.gather(scene.hub.open(EXEC), scene.hub.open(EXEC))
    assert first is second is scene.hub.get(EXEC)


async def test_an_exec_deleted_meanwhile_loses_its_capture_alone(scene: LogScene) -> None:
    """Others in the same transaction are stored."""
    other = EXEC.replace("0", "1")

    def copy(connection: sa.Connection) -> None:
        row = dict(connection.execute(sa.select(execs)).mappings().one())
        connection.execute(execs.insert(), [row | {"id": other, "number": 2}])

    await scene.database.write(copy)
    gone, stays = await scene.hub.open(other), await scene.hub.open(EXEC)
    gone.add(OUT, b"gone\n")
    stays.add(OUT, b"stays\n")
    await scene.database.write(lambda c: c.execute(sa.delete(execs).where(execs.c.id == other)))
    await scene.hub.close_all()
    assert gone.lost is not None
    assert await scene.texts() == [b"stays"]
    gone.add(OUT, b"more\n")
    await asyncio.wait_for(gone.room(), PATIENCE)
    assert gone.drain() == []


async def test_a_daemon_that_lost_the_exec_writes_nothing(tmp_path: Path) -> None:
    """After a pause longer than its lease, another one writes this log."""
    scene = LogScene(tmp_path, owner="here")
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"mine\n")
    await log.flush()
    await scene.database.write(lambda c: c.execute(sa.update(execs).values(owner="there")))
    log.add(OUT, b"too late\n")
    await log.flush()
    assert log.lost is not None
    assert await scene.texts() == [b"mine"]
    await scene.database.close()


async def test_two_writers_of_one_log_are_noticed(scene: LogScene) -> None:
    """The later one gives up; nothing is mixed."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"mine\n")
    other = scene.hub
    scene.restart()
    intruder = await scene.hub.open(EXEC)
    intruder.add(OUT, b"theirs\n")
    await intruder.flush()
    await other.flush(EXEC)
    assert log.lost is not None
    assert await scene.texts() == [b"theirs"]


async def test_one_commit_stores_many_captures(scene: LogScene, monkeypatch: pytest.MonkeyPatch) -> None:
    """Sixty runs that print do not cost sixty syncs of the disk."""
    ids = [f"{number:08d}" for number in range(60)]

    def copy(connection: sa.Connection) -> None:
        row = dict(connection.execute(sa.select(execs)).mappings().one())
        connection.execute(
            execs.insert(), [row | {"id": one, "number": number} for number, one in enumerate(ids, 2)]
        )

    await scene.database.write(copy)
    logs: list[Capture] = [await scene.hub.open(one) for one in ids]
    writes = 0
    write = scene.database.write
    done = asyncio.Event()

    async def count(work: Callable[[sa.Connection], object], *, durable: bool = True) -> object:
        nonlocal writes
        writes += 1
        result = await write(work, durable=durable)
        done.set()
        return result

    monkeypatch.setattr(scene.database, "write", count)
    for log in logs:
        log.add(OUT, b"hello\n")
    running = asyncio.create_task(scene.hub.run())
    await asyncio.wait_for(done.wait(), PATIENCE)
    running.cancel()
    await scene.hub.close_all()
    assert writes == 1
    found = await scene.database.read(
        lambda c: c.execute(sa.select(sa.func.count()).select_from(log_chunks)).scalar()
    )
    assert found == 60
