"""A run is watched in a real terminal: what Ctrl-C does, and what a run's output does to the terminal."""

from __future__ import annotations

import asyncio
import fcntl
import os
import pty
import re
import signal
import sys
import termios
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tests.api.conftest import PATIENCE, Api, World
from tests.api.test_access_commands import has_settled
from tests.api.test_commands import make, run_apart
from tests.lab.fake_programs import prints

__all__ = ["has_settled"]
PROGRAM = Path(sys.executable).with_name("timeball")
CTRL_C = "\x03"


class Terminal:
    """A command in a terminal of its own."""

    def __init__(self, master: int, process: asyncio.subprocess.Process) -> None:
        self._master = master
        self._process = process
        self._arrived = asyncio.Event()
        self.text = ""
        asyncio.get_running_loop().add_reader(master, self._read)

    def _read(self) -> None:
        try:
            data = os.read(self._master, 65536)
        except OSError:  # the other side is closed
            data = b""
        if not data:
            asyncio.get_running_loop().remove_reader(self._master)
        self.text += data.decode("utf-8", "replace")
        self._arrived.set()

    async def until(self, words: str) -> None:
        """Wait until it shows the words."""
        async with asyncio.timeout(PATIENCE):
            while words not in self.text:
                self._arrived.clear()
                await self._arrived.wait()

    def type(self, text: str) -> None:
        """As somebody would."""
        os.write(self._master, text.encode())

    async def status(self) -> int:
        """What it ends with."""
        async with asyncio.timeout(PATIENCE):
            return await self._process.wait()

    async def insist(self, text: str) -> int:
        """Type something until it ends: a Ctrl-C just before Python begins to read a line is not heard."""
        async with asyncio.timeout(PATIENCE):
            while self._process.returncode is None:
                self.type(text)
                await asyncio.wait({asyncio.ensure_future(self._process.wait())}, timeout=3)
        return await self.status()


