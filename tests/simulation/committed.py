"""What must be true of a world after each commit: what is stored changes only as it may."""

from __future__ import annotations

import sqlite3
from dataclasses import dataclass, field
from typing import Any, Final

from scheduler.domain.execution import TRANSITIONS, ExecStatus
from tests.simulation.checks import Span, Witness

#: Number of runs up to which each look is at all of them; of more, one look in so many is.
FEW_RUNS: Final = 100
WHOLE_LOOK: Final = 200
_RUNS: Final = (
    "SELECT id, status, exit_code, fail_reason, started_at, ended_at, dispatched_at, cpus FROM execs"
)


class Ledger:
    """Checks after each commit that what is stored changes only as it may.

    Args:
        witness: receives the problems.
        cpus: the capacity of the region.
    """

    def __init__(self, witness: Witness, cpus: float) -> None:
        self._witness = witness
        self._cpus = cpus
        self._known = _Known()
        self._open: set[str] = set()
        self._looks = 0

    def look(self, connection: sqlite3.Connection, now: float, *, is_synced: bool) -> list[str]:
        """Compare what is committed now with what was committed before; returns the changes of runs.

        If there are many runs, most looks are only at those that were open the last time or are open now, so that a
        long life does not take the square of its length.

        Args:
            connection: to the database.
            now: the time in seconds of the simulation.
            is_synced: whether all of it survives a power cut.
        """
        self._looks += 1
        if len(self._known.statuses) > FEW_RUNS and self._looks % WHOLE_LOOK:
            rows = connection.execute(f"{_RUNS} WHERE ended_at IS NULL").fetchall()
            for exec_id in sorted(self._open - {row[0] for row in rows}):
                rows += connection.execute(f"{_RUNS} WHERE id = ?", (exec_id,)).fetchall()
        else:
            rows = connection.execute(_RUNS).fetchall()
            self._look_at_outcomes(connection)
        self._open = {row[0] for row in rows if row[5] is None}
        held = sum(row[7] for row in rows if row[6] is not None and row[5] is None)
        if held > self._cpus + 1e-6:
            self._witness.wrong(f"runs hold {held:g} of {self._cpus:g} processors")
        changes = [change for row in rows if (change := self._look_at_run(row, now)) is not None]
        if is_synced:
            self._known.keep()
        return changes

    def _look_at_run(self, row: tuple[Any, ...], now: float) -> str | None:
        """What has changed, if it has."""
        exec_id, code, *end = row
        status, known = ExecStatus(code), self._known
        if not TRANSITIONS[status]:
            ending = tuple(end[:4])
            if known.ends.get(exec_id, ending) != ending:
                self._witness.wrong(f"the end of run {exec_id} was changed afterwards")
            elif exec_id not in known.ends:
                known.note(known.ends, exec_id, ending)
        before = known.statuses.get(exec_id)
        if before is status:
            return None
        if before is not None and status not in TRANSITIONS[before]:
            self._witness.wrong(f"run {exec_id} changed from {before.name} to {status.name}")
        known.note(known.statuses, exec_id, status)
        seen = self._witness.seen.setdefault(exec_id, Span(now))
        seen.end = float("inf") if TRANSITIONS[status] else now
        return f"{exec_id} {status.name.lower()} {end[0]} {end[1]}"

    def _look_at_outcomes(self, connection: sqlite3.Connection) -> None:
        known = self._known
        stored = {
            (job_id, due_at): tuple(entry)
            for job_id, due_at, *entry in connection.execute(
                "SELECT job_id, due_at, outcome, exec_id FROM occurrences"
            )
        }
        for key, entry in known.outcomes.items():
            if key[0] not in self._witness.deleted and stored.get(key) != entry:
                self._witness.wrong(
                    f"the outcome of job {key[0]} at {key[1]} was {entry}, now {stored.get(key)}"
                )
        for key, entry in stored.items():
            if known.outcomes.get(key) != entry:
                known.note(known.outcomes, key, entry)

    def lose_power(self) -> None:
        """Only what was synced is certain now."""
        self._known.take_back()
        self._looks = -1  # the next look is at everything


@dataclass(slots=True)
class _Known:
    """What was committed: the status of each run, the end of each ended one, and the outcome of each due time.

    Attributes:
        before: what each change since the last sync has replaced, None if nothing: a power cut may take it back.
    """

    statuses: dict[str, ExecStatus] = field(default_factory=dict)
    ends: dict[str, tuple[Any, ...]] = field(default_factory=dict)
    outcomes: dict[tuple[int, int], tuple[Any, ...]] = field(default_factory=dict)
    before: list[tuple[dict[Any, Any], Any, Any]] = field(default_factory=list)

    def note(self, where: dict[Any, Any], key: Any, value: Any) -> None:
        """Note what is committed now."""
        self.before.append((where, key, where.get(key)))
        where[key] = value

    def keep(self) -> None:
        """All of it is synced."""
        self.before.clear()

    def take_back(self) -> None:
        """Forget what was not synced."""
        for where, key, value in reversed(self.before):
            if value is None:
                del where[key]
            else:
                where[key] = value
        self.before.clear()
