"""Who may do what: roles and namespaces, and tokens on the disk."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from scheduler.access.callers import Caller, Role, demand, visible_exec, visible_job
from scheduler.access.tokens import Tokens
from scheduler.domain.clock import SystemClock
from scheduler.domain.drafting import draft_exec
from scheduler.domain.errors import ForbiddenError, NotFoundError, SettingsError, UnauthorizedError
from scheduler.domain.execution import TriggerMode
from scheduler.domain.job import STANDARD_SIZES, JobDefinition, ScheduleCursor
from scheduler.store import accounts, execs, identity, jobs
from scheduler.store.database import Database
from scheduler.store.tables import metadata
from tests.lab.clock import SettableClock

ADMIN = Caller("admin", None, Role.ADMIN)
EDITOR = Caller("ann", "team", Role.EDITOR)
STRANGER = Caller("bob", "other", Role.EDITOR)
CLOCK = SystemClock()
MINE = "tbl_" + "mine" * 8


@pytest.fixture
async def database(tmp_path: Path) -> AsyncIterator[Database]:
    """An empty database with all tables."""
    found = Database(f"sqlite:///{tmp_path}/timeball.db")
    await found.write(metadata.create_all)
    yield found
    await found.close()


@pytest.fixture
def data_dir(tmp_path: Path) -> Iterator[Path]:
    """Where the token's file goes."""
    path = tmp_path / "data"
    path.mkdir()
    return path


def test_a_caller_needs_the_role_in_the_very_namespace():
    """Each role may do what the lower ones may, and nothing elsewhere."""
    demand(ADMIN, Role.ADMIN, "anywhere")
    demand(EDITOR, Role.OPERATOR, "team")
    with pytest.raises(ForbiddenError, match="requires the role editor; this token's role is viewer"):
        demand(replace(EDITOR, role=Role.VIEWER), Role.EDITOR, "team")
    with pytest.raises(ForbiddenError, match="for namespace 'team', not for 'other'"):
        demand(EDITOR, Role.VIEWER, "other")


def test_what_is_made_without_a_namespace_goes_to_the_callers_own():
    """A bound caller's is its namespace, the administrator's its name."""
    assert (EDITOR.home, ADMIN.home) == ("team", "admin")


async def test_what_lies_in_another_namespace_does_not_exist(database: Database):
    """Job and run are found by who may see them, and by their ids as they are written alone."""
    now = CLOCK.now()
    definition = JobDefinition(name="n", namespace="team", docker_image_repo="busybox")
    job = await database.write(
        lambda connection: jobs.insert(connection, definition, ScheduleCursor(), created_by="ann", now=now)
    )
    one = draft_exec(job, STANDARD_SIZES, trigger_mode=TriggerMode.MANUAL, created_by="ann", now=now)
    await database.write(lambda connection: execs.insert(connection, [one]))
    for caller in (ADMIN, EDITOR):
        assert await database.read(lambda c, who=caller: visible_job(c, who, "1")) == job
        found = await database.read(lambda c, who=caller: visible_exec(c, who, "1", one.id.upper()))
        assert found == (job, one)
    for caller, text in ((STRANGER, "1"), (ADMIN, "01"), (ADMIN, "١"), (ADMIN, "9" * 19), (ADMIN, "")):
        with pytest.raises(NotFoundError):
            await database.read(lambda c, who=caller, id_=text: visible_job(c, who, id_))
    for text in ("x", one.id[1:], one.id.replace("-", ""), "\udcff"):
        with pytest.raises(NotFoundError):
            await database.read(lambda c, id_=text: visible_exec(c, ADMIN, "1", id_))


async def test_the_first_start_makes_a_token_that_later_starts_keep(database: Database, data_dir: Path):
    """The token stands for an administrator, and its file for nobody but its owner."""
    tokens = Tokens(database)
    path = await tokens.ensure_admin(data_dir, CLOCK)
    token = path.read_text().strip()
    assert path.stat().st_mode & 0o777 == 0o600
    assert await tokens.caller_of(token) == ADMIN
    assert await Tokens(database).ensure_admin(data_dir, CLOCK) == path
    assert path.read_text().strip() == token
    with pytest.raises(UnauthorizedError):
        await tokens.caller_of(token[:-1])


