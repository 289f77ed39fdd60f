"""Chunks give back what was put in, or say that they cannot."""

from __future__ import annotations

import random
from contextlib import suppress

import pytest
import zstandard
from hypothesis import given
from hypothesis import strategies as st

from scheduler.logs.chunks import MOST_RAW_BYTES, DamagedChunkError, Frame, decode, encode

FRAMES = st.lists(
    st.builds(
        Frame,
        kind=st.sampled_from([0, 1, 2, 0x81, 0x82]),
        at=st.integers(min_value=0, max_value=2**50),
        data=st.binary(max_size=50),
    ),
    max_size=30,
).map(lambda frames: sorted(frames, key=lambda frame: frame.at))
# From a seed: processes that share the tests out have to find the same ones.
NOISE = random.Random(4).randbytes(100)  # noqa: S311


def packed(frames: list[Frame]) -> bytes:
    """A chunk of these frames."""
    return encode(
        bytes(frame.kind for frame in frames),
        [frame.at for frame in frames],
        [len(frame.data) for frame in frames],
        [frame.data for frame in frames],
    )


@given(FRAMES)
def test_a_chunk_gives_back_its_frames(frames: list[Frame]) -> None:
    """Whatever the streams, times, lengths and bytes."""
    assert decode(packed(frames)) == frames


@given(FRAMES, st.data())
def test_a_changed_byte_is_an_error_and_never_a_wrong_line(frames: list[Frame], data: st.DataObject) -> None:
    """The checksum guards all that the frames are made of."""
    chunk = bytearray(packed(frames))
    index = data.draw(st.integers(0, len(chunk) - 1))
    chunk[index] ^= data.draw(st.integers(1, 255))
    with suppress(DamagedChunkError):
        assert decode(bytes(chunk)) == frames


@pytest.mark.parametrize("chunk", [b"", b"x", NOISE, packed([Frame(1, 5, b"abc\n")])[:-3]])
def test_what_is_no_chunk_is_an_error(chunk: bytes) -> None:
    """Also a chunk that was cut short."""
    with pytest.raises(DamagedChunkError):
        decode(chunk)


@pytest.mark.parametrize("raw", [b"short", b"XXXX" + bytes(20), b"TBC1\xff\xff\xff\x00" + bytes(8)])
def test_what_is_packed_well_but_laid_out_wrong_is_an_error(raw: bytes) -> None:
    """A checksum says nothing about who wrote it."""
    with pytest.raises(DamagedChunkError):
        decode(zstandard.compress(raw))


def test_a_chunk_that_would_fill_the_memory_is_refused() -> None:
    """A few bytes can claim to hold gigabytes."""
    with pytest.raises(DamagedChunkError, match="its header states"):
        decode(zstandard.compress(bytes(MOST_RAW_BYTES + 1)))
