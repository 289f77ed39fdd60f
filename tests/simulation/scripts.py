"""What the containers of a simulated world do, and what they have done."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress

from scheduler.domain.stream import Stream
from tests.lab.fake_engine import KILLED
from tests.lab.fake_programs import FakeProcess, Program
from tests.simulation.checks import Printed, Witness
from tests.simulation.plan import Script

TERMINATED = 143


def program_of(script: Script, witness: Witness, note: Callable[[str], None]) -> Program:
    """A program that plays a script before a witness."""

    async def program(process: FakeProcess) -> int:
        exec_id = process.spec.exec_id
        loop = asyncio.get_running_loop()
        printed = Printed(exec_id, process.spec.job_id, loop.time())
        witness.printed.setdefault(exec_id, []).append(printed)
        try:
            printed.exit_code = await _play(script, process, printed)
        except asyncio.CancelledError:
            printed.exit_code = KILLED
            raise
        finally:
            printed.end = loop.time()
        note(f"process of {exec_id} ends with {printed.exit_code}")
        return printed.exit_code

    return program


async def _play(script: Script, process: FakeProcess, printed: Printed) -> int:
    for number in range(script.lines):
        stream = Stream.STDOUT if number % 2 == 0 else Stream.STDERR
        line = b"%s line %d\n" % (process.spec.exec_id[:8].encode(), number)
        printed.streams[stream] += line
        process.write(stream, line)
        if await _was_asked(script, process, script.pause):
            return TERMINATED
    return TERMINATED if await _was_asked(script, process, script.last) else script.exit_code


async def _was_asked(script: Script, process: FakeProcess, seconds: float) -> bool:
    """Pause; whether it ends because it was asked to."""
    if not script.obeys:
        await asyncio.sleep(seconds)
        return False
    with suppress(TimeoutError):
        async with asyncio.timeout(seconds):
            await process.stop_asked.wait()
            return True
    return False
