"""A log that reaches its limit keeps its beginning and its end, says what is missing, and goes on counting."""

from __future__ import annotations

import random

import pytest

from scheduler.domain.stream import Stream
from scheduler.logs import limit
from scheduler.logs.limit import Overflow
from scheduler.logs.resume import Aligner
from tests.unit.logs.scene import EXEC, LogScene

OUT, ERR = Stream.STDOUT, Stream.STDERR
LIMIT = 10_000


@pytest.fixture(autouse=True)
def _short_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limit, "TAIL_BYTES", 1000)
    monkeypatch.setattr(limit, "TAIL_PIECES", 1000)


def numbered(count: int) -> bytes:
    """Lines of ten bytes."""
    return b"".join(b"%09d\n" % number for number in range(count))


async def test_a_log_within_its_limit_is_kept_whole(scene: LogScene) -> None:
    """To the very byte, and without a word about it."""
    log = await scene.hub.open(EXEC, limit=LIMIT)
    log.add(OUT, numbered(1000))
    log.end_output()
    assert await scene.texts() == numbered(1000).split()


@pytest.mark.parametrize("size", [1, 7, 64, 3000, 1_000_000])
async def test_beginning_and_end_are_kept_and_what_is_missing_is_said(scene: LogScene, size: int) -> None:
    """However the output was cut into reads, and with the number of bytes that are missing."""
    log = await scene.hub.open(EXEC, limit=LIMIT)
    printed = numbered(3000) + b"at last"
    for begin in range(0, len(printed), size):
        log.add(OUT, printed[begin : begin + size])
    log.end_output()
    log.system("Ended")

    lines = await scene.lines()
    own = [index for index, line in enumerate(lines) if line.stream is Stream.SYSTEM]
    head, tail = lines[: own[0]], lines[own[1] + 1 : own[2]]
    assert [line.data for line in head] == numbered(1000).splitlines(keepends=True)
    end = b"".join(line.data for line in tail)
    assert printed.endswith(b"\n" + end)
    assert len(end) > (1000 - max(size, 20) if size < 1000 else 900)
    assert own[:2] == [1000, 1001]
    assert lines[own[0]].message.startswith(b"The log has reached its limit of 10,000 bytes.")
    missing = len(printed) - LIMIT - len(end)
    assert lines[own[1]].message == f"{missing:,} bytes of output are missing here.".encode()


async def test_both_streams_are_cut_together_and_end_with_their_own_lines(scene: LogScene) -> None:
    """The limit counts both, our own lines do not, and no line begins in its middle."""
    log = await scene.hub.open(EXEC, limit=LIMIT)
    log.system("x" * 5000)
    log.add(ERR, b"open on stderr")
    log.add(OUT, numbered(2000))
    log.add(ERR, b", rest of it\nwhole\n")
    log.add(OUT, b"last\n")
    log.end_output()
    lines = await scene.lines()
    kept = sum(len(line.data) for line in lines if line.stream is not Stream.SYSTEM)
    assert b"open on stderr" in [line.data for line in lines]
    end = [(line.stream, line.data) for line in lines][-2:]
    assert end == [(ERR, b"whole\n"), (OUT, b"last\n")]
    missing = 14 + 20_000 + len(b", rest of it\nwhole\nlast\n") - kept
    assert f"{missing:,} bytes of output are missing here." in [line.message.decode() for line in lines]


@pytest.mark.parametrize("seed", range(8))
async def test_a_kill_at_any_moment_changes_nothing_that_is_kept(scene: LogScene, seed: int) -> None:
    """The engine's copy is read on at the cursor: nothing is stored twice, said twice or counted twice."""
    dice = random.Random(seed)  # noqa: S311 - the same cuts in every run
    printed = numbered(2500)

    async def go_on(begin: int, end: int) -> int:
        """Read the engine's copy from its beginning up to a byte."""
        log = await scene.hub.open(EXEC, limit=LIMIT)
        aligner = Aligner(log.cursor())
        for at in range(0, end, 333):
            log.add_frames(aligner.feed([(OUT, printed[at : min(at + 333, end)], None)]))
        assert not aligner.is_lost
        assert aligner.finish()
        await log.flush()
        return begin

    for end in sorted(dice.sample(range(len(printed)), 6)):
        await go_on(0, end)
        if dice.random() < 0.5:
            (await scene.hub.open(EXEC)).system("Stopping")
            await scene.hub.flush(EXEC)
        if dice.random() < 0.7:
            scene.restart()
    await go_on(0, len(printed))
    log = await scene.hub.open(EXEC)
    log.end_output()
    await log.flush()
    scene.restart()
    log = await scene.hub.open(EXEC, limit=LIMIT)
    assert log.cursor().streams[OUT].end == len(printed)
    log.drain()

    lines = [line for line in await scene.lines() if line.message != b"Stopping"]
    own = [line.message.decode() for line in lines if line.stream is Stream.SYSTEM]
    kept = b"".join(line.data for line in lines if line.stream is OUT)
    assert kept[:LIMIT] == printed[:LIMIT]
    assert printed.endswith(kept[LIMIT:])
    assert len(own) == 2
    assert own[1].startswith(f"{len(printed) - len(kept):,} bytes")


async def test_a_flood_beyond_the_limit_takes_no_memory(scene: LogScene) -> None:
    """Neither in large pieces nor in single bytes."""
    log = await scene.hub.open(EXEC, limit=LIMIT)
    log.add(OUT, numbered(2000))
    await log.flush()
    before = log.unstored_bytes
    for _ in range(100):
        log.add(OUT, b"x" * 1_000_000)
    assert log.unstored_bytes == before
    overflow = Overflow()
    for _ in range(10_000):
        overflow.add(OUT, b"\n", 0)
    assert len(overflow.finish()[1]) <= 1000


def test_an_end_without_any_newline_is_kept_as_it_is() -> None:
    """There is no line to begin with."""
    overflow = Overflow()
    overflow.add(OUT, b"x" * 5000, 7)
    missing, [piece] = overflow.finish()
    assert (missing, piece) == ({OUT: 4000}, (OUT, b"x" * 1000, 7))


def test_each_stream_keeps_its_last_words_however_much_of_the_other_comes_after_them() -> None:
    """Engines hand on one stream late: a whole pipe's contents of it, and more."""
    overflow = Overflow()
    overflow.add(OUT, b"early\n" * 1000 + b"the last word\n", 1)
    for number in range(3000):
        overflow.add(ERR, b"%09d\n" % number, 2)
    missing, pieces = overflow.finish()
    out = b"".join(piece.data for piece in pieces if piece.stream == OUT)
    err = b"".join(piece.data for piece in pieces if piece.stream == ERR)
    assert out.endswith(b"early\nthe last word\n")
    assert err.endswith(b"000002998\n000002999\n")
    assert [piece.at for piece in pieces] == sorted(piece.at for piece in pieces)
    assert min(len(out), len(err)) >= 400
    assert len(out) + len(err) <= 1000
    assert missing == {OUT: 6014 - len(out), ERR: 30_000 - len(err)}


def test_a_stream_that_says_little_leaves_its_share_to_the_other() -> None:
    """What is held in all is used up."""
    overflow = Overflow()
    overflow.add(ERR, b"one word\n", 1)
    overflow.add(OUT, numbered(500), 2)
    _, pieces = overflow.finish()
    assert pieces[0] == (ERR, b"one word\n", 1)
    assert len(pieces[1].data) >= 980
