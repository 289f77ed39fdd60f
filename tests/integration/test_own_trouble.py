"""The daemon's own trouble: no disk, no database, no open files. It says so, loses nothing, and goes on by itself."""

from __future__ import annotations

import asyncio
import json
import os
import resource
import sqlite3
import subprocess
import tomllib
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import closing, suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
import pytest_asyncio
import sqlalchemy as sa
from docker.api.client import APIClient

from scheduler.engine.types import container_name
from scheduler.store.tables import facts
from tests.integration.conftest import MakeTimeball
from tests.lab.postgresql import PostgreSQL
from tests.lab.timeball import Timeball, script, tell, until, until_told

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

SOON = "database_wait_seconds = 0.3\n"
#: Counts on once it is told to, for some three seconds.
COUNTS = until_told(first="seq 3", then="for i in $(seq 4 40); do echo $i; sleep 0.08; done")
ALL_OF_THEM = ["1", "2", "3", "ready", *(str(number) for number in range(4, 41))]
#: So many lines may the daemon say about one trouble, however long it lasts.
FEW = 60


async def _refused(timeball: Timeball, method: str, path: str, body: object = None) -> dict[str, Any]:
    """The problem that a request is answered with, which has to be 503 and say when to come back."""
    assert timeball._session is not None
    async with timeball._session.request(method, timeball._url + path, json=body) as response:
        text = await response.text()
        assert response.status == 503, (response.status, text)
        assert int(response.headers["Retry-After"]) > 0
        assert response.content_type == "application/problem+json"
        problem: dict[str, Any] = json.loads(text)
        return problem


async def _says(timeball: Timeball, status: int) -> str:
    """What `/readyz` says of the database once it answers with the status."""
    _, checks = await until(timeball.readiness, lambda seen: seen[0] == status)
    return checks["database"]


async def _metric(timeball: Timeball, line: str) -> float:
    _, raw = await timeball.send("GET", "/metrics")
    return sum(float(one.split()[-1]) for one in raw.decode().splitlines() if one.startswith(line))


def _every_second() -> dict[str, object]:
    start = (datetime.now(UTC) + timedelta(seconds=1)).replace(microsecond=0)
    return {"is_schedule_active": True, "schedule_mode": f"R/{start:%Y-%m-%dT%H:%M:%SZ}/PT1S"}


async def _check_ledger(timeball: Timeball, job: int) -> None:
    """Every due time is there once, and each that ran has a run that succeeded."""
    await timeball.switch_off(job)
    ledger = await timeball.ledger(job)
    due = [datetime.fromisoformat(entry["due_at"]) for entry in ledger]
    assert due == [due[0] + timedelta(seconds=number) for number in range(len(due))]
    ran = {entry["exec"] for entry in ledger if entry["outcome"] == "ran"}
    runs = await timeball.until_idle(job)
    assert {run["id"] for run in runs} == ran
    assert {run["status"] for run in runs} == {"S"}


async def _survives(
    timeball: Timeball,
    client: APIClient,
    begin: Callable[[], object],
    end: Callable[[], object],
    sign: str,
    *,
    can_be_read: bool = True,
) -> None:
    """Whatever goes on when the trouble begins comes to its end after it; meanwhile the daemon tells the truth."""
    job = await timeball.create(COUNTS, resource_size="XXS")
    ticking = await timeball.create(
        "true", resource_size="XXS", concurrency_policy="allow", **_every_second()
    )
    # More than may wait in memory: the container is held back, and nothing is dropped.
    long = await timeball.create(script("yes $(printf %01000d 7) | head -n 9000"), resource_size="XS")
    other = await timeball.trigger(long)
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, "ready")
    await timeball.until_status(job, run, "R")  # it may print before its start is recorded
    await timeball.until_decided(ticking)
    told = timeball.log_file.stat().st_size

    await asyncio.to_thread(begin)
    try:
        tell(client, run)
        assert sign in await _says(timeball, 503)
        assert (
            sign
            in (await _refused(timeball, "POST", "/v1/jobs", {"name": "x", "docker_image_repo": "y"}))[
                "detail"
            ]
        )
        await _refused(timeball, "POST", f"/v1/jobs/{job}/execs")
        await _refused(timeball, "DELETE", f"/v1/jobs/{job}")
        for path in ("/healthz", "/metrics", "/v1/jobs", f"/v1/jobs/{job}", f"/v1/jobs/{job}/execs/{run}"):
            expected = 200 if can_be_read or not path.startswith("/v1") else 503
            assert (await timeball.send("GET", path))[0] == expected, path
        assert await _metric(timeball, 'timeball_database_refusals_total{door="write"') > 0
        assert await _metric(timeball, "timeball_database_writable") == 0
        # Until well after the run has printed all that it prints, and some due times have passed.
        last = datetime.now(UTC) + timedelta(seconds=5)
        await until(lambda: _has_ended(client, run))
        await until(lambda: _is_past(last))
        assert timeball.is_running
        if can_be_read:
            assert (await timeball.exec(job, run))["status"] == "R"
    finally:
        await asyncio.to_thread(end)

    await _says(timeball, 200)
    assert (await timeball.until_ended(job, run))["status"] == "S"
    assert await timeball.lines(job, run) == ALL_OF_THEM
    assert (await timeball.until_ended(long, other))["status"] == "S"
    assert await timeball.lines(long, other) == ["7".zfill(1000)] * 9000
    assert len((await timeball.get("/v1/jobs?namespace=default"))["results"]) in (0, 3)
    await until(lambda: timeball.ledger(ticking), lambda seen: len(seen) >= 6)
    await _check_ledger(timeball, ticking)
    assert await _metric(timeball, "timeball_defects_total") == 0
    said = timeball.log_file.read_bytes()[told:].decode()
    about = [line for line in said.splitlines() if "run." not in line]
    assert len(about) < FEW, Counter(json.loads(line)["event"] for line in about)


