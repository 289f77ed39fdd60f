"""What the tests of logs share: a real database with an exec in it, a clock that is set, a slow way to read lines."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection

from scheduler.domain.stream import Stream
from scheduler.logs.chunks import LINE_ENDS, Frame
from scheduler.logs.hub import CaptureHub
from scheduler.logs.lines import Line
from scheduler.logs.reader import LogQuery, LogReader
from scheduler.store import logs as store
from scheduler.store.database import Database
from scheduler.store.logs import ChunkRow
from scheduler.store.tables import Moment, execs, jobs, log_chunks, metadata

NOON = datetime(2024, 5, 23, 12, 0, 0, tzinfo=UTC)
EXEC = "0f8fad5b-d9cb-469f-a165-70867728950e"


class SetClock:
    """Stands still until it is moved."""

    def __init__(self) -> None:
        self.moment = NOON

    def now(self) -> datetime:
        """The moment that was set."""
        return self.moment

    def steady(self) -> float:
        """Seconds that go with it."""
        return (self.moment - NOON).total_seconds()

    def forward(self, seconds: float) -> None:
        """Move it."""
        self.moment += timedelta(seconds=seconds)


class LogScene:
    """A database with one exec, and what captures and reads its log."""

    def __init__(self, path: Path, *, owner: str | None = None) -> None:
        self.clock = SetClock()
        self.database = Database(f"sqlite:///{path / 'timeball.db'}")
        self.owner = owner
        self.database.migrate(_prepare)
        self.restart()

    def restart(self) -> None:
        """What a kill leaves: the database alone."""
        self.hub = CaptureHub(self.database, self.clock, owner=self.owner)
        self.reader = LogReader(self.database, self.hub)

    async def rows(self) -> list[ChunkRow]:
        """All stored chunks."""
        return await self.database.read(lambda c: list(store.chunks(c, EXEC, 0, 10**9, 0b111, limit=100_000)))

    async def change_row(self, seq: int, **values: Any) -> None:
        """Change a stored chunk behind everybody's back."""
        await self.database.write(
            lambda c: c.execute(sa.update(log_chunks).where(log_chunks.c.seq == seq).values(**values))
        )

    async def lines(self, **query: Any) -> list[Line]:
        """What a read gives."""
        return [line async for batch in self.reader.read(EXEC, LogQuery(**query)) for line in batch]

    async def texts(self, **query: Any) -> list[bytes]:
        """What a read gives, the bytes alone and without line endings."""
        return [line.message for line in await self.lines(**query)]


def _prepare(connection: Connection) -> None:
    metadata.create_all(connection)
    connection.execute(jobs.insert(), [_anything(jobs, id=1)])
    connection.execute(
        execs.insert(), [_anything(execs, id=EXEC, job_id=1, status="W", trigger_mode="M", owner="here")]
    )


def _anything(table: sa.Table, **values: Any) -> dict[str, Any]:
    """A row with something in every column that wants it: these tests do not care what."""
    by_type = {Moment: NOON, sa.JSON: {}, sa.Boolean: False, sa.Text: "x", sa.Float: 1.0}
    for column in table.columns:
        if column.name not in values and not column.nullable:
            values[column.name] = by_type.get(type(column.type), 1)
    return values


def slow_lines(frames: list[Frame]) -> list[tuple[int, int, bytes]]:
    """Lines by the letter of their definition, one byte at a time: time, stream, bytes."""
    found: list[tuple[int, int, bytes]] = []
    still_open: dict[int, bytes] = {}
    for kind, at, data in frames:
        stream = kind & ~LINE_ENDS
        for byte in data:
            still_open[stream] = still_open.get(stream, b"") + bytes([byte])
            if byte == ord("\n"):
                found.append((at, stream, still_open.pop(stream)))
        if kind & LINE_ENDS and stream in still_open:
            found.append((at, stream, still_open.pop(stream)))
    return found


def texts_of(lines: list[Line], stream: Stream) -> list[bytes]:
    """The bytes of one stream's lines."""
    return [line.data for line in lines if line.stream is stream]
