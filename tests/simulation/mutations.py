"""Defects that the simulation must find: each is a change of the product's source, made while it is loaded.

    python -m tests.simulation --mutation no-durable-mark --seeds 0-99

A test checks that each text still occurs exactly once, so that a mutation cannot silently become none.
"""

from __future__ import annotations

import importlib.abc
import importlib.machinery
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import ModuleType
from typing import Any, Final

ROOT: Final = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class Mutation:
    """One planted defect.

    Attributes:
        name: a short name.
        meaning: what is wrong, in a phrase.
        edits: the module, the text that is there and the text that replaces it.
    """

    name: str
    meaning: str
    edits: tuple[tuple[str, str, str], ...]


def _one(name: str, meaning: str, module: str, before: str, after: str) -> Mutation:
    return Mutation(name, meaning, ((f"scheduler.{module}", before, after),))


MUTATIONS: Final = (
    Mutation(
        "no-durable-mark",
        "a start is not stored before the engine is asked, so it is asked again",
        (
            (
                "scheduler.running.starting",
                "await self._region.engine.start(handle, files, before=self._recorder.request_start)",
                "await self._region.engine.start(handle, files)",
            ),
            (
                "scheduler.running.starting",
                "return self._recorder.exec.start_requested_at is not None or self._is_restored",
                "return False",
            ),
        ),
    ),
    Mutation(
        "no-unique-row",
        "a claim does not ask whether another daemon has decided the due time",
        (
            (
                "scheduler.planning.claims",
                "if stored is None or stored.cursor != group.job.cursor:",
                "if stored is None:",
            ),
            (
                "scheduler.store.ledger",
                "return {(job_id, due_at) for job_id, due_at in rows}",
                "return {(entry.job_id, entry.due_at) for entry in entries if list(rows) or True}",
            ),
        ),
    ),
    _one(
        "cursor-too-far",
        "the stored position of a log is one line too far",
        "logs.resume",
        "ResumePoint(position.end, position.tail, position.head) if places is None",
        "ResumePoint(position.end + 16 if position.end else 0) if places is None",
    ),
    _one(
        "cursor-from-the-beginning",
        "the engine's log is copied again from its beginning",
        "logs.resume",
        "self.has_passed = place.offset == 0",
        "self.has_passed = True",
    ),
    _one(
        "next-but-one",
        "after a claim, the schedule continues with the due time after the next",
        "planning.planner",
        "following=schedule.next_after(due[-1]),",
        "following=schedule.next_after(schedule.next_after(due[-1]) if len(due) > 1 else due[-1]),",
    ),
    _one(
        "answers-before-the-commit",
        "a write is answered although its transaction failed",
        "store.database",
        "            write.fail(shown)",
        "            write.succeed(None)",
    ),
    _one(
        "takes-from-the-living",
        "a daemon takes over the runs of daemons that are alive",
        "running.ownership",
        "elif run.owner not in live and (mine := queue.adopt(connection, run, owner=me)):",
        "elif (mine := queue.adopt(connection, run, owner=me)):",
    ),
    _one(
        "never-takes-over",
        "nobody takes over the runs of a daemon that is gone, not even itself",
        "running.ownership",
        "                    if at_start:\n",
        "                    if False:\n",
    ),
    _one(
        "last-output-forgotten",
        "what was not stored yet is lost when a run ends",
        "running.recording",
        "stored_logs.insert(connection, last)",
        "stored_logs.insert(connection, [])",
    ),
    _one(
        "chunk-dropped",
        "a chunk that the database refused is not stored again",
        "logs.hub",
        "capture.put_back(0.0)",
        "capture.stored(taken[capture.exec_id][1][-1].seq)",
    ),
    _one(
        "rest-unread",
        "after an interruption, the rest of an ended container's output is not read",
        "running.run",
        "        await self._output.read_rest(handle)\n        if had_ended:",
        "        if had_ended:",
    ),
    _one(
        "retry-not-stored",
        "a retry is offered, but not stored",
        "running.recording",
        "                if retry is not None:\n                    execs.insert(connection, [retry])",
        "",
    ),
    _one(
        "message-settled-unsent",
        "a message counts as delivered whatever the receiver answers",
        "notify.deliverer",
        "    if outcome.delivered:\n",
        "    if outcome.delivered or len(delivery.attempts) >= 1:\n",
    ),
    _one(
        "orphans-of-the-living",
        "containers of open runs are removed as orphans",
        "running.orphans",
        "if container.exec_id not in open_ids and not self._runner.looks_after(container.exec_id):",
        "if not self._runner.looks_after(container.exec_id):",
    ),
    _one(
        "orphans-stay",
        "containers that were left are never removed",
        "running.orphans",
        "                    await region.engine.remove(container.handle)\n",
        "",
    ),
    _one(
        "asks-again-after-doubt",
        "a start whose answer was lost is taken for one that never reached the engine",
        "running.starting",
        "except (EngineUnreachableError, RunGoneError):",
        "except (EngineUnreachableError.__base__, RunGoneError):",
    ),
    _one(
        "restart-of-the-engine-unseen",
        "a container is taken for never started although the engine has died since",
        "running.starting",
        "is_same = was_only_asked and self._asker_is_dead and await engine.has_created(handle)",
        "is_same = was_only_asked and self._asker_is_dead",
    ),
    _one(
        "asks-without-pause",
        "a daemon whose lease has expired tries to take runs without a pause",
        "running.dispatcher",
        '                raise UnavailableError("The lease of this daemon has expired")',
        "                return {}, queue.held_by_others(connection, self._instance)",
    ),
    Mutation(
        "never-synced",
        "nothing that is committed is synced",
        (
            ("scheduler.store.connecting", '"synchronous=FULL"', '"synchronous=NORMAL"'),
            ("scheduler.store.database", "'FULL' if durable else 'NORMAL'", "'NORMAL'"),
        ),
    ),
    _one(
        "retries-never-made",
        "a failure is final, whatever the job says",
        "running.decisions",
        "if end.fail_reason not in run.spec.retry_on or run.attempt > run.spec.max_retries:",
        "if True:",
    ),
    _one(
        "starts-untold",
        "webhooks hear of ends only",
        "store.execs",
        "if receivers := outbox.receivers_of(connection, exec_id, event):",
        "if after is not ExecStatus.RUNNING and (receivers := outbox.receivers_of(connection, exec_id, event)):",
    ),
    _one(
        "skips-everything",
        "a job that forbids overlapping runs never runs",
        "planning.claims",
        "    if overlap is Overlap.SKIP:\n",
        "    if job.definition.concurrency_policy is ConcurrencyPolicy.FORBID:\n",
    ),
)
#: A seed that finds each of them, the first one of 0 to 99.
FOUND_AT: Final = {
    "no-durable-mark": 16,
    "no-unique-row": 3,
    "cursor-too-far": 3,
    "cursor-from-the-beginning": 0,
    "next-but-one": 8,
    "answers-before-the-commit": 2,
    "takes-from-the-living": 3,
    "never-takes-over": 3,
    "last-output-forgotten": 0,
    "chunk-dropped": 24,
    "rest-unread": 5,
    "retry-not-stored": 9,
    "message-settled-unsent": 25,
    "orphans-of-the-living": 21,
    "orphans-stay": 18,
    "asks-again-after-doubt": 16,
    "restart-of-the-engine-unseen": 16,
    "asks-without-pause": 9,
    "never-synced": 5,
    "retries-never-made": 9,
    "starts-untold": 1,
    "skips-everything": 1,
}
#: Those that the usual tests plant, too.
TRIED_ALWAYS: Final = ("no-durable-mark", "cursor-from-the-beginning", "next-but-one", "skips-everything")
#: Defects that the seeds 0 to 99 do not show: what they do is rare, or something else prevents its effect.
UNFOUND: Final = (
    _one(
        "no-capacity-check",
        "runs are dispatched without asking whether they fit",
        "running.dispatcher",
        "room.fits(run)\n",
        "True\n",
    ),
    _one(
        "capacity-free-too-early",
        "a run's capacity is released as soon as its stop was asked for",
        "running.runner",
        "            run.request_stop(reason)",
        "            run.request_stop(reason)\n            self._free(run.exec)",
    ),
    _one(
        "status-without-comparison",
        "a status is set without comparing the one before",
        "store.execs",
        "same = sa.and_(execs.c.id == exec_id, execs.c.status == before, condition)",
        "same = sa.and_(execs.c.id == exec_id)",
    ),
    Mutation(
        "message-never-released",
        "what a dead daemon was delivering is never tried again",
        (
            ("scheduler.store.deliveries", "deliveries.c.claimed_until <= now,", "sa.false(),"),
            (
                "scheduler.notify.deliverer",
                "            await self._until_available(self._outbox.release)\n            while True:",
                "            while True:",
            ),
        ),
    ),
    _one(
        "engine-clock-trusted",
        "a timeout is measured by the engine's clock against the daemon's own",
        "running.run",
        "return await self._region.time_of(started_at)",
        "return asyncio.get_running_loop().time() - (self._parts.clock.now() - started_at).total_seconds()",
    ),
    _one(
        "dispatch-not-exclusive",
        "two daemons can take the same run",
        "store.queue",
        "sa.or_(execs.c.dispatched_at.is_(None), execs.c.owner == owner),",
        "sa.true(),",
    ),
    _one(
        "timeouts-never-fire",
        "a run may take as long as it likes",
        "running.stopping",
        "        if self._limit is None:\n",
        "        if True:\n",
    ),
    _one(
        "blind-to-peers",
        "a daemon does not look for jobs that others have just created",
        "planning.planner",
        "            if self._has_peers:\n",
        "            if False:\n",
    ),
    _one(
        "gap-unsaid",
        "output that went with a lost connection is not reported",
        "running.output",
        "if self._breaks is not None and self._breaks != self._region.breaks:",
        "if False:",
    ),
)


