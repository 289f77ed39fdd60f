"""The tables of the installation and of access: daemons, users, tokens, secrets, credentials, the audit log."""

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

#: The daemons that use this database, each with the end of its lease.
instances = sa.Table(
    "instances",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    sa.Column("started_at", Moment, nullable=False),
    sa.Column("lease_until", Moment, nullable=False),
)

#: The users, who can log in with a password. `role` and `namespace` (null: all) limit what their tokens may do.
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

#: The last number that each counter has assigned. A number is never assigned again, even after its row is deleted.
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
    # The user recorded for actions with this token. A token with an account is deleted together with it.
    sa.Column("username", sa.Text, nullable=False),
    sa.Column("account", sa.Text, sa.ForeignKey("users.username", ondelete="CASCADE"), nullable=True),
    sa.Column("namespace", sa.Text, nullable=True),
    sa.Column("role", sa.Text, nullable=False),
    # How it was created: 'file' (the administrator's, in the data directory), 'made' (over the API) or 'login'.
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

#: The secrets that jobs refer to. Values are sealed by `scheduler.secrets.sealing`.
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

#: The credentials for pulling private images. Passwords are sealed by `scheduler.secrets.sealing`.
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

#: The images that a namespace has pulled itself from registries for which any namespace has a credential.
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

#: The audit log. Rows are only added: database triggers reject changes, and the deletion of recent rows.
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

#: Tasks that one daemon at a time does for all that share the database, with the daemon and the end of its claim.
duties = sa.Table(
    "duties",
    metadata,
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("holder", sa.Text, nullable=False),
    sa.Column("held_until", Moment, nullable=False),
)
