"""One stage for two engines: the same programs as shell commands and as functions for the fake one.

The contract suite is written against `Scene`: whatever it asks of one engine it asks of the other.
"""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import dataclass

from scheduler.domain.stream import Stream
from scheduler.engine.errors import EngineUnavailableError
from scheduler.engine.protocol import Engine, EventStream, FrameStream
from scheduler.engine.types import EngineEvent, EventKind, Handle, LaunchSpec, LogFrame, RunState, RunStatus
from tests.lab.fake_engine import FAKE_IMAGE, FakeEngine, FakeImage
from tests.lab.fake_programs import FakeProcess, Program, prints, runs_out_of_memory, waits, waits_for_stop

PATIENCE = 60.0
MEGABYTES = 10_000_000
EVERY_BYTE = bytes(range(256))
_OCTAL = "".join(f"\\{value:03o}" for value in EVERY_BYTE)


def _shell(script: str) -> tuple[str, ...]:
    return ("sh", "-c", script)


async def _talks(process: FakeProcess) -> int:
    for number in (1, 2, 3):
        process.out(f"out {number}\n".encode())
        process.err(f"err {number}\n".encode())
    return 0


async def _speaks_twice(process: FakeProcess) -> int:
    process.out(b"first\n")
    await asyncio.sleep(0.3)
    process.out(b"second\n")
    return 0


async def _reads_files(process: FakeProcess) -> int:
    files = {path: file.content for path, file in process.files.items()}
    db, key, token = files["/run/secrets/db"], files["/run/secrets/tls/key"], files["/srv/app/token"]
    process.out(b"%s %d %s\n" % (db, len(key), token))
    return 0


EXITS_0 = _shell("exit 0")
EXITS_3 = _shell("echo out; echo err >&2; exit 3")
TALKS = _shell("for i in 1 2 3; do echo out $i; echo err $i >&2; done")
SPEAKS_TWICE = _shell("echo first; sleep 0.3; echo second")
PRINTS_EVERY_BYTE = _shell(f"i=0; while [ $i -lt 500 ]; do printf '{_OCTAL}'; i=$((i+1)); done")
PRINTS_A_LONG_LINE = _shell(f"head -c {MEGABYTES} /dev/zero | tr '\\0' x")
STOPS_WHEN_ASKED = _shell("trap 'echo bye; exit 7' TERM; echo ready; sleep 1000 & wait")
NEVER_STOPS = _shell("echo ready; while :; do sleep 1; done")
# The pause keeps it alive until its memory is watched; see docker_memory.py.
RUNS_OUT_OF_MEMORY = _shell("sleep 0.3; a=x; while :; do a=$a$a; done")
READS_FILES = _shell(
    "cd /run/secrets && grep -q ' /run/secrets tmpfs ' /proc/mounts && ! touch x 2> /dev/null"
    " && echo $(cat db) $(wc -c < tls/key) $(cat /srv/app/token)"
)
NO_SUCH_COMMAND = ("no-such-command", "--at-all")
# What engines say of it: Docker Engine and Podman put the name in different places.
NOT_FOUND = r"no-such-command.*not found|not found.*no-such-command"
# What registries say of an image that they do not have, as engines repeat it.
NO_MANIFEST = r"not found|manifest unknown"

FAKE_PROGRAMS: dict[tuple[str, ...], Program] = {
    EXITS_0: prints(),
    EXITS_3: prints(b"out\n", b"err\n", exit_code=3),
    TALKS: _talks,
    READS_FILES: _reads_files,
    SPEAKS_TWICE: _speaks_twice,
    PRINTS_EVERY_BYTE: prints(EVERY_BYTE * 500),
    PRINTS_A_LONG_LINE: prints(b"x" * MEGABYTES),
    STOPS_WHEN_ASKED: waits_for_stop(out=b"ready\n", last=b"bye\n", exit_code=7),
    NEVER_STOPS: waits(out=b"ready\n"),
    RUNS_OUT_OF_MEMORY: runs_out_of_memory,
}


@dataclass(frozen=True, slots=True)
class Scene:
    """An engine with an image on it that runs the commands above.

    Attributes:
        engine: the engine.
        image: an image on it, without a command of its own.
        registry_image: an image that its registry holds and it does not, or None without a registry.
        missing_image: an image that its registry does not hold.
    """

    engine: Engine
    image: str
    registry_image: str | None = None
    missing_image: str = ""

    def spec(
        self,
        command: tuple[str, ...] | None,
        *,
        image: str | None = None,
        environment: dict[str, str] | None = None,
        cpus: float = 0.5,
        memory_bytes: int = 64 << 20,
    ) -> LaunchSpec:
        """A spec of a new exec."""
        return LaunchSpec(
            exec_id=str(uuid.uuid4()),
            job_id=7,
            image=image or self.image,
            command=command,
            environment=environment or {},
            cpus=cpus,
            memory_bytes=memory_bytes,
            pids_limit=64,
            labels={"colour": "green"},
        )

    @asynccontextmanager
    async def started(self, command: tuple[str, ...]) -> AsyncIterator[tuple[Handle, FrameStream]]:
        """A container that runs the command and has said something, with its output; removed at the end."""
        handle = await self.engine.create(self.spec(command))
        try:
            async with await self.engine.attach(handle) as frames:
                await self.engine.start(handle)
                yield handle, frames
        finally:
            await self.engine.remove(handle)

    async def run(self, spec: LaunchSpec) -> tuple[list[LogFrame], RunStatus, Handle]:
        """Run a container to its end; its output and status. It is left for the test to look at."""
        async with await self.engine.events() as events:
            handle = await self.engine.create(spec)
            async with await self.engine.attach(handle) as stream:
                await self.engine.start(handle)
                frames = await all_of(stream)
            await event_of(events, EventKind.DIE, spec.exec_id)
        return frames, await ended(self.engine, handle), handle


def fake_scene() -> Scene:
    """A scene in memory."""
    engine = FakeEngine(installation="scene")
    engine.programs.update(FAKE_PROGRAMS)
    engine.registry["registry.test/fake:1"] = FakeImage(digest="sha256:" + "1" * 64)
    return Scene(engine, FAKE_IMAGE, "registry.test/fake:1", "registry.test/fake:missing")


async def is_connected(engine: Engine) -> None:
    """Return when an engine has answered on its socket and to its SDK in whatever time it is given for that."""
    async with asyncio.timeout(PATIENCE):
        while True:
            with suppress(EngineUnavailableError):
                await engine.ping()
                await engine.capacity()
                return


async def ended(engine: Engine, handle: Handle) -> RunStatus:
    """The status of a container whose end was reported, once it shows the end."""
    async with asyncio.timeout(PATIENCE):
        while (status := await engine.inspect(handle)).state is RunState.RUNNING:  # noqa: ASYNC110 - nothing tells it
            await asyncio.sleep(0.01)
    return status


async def all_of(stream: FrameStream) -> list[LogFrame]:
    """All frames until the stream ends."""
    return [frame async for batch in stream for frame in batch]


def text_of(frames: list[LogFrame], stream: Stream) -> bytes:
    """All that came on one stream."""
    return b"".join(frame.data for frame in frames if frame.stream is stream)


async def event_of(events: EventStream, kind: EventKind, exec_id: str) -> EngineEvent:
    """The next event of that kind about that exec."""
    async for event in events:
        if event.kind is kind and event.exec_id == exec_id:
            return event
    raise AssertionError(f"the events ended without {kind} of {exec_id}")
