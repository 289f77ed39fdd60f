"""Frames become lines as their definition says, wherever frames and chunks are cut."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.logs.chunks import LINE_ENDS, Frame
from scheduler.logs.lines import FrameLines, LineSplitter, chunk_of, open_end, shown, without_ending
from tests.unit.logs.scene import slow_lines

PIECES = st.lists(
    st.tuples(st.sampled_from([1, 2, 0x81, 0x82]), st.text("ab\r\n", max_size=6)).map(
        lambda one: (one[0], one[1].encode())
    ),
    max_size=25,
)


def frames_of(pieces: list[tuple[int, bytes]]) -> list[Frame]:
    """Frames, one a microsecond."""
    return [Frame(kind, number, data) for number, (kind, data) in enumerate(pieces)]


def flat(runs: list[FrameLines]) -> list[tuple[int, int, bytes]]:
    """Runs as single lines."""
    return [(run.at, run.stream, line) for run in runs for line in run.lines]


@given(PIECES, st.lists(st.integers(0, 25), max_size=4).map(sorted))
def test_lines_come_out_as_defined_wherever_chunks_are_cut(
    pieces: list[tuple[int, bytes]], cuts: list[int]
) -> None:
    """Against a definition that looks at one byte at a time."""
    frames = frames_of(pieces)
    splitter = LineSplitter([1, 2])
    runs = []
    for seq, (first, last) in enumerate(zip([0, *cuts], [*cuts, 99], strict=True)):
        runs += splitter.feed(seq, frames[first:last])
    # A chunk's end is no end of a line, and marks on empty frames with nothing open make no line.
    assert flat(runs) == slow_lines(frames)
    positions = [run.position + n for run in runs for n in range(len(run.lines))]
    assert positions == sorted(set(positions))


@given(PIECES, st.integers(0, 25), st.integers(0, 25), st.sampled_from([[1], [2], [1, 2]]))
def test_reading_can_begin_anywhere(
    pieces: list[tuple[int, bytes]], begin: int, start: int, streams: list[int]
) -> None:
    """What is open there is fetched, and once only if it is wanted."""
    frames = frames_of(pieces)
    heads = {}
    for stream in streams:
        rest, _ = open_end(frames[:begin], stream)
        if rest:
            heads[stream] = lambda rest=rest: rest
    splitter = LineSplitter(streams, start=start, heads=heads)
    assert flat(splitter.feed(7, frames[begin:])) == [
        line for line in slow_lines(frames) if line[0] >= max(begin, start) and line[1] in streams
    ]


def test_the_beginning_of_a_line_is_not_fetched_when_the_line_is_not_wanted() -> None:
    """It could be megabytes away."""

    def never() -> bytes:
        raise AssertionError

    splitter = LineSplitter([1, 2], start=5, heads={1: never, 2: never})
    runs = splitter.feed(0, [Frame(1, 1, b"end\nnext"), Frame(1, 6, b" line\n"), Frame(2, 7, b"still open")])
    assert flat(runs) == [(6, 1, b"next line\n")]


@pytest.mark.parametrize(
    ("pieces", "lines"),
    [
        ([b"a\r\nb\n"], [b"a\r\n", b"b\n"]),
        ([b"a\r", b"\nb\n"], [b"a\r\n", b"b\n"]),
        ([b"a\rb\r\r\n"], [b"a\rb\r\r\n"]),
        ([b"\n\n"], [b"\n", b"\n"]),
        ([b"a\n", b"\n"], [b"a\n", b"\n"]),
        ([b"open"], []),
        ([b"\xff\x00\v\f\x85\n"], [b"\xff\x00\v\f\x85\n"]),
    ],
)
def test_a_line_ends_with_its_newline_and_nothing_else_ends_it(
    pieces: list[bytes], lines: list[bytes]
) -> None:
    """Not a byte is taken away, wherever the frames are cut."""
    splitter = LineSplitter([1])
    runs = splitter.feed(0, [Frame(1, 0, piece) for piece in pieces])
    assert [line for run in runs for line in run.lines] == lines


@pytest.mark.parametrize(
    ("data", "message"),
    [(b"a\n", b"a"), (b"a\r\n", b"a"), (b"a\r\r\n", b"a\r"), (b"a\r", b"a\r"), (b"\n", b""), (b"a", b"a")],
)
def test_a_message_is_a_line_without_its_ending(data: bytes, message: bytes) -> None:
    """A carriage return belongs to the ending only with the newline that follows it."""
    assert without_ending(data) == message


def test_a_line_has_the_time_and_the_chunk_of_the_frame_that_completed_it() -> None:
    """So that lines of both streams have one order."""
    splitter = LineSplitter([1, 2])
    first = splitter.feed(3, [Frame(1, 10, b"a"), Frame(2, 11, b"b\n")])
    second = splitter.feed(4, [Frame(1, 12, b"c\nd\n")])
    assert flat(first + second) == [(11, 2, b"b\n"), (12, 1, b"ac\n"), (12, 1, b"d\n")]
    assert [chunk_of(run.position) for run in first + second] == [3, 4]


def test_a_line_that_was_ended_without_newline_is_a_line() -> None:
    """The capture marks so the end of the output."""
    splitter = LineSplitter([1])
    runs = splitter.feed(0, [Frame(1, 1, b"abc"), Frame(1 | LINE_ENDS, 2, b""), Frame(1, 3, b"d\n")])
    assert flat(runs) == [(2, 1, b"abc"), (3, 1, b"d\n")]


def test_lines_before_and_after_a_gap_are_not_joined() -> None:
    """What was open before it comes out as it is."""
    splitter = LineSplitter([1])
    splitter.feed(0, [Frame(1, 1, b"before")])
    assert flat(splitter.break_off(2, 1)) == [(2, 1, b"before")]
    assert flat(splitter.feed(2, [Frame(1, 3, b"after\n")])) == [(3, 1, b"after\n")]


@pytest.mark.parametrize(
    ("data", "seen"),
    [
        (b"plain\n", b"plain"),
        (b"windows\r\n", b"windows"),
        (b"\r 1%\r 2%\r100%\n", b"100%"),
        (b"1%\r2%\r", b"2%"),
        (b"1%\r2%\r\r\n", b"2%"),
        (b"\r\n", b""),
        (b"\r", b""),
        (b"only the end counts\rdone", b"done"),
    ],
)
def test_of_a_line_that_was_drawn_anew_the_last_state_is_shown(data: bytes, seen: bytes) -> None:
    """As a terminal shows it, but for the rest of a longer earlier state."""
    assert shown(data) == seen
