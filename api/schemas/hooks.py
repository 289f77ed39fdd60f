"""Webhooks and deliveries on the wire: what users send to define a webhook, and what they receive."""

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
    """Report once what a union of types would report for each of its types."""
    if isinstance(subject, float) and subject.is_integer():
        return int(subject)
    if isinstance(subject, bool) or not isinstance(subject, int | str):
        raise refuse(
            "is neither the id of a job nor the name of a namespace", "write the id as a number, such as 1"
        )
    if isinstance(subject, str) and not is_namespace(subject):
        raise refuse("is neither the id of a job nor the name of a namespace", NAMESPACE_REMEDY)
    return subject


def _check_secret(secret: str | None) -> str | None:
    if secret is None:
        return None
    if not secret.strip() or not is_one_line(secret):
        raise refuse(
            "is empty or contains a control character", "use text on one line, or null for no signature"
        )
    return secret


def _check_events(events: list[HookEvent]) -> tuple[HookEvent, ...]:
    if not events:
        raise refuse("is empty", f"list at least one of {', '.join(HookEvent)}")
    if len(events) > len(set(events)):
        raise refuse("contains an event twice", "list each event once")
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
    secret: Secret = Field(
        default=None,
        description="The secret that deliveries are signed with, never returned; null for no signature.",
    )
    is_active: bool = Field(
        default=True,
        description="Whether the webhook is active. Inactive webhooks are kept but receive nothing.",
    )

    def given(self) -> dict[str, Any]:
        """The fields that the request named."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class HookCreate(_HookFields):
    """The body of `POST /v1/hooks`."""

    name: Name = Field(description="The webhook's name.")
    url: Annotated[str, shown_as(format="uri")] = Field(description="The URL that deliveries are posted to.")
    subject_type: SubjectType = Field(description="What the webhook watches: a job or a namespace.")
    subject: Subject = Field(description="The id of the job, or the name of the namespace.")
    events: Events = Field(description="The events that are delivered.")


class HookChange(_HookFields):
    """The body of `PUT /v1/hooks/{id}`: fields that are left out stay as they are."""

    described_like = (HookCreate,)

    name: Name = ""
    url: Annotated[str, shown_as(format="uri")] = ""
    subject_type: SubjectType = SubjectType.JOB
    subject: Subject = 0
    events: Events = Field(default_factory=list)


class HookOut(Output):
    """A webhook, as users receive it: without its secret."""

    described_like = (HookCreate,)

    id: int = Field(description="The webhook's id.")
    name: str
    url: str
    subject_type: SubjectType
    subject: int | str
    events: list[HookEvent]
    is_active: bool = Field(
        description="Whether the webhook is active. Inactive webhooks are kept but receive nothing."
    )
    has_secret: bool = Field(description="Whether deliveries are signed.")
    created_by: str = Field(description="The user that created the webhook.")
    created_at: Moment = Field(description="When the webhook was created (UTC).")
    updated_at: Moment = Field(description="When the webhook was last changed (UTC).")

    @classmethod
    def of_hook(cls, hook: Hook) -> Self:
        """The shape of a webhook."""
        return cls.of(hook, has_secret=hook.sealed_secret is not None)


class AttemptOut(Output):
    """One attempt of a delivery."""

    at: Moment = Field(description="When the attempt was made (UTC).")
    duration: float = Field(description="Duration of the attempt, in seconds.")
    status_code: int | None = Field(
        description="The HTTP status of the receiver's answer; null if there was none."
    )
    error: str | None = Field(description="What went wrong, in words; null if nothing did.")


class DeliveryOut(Output):
    """A delivery in lists: the event and the status of its delivery."""

    id: str = Field(description="The delivery's id.")
    event: str = Field(description="The event, such as `job:fail`.")
    event_time: Moment = Field(description="When the event happened (UTC).")
    status: DeliveryStatus = Field(description="The status of the delivery.")
    attempts: list[AttemptOut] = Field(description="All attempts, the first one first.")
    next_attempt_at: Moment | None = Field(
        description="When the next attempt is made (UTC); null if there is none."
    )
    ended_at: Moment | None = Field(description="When the delivery ended (UTC); null before that.")
    reason: str | None = Field(
        description="Why the delivery has this status, in words; null if there is nothing to explain."
    )

    @classmethod
    def of_delivery(cls, delivery: Delivery) -> Self:
        """The shape of a delivery."""
        return cls.of(delivery, event_time=delivery.event_at)


class DeliveryDetailOut(DeliveryOut):
    """A delivery in detail, with its body."""

    body: Any = Field(description="The body of the delivery.")

    @classmethod
    def of_delivery(cls, delivery: Delivery) -> Self:
        """The shape of a delivery with its body."""
        return cls.of(delivery, event_time=delivery.event_at, body=json.loads(delivery.body or "null"))


#: Fields that only exist in answers.
READ_ONLY: Final = tuple(sorted(set(HookOut.model_fields) - set(HookCreate.model_fields)))
