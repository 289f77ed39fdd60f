"""Deliveries under a settable clock: real rows, real connections, receivers with whatever can be wrong with them."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from scheduler.domain.hook import Delivery, DeliveryStatus, HookEvent, SubjectType, hook_body
from scheduler.domain.job import JobDefinition, ScheduleCursor
from scheduler.notify.addresses import AddressPolicy
from scheduler.notify.deliverer import Deliverer, Means
from scheduler.notify.mail import Mailer
from scheduler.notify.posting import Poster
from scheduler.process.metrics import DEFECTS
from scheduler.secrets.sealing import Keyring, new_key
from scheduler.store import deliveries, hooks, jobs, outbox
from scheduler.store.database import Database
from scheduler.store.deliveries import StoredOutbox
from scheduler.store.migrate import upgrade
from tests.lab.clock import SettableClock
from tests.lab.receiver import Receiver, answers, hangs, never_stops
from tests.lab.timeball import until

PATIENCE = 60.0
KEYRING = Keyring([new_key()])


def unseal(stored: str) -> str:
    """A hook's secret, as the daemon opens it."""
    return KEYRING.unseal(stored, "hook")


class Desk:
    """A database with one job, and a deliverer over it that a test can stop and start again."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.clock = SettableClock()
        self.policy = AddressPolicy(["127.0.0.1"])
        self.time_limit = 60.0
        self.deliverer: Deliverer
        self._task: asyncio.Task[None] | None = None
        self.defects: list[BaseException] = []

    def make(self, instance: str = "one") -> Deliverer:
        """A deliverer that nobody has started."""
        mailer = Mailer(None, tail=_nothing, address_of=_nobody, local_hostname="here")
        return Deliverer(
            StoredOutbox(self.database, instance),
            self.clock,
            Means(Poster(self.policy, user_agent="test", time_limit=self.time_limit), mailer, unseal),
            keep=timedelta(days=7),
            on_defect=self.defects.append,
        )

    def start(self) -> None:
        """Begin to deliver."""
        self.deliverer = self.make()
        self._task = asyncio.create_task(self.deliverer.run())

    async def stop(self) -> None:
        """Stop in order."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
            self._task = None
        assert not self.defects

    async def hook(self, url: str, **values: Any) -> int:
        """A hook of a job of its own; answers its id."""
        now = self.clock.now()

        def work(connection: Any) -> int:
            definition = JobDefinition(name=url, namespace="team", docker_image_repo="busybox")
            job = jobs.insert(connection, definition, ScheduleCursor(), created_by="ada", now=now)
            fields = {"namespace": None, "sealed_secret": None, "is_active": True, **values}
            events = (HookEvent.FAIL,)
            made = hooks.insert(
                connection,
                now=now,
                created_by="ada",
                name="h",
                url=url,
                job_id=job.id,
                events=events,
                **fields,
            )
            return made.id

        return await self.database.write(work)

    async def put(self, hook_id: int, text: str = "it") -> None:
        """Write one message to a hook, as a change of status would."""
        body = hook_body(
            hook_id=hook_id, subject_type=SubjectType.JOB, subject=1, job=None, data=text, username="ada"
        )
        now = self.clock.now()
        row = outbox._row(hook_id, None, "job:fail", now, body)
        await self.database.write(lambda c: outbox._insert(c, [row]))
        if self._task is not None:
            self.deliverer.wake()

    async def of(self, hook_id: int) -> list[Delivery]:
        """A hook's deliveries, oldest first."""
        _, found = await self.database.read(
            lambda c: deliveries.page(c, hook_id=hook_id, status=None, offset=0, limit=1000)
        )
        return found[::-1]

    async def until(
        self, hook_id: int, done: Callable[[Delivery], bool], *, jump: timedelta | None = None
    ) -> Delivery:
        """The hook's only delivery once `done` says so of it, its pauses cut short if `jump` is given."""

        async def look() -> Delivery:
            (one,) = await self.of(hook_id)
            if jump is not None and one.next_attempt_at is not None and not done(one):
                self.clock.jump(max(one.next_attempt_at - self.clock.now(), timedelta(0)) + jump)
                self.deliverer.wake()
            return one

        return await until(look, done)


async def _nothing(*_: Any) -> list[str]:
    return []


async def _nobody(_: str) -> str | None:
    return None


def is_over(one: Delivery) -> bool:
    """Delivered or given up."""
    return one.status is not DeliveryStatus.PENDING


@pytest.fixture
async def desk(tmp_path: Path) -> AsyncIterator[Desk]:
    """A desk whose deliverer is not started."""
    database = Database(f"sqlite:///{tmp_path / 'timeball.db'}")
    database.migrate(upgrade)
    one = Desk(database)
    yield one
    await one.stop()
    await database.close()


