"""Hooks and deliveries on the wire: what users send to define a hook, and what they receive."""

from __future__ import annotations

import json
from typing import Annotated, Any, Final, Self

from pydantic import AfterValidator, BeforeValidator, Field, StringConstraints

from api.schemas.common import (
    BREAKS,
    NAMESPACE_PATTERN,
    SPACES,
    Input,
    Moment,
    Output,
    Whole,
    refuse,
    shown_as,
)
from api.schemas.fields import NAMESPACE_REMEDY, Name, is_namespace, is_one_line
from scheduler.domain.hook import Delivery, DeliveryStatus, Hook, HookEvent, SubjectType

LONGEST_SECRET: Final = 1_000


def _check_subject_type(subject: object) -> object:
    """Say once what a union of types would say once for each of them."""
    if isinstance(subject, float) and subject.is_integer():
        return int(subject)
    if isinstance(subject, bool) or not isinstance(subject, int | str):
        raise refuse("is neither a job's id nor a namespace's name", "write the id as a number, such as 1")
    if isinstance(subject, str) and not is_namespace(subject):
        raise refuse("is neither a job's id nor a namespace's name", NAMESPACE_REMEDY)
    return subject


def _check_secret(secret: str | None) -> str | None:
    if secret is None:
        return None
    if not secret.strip() or not is_one_line(secret):
        raise refuse(
            "is empty or holds a control character", "give text on one line, or null for no signature"
        )
    return secret


def _check_events(events: list[HookEvent]) -> tuple[HookEvent, ...]:
    if not events:
        raise refuse("is empty", f"name at least one of {', '.join(HookEvent)}")
    if len(events) > len(set(events)):
        raise refuse("names an event twice", "name each once")
    return tuple(events)


Subject = Annotated[
    Whole | Annotated[str, shown_as(pattern=NAMESPACE_PATTERN)], BeforeValidator(_check_subject_type)
]
Secret = Annotated[
    Annotated[
        str,
        StringConstraints(max_length=LONGEST_SECRET),
        shown_as(
            minLength=1,
            maxLength=LONGEST_SECRET,
            pattern=f"^[^{BREAKS}]*[^{BREAKS}{SPACES}][^{BREAKS}]*$",
            format="password",
        ),
    ]
    | None,
    AfterValidator(_check_secret),
]
Events = Annotated[
    list[HookEvent],
    AfterValidator(_check_events),
    Field(json_schema_extra={"minItems": 1, "uniqueItems": True}),
]


class _HookFields(Input):
    secret: Secret = None
    is_active: bool = True

    def given(self) -> dict[str, Any]:
        """The fields that the request named."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class HookCreate(_HookFields):
    """The body of `POST /v1/hooks`."""

    name: Name
    url: Annotated[str, shown_as(format="uri")]
    subject_type: SubjectType
    subject: Subject
    events: Events


class HookChange(_HookFields):
    """The body of `PUT /v1/hooks/{id}`: what it names changes, the rest stays."""

    name: Name = ""
    url: Annotated[str, shown_as(format="uri")] = ""
    subject_type: SubjectType = SubjectType.JOB
    subject: Subject = 0
    events: Events = Field(default_factory=list)


class HookOut(Output):
    """A hook, as users receive it: without its secret."""

    id: int
    name: str
    url: str
    subject_type: SubjectType
    subject: int | str
    events: list[HookEvent]
    is_active: bool
    has_secret: bool
    created_by: str
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, hook: Hook) -> Self:
        """The shape of a hook."""
        return cls(
            id=hook.id,
            name=hook.name,
            url=hook.url,
            subject_type=hook.subject_type,
            subject=hook.subject,
            events=list(hook.events),
            is_active=hook.is_active,
            has_secret=hook.sealed_secret is not None,
            created_by=hook.created_by,
            created_at=hook.created_at,
            updated_at=hook.updated_at,
        )


class AttemptOut(Output):
    """One try at a delivery; `duration` in seconds."""

    at: Moment
    duration: float
    status_code: int | None
    error: str | None


class DeliveryOut(Output):
    """A delivery in lists: what happened, and what became of telling it."""

    id: str
    event: str
    event_time: Moment
    status: DeliveryStatus
    attempts: list[AttemptOut]
    next_attempt_at: Moment | None
    ended_at: Moment | None
    reason: str | None

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """The shape of a delivery."""
        return cls(**_values(delivery))


class DeliveryDetailOut(DeliveryOut):
    """A delivery in detail: with what is sent."""

    body: Any

    @classmethod
    def of(cls, delivery: Delivery) -> Self:
        """The shape of a delivery with its body."""
        return cls(**_values(delivery), body=json.loads(delivery.body or "null"))


def _values(delivery: Delivery) -> dict[str, Any]:
    return {
        "id": delivery.id,
        "event": delivery.event,
        "event_time": delivery.event_at,
        "status": delivery.status,
        "attempts": [
            AttemptOut(at=one.at, duration=one.duration, status_code=one.status_code, error=one.error)
            for one in delivery.attempts
        ],
        "next_attempt_at": delivery.next_attempt_at,
        "ended_at": delivery.ended_at,
        "reason": delivery.reason,
    }


#: Fields that only answers have.
READ_ONLY: Final = tuple(sorted(set(HookOut.model_fields) - set(HookCreate.model_fields)))
