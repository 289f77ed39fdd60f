"""An APScheduler trigger for a schedule's occurrences within the planner's horizon."""

from __future__ import annotations

from datetime import datetime

from apscheduler.triggers.base import BaseTrigger

from scheduler.timing.schedule import Schedule


class ScheduleTrigger(BaseTrigger):  # type: ignore[misc]  # APScheduler 3 has no type hints
    """Fires for each occurrence in (after, until] exactly once, in order.

    Occurrences in the past fire as well: the planner decides whether a late run is created. The trigger is kept in
    memory only, so it need not support pickling.
    """

    __slots__ = ("_after", "_schedule", "_until")

    def __init__(self, schedule: Schedule, after: datetime, until: datetime) -> None:
        self._schedule = schedule
        self._after = after
        self._until = until

    def get_next_fire_time(
        self,
        previous_fire_time: datetime | None,
        now: datetime,  # noqa: ARG002  the current time is irrelevant; see the class
    ) -> datetime | None:
        """The occurrence after ``previous_fire_time`` (if None, the first); None beyond the horizon."""
        after = self._after if previous_fire_time is None else max(previous_fire_time, self._after)
        moment = self._schedule.next_after(after)
        return None if moment is None or moment > self._until else moment
