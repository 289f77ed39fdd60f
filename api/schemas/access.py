"""Tokens, users and the audit log on the wire: what callers send, and what they receive."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, AliasChoices, AwareDatetime, Field, StringConstraints

from api.schemas.common import BREAKS, ONE_LINE, SPACES, Input, Moment, Output, Whole, refuse, shown_as
from api.schemas.fields import Namespace, Text
from scheduler.access.callers import Caller
from scheduler.domain.account import AuditEntry

SHORTEST_PASSWORD: Final = 8
LONGEST_PASSWORD: Final = 1_000
_USERNAME: Final = re.compile(r"\w[\w.@+-]{0,99}")
_EMAIL: Final = re.compile(r"[^\s@<>,;]{1,64}@[^\s@<>,;]{1,190}")
USERNAME_REMEDY: Final = (
    "use letters, digits, '.', '_', '@', '+' and '-', at most 100 characters, "
    "and start with a letter or digit"
)


def _check_username(name: str) -> str:
    if not _USERNAME.fullmatch(name):
        raise refuse("is not a valid user name", USERNAME_REMEDY)
    return name


def _check_email(email: str) -> str:
    if not _EMAIL.fullmatch(email) or any(unicodedata.category(c) in {"Cc", "Cs"} for c in email):
        raise refuse("is not a valid email address", "write it like ann@example.com, or null for none")
    return email


def _check_label(text: str) -> str:
    if any(unicodedata.category(c) in {"Cc", "Zl", "Zp", "Cs"} for c in text):
        raise refuse("contains a control character or a line break", "remove it")
    return text


def _check_password(password: str) -> str:
    # The value is never shown back: see `hidden` in `api.routes.users`.
    if not SHORTEST_PASSWORD <= len(password) <= LONGEST_PASSWORD:
        raise refuse(
            f"has {len(password)} characters",
            f"use {SHORTEST_PASSWORD} to {LONGEST_PASSWORD}",
        )
    return password


RoleName = Literal["viewer", "operator", "editor", "admin"]
Username = Annotated[
    str, AfterValidator(_check_username), shown_as(pattern=r"^[\p{L}\p{N}_][\p{L}\p{N}_.@+\-]{0,99}$")
]
Email = Annotated[
    str,
    AfterValidator(_check_email),
    shown_as(
        pattern=f"^[^{BREAKS}{SPACES}@<>,;]{{1,64}}@[^{BREAKS}{SPACES}@<>,;]{{1,190}}$",
        examples=["ann@example.com"],
    ),
]
Password = Annotated[
    str,
    AfterValidator(_check_password),
    shown_as(minLength=SHORTEST_PASSWORD, maxLength=LONGEST_PASSWORD, format="password"),
]
Label = Annotated[
    str,
    StringConstraints(max_length=200),
    AfterValidator(_check_label),
    shown_as(maxLength=200, pattern=ONE_LINE),
]


class TokenCreate(Input):
    """The body of `POST /v1/tokens`."""

    name: Label = Field(default="", description="The token's name.")
    role: RoleName = Field(
        default="viewer", description="The token's role. Each role includes the rights of the ones before it."
    )
    namespace: Namespace | None = Field(
        default=None, description="The namespace that the token is limited to; null for all namespaces."
    )
    username: Username | None = Field(default=None, description="The user that the token acts for.")
    expires_at: AwareDatetime | None = Field(
        default=None, description="When the token expires (UTC); null for never."
    )
    expires_in_seconds: Whole | None = Field(
        default=None,
        ge=1,
        le=100 * 366 * 24 * 3600,
        description="Seconds until the token expires; an alternative to `expires_at`.",
    )

    def given(self, now: datetime) -> dict[str, Any]:
        """The fields that the request named, as the use case takes them."""
        fields = {name: getattr(self, name) for name in self.model_fields_set - {"expires_in_seconds"}}
        if self.expires_in_seconds is not None:
            fields["expires_at"] = now + timedelta(seconds=self.expires_in_seconds)
        return fields


class TokenOut(Output):
    """A token, as administrators see it: without the token itself."""

    described_like = (TokenCreate,)

    id: int = Field(description="The token's id.")
    name: str
    prefix: str = Field(description="The first characters of the token, to recognize it.")
    username: str
    namespace: str | None
    role: str
    kind: str = Field(
        description="How the token was created: by a user, by logging in, or at the daemon's first start."
    )
    created_by: str = Field(description="The user that created the token.")
    created_at: Moment = Field(description="When the token was created (UTC).")
    expires_at: Moment | None
    last_used_at: Moment | None = Field(
        description="When the token was last used, to the minute (UTC); null for never."
    )


class NewTokenOut(TokenOut):
    """A token right after it was created, the only time that the token itself is shown."""

    token: str = Field(description="The token. It is only shown once.")


class LogIn(Input):
    """The body of `POST /v1/generate-api-token/`."""

    username: Text = Field(description="The user's name.")
    password: Text = Field(description="The user's password.")


class LogInOut(Output):
    """The answer to a login."""

    token: str = Field(description="The token. It is only shown once.")
    expires_at: Moment | None = Field(description="When the token expires (UTC); null for never.")


class UserCreate(Input):
    """The body of `POST /v1/users`."""

    username: Username = Field(
        validation_alias=AliasChoices("username", "name"), description="The user's name."
    )
    password: Password = Field(description="The user's password, 8 to 1000 characters; never returned.")
    role: RoleName = Field(
        default="viewer", description="The user's role. Each role includes the rights of the ones before it."
    )
    namespace: Namespace | None = Field(
        default=None, description="The namespace that the user is limited to; null for all namespaces."
    )
    email: Email | None = Field(default=None, description="The user's email address; null for none.")
    is_active: bool = Field(default=True, description="Whether the user can log in and use tokens.")

    def given(self) -> dict[str, Any]:
        """The fields that the request named, as the use case takes them."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class UserChange(Input):
    """The body of `PUT` and `PATCH /v1/users/{username}`: fields that are left out stay as they are."""

    described_like = (UserCreate,)

    password: Password = ""
    current_password: Text | None = Field(
        default=None,
        description="The user's current password; required when users change their own password.",
    )
    role: RoleName = "viewer"
    namespace: Namespace | None = None
    email: Email | None = None
    is_active: bool = True

    def given(self) -> dict[str, Any]:
        """The fields that the request named, as the use case takes them."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class UserOut(Output):
    """A user, as administrators and the user see it."""

    described_like = (UserCreate,)

    username: str
    role: str
    namespace: str | None
    email: str | None
    is_active: bool
    created_by: str = Field(description="The user that created this user.")
    created_at: Moment = Field(description="When the user was created (UTC).")
    updated_at: Moment = Field(description="When the user was last changed (UTC).")


class MeOut(Output):
    """The caller, as the daemon sees it."""

    username: str = Field(description="The name of the caller.")
    namespace: str | None = Field(
        description="The namespace that the caller is limited to; null for all namespaces."
    )
    role: str = Field(description="The caller's role. Each role includes the rights of the ones before it.")
    is_user: bool = Field(description="Whether the token belongs to a user.")
    token: int | None = Field(description="The id of the token that was sent; null for none.")

    @classmethod
    def of_caller(cls, caller: Caller) -> Self:
        """The shape of a caller."""
        return cls.of(
            caller,
            username=caller.user,
            role=caller.role.name.lower(),
            is_user=caller.account is not None,
            token=caller.token_id,
        )


class NamespaceOut(Output):
    """A namespace with the number of its jobs."""

    name: str = Field(description="The namespace's name.")
    job_count: int = Field(description="Number of jobs in the namespace.")


class AuditOut(Output):
    """An entry of the audit log."""

    id: int = Field(description="The entry's id.")
    time: Moment = Field(description="When it happened (UTC).")
    user: str | None = Field(description="The name of the caller; null if unknown.")
    token_prefix: str | None = Field(description="The first characters of the token that was sent.")
    remote: str | None = Field(description="The client's address.")
    request_id: str | None = Field(description="The request's id, from the header `X-Request-Id`.")
    method: str | None = Field(description="The HTTP method.")
    path: str | None = Field(description="The path of the request, without its query.")
    namespace: str | None = Field(description="The namespace of the object; null for none.")
    action: str = Field(description="What was done, such as `job.create`.")
    object: str | None = Field(description="The object of the action, such as `job 12`; null for none.")
    outcome: str = Field(description="The result of the request.")

    @classmethod
    def of_entry(cls, entry: AuditEntry) -> Self:
        """The shape of an entry."""
        return cls.of(entry, time=entry.at, user=entry.username)


#: Fields that only exist in answers.
TOKEN_READ_ONLY: Final = tuple(sorted(set(NewTokenOut.model_fields) - set(TokenCreate.model_fields)))
USER_READ_ONLY: Final = tuple(sorted(set(UserOut.model_fields) - set(UserCreate.model_fields)))
