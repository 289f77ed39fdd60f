"""The shapes of a schedule's preview on the wire: what is asked and what is answered."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, PlainSerializer, WithJsonSchema

from api.schemas.common import Moment, Output
from scheduler.domain.execution import Occurrence, Outcome
from scheduler.domain.job import Job, ScheduleState
from scheduler.timing.preview import Language, describe, preview
from scheduler.timing.schedule import Schedule, parse_schedule


def _rfc3339(moment: datetime) -> str:
    return moment.isoformat(timespec="microseconds")


Rfc3339 = Annotated[
    datetime,
    PlainSerializer(_rfc3339, return_type=str),
    WithJsonSchema({"type": "string", "format": "date-time"}, mode="serialization"),
]
"""A moment such as ``2015-12-28T14:31:07.639255+00:00``: microseconds and offset, always."""


class PreviewedOccurrence(BaseModel):
    """One due time; ``note`` marks what daylight saving did to it."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Rfc3339
    local: Rfc3339
    note: Literal["gap", "fold"] | None


class PreviewAnswer(BaseModel):
    """What is answered: the next occurrences and a sentence that says what the schedule means."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    occurrences: list[PreviewedOccurrence]
    description: str

    @classmethod
    def of(cls, schedule: Schedule, after: datetime, count: int, language: Language = "en") -> PreviewAnswer:
        """The preview of ``schedule``: ``count`` occurrences after ``after``; see ``preview``."""
        occurrences = preview(schedule, after, count)
        return cls(
            occurrences=[PreviewedOccurrence(at=o.at, local=o.local, note=o.note) for o in occurrences],
            description=describe(schedule, language),
        )


class JobScheduleOut(Output):
    """Where a job's schedule stands, what comes, and what it means."""

    schedule_mode: str | None
    schedule_timezone: str | None
    is_schedule_active: bool
    schedule_state: ScheduleState
    next_run_at: Moment | None
    occurrences: list[PreviewedOccurrence]
    description: str | None

    @classmethod
    def of_job(cls, job: Job, after: datetime, count: int, language: Language) -> Self:
        """The schedule of a job; one that is switched off shows what it would do."""
        definition = job.definition
        answer = None
        if definition.schedule_mode is not None:
            schedule = parse_schedule(definition.schedule_mode, definition.schedule_timezone)
            answer = PreviewAnswer.of(schedule, after, count, language)
        return cls(
            schedule_mode=definition.schedule_mode,
            schedule_timezone=definition.schedule_timezone,
            is_schedule_active=definition.is_schedule_active,
            schedule_state=job.schedule_state,
            next_run_at=job.cursor.next_due_at,
            occurrences=[] if answer is None else answer.occurrences,
            description=None if answer is None else answer.description,
        )


class OccurrenceOut(Output):
    """An entry of the ledger: a due time and what became of it."""

    due_at: Moment
    outcome: Outcome
    exec: str | None
    reason: str | None
    decided_at: Moment

    @classmethod
    def of(cls, one: Occurrence) -> Self:
        """The shape of an entry."""
        return cls(
            due_at=one.due_at,
            outcome=one.outcome,
            exec=one.exec_id,
            reason=one.reason,
            decided_at=one.decided_at,
        )
