"""The tables, in a form that SQLite and PostgreSQL share; one module for each group of tables.

Migrations create the same tables step by step, and a test compares the two.
"""

from __future__ import annotations

from scheduler.store.tables.access import (
    audit,
    counters,
    duties,
    facts,
    image_grants,
    instances,
    registries,
    secrets,
    tokens,
    users,
)
from scheduler.store.tables.columns import (
    EPOCH,
    MICROSECOND,
    Moment,
    from_micros,
    metadata,
    to_micros,
)
from scheduler.store.tables.hooks import (
    deliveries,
    hooks,
)
from scheduler.store.tables.logs import (
    discarded_logs,
    log_chunks,
)
from scheduler.store.tables.runs import (
    exec_labels,
    execs,
    job_labels,
    jobs,
    occurrences,
    secret_uses,
)

__all__ = [
    "EPOCH",
    "MICROSECOND",
    "Moment",
    "audit",
    "counters",
    "deliveries",
    "discarded_logs",
    "duties",
    "exec_labels",
    "execs",
    "facts",
    "from_micros",
    "hooks",
    "image_grants",
    "instances",
    "job_labels",
    "jobs",
    "log_chunks",
    "metadata",
    "occurrences",
    "registries",
    "secret_uses",
    "secrets",
    "to_micros",
    "tokens",
    "users",
]
