"""Python functions that stand for what containers run, for the fake engine."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from dataclasses import dataclass, field

from scheduler.domain.secret_files import SecretFile
from scheduler.domain.stream import Stream
from scheduler.engine.types import LaunchSpec


class OutOfMemory(Exception):  # noqa: N818 - what a program raises to have happen to it
    """Raised by a program: the kernel kills it for want of memory."""


@dataclass(slots=True, eq=False)
class FakeProcess:
    """What a program has of the world.

    Attributes:
        spec: what it was launched with.
        stop_asked: set by SIGTERM. A program that does not look at it goes on until SIGKILL.
        files: the secret files that it finds, by path.
    """

    spec: LaunchSpec
    stop_asked: asyncio.Event
    write: Callable[[Stream, bytes], None]
    files: Mapping[str, SecretFile] = field(default_factory=dict)

    def out(self, data: bytes) -> None:
        """Print to standard output."""
        self.write(Stream.STDOUT, data)

    def err(self, data: bytes) -> None:
        """Print to standard error."""
        self.write(Stream.STDERR, data)


Program = Callable[[FakeProcess], Awaitable[int]]
"""Runs as a container's main process and returns its exit code."""


def prints(out: bytes = b"", err: bytes = b"", *, exit_code: int = 0) -> Program:
    """A program that prints and ends at once."""

    async def program(process: FakeProcess) -> int:
        if out:
            process.out(out)
        if err:
            process.err(err)
        return exit_code

    return program


def waits(
    until: asyncio.Event | None = None, *, out: bytes = b"", last: bytes = b"", exit_code: int = 0
) -> Program:
    """A program that prints, waits for the event (or for ever), prints and ends; SIGTERM does not move it."""

    async def program(process: FakeProcess) -> int:
        if out:
            process.out(out)
        await (until or asyncio.Event()).wait()
        if last:
            process.out(last)
        return exit_code

    return program


def waits_for_stop(*, out: bytes = b"", last: bytes = b"", exit_code: int = 0) -> Program:
    """A program that prints, waits for SIGTERM, prints again and ends."""

    async def program(process: FakeProcess) -> int:
        if out:
            process.out(out)
        await process.stop_asked.wait()
        if last:
            process.out(last)
        return exit_code

    return program


async def runs_out_of_memory(process: FakeProcess) -> int:
    """A program that the kernel kills for want of memory."""
    raise OutOfMemory(process.spec.memory_bytes)
