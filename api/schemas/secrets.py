"""Secrets on the wire. Values are received, but never returned."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from api.schemas.common import NO_NUL, Input, Moment, Output, refuse, shown_as

LARGEST_SECRET_BYTES: Final = 64 * 1024


def _check_value(value: str) -> str:
    if not value:
        raise refuse("is empty", "give a value, or delete the secret")
    if "\x00" in value:
        raise refuse("contains a NUL character, which is not allowed in variables", "remove it")
    if (size := len(value.encode())) > LARGEST_SECRET_BYTES:
        raise refuse(f"has {size} bytes", f"use at most {LARGEST_SECRET_BYTES} bytes")
    return value


class SecretPut(Input):
    """The body of `PUT /v1/secrets/{name}`."""

    value: Annotated[
        str,
        AfterValidator(_check_value),
        shown_as(minLength=1, maxLength=LARGEST_SECRET_BYTES, pattern=NO_NUL, format="password"),
    ] = Field(description="The secret's value; never returned.")


class KeyRotate(Input):
    """The body of `POST /v1/secret-key/rotate`; it has no fields."""


class KeyRotationOut(Output):
    """The result of a key rotation."""

    key: str = Field(description="The fingerprint of the new key.")
    sealed_anew: int = Field(description="Number of secrets that were encrypted with the new key.")
    cannot_be_opened: int = Field(description="Number of secrets that cannot be decrypted with any key.")


class SecretOut(Output):
    """A secret, without its value."""

    name: str = Field(description="The secret's name, unique in its namespace.")
    namespace: str = Field(description="The secret's namespace.")
    used_by: int = Field(description="Number of jobs that refer to the secret.")
    created_by: str = Field(description="The user that created the secret.")
    created_at: Moment = Field(description="When the secret was created (UTC).")
    updated_by: str = Field(description="The user that last changed the secret.")
    updated_at: Moment = Field(description="When the secret was last changed (UTC).")