def table() -> str:
    """The planted defects for people, as a table in Markdown."""
    rows = [f"| `{one.name}` | {one.meaning} | {FOUND_AT[one.name]} |" for one in MUTATIONS]
    return "\n".join(["| defect | what is wrong | found by seed |", "|---|---|---|", *rows])


def by_name(name: str) -> Mutation:
    """The mutation of a name."""
    return next(mutation for mutation in (*MUTATIONS, *UNFOUND) if mutation.name == name)


def source_of(module: str) -> str:
    """A module's source as it is."""
    return (ROOT / (module.replace(".", "/") + ".py")).read_text(encoding="utf-8")


def plant(mutation: Mutation) -> None:
    """Have the modules loaded with the defect; they must not have been loaded before."""
    loaded = [module for module, _, _ in mutation.edits if module in sys.modules]
    if loaded:
        msg = f"{', '.join(loaded)} is loaded already"
        raise RuntimeError(msg)
    sys.meta_path.insert(0, _Planter(mutation))


class _Planter(importlib.abc.MetaPathFinder, importlib.abc.Loader):
    def __init__(self, mutation: Mutation) -> None:
        self._edits = mutation.edits
        self._modules = {module for module, _, _ in mutation.edits}

    def find_spec(
        self,
        fullname: str,
        path: Sequence[str] | None,  # noqa: ARG002 - the protocol's
        target: ModuleType | None = None,  # noqa: ARG002
    ) -> importlib.machinery.ModuleSpec | None:
        """Load the module here if it is one of those."""
        if fullname not in self._modules:
            return None
        return importlib.machinery.ModuleSpec(fullname, self, origin=fullname)

    def exec_module(self, module: ModuleType) -> None:
        """Run its changed source."""
        name = module.__name__
        text = source_of(name)
        for where, before, after in self._edits:
            if where == name:
                text = text.replace(before, after)
        module.__file__ = str(ROOT / (name.replace(".", "/") + ".py"))
        code: Any = compile(text, module.__file__, "exec")
        exec(code, module.__dict__)  # noqa: S102 - the product's own source
