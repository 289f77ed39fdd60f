"""What the outbox promises, on every database that is supported: written with the change, or not at all."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from scheduler.domain.drafting import draft_retry
from scheduler.domain.execution import ExecStatus, FailReason
from scheduler.domain.hook import Attempt, Delivery, DeliveryKind, DeliveryStatus, HookEvent
from scheduler.domain.job import ConcurrencyPolicy, Job, MisfirePolicy
from scheduler.planning.abandon import abandon
from scheduler.planning.claims import SharedRow
from scheduler.store import deliveries, execs, hooks, jobs
from scheduler.store.database import Database
from scheduler.store.deliveries import MAIL_LANE, StoredOutbox
from tests.contract.test_store import NOW, SECOND, claim_all, due, make_exec, make_job

ALL_EVENTS = tuple(HookEvent)


async def make_hook(database: Database, job: Job | None, namespace: str | None = None, **values: Any) -> int:
    """A hook of a job or a namespace; answers its id."""
    fields: dict[str, Any] = {
        "name": "h",
        "url": "http://a.example",
        "sealed_secret": None,
        "job_id": None if job is None else job.id,
        "namespace": namespace,
        "events": ALL_EVENTS,
        "is_active": True,
        **values,
    }
    made = await database.write(lambda c: hooks.insert(c, now=NOW, created_by="ada", **fields))
    assert await database.read(lambda c: hooks.get(c, made.id)) == made
    return made.id


async def told(database: Database, hook_id: int) -> list[dict[str, Any]]:
    """Event and body of each of a hook's messages, oldest first."""

    def work(connection: Any) -> list[Delivery]:
        _, listed = deliveries.page(connection, hook_id=hook_id, status=None, offset=0, limit=1000)
        return [found for one in listed[::-1] if (found := deliveries.get(connection, one.id))]

    found = await database.read(work)
    return [{"event": one.event, **json.loads(one.body or "")} for one in found]


async def mails(database: Database, job: Job) -> list[Delivery]:
    """The mails about a job, oldest first."""
    _, found = await database.read(
        lambda c: deliveries.page(c, job_id=job.id, status=None, offset=0, limit=1000)
    )
    return found[::-1]


async def test_a_change_of_status_writes_what_is_to_be_told_of_it(database: Database) -> None:
    """To the job's hooks and the namespace's, in the same transaction."""
    job, other = await make_job(database), await make_job(database, "other")
    mine = await make_hook(database, job)
    ours = await make_hook(database, None, "team", events=(HookEvent.FAIL,))
    strange = await make_hook(database, None, "elsewhere")
    silent = await make_hook(database, job, is_active=False)
    others = await make_hook(database, other)
    one = await make_exec(database, job)
    woken: list[bool] = []
    database.on_outbox = lambda: woken.append(True)
    await database.write(
        lambda c: execs.change_status(c, one.id, ExecStatus.WAITING, ExecStatus.RUNNING, started_at=NOW)
    )
    retry = draft_retry(one, now=NOW, not_before=NOW + SECOND)
    failed = {"ended_at": NOW + SECOND, "fail_reason": FailReason.EXIT_CODE, "exit_code": 1}
    await database.write(
        lambda c: execs.change_status(c, one.id, ExecStatus.RUNNING, ExecStatus.FAILED, retry=retry, **failed)
    )
    start, end = await told(database, mine)
    assert (start["event"], start["data"]["status"]) == ("job:start", "R")
    assert (end["event"], end["data"]["status"], end["data"]["exit_code"]) == ("job:fail", "F", 1)
    assert end["retry"] == {
        "exec": retry.id,
        "attempt": 2,
        "not_before": (NOW + SECOND).isoformat(timespec="microseconds"),
    }
    assert end["sender"] == {"username": "ada"}
    (ours_told,) = await told(database, ours)
    assert ours_told["hook"]["subject"] == "team"
    assert ours_told["job"] == end["job"] == {"id": job.id, "name": "job", "namespace": "team"}
    for hook in (strange, silent, others):
        assert await told(database, hook) == []
    assert woken == [True, True]


async def test_a_change_that_is_undone_or_not_made_tells_nobody(database: Database) -> None:
    """There is no message without its change."""
    job = await make_job(database)
    hook = await make_hook(database, job)
    one = await make_exec(database, job)

    def undone(connection: Any) -> None:
        execs.change_status(connection, one.id, ExecStatus.WAITING, ExecStatus.RUNNING, started_at=NOW)
        raise RuntimeError

    with pytest.raises(RuntimeError):
        await database.write(undone)
    changed = await database.write(
        lambda c: execs.change_status(c, one.id, ExecStatus.RUNNING, ExecStatus.SUCCEEDED, ended_at=NOW)
    )
    assert not changed
    assert await told(database, hook) == []


async def test_a_run_stopped_while_it_waits_is_told_of(database: Database) -> None:
    """It is the store that ends it."""
    job = await make_job(database)
    hook = await make_hook(database, job)
    one = await make_exec(database, job)
    await database.write(lambda c: execs.stop(c, one, now=NOW, reason="requested by ada"))
    (message,) = await told(database, hook)
    assert (message["event"], message["data"]["status"]) == ("job:cancel", "C")


