"""`/v1/backup`: a copy of the whole database. `/v1/about`: information about the daemon."""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web

from api.http.answers import answer
from api.http.keys import CALLER, SERVICE
from api.http.query import query_of
from api.operations.operation import Answer, described
from api.operations.tags import DAEMON
from api.schemas.about import AboutOut
from api.schemas.common import format_moment
from scheduler.access.callers import Role

#: Bytes that are read and sent at once.
PIECE: Final = 256 * 1024


@described(
    "Download a backup",
    tag=DAEMON,
    role=Role.ADMIN,
    answers={
        200: Answer(
            "A copy of the database, for `timeball restore`.",
            media={"application/vnd.sqlite3": {}},
            headers={
                "Content-Disposition": "The name of the file.",
                "X-Timeball-Taken-At": "The time of the backup. Everything stored before is included.",
            },
        )
    },
    refuses=(409,),
    description="Requires a token for all namespaces, and SQLite as the database.",
)
async def get_backup(request: web.Request) -> web.StreamResponse:
    """`GET /v1/backup`: 200 with a copy of the database, for administrators and `timeball restore`."""
    query_of(request)
    async with request.app[SERVICE].backup.take(request[CALLER]) as backup:
        name = f"timeball-{backup.taken_at:%Y%m%dT%H%M%SZ}.db"
        response = web.StreamResponse(
            headers={
                "Content-Type": "application/vnd.sqlite3",
                "Content-Disposition": f'attachment; filename="{name}"',
                "Cache-Control": "no-store",
                "X-Timeball-Taken-At": format_moment(backup.taken_at),
            }
        )
        response.content_length = backup.size
        await response.prepare(request)
        while piece := await asyncio.to_thread(backup.file.read, PIECE):
            await response.write(piece)
        await response.write_eof()
    return response


@described("Read information about the daemon", tag=DAEMON, answers={200: Answer("The daemon.", AboutOut)})
async def get_about(request: web.Request) -> web.Response:
    """`GET /v1/about`: 200 with the daemon's version, its ids, the state of its clock and its engines."""
    query_of(request)
    return answer(AboutOut.of_about(request.app[SERVICE].about(request[CALLER])))


ROUTES: Final = (
    web.get("/v1/about", get_about),
    # A HEAD request would create a copy for nothing.
    web.get("/v1/backup", get_backup, allow_head=False),
)
