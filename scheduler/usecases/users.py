"""Users: who can log in with a password, and what their tokens may do."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from sqlalchemy.engine import Connection

from scheduler.access import audit
from scheduler.access.callers import Caller, demand_everywhere
from scheduler.access.throttle import Throttle
from scheduler.domain.account import StoredUser
from scheduler.domain.errors import FieldError, ForbiddenError, InvalidInputError, NotFoundError
from scheduler.domain.views import Page
from scheduler.store import accounts
from scheduler.usecases.parts import Parts

#: Fields that users may change themselves.
OWN_FIELDS: Final = frozenset({"password", "current_password", "email"})
_FREE_FAILURES: Final = 5
_FAILURES_FORGOTTEN: Final = 300.0


class UserUseCases:
    """Use cases for users."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._throttle = Throttle(_FREE_FAILURES, _FAILURES_FORGOTTEN, parts.clock.steady)

    async def create(self, caller: Caller, fields: Mapping[str, Any]) -> StoredUser:
        """Create a user.

        Args:
            caller: an administrator of all namespaces, because user names are unique over all of them.
            fields: `username` and `password`; optionally `role`, `namespace`, `email` and `is_active`.

        Raises:
            ForbiddenError: the caller is not an administrator of all namespaces.
            ConflictError: the user name is taken.
        """
        demand_everywhere(caller)
        now = self._parts.clock.now()
        user = StoredUser(
            username=fields["username"],
            password=await self._parts.passwords.hashed(fields["password"]),
            namespace=fields.get("namespace"),
            role=fields.get("role", "viewer"),
            email=fields.get("email"),
            is_active=fields.get("is_active", True),
            created_by=caller.user,
            created_at=now,
            updated_at=now,
        )

        def work(connection: Connection) -> None:
            accounts.add_user(connection, user)
            audit.record(
                connection, caller, "user.create", f"user {user.username}", now=now, namespace=user.namespace
            )

        await self._parts.database.write(work)
        return user

    async def list(self, caller: Caller, *, page: Page) -> tuple[int, list[StoredUser]]:
        """The number of users, and one page of them by name.

        Raises:
            ForbiddenError: the caller is not an administrator of all namespaces.
        """
        demand_everywhere(caller)
        return await self._parts.database.read(
            lambda connection: accounts.page_of_users(connection, offset=page.offset, limit=page.size)
        )

    async def get(self, caller: Caller, username: str) -> StoredUser:
        """A user: any for an administrator of all namespaces, otherwise only the caller.

        Raises:
            ForbiddenError: the caller may not see this user.
            NotFoundError: there is no user with this name.
        """
        _demand_self_or_all(caller, username)
        return await self._parts.database.read(lambda connection: _existing(connection, username))

    async def update(self, caller: Caller, username: str, fields: Mapping[str, Any]) -> StoredUser:
        """Change the given fields; a new password revokes the tokens from the user's logins.

        Args:
            caller: an administrator of all namespaces; or the user, with `current_password` for a new password.
            username: the user.
            fields: `password`, `role`, `namespace`, `email`, `is_active`.

        Raises:
            ForbiddenError: the caller may not change this user, or not these fields.
            InvalidInputError: the current password is missing or wrong.
            NotFoundError: there is no user with this name.
            TooManyError: too many wrong passwords were given.
        """
        _demand_self_or_all(caller, username)
        changes = dict(fields)
        current = changes.pop("current_password", None)
        if not _is_administrator(caller):
            if forbidden := set(changes) - OWN_FIELDS:
                raise ForbiddenError(
                    f"Only an administrator of all namespaces can change {', '.join(sorted(forbidden))}"
                )
            if "password" in changes:
                await self._check_current(username, current)
        if "password" in changes:
            changes["password"] = await self._parts.passwords.hashed(changes["password"])
        now = self._parts.clock.now()

        def work(connection: Connection) -> StoredUser:
            before = _existing(connection, username)
            if changes:
                accounts.update_user(connection, username, now, **changes)
            if "password" in changes:
                accounts.remove_logins(connection, username, but=caller.token_id)
            after = _existing(connection, username)
            for namespace in {before.namespace, after.namespace}:
                audit.record(
                    connection,
                    caller,
                    "user.password" if set(changes) == {"password"} else "user.update",
                    f"user {username}",
                    now=now,
                    namespace=namespace,
                )
            return after

        user = await self._parts.database.write(work)
        self._parts.tokens.forget()
        return user

    async def delete(self, caller: Caller, username: str) -> None:
        """Delete a user with all tokens; what the user created is kept.

        Raises:
            ForbiddenError: the caller is not an administrator of all namespaces.
            NotFoundError: there is no user with this name.
        """
        demand_everywhere(caller)
        now = self._parts.clock.now()

        def work(connection: Connection) -> None:
            user = _existing(connection, username)
            accounts.remove_user(connection, username)
            audit.record(
                connection, caller, "user.delete", f"user {username}", now=now, namespace=user.namespace
            )

        await self._parts.database.write(work)
        self._parts.tokens.forget()

    async def _check_current(self, username: str, current: str | None) -> None:
        if current is None:
            raise InvalidInputError(
                FieldError("current_password", None, "is required", "send it together with the new password")
            )
        self._throttle.check(username)
        user = await self._parts.database.read(lambda connection: _existing(connection, username))
        matches, _ = await self._parts.passwords.check(current, user.password)
        if not matches:
            self._throttle.fail(username)
            raise InvalidInputError(
                FieldError("current_password", None, "is wrong", "use the user's current password")
            )
        self._throttle.forget(username)


def _is_administrator(caller: Caller) -> bool:
    try:
        demand_everywhere(caller)
    except ForbiddenError:
        return False
    return True


def _demand_self_or_all(caller: Caller, username: str) -> None:
    if caller.account is None or caller.account != username:
        demand_everywhere(caller)


def _existing(connection: Connection, username: str) -> StoredUser:
    user = accounts.get_user(connection, username)
    if user is None:
        raise NotFoundError(f"There is no user '{username[:100]}'")
    return user
