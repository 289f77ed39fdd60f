"""Tokens and log-ins: handing out what callers prove themselves with, and taking it back."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy.engine import Connection

from scheduler.access import audit
from scheduler.access.callers import LARGEST_ID, Caller, Origin, Role, demand, demand_everywhere, demand_role
from scheduler.access.throttle import Throttle, network_of
from scheduler.access.tokens import digest_of, new_token, prefix_of
from scheduler.domain.account import StoredToken
from scheduler.domain.errors import (
    FieldError,
    ForbiddenError,
    InvalidInputError,
    NotFoundError,
    UnauthorizedError,
)
from scheduler.domain.views import Page
from scheduler.store import accounts
from scheduler.usecases.parts import Parts

#: Tokens from logging in that a user has at a time; the oldest end when there are more.
MOST_LOGINS: Final = 100
#: An expired token can be seen in lists for this long.
EXPIRED_SHOWN: Final = timedelta(days=7)
#: Wrong passwords that may come for a user, or from an address, at once; and the seconds until they are forgotten.
FREE_FAILURES_OF_USER: Final = 5
FREE_FAILURES_OF_ADDRESS: Final = 20
FAILURES_FORGOTTEN: Final = 300.0
_LONGEST_SHOWN: Final = 100


class TokenUseCases:
    """What callers do with tokens."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._by_user = Throttle(FREE_FAILURES_OF_USER, FAILURES_FORGOTTEN)
        self._by_address = Throttle(FREE_FAILURES_OF_ADDRESS, FAILURES_FORGOTTEN)

    async def create(self, caller: Caller, fields: Mapping[str, Any]) -> tuple[StoredToken, str]:
        """Make a token that may do no more than the caller.

        Args:
            caller: an administrator of the token's namespace.
            fields: `name`, `role`, `namespace`, `expires_at`, and `username` of an existing user, all optional.

        Returns:
            What is stored of it, and the token itself, which is shown this once.

        Raises:
            ForbiddenError: the caller may not hand out tokens, or not for that namespace or user.
            InvalidInputError: there is no such user, or it may do less than the token.
        """
        demand_role(caller, Role.ADMIN)
        namespace = fields.get("namespace", caller.namespace)
        if namespace is None:
            demand_everywhere(caller)
        else:
            demand(caller, Role.ADMIN, namespace)
        username = fields.get("username")
        if username not in (None, caller.user):
            demand_everywhere(caller)
        elif caller.namespace is not None:
            # A user may have the name under which this caller acts, and is then still somebody else.
            username = None
        now = self._parts.clock.now()
        expires_at = fields.get("expires_at")
        if expires_at is not None and expires_at <= now:
            raise InvalidInputError(
                FieldError("expires_at", expires_at.isoformat(), "lies in the past", "use a moment to come")
            )
        token = new_token()
        stored = StoredToken(
            caller.user,
            namespace,
            fields.get("role", "viewer"),
            "made",
            created_by=caller.user,
            created_at=now,
            name=fields.get("name", ""),
            prefix=prefix_of(token),
            account=caller.account,
            expires_at=expires_at,
        )

        def work(connection: Connection) -> StoredToken:
            made = stored if username is None else _of_user(connection, stored, username, caller)
            made = replace(made, id=accounts.add_token(connection, digest_of(token), made))
            audit.record(
                connection, caller, "token.create", f"token {made.id}", now=now, namespace=made.namespace
            )
            return made

        return await self._parts.database.write(work), token

    async def list(
        self, caller: Caller, *, namespace: str | None, username: str | None, page: Page
    ) -> tuple[int, list[StoredToken]]:
        """How many tokens there are of the namespaces that the caller administers, and one page of them.

        Raises:
            ForbiddenError: the caller is no administrator.
        """
        demand_role(caller, Role.ADMIN)
        if caller.namespace is not None:
            if namespace not in (None, caller.namespace):
                return 0, []
            namespace = caller.namespace
        return await self._parts.database.read(
            lambda connection: accounts.page_of_tokens(
                connection, namespace=namespace, username=username, offset=page.offset, limit=page.size
            )
        )

    async def get(self, caller: Caller, token_id: str) -> StoredToken:
        """A token: any that the caller administers, or the one that it came with.

        Raises:
            NotFoundError: there is none of that id for the caller.
            ForbiddenError: the caller is no administrator.
        """
        return await self._parts.database.read(lambda connection: _visible(connection, caller, token_id))

    async def revoke(self, caller: Caller, token_id: str) -> None:
        """End a token: any that the caller administers, or the one that it came with.

        Raises:
            NotFoundError: there is none of that id for the caller.
            ForbiddenError: the caller is no administrator.
        """
        now = self._parts.clock.now()

        def work(connection: Connection) -> None:
            token = _visible(connection, caller, token_id)
            accounts.remove_token(connection, token.id)
            audit.record(
                connection, caller, "token.revoke", f"token {token.id}", now=now, namespace=token.namespace
            )

        await self._parts.database.write(work)
        self._parts.tokens.forget()

    async def log_in(self, origin: Origin, username: str, password: str) -> tuple[str, datetime | None]:
        """A token for whoever knows a user's password, and when it ends.

        Raises:
            UnauthorizedError: there is no such user with that password, or it is disabled.
            TooManyError: too many attempts for that user or from that address have failed.
        """
        address, name = network_of(origin.remote), username.casefold()
        self._by_address.check(address)
        self._by_user.check(name)
        user = await self._parts.database.read(lambda connection: accounts.get_user(connection, username))
        matches, rehashed = await self._parts.passwords.check(
            password, None if user is None else user.password
        )
        if not matches or user is None or not user.is_active:
            self._by_address.fail(address)
            self._by_user.fail(name)
            raise UnauthorizedError("The user name or the password is wrong")
        self._by_user.forget(name)
        token, now = new_token(), self._parts.clock.now()
        lifetime = self._parts.login_lifetime
        stored = StoredToken(
            user.username,
            user.namespace,
            user.role,
            "login",
            created_by=user.username,
            created_at=now,
            prefix=prefix_of(token),
            account=user.username,
            expires_at=None if lifetime is None else now + lifetime,
        )
        caller = Caller(
            user.username,
            user.namespace,
            Role[user.role.upper()],
            account=user.username,
            token_prefix=stored.prefix,
            origin=origin,
        )

        def work(connection: Connection) -> None:
            # Changed meanwhile, the password that was checked may be one that was to end.
            present = accounts.get_user(connection, username)
            if present is None or present.password != user.password or not present.is_active:
                raise UnauthorizedError("The user name or the password is wrong")
            if rehashed is not None:
                accounts.update_user(connection, username, present.updated_at, password=rehashed)
            accounts.remove_expired(connection, now - EXPIRED_SHOWN)
            made = accounts.add_token(connection, digest_of(token), stored)
            accounts.remove_logins(connection, username, keep=MOST_LOGINS)
            audit.record(
                connection, caller, "token.login", f"token {made}", now=now, namespace=user.namespace
            )

        await self._parts.database.write(work)
        return token, stored.expires_at


