"""What must be true after a soak. All by queries: there are too many rows to look at each."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Final

from scheduler.domain.stream import Stream
from tests.lab.fake_engine import KILLED
from tests.simulation.checks import GAP, UNKNOWN_CODE, Witness, moment_of, stored_output

MICROSECONDS: Final = 1_000_000
#: How many logs are compared with what was printed.
SAMPLE: Final = 500
OUTPUT: Final = b"line 0\nline 1\nline 2\nline 3\n"


@dataclass(frozen=True, slots=True)
class Expected:
    """The due times: `each` of every job, the first at `start`, and then every `step` seconds."""

    job_ids: Sequence[int]
    start: datetime
    step: int
    each: int


def counted(connection: sqlite3.Connection, query: str) -> dict[str, int]:
    """What a query says that returns names and numbers."""
    return dict(connection.execute(query).fetchall())


def check_counts(witness: Witness, connection: sqlite3.Connection, expected: Expected) -> None:
    """Each of the due times has one outcome; there may be later ones."""
    start = round(expected.start.timestamp() * MICROSECONDS)
    step = expected.step * MICROSECONDS
    last = start + (expected.each - 1) * step
    wanted = (expected.each, expected.each, start, last, 0)
    # A due time is part of the primary key; different ones are counted all the same.
    rows = connection.execute(
        "SELECT job_id, count(*), count(DISTINCT due_at), min(due_at), max(due_at), sum((due_at - ?) % ? != 0) "
        "FROM occurrences WHERE due_at <= ? GROUP BY job_id",
        (start, step, last),
    )
    found = {job_id: tuple(rest) for job_id, *rest in rows}
    for job_id in expected.job_ids:
        if (have := found.pop(job_id, None)) != wanted:
            witness.wrong(f"the ledger of job {job_id} has {have} instead of {wanted}")
    for job_id in found:
        witness.wrong(f"the ledger has entries of job {job_id}, which does not exist")


def check_ledger(
    witness: Witness,
    connection: sqlite3.Connection,
    expected: Expected,
    *,
    seconds_of: Callable[[datetime], float],
) -> None:
    """Each due time has one outcome, and there are no others; the outcomes are true.

    Args:
        witness: receives the problems.
        connection: to the database.
        expected: all due times so far.
        seconds_of: returns when a due time was, in seconds of the simulation.
    """
    check_counts(witness, connection, expected)
    following = round(expected.start.timestamp() + expected.each * expected.step) * MICROSECONDS
    for job_id, due_at in connection.execute(
        "SELECT id, next_due_at FROM jobs WHERE next_due_at != ?", (following,)
    ):
        witness.wrong(f"job {job_id} is next due at {moment_of(due_at)} instead of {moment_of(following)}")
    for (due_at,) in connection.execute("SELECT DISTINCT due_at FROM occurrences WHERE outcome = 'missed'"):
        if not witness.was_out(seconds_of(moment_of(due_at))):
            witness.wrong(f"the due time {moment_of(due_at)} was missed without a reason")
    for outcome, count in connection.execute(
        "SELECT outcome, count(*) FROM occurrences WHERE due_at >= ? OR outcome NOT IN ('ran', 'skipped', 'missed') "
        "GROUP BY outcome",
        (following,),
    ):
        witness.wrong(f"{count} entries of the ledger should not be there: {outcome}")
    _check_runs_of(witness, connection)


def _check_runs_of(witness: Witness, connection: sqlite3.Connection) -> None:
    """Each due time that ran has its run, and each run its due time."""
    runs = {
        exec_id: tuple(rest)
        for exec_id, *rest in connection.execute("SELECT id, job_id, scheduled_for FROM execs")
    }
    for exec_id, *entry in connection.execute(
        "SELECT exec_id, job_id, due_at FROM occurrences WHERE outcome = 'ran'"
    ):
        if runs.pop(exec_id, None) != tuple(entry):
            witness.wrong(f"the due time {moment_of(entry[1])} of job {entry[0]} ran, but has no such run")
    for exec_id in runs:
        witness.wrong(f"run {exec_id} is not in the ledger")


def check_runs(witness: Witness, connection: sqlite3.Connection, processes: sqlite3.Connection) -> None:
    """Each run has ended as its process did, which was the only one; a sample of logs has all that was printed."""
    printed: dict[str, list[int | None]] = {}
    for exec_id, exit_code in processes.execute("SELECT exec_id, exit_code FROM processes"):
        printed.setdefault(exec_id, []).append(exit_code)
    rows = connection.execute("SELECT id, status, exit_code, fail_reason FROM execs").fetchall()
    for exec_id, status, exit_code, fail_reason in rows:
        codes = printed.pop(exec_id, [])
        if len(codes) > 1:
            witness.wrong(f"run {exec_id} had {len(codes)} processes")
        if not _is_true(status, exit_code, fail_reason, codes):
            witness.wrong(
                f"run {exec_id} is {status} {exit_code} {fail_reason}, but its processes ended with {codes}"
            )
    for exec_id in printed:
        witness.wrong(f"there was a process of run {exec_id}, which is not stored")
    every = max(len(rows) // SAMPLE, 1)
    for exec_id, status, *_ in rows[::every]:
        if status == "S":
            _check_log(witness, connection, exec_id)


def _is_true(status: str, exit_code: int | None, fail_reason: str | None, codes: list[int | None]) -> bool:
    """Whether a run may have ended like this after its processes ended with these codes."""
    if status == "S":
        return codes == [0]
    if status == "C":  # stopped in the end, most while they were waiting
        return codes in ([], [KILLED])
    if status != "F" or codes[:1] == [0]:
        return False
    if fail_reason == "exit_code":
        return exit_code == codes[0] or (codes == [KILLED] and exit_code in (KILLED, UNKNOWN_CODE))
    return fail_reason == "engine_lost"


def _check_log(witness: Witness, connection: sqlite3.Connection, exec_id: str) -> None:
    stored = stored_output(connection, exec_id)
    out, said = stored[int(Stream.STDOUT)], stored[int(Stream.SYSTEM)].decode()
    if out != OUTPUT and not GAP.search(said):
        witness.wrong(f"the log of run {exec_id} has {out!r}")
