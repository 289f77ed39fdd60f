"""The first tables.

Moments are whole microseconds since 1970 (UTC).
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


#: Entries of the audit younger than this are deleted by nobody; retention is a day at least.
AUDIT_IS_SAFE_SECONDS = 86_400


def keep_audit() -> None:
    """Let the database itself refuse to change the audit, and to delete what is recent."""
    changed, recent = "the audit is never changed", "recent entries of the audit are never deleted"
    if op.get_bind().dialect.name == "sqlite":
        op.execute(
            f"CREATE TRIGGER audit_is_never_changed BEFORE UPDATE ON audit "
            f"BEGIN SELECT RAISE(ABORT, '{changed}'); END"
        )
        op.execute(
            f"CREATE TRIGGER audit_is_kept BEFORE DELETE ON audit "
            f"WHEN old.at > (CAST(strftime('%s', 'now') AS INTEGER) - {AUDIT_IS_SAFE_SECONDS}) * 1000000 "
            f"BEGIN SELECT RAISE(ABORT, '{recent}'); END"
        )
        return
    op.execute(
        f"""
        CREATE FUNCTION keep_audit() RETURNS trigger LANGUAGE plpgsql AS $$
        BEGIN
            IF TG_OP = 'UPDATE' THEN RAISE EXCEPTION '{changed}'; END IF;
            IF TG_OP = 'TRUNCATE' THEN RAISE EXCEPTION '{recent}'; END IF;
            IF old.at > (extract(epoch FROM now()) - {AUDIT_IS_SAFE_SECONDS}) * 1000000 THEN
                RAISE EXCEPTION '{recent}';
            END IF;
            RETURN old;
        END $$
        """
    )
    op.execute(
        "CREATE TRIGGER audit_is_kept BEFORE UPDATE OR DELETE ON audit FOR EACH ROW EXECUTE FUNCTION keep_audit()"
    )
    op.execute("CREATE TRIGGER audit_is_not_emptied BEFORE TRUNCATE ON audit EXECUTE FUNCTION keep_audit()")


def upgrade() -> None:
    op.create_table(
        "counters",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_counters")),
    )
    op.create_table(
        "facts",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_facts")),
    )
    op.create_table(
        "instances",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("started_at", sa.BigInteger(), nullable=False),
        sa.Column("lease_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_instances")),
    )
    op.create_table(
        "duties",
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("holder", sa.Text(), nullable=False),
        sa.Column("held_until", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("name", name=op.f("pk_duties")),
    )
    op.create_table(
        "discarded_logs",
        sa.Column("exec_id", sa.Text(), nullable=False),
        sa.PrimaryKeyConstraint("exec_id", name=op.f("pk_discarded_logs")),
    )
    op.create_table(
        "registries",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "host", name=op.f("pk_registries")),
    )
    op.create_index("ix_registries_host", "registries", ["host"], unique=False)
    op.create_table(
        "image_grants",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("image", sa.Text(), nullable=False),
        sa.Column("host", sa.Text(), nullable=False),
        sa.Column("image_id", sa.Text(), nullable=False),
        sa.Column("granted_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "image", name=op.f("pk_image_grants")),
    )
    op.create_index(
        "ix_image_grants_namespace_granted_at", "image_grants", ["namespace", "granted_at"], unique=False
    )
    op.create_table(
        "jobs",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("docker_image_repo", sa.Text(), nullable=False),
        sa.Column("docker_image_tag", sa.Text(), nullable=False),
        sa.Column("command", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("resource_size", sa.Text(), nullable=False),
        sa.Column("region_name", sa.Text(), nullable=False),
        sa.Column("runtime_vars", sa.JSON(), nullable=False),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("email_enabled", sa.Boolean(), nullable=False),
        sa.Column("is_schedule_active", sa.Boolean(), nullable=False),
        sa.Column("schedule_mode", sa.Text(), nullable=True),
        sa.Column("schedule_timezone", sa.Text(), nullable=True),
        sa.Column("misfire_policy", sa.Text(), nullable=False),
        sa.Column("misfire_grace_seconds", sa.Integer(), nullable=False),
        sa.Column("concurrency_policy", sa.Text(), nullable=False),
        sa.Column("timeout_seconds", sa.Integer(), nullable=True),
        sa.Column("stop_grace_seconds", sa.Integer(), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=False),
        sa.Column("retry_backoff_seconds", sa.Integer(), nullable=False),
        sa.Column("retry_on", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("max_running", sa.Integer(), nullable=True),
        sa.Column("log_limit_bytes", sa.BigInteger(), nullable=True),
        sa.Column("pull_policy", sa.Text(), nullable=False),
        sa.Column("retention_days", sa.Integer(), nullable=True),
        sa.Column("retention_count", sa.Integer(), nullable=True),
        sa.Column("retention_log_bytes", sa.BigInteger(), nullable=True),
        sa.Column("capabilities", sa.JSON(), nullable=False),
        sa.Column("mounts", sa.JSON(), nullable=False),
        sa.Column("secret_files", sa.JSON(), nullable=False),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("read_only_root", sa.Boolean(), nullable=False),
        sa.Column("network", sa.Text(), nullable=True),
        sa.Column("pin_digest", sa.Boolean(), nullable=False),
        sa.Column("docker_image_digest", sa.Text(), nullable=True),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("active_since", sa.BigInteger(), nullable=True),
        sa.Column("next_due_at", sa.BigInteger(), nullable=True),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.Column("deleted_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "next_due_at IS NULL OR is_schedule_active", name=op.f("ck_jobs_only_active_is_due")
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_jobs")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_jobs_name", "jobs", ["name", "id"], unique=False)
    op.create_index("ix_jobs_namespace_id", "jobs", ["namespace", "id"], unique=False)
    op.create_index(
        "uq_jobs_namespace_name",
        "jobs",
        ["namespace", "name"],
        unique=True,
        sqlite_where=sa.text("deleted_at IS NULL"),
        postgresql_where=sa.text("deleted_at IS NULL"),
    )
    op.create_index(
        "ix_jobs_deleted",
        "jobs",
        ["id"],
        unique=False,
        sqlite_where=sa.text("deleted_at IS NOT NULL"),
        postgresql_where=sa.text("deleted_at IS NOT NULL"),
    )
    op.create_index(
        "ix_jobs_next_due_at",
        "jobs",
        ["next_due_at"],
        unique=False,
        sqlite_where=sa.text("next_due_at IS NOT NULL"),
        postgresql_where=sa.text("next_due_at IS NOT NULL"),
    )
    op.create_table(
        "users",
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("password", sa.Text(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("email", sa.Text(), nullable=True),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "role IN ('viewer', 'operator', 'editor', 'admin')", name=op.f("ck_users_role_is_known")
        ),
        sa.PrimaryKeyConstraint("username", name=op.f("pk_users")),
    )
    op.create_table(
        "secrets",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_by", sa.Text(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("namespace", "name", name=op.f("pk_secrets")),
    )
    op.create_table(
        "tokens",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("sha256", sa.Text(), nullable=False),
        sa.Column("prefix", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("username", sa.Text(), nullable=False),
        sa.Column("account", sa.Text(), nullable=True),
        sa.Column("namespace", sa.Text(), nullable=True),
        sa.Column("role", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("expires_at", sa.BigInteger(), nullable=True),
        sa.Column("last_used_at", sa.BigInteger(), nullable=True),
        sa.CheckConstraint(
            "role IN ('viewer', 'operator', 'editor', 'admin')", name=op.f("ck_tokens_role_is_known")
        ),
        sa.CheckConstraint("kind IN ('file', 'made', 'login')", name=op.f("ck_tokens_kind_is_known")),
        sa.ForeignKeyConstraint(
            ["account"], ["users.username"], name=op.f("fk_tokens_account"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_tokens")),
        sa.UniqueConstraint("sha256", name=op.f("uq_tokens_sha256")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_tokens_account", "tokens", ["account"], unique=False)
    op.create_table(
        "audit",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("at", sa.BigInteger(), nullable=False),
        sa.Column("username", sa.Text(), nullable=True),
        sa.Column("token_prefix", sa.Text(), nullable=True),
        sa.Column("remote", sa.Text(), nullable=True),
        sa.Column("request_id", sa.Text(), nullable=True),
        sa.Column("method", sa.Text(), nullable=True),
        sa.Column("path", sa.Text(), nullable=True),
        sa.Column("namespace", sa.Text(), nullable=True),
        sa.Column("action", sa.Text(), nullable=False),
        sa.Column("object", sa.Text(), nullable=True),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.CheckConstraint(
            "outcome IN ('done', 'unauthorized', 'forbidden', 'throttled')",
            name=op.f("ck_audit_outcome_is_known"),
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_audit")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_audit_at_id", "audit", ["at", "id"], unique=False)
    op.create_index("ix_audit_namespace_at_id", "audit", ["namespace", "at", "id"], unique=False)
    keep_audit()
    op.create_table(
        "execs",
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("number", sa.BigInteger(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("docker_image_repo", sa.Text(), nullable=False),
        sa.Column("docker_image_tag", sa.Text(), nullable=False),
        sa.Column("command", sa.JSON(none_as_null=True), nullable=True),
        sa.Column("runtime_vars", sa.JSON(), nullable=False),
        sa.Column("resource_size", sa.Text(), nullable=False),
        sa.Column("cpus", sa.Float(), nullable=False),
        sa.Column("memory_bytes", sa.BigInteger(), nullable=False),
        sa.Column("region_name", sa.Text(), nullable=False),
        sa.Column("pull_policy", sa.Text(), nullable=False),
        sa.Column("concurrency_policy", sa.Text(), nullable=False),
        sa.Column("timeout_seconds", sa.Integer(), nullable=True),
        sa.Column("stop_grace_seconds", sa.Integer(), nullable=False),
        sa.Column("max_retries", sa.Integer(), nullable=False),
        sa.Column("retry_backoff_seconds", sa.Integer(), nullable=False),
        sa.Column("retry_on", sa.JSON(), nullable=False),
        sa.Column("priority", sa.Integer(), nullable=False),
        sa.Column("log_limit_bytes", sa.BigInteger(), nullable=True),
        sa.Column("labels", sa.JSON(), nullable=False),
        sa.Column("capabilities", sa.JSON(), nullable=False),
        sa.Column("mounts", sa.JSON(), nullable=False),
        sa.Column("secret_files", sa.JSON(), nullable=False),
        sa.Column("user", sa.Text(), nullable=True),
        sa.Column("read_only_root", sa.Boolean(), nullable=False),
        sa.Column("network", sa.Text(), nullable=True),
        sa.Column("pin_digest", sa.Boolean(), nullable=False),
        sa.Column("docker_image_digest", sa.Text(), nullable=True),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("trigger_mode", sa.Text(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("scheduled_for", sa.BigInteger(), nullable=True),
        sa.Column("attempt", sa.Integer(), nullable=False),
        sa.Column("retry_of", sa.Text(), nullable=True),
        sa.Column("replay_of", sa.Text(), nullable=True),
        sa.Column("not_before", sa.BigInteger(), nullable=True),
        sa.Column("owner", sa.Text(), nullable=True),
        sa.Column("dispatched_at", sa.BigInteger(), nullable=True),
        sa.Column("stop_requested_at", sa.BigInteger(), nullable=True),
        sa.Column("stop_reason", sa.Text(), nullable=True),
        sa.Column("started_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("exit_code", sa.Integer(), nullable=True),
        sa.Column("fail_reason", sa.Text(), nullable=True),
        sa.Column("error", sa.Text(), nullable=True),
        sa.Column("image_digest", sa.Text(), nullable=True),
        sa.Column("node", sa.Text(), nullable=True),
        sa.Column("log_bytes", sa.BigInteger(), nullable=True),
        sa.Column("log_until", sa.BigInteger(), nullable=True),
        sa.Column("log_reach", sa.Integer(), nullable=True),
        sa.CheckConstraint(
            "(status = 'F') = (fail_reason IS NOT NULL)", name=op.f("ck_execs_failed_has_reason")
        ),
        sa.CheckConstraint(
            "(status IN ('S', 'F', 'C')) = (ended_at IS NOT NULL)", name=op.f("ck_execs_ended_has_end")
        ),
        sa.CheckConstraint("status IN ('W', 'R', 'S', 'F', 'C')", name=op.f("ck_execs_status_is_known")),
        sa.CheckConstraint(
            "status NOT IN ('R', 'S') OR started_at IS NOT NULL", name=op.f("ck_execs_running_has_started")
        ),
        sa.CheckConstraint(
            "trigger_mode IN ('M', 'S', 'R', 'D')", name=op.f("ck_execs_trigger_mode_is_known")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_execs_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_execs")),
        sa.UniqueConstraint("number", name=op.f("uq_execs_number")),
    )
    op.create_index(op.f("ix_execs_created_at_id"), "execs", ["created_at", "id"], unique=False)
    op.create_index(
        "ix_execs_job_id_created_at",
        "execs",
        ["job_id", sa.literal_column("created_at DESC"), sa.literal_column("id DESC"), "log_bytes"],
        unique=False,
    )
    op.create_index(
        op.f("ix_execs_job_id_status_created_at_id"),
        "execs",
        ["job_id", "status", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        op.f("ix_execs_namespace_created_at_id"), "execs", ["namespace", "created_at", "id"], unique=False
    )
    op.create_index(
        op.f("ix_execs_namespace_started_at_id"),
        "execs",
        ["namespace", "started_at", "id"],
        unique=False,
        sqlite_where=sa.text("started_at IS NOT NULL"),
        postgresql_where=sa.text("started_at IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_execs_namespace_status_created_at_id"),
        "execs",
        ["namespace", "status", "created_at", "id"],
        unique=False,
    )
    op.create_index(
        "ix_execs_unmeasured",
        "execs",
        ["ended_at"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NOT NULL AND log_bytes IS NULL"),
        postgresql_where=sa.text("ended_at IS NOT NULL AND log_bytes IS NULL"),
    )
    op.create_index(
        "ix_execs_job_id_log_reach",
        "execs",
        ["job_id", "log_reach", "log_until", "id"],
        unique=False,
        sqlite_where=sa.text("log_reach IS NOT NULL"),
        postgresql_where=sa.text("log_reach IS NOT NULL"),
    )
    op.create_index(
        "ix_execs_namespace_log_reach",
        "execs",
        ["namespace", "log_reach", "log_until", "id"],
        unique=False,
        sqlite_where=sa.text("log_reach IS NOT NULL"),
        postgresql_where=sa.text("log_reach IS NOT NULL"),
    )
    op.create_index(
        "ix_execs_open",
        "execs",
        ["created_at", "id"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        "ix_execs_open_of_job",
        "execs",
        ["job_id", "created_at"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    op.create_index(
        op.f("ix_execs_started_at_id"),
        "execs",
        ["started_at", "id"],
        unique=False,
        sqlite_where=sa.text("started_at IS NOT NULL"),
        postgresql_where=sa.text("started_at IS NOT NULL"),
    )
    op.create_index(
        op.f("ix_execs_status_created_at_id"), "execs", ["status", "created_at", "id"], unique=False
    )
    op.create_index(
        op.f("ix_execs_trigger_mode_created_at_id"),
        "execs",
        ["trigger_mode", "created_at", "id"],
        unique=False,
    )
    op.create_table(
        "job_labels",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_job_labels_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "name", name=op.f("pk_job_labels")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_job_labels_name_value_job_id"), "job_labels", ["name", "value", "job_id"], unique=False
    )
    op.create_table(
        "secret_uses",
        sa.Column("namespace", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_secret_uses_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("namespace", "name", "job_id", name=op.f("pk_secret_uses")),
        sqlite_with_rowid=False,
    )
    op.create_index("ix_secret_uses_job_id", "secret_uses", ["job_id"], unique=False)
    op.create_index(
        "ix_execs_waiting",
        "execs",
        ["region_name", "job_id", sa.literal_column("priority DESC"), "created_at", "id"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL AND dispatched_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL AND dispatched_at IS NULL"),
    )
    op.create_index(
        "ix_execs_back_off",
        "execs",
        ["region_name", "not_before"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL AND dispatched_at IS NULL AND not_before IS NOT NULL"),
        postgresql_where=sa.text("ended_at IS NULL AND dispatched_at IS NULL AND not_before IS NOT NULL"),
    )
    op.create_index(
        "ix_execs_dispatched",
        "execs",
        ["owner"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL AND dispatched_at IS NOT NULL"),
        postgresql_where=sa.text("ended_at IS NULL AND dispatched_at IS NOT NULL"),
    )
    op.create_table(
        "occurrences",
        sa.Column("job_id", sa.Integer(), nullable=False),
        sa.Column("due_at", sa.BigInteger(), nullable=False),
        sa.Column("outcome", sa.Text(), nullable=False),
        sa.Column("exec_id", sa.Text(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("decided_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(outcome = 'ran') = (exec_id IS NOT NULL)", name=op.f("ck_occurrences_ran_has_exec")
        ),
        sa.CheckConstraint(
            "(outcome = 'ran') = (reason IS NULL)", name=op.f("ck_occurrences_others_have_reason")
        ),
        sa.CheckConstraint(
            "outcome IN ('ran', 'skipped', 'missed', 'expired')", name=op.f("ck_occurrences_outcome_is_known")
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_occurrences_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("job_id", "due_at", name=op.f("pk_occurrences")),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "exec_labels",
        sa.Column("exec_id", sa.Text(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("value", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["exec_id"], ["execs.id"], name=op.f("fk_exec_labels_exec_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("exec_id", "name", name=op.f("pk_exec_labels")),
        sqlite_with_rowid=False,
    )
    op.create_index(
        op.f("ix_exec_labels_name_value_created_at_exec_id"),
        "exec_labels",
        ["name", "value", "created_at", "exec_id"],
        unique=False,
    )
    op.create_table(
        "log_chunks",
        sa.Column("exec_id", sa.Text(), nullable=False),
        sa.Column("seq", sa.Integer(), nullable=False),
        sa.Column("first_at", sa.BigInteger(), nullable=False),
        sa.Column("last_at", sa.BigInteger(), nullable=False),
        sa.Column("stdout_end", sa.BigInteger(), nullable=False),
        sa.Column("stderr_end", sa.BigInteger(), nullable=False),
        sa.Column("streams", sa.Integer(), nullable=False),
        sa.Column("lines", sa.Integer(), nullable=False),
        sa.Column("stdout_open_from", sa.Integer(), nullable=True),
        sa.Column("stderr_open_from", sa.Integer(), nullable=True),
        sa.Column("raw_bytes", sa.Integer(), nullable=False),
        sa.Column("data", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("exec_id", "seq", name=op.f("pk_log_chunks")),
    )
    op.create_index(
        "ix_log_chunks_exec_id_last_at_seq", "log_chunks", ["exec_id", "last_at", "seq"], unique=False
    )
    op.create_table(
        "hooks",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("name", sa.Text(), nullable=False),
        sa.Column("url", sa.Text(), nullable=False),
        sa.Column("sealed_secret", sa.Text(), nullable=True),
        sa.Column("job_id", sa.Integer(), nullable=True),
        sa.Column("namespace", sa.Text(), nullable=True),
        sa.Column("events", sa.Text(), nullable=False),
        sa.Column("is_active", sa.Boolean(), nullable=False),
        sa.Column("created_by", sa.Text(), nullable=False),
        sa.Column("created_at", sa.BigInteger(), nullable=False),
        sa.Column("updated_at", sa.BigInteger(), nullable=False),
        sa.CheckConstraint(
            "(job_id IS NULL) <> (namespace IS NULL)", name=op.f("ck_hooks_watches_one_thing")
        ),
        sa.ForeignKeyConstraint(["job_id"], ["jobs.id"], name=op.f("fk_hooks_job_id"), ondelete="CASCADE"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_hooks")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_hooks_job_id", "hooks", ["job_id"], unique=False)
    op.create_index("ix_hooks_namespace", "hooks", ["namespace"], unique=False)
    op.create_table(
        "deliveries",
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("id", sa.Text(), nullable=False),
        sa.Column("kind", sa.Text(), nullable=False),
        sa.Column("hook_id", sa.Integer(), nullable=True),
        sa.Column("job_id", sa.Integer(), nullable=True),
        sa.Column("event", sa.Text(), nullable=False),
        sa.Column("event_at", sa.BigInteger(), nullable=False),
        sa.Column("body", sa.Text(), nullable=False),
        sa.Column("status", sa.Text(), nullable=False),
        sa.Column("tries", sa.Integer(), nullable=False),
        sa.Column("first_tried_at", sa.BigInteger(), nullable=True),
        sa.Column("attempts", sa.JSON(), nullable=False),
        sa.Column("next_attempt_at", sa.BigInteger(), nullable=True),
        sa.Column("ended_at", sa.BigInteger(), nullable=True),
        sa.Column("reason", sa.Text(), nullable=True),
        sa.Column("claimed_by", sa.Text(), nullable=True),
        sa.Column("claimed_until", sa.BigInteger(), nullable=True),
        sa.CheckConstraint("kind IN ('hook', 'mail')", name=op.f("ck_deliveries_kind_is_known")),
        sa.CheckConstraint(
            "status IN ('pending', 'delivered', 'failed')", name=op.f("ck_deliveries_status_is_known")
        ),
        sa.CheckConstraint(
            "(kind = 'hook') = (hook_id IS NOT NULL)", name=op.f("ck_deliveries_hook_has_hook")
        ),
        sa.CheckConstraint("(kind = 'mail') = (job_id IS NOT NULL)", name=op.f("ck_deliveries_mail_has_job")),
        sa.CheckConstraint(
            "(status = 'pending') = (ended_at IS NULL)", name=op.f("ck_deliveries_ended_is_not_pending")
        ),
        sa.ForeignKeyConstraint(
            ["hook_id"], ["hooks.id"], name=op.f("fk_deliveries_hook_id"), ondelete="CASCADE"
        ),
        sa.ForeignKeyConstraint(
            ["job_id"], ["jobs.id"], name=op.f("fk_deliveries_job_id"), ondelete="CASCADE"
        ),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_deliveries")),
        sa.UniqueConstraint("id", name=op.f("uq_deliveries_id")),
        sqlite_autoincrement=True,
    )
    op.create_index("ix_deliveries_ended_at", "deliveries", ["ended_at"], unique=False)
    op.create_index("ix_deliveries_hook_id_number", "deliveries", ["hook_id", "number"], unique=False)
    op.create_index("ix_deliveries_job_id_number", "deliveries", ["job_id", "number"], unique=False)
    op.create_index(
        "ix_deliveries_pending",
        "deliveries",
        ["hook_id", "number"],
        unique=False,
        sqlite_where=sa.text("ended_at IS NULL"),
        postgresql_where=sa.text("ended_at IS NULL"),
    )
    # ### end Alembic commands ###
