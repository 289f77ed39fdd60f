"""Tables of what runs print."""

from __future__ import annotations

import sqlalchemy as sa

from scheduler.store.tables.columns import Moment, metadata

#: What runs printed, compressed; `scheduler.logs.chunks` knows what is inside `data`.
log_chunks = sa.Table(
    "log_chunks",
    metadata,
    # No foreign key: an exec goes at once, its log bit by bit after it; see `discarded_logs`.
    sa.Column("exec_id", sa.Text, primary_key=True),
    sa.Column("seq", sa.Integer, primary_key=True),
    # Arrival of the first and the last frame inside.
    sa.Column("first_at", Moment, nullable=False),
    sa.Column("last_at", Moment, nullable=False),
    # Where each stream stands after this chunk, in bytes from its beginning: the cursor for resuming.
    sa.Column("stdout_end", sa.BigInteger, nullable=False),
    sa.Column("stderr_end", sa.BigInteger, nullable=False),
    # Which streams have frames inside, one bit each (1 << stream): a read of one stream skips the others' chunks.
    sa.Column("streams", sa.Integer, nullable=False),
    # How many lines end in this chunk, over all streams.
    sa.Column("lines", sa.Integer, nullable=False),
    # The chunk in which the stream's line began that is still open when this one begins; null when none is.
    sa.Column("stdout_open_from", sa.Integer, nullable=True),
    sa.Column("stderr_open_from", sa.Integer, nullable=True),
    sa.Column("raw_bytes", sa.Integer, nullable=False),
    sa.Column("data", sa.LargeBinary, nullable=False),
)
# With `seq`, the first chunk of a time range is found without sorting those that ended in the same microsecond.
sa.Index("ix_log_chunks_exec_id_last_at_seq", log_chunks.c.exec_id, log_chunks.c.last_at, log_chunks.c.seq)

#: Logs whose exec is gone: nobody can reach them any more, and they are cleared away bit by bit.
discarded_logs = sa.Table(
    "discarded_logs",
    metadata,
    sa.Column("exec_id", sa.Text, primary_key=True),
)
