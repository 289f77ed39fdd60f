"""What must be true of every world: after each commit, at each start of a process, and once everything is at rest."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from scheduler.domain.execution import TRANSITIONS, ExecStatus
from scheduler.domain.stream import Stream
from scheduler.logs.chunks import STREAM_BITS, decode
from tests.lab.fake_engine import KILLED

#: How Timeball says in a log that output may be missing.
GAP: Final = re.compile("missing|lost|disappeared|broke off|does not know")
#: Exit code that newer engines report for what ended while they and their containerd were dead.
UNKNOWN_CODE: Final = 255
#: Seconds after an outage within which a due time may still count as missed because of it.
SLACK: Final = 5.0
#: Number of runs up to which each look is at all of them; of more, one look in so many is.
FEW_RUNS: Final = 100
WHOLE_LOOK: Final = 200
_RUNS: Final = (
    "SELECT id, status, exit_code, fail_reason, started_at, ended_at, dispatched_at, cpus FROM execs"
)


@dataclass(slots=True)
class Printed:
    """What one process printed as far as its engine has it, and how it ended.

    Attributes:
        exec_id: its run.
        streams: the bytes of each stream.
        exit_code: None while it runs.
    """

    exec_id: str
    streams: dict[Stream, bytearray] = field(
        default_factory=lambda: {Stream.STDOUT: bytearray(), Stream.STDERR: bytearray()}
    )
    exit_code: int | None = None


@dataclass(slots=True)
class Outage:
    """A time in which due times may have been missed, in seconds of the simulation."""

    begin: float
    end: float = float("inf")


@dataclass(slots=True)
class Witness:
    """What the world has seen, independent of what Timeball has stored.

    Attributes:
        problems: what must not be.
        printed: the processes of each run, in the order of their starts.
        outages: when due times could be missed.
        received: how often each message arrived at the receiver.
        stops: jobs of which somebody stopped runs.
        deleted: jobs that somebody deleted or tried to delete.
        excuses: the kinds of faults that have happened.
    """

    problems: list[str] = field(default_factory=list)
    printed: dict[str, list[Printed]] = field(default_factory=dict)
    outages: list[Outage] = field(default_factory=list)
    received: Counter[str] = field(default_factory=Counter)
    stops: set[int] = field(default_factory=set)
    deleted: set[int] = field(default_factory=set)
    excuses: set[str] = field(default_factory=set)

    def wrong(self, what: str) -> None:
        """Note a problem, once."""
        if what not in self.problems:
            self.problems.append(what)

    def was_out(self, moment: float) -> bool:
        """Whether a due time at a moment could be missed."""
        return any(outage.begin - SLACK <= moment <= outage.end + SLACK for outage in self.outages)


class Ledger:
    """Checks after each commit that what is stored changes only as it may.

    Args:
        witness: receives the problems.
        cpus: the capacity of the region.
    """

    def __init__(self, witness: Witness, cpus: float) -> None:
        self._witness = witness
        self._cpus = cpus
        self._statuses: dict[str, ExecStatus] = {}
        self._ended: dict[str, tuple[Any, ...]] = {}
        self._entries: dict[tuple[int, str], tuple[Any, ...]] = {}
        self._open: set[str] = set()
        self._looks = 0

    def look(self, connection: sqlite3.Connection) -> list[str]:
        """Compare what is committed now with what was committed before; returns the changes of runs.

        If there are many runs, most looks are only at those that were open the last time or are open now, so that a
        long life does not take the square of its length.
        """
        self._looks += 1
        if len(self._statuses) > FEW_RUNS and self._looks % WHOLE_LOOK:
            rows = connection.execute(f"{_RUNS} WHERE ended_at IS NULL").fetchall()
            for exec_id in sorted(self._open - {row[0] for row in rows}):
                rows += connection.execute(f"{_RUNS} WHERE id = ?", (exec_id,)).fetchall()
        else:
            rows = connection.execute(_RUNS).fetchall()
            self._look_at_entries(connection)
        self._open = {row[0] for row in rows if row[5] is None}
        held = sum(row[7] for row in rows if row[6] is not None and row[5] is None)
        if held > self._cpus + 1e-6:
            self._witness.wrong(f"runs hold {held:g} of {self._cpus:g} processors")
        return [change for row in rows if (change := self._look_at_run(row)) is not None]

    def _look_at_run(self, row: tuple[Any, ...]) -> str | None:
        """What has changed, if it has."""
        exec_id, code, *end = row
        status = ExecStatus(code)
        before = self._statuses.get(exec_id)
        if not TRANSITIONS[status] and self._ended.setdefault(exec_id, tuple(end[:4])) != tuple(end[:4]):
            self._witness.wrong(f"the end of run {exec_id} was changed afterwards")
        if before is status:
            return None
        if before is not None and status not in TRANSITIONS[before]:
            self._witness.wrong(f"run {exec_id} changed from {before.name} to {status.name}")
        self._statuses[exec_id] = status
        return f"{exec_id} {status.name.lower()} {end[0]} {end[1]}"

    def _look_at_entries(self, connection: sqlite3.Connection) -> None:
        for job_id, due_at, *entry in connection.execute(
            "SELECT job_id, due_at, outcome, exec_id FROM occurrences"
        ):
            known = self._entries.setdefault((job_id, due_at), tuple(entry))
            if known != tuple(entry):
                self._witness.wrong(f"the outcome of job {job_id} at {due_at} was {known}, now {entry}")

    def forget_after_power_cut(self) -> None:
        """Take what is committed now for the first that was seen: a power cut may take back what was not synced."""
        self._statuses.clear()
        self._ended.clear()
        self._entries.clear()
        self._open.clear()


def moment_of(stored: Any) -> datetime:
    """A time as it is stored: microseconds since 1970."""
    return datetime.fromtimestamp(0, UTC) + timedelta(microseconds=int(stored))


# ---- once everything is at rest -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Due:
    """All due times of a job up to a moment: `start`, and every `step` later, before `until`."""

    job_id: int
    start: datetime
    step: timedelta
    until: datetime

    def __iter__(self) -> Iterator[datetime]:
        moment = self.start
        while moment < self.until:
            yield moment
            moment += self.step


def check_due_times(
    witness: Witness,
    connection: sqlite3.Connection,
    due: Due,
    *,
    policy: str,
    seconds_of: Callable[[datetime], float],
) -> None:
    """Each due time has one outcome, which is true.

    Args:
        witness: receives the problems.
        connection: to the database.
        due: the due times.
        policy: the job's concurrency_policy.
        seconds_of: returns when a due time was, in seconds of the simulation.
    """
    rows = connection.execute(
        "SELECT due_at, outcome, exec_id FROM occurrences WHERE job_id = ? ORDER BY due_at", (due.job_id,)
    ).fetchall()
    stored, expected = Counter(moment_of(row[0]) for row in rows), set(due)
    for moment in sorted(expected - set(stored)):
        witness.wrong(f"job {due.job_id} has no outcome for {moment:%H:%M:%S}")
    for moment in sorted(moment for moment in set(stored) - expected if moment < due.until):
        witness.wrong(f"job {due.job_id} was not due at {moment.isoformat()}")
    runs = dict(
        connection.execute(
            "SELECT id, scheduled_for FROM execs WHERE job_id = ? AND attempt = 1", (due.job_id,)
        )
    )
    for stored_at, outcome, exec_id in rows:
        moment = moment_of(stored_at)
        name = f"the due time {moment:%H:%M:%S} of job {due.job_id}"
        if outcome == "ran" and runs.get(exec_id) != stored_at:
            witness.wrong(f"{name} ran, but has no such run")
        elif outcome == "missed" and not witness.was_out(seconds_of(moment)):
            witness.wrong(f"{name} was missed without a reason")
        elif outcome == "skipped" and policy != "forbid":
            witness.wrong(f"{name} was skipped, though its runs may overlap")
        elif outcome == "expired":
            witness.wrong(f"{name} expired")
    _check_doubles(witness, connection, due.job_id)


def _check_doubles(witness: Witness, connection: sqlite3.Connection, job_id: int) -> None:
    rows = connection.execute(
        "SELECT scheduled_for, attempt, count(*) FROM execs WHERE job_id = ? AND scheduled_for IS NOT NULL "
        "GROUP BY scheduled_for, attempt HAVING count(*) > 1",
        (job_id,),
    )
    for stored_at, attempt, times in rows:
        moment = moment_of(stored_at)
        witness.wrong(f"the due time {moment:%H:%M:%S} of job {job_id} has {times} runs of attempt {attempt}")


class _End(NamedTuple):
    """How a run ended, as it is stored."""

    exec_id: str
    job_id: int
    status: str
    exit_code: int | None
    fail_reason: str | None
    started_at: int | None
    stop_requested_at: int | None
    timeout_seconds: int | None
    attempt: int
    max_retries: int


def check_runs(witness: Witness, connection: sqlite3.Connection) -> None:
    """Each run has ended as its process did, which was the only one; its log has what the process printed."""
    rows = connection.execute(
        "SELECT id, job_id, status, exit_code, fail_reason, started_at, stop_requested_at, timeout_seconds, attempt, "
        "max_retries FROM execs"
    ).fetchall()
    for end in (_End(*row) for row in rows):
        _check_end(witness, end)
        if end.status != "W":
            _check_log(witness, connection, end)


def _check_end(witness: Witness, end: _End) -> None:
    name = f"run {end.exec_id[:8]} of job {end.job_id}"
    processes = witness.printed.get(end.exec_id, [])
    if len(processes) > 1:
        witness.wrong(f"{name} had {len(processes)} processes")
    ended_with = processes[0].exit_code if processes else None
    if end.attempt > end.max_retries + 1:
        witness.wrong(f"{name} is attempt {end.attempt} of {end.max_retries + 1}")
    if end.status in "WR":
        witness.wrong(f"{name} has not ended")
    elif end.status == "S" and ended_with != 0:
        witness.wrong(f"{name} succeeded, but its process ended with {ended_with}")
    elif end.status == "C" and end.stop_requested_at is None:
        witness.wrong(f"{name} was cancelled, but nobody stopped it")
    elif end.status == "F":
        _check_failure(witness, name, end, ended_with)
    if end.status != "F" and end.started_at is not None and not processes:
        witness.wrong(f"{name} was started, but had no process")


def _check_failure(witness: Witness, name: str, end: _End, ended_with: int | None) -> None:
    match end.fail_reason:
        case "exit_code":
            has_died = witness.excuses & {"engine_dies", "engine_dies_at_start"}
            known = {KILLED, UNKNOWN_CODE} if ended_with == KILLED and has_died else {ended_with}
            if end.exit_code not in known or end.exit_code == 0:
                witness.wrong(f"{name} failed with {end.exit_code}, but its process ended with {ended_with}")
        case "timeout":
            if end.timeout_seconds is None or ended_with is None:
                witness.wrong(
                    f"{name} ran into a timeout of {end.timeout_seconds}, and ended with {ended_with}"
                )
        case "engine_lost":
            if not witness.excuses:
                witness.wrong(f"{name} was lost, but neither its engine nor the network failed")
        case _:
            witness.wrong(f"{name} failed with {end.fail_reason}")


def stored_output(connection: sqlite3.Connection, exec_id: str) -> dict[int, bytes]:
    """What is stored of each stream of a run."""
    streams: dict[int, bytearray] = {int(stream): bytearray() for stream in Stream}
    for (data,) in connection.execute(
        "SELECT data FROM log_chunks WHERE exec_id = ? ORDER BY seq", (exec_id,)
    ):
        for frame in decode(data):
            streams[frame.kind & STREAM_BITS] += frame.data
    return {stream: bytes(data) for stream, data in streams.items()}


def _check_log(witness: Witness, connection: sqlite3.Connection, end: _End) -> None:
    exec_id = end.exec_id
    stored = stored_output(connection, exec_id)
    says_gap = GAP.search(stored[int(Stream.SYSTEM)].decode()) is not None
    processes = witness.printed.get(exec_id, [])
    for stream in (Stream.STDOUT, Stream.STDERR):
        printed = bytes(processes[0].streams[stream]) if processes else b""
        have = stored[int(stream)]
        if have == printed:
            continue
        lines, known = have.splitlines(), printed.splitlines()
        name = f"{stream.name.lower()} of run {exec_id[:8]}"
        if len(set(lines)) != len(lines):
            witness.wrong(f"{name} has lines twice: {have!r} of {printed!r}")
        elif not says_gap:
            witness.wrong(
                f"{name} lacks something without saying so: {have!r} of {printed!r} ({end.fail_reason})"
            )
        elif not _is_part(lines, known):
            witness.wrong(f"{name} has what was not printed: {have!r} of {printed!r}")


def _is_part(lines: list[bytes], known: list[bytes]) -> bool:
    """Whether lines are some of the known ones in their order; the first and the last may be cut."""
    rest = iter(known)
    return all(any(line in candidate for candidate in rest) for line in lines)


def check_messages(witness: Witness, connection: sqlite3.Connection) -> None:
    """Each end and start of a run with a webhook was reported at least once."""
    for (message,) in connection.execute("SELECT id FROM deliveries WHERE status != 'delivered'"):
        witness.wrong(f"message {message} was not delivered")
    for (message,) in connection.execute("SELECT id FROM deliveries WHERE status = 'delivered'"):
        if not witness.received[message]:
            witness.wrong(f"message {message} is stored as delivered, but never arrived")
    lacking = connection.execute(
        "SELECT execs.id, execs.status FROM execs JOIN hooks ON hooks.job_id = execs.job_id "
        "WHERE execs.ended_at IS NOT NULL AND execs.created_at > hooks.created_at AND NOT EXISTS "
        "(SELECT 1 FROM deliveries WHERE deliveries.hook_id = hooks.id "
        "AND deliveries.body LIKE '%' || execs.id || '%' AND deliveries.event = CASE execs.status "
        "WHEN 'S' THEN 'job:succeed' WHEN 'F' THEN 'job:fail' ELSE 'job:cancel' END)"
    ).fetchall()
    for exec_id, status in lacking:
        witness.wrong(f"the end ({status}) of run {exec_id[:8]} was never put into the outbox")
