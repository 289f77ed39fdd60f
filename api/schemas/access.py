"""Tokens, users and the audit on the wire: what callers send, and what they receive."""

from __future__ import annotations

import re
import unicodedata
from datetime import datetime, timedelta
from typing import Annotated, Any, Final, Literal, Self

from pydantic import AfterValidator, AliasChoices, AwareDatetime, Field, StringConstraints

from api.schemas.common import BREAKS, ONE_LINE, SPACES, Input, Moment, Output, Whole, refuse, shown_as
from api.schemas.fields import Namespace, Text
from scheduler.access.callers import Caller
from scheduler.domain.account import AuditEntry, StoredToken, StoredUser

SHORTEST_PASSWORD: Final = 8
LONGEST_PASSWORD: Final = 1_000
_USERNAME: Final = re.compile(r"\w[\w.@+-]{0,99}")
_EMAIL: Final = re.compile(r"[^\s@<>,;]{1,64}@[^\s@<>,;]{1,190}")
USERNAME_REMEDY: Final = (
    "use letters, digits, '.', '_', '@', '+' and '-', at most 100, beginning with a letter or digit"
)


def _check_username(name: str) -> str:
    if not _USERNAME.fullmatch(name):
        raise refuse("is not a user's name", USERNAME_REMEDY)
    return name


def _check_email(email: str) -> str:
    if not _EMAIL.fullmatch(email) or any(unicodedata.category(c) in {"Cc", "Cs"} for c in email):
        raise refuse("is not an e-mail address", "write it like ann@example.com, or null for none")
    return email


def _check_label(text: str) -> str:
    if any(unicodedata.category(c) in {"Cc", "Zl", "Zp", "Cs"} for c in text):
        raise refuse("holds a control character or a line break", "remove it")
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

    name: Label = ""
    role: RoleName = "viewer"
    namespace: Namespace | None = None
    username: Username | None = None
    expires_at: AwareDatetime | None = None
    expires_in_seconds: Whole | None = Field(default=None, ge=1, le=100 * 366 * 24 * 3600)

    def given(self, now: datetime) -> dict[str, Any]:
        """The fields that the request named, as the use case takes them."""
        found = {name: getattr(self, name) for name in self.model_fields_set - {"expires_in_seconds"}}
        if self.expires_in_seconds is not None:
            found["expires_at"] = now + timedelta(seconds=self.expires_in_seconds)
        return found


class TokenOut(Output):
    """A token without its secret, as administrators see it."""

    id: int
    name: str
    prefix: str
    username: str
    namespace: str | None
    role: str
    kind: str
    created_by: str
    created_at: Moment
    expires_at: Moment | None
    last_used_at: Moment | None

    @classmethod
    def of(cls, token: StoredToken) -> Self:
        """The shape of a token."""
        return cls(**{name: getattr(token, name) for name in TokenOut.model_fields})


class NewTokenOut(TokenOut):
    """A token at the one time that it is shown itself."""

    token: str

    @classmethod
    def with_secret(cls, stored: StoredToken, token: str) -> Self:
        """The shape of a token that was just made."""
        return cls(**{name: getattr(stored, name) for name in TokenOut.model_fields}, token=token)


class LogIn(Input):
    """The body of `POST /v1/generate-api-token/`."""

    username: Text
    password: Text


class LogInOut(Output):
    """The answer to it."""

    token: str
    expires_at: Moment | None


class UserCreate(Input):
    """The body of `POST /v1/users`."""

    username: Username = Field(validation_alias=AliasChoices("username", "name"))
    password: Password
    role: RoleName = "viewer"
    namespace: Namespace | None = None
    email: Email | None = None
    is_active: bool = True

    def given(self) -> dict[str, Any]:
        """The fields that the request named, as the use case takes them."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class UserChange(Input):
    """The body of `PUT` and `PATCH /v1/users/{username}`: what it names changes, the rest stays."""

    password: Password = ""
    current_password: Text | None = None
    role: RoleName = "viewer"
    namespace: Namespace | None = None
    email: Email | None = None
    is_active: bool = True

    def given(self) -> dict[str, Any]:
        """The fields that the request named, as the use case takes them."""
        return {name: getattr(self, name) for name in self.model_fields_set}


class UserOut(Output):
    """A user, as administrators and the user see it."""

    username: str
    role: str
    namespace: str | None
    email: str | None
    is_active: bool
    created_by: str
    created_at: Moment
    updated_at: Moment

    @classmethod
    def of(cls, user: StoredUser) -> Self:
        """The shape of a user."""
        return cls(**{name: getattr(user, name) for name in UserOut.model_fields})


class MeOut(Output):
    """Who asks, as the daemon sees it; `token` is the id of what it came with."""

    username: str
    namespace: str | None
    role: str
    is_user: bool
    token: int | None

    @classmethod
    def of(cls, caller: Caller) -> Self:
        """The shape of a caller."""
        return cls(
            username=caller.user,
            namespace=caller.namespace,
            role=caller.role.name.lower(),
            is_user=caller.account is not None,
            token=caller.token_id,
        )


class NamespaceOut(Output):
    """A namespace with the number of its jobs."""

    name: str
    job_count: int


class AuditOut(Output):
    """An entry of the audit."""

    id: int
    time: Moment
    user: str | None
    token_prefix: str | None
    remote: str | None
    request_id: str | None
    method: str | None
    path: str | None
    namespace: str | None
    action: str
    object: str | None
    outcome: str

    @classmethod
    def of(cls, entry: AuditEntry) -> Self:
        """The shape of an entry."""
        same = set(AuditOut.model_fields) - {"time", "user"}
        return cls(**{name: getattr(entry, name) for name in same}, time=entry.at, user=entry.username)


#: Fields that only answers have.
TOKEN_READ_ONLY: Final = tuple(sorted(set(NewTokenOut.model_fields) - set(TokenCreate.model_fields)))
USER_READ_ONLY: Final = tuple(sorted(set(UserOut.model_fields) - set(UserCreate.model_fields)))