def hear_interrupts() -> None:
    """As a shell starts what its user sees: what is started in the background, tests as well, may hear no Ctrl-C."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@asynccontextmanager
async def terminal(api: Api, *words: str, **environment: str) -> AsyncIterator[Terminal]:
    """Run a command in a terminal."""
    master, slave = pty.openpty()

    def take_terminal() -> None:
        hear_interrupts()
        fcntl.ioctl(0, termios.TIOCSCTTY, 0)

    process = await asyncio.create_subprocess_exec(
        PROGRAM, *words, stdin=slave, stdout=slave, stderr=slave, start_new_session=True,
        preexec_fn=take_terminal,
        env={name: text for name, text in os.environ.items() if name != "NO_COLOR"}
        | {"TIMEBALL_URL": str(api.client.make_url("")), "TIMEBALL_TOKEN": api.token} | environment,
    )  # fmt: skip
    os.close(slave)
    try:
        yield Terminal(master, process)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
        asyncio.get_running_loop().remove_reader(master)
        os.close(master)


async def newest(api: Api) -> dict[str, str]:
    """The newest run."""
    found: dict[str, str] = (await api.get("/v1/execs?page_size=1")).body["results"][0]
    return found


@pytest.mark.parametrize("answer", ["n\r", CTRL_C])
async def test_ctrl_c_may_only_stop_the_watching(api: Api, answer: str):
    """Asked, and answered with no or with another Ctrl-C: the run goes on, and how to come back to it is said."""
    await make(api, "long", "patient")
    async with terminal(api, "run", "long") as shown:
        await shown.until("up")
        shown.type(CTRL_C)
        await shown.until("Stop the run?")
        assert await shown.insist(answer) == 130
        await shown.until("The run continues. Follow it with: timeball logs -f")
    one = await newest(api)
    assert one["id"] in shown.text
    assert one["status"] == "R"


async def test_ctrl_c_may_stop_the_run(api: Api):
    """It is followed to its end, with the last it prints, and the command ends as a run that did not succeed."""
    await make(api, "long", "patient")
    async with terminal(api, "run", "long") as shown:
        await shown.until("up")
        shown.type(CTRL_C)
        await shown.until("Stop the run?")
        shown.type("y\r")
        assert await shown.status() == 1
        await shown.until("The run was stopped: ")
    assert "down" in shown.text
    assert (await newest(api))["status"] == "C"


async def test_a_terminal_gets_colours_and_is_not_steered(world: World):
    """Streams have their colours; NO_COLOR leaves none, and --raw is the way to every byte."""
    api, hostile = world.api, "\x1b[32mgreen\x1b[0m\x1b]0;title\x07\x1b[2J"
    world.engine.programs["paint",] = prints(hostile.encode() + b"\n", b"careful\n")
    job = await make(api, "painter", "paint")
    one = (await api.run(job))["id"]
    async with terminal(api, "logs", one) as shown:
        assert await shown.status() == 0
        await shown.until("careful")
    assert "\x1b[32mgreen\x1b[0m\r\n" in shown.text
    assert "\x1b[31mcareful" in shown.text
    assert set(re.findall(r"\x1b.", shown.text)) == {"\x1b["}
    assert "title" not in shown.text
    async with terminal(api, "logs", one, NO_COLOR="1") as shown:
        await shown.until("careful")
    assert "\x1b" not in shown.text
    async with terminal(api, "logs", "--raw", one) as shown:
        await shown.until("careful")
    assert hostile in shown.text
    assert (await run_apart(api, "logs", one)).stdout == "green\n"
    assert (await run_apart(api, "logs", one, "--raw")).stdout == hostile + "\n"


async def test_tables_and_bars_fit_the_terminal_and_are_in_no_pipe(api: Api, tmp_path: Path):
    """No line is wider than the terminal; what takes long shows how it goes on, on a terminal alone."""
    job = await make(api, "每天" * 20, "true")
    await api.run(job)
    async with terminal(api, "runs", "list", COLUMNS="80") as shown:
        assert await shown.status() == 0
        await shown.until("succeeded")
    assert "…" in shown.text
    async with terminal(api, "backup", str(tmp_path / "a.db")) as shown:
        assert await shown.status() == 0
        await shown.until("100%")
    async with terminal(api, "logs", str(job), "-o", str(tmp_path / "log")) as shown:
        assert await shown.status() == 0
        await shown.until("bytes")
    assert "Downloading" in shown.text
    async with terminal(api, "exec", "delete", "--all", "-y") as shown:
        assert await shown.status() == 0
        await shown.until("Deleted 1 run.")
    assert "100%" in shown.text
    piped = await run_apart(api, "backup", str(tmp_path / "b.db"))
    assert piped.stderr == ""
    assert "\x1b" not in piped.stdout


async def test_a_reader_that_goes_away_is_no_defect(api: Api):
    """`timeball logs x | head -1` prints a line and no traceback."""
    job = await make(api, "greeting", "greet")
    for _ in range(3):
        await api.run(job)
    environment = os.environ | {"TIMEBALL_URL": str(api.client.make_url("")), "TIMEBALL_TOKEN": api.token}
    for words in ("logs greeting --stream stdout", "exec list --json", "job list -q"):
        process = await asyncio.create_subprocess_shell(
            f"'{PROGRAM}' {words} | head -c 1; sleep 0", env=environment,
            stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
        )  # fmt: skip
        out, err = await process.communicate()
        assert len(out) == 1, words
        assert err == b"", words


async def test_without_a_terminal_nothing_is_asked(api: Api):
    """An interrupted script stops watching; the run goes on."""
    await make(api, "long", "patient")
    environment = os.environ | {"TIMEBALL_URL": str(api.client.make_url("")), "TIMEBALL_TOKEN": api.token}
    process = await asyncio.create_subprocess_exec(
        PROGRAM, "run", "long", env=environment, stdin=asyncio.subprocess.DEVNULL,
        stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE, preexec_fn=hear_interrupts,
    )  # fmt: skip
    assert process.stdout is not None
    assert await process.stdout.readline() == b"up\n"
    process.send_signal(signal.SIGINT)
    async with asyncio.timeout(PATIENCE):
        _, err = await process.communicate()
    assert process.returncode == 130
    assert b"The run continues." in err
    assert (await run_apart(api, "exec", "stop", "--all", "-y")).stdout == "Stopping 1 run.\n"
