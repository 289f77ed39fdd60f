"""Users, tokens and the audit in the database, on every one that is supported."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
import sqlalchemy as sa
from sqlalchemy.exc import DatabaseError

from scheduler.domain.account import AuditEntry, AuditQuery, StoredToken, StoredUser
from scheduler.domain.errors import ConflictError, TimeballError
from scheduler.store import accounts, audit, tables
from scheduler.store.database import Database

NOW = datetime(2026, 3, 1, 12, 0, 0, 123456, tzinfo=UTC)
ANN = StoredUser("ann", "$argon2id$", "team", "editor", None, True, "admin", NOW, NOW)
TOKEN = StoredToken(
    "ann", "team", "editor", "made", "admin", NOW, name="ci", prefix="tbl_abcd", account="ann"
)


async def add(database: Database, sha256: str, token: StoredToken = TOKEN) -> StoredToken:
    """Store a token, and return it with its id."""
    return replace(token, id=await database.write(lambda c: accounts.add_token(c, sha256, token)))


async def ids(database: Database) -> list[int]:
    """The ids of all tokens."""
    _, found = await database.read(
        lambda c: accounts.page_of_tokens(c, namespace=None, username=None, offset=0, limit=100)
    )
    return [one.id for one in found]


async def test_a_token_is_found_by_its_hash_with_its_user(database: Database):
    """And only by that."""
    await database.write(lambda c: accounts.add_user(c, ANN))
    token = await add(database, "a" * 64)
    free = await add(database, "b" * 64, replace(TOKEN, account=None, namespace=None, expires_at=NOW))
    assert await database.read(lambda c: accounts.find_token(c, "a" * 64)) == (token, ANN)
    assert await database.read(lambda c: accounts.find_token(c, "b" * 64)) == (free, None)
    assert await database.read(lambda c: accounts.find_token(c, "c" * 64)) is None
    await database.write(lambda c: accounts.touch_token(c, token.id, NOW))
    used = await database.read(lambda c: accounts.get_token(c, token.id))
    assert used == replace(token, last_used_at=NOW)


async def test_a_users_tokens_go_with_the_user(database: Database):
    """Those of others stay."""
    await database.write(lambda c: accounts.add_user(c, ANN))
    await add(database, "a" * 64)
    other = await add(database, "b" * 64, replace(TOKEN, account=None))
    await database.write(lambda c: accounts.remove_user(c, "ann"))
    assert await ids(database) == [other.id]


async def test_a_user_name_is_given_once(database: Database):
    """The second of a name is refused, and the first stays as it was."""
    await database.write(lambda c: accounts.add_user(c, ANN))
    with pytest.raises(ConflictError, match="The user 'ann' already exists"):
        await database.write(lambda c: accounts.add_user(c, replace(ANN, role="admin")))
    assert await database.read(lambda c: accounts.get_user(c, "ann")) == ANN


async def test_of_the_tokens_from_logging_in_the_newest_stay(database: Database):
    """And the one that is named; those made otherwise are not touched."""
    await database.write(lambda c: accounts.add_user(c, ANN))
    made = await add(database, "0" * 64)
    logins = [await add(database, str(n) * 64, replace(TOKEN, kind="login")) for n in range(1, 6)]
    await database.write(lambda c: accounts.remove_logins(c, "ann", keep=2, but=logins[0].id))
    assert await ids(database) == [made.id, logins[0].id, logins[3].id, logins[4].id]
    await database.write(lambda c: accounts.remove_logins(c, "ann"))
    assert await ids(database) == [made.id]


async def test_what_has_expired_is_forgotten_in_the_end(database: Database):
    """Not what never expires."""
    await add(database, "a" * 64, replace(TOKEN, account=None, expires_at=NOW))
    kept = [
        await add(database, "b" * 64, replace(TOKEN, account=None)),
        await add(database, "c" * 64, replace(TOKEN, account=None, expires_at=NOW + timedelta(days=1))),
    ]
    await database.write(lambda c: accounts.remove_expired(c, NOW + timedelta(seconds=1)))
    assert await ids(database) == [one.id for one in kept]


async def test_a_role_that_does_not_exist_is_not_stored(database: Database):
    """The database itself refuses it."""
    with pytest.raises(DatabaseError):
        await add(database, "a" * 64, replace(TOKEN, account=None, role="root"))


async def write_audit(database: Database, **changes: object) -> None:
    """Store an entry."""
    entry = AuditEntry(at=NOW, action="job.create", outcome="done", username="ann", namespace="team")
    await database.write(lambda c: audit.add(c, replace(entry, **changes)))


async def test_the_audit_is_read_newest_first_by_what_is_asked(database: Database):
    """By time, inclusive at both ends, and by user, action, namespace and outcome."""
    for minute in range(4):
        await write_audit(database, at=NOW + timedelta(minutes=minute), object=str(minute))
    await write_audit(database, username="bob", action="job.delete", namespace="other", outcome="forbidden")

    async def found(**query: object) -> list[str | None]:
        wanted = AuditQuery(**query)
        count, rows = await database.read(lambda c: audit.page(c, wanted, offset=0, limit=10))
        assert count == len(rows)
        return [row.object for row in rows]

    assert await found() == ["3", "2", "1", None, "0"]
    assert await found(start=NOW + timedelta(minutes=1), end=NOW + timedelta(minutes=2)) == ["2", "1"]
    for query in (
        {"username": "bob"},
        {"action": "job.delete"},
        {"namespace": "other"},
        {"outcome": "forbidden"},
    ):
        assert await found(**query) == [None]
    assert await found(username="bob", namespace="team") == []
    count, second = await database.read(lambda c: audit.page(c, AuditQuery(), offset=1, limit=1))
    assert (count, [row.object for row in second]) == (5, ["2"])


@pytest.mark.parametrize(
    "statement",
    [
        tables.audit.update().values(username="nobody"),
        tables.audit.update().values(outcome="done"),
        tables.audit.delete(),
        tables.audit.delete().where(tables.audit.c.id == 1),
    ],
)
async def test_the_database_refuses_to_change_the_audit(database: Database, statement: sa.Executable):
    """Neither changing nor deleting what is recent is possible, whatever the code asks for."""
    await write_audit(database, at=datetime.now(UTC))
    with pytest.raises((DatabaseError, TimeballError)):
        await database.write(lambda c: c.execute(statement))
    count, [entry] = await database.read(lambda c: audit.page(c, AuditQuery(), offset=0, limit=9))
    assert (count, entry.username) == (1, "ann")


async def test_the_audit_forgets_what_is_old_in_pieces(database: Database):
    """The oldest first, and nothing that is younger."""
    old = datetime(2020, 1, 1, tzinfo=UTC)
    for day in range(3):
        await write_audit(database, at=old + timedelta(days=day), object=str(day))
    await write_audit(database, at=datetime.now(UTC), object="now")
    before = old + timedelta(days=2)
    assert await database.write(lambda c: audit.forget(c, before, limit=1)) == 1
    assert await database.write(lambda c: audit.forget(c, before, limit=9)) == 1
    assert await database.write(lambda c: audit.forget(c, before, limit=9)) == 0
    _, left = await database.read(lambda c: audit.page(c, AuditQuery(), offset=0, limit=9))
    assert [one.object for one in left] == ["now", "2"]
