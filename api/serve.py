"""Runs the daemon behind its HTTP API until a signal or a defect ends it."""

from __future__ import annotations

import asyncio
import gc
import signal
from collections.abc import Callable

import structlog
from aiohttp import web

from api.app import build_app
from api.runner import Runner
from api.spare_files import SpareFiles
from scheduler.daemon import Daemon
from scheduler.errors import SettingsError
from scheduler.settings import Settings

log = structlog.get_logger()

#: Seconds that requests in progress get when the daemon stops.
SHUTDOWN_SECONDS = 3.0


async def serve(settings: Settings, on_listening: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT; returns the process's exit status.

    Args:
        settings: the operator's.
        on_listening: is told the API's URL once it answers.

    Raises:
        SettingsError: something that the settings name cannot be used.
    """
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    spare = SpareFiles()
    spare.watch(loop)
    daemon = Daemon(settings)
    runner: Runner | None = None
    try:
        service, tokens = await daemon.start()
        app = build_app(service, tokens, max_body_bytes=settings.max_body_bytes)
        runner = Runner(app, access_log=None, shutdown_timeout=SHUTDOWN_SECONDS, handler_cancellation=True)
        await runner.setup()
        url = await _listen(runner, settings)
        # All that was loaded stays for good: looking through it again and again would hold up what is due.
        gc.collect()
        gc.freeze()
        on_listening(url)
        ends = [asyncio.create_task(stopping.wait()), asyncio.create_task(daemon.failed.wait())]
        await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        for task in ends:
            task.cancel()
    finally:
        log.info("daemon.stopping")
        if runner is not None:
            await runner.cleanup()
        await daemon.stop()
        spare.close()
    return 0 if daemon.failure is None else 1


async def _listen(runner: Runner, settings: Settings) -> str:
    site = web.TCPSite(runner, settings.host, settings.port)
    try:
        await site.start()
    except OSError as error:
        raise SettingsError(
            f"{settings.host}:{settings.port} cannot be listened on: {error.strerror or error}. "
            "Name another with --host and --port, or stop what uses it"
        ) from error
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    port = runner.addresses[0][1]
    return f"http://{host}:{port}"
