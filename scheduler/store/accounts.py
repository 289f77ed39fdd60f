"""Users and access tokens as rows.

A token is stored as its SHA-256 alone: it is random, so no slower hash is needed, and what is stored cannot be
used. A password is stored as argon2id's hash. Every function takes a connection inside a transaction of
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
    """The token of that hash with the user whose it is, or None."""
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
    """Store a token's hash with whom it stands for; answers its id."""
    values = {name: value for name, value in values_of(token).items() if name != "id"}
    statement = tokens.insert().values(sha256=sha256, **values).returning(tokens.c.id)
    return int(connection.execute(statement).scalar_one())


def get_token(connection: Connection, token_id: int) -> StoredToken | None:
    """The token of that id, or None."""
    row = connection.execute(sa.select(tokens).where(tokens.c.id == token_id)).mappings().first()
    return None if row is None else _token(row)


def page_of_tokens(
    connection: Connection, *, namespace: str | None, username: str | None, offset: int, limit: int
) -> tuple[int, list[StoredToken]]:
    """How many tokens there are, and `limit` of them from `offset` on, in the order they were made."""
    wanted: list[sa.ColumnElement[bool]] = [sa.true()]
    if namespace is not None:
        wanted.append(tokens.c.namespace == namespace)
    if username is not None:
        wanted.append(tokens.c.username == username)
    count = connection.execute(sa.select(sa.func.count()).select_from(tokens).where(*wanted)).scalar_one()
    rows = connection.execute(
        sa.select(tokens).where(*wanted).order_by(tokens.c.id).offset(offset).limit(limit)
    )
    return count, [_token(row) for row in rows.mappings()]


def remove_token(connection: Connection, token_id: int) -> None:
    """Forget a token; it stops working."""
    connection.execute(tokens.delete().where(tokens.c.id == token_id))


def remove_file_tokens(connection: Connection) -> None:
    """Forget the administrator's tokens that stood in a file."""
    connection.execute(tokens.delete().where(tokens.c.kind == "file"))


def remove_logins(connection: Connection, account: str, *, but: int | None = None, keep: int = 0) -> None:
    """Forget the tokens that a user got by logging in.

    Args:
        connection: inside a transaction.
        account: whose.
        but: the id of one that stays.
        keep: how many of the newest stay.
    """
    own = sa.and_(tokens.c.account == account, tokens.c.kind == "login")
    newest = sa.select(tokens.c.id).where(own).order_by(tokens.c.id.desc()).limit(keep)
    kept = [*connection.execute(newest).scalars(), *([] if but is None else [but])]
    connection.execute(tokens.delete().where(own, tokens.c.id.not_in(kept)))


def remove_expired(connection: Connection, before: datetime) -> None:
    """Forget the tokens that had expired by then."""
    connection.execute(tokens.delete().where(tokens.c.expires_at < before))


def touch_token(connection: Connection, token_id: int, now: datetime) -> None:
    """Note that a token was used."""
    connection.execute(tokens.update().where(tokens.c.id == token_id).values(last_used_at=now))


def get_user(connection: Connection, username: str) -> StoredUser | None:
    """The user of that name, or None."""
    row = connection.execute(sa.select(users).where(users.c.username == username)).mappings().first()
    return None if row is None else _user(row)


def add_user(connection: Connection, user: StoredUser) -> None:
    """Store a new user.

    Raises:
        ConflictError: there is one of that name.
    """
    try:
        with connection.begin_nested():
            connection.execute(users.insert().values(**values_of(user)))
    except IntegrityError as error:
        raise ConflictError(f"There is a user '{user.username}' already; choose another name") from error


def update_user(connection: Connection, username: str, now: datetime, **values: Any) -> None:
    """Change what is named of a user."""
    connection.execute(users.update().where(users.c.username == username).values(**values, updated_at=now))


def remove_user(connection: Connection, username: str) -> None:
    """Forget a user; the tokens go with it by their foreign key."""
    connection.execute(users.delete().where(users.c.username == username))


def page_of_users(connection: Connection, *, offset: int, limit: int) -> tuple[int, list[StoredUser]]:
    """How many users there are, and `limit` of them from `offset` on, by name."""
    count = connection.execute(sa.select(sa.func.count()).select_from(users)).scalar_one()
    rows = connection.execute(sa.select(users).order_by(users.c.username).offset(offset).limit(limit))
    return count, [_user(row) for row in rows.mappings()]


def namespaces(connection: Connection, only: str | None) -> dict[str, int]:
    """The namespaces that are in use, each with its number of jobs, by name."""
    counted = sa.select(jobs.c.namespace, sa.func.count()).group_by(jobs.c.namespace)
    if only is not None:
        counted = counted.where(jobs.c.namespace == only)
    found: dict[str, int] = {} if only is None else {only: 0}
    if only is None:
        for table in (tokens, users):
            named = sa.select(table.c.namespace).where(table.c.namespace.is_not(None)).distinct()
            found |= dict.fromkeys(connection.execute(named).scalars(), 0)
    found |= {row[0]: row[1] for row in connection.execute(counted)}
    return dict(sorted(found.items()))
