"""Credentials for registries, what was pulled with them, and uses of secrets, on every database that is supported."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy.engine import Connection

from scheduler.domain.job import JobDefinition, ScheduleCursor
from scheduler.store import jobs, registries, secrets
from scheduler.store.database import Database
from scheduler.store.registries import GRANT_LIFETIME

NOW = datetime(2026, 1, 1, tzinfo=UTC)
HOST, IMAGE = "r.example.com", "r.example.com/a:1"


async def test_a_credential_is_put_replaced_sealed_anew_and_deleted(database: Database) -> None:
    """Who made it stays; a seal is replaced only where it has not been changed since."""

    def put(connection: Connection, user: str, sealed: str, now: datetime) -> bool:
        return registries.put(connection, "n", HOST, username=user, sealed=sealed, user=user, now=now)

    later = NOW + timedelta(hours=1)
    assert await database.write(lambda c: put(c, "ada", "one", NOW))
    assert not await database.write(lambda c: put(c, "bob", "two", later))
    found = await database.read(lambda c: registries.get(c, "n", HOST))
    assert found is not None
    assert (found.username, found.created_by, found.updated_by, found.updated_at) == (
        "bob",
        "ada",
        "bob",
        later,
    )
    await database.write(lambda c: registries.reseal(c, "n", HOST, "one", "three"))
    assert await database.read(lambda c: registries.sealed(c, "n", HOST)) == ("bob", "two")
    await database.write(lambda c: registries.reseal(c, "n", HOST, "two", "three"))
    assert await database.read(registries.all_sealed) == [("n", HOST, "bob", "three")]
    assert await database.read(lambda c: registries.is_private(c, HOST))
    assert await database.read(lambda c: registries.page(c, "n", offset=0, limit=9)) == (1, [found])
    assert await database.write(lambda c: registries.delete(c, "n", HOST))
    assert not await database.write(lambda c: registries.delete(c, "n", HOST))
    assert not await database.read(lambda c: registries.is_private(c, HOST))


async def test_a_grant_is_for_one_image_of_one_namespace_and_ends(database: Database) -> None:
    """Another image under the same name takes its place; what is old is forgotten with the next one."""

    async def is_granted(image_id: str, *, namespace: str = "n", after: timedelta = timedelta()) -> bool:
        return await database.read(
            lambda c: registries.is_granted(c, namespace, IMAGE, image_id, now=NOW + after)
        )

    await database.write(lambda c: registries.grant(c, "n", IMAGE, "first", host=HOST, now=NOW))
    assert await is_granted("first")
    assert not await is_granted("first", namespace="other")
    assert not await is_granted("first", after=GRANT_LIFETIME)
    await database.write(lambda c: registries.grant(c, "n", IMAGE, "second", host=HOST, now=NOW))
    assert (await is_granted("first"), await is_granted("second")) == (False, True)
    later = NOW + GRANT_LIFETIME
    await database.write(lambda c: registries.grant(c, "n", "x:1", "third", host=HOST, now=later))
    assert not await is_granted("second")
    await database.write(lambda c: registries.grant(c, "n", IMAGE, "first", host=HOST, now=NOW))
    await database.write(lambda c: registries.forget_grants(c, "n", HOST))
    assert not await is_granted("first")


async def test_uses_of_secrets_follow_the_jobs(database: Database) -> None:
    """They are counted by job, whether in a variable or in a file, and go with it."""
    await database.write(lambda c: secrets.put(c, "n", "db", "sealed", user="ada", now=NOW))
    definition = JobDefinition(
        name="a",
        namespace="n",
        docker_image_repo="x",
        runtime_vars={"A": {"secret": "db"}},
        secret_files={"/run/secrets/db": "db"},
    )
    cursor = ScheduleCursor()

    async def used_by() -> int:
        _, [found] = await database.read(lambda c: secrets.page(c, "n", offset=0, limit=9))
        return found.used_by

    first = await database.write(lambda c: jobs.insert(c, definition, cursor, created_by="ada", now=NOW))
    other = replace(definition, name="b", runtime_vars={})
    second = await database.write(lambda c: jobs.insert(c, other, cursor, created_by="ada", now=NOW))
    assert await used_by() == 2
    bare = replace(other, secret_files={})
    await database.write(lambda c: jobs.update(c, second.id, bare, cursor, now=NOW))
    assert await used_by() == 1
    await database.write(lambda c: jobs.hide(c, first.id, now=NOW))
    assert await used_by() == 0
