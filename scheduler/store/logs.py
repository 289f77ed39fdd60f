"""Log chunks in the database: put in, found by time or number, taken out.

Every function takes a connection and runs inside the caller's transaction. Nothing here looks into a chunk;
`scheduler.logs` does.
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
    """One stored chunk; see table ``log_chunks`` for the meaning of each."""

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
        exec_id: whose log it is.
    """

    def __init__(self, exec_id: str, seq: int) -> None:
        self.exec_id = exec_id
        super().__init__(f"chunk {seq} of exec {exec_id} was written by another writer")


@dataclass(frozen=True, slots=True)
class Extent:
    """How far an exec's log reaches: the first and the last chunk's `seq`."""

    first_seq: int
    last_seq: int


_COLUMNS = [log_chunks.c[name] for name in ChunkRow._fields]


def writable_execs(connection: Connection, exec_ids: Collection[str], owner: str | None) -> set[str]:
    """Which of these execs still exist and, where an owner is given, still belong to that instance.

    The rows are held until the transaction ends, so that a lease cannot move between this and the writing.
    """
    query = sa.select(execs.c.id).where(execs.c.id.in_(exec_ids)).with_for_update(read=True)
    if owner is not None:
        query = query.where(execs.c.owner == owner)
    return set(connection.execute(query).scalars())


def insert(connection: Connection, rows: Sequence[ChunkRow]) -> None:
    """Store chunks; those that are stored already are left alone, so that a write may safely be repeated.

    Raises:
        ChunkConflictError: a different chunk stands in one's place.
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
    """The first and the last chunk of an exec's log; None when there is none."""
    of_exec = log_chunks.c.exec_id == exec_id
    # Two subqueries, as SQLite finds a minimum or a maximum alone at the index's end, but not both at once.
    first, last = connection.execute(
        sa.select(
            sa.select(sa.func.min(log_chunks.c.seq)).where(of_exec).scalar_subquery(),
            sa.select(sa.func.max(log_chunks.c.seq)).where(of_exec).scalar_subquery(),
        )
    ).one()
    return None if first is None else Extent(first, last)


def first_ending_at_or_after_query(exec_id: str, moment: datetime) -> sa.Select[int]:
    """Selects the `seq` of the first chunk that holds anything from `moment` on."""
    return (
        sa.select(log_chunks.c.seq)
        .where(log_chunks.c.exec_id == exec_id, log_chunks.c.last_at >= moment)
        .order_by(log_chunks.c.last_at, log_chunks.c.seq)
        .limit(1)
    )


def first_ending_at_or_after(connection: Connection, exec_id: str, moment: datetime) -> int | None:
    """The `seq` of the first chunk that holds anything from `moment` on; None when all ended before."""
    return connection.execute(first_ending_at_or_after_query(exec_id, moment)).scalar()


def chunks_query(
    exec_id: str, first_seq: int, last_seq: int, streams: int, *, newest_first: bool = False, limit: int
) -> sa.Select[Any]:
    """Selects chunks between two numbers (inclusive) that have any of the streams (one bit each)."""
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
    """Chunks between two numbers (inclusive) that have any of the streams (one bit each), at most `limit`.

    None when the exec is gone: what is left of its log is being cleared away, and would be read with holes.
    """
    if connection.execute(sa.select(execs.c.id).where(execs.c.id == exec_id)).first() is None:
        return
    query = chunks_query(exec_id, first_seq, last_seq, streams, newest_first=newest_first, limit=limit)
    # Closed at once when the caller has enough: chunks are fetched one by one.
    with connection.execute(query) as result:
        for row in result:
            yield ChunkRow(*row)


def last_chunk(connection: Connection, exec_id: str) -> ChunkRow | None:
    """The newest chunk of an exec's log; None when there is none."""
    row = connection.execute(
        sa.select(*_COLUMNS).where(log_chunks.c.exec_id == exec_id).order_by(log_chunks.c.seq.desc()).limit(1)
    ).one_or_none()
    return None if row is None else ChunkRow(*row)
