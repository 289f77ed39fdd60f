"""Users and access tokens as rows.

Tokens are stored only as SHA-256 hashes: they are random, so no slower hash is needed, and the hash cannot be used as
a token. Passwords are stored as argon2id hashes. Every function takes a connection inside a transaction of
`Database`; none commits.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import sqlalchemy as sa
from sqlalchemy.engine import Connection
from sqlalchemy.exc import IntegrityError

from scheduler.domain.account import StoredToken, StoredUser
from scheduler.domain.errors import ConflictError
from scheduler.store.rows import reader, values_of
from scheduler.store.tables import jobs, tokens, users

_USER_COLUMNS = [column.label(f"user_{column.name}") for column in users.c]


_token = reader(StoredToken)
_user = reader(StoredUser)
_users_user = reader(StoredUser, prefix="user_")


def find_token(connection: Connection, sha256: str) -> tuple[StoredToken, StoredUser | None] | None:
    """The token with this hash and the user who owns it, or None."""
    query = (
        sa.select(tokens, *_USER_COLUMNS)
        .select_from(tokens.outerjoin(users, tokens.c.account == users.c.username))
        .where(tokens.c.sha256 == sha256)
    )
    row = connection.execute(query).mappings().first()
    if row is None:
        return None
    return _token(row), None if row["user_username"] is None else _users_user(row)


def add_token(connection: Connection, sha256: str, token: StoredToken) -> int:
    """Store a token's hash and its data; returns its id."""
    values = {name: value for name, value in values_of(token).items() if name != "id"}
    statement = tokens.insert().values(sha256=sha256, **values).returning(tokens.c.id)
    return int(connection.execute(statement).scalar_one())


def get_token(connection: Connection, token_id: int) -> StoredToken | None:
    """The token with this id, or None."""
    row = connection.execute(sa.select(tokens).where(tokens.c.id == token_id)).mappings().first()
    return None if row is None else _token(row)


def page_of_tokens(
    connection: Connection, *, namespace: str | None, username: str | None, offset: int, limit: int
) -> tuple[int, list[StoredToken]]:
    """The number of tokens, and `limit` of them from `offset` on, in the order of creation."""
    conditions: list[sa.ColumnElement[bool]] = [sa.true()]
    if namespace is not None:
        conditions.append(tokens.c.namespace == namespace)
    if username is not None:
        conditions.append(tokens.c.username == username)
    count = connection.execute(sa.select(sa.func.count()).select_from(tokens).where(*conditions)).scalar_one()
    rows = connection.execute(
        sa.select(tokens).where(*conditions).order_by(tokens.c.id).offset(offset).limit(limit)
    )
    return count, [_token(row) for row in rows.mappings()]


def remove_token(connection: Connection, token_id: int) -> None:
    """Delete a token; it stops working."""
    connection.execute(tokens.delete().where(tokens.c.id == token_id))


def remove_file_tokens(connection: Connection) -> None:
    """Delete the administrator's tokens that came from a file."""
    connection.execute(tokens.delete().where(tokens.c.kind == "file"))


def remove_logins(connection: Connection, account: str, *, but: int | None = None, keep: int = 0) -> None:
    """Delete the tokens from a user's logins.

    Args:
        connection: inside a transaction.
        account: the user.
        but: the id of a token to keep.
        keep: how many of the newest to keep.
    """
    own = sa.and_(tokens.c.account == account, tokens.c.kind == "login")
    newest = sa.select(tokens.c.id).where(own).order_by(tokens.c.id.desc()).limit(keep)
    kept = [*connection.execute(newest).scalars(), *([] if but is None else [but])]
    connection.execute(tokens.delete().where(own, tokens.c.id.not_in(kept)))


def remove_expired(connection: Connection, before: datetime) -> None:
    """Delete the tokens that expired before a moment."""
    connection.execute(tokens.delete().where(tokens.c.expires_at < before))


def touch_token(connection: Connection, token_id: int, now: datetime) -> None:
    """Record that a token was used."""
    connection.execute(tokens.update().where(tokens.c.id == token_id).values(last_used_at=now))


def get_user(connection: Connection, username: str) -> StoredUser | None:
    """The user with this name, or None."""
    row = connection.execute(sa.select(users).where(users.c.username == username)).mappings().first()
    return None if row is None else _user(row)


def add_user(connection: Connection, user: StoredUser) -> None:
    """Store a new user.

    Raises:
        ConflictError: the user name is taken.
    """
    try:
        with connection.begin_nested():
            connection.execute(users.insert().values(**values_of(user)))
    except IntegrityError as error:
        raise ConflictError(f"The user '{user.username}' already exists; choose another name") from error


def update_user(connection: Connection, username: str, now: datetime, **values: Any) -> None:
    """Change fields of a user."""
    connection.execute(users.update().where(users.c.username == username).values(**values, updated_at=now))


def remove_user(connection: Connection, username: str) -> None:
    """Delete a user; the tokens are deleted with it by their foreign key."""
    connection.execute(users.delete().where(users.c.username == username))


def page_of_users(connection: Connection, *, offset: int, limit: int) -> tuple[int, list[StoredUser]]:
    """The number of users, and `limit` of them from `offset` on, by name."""
    count = connection.execute(sa.select(sa.func.count()).select_from(users)).scalar_one()
    rows = connection.execute(sa.select(users).order_by(users.c.username).offset(offset).limit(limit))
    return count, [_user(row) for row in rows.mappings()]


def namespaces(connection: Connection, only: str | None) -> dict[str, int]:
    """The namespaces in use, with their number of jobs, by name."""
    counted = sa.select(jobs.c.namespace, sa.func.count()).group_by(jobs.c.namespace)
    if only is not None:
        counted = counted.where(jobs.c.namespace == only)
    counts: dict[str, int] = {} if only is None else {only: 0}
    if only is None:
        for table in (tokens, users):
            named = sa.select(table.c.namespace).where(table.c.namespace.is_not(None)).distinct()
            counts |= dict.fromkeys(connection.execute(named).scalars(), 0)
    counts |= {row[0]: row[1] for row in connection.execute(counted)}
    return dict(sorted(counts.items()))
