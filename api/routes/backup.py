"""`/v1/backup`: a copy of the whole database, and `/v1/about`: which daemon this is."""

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

#: Bytes that are read and sent at a time.
PIECE: Final = 256 * 1024


@described(
    "Take a backup",
    tag=DAEMON,
    role=Role.ADMIN,
    answers={
        200: Answer(
            "A copy of the database; `timeball restore` takes it.",
            media={"application/vnd.sqlite3": {}},
            headers={
                "Content-Disposition": "What to call the file.",
                "X-Timeball-Taken-At": "What was stored by then is in it.",
            },
        )
    },
    refuses=(409,),
    description="Only with a token for all namespaces, and where the database is SQLite.",
)
async def get_backup(request: web.Request) -> web.StreamResponse:
    """`GET /v1/backup`: 200 with a copy of the database, for administrators; `timeball restore` takes it."""
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


@described("Which daemon this is", tag=DAEMON, answers={200: Answer("The daemon.", AboutOut)})
async def get_about(request: web.Request) -> web.Response:
    """`GET /v1/about`: 200 with the daemon's version, its ids, and what has become of its clock."""
    query_of(request)
    return answer(AboutOut.of(request.app[SERVICE].about()))


ROUTES: Final = (
    web.get("/v1/about", get_about),
    # A HEAD would take a copy for nothing.
    web.get("/v1/backup", get_backup, allow_head=False),
)
