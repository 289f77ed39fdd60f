"""Reads logs: by time, by stream, from either end, page by page.

Only the chunks that the answer needs are touched, a few in each short transaction on a thread of the
database; what is in memory at once is some chunks' worth of lines, however long the answer. A read ends with
what had arrived when it began. A chunk that turns out damaged becomes one of Timeball's own lines.
"""

from __future__ import annotations

import re
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass
from datetime import datetime
from functools import partial
from itertools import repeat
from typing import Final, Literal

from scheduler.errors import FieldError, InvalidInputError
from scheduler.logs.hub import CaptureHub
from scheduler.logs.lines import Line, Run
from scheduler.logs.scanning import BackwardScan, ForwardScan
from scheduler.logs.stream import Stream
from scheduler.store.database import Database
from scheduler.store.tables import from_micros, to_micros

# Twice as fast as calling the class, and a read of a million lines does little else.
_line: Final = partial(tuple.__new__, Line)

#: No batch has more lines than this, so that nothing that is done for each batch holds up others. So few are gone
#: again before the garbage collector notices them; thousands at a time make it look through all memory, again and
#: again, which takes longer than reading.
BATCH_LINES: Final = 256
_CURSOR: Final = re.compile(r"1-([0-9a-f]{1,24})", re.ASCII)


@dataclass(frozen=True, slots=True, kw_only=True)
class LogQuery:
    """Which lines are wanted.

    Attributes:
        start: none before; aware.
        end: none after; aware, exact to the microsecond.
        streams: none of other streams; None for all.
        limit: at most so many; None for all.
        order: ``asc`` is oldest first.
        cursor: none up to this line (in the order asked for), and not this one either.
    """

    start: datetime | None = None
    end: datetime | None = None
    streams: frozenset[Stream] | None = None
    limit: int | None = None
    order: Literal["asc", "desc"] = "asc"
    cursor: str | None = None


def parse_cursor(cursor: str) -> int:
    """The position that a cursor spells.

    Raises:
        InvalidInputError: it is not one of `Line.cursor`.
    """
    match = _CURSOR.fullmatch(cursor)
    if match is None:
        raise InvalidInputError(
            FieldError("cursor", cursor, "is not a cursor", "use one as an earlier answer gave it")
        )
    return int(match[1], 16)


class LogReader:
    """Reads the logs of all execs.

    Args:
        database: where chunks are.
        hub: what is still in memory is stored before reading, so that a read sees all that has arrived.
    """

    def __init__(self, database: Database, hub: CaptureHub) -> None:
        self._database = database
        self._hub = hub

    async def read(self, exec_id: str, query: LogQuery) -> AsyncIterator[list[Line]]:
        """The lines of one exec that the query asks for, in batches of at most `BATCH_LINES`.

        An exec that is deleted while it is being read has no more lines.

        Raises:
            InvalidInputError: the cursor is none; before the first batch.
            UnavailableError: the database cannot be read; between any two batches.
        """
        kind = BackwardScan if query.order == "desc" else ForwardScan
        scan = kind(
            exec_id,
            frozenset(Stream) if query.streams is None else query.streams,
            start=None if query.start is None else to_micros(query.start),
            end=None if query.end is None else to_micros(query.end),
            after=None if query.cursor is None else parse_cursor(query.cursor),
            limit=query.limit,
        )
        await self._hub.flush(exec_id)
        left = query.limit
        while left is None or left > 0:
            runs = await self._database.read(scan.step)
            if runs is None:
                return
            for batch in _batches(runs, left, newest_first=query.order == "desc"):
                lines = batch if left is None else batch[:left]
                if left is not None:
                    left -= len(lines)
                yield lines
                if left == 0:
                    return


def _batches(runs: list[Run], most: int | None, *, newest_first: bool) -> Iterator[list[Line]]:
    batch: list[Line] = []
    for at, number, lines, position in reversed(runs) if newest_first else runs:
        moment, stream = from_micros(at), Stream(number)
        wanted, places = lines, range(position, position + len(lines))
        if newest_first:
            wanted, places = lines[::-1], places[::-1]
        for first in range(0, min(len(wanted), len(wanted) if most is None else most), BATCH_LINES):
            last = first + BATCH_LINES
            batch += map(_line, zip(repeat(moment), repeat(stream), wanted[first:last], places[first:last]))
            if len(batch) >= BATCH_LINES:
                yield batch[:BATCH_LINES]
                batch = batch[BATCH_LINES:]
        if most is not None and len(batch) >= most:
            break
    if batch:
        yield batch
