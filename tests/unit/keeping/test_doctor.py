"""What the doctor says of each thing, well or not."""

from __future__ import annotations

import asyncio
import fcntl
import os
import sqlite3
from contextlib import closing
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from scheduler.domain.clock import SystemClock
from scheduler.engine.profile import Limit
from scheduler.keeping.doctor.databases import StoredView, check_database
from scheduler.keeping.doctor.engines import check_engines
from scheduler.keeping.doctor.findings import Finding, FindingStatus, ok, problem, warning, worst
from scheduler.keeping.doctor.machine import FreeSpace, check_disk, check_permissions, judge_room
from scheduler.keeping.doctor.presence import check_daemon, is_locked
from scheduler.settings.parts import RegionSettings
from scheduler.store import identity
from scheduler.store.database import Database
from scheduler.store.migrate import upgrade
from tests.lab.engine_scene import EXITS_0, Scene
from tests.lab.fake_engine import FAKE_IMAGE, FakeEngine

GIB = 1024**3
CLOCK = SystemClock()
REGION = RegionSettings(url="unix:///nowhere/docker.sock")


async def _prepare(database: Database) -> None:
    database.migrate(upgrade)
    now = CLOCK.now()
    await database.write(identity.installation_id)
    await database.write(lambda c: identity.renew_lease(c, "me", now=now, until=now + timedelta(minutes=5)))
    await database.close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Path:
    """A directory as a daemon keeps it, with a lease of the daemon `me`."""
    tmp_path.chmod(0o700)
    asyncio.run(_prepare(Database(f"sqlite:///{tmp_path / 'timeball.db'}")))
    (tmp_path / "instance").write_text("me\n")
    for file in tmp_path.iterdir():
        file.chmod(0o600)
    return tmp_path


def stored(data_dir: Path) -> StoredView:
    """The directory's database."""
    return StoredView(f"sqlite:///{data_dir / 'timeball.db'}")


def by_check(findings: list[Finding]) -> dict[str, Finding]:
    """Findings by what was looked at; each that is not ok says what to do."""
    for finding in findings:
        assert (finding.remedy is None) == (finding.status is FindingStatus.OK), finding
    return {finding.check: finding for finding in findings}


def test_the_worst_finding_is_the_status_of_all() -> None:
    """A warning is worse than nothing to do, a problem worse than both."""
    assert worst([]) is FindingStatus.OK
    assert worst([ok("a", ""), warning("b", "", "do")]) is FindingStatus.WARNING
    assert worst([problem("a", "", "do"), warning("b", "", "do")]) is FindingStatus.PROBLEM


def test_a_database_in_order_is_said_to_be_so(data_dir: Path) -> None:
    """Version, integrity and size."""
    found = by_check(check_database(stored(data_dir)))

    assert set(found) == {"database version", "database integrity", "database size"}
    assert worst(list(found.values())) is FindingStatus.OK


def test_a_damaged_database_is_a_problem(data_dir: Path) -> None:
    """With a backup as the remedy."""
    with (data_dir / "timeball.db").open("r+b") as file:
        file.seek(6 * 4096)
        file.write(b"\xff" * 4096 * 6)

    found = check_database(stored(data_dir))

    assert worst(found) is FindingStatus.PROBLEM
    assert any("timeball restore" in (finding.remedy or "") for finding in found)


def test_what_is_no_database_is_a_problem(data_dir: Path) -> None:
    """As is one that cannot be opened."""
    (data_dir / "timeball.db").write_text("{}")

    assert worst(check_database(stored(data_dir))) is FindingStatus.PROBLEM


