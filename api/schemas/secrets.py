"""Secrets on the wire: a value goes in, and never comes out."""

from __future__ import annotations

from typing import Annotated, Final, Self

from pydantic import AfterValidator

from api.schemas.common import NO_NUL, Input, Moment, Output, refuse, shown_as
from scheduler.domain.secret import Rotation, Secret

LARGEST_SECRET_BYTES: Final = 64 * 1024


def _check_value(value: str) -> str:
    if not value:
        raise refuse("is empty", "give the secret's value; DELETE removes a secret")
    if "\x00" in value:
        raise refuse("holds a NUL character, which no variable can", "remove it")
    if (size := len(value.encode())) > LARGEST_SECRET_BYTES:
        raise refuse(f"has {size} bytes", f"use {LARGEST_SECRET_BYTES} at most")
    return value


class SecretPut(Input):
    """The body of `PUT /v1/secrets/{name}`."""

    value: Annotated[
        str,
        AfterValidator(_check_value),
        shown_as(minLength=1, maxLength=LARGEST_SECRET_BYTES, pattern=NO_NUL, format="password"),
    ]


class KeyRotate(Input):
    """The body of `POST /v1/secret-key/rotate`; there is nothing to say."""


class KeyRotationOut(Output):
    """What a new key has taken over."""

    key: str
    sealed_anew: int
    cannot_be_opened: int

    @classmethod
    def of(cls, rotation: Rotation) -> Self:
        """The shape of it."""
        return cls(**{name: getattr(rotation, name) for name in cls.model_fields})


class SecretOut(Output):
    """What is known of a secret."""

    name: str
    namespace: str
    used_by: int
    created_by: str
    created_at: Moment
    updated_by: str
    updated_at: Moment

    @classmethod
    def of(cls, secret: Secret) -> Self:
        """The shape of a secret."""
        return cls(**{name: getattr(secret, name) for name in cls.model_fields})
