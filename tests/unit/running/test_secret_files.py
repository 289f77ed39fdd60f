"""Daemons that end between a container and its start: the next one brings its secret files, or does not start it."""

from __future__ import annotations

import pytest

from scheduler.domain.execution import ExecStatus, FailReason
from tests.lab.fake_programs import FakeProcess
from tests.lab.stage import ADMIN, Stage

PATH = "/run/secrets/db"
#: The call before which the container is there and not started: see `CALLS` of `test_runs`.
ATTACH = 2


async def _held_before_its_start(stage: Stage) -> tuple[str, list[bytes]]:
    """A run whose daemon has ended when its container was made; and what its program will find in its file."""
    found: list[bytes] = []

    async def program(process: FakeProcess) -> int:
        found.append(process.files[PATH].content)
        return 0

    stage.engine.programs["read",] = program
    assert stage.service is not None
    await stage.service.secrets.put(ADMIN, None, "db", "former value")
    await stage.create("read", secret_files={PATH: "db"})
    stage.engine.hold_at = ATTACH
    run = await stage.trigger()
    await stage.engine.held.wait()
    await stage.stop()
    stage.engine.hold_at = None
    assert stage.engine.container_of(run) is not None
    return run, found


async def test_a_start_by_the_next_daemon_brings_the_files_again(stage: Stage) -> None:
    """They are not kept with the container."""
    run, found = await _held_before_its_start(stage)
    await stage.start()
    assert (await stage.ended(run)).status is ExecStatus.SUCCEEDED
    assert found == [b"former value"]


@pytest.mark.parametrize("there", [True, False])
async def test_a_secret_that_was_changed_meanwhile_is_the_new_one_or_ends_the_run(
    stage: Stage, there: bool
) -> None:
    """A container whose secret is gone is never started without it, and is removed."""
    run, found = await _held_before_its_start(stage)
    stage.engine.hold_at = 0  # the next daemon waits at its first call until the secret is another
    stage.engine.counted = 0
    stage.engine.held.clear()
    await stage.start()
    await stage.engine.held.wait()
    assert stage.service is not None
    if there:
        await stage.service.secrets.put(ADMIN, None, "db", "new value")
    else:
        await stage.service.secrets.delete(ADMIN, None, "db")
    await stage.stop()
    stage.engine.hold_at = None
    await stage.start()
    one = await stage.ended(run)
    if there:
        assert (one.status, found) == (ExecStatus.SUCCEEDED, [b"new value"])
    else:
        assert (one.status, one.fail_reason) == (ExecStatus.FAILED, FailReason.SECRET_MISSING)
        assert found == []
    await stage.until(lambda: stage.engine.container_of(run) is None)