def test_a_missing_database_is_a_warning(tmp_path: Path) -> None:
    """No daemon has been started there."""
    [finding] = check_database(stored(tmp_path))

    assert finding.status is FindingStatus.WARNING
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("version", "status"), [("9999", FindingStatus.PROBLEM), ("0000", FindingStatus.WARNING)]
)
def test_tables_of_another_version_are_named(data_dir: Path, version: str, status: FindingStatus) -> None:
    """Newer ones cannot be used; older ones are brought up to date by the next start."""
    with closing(sqlite3.connect(data_dir / "timeball.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = ?", (version,))

    assert by_check(check_database(stored(data_dir)))["database version"].status is status


@pytest.mark.parametrize(
    ("room", "status"),
    [
        (FreeSpace(GIB * 2, GIB * 9, 10**6), FindingStatus.OK),
        (FreeSpace(GIB // 2, GIB * 9, 10**6), FindingStatus.WARNING),
        (FreeSpace(GIB // 8, GIB * 9, 10**6), FindingStatus.PROBLEM),
        (FreeSpace(GIB * 2, GIB * 9, 5_000), FindingStatus.WARNING),
        (FreeSpace(GIB * 2, GIB * 9, 500), FindingStatus.PROBLEM),
        (FreeSpace(GIB * 2, GIB * 9, None), FindingStatus.OK),
    ],
)
def test_room_on_the_disk_is_judged_by_bytes_and_files(room: FreeSpace, status: FindingStatus) -> None:
    """A file system that does not count files has room for them."""
    assert worst(judge_room(Path("/data"), room)) is status


def test_a_directory_that_is_not_there_is_a_problem(tmp_path: Path) -> None:
    """With what to name instead."""
    assert by_check(check_disk(tmp_path / "nowhere"))["disk space"].status is FindingStatus.PROBLEM


@pytest.mark.parametrize(
    ("directory", "file", "status"),
    [
        (0o700, 0o600, FindingStatus.OK),
        (0o755, 0o600, FindingStatus.WARNING),
        (0o700, 0o644, FindingStatus.PROBLEM),
    ],
)
def test_what_others_can_read_is_named(
    data_dir: Path, directory: int, file: int, status: FindingStatus
) -> None:
    """A directory that is open is a warning, a secret that is open a problem."""
    (data_dir / "admin.token").write_text("tbl_x")
    (data_dir / "admin.token").chmod(file)
    data_dir.chmod(directory)

    [finding] = check_permissions(data_dir)

    assert finding.status is status
    if status is not FindingStatus.OK:
        assert (finding.remedy or "").startswith("chmod")


@pytest.mark.parametrize("name", ["admin.token", "secret.key", "timeball.db"])
def test_a_secret_that_others_can_read_is_a_problem_whichever_it_is(data_dir: Path, name: str) -> None:
    """The key of the secrets as well."""
    (data_dir / name).touch()
    (data_dir / name).chmod(0o640)

    [finding] = check_permissions(data_dir)

    assert finding.status is FindingStatus.PROBLEM
    assert finding.details["files"] == [str(data_dir / name)]


@pytest.mark.parametrize(
    ("name", "refused"),
    [("timeball.db", os.R_OK), ("timeball.db", os.W_OK), ("secret.key", os.R_OK), ("", os.W_OK)],
)
def test_what_this_user_cannot_read_or_write_is_named(
    data_dir: Path, name: str, refused: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As after a start as another user: a daemon of this one could not go on with it."""
    (data_dir / "secret.key").touch(0o600)
    may = os.access
    monkeypatch.setattr(  # tests may run as root, who may everything
        os, "access", lambda path, mode: may(path, mode) and not (path == data_dir / name and mode & refused)
    )

    [finding] = check_permissions(data_dir)

    assert finding.status is FindingStatus.PROBLEM
    assert str(data_dir / name) in finding.summary
    assert "chown" in (finding.remedy or "")


def asked(data_dir: Path, **changes: Any) -> dict[str, Finding]:
    """What is said of the daemon."""
    about = {
        "version": _version(), "instance": "me", "started_at": "then", "clock_jumped_seconds": 0.0,
    }  # fmt: skip
    more = {"is_served": True, "about": about, "unreachable": None, "is_named": False} | changes
    if "about" in changes and changes["about"] is not None:
        more["about"] = about | changes["about"]
    return by_check(check_daemon(data_dir, stored(data_dir), CLOCK, **more))


def _version() -> str:
    from importlib.metadata import version  # noqa: PLC0415 - the installed one

    return version("timeball")


def test_a_daemon_that_runs_well_is_said_to(data_dir: Path) -> None:
    """It answers, and its lease stands in the database."""
    assert {name: finding.status for name, finding in asked(data_dir).items()} == {
        "daemon": FindingStatus.OK,
        "daemon lease": FindingStatus.OK,
    }


@pytest.mark.parametrize(
    ("changes", "check", "status"),
    [
        ({"is_served": False, "about": None}, "daemon", FindingStatus.WARNING),
        (
            {"is_served": False, "about": None, "unreachable": "x", "is_named": True},
            "daemon",
            FindingStatus.PROBLEM,
        ),
        ({"about": None, "unreachable": "x"}, "daemon", FindingStatus.WARNING),
        ({"about": None, "unreachable": "x", "is_named": True}, "daemon", FindingStatus.PROBLEM),
        ({"about": {"version": "0.0.1"}}, "daemon", FindingStatus.WARNING),
        ({"about": {"instance": "another"}}, "daemon address", FindingStatus.WARNING),
        ({"about": {"clock_jumped_seconds": -9.0}}, "daemon clock", FindingStatus.WARNING),
    ],
)
def test_a_daemon_that_is_not_as_it_should_be_is_said_to(
    data_dir: Path, changes: dict[str, Any], check: str, status: FindingStatus
) -> None:
    """Down, unreachable, of another version, another's, with a clock that was set."""
    assert asked(data_dir, **changes)[check].status is status


def test_a_lease_that_has_run_out_is_a_problem(data_dir: Path) -> None:
    """The daemon hangs, or cannot write."""
    with closing(sqlite3.connect(data_dir / "timeball.db")) as connection, connection:
        connection.execute("UPDATE instances SET lease_until = 1")

    assert asked(data_dir)["daemon lease"].status is FindingStatus.PROBLEM


def test_the_daemons_lock_tells_whether_one_runs(tmp_path: Path) -> None:
    """Without a lock file none ever did; looking does not take the lock away."""
    assert not is_locked(tmp_path)
    with (tmp_path / "daemon.lock").open("w") as lock:
        assert not is_locked(tmp_path)
        fcntl.flock(lock, fcntl.LOCK_EX)
        assert is_locked(tmp_path)


async def examined(engine: FakeEngine, *, going: frozenset[str] = frozenset()) -> dict[str, Finding]:
    """What is said of the engine's region."""
    found = await check_engines(
        {"LOCAL": REGION}, lambda *_: engine, CLOCK,
        installation="ours", open_execs=lambda ids: set(ids) & going, is_served=False,
    )  # fmt: skip
    return by_check(found)


async def test_containers_are_told_apart_by_whose_they_are() -> None:
    """Of a run that goes on, of none, and of another installation."""
    engine = FakeEngine(installation="ours")
    going = await engine.create(spec := Scene(engine, FAKE_IMAGE).spec(EXITS_0))
    orphan = await engine.create(Scene(engine, FAKE_IMAGE).spec(EXITS_0))
    engine._installation = "theirs"
    await engine.create(Scene(engine, FAKE_IMAGE).spec(EXITS_0))

    found = await examined(engine, going=frozenset({spec.exec_id}))

    assert going.name != orphan.name
    assert found["engine LOCAL"].status is FindingStatus.OK
    assert found["orphans LOCAL"].details["containers"] == [orphan.name]
    assert found["orphans LOCAL"].status is FindingStatus.WARNING
    assert found["strangers LOCAL"].details["installations"] == {"theirs": 1}


async def test_troubles_of_an_engine_are_findings_with_what_to_do() -> None:
    """One that refuses runs is a problem, the others are warnings."""
    engine = FakeEngine(installation="ours")
    assert not [check for check in await examined(engine) if check.startswith(("release", "limits"))]
    engine.kind = replace(engine.kind, version="20.10.24", missing_limits=(Limit.PIDS,))

    found = await examined(engine)

    assert found["release LOCAL"].status is FindingStatus.WARNING
    assert found["limits LOCAL"].status is FindingStatus.PROBLEM
    assert "No run can be started" in found["limits LOCAL"].summary
    assert all(found[check].remedy for check in ("release LOCAL", "limits LOCAL"))
    assert found["engine LOCAL"].summary.startswith("Docker Engine 20.10.24, API 1.51, image store overlay2")
    assert found["engine LOCAL"].details["missing_limits"] == (Limit.PIDS,)


async def test_an_engine_that_does_not_answer_is_a_problem() -> None:
    """With what to do about it."""
    engine = FakeEngine()
    engine.down = True

    assert (await examined(engine))["engine LOCAL"].status is FindingStatus.PROBLEM


@pytest.mark.parametrize(("skew", "status"), [(30, FindingStatus.WARNING), (-900, FindingStatus.PROBLEM)])
async def test_an_engine_whose_clock_differs_from_ours_is_noticed(skew: int, status: FindingStatus) -> None:
    """Ends of runs are told by it."""
    engine = FakeEngine(clock=lambda: datetime.now(UTC) + timedelta(seconds=skew))

    finding = (await examined(engine))["engine LOCAL"]

    assert finding.status is status
    assert abs(finding.details["clock_skew_seconds"] - skew) < 10
