"""A Timeball as its users run it: `timeball serve` as a process over a data directory, spoken to over HTTP."""

from __future__ import annotations

import asyncio
import itertools
import json
import os
import signal
import sqlite3
import subprocess
import sys
import time
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import closing, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import aiohttp
import pytest
from docker.api.client import APIClient

from scheduler.engine.types import LABEL_INSTALLATION, container_name
from scheduler.process import faults
from tests.lab.engine import connect, remove_all
from tests.lab.nursery import Child, Nursery

T = TypeVar("T")
Process = subprocess.Popen[bytes] | Child

PATIENCE = 60.0
"""Seconds that anything may take to come about on a busy machine."""
ENDED = frozenset("SFC")
_POLL_SECONDS = 0.04
_names = itertools.count(1)


async def until(
    look: Callable[[], Awaitable[T]], done: Callable[[T], bool] = bool, *, seconds: float = PATIENCE
) -> T:
    """What `look` returns once `done` says so of it; fails with the last look when the time is over."""
    deadline = time.monotonic() + seconds
    while True:
        seen = await look()
        if done(seen):
            return seen
        if time.monotonic() > deadline:
            pytest.fail(f"it did not come about within {seconds:g} s; last seen: {seen!r}")
        await asyncio.sleep(_POLL_SECONDS)


