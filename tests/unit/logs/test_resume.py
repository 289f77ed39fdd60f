"""Going on from the engine's copy: every byte once where that can be, a word about it where it cannot."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from scheduler.domain.stream import Stream
from scheduler.logs.cursor import SAMPLE_BYTES, LogCursor, StreamCursor
from scheduler.logs.recovering import read_on
from scheduler.logs.resume import Aligner, EngineFrame, Locator
from scheduler.store.tables import to_micros
from tests.unit.logs.scene import EXEC, NOON, LogScene

OUT, ERR = Stream.STDOUT, Stream.STDERR


def cursor_of(stdout: bytes, stderr: bytes = b"", last_at: datetime | None = None) -> LogCursor:
    """The cursor of a log that has taken down these bytes."""
    at = None if last_at is None else to_micros(last_at)
    return LogCursor(
        streams={
            stream: StreamCursor(len(data), data[:SAMPLE_BYTES], data[-SAMPLE_BYTES:], at)
            for stream, data in ((OUT, stdout), (ERR, stderr))
        }
    )


def frames_of(data: bytes, cuts: Sequence[int], stream: Stream = OUT) -> list[EngineFrame]:
    """Bytes as frames, cut there."""
    ends = sorted({cut % (len(data) + 1) for cut in cuts} | {0, len(data)})
    return [(stream, data[a:b], None) for a, b in pairwise(ends)]


def lines_at(first: int, count: int, start: datetime) -> list[EngineFrame]:
    """Numbered lines, one a second."""
    return [(OUT, b"line %d\n" % (first + n), start + timedelta(seconds=first + n)) for n in range(count)]


def joined(frames: Sequence[EngineFrame], stream: Stream = OUT) -> bytes:
    """The bytes of one stream."""
    return b"".join(data for one, data, _ in frames if one is stream)


CUTS = st.lists(st.integers(0, 30_000), max_size=12)


@given(st.binary(max_size=20_000), st.binary(max_size=50), st.integers(0), st.integers(0), CUTS)
@settings(max_examples=200)
def test_wherever_it_was_cut_every_byte_comes_once(
    stdout: bytes, stderr: bytes, cut_out: int, cut_err: int, cuts: list[int]
) -> None:
    """Any bytes, any place reached in each stream, any frames."""
    reached_out, reached_err = cut_out % (len(stdout) + 1), cut_err % (len(stderr) + 1)
    aligner = Aligner(cursor_of(stdout[:reached_out], stderr[:reached_err]))
    out, err = frames_of(stdout, cuts), frames_of(stderr, cuts, ERR)
    new = [frame for n in range(20) for frame in aligner.feed(out[n : n + 1] + err[n : n + 1])]
    assert joined(new) == stdout[reached_out:]
    assert joined(new, ERR) == stderr[reached_err:]
    assert aligner.finish()


@given(
    st.lists(st.integers(0, 255), min_size=1, max_size=3), st.integers(0, 3000), st.integers(1, 2000), CUTS
)
def test_output_that_repeats_itself_is_counted(
    unit: list[int], stored: int, more: int, cuts: list[int]
) -> None:
    """The tail stands everywhere in it; the place is told by the count."""
    whole = (bytes(unit) * 5000)[: stored + more]
    aligner = Aligner(cursor_of(whole[:stored]))
    assert joined(aligner.feed(frames_of(whole, cuts))) == whole[stored:]


@given(st.integers(0, 3999), st.integers(1, 4000), CUTS)
@settings(max_examples=60)
def test_a_rotated_copy_is_searched_for_the_last_stored_bytes(
    stored_lines: int, lost_lines: int, cuts: list[int]
) -> None:
    """The engine threw away the oldest part, perhaps even what was never taken down."""
    lines = [b"this is line %d\n" % number for number in range(4000)]
    stored, copy = b"".join(lines[:stored_lines]), b"".join(lines[lost_lines:])
    cursor = cursor_of(stored)
    aligner = Aligner(cursor)
    new = joined(aligner.feed(frames_of(copy, cuts)))
    if stored:
        assert new == b""
        assert not aligner.finish()
    locator = Locator(cursor)
    locator.feed(frames_of(copy, cuts[::-1]))
    aligner = locator.aligner()
    assert joined(aligner.feed(frames_of(copy, cuts))) == b"".join(lines[max(stored_lines, lost_lines) :])
    assert aligner.finish()
    # 1,024 bytes that stand there once leave no doubt.
    if stored and len(b"".join(lines[lost_lines:stored_lines])) < 1024:
        assert locator.notes
    if stored and len(b"".join(lines[lost_lines:stored_lines])) > SAMPLE_BYTES:
        assert locator.notes == []


@given(st.binary(min_size=1, max_size=8000), st.integers(0), CUTS)
@settings(max_examples=100)
def test_replaced_bytes_do_not_move_the_place(noise: bytes, cut: int, cuts: list[int]) -> None:
    """``json-file`` turns each invalid byte into U+FFFD, so that counts do not fit any more."""
    marks = b"".join(b"<%05d>" % number for number in range(300))
    stored, later = noise[: cut % len(noise)] + b"\n" + marks, b"and more\n"
    copy = stored.decode("utf-8", "replace").encode() + later
    cursor = cursor_of(stored)
    aligner = Aligner(cursor)
    new = joined(aligner.feed(frames_of(copy, cuts)))
    if not aligner.is_lost and aligner.finish():
        assert new == later
        return
    locator = Locator(cursor)
    locator.feed(frames_of(copy, cuts))
    assert joined(locator.aligner().feed(frames_of(copy, cuts))) == later
    assert locator.notes == []


@pytest.mark.parametrize("after", [0, 3, 100, 5000])
def test_the_missing_newline_of_a_very_long_line_is_got_over(after: int) -> None:
    """``local`` loses it when the line is longer than 16 KiB."""
    rest = b"".join(b"%d," % number for number in range(after))[:after]
    stored = b"first\n" + b"x" * 100_000 + b"\n" + rest
    copy = stored.replace(b"x\n", b"x") + b"; and more\n"
    cursor = cursor_of(stored, last_at=NOON)
    timed = [
        (OUT, data, NOON - timedelta(seconds=1))
        for _, data, _ in frames_of(copy[: len(stored) - 1], [16384, 50_000])
    ]
    timed.append((OUT, b"; and more\n", NOON + timedelta(seconds=1)))
    aligner = Aligner(cursor)
    aligner.feed(timed)
    assert aligner.is_lost
    locator = Locator(cursor)
    locator.feed(timed)
    assert joined(locator.aligner().feed(timed)) == b"; and more\n"


def test_the_engines_times_decide_between_places_that_look_alike() -> None:
    """A rotated log of lines that are all the same."""
    frames: list[EngineFrame] = [(OUT, b"tick\n", NOON + timedelta(seconds=n)) for n in range(3000)]
    cursor = cursor_of(b"tick\n" * 2000, last_at=NOON + timedelta(seconds=1999.5))
    rotated: EngineFrame = (OUT, b"rotated\n", NOON + timedelta(seconds=99))
    for copy in ([rotated, *frames[100:]], frames[100:]):
        locator = Locator(cursor)
        locator.feed(copy)
        assert joined(locator.aligner().feed(copy)) == b"tick\n" * 1000
        assert locator.notes == []


def test_what_cannot_be_known_is_said() -> None:
    """Lines that are all the same, no times, and a beginning that is gone."""
    cursor = cursor_of(b"begin\n" + b"tick\n" * 2000)
    locator = Locator(cursor)
    locator.feed([(OUT, b"tick\n" * 1500, None)])
    locator.aligner()
    [note] = locator.notes
    assert "missing or repeated" in note


def test_what_the_engine_threw_away_is_said() -> None:
    """Nothing of what is stored stands in the copy any more: all of it is new, and something is missing."""
    cursor = cursor_of(b"old\n" * 100, last_at=NOON)
    copy = lines_at(10, 5, NOON)
    locator = Locator(cursor)
    locator.feed(copy)
    assert joined(locator.aligner().feed(copy)) == joined(copy)
    [note] = locator.notes
    assert "has discarded it" in note


class EngineCopy:
    """An engine's log that can be changed between readings."""

    def __init__(self, *readings: list[EngineFrame]) -> None:
        self.readings = list(readings)
        self.opened: list[bool] = []

    async def open(self, follow: bool) -> AbstractAsyncContextManager[AsyncIterator[list[EngineFrame]]]:
        """The next reading; the last one again and again."""
        self.opened.append(follow)
        frames = self.readings.pop(0) if len(self.readings) > 1 else self.readings[0]

        async def batches() -> AsyncIterator[list[EngineFrame]]:
            for begin in range(0, len(frames), 3):
                yield frames[begin : begin + 3]

        @asynccontextmanager
        async def source() -> AsyncIterator[AsyncIterator[list[EngineFrame]]]:
            yield batches()

        return source()


