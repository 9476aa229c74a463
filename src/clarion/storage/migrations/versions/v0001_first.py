"""The first schema: everything that can't be added later (projects in every key, encryption, the ledger)."""

from __future__ import annotations

from pathlib import Path

from alembic import op

revision = "0001"
down_revision = None
works_with = "0001"  # the oldest revision whose releases can work on this schema


def upgrade() -> None:
    """Creates all tables from the frozen DDL beside this file."""
    text = Path(__file__).with_name(f"v0001.{op.get_bind().dialect.name}.sql").read_text()
    for statement in text.split(";\n"):
        if statement.strip():
            op.execute(statement)


def downgrade() -> None:
    """There is nothing before the first version."""
    raise NotImplementedError("there is no version before the first: restore a backup instead")
