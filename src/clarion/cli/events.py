"""`clarion send` and `clarion explain`: tell somebody something, and find out what became of it."""

from __future__ import annotations

import asyncio
from typing import Annotated, Any

import msgspec
import typer

from clarion.bootstrap import Clarion
from clarion.cli.context import Context
from clarion.cli.printing import AsJson, out, say_json
from clarion.clock import rfc3339
from clarion.deliveries import notifications as reading
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
        await clarion.door.meet([draft])
        (answer,) = await clarion.accept([clarion.door.enter(draft)])
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
    out.print(f"[bold]{text}[/bold]  {found['workflow']} v{found['version']} to {found['recipient']}")
    for delivery in found["deliveries"]:
        why = f" ({delivery['reason']})" if delivery["reason"] else ""
        out.print(f"  {delivery['channel']:<9} {delivery['state']}{why}")
    out.print("")
    for item in items:
        _tell(item)


async def _story(clarion: Clarion, project: int, wanted: ids.Id) -> tuple[dict[str, Any], list[dict[str, Any]]]:
    found = await clarion.db.read(lambda tx: reading.notification(tx, project, wanted))
    return found, await clarion.db.read(lambda tx: reading.timeline(tx, project, wanted))


def _tell(item: dict[str, Any]) -> None:
    """One fact in words."""
    detail, at = item["detail"], rfc3339(item["at"])
    if item["fact"] == "NotificationDecided":
        again = f" again ({detail['again']})" if detail.get("again") else ""
        out.print(f"{at}  Decided{again}")
        for verdict in detail["verdicts"]:
            until = f" until {rfc3339(verdict['until'])}" if verdict["until"] else ""
            why = f": {verdict['sentence']}" if verdict["sentence"] else ""
            out.print(f"    [bold]{verdict['channel']}[/bold] {verdict['verdict']}{until}{why}")
            for trace in verdict["trace"]:
                out.print(f"      {trace['rule']:<14} {trace['result']:<9} {trace['detail']}", style="dim")
    elif item["fact"] == "DeliveryAttempted":
        more = [detail.get("code"), detail.get("detail"), detail.get("sentence")]
        retry = f"; next try at {rfc3339(detail['retry_at'])}" if detail.get("retry_at") else ""
        said = " - ".join(str(m) for m in more if m)
        out.print(
            f"{at}  Attempt {detail['number']} on {detail['channel']} through {detail['provider']}: "
            f"{detail['outcome']}{' (' + said + ')' if said else ''}{retry}"
        )
    else:
        words = ", ".join(f"{k}={v}" for k, v in detail.items() if k != "sentence")
        out.print(f"{at}  {item['fact']}  {words}")
