"""Rows that belong to a namespace, have a name there and hold something sealed, which is stored but not shown.

Secrets and the credentials for registries are kept like this. Every function takes a connection inside a transaction
of `Database`; none commits.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from typing import Any, Generic, TypeVar

import sqlalchemy as sa
from sqlalchemy.engine import Connection, RowMapping

T = TypeVar("T")


class SealedTable(Generic[T]):
    """The rows of one table.

    Args:
        key: the column with the name; with the column `namespace` it is the primary key.
        sealed: the column with what is sealed.
        read: builds what is known of a row from its other columns.
        extra: computed columns that are read too.
    """

    def __init__(
        self,
        key: sa.Column[str],
        sealed: sa.Column[str],
        read: Callable[[RowMapping], T],
        *extra: sa.Label[Any],
    ) -> None:
        self._key, self._sealed, self._read = key, sealed, read
        self._table = key.table
        self._shown = [*(column for column in self._table.c if column is not sealed), *extra]

    def row(self, namespace: str, key: str) -> sa.ColumnElement[bool]:
        """The condition that selects one row."""
        return sa.and_(self._table.c.namespace == namespace, self._key == key)

    def put(
        self, connection: Connection, namespace: str, key: str, *, user: str, now: datetime, **values: Any
    ) -> bool:
        """Store a row or replace it; returns whether it is new."""
        values |= {"updated_by": user, "updated_at": now}
        row = self.row(namespace, key)
        if connection.execute(sa.update(self._table).where(row).values(**values)).rowcount:
            return False
        created = {"namespace": namespace, self._key.name: key, "created_by": user, "created_at": now}
        connection.execute(sa.insert(self._table).values(**created, **values))
        return True

    def get(self, connection: Connection, namespace: str, key: str) -> T | None:
        """What is known of a row, or None."""
        query = sa.select(*self._shown).where(self.row(namespace, key))
        row = connection.execute(query).mappings().first()
        return None if row is None else self._read(row)

    def page(self, connection: Connection, namespace: str, *, offset: int, limit: int) -> tuple[int, list[T]]:
        """The number of rows in a namespace, and `limit` of them from `offset` on, by name."""
        where = self._table.c.namespace == namespace
        count = connection.execute(
            sa.select(sa.func.count()).select_from(self._table).where(where)
        ).scalar_one()
        query = sa.select(*self._shown).where(where).order_by(self._key).offset(offset).limit(limit)
        return count, [self._read(row) for row in connection.execute(query).mappings()]

    def delete(self, connection: Connection, namespace: str, key: str) -> bool:
        """Delete a row; returns whether it existed."""
        return bool(connection.execute(sa.delete(self._table).where(self.row(namespace, key))).rowcount)

    def reseal(self, connection: Connection, namespace: str, key: str, before: str, after: str) -> None:
        """Replace what is sealed, unless it has changed since."""
        unchanged = sa.and_(self.row(namespace, key), self._sealed == before)
        connection.execute(sa.update(self._table).where(unchanged).values({self._sealed.name: after}))
