"""Tokens and logins: creating and revoking tokens."""

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

#: Maximum number of tokens from logins per user; beyond that, the oldest are deleted.
MOST_LOGINS: Final = 100
#: How long expired tokens are shown in lists.
EXPIRED_SHOWN: Final = timedelta(days=7)
#: Wrong passwords allowed at once per user and per address, and the seconds after which they are forgotten.
FREE_FAILURES_OF_USER: Final = 5
FREE_FAILURES_OF_ADDRESS: Final = 20
FAILURES_FORGOTTEN: Final = 300.0
_LONGEST_SHOWN: Final = 100


class TokenUseCases:
    """Use cases for tokens."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._by_user = Throttle(FREE_FAILURES_OF_USER, FAILURES_FORGOTTEN, parts.clock.steady)
        self._by_address = Throttle(FREE_FAILURES_OF_ADDRESS, FAILURES_FORGOTTEN, parts.clock.steady)

    async def create(self, caller: Caller, fields: Mapping[str, Any]) -> tuple[StoredToken, str]:
        """Create a token that may do no more than the caller.

        Args:
            caller: an administrator of the token's namespace.
            fields: `name`, `role`, `namespace`, `expires_at`, and `username` of an existing user, all optional.

        Returns:
            The stored token without its secret, and the token itself, which is shown only once.

        Raises:
            ForbiddenError: the caller may not create tokens, or not for that namespace or user.
            InvalidInputError: there is no such user, or the user's role is lower than the token's.
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
            # A user may have the same name as this caller acts under, and is then still somebody else.
            username = None
        now = self._parts.clock.now()
        expires_at = fields.get("expires_at")
        if expires_at is not None and expires_at <= now:
            raise InvalidInputError(
                FieldError("expires_at", expires_at.isoformat(), "is in the past", "use a time in the future")
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
            created = stored if username is None else _of_user(connection, stored, username, caller)
            created = replace(created, id=accounts.add_token(connection, digest_of(token), created))
            audit.record(
                connection,
                caller,
                "token.create",
                f"token {created.id}",
                now=now,
                namespace=created.namespace,
            )
            return created

        return await self._parts.database.write(work), token

    async def list(
        self, caller: Caller, *, namespace: str | None, username: str | None, page: Page
    ) -> tuple[int, list[StoredToken]]:
        """The number of tokens of the namespaces that the caller administers, and one page of them.

        Raises:
            ForbiddenError: the caller is not an administrator.
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
        """A token that the caller administers, or the caller's own token.

        Raises:
            NotFoundError: the caller can see no such token.
            ForbiddenError: the caller is not an administrator.
        """
        return await self._parts.database.read(lambda connection: _visible(connection, caller, token_id))

    async def revoke(self, caller: Caller, token_id: str) -> None:
        """Revoke a token that the caller administers, or the caller's own token.

        Raises:
            NotFoundError: the caller can see no such token.
            ForbiddenError: the caller is not an administrator.
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
        """Create a token for a user name and password; returns the token and when it expires.

        Raises:
            UnauthorizedError: the user name or password is wrong, or the user is disabled.
            TooManyError: too many attempts for this user or from this address have failed.
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
            raise UnauthorizedError("The user name or password is wrong")
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
            # If the password was changed in the meantime, the one that was checked must no longer work.
            present = accounts.get_user(connection, username)
            if present is None or present.password != user.password or not present.is_active:
                raise UnauthorizedError("The user name or password is wrong")
            if rehashed is not None:
                accounts.update_user(connection, username, present.updated_at, password=rehashed)
            accounts.remove_expired(connection, now - EXPIRED_SHOWN)
            token_id = accounts.add_token(connection, digest_of(token), stored)
            accounts.remove_logins(connection, username, keep=MOST_LOGINS)
            audit.record(
                connection, caller, "token.login", f"token {token_id}", now=now, namespace=user.namespace
            )

        await self._parts.database.write(work)
        return token, stored.expires_at


def _of_user(connection: Connection, token: StoredToken, username: str, caller: Caller) -> StoredToken:
    """The token as one that belongs to a user and is deleted with that user."""
    user = accounts.get_user(connection, username)
    if user is None:
        if username == caller.user:
            return token
        raise InvalidInputError(
            FieldError(
                "username",
                username,
                "is not an existing user",
                "create the user first, or leave out the user name",
            )
        )
    if Role[token.role.upper()] > Role[user.role.upper()]:
        raise InvalidInputError(
            FieldError(
                "role",
                token.role,
                f"is higher than the user's role {user.role}",
                f"use {user.role} or a lower role",
            )
        )
    if user.namespace not in (None, token.namespace):
        raise InvalidInputError(
            FieldError(
                "namespace", token.namespace, "is not the namespace of the user", f"use {user.namespace}"
            )
        )
    return replace(token, username=username, account=username)


def _visible(connection: Connection, caller: Caller, token_id: str) -> StoredToken:
    is_id = (
        token_id.isascii() and token_id.isdigit() and token_id[0] != "0" and int(token_id[:20]) <= LARGEST_ID
    )
    token = accounts.get_token(connection, int(token_id)) if is_id else None
    if token is None or caller.namespace not in (None, token.namespace):
        raise NotFoundError(f"There is no token with the id '{token_id[:_LONGEST_SHOWN]}'")
    if token.id != caller.token_id and caller.role < Role.ADMIN:
        raise ForbiddenError(
            "Only administrators can manage other tokens; this token can only be used to revoke itself"
        )
    return token
