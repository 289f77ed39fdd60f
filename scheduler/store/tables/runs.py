"""The tables of jobs, their runs, and the ledger.

CHECK constraints guard statuses and outcomes, in addition to the code that writes them.
"""

from __future__ import annotations

from typing import Any

import sqlalchemy as sa

from scheduler.domain.execution import ExecStatus, Outcome, TriggerMode
from scheduler.store.tables.columns import Moment, metadata, one_of


def _run_options() -> list[sa.Column[Any]]:
    """The columns of `RunOptions`, which jobs and runs share."""
    return [
        sa.Column("docker_image_repo", sa.Text, nullable=False),
        sa.Column("docker_image_tag", sa.Text, nullable=False),
        sa.Column("docker_image_digest", sa.Text, nullable=True),
        sa.Column("pin_digest", sa.Boolean, nullable=False),
        sa.Column("pull_policy", sa.Text, nullable=False),
        sa.Column("command", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("runtime_vars", sa.JSON, nullable=False),
        sa.Column("labels", sa.JSON, nullable=False),
        sa.Column("resource_size", sa.Text, nullable=False),
        sa.Column("region_name", sa.Text, nullable=False),
        sa.Column("concurrency_policy", sa.Text, nullable=False),
        sa.Column("timeout_seconds", sa.Integer, nullable=True),
        sa.Column("stop_grace_seconds", sa.Integer, nullable=False),
        sa.Column("max_retries", sa.Integer, nullable=False),
        sa.Column("retry_backoff_seconds", sa.Integer, nullable=False),
        sa.Column("retry_on", sa.JSON, nullable=False),
        sa.Column("priority", sa.Integer, nullable=False),
        sa.Column("log_limit_bytes", sa.BigInteger, nullable=True),
        sa.Column("capabilities", sa.JSON, nullable=False),
        # Each mount is [source, target, read_only].
        sa.Column("mounts", sa.JSON, nullable=False),
        # The names of secrets by the paths of their files in the container.
        sa.Column("secret_files", sa.JSON, nullable=False),
        sa.Column("user", sa.Text, nullable=True),
        sa.Column("read_only_root", sa.Boolean, nullable=False),
        sa.Column("network", sa.Text, nullable=True),
    ]


jobs = sa.Table(
    "jobs",
    metadata,
    sa.Column("id", sa.Integer, primary_key=True),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("name", sa.Text, nullable=False),
    sa.Column("email_enabled", sa.Boolean, nullable=False),
    sa.Column("is_schedule_active", sa.Boolean, nullable=False),
    sa.Column("schedule_mode", sa.Text, nullable=True),
    sa.Column("schedule_timezone", sa.Text, nullable=True),
    sa.Column("misfire_policy", sa.Text, nullable=False),
    sa.Column("misfire_grace_seconds", sa.Integer, nullable=False),
    sa.Column("max_running", sa.Integer, nullable=True),
    sa.Column("retention_days", sa.Integer, nullable=True),
    sa.Column("retention_count", sa.Integer, nullable=True),
    sa.Column("retention_log_bytes", sa.BigInteger, nullable=True),
    *_run_options(),
    sa.Column("revision", sa.Integer, nullable=False),
    sa.Column("active_since", Moment, nullable=True),
    sa.Column("next_due_at", Moment, nullable=True),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("updated_at", Moment, nullable=False),
    # Set when the job was deleted while its runs are still being deleted; the job is hidden from then on.
    sa.Column("deleted_at", Moment, nullable=True),
    sa.CheckConstraint("next_due_at IS NULL OR is_schedule_active", name="only_active_is_due"),
    sqlite_autoincrement=True,
)
# The conditions of indexes are written here only for SQLite. Those for PostgreSQL are the same and are in the
# migrations, which create both: writing them here would load the PostgreSQL dialect into every daemon.
# For lists: by namespace in the order of creation, and by name in all namespaces.
sa.Index("ix_jobs_namespace_id", jobs.c.namespace, jobs.c.id)
sa.Index("ix_jobs_name", jobs.c.name, jobs.c.id)
sa.Index(
    "uq_jobs_namespace_name",
    jobs.c.namespace,
    jobs.c.name,
    unique=True,
    sqlite_where=jobs.c.deleted_at.is_(None),
)
sa.Index(
    "ix_jobs_deleted",
    jobs.c.id,
    sqlite_where=jobs.c.deleted_at.is_not(None),
)
# The planner only searches for due times that are near; schedules that are off or finished are not in this index.
sa.Index(
    "ix_jobs_next_due_at",
    jobs.c.next_due_at,
    sqlite_where=jobs.c.next_due_at.is_not(None),
)

execs = sa.Table(
    "execs",
    metadata,
    sa.Column("id", sa.Text, primary_key=True),
    # For clients that require numbers as ids.
    sa.Column("number", sa.BigInteger, nullable=False, unique=True),
    sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id", ondelete="CASCADE"), nullable=False),
    sa.Column("namespace", sa.Text, nullable=False),
    sa.Column("cpus", sa.Float, nullable=False),
    sa.Column("memory_bytes", sa.BigInteger, nullable=False),
    *_run_options(),
    sa.Column("status", sa.Text, nullable=False),
    sa.Column("trigger_mode", sa.Text, nullable=False),
    sa.Column("created_by", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),
    sa.Column("scheduled_for", Moment, nullable=True),
    sa.Column("attempt", sa.Integer, nullable=False),
    sa.Column("retry_of", sa.Text, nullable=True),
    sa.Column("replay_of", sa.Text, nullable=True),
    sa.Column("not_before", Moment, nullable=True),
    sa.Column("owner", sa.Text, nullable=True),
    sa.Column("dispatched_at", Moment, nullable=True),
    sa.Column("start_requested_at", Moment, nullable=True),
    sa.Column("stop_requested_at", Moment, nullable=True),
    sa.Column("stop_reason", sa.Text, nullable=True),
    sa.Column("started_at", Moment, nullable=True),
    sa.Column("ended_at", Moment, nullable=True),
    sa.Column("exit_code", sa.Integer, nullable=True),
    sa.Column("fail_reason", sa.Text, nullable=True),
    sa.Column("error", sa.Text, nullable=True),
    sa.Column("image_digest", sa.Text, nullable=True),
    sa.Column("node", sa.Text, nullable=True),
    # The size of its log as stored, in bytes; null until the run has ended and the log was measured.
    sa.Column("log_bytes", sa.BigInteger, nullable=True),
    # When the log was complete, and the duration until then in powers of four; see `scheduler.store.spans`.
    sa.Column("log_until", Moment, nullable=True),
    sa.Column("log_reach", sa.Integer, nullable=True),
    one_of("status", ExecStatus),
    one_of("trigger_mode", TriggerMode),
    sa.CheckConstraint("status NOT IN ('R', 'S') OR started_at IS NOT NULL", name="running_has_started"),
    sa.CheckConstraint("(status IN ('S', 'F', 'C')) = (ended_at IS NOT NULL)", name="ended_has_end"),
    sa.CheckConstraint("(status = 'F') = (fail_reason IS NOT NULL)", name="failed_has_reason"),
)
# With `log_bytes`, the runs of a job are counted and the sizes of their logs summed up without reading its execs.
sa.Index(
    "ix_execs_job_id_created_at",
    execs.c.job_id,
    execs.c.created_at.desc(),
    execs.c.id.desc(),
    execs.c.log_bytes,
)
_unmeasured = sa.and_(execs.c.ended_at.is_not(None), execs.c.log_bytes.is_(None))
sa.Index("ix_execs_unmeasured", execs.c.ended_at, sqlite_where=_unmeasured)
# For lists across jobs: each filter has an index that returns matching runs in order, newest or oldest first.
for _columns in (
    (execs.c.created_at,),
    (execs.c.status, execs.c.created_at),
    (execs.c.trigger_mode, execs.c.created_at),
    (execs.c.namespace, execs.c.created_at),
    (execs.c.namespace, execs.c.status, execs.c.created_at),
    (execs.c.job_id, execs.c.status, execs.c.created_at),
):
    sa.Index(None, *_columns, execs.c.id)
for _columns in ((execs.c.started_at,), (execs.c.namespace, execs.c.started_at)):
    sa.Index(
        None,
        *_columns,
        execs.c.id,
        sqlite_where=execs.c.started_at.is_not(None),
    )
# For finding the logs that overlap a time range.
for _name, _scope in {
    "ix_execs_job_id_log_reach": execs.c.job_id,
    "ix_execs_namespace_log_reach": execs.c.namespace,
}.items():
    sa.Index(
        _name,
        _scope,
        execs.c.log_reach,
        execs.c.log_until,
        execs.c.id,
        sqlite_where=execs.c.log_reach.is_not(None),
    )
# These indexes contain only runs that have not ended, so that a long history does not slow down the dispatch.
for _name, _columns in {
    "ix_execs_open_of_job": (execs.c.job_id, execs.c.created_at),
    "ix_execs_open": (execs.c.created_at, execs.c.id),
}.items():
    sa.Index(
        _name,
        *_columns,
        sqlite_where=execs.c.ended_at.is_(None),
    )

#: A copy of the labels of runs and jobs, so that filters by label can use an index.
exec_labels = sa.Table(
    "exec_labels",
    metadata,
    sa.Column("exec_id", sa.Text, sa.ForeignKey("execs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sa.Column("created_at", Moment, nullable=False),  # that of the run, for the order of lists
    sqlite_with_rowid=False,
)
sa.Index(None, *(exec_labels.c[_name] for _name in ("name", "value", "created_at", "exec_id")))

job_labels = sa.Table(
    "job_labels",
    metadata,
    sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("value", sa.Text, nullable=False),
    sqlite_with_rowid=False,
)
sa.Index(None, *(job_labels.c[_name] for _name in ("name", "value", "job_id")))

#: The secrets that each job refers to, written together with the job.
secret_uses = sa.Table(
    "secret_uses",
    metadata,
    sa.Column("namespace", sa.Text, primary_key=True),
    sa.Column("name", sa.Text, primary_key=True),
    sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sqlite_with_rowid=False,
)
sa.Index("ix_secret_uses_job_id", secret_uses.c.job_id)
_is_waiting = execs.c.ended_at.is_(None) & execs.c.dispatched_at.is_(None)
_is_dispatched = execs.c.ended_at.is_(None) & execs.c.dispatched_at.is_not(None)
# The queue: the first run of each job is found in one step, no matter how many are waiting behind it.
sa.Index(
    "ix_execs_waiting",
    execs.c.region_name,
    execs.c.job_id,
    execs.c.priority.desc(),
    execs.c.created_at,
    execs.c.id,
    sqlite_where=_is_waiting,
)
sa.Index(
    "ix_execs_back_off",
    execs.c.region_name,
    execs.c.not_before,
    sqlite_where=_is_waiting & execs.c.not_before.is_not(None),
)
# The runs that each daemon owns, queried every second.
sa.Index("ix_execs_dispatched", execs.c.owner, sqlite_where=_is_dispatched)

#: The ledger: one row for every due time, with its outcome. Writing the row is the claim.
occurrences = sa.Table(
    "occurrences",
    metadata,
    sa.Column("job_id", sa.Integer, sa.ForeignKey("jobs.id", ondelete="CASCADE"), primary_key=True),
    sa.Column("due_at", Moment, primary_key=True),
    sa.Column("outcome", sa.Text, nullable=False),
    # No foreign key: the ledger keeps the id of its exec after the exec has been deleted.
    sa.Column("exec_id", sa.Text, nullable=True),
    sa.Column("reason", sa.Text, nullable=True),
    sa.Column("decided_at", Moment, nullable=False),
    one_of("outcome", Outcome),
    sa.CheckConstraint("(outcome = 'ran') = (exec_id IS NOT NULL)", name="ran_has_exec"),
    sa.CheckConstraint("(outcome = 'ran') = (reason IS NULL)", name="others_have_reason"),
    sqlite_with_rowid=False,
)
