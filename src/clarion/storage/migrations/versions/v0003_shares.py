"""What waits at a provider goes out by turns: each delivery says whose it is, in an index by that.

Releases before this one write 0: such deliveries share one turn.
"""

from __future__ import annotations

from alembic import op

revision = "0003"
down_revision = "0002"
works_with = "0001"


def upgrade() -> None:
    """Adds a column and its index. On PostgreSQL who writes deliveries waits while every one that is kept is read."""
    op.execute("ALTER TABLE deliveries ADD COLUMN share BIGINT DEFAULT 0 NOT NULL")
    op.execute(
        "CREATE INDEX deliveries_turns ON deliveries (provider, priority, share, due_at) WHERE state = 'pending'"
    )


def downgrade() -> None:
    """Takes both away."""
    op.execute("DROP INDEX deliveries_turns")
    op.execute("ALTER TABLE deliveries DROP COLUMN share")
