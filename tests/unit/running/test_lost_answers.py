"""Transactions that are committed and whose answer is lost: nothing runs twice, and nothing is forgotten."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from typing import Any

import pytest

from scheduler.domain.errors import UnavailableError
from scheduler.domain.execution import ExecStatus
from scheduler.planning import planner
from scheduler.running import dispatcher
from scheduler.store.database import Database
from tests.lab.fake_programs import waits_for_stop
from tests.lab.moments import in_time, written
from tests.lab.stage import Stage, check, speaks, waiting


class Forgetting:
    """Commits, and says of every so many writes that it does not know."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.every = 0
        self.lost = 0
        self._count = 0
        write = Database.write

        async def forgetful(database: Database, work: Callable[[Any], Any], *, durable: bool = True) -> Any:
            result = await write(database, work, durable=durable)
            self._count += 1
            if self.every and self._count % self.every == 0:
                self.lost += 1
                database.trouble = (
                    "the answer was lost"  # as a real one does: the next commit tells who listens
                )
                raise UnavailableError("the answer was lost")
            return result

        monkeypatch.setattr(Database, "write", forgetful)


@pytest.fixture
def forgetting(monkeypatch: pytest.MonkeyPatch) -> Forgetting:
    """A database whose answers get lost when told so."""
    monkeypatch.setattr(planner, "RETRY_INTERVAL", 0.01)
    monkeypatch.setattr(dispatcher, "RETRY_INTERVAL", 0.01)
    return Forgetting(monkeypatch)


@pytest.mark.parametrize("every", [2, 3])
async def test_a_run_is_looked_after_to_its_end_whichever_answer_is_lost(
    forgetting: Forgetting, stage: Stage, every: int
) -> None:
    """A start or an end that is recorded already is not taken for somebody else's."""
    speaks(stage)
    await stage.create("speak")
    exec_id = await stage.trigger()
    forgetting.every = every

    await check(stage, exec_id)
    assert forgetting.lost


async def test_a_due_time_whose_claim_was_not_answered_runs_once_and_soon(
    forgetting: Forgetting, stage: Stage
) -> None:
    """Well before the dispatcher would look by itself."""
    speaks(stage)
    names = map(str, itertools.count())
    await in_time(
        lambda due: stage.create(
            "speak", name=next(names), is_schedule_active=True, schedule_mode=f"R1/{written(due)}/PT1S"
        ),
        seconds=0.3,
    )
    forgetting.every = 2
    await stage.until(lambda: bool(stage.engine.starts))
    forgetting.every = 0

    await stage.until(lambda: bool(waiting(stage)))
    [exec_id] = waiting(stage)
    assert (await stage.ended(exec_id)).exit_code == 3
    assert len(stage.engine.starts) == 1


async def test_a_run_that_was_to_be_replaced_is_stopped_though_nobody_was_told(
    forgetting: Forgetting, stage: Stage
) -> None:
    """The wish is in the database; it is looked for when answers come again."""
    stage.engine.programs["wait",] = waits_for_stop(out=b"up\n", last=b"down\n", exit_code=143)
    await stage.create("wait", concurrency_policy="replace")
    first = await stage.trigger()
    await stage.until(lambda: bool(stage.engine.containers))
    forgetting.every = 1
    with pytest.raises(UnavailableError):
        await stage.trigger()
    forgetting.every = 0

    assert (await stage.ended(first)).status is ExecStatus.CANCELLED