MakeReceiver = Callable[..., Awaitable[Receiver]]


@pytest.fixture
async def receive() -> AsyncIterator[MakeReceiver]:
    """Makes receivers."""
    made: list[Receiver] = []

    async def make(behave: Any = None) -> Receiver:
        made.append(Receiver(behave))
        await made[-1].start()
        return made[-1]

    yield make
    for one in made:
        await one.stop()


async def test_a_receiver_that_answers_500_forty_times_is_told_at_the_forty_first(
    desk: Desk, receive: MakeReceiver
):
    """Within the day that it is tried; the pauses grow to half an hour."""
    receiver = await receive(answers(500))
    hook = await desk.hook(receiver.url)
    await desk.put(hook)
    desk.start()
    began = desk.clock.now()
    await desk.until(hook, lambda one: len(one.attempts) >= 40, jump=timedelta(milliseconds=1))
    receiver.behave = answers(204)
    one = await desk.until(hook, is_over, jump=timedelta(milliseconds=1))
    assert one.status is DeliveryStatus.DELIVERED
    assert [attempt.status_code for attempt in one.attempts] == [500] * 40 + [204]
    assert desk.clock.now() - began < timedelta(days=1)
    pauses = [b.at - a.at for a, b in zip(one.attempts, one.attempts[1:], strict=False)]
    assert pauses[0] >= timedelta(seconds=1)
    assert pauses[-1] >= timedelta(minutes=30)
    assert {got.headers["webhook-id"] for got in receiver.received} == {one.id}


async def test_a_receiver_that_never_says_yes_is_given_up_after_a_day_with_a_reason(
    desk: Desk, receive: MakeReceiver
):
    """And the hook stays as it is."""
    receiver = await receive(answers(500))
    hook = await desk.hook(receiver.url)
    await desk.put(hook)
    desk.start()
    one = await desk.until(hook, is_over, jump=timedelta(milliseconds=1))
    assert one.status is DeliveryStatus.FAILED
    assert one.reason is not None
    assert "within a day" in one.reason
    assert "500" in one.reason
    assert one.attempts[-1].at - one.attempts[0].at > timedelta(hours=23)
    assert len(one.attempts) > 40
    found = await desk.database.read(lambda c: hooks.get(c, hook))
    assert found is not None
    assert found.is_active


async def test_a_receiver_that_wants_no_more_is_given_up_at_once(desk: Desk, receive: MakeReceiver):
    """410 Gone."""
    hook = await desk.hook((await receive(answers(410))).url)
    await desk.put(hook)
    desk.start()
    one = await desk.until(hook, is_over)
    assert (one.status, len(one.attempts)) == (DeliveryStatus.FAILED, 1)


async def test_a_receiver_is_not_asked_again_before_it_wants_to_be(desk: Desk, receive: MakeReceiver):
    """Retry-After, up to the longest pause."""
    hook = await desk.hook((await receive(answers(503, Retry_After="600"))).url)
    await desk.put(hook)
    desk.start()
    one = await desk.until(hook, lambda one: bool(one.attempts))
    assert one.next_attempt_at is not None
    assert one.next_attempt_at - one.attempts[0].at >= timedelta(seconds=600)


async def test_a_receiver_that_hangs_costs_the_time_limit_and_holds_up_nobody_else(
    desk: Desk, receive: MakeReceiver
):
    """Each hook has a lane of its own."""
    desk.time_limit = 0.5
    stuck = [await desk.hook((await receive(hangs)).url + f"?{number}") for number in range(3)]
    quick = await receive()
    other = await desk.hook(quick.url)
    for hook in stuck:
        await desk.put(hook)
    await desk.put(other)
    desk.start()
    assert (await desk.until(other, is_over)).status is DeliveryStatus.DELIVERED
    for hook in stuck:
        one = await desk.until(hook, lambda one: bool(one.attempts))
        assert one.attempts[0].error == "no answer within 0.5 s"


async def test_an_answer_without_end_is_cut_off(desk: Desk, receive: MakeReceiver):
    """Its status has said all there is to say."""
    hook = await desk.hook((await receive(never_stops)).url)
    await desk.put(hook)
    desk.start()
    one = await desk.until(hook, is_over)
    assert (one.status, one.attempts[0].status_code) == (DeliveryStatus.DELIVERED, 200)


async def test_a_redirect_is_followed_with_the_body_where_it_is_allowed(desk: Desk, receive: MakeReceiver):
    """307 keeps method and body."""
    last = await receive()
    first = await receive(answers(307, Location=last.url + "/moved"))
    hook = await desk.hook(first.url)
    await desk.put(hook)
    desk.start()
    assert (await desk.until(hook, is_over)).status is DeliveryStatus.DELIVERED
    assert last.received[0].path == "/hook/moved"
    assert last.received[0].raw == first.received[0].raw


