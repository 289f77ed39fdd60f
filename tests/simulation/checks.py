"""What must be true of every world: at each start of a process, and once everything is at rest."""

from __future__ import annotations

import re
import sqlite3
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple

from scheduler.domain.stream import Stream
from scheduler.logs.chunks import STREAM_BITS, decode
from tests.lab.fake_engine import KILLED

#: How Timeball says in a log that output may be missing.
GAP: Final = re.compile("missing|lost|disappeared|broke off|does not know")
#: Exit code that newer engines report for what ended while they and their containerd were dead.
UNKNOWN_CODE: Final = 255
#: Seconds after an outage within which a due time may still count as missed because of it.
SLACK: Final = 5.0


@dataclass(slots=True)
class Printed:
    """What one process printed, and how long it ran.

    Attributes:
        exec_id: its run.
        job_id: the run's job.
        begin: when it began, in seconds of the simulation.
        streams: the bytes of each stream.
        end: when it ended; None while it runs.
        exit_code: how it ended; None while it runs.
    """

    exec_id: str
    job_id: int
    begin: float
    streams: dict[Stream, bytearray] = field(
        default_factory=lambda: {Stream.STDOUT: bytearray(), Stream.STDERR: bytearray()}
    )
    end: float | None = None
    exit_code: int | None = None


@dataclass(slots=True)
class Span:
    """A time in which something was wrong, in seconds of the simulation."""

    begin: float
    end: float = float("inf")

    def touches(self, begin: float, end: float) -> bool:
        """Whether it overlaps another time, or comes close to it."""
        return self.begin - SLACK <= end and begin <= self.end + SLACK


@dataclass(slots=True)
class Witness:
    """What the world has seen, independent of what Timeball has stored.

    Attributes:
        machines: how many machines have a daemon.
        problems: what must not be.
        printed: the processes of each run, in the order of their starts.
        outages: when due times could be missed: everywhere (None), or by the daemon of one machine.
        excuses: when runs could be lost, by what went wrong then.
        received: how often each message arrived at the receiver.
        triggered: the runs that users were told they had triggered.
        deleted: jobs that somebody deleted or tried to delete.
        seen: when each run was first seen in the database, and when its end was.
    """

    machines: int = 1
    problems: list[str] = field(default_factory=list)
    printed: dict[str, list[Printed]] = field(default_factory=dict)
    outages: list[tuple[int | None, Span]] = field(default_factory=list)
    excuses: list[tuple[str, Span]] = field(default_factory=list)
    received: Counter[str] = field(default_factory=Counter)
    triggered: list[str] = field(default_factory=list)
    deleted: set[int] = field(default_factory=set)
    seen: dict[str, Span] = field(default_factory=dict)

    def wrong(self, what: str) -> None:
        """Note a problem, once."""
        if what not in self.problems:
            self.problems.append(what)

    def was_out(self, moment: float) -> bool:
        """Whether a due time at a moment could be missed: no daemon could decide it."""
        out = [machine for machine, span in self.outages if span.touches(moment, moment)]
        return None in out or set(range(self.machines)) <= set(out)

    def is_excused(self, begin: float, end: float, *kinds: str) -> bool:
        """Whether something of these kinds, or of any kind, was wrong at a time."""
        return any((not kinds or kind in kinds) and span.touches(begin, end) for kind, span in self.excuses)


#: The faults that can cost output, because the engine had it only in memory.
ENGINE_DEATHS: Final = ("engine_dies", "engine_dies_at_start")


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


def check_gaps(witness: Witness, connection: sqlite3.Connection, due: Due) -> None:
    """Each due time has an outcome, and nothing else has."""
    rows = connection.execute("SELECT due_at FROM occurrences WHERE job_id = ?", (due.job_id,)).fetchall()
    stored, expected = {moment_of(row[0]) for row in rows}, set(due)
    for moment in sorted(expected - stored):
        witness.wrong(f"job {due.job_id} has no outcome for {moment:%H:%M:%S}")
    for moment in sorted(moment for moment in stored - expected if moment < due.until):
        witness.wrong(f"job {due.job_id} was not due at {moment.isoformat()}")


