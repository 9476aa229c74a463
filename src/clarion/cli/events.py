"""`clarion send` and `clarion explain`: tell somebody something, and find out what became of it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
import typer
from rich.markup import escape

from clarion.bootstrap import Clarion
from clarion.cli.context import Context
from clarion.cli.printing import AsJson, out, say_json
from clarion.clock import rfc3339
from clarion.deliveries import notifications as reading
from clarion.deliveries.telling import Told, span, tell, where_it_stands
from clarion.events.intake import read_event
from clarion.model import ids
from clarion.model.errors import Invalid

Project = Annotated[str, typer.Option("--project", help="The project, by its key.")]


def add(app: typer.Typer) -> None:
    """Adds the commands."""

    @app.command()
    def send(
        context: typer.Context,
        event_type: Annotated[str, typer.Argument(help="As a workflow names it in `on`, for example comment.created.")],
        to: Annotated[list[str] | None, typer.Option("--to", help="A recipient's id; repeat it for several.")] = None,
        topic: Annotated[str | None, typer.Option("--topic", help="Everyone who subscribed to a topic.")] = None,
        data: Annotated[str, typer.Option("--data", help='The event\'s data, as JSON: \'{"author": "Ada"}\'.')] = "{}",
        actor: Annotated[str | None, typer.Option("--actor", help="Who did it.")] = None,
        key: Annotated[str | None, typer.Option("--idempotency-key", help="Sent twice, accepted once.")] = None,
        project: Project = "default",
        as_json: AsJson = False,
    ) -> None:
        """Reports an event, as POST /v1/events does. A running server takes it up within a second.

        Example: clarion send comment.created --to ada --data '{"author": "Bob", "text": "Well put"}'
        """
        fields = {"recipients": to or None, "topic": topic, "actor": actor, "idempotency_key": key}
        body = {"type": event_type, "data": _json(data), **{k: v for k, v in fields.items() if v is not None}}
        asyncio.run(_send(context.ensure_object(Context), project, body, as_json))

    @app.command()
    def explain(
        context: typer.Context,
        notification_id: Annotated[str, typer.Argument(help="ntf_..., from the API, the dashboard or a log.")],
        project: Project = "default",
        as_json: AsJson = False,
    ) -> None:
        """Tells the whole story of a notification: every rule that spoke, every attempt, in words.

        Example: clarion explain ntf_06h0a60jtdqg99617rlgqjl09k
        """
        asyncio.run(_explain(context.ensure_object(Context), project, notification_id, as_json))


def _json(text: str) -> Any:
    try:
        return msgspec.json.decode(text)
    except msgspec.DecodeError as error:
        raise Invalid("malformed_json", f"--data isn't valid JSON ({error}); quote it for the shell") from None


async def _send(context: Context, project: str, body: dict[str, Any], as_json: bool) -> None:
    async with context.clarion() as clarion:
        number = await clarion.keys.project_number(project)
        draft = read_event(number, msgspec.json.encode(body))
        (answer,) = await clarion.accept([await clarion.door.enter_one(draft)])
    if isinstance(answer, Invalid):
        raise answer
    shown = {"id": ids.show(ids.EVENT, answer.id), "status": "accepted", "duplicate": answer.duplicate}
    if as_json:
        say_json(shown)
    else:
        out.print(f"accepted {shown['id']}" + (" (again: the same key and body)" if answer.duplicate else ""))


async def _explain(context: Context, project: str, text: str, as_json: bool) -> None:
    try:
        wanted = ids.read(ids.NOTIFICATION, text)
    except ids.InvalidId as error:
        raise Invalid("not_found", f"{text!r}: {error}") from None
    async with context.clarion() as clarion:
        found, items = await _story(clarion, await clarion.keys.project_number(project), wanted)
    if as_json:
        say_json({"id": text, "items": items})
        return
    workflow, recipient = escape(found["workflow"]), escape(found["recipient"])
    tenant = f", of tenant {escape(found['tenant'])}" if found["tenant"] else ""
    out.print(f"[bold]{workflow}[/bold] v{found['version']} to [bold]{recipient}[/bold]{tenant}")
    out.print(f"{text}, of event {ids.show(ids.EVENT, found['event_id'])}", style="dim", markup=False)
    for delivery in found["deliveries"]:
        tone = _STATES.get(delivery["state"], "yellow")
        out.print(f"  {delivery['channel']:<9} [{tone}]{escape(where_it_stands(delivery))}[/]")
    for told in tell(items):
        _print(told)


async def _story(clarion: Clarion, project: int, wanted: ids.Id) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    found = await clarion.db.read(lambda tx: reading.notification(tx, project, wanted))
    return found, await clarion.db.read(lambda tx: reading.timeline(tx, project, wanted))


_STATES = {"sent": "green", "delivered": "green", "suppressed": "red", "failed": "red", "expired": "red"}
_STYLES = {"good": "green", "bad": "red", "wait": "yellow", "dim": "dim"}


def _print(told: Told) -> None:
    """What happened at one instant: when, how long after the beginning, and the lines that tell it."""
    first, *rest = told.lines
    out.print(f"\n{rfc3339(told.at)}  {span(told.after)}", style="dim", markup=False)
    for line in (first, *rest):
        out.print(f"  {'  ' * line.depth}{line.text}", style=_STYLES.get(line.tone), markup=False)