async def _has_ended(client: APIClient, run: str) -> bool:
    return not client.inspect_container(container_name(run))["State"]["Running"]


async def _is_past(moment: datetime) -> bool:
    return datetime.now(UTC) > moment


@pytest.fixture
def small_disk(tmp_path: Path) -> Iterator[Path]:
    """A disk of 32 MiB, where the first daemon that a test makes keeps its data."""
    if os.geteuid() != 0:
        pytest.skip("only root can mount a small disk")
    path = tmp_path / "data-0"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "-o", "size=32m", "tmpfs", str(path)], check=True)
    yield path
    subprocess.run(["umount", "--lazy", str(path)], check=True)


async def test_a_full_disk_is_survived(
    small_disk: Path, make_timeball: MakeTimeball, engine_client: APIClient
) -> None:
    """Nothing is half-written, and what ran and fell due meanwhile is stored when there is room."""
    timeball = await make_timeball(config=SOON)
    assert timeball.data_dir == small_disk
    ballast = small_disk / "ballast"

    # What is stored has to take room, else the database makes do with what it has: noise does not compress.
    noise = "for n in $(seq 50); do head -c 100000 /dev/urandom; sleep 0.2; done"
    noisy = await timeball.create(script(noise), resource_size="XXS", namespace="noise")
    one = await timeball.trigger(noisy)
    await timeball.until_status(noisy, one, "R")

    def fill() -> None:
        # Else the room that its log has already would do for a while.
        with timeball.database() as connection:
            connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
        with suppress(OSError), ballast.open("wb", buffering=0) as file:
            while True:
                file.write(b"x" * 4096)

    await _survives(timeball, engine_client, fill, ballast.unlink, "disk")
    assert (await timeball.until_ended(noisy, one))["status"] == "S"


async def test_a_database_that_another_program_holds_is_waited_for(
    own_timeball: Timeball, engine_client: APIClient
) -> None:
    """For longer than anybody waits for a lock; reading goes on."""
    timeball = own_timeball
    await timeball.terminate()
    timeball.configure(SOON)
    await timeball.start()
    with closing(
        sqlite3.connect(
            timeball.data_dir / "timeball.db", isolation_level=None, timeout=30, check_same_thread=False
        )
    ) as other:
        await _survives(
            timeball,
            engine_client,
            lambda: other.execute("BEGIN EXCLUSIVE"),
            lambda: other.execute("ROLLBACK"),
            "locked",
        )


async def test_a_data_directory_that_cannot_be_written_is_refused_at_the_start(
    small_disk: Path, make_timeball: MakeTimeball
) -> None:
    """With a sentence that names it, and without a traceback."""
    timeball = await make_timeball()
    await timeball.terminate()
    _remount(small_disk, "ro")
    process = timeball.spawn()
    try:
        assert await asyncio.to_thread(process.wait, 60) == 2
    finally:
        _remount(small_disk, "rw")
        process.kill()
        if process.stdout is not None:
            process.stdout.close()
    said = timeball.log_file.read_text()
    assert f"data_dir {small_disk}" in said
    assert "Traceback" not in said


def _remount(path: Path, how: str) -> None:
    subprocess.run(["mount", "-o", f"remount,{how}", str(path)], check=True)


def _open_files(pid: int) -> int:
    return len(list(Path(f"/proc/{pid}/fd").iterdir()))


