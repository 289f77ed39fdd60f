"""The decoder of multiplexed streams, fed with every cut there can be."""

from __future__ import annotations

import struct
from datetime import UTC, datetime
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from scheduler.domain.stream import Stream
from scheduler.engine.errors import EngineUnavailableError, StreamBrokenError
from scheduler.engine.frames import FrameDecoder, parse_time
from scheduler.engine.types import LogFrame
from tests.lab.work import calls_of, processor_seconds

STAMP = b"2026-01-31T09:54:00.123456789Z"
AT = datetime(2026, 1, 31, 9, 54, 0, 123456, tzinfo=UTC)

wire_frames = st.lists(st.tuples(st.sampled_from([1, 2]), st.binary(max_size=50)), max_size=20)


def encode(*frames: tuple[int, bytes]) -> bytes:
    """The frames as an engine sends them."""
    return b"".join(struct.pack(">BxxxI", stream, len(data)) + data for stream, data in frames)


def decode(pieces: list[bytes], *, timestamps: bool = False) -> list[LogFrame]:
    """What a decoder makes of the pieces, to the end."""
    decoder = FrameDecoder(timestamps=timestamps)
    frames = [frame for piece in pieces for frame in decoder.feed(piece)]
    decoder.finish()
    return frames


def joined(frames: list[LogFrame]) -> list[tuple[Stream, bytes, datetime | None]]:
    """The frames with neighbours of one stream and time put together."""
    result: list[tuple[Stream, bytes, datetime | None]] = []
    for stream, data, at in frames:
        if result and result[-1][0] is stream and result[-1][2] == at:
            result[-1] = (stream, result[-1][1] + data, at)
        else:
            result.append((stream, data, at))
    return result


def cut(data: bytes, places: list[int]) -> list[bytes]:
    """The data cut at these places."""
    edges = [0, *sorted(place % (len(data) + 1) for place in places), len(data)]
    return [data[begin:end] for begin, end in pairwise(edges)]


@given(wire_frames, st.lists(st.integers(min_value=0), max_size=10))
def test_where_the_stream_is_cut_changes_nothing(frames: list[tuple[int, bytes]], places: list[int]) -> None:
    """The same bytes on the same streams in the same order, however they arrive; and no frame is empty."""
    decoded = decode(cut(encode(*frames), places))
    assert all(frame.data for frame in decoded)
    expected = [LogFrame(Stream(stream), data) for stream, data in frames if data]
    assert joined(decoded) == joined(expected)


@given(wire_frames, st.lists(st.integers(min_value=0), max_size=10))
def test_timestamps_are_taken_off_wherever_the_stream_is_cut(
    frames: list[tuple[int, bytes]], places: list[int]
) -> None:
    """Each frame has its own time, and only its own bytes."""
    wire = encode(*((stream, STAMP + b" " + data) for stream, data in frames))
    expected = [LogFrame(Stream(stream), data, AT) for stream, data in frames if data]
    assert joined(decode(cut(wire, places), timestamps=True)) == joined(expected)


def test_a_stream_byte_by_byte_gives_every_byte_as_it_comes() -> None:
    """A frame need not be complete before its bytes are handed on."""
    decoder = FrameDecoder()
    wire = encode((1, b"abc"))
    seen = [decoder.feed(wire[i : i + 1]) for i in range(len(wire))]
    assert seen[8:] == [[LogFrame(Stream.STDOUT, bytes([c]))] for c in b"abc"]


def test_neighbouring_frames_of_a_stream_that_come_together_are_joined() -> None:
    """A thousand lines that arrive with one read are one object, not a thousand."""
    wire = encode(*[(1, b"line\n")] * 1000, (2, b"oh"), (1, b"x"))
    assert decode([wire]) == [
        LogFrame(Stream.STDOUT, b"line\n" * 1000),
        LogFrame(Stream.STDERR, b"oh"),
        LogFrame(Stream.STDOUT, b"x"),
    ]


def test_a_frame_of_the_greatest_length_is_handed_on_in_pieces() -> None:
    """A header of 4 GiB makes nothing wait or grow."""
    decoder = FrameDecoder()
    assert decoder.feed(struct.pack(">BxxxI", 2, 0xFFFFFFFF) + b"x") == [LogFrame(Stream.STDERR, b"x")]
    assert decoder.feed(b"y" * 100_000) == [LogFrame(Stream.STDERR, b"y" * 100_000)]
    with pytest.raises(StreamBrokenError, match=r"4294867294 bytes"):
        decoder.finish()


@pytest.mark.parametrize("garbage", [b"HTTP/1.1 500", b"\x04\0\0\0\0\0\0\1x", b"\x01\0\1\0\0\0\0\1x"])
def test_what_is_no_header_is_an_error_that_shows_it(garbage: bytes) -> None:
    """The error has the bytes themselves."""
    for timestamps in (False, True):
        with pytest.raises(StreamBrokenError, match=garbage[:8].hex(" ")):
            FrameDecoder(timestamps=timestamps).feed(garbage)


def test_an_error_that_the_engine_puts_into_the_stream_is_raised_with_its_words() -> None:
    """The third stream is the engine's own."""
    with pytest.raises(StreamBrokenError, match="no space left"):
        FrameDecoder().feed(encode((3, b"no space left")))


@pytest.mark.parametrize("end", [3, 8, 10])
def test_an_end_within_a_frame_is_a_broken_connection(end: int) -> None:
    """In the header, right after it, or in the output."""
    decoder = FrameDecoder()
    decoder.feed(encode((1, b"abc"))[:end])
    with pytest.raises(EngineUnavailableError, match="in the middle of a frame"):
        decoder.finish()


@pytest.mark.parametrize("payload", [b"no time at all", b"x" * 200, b"notime", STAMP])
def test_a_frame_without_its_timestamp_is_an_error(payload: bytes) -> None:
    """Output is never taken for a time, nor silently lost."""
    with pytest.raises(StreamBrokenError, match="time"):
        FrameDecoder(timestamps=True).feed(encode((1, payload)))


def test_times_of_any_offset_become_utc() -> None:
    """Engines other than Docker's own write their local time."""
    assert parse_time("2026-01-31T10:54:00.123456789+01:00") == AT
    assert parse_time("2026-01-31T10:54:00+01:00").tzinfo is UTC
    with pytest.raises(StreamBrokenError):
        parse_time("yesterday")


def test_decoding_keeps_up_with_any_engine() -> None:
    """A hundred megabytes in frames of 16 KiB take well under the second that an engine needs for them."""
    wire = encode(*[(1, b"x" * 16384)] * 16)
    decoder = FrameDecoder()

    def decode_all() -> None:
        for _ in range(400):
            decoder.feed(wire)

    with processor_seconds(1.0):
        decode_all()
    assert calls_of(decode_all) < 10 * 400 * 16
