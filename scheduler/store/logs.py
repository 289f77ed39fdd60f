"""Log chunks in the database: inserted, found by time or number, deleted.

Every function takes a connection and runs inside the caller's transaction. The content of chunks is only interpreted
by `scheduler.logs`.
"""

from __future__ import annotations

from collections.abc import Collection, Generator, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, NamedTuple

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.store.inserting import insert_into
from scheduler.store.tables import execs, log_chunks


class ChunkRow(NamedTuple):
    """A stored chunk; the columns are described in table ``log_chunks``."""

    exec_id: str
    seq: int
    first_at: datetime
    last_at: datetime
    stdout_end: int
    stderr_end: int
    streams: int
    lines: int
    stdout_open_from: int | None
    stderr_open_from: int | None
    raw_bytes: int
    data: bytes


class ChunkConflictError(Exception):
    """Another writer has stored a different chunk in the same place.

    Attributes:
        exec_id: the run whose log it is.
    """

    def __init__(self, exec_id: str, seq: int) -> None:
        self.exec_id = exec_id
        super().__init__(f"chunk {seq} of run {exec_id} was written by another writer")


@dataclass(frozen=True, slots=True)
class Extent:
    """The range of a run's log: the `seq` of the first and of the last chunk."""

    first_seq: int
    last_seq: int


_COLUMNS = [log_chunks.c[name] for name in ChunkRow._fields]


def writable_execs(connection: Connection, exec_ids: Collection[str], owner: str | None) -> set[str]:
    """The runs of these that exist and, if an owner is given, still belong to that instance.

    The rows are locked until the transaction ends, so that ownership cannot change before the chunks are written.
    """
    query = sa.select(execs.c.id).where(execs.c.id.in_(exec_ids)).with_for_update(read=True)
    if owner is not None:
        query = query.where(execs.c.owner == owner)
    return set(connection.execute(query).scalars())


def insert(connection: Connection, rows: Sequence[ChunkRow]) -> None:
    """Store chunks; existing ones are left unchanged, so that a write may safely be repeated.

    Raises:
        ChunkConflictError: there is a different chunk in the same place.
    """
    if not rows:
        return
    insert = insert_into(connection, log_chunks)
    result = connection.execute(insert.on_conflict_do_nothing(), [row._asdict() for row in rows])
    if result.rowcount != len(rows):
        _check_same(connection, rows)


def _check_same(connection: Connection, rows: Iterable[ChunkRow]) -> None:
    for row in rows:
        stored = connection.execute(
            sa.select(log_chunks.c.data).where(
                log_chunks.c.exec_id == row.exec_id, log_chunks.c.seq == row.seq
            )
        ).scalar_one()
        if stored != row.data:
            raise ChunkConflictError(row.exec_id, row.seq)


def extent(connection: Connection, exec_id: str) -> Extent | None:
    """The first and the last chunk of a run's log; None if there are none."""
    of_exec = log_chunks.c.exec_id == exec_id
    # Two subqueries, because SQLite uses the index for a single minimum or maximum, but not for both at once.
    first, last = connection.execute(
        sa.select(
            sa.select(sa.func.min(log_chunks.c.seq)).where(of_exec).scalar_subquery(),
            sa.select(sa.func.max(log_chunks.c.seq)).where(of_exec).scalar_subquery(),
        )
    ).one()
    return None if first is None else Extent(first, last)


def first_ending_at_or_after_query(exec_id: str, moment: datetime) -> sa.Select[int]:
    """Selects the `seq` of the first chunk that contains anything from `moment` on."""
    return (
        sa.select(log_chunks.c.seq)
        .where(log_chunks.c.exec_id == exec_id, log_chunks.c.last_at >= moment)
        .order_by(log_chunks.c.last_at, log_chunks.c.seq)
        .limit(1)
    )


def first_ending_at_or_after(connection: Connection, exec_id: str, moment: datetime) -> int | None:
    """The `seq` of the first chunk that contains anything from `moment` on; None if all ended before."""
    return connection.execute(first_ending_at_or_after_query(exec_id, moment)).scalar()


def chunks_query(
    exec_id: str, first_seq: int, last_seq: int, streams: int, *, newest_first: bool = False, limit: int
) -> sa.Select[Any]:
    """Selects chunks between two numbers (inclusive) that contain any of the streams (one bit each)."""
    return (
        sa.select(*_COLUMNS)
        .where(
            log_chunks.c.exec_id == exec_id,
            log_chunks.c.seq >= first_seq,
            log_chunks.c.seq <= last_seq,
            log_chunks.c.streams.bitwise_and(streams) != 0,
        )
        .order_by(log_chunks.c.seq.desc() if newest_first else log_chunks.c.seq)
        .limit(limit)
    )


def chunks(
    connection: Connection,
    exec_id: str,
    first_seq: int,
    last_seq: int,
    streams: int,
    *,
    newest_first: bool = False,
    limit: int,
) -> Generator[ChunkRow]:
    """Chunks between two numbers (inclusive) that contain any of the streams (one bit each), at most `limit`.

    None if the run was deleted: the rest of its log is being deleted, and would have holes.
    """
    if connection.execute(sa.select(execs.c.id).where(execs.c.id == exec_id)).first() is None:
        return
    query = chunks_query(exec_id, first_seq, last_seq, streams, newest_first=newest_first, limit=limit)
    # Closed as soon as the caller has enough: chunks are fetched one by one.
    with connection.execute(query) as result:
        for row in result:
            yield ChunkRow(*row)


def last_chunk(connection: Connection, exec_id: str) -> ChunkRow | None:
    """The latest chunk of a run's log; None if there is none."""
    row = connection.execute(
        sa.select(*_COLUMNS).where(log_chunks.c.exec_id == exec_id).order_by(log_chunks.c.seq.desc()).limit(1)
    ).one_or_none()
    return None if row is None else ChunkRow(*row)
