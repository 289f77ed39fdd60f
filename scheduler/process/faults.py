"""Named points between steps of the daemon's work where tests can make it die, hang or fail.

A point has no effect unless TIMEBALL_TEST_FAULT names it when the daemon starts; passing one costs a function call
and a comparison. There is no point where output is received; the nearest is where a chunk of it is stored. Every
point has a test (`tests/integration/test_fault_points.py` takes its list from here).
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
    """A fault point, in the order of a run's life; …ING is before a commit, …ED after it."""

    TRIGGERED = "triggered"  # a manual run is stored; nothing was notified, and the caller has no answer yet
    CLAIMING = "claiming"  # the ledger entry and the run are written, not committed
    CLAIMED = "claimed"  # they are committed; the dispatcher was not notified
    DISPATCHING = "dispatching"  # the run is taken, not committed
    DISPATCHED = "dispatched"  # it is committed; nothing was done on the engine
    PULLED = "pulled"  # the image is present
    CREATED = "created"  # the container exists
    ATTACHED = "attached"  # its output is being read
    SECRETS_PLACED = "secrets-placed"  # its secret files are in memory; it is not started
    START_REQUESTED = "start-requested"  # it is stored that the engine is asked to start it; it was not asked
    STARTED = "started"  # its process runs; the start is not recorded
    RECORDING_START = "recording-start"  # the status is changed, not committed
    START_RECORDED = "start-recorded"
    WRITING_CHUNK = "writing-chunk"  # output is inserted, not committed
    CHUNK_WRITTEN = "chunk-written"  # it is committed, and still in memory
    ENDED = "ended"  # the container has ended and all its output was received; not recorded
    RECORDING_END = "recording-end"  # end, last output and next attempt are written, not committed
    END_RECORDED = "end-recorded"  # the container still exists
    RETRY_RECORDED = "retry-recorded"  # the next attempt is stored; the dispatcher was not notified
    REMOVED = "removed"  # the container is removed
    STOP_REQUESTED = "stop-requested"  # the request is stored; the run was not notified
    STOPPING = "stopping"  # the run was notified; the engine was not called
    STOPPED = "stopped"  # the engine has stopped it at our request
    DELETING = (
        "deleting"  # a job's schedule is switched off and its runs are asked to stop; nothing is deleted yet
    )
    DISCARDING = "discarding"  # a deleted run's container is stopped, not removed
    ADOPTED = "adopted"  # the runs of an earlier daemon are adopted; none is followed yet
    RESUMING = "resuming"  # an adopted run continues; nothing was read yet
    KEY_WRITTEN = "key-written"  # the new key is in the file next to the old one; nothing is sealed with it
    KEY_TAKEN_OVER = (
        "key-taken-over"  # everything is sealed with the new key; the old one is still in the file
    )
    CLEARING = "clearing"  # an orphaned container is found, not removed


class FaultAction(StrEnum):
    """What happens at a point."""

    KILL = "kill"  # SIGKILL
    STOP = "stop"  # SIGSTOP, until someone sends SIGCONT
    RAISE = "raise"  # an unexpected exception


class InjectedFaultError(Exception):
    """A failure that a test requested."""


class _Fault:
    """An armed fault, which takes effect once.

    Args:
        at: the point.
        passing: at which passing of that point it takes effect, counted from 1.
        action: what happens.
    """

    def __init__(self, at: Point, passing: int, action: FaultAction) -> None:
        self.at = at
        self.action = action
        self._left = passing
        self._lock = threading.Lock()  # the database's thread passes points as well

    def pass_by(self, where: Point) -> None:
        """Take effect if this is the right point and passing."""
        if where is not self.at:
            return
        with self._lock:
            self._left -= 1
            if self._left != 0:
                return
        if self.action is FaultAction.RAISE:
            raise InjectedFaultError(f"a test requested a failure at {where.value}")
        os.kill(os.getpid(), signal.SIGKILL if self.action is FaultAction.KILL else signal.SIGSTOP)


_armed: _Fault | None = None


def point(where: Point) -> None:
    """Pass a point; has no effect unless a fault is armed there."""
    if _armed is not None:
        _armed.pass_by(where)


def arm(at: Point, *, passing: int = 1, action: FaultAction = FaultAction.KILL) -> None:
    """Arm a fault at a point; it replaces any other fault."""
    global _armed  # noqa: PLW0603 - one process, one fault; constant except in tests
    _armed = _Fault(at, passing, action)
    log.warning("faults.armed", at=at.value, passing=passing, action=action.value)


def disarm() -> None:
    """Remove the armed fault."""
    global _armed  # noqa: PLW0603 - as above
    _armed = None


def arm_from(environment: Mapping[str, str]) -> None:
    """Arm the fault in TIMEBALL_TEST_FAULT: ``point``, ``point:passing`` or ``point:passing:action``.

    Raises:
        SettingsError: the variable is set to something else.
    """
    text = environment.get(VARIABLE)
    if text is None:
        return
    parsed = _WRITTEN.fullmatch(text)
    if parsed is None or parsed["at"] not in tuple(Point):
        raise SettingsError(
            f"{VARIABLE} is not a valid fault (got {text!r}). This variable is for tests: unset it, or write "
            f"point:passing:action with a point of {', '.join(Point)} and an action of {', '.join(FaultAction)}"
        )
    arm(
        Point(parsed["at"]),
        passing=int(parsed["passing"] or 1),
        action=FaultAction(parsed["action"] or FaultAction.KILL),
    )
