"""Named moments between two steps of the daemon's work, at which tests make it die, stand still or fail.

Nothing happens at them unless TIMEBALL_TEST_FAULT names one when the daemon starts: passing one costs a call and a
comparison. None lies where output is taken down; the nearest is the storing of a chunk of it. Every point has
a test (`tests/integration/test_fault_points.py` takes its list from here).
"""

from __future__ import annotations

import os
import re
import signal
import threading
from collections.abc import Mapping
from enum import StrEnum
from typing import Final

import structlog

from scheduler.domain.errors import SettingsError

log = structlog.get_logger()

VARIABLE: Final = "TIMEBALL_TEST_FAULT"
_WRITTEN: Final = re.compile(
    r"(?P<at>[a-z-]+)(?::(?P<passing>[1-9][0-9]*))?(?::(?P<action>kill|stop|raise))?"
)


class Point(StrEnum):
    """Where a fault can be put, in the order of a run's life; …ING is before a commit, …ED after it."""

    TRIGGERED = "triggered"  # somebody's run is stored, nobody was told of it nor has an answer
    CLAIMING = "claiming"  # ledger entry and exec are written, not committed
    CLAIMED = "claimed"  # they are committed, nobody was told of the exec
    DISPATCHING = "dispatching"  # the exec is taken, not committed
    DISPATCHED = "dispatched"  # it is committed, nothing done on the engine
    PULLED = "pulled"  # the image is there
    CREATED = "created"  # the container is there
    ATTACHED = "attached"  # its output is listened to
    SECRETS_PLACED = "secrets-placed"  # its secret files are in its memory, it is not started
    STARTED = "started"  # its process runs, which is not recorded
    RECORDING_START = "recording-start"  # the status is changed, not committed
    START_RECORDED = "start-recorded"
    WRITING_CHUNK = "writing-chunk"  # output is inserted, not committed
    CHUNK_WRITTEN = "chunk-written"  # it is committed, and still held in memory
    ENDED = "ended"  # the container has ended and all its output has come; not recorded
    RECORDING_END = "recording-end"  # end, last output and next attempt are written, not committed
    END_RECORDED = "end-recorded"  # the container is still there
    RETRY_RECORDED = "retry-recorded"  # the next attempt is stored, nobody was told of it
    REMOVED = "removed"  # the container is gone
    STOP_REQUESTED = "stop-requested"  # somebody's wish is stored, the run was not told
    STOPPING = "stopping"  # the run was told, the engine was not asked
    STOPPED = "stopped"  # the engine has ended it on our request
    DELETING = (
        "deleting"  # a job is switched off for its deletion and its runs are to stop; all is still there
    )
    DISCARDING = "discarding"  # a deleted run's container is stopped, not removed
    ADOPTED = "adopted"  # an earlier daemon's runs are taken over, none is looked after
    RESUMING = "resuming"  # an adopted run goes on, nothing read yet
    KEY_WRITTEN = "key-written"  # a new key is in the file beside the former one, nothing is sealed with it
    KEY_TAKEN_OVER = "key-taken-over"  # all is sealed with the new key, the former one is still in the file
    CLEARING = "clearing"  # an orphan is found, not removed


class FaultAction(StrEnum):
    """What happens at a point."""

    KILL = "kill"  # SIGKILL
    STOP = "stop"  # SIGSTOP, until somebody sends SIGCONT
    RAISE = "raise"  # an exception that nobody foresees


class InjectedFaultError(Exception):
    """A test asked for this failure."""


class _Fault:
    """One armed fault, which takes effect once.

    Args:
        at: where.
        passing: at which passing of that point, from 1 on.
        action: what happens.
    """

    def __init__(self, at: Point, passing: int, action: FaultAction) -> None:
        self.at = at
        self.action = action
        self._left = passing
        self._lock = threading.Lock()  # points are passed on the database's thread as well

    def pass_by(self, where: Point) -> None:
        """Take effect if this is the place and the time."""
        if where is not self.at:
            return
        with self._lock:
            self._left -= 1
            if self._left != 0:
                return
        if self.action is FaultAction.RAISE:
            raise InjectedFaultError(f"a test asked for a failure at {where.value}")
        os.kill(os.getpid(), signal.SIGKILL if self.action is FaultAction.KILL else signal.SIGSTOP)


_armed: _Fault | None = None


def point(where: Point) -> None:
    """Pass a point: nothing, unless a fault is armed there."""
    if _armed is not None:
        _armed.pass_by(where)


def arm(at: Point, *, passing: int = 1, action: FaultAction = FaultAction.KILL) -> None:
    """Put a fault at a point; it replaces any other."""
    global _armed  # noqa: PLW0603 - one process, one fault; a constant in all but tests
    _armed = _Fault(at, passing, action)
    log.warning("faults.armed", at=at.value, passing=passing, action=action.value)


def disarm() -> None:
    """Put no fault anywhere."""
    global _armed  # noqa: PLW0603 - as above
    _armed = None


def arm_from(environment: Mapping[str, str]) -> None:
    """Arm what TIMEBALL_TEST_FAULT asks for: ``point``, ``point:passing`` or ``point:passing:action``.

    Raises:
        SettingsError: it is set, and asks for nothing that there is.
    """
    text = environment.get(VARIABLE)
    if text is None:
        return
    wanted = _WRITTEN.fullmatch(text)
    if wanted is None or wanted["at"] not in tuple(Point):
        raise SettingsError(
            f"{VARIABLE}: asks for no fault that there is (got {text!r}). It is for tests: unset it, or write "
            f"point:passing:action with a point of {', '.join(Point)} and an action of {', '.join(FaultAction)}"
        )
    arm(
        Point(wanted["at"]),
        passing=int(wanted["passing"] or 1),
        action=FaultAction(wanted["action"] or FaultAction.KILL),
    )