def _of_user(connection: Connection, token: StoredToken, username: str, caller: Caller) -> StoredToken:
    """The token as one that belongs to a user, and ends with it."""
    user = accounts.get_user(connection, username)
    if user is None:
        if username == caller.user:
            return token
        raise InvalidInputError(
            FieldError("username", username, "is no user's name", "create the user first, or leave it out")
        )
    if Role[token.role.upper()] > Role[user.role.upper()]:
        raise InvalidInputError(
            FieldError("role", token.role, f"is more than the user's own, {user.role}", f"use {user.role}")
        )
    if user.namespace not in (None, token.namespace):
        raise InvalidInputError(
            FieldError("namespace", token.namespace, "is not the user's", f"use {user.namespace}")
        )
    return replace(token, username=username, account=username)


def _visible(connection: Connection, caller: Caller, token_id: str) -> StoredToken:
    is_id = (
        token_id.isascii() and token_id.isdigit() and token_id[0] != "0" and int(token_id[:20]) <= LARGEST_ID
    )
    found = accounts.get_token(connection, int(token_id)) if is_id else None
    if found is None or caller.namespace not in (None, found.namespace):
        raise NotFoundError(f"There is no token with the id '{token_id[:_LONGEST_SHOWN]}'")
    if found.id != caller.token_id and caller.role < Role.ADMIN:
        raise ForbiddenError(
            "Others' tokens are an administrator's business; this token can end itself alone"
        )
    return found