@pytest.mark.parametrize(
    "location",
    [
        "http://127.0.0.2:{port}/",
        "http://[::1]:{port}/",
        "http://2130706433:{port}/",
        "http://127.1:{port}/",
        "//127.0.0.2:{port}/",
        "http://localhost:{port}/",
        "http://169.254.169.254/",
        "file:///etc/passwd",
        "gopher://127.0.0.1/",
        "http://u:p@127.0.0.1:{port}/",
        "http://[",
    ],
)
async def test_a_redirect_to_where_no_delivery_may_go_is_not_followed(
    desk: Desk, receive: MakeReceiver, location: str
):
    """The attempt says so; nothing is connected to."""
    desk.policy = AddressPolicy()
    inner = await receive()
    outer = await receive(answers(302, Location=location.format(port=inner.port)))
    desk.policy = AddressPolicy([f"127.0.0.1:{outer.port}"])
    hook = await desk.hook(outer.url)
    await desk.put(hook)
    desk.start()
    one = await desk.until(hook, lambda one: bool(one.attempts))
    assert one.attempts[0].error
    assert not inner.received
    assert len(outer.received) == 1


async def test_redirects_that_lead_in_a_circle_end(desk: Desk, receive: MakeReceiver):
    """After three."""
    receiver = await receive()
    receiver.behave = answers(302, Location="/again")
    hook = await desk.hook(receiver.url)
    await desk.put(hook)
    desk.start()
    one = await desk.until(hook, lambda one: bool(one.attempts))
    assert one.attempts[0].error == "more than 3 redirects"
    assert len(receiver.received) == 4


async def test_a_name_is_checked_by_what_it_resolves_to(
    desk: Desk, receive: MakeReceiver, monkeypatch: pytest.MonkeyPatch
):
    """Also where one of its addresses is public, and where it resolves otherwise the second time."""
    receiver = await receive()
    real, asked = socket.getaddrinfo, []

    def lookup(host: str, port: int, *more: Any, **others: Any) -> Any:
        if host == "rebound.example":
            asked.append(host)
            return real("127.0.0.1", port, *more, **others)
        return real(host, port, *more, **others)

    monkeypatch.setattr(socket, "getaddrinfo", lookup)
    desk.policy = AddressPolicy()
    hook = await desk.hook(f"http://rebound.example:{receiver.port}/")
    await desk.put(hook)
    desk.start()
    one = await desk.until(hook, lambda one: bool(one.attempts))
    assert asked == ["rebound.example"]
    assert one.attempts[0].error is not None
    assert "points to rebound.example (127.0.0.1); deliveries to loopback" in one.attempts[0].error
    assert not receiver.received
    await desk.stop()
    desk.policy = AddressPolicy(["rebound.example"])
    desk.start()
    assert (await desk.until(hook, is_over, jump=timedelta(0))).status is DeliveryStatus.DELIVERED


async def test_no_proxy_of_the_environment_is_used(
    desk: Desk, receive: MakeReceiver, monkeypatch: pytest.MonkeyPatch
):
    """It would reach what we may not."""
    proxy, receiver = await receive(answers(502)), await receive()
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "all_proxy"):
        monkeypatch.setenv(name, f"http://127.0.0.1:{proxy.port}")
    hook = await desk.hook(receiver.url)
    await desk.put(hook)
    desk.start()
    assert (await desk.until(hook, is_over)).status is DeliveryStatus.DELIVERED
    assert not proxy.received


async def test_messages_of_one_hook_go_out_in_their_order(desk: Desk, receive: MakeReceiver):
    """One at a time, oldest first, as long as the receiver takes them."""
    receiver = await receive()
    hook = await desk.hook(receiver.url)
    for number in range(10):
        await desk.put(hook, str(number))
    desk.start()
    await until(lambda: desk.of(hook), lambda found: all(map(is_over, found)))
    assert [got.body["data"] for got in receiver.received] == [str(number) for number in range(10)]


async def test_two_daemons_deliver_each_message_once(desk: Desk, receive: MakeReceiver):
    """A claim is one daemon's."""
    receiver = await receive()
    found = [await desk.hook(receiver.url + f"?{number}") for number in range(4)]
    for hook in found * 5:
        await desk.put(hook)
    tasks = [asyncio.create_task(desk.make(name).run()) for name in ("one", "two")]
    for hook in found:
        await until(lambda hook=hook: desk.of(hook), lambda all_of: all(map(is_over, all_of)))
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    ids = [got.headers["webhook-id"] for got in receiver.received]
    assert len(ids) == len(set(ids)) == 20


