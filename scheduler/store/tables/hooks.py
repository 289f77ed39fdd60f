"""The tables of notifications: webhooks, and the outbox of deliveries to webhooks and by email."""

from __future__ import annotations

import sqlalchemy as sa

from scheduler.domain.hook import DeliveryKind, DeliveryStatus
from scheduler.store.tables.columns import Moment, metadata, one_of

#: The webhooks. Each watches one job, or all jobs of a namespace.
hooks = sa.Table(
    "hooks",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("url", sa.Text, nullable=False),
    sa.Column("sealed_secret", sa.Text, nullable=True),
    sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=True),
    sa.Column("namespace", sa.Text, nullable=True),
    # The names of the events, separated by spaces.
    sa.Column("events", sa.Text, nullable=False),
    sa.Column("is_active", sa.Boolean, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    sa.CheckConstraint("(job_id IS NULL) <> (namespace IS NULL)", name="watches_one_thing"),
    sqlite_autoincrement=True,
)
sa.Index("ix_hooks_job_id", hooks.c.job_id)
sa.Index("ix_hooks_namespace", hooks.c.namespace)

#: The outbox: one row for every message to one receiver, written in the same transaction as the event.
deliveries = sa.Table(
    "deliveries",
    metadata,
    sa.Column("number", sa.Integer, primary_key=True),
    sa.Column("id", sa.Text, nullable=False, unique=True),
    sa.Column("kind", sa.Text, nullable=False),
    sa.Column("hook_id", sa.Integer, sa.ForeignKey("hooks.id", ondelete="CASCADE"), nullable=True),
    sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=True),
    sa.Column("event", sa.Text, nullable=False),
    sa.Column("event_at", Moment, nullable=False),
    sa.Column("body", sa.Text, nullable=False),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("tries", sa.Integer, nullable=False),
    sa.Column("first_tried_at", Moment, nullable=True),
    sa.Column("attempts", sa.JSON, nullable=False),
    sa.Column("next_attempt_at", Moment, nullable=True),
    sa.Column("ended_at", Moment, nullable=True),
    sa.Column("reason", sa.Text, nullable=True),
    # The daemon that is attempting the delivery, and until when no other daemon does.
    sa.Column("claimed_by", sa.Text, nullable=True),
    sa.Column("claimed_until", Moment, nullable=True),
    one_of("kind", DeliveryKind),
    one_of("status", DeliveryStatus),
    sa.CheckConstraint("(kind = 'hook') = (hook_id IS NOT NULL)", name="hook_has_hook"),
    sa.CheckConstraint("(kind = 'mail') = (job_id IS NOT NULL)", name="mail_has_job"),
    sa.CheckConstraint("(status = 'pending') = (ended_at IS NULL)", name="ended_is_not_pending"),
    sqlite_autoincrement=True,
)
sa.Index("ix_deliveries_hook_id_number", deliveries.c.hook_id, deliveries.c.number)
sa.Index("ix_deliveries_job_id_number", deliveries.c.job_id, deliveries.c.number)
sa.Index("ix_deliveries_ended_at", deliveries.c.ended_at)
# This index contains only pending deliveries, so that a long history does not slow down the deliverer.
sa.Index(
    "ix_deliveries_pending",
    deliveries.c.hook_id,
    deliveries.c.number,
    sqlite_where=deliveries.c.ended_at.is_(None),
)
