"""A worker says where it runs and how far its machine's clock is off. Releases before this one leave that out."""

from __future__ import annotations

from alembic import op

revision = "0004"
down_revision = "0003"
works_with = "0001"


def upgrade() -> None:
    """Adds two columns that may be empty."""
    collation = ' COLLATE "C"' if op.get_bind().dialect.name == "postgresql" else ""
    op.execute(f"ALTER TABLE workers ADD COLUMN host TEXT{collation}")
    op.execute("ALTER TABLE workers ADD COLUMN ahead_ms BIGINT")


def downgrade() -> None:
    """Takes them away."""
    op.execute("ALTER TABLE workers DROP COLUMN ahead_ms")
    op.execute("ALTER TABLE workers DROP COLUMN host")
