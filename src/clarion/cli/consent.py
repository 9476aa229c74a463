"""`clarion consent`: the record of what a person agreed to, or not."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from clarion.cli.context import Context
from clarion.cli.printing import AsJson, say_json, table
from clarion.clock import rfc3339
from clarion.directory.consent import TOGETHER, Change, consent_of, shown
from clarion.model.errors import NotFound
from clarion.storage.ledger import START


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def consent(
        context: typer.Context,
        recipient: Annotated[str, typer.Argument(help="The recipient's id.")],
        project: Annotated[str, typer.Option("--project", help="The project, by its key.")] = "default",
        as_json: AsJson = False,
    ) -> None:
        """Shows every change of what a person is told and where, with when and through whom; erased people included.

        Example: clarion consent ada
        """
        changes = asyncio.run(_record(context.ensure_object(Context), project, recipient))
        if as_json:
            say_json({"recipient": recipient, "items": [shown(change) for change in changes]})
        else:
            rows = [(rfc3339(c.at), c.sentence, c.source) for c in changes]
            table(("WHEN", "WHAT", "THROUGH"), rows, "")


async def _record(context: Context, project: str, recipient: str) -> list[Change]:
    changes: list[Change] = []
    async with context.clarion() as clarion:
        number, after = await clarion.keys.project_number(project), START
        while True:
            found = await clarion.db.read(lambda tx, after=after: consent_of(tx, number, recipient, after, TOGETHER))  # type: ignore[misc]
            changes += found
            if len(found) < TOGETHER:
                break
            after = found[-1].place
    if not changes:
        raise NotFound(f"nothing is recorded of {recipient!r} in project {project}")
    return changes