@dataclass(frozen=True, slots=True)
class Policies:
    """What a job says of its due times.

    Attributes:
        concurrency: its concurrency_policy.
        misfire: its misfire_policy.
        seconds_of: returns when a due time may have been, in seconds of the simulation: several, if clocks were set.
        may_expire: whether its schedule may be switched off, which ends undecided due times.
    """

    concurrency: str
    misfire: str
    seconds_of: Callable[[datetime], Sequence[float]]
    may_expire: bool


def check_outcomes(witness: Witness, connection: sqlite3.Connection, job_id: int, policies: Policies) -> None:
    """Each outcome of a job is true, and each run is the only one of its due time and attempt."""
    runs = dict(
        connection.execute("SELECT id, scheduled_for FROM execs WHERE job_id = ? AND attempt = 1", (job_id,))
    )
    spans = [
        witness.seen[exec_id]
        for (exec_id,) in connection.execute("SELECT id FROM execs WHERE job_id = ?", (job_id,))
    ]
    for stored_at, outcome, exec_id in connection.execute(
        "SELECT due_at, outcome, exec_id FROM occurrences WHERE job_id = ? ORDER BY due_at", (job_id,)
    ):
        moment = moment_of(stored_at)
        name, times = f"the due time {moment:%H:%M:%S} of job {job_id}", policies.seconds_of(moment)
        was_out = any(map(witness.was_out, times))
        if outcome == "ran" and runs.get(exec_id) != stored_at:
            witness.wrong(f"{name} ran, but has no such run")
        elif outcome == "missed" and (not was_out or policies.misfire == "all"):
            witness.wrong(f"{name} was missed without a reason")
        elif outcome == "skipped":
            was_open = any(span.touches(time, time) for span in spans for time in times)
            if policies.concurrency != "forbid" or not (was_open or was_out):
                witness.wrong(f"{name} was skipped, though no other run was open")
        elif outcome == "expired" and not policies.may_expire:
            witness.wrong(f"{name} expired")
    _check_doubles(witness, connection, job_id)


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
    stop_grace_seconds: int
    attempt: int
    max_retries: int


def check_runs(witness: Witness, connection: sqlite3.Connection) -> None:
    """Each run has ended as its process did, which was the only one; its log has what the process printed."""
    ends = [_End(*row) for row in connection.execute(f"SELECT {', '.join(_STORED)} FROM execs").fetchall()]  # noqa: S608
    for end in ends:
        _check_end(witness, end)
        _check_retry(witness, connection, end)
        if end.status != "W":
            _check_log(witness, connection, end)
    stored = {end.exec_id for end in ends}
    for exec_id, processes in witness.printed.items():
        if exec_id not in stored and processes[0].job_id not in witness.deleted:
            witness.wrong(f"run {exec_id[:8]} had a process, but is not stored")
    for exec_id in witness.triggered:
        if exec_id not in stored and not witness.deleted:
            witness.wrong(f"run {exec_id[:8]} was triggered, but is not stored")


_STORED: Final = ("id", *_End._fields[1:])


def _check_end(witness: Witness, end: _End) -> None:
    name = f"run {end.exec_id[:8]} of job {end.job_id}"
    processes = witness.printed.get(end.exec_id, [])
    if len(processes) > 1:
        witness.wrong(f"{name} had {len(processes)} processes")
    process = processes[0] if processes else None
    ended_with = process.exit_code if process else None
    if end.status in "WR":
        witness.wrong(f"{name} has not ended")
    elif end.status == "S" and ended_with != 0:
        witness.wrong(f"{name} succeeded, but its process ended with {ended_with}")
    elif end.status == "C" and end.stop_requested_at is None:
        witness.wrong(f"{name} was cancelled, but nobody stopped it")
    elif end.status == "F":
        _check_failure(witness, name, end, process)
    if end.status != "F" and end.started_at is not None and process is None:
        witness.wrong(f"{name} was started, but had no process")
    if process is not None and end.timeout_seconds is not None:
        _check_timeout(witness, name, end, process)


def _check_timeout(witness: Witness, name: str, end: _End, process: Printed) -> None:
    """Without anything wrong, a process lives no longer than its timeout and its grace period."""
    assert end.timeout_seconds is not None
    last = process.end or process.begin
    is_disturbed = witness.is_excused(process.begin, last) or any(
        span.touches(process.begin, last) for _, span in witness.outages
    )
    if not is_disturbed and last - process.begin > end.timeout_seconds + end.stop_grace_seconds + SLACK:
        witness.wrong(
            f"{name} ran {last - process.begin:.1f} s, though its timeout is {end.timeout_seconds} s"
        )


