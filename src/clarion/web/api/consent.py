"""The consent record: what a person agreed to, or not, when and through whom. Shown in pages, exported as CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import AsyncIterator
from typing import Annotated, Any, Literal

import msgspec
from fastapi import Query
from fastapi.responses import StreamingResponse
from starlette.responses import Response

from clarion.directory import forms
from clarion.directory.consent import TOGETHER, consent_of, shown
from clarion.directory.views import is_known
from clarion.model.errors import NotFound
from clarion.storage.ledger import START, Place
from clarion.web import received
from clarion.web.access import App, Caller, Project
from clarion.web.shapes import Cursor, Limit, number_cursor, page, write_cursor

router = received.router("preferences")

_COLUMNS = ("at", "fact", "what", "by", "source", "detail")


@router.get("/v1/recipients/{id}/consent", response_model=None)
async def get_consent(
    id: str,
    app: App,
    project: Project,
    caller: Caller,
    format: Annotated[Literal["json", "csv"], Query(description="csv: the whole record as one file")] = "json",
    cursor: Cursor = None,
    limit: Limit = 50,
) -> dict[str, Any] | Response:
    """Every change of what the person is told and where, the oldest first; it outlives the person's erasure."""
    who, after = forms.recipient_id(id), _place(cursor)
    found = await app.db.read(lambda tx: consent_of(tx, project, who, after, limit + 1))
    if not found and after == START and not await app.db.read(lambda tx: is_known(tx, project, who)):
        raise NotFound("there is no recipient with this id in this project, and nothing is recorded of one")
    if format == "csv":
        disposition = {"Content-Disposition": 'attachment; filename="consent.csv"'}
        return StreamingResponse(_csv(app, project, who), media_type="text/csv", headers=disposition)
    following = write_cursor(*found[limit - 1].place) if len(found) > limit else None
    return page([shown(change) for change in found], limit, following)


def _place(cursor: str | None) -> Place:
    key = number_cursor(cursor, 2)
    return START if key is None else Place(*key)


async def _csv(app: App, project: int, who: str) -> AsyncIterator[str]:
    """The whole record, some hundred entries at a time."""
    after: Place | None = START
    head = [list(_COLUMNS)]
    while after is not None:
        found = await app.db.read(lambda tx, after=after: consent_of(tx, project, who, after, TOGETHER))  # type: ignore[misc]
        after = found[-1].place if len(found) == TOGETHER else None
        text = io.StringIO()
        csv.writer(text).writerows([*head, *(_row(shown(change)) for change in found)])
        head = []
        yield text.getvalue()


def _row(entry: dict[str, Any]) -> list[str]:
    cells = [entry["at"], entry["fact"], entry["what"], entry["by"] or "", entry["source"]]
    # What begins like a formula is one to a spreadsheet.
    safe = [f"'{cell}" if cell.startswith(("=", "+", "-", "@")) else cell for cell in cells]
    return [*safe, msgspec.json.encode(entry["detail"]).decode()]
