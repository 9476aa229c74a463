"""Releases that don't exist yet: this one with another schema, a further fact and a newer name of a job.

Older ones aren't at hand where tests run. So this release is the old one, and what a later one may do (the rules
stand in docs/operations.md, "Upgrading") is done to a copy of it.
"""

from __future__ import annotations

import shutil
from pathlib import Path

import clarion
from clarion.storage.schema import REVISIONS

_EXPAND = '''"""Expands: everything that the release before doesn't notice."""
from alembic import op

revision, down_revision, works_with = "{revision}", "{before}", "{before}"
BUSY = ("deliveries", "notifications", "shards", "events", "workflow_versions", "recipients", "api_keys", "workers")


def upgrade():
    for table in BUSY:
        op.execute(f"ALTER TABLE {table} ADD COLUMN remark TEXT")
        op.execute(f"ALTER TABLE {table} ADD COLUMN rank BIGINT NOT NULL DEFAULT 7")
    op.execute("CREATE TABLE remarks (project INTEGER NOT NULL, id BIGINT NOT NULL, PRIMARY KEY (project, id))")
    op.execute("CREATE INDEX events_remarked ON events (remark) WHERE remark IS NOT NULL")
'''

_CONTRACT = '''"""Contracts: what only releases before the one that expanded had use for goes."""
from alembic import op

revision, down_revision, works_with = "{revision}", "{before}", "{before}"
BUSY = ("workers", "api_keys", "recipients", "workflow_versions", "events", "shards", "notifications", "deliveries")


def upgrade():
    for table in BUSY:
        op.execute(f"ALTER TABLE {table} DROP COLUMN remark")
    op.execute("DROP TABLE remarks")
'''

_FACT = '''

class EventNoticed(Fact, frozen=True, kw_only=True):
    """A fact that this release has and the one before hasn't."""

    what: str


FACTS["EventNoticed"] = EventNoticed
'''

_NOTICE = """

_before = Acceptance.handle


async def _noticing(self, tx, command):
    from clarion.ledger.facts import EventNoticed

    answers = await _before(self, tx, command)
    await tx.append(
        EventNoticed(project=command.project, at=command.now, subject=answer.id, what=entry.draft.type)
        for entry, answer in zip(command.entries, answers, strict=True) if isinstance(answer, Accepted)
    )
    return answers


Acceptance.handle = _noticing
"""


#: The present schema, the next one, and the one after that.
NOW = REVISIONS[-1]
EXPANDED, CONTRACTED = (f"{int(NOW) + n:04}" for n in (1, 2))


def next_release(folder: Path) -> Path:
    """Makes the next release; the folder is for PYTHONPATH."""
    shutil.copytree(Path(clarion.__file__).parent, folder / "clarion", ignore=shutil.ignore_patterns("__pycache__"))
    _add_migration(folder, _EXPAND, EXPANDED, NOW)
    _append(folder, "ledger/facts.py", _FACT)
    _append(folder, "events/accept.py", _NOTICE)
    jobs = folder / "clarion" / "model" / "jobs.py"
    assert '"decide.v1"' in jobs.read_text()
    jobs.write_text(jobs.read_text().replace('"decide.v1"', '"decide.v2"'))
    return folder


def release_after(folder: Path, before: Path) -> Path:
    """Makes the one after that."""
    shutil.copytree(before, folder)
    _add_migration(folder, _CONTRACT, CONTRACTED, EXPANDED)
    return folder


def _add_migration(folder: Path, text: str, revision: str, before: str) -> None:
    path = folder / "clarion" / "storage" / "migrations" / "versions" / f"v{revision}_test.py"
    path.write_text(text.replace("{revision}", revision).replace("{before}", before))


def _append(folder: Path, name: str, text: str) -> None:
    with (folder / "clarion" / name).open("a") as file:
        file.write(text)
