"""The users of a simulated world: they ask whatever daemon answers, and again until one does."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta
from typing import Any, Final

from scheduler.access.callers import Caller, Role
from scheduler.domain.errors import TimeballError, UnavailableError
from scheduler.domain.hook import HookEvent, SubjectType
from scheduler.service import Service
from tests.lab.fake_engine import FAKE_IMAGE
from tests.simulation.loop import WORLD, spawn
from tests.simulation.machines import Machine, Surroundings
from tests.simulation.plan import JobPlan

ADMIN: Final = Caller("admin", None, Role.ADMIN)
#: How long a user asks again, how long one answer may take, and the pause between two questions, in seconds.
PATIENCE: Final = 60.0
ANSWER: Final = 10.0
PAUSE: Final = 0.5


class Users:
    """All users.

    Args:
        machines: whose daemons they ask.
        around: the rest of the world.
        plans: the jobs of the plan.
        source: decides whom they ask.

    Attributes:
        jobs: the ids of the jobs that were created, by their index in the plan.
    """

    def __init__(
        self,
        machines: Sequence[Machine],
        around: Surroundings,
        plans: Sequence[JobPlan],
        source: random.Random,
    ) -> None:
        self.jobs: dict[int, int] = {}
        self._machines = machines
        self._disk = around.disk
        self._witness = around.witness
        self._plans = plans
        self._source = source
        self._note = around.note

    async def ask(self, call: Callable[[Service], Awaitable[Any]], *, first: Machine | None = None) -> Any:
        """The answer to a question; None if it was refused, or nobody answered.

        Args:
            call: the question.
            first: the machine that is asked first, if its daemon answers; else it is drawn.
        """
        loop = asyncio.get_running_loop()
        deadline = loop.time() + PATIENCE
        while loop.time() < deadline:
            running = [one for one in self._machines if one.is_running]
            machine = first if first in running else self._source.choice(running) if running else None
            first = None
            if machine is not None and machine.process is not None and machine.service is not None:
                answer = spawn(machine.process, _answer(call, machine.service))
                done, _ = await asyncio.wait((answer,), timeout=ANSWER)
                result = answer.result() if done else None
                if done and not isinstance(result, TimeballError):
                    return result
                if done and not isinstance(result, UnavailableError):
                    self._note(f"refused: {result}")
                    return None
            await asyncio.sleep(PAUSE)
        return None

    async def create(self, index: int, job: JobPlan) -> None:
        """Create a job, and its webhook."""
        repository, tag = FAKE_IMAGE.split(":")
        fields: dict[str, Any] = {
            "name": f"job-{index}",
            "docker_image_repo": repository,
            "docker_image_tag": tag,
            "command": command_of(index),
            "resource_size": "XXS",
            **job.fields,
        }
        if job.step is not None:
            start = (self._machines[0].clock.now() + timedelta(seconds=2)).replace(microsecond=0)
            begin = start.isoformat().replace("+00:00", "Z")
            fields |= {"schedule_mode": f"R/{begin}/PT{job.step:g}S", "is_schedule_active": True}
        made = await self.ask(lambda service: service.jobs.create(ADMIN, fields))
        if made is None:
            return
        self.jobs[index] = made.job.id
        if job.has_hook:
            hook = {
                "name": f"hook-{index}",
                "url": "https://receiver.example/",
                "subject_type": SubjectType.JOB,
                "subject": str(made.job.id),
                "events": tuple(HookEvent),
            }
            await self.ask(lambda service: service.hooks.create(ADMIN, hook))

    async def trigger(self, job: int) -> None:
        """Somebody triggers a run."""
        if (job_id := self.jobs.get(job)) is not None:
            spawn(WORLD, self._trigger(job_id))

    async def rush(self, job: int) -> None:
        """Several people trigger runs on every daemon at once."""
        if (job_id := self.jobs.get(job)) is not None:
            for machine in (*self._machines, *self._machines):
                spawn(WORLD, self._trigger(job_id, first=machine))

    async def _trigger(self, job_id: int, *, first: Machine | None = None) -> None:
        view = await self.ask(lambda service: service.execs.trigger(ADMIN, str(job_id)), first=first)
        if view is not None:
            self._witness.triggered.append(view.exec.id)

    async def stop(self, job: int) -> None:
        """Somebody stops the job's latest open run."""
        job_id = self.jobs.get(job)
        row = self._disk.observer.execute(
            "SELECT id FROM execs WHERE job_id = ? AND ended_at IS NULL ORDER BY created_at DESC, id LIMIT 1",
            (job_id,),
        ).fetchone()
        if row is not None:
            spawn(WORLD, self.ask(lambda service: service.execs.stop(ADMIN, str(job_id), row[0])))

    async def change(self, job: int) -> None:
        """Somebody changes a job."""
        await self._change(job, {"priority": 5, "max_retries": 1})

    async def switch(self, job: int) -> None:
        """Somebody switches a schedule off and on again."""
        await self._change(job, {"is_schedule_active": False})
        await self._change(job, {"is_schedule_active": True})

    async def _change(self, job: int, fields: dict[str, Any]) -> None:
        job_id = self.jobs.get(job)
        if job_id is not None and not self._plans[job].is_fixed:
            await self.ask(lambda service: service.jobs.update(ADMIN, str(job_id), fields))

    async def delete(self, job: int) -> None:
        """Somebody deletes a job."""
        job_id = self.jobs.get(job)
        if job_id is not None and not self._plans[job].is_fixed:
            self._witness.deleted.add(job_id)
            await self.ask(lambda service: service.jobs.delete(ADMIN, str(job_id)))

    async def switch_all_off(self) -> None:
        """Let nothing more fall due."""
        off = {"is_schedule_active": False}
        for job_id in map(str, self.jobs.values()):
            await self.ask(lambda service, job_id=job_id: service.jobs.update(ADMIN, job_id, off))  # type: ignore[misc]


def command_of(index: int) -> list[str]:
    """The command of a job's containers."""
    return ["job", str(index)]


async def _answer(call: Callable[[Service], Awaitable[Any]], service: Service) -> Any:
    """The answer, or the error that the user gets."""
    try:
        return await call(service)
    except TimeballError as error:
        return error
