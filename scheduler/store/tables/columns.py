"""What the columns of all tables share: moments, checks of allowed words, and the names of constraints.

Moments are whole microseconds since 1970 (UTC) in a BIGINT, so that sorting, comparing and indexing are the same on
SQLite and PostgreSQL.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from enum import StrEnum
from typing import Any

import sqlalchemy as sa

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
MICROSECOND = timedelta(microseconds=1)


def to_micros(moment: datetime) -> int:
    """Whole microseconds since 1970, exact over the whole range of datetime."""
    return (moment - EPOCH) // MICROSECOND


def from_micros(micros: int) -> datetime:
    """The moment that many microseconds after 1970, aware UTC."""
    return EPOCH + timedelta(microseconds=micros)


class Moment(sa.types.TypeDecorator[datetime]):
    """An aware UTC datetime, stored as whole microseconds since 1970."""

    impl = sa.BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, dialect: Any) -> int | None:  # noqa: ARG002
        """Convert a value for the database."""
        return None if value is None else to_micros(value)

    def process_result_value(self, value: Any, dialect: Any) -> datetime | None:  # noqa: ARG002
        """Convert a value from the database."""
        return None if value is None else from_micros(value)


def one_of(column: str, values: type[StrEnum]) -> sa.CheckConstraint:
    """The constraint that a column has one of these values."""
    quoted = ", ".join(f"'{member.value}'" for member in values)
    return sa.CheckConstraint(f"{column} IN ({quoted})", name=f"{column}_is_known")


def role_is_known() -> sa.CheckConstraint:
    """The constraint that the column `role` has one of the roles."""
    return sa.CheckConstraint("role IN ('viewer', 'operator', 'editor', 'admin')", name="role_is_known")


metadata = sa.MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
        "fk": "fk_%(table_name)s_%(column_0_N_name)s",
        "pk": "pk_%(table_name)s",
    }
)
