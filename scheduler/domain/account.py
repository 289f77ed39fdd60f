"""Users, tokens and audit entries, as they are stored and as they are shown without secrets.

Pure data.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token without its secret. `namespace` is None for all namespaces, `account` None if no user owns it."""

    username: str
    namespace: str | None
    role: str
    kind: str
    created_by: str
    created_at: datetime
    name: str = ""
    prefix: str = ""
    account: str | None = None
    expires_at: datetime | None = None
    last_used_at: datetime | None = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class StoredUser:
    """A user; `namespace` is None for all namespaces."""

    username: str
    password: str
    namespace: str | None
    role: str
    email: str | None
    is_active: bool
    created_by: str
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, or tried to; `outcome` is done, unauthorized, forbidden or throttled."""

    at: datetime
    action: str
    outcome: str
    username: str | None = None
    token_prefix: str | None = None
    remote: str | None = None
    request_id: str | None = None
    method: str | None = None
    path: str | None = None
    namespace: str | None = None
    object: str | None = None
    id: int = 0


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Filters for audit entries; None means any. Both ends of the period are inclusive."""

    start: datetime | None = None
    end: datetime | None = None
    username: str | None = None
    action: str | None = None
    namespace: str | None = None
    outcome: str | None = None