def _check_retry(witness: Witness, connection: sqlite3.Connection, end: _End) -> None:
    """A failure below the limit is followed by the next attempt, and no attempt is beyond it."""
    name = f"run {end.exec_id[:8]} of job {end.job_id}"
    if end.attempt > end.max_retries + 1:
        witness.wrong(f"{name} is attempt {end.attempt} of {end.max_retries + 1}")
    is_retried = end.status == "F" and end.attempt <= end.max_retries and end.stop_requested_at is None
    if not is_retried or end.job_id in witness.deleted:
        return
    following = connection.execute(
        "SELECT count(*) FROM execs WHERE attempt = ? AND retry_of = "
        "(SELECT COALESCE(retry_of, id) FROM execs WHERE id = ?)",
        (end.attempt + 1, end.exec_id),
    ).fetchone()[0]
    if following != 1:
        witness.wrong(f"{name} failed, and has {following} runs of attempt {end.attempt + 1}")


def _check_failure(witness: Witness, name: str, end: _End, process: Printed | None) -> None:
    ended_with = process.exit_code if process else None
    seen = witness.seen[end.exec_id]
    match end.fail_reason:
        case "exit_code":
            has_died = ended_with == KILLED and witness.is_excused(seen.begin, seen.end, *ENGINE_DEATHS)
            known = {KILLED, UNKNOWN_CODE} if has_died else {ended_with}
            if end.exit_code not in known or end.exit_code == 0:
                witness.wrong(f"{name} failed with {end.exit_code}, but its process ended with {ended_with}")
        case "timeout":
            if end.timeout_seconds is None or process is None:
                witness.wrong(
                    f"{name} ran into a timeout of {end.timeout_seconds}, and ended with {ended_with}"
                )
        case "engine_lost":
            if not witness.is_excused(seen.begin, seen.end):
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
    seen = witness.seen[exec_id]
    may_lack = witness.is_excused(seen.begin, seen.end, *ENGINE_DEATHS)
    says_gap = may_lack and GAP.search(stored[int(Stream.SYSTEM)].decode()) is not None
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
    """Each start and end of a run with a webhook was reported at least once, and that due times did not run."""
    for (message,) in connection.execute("SELECT id FROM deliveries WHERE status != 'delivered'"):
        witness.wrong(f"message {message} was not delivered")
    for (message,) in connection.execute("SELECT id FROM deliveries WHERE status = 'delivered'"):
        if not witness.received[message]:
            witness.wrong(f"message {message} is stored as delivered, but never arrived")
    for exec_id, event in connection.execute(_UNTOLD):
        witness.wrong(f"{event} of run {exec_id[:8]} was never put into the outbox")
    for job_id, outcome in connection.execute(_MISSES_UNTOLD):
        witness.wrong(
            f"job {job_id} has due times that were {outcome}, but no job:miss was put into the outbox"
        )


_UNTOLD: Final = """
    WITH events AS (
        SELECT id, job_id, created_at, CASE status
            WHEN 'S' THEN 'job:succeed' WHEN 'F' THEN 'job:fail' ELSE 'job:cancel' END AS event
        FROM execs WHERE ended_at IS NOT NULL
        UNION ALL SELECT id, job_id, created_at, 'job:start' FROM execs WHERE started_at IS NOT NULL
    )
    SELECT events.id, event FROM events JOIN hooks ON hooks.job_id = events.job_id
    WHERE events.created_at > hooks.created_at AND NOT EXISTS (
        SELECT 1 FROM deliveries WHERE hook_id = hooks.id AND deliveries.event = events.event
        AND body LIKE '%' || events.id || '%')
"""
_MISSES_UNTOLD: Final = """
    SELECT DISTINCT occurrences.job_id, outcome FROM occurrences JOIN hooks ON hooks.job_id = occurrences.job_id
    WHERE outcome != 'ran' AND decided_at > hooks.created_at AND NOT EXISTS (
        SELECT 1 FROM deliveries WHERE hook_id = hooks.id AND event = 'job:miss')
"""