async def test_a_token_file_is_made_known_to_a_new_database(database: Database, data_dir: Path):
    """Whoever restores a data directory without its database keeps the token."""
    (data_dir / "admin.token").write_text(f"{MINE}\n")
    tokens = Tokens(database)
    await tokens.ensure_admin(data_dir, CLOCK)
    assert await tokens.caller_of(MINE) == ADMIN


@pytest.mark.parametrize("how", ["deleted", "emptied", "replaced"])
async def test_a_new_token_takes_the_place_of_the_old_one(database: Database, data_dir: Path, how: str):
    """A deleted or empty file gets a new token, and the one that was there stops working."""
    tokens = Tokens(database)
    path = await tokens.ensure_admin(data_dir, CLOCK)
    old = path.read_text().strip()
    assert await tokens.caller_of(old) == ADMIN
    if how == "deleted":
        path.unlink()
    else:
        path.write_text("" if how == "emptied" else MINE)
    await tokens.ensure_admin(data_dir, CLOCK)
    new = path.read_text().strip()
    assert new != old
    assert await tokens.caller_of(new) == ADMIN
    with pytest.raises(UnauthorizedError):
        await tokens.caller_of(old)


async def test_the_token_of_another_daemon_on_the_same_database_goes_on_working(
    database: Database, data_dir: Path, tmp_path: Path
):
    """Each has a file of its own; while another one lives, none of them is forgotten."""
    tokens, now = Tokens(database), CLOCK.now()
    until = now + timedelta(minutes=1)
    await database.write(lambda c: identity.renew_lease(c, "here", now=now, until=until))
    path = await tokens.ensure_admin(data_dir, CLOCK, instance="here")
    await tokens.ensure_admin(tmp_path, CLOCK, instance="there")
    assert await tokens.caller_of(path.read_text().strip()) == ADMIN


@pytest.mark.parametrize(
    "content", [b"\xff\xfe", b"hello", b"tbl_short", b"tbl_" + b"x" * 500, b"tbl_" + b" " * 40 + b"x"]
)
async def test_a_token_file_that_is_none_is_refused_with_a_remedy(
    database: Database, data_dir: Path, content: bytes
):
    """What cannot be read as a token stops the start, and the message names the file and says what to do."""
    (data_dir / "admin.token").write_bytes(content)
    with pytest.raises(SettingsError, match=r"admin\.token .*(Delete it|Delete the file) to get a new token"):
        await Tokens(database).ensure_admin(data_dir, CLOCK)


async def test_what_another_daemon_revoked_is_believed_for_five_seconds_at_most(
    database: Database, data_dir: Path
):
    """Each daemon remembers for itself whom it has looked up."""
    clock = SettableClock()
    here, there = Tokens(database, clock), Tokens(database, clock)
    token = (await here.ensure_admin(data_dir, CLOCK)).read_text().strip()
    for tokens in (here, there):
        assert await tokens.caller_of(token) == ADMIN
    await database.write(accounts.remove_file_tokens)
    here.forget()
    with pytest.raises(UnauthorizedError):
        await here.caller_of(token)
    assert await there.caller_of(token) == ADMIN
    clock.stand_still(timedelta(seconds=5))
    with pytest.raises(UnauthorizedError):
        await there.caller_of(token)


async def test_what_changes_while_a_token_is_looked_up_is_not_overlooked(
    database: Database, data_dir: Path, monkeypatch: pytest.MonkeyPatch
):
    """A look-up that began before the revocation is not remembered after it."""
    tokens = Tokens(database)
    token = (await tokens.ensure_admin(data_dir, CLOCK)).read_text().strip()
    read = Database.read

    async def read_and_revoke(self: Database, work: Callable[[Connection], Any]) -> Any:
        found = await read(self, work)
        monkeypatch.setattr(Database, "read", read)
        await self.write(accounts.remove_file_tokens)
        tokens.forget()
        return found

    monkeypatch.setattr(Database, "read", read_and_revoke)
    assert await tokens.caller_of(token) == ADMIN
    with pytest.raises(UnauthorizedError):
        await tokens.caller_of(token)
