"""When an engine was about to be asked to start a run's container.

For runs whose launch had begun under an earlier version it is unknown whether the engine was asked, so they count as
asked: none of them is started a second time.
"""

from __future__ import annotations

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("execs", sa.Column("start_requested_at", sa.BigInteger(), nullable=True))
    op.execute(
        "UPDATE execs SET start_requested_at = dispatched_at WHERE ended_at IS NULL AND dispatched_at IS NOT NULL"
    )
