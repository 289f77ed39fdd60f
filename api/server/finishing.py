"""What changes something is carried through, also when the client has gone meanwhile.

A client that leaves cancels its request's handler, which is right for reading. Between a change's commit and
telling the planner or the dispatcher of it, it would leave a run that nobody starts; so changes run in tasks of
their own, and the application waits for them when it stops.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: Seconds that changes in progress get when the application stops.
PATIENCE: Final = 5.0
#: The changes in progress.
CHANGES: Final = web.AppKey("changes", set[asyncio.Task[web.StreamResponse]])


@web.middleware
async def finishing_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a change go on to its end though nobody waits for its answer any more."""
    if request.method in READING:
        return await handler(request)
    changes = request.app[CHANGES]
    task: asyncio.Task[web.StreamResponse] = asyncio.ensure_future(handler(request))
    changes.add(task)
    task.add_done_callback(changes.discard)
    return await asyncio.shield(task)


async def finish(app: web.Application) -> None:
    """Wait for the changes in progress, and give up those that still wait for their own clients."""
    changes = app[CHANGES].copy()
    if changes:
        _, late = await asyncio.wait(changes, timeout=PATIENCE)
        for task in late:
            task.cancel()
