"""Tables of the installation and of who may do what: daemons, users, tokens, what is secret, the audit."""

from __future__ import annotations

import sqlalchemy as sa

from scheduler.store.tables.columns import Moment, metadata, role_is_known

#: Facts about this installation, such as the id that its containers carry.
facts = sa.Table(
    "facts",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
)

#: The daemons that use this database, and until when each is taken to be alive.
instances = sa.Table(
    "instances",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("lease_until", Moment, nullable=False),
)

#: Who can log in with a password; `role` and `namespace` (null: all) bound what their tokens may do.
users = sa.Table(
    "users",
    metadata,
    sa.Column("username", sa.Text, primary_key=True),
    # An argon2id hash with its parameters, as a PHC string.
    sa.Column("password", sa.Text, nullable=False),
    sa.Column("namespace", sa.Text, nullable=True),
    sa.Column("role", sa.Text, nullable=False),
    sa.Column("email", sa.Text, nullable=True),
    sa.Column("is_active", sa.Boolean, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    role_is_known(),
)

#: How far numbers have been given out; a number is never given twice, also when what had it is gone.
counters = sa.Table(
    "counters",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.BigInteger, nullable=False),
)

tokens = sa.Table(
    "tokens",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("sha256", sa.Text, nullable=False, unique=True),
    sa.Column("prefix", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    # Who is recorded for what is done with it; with an account, the token ends with that.
    sa.Column("username", sa.Text, nullable=False),
    sa.Column("account", sa.Text, sa.ForeignKey("users.username", ondelete="CASCADE"), nullable=True),
    sa.Column("namespace", sa.Text, nullable=True),
    sa.Column("role", sa.Text, nullable=False),
    # How it came about: 'file' (the administrator's, in the data directory), 'made' over the API, 'login'.
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("expires_at", Moment, nullable=True),
    sa.Column("last_used_at", Moment, nullable=True),
    role_is_known(),
    sa.CheckConstraint("kind IN ('file', 'made', 'login')", name="kind_is_known"),
    sqlite_autoincrement=True,
)
sa.Index("ix_tokens_account", tokens.c.account)

#: What jobs name and nobody reads; the value is sealed, by `scheduler.secrets.sealing`.
secrets = sa.Table(
    "secrets",
    metadata,
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_by", sa.Text, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
)

#: What registries ask of those who pull private images; the password is sealed, by `scheduler.secrets.sealing`.
registries = sa.Table(
    "registries",
    metadata,
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, primary_key=True),
    sa.Column("username", sa.Text, nullable=False),
    sa.Column("password", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_by", sa.Text, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
)
sa.Index("ix_registries_host", registries.c.host)

#: Which images a namespace has pulled itself from registries that somebody has a credential for.
image_grants = sa.Table(
    "image_grants",
    metadata,
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("image", sa.Text, primary_key=True),
    sa.Column("host", sa.Text, nullable=False),
    sa.Column("image_id", sa.Text, nullable=False),
    sa.Column("granted_at", Moment, nullable=False),
)
sa.Index("ix_image_grants_namespace_granted_at", image_grants.c.namespace, image_grants.c.granted_at)

#: Who did what. Rows are only added; a trigger of the migration refuses changes, and deleting what is recent.
audit = sa.Table(
    "audit",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("at", Moment, nullable=False),
    sa.Column("username", sa.Text, nullable=True),
    sa.Column("token_prefix", sa.Text, nullable=True),
    sa.Column("remote", sa.Text, nullable=True),
    sa.Column("request_id", sa.Text, nullable=True),
    sa.Column("method", sa.Text, nullable=True),
    sa.Column("path", sa.Text, nullable=True),
    sa.Column("namespace", sa.Text, nullable=True),
    sa.Column("action", sa.Text, nullable=False),
    sa.Column("object", sa.Text, nullable=True),
    sa.Column("outcome", sa.Text, nullable=False),
    sa.CheckConstraint(
        "outcome IN ('done', 'unauthorized', 'forbidden', 'throttled')", name="outcome_is_known"
    ),
    sqlite_autoincrement=True,
)
sa.Index("ix_audit_at_id", audit.c.at, audit.c.id)
sa.Index("ix_audit_namespace_at_id", audit.c.namespace, audit.c.at, audit.c.id)

#: What one daemon at a time does for all that share the database, and who does it until when.
duties = sa.Table(
    "duties",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("held_until", Moment, nullable=False),
)
