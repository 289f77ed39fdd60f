"""Makes an engine behind ``ssh://user@host`` available as a local unix socket that ssh forwards.

A single ssh process carries every connection to the engine as a separate channel, so streams need no further
handshakes (the SDK starts a process and a handshake for each connection). Keys, known hosts and jump hosts come from
the operator's own ssh configuration; ssh never prompts.
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
"""The engine's socket on the remote machine, unless the address specifies another path."""
ALIVE_SECONDS = 15
"""Interval of ssh's keep-alive messages; the tunnel ends after three without an answer."""
_SIGN = b"timeball\n"


class SshTunnel:
    """The tunnel to one engine; opened on first use, and again whenever it breaks.

    Args:
        url: ``ssh://[user@]host[:port][/path/of/docker.sock]``.
        config: an ssh configuration file to use instead of the user's.
        seconds: maximum duration of connecting.

    Raises:
        SettingsError: the address is invalid.
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
        """The last messages of ssh, for errors."""
        return " ".join(self._words)

    async def ready(self) -> None:
        """Return when the socket is connected to the remote machine.

        Raises:
            EngineUnavailableError: ssh cannot connect; contains ssh's message.
        """
        if self._process is not None and self._process.returncode is None:
            return
        async with self._lock:
            if self._process is None or self._process.returncode is not None:
                await self._open()

    async def close(self) -> None:
        """Stop ssh and remove the socket."""
        process, self._process = self._process, None
        if process is not None:
            with suppress(ProcessLookupError):
                process.terminate()
            await process.wait()
        if self._listening is not None:
            # Its last messages arrive at once, but a helper process of ssh may keep the pipe open.
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
                f"cannot run ssh: {error.strerror}; install openssh-client"
            ) from error
        self._listening = asyncio.create_task(self._listen(process))
        assert process.stdin is not None  # noqa: S101 - a pipe, as requested
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
            words = self.last_words or "it ended without a message"
            raise EngineUnavailableError(f"the engine at {self._where} cannot be reached: ssh: {words}")
        self._process = process

    async def _listen(self, process: asyncio.subprocess.Process) -> None:
        """Record the error messages of ssh, so that its pipe never fills up."""
        assert process.stderr is not None  # noqa: S101 - a pipe, as requested
        while words := await process.stderr.read(4096):
            self._words.extend(words.decode("utf-8", "replace").splitlines())


def _command(url: str, config: Path | None, seconds: float) -> list[str]:
    """The ssh command; its last three words are the host and the remote command.

    The remote command is ``cat``: its echo shows that the tunnel is ready, and it ends (and ssh with it) when this
    process ends, for whatever reason.
    """
    try:
        parts = urlsplit(url)
        host, port, user = parts.hostname, parts.port, parts.username
    except ValueError as error:
        raise SettingsError(f"engine address {url!r}: {error}") from error
    if parts.scheme != "ssh" or not host or host.startswith("-") or parts.password or parts.query:
        raise SettingsError(f"engine address {url!r}: use ssh://user@host[:port][/path/of/docker.sock]")
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
