"""Runs the daemon with its HTTP API until a signal or an internal error ends it."""

from __future__ import annotations

import asyncio
import gc
import os
import resource
import signal
import ssl
from collections.abc import Callable
from contextlib import suppress

import structlog
from aiohttp import web

from api.http.proxies import is_loopback, trust_of
from api.server.app import build_app
from api.server.runner import ConnectionLimits, ServerRunner
from api.server.spare_files import SpareFiles
from api.server.tls import load_certificate, tls_context
from scheduler.daemon import Daemon
from scheduler.domain.errors import SettingsError
from scheduler.process import memory
from scheduler.settings.settings import Settings

log = structlog.get_logger()

#: Seconds that requests in progress have when the daemon stops.
SHUTDOWN_SECONDS = 3.0
#: The priority of the daemon over containers, as in nice(1). Only root can set it.
NICENESS = -10
#: The limit of open files to request. The usual 1024 can be too few for connections and streams.
MOST_FILES = 65_536


def _raise_file_limit() -> int:
    """Raise the limit of open files, which connections, streams of engines and the database share.

    Returns:
        The limit.
    """
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    raised = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    if soft != resource.RLIM_INFINITY and soft < raised:
        with suppress(ValueError, OSError):
            resource.setrlimit(resource.RLIMIT_NOFILE, (raised, hard))
            return raised
    return MOST_FILES if soft == resource.RLIM_INFINITY else soft


def _go_first() -> None:
    """Give the daemon priority over containers if that is allowed, so that due times are not delayed.

    On Linux, this applies to the calling thread and the threads it starts, so call it before starting others.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, min(NICENESS, os.getpriority(os.PRIO_PROCESS, 0)))


def _connections(settings: Settings, files: int) -> int:
    """The maximum number of connections: at most half of the open files, because runs and the database need the rest.

    With more, clients could prevent runs from starting and others from getting any answer.
    """
    most = max(files // 2, 1)
    if most < settings.max_connections:
        log.info(
            "server.fewer_connections",
            max_connections=most,
            files=files,
            remedy="raise the limit of open files",
        )
    return min(settings.max_connections, most)


async def serve(settings: Settings, on_listening: Callable[[str], None]) -> int:
    """Serve until SIGTERM or SIGINT; returns the process's exit status.

    Args:
        settings: of the operator.
        on_listening: called with the URL of the API when it answers.

    Raises:
        SettingsError: something in the settings cannot be used.
    """
    files = _raise_file_limit()
    _go_first()
    stopping = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopping.set)
    spare = SpareFiles()
    spare.watch(loop)
    tls = _tls(settings, loop)
    if tls is None and not is_loopback(settings.host):
        log.warning(
            "server.unencrypted",
            host=settings.host,
            danger="tokens, passwords and logs are sent over the network without encryption",
            remedy="set tls_cert and tls_key, or listen on 127.0.0.1 behind a proxy with TLS",
        )
    daemon = Daemon(settings)
    runner: ServerRunner | None = None
    try:
        service, tokens = await daemon.start()
        trust = trust_of(settings.host, settings.allowed_hosts, settings.trusted_proxies)
        app = build_app(
            service,
            tokens,
            max_body_bytes=settings.max_body_bytes,
            trust=trust,
            body_seconds=settings.request_seconds,
            ordine_success_word=settings.ordine_success_word,
        )
        runner = ServerRunner(
            app,
            limits=ConnectionLimits(
                _connections(settings, files),
                settings.max_connections_per_address,
                settings.request_seconds,
                proxies=trust.is_proxy,
            ),
            access_log=None,
            shutdown_timeout=SHUTDOWN_SECONDS,
            handler_cancellation=True,
            keepalive_timeout=settings.keepalive_seconds,
        )
        await runner.setup()
        url = await _listen(runner, settings, tls)
        # What was loaded stays in memory: checking it in each garbage collection would delay due times.
        gc.collect()
        gc.freeze()
        memory.give_back()
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


def _tls(settings: Settings, loop: asyncio.AbstractEventLoop) -> ssl.SSLContext | None:
    """The TLS context of the settings; SIGHUP reads its files again."""
    if settings.tls_cert is None or settings.tls_key is None:
        return None
    certificate, key = settings.tls_cert, settings.tls_key
    context = tls_context(certificate, key)

    def renew() -> None:
        try:
            load_certificate(context, certificate, key)
        except SettingsError as error:
            log.error("server.certificate_not_renewed", error=str(error))  # noqa: TRY400 - the message is enough
        else:
            log.info("server.certificate_renewed", tls_cert=str(certificate))

    loop.add_signal_handler(signal.SIGHUP, renew)
    return context


async def _listen(runner: ServerRunner, settings: Settings, tls: ssl.SSLContext | None) -> str:
    site = web.TCPSite(runner, settings.host, settings.port, ssl_context=tls)
    try:
        await site.start()
    except OSError as error:
        raise SettingsError(
            f"Cannot listen on {settings.host}:{settings.port}: {error.strerror or error}. "
            "Choose another address with --host and --port, or stop the program that uses it."
        ) from error
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    port = runner.addresses[0][1]
    return f"{'http' if tls is None else 'https'}://{host}:{port}"
