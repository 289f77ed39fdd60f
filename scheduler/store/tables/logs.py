"""The tables of the output of runs."""

from __future__ import annotations

import sqlalchemy as sa

from scheduler.store.tables.columns import Moment, metadata

#: The output of runs, compressed. `scheduler.logs.chunks` defines the format of `data`.
log_chunks = sa.Table(
    "log_chunks",
    metadata,
    # No foreign key: an exec is deleted at once, and its log afterwards in small steps; see `discarded_logs`.
    sa.Column("exec_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    # The arrival of the first and the last frame in the chunk.
    sa.Column("first_at", Moment, nullable=False),
    sa.Column("last_at", Moment, nullable=False),
    # The position of each stream after this chunk, in bytes from its beginning: the cursor for resuming.
    sa.Column("stdout_end", sa.BigInteger, nullable=False),
    sa.Column("stderr_end", sa.BigInteger, nullable=False),
    # The streams with frames in the chunk, one bit each (1 << stream): reading one stream skips chunks without it.
    sa.Column("streams", sa.Integer, nullable=False),
    # The number of lines that end in this chunk, over all streams.
    sa.Column("lines", sa.Integer, nullable=False),
    # The chunk in which the line began that is unfinished when this chunk begins; null if there is none.
    sa.Column("stdout_open_from", sa.Integer, nullable=True),
    sa.Column("stderr_open_from", sa.Integer, nullable=True),
    sa.Column("raw_bytes", sa.Integer, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
# With `seq`, finding the first chunk of a time range does not need to sort chunks that ended in the same microsecond.
sa.Index("ix_log_chunks_exec_id_last_at_seq", log_chunks.c.exec_id, log_chunks.c.last_at, log_chunks.c.seq)

#: Logs whose exec was deleted: they can no longer be read, and are deleted in small steps.
discarded_logs = sa.Table(
    "discarded_logs",
    metadata,
    sa.Column("exec_id", sa.Text, primary_key=True),
)
