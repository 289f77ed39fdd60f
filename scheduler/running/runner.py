"""The set of runs that this daemon manages, with one asyncio task each."""

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

#: Seconds that runs get to store their last output when the daemon stops, twice.
CLOSE_LIMIT = 5.0


class Runner:
    """Manages dispatched runs.

    Args:
        regions: all regions by name.
        surroundings: what all runs share.
        on_released: called with every run that has released its capacity.
        on_defect: called with the exception of a run that died of an internal error, which stops the daemon.
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

    def launch(self, run: Exec, *, fresh: bool, is_own: bool = False) -> None:
        """Manage a run whose capacity is reserved, until its end is recorded; the options are those of `Run`."""
        if run.id in self._runs:
            return
        region = self._regions[run.spec.region_name]
        self._holding.add(run.id)
        # An ended run uses no capacity: the next run need not wait until its container is removed.
        manager = Run(
            run, region, self._surroundings, fresh=fresh, is_own=is_own, on_ended=lambda: self._free(run)
        )
        self._runs[run.id] = manager
        task = asyncio.create_task(manager.look_after(), name=f"run-{run.id}")
        self._tasks[run.id] = task
        task.add_done_callback(lambda done: self._done(manager, done))
        RUNNING.labels(region=region.name).set(region.holding)

    def _free(self, run: Exec) -> None:
        """Release a run's capacity, once."""
        if run.id not in self._holding:
            return
        self._holding.remove(run.id)
        region = self._regions[run.spec.region_name]
        region.release(run.id)
        RUNNING.labels(region=region.name).set(region.holding)
        self._on_released(run)

    def _done(self, manager: Run, task: asyncio.Task[None]) -> None:
        run = manager.exec
        self._runs.pop(run.id, None)
        self._tasks.pop(run.id, None)
        self._free(run)
        if not task.cancelled() and (error := task.exception()) is not None:
            self._on_defect(error)

    def ids(self) -> list[str]:
        """The ids of the runs that are managed here."""
        return list(self._runs)

    def looks_after(self, exec_id: str) -> bool:
        """Whether the run is managed here."""
        return exec_id in self._runs

    def trouble_of(self, exec_id: str) -> str | None:
        """What last interrupted a run that is managed here, for people."""
        run = self._runs.get(exec_id)
        return None if run is None else run.trouble

    def stop(self, exec_id: str, reason: str | None) -> None:
        """Stop a run, with a reason for people; does nothing if it is not managed here."""
        if (run := self._runs.get(exec_id)) is not None:
            run.request_stop(reason)

    def let_go(self, exec_id: str) -> None:
        """Stop managing a run, because another daemon has taken it over; its container is not touched."""
        if (task := self._tasks.get(exec_id)) is not None:
            log.warning("run.taken_over", exec=exec_id)
            task.cancel()

    def drop(self, exec_id: str, *, grace_seconds: int) -> None:
        """Stop a run that another daemon has deleted, without waiting for it."""
        if (run := self._runs.get(exec_id)) is not None:
            run.discard(grace_seconds)

    async def discard(self, exec_ids: Sequence[str], *, grace_seconds: int, patience: float) -> None:
        """Stop runs that are being deleted, and wait until their containers are removed.

        Args:
            exec_ids: the runs; those that are not managed here are ignored.
            grace_seconds: seconds between SIGTERM and SIGKILL.
            patience: maximum seconds to wait, and only while the engine answers; the rest is completed in the
                background.
        """
        tasks: dict[str, list[asyncio.Task[None]]] = {}
        for exec_id in exec_ids:
            if (run := self._runs.get(exec_id)) is not None:
                run.discard(grace_seconds)
                tasks.setdefault(run.exec.spec.region_name, []).append(self._tasks[exec_id])
        if tasks:
            waiting = [
                _while_it_answers(self._regions[name], waiting_tasks) for name, waiting_tasks in tasks.items()
            ]
            with suppress(TimeoutError):
                async with asyncio.timeout(patience):
                    await asyncio.gather(*waiting)

    async def close(self) -> None:
        """Let go of all runs: their containers continue, and a later daemon adopts them. Takes a limited time."""
        for _ in range(2):  # the second time interrupts runs that are still waiting for the database
            tasks = list(self._tasks.values())
            for task in tasks:
                task.cancel()
            if tasks:
                await asyncio.wait(tasks, timeout=CLOSE_LIMIT)
        if self._tasks:
            log.warning("runner.runs_abandoned", execs=list(self._tasks))


async def _while_it_answers(region: Region, tasks: list[asyncio.Task[None]]) -> None:
    """Wait for the tasks, unless their engine stops answering."""
    silent = asyncio.create_task(region.until_silent())
    over = asyncio.create_task(asyncio.wait(tasks))
    try:
        await asyncio.wait((over, silent), return_when=asyncio.FIRST_COMPLETED)
    finally:
        await cancel(over)
        await cancel(silent)