@pytest.mark.parametrize("stored", [0, 1, 7, 20])
async def test_a_capture_goes_on_from_the_copy(scene: LogScene, stored: int) -> None:
    """With the engine's own times, after a kill that came anywhere."""
    whole = lines_at(0, 20, NOON)
    log = await scene.hub.open(EXEC)
    for stream, data, _ in whole[:stored]:
        log.add(stream, data)
    log.add(OUT, b"lin" if stored < 20 else b"")
    await log.flush()
    scene.restart()
    scene.clock.forward(3600)
    log = await scene.hub.open(EXEC)
    copy = EngineCopy(whole)
    await read_on(log, copy.open, follow=True)
    assert copy.opened == [True]
    lines = await scene.lines()
    assert b"".join(line.data for line in lines) == joined(whole)
    assert [line.at for line in lines[stored:]] == [NOON + timedelta(seconds=n) for n in range(stored, 20)]


@pytest.mark.parametrize("ahead", [timedelta(hours=-1), timedelta(hours=1)])
async def test_times_of_an_engine_whose_clock_is_wrong_are_made_ours(
    scene: LogScene, ahead: timedelta
) -> None:
    """Lines that came by while nobody listened have the times at which they were printed, by our clock."""
    whole = lines_at(0, 20, NOON + ahead)
    log = await scene.hub.open(EXEC)
    for stream, data, _ in whole[:5]:
        log.add(stream, data)
        scene.clock.forward(1)
    await log.flush()
    scene.restart()
    scene.clock.forward(60)
    log = await scene.hub.open(EXEC)
    await read_on(log, EngineCopy(whole).open, follow=True, ahead=ahead)
    assert [line.at - NOON for line in await scene.lines()] == [timedelta(seconds=n) for n in range(20)]


async def test_a_copy_that_keeps_rotating_is_read_again(scene: LogScene) -> None:
    """Between searching and reading it lost more."""
    whole: list[EngineFrame] = [
        (OUT, b"this is line number %06d\n" % n, NOON + timedelta(seconds=n)) for n in range(400)
    ]
    log = await scene.hub.open(EXEC)
    scene.clock.forward(199)
    log.add_frames(whole[:200])
    scene.clock.forward(3600)
    copy = EngineCopy(whole[50:], whole[50:], whole[60:], whole[60:])
    await read_on(log, copy.open, follow=True)
    assert copy.opened == [True, False, True, False, True]
    assert b"".join(line.data for line in await scene.lines()) == joined(whole)


async def test_a_loss_is_told_in_the_log_itself(scene: LogScene) -> None:
    """Whoever reads it sees where something is missing."""
    log = await scene.hub.open(EXEC)
    log.add(OUT, b"old\n" * 100)
    scene.clock.forward(3600)
    await read_on(log, EngineCopy(lines_at(10, 2, NOON)).open, follow=False)
    lines = await scene.lines()
    assert [line.stream for line in lines[100:]] == [Stream.SYSTEM, OUT, OUT]
    assert b"missing" in lines[100].data