class Timeball:
    """One installation; its daemon can be started and ended any number of times.

    Args:
        data_dir: where it keeps everything.
        engine_url: the engine of its region LOCAL.
        image: ``repo:tag`` of an image on that engine, for jobs that name none.
        config: further settings as TOML, beside LOCAL.
        nursery: where its daemons are forked, for tests that start very many; None runs the command itself.
    """

    def __init__(
        self,
        data_dir: Path,
        engine_url: str,
        image: str,
        *,
        config: str = "",
        nursery: Nursery | None = None,
    ) -> None:
        self._nursery = nursery
        self.data_dir = data_dir
        self.engine_url = engine_url
        self.repository, self.tag = image.rsplit(":", 1)
        self.log_file = data_dir.with_name(data_dir.name + ".log")
        self._config_file = data_dir.with_name(data_dir.name + ".toml")
        self.configure(config)
        self._process: Process | None = None
        self._session: aiohttp.ClientSession | None = None
        self._url = ""

    def configure(self, config: str) -> None:
        """Write other settings, for the next start."""
        self._config_file.write_text(f"{config}\n[regions.LOCAL]\nurl = '{self.engine_url}'\n")

    # ---- the process -------------------------------------------------------------------------------------

    async def start(self, *, until_ready: bool = True, fault: str | None = None) -> None:
        """Start the daemon, and return when its API answers.

        Args:
            until_ready: wait until its engines answer as well.
            fault: where it is to die, as `scheduler.process.faults` reads it; the API has to answer before that.
        """
        assert self._process is None, "it runs already"
        self._process = self.spawn(fault=fault)
        assert self._process.stdout is not None
        line = (await asyncio.to_thread(self._process.stdout.readline)).decode()
        if not line.startswith("Timeball listens on "):
            pytest.fail(f"the daemon did not start: {self.log_file.read_text()[-4000:]}")
        self._url = line.split()[-1]
        token = (self.data_dir / "admin.token").read_text().strip()
        self._session = aiohttp.ClientSession(
            headers={"Authorization": f"Token {token}"}, timeout=aiohttp.ClientTimeout(total=120)
        )
        if until_ready:
            await until(self.is_ready)

    def spawn(self, *, fault: str | None = None) -> Process:
        """Start a daemon on this data directory, whatever else runs on it; its last words go to `log_file`."""
        arguments = [
            *("serve", "--port", "0", "--data-dir", str(self.data_dir), "--config", str(self._config_file))
        ]
        plain = {name: value for name, value in os.environ.items() if not name.startswith("TIMEBALL_")}
        if fault is not None:
            plain[faults.VARIABLE] = fault
        with self.log_file.open("ab") as log:
            if self._nursery is not None:
                return self._nursery.spawn(arguments, plain, log)
            program = Path(sys.executable).with_name("timeball")
            return subprocess.Popen([program, *arguments], stdout=subprocess.PIPE, stderr=log, env=plain)

    @property
    def is_running(self) -> bool:
        """Whether the daemon is there and has not ended by itself."""
        return self._process is not None and self._process.poll() is None

    @property
    def pid(self) -> int:
        """The daemon's process id."""
        assert self._process is not None, "it does not run"
        return self._process.pid

    @property
    def url(self) -> str:
        """Where its API listens."""
        return self._url

    async def kill(self) -> None:
        """End the daemon with SIGKILL."""
        await self._end(signal.SIGKILL)

    def stand_still(self) -> None:
        """Stop the daemon with SIGSTOP, until `go_on`."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGSTOP)

    @property
    def stands_still(self) -> bool:
        """Whether the daemon is stopped by SIGSTOP."""
        stat = Path(f"/proc/{self.pid}/stat").read_text(encoding="utf-8")
        return stat.rpartition(")")[2].split()[0] == "T"

    def go_on(self) -> None:
        """Let a stopped daemon go on, with SIGCONT."""
        assert self._process is not None, "it does not run"
        self._process.send_signal(signal.SIGCONT)

    async def until_dead(self) -> None:
        """Return when the daemon has died by SIGKILL at the fault that it was started with."""
        process = self._process
        assert process is not None, "it does not run"
        try:
            await asyncio.to_thread(process.wait, PATIENCE)
        except subprocess.TimeoutExpired:
            pytest.fail(f"it never came to where it is to die: {self.log_file.read_text()[-4000:]}")
        assert process.returncode == -signal.SIGKILL, self.log_file.read_text()[-4000:]
        await self._end(signal.SIGKILL)

    async def terminate(self) -> tuple[int, float]:
        """End the daemon with SIGTERM; answers its exit status and how many seconds it took."""
        began = time.monotonic()
        status = await self._end(signal.SIGTERM)
        return status, time.monotonic() - began

    async def _end(self, number: signal.Signals) -> int:
        process, self._process = self._process, None
        assert process is not None, "it does not run"
        process.send_signal(number)
        try:
            status = await asyncio.to_thread(process.wait, PATIENCE)
        finally:
            process.kill()
            if process.stdout is not None:
                process.stdout.close()
            if self._session is not None:
                await self._session.close()
                self._session = None
        return status

    async def clear_away(self) -> None:
        """End the daemon if it runs, and remove the containers of this installation alone."""
        if self._process is not None:
            await self.kill()
        with connect(self.engine_url) as client:
            remove_all(client, self.installation)

    # ---- what it keeps -----------------------------------------------------------------------------------

    @contextmanager
    def database(self) -> Iterator[sqlite3.Connection]:
        """Its database, to look into or, while the daemon is down, to change behind its back."""
        with closing(sqlite3.connect(self.data_dir / "timeball.db", timeout=10)) as connection, connection:
            yield connection

    @property
    def installation(self) -> str:
        """The id that its containers carry."""
        with self.database() as connection:
            found = connection.execute("SELECT value FROM facts WHERE name = 'installation'").fetchone()
        return str(found[0])

    def containers(self, client: APIClient) -> list[dict[str, Any]]:
        """Its containers on an engine, in whatever state."""
        label = f"{LABEL_INSTALLATION}={self.installation}"
        found: list[dict[str, Any]] = client.containers(all=True, filters={"label": label})
        return found

    # ---- requests ----------------------------------------------------------------------------------------

    async def send(self, method: str, path: str, body: object = None) -> tuple[int, bytes]:
        """Send a request; answers the status and the body."""
        assert self._session is not None, "the daemon does not run"
        async with self._session.request(method, self._url + path, json=body) as response:
            return response.status, await response.read()

    async def get(self, path: str) -> Any:
        """What a GET answers, which has to be 200."""
        status, raw = await self.send("GET", path)
        assert status == 200, (status, raw)
        return json.loads(raw)

    async def post(self, path: str, body: object = None) -> Any:
        """What a POST answers, which has to be 2xx."""
        status, raw = await self.send("POST", path, body)
        assert 200 <= status < 300, (status, raw)
        return json.loads(raw)

    async def delete(self, path: str) -> None:
        """A DELETE, which has to be answered with 204."""
        status, raw = await self.send("DELETE", path)
        assert status == 204, (status, raw)

    async def readiness(self) -> tuple[int, dict[str, str]]:
        """The status of `/readyz`, and what it says of each part."""
        status, raw = await self.send("GET", "/readyz")
        return status, json.loads(raw)["checks"]

    async def is_ready(self) -> bool:
        """Whether `/readyz` answers 200."""
        return (await self.readiness())[0] == 200

    # ---- jobs and their runs -----------------------------------------------------------------------------

    async def create(self, command: str | Sequence[str] | None, **fields: Any) -> int:
        """Create a job and answer its id; a `Script` runs in a shell."""
        body = {
            "name": f"job-{next(_names)}",
            "docker_image_repo": self.repository,
            "docker_image_tag": self.tag,
            "command": command if command is None or isinstance(command, str) else list(command),
            **fields,
        }
        return int((await self.post("/v1/jobs", body))["id"])

    async def trigger(self, job: int, **overrides: Any) -> str:
        """Make a run of a job and answer its id."""
        return str((await self.post(f"/v1/jobs/{job}/execs", overrides or None))["id"])

    async def exec(self, job: int, one: str) -> dict[str, Any]:
        """One run as it is now."""
        found: dict[str, Any] = await self.get(f"/v1/jobs/{job}/execs/{one}")
        return found

    async def execs(self, job: int) -> list[dict[str, Any]]:
        """All runs of a job, oldest first."""
        return await self._all(f"/v1/jobs/{job}/execs")

    async def ledger(self, job: int) -> list[dict[str, Any]]:
        """All that has become of a job's due times, oldest first."""
        return await self._all(f"/v1/jobs/{job}/occurrences")

    async def until_decided(self, job: int, *, count: int = 1) -> list[dict[str, Any]]:
        """The job's ledger once it has so many entries."""
        return await until(lambda: self.ledger(job), lambda seen: len(seen) >= count)

    async def until_up_to_date(self, job: int) -> None:
        """Return when no due time of a job is left undecided."""
        await until(
            lambda: self.get(f"/v1/jobs/{job}"),
            lambda seen: datetime.fromisoformat(seen["next_run_at"]) > datetime.now(UTC),
        )

    async def switch_off_when_up_to_date(self, job: int) -> datetime:
        """Let nothing more of a job fall due; what was due before the moment answered had been decided by then.

        What fell due since can have been decided or not; then it stands as expired in the ledger.
        """
        seen = await until(
            lambda: self.get(f"/v1/jobs/{job}"),
            lambda seen: datetime.fromisoformat(seen["next_run_at"]) > datetime.now(UTC),
        )
        await self.switch_off(job)
        return datetime.fromisoformat(seen["next_run_at"])

    async def switch_off(self, job: int) -> None:
        """Let nothing more of a job fall due."""
        status, raw = await self.send("PUT", f"/v1/jobs/{job}", {"is_schedule_active": False})
        assert status == 200, raw

    async def until_idle(self, job: int, *, seconds: float = PATIENCE) -> list[dict[str, Any]]:
        """The job's runs once all of them have ended."""
        return await until(
            lambda: self.execs(job),
            lambda seen: all(one["status"] in ENDED for one in seen),
            seconds=seconds,
        )

    async def _all(self, path: str) -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = []
        for page in itertools.count(1):
            answer = await self.get(f"{path}?page_size=1000&page={page}")
            found += answer["results"]
            if answer["next"] is None:
                return found[::-1]
        raise AssertionError

    async def until_status(
        self, job: int, one: str, *wanted: str, seconds: float = PATIENCE
    ) -> dict[str, Any]:
        """The run once it has one of the statuses."""
        return await until(
            lambda: self.exec(job, one), lambda seen: seen["status"] in wanted, seconds=seconds
        )

    async def until_ended(self, job: int, one: str, *, seconds: float = PATIENCE) -> dict[str, Any]:
        """The run once it has ended."""
        return await self.until_status(job, one, *ENDED, seconds=seconds)

    async def until_all_ended(
        self, job: int, *, count: int, seconds: float = PATIENCE
    ) -> list[dict[str, Any]]:
        """The job's runs once there are so many and all have ended."""
        return await until(
            lambda: self.execs(job),
            lambda seen: len(seen) == count and all(one["status"] in ENDED for one in seen),
            seconds=seconds,
        )

    async def run(self, command: str | Sequence[str] | None, **fields: Any) -> tuple[int, dict[str, Any]]:
        """Create a job, run it once, and answer its id and the ended run."""
        job = await self.create(command, **fields)
        return job, await self.until_ended(job, await self.trigger(job))

    async def logs(self, job: int, one: str, *, stream: str | None = None) -> list[dict[str, Any]]:
        """The lines of a run's log."""
        query = "" if stream is None else f"?stream={stream}"
        found: list[dict[str, Any]] = await self.get(f"/v1/jobs/{job}/execs/{one}/logs{query}")
        return found

    async def lines(self, job: int, one: str, stream: str = "stdout") -> list[str]:
        """What a run printed to a stream, line by line."""
        return [line["message"] for line in await self.logs(job, one, stream=stream)]

    async def until_printed(self, job: int, one: str, line: str) -> None:
        """Return when a line stands in the log."""
        await until(lambda: self.logs(job, one), lambda seen: line in [found["message"] for found in seen])


def script(text: str) -> list[str]:
    """A command that runs the text in a shell."""
    return ["sh", "-c", text]


def until_told(*, then: str = "exit 0", first: str = ":") -> list[str]:
    """A command that goes on until `tell` tells it, however slow the machine is; SIGTERM ends it with 1.

    Args:
        then: what the shell does when it was told.
        first: what it does before it prints ``ready`` and waits.
    """
    waits = "while [ -z $told ]; do sleep 0.05; done"
    return script(f"told=; trap 'exit 1' TERM; trap 'told=1' USR1; {first}; echo ready; {waits}; {then}")


def tell(client: APIClient, exec_id: str) -> None:
    """Tell a run that waits for it to go on; it has printed ``ready``."""
    client.kill(container_name(exec_id), signal="USR1")


def is_there(client: APIClient, exec_id: str) -> bool:
    """Whether a run has a container on the engine, in whatever state."""
    return bool(client.containers(all=True, filters={"name": f"^/{container_name(exec_id)}$"}))
