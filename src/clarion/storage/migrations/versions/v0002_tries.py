"""Work that fails is counted before it is parked. Releases before this one list it as parked from its first failure."""

from __future__ import annotations

from alembic import op

revision = "0002"
down_revision = "0001"
works_with = "0001"


def upgrade() -> None:
    """Adds a column, with a default for those who don't know it: they write only what failed five times."""
    op.execute("ALTER TABLE parked ADD COLUMN tries SMALLINT DEFAULT 5 NOT NULL")


def downgrade() -> None:
    """Takes it away; what failed less often is forgotten, and counted anew."""
    op.execute("DELETE FROM parked WHERE tries < 5")
    op.execute("ALTER TABLE parked DROP COLUMN tries")
