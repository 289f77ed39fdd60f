"""Previews of schedules on the wire, a job's schedule, and the entries of its ledger."""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Literal, Self

from pydantic import BaseModel, ConfigDict, Field, PlainSerializer, WithJsonSchema

from api.schemas.common import Moment, Output
from api.schemas.jobs import JobCreate, JobOut
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
"""A moment such as ``2015-12-28T14:31:07.639255+00:00``, always with microseconds and offset."""


class PreviewedOccurrence(BaseModel):
    """A due time. ``note`` marks an effect of daylight saving time."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    at: Rfc3339 = Field(description="The due time (UTC).")
    local: Rfc3339 = Field(description="The same time on the wall clock of the schedule's time zone.")
    note: Literal["gap", "fold"] | None = Field(
        description="`gap`: daylight saving time skips this time of day, so the run starts at the first moment after "
        "the gap. `fold`: this time of day occurs twice, and the run starts the first time."
    )


class PreviewAnswer(BaseModel):
    """A preview: the next due times and the schedule in words."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    occurrences: list[PreviewedOccurrence] = Field(description="The next due times.")
    description: str = Field(description="The schedule in words.")

    @classmethod
    def of(cls, schedule: Schedule, after: datetime, count: int, language: Language = "en") -> PreviewAnswer:
        """The preview of ``schedule``: the next ``count`` due times after ``after``; see ``preview``."""
        occurrences = preview(schedule, after, count)
        return cls(
            occurrences=[PreviewedOccurrence(at=o.at, local=o.local, note=o.note) for o in occurrences],
            description=describe(schedule, language),
        )


class JobScheduleOut(Output):
    """A job's schedule: its state, its next due times and its description."""

    described_like = (JobOut, JobCreate)

    schedule_mode: str | None
    schedule_timezone: str | None
    is_schedule_active: bool
    schedule_state: ScheduleState
    next_run_at: Moment | None
    occurrences: list[PreviewedOccurrence] = Field(description="The next due times.")
    description: str | None = Field(description="The schedule in words; null without a schedule.")

    @classmethod
    def of_job(cls, job: Job, after: datetime, count: int, language: Language) -> Self:
        """The schedule of a job. For a schedule that is switched off, the due times are those that it would have."""
        definition = job.definition
        answer = None
        if definition.schedule_mode is not None:
            schedule = parse_schedule(definition.schedule_mode, definition.schedule_timezone)
            answer = PreviewAnswer.of(schedule, after, count, language)
        return cls.of(
            job,
            definition,
            next_run_at=job.cursor.next_due_at,
            occurrences=[] if answer is None else answer.occurrences,
            description=None if answer is None else answer.description,
        )


class OccurrenceOut(Output):
    """An entry of the ledger: a due time and its outcome."""

    due_at: Moment = Field(description="The due time (UTC).")
    outcome: Outcome = Field(description="The outcome of the due time.")
    exec: str | None = Field(description="The id of the run; null if there is none.")
    reason: str | None = Field(description="Why the due time did not run, in words; null if it ran.")
    decided_at: Moment = Field(description="When the outcome was decided (UTC).")

    @classmethod
    def of_entry(cls, entry: Occurrence) -> Self:
        """The shape of an entry."""
        return cls.of(entry, exec=entry.exec_id)
