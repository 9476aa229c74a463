"""`clarion parked`: work that failed five times and waits for a person."""

from __future__ import annotations

import asyncio
from typing import Annotated

import typer

from clarion.cli.context import Context
from clarion.cli.printing import AsJson, out, say_json, table
from clarion.clock import rfc3339
from clarion.decisions import parking
from clarion.model import ids

MOST = 500


def add(app: typer.Typer) -> None:
    """Adds the command."""

    @app.command()
    def parked(
        context: typer.Context,
        retry: Annotated[bool, typer.Option("--retry", help="Lets all of it be tried again.")] = False,
        project: Annotated[str, typer.Option("--project", help="The project, by its key.")] = "default",
        as_json: AsJson = False,
    ) -> None:
        """Shows work that failed five times, and lets it go on."""
        found, released = asyncio.run(_parked(context.ensure_object(Context), project, retry))
        rows = [
            [p.task.job, p.event_id and ids.show(ids.EVENT, p.event_id), p.task.number, p.recipient, p.error, at]
            for p in found
            for at in [rfc3339(p.at)]
        ]
        columns = ("job", "event", "shard", "recipient", "error", "at")
        if as_json:
            say_json({"items": [dict(zip(columns, row, strict=True)) for row in rows], "retried": released})
            return
        table(columns, rows, "nothing is parked")
        if retry:
            out.print(f"{released} will be tried again")


async def _parked(context: Context, project: str, retry: bool) -> tuple[list[parking.Parked], int]:
    async with context.clarion() as clarion:
        number = await clarion.keys.project_number(project)
        found = await clarion.db.read(lambda tx: parking.parked(tx, number, MOST))
        now = clarion.clock.now()
        return found, await clarion.db.write(lambda tx: parking.release(tx, number, now)) if retry else 0
