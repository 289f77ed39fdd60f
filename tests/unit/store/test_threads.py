"""The database reaches its threads only through the event loop, and loses no write whatever happens on them."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import Executor
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy.engine import Connection

from scheduler.store import checkpoint
from scheduler.store.database import GROUP_LIMIT, Database


class InlineLoop(asyncio.SelectorEventLoop):
    """An event loop that runs the calls of executors itself, one after another."""

    def run_in_executor(self, _: Executor | None, func: Callable[..., Any], *args: Any) -> Any:
        """The answer of the call, which runs in a later step of the loop."""
        answer = self.create_future()

        def call() -> None:
            try:
                answer.set_result(func(*args))
            except Exception as error:  # noqa: BLE001 - passed on to the caller
                answer.set_exception(error)

        self.call_soon(call)
        return answer


def _make_table(connection: Connection) -> None:
    connection.exec_driver_sql("CREATE TABLE notes (text)")


def _add(connection: Connection) -> int:
    connection.exec_driver_sql("INSERT INTO notes VALUES ('x')")
    return int(connection.exec_driver_sql("SELECT count(*) FROM notes").scalar_one())


def test_with_a_loop_that_runs_the_calls_itself_there_is_no_thread(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Writing in groups, reading, checkpoints and closing."""
    copied: list[str] = []
    monkeypatch.setattr(checkpoint.Checkpointer, "_checkpoint", lambda _, mode: copied.append(mode))
    monkeypatch.setattr(checkpoint, "ENOUGH", 0)
    before = threading.active_count()

    async def work() -> None:
        database = Database(f"sqlite:///{tmp_path}/timeball.db")
        database.migrate(_make_table)
        found = await asyncio.gather(*(database.write(_add) for _ in range(3 * GROUP_LIMIT)))
        assert found == list(range(1, 3 * GROUP_LIMIT + 1))
        assert [await database.write(_add) for _ in range(checkpoint.COMMITS)][-1] == found[-1] + 50
        assert await database.read(lambda c: c.exec_driver_sql("SELECT count(*) FROM notes").scalar()) == 242
        assert copied == ["PASSIVE"]
        database.checkpoint_soon()
        late = asyncio.ensure_future(database.write(_add))
        await asyncio.sleep(0)
        await database.close()
        assert await late == 243
        assert copied == ["PASSIVE"] * 3
        assert threading.active_count() == before

    loop = InlineLoop()
    try:
        loop.run_until_complete(work())
    finally:
        loop.close()


async def test_the_write_of_a_caller_that_gave_up_is_committed_with_the_others(tmp_path: Path):
    """It may already be in a group that is being committed."""
    database = Database(f"sqlite:///{tmp_path}/timeball.db")
    database.migrate(_make_table)
    begun, go_on = threading.Event(), threading.Event()
    first = asyncio.ensure_future(database.write(lambda _: begun.set() or go_on.wait(60)))
    await asyncio.to_thread(begun.wait, 60)
    gone = asyncio.ensure_future(database.write(_add))
    last = asyncio.ensure_future(database.write(_add))
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.wait((gone,))
    go_on.set()
    assert (await first, await last, gone.cancelled()) == (True, 2, True)
    await database.close()


async def test_what_would_end_the_writer_s_thread_reaches_all_callers_and_the_next_write_succeeds(
    tmp_path: Path,
):
    """Nobody waits for an answer that does not come."""
    database = Database(f"sqlite:///{tmp_path}/timeball.db")
    database.migrate(_make_table)
    begun, go_on = threading.Event(), threading.Event()
    first = asyncio.ensure_future(database.write(lambda _: begun.set() or go_on.wait(60)))
    await asyncio.to_thread(begun.wait, 60)
    group = [database.write(_add), database.write(lambda _: (_ for _ in ()).throw(GeneratorExit))]
    waiting = asyncio.gather(*group, return_exceptions=True)
    await asyncio.sleep(0)
    go_on.set()
    await first
    assert [type(error) for error in await waiting] == [GeneratorExit, GeneratorExit]
    assert await database.write(_add) == 1
    await database.close()