async def test_the_owner_gets_mail_about_the_last_attempt_alone(database: Database) -> None:
    """And only where the job wants it."""
    job, quiet = await make_job(database, email_enabled=True), await make_job(database, "quiet")
    failed = {"ended_at": NOW, "fail_reason": FailReason.TIMEOUT}
    for whose in (job, quiet):
        one = await make_exec(database, whose)
        retry = draft_retry(one, now=NOW, not_before=NOW)

        def work(connection: Any, one: Any = one, retry: Any = retry) -> None:
            execs.change_status(
                connection, one.id, ExecStatus.WAITING, ExecStatus.FAILED, retry=retry, **failed
            )
            execs.insert(connection, [retry])
            execs.change_status(connection, retry.id, ExecStatus.WAITING, ExecStatus.FAILED, **failed)

        await database.write(work)
    (mail,) = await mails(database, job)
    assert (mail.kind, mail.event, mail.hook_id) == (DeliveryKind.MAIL, "job:fail", None)
    body = json.loads((await database.read(lambda c: deliveries.get(c, mail.id)) or mail).body or "")
    assert body["job"] == {"id": job.id, "name": "job", "namespace": "team", "created_by": "ada"}
    assert body["exec"]["attempt"] == 2
    assert await mails(database, quiet) == []


async def test_due_times_that_did_not_run_become_one_message_a_job_and_outcome(database: Database) -> None:
    """Also where a hundred thousand share one row of the ledger."""
    job = await make_job(database, misfire_policy=MisfirePolicy.SKIP)
    hook = await make_hook(database, job)
    space = await make_hook(database, None, "team", events=(HookEvent.MISS,))
    moments = [NOW + number * SECOND for number in range(5)]
    late = NOW + timedelta(hours=1)
    await claim_all(database, due(job, *moments), now=late, up_since=late)
    for whose in (hook, space):
        (message,) = await told(database, whose)
        assert message["event"] == "job:miss"
        assert message["job"] == {"id": job.id, "name": "job", "namespace": "team"}
        data = message["data"]
        assert (data["job"], data["outcome"], data["count"], data["exec"]) == (job.id, "missed", 5, None)
        assert data["due_at"] == moments[0].isoformat(timespec="microseconds")
        assert data["last_due_at"] == moments[-1].isoformat(timespec="microseconds")

    long = await make_job(database, "long")
    other = await make_hook(database, long)
    last = NOW + 99_999 * SECOND
    shared = replace(due(long, NOW), shared=SharedRow(count=100_000, last=last))
    await claim_all(database, shared, now=last + SECOND, up_since=last + SECOND)
    (message,) = await told(database, other)
    assert message["data"]["count"] == 100_000
    assert message["data"]["last_due_at"] == last.isoformat(timespec="microseconds")


async def test_what_a_changed_schedule_abandons_is_told_of_as_well(database: Database) -> None:
    """One message with the range."""
    job = await make_job(database, concurrency_policy=ConcurrencyPolicy.ALLOW)
    hook = await make_hook(database, job)
    await database.write(lambda c: abandon(c, job, now=NOW + 3 * SECOND))
    (message,) = await told(database, hook)
    assert (message["data"]["outcome"], message["data"]["count"]) == ("expired", 3)


async def test_each_lane_gives_its_oldest_due_message_and_a_claim_closes_the_lane(database: Database) -> None:
    """The deliverer's whole way with the rows."""
    job = await make_job(database, email_enabled=True)
    first, second = await make_hook(database, job), await make_hook(database, job)
    one, door = await make_exec(database, job), StoredOutbox(database, "one")

    def work(connection: Any) -> None:
        execs.change_status(connection, one.id, ExecStatus.WAITING, ExecStatus.RUNNING, started_at=NOW)
        execs.change_status(connection, one.id, ExecStatus.RUNNING, ExecStatus.SUCCEEDED, ended_at=NOW)

    await database.write(work)
    assert await door.pending() == 5
    found, later = await door.due(NOW, busy=[], limit=10)
    assert [lane for lane, _ in found] == [first, second, MAIL_LANE]
    assert later is None
    assert len((await door.due(NOW, busy=[first], limit=10))[0]) == 2
    assert len((await door.due(NOW, busy=[], limit=1))[0]) == 1
    number = found[0][1]
    claimed = await door.claim(number, now=NOW, until=NOW + SECOND)
    assert claimed is not None
    delivery, hook = claimed
    assert (delivery.event, delivery.hook_id) == ("job:start", first)
    assert hook is not None
    assert hook.id == first
    assert await StoredOutbox(database, "two").claim(number, now=NOW, until=NOW + SECOND) is None
    assert [lane for lane, _ in (await door.due(NOW, busy=[], limit=10))[0]] == [second, MAIL_LANE]

    tried = Attempt(at=NOW, duration=0.1, status_code=500, error="HTTP 500")
    after = replace(
        delivery, tries=1, first_tried_at=NOW, attempts=(tried,), next_attempt_at=NOW + 10 * SECOND
    )
    assert not await StoredOutbox(database, "two").settle(after, before=delivery)
    assert await door.settle(after, before=delivery)
    found, later = await door.due(NOW, busy=[], limit=10)
    assert (first, number) not in found
    assert first in dict(found)
    assert later == NOW + 10 * SECOND
    stored = await database.read(lambda c: deliveries.get(c, delivery.id))
    assert stored == after

    assert await door.claim(number, now=NOW + SECOND, until=NOW + 2 * SECOND) is not None
    await door.release()
    done = replace(after, status=DeliveryStatus.DELIVERED, ended_at=NOW, next_attempt_at=None, tries=2)
    assert await door.claim(number, now=NOW + SECOND, until=NOW + 2 * SECOND) is not None
    assert await door.settle(done, before=after)
    assert await door.claim(number, now=NOW + 9 * SECOND, until=NOW + 10 * SECOND) is None
    assert await door.sweep(NOW + timedelta(days=2), keep=timedelta(days=1), most_pending=10) == (1, 0)
    await database.write(lambda c: jobs.delete(c, job.id))
    assert await door.pending() == 0