@pytest.mark.parametrize("rounds", range(5))
async def test_a_stop_in_the_moment_of_a_wake_is_not_lost(desk: Desk, rounds: int):
    """However many rounds of the event loop lie between the two."""
    desk.start()
    async with asyncio.timeout(PATIENCE):
        while not desk.deliverer._wake._waiters:  # noqa: ASYNC110 - nothing tells that it waits
            await asyncio.sleep(0.002)
        desk.deliverer.wake()
        for _ in range(rounds):
            await asyncio.sleep(0)
        await desk.stop()


async def test_what_a_killed_daemon_had_claimed_is_delivered_by_its_next_life(
    desk: Desk, receive: MakeReceiver
):
    """At once, for the claim is its own; another daemon waits until the lease is over."""
    receiver = await receive()
    hook = await desk.hook(receiver.url)
    await desk.put(hook)
    number = (await desk.of(hook))[0].number
    now = desk.clock.now()
    later = now + timedelta(hours=1)
    assert await StoredOutbox(desk.database, "one").claim(number, now=now, until=later)
    assert await StoredOutbox(desk.database, "two").claim(number, now=now, until=later) is None
    assert await StoredOutbox(desk.database, "two").claim(number, now=later, until=later) is not None
    await desk.database.write(lambda c: c.execute(deliveries.deliveries.update().values(claimed_by="one")))
    desk.start()
    assert (await desk.until(hook, is_over)).status is DeliveryStatus.DELIVERED


async def test_what_ended_long_ago_is_removed_and_too_much_that_waits_is_given_up(desk: Desk):
    """Nothing is unbounded."""
    hook = await desk.hook("http://a.example")
    for _ in range(5):
        await desk.put(hook)
    door = StoredOutbox(desk.database, "one")
    now = desk.clock.now()
    assert await door.sweep(now, keep=timedelta(days=7), most_pending=3) == (0, 2)
    found = await desk.of(hook)
    assert [one.status.value for one in found] == ["failed", "failed", "pending", "pending", "pending"]
    assert found[0].reason is not None
    assert "more than 3 deliveries were pending" in found[0].reason
    week = now + timedelta(days=7, seconds=1)
    assert await door.sweep(week, keep=timedelta(days=7), most_pending=3) == (2, 0)
    assert len(await desk.of(hook)) == 3


async def test_a_secret_in_an_unknown_form_fails_and_says_so(desk: Desk, receive: MakeReceiver):
    """What a later version sealed is not sent unsigned."""
    receiver = await receive()
    hook = await desk.hook(receiver.url, sealed_secret="v9:abc")
    await desk.put(hook)
    desk.start()
    one = await desk.until(hook, lambda one: bool(one.attempts))
    assert one.attempts[0].error is not None
    assert "unknown format" in one.attempts[0].error
    assert not receiver.received


async def test_a_stop_gives_attempts_a_moment_and_gives_back_what_it_had_claimed(
    desk: Desk, receive: MakeReceiver
):
    """The next start makes them again."""
    receiver = await receive(hangs)
    hook = await desk.hook(receiver.url)
    await desk.put(hook)
    desk.start()

    async def came() -> bool:
        return bool(receiver.received)

    await until(came)
    await desk.stop()
    receiver.behave = answers(200)
    desk.start()
    one = await desk.until(hook, is_over)
    assert one.status is DeliveryStatus.DELIVERED
    assert {got.headers["webhook-id"] for got in receiver.received} == {one.id}
    assert len(receiver.received) == 2
    assert replace(one, attempts=()).tries == 1


async def test_a_message_that_nobody_foresaw_fails_by_itself(
    desk: Desk, receive: MakeReceiver, monkeypatch: pytest.MonkeyPatch
):
    """The others go on, and the daemon does; the defect is counted."""
    receiver = await receive()
    bad, good = await desk.hook("http://bad.example"), await desk.hook(receiver.url)
    real = Poster.post

    async def post(self: Poster, url: str, headers: Any, body: bytes) -> Any:
        if "bad" in url:
            raise RuntimeError(url)
        return await real(self, url, headers, body)

    monkeypatch.setattr(Poster, "post", post)
    before = DEFECTS._value.get()
    await desk.put(bad)
    await desk.put(good)
    desk.start()
    one = await desk.until(bad, lambda one: bool(one.attempts))
    assert one.attempts[0].error == "internal error of Timeball; see the daemon's log"
    assert (await desk.until(good, is_over)).status is DeliveryStatus.DELIVERED
    assert DEFECTS._value.get() > before