async def test_too_many_open_files_neither_end_nor_spin_the_daemon(
    own_timeball: Timeball, engine_client: APIClient
) -> None:
    """New clients are still answered, if slowly; what runs comes to its end when files can be opened again."""
    timeball = own_timeball
    job = await timeball.create(COUNTS, resource_size="XXS")
    run = await timeball.trigger(job)
    await timeball.until_printed(job, run, "ready")
    told = timeball.log_file.stat().st_size
    _, hard = resource.prlimit(timeball.pid, resource.RLIMIT_NOFILE)
    opened = _open_files(timeball.pid)
    resource.prlimit(timeball.pid, resource.RLIMIT_NOFILE, (opened, hard))
    waiting: list[tuple[asyncio.StreamReader, asyncio.StreamWriter]] = []
    try:
        # Clients that stay: more than there are files in reserve.
        port = int(timeball._url.rsplit(":", 1)[1])
        waiting += [await asyncio.open_connection("127.0.0.1", port) for _ in range(60)]
        await until(lambda: _metric(timeball, "timeball_accept_failures_total"))
        assert (await timeball.send("GET", "/healthz"))[0] == 200
        tell(engine_client, run)
        late = await timeball.create("true", resource_size="XXS")
        one = await timeball.trigger(late)
        spent = _processor_seconds(timeball.pid)
        moment = datetime.now(UTC) + timedelta(seconds=3)
        await until(lambda: _is_past(moment))
        assert timeball.is_running
        assert _processor_seconds(timeball.pid) - spent < 2.5
    finally:
        resource.prlimit(timeball.pid, resource.RLIMIT_NOFILE, (min(4096, hard), hard))
        for _, writer in waiting:
            writer.close()
    assert (await timeball.until_ended(late, one))["status"] == "S"
    assert (await timeball.until_ended(job, run))["status"] == "S"
    assert await timeball.lines(job, run) == ALL_OF_THEM
    said = timeball.log_file.read_bytes()[told:].decode()
    assert said.count("too_many_open_files") == 1
    assert len(said.splitlines()) < FEW, said[-3000:]


def _processor_seconds(pid: int) -> float:
    fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


async def test_a_log_that_cannot_be_written_does_not_end_the_daemon(own_timeball: Timeball) -> None:
    """What it says about itself is lost; what it does is not."""
    timeball = own_timeball
    await timeball.terminate()
    timeball.log_file = Path("/dev/full")
    await timeball.start()
    _, one = await timeball.run("echo up")
    assert one["status"] == "S"
    assert timeball.is_running


class _OnPostgreSQL(Timeball):
    """An installation whose database is a server's."""

    @property
    def installation(self) -> str:
        """The id that its containers carry."""
        url = tomllib.loads(self._config_file.read_text())["database_url"]
        engine = sa.create_engine(url)
        try:
            with engine.connect() as connection:
                return str(
                    connection.execute(
                        sa.select(facts.c.value).where(facts.c.name == "installation")
                    ).scalar()
                )
        finally:
            engine.dispose()


@pytest_asyncio.fixture(loop_scope="session")
async def on_postgresql(
    private_postgresql: PostgreSQL, engine_url: str, busybox_image: str, tmp_path: Path
) -> AsyncIterator[Timeball]:
    """A daemon on a server that the test may do anything to."""
    config = f"{SOON}database_url = '{private_postgresql.url}'\n"
    made = _OnPostgreSQL(tmp_path / "data", engine_url, busybox_image, config=config)
    await made.start()
    yield made
    await made.clear_away()


@pytest.mark.postgresql
async def test_a_postgresql_that_goes_away_and_comes_back_is_survived(
    private_postgresql: PostgreSQL, on_postgresql: Timeball, engine_client: APIClient
) -> None:
    """It crashes amid everything."""
    await _survives(
        on_postgresql,
        engine_client,
        private_postgresql.stop,
        private_postgresql.start,
        "connection",
        can_be_read=False,
    )


@pytest.mark.postgresql
@pytest.mark.slow
async def test_a_postgresql_that_hangs_is_survived(
    private_postgresql: PostgreSQL, on_postgresql: Timeball, engine_client: APIClient
) -> None:
    """It takes connections and answers nothing; nobody waits for it for ever."""
    await _survives(
        on_postgresql,
        engine_client,
        private_postgresql.freeze,
        private_postgresql.thaw,
        "answered",
        can_be_read=False,
    )


@pytest.mark.postgresql
@pytest.mark.slow
async def test_a_postgresql_that_is_made_read_only_is_survived(
    private_postgresql: PostgreSQL, on_postgresql: Timeball, engine_client: APIClient
) -> None:
    """Reading goes on."""

    def make(read_only: str) -> None:
        engine = sa.create_engine(private_postgresql.url, isolation_level="AUTOCOMMIT")
        with engine.connect() as connection:
            connection.exec_driver_sql("SET transaction_read_only = off")
            connection.exec_driver_sql(f"ALTER SYSTEM SET default_transaction_read_only = {read_only}")
            connection.exec_driver_sql("SELECT pg_reload_conf()")
        engine.dispose()

    await _survives(on_postgresql, engine_client, lambda: make("on"), lambda: make("off"), "read-only")
