"""Hooks of a real daemon: what was committed before a SIGKILL is delivered by the next start."""

from __future__ import annotations

import base64

import pytest
from standardwebhooks.webhooks import Webhook

from tests.integration.conftest import MakeTimeball
from tests.lab.receiver import Receiver, answers, hangs
from tests.lab.timeball import until

pytestmark = [pytest.mark.engine, pytest.mark.asyncio(loop_scope="session")]

SECRET = "whsec_" + base64.b64encode(b"twenty-four bytes of key").decode()
CONFIG = '[hooks]\nallow = ["127.0.0.1"]\n'


@pytest.mark.parametrize("trouble", ["down", "in the middle"])
async def test_a_run_that_ended_before_a_kill_is_told_of_after_the_restart(
    make_timeball: MakeTimeball, trouble: str
):
    """Whether nothing was sent yet or the receiver was just being told: at least once, under the same id."""
    receiver = Receiver(hangs)
    await receiver.start()
    if trouble == "down":
        await receiver.stop()
    timeball = await make_timeball(config=CONFIG)
    job = await timeball.create("true")
    hook = await timeball.post(
        "/v1/hooks",
        {
            "name": "told",
            "url": receiver.url,
            "secret": SECRET,
            "subject_type": "job",
            "subject": job,
            "events": ["job:succeed"],
        },
    )
    run = await timeball.trigger(job)

    async def pending() -> list[dict[str, object]]:
        listed = await timeball.get(f"/v1/hooks/{hook['id']}/deliveries")
        found: list[dict[str, object]] = listed["results"]
        return found

    async def came() -> bool:
        return bool(receiver.received)

    if trouble == "down":
        (waiting,) = await until(pending)
    else:
        await until(came)
        (waiting,) = await pending()
    await timeball.kill()

    receiver.behave = answers(200)
    if trouble == "down":
        await receiver.start()
    await timeball.start()
    (told,) = await until(pending, lambda found: found[0]["status"] == "delivered")
    await receiver.stop()
    assert told["id"] == waiting["id"]
    assert {got.headers["webhook-id"] for got in receiver.received} == {told["id"]}
    assert len({got.raw for got in receiver.received}) == 1
    last = receiver.received[-1]
    assert Webhook(SECRET).verify(last.raw, dict(last.headers))["data"]["id"] == run
