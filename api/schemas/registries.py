"""Registry credentials on the wire. Passwords are received, but never returned."""

from __future__ import annotations

from typing import Annotated, Final

from pydantic import AfterValidator, Field

from api.schemas.common import NO_NUL, Input, Moment, Output, refuse, shown_as
from scheduler.domain.registry import Login

LONGEST_USERNAME: Final = 255
#: Some registries use a whole JSON document as a password.
LARGEST_PASSWORD_BYTES: Final = 16 * 1024


def _check_username(name: str) -> str:
    if not name:
        raise refuse("is empty", "give the user name for the registry")
    if len(name) > LONGEST_USERNAME:
        raise refuse(f"has {len(name)} characters", f"use at most {LONGEST_USERNAME} characters")
    # A colon would end the user name (RFC 7617, section 2).
    if ":" in name or any(ord(character) < 32 or character == "\x7f" for character in name):
        raise refuse("contains a colon or a control character", "give only the user name")
    return name


def _check_password(password: str) -> str:
    if not password:
        raise refuse("is empty", "give the password or token, or delete the credential")
    if "\x00" in password:
        raise refuse("contains a NUL character", "remove it")
    if (size := len(password.encode())) > LARGEST_PASSWORD_BYTES:
        raise refuse(f"has {size} bytes", f"use at most {LARGEST_PASSWORD_BYTES} bytes")
    return password


class RegistryPut(Input):
    """The body of `PUT /v1/registries/{host}`."""

    username: Annotated[
        str,
        AfterValidator(_check_username),
        shown_as(minLength=1, maxLength=LONGEST_USERNAME, pattern=r"^[^:\u0000-\u001f\u007f]*$"),
    ] = Field(description="The user name for the registry.")
    password: Annotated[
        str,
        AfterValidator(_check_password),
        shown_as(minLength=1, maxLength=LARGEST_PASSWORD_BYTES, pattern=NO_NUL, format="password"),
    ] = Field(description="The password or access token for the registry; never returned.")

    def login(self, host: str) -> Login:
        """The credential as the service accepts it."""
        return Login(host, self.username, self.password)


class RegistryOut(Output):
    """A registry credential, without its password."""

    host: str = Field(description="The registry's host, with its port if it has one.")
    namespace: str = Field(description="The namespace that uses the credential.")
    username: str = Field(description="The user name for the registry.")
    created_by: str = Field(description="The user that created the credential.")
    created_at: Moment = Field(description="When the credential was created (UTC).")
    updated_by: str = Field(description="The user that last changed the credential.")
    updated_at: Moment = Field(description="When the credential was last changed (UTC).")
