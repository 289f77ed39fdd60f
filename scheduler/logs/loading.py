"""Reads the position of a run's log from the database.

Reads only the last chunk, and as many before it and after the first as the samples need: a few each, however long the
log is.
"""

from __future__ import annotations

from contextlib import closing

from sqlalchemy.engine import Connection

from scheduler.domain.stream import Stream
from scheduler.logs import chunks
from scheduler.logs.chunks import STREAM_BITS, DamagedChunkError, Frame
from scheduler.logs.cursor import OUTPUTS, SAMPLE_BYTES, LogCursor, StreamCursor
from scheduler.logs.lines import open_end
from scheduler.store import logs as store
from scheduler.store.logs import ChunkRow
from scheduler.store.tables import to_micros


def stream_end(row: ChunkRow, stream: int) -> int:
    """The position of a stream after a chunk, in bytes from its beginning."""
    return row.stdout_end if stream == Stream.STDOUT else row.stderr_end


def stream_open_from(row: ChunkRow, stream: int) -> int | None:
    """The chunk in which the line of a stream began that is open at the beginning of a chunk."""
    if stream == Stream.SYSTEM:
        return None
    return row.stdout_open_from if stream == Stream.STDOUT else row.stderr_open_from


def load_cursor(connection: Connection, exec_id: str) -> LogCursor:
    """The position of a run's log; damaged chunks make the samples shorter, but never raise an error."""
    last = store.last_chunk(connection, exec_id)
    if last is None:
        return LogCursor()
    try:
        frames = chunks.decode(last.data)
    except DamagedChunkError:
        frames = None
    streams = {stream: _load_stream(connection, exec_id, stream, last, frames) for stream in OUTPUTS}
    return LogCursor(last.seq + 1, to_micros(last.last_at), streams)


def _load_stream(
    connection: Connection, exec_id: str, stream: Stream, last: ChunkRow, frames: list[Frame] | None
) -> StreamCursor:
    end = stream_end(last, stream)
    head, _ = _sample(connection, exec_id, stream, last, from_back=False)
    tail, last_at = _sample(connection, exec_id, stream, last, from_back=True)
    if frames is None:
        # It is not known whether a line is open; the damage is a gap between lines anyway. A tail from before the
        # damage would be compared with the wrong position.
        return StreamCursor(end, head, b"" if last.streams & (1 << stream) else tail, last_at)
    rest, ended = open_end(frames, stream)
    began = None if ended else stream_open_from(last, stream)
    if began is not None:
        size = _open_bytes(connection, exec_id, stream, began, end)
        return StreamCursor(end, head, tail, last_at, began, size)
    return StreamCursor(end, head, tail, last_at, last.seq if rest else None, len(rest))


def _open_bytes(connection: Connection, exec_id: str, stream: Stream, began: int, end: int) -> int:
    """The length of a line that has been open since chunk `began`."""
    row = next(store.chunks(connection, exec_id, began, began, 1 << stream, limit=1), None)
    if row is None:
        return 0
    try:
        rest, _ = open_end(chunks.decode(row.data), stream)
    except DamagedChunkError:
        rest = b""
    return len(rest) + end - stream_end(row, stream)


def _sample(
    connection: Connection, exec_id: str, stream: Stream, last: ChunkRow, *, from_back: bool
) -> tuple[bytes, int | None]:
    sample = b""
    last_at: int | None = None
    if not from_back and not _has_beginning(connection, exec_id):
        return b"", None
    # One query for all: a log that arrived in small pieces has a chunk for every few bytes of the sample.
    rows = store.chunks(
        connection, exec_id, 0, last.seq, 1 << stream, newest_first=from_back, limit=SAMPLE_BYTES
    )
    expected = stream_end(last, stream) if from_back else 0
    with closing(rows):
        for row in rows:
            try:
                frames = [frame for frame in chunks.decode(row.data) if frame.kind & STREAM_BITS == stream]
            except DamagedChunkError:
                break
            if last_at is None and frames:
                last_at = frames[-1].at
            piece = b"".join(frame.data for frame in frames)
            # Output that was not kept leaves a gap, which a sample must not contain.
            if expected != stream_end(row, stream) - (0 if from_back else len(piece)):
                break
            expected += -len(piece) if from_back else len(piece)
            sample = piece + sample if from_back else sample + piece
            if len(sample) >= SAMPLE_BYTES:
                break
    return (sample[-SAMPLE_BYTES:] if from_back else sample[:SAMPLE_BYTES]), last_at


def _has_beginning(connection: Connection, exec_id: str) -> bool:
    reach = store.extent(connection, exec_id)
    return reach is not None and reach.first_seq == 0
