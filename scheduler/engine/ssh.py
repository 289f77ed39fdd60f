"""Makes an engine behind ``ssh://user@host`` look like a local one: a unix socket that ssh carries over.

One ssh process carries every connection to the engine as a channel of its own, so a stream costs no further
handshake (the SDK's way is a process and a handshake for each connection). Keys, known hosts and jumps are
those of the operator's own ssh configuration; nobody is asked for anything.
"""

from __future__ import annotations

import asyncio
import secrets
import shutil
import tempfile
from collections import deque
from contextlib import suppress
from pathlib import Path
from urllib.parse import urlsplit

from scheduler.domain.errors import SettingsError
from scheduler.engine.errors import EngineUnavailableError

REMOTE_SOCKET = "/var/run/docker.sock"
"""Where the engine listens over there, unless the address ends with another path."""
ALIVE_SECONDS = 15
"""How often ssh asks the other side for a sign of life; three without one end the tunnel."""
_SIGN = b"timeball\n"


class SshTunnel:
    """The tunnel to one engine; opened when it is first needed, and again after every break.

    Args:
        url: ``ssh://[user@]host[:port][/path/of/docker.sock]``.
        config: an ssh configuration file instead of the user's own.
        seconds: how long a connection may take.

    Raises:
        SettingsError: the address is not of that form.
    """

    def __init__(self, url: str, *, config: Path | None, seconds: float) -> None:
        self._seconds = seconds
        self._command = _command(url, config, seconds)
        self._where = url
        self._folder = Path(tempfile.gettempdir()) / f"timeball-ssh-{secrets.token_hex(8)}"
        self.socket_path = str(self._folder / "docker.sock")
        remote = urlsplit(url).path
        self._forward = f"{self.socket_path}:{remote if remote.strip('/') else REMOTE_SOCKET}"
        self._lock = asyncio.Lock()
        self._process: asyncio.subprocess.Process | None = None
        self._listening: asyncio.Task[None] | None = None
        self._words: deque[str] = deque(maxlen=3)

    @property
    def last_words(self) -> str:
        """What ssh said last, for errors."""
        return " ".join(self._words)

    async def ready(self) -> None:
        """Return when the socket leads to the other machine.

        Raises:
            EngineUnavailableError: ssh cannot connect; with its own words.
        """
        if self._process is not None and self._process.returncode is None:
            return
        async with self._lock:
            if self._process is None or self._process.returncode is not None:
                await self._open()

    async def close(self) -> None:
        """End ssh and remove the socket."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
        if self._listening is not None:
            # Its last words come at once, but a helper that ssh has started may keep the pipe open.
            await asyncio.wait({self._listening}, timeout=1)
            self._listening.cancel()
            self._listening = None
        shutil.rmtree(self._folder, ignore_errors=True)

    async def _open(self) -> None:
        await self.close()
        self._folder.mkdir(mode=0o700)
        self._words.clear()
        try:
            process = await asyncio.create_subprocess_exec(
                *self._command[:-3],
                "-L",
                self._forward,
                *self._command[-3:],
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=asyncio.subprocess.PIPE,
            )
        except OSError as error:
            raise EngineUnavailableError(
                f"ssh cannot be run: {error.strerror}; install openssh-client"
            ) from error
        self._listening = asyncio.create_task(self._listen(process))
        assert process.stdin is not None  # noqa: S101 - a pipe, as asked for
        assert process.stdout is not None  # noqa: S101
        try:
            async with asyncio.timeout(self._seconds):
                with suppress(ConnectionError):
                    process.stdin.write(_SIGN)
                    await process.stdin.drain()
                echo = await process.stdout.readline()
        except TimeoutError:
            echo = b""
            self._words.append(f"no connection within {self._seconds:g} s")
        if echo != _SIGN:
            self._process = process
            await self.close()
            words = self.last_words or "it ended without a word"
            raise EngineUnavailableError(f"the engine at {self._where} cannot be reached: ssh: {words}")
        self._process = process

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Take down what ssh complains about, so that its pipe never fills."""
        assert process.stderr is not None  # noqa: S101 - a pipe, as asked for
        while words := await process.stderr.read(4096):
            self._words.extend(words.decode("utf-8", "replace").splitlines())


def _command(url: str, config: Path | None, seconds: float) -> list[str]:
    """The words that run ssh; the last three are where to, and what runs there.

    What runs there is ``cat``: it answers when the tunnel stands, and ends (and ssh with it) when this process is
    gone, however it went.
    """
    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname, parts.port, parts.username
    except ValueError as error:
        raise SettingsError(f"engine address {url!r}: {error}") from error
    if parts.scheme != "ssh" or not host or host.startswith("-") or parts.password or parts.query:
        raise SettingsError(f"engine address {url!r}: write ssh://user@host[:port][/path/of/docker.sock]")
    options = [
        "BatchMode=yes",
        "ExitOnForwardFailure=yes",
        "StreamLocalBindUnlink=yes",
        "ControlMaster=no",
        "ControlPath=none",
        f"ConnectTimeout={max(1, round(seconds))}",
        f"ServerAliveInterval={ALIVE_SECONDS}",
        "ServerAliveCountMax=3",
    ]
    command = ["ssh", "-T"]
    if config is not None:
        command += ["-F", str(config)]
    for option in options:
        command += ["-o", option]
    if user:
        command += ["-l", user]
    if port:
        command += ["-p", str(port)]
    return [*command, "--", host, "cat"]
