"""Completes changes even if the client disconnects in the meantime.

A client that disconnects cancels the handler of its request, which is right for reading. For a change, it could
happen after the commit and before the planner or the dispatcher is notified, so that a run would not start. So
changes run in tasks of their own, and the application waits for them when it stops.
"""

from __future__ import annotations

import asyncio
from typing import Final

from aiohttp import web
from aiohttp.typedefs import Handler

READING: Final = frozenset({"GET", "HEAD", "OPTIONS"})
#: Seconds that changes in progress have when the application stops.
PATIENCE: Final = 5.0
#: The changes in progress.
CHANGES: Final = web.AppKey("changes", set[asyncio.Task[web.StreamResponse]])


@web.middleware
async def finishing_middleware(request: web.Request, handler: Handler) -> web.StreamResponse:
    """Let a change continue to its end even if nobody waits for the answer."""
    if request.method in READING:
        return await handler(request)
    changes = request.app[CHANGES]
    task: asyncio.Task[web.StreamResponse] = asyncio.ensure_future(handler(request))
    changes.add(task)
    task.add_done_callback(changes.discard)
    return await asyncio.shield(task)


async def finish(app: web.Application) -> None:
    """Wait for the changes in progress, and cancel those that are still waiting for their clients."""
    changes = app[CHANGES].copy()
    if changes:
        _, late = await asyncio.wait(changes, timeout=PATIENCE)
        for task in late:
            task.cancel()
