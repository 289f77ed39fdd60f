"""The set of runs that this daemon looks after, one asyncio task each while it lasts."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress

import structlog

from scheduler.domain.execution import Exec
from scheduler.process.metrics import RUNNING
from scheduler.running.recording import Surroundings
from scheduler.running.regions import Region
from scheduler.running.run import Run
from scheduler.running.tasks import cancel

log = structlog.get_logger()

#: Seconds that runs get to store their last output when they are let go of, twice.
CLOSE_LIMIT = 5.0


class Runner:
    """Looks after dispatched execs.

    Args:
        regions: all regions by name.
        surroundings: what every run is given.
        on_released: is told of every run that has given its capacity back.
        on_defect: is given the exception of a run that died of a defect; the daemon stops for it.
    """

    def __init__(
        self,
        regions: Mapping[str, Region],
        surroundings: Surroundings,
        *,
        on_released: Callable[[Exec], None],
        on_defect: Callable[[BaseException], None],
    ) -> None:
        self._regions = regions
        self._surroundings = surroundings
        self._on_released = on_released
        self._on_defect = on_defect
        self._runs: dict[str, Run] = {}
        self._holding: set[str] = set()
        self._tasks: dict[str, asyncio.Task[None]] = {}

    def launch(self, one: Exec, *, fresh: bool) -> None:
        """Look after an exec whose capacity is reserved, until its end is recorded."""
        if one.id in self._runs:
            return
        region = self._regions[one.spec.region_name]
        self._holding.add(one.id)
        # What has ended uses nothing any more: the next need not wait for its container to be removed.
        run = Run(one, region, self._surroundings, fresh=fresh, on_ended=lambda: self._free(one))
        self._runs[one.id] = run
        task = asyncio.create_task(run.look_after(), name=f"run-{one.id}")
        self._tasks[one.id] = task
        task.add_done_callback(lambda done: self._done(run, done))
        RUNNING.labels(region=region.name).set(region.holding)

    def _free(self, one: Exec) -> None:
        """Give a run's capacity back, once."""
        if one.id not in self._holding:
            return
        self._holding.remove(one.id)
        region = self._regions[one.spec.region_name]
        region.release(one.id)
        RUNNING.labels(region=region.name).set(region.holding)
        self._on_released(one)

    def _done(self, run: Run, task: asyncio.Task[None]) -> None:
        one = run.exec
        self._runs.pop(one.id, None)
        self._tasks.pop(one.id, None)
        self._free(one)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_defect(error)

    def ids(self) -> list[str]:
        """Whose runs are looked after here."""
        return list(self._runs)

    def looks_after(self, exec_id: str) -> bool:
        """Whether the exec's run is being looked after here."""
        return exec_id in self._runs

    def trouble_of(self, exec_id: str) -> str | None:
        """What last interrupted a run that is looked after here, for people."""
        run = self._runs.get(exec_id)
        return None if run is None else run.trouble

    def stop(self, exec_id: str, reason: str | None) -> None:
        """End a run, for a reason that people can read; one that is not looked after here is left alone."""
        if (run := self._runs.get(exec_id)) is not None:
            run.request_stop(reason)

    def let_go(self, exec_id: str) -> None:
        """Look after a run no more, because another daemon does; its container is not touched."""
        if (task := self._tasks.get(exec_id)) is not None:
            log.warning("run.taken_over", exec=exec_id)
            task.cancel()

    def drop(self, exec_id: str, *, grace_seconds: int) -> None:
        """End a run whose exec was deleted by another daemon, without waiting for it."""
        if (run := self._runs.get(exec_id)) is not None:
            run.discard(grace_seconds)

    async def discard(self, exec_ids: Sequence[str], *, grace_seconds: int, patience: float) -> None:
        """End runs whose execs are being deleted, and wait until their containers are removed.

        Args:
            exec_ids: which; those that are not looked after here are left alone.
            grace_seconds: between SIGTERM and SIGKILL.
            patience: seconds to wait at most, and only while the engine answers; what takes longer goes on by
                itself.
        """
        tasks: dict[str, list[asyncio.Task[None]]] = {}
        for exec_id in exec_ids:
            if (run := self._runs.get(exec_id)) is not None:
                run.discard(grace_seconds)
                tasks.setdefault(run.exec.spec.region_name, []).append(self._tasks[exec_id])
        if tasks:
            waiting = [_while_it_answers(self._regions[name], some) for name, some in tasks.items()]
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await asyncio.gather(*waiting)

    async def close(self) -> None:
        """Let go of all runs: their containers go on, and a later daemon adopts them. Takes a bounded time."""
        for _ in range(2):  # the second time interrupts what still waits for the database
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=CLOSE_LIMIT)
        if self._tasks:
            log.warning("runner.runs_abandoned", execs=list(self._tasks))


async def _while_it_answers(region: Region, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for the tasks, unless their engine falls silent."""
    silent = asyncio.create_task(region.until_silent())
    over = asyncio.create_task(asyncio.wait(tasks))
    try:
        await asyncio.wait((over, silent), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel(over)
        await cancel(silent)
